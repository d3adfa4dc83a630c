"""Classes as they are, read past their metaclasses: one that intercepts attributes would run its code in a walk.

    type(cls).__getattribute__ is type's own     the class is like any other
    else                                          nothing of it is asked but what `mro` and `namespace` give
"""
from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

mro: Callable[[type], tuple[type, ...]] = vars(type)["__mro__"].__get__
namespace: Callable[[type], Mapping[str, Any]] = vars(type)["__dict__"].__get__
flags: Callable[[type], int] = vars(type)["__flags__"].__get__
qualified_name: Callable[[type], str] = vars(type)["__qualname__"].__get__


def is_intercepted(cls: type) -> bool:
    """Does a metaclass answer when this class, or the class of this class, is asked for an attribute?"""
    meta = type(cls)
    if meta is type:
        return False
    return any("__getattribute__" in namespace(k) for k in mro(meta) if k is not type and k is not object)
