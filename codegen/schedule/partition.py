"""partition: graph -> fusion groups, by what has to be stored and what is better computed again.

    %2 = exp %0                   group 0, over 4096x(1024): %3, %4     %2 is computed at each use, in registers
    %3 = sum %2 axis=[1]      ->
    %4 = div %2, %3
    %5 = matmul %4, %1            group 1: a call

A *key value* is one that may be stored: a reduction, a result, what a call reads, what several values use, what a
larger result would compute too often. All others are *inline*: whoever needs one computes it, at its own index.

1. A group computes its key values from stored values of others and from inputs; groups never wait in a circle.
2. The points of a group are those of its runs. A key value of it has a point for each (full) or for each of the kept
   runs (row); a reduction combines over the reduced runs.
3. A key value that costs less to compute than to store and load is computed by every group that needs it.
4. Every decision has a sentence.
"""
from __future__ import annotations

from dataclasses import field
from math import prod

from codegen.ir.dims import typical
from codegen.ir.graph import Node
from codegen.ir.structs import struct
from codegen.ir.types import DTYPES
from codegen.schedule.costs import op_cost
from codegen.schedule.demand import demand_of
from codegen.schedule.forms import Form, StaticGraph
from codegen.schedule.machine import Machine
from codegen.schedule.movement import Shape, reduced_axes
from codegen.schedule.plan import Decision
from codegen.schedule.runs import Runs, aligns, reduces, runs_of, runs_text, splits, splits_rows
from codegen.schedule.tile import passes_apart

DEEPEST = 40
"""How many inline values may be computed one from the other; more are cut by a key value."""

NEARBY = 6
"""How many of the last groups that read the same a value may join."""


@struct
class Group:
    """Key values computed together, operands first. `runs` is None for a call. `stored`: those that others read."""

    members: tuple[int, ...]
    stored: tuple[int, ...]
    runs: Runs | None


@struct
class Partition:
    """Groups in an order in which they can run; `home` maps a stored value to the number of its group."""

    groups: tuple[Group, ...]
    home: dict[int, int]
    decisions: tuple[Decision, ...]


def partition(graph: StaticGraph, calls: dict[int, tuple[int, ...]], required: frozenset[int], cut: frozenset[int],
              machine: Machine) -> Partition:
    """The fusion groups of a graph.

    `calls` maps a call (MATMUL, CONCAT, SCATTER, SCAN, HOST) to the values it reads as whole buffers; others it
    computes.
    `required` have to be stored because the caller reads them; `cut`, because they are read at points at which their
    own group cannot compute them, so that others have to read them.
    """
    partitioner = _Partitioner(graph, calls, required, cut, machine)
    partitioner.place_all()
    return partitioner.result()


@struct(frozen=False)
class _Draft:
    """A group that is growing."""

    members: list[int]
    runs: Runs | None
    shapes: list[Shape]
    cost: int = 0
    needs: set[int] = field(default_factory=set)        # the drafts whose values this one reads
    after: set[int] = field(default_factory=set)        # members that come after a reduction of this group


class _Partitioner:
    def __init__(self, graph: StaticGraph, calls: dict[int, tuple[int, ...]], required: frozenset[int],
                 cut: frozenset[int], machine: Machine):
        self.graph, self.calls, self.cut, self.machine = graph, calls, cut, machine
        self.size = tuple(map(typical, graph.sizes))
        self.demand = demand_of(graph, {*required, *cut, *(v for whole in calls.values() for v in whole)})
        count = len(graph.forms)
        self.leaves: list[dict[int, bool]] = [{} for _ in range(count)]     # key values below; read point for point?
        self.cost = [0] * count                                             # of a value and the inline ones below
        self.again = [0] * count                                            # and of the light key values below, too
        self.depth = [0] * count
        self.home: dict[int, int] = {}
        self.drafts: dict[int, _Draft] = {}
        self.moved: set[int] = set()                    # values that are read at other points than those of the reader
        self.readers: dict[int, list[int]] = {}         # value to the groups that read it at their own points
        self.decisions: list[Decision] = []

    # ---- key values and where they are computed --------------------------------------------------------------------

    def place_all(self) -> None:
        """Find the key values and put each into a group, from the first to the last."""
        for v, node in self.graph.nodes():
            form = self.graph.forms[v]
            if not self.demand.live[v] or form is Form.EMPTY:
                continue
            if form in (Form.MATMUL, Form.CONCAT, Form.SCATTER, Form.SCAN, Form.HOST):
                self._place_call(v, node)
                continue
            if form is not Form.ZERO:
                self._look_below(v, node)
            if self._is_key(v, node):
                self._place(v, node)

    def _look_below(self, v: int, node: Node) -> None:
        """Find the leaves and the cost of a value."""
        found: dict[int, bool] = {}
        for position, a in enumerate(node.args):
            straight = node.op not in ("transpose", "slice", "flip", "pad", "shear", "unshear", "concat") and not (
                node.op == "gather" and position == 0 and not self._picks(v, node))
            for leaf, aligned in self._known(a).items():
                found[leaf] = found.get(leaf, True) and aligned and straight
        inline = [a for a in node.args if a >= self.graph.first and a not in self.home]
        own = op_cost(node.op) if self.graph.forms[v] is Form.LIGHT else 0
        self.leaves[v] = found
        self.cost[v] = min(own + sum(self.cost[a] for a in inline), 1 << 20)
        self.again[v] = min(own + sum(0 if self._is_at_hand(a, v) else self.again[a] for a in node.args), 1 << 20)
        self.depth[v] = 1 + max((self.depth[a] for a in inline), default=0)

    def _is_at_hand(self, a: int, v: int) -> bool:
        """Whoever computes `v` again, does it load `a`? What is in memory in any case, and what is small beside `v`."""
        form = self.graph.forms[a]
        return (form in (Form.INPUT, Form.REDUCE, Form.MATMUL, Form.CONCAT, Form.SCATTER, Form.SCAN, Form.HOST)
                or a in self.demand.kept
                or a in self.home and self.size[a] * 8 <= self.size[v])

    def _picks(self, v: int, node: Node) -> bool:
        """Does this gather take a few elements of each line of what is computed here, and so better stays with it?"""
        operand = node.args[0]
        return 2 * self.size[v] <= self.size[operand] and any(l in self.home for l in self._known(operand))

    def _known(self, a: int) -> dict[int, bool]:
        """What has to be known to compute `a`: itself if it is an input or a key value, else its leaves."""
        return {a: True} if a in self.home or a < self.graph.first else self.leaves[a]

    def _is_key(self, v: int, node: Node) -> bool:
        if v in self.demand.kept or self.graph.forms[v] is Form.REDUCE or self.depth[v] > DEEPEST:
            return True
        if self.graph.forms[v] is not Form.LIGHT:
            return False
        reach = self.demand.reach[v]
        often = reach > 1.25 * self.size[v] and self.cost[v] > 1            # one addition costs no more than a load
        if often and self.cost[v] * reach > 2 * self.machine.serial_work:
            return True
        if self.cost[v] * 4 > self.machine.most_operations or (node.op == "gather" and self._picks(v, node)):
            return True
        large = sum(2 * self.size[l] >= self.size[v] for l in self.leaves[v])
        return self.demand.uses[v] > 1 and (self.cost[v] > 2 or large > 1)

    def _place_call(self, v: int, node: Node) -> None:
        computed = {Form.SCATTER: node.args[1:], Form.SCAN: node.args}.get(self.graph.forms[v], ())
        self.leaves[v] = {leaf: False for a in (*self.calls[v], *computed) for leaf in self._known(a)}
        self._start(v, None, ())
        self._decide(v, f"%{v} {node.op} is a call on whole buffers")

    def _place(self, v: int, node: Node) -> None:
        """Put a key value into the group where its operands are, if its points fit there, else into one of its own."""
        shape = self._domain(v)
        reduced = self.graph.forms[v] is Form.REDUCE
        runs = runs_of(shape, reduced_axes(node, shape)) if reduced else runs_of(shape)
        refusals: list[str] = []
        for g in self._candidates(v):
            why_not = self._refusal(g, v, shape, runs)
            if why_not is None:
                self._join(g, v, shape, runs)
                self._decide(v, f"%{v} {node.op} is computed with {self._names(g, v)}")
                self._merge_others(g, v)
                return
            refusals.append(f"; not with {self._names(g, v)}: {why_not}")
        self._start(v, runs, shape)
        self._decide(v, f"%{v} {node.op} starts a kernel over {runs_text(runs)}" + "".join(refusals[:2]),
                     parts=bool(refusals))

    def _domain(self, v: int) -> Shape:
        """The shape at whose points a value computes: a reduction's operand's."""
        return self.graph.shapes[self.graph.node(v).args[0] if self.graph.forms[v] is Form.REDUCE else v]

    def _names(self, g: int, but: int) -> str:
        members = [m for m in self.drafts[g].members if m != but]
        return ", ".join(f"%{m}" for m in members[:3]) + (", ..." if len(members) > 3 else "")

    def _candidates(self, v: int) -> list[int]:
        """Groups that `v` could join: those that compute what it reads, then those that read the same."""
        leaves = self.leaves[v]
        producers = {self.home[l]: self.size[l] for l, aligned in leaves.items()
                     if aligned and l in self.home and l not in self.cut}
        found = sorted(producers, key=lambda g: -producers[g])
        for l in self._large_leaves(v):
            found += self.readers.get(l, [])[-NEARBY:]
        return [g for g in dict.fromkeys(found) if g in self.drafts and self.drafts[g].runs is not None]

    def _large_leaves(self, v: int) -> list[int]:
        """What is read at the points at which `v` computes: a group that reads it as well need not load it again.

        And what is only moved: the parts that a value is taken apart into are one kernel, however many.
        """
        span = typical(prod(self._domain(v)))
        moved = self.graph.forms[v] is Form.MOVE
        return [l for l, aligned in self.leaves[v].items() if (aligned or moved) and 2 * self.size[l] >= span]

    def _refusal(self, g: int, v: int, shape: Shape, runs: Runs) -> str | None:
        """Why `v` cannot be computed in group `g`; None if it can."""
        draft, leaves = self.drafts[g], self.leaves[v]
        assert draft.runs is not None
        if any(l in self.cut and self.home.get(l) == g for l in leaves):
            return "a value of it is read at other points"
        if draft.cost + self.cost[v] > self.machine.most_operations:
            return "the kernel would become too long"
        if any(self._waits_for(h, g) for h in {self.home[l] for l in leaves if l in self.home} - {g}):
            return "it waits for a result of it"
        late = "its reductions are done first: in blocks, or because columns are longer than caches keep"
        finishes = any(l in draft.after for l in leaves) and passes_apart(
            draft.runs if reduces(draft.runs) else runs, self.machine)
        if reduces(runs):
            if reduces(draft.runs) and draft.runs != runs:
                return f"it combines over other points, {runs_text(draft.runs)} and not {runs_text(runs)}"
            if not reduces(draft.runs) and not all(splits(s, runs) for s in draft.shapes):
                return f"its points {runs_text(draft.runs)} are not {runs_text(runs)}"
            return late if finishes else None
        if not reduces(draft.runs):
            fits = all(aligns(s, shape) for s in draft.shapes)
            return None if fits else f"its points {runs_text(draft.runs)} are others"
        if splits(shape, draft.runs):
            return late if finishes else None
        return None if splits_rows(shape, draft.runs) else f"its points {runs_text(draft.runs)} are others"

    def _waits_for(self, a: int, b: int) -> bool:
        """Is group `a` group `b`, or does it read, directly or not, what that computes?"""
        seen: set[int] = set()
        pending = [a]
        while pending:
            g = pending.pop()
            if g == b:
                return True
            if g not in seen:
                seen.add(g)
                pending.extend(self.drafts[g].needs)
        return False

    # ---- groups that grow ------------------------------------------------------------------------------------------

    def _start(self, v: int, runs: Runs | None, shape: Shape) -> None:
        g = len(self.graph.forms) + v                   # a number that no other group has had
        self.drafts[g] = _Draft([], runs, [])
        self._enter(g, v)
        self.drafts[g].shapes.append(shape)

    def _join(self, g: int, v: int, shape: Shape, runs: Runs) -> None:
        draft = self.drafts[g]
        assert draft.runs is not None
        if reduces(runs):
            draft.runs = runs
        if not reduces(draft.runs) and shape not in draft.shapes:
            draft.shapes.append(shape)
        self._enter(g, v)

    def _enter(self, g: int, v: int) -> None:
        draft, leaves = self.drafts[g], self.leaves[v]
        draft.members.append(v)
        draft.cost += self.cost[v] + 1
        draft.needs |= {self.home[l] for l in leaves if l in self.home} - {g}
        self.moved.update(l for l, aligned in leaves.items() if not aligned)
        if self.graph.forms[v] is Form.REDUCE or not draft.after.isdisjoint(leaves):
            draft.after.add(v)
        for l in self._large_leaves(v):
            readers = self.readers.setdefault(l, [])
            if g not in readers:
                readers.append(g)
        self.home[v] = g

    def _merge_others(self, g: int, v: int) -> None:
        """`v` joined one of its producers; take in the others that have the same points and do not wait for it."""
        own = self.drafts[g]
        producers = {self.home[l] for l, aligned in self.leaves[v].items() if aligned and l in self.home}
        for other in sorted(producers - {g}):
            if self._can_merge(g, other, v):
                both = f"{self._names(g, v)} and {self._names(other, v)}"
                self._decide(v, f"the kernels of {both} are one: %{v} reads both")
                self._absorb(g, other)
                if not own.after.isdisjoint(self.leaves[v]):
                    own.after.add(v)

    def _can_merge(self, g: int, other: int, v: int) -> bool:
        a, b = self.drafts[g], self.drafts[other]
        if a.runs is None or b.runs is None or a.cost + b.cost > self.machine.most_operations:
            return False
        runs = a.runs if reduces(a.runs) else b.runs
        for draft, own in ((a, a.runs), (b, b.runs)):
            if own != runs and (reduces(own) or not all(splits(s, runs) for s in draft.shapes)):
                return False
        if not all(aligns(s, t) for s in a.shapes for t in b.shapes):
            return False
        if (a.after or b.after) and passes_apart(runs, self.machine):
            return False
        theirs = set(b.members)
        if any(not theirs.isdisjoint(self.leaves[m]) for m in a.members if m != v) or any(
                l in theirs and l in self.cut for l in self.leaves[v]):
            return False
        return not self._waits_for(other, g) and not any(self._waits_for(h, other) for h in a.needs - {other})

    def _absorb(self, g: int, other: int) -> None:
        a, b = self.drafts[g], self.drafts.pop(other)
        assert a.runs is not None and b.runs is not None
        a.runs = a.runs if reduces(a.runs) else b.runs
        a.members = sorted(a.members + b.members)
        a.shapes += [s for s in b.shapes if s not in a.shapes]
        a.cost += b.cost
        a.needs = (a.needs | b.needs) - {g, other}
        a.after |= b.after
        self.home.update(dict.fromkeys(b.members, g))
        for draft in self.drafts.values():
            if other in draft.needs:
                draft.needs = draft.needs - {other} | {g}

    # ---- what is stored --------------------------------------------------------------------------------------------

    def result(self) -> Partition:
        """Decide, from the last key value to the first, whether the groups that need it read it or compute it again."""
        demanded: dict[int, set[int]] = {v: set() for v in self.home}
        stored: set[int] = set()
        for v in sorted(self.home, reverse=True):
            home, groups = self.home[v], demanded[v]
            others = len(groups - {home})
            if self.drafts[home].runs is None or v in self.demand.kept or others and self._is_stored(v, others):
                stored.add(v)
                groups = {home}
            for leaf in self.leaves[v]:
                if leaf in demanded:
                    demanded[leaf] |= groups
        groups_found: list[Group] = []
        numbers: dict[int, int] = {}
        for g in self._order():
            draft = self.drafts[g]
            members = tuple(v for v in draft.members if v in stored or g in demanded[v])
            kept = tuple(v for v in members if v in stored)
            if kept:
                numbers[g] = len(groups_found)
                groups_found.append(Group(members, kept, draft.runs))
        return Partition(tuple(groups_found), {v: numbers[self.home[v]] for v in stored}, tuple(self.decisions))

    def _is_stored(self, v: int, others: int) -> bool:
        """Is it better to store `v` than to compute it again in other groups? By bytes moved, if computing is cheap."""
        if self.graph.forms[v] is Form.REDUCE:
            self._decide(v, f"%{v} is stored: it is a reduction that other kernels read", parts=True)
            return True
        times = self.demand.uses[v] if v in self.moved else 1
        if self.again[v] * times > self.machine.cheap:
            at = f" at each of {times} points" if times > 1 else ""
            self._decide(v, f"%{v} is stored: computing it again takes {self.again[v]} operations an element{at}",
                         parts=True)
            return True
        stored = (2 + others) * self._bytes(v)
        loaded = others * sum(map(self._bytes, self.leaves[v]))
        choice = "stored" if stored < loaded else "computed again"
        self._decide(v, f"%{v} is {choice}: {others} other kernels read it, "
                        f"which moves {stored} bytes if it is stored, {loaded} if not", parts=stored < loaded)
        return stored < loaded

    def _decide(self, v: int, sentence: str, parts: bool = False) -> None:
        self.decisions.append(Decision(v, sentence, parts))

    def _bytes(self, v: int) -> int:
        return self.size[v] * DTYPES[self.graph.dtype(v)].itemsize

    def _order(self) -> list[int]:
        """The groups, each after those it waits for."""
        order: dict[int, None] = {}
        for start in self.drafts:
            pending = [start]
            while pending:
                g = pending[-1]
                missing = [h for h in sorted(self.drafts[g].needs) if h not in order]
                if missing:
                    pending += reversed(missing)
                else:
                    order[g] = None
                    pending.pop()
        return list(order)
