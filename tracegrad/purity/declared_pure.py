"""What is declared pure of the code that is not written in Python. Everything else that C implements is not.

Functions of modules are declared by identity (a patched name is another object), methods by the type that defines
them and their name. A pure callable reads only what it is given and changes only that; what it changes in
containers is seen in the containers.
"""
from __future__ import annotations

import abc
import builtins
import collections
import datetime
import decimal
import functools
import itertools
import operator
import re
import sys
import types
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy._core import _multiarray_umath  # type: ignore[attr-defined]

from tracegrad.purity.classes import flags, mro, namespace

BUILTINS = """abs all any ascii bin callable chr divmod format hash hex isinstance issubclass iter len max min next oct
ord pow repr round sorted sum getattr hasattr setattr delattr vars dir locals __build_class__ id""".split()

MODULES = ("math", "cmath", "_operator", "itertools", "_bisect", "_heapq", "_struct", "_abc", "_collections",
           "_functools")
"""Modules all of whose C functions and types are pure."""

NOT_PURE_AFTER_ALL = frozenset({functools._lru_cache_wrapper})      # it holds results of earlier calls

EMPTY: tuple[Any, ...] = ([], (), {}, set(), "", b"", range(0), {}.values(), {}.items())
LOCAL_ITERATORS: tuple[type, ...] = (
    *(type(iter(each)) for each in EMPTY),
    enumerate, zip, map, filter, reversed, types.GeneratorType,
    type({}.keys()), type({}.values()), type({}.items()),
    *(kind for kind in vars(itertools).values() if isinstance(kind, type)))
"""Pure when they are made in the run. One from outside has a position, and is refused by the walk."""

NUMPY_IMPURE = frozenset("""set_datetimeparse_function set_typeDict fromfile from_dlpack add_docstring _vec_string
_load_from_filelike frompyfunc _set_numpy_warn_if_no_mem_policy _add_newdoc_ufunc _set_madvise_hugepage
_reload_guard""".split())
"""The C functions of NumPy's core that read or write something other than their arguments."""

NUMPY_TYPES: tuple[type, ...] = (
    np.ndarray, np.generic, np.dtype, np.ufunc, np.broadcast, np.flatiter, np.nditer, type(np.concatenate),
    type(np.zeros(0).flags), _multiarray_umath._array_converter)

PURE_TYPES: set[type] = {
    int, float, complex, bool, str, bytes, bytearray, range, slice, tuple, list, dict, set, frozenset, object, type,
    super, property, staticmethod, classmethod, type(None), type(Ellipsis), type(NotImplemented), functools.partial,
    functools.cached_property, operator.itemgetter, operator.attrgetter, operator.methodcaller,
    collections.deque, collections.defaultdict, collections.OrderedDict, types.SimpleNamespace, types.MappingProxyType,
    types.GenericAlias, types.UnionType, types.ModuleType, types.FunctionType, types.MethodType, types.CellType,
    re.Pattern, re.Match,
    decimal.Decimal, datetime.date, datetime.datetime, datetime.timedelta, datetime.time, datetime.timezone,
    *LOCAL_ITERATORS, *NUMPY_TYPES}
"""Types that may be called, and whose methods are pure but for those named below."""

CLOCKS = frozenset({"now", "today", "utcnow"})                          # methods of datetime and date
LOCAL_TIME = frozenset({"fromtimestamp", "timestamp", "astimezone"})    # they ask for the time zone of the machine
IMPURE_METHODS = frozenset({
    "__reduce_ex__", "__reduce__", "__subclasses__", "__sizeof__", "__getstate__",      # they read what nothing names
    "tofile", "dump", "dumps"})

PURE_FUNCTIONS: dict[int, Any] = {}
"""By id; the functions are kept, so that the ids stay theirs."""


def _declare() -> None:
    functions = [getattr(builtins, name) for name in BUILTINS]
    functions += [sys.getrecursionlimit, sys.intern, abc.get_cache_token]
    for module in MODULES:
        for member in vars(__import__(module)).values():
            if isinstance(member, types.BuiltinFunctionType):
                functions.append(member)
            elif isinstance(member, type) and member not in NOT_PURE_AFTER_ALL:
                PURE_TYPES.add(member)
    functions += [member for name, member in vars(_multiarray_umath).items()
                  if isinstance(member, types.BuiltinFunctionType) and name not in NUMPY_IMPURE]
    PURE_FUNCTIONS.update((id(f), f) for f in functions)


_declare()

PURE_METHODS = frozenset(PURE_TYPES - {super})
CALLS_ON_C_MODULES = ("PyCapsule",)         # C functions of some extension modules are bound to one
METHODS_OF_C = (types.MethodDescriptorType, types.WrapperDescriptorType, types.ClassMethodDescriptorType)
HEAP_TYPE = 1 << 9                          # Py_TPFLAGS_HEAPTYPE: made at run time, as every class statement does
IMMUTABLE_TYPE = 1 << 8                     # Py_TPFLAGS_IMMUTABLETYPE


def _c_base(cls: type) -> type:
    for k in mro(cls):
        if not flags(k) & HEAP_TYPE:
            return k
        if any(type(v) in METHODS_OF_C and v.__objclass__ is k for v in namespace(k).values()):
            return k
    return object


c_base: Callable[[type], type] = functools.lru_cache(maxsize=4096)(_c_base)
"""The nearest base of a class that C defines: it alone can hide state or read names that no bytecode mentions."""


def is_numpy_value(cls: type) -> bool:
    """Are instances of `cls` NumPy objects that cannot change?"""
    return issubclass(cls, (np.generic, np.dtype, np.ufunc, type(np.concatenate))) and not issubclass(cls, np.void)


def is_of_python(ufunc: np.ufunc) -> bool:
    """Was it made by np.frompyfunc? It then calls something that only it knows."""
    return all(set(signature) <= set("O->") for signature in ufunc.types)


def is_pure_function(callee: Any) -> bool:
    """May the run call this builtin function or method of a C type, as a profile hook reports it?"""
    if id(callee) in PURE_FUNCTIONS:
        return True
    owner, name = callee.__self__, callee.__name__
    if name in IMPURE_METHODS or is_of_module(callee):
        return False
    if isinstance(owner, type):
        if issubclass(owner, datetime.date) and name in CLOCKS | LOCAL_TIME:
            return False
        base = c_base(owner)
        return base in (type, object) or _has_pure_methods(base) or owner in PURE_TYPES or type(owner) is abc.ABCMeta
    base = c_base(type(owner))
    if issubclass(base, datetime.date) and name in LOCAL_TIME:
        return False
    return base is object or _has_pure_methods(base) or issubclass(base, BaseException)


def is_of_module(callee: Any) -> bool:
    """Is this builtin a function of a module rather than a method?"""
    owner = callee.__self__
    return owner is None or isinstance(owner, types.ModuleType) or type(owner).__name__ in CALLS_ON_C_MODULES


def _has_pure_methods(base: type) -> bool:
    return base in PURE_METHODS or is_numpy_value(base) or issubclass(base, type)
