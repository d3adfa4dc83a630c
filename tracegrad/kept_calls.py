"""Kept calls: the inputs of the last calls of a traced function, to run one of them again as plain Python.

    f = tg.trace(keep=8)(f);  f(x);  f(y)     kept: copies of x and y, from before the calls
    f.rerun(-1)                               f.eager(copy of y): breakpoints, prints and steps behave as written

1. What is copied: Tensors (leaves with their grad; a result with a history becomes a leaf), arrays, and the tuples,
   lists, dicts and dataclasses they are in. Arguments that share memory share it in the copy. Everything else, Modules
   and other objects included, is kept as it is.
2. The grad mode and the place of the default generator are kept too, so that a run draws what the call drew.
3. Captured state is not kept: a run reads and changes it as it is now.
"""
from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import is_dataclass
from typing import Any, NamedTuple

import numpy as np

from tracegrad import pytrees
from tracegrad.devices import is_gpu_array
from tracegrad.dispatch import GRAD
from tracegrad.generators import default_generator
from tracegrad.modes import eager
from tracegrad.purity.memory import NotOwned, owner
from tracegrad.source_lines import at_user_line
from tracegrad.stand_ins import plain_class
from tracegrad.tensors import Tensor


class KeptCall(NamedTuple):
    """One call as it began."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    grad_enabled: bool
    casting: Any
    generator: np.ndarray


class KeptCalls:
    """The last calls, at most `most`."""

    def __init__(self, most: int):
        self.most = most
        self._calls: deque[KeptCall] = deque(maxlen=most)

    def add(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Keep a call that is about to run."""
        args, kwargs = copied((args, kwargs))
        state = default_generator.get_state().array.copy()
        self._calls.append(KeptCall(args, kwargs, GRAD.enabled, GRAD.casting, state))

    def clear(self) -> None:
        """Forget them all."""
        self._calls.clear()

    def rerun(self, function: Callable[..., Any], index: int) -> Any:
        """Run one of them again, on copies: of those kept number `index`, from the end if negative.

        IndexError if there is no such call.
        """
        try:
            call = self._calls[index]
        except IndexError:
            raise IndexError(at_user_line(
                f"rerun: there is no call {index}: {len(self._calls)} are kept, of at most {self.most}")) from None
        args, kwargs = copied((call.args, call.kwargs))
        before, state = (GRAD.enabled, GRAD.casting), default_generator.get_state()
        GRAD.enabled, GRAD.casting = call.grad_enabled, call.casting
        default_generator.set_state(Tensor(call.generator.copy()))
        try:
            with eager():
                return function(*args, **kwargs)
        finally:
            GRAD.enabled, GRAD.casting = before
            default_generator.set_state(state)


def copied(value: Any) -> Any:
    """A copy of arguments, alike down to what is shared."""
    return _Copies().of(value)


class _Copies:
    """Copies made so far: of objects by id, and of the memory of arrays by the id of its owner."""

    def __init__(self) -> None:
        self._made: dict[int, Any] = {}
        self._memory: dict[int, np.ndarray] = {}

    def of(self, value: Any) -> Any:
        """The copy of a value."""
        if id(value) in self._made:
            return self._made[id(value)]
        if isinstance(value, Tensor):
            made: Any = self._tensor(value)
        elif isinstance(value, np.ndarray):
            made = self._array(value)
        elif type(value) in (list, tuple, dict, OrderedDict) or is_dataclass(value) and not isinstance(value, type) or (
                isinstance(value, tuple) and hasattr(value, "_make")):
            node = pytrees.opened(value)
            assert node is not None
            made = node.make(node.aux, [self.of(child) for child in node.children])
        else:
            return value
        self._made[id(value)] = made
        return made

    def _tensor(self, tensor: Tensor) -> Tensor:
        made = Tensor(self._array(tensor.array), tensor.requires_grad)
        made.__class__ = plain_class(tensor)
        if tensor.storage is not None:
            made.mark_foreign()             # another copy may be written through the same memory
        if tensor._grad is not None:
            made._grad = self.of(tensor._grad)
        return made

    def _array(self, array: np.ndarray) -> np.ndarray:
        """On a copy of the whole memory that it is on, so that other arrays can share it; of a GPU's by itself."""
        if is_gpu_array(array):
            if id(array) not in self._memory:
                self._memory[id(array)] = array.copy()
            return self._memory[id(array)]
        try:
            whole = owner(array)
        except NotOwned:
            return array.copy("K")
        if not array.size or not (whole.flags.c_contiguous or whole.flags.f_contiguous) or array.dtype.hasobject:
            return array.copy("K")
        memory = self._memory.get(id(whole))
        if memory is None:
            memory = self._memory[id(whole)] = whole.copy("K")
        if array is whole:
            return memory
        start = array.__array_interface__["data"][0] - whole.__array_interface__["data"][0]
        made: np.ndarray = np.ndarray(array.shape, array.dtype, memory.ravel("K").view(np.uint8), start, array.strides)
        made.flags.writeable = array.flags.writeable
        return made
