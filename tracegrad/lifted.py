"""LiftedNumber: a number argument of a traced function that a replay takes as an input, not as a constant.

    f(x, 0.1); f(x, 0.2); f(x, 0.3)      the second value records once more with the number lifted, the third replays

It stands in for the argument while the run is recorded. Beside a Tensor it becomes a 0-d Tensor of the dtype that a
Python number takes there. Whatever else Python asks of it (its value, its sign) is a read: it answers with
the plain number, and the value becomes a guard of this path.
"""
from __future__ import annotations

import operator
from ast import literal_eval
from collections.abc import Callable
from types import FunctionType, ModuleType
from typing import Any

import numpy as np

from tracegrad.tensors import Tensor

LARGEST = 2**53
"""Up to this an int is rounded to floating point once, whichever way it takes; a larger one is not lifted."""


def may_be_lifted(number: object) -> bool:
    """Is it a number whose value a replay can take as an input?"""
    return type(number) is float or type(number) is int and -LARGEST <= number <= LARGEST


class NumberArguments:
    """The numbers that a function was called with. `read`: routes of those whose value Python asked for."""

    def __init__(self) -> None:
        self._values: dict[str, set[int | float]] = {}      # by route of the argument
        self.read: frozenset[str] = frozenset()

    def changing(self, args: tuple, kwargs: dict[str, Any]) -> frozenset[str]:
        """The routes of those that have had two values by this call and may be inputs."""
        routes = {f"args[{k}]": a for k, a in enumerate(args)}
        routes |= {f"kwargs[{name!r}]": a for name, a in kwargs.items()}
        for route, argument in routes.items():
            if type(argument) in (int, float):
                self._values.setdefault(route, set()).add(argument)
        return frozenset(route for route, values in self._values.items()
                         if len(values) > 1 and may_be_lifted(routes.get(route)) and route not in self.read)


def takes_over(other: Any) -> bool:
    """Does what stands on the other side of an operation take the number as it is?"""
    return isinstance(other, Tensor) or hasattr(type(other), "__takes_lifted__")


class LiftedNumber:
    """A float or int argument. `tensor` is its value as an input of the recording, f64 or i64."""

    __slots__ = ("_on_read", "number", "tensor")

    def __init__(self, number: int | float, tensor: Tensor, on_read: Callable[[], None]):
        self.number, self.tensor, self._on_read = number, tensor, on_read

    def read(self) -> int | float:
        """The plain number, which this path depends on from now on."""
        self._on_read()
        return self.number

    @property                           # type: ignore[misc]
    def __class__(self) -> type:        # isinstance asks for it; no read, since the type of an argument is a guard
        return type(self.number)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.read(), name)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.read(), dtype)

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        if any(map(takes_over, inputs)):
            return NotImplemented
        return getattr(ufunc, method)(*(x.read() if type(x) is LiftedNumber else x for x in inputs), **options)


def read_lifted(value: Any) -> Any:
    """A lifted number's value, a read of it; anything else as it is."""
    return value.read() if type(value) is LiftedNumber else value


def plain(value: Any, seen: set[int] | None = None, replace: Callable[[Any], Any] = read_lifted) -> Any:
    """`value` without what stands in for something else: `replace` gives that, or the value itself.

    Lists, dicts and instances are mended where they are.
    """
    replaced = replace(value)
    if replaced is not value:
        return replaced
    seen = set() if seen is None else seen
    if id(value) in seen or isinstance(value, type | ModuleType | FunctionType | Tensor):
        return value
    seen.add(id(value))
    if isinstance(value, tuple):
        parts = [plain(part, seen, replace) for part in value]
        changed = any(new is not old for new, old in zip(parts, value))
        return getattr(type(value), "_make", type(value))(parts) if changed else value
    if type(value) is list:
        value[:] = [plain(part, seen, replace) for part in value]
    elif type(value) is dict:
        items = [(plain(key, None, replace), plain(part, seen, replace)) for key, part in value.items()]
        if any(new is not old for (new, _), old in zip(items, value)):
            value.clear()
        value.update(items)
    elif type(names := getattr(value, "__dict__", None)) is dict:
        plain(names, seen, replace)
    return value


def argument_of(route: str) -> int | str:
    """The argument that a route of one leads to, by position or by name."""
    return literal_eval(route.partition("[")[2].removesuffix("]"))


def _reading(name: str) -> Callable[..., Any]:
    """The special method of the plain number, a read of it; a Tensor on the other side takes over instead."""
    reflected = getattr(operator, name[1:], None) if name[0] == "r" else None
    function: Any = pow if name == "pow" else getattr(operator, name, None)

    def method(self: LiftedNumber, *others: Any) -> Any:
        if others and takes_over(others[0]):
            return NotImplemented
        numbers = [other.read() if type(other) is LiftedNumber else other for other in others]
        number = self.read()
        if reflected is not None:
            return reflected(*numbers, number)
        return getattr(number, f"__{name}__")(*numbers) if function is None else function(number, *numbers)

    return method


for _name in ("add sub mul truediv floordiv mod pow divmod lshift rshift and or xor "
              "radd rsub rmul rtruediv rfloordiv rmod rpow rdivmod rlshift rrshift rand ror rxor "
              "lt le gt ge eq ne neg pos abs index invert bool int float hash str repr format round trunc floor ceil"
              ).split():
    setattr(LiftedNumber, f"__{_name}__", _reading(_name))
