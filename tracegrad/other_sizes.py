"""A call that differs from a root in the shapes of its Tensors only: what is known of its run without looking again.

    f(x: f32[5,64])    recorded: a walk over all that f may read, guards for all that it has read
    f(x: f32[9,64])    every guard holds but that of a shape  ─►  recorded: watched like any other run; if it has done
                                                                   nothing else, its guards are these with another shape

1. Guards were written for the code that ran, from state that they describe whole: where they hold, and no other code
   ran, writing them again would give the same.
2. Only code that ran before is expected to run. If other code does, the run is not replayed, and its like are recorded
   with that in view, as always.
"""
from __future__ import annotations

import dis
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import lru_cache
from itertools import pairwise
from types import CodeType
from typing import TYPE_CHECKING, Any

from codegen.ir.dims import Dim, Size, symbol
from codegen.ir.structs import struct
from tracegrad.guards import Guards, Line, Missed, shown
from tracegrad.purity.effects import Effect, Kind
from tracegrad.purity.observation import Observation
from tracegrad.purity.prediction import Prediction
from tracegrad.purity.read_set import ReadSet
from tracegrad.recorded import Input
from tracegrad.replay import Root
from tracegrad.sized import may_be_sized
from tracegrad.source_lines import is_inside
from tracegrad.stand_ins import plain_class
from tracegrad.symbols import Symbols
from tracegrad.tensors import Tensor

if TYPE_CHECKING:
    from tracegrad.trace_tree import TraceTree


@struct(eq=False)
class Resized:
    """What a call has other sizes than: `leaves` and `guards` are those of the root, for this call."""

    root: Root
    leaves: tuple[Any, ...]
    guards: Guards
    because: Missed
    retry: Callable[[], None]       # called where another call with these sizes is to be recorded for all, too

    def symbols(self) -> Symbols | None:
        """Symbols for the sizes that change from call to call, 0 and 1 excepted; None if none is to be had.

        Sizes that have changed alike are one symbol.
        """
        root = self.root
        if any(trace.callbacks for trace in root.traces):
            return None
        names: dict[tuple[Size, int], str] = {}
        given: list[tuple[Tensor, tuple[Size, ...]]] = []
        for k, (leaf, line) in enumerate(zip(self.leaves, root.guards.shapes)):
            array = leaf.array
            sizes = tuple([symbol(names.setdefault((old, new), f"b{len(names)}")) if changes(old, new) else new
                           for old, new in zip(shape_before(root, k, line), array.shape)])
            if sizes != array.shape:
                if not may_be_sized(leaf):
                    if plain_class(leaf) is not type(leaf):     # it is in another run
                        self.retry()
                    return None
                given.append((leaf, sizes))
        return Symbols(given, {name: new for (_, new), name in names.items()}, self.retry) if names else None

    def read_set(self, prediction: Prediction, seen: Observation, changes: Collection[Effect], lifted: Collection[str],
                 inputs: Iterable[Input], written: Iterable[Any], anew: Callable[[], ReadSet]) -> ReadSet | None:
        """What the run read, if it did what those of the root did: with the root's guards. None if that is not sure.

        `anew` looks again, for what the run gives that it had found.
        """
        before = self.root.seen
        if (seen.refusals or not prediction.complete or seen.handing or before.handing
                or not seen.codes.keys() <= before.codes.keys() or frozenset(lifted) != self.root.lifted
                or any(now and not then for now, then in zip(_flags(seen), _flags(before)))
                or any(e.kind is not Kind.GRAD for e in changes)):
            return None
        place_of = {id(t): k for k, t in enumerate(self.leaves)}
        owners = [e.tensor if e.grad_of is None else e.grad_of for e in inputs if e.frozen is None and e.number is None]
        sources = [self.root.sources[k] for k in self.root.written]
        if (any(id(owner) not in place_of for owner in owners)
                or {place_of[id(t)] for t in written if id(t) in place_of}
                != {source.leaf for source in sources if not source.of_grad}):
            return None
        seen.include(before)
        known = {id(entry.object) for entry in prediction.snapshot}
        return ReadSet(self.leaves, self.guards, (), tuple(changes), {},
                       lambda o: anew().source(o) if id(o) in known else None)


def _flags(seen: Observation) -> tuple[bool, ...]:
    return seen.left_by_error, seen.caught, seen.computed


@lru_cache(maxsize=4096)
def catches_errors(code: CodeType) -> bool:
    """Has the program's `code` an `except`? It would meet what C code does not take of a number that is no int."""
    if not code.co_exceptiontable or is_inside(code.co_filename):
        return False
    names = [one.opname for one in dis.get_instructions(code)]
    matches = not {"CHECK_EXC_MATCH", "CHECK_EG_MATCH"}.isdisjoint(names)
    return matches or ("PUSH_EXC_INFO", "POP_TOP") in pairwise(names)          # a bare except


def shape_before(root: Root, k: int, line: Line) -> tuple[Size, ...]:
    """The shape that a root assumes of leaf k, in symbols where it has them."""
    shape: tuple[Size, ...] = line.expected[0] if root.all_sizes is None else root.all_sizes.shapes[k]
    return shape


def changes(old: Size, new: int) -> bool:
    """Is a size one that a symbol is to stand for?"""
    return old != new and new >= 2 and (isinstance(old, Dim) or old >= 2)


Changing = tuple[CodeType, frozenset[tuple[int, int]]]
"""What a root assumes beside shapes, and where sizes are that symbols are to stand for: (leaf, axis)."""


def changing(root: Root, leaves: Iterable[Tensor]) -> Changing:
    """The sizes that symbols would stand for, were this call recorded."""
    places = frozenset((k, axis) for k, (leaf, line) in enumerate(zip(leaves, root.guards.shapes))
                       for axis, (old, new) in enumerate(zip(shape_before(root, k, line), leaf.array.shape))
                       if changes(old, new))
    return root.guards.check.__code__, places


def resized(tree: TraceTree, args: tuple, kwargs: Mapping[str, Any]) -> Resized | None:
    """The root that was used last, if this call, which is to be recorded, has other sizes, and is like its calls in
    everything else it assumes.
    """
    root = tree.roots[0] if tree.roots and not tree.quarantined else None
    leaves = None if root is None else leaves_at_other_sizes(root, args, kwargs)
    if root is None or leaves is None:
        return None
    wanted = changing(root, leaves)
    tree.tried.add(wanted)
    guards, shapes = root.guards, [leaf.array.shape for leaf in leaves]
    other = [k for k, line in enumerate(guards.shapes) if line.expected[0] != shapes[k]]
    because = Missed(guards, guards.shapes[other[0]], shown(shapes[other[0]]))
    return Resized(root, leaves, guards.with_shapes({k: shapes[k] for k in other}), because,
                   lambda: tree.tried.discard(wanted))


def leaves_at_other_sizes(root: Root, args: tuple, kwargs: Mapping[str, Any]) -> tuple[Tensor, ...] | None:
    """The Tensors of a call that has other sizes than those of a root, and all else as that; None if it has not."""
    leaves = root.guards.but_shapes(args, kwargs)
    if leaves is None:
        return None
    others = False
    for leaf, line in zip(leaves, root.guards.shapes):
        shape, (expected,) = leaf.array.shape, line.expected
        if shape != expected:
            others = True
            if len(shape) != len(expected):
                return None
    return leaves if others else None


def sizes_of(leaves: Iterable[Tensor]) -> int:
    """A number that tells the shapes of Tensors from others, all but surely (see Guards.sizes)."""
    return hash(tuple([leaf.array.shape for leaf in leaves]))
