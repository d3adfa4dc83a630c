"""Segments: the paths of one root share what they have in common, a tree that lowers to a Program.

    run 1:  sum, gt, read True, mul, return         segment 0: sum, gt ─┬─ True  ─ segment 1: mul, end 0
    run 2:  sum, gt, read False, div, return                            └─ False ─ segment 2: div, end 1

1. A segment is what happens between two reads of a value by Python. What is known of it holds for the whole prefix that
   led there: segments are never shared by two prefixes, only their kernels are.
2. Values are numbered along a path: input k of the root is ~k, the result of the n-th node is n. So a common prefix has
   common numbers.
3. A tree is never changed: adding a path makes a new one, and threads that run the old one go on with it.
"""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field, replace

from codegen.ir.graph import Graph, Node
from codegen.ir.program import Block, Branch, Exit, Goto, Program, Return, Switch, Target
from codegen.ir.structs import struct
from codegen.ir.tree import with_args
from codegen.ir.types import FLOATS, TensorType
from tracegrad.aborts import Abort, Aborted
from tracegrad.recorded import Read


@struct(frozen=False, eq=False)
class Growth:
    """How often calls left a segment by an unknown way, and how often recording what came then has failed.

    `closed`: why what comes there is not recorded at all. `for_one_size`: was it recorded, and not for all sizes?
    """

    exits: int = 0
    failures: int = 0
    skip: int = 0
    closed: Aborted | None = None
    for_one_size: bool = False

    def may_record(self, most: int) -> bool:
        """Should this call be recorded? After n failures 2**n - 1 calls are not; after `most` none is."""
        if self.failures >= most:
            return False
        if self.skip:
            self.skip -= 1
            return False
        return True

    def failed(self) -> None:
        """A recording was aborted."""
        self.failures += 1
        self.skip = 2 ** self.failures - 1

    def succeeded(self) -> None:
        """A recording became a path."""
        self.failures = self.skip = 0


@struct(eq=False)
class Path:
    """One recorded run: its graph, what Python read on the way, and which input of the root each of its inputs is.

    Inputs `written` hold the values of the graph's first outputs when the run is over.
    """

    graph: Graph
    reads: tuple[Read, ...]
    inputs: tuple[int, ...]
    written: tuple[int, ...]

    @property
    def aliases(self) -> tuple[tuple[int, int], ...]:
        """(output, input of the root) pairs of one storage."""
        return tuple((k, self.inputs[i]) for k, i in enumerate(self.written))

    def number(self, value: int) -> int:
        """The number of a value of the graph along the path."""
        k = len(self.inputs)
        return value - k if value >= k else ~self.inputs[value]


@struct(frozen=False, eq=False)
class Segment:
    """Nodes, then a read with a way for each number that was read, or the end of a path.

    `first` is the number of the first node. `read`: the value, its type, what was asked of it and where.
    `end`: the values that the path gives. Mostly nobody asks for the nodes of one that is a whole path: they are not
    `known` until then.
    """

    first: int
    known: tuple[Node, ...] | None
    read: Read | None = None
    ways: dict[int, Segment] = field(default_factory=dict)
    end: tuple[int, ...] = ()
    path: Path | None = None
    growth: Growth = field(default_factory=Growth)

    @property
    def nodes(self) -> tuple[Node, ...]:
        """Its nodes, on values as they are numbered along the path."""
        if self.known is None:
            assert self.path is not None
            self.known = _numbered(self.path)
        return self.known

    def leads_to(self, read: Read, nodes: Sequence[Node]) -> bool:
        """Does a path with these nodes go through this segment and come to `read` at its end?"""
        return (self.read is not None and (self.read.nodes, self.read.value) == (read.nodes, read.value)
                and self.nodes == nodes[self.first:read.nodes])

    def changing_float(self, values: int) -> Aborted | None:
        """Why a float that Python reads at its end is not recorded with yet another value, if that is so."""
        read = self.read
        if read is None or read.dtype not in FLOATS or len(self.ways) < values:
            return None
        return Aborted(Abort.HOST_READ, f"{read.what}, which has had {values} values", read.line)

    def differs_compiled(self) -> Aborted:
        """Why a call left here whose Python then went a known way. A float will do so each time: `growth` is closed."""
        read = self.read
        assert read is not None
        why = Aborted(Abort.HOST_READ, f"{read.what}, whose last digits are others when it is compiled", read.line)
        if read.dtype in FLOATS:
            self.growth.closed = why
        return why


class NotThisTree(Exception):
    """A path does not begin as the others do: the run depended on something that neither guards nor reads show."""


class KnownPath(Exception):
    """The path is one of the tree's."""


def added(tree: Segment | None, path: Path) -> Segment:
    """The tree with one more path. KnownPath if it has it, NotThisTree if the path does not branch off at a read."""
    end = tuple(map(path.number, path.graph.outputs))
    if tree is None and not path.reads:
        return Segment(0, None, end=end, path=path)
    nodes = _numbered(path)
    reads = [replace(read, value=path.number(read.value)) for read in path.reads]
    passed: list[Segment] = []
    at = tree
    for read in reads:
        if at is None or not at.leads_to(read, nodes):
            break
        passed.append(at)
        at = at.ways.get(read.number)
    bounds = [0, *(read.nodes for read in reads)]
    if at is not None:
        same = len(passed) == len(reads) and at.path is not None and (at.nodes, at.end) == (nodes[at.first:], end)
        raise KnownPath if same else NotThisTree
    segment = Segment(bounds[-1], nodes[bounds[-1]:], end=end, path=path)
    for k in reversed(range(len(reads))):
        if k < len(passed):
            segment = replace(passed[k], ways={**passed[k].ways, reads[k].number: segment})
        else:
            segment = Segment(bounds[k], nodes[bounds[k]:bounds[k + 1]], reads[k], {reads[k].number: segment})
    return segment


def _numbered(path: Path) -> tuple[Node, ...]:
    """The nodes of a path, on values as they are numbered along it."""
    numbers = [*(~k for k in path.inputs), *range(len(path.graph.nodes))]
    return tuple([with_args(node, [numbers[a] for a in node.args]) for node in path.graph.nodes])


def removed(tree: Segment, path: Path, reason: Aborted | None) -> Segment | None:
    """The tree without a path; None if no path is left. For a reason, none is recorded any more where it branched off.
    """
    numbers, chain = [read.number for read in path.reads], [tree]
    for number in numbers:
        chain.append(chain[-1].ways[number])
    branching = max((k for k in range(len(numbers)) if len(chain[k].ways) > 1), default=None)
    if branching is None:
        return None
    if reason is not None:
        chain[branching].growth.closed = reason
    ways = {number: to for number, to in chain[branching].ways.items() if number != numbers[branching]}
    segment = replace(chain[branching], ways=ways)
    for k in reversed(range(branching)):
        segment = replace(chain[k], ways={**chain[k].ways, numbers[k]: segment})
    return segment


@struct
class Lowered:
    """A tree as a Program. `ends`: the path of each Return, `exits`: the segment that each exit leaves, from exit 1."""

    program: Program
    ends: tuple[Path, ...]
    exits: tuple[Segment, ...]

    @property
    def aliases(self) -> tuple[tuple[tuple[int, int], ...], ...]:
        """For each Return, which of its outputs share the storage of an input."""
        return tuple(path.aliases for path in self.ends)


def lowered(name: str, inputs: Sequence[TensorType], tree: Segment) -> Lowered:
    """The program that goes every known way of the tree, and leaves where a way is not known."""
    if tree.read is None and tree.path is not None and tree.path.inputs == tuple(range(len(inputs))):
        graph = tree.path.graph             # one path alone, on inputs of its own
        return Lowered(Program(name, (Block(tuple(inputs), graph.nodes, Return(graph.outputs)),)), (tree.path,), ())
    order = in_order(tree)
    needed = _needed(order)
    number_of = {id(segment): k for k, segment in enumerate(order)}
    params: list[list[int]] = [_params(segment, needed[id(segment)]) for segment in order]
    params[0] = [~k for k in range(len(inputs))]
    types: list[dict[int, TensorType]] = [{} for _ in order]
    types[0] = {~k: type for k, type in enumerate(inputs)}
    blocks: list[Block] = []
    ends: list[Path] = []
    exits: list[Segment] = []
    for k, segment in enumerate(order):
        local = {v: place for place, v in enumerate(params[k])}
        known = types[k]
        nodes: list[Node] = []
        for n, node in enumerate(segment.nodes, segment.first):
            nodes.append(with_args(node, [local[a] for a in node.args]))
            local[n], known[n] = len(local), node.type

        def way(number: int, segment: Segment = segment, local: dict[int, int] = local,
                known: dict[int, TensorType] = known) -> Target:
            after = segment.ways.get(number)
            if after is None:
                return leave(segment)
            j = number_of[id(after)]
            types[j] = {v: known[v] for v in params[j]}
            return Goto(j, tuple(local[v] for v in params[j]))

        def leave(segment: Segment) -> Exit:
            exits.append(segment)
            return Exit(len(exits))

        read = segment.read
        if read is None:
            assert segment.path is not None
            ends.append(segment.path)
            end: Return | Branch | Switch = Return(tuple(local[v] for v in segment.end))
        elif read.dtype == "bool":
            end = Branch(local[read.value], way(1), way(0), read.line)
        else:
            cases = tuple((number, way(number)) for number in segment.ways)
            end = Switch(local[read.value], cases, leave(segment), read.line)
        blocks.append(Block(tuple(known[v] for v in params[k]), tuple(nodes), end))
    return Lowered(Program(name, tuple(blocks)), tuple(ends), tuple(exits))


def in_order(tree: Segment) -> list[Segment]:
    """Every segment, each before those it leads to."""
    order: list[Segment] = []
    todo = [tree]
    while todo:
        segment = todo.pop()
        order.append(segment)
        todo += reversed(segment.ways.values())
    return order


def _needed(order: Sequence[Segment]) -> dict[int, set[int]]:
    """For each segment, by id, the values from before it that it or what follows it uses."""
    needed: dict[int, set[int]] = {}
    for segment in reversed(order):
        used = set(segment.end)
        used.update(*(needed[id(after)] for after in segment.ways.values()), *(node.args for node in segment.nodes))
        if segment.read is not None:
            used.add(segment.read.value)
        needed[id(segment)] = {v for v in used if v < segment.first}
    return needed


def _params(segment: Segment, needed: set[int]) -> list[int]:
    """The needed values, those that the nodes use first, so that equal segments are equal blocks."""
    first = dict.fromkeys(a for node in segment.nodes for a in node.args if a in needed)
    return [*first, *sorted(needed - first.keys())]
