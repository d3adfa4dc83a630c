"""tile: what a program computes at once: a block of points, along a few spans of axes. Indices and masks as text.

    axes i < 64, j < 48 as one span x:  i is x//48, j is x%48, so 48*i+j is x
    x = tl.program_id(0) * X + tl.arange(0, X)          where 3072 is no multiple of X:  x_mask = x < 3072

1. A span is a variable of the text: a scalar, or a block along one dimension of the tile. What is computed from spans
   broadcasts: a value has its full extent along the dimensions that it changes along, 1 along the others.
2. What is masked out is never accessed, and is anything in registers.
"""
from __future__ import annotations

from collections.abc import Collection, Iterable
from math import prod
from types import MappingProxyType

from codegen.ir.dims import Size, content
from codegen.ir.structs import struct
from codegen.schedule import index as algebra
from codegen.schedule.kernel import Axis, Index, Within
from codegen.triton_gpu.places import Named, never_negative, place_text, placed, places_of


@struct
class Span:
    """`axes`, in row-major order, counted by the variable `name`; a program takes `block` points of it at a time."""

    name: str
    axes: tuple[Axis, ...]
    block: int = 1

    @property
    def extent(self) -> Size:
        """How many points there are."""
        return prod((axis.extent for axis in self.axes), start=1)

    @property
    def ragged(self) -> bool:
        """May the last block have fewer?"""
        return content(self.extent) % self.block != 0


@struct
class Mask:
    """A condition, and the spans that it changes along."""

    text: str
    spans: frozenset[str]


@struct
class Tile:
    """`spans`: those in sight. `shape`: those that are dimensions, in order, also if they are not in sight here.

    `masks`: what is to hold for a point to exist. `given`: are there sizes that are words, about which little is known?
    """

    spans: tuple[Span, ...]
    shape: tuple[str, ...]
    given: bool = False
    masks: tuple[Mask, ...] = ()

    @property
    def extents(self) -> dict[str, Size]:
        """The extent of each span."""
        return {span.name: span.extent for span in self.spans}

    @property
    def places(self) -> dict[str, Index]:
        """Each axis, in terms of the spans."""
        found: dict[str, Index] = {}
        for span in self.spans:
            found |= places_of(span.name, span.axes, self.given)
        return found

    def index(self, index: Index) -> Index:
        """An index of axes, in terms of the spans."""
        places = self.places
        if not self.given:
            return algebra.substitute(index, places.__getitem__, self.extents)
        return placed(index, places)

    def dims(self, spans: Collection[str]) -> frozenset[str]:
        """Those of the spans that are dimensions."""
        return frozenset(spans) & set(self.shape)

    def points(self, spans: Collection[str]) -> int:
        """How many points a block has along these spans."""
        return prod(span.block for span in self.spans if span.name in self.dims(spans))

    def expanded(self, name: str) -> str:
        """What puts a block along its dimension: `[:, None]`."""
        if len(self.shape) < 2 or name not in self.shape:
            return ""
        return f"[{', '.join(':' if other == name else 'None' for other in self.shape)}]"

    def masks_of(self, spans: Collection[str]) -> list[Mask]:
        """The masks that have a say in whether points along these spans exist."""
        return [mask for mask in self.masks if not mask.spans.isdisjoint(spans)]

    def guards(self, guards: Iterable[Within], named: Named = MappingProxyType({})) -> list[Mask]:
        """The guards as masks, without what always holds."""
        found = []
        for guard in guards:
            index = self.index(guard.index)
            text, spans = place_text(index, named), algebra.axes_of(index)
            low, high = (None, None) if self.given else algebra.bounds(index, self.extents)
            if low is None and not (guard.low == 0 and never_negative(index)) or low is not None and low < guard.low:
                found.append(Mask(f"({text} >= {guard.low})", spans))
            if high is None or high >= guard.high:
                found.append(Mask(f"({text} < {guard.high})", spans))
        return found

    def clips(self, axes: Iterable[Axis]) -> list[Mask]:
        """The conditions under which axes are clipped, as masks."""
        found = []
        for axis in axes:
            if axis.clip is not None:
                index = self.index(axis.clip[0])
                found.append(Mask(f"({place_text(index)} < {axis.clip[1]})", algebra.axes_of(index)))
        return found


def joined(masks: Iterable[Mask]) -> str:
    """The text of all masks together; empty if there is none."""
    return " & ".join(dict.fromkeys(mask.text for mask in masks))


def spans_of(masks: Iterable[Mask]) -> frozenset[str]:
    """The spans that masks change along."""
    return frozenset().union(*(mask.spans for mask in masks))

