"""The Python of a replay, written out for one root and for each of its ends: no loop, no test of what is known before.

    def replay(leaves, args, kwargs):                       def finish(arrays, leaves, kept, args, kwargs):
        t0, t1, = leaves                                        trace.replays += 1
        arrays = (t0.array, t1.array, take0())                  m2 = Tensor(arrays[2], False)
        left_at = run(arrays)                                   return m2
        if left_at < 0:
            return left_at, ends[-1 - left_at](arrays, leaves, None, args, kwargs)
        return left(left_at), None

1. An end is written when a call first comes to it.
2. The code counts as tracegrad's own: it is no line of the user's.
"""
from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from types import CodeType
from typing import TYPE_CHECKING, Any

import numpy as np

from tracegrad.devices import CPU, CUPY, order_on
from tracegrad.made import Made, MadeView
from tracegrad.results import TensorAt
from tracegrad.route_calls import kept_tensor, way_of
from tracegrad.tensors import FOLLOWERS, Tensor

if TYPE_CHECKING:
    from tracegrad.replay import Root, Trace

Replay = Callable[[tuple[Tensor, ...], tuple, dict], tuple[int, Any]]


class _Code:
    """A function that is being written: its lines, and what they name."""

    def __init__(self, head: str):
        self._lines = [f"def {head}:"]
        self.names: dict[str, Any] = {"Tensor": Tensor}

    def line(self, text: str) -> None:
        self._lines.append("    " + text)

    def constant(self, value: Any) -> str:
        """A name for a value."""
        name = f"k{len(self.names)}"
        self.names[name] = value
        return name

    def function(self, name: str) -> Callable[..., Any]:
        """The function, which is called `name`."""
        exec(_compiled("\n".join(self._lines), name), self.names)
        return self.names[name]


@lru_cache(maxsize=256)
def _compiled(text: str, name: str) -> CodeType:
    """The code of a text; that of one path at other sizes is the same."""
    return compile(text, f"{__file__}: {name}", "exec")


def write_replay(root: Root, run: Callable[[tuple[np.ndarray, ...]], int]) -> Replay:
    """What Root.replay does, with `run` for the native call."""
    code = _Code("replay(leaves, args, kwargs)")
    ends: list[Callable[..., Any]] = []
    ends += [partial(_first_at_end, root, k, ends) for k in range(len(root.traces))]
    code.names |= {"run": run, "ends": ends, "left": root.left}
    if root.guards.sources:
        code.line(f"{''.join(f't{k}, ' for k in range(len(root.guards.sources)))} = leaves")
    tensors = [_tensor(source.leaf, source.of_grad) for source in root.sources]
    arrays = []
    for source, tensor in zip(root.sources, tensors):
        if source.array is not None:
            arrays.append(code.constant(source.array))
        elif source.contiguous:
            arrays.append(f"{tensor}.array")
        else:
            arrays.append(f"{code.constant(source.fetch)}(leaves, args, kwargs)")
    if root.device != CPU:
        arrays = _held(code, arrays)
    if root.carries:
        arrays = _named(code, arrays)
        _write_keep(code, root, tensors, arrays)
    _write_prepare(code, [tensors[k] for k in root.written])
    if root.device == CPU:
        arrays += (f"{code.constant(take)}()" for take in root.outputs)
    else:
        code.line(f"order = {code.constant(order_on)}({code.constant(root.device)})")
        arrays.append(f"*{code.constant(root.pools.take)}(order)")
    code.line(f"arrays = ({''.join(f'{array}, ' for array in arrays)})")
    code.line("left_at = run(arrays)")
    code.line("if left_at < 0:")
    kept = "(edges, values)" if root.carries else "None"
    code.line(f"    return left_at, ends[-1 - left_at](arrays, leaves, {kept}, args, kwargs)")
    code.line("return left(left_at), None")
    return code.function("replay")


def _tensor(leaf: int | None, of_grad: bool) -> str | None:
    return None if leaf is None else f"t{leaf}._grad" if of_grad else f"t{leaf}"


def _held(code: _Code, arrays: list[str]) -> list[str]:
    """What Tensors hold, which is the array already where it is one of CuPy."""
    code.names["gpu"] = CUPY[0].ndarray
    found = []
    for k, array in enumerate(arrays):
        tensor = array.removesuffix(".array")
        if tensor == array:
            found.append(array)
            continue
        code.line(f"h{k} = {tensor}.held")
        code.line(f"if type(h{k}) is not gpu: h{k} = {array}")
        found.append(f"h{k}")
    return found


def _named(code: _Code, arrays: list[str]) -> list[str]:
    """The arrays as variables, so that each is fetched once."""
    for k, array in enumerate(arrays):
        code.line(f"a{k} = {array}")
    return [f"a{k}" for k in range(len(arrays))]


def _write_prepare(code: _Code, written: list[str | None]) -> None:
    """What Tensor.prepare_write does, which is nothing, mostly; that it would do nothing is seen without a call."""
    code.names["followers"] = FOLLOWERS
    for t in written:
        code.line(f"if followers or not ({t}.saved is {t}.kept is None) or {t}.storage is not None "
                  f"and {t}.storage._saved: {t}.prepare_write()")


def _write_keep(code: _Code, root: Root, tensors: list[str | None], arrays: list[str]) -> None:
    """Keep the inputs of the call about to run, for its backward: before anything is written."""
    code.names |= {"way_of": way_of, "kept": kept_tensor}
    edges = (f"{tensor} if {tensor}.requires_grad and {tensor}.grad_fn is None else way_of({tensor})"
             if carries and tensor else "None" for tensor, carries in zip(tensors, root.carries))
    code.line(f"edges = ({''.join(f'{edge}, ' for edge in edges)})")
    values = (f"kept({tensor or array})" for tensor, array in zip(tensors, arrays))
    code.line(f"values = ({''.join(f'{value}, ' for value in values)})" if root.keeps else "values = None")


def needs_arguments(trace: Trace) -> bool:
    """Does what comes after the native call look at the arguments?"""
    recipes = (trace.rebuild, *(effect.rebuild for effect in trace.slot_effects))
    return bool(trace.slot_effects or trace.callbacks or trace.calls) or not all(
        type(recipe) is TensorAt for recipe in recipes)


def _first_at_end(root: Root, end: int, ends: list[Callable[..., Any]], *given: Any) -> Any:
    finish = ends[end] = write_finish(root.traces[end], root.places[end])
    return finish(*given)


def write_finish(trace: Trace, places: tuple[int, ...]) -> Callable[..., Any]:
    """What comes after the native call at the end of a path: `places` are those of what it made, then saved."""
    code = _Code("finish(arrays, leaves, kept, args, kwargs)")
    code.names["trace"] = trace
    code.line("trace.replays += 1")
    tensors = [f"leaves[{k}]" for k in trace.leaves]
    made = []
    for at, (m, place) in enumerate(zip(trace.made, places)):
        made.append(f"m{at}")
        code.line(f"m{at} = Tensor(arrays[{place}], {m.requires_grad})" if m.is_plain
                  else f"m{at} = {code.constant(m.tensor)}(arrays[{place}])")
    if trace.route is not None:
        live = "".join(f"{t}, " for t, m in zip(made, trace.made) if m.has_history)
        saved = "".join(f"arrays[{place}], " for place in places[len(made):])
        code.line(f"calls = {code.constant(trace.attach)}(kept, ({saved}), ({live}))")
    _write_tensors(code, trace, tensors, iter(made))
    if trace.calls:
        code.line(f"{code.constant(trace.give)}(calls, tensors, args, kwargs)")
    for g in trace.grad_effects:
        code.line(f"{tensors[g.leaf]}._grad = {None if g.tensor is None else tensors[g.tensor]}")
    code.line(f"result = {_rebuilt(code, trace.rebuild, tensors)}")     # all of it before slots change what it finds
    for k, effect in enumerate(trace.slot_effects):
        code.line(f"s{k} = {_rebuilt(code, effect.rebuild, tensors)}")
    for k, effect in enumerate(trace.slot_effects):
        code.line(f"{code.constant(effect.slot.assign)}(args, kwargs, s{k})")
    for callback in trace.callbacks:
        code.line(f"{code.constant(callback)}(tensors, args, kwargs)")
    code.line("return result")
    return code.function("finish")


def _write_tensors(code: _Code, trace: Trace, tensors: list[str], made: Iterator[str]) -> None:
    """Extend the leaves by what the call makes, views among it; `tensors` in the code is all of them in a list."""
    for k, entry in enumerate(trace.makes):
        match entry:
            case Made():
                tensors.append(next(made))
            case MadeView():
                tensors.append(f"view{k}")
                code.line(f"view{k} = {code.constant(entry.tensor)}({tensors[entry.parent]})")
    recipes = (trace.rebuild, *(effect.rebuild for effect in trace.slot_effects))
    if trace.callbacks or trace.calls or not all(type(recipe) is TensorAt for recipe in recipes):
        code.line(f"tensors = [{', '.join(tensors)}]")


def _rebuilt(code: _Code, rebuild: Any, tensors: list[str]) -> str:
    """An expression for what a recipe makes."""
    if type(rebuild) is TensorAt:
        return tensors[rebuild.place]
    return f"{code.constant(rebuild)}(tensors, args, kwargs)"
