"""LiftedNumber: a number argument of a traced function that a replay takes as an input, not as a constant.

    f(x, 0.1); f(x, 0.2); f(x, 0.3)      the second value records once more with the number lifted, the third replays

It stands in for the argument while the run is recorded. Beside a Tensor it becomes a 0-d Tensor of the Tensor's dtype, which
is what a Python number means there. Whatever else Python asks of it (its value, its sign, its class) is a read:
it answers with the plain number and the value becomes a guard of this path.
"""
from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from tracegrad.tensors import Tensor


class LiftedNumber:
    """A float or int argument. `read` is told when Python needs the number itself."""

    __slots__ = ("tensor", "_value", "_on_read")

    def __init__(self, value: int | float, tensor: Tensor, on_read: Callable[[], None]):
        self.tensor, self._value, self._on_read = tensor, value, on_read

    def read(self) -> int | float:
        """The plain number, which this path now depends on."""
        self._on_read()
        return self._value

    @property
    def kind(self) -> type:
        """float or int: known without a read, since the class of a lifted argument is a guard anyway."""
        return type(self._value)

    @property
    def __class__(self):                                        # isinstance(number, float) is a read
        return type(self.read())

    def __getattr__(self, name: str) -> Any:
        return getattr(self.read(), name)


def _reading(name: str) -> Callable[..., Any]:
    function = getattr(operator, name, None)

    def unary_or_binary(self: LiftedNumber, *others: Any) -> Any:
        if others and isinstance(others[0], Tensor):
            return NotImplemented                               # the Tensor's own operator takes it from here
        others = tuple(o.read() if type(o) is LiftedNumber else o for o in others)
        if function is not None:
            return function(self.read(), *others)
        return getattr(self.read(), name)(*others)

    unary_or_binary.__name__ = name
    return unary_or_binary


for _name in ("add sub mul truediv floordiv mod pow lt le gt ge eq ne neg pos abs index invert lshift rshift and or xor").split():
    setattr(LiftedNumber, f"__{_name}__", _reading(f"__{_name}__"))
for _name in ("radd rsub rmul rtruediv rfloordiv rmod rpow divmod rdivmod bool int float complex hash str repr format round "
              "trunc floor ceil").split():
    setattr(LiftedNumber, f"__{_name}__", _reading(f"__{_name}__"))
