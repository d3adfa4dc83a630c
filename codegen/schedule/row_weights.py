"""row_weights: is a kernel one that makes weights of scores, row by row? Then what it does is told apart here.

    pass j: v0 = load b0[56*i+j]; v1 = mul v0 0.25; v2 = accumulate max v1      score v1, largest v2
    pass j: v3 = sub v1 v2; v4 = exp v3; v5 = accumulate sum v4             ->  exponential v4, total v5
    pass j: v6 = div v4 v5; store b1[56*i+j] v6                                 weight v6

1. What is the same in two passes is one node; what a kernel stores and loads again is what it stored.
2. exponential = exp(score - a number of the row that no total is part of); largest and total are max and sum of these,
   up to conversions of floats; weight is the exponential multiplied or divided by numbers of the row. There is no other
   reduction, and a score is of what is at its own point, and of the row.
3. Nodes are at points of the product that the scores are made of: z < batch, i < m, j < n.
"""
from __future__ import annotations

from collections.abc import Collection, Iterable

from codegen.ir.structs import struct
from codegen.ir.types import FLOATS
from codegen.schedule.index import Extents, add, axes_of, constant, scale, substitute
from codegen.schedule.kernel import (
    Accumulate,
    Binary,
    Cast,
    Const,
    Gather,
    Index,
    Kernel,
    Load,
    Position,
    Scan,
    Scatter,
    Select,
    Statement,
    Store,
    Unary,
    buffer_of,
    indices_of,
    operands,
    with_indices,
    with_operands,
)
from codegen.schedule.sizes import LARGEST
from codegen.schedule.spliced import points_of
from codegen.schedule.value_types import dtypes_of

_TURNED = {"ge": "le", "le": "ge", "gt": "lt", "lt": "gt"}
_OTHERWISE = {"ge": "lt", "lt": "ge", "gt": "le", "le": "gt"}


@struct
class RowWeights:
    """`nodes`: the statements that make values, their operands nodes, and the `dtypes` of these. `source`: the node
    that is the product. `stored`: the weights; `rows`: numbers of rows that are stored, too; their operands are nodes.
    """

    nodes: tuple[Statement, ...]
    dtypes: tuple[str, ...]
    source: int
    score: int
    exponential: int
    largest: int
    total: int
    stored: Store
    rows: tuple[Store, ...]

    @property
    def reach(self) -> int | None:
        """A number that scores are -inf from column i + reach on in row i; None where none is known, as in what is not
        causal: where(column <= row, .., -inf)."""
        return self._reach(self.score)

    def _reach(self, node: int) -> int | None:
        """Of a value that is -inf where a condition says so."""
        match self.nodes[node]:
            case Select(condition, x, y) if self._is_nothing(y):
                found = self._holds_before(condition, holds=True)
                return self._reach(x) if found is None else found
            case Select(condition, x, y) if self._is_nothing(x):
                found = self._holds_before(condition, holds=False)
                return self._reach(y) if found is None else found
            case Cast(x) if self.dtypes[x] in FLOATS and self.dtypes[node] in FLOATS:
                return self._reach(x)
            case _:
                return None

    def _is_nothing(self, node: int) -> bool:
        return isinstance(s := self.nodes[node], Const) and s.literal == "-inf"

    def _holds_before(self, condition: int, holds: bool) -> int | None:
        """A condition that holds, or does not hold, only before column i + that."""
        match self.nodes[condition]:
            case Binary(op, x, y) if op in _TURNED:
                a, b = self._place(x), self._place(y)
                op = op if holds else _OTHERWISE[op]
            case _:
                return None
        if a is None or b is None:
            return None
        if op in ("le", "lt"):
            op, a, b = _TURNED[op], b, a
        difference = add(a, scale(b, -1))                   # is to be 0 or more; for gt, 1 or more
        if dict(difference.terms) != {"i": 1, "j": -1} or not isinstance(difference.constant, int):
            return None
        return difference.constant + (op == "ge")

    def _place(self, node: int) -> Index | None:
        """A number of no other type than positions have, as an index."""
        if self.dtypes[node] not in ("i32", "i64"):
            return None
        match self.nodes[node]:
            case Position(index):
                return index
            case Const(literal) if abs(int(literal)) < LARGEST:
                return constant(int(literal))
            case Binary("add" | "sub" as op, x, y):
                a, b = self._place(x), self._place(y)
                return None if a is None or b is None else add(a, scale(b, 1 if op == "add" else -1))
            case _:
                return None

    def conversions(self, node: int) -> list[str]:
        """The dtypes that what a reduction combines, or a weight is stored as, is converted to, one after the other."""
        found = []
        while isinstance(cast := self.nodes[node], Cast) and node not in (self.score, self.exponential):
            found.append(cast.dtype)
            node = cast.x
        return found[::-1]


def row_weights(kernel: Kernel, scores: int, place: Index, extents: Extents) -> RowWeights | None:
    """What a kernel that makes weights does; None for another. `scores`: the param that holds the product, whose points
    lie at `place`."""
    read = _once(kernel)
    if read is None:
        return None
    nodes, stores = read
    sources = [k for k, s in enumerate(nodes) if buffer_of(s) == scores]
    if len(sources) != 1 or not isinstance(source := nodes[sources[0]], Load) or source.guards:
        return None
    points = points_of(kernel, source.index, place, extents)
    inner = {a.name for one in kernel.passes for a in one.axes}
    own = {"j"}, {"z", "i"}
    if points is None or not all(axes_of(at) <= own[name not in inner] for name, at in points.items()):
        return None
    deep = _deep(nodes, inner)
    whole = [s for s in stores if any(not inner.isdisjoint(axes_of(index)) for index in indices_of(s))]
    if len(whole) != 1 or any(deep[s.x] for s in stores if s is not whole[0]):
        return None
    found = _told_apart(nodes, dtypes_of(nodes, kernel.params), deep, whole[0].x)
    if found is None:
        return None

    def moved(s: Statement) -> Statement:
        return with_indices(s, lambda index: substitute(index, points.__getitem__, extents))

    weights, *rows = (moved(s) for s in (whole[0], *(s for s in stores if s is not whole[0])))
    if not isinstance(weights, Store) or weights.index != place:
        return None
    return RowWeights(tuple(map(moved, nodes)), tuple(dtypes_of(nodes, kernel.params)), sources[0], *found, weights,
                      tuple(s for s in rows if isinstance(s, Store)))


def _once(kernel: Kernel) -> tuple[list[Statement], list[Store]] | None:
    """The statements of a kernel that goes along rows, each once, and what is stored in the end."""
    if len({one.axes for one in kernel.passes if one.axes}) != 1 or any(
            a.clip for a in (*kernel.axes, *(a for one in kernel.passes for a in one.axes))):
        return None
    nodes: list[Statement] = []
    known: dict[Statement, int] = {}
    numbers: list[int] = []                         # the node that each value is
    stored: dict[tuple[int, Index], int] = {}
    for s in (s for one in kernel.passes for s in one.body):
        if isinstance(s, Gather | Scatter | Scan):
            return None
        s = with_operands(s, [numbers[x] for x in operands(s)])
        if isinstance(s, Store):
            stored[s.buffer, s.index] = s.x
        elif isinstance(s, Load) and kernel.params[s.buffer].access != "in":
            if s.guards or (s.buffer, s.index) not in stored:
                return None
            numbers.append(stored[s.buffer, s.index])
        else:
            numbers.append(known.setdefault(s, len(nodes)))
            nodes += [s] if numbers[-1] == len(nodes) else []
    return nodes, [Store(buffer, index, x) for (buffer, index), x in stored.items()]


def _deep(nodes: Iterable[Statement], inner: Collection[str]) -> list[bool]:
    """For each node whether it changes along a row."""
    deep: list[bool] = []
    for s in nodes:
        along = any(not axes_of(index).isdisjoint(inner) for index in indices_of(s))
        deep.append(not isinstance(s, Accumulate) and (along or any(deep[x] for x in operands(s))))
    return deep


def _told_apart(nodes: list[Statement], dtypes: list[str], deep: list[bool], weight: int
                ) -> tuple[int, int, int, int] | None:
    """score, exponential, largest and total, if the weights are such."""
    def bare(k: int) -> int:
        """What a float was before it was converted from other floats."""
        while isinstance(s := nodes[k], Cast) and dtypes[k] in FLOATS and dtypes[s.x] in FLOATS:
            k = s.x
        return k

    exponential = weight
    while not (isinstance(s := nodes[exponential], Unary) and s.op == "exp"):
        match s:
            case Cast(x) if dtypes[exponential] in FLOATS:
                exponential = x
            case Binary("mul", x, y) if deep[x] != deep[y]:
                exponential = x if deep[x] else y
            case Binary("div", x, y) if deep[x] and not deep[y]:
                exponential = x
            case _:
                return None
    difference = nodes[bare(s.x)]
    if not isinstance(difference, Binary) or difference.op != "sub" or not deep[difference.x] or deep[difference.y]:
        return None
    score = bare(difference.x)
    kinds = {s.kind: k for k, s in enumerate(nodes) if isinstance(s, Accumulate)}
    if sorted(s.kind for s in nodes if isinstance(s, Accumulate)) != ["max", "sum"]:
        return None
    largest, total = kinds["max"], kinds["sum"]
    fits = (bare(operands(nodes[largest])[0]) == score and bare(operands(nodes[total])[0]) == exponential
            and not _needs(nodes, score, {largest, total}) and not _needs(nodes, difference.y, {total}))
    return (score, exponential, largest, total) if fits else None


def _needs(nodes: list[Statement], node: int, others: Collection[int]) -> bool:
    """Is one of the others a part of a node?"""
    seen: set[int] = set()
    pending = [node]
    while pending:
        k = pending.pop()
        if k in others:
            return True
        if k not in seen:
            seen.add(k)
            pending += operands(nodes[k])
    return False
