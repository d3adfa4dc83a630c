"""Selection: x[mask] while a run is recorded, put off until something needs to know how many elements there are.

    z[mask] = z[mask]**2 + c[mask]          becomes         full = where(mask, z, 1)**2 + where(mask, c, 1)
    count[mask] += 1                                        z = where(mask, full, z)
    total = z[mask].sum()                                   total = sum(where(mask, full, 0))

1. `full` has the place of every element, selected or not; at the others it is what the operations make of 1, which
   nobody sees: no derivative comes from there.
2. Operators, elementwise methods and NumPy's ufuncs of Selections by one mask, and of what broadcasts along the axes
   after the mask's, give Selections again; written back under that mask, they never were a tensor of their own.
3. A Selection has no array until someone asks for one, or for anything that depends on it: then the mask is read, which
   ends the recording, and its class is Tensor. So nothing can know its size unseen.
4. There are none where code may run that asks for types (see type_questions), and none is left when the run is over.
"""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from codegen.ir.structs import struct
from codegen.ir.types import type_of
from tracegrad import functional
from tracegrad.aborts import Abort
from tracegrad.devices import there
from tracegrad.dispatch import complete, dispatch
from tracegrad.dtypes import INEXACT
from tracegrad.indexing_keys import WHOLE, Key, is_mask, known
from tracegrad.movement import reshape, take
from tracegrad.mutation import fitted
from tracegrad.operands import scalar
from tracegrad.recorded import Key as RecorderKey
from tracegrad.recorder import ACTIVE
from tracegrad.size_numbers import numbers_in
from tracegrad.slicing import basic
from tracegrad.stand_ins import become
from tracegrad.tensors import Tensor


@struct
class Masked:
    """What a key with one mask selects: the elements of `whole` where `wide`, which broadcasts with it, holds.

    The mask, whose values are `array`, begins at axis `start` of whole; what it selects has one axis in its place. Its
    value in the recording is `key`.
    """

    whole: Tensor
    wide: Tensor
    array: np.ndarray
    start: int
    key: RecorderKey | None

    @property
    def after(self) -> int:
        """How many axes come after those of the mask."""
        return self.whole.ndim - self.start - self.array.ndim

    def matches(self, other: Masked) -> bool:
        """Do both select the same elements, of wholes of one shape?"""
        recorder = ACTIVE.get()
        return (self.whole.shape == other.whole.shape and self.start == other.start
                and self.array.shape == other.array.shape and recorder is not None
                and self.key is not None and other.key is not None and recorder.same_value(self.key, other.key))

    def take(self, full: Tensor) -> Tensor:
        """The selected elements of `full`. Reads the mask."""
        recorder = ACTIVE.get()
        if recorder is not None:
            recorder.abort(Abort.HOST_READ, f"indexing by a mask {type_of(self.array)}")
        shape, n = full.shape, self.array.ndim
        line = reshape(full, (*shape[:self.start], self.array.size, *shape[self.start + n:]))
        with there(self.array):
            return take(line, known(np.flatnonzero(self.array)), self.start)


def masked(x: Tensor, form: Key, anywhere: bool = False) -> Masked | None:
    """What a key selects whose one array is a mask; None for other keys, and if the axis of what the mask selects is in
    front of other axes that the mask comes after, unless it may be `anywhere`.
    """
    entries = form.entries
    arrays = [p for p, k in enumerate(entries) if isinstance(k, bool | Tensor | np.ndarray)]
    if form.apart and not anywhere or len(arrays) != 1 or not is_mask(entries[arrays[0]]):
        return None
    here = arrays[0]
    found: Any = entries[here]
    mask = found if isinstance(found, Tensor) else known(found)
    n = mask.ndim
    whole = basic(x, [*entries[:here], *[WHOLE] * n, *entries[here + 1:]])
    start = sum(k is None or isinstance(k, slice) for k in entries[:here])
    shape = (*(1,) * start, *mask.shape, *(1,) * (whole.ndim - start - n))
    with there(mask.memory):
        array = mask.memory.copy()          # and `wide` is a copy: the mask itself may be written to
    wide = complete("reshape", (mask,), {"shape": shape}, Tensor(array.reshape(numbers_in(shape))))
    recorder = ACTIVE.get()
    return Masked(whole, wide, array, start, None if recorder is None else recorder.key(mask))


class Selection(Tensor):
    """The elements of `full` under `mask`: its slots are empty, but for `kept`, where it has these two."""

    __slots__ = ()

    @property
    def __class__(self) -> type:
        return Tensor

    @__class__.setter
    def __class__(self, kind: type) -> None:
        self.array                      # noqa: B018 - asking is enough
        become(self, kind)

    def __init__(self, full: Tensor, mask: Masked):
        self.kept: Any = (full, mask)
        recorder = ACTIVE.get()
        if recorder is not None:
            recorder.postpone(self)

    @property
    def full(self) -> Tensor:
        return self.kept[0]

    @property
    def mask(self) -> Masked:
        return self.kept[1]

    def __getattr__(self, name: str) -> Any:
        """What only a Tensor that has an array has: now it is one."""
        if name not in Tensor.__slots__:
            raise AttributeError(f"{Tensor.__name__!r} object has no attribute {name!r}")
        taken = self.mask.take(self.full)
        Tensor.__init__(self, taken.array, taken.requires_grad, taken.grad_fn)
        become(self, Tensor)
        return getattr(self, name)

    @property
    def dtype(self) -> np.dtype:
        return self.full.dtype


def is_selection(x: Any) -> bool:
    """Is it one yet?"""
    return type(x) is Selection


def selected(part: Masked) -> Selection:
    """The elements under a mask."""
    one = scalar(1, part.whole.dtype)
    return Selection(dispatch("where", part.wide, part.whole, one), part)


def together(x: Selection, others: tuple[Any, ...]) -> list[Any] | None:
    """The operands beside x as they stand beside its `full`; None if they do not."""
    if not is_selection(x):
        return None
    mask = x.mask
    found: list[Any] = []
    for other in others:
        if is_selection(other):
            if not mask.matches(other.mask):
                return None
            found.append(other.full)
        elif isinstance(other, Tensor | np.ndarray) and other.ndim > mask.after:
            return None
        else:
            found.append(other)
    return found


def elementwise(function: Callable[..., Any]) -> Callable[..., Any]:
    """A method of Tensor for Selections."""
    def apply(x: Selection, *others: Any, **options: Any) -> Any:
        operands = together(x, others)
        if operands is None:
            return function(x, *others, **options)
        result = function(x.full, *operands, **options)
        return result if result is NotImplemented else Selection(result, x.mask)
    return apply


def updating(function: Callable[..., Any], in_place: Callable[..., Any]) -> Callable[..., Any]:
    """An operator in place for Selections."""
    def apply(x: Selection, other: Any) -> Tensor:
        operands = together(x, (other,))
        if operands is None:
            return in_place(x, other)
        x.kept = fitted(x.full, function(x.full, *operands), in_place.__name__), x.mask
        return x
    return apply


def array_ufunc(x: Selection, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
    """NumPy's protocol."""
    first: Any = next(filter(is_selection, inputs), None)
    operands = None if first is None or method != "__call__" or options or ufunc.signature or ufunc.nout > 1 else (
        together(first, inputs))
    if operands is None:
        return Tensor.__array_ufunc__(x, ufunc, method, *inputs, **options)
    return Selection(Tensor.__array_ufunc__(first.full, ufunc, method, *operands), first.mask)


def array_function(x: Selection, function: Callable, types: Any, args: tuple, options: dict[str, Any]) -> Any:
    """NumPy's protocol: np.sum(x[mask]) and np.mean(x[mask]) are the methods."""
    reduction = {np.sum: sum_of, np.mean: mean_of}.get(function)
    if reduction is not None and args[0] is x:
        return reduction(x, *args[1:], **options)
    return Tensor.__array_function__(x, function, types, args, options)


def sum_of(x: Selection, axis: Any = None, **options: Any) -> Tensor:
    """x.sum()."""
    if not is_selection(x) or axis is not None or options:
        return functional.sum(x, axis, **options)
    return functional.sum(dispatch("where", x.mask.wide, x.full, scalar(0, x.full.dtype)))


def mean_of(x: Selection, axis: Any = None, **options: Any) -> Tensor:
    """x.mean(): NaN where nothing is selected."""
    if not is_selection(x) or axis is not None or options or x.full.dtype not in INEXACT:
        return functional.mean(x, axis, **options)
    everywhere = dispatch("broadcast", x.mask.wide, shape=x.full.shape)
    return functional.divide(sum_of(x), functional.sum(everywhere))


ELEMENTWISE = """
    add sub mul truediv pow floordiv mod and or xor lshift rshift
    radd rsub rmul rtruediv rpow rfloordiv rmod rand ror rxor rlshift rrshift
    lt le gt ge eq ne neg pos abs invert
""".split()
UPDATING = "add sub mul truediv pow floordiv mod and or xor lshift rshift".split()
METHODS = """
    abs exp log sqrt tanh sin cos tan sign square relu sigmoid pow add sub mul div neg clip clamp maximum minimum
    floor ceil trunc round reciprocal rsqrt exp2 expm1 log1p log2 log10 erf asin acos atan sinh cosh
    logical_and logical_or logical_not isnan isfinite isinf astype clone detach float double
""".split()


def bind() -> None:
    """Give Selection what of Tensor's operators and methods need no count of elements."""
    for name in (*(f"__{name}__" for name in ELEMENTWISE), *METHODS):
        setattr(Selection, name, elementwise(getattr(Tensor, name)))
    for name in UPDATING:
        setattr(Selection, f"__i{name}__", updating(getattr(Tensor, f"__{name}__"), getattr(Tensor, f"__i{name}__")))
    for name, function in {"__array_ufunc__": array_ufunc, "__array_function__": array_function,
                           "sum": sum_of, "mean": mean_of}.items():
        setattr(Selection, name, function)
