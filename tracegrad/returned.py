"""Numbers that Python reads only to return them: an output of the path, not a way of it.

    def step(x, y):
        loss = ...
        value = loss.item()         read at the end of a CALL, stored in `value`
        opt.step()
        return value, len(x)        loaded once, put in a tuple that is returned: nothing can depend on it

1. Only a read in the traced function's own frame counts, and only if its bytecode shows where the number can go: into
   variables of the function that are loaded for nothing but to be returned, as such or in a tuple, a list or a dict.
2. What `item` gives then is a ReturnedNumber while the run is recorded; whoever gets the result gets the number.
"""
from __future__ import annotations

from functools import lru_cache
from types import CodeType, FrameType
from typing import Any

from tracegrad.instructions import BUILDS, Listing, has_variables_alone, listing
from tracegrad.lifted import plain
from tracegrad.size_numbers import number_in
from tracegrad.tensors import Tensor


class ReturnedNumber:
    """Stands for the one element of `tensor`, `number`."""

    __slots__ = ("number", "tensor")

    def __init__(self, tensor: Tensor, number: bool | int | float | complex):
        self.tensor, self.number = tensor, number


def numbers_of(result: Any) -> Any:
    """The result of a run with numbers where they were stood for."""
    return plain(result, replace=lambda value: value.number if type(value) is ReturnedNumber else number_in(value))


def is_called_from(frame: FrameType, code: CodeType | None) -> bool:
    """Is it a frame of `code` that made `frame`?"""
    return code is not None and frame.f_back is not None and frame.f_back.f_code is code


def is_only_returned(frame: FrameType) -> bool:
    """Is the result of the call that `frame` is making used for nothing but as (a part of) what the frame returns?"""
    return _only_returned(frame.f_code, frame.f_lasti)


_RETURN = "return"                      # no name of a variable


@lru_cache(maxsize=1024)
def _only_returned(code: CodeType, offset: int) -> bool:
    if not has_variables_alone(code):
        return False
    found = listing(code)
    ends = {_end(found, found.place(offset) + 1)}
    known: set[str] = set()
    while ends:
        end = ends.pop()
        if end is None:
            return False
        if end == _RETURN or end in known:
            continue
        known.add(end)
        for k, one in enumerate(found.instructions):
            if "FAST" in one.name and one.value == end and one.name not in ("STORE_FAST", "DELETE_FAST"):
                ends.add(_end(found, k + 1) if one.name == "LOAD_FAST" else None)
    return True


def _end(found: Listing, k: int) -> str | None:
    """Where the value on top of the stack before place k goes: the name of a variable, or _RETURN; None if that cannot
    be told, or it is used for anything else.
    """
    above = 0                           # how many values are above it, or above what holds it
    for one in found.instructions[k:]:
        if one.name == "RETURN_VALUE":
            return _RETURN if above == 0 else None
        if one.name == "STORE_FAST" and above == 0:
            return str(one.value)
        if one.takes is None or one.takes > above and one.name not in BUILDS:
            return None
        above = max(above - one.takes, -1) + one.puts
    return None
