"""Dict versions: a number that changes whenever a dict does, as CPython keeps it inside of each dict.

    number = version(vars(module))
    number.value        # 8123
    module.k = 2
    number.value        # 8131

One such number stands for all guards on a namespace. Where the interpreter keeps none there is no version, and every
guard is checked each time.
"""
from __future__ import annotations

import ctypes
import gc
import sys
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

OFFSET = 3 * ctypes.sizeof(ctypes.c_void_p)     # after the reference count, the type and the number of items


def _at(namespace: dict[str, Any]) -> ctypes.c_uint64:
    return ctypes.c_uint64.from_address(id(namespace) + OFFSET)


def _is_kept() -> bool:
    """Does the number change with every kind of change, and only then?"""
    if sys.implementation.name != "cpython" or ctypes.sizeof(ctypes.c_void_p) != 8:
        return False
    probe: dict[str, Any] = {"a": 1}
    number = _at(probe)
    changes = (lambda: probe.update(b=2), lambda: probe.update(a=3), lambda: probe.pop("b"), lambda: probe.clear(),
               lambda: probe.setdefault("c", 4))
    for change in changes:
        before = number.value
        if [probe.get("a"), len(probe), *probe] and number.value != before:
            return False
        change()
        if number.value == before:
            return False
    return True


KEPT = _is_kept()


def version(namespace: Mapping[str, Any]) -> ctypes.c_uint64 | None:
    """The version of a namespace, of a module or a class: `value` is read from the dict each time.

    Valid as long as the namespace lives. None where there is no such number.
    """
    if type(namespace) is MappingProxyType:
        (namespace,) = gc.get_referents(namespace)
    return _at(namespace) if KEPT and type(namespace) is dict else None
