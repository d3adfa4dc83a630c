"""Callbacks: functions of the user's that look inside a run and do not end its being replayed.

    tg.debug.callback(log, y)     eager, recording     log(copy of y), at once
                                  replay               log(y as this call made it), when the native call is over

1. What a function is given is its own: copies without history of Tensors and arrays, new containers around them.
2. A recording notes the function and what it is given, as values of that moment; a Trace makes both again. What a
   function that was written in place holds of the run (its closure, its defaults) is given to it in the same way.
3. What the function does is not part of the run: it is not watched, and its effects are not among the run's.
"""
from __future__ import annotations

import dis
import functools
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from types import BuiltinFunctionType, CellType, CodeType, FrameType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np

from codegen.ir.structs import struct
from tracegrad.devices import copied
from tracegrad.lifted import LiftedNumber
from tracegrad.numpy_front.binding import Array, Scalar
from tracegrad.outside import outside
from tracegrad.recorder import ACTIVE, Recorder
from tracegrad.results import Leaves, Read, Rebuild, UnknownResult, given_at, recipe
from tracegrad.source_lines import is_inside
from tracegrad.tensors import Tensor

ASSIGNS = frozenset({"STORE_DEREF", "DELETE_DEREF"})


class Site:
    """A place in the user's program that hands something to a function, every so many times."""

    __slots__ = ("line", "_calls")

    def __init__(self, line: str | None):
        self.line = line
        self._calls = itertools.count()         # next() of it is one step, whatever other threads do

    def is_due(self, every: int) -> bool:
        """Count one more time; is it the first, or one of every so many after it?"""
        return next(self._calls) % every == 0


@struct(eq=False)
class Noted:
    """What a recording knows of one callback: the function and its operands, with Tensors that nothing else writes to.

    `code` is what called; `held`: of a function that the calling frame made, what it holds of the run.
    """

    function: Callable[..., Any]
    operands: tuple[Any, ...]
    site: Site
    every: int
    code: CodeType
    held: Held | None

    @property
    def cells(self) -> list[CellType]:
        """The variables that the function shares with code around the run."""
        return [] if self.held is None else [cell for cell in self.held.cells if type(cell) is CellType]


@struct(eq=False)
class Held:
    """The closure and the defaults of a function: for each cell that the run made what is in it, else the cell."""

    cells: tuple[Any, ...]
    defaults: tuple[Any, ...] | None
    keyword_defaults: dict[str, Any] | None


@struct(eq=False)
class Callback:
    """One callback of a Trace: how its function and its operands are made again."""

    function: Rebuild
    operands: Rebuild
    site: Site
    every: int

    def __str__(self) -> str:
        return f"{self.site.line}" + (f" every {self.every} times" if self.every > 1 else "")

    def __call__(self, tensors: Sequence[Tensor], args: tuple, kwargs: Mapping[str, Any]) -> None:
        """Hand over what a replay has made, if it is time."""
        if self.site.is_due(self.every):
            outside(self.function(tensors, args, kwargs), self.operands(tensors, args, kwargs))


class Again:
    """How many callbacks a run has made that is being done once more: the first so many are not made again."""

    __slots__ = ("left",)

    def __init__(self, left: int):
        self.left = left


AGAIN: ContextVar[Again | None] = ContextVar("tracegrad_again", default=None)


@contextmanager
def made_before(count: int) -> Iterator[None]:
    """In the body, a run is done again of which `count` callbacks have been made."""
    token = AGAIN.set(Again(count))
    try:
        yield
    finally:
        AGAIN.reset(token)


# ---- while Python runs ----------------------------------------------------------------------------------------------


def hand_over(function: Any, operands: tuple[Any, ...], site: Site, every: int,
              frame: FrameType) -> None:
    """Call the function with operands of its own, if it is time; note it where a run is recorded."""
    again, recorder = AGAIN.get(), ACTIVE.get()
    if again is not None and again.left:
        again.left -= 1
        due = False
    else:
        due = site.is_due(every)
    if recorder is None:
        if due:
            outside(function, handed(operands))
        return
    operands = tuple(_noted(operand, recorder) for operand in operands)
    held = held_by(function, frame, recorder)
    recorder.callbacks.append(Noted(function, operands, site, every, frame.f_code, held))
    if due:
        if held is not None:
            function = made_again(function, *(handed(part) for part in (held.cells, held.defaults,
                                                                        held.keyword_defaults)))
        outside(function, handed(operands))


def handed(value: Any) -> Any:
    """What a function is given for an operand: copies of Tensors and arrays, numbers for what stands for them."""
    kind = type(value)
    if kind is Array or kind is Scalar:
        return np.array(value._tensor.array) if kind is Array else value._tensor.array[()]
    if kind is LiftedNumber:
        return value.number
    if isinstance(value, Tensor):
        return Tensor(copied(value.array))
    return np.array(value) if isinstance(value, np.ndarray) else _mapped(handed, value)


def _noted(value: Any, recorder: Recorder) -> Any:
    """An operand with what it is now, whatever the run writes later."""
    if type(value) is Array or type(value) is Scalar:
        return type(value)(_noted(value._tensor, recorder))
    if isinstance(value, Tensor):
        twin = Tensor(copied(value.array))
        recorder.record_op("reshape", (value,), {"shape": value.array.shape}, twin)
        return twin
    return _mapped(lambda part: _noted(part, recorder), value)


def _mapped(function: Callable[[Any], Any], value: Any) -> Any:
    """A container with what the function makes of its parts; anything else as it is.

    So is an instance of a dataclass that holds nothing that is changed; it may be the one the method belongs to.
    """
    kind = type(value)
    if kind is list or kind is tuple:
        return kind([function(part) for part in value])
    if kind is dict:
        return {key: function(part) for key, part in value.items()}
    if isinstance(value, tuple) and hasattr(kind, "_make"):
        return kind._make([function(part) for part in value])
    if hasattr(kind, "__dataclass_fields__") and not isinstance(value, type):
        before = {name: getattr(value, name) for name in kind.__dataclass_fields__ if hasattr(value, name)}
        after = {name: function(part) for name, part in before.items()}
        if any(new is not before[name] for name, new in after.items()):
            copied = object.__new__(kind)
            for name, part in after.items():
                object.__setattr__(copied, name, part)
            return copied
    return value


def held_by(function: Any, frame: FrameType, recorder: Recorder) -> Held | None:
    """What a function that was written in this frame holds of the run; None of any other function."""
    if type(function) is not FunctionType or function.__code__ not in frame.f_code.co_consts:
        return None
    code, own = function.__code__, frame.f_code.co_cellvars
    if outside(_assigns, (code, own)):
        return None
    cells = tuple(_noted(cell.cell_contents, recorder) if name in own else cell
                  for name, cell in zip(code.co_freevars, function.__closure__ or ()))
    return Held(cells, _noted(function.__defaults__, recorder), _noted(function.__kwdefaults__, recorder))


def _assigns(code: CodeType, names: Sequence[str]) -> bool:
    """Does the code, or code nested in it, assign variables of these names that are not its own?"""
    return any(i.opname in ASSIGNS and i.argval in names for i in dis.get_instructions(code)) or any(
        _assigns(nested, names) for nested in code.co_consts if isinstance(nested, CodeType))


def made_again(function: FunctionType, cells: Sequence[Any], defaults: Any, keyword_defaults: Any) -> FunctionType:
    """A function of the same code that holds these."""
    closure = tuple(cell if type(cell) is CellType else CellType(cell) for cell in cells)
    made = FunctionType(function.__code__, function.__globals__, function.__name__, defaults, closure)
    made.__kwdefaults__ = keyword_defaults
    return made


# ---- the same in a replay --------------------------------------------------------------------------------------------


class Recipes:
    """How the callbacks of a run are made again. UnknownResult where one cannot be.

    `place` gives each Tensor its position, `source` finds what was there before the run, `leaves_as` is the front's.
    """

    def __init__(self, recorder: Recorder, place: Callable[[Tensor], int], source: Callable[[Any], Read | None],
                 leaves_as: Leaves | None):
        self._place, self._source, self._leaves_as = place, source, leaves_as
        self._routes = recorder.routes()

    def callback(self, noted: Noted) -> Callback:
        """One callback."""
        function = self._function(noted.function, noted.held)
        return Callback(function, self._value(noted.operands), noted.site, noted.every)

    def _value(self, value: Any) -> Rebuild:
        return recipe(value, self._place, self._source, set(), self._leaf)

    def _leaf(self, value: Any, place: Callable[[Tensor], int], source: Callable[[Any], Read | None]) -> Rebuild | None:
        kind = type(value)
        if kind is LiftedNumber:
            return given_at(self._routes[id(value.tensor)])
        if kind is np.ndarray and (read := source(value)) is not None:
            return lambda tensors, args, kwargs: np.array(read(args, kwargs))
        if kind is Array or kind is Scalar or kind is np.ndarray:
            return None if self._leaves_as is None else self._leaves_as(value, place, source)
        if kind is CellType:        # a guard watches that it is the same
            return lambda tensors, args, kwargs: value
        return self._function(value, None) if callable(value) and not isinstance(value, Tensor) else None

    def _function(self, function: Any, held: Held | None) -> Rebuild:
        if type(function) is FunctionType and is_inside(function.__code__.co_filename):
            return lambda tensors, args, kwargs: function
        read = self._source(function)
        if read is not None:
            return lambda tensors, args, kwargs: read(args, kwargs)
        if held is not None:
            parts = self._value((held.cells, held.defaults, held.keyword_defaults))
            return lambda tensors, args, kwargs: made_again(function, *parts(tensors, args, kwargs))
        match function:
            case MethodType():
                plain, owner = self._function(function.__func__, None), self._value(function.__self__)
                return lambda tensors, args, kwargs: MethodType(
                    plain(tensors, args, kwargs), owner(tensors, args, kwargs))
            case BuiltinFunctionType(__self__=ModuleType()):
                return lambda tensors, args, kwargs: function
            case BuiltinFunctionType():
                owner, name = self._value(function.__self__), function.__name__
                return lambda tensors, args, kwargs: getattr(owner(tensors, args, kwargs), name)
            case functools.partial():
                inner = self._function(function.func, None)
                given = self._value((function.args, function.keywords))

                def again(tensors: Sequence[Tensor], args: tuple, kwargs: Mapping[str, Any]) -> functools.partial:
                    first, named = given(tensors, args, kwargs)
                    return functools.partial(inner(tensors, args, kwargs), *first, **named)
                return again
        raise UnknownResult(f"a callback, {type(function).__qualname__}, that cannot be found again")
