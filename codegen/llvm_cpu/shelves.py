"""Shelves: the room in which a pass leaves values for later passes over the same axes, one for each thread.

    pass i < 3, j < 1000 vector, 64 lanes    ->    3 x 1024 values: whole vectors, also where lanes do not exist

With an outer vector axis a shelf has all lanes at each point. f16 and bf16 lie there as the f32 that they are in a
register, a bool as a byte.
"""
from __future__ import annotations

from dataclasses import replace
from math import prod

from codegen.ir.dims import number_of
from codegen.ir.structs import struct
from codegen.llvm_cpu import indexing
from codegen.llvm_cpu.assembler import BYTES, Assembler, Type, Value, vector
from codegen.llvm_cpu.indexing import Point
from codegen.llvm_cpu.memory import BROKEN_ROW
from codegen.schedule.index import axis, flatten
from codegen.schedule.kernel import Axis, Index, Kernel
from codegen.schedule.shelves import shelved_values


@struct
class Shelf:
    """Room for values of `dtype`, found at `place` in whole vectors of `lanes` (`scale` apart)."""

    pointer: Value
    dtype: str
    lanes: int
    place: Index
    scale: int

    @property
    def _element(self) -> Type:
        return vector("u8" if self.dtype == "bool" else self.dtype, self.lanes)

    def _address(self, a: Assembler, point: Point) -> Value:
        form = indexing.affine(a, point, self.place)
        assert form is not None
        at = form.base if self.scale == 1 else a.binary("mul nsw", form.base, a.size(self.scale))
        return a.address(self.pointer, self._element, at)

    def put(self, a: Assembler, point: Point, x: Value) -> None:
        """Leave a value here."""
        x = a.splat(x, self.lanes)
        x = a.convert("zext", x, self._element) if self.dtype == "bool" else x
        a.store(x, self._address(a, point))

    def take(self, a: Assembler, point: Point) -> Value:
        """What was left here."""
        x = a.load(self._element, self._address(a, point), invariant=False)
        return a.compare("icmp ne", x, a.constant(x.type, 0)) if self.dtype == "bool" else x


def make_shelves(a: Assembler, kernel: Kernel, dtypes: list[str], lanes: int) -> dict[int, Shelf]:
    """The shelf of each value that has one."""
    found = {}
    for number, made_in in shelved_values(kernel).items():
        axes = kernel.passes[made_in].axes
        across = axes[-1].name == kernel.vector
        if across:
            whole = -(-number_of(axes[-1].extent) // lanes) * lanes
            axes = (*axes[:-1], replace(axes[-1], extent=whole))
        scale = 1 if across or kernel.vector is None else lanes
        size = prod(number_of(one.extent) for one in axes) * scale
        if across and 8 * number_of(axes[-1].extent) >= BROKEN_ROW:     # vectors may begin anywhere, and end beyond it
            size += lanes
        element = vector("u8" if dtypes[number] == "bool" else dtypes[number]).element
        found[number] = Shelf(a.room(size * BYTES[element]), dtypes[number], lanes, _place(axes), scale)
    return found


def _place(axes: tuple[Axis, ...]) -> Index:
    sizes = tuple(one.extent for one in axes)
    return flatten(tuple(axis(one.name, one.extent) for one in axes), sizes)
