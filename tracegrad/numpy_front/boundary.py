"""The boundary: ndarrays and NumPy scalars in, Tensors on their memory inside, ndarrays and NumPy scalars out.

    adopt((u, 0.1), {})    ->   Adopted((Tensor on u, 0.1), {}, scalars=())
    Run(adopted, ...)      ->   runs a function on Arrays; gives its result as NumPy would have given it

1. One Tensor for each array, however often it is passed; its memory is the array's: a write in place is the caller's.
2. A run that was recorded in vain and changed nothing but its arguments can be undone, and the function run as it is.
"""
from __future__ import annotations

from collections.abc import Callable, Mapping
from types import FrameType, FunctionType, MethodType
from typing import Any, NamedTuple

import numpy as np

from codegen.ir.types import DTYPES, NAMES
from tracegrad.aborts import Abort, Aborted
from tracegrad.left_behind import put_in_frame
from tracegrad.lifted import LiftedNumber, plain
from tracegrad.numpy_front.arrays import errors_raise, leave, real
from tracegrad.numpy_front.binding import Array, Scalar, Selected
from tracegrad.numpy_front.substitution import Declined, running
from tracegrad.recorder import ACTIVE
from tracegrad.results import ArrayAt, GivenAt, Read, Rebuild, UnknownResult
from tracegrad.size_numbers import is_size
from tracegrad.source_lines import is_inside
from tracegrad.tensors import Tensor

_ndarray = np.ndarray
CONTAINERS = (list, tuple, dict)
DEEPEST = 16
GENERATES = 0x20 | 0x80 | 0x200             # code flags of generators, coroutines, asynchronous generators


class Adopted(NamedTuple):
    """The arguments of a call with Tensors for arrays and NumPy scalars. `scalars`: which of them are scalars."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    scalars: tuple[Any, ...]


def is_of_arrays(result: Any) -> bool:
    """Is a result NumPy's: an array or a scalar, or one with such a part?"""
    if isinstance(result, CONTAINERS):
        return any(map(is_of_arrays, result.values() if isinstance(result, dict) else result))
    return isinstance(result, _ndarray | np.generic)


class NotAdopted(Exception):
    """An argument that has no place in a recording."""


def adopt(args: tuple[Any, ...], kwargs: Mapping[str, Any], makes_arrays: bool = False) -> Adopted | None:
    """The arguments, if arrays are among them, or in lists, tuples and dicts among them, and no Tensors.

    A function that is known to be NumPy code, because it `makes_arrays`, need not be given any.
    NotAdopted for an array that Tensors cannot stand for, and where NumPy would raise for what replays compute.
    """
    known: dict[int, Any] = {}              # by id of an array or a container: what stands for it
    scalars: list[Any] = []
    given = []
    for k, argument in enumerate(args):
        kind = type(argument)
        if kind is _ndarray:
            found = known.get(id(argument))
            argument = _adopted(argument, known) if found is None else found
        elif kind is not float and kind is not int:
            argument = _other(argument, known, scalars, k)
        given.append(argument)
    named = {name: _other(argument, known, scalars, name) for name, argument in kwargs.items()}
    if not (known or makes_arrays) or any(map(_is_a_tensor, (*args, *kwargs.values()))):
        return None
    if errors_raise():
        raise NotAdopted("np.errstate asks for floating-point errors to raise")
    return Adopted(tuple(given), named, tuple(scalars))


def _adopted(array: np.ndarray, known: dict[int, Any]) -> Tensor:
    name = NAMES.get(array.dtype)
    if name is None:
        raise NotAdopted(f"an array of dtype {array.dtype.str if array.dtype.kind in 'iufcb' else array.dtype}")
    if not array.flags.aligned:
        raise NotAdopted("an array that is not aligned in memory")
    dtype = DTYPES[name]
    tensor = Tensor(array if array.dtype is dtype else array.view(dtype))
    known[id(array)] = tensor
    return tensor


def _other(argument: Any, known: dict[int, Any], scalars: list[Any], place: Any) -> Any:
    """What stands for an argument that is no array itself, or may be none."""
    if isinstance(argument, np.generic):
        scalars.append(place)
        return _adopted(np.asarray(argument), {})
    return _within(argument, known)


def _is_a_tensor(argument: Any) -> bool:
    return isinstance(argument, Tensor)


def is_named_tuple(kind: type) -> bool:
    """Is it a class of tuples that are made of their parts by `_make`?"""
    return issubclass(kind, tuple) and hasattr(kind, "_make")


def _within(value: Any, known: dict[int, Any], depth: int = 0) -> Any:
    """A value with Tensors for the arrays in it: a new container where there are some, else itself."""
    kind = type(value)
    if kind is _ndarray or kind in CONTAINERS or is_named_tuple(kind):
        found = known.get(id(value))
        if found is not None:
            return found
        if kind is _ndarray:
            return _adopted(value, known)
        if depth > DEEPEST:
            raise NotAdopted(f"a {kind.__name__} nested deeper than {DEEPEST} levels")
        parts = [_within(part, known, depth + 1) for part in (value.values() if kind is dict else value)]
        before = value.values() if kind is dict else value
        if all(new is old for new, old in zip(parts, before)):
            return value
        made = dict(zip(value, parts)) if kind is dict else getattr(kind, "_make", kind)(parts)
        known[id(value)] = made
        return made
    if isinstance(value, _ndarray):
        raise NotAdopted(f"a {kind.__name__}")
    return value


def settled(value: Any) -> Any:
    """A selection that is a result: its elements, if how many there are follows from guards."""
    if type(value) is not Selected:
        return value
    recorder = ACTIVE.get()
    fixed = recorder is not None and recorder.is_known(value.mask_key)
    return Array(value._tensor) if fixed else value


class Given(NamedTuple):
    """Something the caller gave, and what stands for it in the run. `path`: the argument, then the keys below it."""

    stand_in: Any
    original: Any
    path: tuple[Any, ...]
    items: tuple[Any, ...] | None           # of a list or a dict, what it holds on entry


class Run:
    """One recorded run of a function on the arrays of a call. `args` and `kwargs` are as the caller gave them."""

    def __init__(self, adopted: Adopted, args: tuple[Any, ...], kwargs: Mapping[str, Any]):
        self._called = args, kwargs
        self._given: dict[int, Given] = {}              # by id of the stand-in, or of the Tensor in it
        self._stand_ins: dict[int, Any] = {}            # by id of what was adopted
        self._before: list[tuple[np.ndarray, np.ndarray]] = []
        self._made: set[int] = set()                    # ids of arrays in the result that are no Arrays
        for k, (argument, original) in enumerate(zip(adopted.args, args)):
            self._stand_in(argument, original, (k,), k in adopted.scalars)
        for name, original in kwargs.items():
            self._stand_in(adopted.kwargs[name], original, (name,), name in adopted.scalars)

    def _stand_in(self, adopted: Any, original: Any, path: tuple[Any, ...], scalar: bool = False) -> Any:
        """What the function gets for an argument, or for a part of one."""
        found = self._stand_ins.get(id(adopted))
        if adopted is original or found is not None:
            return adopted if found is None else found
        items = None
        if isinstance(adopted, Tensor):
            stand_in: Any = Scalar(adopted) if scalar else Array(adopted)
            if not scalar and adopted.array.flags.writeable:
                self._before.append((adopted.array, adopted.array.copy()))
        elif type(adopted) is dict:
            stand_in = {key: self._stand_in(part, original[key], (*path, key)) for key, part in adopted.items()}
            items = (*stand_in, *stand_in.values())
        else:
            make = getattr(type(adopted), "_make", type(adopted))
            stand_in = make([self._stand_in(part, original[k], (*path, k)) for k, part in enumerate(adopted)])
            items = tuple(stand_in) if type(adopted) is list else None
        self._stand_ins[id(adopted)] = stand_in
        given = Given(stand_in, original, path, items)
        self._given[id(adopted if isinstance(adopted, Tensor) else stand_in)] = given
        return stand_in

    def call(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """The function, over a substituted namespace, on Arrays."""
        with running() as substitution:
            copied = substitution.of(function)
            try:
                result = copied(*(self._stand_ins.get(id(a), a) for a in args),
                                **{name: self._stand_ins.get(id(a), a) for name, a in kwargs.items()})
                return plain(result, replace=settled)
            finally:
                self._note_changes()

    def as_called(self, function: Callable[..., Any]) -> Any:
        """The function itself, on what the caller gave."""
        args, kwargs = self._called
        return function(*args, **kwargs)

    def surprised(self, frame: FrameType | None) -> None:
        """Code is about to run that could tell Arrays from ndarrays: there are ndarrays in the variables of all code
        but ours.
        """
        while frame is not None:
            if not is_inside(frame.f_code.co_filename):
                put_in_frame(frame, self._original)
            frame = frame.f_back

    def _note_changes(self) -> None:
        """Lists and dicts of the caller that the run changed are changed; a replay would not do that."""
        for given in self._given.values():
            stand_in, original = given.stand_in, given.original
            if given.items is None:
                continue
            now = (*stand_in, *stand_in.values()) if type(stand_in) is dict else tuple(stand_in)
            if len(now) == len(given.items) and all(new is old for new, old in zip(now, given.items)):
                continue
            leave(Abort.EFFECT, f"it changed a {type(original).__name__} that it was given")
            if type(stand_in) is dict:
                changed = {key: self.result(part) for key, part in stand_in.items()}
                original.clear()
                original.update(changed)
            else:
                original[:] = [self.result(part) for part in stand_in]

    def undo(self) -> None:
        """Give the arguments the values they had."""
        for array, before in self._before:
            np.copyto(array, before)

    def result(self, value: Any) -> Any:
        """A result of the run, or anything that it left behind, as NumPy would have given it."""
        return plain(value, replace=self._original)

    def _original(self, value: Any) -> Any:
        given = self._given_as(value)
        if given is not None:
            return given.original
        return real(value) if type(value) in (Array, Scalar, Selected, LiftedNumber) or is_size(value) else value

    def _given_as(self, value: Any) -> Given | None:
        held = value._tensor if type(value) in (Array, Scalar) else value
        return self._given.get(id(held))

    def recipe(self, value: Any, place: Callable[[Tensor], int],
               source: Callable[[Any], Read | None]) -> Rebuild | None:
        """How to make a part of the result again, if it is an Array or a Scalar, or one of NumPy's own."""
        if issubclass(type(value), (np.generic, np.dtype)) and type(value) is not np.void:
            return lambda tensors, args, kwargs: value
        if type(value) is Selected:     # what settled leaves
            raise UnknownResult("an array of as many elements as a mask holds")
        given = self._given_as(value)
        if given is not None:
            return GivenAt(given.path)
        if type(value) is _ndarray and source(value) is None and value.flags.owndata and id(value) not in self._made:
            self._made.add(id(value))           # NumPy made it in the run, of constants
            kept = value.copy()
            return lambda tensors, args, kwargs: kept.copy()
        if type(value) is not Array and type(value) is not Scalar:
            return None
        k = place(value._tensor)
        if type(value) is Scalar:
            return lambda tensors, args, kwargs: tensors[k].array[()]
        return ArrayAt(k)


def reason_not_to_run(function: Any) -> Aborted | None:
    """Why a function cannot run on Arrays, if that is known before it runs."""
    if isinstance(function, MethodType):
        function = function.__func__
    if type(function) is not FunctionType:
        return Aborted(Abort.NOT_RECORDED, f"a {type(function).__name__} called with arrays is not a Python function")
    code = function.__code__
    if code.co_flags & GENERATES:
        return Aborted(Abort.NOT_RECORDED, f"{code.co_qualname} is a generator: it runs after the call")
    try:
        with running() as substitution:
            substitution.of(function)
    except Declined as declined:
        return Aborted(Abort.EFFECT, str(declined))
    return None
