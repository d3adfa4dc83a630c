"""products: Matmul and Spliced -> KernelSpec: a tile of the result for each program, multiplied by tl.dot.

    matmul bf16 1x(64x784 @ 784xn0)        total = tl.zeros((BM, BN), tl.float32)
    behind: maximum 0                      for k0 in range(0, 784, BK):
                                     ->        v0 = tl.load(b0 + ..)
                                               v1 = tl.load(b1 + .., mask=j_mask, other=0)
                                               total = tl.dot(v0, v1, total)
                                           v2 = total.to(tl.bfloat16)
                                           ...
                                           tl.store(b2 + .., v4, mask=j_mask)

1. Sums are f32 where the elements are narrower, f64 where they are that; they are rounded once.
2. An access has a mask for each axis that its tile does not divide, and for no other. What is beyond k is 0.
3. Programs go through the result in groups of rows, so that those that run beside each other read the same operands.
4. Sizes that are numbers are in the text, so the compiler knows what they are divisible by; others are words.
"""
from __future__ import annotations

from math import prod

from codegen.ir.dims import Dim, Size, ceil_div, content, typical
from codegen.ir.structs import struct
from codegen.schedule.index import size_text
from codegen.schedule.kernel import (
    Axis,
)
from codegen.schedule.plan import Matmul, Spliced
from codegen.schedule.sizes import in_words
from codegen.triton_gpu import operations
from codegen.triton_gpu.naming import kernel_name
from codegen.triton_gpu.product_parts import Parts
from codegen.triton_gpu.product_tiles import Capability, ProductTile, tile_of
from codegen.triton_gpu.spec import ELEMENT_TYPES, UNLESS_FAILED, KernelSpec
from codegen.triton_gpu.tile import Mask, Span, Tile

GROUP = 8
"""Rows of tiles that are gone through together."""


MOST_FLOPS = 1 << 31
"""Of a product of f32 or f64 that more is spliced into. They are multiplied by the same units that do all else, so that
a large one takes so long that reading its result again is little beside it, and a library multiplies it sooner."""


def splices(dtype: str, batch: Size, m: Size, n: Size, k: Size) -> bool:
    """Is a product one of those that more is done in the tiles of (see schedule.spliced)?"""
    return dtype in ("f16", "bf16") or 2 * prod(map(typical, (batch, m, n, k))) <= MOST_FLOPS


@struct
class ProductLaunch:
    """A kernel that multiplies, and what it is given: buffers of the plan, and what its words are."""

    spec: KernelSpec
    buffers: tuple[int, ...]
    words: tuple[Size, ...]


def product_launch(step: Matmul | Spliced, capability: Capability = (8, 0), precision: str = "ieee",
                   wide: bool = False, tile: ProductTile | None = None, conditional: bool = False) -> ProductLaunch:
    """The launch that does a product.

    `precision`: how f32 are multiplied, "ieee", or cut first: "tf32". `wide`: are indices computed in 64 bits, also
    where sizes that are numbers do not need it? `tile`: instead of the one that suits it. `conditional`: does it do
    nothing where a check has failed before?
    """
    given = step if isinstance(step, Spliced) else Spliced(step)
    writer = _Writer(given, capability, precision, wide, tile, conditional)
    source = writer.source()
    tile = writer.tile
    rows, columns = ceil_div(writer.m, tile.m), ceil_div(writer.n, tile.n)
    spec = KernelSpec(writer.name, source, tuple(ELEMENT_TYPES[dtype] for dtype in writer.parts.dtypes), False,
                      len(writer.words), writer.constants, writer.batch * rows * columns, tile.warps, tile.stages,
                      "i64" if writer.parts.wide else "i32", writer.multiples(), conditional)
    return ProductLaunch(spec, tuple(writer.parts.buffers), writer.words)


class _Writer:
    """Writes the program of one product."""

    def __init__(self, step: Spliced, capability: Capability, precision: str, wide: bool, wanted: ProductTile | None,
                 conditional: bool):
        product = step.product
        self.step, self.precision, self.conditional = step, precision, conditional
        self.words, sizes = product.words, product.given
        if sizes is None:
            words: dict[Size, Dim] = {}
            batch, m, n, k = (in_words(size, words) for size in (product.batch, product.m, product.n, product.k))
            self.words, sizes = tuple(words), (batch, m, n, k)
        self.batch, self.m, self.n, self.k = sizes
        self.product = Matmul(product.a, product.b, product.c, product.dtype, *sizes, product.transpose_a,
                              product.transpose_b)
        spliced = [s for part in step.parts for s in part.kernel.passes[0].body]
        self.tile = wanted or tile_of(product.dtype, sizes, precision, capability, spliced)
        self.parts = Parts(len(self.words), wide)
        given = (step.left, "zik"), (step.right, "zkj"), (step.behind, "zij")
        parts = [self.parts.operand(part, self.product, names) for part, names in given]
        self.masks = masks = {name: Mask(f"{name}_mask", frozenset({name})) for name, extent, block in (
            ("i", self.m, self.tile.m), ("j", self.n, self.tile.n), ("ka", self.k, self.tile.k),
            ("kb", self.k, self.tile.k)) if content(extent) % block}
        z, i, j = (Span(name, (Axis(name, extent),), block) for name, extent, block in (
            ("z", self.batch, 1), ("i", self.m, self.tile.m), ("j", self.n, self.tile.n)))
        ka, kb = (Span(name, (Axis("k", self.k),), self.tile.k) for name in ("ka", "kb"))
        self.left, self.right, self.behind = (
            self.parts.block(part, Tile((z, *spans), shape := tuple(span.name for span in spans), bool(self.words),
                                        tuple(masks[name] for name in shape if name in masks)))
            for part, spans in zip(parts, ((i, ka), (kb, j), (i, j))))

    # ---- the text --------------------------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """product, product_add_maximum"""
        ops = kernel_name(self.step.behind.kernel).removesuffix("_kernel") if self.step.behind else "copy"
        return "product" if ops == "copy" else f"product_{ops}"

    @property
    def constants(self) -> tuple[tuple[str, int], ...]:
        """The sides of the tile, by their names in the text."""
        return ("BM", self.tile.m), ("BN", self.tile.n), ("BK", self.tile.k)

    def source(self) -> str:
        """The module."""
        args = [f"b{k}" for k in range(len(self.parts.buffers))] + ["failed"] * self.conditional
        args += [f"n{k}" for k in range(len(self.words))] + [f"{name}: tl.constexpr" for name, _ in self.constants]
        lines = [f"    {line}" for line in (*self._place(), *self._loop(), *self._behind())]
        functions = [operations.FUNCTIONS[name] for name in operations.called("\n".join(lines))]
        program = "\n".join([f"@triton.jit\ndef {self.name}({', '.join(args)}):",
                             *(UNLESS_FAILED if self.conditional else ()), *lines, ""])
        return "\n\n".join([operations.HEADER, *functions, program])

    def _place(self) -> list[str]:
        """Which tile of which product a program computes: z, i and j."""
        rows, columns = ceil_div(self.m, self.tile.m), ceil_div(self.n, self.tile.n)
        lines = ["tile = tl.program_id(0)" + (".to(tl.int64)" if self.parts.wide else "")]
        if self.batch != 1:
            lines += [f"z = tile // {factor(rows * columns)}", f"tile = tile % {factor(rows * columns)}"]
        if rows == 1 or columns == 1:
            down, across = ("", "tile * BN + ") if rows == 1 else ("tile * BM + ", "")
        else:
            lines += [f"group = tile // {factor(GROUP * columns)} * {GROUP}",
                      f"height = tl.minimum({size_text(rows)} - group, {GROUP})",
                      f"tile = tile % {factor(GROUP * columns)}"]
            down, across = "(group + tile % height) * BM + ", "tile // height * BN + "
        return [*lines, f"i = {down}tl.arange(0, BM)[:, None]", f"j = {across}tl.arange(0, BN)[None, :]",
                *(f"{name}_mask = {name} < {size}" for name, size in (("i", self.m), ("j", self.n))
                  if name in self.masks)]

    def _loop(self) -> list[str]:
        """What multiplies."""
        dtype = self.product.dtype
        total = "tl.float64" if dtype == "f64" else "tl.float32"
        start = "(k0 + tl.arange(0, BK)).to(tl.int64)" if self.parts.wide else "k0 + tl.arange(0, BK)"
        precision = f', input_precision="{self.precision}"' if dtype == "f32" else ""
        lines = [f"k = {start}", "ka = k[None, :]", "kb = k[:, None]"]
        lines += [f"{name}_mask = {name} < {self.k}" for name in ("ka", "kb") if name in self.masks]
        left, x = self.parts.made(self.left)
        right, y = self.parts.made(self.right)
        lines += [*left, *right, f"total = tl.dot({x}, {y}, total{precision}, out_dtype={total})"]
        return [f"total = tl.zeros((BM, BN), {total})", f"for k0 in range(0, {size_text(self.k)}, BK):",
                *(f"    {line}" for line in lines)]

    def _behind(self) -> list[str]:
        """What is done with the sums."""
        dtype = self.behind.kernel.params[-1].dtype     # f32 of what is a part of a sum
        rounded = operations.cast("f32", dtype, "total") if dtype in ("f16", "bf16") else "total"
        return self.parts.statements(self.behind, {len(self.behind.buffers): (rounded, ("i", "j"))})[0].lines

    def multiples(self) -> tuple[int, ...]:
        """The words that are to be divisible by 16 for wide accesses."""
        step = self.product
        return self.parts.multiples((self.m if step.transpose_a else self.k, self.k if step.transpose_b else self.n,
                                     self.n))


def factor(size: Size) -> str:
    """A size as a factor or divisor: what is no number or word by itself stands in parentheses."""
    text = str(size)
    return text if isinstance(size, int) or text.isalnum() else f"({text})"
