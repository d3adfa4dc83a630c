"""outside: what a run does that the watch over Python state need not see.

    outside(losses.append, (loss,))     a callback: neither the recorder nor the watch sees what happens in there
    watch = pause(tensors)              the library at work on plain Tensors: it calls no code of the user's
"""
from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from tracegrad.recorder import ACTIVE
from tracegrad.tensors import Tensor

PAUSES = sys.version_info < (3, 12)
"""From 3.12 on to stop watching and begin again takes longer than to watch on."""

_OWN = frozenset({"__module__", "__doc__", "__slots__", "__init__", "__new__", "__init_subclass__", "__repr__"})
"""What a class derived from Tensor may define without an operation on its instances running it."""


QUIET: set[type] = {Tensor}
"""Classes of Tensors that are the library's own: no operation on their instances runs code of the user's."""


def outside(function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any] = {}) -> Any:
    """function(*args, **kwargs), unwatched."""
    token = ACTIVE.set(None)
    try:
        return function(*args, **kwargs)
    finally:
        ACTIVE.reset(token)


def pause(operands: Iterable[Any]) -> Any:
    """Stop watching, until `resume` is given what this gives: None where the watch goes on.

    Only for work that can run no code of the user's, but for what the classes of its `operands` define.
    """
    hook: Any = sys.getprofile()
    if not getattr(hook, "may_pause", False):
        return None
    for x in operands:
        if type(x) not in QUIET and isinstance(x, Tensor) and overrides(type(x)):
            return None
    sys.setprofile(None)
    return hook


def resume(hook: Any) -> None:
    """Watch again."""
    if hook is not None:
        sys.setprofile(hook)


def overrides(cls: type) -> bool:
    """Does a class derived from Tensor define what operations may run?"""
    names = set[str]().union(*(vars(k) for k in cls.__mro__[:cls.__mro__.index(Tensor)]))
    return bool((names - _OWN) & vars(Tensor).keys()) or "__getattr__" in names or "__getattribute__" in names
