"""partition: Graph -> fusion groups, by what has to be stored and what is better computed again.

    %2 = exp %0                   group 0 rows [4096]x[1024]: %3, %4     %2 is computed at each use, in registers
    %3 = sum %2 axis=[1]      ->
    %4 = div %2, %3
    %5 = matmul %4, %1            group 1: call

A *key value* is one that may be stored: a reduction, a result, what a call reads, what several values use, what a
larger result would compute too often. All others are *inline*: whoever needs one computes it, at its own index.

1. A group computes its key values from stored values of others and from inputs. Groups do not wait for each other in a circle.
2. All points of a group are those of one domain: `runs` of adjacent axes, kept or reduced. A key value of the group has a
   point for each point of the domain (full) or of its kept runs (row), and a reduction combines over the reduced runs.
3. Two groups that compute the same key value, because that is cheaper than to store it, compute it alike.
4. Every decision has a sentence.
"""
from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import accumulate
from math import prod
from operator import mul

from codegen.ir.graph import Graph, Node
from codegen.ir.types import DTYPES
from codegen.schedule.costs import CHEAP, op_cost
from codegen.schedule.demand import demand_of
from codegen.schedule.forms import Form, points
from codegen.schedule.machine import Machine
from codegen.schedule.movement import reduced_axes
from codegen.schedule.tile import partial_blocks

Runs = tuple[tuple[int, bool], ...]
"""(extent, kept) of adjacent axes taken together, outermost first; extents are not 1 and neighbors differ in kept."""

@dataclass(frozen=True, slots=True)
class Group:
    """Key values computed together. `runs` is None for a call. `stored`: what other groups and the caller read."""

    members: tuple[int, ...]
    stored: tuple[int, ...]
    runs: Runs | None


@dataclass(frozen=True, slots=True)
class Partition:
    """Groups in an order in which they can run; `home` maps a stored value to the group that computes it."""

    groups: tuple[Group, ...]
    home: dict[int, int]
    decisions: tuple[str, ...]


@dataclass(slots=True)
class _Draft:
    """A group that is growing. `reduced`: members that need a reduction of the group to be finished."""

    members: list[int]
    runs: Runs | None
    shapes: list[tuple[int, ...]]
    cost: int = 0
    needs: set[int] = field(default_factory=set)        # the drafts whose values this one reads
    after: set[int] = field(default_factory=set)        # members that come after a reduction of this group


def runs_of(shape: tuple[int, ...], reduced: Iterable[int] = ()) -> Runs:
    """The runs of a shape of which some axes are reduced: [32,128,1,64] by axis 3 is ((4096, kept), (64, reduced))."""
    runs: list[tuple[int, bool]] = []
    for k, size in enumerate(shape):
        kept = k not in reduced
        if size == 1:
            continue
        if runs and runs[-1][1] == kept:
            runs[-1] = (runs[-1][0] * size, kept)
        else:
            runs.append((size, kept))
    return tuple(runs)


def prefix_products(shape: Iterable[int]) -> tuple[int, ...]:
    """1, and the products of the first sizes of a shape, each once."""
    return tuple(dict.fromkeys(accumulate(shape, mul, initial=1)))


def splits(shape: tuple[int, ...], sizes: Iterable[int]) -> bool:
    """Are the axes of a shape, taken together, axes of these sizes?"""
    return set(prefix_products(sizes)) <= set(prefix_products(shape)) and prod(sizes) == prod(shape)


def aligns(a: tuple[int, ...], b: tuple[int, ...]) -> bool:
    """Is one set of axes finer than both shapes, each axis of which is some of these together?"""
    marks = sorted({*prefix_products(a), *prefix_products(b)})
    return prod(a) == prod(b) and all(large % small == 0 for small, large in zip(marks, marks[1:]))


def partition(graph: Graph, forms: tuple[Form, ...], calls: dict[int, tuple[int, ...]], required: frozenset[int],
              cut: frozenset[int], machine: Machine) -> Partition:
    """The fusion groups of a graph.

    `calls` maps a call (MATMUL, SCATTER) to the values it reads as whole buffers; what else it reads it computes.
    `required` have to be stored because the caller reads them; `cut`, because they are read at points for which the group
    that computes them cannot compute them: by other groups.
    """
    return _Partitioner(graph, forms, calls, required, cut, machine).run()


class _Partitioner:
    def __init__(self, graph: Graph, forms: tuple[Form, ...], calls: dict[int, tuple[int, ...]],
                 required: frozenset[int], cut: frozenset[int], machine: Machine):
        self.graph, self.forms, self.calls, self.cut, self.machine = graph, forms, calls, cut, machine
        self.first = len(graph.inputs)
        count = self.first + len(graph.nodes)
        self.types = [graph.type_of(v) for v in range(count)]
        self.size = [points(t) for t in self.types]
        demand = demand_of(graph, forms, {*required, *cut, *(v for whole in calls.values() for v in whole)})
        self.live, self.uses, self.reach = demand.live, demand.uses, demand.reach
        self.must_store = set(demand.kept)
        self.leaves: list[dict[int, bool]] = [{} for _ in range(count)]      # key values below, and are they read point for point
        self.cost = [0] * count
        self.home: dict[int, int] = {}
        self.drafts: list[_Draft | None] = []
        self.decisions: list[str] = []

    # ---- key values and where they are computed -----------------------------------------------------------------------

    def run(self) -> Partition:
        for v, node in enumerate(self.graph.nodes, self.first):
            if not self.live[v]:
                continue
            match self.forms[v]:
                case Form.EMPTY:
                    continue
                case Form.ZERO:
                    pass
                case Form.LIGHT | Form.MOVE | Form.REDUCE:
                    self._gather_leaves(v, node)
                case Form.MATMUL | Form.SCATTER:
                    self._place_call(v)
                    continue
            if self._is_key(v):
                self._place(v, node)
        return self._finish()

    def _gather_leaves(self, v: int, node: Node) -> None:
        found: dict[int, bool] = {}
        cost = 0
        for position, a in enumerate(node.args):
            aligned = node.op not in ("transpose", "slice", "flip", "pad") and not (
                node.op == "gather" and position == 0 and not self._picks(v, node))
            for leaf, straight in self._below(a).items():
                found[leaf] = found.get(leaf, True) and straight and aligned
            if a not in self.home:
                cost += self.cost[a]
        self.leaves[v] = found
        self.cost[v] = min(cost + (op_cost(node.op) if self.forms[v] is Form.LIGHT else 0), 1 << 20)

    def _picks(self, v: int, node: Node) -> bool:
        """Does this gather take a few elements of each line of what is computed here, and so better stays with it?"""
        operand = node.args[0]
        return 2 * self.size[v] <= self.size[operand] and any(l in self.home for l in self._below(operand))

    def _below(self, a: int) -> dict[int, bool]:
        """What has to be known to compute `a` here: itself when it is stored somewhere or an input, else its leaves."""
        return {a: True} if a in self.home or a < self.first else self.leaves[a]

    def _is_key(self, v: int) -> bool:
        if v in self.must_store or self.forms[v] is Form.REDUCE:
            return True
        if self.forms[v] is not Form.LIGHT:
            return False
        if self.reach[v] > self.size[v] and self.cost[v] * self.reach[v] > 2 * self.machine.serial_work:
            return True
        node = self.graph.nodes[v - self.first]
        if node.op == "gather" and self._picks(v, node):
            return True
        large = sum(2 * self.size[l] >= self.size[v] for l in self.leaves[v])
        return self.uses[v] > 1 and (self.cost[v] > 2 or large > 1)

    def _place_call(self, v: int) -> None:
        node = self.graph.nodes[v - self.first]
        computed = node.args[1:] if self.forms[v] is Form.SCATTER else ()
        self.leaves[v] = {leaf: False for a in (*self.calls[v], *computed) for leaf in self._below(a)}
        self.must_store.add(v)
        self._start(v, None, f"%{v} {node.op} is a call on whole buffers")

    def _place(self, v: int, node: Node) -> None:
        """Put a key value into the group where its operands are, if its points fit there, else into one of its own."""
        reduced = self.forms[v] is Form.REDUCE
        shape = self.types[node.args[0]].shape if reduced else self.types[v].shape
        runs = runs_of(shape, reduced_axes(node, shape)) if reduced else runs_of(shape)
        refusals: list[str] = []
        for g in self._candidates(v):
            why_not = self._refuses(g, v, shape, runs, reduced)
            if why_not is None:
                self._join(g, v, shape, runs, reduced)
                self.decisions.append(f"%{v} {node.op} is computed with {self._names(g, v)}")
                self._merge_others(g, v)
                return
            refusals.append(f"not with {self._names(g, v)}: {why_not}")
        self._start(v, runs, f"%{v} {node.op} starts a kernel over {runs_text(runs)}" + "".join(f"; {r}" for r in refusals[:2]), shape)
        if reduced:
            self._draft(self.home[v]).after.add(v)

    def _names(self, g: int, but: int) -> str:
        members = [m for m in self._draft(g).members if m != but]
        return ", ".join(f"%{m}" for m in members[:3]) + (", ..." if len(members) > 3 else "")

    def _draft(self, g: int) -> _Draft:
        draft = self.drafts[g]
        assert draft is not None
        return draft

    def _candidates(self, v: int) -> list[int]:
        """Groups that `v` could join: first those that compute what it reads, the most bytes first, then those that read the same."""
        leaves = self.leaves[v]
        producers = sorted({self.home[l]: self.size[l] for l in leaves if l in self.home and leaves[l] and l not in self.cut}.items(),
                           key=lambda item: -item[1])
        found = [g for g, _ in producers if self._draft(g).runs is not None]
        small = self.size[v] * 16 < self.machine.serial_work
        large = {l for l in leaves if self.size[l] * 2 >= self._span(v)}
        for g, draft in enumerate(self.drafts):
            if draft is None or draft.runs is None or g in found:
                continue
            if (small and self._span(v) * 16 < self.machine.serial_work and draft.shapes[0] == self.types[v].shape) or any(
                    not large.isdisjoint(self.leaves[m]) for m in draft.members):
                found.append(g)
        return found

    def _span(self, v: int) -> int:
        """The number of points at which `v` has to read."""
        return self.size[self.graph.nodes[v - self.first].args[0]] if self.forms[v] is Form.REDUCE else self.size[v]

    def _refuses(self, g: int, v: int, shape: tuple[int, ...], runs: Runs, reduced: bool) -> str | None:
        """Why `v` cannot be computed in group `g`; None if it can."""
        draft = self._draft(g)
        assert draft.runs is not None
        leaves = self.leaves[v]
        if any(l in self.cut and self.home.get(l) == g for l in leaves):
            return "a value of it is read at other points"
        if draft.cost + self.cost[v] > self.machine.most_operations:
            return "the kernel would become too long"
        if any(h != g and self._waits_for(h, g) for h in {self.home[l] for l in leaves if l in self.home}):
            return "it waits for a result of it"
        grouped = any(not kept for _, kept in draft.runs)
        late = any(l in draft.after for l in leaves)
        blocks = partial_blocks(draft.runs if grouped else runs, self.machine)
        if reduced:
            if grouped and draft.runs != runs:
                return f"it combines over other points, {runs_text(draft.runs)} and not {runs_text(runs)}"
            if not grouped and not all(splits(s, [n for n, _ in runs]) for s in draft.shapes):
                return f"its points {runs_text(draft.runs)} are not {runs_text(runs)}"
            if blocks and late:
                return "a reduction of it is finished by a second kernel"
            return None
        if not grouped:
            return None if all(aligns(s, shape) for s in draft.shapes) else f"its points {runs_text(draft.runs)} are others"
        if splits(shape, [n for n, _ in draft.runs]):
            return "a reduction of it is finished by a second kernel" if blocks and late else None
        if splits(shape, [n for n, kept in draft.runs if kept]):
            return None
        return f"its points {runs_text(draft.runs)} are others"

    def _waits_for(self, a: int, b: int) -> bool:
        """Does group `a`, or one that it waits for, read what group `b` computes?"""
        seen: set[int] = set()
        pending = [a]
        while pending:
            g = pending.pop()
            if g == b:
                return True
            if g not in seen:
                seen.add(g)
                pending.extend(self._draft(g).needs)
        return False

    def _start(self, v: int, runs: Runs | None, decision: str, shape: tuple[int, ...] = ()) -> None:
        g = len(self.drafts)
        self.drafts.append(_Draft([v], runs, [shape], self.cost[v]))
        self._connect(g, v)
        self.decisions.append(decision)

    def _connect(self, g: int, v: int) -> None:
        draft = self._draft(g)
        draft.needs |= {self.home[l] for l in self.leaves[v] if l in self.home} - {g}
        self.home[v] = g

    def _join(self, g: int, v: int, shape: tuple[int, ...], runs: Runs, reduced: bool) -> None:
        draft = self._draft(g)
        assert draft.runs is not None
        draft.members.append(v)
        draft.cost += self.cost[v] + 1
        if reduced and all(kept for _, kept in draft.runs):
            draft.runs = runs
        if reduced or any(l in draft.after for l in self.leaves[v]):
            draft.after.add(v)
        if all(kept for _, kept in draft.runs) and shape not in draft.shapes:
            draft.shapes.append(shape)
        self._connect(g, v)

    def _merge_others(self, g: int, v: int) -> None:
        """`v` joined one of its producers; take in the others that fit as well and that do not wait for each other."""
        for other in sorted({self.home[l] for l, straight in self.leaves[v].items() if straight and l in self.home and l not in self.cut}):
            a, b = self._draft(g), self.drafts[other]
            if other == g or b is None or b.runs is None or not self._same_domain(a, b):
                continue
            if a.cost + b.cost > self.machine.most_operations or self._waits_for(other, g):
                continue
            if any(self._waits_for(h, other) for h in a.needs - {other}) or any(l in b.members for m in a.members if m != v for l in self.leaves[m]):
                continue
            if (a.after or b.after) and partial_blocks(self._finer(a, b), self.machine):
                continue
            if any(l in b.members and l in self.cut for l in self.leaves[v]):
                continue
            self.decisions.append(f"the kernels of {self._names(g, v)} and {self._names(other, v)} are one, for %{v} reads both")
            self._absorb(g, other)
            if not a.after.isdisjoint(self.leaves[v]):
                a.after.add(v)

    @staticmethod
    def _finer(a: _Draft, b: _Draft) -> Runs:
        assert a.runs is not None and b.runs is not None
        return a.runs if any(not kept for _, kept in a.runs) else b.runs

    def _same_domain(self, a: _Draft, b: _Draft) -> bool:
        runs = self._finer(a, b)
        for draft in (a, b):
            assert draft.runs is not None
            if any(not kept for _, kept in draft.runs):
                if draft.runs != runs:
                    return False
            elif not all(splits(s, [n for n, _ in runs]) for s in draft.shapes):
                return False
        return all(aligns(s, t) for s in a.shapes for t in b.shapes)

    def _absorb(self, g: int, other: int) -> None:
        a, b = self._draft(g), self._draft(other)
        a.runs = self._finer(a, b)
        a.members = sorted(a.members + b.members)
        a.shapes += [s for s in b.shapes if s not in a.shapes]
        a.cost += b.cost
        a.needs = (a.needs | b.needs) - {g, other}
        a.after |= b.after
        for m in b.members:
            self.home[m] = g
        self.drafts[other] = None
        for draft in self.drafts:
            if draft is not None and other in draft.needs:
                draft.needs = (draft.needs - {other}) | {g}

    # ---- what is stored ------------------------------------------------------------------------------------------------

    def _finish(self) -> Partition:
        """Decide, from the last key value to the first, whether those that need it read it or compute it again."""
        demanded: dict[int, set[int]] = {v: set() for v in self.home}
        stored: set[int] = set()
        for v in sorted(self.home, reverse=True):
            home, groups = self.home[v], demanded[v]
            others = groups - {home}
            if v in self.must_store or (others and self._stores(v, others)):
                stored.add(v)
                groups = {home}
            for leaf in self.leaves[v]:
                if leaf in demanded:
                    demanded[leaf] |= groups
        numbers, groups_found = self._ordered(stored)
        home_of = {v: numbers[self.home[v]] for v in stored}
        return Partition(groups_found, home_of, tuple(self.decisions))

    def _stores(self, v: int, others: set[int]) -> bool:
        """Is storing `v` better than to compute it again in `others`? By bytes moved, if computing is cheap."""
        if self.forms[v] is Form.REDUCE or self.cost[v] > CHEAP:
            self.decisions.append(f"%{v} is stored: computing it again takes {self.cost[v]} operations for each element")
            return True
        own = self.size[v] * DTYPES[self.types[v].dtype].itemsize
        reads = sum(self.size[l] * DTYPES[self.types[l].dtype].itemsize for l in self.leaves[v])
        stores = 2 * own + len(others) * own < len(others) * reads
        self.decisions.append(f"%{v} is {'stored' if stores else 'computed again'}: {len(others)} other kernels use it, "
                              f"which costs {2 * own + len(others) * own} bytes when it is stored and {len(others) * reads} when it is not")
        return stores

    def _ordered(self, stored: set[int]) -> tuple[dict[int, int], tuple[Group, ...]]:
        """Groups that store something, each after those it waits for."""
        numbers: dict[int, int] = {}
        groups: list[Group] = []
        state: dict[int, bool] = {}

        def visit(g: int) -> None:
            if g in state:
                return
            state[g] = True
            draft = self._draft(g)
            for h in sorted(draft.needs):
                visit(h)
            kept = tuple(v for v in draft.members if v in stored)
            if kept:
                numbers[g] = len(groups)
                groups.append(Group(tuple(draft.members), kept, draft.runs))

        for g, draft in enumerate(self.drafts):
            if draft is not None:
                visit(g)
        return numbers, tuple(groups)


def runs_text(runs: Runs) -> str:
    """`[4096] by sums over [1024]`: the extents that are kept and, in parentheses, reduced, in order."""
    return "x".join(f"{n}" if kept else f"({n})" for n, kept in runs) or "one point"
