"""Twins: one program run twice side by side, eagerly and traced; after every call everything that can be seen is compared."""
from __future__ import annotations

import re
import types
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
from program_strategies import Scenario

import tracegrad as tg
from tracegrad.tensors import Tensor
from tracegrad.tracing import Stats

TOLERANCE = {"f4": 2e-3, "f8": 1e-7}
"""Relative to the largest magnitude in an array: programs repeat what they compute, and small differences grow."""

HIDDEN = (types.FunctionType, types.ModuleType, type, types.MethodType, tg.Generator)
STATE = tg.default_generator


class Mismatch(AssertionError):
    """The twins differ."""


class Twin:
    """One of the two runs of a program, in a namespace of its own."""

    def __init__(self, source: str, traced: bool, target: str = "llvm_cpu"):
        module = types.ModuleType("program")
        self.names = vars(module)
        exec(compile(source, "program.py", "exec"), self.names)
        self.call = tg.trace(self.names["step"], target=target) if traced else self.names["step"]
        self.kept: list[Tensor] = []
        self.result: Any = None
        self.mixed = False                      # are there single-precision numbers?

    def do(self, text: str) -> str | None:
        """Run a change; what it raised, if it did."""
        self.mixed |= "float32" in text
        try:
            exec(compile(text, "change.py", "exec"), self.names)
        except Exception as error:
            return what_was_raised(error)
        return None

    def run(self) -> str | None:
        """One call of step; what it raised, if it did."""
        try:
            self.result = self.call(*self.names["args"], **self.names["kwargs"])
        except Exception as error:
            self.result = None
            return what_was_raised(error)
        return None

    def differentiate(self, twice: bool) -> str | None:
        """Backward through what the call returned; with `twice`, through its gradients too."""
        try:
            outputs = [t for t in tensors_in(self.result) if t.requires_grad and t.dtype.kind == "f"]
            if not outputs:
                return None
            loss = sum(((y * y).sum() + y.sum() for y in outputs[1:]), (outputs[0] * outputs[0]).sum() * 0.5)
            if not twice:
                loss.backward()
                return None
            leaves = list({id(t): t for t in tensors_in(self.names) if t.requires_grad and t.is_leaf}.values())
            found = tg.autograd.grad(loss, leaves, create_graph=True, allow_unused=True)
            squares = [(g * g).sum() for g in found if g is not None and g.requires_grad]
            if squares:
                sum(squares[1:], squares[0]).backward()
        except Exception as error:
            return what_was_raised(error)
        return None

    def write(self) -> str | None:
        """Write into what the call returned."""
        try:
            with tg.no_grad():
                for t in tensors_in(self.result):
                    if t.dtype.kind == "f":
                        t.mul_(0.5)
        except Exception as error:
            return what_was_raised(error)
        return None

    def keep(self) -> None:
        """Hold on to some of what the call returned, one way or another."""
        for k, t in enumerate(tensors_in(self.result)):
            self.kept.append(t.detach() if k % 2 else Tensor(np.asarray(t.detach())))


def what_was_raised(error: Exception) -> str:
    """The type of the error and the line it names; how the sentence goes on may depend on who found it first."""
    return f"{type(error).__name__}: {' '.join(re.findall(r'[a-z]+[.]py:[0-9]+', str(error)))}"


def tensors_in(value: Any, seen: set[int] | None = None) -> Iterator[Tensor]:
    """Every Tensor in reach, in a fixed order."""
    for _, found in things_in(value, "", set() if seen is None else seen):
        if isinstance(found, Tensor):
            yield found


def things_in(value: Any, route: str, seen: set[int]) -> Iterator[tuple[str, Any]]:
    """(route, thing) for everything in reach: Tensors with their grads, plain values, containers, instances."""
    if isinstance(value, HIDDEN):
        return
    if isinstance(value, Tensor) or not isinstance(value, str | int | float | bool | None):
        yield route, value
        if id(value) in seen:
            return
        seen.add(id(value))
    else:
        yield route, value
        return
    if isinstance(value, Tensor):
        if value._grad is not None:
            yield from things_in(value._grad, route + ".grad", seen)
    elif isinstance(value, dict):
        for key in value:
            if not str(key).startswith("__"):
                yield from things_in(value[key], f"{route}[{key!r}]", seen)
    elif isinstance(value, list | tuple):
        for k, part in enumerate(value):
            yield from things_in(part, f"{route}[{k}]", seen)
    elif hasattr(value, "__dict__"):
        for name in sorted(vars(value)):
            yield from things_in(vars(value)[name], f"{route}.{name}", seen)


def compare(where: str, eager: Twin, traced: Twin, saw: tuple[str | None, str | None] = (None, None)) -> None:
    """Mismatch unless both twins show the same: results, state, grads, identities, memory, what was raised."""
    if saw[0] != saw[1]:
        raise Mismatch(f"{where}: eager raised {saw[0]!r}, traced {saw[1]!r}")
    worlds = []
    for twin in (eager, traced):
        world = {"result": twin.result, "names": twin.names, "near": twin.names["near_of"]()}
        worlds.append(list(things_in(world, "", set())))
    left, right = worlds
    if [route for route, _ in left] != [route for route, _ in right]:
        difference = set(r for r, _ in left) ^ set(r for r, _ in right)
        raise Mismatch(f"{where}: different things: {sorted(difference)[:5]}")
    numbers: tuple[dict[int, int], dict[int, int]] = ({}, {})
    arrays: dict[int, tuple[str, np.ndarray, np.ndarray]] = {}
    for (route, e), (_, t) in zip(left, right):
        if type(e).__qualname__ != type(t).__qualname__:
            raise Mismatch(f"{where}: {route}: eager has a {type(e).__name__}, traced a {type(t).__name__}")
        if isinstance(e, str | int | float | bool | None):
            if e != t and not (e != e and t != t):
                raise Mismatch(f"{where}: {route}: {e!r} against {t!r}")
            continue
        if type(e) is not tuple and numbers[0].setdefault(id(e), len(numbers[0])) != numbers[1].setdefault(id(t), len(numbers[1])):
            raise Mismatch(f"{where}: {route}: one is an object known before, the other is not")
        if isinstance(e, Tensor):
            compare_tensors(f"{where}: {route}", e, t, eager.mixed)
            arrays[id(e)] = route, e.array, t.array
    for k, (e, t) in enumerate(zip(eager.kept, traced.kept)):
        compare_tensors(f"{where}: result kept {k}", e, t, eager.mixed)
    listed = list(arrays.values())
    for k, (route, e, t) in enumerate(listed):
        for other, e2, t2 in listed[:k]:
            if np.may_share_memory(e, e2) != np.may_share_memory(t, t2):
                raise Mismatch(f"{where}: {route} and {other} share memory in one twin only")


def compare_tensors(where: str, e: Tensor, t: Tensor, mixed: bool) -> None:
    facts = [(x.array.dtype, x.array.shape, x.requires_grad, x.is_leaf, x._grad is None) for x in (e, t)]
    if facts[0] != facts[1]:
        raise Mismatch(f"{where}: eager {facts[0]}, traced {facts[1]}")
    a, b = e.array, t.array
    if a.dtype.kind != "f":
        if not np.array_equal(a, b):
            raise Mismatch(f"{where}: {a} against {b}")
        return
    tolerance = TOLERANCE["f4" if mixed else a.dtype.str[1:]]
    with np.errstate(all="ignore"):
        scale = float(np.abs(a[np.isfinite(a)]).max(initial=1e-3))
        if not np.allclose(a, b, tolerance, tolerance * scale, equal_nan=True):
            raise Mismatch(f"{where}: {a} against {b}")


def play(scenario: Scenario, target: str = "llvm_cpu") -> Stats:
    """Run both twins through all events; the stats of the traced one. Mismatch where they differ.

    A fifth call with nothing changed, where nothing was raised and no recording was ever aborted, must be a replay.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return _play(scenario, target)


def _play(scenario: Scenario, target: str) -> Stats:
    tg.manual_seed(7)
    eager = Twin(scenario.source, False)
    tg.manual_seed(7)
    traced = Twin(scenario.source, True, target)
    stats, raised = traced.call.stats, None
    for at, event in enumerate(scenario.events):
        where = f"event {at}"
        if event.kind != "call":
            compare(f"{where} ({event.text})", eager, traced, (eager.do(event.text), traced.do(event.text)))
            continue
        for k in range(event.times):
            replays = stats.replays
            seed = STATE.counter.array.copy()
            first = raised
            raised = eager.run()
            after = STATE.counter.array.copy()
            STATE.counter.array[...] = seed
            found = traced.run()
            where = f"event {at}, call {k + 1} of {event.times}"
            compare(where, eager, traced, (raised, found))
            if not np.array_equal(STATE.counter.array, after):
                raise Mismatch(f"{where}: the random numbers drawn")
            if stats.aborts["COMPILER_FAILED"]:
                raise Mismatch(f"{where}: {traced.call.explain()}")
            if k == 4 and raised is first is None and not stats.aborts and stats.replays == replays:
                raise Mismatch(f"{where}: an unchanged repeat was not replayed, and nothing says why")
            match event.then if k == event.times - 1 else "":
                case "backward" | "second":
                    compare(f"{where}, {event.then}", eager, traced, (
                        eager.differentiate(event.then == "second"), traced.differentiate(event.then == "second")))
                case "write":
                    compare(f"{where}, written", eager, traced, (eager.write(), traced.write()))
                case "keep":
                    eager.keep(), traced.keep()
    return stats

