"""What a run has left behind: what stands in for something else, and is held when it is over, made plain where it is.

    hist.append(x.shape[0])         by code that could not be found before: hist holds 12 afterwards
    helper(x.shape[0])              code that could not be found before is given 12, and so is all that runs after it

Numbers in the state that was watched are mended as effects; this is for what is anywhere else. `plain` gives what a
value stands in for, and any other value itself.
"""
from __future__ import annotations

import ctypes
import gc
import sys
from collections import deque
from collections.abc import Callable
from types import AsyncGeneratorType, CellType, CoroutineType, FrameType, FunctionType, GeneratorType
from typing import Any

DEEPEST = 4
"""So many tuples in tuples are looked for."""

ALONE = 3
"""So many references has a number that its run alone holds: a list, a variable, the argument of getrefcount."""


Plain = Callable[[Any], Any]


def forget_in_frames(frame: FrameType | None, plain: Plain) -> None:
    """This frame, and all that led to it, have plain values in their variables."""
    while frame is not None:
        put_in_frame(frame, plain)
        frame = frame.f_back


def forget(numbers: list[Any], result: Any, plain: Plain) -> None:
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
            _put_plain(holder, plain)
        held = [holder for holder in holders if isinstance(holder, tuple)]
        if not held:
            break


def _in_tuples(value: Any) -> list[Any]:
    return [part for one in value for part in _in_tuples(one)] if type(value) is tuple else [value]


def _plainly(value: Any, plain: Plain) -> Any:
    """What a value stands in for, in tuples, too."""
    if not issubclass(type(value), tuple):
        return plain(value)
    parts = [_plainly(part, plain) for part in value]
    changed = any(new is not old for new, old in zip(parts, value))
    return getattr(type(value), "_make", tuple)(parts) if changed else value


def put_in_frame(frame: FrameType, plain: Plain) -> None:
    """This frame has plain values in its variables."""
    variables = frame.f_locals
    changed = [(name, now) for name, value in variables.items() if (now := _plainly(value, plain)) is not value]
    if changed:
        variables.update(dict(changed))     # a copy of them, before Python 3.13
        ctypes.pythonapi.PyFrame_LocalsToFast(ctypes.py_object(frame), ctypes.c_int(0))


def _put_plain(holder: Any, plain: Plain) -> None:
    """Plain values for what stands in for them in a container, and in tuples in it."""
    if isinstance(holder, list | deque):
        for k, value in enumerate(holder):
            if (now := _plainly(value, plain)) is not value:
                holder[k] = now
    elif isinstance(holder, dict):
        items = [(_plainly(key, plain), _plainly(value, plain)) for key, value in holder.items()]
        if any(key is not k for (key, _), k in zip(items, holder)):
            holder.clear()                              # so that the keys keep their order
        holder.update(items)
    elif isinstance(holder, set):
        for value in [*holder]:
            if (now := plain(value)) is not value:
                holder.discard(value)
                holder.add(now)
    elif isinstance(holder, CellType):
        holder.cell_contents = _plainly(holder.cell_contents, plain)
    elif isinstance(holder, FrameType):
        put_in_frame(holder, plain)
    elif isinstance(holder, GeneratorType | CoroutineType | AsyncGeneratorType):
        for name in ("gi_frame", "cr_frame", "ag_frame"):
            if (frame := getattr(holder, name, None)) is not None:
                put_in_frame(frame, plain)
    elif isinstance(holder, BaseException):
        holder.args = _plainly(holder.args, plain)
    elif isinstance(holder, FunctionType) and holder.__defaults__:
        holder.__defaults__ = _plainly(holder.__defaults__, plain)
    else:
        for kind in type(holder).__mro__:
            for name in vars(kind).get("__slots__", ()) if isinstance(vars(kind).get("__slots__", ()), tuple) else ():
                value = getattr(holder, name, None)
                if (now := _plainly(value, plain)) is not value:
                    object.__setattr__(holder, name, now)
