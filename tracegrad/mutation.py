"""A write to memory and what it means: the one door through which tensors change in place.

    v = x[0:2]; v *= w        memory:    the two rows change, and everything that shares the memory sees it
                              meaning:   x is now where(rows 0:2, pad(v * w), x), and v is x[0:2] of that

1. Memory is written once, after saved values in it have their copies.
2. Where a write has a history or is recorded, it is made functional: the value climbs from the view to the tensor it
   is a view of, that tensor takes the new value, and every living view of it is derived again.
"""
from __future__ import annotations

import sys
import weakref
from typing import Protocol

import numpy as np

from codegen.ir.type_rules import TypeRuleError
from codegen.ir.types import type_of
from tracegrad.devices import CUPY, is_writeable, overwrite
from tracegrad.dispatch import FOLLOWER, GRAD, Node, complete, differentiate, dispatch, transfer
from tracegrad.dtypes import COMPLEX_NUMBERS, INEXACT, bool_
from tracegrad.operands import Operand, convert, scalar, tensor_operand
from tracegrad.recorder import ACTIVE, Recorder
from tracegrad.source_lines import at_user_line
from tracegrad.tensors import FOLLOWERS, Tensor


def write(target: Tensor, value: Tensor) -> None:
    """Give `target` the values of `value`, a Tensor of its shape and dtype that an operation just made, or itself."""
    if value is target:
        return
    if CUPY and value.device != target.device:
        value = transfer(value, target.device)
    recorder = ACTIVE.get()
    differentiated = GRAD.enabled and (target.requires_grad or value.requires_grad)
    if differentiated or recorder is not None:
        rebind(target, value, differentiated, recorder)
    else:
        store(target, value)


def another(value: Tensor) -> Tensor:
    """`value` as the result of an operation, to be written: what is written to must not become the value's twin."""
    return complete("reshape", (value,), {"shape": value.shape}, value.twin())


def store(target: Tensor, value: Tensor) -> None:
    """The write to memory itself, now or with the deferred work that gives the value."""
    follower = FOLLOWER.get() if FOLLOWERS and not CUPY else None
    if follower is not None and follower.overwrite(target, value):
        return
    target.prepare_write()
    if CUPY and not is_writeable(target.memory):
        raise read_only(target)
    try:
        (overwrite if CUPY else np.copyto)(target.memory, value.memory)
    except ValueError:
        raise read_only(target) from None


def read_only(target: Tensor) -> ValueError:
    return ValueError(at_user_line(
        f"in place: {type_of(target)} is a broadcast or a read-only array; write to a clone()"))


def rebind(target: Tensor, value: Tensor, differentiated: bool, recorder: Recorder | None) -> None:
    """The write with its meaning: see the module's docstring."""
    if value.requires_grad and value.grad_fn is None:
        value = another(value)                  # a leaf stays one
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
    if recorder is not None:
        recorder.will_write(root)
    store(target, value)
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
    """Is the whole that `member` is a view of gone, or kept alive by it alone? Then member is a view no more."""
    view = member.view_of
    if view is None:
        return False
    parent = view.parent
    if parent is not None and sys.getrefcount(parent) > 2 + view.tracked:   # a variable, an argument, and the view
        return False
    if len(member.aliases()) > (parent is not None):
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
    shape, attrs = parent.shape, view.attrs
    match view.op:
        case "reshape":
            return dispatch("reshape", value, shape=shape)
        case "detach":
            return value
        case "real":
            return dispatch("complex", value, dispatch("imag", parent))
        case "imag":
            return dispatch("complex", dispatch("real", parent), value)
        case "transpose":
            axes = attrs["axes"]
            return dispatch("transpose", value, axes=tuple(axes.index(k) for k in range(len(axes))))
        case "flip":
            return dispatch("flip", value, axes=attrs["axes"])
        case "slice":
            start, step = attrs["start"], attrs["step"]
            sizes = value.shape
            high = tuple(n - (a + (k - 1) * s + 1 if k else a) for n, a, s, k in zip(shape, start, step, sizes))
            pad = {"low": start, "high": high, "interior": tuple(s - 1 for s in step)}
            inside = dispatch("broadcast", dispatch("constant", value="true", dtype="bool"), shape=sizes)
            return dispatch("where", dispatch("pad", inside, **pad), dispatch("pad", value, **pad), parent)
    raise read_only(member)


# ---- what fits where --------------------------------------------------------------------------------------------


def rank_of(dtype: np.dtype) -> int:
    """bool, integers, floats, complex: what a conversion may go up, and not down."""
    return 0 if dtype == bool_ else 3 if dtype in COMPLEX_NUMBERS else 2 if dtype in INEXACT else 1


def beside(dtype: np.dtype, value: Operand, what: str) -> Tensor:
    """`value` as a Tensor; a number in `dtype` itself, not by way of the default dtype, which may be narrower."""
    if (type(value) is int or type(value) is float) and dtype in INEXACT:
        return scalar(value, dtype)
    return tensor_operand(what, value)


def fitted(target: Tensor, value: Operand, what: str) -> Tensor:
    """`value` in the dtype and shape of target; TypeError if that would drop a fraction or an imaginary part."""
    value = beside(target.dtype, value, what)
    if rank_of(value.dtype) > rank_of(target.dtype):
        raise TypeRuleError(at_user_line(
            f"{what}: {type_of(value)} cannot be written to {type_of(target)} in place; cast it"))
    return spread(value, target.dtype, target.shape, what)


def assigned(dtype: np.dtype, shape: tuple[int, ...], value: Operand, what: str) -> Tensor:
    """`value` as NumPy assigns it: in any real dtype, truncated; axes of size 1 in front are dropped."""
    value = beside(dtype, value, what)
    if rank_of(value.dtype) == 3 > rank_of(dtype):
        raise TypeError(at_user_line(f"{what}: {type_of(value)} has an imaginary part, {dtype} has none"))
    given = value.shape
    surplus = len(given) - len(shape)
    if surplus > 0 and given[:surplus] == (1,) * surplus:
        value = dispatch("reshape", value, shape=given[surplus:])
    return spread(value, dtype, shape, what)


def spread(value: Tensor, dtype: np.dtype, shape: tuple[int, ...], what: str) -> Tensor:
    """`value` cast and broadcast; TypeRuleError if it does not broadcast."""
    value = convert(value, dtype)
    given = value.shape
    if given == shape:
        return value
    if len(given) > len(shape) or any(n not in (1, size) for n, size in zip(given[::-1], shape[::-1])):
        raise does_not_fit(value, shape, what)
    return dispatch("broadcast", value, shape=shape)


def does_not_fit(value: Tensor, shape: tuple[int, ...], what: str) -> TypeRuleError:
    return TypeRuleError(at_user_line(f"{what}: {type_of(value)} does not broadcast to {list(shape)}"))


class Unary(Protocol):
    """A function of one operand."""

    def __call__(self, x: Operand, /, *, out: Tensor | None = None) -> Tensor: ...


class Binary(Protocol):
    """A function of two operands."""

    def __call__(self, x1: Operand, x2: Operand, /, *, out: Tensor | None = None) -> Tensor: ...


def deliver(out: Tensor, value: Tensor, what: str) -> Tensor:
    """`out`, now with the value of an operation: what out= means. TypeError where shape or dtype do not fit."""
    if not isinstance(out, Tensor):
        raise TypeError(at_user_line(f"{what}: out is a {type(out).__name__}, not a Tensor"))
    if out.shape != value.shape:
        raise TypeRuleError(at_user_line(
            f"{what}: the result {type_of(value)} does not fit into out, {type_of(out)}"))
    write(out, another(fitted(out, value, what)))
    return out
