"""Symbols: what sizes are in a run that is recorded for all of them, and what is taken for granted of them.

    x: f32[24,64], of which 24 is the symbol b        shape_of(x) has a SizeNumber, sizes_of(x) == (b, 64)
    y = x[1:]                                         made("slice", ...): y: f32[b-1,64], Sized from here on
    range(x.shape[0])                                 Python asked for the number: `why` says where

Every operation's type is found again in symbols, by the rules that graphs are verified by. Where that does not lead to
what the run has, or something looks at a size unseen, the symbols are given up: they are the numbers that they are.
"""
from __future__ import annotations

import sys
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from codegen.ir.dims import Dim, Size, Undecided, element_count, evaluate, least_of, symbol_name
from codegen.ir.ops import OPS
from codegen.ir.references import literal_text
from codegen.ir.type_rules import TypeRuleError
from codegen.ir.types import TensorType, type_of
from tracegrad.left_behind import forget, forget_in_frames
from tracegrad.recorded import Key
from tracegrad.recorder import ACTIVE
from tracegrad.results import UnknownResult
from tracegrad.size_numbers import (
    Assumptions,
    Computed,
    Formula,
    SizeNumber,
    attrs_in_numbers,
    computing,
    is_size,
    number_in,
    numbers_in,
    python_of,
    read_size,
)
from tracegrad.sized import SIZED
from tracegrad.sized_views import Sizes, assume_as_here, lies_in, strides_in_whole, strides_of
from tracegrad.source_lines import user_line
from tracegrad.stand_ins import SWAPPING, become, plain_class
from tracegrad.tensors import Tensor

if TYPE_CHECKING:
    from tracegrad.recorder import Recorder
    from tracegrad.results import Leaves, Rebuild


class Symbols:
    """The sizes of one run. `leaves`: Tensors that it is given with symbols in their shapes, which are now `numbers`.

    `operands`: numbers computed from sizes that operations take, by key. `taken` is called if it has none of them in
    the end, since another run has.
    """

    def __init__(self, leaves: Iterable[tuple[Tensor, tuple[Size, ...]]], numbers: Mapping[str, int],
                 taken: Callable[[], None] = lambda: None):
        self.numbers = dict(numbers)
        self.assumptions = Assumptions()
        self.operands: dict[Key, Formula] = {}
        self._leaves, self._taken = list(leaves), taken
        self._swapped: list[weakref.ref[Tensor]] = []           # those that are Sized now
        self._over = self._unseen = False
        self._sized: dict[int, tuple[weakref.ref[Tensor], tuple[Any, ...], tuple[Size, ...]]] = {}
        self._strides: dict[int, tuple[weakref.ref[Tensor], Sizes | None]] = {}     # of views that may outlive it
        self._types: dict[Key, TensorType] = {}
        self._led_to: set[Key] = set()          # values that sizes have a part in
        self._given_up: str | None = None
        self._results: list[weakref.ref[Tensor]] = []           # of all operations

    @property
    def hold(self) -> bool:
        """Is what was recorded right for other sizes, too?"""
        return self.why is None

    @property
    def why(self) -> str | None:
        """Why it is not, if so."""
        known = self.assumptions.known
        if self._given_up is None and known.keys() >= self.numbers.keys():
            line = next(iter(known.values()))
            return f"{line or '?'}: Python asked for a size as a number"
        return self._given_up

    def returned(self, leaves: Sequence[Tensor], otherwise: Leaves) -> Leaves:
        """How SizeNumbers that the run returned are made again: from the sizes of its `leaves`."""
        places = {name: (k, axis) for k, leaf in enumerate(leaves) for axis, size in enumerate(self.sizes_of(leaf))
                  if (name := symbol_name(size)) is not None}

        def leaves_as(value: Any, place: Any, source: Any) -> Rebuild | None:
            if not is_size(value):
                return otherwise(value, place, source)
            if not places.keys() >= self.numbers.keys():
                raise UnknownResult("a size of a tensor that nothing leads to")
            number, kind = python_of(tuple(self.numbers), [value._formula]), type(value._number)
            found = [places[name] for name in self.numbers]
            return lambda tensors, args, kwargs: kind(number(*[tensors[k].array.shape[axis] for k, axis in found])[0])
        return leaves_as

    def computing(self) -> Callable[..., list[np.ndarray]]:
        """What gives the numbers computed from sizes that operations take, for numbers for the symbols."""
        operands = [(formula, dtype) for (_, (_, dtype, _)), formula in self.operands.items()]
        return computing(tuple(self.numbers), operands)

    # ---- Tensors ------------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """The run begins: what it is given is Sized, unless it is in another run."""
        with SWAPPING:
            if all(SIZED.of(type(tensor)) for tensor, _ in self._leaves):
                for tensor, sizes in self._leaves:
                    self._enter(tensor, sizes)
                return
        self._taken()
        self.give_up("another thread recorded with the same tensor")

    def end(self) -> None:
        """The Python of the run is over: its Tensors are Tensors like others. It may be called again."""
        self._over = True
        with SWAPPING:
            while self._swapped:
                tensor = self._swapped[-1]()        # in the list until it is done, should Ctrl-C come between
                if tensor is not None:
                    become(tensor, plain_class(tensor))
                self._swapped.pop()

    def surprised(self) -> None:
        """Code is about to run that nothing is known of: it may tell these Tensors and numbers from others."""
        self.give_up("code ran that could not be found before it ran")
        self.end()
        self.assumptions.over = True
        self._sized.clear()
        self._strides.clear()
        forget_in_frames(sys._getframe(1), number_in)
        forget(self.assumptions.numbers, None, number_in)

    def close(self, recorder: Recorder, result: Any) -> None:
        """All is known of the run: nothing that outlives it has SizeNumbers in it, but for tuples of its `result`."""
        self.assumptions.over = True
        for reference in self._results:
            tensor = reference()
            if tensor is not None and tensor.view_of is not None:
                tensor.view_of.attrs = attrs_in_numbers(tensor.view_of.attrs)
        for recorded in recorder.ops:
            node = recorded.living()
            if node is not None:
                node.attrs = attrs_in_numbers(node.attrs)
                for like in (node.result, *(node.operands or ())):
                    if hasattr(like, "by_columns") and not isinstance(like, Tensor):
                        like.shape = numbers_in(like.shape)
                if node.operands is not None:
                    node.operands = numbers_in(node.operands)
        recorder.ops.clear()
        self._results.clear()
        self._sized.clear()
        self._strides.clear()
        forget(self.assumptions.numbers, result, number_in)

    def shape_of(self, tensor: Tensor) -> tuple[Any, ...]:
        """Its shape, in SizeNumbers where there are symbols."""
        entry = self._sized.get(id(tensor))
        return tensor.held.shape if entry is None or entry[0]() is not tensor else entry[1]

    def sizes_of(self, tensor: Tensor) -> tuple[Size, ...]:
        """Its shape, in symbols."""
        entry = self._sized.get(id(tensor))
        return tensor.held.shape if entry is None or entry[0]() is not tensor else entry[2]

    def steps_of(self, tensor: Tensor, recorder: Recorder) -> Sizes | None:
        """How many elements apart the neighbors along each axis are, in symbols; None if that is not known."""
        entry = self._strides.get(id(tensor))
        return strides_of(tensor, self, recorder) if entry is None or entry[0]() is not tensor else entry[1]

    def look_at(self, tensor: Tensor) -> None:
        """Something may read the sizes of a Tensor unseen."""
        for size in () if self._unseen else self.shape_of(tensor):
            if is_size(size):
                read_size(size)

    def unread(self, method: Callable[[], Any]) -> Any:
        """What `method` gives, which looks at arrays and not at their sizes."""
        before, self._unseen = self._unseen, True
        try:
            return method()
        finally:
            self._unseen = before

    def give_up(self, why: str, line: str | None = None) -> None:
        """What comes now is not recorded for all sizes: the symbols are the numbers they are."""
        if self._given_up is None:
            line = line or user_line()
            self._given_up = self.why or (f"{line}: {why}" if line else why)

    def _enter(self, tensor: Tensor, sizes: tuple[Size, ...]) -> None:
        """`tensor` has these sizes from now on."""
        if not any(isinstance(size, Dim) for size in sizes):
            return
        shape = tuple([SizeNumber(number, size, self.assumptions) if isinstance(size, Dim) else size
                       for number, size in zip(tensor.held.shape, sizes)])
        entry = self._sized.get(id(tensor))
        with SWAPPING:
            if not self._over and (entry is None or entry[0]() is not tensor):
                kind = SIZED.of(type(tensor))
                if kind is None:
                    return self.give_up(f"nothing stands in for a {plain_class(tensor).__name__} as it is")
                self._swapped.append(weakref.ref(tensor))
                become(tensor, kind)
            self._sized[id(tensor)] = weakref.ref(tensor), shape, sizes

    def reshaped(self, tensor: Tensor, shape: Sequence[int], is_view: bool) -> None:
        """A reshape of `tensor` is a view of it, or a copy, and is to be that at other sizes."""
        recorder = ACTIVE.get()
        if self._given_up is None and recorder is not None:
            strides = self.steps_of(tensor, recorder)
            assume_as_here(self, self.sizes_of(tensor), strides, tuple(map(self._size, shape)), is_view)

    def strides_of(self, tensor: Tensor, recorder: Recorder) -> tuple[Size, ...] | None:
        """How many bytes apart the neighbors along each axis are, in symbols; None if that is not sure."""
        strides = self.steps_of(tensor, recorder)
        if strides is None:
            return None
        found, array = tuple([stride * tensor.itemsize for stride in strides]), tensor.memory
        here = [evaluate(stride, self.numbers) for stride in found]
        return found if all(n == 1 or a == b for n, a, b in zip(array.shape, here, array.strides)) else None

    def lay_out(self, tensor: Tensor, order: Sequence[int], recorder: Recorder) -> None:
        """A result is to lie in memory like this at all sizes, the slowest axis first."""
        if not lies_in(order, self.sizes_of(tensor), self.steps_of(tensor, recorder)):
            self.give_up("a result may lie in memory in another way at other sizes")

    # ---- what the recorder tells --------------------------------------------------------------------------------

    def operand(self, number: Any, dtype: str) -> Key | None:
        """The key of a number that an operation takes; None if it is a number like any other."""
        if not is_size(number) or number._assumptions is not self.assumptions:
            return None
        key = "size", (literal_text(number._number, dtype), dtype, number._formula)
        self.operands[key] = number._formula
        return key

    def entered(self, key: Key, tensor: Tensor, of: Tensor | None) -> TensorType:
        """The type of an input, in numbers; `of`: the Tensor whose grad it is."""
        if of is not None:
            self._enter(tensor, self.sizes_of(of))
        type = type_of(tensor.held)
        self._types[key] = TensorType(type.dtype, self.sizes_of(tensor))
        return type

    def type_of(self, key: Key) -> TensorType:
        """The type of a value, in symbols."""
        kind, what = key
        return self._types[key] if kind in ("input", "op") else TensorType(what[1])

    def stands_for(self, tensor: Tensor, key: Key) -> None:
        """`tensor`, new, holds this value."""
        if self._given_up is None:
            self._enter(tensor, self.type_of(key).shape)

    def lead_to(self, key: Key) -> bool:
        """Do sizes have a part in a value?"""
        return key[0] == "size" or key in self._led_to

    def is_at(self, target: Tensor, key: Key) -> None:
        """`target`, of the same numbers of elements, stands for this value from now on."""
        if self._given_up is None and self.type_of(key).shape != self.sizes_of(target):
            self.give_up("a tensor takes a value whose sizes are others, but for these numbers")

    def made(self, key: Key, op: str, operands: Sequence[Key], attrs: Mapping[str, Any], result: Tensor | None) -> None:
        """A value was made by an operation."""
        if result is not None:
            self._results.append(weakref.ref(result))
        if self._given_up is not None:
            return
        given = self.symbolic(attrs)
        try:
            types = [self.type_of(k) for k in operands]
            type = OPS[op].type_rule(*types, **given)
        except (TypeRuleError, Undecided, KeyError) as refusal:
            return self.give_up(f"{op}: {refusal}")
        self._types[key] = type
        if any(map(self.lead_to, operands)) or has_symbols(type.shape) or any(map(has_symbols, given.values())):
            self._led_to.add(key)
        if result is not None:
            array = result.held
            if type_of(array) != TensorType(type.dtype, tuple([evaluate(n, self.numbers) for n in type.shape])):
                return self.give_up(f"{op}: its result is {type_of(array)}")
            self._enter(result, type.shape)
            recorder, view = ACTIVE.get(), result.view_of
            if recorder is not None and view is not None and not view.tracked:      # its whole may be gone before it
                self._strides[id(result)] = weakref.ref(result), strides_in_whole(result, view, self, recorder)
        self._assume(op, types, given, type)

    def _assume(self, op: str, operands: Sequence[TensorType], attrs: Mapping[str, Any], type: TensorType) -> None:
        """What type rules take for granted of symbols; and no result is without elements."""
        match op:
            case "slice":
                for size, start, stop in zip(operands[0].shape, attrs["start"], attrs["stop"]):
                    self._at_least(start, 0)
                    self._at_least(stop - start, 0)
                    self._at_least(size - stop, 0)
            case "reshape":
                before, after = element_count(operands[0].shape), element_count(type.shape)
                if before != after:
                    self.assumptions.assume(Computed("eq", before, after), True)
            case "pad":
                for size in (*attrs["low"], *attrs["high"]):
                    self._at_least(size, 0)
            case "shear":
                for axis, other, dilation in zip(attrs["axes"], attrs["along"], attrs["dilation"]):
                    sizes = operands[0].shape
                    self._at_least(sizes[axis] - (sizes[other] - 1) * dilation, 1)
        for size in type.shape:
            self._at_least(size, 1)

    def _at_least(self, size: Size, number: int) -> None:
        if isinstance(size, Dim):
            least = least_of(size)
            if least is None or least < number:
                self.assumptions.assume(Computed("ge", size, number), True)

    in_numbers = staticmethod(attrs_in_numbers)

    def symbolic(self, attrs: Mapping[str, Any]) -> dict[str, Any]:
        """Attrs in symbols."""
        return {name: tuple(map(self._size, value)) if type(value) is tuple else read_size(value)
                for name, value in attrs.items()}

    def _size(self, value: Any) -> Any:
        is_own = is_size(value) and value._assumptions is self.assumptions
        return value._formula if is_own and not isinstance(value._formula, Computed) else read_size(value)


def has_symbols(value: Any) -> bool:
    """Is it a size with symbols, or are there such among these?"""
    return isinstance(value, Dim) or isinstance(value, tuple) and any(isinstance(size, Dim) for size in value)
