"""statements: the statements of a kernel as lines of text, at a tile of points.

    v0 = load b0[48*i+j]         v0 = tl.load(b0 + (48*x+r), mask=r_mask)
    v3 = sub v0 v1          ->   v3 = v0 - v1
    store b1[48*i+j] v3          tl.store(b1 + (48*x+r), v3, mask=r_mask)

1. A value of the kernel is a variable of its name. What was computed already is not again, nor is what was loaded or
   stored loaded: a later value of that kind is the earlier variable.
2. A value is masked where memory is accessed and where points are combined, and nowhere else.
3. A load of fewer points than a program has threads is done by several threads for each. Before one of them stores to
   that buffer they wait for each other: a thread that came late would load what was stored.
4. Places along axes that a span is cut into, `p0 = (x // 256) % 8`, have names where an index is made of many.
"""
from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import count
from typing import assert_never

from codegen.ir.dims import Size
from codegen.ir.structs import struct
from codegen.schedule.index import axes_of
from codegen.schedule.kernel import (
    Accumulate,
    Axis,
    Binary,
    Cast,
    Const,
    Gather,
    Holds,
    Index,
    Load,
    Param,
    Position,
    RandomWord,
    Scan,
    Scatter,
    Select,
    Statement,
    Store,
    Term,
    Unary,
    Within,
    buffer_of,
    indices_of,
    operands,
    with_operands,
)
from codegen.triton_gpu.operations import cast, constant, operation
from codegen.triton_gpu.places import factor_text, parts_of, place_text, term_text
from codegen.triton_gpu.tile import Mask, Tile, joined, spans_of

MOST_PARTS = 2
"""Of so many parts an index is read as it stands."""

WARP = 32
"""Threads that load and store in step."""


@struct
class Value:
    """A variable, and the spans that it changes along, if they are dimensions."""

    text: str
    spans: frozenset[str]


class Statements:
    """Writes statements; `values` are those in sight, by their numbers in the kernel.

    `dtypes`: of each value. `wide`: are indices i64? `unordered`: are points scattered in any order?
    `zeros`: is what is masked out of a load 0? `threads`: of a program. `numbers`: of the places that get a name.
    """

    def __init__(self, params: Sequence[Param], dtypes: Sequence[str], wide: bool = False, unordered: bool = False,
                 zeros: bool = False, threads: int = WARP, numbers: Iterator[int] | None = None):
        self.params, self.dtypes, self.wide, self.zeros = params, dtypes, wide, zeros
        self.unordered, self.threads = unordered, threads
        self.loaded: set[int] = set()               # buffers that were loaded since the last barrier
        self.lines: list[str] = []
        self.depth = 1
        self.values: dict[int, Value] = {}
        self.same: dict[int, int] = {}              # values that are earlier ones
        self.found: dict[tuple[tuple[Axis, ...], Statement], int] = {}      # what is in a variable, and which
        self.checked: dict[tuple[int, Size, str], int] = {}         # indices, sizes, masks, and the Gather that checked
        self.named: dict[Term, str] = {}            # places that are in a variable
        self._numbers = count() if numbers is None else numbers
        self.functions: dict[str, None] = {}        # of those that stand before the kernel, what is called

    @property
    def word_type(self) -> str:
        """The language's type of an index."""
        return "tl.int64" if self.wide else "tl.int32"

    def write(self, text: str) -> None:
        """A line."""
        self.lines.append("    " * self.depth + text)

    def wait(self) -> None:
        """Have the threads of a program wait for each other."""
        self.write("tl.debug_barrier()")
        self.loaded.clear()

    def value(self, number: int) -> Value:
        """The variable that holds a value."""
        return self.values[self.same.get(number, number)]

    def is_known(self, number: int) -> bool:
        """Is a value in sight?"""
        return self.same.get(number, number) in self.values

    def text(self, number: int) -> str:
        """The text of the variable that holds a value."""
        return self.value(number).text

    # statements

    def statement(self, s: Statement, number: int, tile: Tile, axes: tuple[Axis, ...] = ()) -> None:
        """A statement that makes value `number`, if one; in a pass over these axes. Not an Accumulate or a Scan."""
        if isinstance(s, Store):
            self._store(s, tile, axes)
            return
        if isinstance(s, Scatter):
            self._scatter(s, number, tile)
            return
        key = with_operands(s, [self.same.get(x, x) for x in operands(s)])
        for around in dict.fromkeys(((), axes)):
            if (around, key) in self.found and not isinstance(s, Gather):
                self.same[number] = self.found[around, key]
                return
        self.define(number, *self._made(s, number, tile))
        self.found[axes, key] = number

    def define(self, number: int, text: str, spans: Iterable[str]) -> None:
        """Give a value a variable."""
        name = f"v{number}"
        self.write(f"{name} = {text}")
        self.values[number] = Value(name, frozenset(spans))
        self.same.pop(number, None)

    def forget(self, numbers: Iterable[int], named: Collection[str]) -> None:
        """Variables go out of sight: of values, and of places but these."""
        gone = set(numbers)
        self.named = {part: name for part, name in self.named.items() if name in named}
        self.found = {key: number for key, number in self.found.items() if number not in gone}
        self.checked = {key: number for key, number in self.checked.items() if number not in gone}
        self.values = {number: value for number, value in self.values.items() if number not in gone}

    def _places(self, tile: Tile, index: Index, guards: Sequence[Within] = ()) -> Index:
        """An index in terms of the spans; where it and its guards are made of many parts these get names."""
        place = tile.index(index)
        parts = dict.fromkeys(part for one in (place, *(tile.index(guard.index) for guard in guards))
                              for part in parts_of(one))
        if len(parts) > MOST_PARTS:
            for part in parts:
                if part not in self.named:
                    name = f"p{next(self._numbers)}"
                    self.write(f"{name} = {term_text(part, self.named)}")
                    self.named[part] = name
        return place

    def _made(self, s: Statement, number: int, tile: Tile) -> tuple[str, frozenset[str]]:
        """The text of a value, and the spans that it changes along."""
        dtypes, of = self.dtypes, self.text
        spans = frozenset().union(*(self.value(x).spans for x in operands(s)))
        match s:
            case Const(text, dtype):
                return constant(text, dtype), spans
            case Position(index, dtype):
                text, spans = self._number(tile, index)
                return cast("i64" if self.wide else "i32", dtype, text), spans
            case Load():
                return self._load(s, tile)
            case Holds(guards):
                self._places(tile, Index(), guards)
                masks = tile.guards(guards, self.named)
                if not masks:
                    return "tl.full([], True, tl.int1)", spans
                return joined(masks), tile.dims(spans_of(masks))
            case Gather():
                return self._gather(s, number, tile)
            case Unary(op, x):
                return operation(op, dtypes[x], [of(x)]), spans
            case Binary(op, x, y):
                return operation(op, dtypes[x], [of(x), of(y)]), spans
            case Select(condition, x, y):
                return f"tl.where({of(condition)}, {of(x)}, {of(y)})", spans
            case Cast(x, dtype):
                return cast(dtypes[x], dtype, of(x)), spans
            case RandomWord(key, counter, index):
                text, along = self._number(tile, index)
                return f"random_word({of(key)}, {of(counter)}, {text})", spans | along
            case Accumulate() | Scan() | Store() | Scatter():
                raise AssertionError("not a statement that is made at each point alone")
            case _:
                assert_never(s)

    def _number(self, tile: Tile, index: Index) -> tuple[str, frozenset[str]]:
        """An index as a value."""
        place = self._places(tile, index)
        if not place.terms and isinstance(place.constant, int):
            return f"tl.full([], {place.constant}, {self.word_type})", frozenset()
        text = place_text(place, self.named)
        return text if text.isidentifier() else f"({text})", tile.dims(axes_of(place))

    # memory

    def _place(self, tile: Tile, buffer: int, offset: str, spans: Collection[str], needed: Collection[str]) -> str:
        """The pointers to places of a buffer, which have all dimensions that are needed."""
        missing = sorted(tile.dims(needed) - set(spans))
        parts = [part for part in (offset, *(f"0*{name}" for name in missing)) if part != "0"]
        if not parts:
            return f"b{buffer}"
        return f"b{buffer} + {parts[0]}" if len(parts) == 1 and parts[0].isidentifier() else (
            f"b{buffer} + ({' + '.join(parts)})")

    def _load(self, s: Load, tile: Tile) -> tuple[str, frozenset[str]]:
        self.loaded.add(s.buffer)
        index = self._places(tile, s.index, s.guards)
        guards = tile.guards(s.guards, self.named)
        spans = axes_of(index)
        masks = [*tile.masks_of(spans | spans_of(guards)), *guards]
        around = tile.dims(spans | spans_of(masks))
        place = self._place(tile, s.buffer, place_text(index, self.named), spans, around)
        return f"tl.load({place}{_masked(masks)}{', other=0' if guards or self.zeros and masks else ''})", around

    def _store(self, s: Store, tile: Tile, axes: tuple[Axis, ...]) -> None:
        index, value = self._places(tile, s.index), self.value(s.x)
        spans = axes_of(index)
        masks = tile.masks_of(spans | value.spans)
        place = self._place(tile, s.buffer, place_text(index, self.named), spans, value.spans | spans_of(masks))
        if s.buffer in self.loaded and self.threads > WARP and tile.points(spans) < self.threads:
            self.wait()                             # several threads have loaded what one of them stores
        self.write(f"tl.store({place}, {value.text}{_masked(masks)})")
        self.found = {(around, key): number for (around, key), number in self.found.items()
                      if buffer_of(key) != s.buffer}
        self.found[axes, Load(s.buffer, s.index)] = self.same.get(s.x, s.x)

    def _picked(self, s: Gather | Scatter, number: int, tile: Tile,
                guards: Sequence[Mask]) -> tuple[str, frozenset[str], list[Mask]]:
        """The pointers to what a value picks, the spans that they change along, and where there is something to pick.

        Where the value is out of bounds, the check fails. A Scatter happens at every point, also along spans that
        nothing of it changes along.
        """
        base, k = self._places(tile, s.base), self.value(s.k)
        spans = axes_of(base) | k.spans
        if isinstance(s, Scatter):
            spans |= {span.name for span in tile.spans}
        masks = [*tile.masks_of(spans | spans_of(guards)), *guards]
        around = tile.dims(spans | spans_of(masks))
        key = self.same.get(s.k, s.k), s.size, joined(masks)
        name = f"k{self.checked.get(key, number)}"
        if key not in self.checked:
            self._check(name, k, s.size, masks, around)
            if isinstance(s, Gather):               # others have no number of their own
                self.checked[key] = number
        row = name if self.wide else f"{name}.to(tl.int32)"
        offset = row if s.stride == 1 else f"{factor_text(s.stride)}*{row}"
        if base.terms or base.constant:
            offset = f"{place_text(base, self.named)} + {offset}"
        place = self._place(tile, s.buffer, offset, axes_of(base) | k.spans, around)
        return place, around, [*masks, Mask(f"{name}_inside", k.spans)]

    def _check(self, name: str, k: Value, size: Size, masks: Sequence[Mask], around: frozenset[str]) -> None:
        """Count an index from the end where it is below 0, see whether it is inside, and have the check fail if not."""
        self.write(f"{name} = tl.where({k.text} < 0, {k.text} + {size}, {k.text})")
        self.write(f"{name}_inside = ({name} >= 0) & ({name} < {size})")
        zeros = "".join(f" + 0*{span}" for span in sorted(around - k.spans))
        outside = joined([*masks, Mask(f"({name}_inside == 0)", k.spans)])
        self.write(f"tl.store(failed + (0*{name}{zeros}), 1, mask={outside})")

    def _gather(self, s: Gather, number: int, tile: Tile) -> tuple[str, frozenset[str]]:
        self._places(tile, s.base, s.guards)
        place, spans, masks = self._picked(s, number, tile, tile.guards(s.guards, self.named))
        return f"tl.load({place}{_masked(masks)}, other=0)", spans

    def _scatter(self, s: Scatter, number: int, tile: Tile) -> None:
        place, _, masks = self._picked(s, number, tile, ())
        x, dtype = self.text(s.x), self.dtypes[s.x]
        if s.kind == "max" or s.kind == "add" and self.unordered:
            self.write(f"tl.atomic_{s.kind}({place}, {x}{_masked(masks)}, sem='relaxed')")
            return
        if s.kind == "add":
            self.write(f"before{number} = tl.load({place}{_masked(masks)})")
            x = operation("add", dtype, [f"before{number}", x])
        self.write(f"tl.store({place}, {x}{_masked(masks)})")
        if not self.unordered:
            self.wait()


def _masked(masks: Sequence[Mask]) -> str:
    return f", mask={joined(masks)}" if masks else ""


def uses(s: Statement) -> frozenset[str]:
    """The axes that the indices of a statement are made of."""
    return frozenset().union(*(axes_of(index) for index in indices_of(s)))

