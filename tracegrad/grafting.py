"""Grafting: a recorded path becomes a root of its own, or one more way of the root that the call had left.

    root:  sum, gt ── True ── mul              a call left it where gt was False
    path:  sum, gt, read False, div     ->     root:  sum, gt ─┬─ True  ── mul
                                                               └─ False ── div

1. The new root assumes on entry whatever any of its paths does: the guards of the new path were written for the code of
   all of them, and hold for the call that is being made, as those of the old root did.
2. Inputs and leaves of the old root are found in the new one: the same Tensors, in that call.
"""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from codegen import CannotLower, CompileError
from codegen.ir.structs import struct
from codegen.ir.types import TensorType
from tracegrad.aborts import Aborted
from tracegrad.all_sizes import AllSizes, Makes
from tracegrad.compiling import Compiling
from tracegrad.entry import GradExpected, Source
from tracegrad.purity.observation import Observation
from tracegrad.purity.read_set import ReadSet
from tracegrad.replay import Root, Trace
from tracegrad.segments import NotThisTree, Path, Segment, added, lowered, removed
from tracegrad.symbols import Symbols
from tracegrad.tensors import Tensor


@struct
class Departure:
    """A call left `root`, where it had found `leaves`, from `segment`."""

    root: Root
    leaves: tuple[Tensor, ...]
    segment: Segment

    @property
    def written(self) -> list[Tensor]:
        """The Tensors that paths of the root write in place."""
        return [self.root.written_tensor(k, self.leaves) for k in self.root.written]

    def symbols(self) -> Symbols | None:
        """What sizes are in its run, if the paths of the root are for all sizes."""
        return None if self.root.all_sizes is None else self.root.all_sizes.symbols_at(self.leaves)


@struct
class NewPath:
    """A path as it was recorded: its leaves and inputs are numbered by itself."""

    trace: Trace
    reads: ReadSet
    sources: tuple[Source, ...]
    grads_expected: tuple[GradExpected, ...]
    lifted: frozenset[str]
    seen: Observation
    symbols: Symbols | None = None          # what its sizes are, if it is for all sizes
    makes: Makes = ()                       # what it makes, with symbols


class DoesNotJoin(Exception):
    """The path cannot become one of the root's."""


@struct
class Grafted:
    """The root that has a new path, the path's trace in it, and the root whose place it takes, if any."""

    root: Root
    trace: Trace
    replaces: Root | None


def grafted(new: NewPath, departure: Departure | None, name: str, compiling: Compiling) -> Grafted:
    """Add a path to the root that the call left, or where that cannot be, make a root of it. KnownPath if it has it."""
    if departure is not None:
        try:
            return _joined(new, departure, name, compiling)
        except (NotThisTree, DoesNotJoin):
            pass
    tree = added(None, new.trace.path)
    inputs = new.trace.path.graph.inputs
    root = _built(new, new.sources, new.grads_expected, inputs, tree, [new.trace], name, compiling)
    if new.symbols is not None:
        shapes = [new.symbols.sizes_of(t) for t in new.reads.tensors]
        root.all_sizes = AllSizes(root, inputs, tuple(new.symbols.numbers), shapes, new.symbols.assumptions.made,
                                  {new.trace.path: new.makes})
    return Grafted(root, new.trace, None)


def _joined(new: NewPath, departure: Departure, name: str, compiling: Compiling) -> Grafted:
    """The root that the call left, with one more path."""
    old, before = departure.root, departure.root.all_sizes
    if (before is None) is not (new.symbols is None):
        raise DoesNotJoin                   # the paths of the root are for all sizes, and this one is not
    place_of_leaf = {id(t): k for k, t in enumerate(new.reads.tensors)}
    try:
        places = [place_of_leaf[id(t)] for t in departure.leaves]
    except KeyError:
        raise DoesNotJoin from None
    sources = [source if source.leaf is None else replace(source, leaf=places[source.leaf]) for source in old.sources]
    inputs: list[TensorType] = list(old.executable.inputs if before is None else before.inputs)
    numbers: list[int] = []
    for source, type in zip(new.sources, new.trace.path.graph.inputs):
        k = next((k for k, other in enumerate(sources) if same_source(source, other)), len(sources))
        if k == len(sources):
            sources.append(source)
            inputs.append(type)
        numbers.append(k)
    trace = replace(new.trace, path=replace(new.trace.path, inputs=tuple(numbers)))
    tree = added(old.tree, trace.path)
    expected = dict.fromkeys((*(replace(e, leaf=places[e.leaf]) for e in old.grads_expected), *new.grads_expected))
    traces = [*(_moved(trace, places) for trace in old.traces), trace]
    root = _built(new, tuple(sources), tuple(expected), inputs, tree, traces, name, compiling)
    if before is not None and new.symbols is not None:
        root.all_sizes = before.with_path(root, inputs, new.reads.tensors, new.symbols, {trace.path: new.makes})
    return Grafted(root, trace, old)


def _moved(trace: Trace, places: Sequence[int]) -> Trace:
    """The trace in a root where leaf k of the old one is at places[k]."""
    return replace(trace, leaves=tuple(places[k] for k in trace.leaves))


def _built(new: NewPath, sources: tuple[Source, ...], grads_expected: tuple[GradExpected, ...],
           inputs: Sequence[TensorType], tree: Segment, traces: Sequence[Trace], name: str,
           compiling: Compiling) -> Root:
    low = lowered(name, inputs, tree)
    executable = compiling.executable(low.program, low.aliases, None if new.symbols is None else new.symbols.numbers)
    by_path = {id(trace.path): trace for trace in traces}
    return Root(new.reads.guards, sources, grads_expected, new.lifted, new.seen, tree, low.exits,
                tuple(by_path[id(path)] for path in low.ends), executable, device=compiling.device,
                places_of_leaves=tuple(t.device for t in new.reads.tensors))


def without(root: Root, paths: Sequence[Path], reason: Aborted | None, name: str, compiling: Compiling) -> Root | None:
    """The root without some paths, for a reason if they are not to be recorded again; None if it has no other."""
    tree = root.tree
    for path in paths:
        smaller = removed(tree, path, reason)
        if smaller is None:
            return None
        tree = smaller
    before = root.all_sizes
    low = lowered(name, root.executable.inputs if before is None else before.inputs, tree)
    try:
        compiling = compiling.on(root.device)
        executable = compiling.executable(low.program, low.aliases, None if before is None else before.numbers_of(root))
    except (CannotLower, CompileError):
        return None
    by_path = {id(trace.path): trace for trace in root.traces}
    without_them = replace(root, tree=tree, exits=low.exits, traces=tuple(by_path[id(path)] for path in low.ends),
                      executable=executable)
    if before is not None:
        without_them.all_sizes = before.without_paths(without_them)
    return without_them


def same_source(a: Source, b: Source) -> bool:
    """Do both find the same value, in any call?"""
    if a.of_sizes is not None or b.of_sizes is not None:
        return (a.of_sizes, _dtype(a)) == (b.of_sizes, _dtype(b))
    if a.array is not None or b.array is not None:
        return (a.array is not None and b.array is not None and a.array.dtype == b.array.dtype
                and a.array.shape == b.array.shape and bool(np.array_equal(_bytes(a.array), _bytes(b.array))))
    return (a.leaf, a.of_grad, a.number, a.dtype) == (b.leaf, b.of_grad, b.number, b.dtype)


def _dtype(source: Source) -> np.dtype | None:
    return None if source.array is None else source.array.dtype


def _bytes(array: np.ndarray) -> np.ndarray:
    return np.frombuffer(array.tobytes(), np.uint8)
