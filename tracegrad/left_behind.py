"""What a run has left behind: SizeNumbers that something holds when it is over, made plain numbers where they are.

    hist.append(x.shape[0])         by code that could not be found before: hist holds 12 afterwards
    helper(x.shape[0])              code that could not be found before is given 12, and so is all that runs after it

Numbers in the state that was watched are mended as effects; this is for what is anywhere else.
"""
from __future__ import annotations

import ctypes
import gc
import sys
from collections import deque
from types import AsyncGeneratorType, CellType, CoroutineType, FrameType, FunctionType, GeneratorType
from typing import Any

from tracegrad.size_numbers import SizeNumber, is_size, number_in

DEEPEST = 4
"""So many tuples in tuples are looked for."""

ALONE = 3
"""So many references has a number that its run alone holds: a list, a variable, the argument of getrefcount."""


def forget_in_frames(frame: FrameType | None) -> None:
    """This frame, and all that led to it, have plain numbers in their variables instead of SizeNumbers."""
    while frame is not None:
        _put_in_frame(frame)
        frame = frame.f_back


def forget(numbers: list[SizeNumber], result: Any) -> None:
    """The run is over: whatever still holds one of its `numbers`, but for the `result`, has the plain number instead.

    They are found by who refers to them: the run may have put them anywhere, by code that nobody knew.
    """
    kept = set(map(id, _in_tuples(result)))
    left = [n for n in numbers if id(n) not in kept and sys.getrefcount(n) > ALONE]
    numbers.clear()
    if not left:
        return
    held: list[Any] = left
    for _ in range(DEEPEST):
        holders: list[Any] = [holder for holder in gc.get_referrers(*held) if holder is not held]
        for holder in holders:
            _put_numbers(holder)
        held = [holder for holder in holders if isinstance(holder, tuple)]
        if not held:
            break


def _in_tuples(value: Any) -> list[Any]:
    return [part for one in value for part in _in_tuples(one)] if type(value) is tuple else [value]


def _plainly(value: Any) -> Any:
    """A plain number for a SizeNumber, in tuples, too."""
    if not issubclass(type(value), tuple):
        return number_in(value)
    parts = list(map(_plainly, value))
    changed = any(new is not old for new, old in zip(parts, value))
    return getattr(type(value), "_make", tuple)(parts) if changed else value


def _put_in_frame(frame: FrameType) -> None:
    variables = frame.f_locals
    changed = [(name, now) for name, value in variables.items() if (now := _plainly(value)) is not value]
    if changed:
        variables.update(dict(changed))     # a copy of them, before Python 3.13
        ctypes.pythonapi.PyFrame_LocalsToFast(ctypes.py_object(frame), ctypes.c_int(0))


def _put_numbers(holder: Any) -> None:
    """Plain numbers for the SizeNumbers in a container, and in tuples in it."""
    if isinstance(holder, list | deque):
        for k, value in enumerate(holder):
            if (now := _plainly(value)) is not value:
                holder[k] = now
    elif isinstance(holder, dict):
        items = [(_plainly(key), _plainly(value)) for key, value in holder.items()]
        if any(key is not k for (key, _), k in zip(items, holder)):
            holder.clear()                              # so that the keys keep their order
        holder.update(items)
    elif isinstance(holder, set):
        for value in [*holder]:
            if is_size(value):
                holder.discard(value)
                holder.add(number_in(value))
    elif isinstance(holder, CellType):
        holder.cell_contents = _plainly(holder.cell_contents)
    elif isinstance(holder, FrameType):
        _put_in_frame(holder)
    elif isinstance(holder, GeneratorType | CoroutineType | AsyncGeneratorType):
        for name in ("gi_frame", "cr_frame", "ag_frame"):
            if (frame := getattr(holder, name, None)) is not None:
                _put_in_frame(frame)
    elif isinstance(holder, BaseException):
        holder.args = _plainly(holder.args)
    elif isinstance(holder, FunctionType) and holder.__defaults__:
        holder.__defaults__ = _plainly(holder.__defaults__)
    else:
        for kind in type(holder).__mro__:
            for name in vars(kind).get("__slots__", ()) if isinstance(vars(kind).get("__slots__", ()), tuple) else ():
                value = getattr(holder, name, None)
                if (now := _plainly(value)) is not value:
                    object.__setattr__(holder, name, now)
