"""attention: Attention -> KernelSpec: rows of the result for each program, which goes through the scores in blocks.

    largest, total, result = -inf, 0, 0
    for j0 in range(0, n, BN):
        score = tl.dot(rows of %0, block of %1)           and what is behind, -inf beyond n
        before, largest = largest, max(largest, score)
        weight = exp(score - shift)                       shift: largest, or 0 where that is -inf
        total = total * exp(before - shift) + sum(weight)
        result = tl.dot(weight, block of %2, result * exp(before - shift))
    result = result * what `rows` makes of largest and total

1. Sums are f32 where the elements are narrower, f64 where they are that; so are scores less the shift, and exp of that.
   A weight is rounded where it is multiplied, and the result once.
2. The rows of the left operand stay where they are loaded to, if there is room for all k numbers; else they are loaded
   again with each block.
3. From the column on from which all scores of these rows are -inf, if it is known, as where a mask is causal, weights
   are 0: their product by the other operand, which is not 0 where that is infinite or NaN, is all that is added there.
4. An access has a mask for each axis that its tile does not divide, and for no other.
"""
from __future__ import annotations

from dataclasses import replace

from codegen.ir.dims import ceil_div, content
from codegen.schedule.index import size_text
from codegen.schedule.kernel import Axis
from codegen.schedule.plan import Attention, Matmul
from codegen.triton_gpu import operations, reductions
from codegen.triton_gpu.attention_tiles import AttentionTile, attention_tile
from codegen.triton_gpu.naming import kernel_name
from codegen.triton_gpu.product_parts import Parts
from codegen.triton_gpu.product_tiles import Capability
from codegen.triton_gpu.products import ProductLaunch, factor
from codegen.triton_gpu.spec import ELEMENT_TYPES, UNLESS_FAILED, KernelSpec
from codegen.triton_gpu.statements import Statements
from codegen.triton_gpu.tile import Mask, Span, Tile

HALVES = frozenset({"f16", "bf16"})


def attention_launch(step: Attention, capability: Capability = (8, 0), precision: str = "ieee", wide: bool = False,
                     tile: AttentionTile | None = None, conditional: bool = False) -> ProductLaunch:
    """The launch that does two products. `precision`, `wide`, `tile`, `conditional`: as of a product."""
    writer = _Writer(step, capability, precision, wide, tile, conditional)
    source, tile, parts = writer.source(), writer.tile, writer.parts
    spec = KernelSpec(writer.name, source, tuple(ELEMENT_TYPES[dtype] for dtype in parts.dtypes), False, parts.words,
                      tile.constants, writer.batch * ceil_div(writer.m, tile.m), tile.warps, tile.stages,
                      "i64" if parts.wide else "i32", writer.multiples(), conditional)
    return ProductLaunch(spec, tuple(parts.buffers), step.scores.product.words)


class _Writer:
    """Writes the program of one launch."""

    def __init__(self, step: Attention, capability: Capability, precision: str, wide: bool,
                 wanted: AttentionTile | None, conditional: bool):
        self.step, self.precision, self.conditional = step, precision, conditional
        first, second = (_in_words(one.product) for one in (step.scores, step.result))
        self.first, self.second = first, second
        self.batch, self.m, self.n, self.k, self.columns = first.batch, first.m, first.n, first.k, second.n
        sizes = first.batch, first.m, first.n, first.k, second.n
        self.tile = tile = wanted or attention_tile(first.dtype, sizes, precision, capability)
        self.parts = parts = Parts(len(first.words), wide)
        z, i = Span("z", (Axis("z", self.batch),)), Span("i", (Axis("i", self.m),), tile.m)
        j, ja = Span("j", (Axis("j", self.n),), tile.n), Span("ja", (Axis("k", self.n),), tile.n)
        ka, kb = (Span(name, (Axis("k", self.k),), tile.k) for name in ("ka", "kb"))
        c = Span("c", (Axis("j", self.columns),), tile.columns)
        self.masks = {span.name: Mask(f"{span.name}_mask", frozenset({span.name})) for span in (i, j, ja, ka, kb, c)
                      if content(span.extent) % span.block}

        def tile_of(*spans: Span) -> Tile:
            shape = tuple(span.name for span in spans)
            masks = tuple(self.masks[name] for name in shape if name in self.masks)
            return Tile((z, *spans), shape, bool(first.words), masks)

        scores, result = step.scores, step.result
        assert scores.behind is not None
        self.left = parts.block(parts.operand(scores.left, first, "zik"), tile_of(i, ka))
        self.right = parts.block(parts.operand(scores.right, first, "zkj"), tile_of(kb, j))
        self.score = parts.block(parts.taken(scores.behind), tile_of(i, j))
        self.values = parts.block(parts.operand(result.right, second, "zkj"), tile_of(ja, c))
        self.rows = parts.block(parts.taken(step.rows), replace(tile_of(i), shape=("i", "c")))
        self.behind = parts.block(parts.operand(result.behind, second, "zij"), tile_of(i, c))
        self.wide = "f64" if first.dtype == "f64" else "f32"
        self.type = operations.LANGUAGE_TYPES[self.wide]

    @property
    def name(self) -> str:
        """attention, attention_tanh"""
        ops = kernel_name(self.step.result.behind.kernel).removesuffix("_kernel") if self.step.result.behind else "copy"
        return "attention" if ops == "copy" else f"attention_{ops}"

    def source(self) -> str:
        """The module."""
        lines = [f"    {line}" for line in (*self._place(), *self._loop(), *self._finish())]
        buffers, words = len(self.parts.buffers), self.parts.words
        args = [f"b{k}" for k in range(buffers)] + ["failed"] * self.conditional + [f"n{k}" for k in range(words)]
        args += [f"{name}: tl.constexpr" for name, _ in self.tile.constants]
        functions = [operations.FUNCTIONS[name] for name in operations.called("\n".join(lines))]
        functions.append(reductions.FUNCTIONS["max_or_nan"])
        program = "\n".join([f"@triton.jit\ndef {self.name}({', '.join(args)}):",
                             *(UNLESS_FAILED if self.conditional else ()), *lines, ""])
        return "\n\n".join([operations.HEADER, *functions, program])

    def _place(self) -> list[str]:
        """Which rows of which product a program computes: z, i, and c, all columns of the result."""
        count, tile = ceil_div(self.m, self.tile.m), "tl.program_id(0)" + ".to(tl.int64)" * self.parts.wide
        lines = [f"tile = {tile}"]
        if self.batch != 1:
            lines += [f"z = tile // {factor(count)}", f"tile = tile % {factor(count)}"] if count != 1 else ["z = tile"]
        return [*lines, "i = " + "tile * BM + " * (count != 1) + "tl.arange(0, BM)[:, None]",
                f"c = {self._range('BV')}[None, :]", *self._masks("i", "c")]

    def _range(self, block: str, start: str = "") -> str:
        text = f"{start} + tl.arange(0, {block})" if start else f"tl.arange(0, {block})"
        return f"({text}).to(tl.int64)" if self.parts.wide else f"({text})" if start else text

    def _masks(self, *names: str) -> list[str]:
        extents = {"i": self.m, "j": self.n, "ja": self.n, "ka": self.k, "kb": self.k, "c": self.columns}
        return [f"{name}_mask = {name} < {size_text(extents[name])}" for name in names if name in self.masks]

    def _loop(self) -> list[str]:
        """What goes through the scores, in blocks."""
        wide, type = self.wide, self.type
        before, product = self._product()
        writer, score = self._score()
        right, values = self.parts.made(self.values)
        weight = operations.cast(wide, self.first.dtype, "weight")
        largest, total = reductions.Accumulator("max", wide), reductions.Accumulator("sum", wide)
        lines = [
            f"j = {self._range('BN', 'j0')}", "ja = j[:, None]", "j = j[None, :]", *self._masks("j", "ja"),
            *product, *writer.lines, f"score = {score}",
            "before = largest",
            f"largest = {largest.combined('before', largest.along('score', 1, 2))}",
            'shift = tl.where(largest == float("-inf"), 0.0, largest)',
            f"weight = {operations.operation('exp', wide, ['(score - shift)'])}",
            f"less = {operations.operation('exp', wide, ['(before - shift)'])}",
            f"total = total * less + {total.along('weight', 1, 2)}",
            *right, f"result = tl.dot({weight}, {values}, result * less{self._precision}, out_dtype={type})"]
        return [*before, f'largest = tl.full((BM, 1), float("-inf"), {type})', f"total = tl.zeros((BM, 1), {type})",
                f"result = tl.zeros((BM, BV), {type})", *self._end(), f"for j0 in range(0, {self._last}, BN):",
                *(f"    {line}" for line in lines), *self._beyond()]

    @property
    def _last(self) -> str:
        return size_text(self.n) if self.step.reach is None else "end"

    def _end(self) -> list[str]:
        """The column from which on all scores of these rows are -inf."""
        if self.step.reach is None:
            return []
        first = "BM" if ceil_div(self.m, self.tile.m) == 1 else "tile * BM + BM"
        more = self.step.reach - 1
        past = f"{first} {'+' if more > 0 else '-'} {abs(more)}" if more else first
        return [f"end = tl.maximum(0, tl.minimum({size_text(self.n)}, {past}))"]

    def _beyond(self) -> list[str]:
        """What weights that are 0 add."""
        if self.step.reach is None:
            return []
        right, values = self.parts.made(self.values)
        values = operations.cast(self.first.dtype, self.wide, f"({values})")
        lines = [f"ja = {self._range('BN', 'j0')}[:, None]", *self._masks("ja"), *right,
                 f"result += tl.sum({values} * 0.0, 0, keep_dims=True)"]
        return [f"for j0 in range((end + BN - 1) // BN * BN, {size_text(self.n)}, BN):",
                *(f"    {line}" for line in lines)]

    @property
    def _precision(self) -> str:
        return f', input_precision="{self.precision}"' if self.first.dtype == "f32" else ""

    def _product(self) -> tuple[list[str], list[str]]:
        """What comes before the loop for the product that scores are made of, and what makes a block of it."""
        left, x = self.parts.made(self.left)
        right, y = self.parts.made(self.right)
        if self.tile.k >= self.k:
            places = [f"k = {self._range('BK')}", "ka = k[None, :]", "kb = k[:, None]", *self._masks("ka", "kb")]
            return [*places, *left, f"rows = {x}"], [
                *right, f"product = tl.dot(rows, {y}{self._precision}, out_dtype={self.type})"]
        places = [f"k = {self._range('BK', 'k0')}", "ka = k[None, :]", "kb = k[:, None]", *self._masks("ka", "kb")]
        lines = [*places, *left, *right,
                 f"product = tl.dot({x}, {y}, product{self._precision}, out_dtype={self.type})"]
        return [], [f"product = tl.zeros((BM, BN), {self.type})", f"for k0 in range(0, {self.k}, BK):",
                    *(f"    {line}" for line in lines)]

    def _score(self) -> tuple[Statements, str]:
        """What makes scores of a block of the product, and what they are."""
        dtype, own = self.first.dtype, len(self.score.buffers)
        rounded = operations.cast("f32", dtype, "product") if dtype in HALVES else "product"
        writer, stored = self.parts.statements(self.score, {own: (rounded, ("i", "j"))})
        score = writer.value(stored[own + 1])
        text = operations.cast(self.score.kernel.params[-1].dtype, self.wide, score.text)
        if score.spans != {"i", "j"}:
            text = f"tl.broadcast_to({text}, [BM, BN])"
        return writer, f'tl.where(j_mask, {text}, float("-inf"))' if "j" in self.masks else text

    def _finish(self) -> list[str]:
        """What is done with the largest scores and totals of the rows, and with the result."""
        own, dtype = len(self.rows.buffers), self.behind.kernel.params[-1].dtype
        writer, stored = self.parts.statements(self.rows, {own: ("largest", ("i",)), own + 1: ("total", ("i",))})
        lines = [*writer.lines, f"result = result * {writer.text(stored[own + 2])}"]
        read = {len(self.behind.buffers) + k: (writer.text(stored[own + 3 + k]), ("i",)) for k in range(self.step.read)}
        result = operations.cast(self.wide, dtype, "result")
        behind, _ = self.parts.statements(self.behind, {**read, len(self.behind.buffers) + self.step.read:
                                                        (result, ("i", "c"))})
        return [*lines, *behind.lines]

    def multiples(self) -> tuple[int, ...]:
        """The words that are to be divisible by 16 for wide accesses."""
        first, second = self.first, self.second
        return self.parts.multiples((self.m if first.transpose_a else self.k, self.k if first.transpose_b else self.n,
                                     self.n if second.transpose_b else self.columns, self.columns))


def _in_words(product: Matmul) -> Matmul:
    """A product whose sizes are those that are in the text."""
    if product.given is None:
        return product
    batch, m, n, k = product.given
    return replace(product, batch=batch, m=m, n=n, k=k)
