"""attention_parts: two products and the kernel between them as one: what each of them does there.

    pass j: v1 = mul %3[i,j] 0.25; v2 = accumulate max v1           behind the first product: v1 = mul tile 0.25
    pass j: v3 = sub v1 v2; v4 = exp v3; v5 = accumulate sum v4     rows: v4 = exp(shift - largest); v5 = mul total v4
    pass j: v6 = div v4 v5; store %4[i,j] v6                        v6 = div v4 v5, by which the result is multiplied
"""
from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from math import prod

from codegen.ir.dims import Size, Undecided
from codegen.schedule.calls import Product
from codegen.schedule.expressions import Storage
from codegen.schedule.index import axis, flatten
from codegen.schedule.kernel import (
    Axis,
    Binary,
    Cast,
    Const,
    Index,
    Kernel,
    Load,
    Param,
    Pass,
    Select,
    Statement,
    Store,
    operands,
    with_operands,
)
from codegen.schedule.machine import Machine
from codegen.schedule.passes import Lowered
from codegen.schedule.plan import NOWHERE
from codegen.schedule.row_weights import RowWeights, row_weights
from codegen.schedule.spliced import place_of
from codegen.schedule.tasks import Attend, Place, Splice


def in_one(scores: Splice, between: Lowered, result: Splice, seen: Collection[Place], machine: Machine
           ) -> Attend | None:
    """The two products and the kernel as one. `seen`: the numbers of rows that others read."""
    first, second = scores.product, result.product
    sizes = first.batch, first.m, first.n
    if sizes != (second.batch, second.m, second.k) or second.transpose_a or scores.dtype != result.dtype or (
            not machine.attends(scores.dtype, *sizes, first.k, second.n)):
        return None
    place, extents = place_of(first, "zij")
    try:
        weights = row_weights(between.kernel, between.storages.index(scores.value), place, extents)
    except Undecided:
        return None
    if weights is None or between.storages[weights.stored.buffer] != second.a:
        return None
    numbers = {between.storages[s.buffer]: s for s in weights.rows}
    behind = _behind(result, numbers, first)
    if behind is None or any(s in numbers for s in result.operands):
        return None
    finish, read = behind
    return Attend(second.a, replace(scores, behind=_scores(between, weights, first)),
                  _rows(between, weights, first, [s for s in numbers if s in seen], read),
                  replace(result, product=replace(second, a=NOWHERE), behind=finish), len(read), weights.reach)


# ---- the parts -----------------------------------------------------------------------------------------------------


class _Part:
    """A kernel in the making, at points of a product, of nodes of the kernel between; its last params are `tiles`."""

    def __init__(self, between: Lowered, weights: RowWeights, needed: Sequence[int], tiles: Sequence[Param],
                 also: Iterable[int] = ()):
        self.between, self.weights = between, weights
        loads = (weights.nodes[k] for k in needed)
        self.used = list(dict.fromkeys((*(s.buffer for s in loads if isinstance(s, Load)), *also)))
        self.tiles = tiles
        self.body: list[Statement] = []
        self.made = 0
        self.numbers: dict[int, int] = {}           # of nodes

    def add(self, s: Statement) -> int:
        """A statement that makes a value, and the number of that."""
        self.body.append(s)
        self.made += 1
        return self.made - 1

    def tile(self, number: int) -> int:
        """The param that a tile is."""
        return len(self.used) + number

    def node(self, k: int) -> None:
        """Put a node here, whose operands are here."""
        s = self.weights.nodes[k]
        s = with_operands(s, [self.numbers[x] for x in operands(s)])
        self.numbers[k] = self.add(replace(s, buffer=self.used.index(s.buffer)) if isinstance(s, Load) else s)

    def converted(self, x: int, dtypes: Iterable[str]) -> int:
        """A value converted to one dtype after the other."""
        for dtype in dtypes:
            x = self.add(Cast(x, dtype))
        return x

    def lowered(self, extents: dict[str, Size]) -> Lowered:
        """The kernel, and what its params but for the tiles hold."""
        params = [self.between.kernel.params[b] for b in self.used]
        axes = tuple(Axis(name, extent) for name, extent in extents.items())
        kernel = Kernel((*params, *self.tiles), axes, (Pass((), tuple(self.body)),), None, 0)
        return Lowered(kernel, tuple(self.between.storages[b] for b in self.used), self.between.values)


def _scores(between: Lowered, weights: RowWeights, product: Product) -> Lowered:
    """What makes a score of an element of the first product."""
    place, extents = place_of(product, "zij")
    size = prod(extents.values(), start=1)
    tiles = (Param(weights.dtypes[weights.source], size, "in"), Param(weights.dtypes[weights.score], size, "out"))
    needed = _needed(weights, [weights.score], {weights.source: ()})
    part = _Part(between, weights, [k for k in needed if k != weights.source], tiles)
    for k in needed:
        if k == weights.source:
            part.numbers[k] = part.add(Load(part.tile(0), place))
        else:
            part.node(k)
    part.body.append(Store(part.tile(1), place, part.numbers[weights.score]))
    return part.lowered(extents)


def _rows(between: Lowered, weights: RowWeights, product: Product, seen: Sequence[Storage], read: Sequence[Storage]
          ) -> Lowered:
    """What is done with the largest score of a row and its total: what the weight of a point comes to whose score is
    the shift, and the other numbers of a row, of which others read `seen`, and what is behind `read`."""
    place, extents = _row_place(product)
    wide = "f64" if weights.dtypes[weights.exponential] == "f64" else "f32"
    params, size = between.kernel.params, prod(extents.values(), start=1)
    stores = {between.storages[s.buffer]: s for s in weights.rows}
    tiles = (*(Param(wide, size, access) for access in ("in", "in", "out")),
             *(Param(params[stores[s].buffer].dtype, size, "out") for s in read))
    last = weights.stored.x                         # the weight, before it is rounded
    while isinstance(cast := weights.nodes[last], Cast) and last != weights.exponential:
        last = cast.x
    given = {weights.score: (), weights.largest: (), weights.total: (weights.exponential,)}
    needed = _needed(weights, [last, *(stores[s].x for s in (*seen, *read))], given)
    part = _Part(between, weights, [k for k in needed if k not in given], tiles, [stores[s].buffer for s in seen])
    largest = part.add(Load(part.tile(0), place))
    nothing = part.add(Const("-inf", wide))
    shift = part.add(Select(part.add(Binary("eq", largest, nothing)), part.add(Const("0.0", wide)), largest))
    for k in needed:
        if k == weights.score:
            part.numbers[k] = part.converted(shift, _other(wide, weights.dtypes[k]))
        elif k == weights.largest:
            own = part.converted(largest, _other(wide, weights.dtypes[weights.score]))
            part.numbers[k] = part.converted(own, weights.conversions(*operands(weights.nodes[k])))
        elif k == weights.total:
            one = part.converted(part.numbers[weights.exponential], _other(weights.dtypes[weights.exponential], wide))
            total = part.add(Binary("mul", part.add(Load(part.tile(1), place)), one))
            part.numbers[k] = part.converted(total, _other(wide, weights.dtypes[k]))
        else:
            part.node(k)
    weight = part.converted(part.numbers[last], _other(weights.dtypes[last], wide))
    part.body.append(Store(part.tile(2), place, weight))
    for s in seen:
        part.body.append(Store(part.used.index(stores[s].buffer), stores[s].index, part.numbers[stores[s].x]))
    for number, s in enumerate(read):
        part.body.append(Store(part.tile(3 + number), place, part.numbers[stores[s].x]))
    return part.lowered(extents)


def _behind(result: Splice, stores: dict[Storage, Store], product: Product
            ) -> tuple[Lowered | None, list[Storage]] | None:
    """What is behind the second product, with numbers of rows as its last params but one, and which these are. None if
    it reads such a number of another row."""
    behind = result.behind
    read = [] if behind is None else [s for s in behind.storages if s in stores]
    if behind is None or not read:
        return behind, []
    kernel, storages = behind.kernel, behind.storages
    place, _ = _row_place(product)
    order = [*(k for k, s in enumerate(storages) if s not in stores), *map(storages.index, read), len(storages)]
    body: list[Statement] = []
    for s in kernel.passes[0].body:
        if isinstance(s, Load | Store):
            own = stores.get(storages[s.buffer]) if s.buffer < len(storages) else None
            if own is not None:
                if not isinstance(s, Load) or s.guards or s.index != own.index:
                    return None
                s = replace(s, index=place)
            s = replace(s, buffer=order.index(s.buffer))
        body.append(s)
    params = tuple(kernel.params[k] for k in order)
    moved = replace(kernel, params=params, passes=(Pass((), tuple(body)),))
    return Lowered(moved, tuple(s for s in storages if s not in stores), behind.values), read


def _row_place(product: Product) -> tuple[Index, dict[str, Size]]:
    """Where a number of a row lies among all, and the extents of the axes."""
    extents = {"z": product.batch, "i": product.m}
    return flatten(tuple(axis(name, size) for name, size in extents.items()), tuple(extents.values())), extents


def _other(dtype: str, target: str) -> tuple[str, ...]:
    """What a value is converted to, to be of another dtype."""
    return () if dtype == target else (target,)


def _needed(weights: RowWeights, roots: Iterable[int], given: dict[int, tuple[int, ...]]) -> list[int]:
    """The nodes that these are made of, in order. `given`: what some of them are made of instead of their operands."""
    found: set[int] = set()
    pending = list(roots)
    while pending:
        k = pending.pop()
        if k not in found:
            found.add(k)
            pending += given[k] if k in given else operands(weights.nodes[k])
    return sorted(found)
