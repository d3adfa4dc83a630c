"""Dict versions: a number that changes whenever a dict does, as CPython keeps it inside of each dict.

    number = version(vars(module))
    number.value        # 8123
    module.k = 2
    number.value        # 8131

One such number stands for all guards on a namespace. Where the interpreter keeps none there is no version, and every
guard is checked each time. A class has a number too, which its cache of methods goes by: Python 3.13 keeps that alone.
"""
from __future__ import annotations

import ctypes
import gc
import sys
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

TAG_OFFSET = 384        # of the version in a type object, from Python 3.11 to 3.13
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


def _tag(cls: type) -> ctypes.c_uint64:
    return ctypes.c_uint64.from_address(id(cls) + TAG_OFFSET)   # of 32 bits, and as many that are always 0


def _is_tagged() -> bool:
    """Has a class another number after every kind of change, once it was asked for something; and only then?"""
    if sys.implementation.name != "cpython" or vars(type)["__basicsize__"].__get__(type) < TAG_OFFSET + 8:
        return False

    class Probe:
        a = 1
    number, numbers = _tag(Probe), set[int]()
    for change in (lambda: None, lambda: setattr(Probe, "a", 2), lambda: setattr(Probe, "__add__", len),
                   lambda: delattr(Probe, "__add__"), lambda: setattr(Probe, "b", 3), lambda: delattr(Probe, "b")):
        change()
        before = (Probe.a, number.value)[1]
        if before in numbers or not 0 < before < 1 << 32 or (Probe().a, number.value)[1] != before:
            return False
        numbers.add(before)
    return True


KEPT = _is_kept()
TAGGED = _is_tagged()


def version(namespace: Mapping[str, Any] | type) -> ctypes.c_uint64 | None:
    """The version of a namespace, of a module or a class: `value` is read from where it is kept each time.

    Valid as long as the namespace lives. None where there is no such number. Of a class itself, given as such, it is 0
    from a change until the class is asked for an attribute.
    """
    if isinstance(namespace, type):
        if not KEPT:
            return _tag(namespace) if TAGGED and (namespace.mro, _tag(namespace).value)[1] else None
        namespace = vars(namespace)
    if type(namespace) is MappingProxyType:
        (namespace,) = gc.get_referents(namespace)
    return _at(namespace) if KEPT and type(namespace) is dict else None
