"""nest: expressions and the axes they run over -> kernels: axes merged, values placed in passes, large reductions cut in two.

    e0 = Load %0[64*a0+a1]                        for i < 4096:
    e1 = Accumulate sum e0         kept a0          for j < 64: v0 = load b0[64*i+j]; v1 = accumulate sum v0
    e2 = div e0 e1            ->   reduced a1       for j < 64: v2 = load b0[64*i+j]; v3 = div v2, v1; store b1[64*i+j] v3
    Store %7[64*a0+a1] e2

1. What changes along inner axes is computed in each pass that needs it; all else once for each point of the outer axes.
2. A pass over the inner axes for each stage: how many reductions come before, one after the other.
3. A store comes as soon as what it stores is known, in the order of the roots.
4. What takes long to compute and is stored anyway is loaded by the passes after that in which it is stored.
"""
from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from math import prod

from codegen.ir.types import DTYPES
from codegen.schedule.costs import CHEAP, cost_of
from codegen.schedule.expressions import Partial, Storage
from codegen.schedule.index import ZERO, add, axes_of, axis, flatten, scale, substitute
from codegen.schedule.kernel import (
    Accumulate,
    Axis,
    Gather,
    Index,
    Kernel,
    Load,
    Param,
    Pass,
    ScatterAdd,
    Statement,
    Store,
    indices_of,
    operands,
    with_indices,
    with_operands,
)
from codegen.schedule.machine import Machine
from codegen.schedule.tile import ENOUGH_CHUNKS, POINT_LANES, Layout, chunks_wanted, layout

AXIS_NAMES = "ijklmnopqrstuvwxyz"
BLOCKS = "blocks"


@dataclass(frozen=True, slots=True)
class Lowered:
    """A kernel, and what each of its params holds."""

    kernel: Kernel
    storages: tuple[Storage, ...]


@dataclass(frozen=True, slots=True)
class Nest:
    """Expressions by number; roots, the statements they are there for; outer (kept) and inner (reduced) axes.

    `stages`: of each expression. `checks`: gathers that are roots too. `reductions`: the value that each Accumulate is, and
    its dtype.
    `clip`: an inner axis that runs only while an index is below a bound.
    """

    statements: tuple[Statement, ...]
    stages: tuple[int, ...]
    roots: tuple[Store | ScatterAdd, ...]
    checks: tuple[int, ...]
    reductions: Mapping[int, tuple[int, str]]
    storages: tuple[Storage, ...]
    params: tuple[Param, ...]
    outer: tuple[str, ...]
    inner: tuple[str, ...]
    extents: Mapping[str, int]
    clip: tuple[str, Index, int] | None = None

    @property
    def deep(self) -> list[bool]:
        """For each expression whether it changes along inner axes."""
        return depends_on(self, self.inner)

    @property
    def inner_roots(self) -> tuple[Store | ScatterAdd, ...]:
        """The roots that run over the inner axes: for what they store, or for where."""
        deep, inner = self.deep, set(self.inner)
        return tuple(s for s in self.roots if deep[s.x] or any(not inner.isdisjoint(axes_of(index)) for index in indices_of(s)))

    @property
    def can_be_two(self) -> bool:
        """Does nothing that changes along inner axes wait for a reduction?"""
        early = [s.x for s in (*self.statements, *self.inner_roots) if isinstance(s, Accumulate | Store | ScatterAdd)]
        return all(self.stages[x] == 0 for x in early)


def depends_on(nest: Nest, names: Iterable[str]) -> list[bool]:
    """For each expression whether it changes along one of these inner axes; what a reduction combines it no longer does."""
    wanted = set(names)
    result: list[bool] = []
    for s in nest.statements:
        result.append(not isinstance(s, Accumulate) and (
            any(result[x] for x in operands(s)) or any(not wanted.isdisjoint(axes_of(index)) for index in indices_of(s))))
    return result


# ---- axes ---------------------------------------------------------------------------------------------------------------


def coalesced(nest: Nest) -> Nest:
    """The nest with one axis in the place of neighbors that every index walks through as through one."""
    indices = {index for s in (*nest.statements, *nest.roots) for index in indices_of(s)}
    gone: set[str] = set()
    extents = dict(nest.extents)
    levels: list[tuple[str, ...]] = []
    for names in (nest.outer, nest.inner):
        level: list[str] = []
        for name in reversed(names):
            if level and all(_walks_as_one(index, name, level[-1], extents[level[-1]]) for index in indices):
                extents[level[-1]] *= extents.pop(name)
                gone.add(name)
                indices = {_without(index, gone, extents) for index in indices}
            else:
                level.append(name)
        levels.append(tuple(reversed(level)))
    outer, inner = levels
    if not gone:
        return nest
    return replace(_with_indices(nest, lambda index: _without(index, gone, extents)), outer=outer, inner=inner, extents=extents)


def _without(index: Index, gone: set[str], extents: Mapping[str, int]) -> Index:
    return index if gone.isdisjoint(axes_of(index)) else substitute(index, lambda a: ZERO if a in gone else _axis(a), extents)


def _axis(name: str) -> Index:
    return Index(((name, 1),))


def _walks_as_one(index: Index, a: str, b: str, extent: int) -> bool:
    """Does one step of axis `a` do to the index what `extent` steps of `b` do, also inside its quotients?"""
    steps = {term: c for term, c in index.terms if isinstance(term, str)}
    return steps.get(a, 0) == extent * steps.get(b, 0) and all(
        isinstance(term, str) or _walks_as_one(term.index, a, b, extent) for term, _ in index.terms)


def _with_indices(nest: Nest, new: Callable[[Index], Index]) -> Nest:
    table: dict[Index, Index] = {}

    def cached(index: Index) -> Index:
        found = table.get(index)
        if found is None:
            found = table[index] = new(index)
        return found

    return replace(nest, statements=tuple(with_indices(s, cached) for s in nest.statements),
                   roots=tuple(with_indices(s, cached) for s in nest.roots))


# ---- kernels ------------------------------------------------------------------------------------------------------------


def kernel_of(nest: Nest, machine: Machine, parallel: str | None = None) -> Lowered:
    """The one kernel of a nest; `parallel` names the axis that is to be cut into chunks, if that is not free."""
    chosen = _layout(nest, machine, parallel)
    if not nest.inner and len(chosen.outer) > 1 and chosen.vector:
        first, wanted = nest.extents[chosen.outer[0]], chunks_wanted(_work(nest), machine)
        if first < min(wanted, ENOUGH_CHUNKS) and nest.extents[chosen.vector] >= 2 * POINT_LANES:
            return kernel_of(_in_strips(nest, chosen.vector, wanted), machine, BLOCKS)
        if _worth_hoisting(nest, chosen.vector, machine):
            nest = replace(nest, outer=tuple(name for name in nest.outer if name != chosen.vector), inner=(chosen.vector,))
            chosen = _layout(nest, machine, parallel)
    return emitted(nest, chosen)


def _in_strips(nest: Nest, vector: str, wanted: int) -> Nest:
    """The nest with its vector axis cut into about as many blocks as chunks are wanted, to be the parallel axis."""
    extent = nest.extents[vector]
    length = -(-extent // (wanted * POINT_LANES)) * POINT_LANES
    outer = tuple(name for name in nest.outer if name != vector)
    return _cut(replace(nest, outer=outer, inner=(vector,)), vector, length)


def _cut(nest: Nest, name: str, length: int) -> Nest:
    """The nest with an inner axis in blocks of a length, the last of which may be shorter; the blocks are its first axis."""
    extent = nest.extents[name]
    blocks = -(-extent // length)
    whole = add(scale(_axis(BLOCKS), length), _axis(name))
    extents = {BLOCKS: blocks, **nest.extents, name: length}
    cut = _with_indices(nest, lambda index: substitute(index, lambda a: whole if a == name else _axis(a), extents))
    return replace(cut, outer=(BLOCKS, *nest.outer), extents=extents,
                   clip=(name, whole, extent) if blocks * length != extent else None)


def _layout(nest: Nest, machine: Machine, parallel: str | None) -> Layout:
    deep = nest.deep if nest.inner else [True] * len(nest.statements)
    accesses = [s.index for s, inside in zip(nest.statements, deep) if inside and isinstance(s, Load)]
    accesses += [s.index for s in (nest.inner_roots if nest.inner else nest.roots) if isinstance(s, Store)]
    return layout(nest.outer, nest.inner, nest.extents, accesses, _work(nest), _element_bytes(nest), machine, parallel)


def _element_bytes(nest: Nest) -> int:
    return max(DTYPES[param.dtype].itemsize for param in nest.params)


def _work(nest: Nest) -> int:
    """Elements of a launch, those that take many operations counted several times: a load takes as long as four additions."""
    cost = sum(cost_of(s) for s, deep in zip(nest.statements, nest.deep) if deep or not nest.inner)
    return prod(nest.extents.values()) * max(1, cost // 4)


def _worth_hoisting(nest: Nest, vector: str, machine: Machine) -> bool:
    """Is something computed that does not change along the vector axis, and is that axis long enough to gain by it?"""
    if nest.extents[vector] * _element_bytes(nest) < 4 * machine.vector_bytes:
        return False
    return any(cost_of(s) > 1 and not along for s, along in zip(nest.statements, depends_on(nest, [vector])))


def in_two(nest: Nest, blocks: int, machine: Machine) -> list[Lowered]:
    """A kernel that reduces blocks of the longest inner axis, and a kernel that combines what the first leaves.

    The partial results of a reduction lie block after block, each like the kept points.
    """
    cut = max(nest.inner, key=lambda name: nest.extents[name])
    extent = nest.extents[cut]
    length = -(-extent // blocks)
    if length > 512:
        length = -(-length // 64) * 64
    blocks = -(-extent // length)
    kept = tuple(nest.extents[name] for name in nest.outer)
    place = flatten((_axis(BLOCKS), *map(axis, nest.outer, kept)), (blocks, *kept))
    deep, inner_roots = nest.deep, nest.inner_roots
    sums = {k: s for k, s in enumerate(nest.statements) if isinstance(s, Accumulate)}
    first_buffer = len(nest.storages)
    storages = (*nest.storages, *(Partial(nest.reductions[k][0]) for k in sums))
    params = (*nest.params, *(Param(nest.reductions[k][1], blocks * prod(kept), "in") for k in sums))

    first = _cut(replace(nest, roots=inner_roots, checks=tuple(k for k in nest.checks if deep[k]), storages=storages,
                         params=params), cut, length)
    first = replace(first, roots=(*first.roots, *(Store(first_buffer + n, place, k) for n, k in enumerate(sums))))

    count = len(nest.statements)
    statements = [*nest.statements, *(Load(first_buffer + n, place) for n in range(len(sums)))]
    for n, (k, s) in enumerate(sums.items()):
        statements[k] = Accumulate(s.kind, count + n)
    second = replace(
        nest, statements=tuple(statements), stages=(*nest.stages, *(0 for _ in sums)),
        roots=tuple(s for s in nest.roots if s not in inner_roots), checks=tuple(k for k in nest.checks if not deep[k]),
        storages=storages, params=params, inner=(BLOCKS,),
        extents={BLOCKS: blocks, **{name: nest.extents[name] for name in nest.outer}})
    return [kernel_of(first, machine, BLOCKS), kernel_of(second, machine)]


def emitted(nest: Nest, chosen: Layout) -> Lowered:
    """The kernel of a nest with its axes in the order, and cut into the chunks, that were chosen."""
    passes = _Passes(replace(nest, outer=chosen.outer, inner=chosen.inner))
    names = {name: AXIS_NAMES[k] if k < len(AXIS_NAMES) else f"x{k}" for k, name in enumerate((*chosen.outer, *chosen.inner))}
    return passes.kernel(names, chosen)


class _Passes:
    """Statements put in passes, each value numbered as it comes."""

    def __init__(self, nest: Nest):
        self.nest = nest
        self.deep = nest.deep
        self.inner_roots = set(nest.inner_roots)
        self.numbers: dict[int, int] = {}           # expressions that all later passes see
        self.here: dict[int, int] = {}              # expressions that only this pass sees
        self.stored: dict[int, Store] = {}          # expressions that earlier passes have stored and that this one loads
        self.count = 0
        self.body: list[Statement] = []
        self.costs: list[int] = []                  # of computing each expression once more in another pass
        for k, s in enumerate(nest.statements):
            again = sum(self.costs[x] for x in operands(s) if x < k) if self.deep[k] else 0
            self.costs.append(min(again + cost_of(s), 1 << 20) if self.deep[k] else 0)

    def place(self, root: int) -> int:
        """The number of an expression, which is put here, after what it needs, if it is not seen already."""
        pending = [root]
        while pending:
            k = pending[-1]
            if k in self.numbers or k in self.here:
                pending.pop()
                continue
            if k in self.stored:
                self.body.append(Load(self.stored[k].buffer, self.stored[k].index))
            else:
                missing = [x for x in operands(self.nest.statements[k]) if x not in self.numbers and x not in self.here]
                if missing:
                    pending += reversed(missing)
                    continue
                self.append(self.nest.statements[k])
            pending.pop()
            (self.here if self.deep[k] else self.numbers)[k] = self.count
            self.count += 1
        return self.number(root)

    def number(self, k: int) -> int:
        return self.numbers[k] if k in self.numbers else self.here[k]

    def append(self, s: Statement) -> None:
        self.body.append(with_operands(s, [self.number(x) for x in operands(s)]))

    def store(self, root: Store | ScatterAdd) -> None:
        for x in operands(root):
            self.place(x)
        self.append(root)

    def passes(self) -> list[tuple[bool, tuple[Statement, ...]]]:
        """The bodies of the passes, and whether each runs over the inner axes."""
        nest, needed = self.nest, self.needed()
        found: list[tuple[bool, tuple[Statement, ...]]] = []
        for stage in range(1 + max((nest.stages[k] for k in needed), default=0)):
            for inner in (False, True):
                self.body, self.here = [], {}
                for root in nest.roots:
                    if (root in self.inner_roots) == inner and nest.stages[root.x] == stage:
                        self.store(root)
                for k in needed:
                    s = nest.statements[k]
                    if isinstance(s, Accumulate):
                        if inner and nest.stages[s.x] == stage:
                            self.place(k)
                    elif nest.stages[k] == stage and self.deep[k] == inner and (not inner or k in nest.checks):
                        self.place(k)
                if self.body:
                    found.append((inner, tuple(self.body)))
            self.stored |= {root.x: root for root in self.inner_roots if isinstance(root, Store)
                            and nest.stages[root.x] == stage and self.costs[root.x] > CHEAP}
        return found

    def needed(self) -> list[int]:
        """The expressions that roots and checks are made of, in order."""
        found: set[int] = set()
        pending = [*self.nest.checks, *(x for root in self.nest.roots for x in operands(root))]
        while pending:
            k = pending.pop()
            if k not in found:
                found.add(k)
                pending += operands(self.nest.statements[k])
        return sorted(found)

    def kernel(self, names: Mapping[str, str], chosen: Layout) -> Lowered:
        """The kernel with short names for the axes, and only the buffers that are used, in the order in which they are."""
        extents = {names[a]: self.nest.extents[a] for a in names}
        table: dict[Index, Index] = {}

        def renamed(index: Index) -> Index:
            if index not in table:
                table[index] = substitute(index, lambda a: _axis(names[a]), extents)
            return table[index]

        used: dict[int, set[str]] = {}
        bodies = self.passes()
        for s in (s for _, body in bodies for s in body):
            match s:
                case Load() | Gather():
                    used.setdefault(s.buffer, set()).add("in")
                case Store():
                    used.setdefault(s.buffer, set()).add("out")
                case ScatterAdd():
                    used.setdefault(s.buffer, set()).update(("in", "out"))
        order = {buffer: k for k, buffer in enumerate(used)}
        access = {frozenset({"in"}): "in", frozenset({"out"}): "out", frozenset({"in", "out"}): "inout"}
        params = tuple(replace(self.nest.params[b], access=access[frozenset(ways)]) for b, ways in used.items())

        def axes(level: Iterable[str]) -> tuple[Axis, ...]:
            clip = self.nest.clip
            return tuple(Axis(names[a], self.nest.extents[a], (renamed(clip[1]), clip[2]) if clip and clip[0] == a else None)
                         for a in level)

        def finished(s: Statement) -> Statement:
            s = with_indices(s, renamed)
            return replace(s, buffer=order[s.buffer]) if isinstance(s, Load | Gather | Store | ScatterAdd) else s

        passes = tuple(Pass(axes(chosen.inner) if inner else (), tuple(map(finished, body))) for inner, body in bodies)
        vector = names[chosen.vector] if chosen.vector else None
        return Lowered(Kernel(params, axes(chosen.outer), passes, vector, chosen.grain), tuple(self.nest.storages[b] for b in used))
