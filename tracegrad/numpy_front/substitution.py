"""The namespace that a function sees while it is recorded: NumPy's, with functions that accept and make Arrays.

    def f(x):                      f' = the same code over Substituted(globals of f):
        y = np.zeros(3)            np -> Module(numpy), whose zeros makes an Array
        return step(x, y)          step -> step', likewise

1. A copy has the code object of its original, so what is observed of it, and its lines, are the original's.
2. Names are looked up in the real globals at the moment of the read; nothing is kept from one run to the next.
3. A function that binds globals, or variables of a function around it, could do that to its copy: Declined.
"""
from __future__ import annotations

import builtins
import functools
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from opcode import opmap
from types import BuiltinFunctionType, CellType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np

from tracegrad.numpy_front import functions, ufuncs
from tracegrad.numpy_front.arrays import CONSTANTS, Constants, Operand, holds_operands, read_sizes
from tracegrad.purity.code_facts import family
from tracegrad.size_numbers import is_size
from tracegrad.source_lines import is_inside

DISPATCHED = type(np.concatenate)           # NumPy's functions that ask __array_function__
NUMPY_FILES = np.__file__.removesuffix("__init__.py")
EFFECTFUL = ("numpy.random", "numpy.testing", "numpy.ctypeslib", "numpy.f2py")
"""Modules whose functions are left as they are."""


EXTENDED_ARG = opmap["EXTENDED_ARG"]
BINDS_GLOBALS = frozenset({opmap["STORE_GLOBAL"], opmap["DELETE_GLOBAL"]})
BINDS_CELLS = frozenset({opmap["STORE_DEREF"], opmap["DELETE_DEREF"]})


class Declined(Exception):
    """A function that cannot run as a copy."""


class Module:
    """A module of NumPy, with functions that accept and make Arrays."""

    def __init__(self, module: ModuleType, substitution: Substitution):
        self.__dict__.update(__wrapped__=module, __substitution__=substitution)

    def __getattr__(self, name: str) -> Any:
        return self.__substitution__.of(getattr(self.__wrapped__, name))

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self.__wrapped__, name, value)

    def __dir__(self) -> list[str]:
        return dir(self.__wrapped__)


class Function:
    """A function of NumPy that accepts and makes Arrays. Its attributes are those of the function."""

    def __init__(self, function: Any, substitution: Substitution):
        self.__dict__.update(__wrapped__=function, __substitution__=substitution)

    @property                   # type: ignore[misc]
    def __class__(self) -> type:
        return type(self.__wrapped__)

    def __call__(self, *args: Any, **options: Any) -> Any:
        return self.__substitution__.call(self.__wrapped__, args, options)

    def __getattr__(self, name: str) -> Any:
        return self.__substitution__.of(getattr(self.__wrapped__, name))

    def __getitem__(self, key: Any) -> Any:         # np.mgrid[0:3, 0:3]
        own = self.__substitution__.copy(type(self.__wrapped__).__getitem__)
        return functions.entered(own(self.__wrapped__, key), ())

    def __eq__(self, other: object) -> bool:
        return self.__wrapped__ is getattr(other, "__wrapped__", other)

    def __hash__(self) -> int:
        return hash(self.__wrapped__)


class _TypeOf(type):
    def __call__(cls, *args: Any, **options: Any) -> Any:
        return args[0].__class__ if len(args) == 1 and issubclass(type(args[0]), Operand) else type(*args, **options)

    def __instancecheck__(cls, instance: Any) -> bool:
        return isinstance(instance, type)

    def __subclasscheck__(cls, subclass: type) -> bool:
        return issubclass(subclass, type)

    def __getattr__(cls, name: str) -> Any:
        return getattr(type, name)


class TypeOf(metaclass=_TypeOf):
    """The builtin `type`: of an Array it gives what it stands for."""


class Substituted(dict):
    """The globals of a copy: those of its original, looked up when they are read."""

    def __init__(self, real: dict[str, Any], substitution: Substitution):
        inside = _is_of_numpy(real.get("__name__"))     # NumPy's own code asks for methods of what is no ndarray
        super().__init__(__name__=real.get("__name__"),
                         __builtins__=substitution.builtins | ({"type": type} if inside else {}))
        self.real, self.substitution = real, substitution

    def __getitem__(self, name: str) -> Any:
        return self.substitution.of(self.real[name])


CLASSES = frozenset({np.broadcast, functions.CONVERTER})
GRIDS = (type(np.mgrid), type(np.ogrid), type(np.r_), type(np.c_))


class Substitution:
    """What stands for what in one run."""

    def __init__(self) -> None:
        self.builtins = {**vars(builtins), "__import__": self._import, "type": TypeOf}
        self._known: dict[int, tuple[Any, Any]] = {}            # originals are kept: ids stay theirs
        self._globals: dict[int, Substituted] = {}

    def of(self, value: Any) -> Any:
        """What a name that stands for `value` gives in the run."""
        found = self._known.get(id(value))
        if found is None:
            found = self._known[id(value)] = value, self._find(value)
        return found[1]

    def _find(self, value: Any) -> Any:
        kind = type(value)
        if kind is ModuleType:
            name = value.__name__
            return Module(value, self) if _is_of_numpy(name) and not name.startswith(EFFECTFUL) else value
        if kind is DISPATCHED or kind is np.ufunc or kind in GRIDS or kind is type and value in CLASSES:
            return Function(value, self)
        if kind is BuiltinFunctionType:
            numpy = _is_of_numpy(getattr(value, "__module__", None)) or type(value.__self__) is np.ufunc
            return Function(value, self) if numpy else value
        if kind is FunctionType and value in functions.COUNTERPARTS:
            return Function(value, self)
        if kind is FunctionType:
            return value if _is_left_alone(value) else self.copy(value)
        if kind is MethodType and type(value.__func__) is FunctionType and not _is_left_alone(value.__func__):
            return MethodType(self.copy(value.__func__), value.__self__)
        if kind is functools.partial:
            return functools.partial(self.of(value.func), *value.args, **value.keywords)
        eager = getattr(value, "eager", None) if kind.__module__ == "tracegrad.tracing" else None
        return value if eager is None else self.of(eager)

    def copy(self, function: FunctionType) -> FunctionType:
        """The function over substituted globals and cells; Declined if it binds names outside itself."""
        for code in family(function.__code__):
            if name := binds_outside(code, function.__code__):
                raise Declined(f"{code.co_qualname} assigns to {name}, a variable outside of it")
        names = self._globals.get(id(function.__globals__))
        if names is None:
            names = self._globals[id(function.__globals__)] = Substituted(function.__globals__, self)
        cells = None if function.__closure__ is None else tuple(map(self._cell, function.__closure__))
        made = FunctionType(function.__code__, names, function.__name__, function.__defaults__, cells)
        made.__kwdefaults__ = function.__kwdefaults__
        made.__qualname__, made.__module__, made.__doc__ = function.__qualname__, function.__module__, function.__doc__
        made.__dict__ = function.__dict__
        return made

    def _cell(self, cell: CellType) -> CellType:
        """The cell itself, or one with what stands for its contents."""
        try:
            held = cell.cell_contents
        except ValueError:
            return cell
        found = self.of(held)
        return cell if found is held else CellType(found)

    def _import(self, name: str, *where: Any) -> Any:
        return self.of(builtins.__import__(name, *where))

    def call(self, function: Any, args: tuple, options: dict[str, Any]) -> Any:
        """A call of a NumPy function out of the run."""
        if holds_operands(args) or holds_operands(options.values()):
            if isinstance(getattr(function, "__self__", function), np.ufunc):
                return function(*args, **options)           # it, or its method, asks __array_ufunc__
            return functions.apply(function, args, options, self.own_code)
        if isinstance(function, np.ufunc) and any(map(is_size, args)):
            return ufuncs.apply(function, "__call__", args, options)
        makes = functions.COUNTERPARTS.get(function) if _is_hashable(function) else None
        if makes is not None:
            try:
                return makes(*args, **options)
            except Exception:  # noqa: BLE001 - what follows gives the result, or the error in NumPy's words
                pass
        args, options = read_sizes(args), read_sizes(options)
        return functions.entered(function(*args, **options), (*args, *options.values()))

    def own_code(self, function: Any) -> Callable[..., Any] | None:
        """The code of a NumPy function that is written in Python, over this namespace."""
        code = getattr(function, "_implementation", None)
        return self.copy(code) if type(code) is FunctionType else None


def _is_hashable(function: Any) -> bool:
    return type(function).__hash__ is not None


def _is_of_numpy(name: Any) -> bool:
    return isinstance(name, str) and (name == "numpy" or name.startswith("numpy."))


def _is_left_alone(function: FunctionType) -> bool:
    """Is it a function of this package, or of a library that is not NumPy?"""
    filename = function.__code__.co_filename
    if filename.startswith(NUMPY_FILES):
        return function.__module__.startswith(EFFECTFUL)
    return is_inside(filename) or _is_of_library(filename)


@functools.lru_cache(maxsize=4096)
def _is_of_library(filename: str) -> bool:
    """Is it a file that the interpreter or a package manager installed?"""
    return any(part in filename for part in ("site-packages", "dist-packages")) or filename.startswith(
        (sys.prefix, sys.base_prefix, "<frozen")) and "lib/python" in filename.replace("\\", "/")


@functools.lru_cache(maxsize=4096)
def binds_outside(code: CodeType, outermost: CodeType) -> str | None:
    """A global, or a variable of a function around the outermost, that the code assigns to or deletes."""
    raw, extended = code.co_code, 0
    for opcode, low in zip(raw[::2], raw[1::2]):
        argument, extended = low | extended, (low | extended) << 8 if opcode == EXTENDED_ARG else 0
        if opcode in BINDS_GLOBALS:
            return code.co_names[argument]
        if opcode in BINDS_CELLS:
            name: str = code._varname_from_oparg(argument)      # type: ignore[attr-defined]
            if name in outermost.co_freevars:
                return name
    return None


@contextmanager
def running() -> Iterator[Substitution]:
    """The body is one run: its constants are known by then."""
    constants = CONSTANTS.set(Constants())
    try:
        substitution = Substitution()
        token = CURRENT.set(substitution)
        try:
            yield substitution
        finally:
            CURRENT.reset(token)
    finally:
        CONSTANTS.reset(constants)


CURRENT: ContextVar[Substitution | None] = ContextVar("tracegrad_numpy_substitution", default=None)
"""That of the run in progress in this context."""
