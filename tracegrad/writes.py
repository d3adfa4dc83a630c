"""Writes in place: x += y, x[key] = y, x.copy_(y), x.zero_().

    v = x[0:2]; v *= w        memory:    the two rows change, and everything that shares the memory sees it
                              meaning:   x is now where(rows 0:2, pad(v * w), x), and v is x[0:2] of that

1. Memory is written once, after saved values in it have their copies.
2. Where a write has a history or is recorded, it is made functional: the value climbs from the view to the tensor it
   is a view of, that tensor takes the new value, and every living view of it is derived again.
"""
from __future__ import annotations

import sys
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np

from codegen.ir.type_rules import TypeRuleError
from codegen.ir.types import type_of
from tracegrad.complex_numbers import complex, imag, is_complex, real
from tracegrad.dispatch import GRAD, Node, complete, differentiate, dispatch, restore, silence
from tracegrad.dtypes import COMPLEX_NUMBERS, INEXACT, bfloat16, bool_
from tracegrad.functional import add, bitwise_and, bitwise_or, bitwise_xor, clip, divide, multiply, subtract, where
from tracegrad.indexing import get
from tracegrad.indexing_keys import normal_form
from tracegrad.movement import broadcast_to
from tracegrad.operands import Number, Operand, convert, scalar, tensor_operand
from tracegrad.recorder import ACTIVE, Recorder
from tracegrad.source_lines import at_user_line
from tracegrad.tensors import Tensor


def write(target: Tensor, value: Tensor) -> None:
    """Give `target` the values of `value`, a Tensor of its shape and dtype that an operation just made."""
    recorder = ACTIVE.get()
    differentiated = GRAD.enabled and (target.requires_grad or value.requires_grad)
    if differentiated or recorder is not None:
        rebind(target, value, differentiated, recorder)
    else:
        store(target, value.array)


def store(target: Tensor, array: np.ndarray) -> None:
    """The write to memory itself."""
    target.prepare_write()
    try:
        np.copyto(target.array, array)
    except ValueError:
        raise ValueError(at_user_line(
            f"in place: {type_of(target.array)} is a broadcast or a read-only array; write to a clone()")) from None


def rebind(target: Tensor, value: Tensor, differentiated: bool, recorder: Recorder | None) -> None:
    """The write with its meaning: see the module's docstring."""
    root, own = target, target                  # what the memory begins with; and as far as differentiation sees
    climbed = {id(target): value}
    while root.view_of is not None and not seen_by_nothing_else(root):
        parent = root.view_of.parent
        if parent is None:
            break
        follows = root.view_of.tracked and root is own
        with_grad, GRAD.enabled = GRAD.enabled, GRAD.enabled and follows
        try:
            climbed[id(parent)] = put_back(parent, root, climbed[id(root)])
        finally:
            GRAD.enabled = with_grad
        if follows:
            own = parent
        root = parent
    if differentiated and own.requires_grad and own.is_leaf:
        which = "a leaf" if own is target else "a view of a leaf"
        raise RuntimeError(at_user_line(
            f"in place: {which} that requires grad is written to; do it under tg.no_grad()"))
    store(target, value.array)
    if recorder is not None:
        recorder.key(own)                       # what it is on entry, before it gets a history
    if recorder is not None:
        recorder.key(own)                       # what it is on entry, before it gets a history
    if differentiated:
        new, before = climbed[id(own)], own.grad_fn
        own.requires_grad, own.grad_fn = new.requires_grad, new.grad_fn
        go_on_retaining(own, before)
    if recorder is not None:
        if root.view_of is not None:
            recorder.refuse("a write through a view of a tensor that is gone")
        recorder.record_write(root, climbed[id(root)])
        if differentiated and own is not root:
            if not recorder.made(own):
                recorder.refuse("a write to a view that the run did not make")
            recorder.record_write(own, climbed[id(own)])
    derive_again(root, own if differentiated else None, recorder)


def seen_by_nothing_else(member: Tensor) -> bool:
    """Is the whole that `member` is a view of kept alive by it alone? Then member is a view no more."""
    view = member.view_of
    if view is None or len(member.aliases()) > 1:
        return False
    if sys.getrefcount(view.parent) > 2:        # the view's reference, and the argument of getrefcount
        return False
    member.view_of = None
    return True


def derive_again(root: Tensor, own: Tensor | None, recorder: Recorder | None) -> None:
    """Every living view of what was written is now a view of the new value."""
    changed = {id(own)}
    for member in root.aliases():
        view = member.view_of
        if member is own or view is None:
            continue
        parent = view.parent
        if parent is not None and id(parent) in changed and view.tracked:
            before, member.requires_grad, member.grad_fn = member.grad_fn, False, None
            differentiate(view.op, (parent,), view.attrs, member)
            go_on_retaining(member, before)
            changed.add(id(member))
        if recorder is not None and recorder.knows(member):      # the recorder refuses one that it meets later
            if parent is None or not recorder.made(member):
                recorder.refuse("a write to a tensor whose memory a view shares that the run had read")
            else:
                recorder.record_view(view.op, parent, view.attrs, member)


def go_on_retaining(x: Tensor, before: Node | None) -> None:
    """retain_grad follows a tensor to its new value, as in PyTorch; hooks stay with the value they were given."""
    if before is not None and before.retained is not None and before.retained() is x and x.grad_fn is not before:
        before.retained = None
        if x.grad_fn is not None:
            x.grad_fn.retained = weakref.ref(x)


def put_back(parent: Tensor, member: Tensor, value: Tensor) -> Tensor:
    """`parent` as it is when `member`, a view of it, has `value`."""
    view = member.view_of
    assert view is not None
    shape, attrs = parent.array.shape, view.attrs
    match view.op:
        case "reshape":
            return dispatch("reshape", value, shape=shape)
        case "detach":
            return value
        case "transpose":
            axes = attrs["axes"]
            return dispatch("transpose", value, axes=tuple(axes.index(k) for k in range(len(axes))))
        case "flip":
            return dispatch("flip", value, axes=attrs["axes"])
        case "slice":
            start, step = attrs["start"], attrs["step"]
            sizes = value.array.shape
            high = tuple(n - (a + (k - 1) * s + 1 if k else a) for n, a, s, k in zip(shape, start, step, sizes))
            pad = {"low": start, "high": high, "interior": tuple(s - 1 for s in step)}
            inside = dispatch("broadcast", dispatch("constant", value="true", dtype="bool"), shape=sizes)
            return where(dispatch("pad", inside, **pad), dispatch("pad", value, **pad), parent)
    raise ValueError(at_user_line(f"in place: {type_of(member.array)} is a {view.op} and cannot be written to"))


# ---- what users call --------------------------------------------------------------------------------------------


def fitted(target: Tensor, value: Operand, what: str) -> Tensor:
    """`value` in the dtype and shape of target; TypeError if that would drop a fraction."""
    if (type(value) is int or type(value) is float) and target.array.dtype in INEXACT:
        value = scalar(value, target.array.dtype)       # not by way of the default dtype, which may be narrower
    value = tensor_operand(what, value)
    given, wanted = value.array.dtype, target.array.dtype
    holds = wanted in COMPLEX_NUMBERS or wanted in INEXACT and given not in COMPLEX_NUMBERS or given not in INEXACT
    if not holds or wanted == bool_ != given:
        raise TypeError(at_user_line(
            f"{what}: {type_of(value.array)} cannot be written to {type_of(target.array)} in place; cast it"))
    if value.array.shape == target.array.shape:
        return convert(value, target.array.dtype)
    return broadcast_to(convert(value, target.array.dtype), target.array.shape)


def copy_(target: Tensor, value: Operand, /) -> Tensor:
    """Write `value`, broadcast and cast, into target."""
    value = fitted(target, value, "copy_")
    write(target, complete("reshape", (value,), {"shape": value.array.shape}, Tensor(value.array)))
    return target


def set_real(target: Tensor, value: Operand, /) -> None:
    """x.real = value; the imaginary part stays. Of a real tensor, all of it."""
    copy_(target, complex(broadcast_to(value, target.array.shape), imag(target)) if is_complex(target) else value)


def set_imag(target: Tensor, value: Operand, /) -> None:
    """x.imag = value; the real part stays. TypeError for a real tensor."""
    if not is_complex(target):
        raise TypeError(at_user_line(f"imag: {type_of(target.array)} has no imaginary part to write to"))
    copy_(target, complex(real(target), broadcast_to(value, target.array.shape)))


def zero_(target: Tensor, /) -> Tensor:
    """Write zeros."""
    return copy_(target, scalar(0, target.array.dtype))


def fill_(target: Tensor, number: Any, /) -> Tensor:
    """Write one number everywhere."""
    return copy_(target, number)


UFUNCS = {"add": np.add, "subtract": np.subtract, "multiply": np.multiply, "divide": np.divide}
"""Operations whose result NumPy can write where it belongs."""


def fits_directly(x: Tensor, other: Any) -> bool:
    """Is x op= other nothing but a write to memory: no history, no recording, no conversion?"""
    if x.array.dtype not in INEXACT or not x.array.flags.writeable or ACTIVE.get() is not None:
        return False
    if GRAD.enabled and x.requires_grad:
        return False
    if isinstance(other, Tensor):
        y = other.array
        followed = GRAD.enabled and other.requires_grad
        return y.dtype is x.array.dtype and y.shape in (x.array.shape, ()) and not followed
    return type(other) is float and x.array.dtype is not bfloat16


def update(op: Callable[[Operand, Operand], Tensor], name: str) -> Callable[[Tensor, Operand], Tensor]:
    """The in-place form of an operation: x op= y."""
    ufunc = UFUNCS.get(op.__name__)

    def apply(x: Tensor, other: Operand, /) -> Tensor:
        if ufunc is not None and fits_directly(x, other):
            x.prepare_write()
            errors = silence()
            try:
                ufunc(x.array, other.array if isinstance(other, Tensor) else other, out=x.array)
            finally:
                restore(errors)
            return x
        value = op(x, other)
        if value.array.shape != x.array.shape:
            raise TypeRuleError(at_user_line(
                f"{name}: the result {type_of(value.array)} does not fit into {type_of(x.array)}"))
        if value.array.dtype != x.array.dtype:
            value = fitted(x, value, name)
        write(x, value)
        return x
    apply.__name__ = apply.__qualname__ = name
    apply.__doc__ = f"x = {op.__name__}(x, other), in place."
    return apply


add_, sub_, mul_, div_ = (update(op, name) for op, name in (
    (add, "add_"), (subtract, "sub_"), (multiply, "mul_"), (divide, "div_")))
and_, or_, xor_ = (update(op, name) for op, name in (
    (bitwise_and, "and_"), (bitwise_or, "or_"), (bitwise_xor, "xor_")))


def set_data(x: Tensor, value: Tensor, /) -> None:
    """x.data = value: write without differentiation. `x.data -= y` has done so already."""
    if value.array is not x.array:
        before, GRAD.enabled = GRAD.enabled, False
        try:
            copy_(x, value)
        finally:
            GRAD.enabled = before


def clamp_(x: Tensor, /, min: Number | None = None, max: Number | None = None) -> Tensor:
    """clip, in place."""
    write(x, clip(x, min, max))
    return x


def set_item(x: Tensor, key: Any, value: Operand, /) -> None:
    """x[key] = value, for a key of ints, slices, None and Ellipsis."""
    if normal_form(x, key).advanced:
        raise NotImplementedError(at_user_line(
            "in place: tracegrad has no assignment at index tensors yet; use tg.where"))
    copy_(get(x, key), value)
