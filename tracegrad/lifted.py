"""LiftedNumber: a number argument of a traced function that a replay takes as an input, not as a constant.

    f(x, 0.1); f(x, 0.2); f(x, 0.3)      the second value records once more with the number lifted, the third replays

It stands in for the argument while the run is recorded. Beside a Tensor it becomes a 0-d Tensor of the dtype that a
Python number takes there. Whatever else Python asks of it (its value, its sign) is a read: it answers with
the plain number, and the value becomes a guard of this path.
"""
from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from tracegrad.tensors import Tensor


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


def _reading(name: str) -> Callable[..., Any]:
    """The special method `name` of the plain number, a read of it; a Tensor on the other side takes over instead."""
    function = getattr(operator, name, None)

    def method(self: LiftedNumber, *others: Any) -> Any:
        if others and isinstance(others[0], Tensor):
            return NotImplemented
        plain = [other.read() if type(other) is LiftedNumber else other for other in others]
        number = self.read()
        return getattr(number, name)(*plain) if function is None else function(number, *plain)

    return method


for _name in ("add sub mul truediv floordiv mod pow lt le gt ge eq ne neg pos abs index invert lshift rshift "
              "and or xor radd rsub rmul rtruediv rfloordiv rmod rpow divmod rdivmod bool int float hash str repr "
              "format round trunc floor ceil").split():
    setattr(LiftedNumber, f"__{_name}__", _reading(f"__{_name}__"))
