"""tg.debug: look inside a traced function, and keep its replay.

A run of plain Python, and one that is recorded, calls the function at once, where it stands. A replay calls it when the
native call is over and has changed what it changes: the values are those of its place, and the calls come in the order
of the program, but they see captured state as it is at the end.
"""
from __future__ import annotations

import builtins
import sys
from collections.abc import Callable
from types import CodeType, FrameType
from typing import Any

from tracegrad.callbacks import Site, hand_over
from tracegrad.source_lines import at_user_line, line_of

_SITES: dict[tuple[int, int], tuple[CodeType, Site]] = {}       # the code is kept, so that its id stays its own


def callback(fn: Callable[..., Any], /, *operands: Any, every: int = 1) -> None:
    """Call fn(*operands) on this call, and on every `every`-th after it that comes to this place in the program.

    A Tensor, an array, or one in tuples, lists and dicts, is given as a copy without history, which fn may keep and
    change. Numbers and strings are given as they are. What fn returns is dropped; what it raises is raised, by a replay
    from the traced call. fn runs outside of the recording: it may print, count, plot; the traced function must not
    read what fn changes, and sees no change that fn makes to a Tensor. TypeError if fn cannot be called, ValueError for
    `every` below 1.

        >>> losses = []
        >>> @tg.trace
        ... def f(x):
        ...     y = (x * x).sum()
        ...     tg.debug.callback(losses.append, y)
        ...     return y
        >>> for k in range(3):
        ...     _ = f(tg.full((2,), float(k)))
        >>> losses, f.stats.replays
        ([tensor(0.), tensor(2.), tensor(8.)], 2)
    """
    if not callable(fn):
        raise TypeError(at_user_line(f"debug.callback: the function comes first, and {type(fn).__name__} is none"))
    frame = sys._getframe(1)
    hand_over(fn, operands, site_of(frame, "callback", every), every, frame)


def print(format: str, /, *operands: Any, every: int = 1, **named: Any) -> None:
    """Print format.format(*operands, **named), as `callback` calls a function.

        >>> @tg.trace
        ... def f(x):
        ...     y = x * 2
        ...     tg.debug.print("twice: {}, in all {total:.1f}", y, total=y.sum())
        ...     return y
        >>> _ = f(tg.ones(2)), f(tg.zeros(2))
        twice: tensor([2., 2.]), in all 4.0
        twice: tensor([0., 0.]), in all 0.0
    """
    if not isinstance(format, str):
        raise TypeError(at_user_line(f"debug.print: the format comes first, a string and not {type(format).__name__}"))
    frame = sys._getframe(1)
    site = site_of(frame, "print", every)
    hand_over(show, (format, site.line, operands, named), site, every, frame)


def show(format: str, line: str | None, operands: tuple[Any, ...], named: dict[str, Any]) -> None:
    """Print them. ValueError, with the line of the print, where they do not fit the format."""
    try:
        text = format.format(*operands, **named)
    except (LookupError, ValueError) as error:
        raise ValueError(f"{line}: debug.print: {format!r} does not fit what it is given: {error}") from None
    builtins.print(text)        # noqa: T201 - what it is for


def site_of(frame: FrameType, what: str, every: int) -> Site:
    """The place in the program that this frame is at; ValueError, naming `what`, for an `every` that counts nothing."""
    if type(every) is not int or every < 1:
        raise ValueError(at_user_line(f"debug.{what}: every={every!r} is not a whole number from 1 on"))
    place = id(frame.f_code), frame.f_lasti
    found = _SITES.get(place)
    if found is None:
        found = _SITES.setdefault(place, (frame.f_code, Site(line_of(frame))))
    return found[1]
