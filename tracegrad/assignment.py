"""Assignment: x[key] = value for every key, and what PyTorch and NumPy have beside it.

    x[1:, 0] = v         a write to the view x[1:, 0]
    x[mask] = 0.0        where(mask, 0.0, x): the mask is not read
    x[i, :, j] = v       the indexed axes made one, v written there, the last of repeated indices staying: NumPy's rule
    x[i] += v            get, add, set: of repeated indices one counts; `add_at` adds them all up

1. What has no history and is not recorded is NumPy's own assignment; else there is a new value, written as a whole.
2. Only a value that brings its own count of elements for a mask needs the mask's values.
"""
from __future__ import annotations

from typing import Any

import numpy as np

from tracegrad.creation import tensor
from tracegrad.devices import CUPY, address_of, is_gpu_array, is_writeable
from tracegrad.dispatch import GRAD, dispatch, transfer
from tracegrad.dtypes import INEXACT
from tracegrad.indexing import Places, key_error, places, plain
from tracegrad.indexing_keys import Key, normal_form, stacked
from tracegrad.movement import broadcast_to, index_operand, reshape
from tracegrad.mutation import another, assigned, beside, does_not_fit, read_only, write
from tracegrad.operands import Operand
from tracegrad.recorder import ACTIVE
from tracegrad.selections import Masked, Selection, masked
from tracegrad.slicing import basic
from tracegrad.tensors import Tensor


def set_item(x: Tensor, key: Any, value: Operand, /) -> None:
    """x[key] = value, broadcast and cast. Of repeated indices the last one stays."""
    form = normal_form(x, key)
    if (type(value) is float or type(value) is int) and x.dtype in INEXACT and directly(x, x):
        written_directly(x, form, value)
    elif form.advanced:
        set_at(x, form, value)
    else:
        set_part(x, form, value)


def set_part(x: Tensor, form: Key, value: Operand) -> None:
    """x[key] = value for a key of ints, slices and None."""
    target = basic(x, form.entries)
    if isinstance(value, Tensor) and is_there_already(x, target, value):
        return
    value = value_of(x, value)
    if directly(x, value):
        written_directly(x, form, assigned(target.dtype, target.shape, value, "in place"))
    else:
        write(target, another(assigned(target.dtype, target.shape, value, "in place")))


def value_of(x: Tensor, value: Any) -> Tensor:
    """What is assigned to elements of x: a Tensor, an array, a number, or nested lists of them."""
    if isinstance(value, list | tuple):
        together = stacked(value)
        return tensor(value, x.dtype) if together is None else together
    return beside(x.dtype, value, "in place")


def is_there_already(x: Tensor, target: Tensor, value: Tensor) -> bool:
    """Is `value` the part of x itself that it is to be written to, as in x[key] += y, where that has done it all?"""
    a, b = target.memory, value.memory
    if a.shape != b.shape or a.strides != b.strides or a.dtype != b.dtype or not is_writeable(a):
        return False
    if is_gpu_array(a) != is_gpu_array(b) or address_of(a) != address_of(b):
        return False
    if not (GRAD.enabled and (x.requires_grad or value.requires_grad)):
        return True
    whole: Tensor | None = value
    while whole is not None and whole is not x:
        whole = whole.view_of.parent if whole.view_of is not None and whole.view_of.tracked else None
    return whole is x


def set_at(x: Tensor, form: Key, value: Operand) -> None:
    """x[key] = value for an advanced key."""
    if isinstance(value, Selection):
        part = masked(x, form)
        if part is not None and part.matches(value.mask):
            full = assigned(x.dtype, part.whole.shape, value.full, "in place")
            write(part.whole, dispatch("where", part.wide, full, part.whole))
            return
    value = value_of(x, value)
    if CUPY and value.device != x.device:
        value = transfer(value, x.device)
    if directly(x, value):
        written_directly(x, form, assigned(x.dtype, value.shape, value, "in place"))
        return
    part = masked(x, form, anywhere=value.ndim == 0)
    everywhere = None if part is None else under_mask(part, value)
    if part is not None and everywhere is not None:
        write(part.whole, dispatch("where", part.wide, everywhere, part.whole))
        return
    found = places(x, form)
    if 0 not in found.shape:                # where nothing is selected NumPy takes a value of any shape
        line, index, values = in_line(found, value)
        written = dispatch("scatter", line, column(index, found.at, values), values, axis=found.at)
        write(found.whole, found.put_back(written))


def directly(x: Tensor, value: Tensor) -> bool:
    """Does a write of value to x have no history, and no recorder to see it?"""
    return not CUPY and ACTIVE.get() is None and not (GRAD.enabled and (x.requires_grad or value.requires_grad))


def written_directly(x: Tensor, form: Key, value: Tensor | float, add: bool = False) -> None:
    """x[key] = value, of the dtype of x or a number, or with `add` np.add.at(x, key, value), by NumPy."""
    if not x.array.flags.writeable:
        raise read_only(x)
    x.prepare_write()
    key, given = plain(form), value.array if isinstance(value, Tensor) else value
    try:
        if add:
            np.add.at(x.array, key, np.broadcast_to(given, x.array[key].shape))
        else:
            while isinstance(given, np.ndarray) and given.ndim > 1 and given.shape[0] == 1:
                given = given[0]                    # beside a lone mask NumPy refuses axes that it drops elsewhere
            x.array[key] = given
    except IndexError as error:
        raise key_error(x, form, error) from None
    except (ValueError, TypeError):
        assert isinstance(value, Tensor)
        raise does_not_fit(value, x.array[key].shape, "in place") from None


def under_mask(part: Masked, value: Tensor) -> Tensor | None:
    """The value beside part.whole; None if it has a size of its own along the axis of what the mask selects."""
    shape, start, n = part.whole.shape, part.start, part.array.ndim
    rank = len(shape) - n + 1               # of the selection
    given = value.shape
    surplus = len(given) - rank
    if surplus > 0 and given[:surplus] == (1,) * surplus:
        given = given[surplus:]
    sizes = (1,) * (rank - len(given)) + given
    if len(sizes) > rank or sizes[start] != 1:
        return None
    value = reshape(value, (*sizes[:start], *(1,) * n, *sizes[start + 1:]))
    return assigned(part.whole.dtype, shape, value, "in place")


def in_line(found: Places, value: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(the view with the indexed axes made one, the indices into that axis, the value with an axis for them)."""
    line, at, shape = found.lined_up(found.whole), found.at, found.shape
    count, rank = found.index.size, found.index.ndim
    values = assigned(line.dtype, shape, value, "in place")
    values = reshape(values, (*shape[:at], count, *shape[at + rank:]))
    return line, index_operand("in place", reshape(found.index, (count,))), values


def column(index: Tensor, at: int, like: Tensor) -> Tensor:
    """Indices along axis `at`, the same at every place of the other axes of `like`."""
    shape = like.shape
    return broadcast_to(reshape(index, tuple(index.size if k == at else 1 for k in range(len(shape)))), shape)


def add_at(x: Tensor, key: Any, value: Operand, /) -> None:
    """x[key] += value where repeated indices add up, in the order of the indices: np.add.at.

        >>> x = tg.zeros(3)
        >>> np.add.at(x, [0, 0, 2], 1.0)
        >>> x
        tensor([2., 0., 1.])
    """
    form = normal_form(x, key)
    value = value_of(x, value)
    if CUPY and value.device != x.device:
        value = transfer(value, x.device)
    if not form.advanced:
        target = basic(x, form.entries)
        write(target, dispatch("add", target, assigned(x.dtype, target.shape, value, "add_at")))
    elif directly(x, value):
        written_directly(x, form, assigned(x.dtype, value.shape, value, "add_at"), add=True)
    else:
        found = places(x, form)
        if 0 not in found.shape:
            line, index, values = in_line(found, value)
            added = dispatch("scatter_add", line, column(index, found.at, values), values, axis=found.at)
            write(found.whole, found.put_back(added))
