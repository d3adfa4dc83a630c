"""narrow_products: products with few points, or none to add, are kernels; those with few points and long sums are two.

    product of %0 and %1: 1x512 by 512x784     ->    for j < 784: pass k < 512: load %0[k], load %1[784*k+j], mul, sum
    product of %0 and %1: 64x8192 by 8192x64   ->    16 products of 64x512 by 512x64, and a kernel that adds them

1. Where m or n is 1 there is nothing to multiply in tiles: each number of a matrix is read once. Where k is 1 there is
   nothing to add.
2. The sums are f32 where the elements are narrower, and rounded once, as those of a product are.
3. What is spliced into a product is in its kernel: before, at each point that is read; behind, where the sum is known.
"""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import prod

from codegen.schedule.calls import Product
from codegen.schedule.expressions import Partial, Storage
from codegen.schedule.index import Extents, add, axis, quotient, remainder, scale, substitute
from codegen.schedule.kernel import (
    Accumulate,
    Axis,
    Binary,
    Cast,
    Index,
    Kernel,
    Load,
    Param,
    Pass,
    Statement,
    Store,
    makes_value,
    operands,
    with_indices,
    with_operands,
)
from codegen.schedule.passes import Lowered
from codegen.schedule.spliced import place_of
from codegen.schedule.tasks import Splice, Task, launch, splice_of

HALVES = frozenset({"f16", "bf16"})

PROGRAMS = 128
"""About how many are to run at once, so that all processors have some work."""

WIDE, NARROW = (64, 64, 256), (32, 32, 2048)
"""How many rows and columns a program computes of a product, and how many products it is to add for each at least."""


def narrow_products(tasks: Sequence[Task], dtypes: Sequence[str]) -> list[Task]:
    """The tasks, with kernels for the products that are done so. `dtypes`: of the values."""
    found: list[Task] = []
    for task in tasks:
        splice = splice_of(task, dtypes)
        if splice is None:
            found.append(task)
        else:
            found += _done(task, splice)
    return found


def _done(task: Task, splice: Splice) -> list[Task]:
    """What does a product."""
    product, partial = splice.product, Partial(splice.value)
    is_narrow = 1 in (product.m, product.n, product.k) and product.k != 0
    parts = _parts(product, NARROW if is_narrow else WIDE)
    if parts < 2:
        return [launch(_in_kernel(splice))] if is_narrow else [task]
    first, second = _in_parts(splice, parts)
    in_parts = launch(_in_kernel(first)) if is_narrow else Task(first, frozenset(first.operands), frozenset({partial}))
    return [in_parts, launch(second)]


# ---- kernels -------------------------------------------------------------------------------------------------------


class _Body:
    """Statements of a kernel in the making, and what its params hold."""

    def __init__(self) -> None:
        self.storages: list[Storage] = []
        self.params: list[Param] = []
        self.passes: list[Pass] = []
        self.body: list[Statement] = []
        self.count = 0

    def add(self, s: Statement) -> int:
        """A statement, and the number of the value that it makes."""
        self.body.append(s)
        self.count += makes_value(s)
        return self.count - 1

    def buffer(self, storage: Storage, param: Param) -> int:
        """The param that holds a storage."""
        if storage not in self.storages:
            self.storages.append(storage)
            self.params.append(param)
        return self.storages.index(storage)

    def part(self, part: Lowered, tile: int | None = None) -> int:
        """The statements of what is spliced into a product; `tile`: the value that it loads there. What it stores
        there, if it does."""
        own, stored, table = len(part.storages), -1, dict[int, int]()
        number = 0
        for s in part.kernel.passes[0].body:
            s = with_operands(s, [table[x] for x in operands(s)])
            if isinstance(s, Load | Store) and s.buffer == own:
                if isinstance(s, Store):
                    stored = s.x
                elif tile is not None:
                    table[number] = tile
            else:
                if isinstance(s, Load | Store):
                    s = replace(s, buffer=self.buffer(part.storages[s.buffer], part.kernel.params[s.buffer]))
                table[number] = self.add(s)
            number += makes_value(s)
        return stored

    def close(self, axes: tuple[Axis, ...]) -> None:
        """End a pass."""
        if self.body:
            self.passes.append(Pass(axes, tuple(self.body)))
        self.body = []

    def lowered(self, axes: tuple[Axis, ...], values: tuple[int, ...]) -> Lowered:
        """The kernel."""
        return Lowered(Kernel(tuple(self.params), axes, tuple(self.passes), None, 0), tuple(self.storages), values)


def _in_kernel(splice: Splice) -> Lowered:
    """A product as a kernel."""
    product, dtype = splice.product, splice.dtype
    made = _Body()
    x = _operand(made, splice, "zik")
    y = _operand(made, splice, "zkj")
    if dtype in HALVES:
        x, y = (made.add(Cast(v, "f32")) for v in (x, y))
    total = made.add(Binary("mul", x, y))
    if product.k != 1:
        total = made.add(Accumulate("sum", total))
        made.close((Axis("k", product.k),))
    _finish(made, splice, total, "f32" if dtype in HALVES else dtype)
    return made.lowered(_axes(product), splice.values)


def _operand(made: _Body, splice: Splice, names: str) -> int:
    """The value of an operand at a point."""
    product = splice.product
    part, whole = (splice.left, product.a) if names == "zik" else (splice.right, product.b)
    if part is not None:
        return made.part(part)
    place, extents = place_of(product, names)
    return made.add(Load(made.buffer(whole, Param(splice.dtype, prod(extents.values(), start=1), "in")), place))


def _finish(made: _Body, splice: Splice, total: int, dtype: str) -> None:
    """What is done with a sum of this dtype, once for each point of the result."""
    own = splice.behind.kernel.params[-1].dtype if splice.behind else splice.dtype
    value = total if dtype == own else made.add(Cast(total, own))
    if splice.behind is not None:
        made.part(splice.behind, value)
    else:
        place, extents = place_of(splice.product, "zij")
        size = prod(extents.values(), start=1)
        made.add(Store(made.buffer(splice.value, Param(splice.dtype, size, "out")), place, value))
    made.close(())


def _axes(product: Product) -> tuple[Axis, ...]:
    sizes = zip("zij", (product.batch, product.m, product.n))
    return tuple(Axis(name, size) for name, size in sizes if size != 1)


# ---- long sums -----------------------------------------------------------------------------------------------------


def _parts(product: Product, of_program: tuple[int, int, int]) -> int:
    """Into how many parts a long sum is cut that few programs would add; 1 where it is not. `of_program`: see WIDE."""
    batch, m, n, k = product.batch, product.m, product.n, product.k
    if not (isinstance(batch, int) and isinstance(m, int) and isinstance(n, int) and isinstance(k, int)):
        return 1
    rows, columns, least = of_program
    programs, parts = max(1, batch * -(-m // rows) * -(-n // columns)), 1
    while 2 * parts * programs <= PROGRAMS and k % (2 * parts) == 0 and k // (2 * parts) >= least:
        parts *= 2
    return parts


def _in_parts(splice: Splice, parts: int) -> tuple[Splice, Lowered]:
    """A product that is done in parts of the sum, and the kernel that adds them."""
    product, wide = splice.product, "f32" if splice.dtype in HALVES else splice.dtype
    cut = replace(product, a=-1, b=-1, batch=product.batch * parts, k=product.k // parts)
    partial = Partial(splice.value)
    left, right = (_of_part(splice, cut, names) for names in ("zik", "zkj"))
    place, extents = place_of(cut, "zij")
    size = prod(extents.values(), start=1)
    params = (Param(wide, size, "out"), Param(wide, size, "in"))
    store = Lowered(_plain(params, extents, (Load(1, place), Store(0, place, 0))), (partial,), splice.values)
    first = Splice(cut, splice.value, splice.dtype, left, right, store)
    made = _Body()
    whole, _ = place_of(product, "zij")
    length = product.batch * product.m * product.n
    x = made.add(Load(made.buffer(partial, Param(wide, size, "in")), add(scale(axis("s", parts), length), whole)))
    total = made.add(Accumulate("sum", x))
    made.close((Axis("s", parts),))
    _finish(made, splice, total, wide)
    return first, made.lowered(_axes(product), splice.values)


def _of_part(splice: Splice, cut: Product, names: str) -> Lowered:
    """What makes an operand, at the points of the parts: batch number s*batch + z is part s of z."""
    product = splice.product
    part, whole = (splice.left, product.a) if names == "zik" else (splice.right, product.b)
    at, extents = place_of(product, names)
    tile = Param(splice.dtype, prod(extents.values(), start=1), "out")
    if part is None:
        kernel = _plain((replace(tile, access="in"), tile), extents, (Load(0, at), Store(1, at, 0)))
        part = Lowered(kernel, (whole,))
    place, extents = place_of(cut, names)
    z = axis("z", cut.batch)
    axes: dict[str, Index] = {name: axis(name, extent) for name, extent in extents.items()}
    number = quotient(z, product.batch, extents)
    axes["z"], axes["k"] = remainder(z, product.batch, extents), add(scale(number, cut.k), axes["k"])
    body = (with_indices(s, lambda index: substitute(index, axes.__getitem__, extents))
            for s in part.kernel.passes[0].body)
    moved = tuple(replace(s, index=place) if isinstance(s, Store) else s for s in body)
    return Lowered(_plain(part.kernel.params, extents, moved), part.storages, splice.values)


def _plain(params: Sequence[Param], extents: Extents, body: tuple[Statement, ...]) -> Kernel:
    axes = tuple(Axis(name, extent) for name, extent in extents.items())
    return Kernel(tuple(params), axes, (Pass((), body),), None, 0)
