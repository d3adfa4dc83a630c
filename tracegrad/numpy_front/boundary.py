"""The boundary: ndarrays and NumPy scalars in, Tensors on their memory inside, ndarrays and NumPy scalars out.

    adopt((u, 0.1), {})    ->   Adopted((Tensor on u, 0.1), {}, scalars=())
    Run(adopted, ...)      ->   runs a function on Arrays; gives its result as NumPy would have given it

1. One Tensor for each array, however often it is passed; its memory is the array's: a write in place is the caller's.
2. A run that was recorded in vain and changed nothing but its arguments can be undone, and the function run as it is.
"""
from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from types import FunctionType, MethodType
from typing import Any, NamedTuple

import numpy as np

from codegen.ir.types import DTYPES, NAMES
from tracegrad.aborts import Abort, Aborted
from tracegrad.lifted import plain
from tracegrad.numpy_front.arrays import Operand, real
from tracegrad.numpy_front.binding import Array, Scalar, Selected
from tracegrad.numpy_front.substitution import Declined, running
from tracegrad.purity.observation import ERROR_STATE
from tracegrad.recorder import ACTIVE
from tracegrad.results import Rebuild, UnknownResult
from tracegrad.tensors import Tensor

_ndarray = np.ndarray
GENERATES = 0x20 | 0x80 | 0x200             # code flags of generators, coroutines, asynchronous generators


class Adopted(NamedTuple):
    """The arguments of a call with Tensors for arrays and NumPy scalars. `scalars`: which of them are scalars."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    scalars: tuple[Any, ...]


class NotAdopted(Exception):
    """An argument that has no place in a recording."""


def adopt(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Adopted | None:
    """The arguments, if arrays are among them and no Tensors.

    NotAdopted for an array that Tensors cannot stand for, and where NumPy would raise for what replays compute.
    """
    tensors: dict[int, Tensor] = {}
    scalars: list[Any] = []
    found = False
    given_args: list[Any] = []
    for k, argument in enumerate(args):
        if type(argument) is _ndarray:
            found = True
            tensor = tensors.get(id(argument))
            if tensor is None:
                tensor = tensors[id(argument)] = _adopted(argument)
            argument = tensor
        elif isinstance(argument, np.generic):
            scalars.append(k)
            argument = _adopted(np.asarray(argument))
        elif isinstance(argument, Tensor):
            return None
        elif isinstance(argument, _ndarray):
            raise NotAdopted(f"a {type(argument).__name__}")
        given_args.append(argument)
    given_kwargs = {}
    for name, argument in kwargs.items():
        if type(argument) is _ndarray:
            found = True
            tensor = tensors.get(id(argument))
            if tensor is None:
                tensor = tensors[id(argument)] = _adopted(argument)
            argument = tensor
        elif isinstance(argument, np.generic):
            scalars.append(name)
            argument = _adopted(np.asarray(argument))
        elif isinstance(argument, Tensor):
            return None
        elif isinstance(argument, _ndarray):
            raise NotAdopted(f"a {type(argument).__name__}")
        given_kwargs[name] = argument
    if not found:
        return None
    if errors_raise():
        raise NotAdopted("np.errstate asks for floating-point errors to raise")
    return Adopted(tuple(given_args), given_kwargs, tuple(scalars))


def _adopted(array: np.ndarray) -> Tensor:
    name = NAMES.get(array.dtype)
    if name is None:
        raise NotAdopted(f"an array of dtype {array.dtype.str if array.dtype.kind in 'iufcb' else array.dtype}")
    dtype = DTYPES[name]
    return Tensor(array if array.dtype is dtype else array.view(dtype))


@lru_cache(maxsize=64)
def _raises(state: Any) -> bool:
    """May a floating-point error raise under this state, the present one?"""
    return not {"raise", "call"}.isdisjoint(np.geterr().values())


def errors_raise() -> bool:
    """May a floating-point error raise in NumPy now, by np.errstate or np.seterr? What is replayed never does."""
    if ERROR_STATE is None:
        return _raises.__wrapped__(None)
    state = ERROR_STATE.get(None)           # None: nobody has said anything
    return state is not None and _raises(state)


def settled(selection: Selected) -> Array:
    """A selection that is a result: its elements, if how many there are follows from guards."""
    recorder = ACTIVE.get()
    fixed = recorder is not None and recorder.is_fixed(selection.mask_key)
    return Array(selection._tensor) if fixed else selection


class Run:
    """One recorded run of a function on the arrays of a call. `args` and `kwargs` are as the caller gave them."""

    def __init__(self, adopted: Adopted, args: tuple[Any, ...], kwargs: Mapping[str, Any]):
        self._given: dict[int, tuple[Any, Any, int | str]] = {}     # by id of the Tensor: it, the argument, its place
        self._before: list[tuple[np.ndarray, np.ndarray]] = []
        self._operands: dict[int, Operand] = {}
        places: list[tuple[Any, Any]] = [*enumerate(adopted.args), *adopted.kwargs.items()]
        originals: dict[Any, Any] = {**dict(enumerate(args)), **kwargs}
        for place, tensor in places:
            if isinstance(tensor, Tensor) and id(tensor) not in self._given:
                scalar = place in adopted.scalars
                self._given[id(tensor)] = tensor, originals[place], place
                self._operands[id(tensor)] = Scalar(tensor) if scalar else Array(tensor)
                if not scalar and tensor.array.flags.writeable:
                    self._before.append((tensor.array, tensor.array.copy()))

    def call(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """The function, over a substituted namespace, on Arrays."""
        with running() as substitution:
            copied = substitution.of(function)
            result = copied(*map(self._operand, args), **{name: self._operand(v) for name, v in kwargs.items()})
            return plain(result, stands_for={Selected: settled})

    def _operand(self, argument: Any) -> Any:
        return self._operands[id(argument)] if isinstance(argument, Tensor) else argument

    def undo(self) -> None:
        """Give the arguments the values they had."""
        for array, before in self._before:
            np.copyto(array, before)

    def result(self, value: Any) -> Any:
        """A result of the run, or anything that it left behind, as NumPy would have given it."""
        return plain(value, stands_for={Array: self._original, Scalar: self._original, Selected: real})

    def _original(self, operand: Operand) -> Any:
        given = self._given.get(id(operand._tensor))
        return real(operand) if given is None else given[1]

    def recipe(self, value: Any, place: Callable[[Tensor], int]) -> Rebuild | None:
        """How to make a part of the result again, if it is an Array or a Scalar."""
        if issubclass(type(value), (np.generic, np.dtype)) and type(value) is not np.void:
            return lambda tensors, args, kwargs: value
        if type(value) is Selected:     # what settled leaves
            raise UnknownResult("an array of as many elements as a mask holds")
        if type(value) is not Array and type(value) is not Scalar:
            return None
        given = self._given.get(id(value._tensor))
        if given is not None:
            where = given[2]
            return lambda tensors, args, kwargs: args[where] if isinstance(where, int) else kwargs[where]
        k = place(value._tensor)
        if type(value) is Scalar:
            return lambda tensors, args, kwargs: tensors[k].array[()]
        return lambda tensors, args, kwargs: tensors[k].array


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
