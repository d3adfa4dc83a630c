"""Twins: one program, run twice side by side, eagerly and traced; after every call all that can be seen is compared.

    play(scenario, "llvm_cpu")      the stats of the traced twin, or Mismatch: what differs, where, after which event
"""
from __future__ import annotations

import re
import types
import warnings
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any

import numpy as np
from program_strategies import Scenario

import tracegrad as tg
from tracegrad.tensors import Tensor
from tracegrad.tracing import Stats, Traced

TOLERANCE = {"f4": 2e-3, "f8": 1e-7}
"""Relative to the largest magnitude in an array: programs repeat what they compute, and small differences grow."""

PLAIN = (str, int, float, type(None))
HIDDEN = (Traced, types.FunctionType, types.ModuleType, type, types.MethodType, tg.Generator)


class Mismatch(AssertionError):
    """The twins differ."""


class Twin:
    """One of the two runs of a program, in a namespace of its own: eager where there is no target, else traced."""

    def __init__(self, source: str, target: str | None):
        module = types.ModuleType("program")
        self.names = vars(module)
        exec(compile(source, "program.py", "exec"), self.names)
        self.call = self.names["step"] if target is None else tg.trace(self.names["step"], target=target)
        self.kept: list[Tensor] = []
        self.result: Any = None
        self.mixed = False                      # are there single-precision numbers?

    def do(self, text: str) -> None:
        """Run a change."""
        self.mixed |= "float32" in text
        exec(compile(text, "change.py", "exec"), self.names)

    def run(self) -> None:
        """One call of step."""
        self.result = None
        with nullcontext() if isinstance(self.call, Traced) else tg.eager():
            self.result = self.call(*self.names["args"], **self.names["kwargs"])

    def differentiate(self, twice: bool) -> None:
        """Backward through what the call returned; with `twice`, through its gradients too."""
        outputs = [t for t in tensors_in(self.result) if t.requires_grad and t.dtype.kind == "f"]
        if not outputs:
            return
        loss = sum(((y * y).sum() + y.sum() for y in outputs[1:]), (outputs[0] * outputs[0]).sum() * 0.5)
        if not twice:
            loss.backward()
            return
        leaves = [*{id(t): t for t in tensors_in(self.names) if t.requires_grad and t.is_leaf}.values()]
        found = tg.autograd.grad(loss, leaves, create_graph=True, allow_unused=True)
        squares = [(g * g).sum() for g in found if g is not None and g.requires_grad]
        if squares:
            sum(squares[1:], squares[0]).backward()

    def write(self) -> None:
        """Write into what the call returned."""
        with tg.no_grad():
            for t in tensors_in(self.result):
                if t.dtype.kind == "f":
                    t.mul_(0.5)

    def keep(self) -> None:
        """Hold on to some of what the call returned, one way or another."""
        for k, t in enumerate(tensors_in(self.result)):
            self.kept.append(t.detach() if k % 2 else Tensor(np.asarray(t.detach())))


def raised(act: Callable[..., None], *args: Any) -> str | None:
    """What act(*args) raises, if it does: its type, and the line it names; the rest may depend on who found it."""
    try:
        act(*args)
    except Exception as error:  # noqa: BLE001 - whatever a program raises is compared
        return f"{type(error).__name__}: {' '.join(re.findall(r'[a-z]+[.]py:[0-9]+', str(error)))}"
    return None


def tensors_in(value: Any, seen: set[int] | None = None) -> Iterator[Tensor]:
    """Every Tensor in reach, in a fixed order."""
    for _, found in things_in(value, "", set() if seen is None else seen):
        if isinstance(found, Tensor):
            yield found


def things_in(value: Any, route: str, seen: set[int]) -> Iterator[tuple[str, Any]]:
    """(route, thing) for everything in reach: Tensors with their grads, plain values, containers, instances."""
    if isinstance(value, HIDDEN):
        return
    yield route, value
    if isinstance(value, PLAIN) or id(value) in seen:
        return
    seen.add(id(value))
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


def compare(where: str, eager: Twin, traced: Twin) -> None:
    """Mismatch unless both twins show the same: results, state, grads, identities, memory."""
    left, right = (list(things_in((twin.result, twin.names, twin.names["near_of"]()), "", set()))
                   for twin in (eager, traced))
    if [route for route, _ in left] != [route for route, _ in right]:
        difference = {route for route, _ in left} ^ {route for route, _ in right}
        raise Mismatch(f"{where}: different things: {sorted(difference)[:5]}")
    known: tuple[dict[int, int], dict[int, int]] = ({}, {})        # objects, numbered as they are met
    tensors: dict[int, tuple[str, np.ndarray, np.ndarray]] = {}
    for (route, e), (_, t) in zip(left, right):
        if type(e).__qualname__ != type(t).__qualname__:
            raise Mismatch(f"{where}: {route}: eager has a {type(e).__name__}, traced a {type(t).__name__}")
        if isinstance(e, PLAIN):
            if repr(e) != repr(t) and not (type(e) is float and np.isclose(e, t, *[TOLERANCE["f4"]] * 2)):
                raise Mismatch(f"{where}: {route}: {e!r} against {t!r}")
            continue
        met = [numbers.setdefault(id(x), len(numbers)) for numbers, x in zip(known, (e, t))]
        if met[0] != met[1] and type(e) is not tuple:
            raise Mismatch(f"{where}: {route}: one is an object met before, the other is not")
        if isinstance(e, Tensor):
            compare_tensors(f"{where}: {route}", e, t, eager.mixed)
            tensors[id(e)] = route, e.array, t.array
    for k, (e, t) in enumerate(zip(eager.kept, traced.kept)):
        compare_tensors(f"{where}: result kept {k}", e, t, eager.mixed)
    listed = list(tensors.values())
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
    if a.tobytes() == b.tobytes():
        return
    tolerance = TOLERANCE["f4" if mixed else a.dtype.str[1:]]
    with np.errstate(all="ignore"):
        scale = float(np.abs(a[np.isfinite(a)]).max(initial=1e-3))
        if not np.allclose(a, b, tolerance, tolerance * scale, equal_nan=True):
            raise Mismatch(f"{where}: {a} against {b}")


def play(scenario: Scenario, target: str) -> Stats:
    """Run both twins through all events; the stats of the traced one. Mismatch where they differ.

    A fifth call with nothing changed, where nothing was raised and no recording was ever aborted, must be a replay, or
    have left at an exit, since its values took it along another path.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tg.manual_seed(7)
        eager = Twin(scenario.source, None)
        tg.manual_seed(7)
        traced = Twin(scenario.source, target)
        for at, event in enumerate(scenario.events):
            if event.kind == "call":
                for k in range(event.times):
                    call(f"event {at}, call {k + 1} of {event.times}", eager, traced, unchanged=k == 4)
                after_a_call(f"event {at}, {event.then} after it", event.then, eager, traced)
            else:
                both(f"event {at} ({event.text})", eager, traced, Twin.do, event.text)
    return traced.call.stats


def both(where: str, eager: Twin, traced: Twin, act: Callable[..., None], *args: Any) -> str | None:
    """Let both twins act, with the same random numbers, and compare; what they raised."""
    counter = tg.default_generator.counter.array
    before = counter.copy()
    expected = raised(act, eager, *args)
    after = counter.copy()
    counter[...] = before
    found = raised(act, traced, *args)
    if expected != found:
        raise Mismatch(f"{where}: eager raised {expected!r}, traced {found!r}")
    compare(where, eager, traced)
    if counter != after:
        raise Mismatch(f"{where}: other random numbers are drawn next")
    return expected


def call(where: str, eager: Twin, traced: Twin, unchanged: bool) -> None:
    """One call of each."""
    stats = traced.call.stats
    before = stats.replays + stats.side_exits
    error = both(where, eager, traced, Twin.run)
    if stats.aborts["COMPILER_FAILED"]:
        raise Mismatch(f"{where}: {traced.call.explain()}")
    may_fall_back = error is not None or stats.aborts or stats.follows
    if unchanged and not may_fall_back and stats.replays + stats.side_exits == before:
        raise Mismatch(f"{where}: an unchanged repeat was not replayed, and nothing says why")


def after_a_call(where: str, then: str, eager: Twin, traced: Twin) -> None:
    """What is done to the result of a call."""
    match then:
        case "backward" | "second":
            both(where, eager, traced, Twin.differentiate, then == "second")
        case "write":
            both(where, eager, traced, Twin.write)
        case "keep":
            eager.keep(), traced.keep()
