"""Library: what the walk must know of code that it does not look into, and of Tensors.

Trust has three degrees, decided by the file a code object was compiled from and by where a module or class is found,
never by names that users can set on objects.

    CORE       code of this library. It reports to the recorder by itself; what it calls is not judged. Of objects
               that are not its own it reads only what Python's protocols read (len, iteration, dunder methods).
    NUMPY      NumPy's Python code. The C functions it calls are judged; it reads what CORE may read.
    STANDARD   a few modules of the standard library. Judged, and what they mention counts, but their globals do not.
    (none)     everything else, tracegrad.nn, .optim and .data included: ordinary code, walked like the user's.
"""
from __future__ import annotations

import abc
import collections
import contextlib
import dataclasses
import enum
import functools
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import field
from enum import Enum, auto
from pathlib import Path
from types import CodeType, FrameType, FunctionType, ModuleType
from typing import Any

import numpy as np

from codegen.ir.structs import struct
from tracegrad.devices import CUPY, cupy_files
from tracegrad.purity.classes import namespace, qualified_name, special_methods


class Trust(Enum):
    """How much is taken for granted of code that the walk does not look into."""

    CORE = auto()
    NUMPY = auto()
    STANDARD = auto()


STANDARD_MODULES = (abc, collections, contextlib, dataclasses, enum, functools)
STANDARD_FILES = (str(Path(os.__file__).parent) + os.sep, "<frozen ")
INSTALLED_FILES = tuple(STANDARD_FILES[0] + folder + os.sep for folder in ("site-packages", "dist-packages"))
ORDINARY = ("tracegrad.nn", "tracegrad.optim", "tracegrad.data", "tracegrad.io", "tracegrad.pytrees",
            "tracegrad.functions", "tracegrad.registered_ops", "tracegrad.ops")
"""Modules and packages inside a trusted package whose code is nevertheless ordinary."""
LENT = ("tracegrad.pytrees",)
"""Those whose code is trusted like the library where the library calls it; what it calls is judged by itself. So is
that of CuPy, once it is in use."""


@struct
class Setting:
    """Something ambient: a run that changes it is refused, and where `guarded` it must have the value it had.

    `place`: an object and the name of its attribute, or a namespace and a key, where exactly this object is what it is.
    `of`: a class that it is read from, as a tuple of what the class holds: as long as nothing there changes, none of
    that does.
    """

    name: str
    read: Callable[[], Any]
    guarded: bool = True
    place: tuple[Any, str] | None = None
    of: type | None = None


def numpy_error_state() -> tuple[tuple[str, Any], ...]:
    """How NumPy reports floating-point errors, comparable."""
    return tuple(np.geterr().items())


NUMPY_ERRORS = Setting("how NumPy reports floating-point errors", numpy_error_state, guarded=False)
"""No result of a Tensor operation depends on it, but a run may not leave it changed."""


def methods_of(cls: type) -> Setting:
    """What operators, `len`, `for`, ... do to instances of a class."""
    return Setting(f"the special methods of {cls.__name__}", functools.partial(special_methods, cls), of=cls)


@struct
class TensorLayout:
    """How a Tensor's parts are written in generated code; {p} is the Tensor."""

    array: str = "{p}.array"
    requires_grad: str = "{p}.requires_grad"
    history: str = "{p}.grad_fn"
    hooks: str = "{p}.hooks"
    grad: str = "{p}._grad"


@struct(eq=False)
class Library:
    """`tensor` is the leaf type (subclasses are leaves too), `settings` are ambient.

    `follow` names, for instances of a trusted class, the attributes that matter: of all other instances of trusted
    classes every attribute does. `class_of` gives the class that an object has for its users, which may have another
    while a run in another thread goes on.
    """

    tensor: type
    packages: tuple[tuple[str, Trust], ...] = (
        ("tracegrad", Trust.CORE), ("codegen", Trust.CORE), ("numpy", Trust.NUMPY))
    ordinary: tuple[str, ...] = ORDINARY
    lent: tuple[str, ...] = LENT
    settings: tuple[Setting, ...] = (NUMPY_ERRORS,)
    follow: dict[type, tuple[str, ...]] = field(default_factory=dict)
    layout: TensorLayout = TensorLayout()
    class_of: Callable[[Any], type] = type
    _files: dict[str, Trust | None] = field(default_factory=dict)
    _generated: dict[CodeType, Trust] = field(default_factory=dict)     # written by dataclasses and such, for CORE
    _folders: list[tuple[str, Trust | None]] = field(default_factory=list)
    _lent_files: set[str] = field(default_factory=set)
    _lent_codes: set[CodeType] = field(default_factory=set)     # written for their classes

    def __post_init__(self) -> None:
        for name, given in self.packages:
            if (module := sys.modules.get(name)) is not None and module.__file__:
                self._folders.append((str(Path(module.__file__).parent) + os.sep, given))
                for inner in self.ordinary:
                    if inner.startswith(name + "."):
                        place = Path(module.__file__).parent.joinpath(*inner.split(".")[1:])
                        self._folders.extend([(str(place) + os.sep, None), (str(place) + ".py", None)])
        own = [m for name, m in sys.modules.items() if name.partition(".")[0] in dict(self.packages)]
        classes = {cls for module in own if self.trust_module(module) is Trust.CORE     # most are in several modules
                   for cls in vars(module).values() if type(cls) is type}
        self._generated.update((code, Trust.CORE) for code in _generated_for(classes))
        for module in (sys.modules[name] for name in self.lent if name in sys.modules):
            self._lent_files.add(str(module.__file__))
            self._lent_codes.update(_generated_for(cls for cls in vars(module).values() if type(cls) is type))
        self._folders.sort(key=lambda entry: -len(entry[0]))            # the most particular first
        for module in STANDARD_MODULES:
            self._files.update((f.__code__.co_filename, Trust.STANDARD) for f in vars(module).values()
                               if type(f) is FunctionType and f.__module__ == module.__name__)

    def trust(self, code: CodeType) -> Trust | None:
        """The trust in a code object."""
        return self._generated.get(code) or self.trust_file(code.co_filename)

    def trust_file(self, filename: str) -> Trust | None:
        """The trust in code that was compiled from this file."""
        try:
            return self._files[filename]
        except KeyError:
            found = next((trust for start, trust in self._folders if filename.startswith(start)), None)
            self._files[filename] = found
            return found

    def trust_frame(self, frame: FrameType) -> Trust | None:
        """The trust in the code of a running frame. The standard library is trusted like the library that calls it, and
        so is what is lent.
        """
        trust, caller = self.trust(frame.f_code), frame.f_back
        if is_standard(frame.f_code.co_filename) or self.is_lent(frame.f_code):
            while caller is not None and (is_standard(caller.f_code.co_filename) or self.is_lent(caller.f_code)):
                caller = caller.f_back
            if caller is not None and (calling := self.trust(caller.f_code)) in (Trust.CORE, Trust.NUMPY):
                return calling
        return trust

    def is_lent(self, code: CodeType) -> bool:
        """Is the code trusted like the code that calls it?"""
        return (code.co_filename in self._lent_files or code in self._lent_codes
                or bool(CUPY) and code.co_filename.startswith(cupy_files()))

    def trust_module(self, module: ModuleType) -> Trust | None:
        """The trust in a module: a real one, found under its own name."""
        name = module.__dict__.get("__name__")
        if not isinstance(name, str) or sys.modules.get(name) is not module:
            return None
        if module in STANDARD_MODULES:
            return Trust.STANDARD
        if any(name == inner or name.startswith(inner + ".") for inner in self.ordinary):
            return None
        return dict(self.packages).get(name.partition(".")[0])

    def trust_class(self, cls: type) -> Trust | None:
        """The trust in a class: one that the module it claims to come from has under its name."""
        name = namespace(cls).get("__module__")
        module = sys.modules.get(name) if isinstance(name, str) else None
        if type(module) is not ModuleType or (trust := self.trust_module(module)) is None:
            return None
        found: Any = module
        for part in qualified_name(cls).split("."):
            found = vars(found).get(part) if isinstance(found, ModuleType | type) else None
        return trust if found is cls else None

    def is_tensor(self, cls: type) -> bool:
        """Are instances of `cls` Tensors? (isinstance would ask the object.)"""
        return issubclass(cls, self.tensor)


def _generated_for(classes: Iterable[type]) -> Iterator[CodeType]:
    """The code that was written for classes, by dataclasses and such."""
    for member in (member for cls in classes for member in vars(cls).values()):
        function = member.__func__ if type(member) in (staticmethod, classmethod) else member
        if type(function) is FunctionType and function.__code__.co_filename == "<string>":
            yield function.__code__


@functools.lru_cache(maxsize=4096)
def is_standard(filename: str) -> bool:
    """Is this a file of the standard library?"""
    return filename.startswith(STANDARD_FILES) and not filename.startswith(INSTALLED_FILES)
