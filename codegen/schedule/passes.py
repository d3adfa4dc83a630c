"""passes: a nest -> its kernel: expressions put in passes, each value numbered as it comes.

    e0 = Load %0[64*a0+a1]                        for i < 4096:
    e1 = Accumulate sum e0         outer a0         pass j < 64: v0 = load b0[64*i+j]; v1 = accumulate sum v0
    e2 = div e0 e1            ->   inner a1         pass j < 64: v2 = load b0[64*i+j]; v3 = div v2 v1; store b1 ... v3
    Store %7[64*a0+a1] e2

1. What changes along inner axes is computed in each pass that needs it; all else once for each point of the outer axes.
2. There is a pass over the inner axes for each stage: how many reductions come before, one after the other.
3. A store comes as soon as what it stores is known, in the order of the roots.
4. What an earlier pass has computed, and would be dear to compute again, is shelved by that pass while there is room;
   beyond that, what takes long to compute and is stored anyway is loaded by later passes.
5. Where there is too little room, or sizes are symbols and nobody knows how much it is, what takes long to compute is
   left meanwhile in the place of a result that comes later, at the same point:

    pass j < n: v4 = exp v3; v5 = accumulate sum v4; store b1 .. v4
    pass j < n: v6 = load b1 ..; v7 = div v6 v5; store b1 .. v7
"""
from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from codegen.ir.structs import struct
from codegen.schedule.costs import cost_of
from codegen.schedule.expressions import Storage
from codegen.schedule.index import substitute
from codegen.schedule.kernel import (
    Accumulate,
    Axis,
    Gather,
    Index,
    Kernel,
    Load,
    Param,
    Pass,
    Scatter,
    Statement,
    Store,
    operands,
    with_indices,
    with_operands,
)
from codegen.schedule.machine import Machine
from codegen.schedule.nest import Nest, plain_axis
from codegen.schedule.shelves import shelf_points
from codegen.schedule.tile import Layout
from codegen.schedule.value_types import dtypes_of

AXIS_NAMES = "ijklmnopqrstuvwxyz"


@struct
class Lowered:
    """A kernel, what each of its params holds, and the values of the graph that it is there for."""

    kernel: Kernel
    storages: tuple[Storage, ...]
    values: tuple[int, ...] = ()


def emitted(nest: Nest, chosen: Layout, machine: Machine) -> Lowered:
    """The kernel of a nest with its axes in the order, and cut into the chunks, that were chosen."""
    passes = _Passes(replace(nest, outer=chosen.outer, inner=chosen.inner), chosen, machine)
    names = [AXIS_NAMES[k] if k < len(AXIS_NAMES) else f"x{k}" for k in range(len(chosen.outer) + len(chosen.inner))]
    return passes.kernel(dict(zip((*chosen.outer, *chosen.inner), names)), chosen)


class _Passes:
    """Statements put in passes, each value numbered as it comes."""

    def __init__(self, nest: Nest, chosen: Layout, machine: Machine):
        self.nest, self.machine = nest, machine
        self.deep = nest.deep
        self.inner_roots = set(nest.inner_roots)
        self.numbers: dict[int, int] = {}           # expressions that all later passes see
        self.here: dict[int, int] = {}              # expressions that only this pass sees
        self.before: dict[int, int] = {}            # expressions that earlier passes over the inner axes computed
        self.shelved: set[int] = set()
        outer_vector = chosen.vector in nest.outer
        points = shelf_points(nest.inner, outer_vector, nest.extents)
        self.shelf = machine.shelf_points + 1 if points is None else points
        taken = [s.buffer for s in (*nest.statements, *nest.roots) if isinstance(s, Load | Gather | Store | Scatter)]
        self.lenders = [root for root in nest.inner_roots       # roots not stored yet, in whose place there is nothing
                        if self.shelf > machine.shelf_points and isinstance(root, Store)
                        and taken.count(root.buffer) == 1]
        self.lent: dict[int, Store] = {}            # expressions that are left in the place of such a root
        self.made_in: dict[int, int] = {}           # the pass that an expression of `before` was made in
        self.found: list[tuple[bool, list[Statement]]] = []     # passes so far: do they run over the inner axes?
        self.stored: dict[int, Store] = {}          # expressions that earlier passes stored and that this one loads
        self.count = 0
        self.body: list[Statement] = []
        self.costs: list[int] = []                  # of computing each expression once more in another pass
        for k, s in enumerate(nest.statements):
            again = sum(self.costs[x] for x in operands(s) if x < k) if self.deep[k] else 0
            self.costs.append(min(again + (1 if isinstance(s, Load) else cost_of(s)), 1 << 20) if self.deep[k] else 0)

    def place(self, root: int) -> int:
        """The number of an expression, which is put here, after what it needs, if it is not seen already."""
        pending = [root]
        while pending:
            k = pending[-1]
            if k in self.numbers or k in self.here:
                pending.pop()
                continue
            if self._is_shelved(k):
                pending.pop()
                self.here[k] = self.before[k]
                continue
            place = self.stored.get(k) or self._lent(k)
            if place:
                self.body.append(Load(place.buffer, place.index))
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

    def _is_shelved(self, k: int) -> bool:
        """Is an expression taken from where an earlier pass left it?"""
        if k not in self.before:
            return False
        others = 0 if self.machine.at_once else len(self.shelved)
        if k not in self.shelved and self.costs[k] > self.machine.shelf_worth and (
                others + 1) * self.shelf <= self.machine.shelf_points:
            self.shelved.add(k)
        return k in self.shelved

    def _lent(self, k: int) -> Store | None:
        """The root in whose place an expression is left by the pass that made it, if it is or is worth it."""
        if k not in self.lent and k in self.before and self.costs[k] > self.machine.cheap:
            dtypes = dtypes_of((s for _, body in self.found for s in body), self.nest.params)
            fitting = [r for r in self.lenders if self.nest.params[r.buffer].dtype == dtypes[self.before[k]]]
            if fitting:
                self.lent[k] = root = max(fitting, key=lambda r: self.nest.stages[r.x])
                self.lenders.remove(root)
                self.found[self.made_in[k]][1].append(replace(root, x=self.before[k]))
        return self.lent.get(k)

    def number(self, k: int) -> int:
        return self.numbers[k] if k in self.numbers else self.here[k]

    def append(self, s: Statement) -> None:
        self.body.append(with_operands(s, [self.number(x) for x in operands(s)]))

    def store(self, root: Store | Scatter) -> None:
        for x in operands(root):
            self.place(x)
        for k in [k for k, lender in self.lent.items() if lender is root]:
            self.place(k)                           # before it is gone
            del self.lent[k]
        if root in self.lenders:
            self.lenders.remove(root)
        self.append(root)

    def passes(self) -> list[tuple[bool, tuple[Statement, ...]]]:
        """The bodies of the passes, and whether each runs over the inner axes."""
        nest, needed = self.nest, self.needed()
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
                    self.found.append((inner, self.body))
                if inner:
                    new = {k: v for k, v in self.here.items() if k not in self.before}
                    self.before |= new
                    self.made_in |= dict.fromkeys(new, len(self.found) - 1)
            self.stored |= {root.x: root for root in self.inner_roots if isinstance(root, Store)
                            and nest.stages[root.x] == stage and self.costs[root.x] > self.machine.cheap}
        return [(inner, tuple(body)) for inner, body in self.found]

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
        """The kernel with short names for the axes, and only the buffers that are used, as they are used."""
        extents = {names[a]: self.nest.extents[a] for a in names}
        table: dict[Index, Index] = {}

        def renamed(index: Index) -> Index:
            if index not in table:
                table[index] = substitute(index, lambda a: plain_axis(names[a]), extents)
            return table[index]

        used: dict[int, set[str]] = {}
        bodies = self.passes()
        for s in (s for _, body in bodies for s in body):
            match s:
                case Load() | Gather():
                    used.setdefault(s.buffer, set()).add("in")
                case Store():
                    used.setdefault(s.buffer, set()).add("out")
                case Scatter():
                    used.setdefault(s.buffer, set()).update(("in", "out"))
        order = {buffer: k for k, buffer in enumerate(used)}
        access = {frozenset({"in"}): "in", frozenset({"out"}): "out", frozenset({"in", "out"}): "inout"}
        given = [(self.nest.params[b], access[frozenset(ways)]) for b, ways in used.items()]
        params = tuple(Param(param.dtype, param.size, way) for param, way in given)

        def axes(level: Iterable[str]) -> tuple[Axis, ...]:
            clips = {a: (renamed(index), bound) for a, (index, bound) in self.nest.clips.items()}
            return tuple(Axis(names[a], self.nest.extents[a], clips.get(a)) for a in level)

        def finished(s: Statement) -> Statement:
            s = with_indices(s, renamed)
            if not isinstance(s, Load | Gather | Store | Scatter) or order[s.buffer] == s.buffer:
                return s
            return replace(s, buffer=order[s.buffer])

        passes = tuple(Pass(axes(chosen.inner) if inner else (), tuple(map(finished, body))) for inner, body in bodies)
        vector = names[chosen.vector] if chosen.vector else None
        kernel = Kernel(params, axes(chosen.outer), passes, vector, chosen.grain)
        return Lowered(kernel, tuple(self.nest.storages[b] for b in used))
