"""Array and Scalar: what NumPy code sees in place of ndarrays and NumPy scalars while it is recorded.

    x = Array(Tensor)        isinstance(x, np.ndarray); x.dtype, x[0], x + 1, np.sum(x), ... as of the ndarray
    x.sum()                  a Scalar: isinstance(s, np.float64), immutable

Operators and methods are bound in `binding`. A value that Python asks for (float(x), if x > 0, print(x)) is given, and
ends the recording.
"""
from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from functools import lru_cache
from typing import Any

import numpy as np

from codegen.ir.types import NAMES
from tracegrad import dtypes
from tracegrad.aborts import Abort
from tracegrad.dispatch import dispatch
from tracegrad.functional import clone
from tracegrad.indexing import get
from tracegrad.lifted import LiftedNumber
from tracegrad.movement import reshape, stack
from tracegrad.operands import convert, scalar
from tracegrad.purity.observation import ERROR_STATE
from tracegrad.recorder import ACTIVE
from tracegrad.size_numbers import is_size, number_in, read_size
from tracegrad.tensors import Tensor

MOST_ABORTS = 20        # what follows the first abort changes nothing; a few are kept to tell

NUMBERS = frozenset({"bool", "int", "float", "index", "item"})
"""Reads that give Python one number."""


class Uncounted(AttributeError):
    """There is no counterpart for what NumPy was asked to do. Of an attribute, Python then asks __getattr__."""


class Operand:
    """An array of the run: a Tensor that speaks NumPy."""

    __slots__ = ("_tensor", "__weakref__")
    __hash__: Any = None
    __takes_lifted__ = True

    def __init__(self, tensor: Tensor):
        self._tensor = tensor

    def __getattr__(self, name: str) -> Any:
        """What only the memory has: strides, flags, base, ..."""
        getattr(in_memory(self), name)              # AttributeError is NumPy's
        value = getattr(real(self), name)
        leave(Abort.NOT_RECORDED, f"the attribute {name} of an array")
        return value


class Array(Operand):
    """Stands for an ndarray."""

    __slots__ = ()

    @property                   # type: ignore[misc]
    def __class__(self) -> type:
        return np.ndarray

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "_tensor":
            object.__setattr__(self, name, value)
            return
        if name == "shape" and self._reshape(value):
            return
        leave(Abort.NOT_RECORDED, f"the attribute {name} of an array is set")
        setattr(self._tensor.array, name, real(value))

    def _reshape(self, shape: Any) -> bool:
        """Give the array another shape, where it is one that the run made and its memory allows it."""
        before, recorder = self._tensor, ACTIVE.get()
        if recorder is None or not recorder.made(before) or before.size == 0:
            return False
        after = reshape(before, shape)
        if not np.may_share_memory(after.memory, before.memory):
            return False
        self._tensor = after
        return True


class Scalar(Operand):
    """Stands for a NumPy scalar: 0-d, and never written to."""

    __slots__ = ()

    @property                   # type: ignore[misc]
    def __class__(self) -> type:
        return self._tensor.dtype.type

    def __hash__(self) -> int:
        read(self, "hash")
        return hash(real(self))


class Selected(Array):
    """x[mask] of a mask that was computed: how many elements there are depends on values.

    It is kept as all of x and the mask. Elementwise work on it, sums, and x[mask] = of it need no more. Anything else
    asks for its elements: they are gathered where the mask follows from guards, else the recording ends.
    """

    __slots__ = ("_elements", "lead", "mask", "mask_key", "whole")

    def __init__(self, whole: Tensor, mask: Tensor, mask_key: Any):
        for name, value in (("whole", whole), ("mask", mask), ("mask_key", mask_key), ("lead", mask.ndim),
                            ("_elements", None)):
            object.__setattr__(self, name, value)

    @property
    def _tensor(self) -> Tensor:        # type: ignore[override]
        """The elements."""
        if self._elements is None:
            recorder = ACTIVE.get()
            if recorder is not None and recorder.is_known(self.mask_key):
                elements = get(self.whole, tuple(map(constant, np.nonzero(self.mask.memory))))
            else:
                leave(Abort.HOST_READ, f"how many elements of a mask {list(self.mask.shape)} hold")
                elements = Tensor(self.whole.array[self.mask.array])
            object.__setattr__(self, "_elements", elements)
        return self._elements

    @property
    def rank(self) -> int:
        """The axes beside the one that is selected along."""
        return self.whole.ndim - self.lead

    @property
    def is_whole(self) -> bool:
        """Does nobody have the elements yet, so that they may still be thought of as x and a mask?"""
        return self._elements is None and ACTIVE.get() is not None

    def everywhere(self) -> Array:
        """The mask, with an axis of size 1 for each that is not selected along."""
        shape = self.mask.shape
        return Array(reshape(self.mask, (*shape, *(1,) * self.rank)))

    def replaced(self, whole: Tensor) -> Selected:
        """Other values of the same elements."""
        return Selected(whole, self.mask, self.mask_key)

    def overwrite(self, whole: Tensor) -> Selected:
        """Write in place."""
        object.__setattr__(self, "whole", whole)
        return self


def select(x: Operand, mask: Operand) -> Selected:
    """x[mask], of masks that lie along the leading axes of x; Uncounted where nothing records."""
    recorder = ACTIVE.get()
    shape, lead = x._tensor.shape, mask._tensor.ndim
    if recorder is None or not lead or mask._tensor.shape != shape[:lead]:
        raise Uncounted("a mask of another shape")
    return Selected(clone(x._tensor), clone(mask._tensor), recorder.key(mask._tensor))


def same_mask(a: Any, b: Any) -> bool:
    """Do these recorded values, of masks, hold at the same places whatever the inputs?"""
    recorder = ACTIVE.get()
    return a == b or recorder is not None and recorder.same_value(a, b)


def leave(reason: Abort, detail: str) -> None:
    """The run does something that cannot be replayed."""
    recorder = ACTIVE.get()
    if recorder is not None and len(recorder.aborts) < MOST_ABORTS:
        recorder.abort(reason, detail)


def is_fixed(operand: Operand) -> bool:
    """Do its values follow from what guards watch, and from no input of the run? If so they are read."""
    recorder = ACTIVE.get()
    return recorder is None or recorder.is_known(recorder.key(operand._tensor))


def has_symbols(tensor: Tensor) -> bool:
    """Is a size of it one that is a symbol in this run?"""
    return any(map(is_size, tensor.shape))


def read(operand: Operand, what: str) -> None:
    """A value of the run is given to Python."""
    recorder = ACTIVE.get()
    if recorder is not None and len(recorder.aborts) < MOST_ABORTS:
        if what in NUMBERS and operand._tensor.size == 1:
            recorder.read_number(operand._tensor, what)
        else:
            recorder.host_read(operand._tensor, what)


@lru_cache(maxsize=64)
def _raises(state: Any) -> bool:
    """May a floating-point error raise under this state, the present one?"""
    return not {"raise", "call"}.isdisjoint(np.geterr().values())


def refuse_errors() -> None:
    """Uncounted where a floating-point error would raise: ours do not, so NumPy computes."""
    if errors_raise():
        raise Uncounted("np.errstate asks for floating-point errors to raise")


def errors_raise() -> bool:
    """May a floating-point error raise in NumPy now, by np.errstate or np.seterr? What is replayed never does."""
    if ERROR_STATE is None:
        return _raises.__wrapped__(None)
    state = ERROR_STATE.get(None)           # None: nobody has said anything
    return state is not None and _raises(state)


# ---- from NumPy's values to ours, and back ------------------------------------------------------------------------


def wrap(tensor: Tensor) -> Operand:
    """A new result: a scalar where it is 0-d, as of a ufunc, a reduction or an index."""
    return Array(tensor) if tensor.ndim else Scalar(tensor)


def real(value: Any) -> Any:
    """The value with what the Arrays in it stand for, on their memory, in their place; nothing is noted."""
    kind = type(value)
    if kind is Array or kind is Selected:
        return value._tensor.array
    if kind is Scalar:
        return value._tensor.array[()]
    if kind is LiftedNumber:
        return value.read()
    if is_size(value):
        return read_size(value)
    if kind in (list, tuple):
        return kind(map(real, value))
    if kind is dict:
        return {key: real(part) for key, part in value.items()}
    if kind is slice:
        return slice(real(value.start), real(value.stop), real(value.step))
    return value


def in_memory(value: Any) -> Any:
    """`real`, for code that depends on no size: what it gives is looked at for its dtype or how it lies in memory."""
    kind = type(value)
    if kind in (list, tuple):
        return kind(map(in_memory, value))
    if kind is slice:
        return slice(in_memory(value.start), in_memory(value.stop), in_memory(value.step))
    return value._tensor.memory if issubclass(kind, Operand) else real(number_in(value))


def read_sizes(value: Any) -> Any:
    """The value with the numbers that SizeNumbers in it are, which the run depends on from now on."""
    kind = type(value)
    if kind in (list, tuple):
        parts = [read_sizes(part) for part in value]
        return value if all(new is old for new, old in zip(parts, value)) else kind(parts)
    if kind is slice:
        return slice(read_sizes(value.start), read_sizes(value.stop), read_sizes(value.step))
    if kind is dict:
        return {key: read_sizes(part) for key, part in value.items()}
    return read_size(value)


def with_numbers(ours: Callable[..., Any], args: tuple, options: dict[str, Any]) -> Any:
    """What ours gives; with numbers for sizes, where it does not take these."""
    try:
        return ours(*args, **options)
    except Exception:
        given, named = read_sizes(args), read_sizes(options)
        if given is args and all(named[name] is options[name] for name in options):
            raise
    return ours(*given, **named)


def holds_operands(values: Any) -> bool:
    """Is an Array or a Scalar among these, or in a list or tuple of them?"""
    return any(isinstance_of(v, Operand) or type(v) in (list, tuple) and holds_operands(v) for v in values)


def isinstance_of(value: Any, kind: type) -> bool:
    """isinstance by the true type: `__class__` says what an object stands for."""
    return issubclass(type(value), kind)


def on_arrays(function: Callable[..., Any], args: tuple, options: dict[str, Any], why: str,
              reason: Abort = Abort.NOT_RECORDED) -> Any:
    """NumPy's own function on the memory of the Arrays. Its result is NumPy's; the recording ends."""
    leave(reason, why)
    given = [*args, *options.values()]
    result = function(*map(real, args), **{name: real(value) for name, value in options.items()})
    for value in given:             # out=, or the array itself
        if type(value) is Array and value._tensor.array is result:
            return value
    return result


class Constants:
    """The arrays of one run that are not Arrays, as Tensors whose values are part of the trace."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[np.ndarray, bytes, Tensor]] = {}       # arrays are kept: ids stay theirs

    def tensor(self, array: np.ndarray) -> Tensor:
        """A Tensor that nobody writes to, of the present values of an array; Uncounted if its dtype is none of ours."""
        if array.dtype.newbyteorder("=") not in NAMES or type(array) is not np.ndarray:
            raise Uncounted(f"a {type(array).__name__} of dtype {array.dtype}")
        values, known = array.tobytes(), self._known.get(id(array))
        if known is not None and known[1] == values:
            return known[2]
        tensor = Tensor(np.array(dtypes.canonical(array), order="C"))
        recorder = ACTIVE.get()
        if recorder is not None:
            recorder.record_constant(tensor)
        self._known[id(array)] = array, values, tensor
        return tensor


CONSTANTS: ContextVar[Constants | None] = ContextVar("tracegrad_numpy_constants", default=None)
"""Those of the run in progress in this context."""


def constant(array: np.ndarray) -> Tensor:
    """A Tensor of the values of an array that the run did not get as an argument; not to be written to."""
    return (CONSTANTS.get() or Constants()).tensor(array)


def made(array: np.ndarray) -> Array:
    """An Array of its own of the values of an array that NumPy just made."""
    return Array(clone(constant(array)))


def tensor_of(value: Any) -> Tensor:
    """What NumPy would make an array of, as a Tensor; not to be written to, since it may be `value` itself."""
    if isinstance_of(value, Operand):
        return value._tensor
    if type(value) in (list, tuple) and holds_operands(value):
        return stacked(value)
    if type(value) is LiftedNumber:
        return value.tensor
    if is_size(value):
        return number_tensor(value, np.dtype(type(number_in(value))))
    return constant(np.asarray(real(value)))


def number_tensor(number: Any, dtype: np.dtype) -> Tensor:
    """A 0-d Tensor of a number, one computed from sizes too."""
    return dispatch("add", scalar(0, dtype), number) if is_size(number) else scalar(number, dtype)


def stacked(values: Any) -> Tensor:
    """np.array of a nested list in which there are Arrays."""
    parts = [tensor_of(v) for v in values]
    common = np.result_type(*(p.dtype for p in parts))
    return stack([convert(p, common) for p in parts])
