"""product_parts: the kernels that are parts of a product, as text at its tiles: what makes operands, what is behind.

    behind: v0 = load tile; v1 = load b3[j]; v2 = add v0 v1       v4 = total
            store b2[512*i+j] v2                             ->   v5 = tl.load(b3 + j, mask=j_mask, other=0)
                                                                  v6 = v4 + v5
                                                                  tl.store(b2 + (512*i + j), v6, mask=j_mask)

1. A part that there is not moves a tile from memory, or to it.
2. The last params of a part are tiles: variables of the program, no memory.
3. Values of all parts have different numbers.
"""
from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import count
from math import prod

from codegen.ir.dims import Size, content, symbols
from codegen.ir.structs import struct
from codegen.schedule.kernel import (
    Axis,
    Cast,
    Kernel,
    Load,
    Param,
    Pass,
    Store,
    indices_of,
    makes_value,
    operands,
    with_operands,
)
from codegen.schedule.plan import Matmul, Part
from codegen.schedule.sizes import fits
from codegen.schedule.spliced import place_of
from codegen.schedule.value_types import value_dtypes
from codegen.triton_gpu import operations
from codegen.triton_gpu.statements import Statements, Value
from codegen.triton_gpu.tile import Tile

Known = Mapping[int, tuple[str, Iterable[str]]]
"""By the number of a param that is a tile: the text of what is loaded there, and the spans that it changes along."""


@struct
class Block:
    """A part of a product at a tile of it: `first` is the number of the first value that it makes."""

    kernel: Kernel
    buffers: tuple[int, ...]
    tile: Tile
    first: int


class Parts:
    """Parts of the products of one program, the buffers of the plan as its params.

    `words`: how many sizes it is given. `wide`: are indices computed in 64 bits, wherever they would not fit 32?
    """

    def __init__(self, words: int, wide: bool):
        self.words, self.wide = words, wide
        self.buffers: dict[int, int] = {}           # of the plan, and which params they are
        self.dtypes: list[str] = []
        self.blocks: list[Block] = []
        self.values = 0
        self._numbers = count()                     # of places with names

    def operand(self, part: Part | None, product: Matmul, names: str) -> Part:
        """What makes an operand, zik or zkj, or is done with the result, zij, whose buffers are params."""
        whole = {"zik": product.a, "zkj": product.b, "zij": product.c}[names]
        if part is None:
            place, extents = place_of(product, names)
            size = prod(extents.values(), start=1)
            axes = tuple(Axis(name, extent) for name, extent in extents.items())
            access = ("in", "out") if names != "zij" else ("out", "in")
            params = tuple(Param(product.dtype, size, one) for one in access)
            source = int(names == "zij")
            body = (Load(source, place), Store(1 - source, place, 0))
            part = Part(Kernel(params, axes, (Pass((), body),), None, 0, self.words), (whole,))
        return self.taken(part)

    def taken(self, part: Part) -> Part:
        """A part whose buffers are params."""
        numbers = []
        for buffer, param in zip(part.buffers, part.kernel.params):
            if buffer not in self.buffers:
                self.buffers[buffer] = len(self.buffers)
                self.dtypes.append(param.dtype)
            numbers.append(self.buffers[buffer])
        self.wide |= not self.words and not fits(part.kernel, part.tiles)
        return Part(part.kernel, tuple(numbers))

    def block(self, part: Part, tile: Tile) -> Block:
        """A part at a tile."""
        block = Block(part.kernel, part.buffers, tile, self.values)
        self.values += sum(map(makes_value, part.kernel.passes[0].body))
        self.blocks.append(block)
        return block

    def statements(self, block: Block, known: Known) -> tuple[Statements, dict[int, int]]:
        """The statements of a part, and the value that it stores in each tile."""
        kernel, first = block.kernel, block.first
        writer = Statements(kernel.params, [""] * first + value_dtypes(kernel), self.wide, zeros=True,
                            numbers=self._numbers)
        writer.depth = 0
        stored: dict[int, int] = {}
        number = first
        for s in kernel.passes[0].body:
            s = with_operands(s, [x + first for x in operands(s)])
            is_tile = isinstance(s, Load | Store) and s.buffer >= len(block.buffers)
            if isinstance(s, Store) and is_tile:
                stored[s.buffer] = s.x
            elif isinstance(s, Load) and is_tile:
                text, spans = known[s.buffer]
                if text.isidentifier():
                    writer.values[number] = Value(text, frozenset(spans))
                else:
                    writer.define(number, text, spans)
            else:
                if isinstance(s, Load | Store):
                    s = replace(s, buffer=block.buffers[s.buffer])
                writer.statement(s, number, block.tile)
            number += makes_value(s)
        return writer, stored

    def made(self, block: Block) -> tuple[list[str], str]:
        """What makes the tile of an operand, 0 beyond what is added up, and what that is.

        One that is the same along a side is no broadcast: Triton, which loads parts of a tile ahead, cuts what is
        broadcast as if it had all sides already, and refuses what comes of it. It does not see that `j >= 0` is true.
        """
        writer, stored = self.statements(block, {})
        value = writer.value(stored[len(block.buffers)])
        text, added = value.text, next(span for span in block.tile.spans if span.axes[0].name == "k").name
        is_loaded = all(isinstance(s, Load | Cast | Store) for s in block.kernel.passes[0].body)
        masks = {name: mask.text for name in block.tile.shape for mask in block.tile.masks_of({name})}
        choices = [masks.get(name, f"({name} >= 0)") for name in block.tile.shape if name not in value.spans]
        if not is_loaded and added in value.spans and added in masks:
            choices.append(masks[added])
        if choices:
            zero = operations.constant("0.0", block.kernel.params[-1].dtype)
            text = f"tl.where({' & '.join(choices)}, {text}, {zero})"
        return writer.lines, text

    def multiples(self, rows: Iterable[Size]) -> tuple[int, ...]:
        """The words that are to be divisible by 16 for wide accesses: those that rows are as long as."""
        strides = [c for block in self.blocks for s in block.kernel.passes[0].body for index in indices_of(s)
                   for _, c in index.terms]
        found = [symbols(size) for size in (*rows, *strides) if content(size) % 16 and size != 1]
        return tuple(sorted(int(name[1:]) for name in frozenset().union(*found)))
