"""Lines of the user's program: where in it something happened, as text such as `model.py:42`.

A frame belongs to the user unless its code lies in this package, in codegen, in NumPy or in Python's own library.
"""
from __future__ import annotations

import linecache
import os
import sys
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from types import CodeType, FrameType

import numpy as np

INSIDE = tuple(str(folder) + os.sep for folder in (
    Path(__file__).parent, Path(__file__).parent.parent / "codegen", Path(np.__file__).parent))
PYTHONS = os.path.dirname(os.__file__) + os.sep
FOR_PACKAGES = tuple(PYTHONS + folder + os.sep for folder in ("site-packages", "dist-packages"))


@lru_cache(maxsize=4096)
def is_inside(filename: str) -> bool:
    """Is this the file of code that users do not look at?"""
    return filename.startswith(INSIDE)


@lru_cache(maxsize=4096)
def is_users(filename: str) -> bool:
    """Is this the file of code that a user wrote, or a package that was installed?"""
    pythons = filename.startswith("<frozen ") or filename.startswith(PYTHONS) and not filename.startswith(FOR_PACKAGES)
    return not (pythons or is_inside(filename))


def user_frame(frame: FrameType | None) -> FrameType | None:
    """The nearest frame at or above `frame` that is the user's."""
    while frame is not None and not is_users(frame.f_code.co_filename):
        frame = frame.f_back
    return frame


def user_line() -> str | None:
    """The line of the user's program that is running, or None if there is none."""
    return line_of(user_frame(sys._getframe(1)))


def user_level() -> int:
    """The `stacklevel` with which the caller of this function warns at the user's line."""
    frame, level = sys._getframe(1), 1
    while frame.f_back is not None and not is_users(frame.f_code.co_filename):
        frame, level = frame.f_back, level + 1
    return level


def line_of(frame: FrameType | None) -> str | None:
    """The line that a frame is at."""
    return frame and line_in(frame.f_code, frame.f_lineno)


@lru_cache(maxsize=4096)
def line_in(code: CodeType, number: int) -> str:
    """The line of that number in the file of `code`."""
    return f"{os.path.basename(code.co_filename)}:{number}"


def first_line(code: CodeType) -> str:
    """The line where `code` begins."""
    return line_in(code, code.co_firstlineno)


def source_of(line: str | None, codes: Iterable[CodeType]) -> str | None:
    """What a line such as `model.py:42` says, if it lies in the file of one of these codes and can be read."""
    name, _, number = (line or "").rpartition(":")
    for file in {code.co_filename for code in codes if os.path.basename(code.co_filename) == name}:
        if text := linecache.getline(file, int(number)).strip():
            return text.removesuffix(":")
    return None


def at_user_line(sentence: str) -> str:
    """The sentence with the user's line in front: how the error of an operation begins."""
    line = user_line()
    return f"{line}: {sentence}" if line else sentence
