"""products: Matmul -> KernelSpec: a tile of the result for each program, multiplied by tl.dot.

    matmul bf16 1x(64x784 @ 784xn0)        total = tl.zeros((BM, BN), tl.float32)
                                           for k0 in range(0, 784, BK):
                                     ->        x = tl.load(a + ..., mask=..)        64 divides 64: no mask for i
                                               y = tl.load(b + ..., mask=..)
                                               total = tl.dot(x, y, total)
                                           tl.store(c + ..., total.to(tl.bfloat16), mask=j < n0)

1. Sums are f32 where the elements are narrower, f64 where they are that; they are rounded once.
2. An access has a mask for each axis that its tile does not divide, and for no other; with them it is inside.
3. Programs go through the result in groups of rows, so that those that run beside each other read the same operands.
4. Sizes that are numbers are in the text, so the compiler knows what they are divisible by; others are words.
"""
from __future__ import annotations

from collections.abc import Sequence

from codegen.ir.dims import Dim, Size, exact_quotient
from codegen.ir.structs import struct
from codegen.schedule.index import size_text
from codegen.schedule.plan import Matmul
from codegen.schedule.sizes import in_words
from codegen.triton_gpu.product_tiles import Capability, ProductTile, tile_counts, tile_of
from codegen.triton_gpu.spec import ELEMENT_TYPES, KernelSpec

GROUP = 8
"""Rows of tiles that are gone through together."""

LARGEST = 2**31
"""Numbers of elements from which on places are i64."""

TOTALS = {"f64": "tl.float64"}
ROUNDED = {"f16": "tl.float16", "bf16": "tl.bfloat16"}


@struct
class ProductLaunch:
    """A kernel that multiplies, and what it is given: buffers of the plan, and what its words are."""

    spec: KernelSpec
    buffers: tuple[int, ...]
    words: tuple[Size, ...]


def product_launch(step: Matmul, capability: Capability = (8, 0), precision: str = "ieee") -> ProductLaunch:
    """The launch that does a Matmul. `precision`: how f32 are multiplied, "ieee", or rounded first: "tf32"."""
    tile = tile_of(step.dtype, (step.batch, step.m, step.n, step.k), precision, capability)
    product = _Product(step, tile, precision)
    source = product.text()
    elements = (ELEMENT_TYPES[step.dtype],) * 3
    rows, columns = tile_counts(tile, product.m, product.n)
    multiples = tuple(k for k, size in enumerate(product.words) if size in (step.m, step.n, step.k))
    constants = (("BM", tile.m), ("BN", tile.n), ("BK", tile.k))
    spec = KernelSpec("product", source, elements, False, len(product.words), constants, product.batch * rows * columns,
                      tile.warps, tile.stages, "i64" if product.wide else "i32", multiples)
    return ProductLaunch(spec, (step.a, step.b, step.c), tuple(product.words))


class _Product:
    """The text of a product, with words for its sizes that have symbols."""

    def __init__(self, step: Matmul, tile: ProductTile, precision: str):
        self.step, self.tile, self.precision = step, tile, precision
        self.words: dict[Size, Dim] = {}
        self.batch, self.m, self.n, self.k = (in_words(size, self.words)
                                              for size in (step.batch, step.m, step.n, step.k))
        largest = max((s for s in (step.batch * step.m * step.k, step.batch * step.k * step.n,
                                   step.batch * step.m * step.n) if isinstance(s, int)), default=0)
        self.wide = largest >= LARGEST

    def text(self) -> str:
        words = "".join(f", n{k}" for k in range(len(self.words)))
        lines = [f"def product(a, b, c{words}, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr):",
                 *(f"    {line}" for line in (*self._place(), *self._loop(), self._store()))]
        return "import triton\nimport triton.language as tl\n\n\n@triton.jit\n" + "\n".join(lines) + "\n"

    def _place(self) -> list[str]:
        """Which tile of which product a program computes: z, i and j."""
        rows, columns = tile_counts(self.tile, self.m, self.n)
        lines = ["tile = tl.program_id(0)" + (".to(tl.int64)" if self.wide else "")]
        if self.batch != 1:
            lines += [f"z = tile // {_factor(rows * columns)}", f"tile = tile % {_factor(rows * columns)}"]
        if rows == 1 or columns == 1:
            down, across = ("0", "tile") if rows == 1 else ("tile", "0")
        else:
            lines += [f"group = tile // {_factor(GROUP * columns)} * {GROUP}",
                      f"height = tl.minimum({size_text(rows)} - group, {GROUP})",
                      f"tile = tile % {_factor(GROUP * columns)}"]
            down, across = "(group + tile % height)", "tile // height"
        return [*lines, f"i = {_starts(down, 'BM')}tl.arange(0, BM)[:, None]",
                f"j = {_starts(across, 'BN')}tl.arange(0, BN)[None, :]"]

    def _loop(self) -> list[str]:
        step = self.step
        a_place, a_size = self._operand("k_a", "i", self.m, step.transpose_a)
        b_place, b_size = self._operand("j", "k_b", self.n, step.transpose_b)
        a_mask = _mask([("i", self.m, self.tile.m), ("k_a", self.k, self.tile.k)])
        b_mask = _mask([("k_b", self.k, self.tile.k), ("j", self.n, self.tile.n)])
        total = TOTALS.get(step.dtype, "tl.float32")
        wide = ".to(tl.int64)" if self.wide else ""
        precision = f', input_precision="{self.precision}"' if step.dtype == "f32" else ""
        return [f"total = tl.zeros((BM, BN), {total})",
                f"for k0 in range(0, {size_text(self.k)}, BK):",
                f"    k = (k0 + tl.arange(0, BK)){wide}" if wide else "    k = k0 + tl.arange(0, BK)",
                "    k_a = k[None, :]",
                "    k_b = k[:, None]",
                f"    x = tl.load(a + {self._matrix(a_size)}{a_place}{a_mask})",
                f"    y = tl.load(b + {self._matrix(b_size)}{b_place}{b_mask})",
                f"    total = tl.dot(x, y, total{precision}, out_dtype={total})"]

    def _operand(self, column: str, row: str, size: Size, transposed: bool) -> tuple[str, Size]:
        """The place of an element in its matrix, and how large that is."""
        if column == "k_a":
            place = f"{_times(column, self.m)} + {row}" if transposed else f"{_times(row, self.k)} + {column}"
        else:
            place = f"{_times(column, self.k)} + {row}" if transposed else f"{_times(row, self.n)} + {column}"
        return place, size * self.k

    def _store(self) -> str:
        value = f"total.to({ROUNDED[self.step.dtype]})" if self.step.dtype in ROUNDED else "total"
        mask = _mask([("i", self.m, self.tile.m), ("j", self.n, self.tile.n)], other="")
        return f"tl.store(c + {self._matrix(self.m * self.n)}{_times('i', self.n)} + j, {value}{mask})"

    def _matrix(self, size: Size) -> str:
        """Where the matrix of a program begins."""
        return "" if self.batch == 1 else f"{_times('z', size)} + "


def _starts(tile: str, block: str) -> str:
    return "" if tile == "0" else f"{tile} * {block} + "


def _times(name: str, size: Size) -> str:
    return name if size == 1 else f"{name} * {_factor(size)}"


def _factor(size: Size) -> str:
    """A size as a factor or divisor: what is no number or word by itself stands in parentheses."""
    text = str(size)
    return text if isinstance(size, int) or text.isalnum() else f"({text})"


def _mask(axes: Sequence[tuple[str, Size, int]], other: str = ", other=0.0") -> str:
    """The mask of an access: (name, extent, block) of its axes."""
    held = [f"({name} < {size_text(extent)})" for name, extent, block in axes if exact_quotient(extent, block) is None]
    return f", mask={' & '.join(held)}{other}" if held else ""
