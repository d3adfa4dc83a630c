"""Sized: a Tensor in a run that is recorded for all sizes at once (see symbols).

    x: f32[24,64], of which 24 is the symbol b        x.shape == (24, 64), where 24 is a SizeNumber
    y = x * 2                                         f32[b,64] to the recorder; y is Sized, too
    x.array                                           whoever has it may read sizes unseen: b is 24 from here on

1. While the run goes on every Tensor whose type has a symbol in it is Sized, so its sizes are seen wherever they are
   read, by the library as by the user. What takes an array of it where its sizes cannot be seen is a read of them.
2. `memory` is its array for code that looks at what is in it and not at its sizes.
3. To another thread, and after the run, it is a Tensor like any other. One run at a time has symbols for a Tensor.
"""
from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from tracegrad.pending import held
from tracegrad.recorder import ACTIVE
from tracegrad.stand_ins import StandIns, plain_class, put_class
from tracegrad.tensors import Saved, Tensor

if TYPE_CHECKING:
    from tracegrad.symbols import Symbols

_hold = Tensor.__dict__["array"].__set__


def symbols_of_run() -> Symbols | None:
    """Those of the run that is being recorded in this context, if it has any."""
    recorder = ACTIVE.get()
    return None if recorder is None else recorder.symbols


class Sized(Tensor):
    """A Tensor with SizeNumbers in its shape."""

    __slots__ = ()
    __class__ = property(plain_class, put_class)

    @property
    def array(self) -> np.ndarray:
        symbols = symbols_of_run()
        if symbols is not None:
            symbols.look_at(self)
        return held(self)

    @array.setter
    def array(self, array: np.ndarray) -> None:
        symbols = symbols_of_run()
        if symbols is not None:
            symbols.give_up("an array was put into a tensor")
        _hold(self, array)

    @property
    def memory(self) -> np.ndarray:
        return held(self)

    @property
    def shape(self) -> tuple[int, ...]:
        symbols = symbols_of_run()
        return held(self).shape if symbols is None else symbols.shape_of(self)

    @property
    def dtype(self) -> np.dtype:
        return held(self).dtype

    @property
    def ndim(self) -> int:
        return held(self).ndim

    @property
    def size(self) -> int:
        return prod(self.shape)

    @property
    def itemsize(self) -> int:
        return held(self).itemsize

    @property
    def nbytes(self) -> int:
        return self.size * self.itemsize

    @property
    def by_columns(self) -> bool:               # how axes lie in memory is the same whatever the sizes are
        strides = held(self).strides
        return len(strides) > 1 and strides[-2] == self.itemsize < strides[-1]

    def twin(self) -> Tensor:
        return Tensor(held(self))

    def copied(self) -> Tensor:
        return Tensor(held(self).copy("C"))

    def save(self) -> Saved:
        return self._unread(super().save)

    def keep(self) -> Saved:
        return self._unread(super().keep)

    def prepare_write(self) -> None:
        self._unread(super().prepare_write)

    def keep_saved(self) -> None:
        self._unread(super().keep_saved)

    @staticmethod
    def _unread(method: Callable[[], Any]) -> Any:
        """What a method gives that looks at arrays themselves, not at their sizes."""
        symbols = symbols_of_run()
        return method() if symbols is None else symbols.unread(method)


SIZED = StandIns(Sized)


def may_be_sized(tensor: Tensor) -> bool:
    """Can a run give it symbols? It lies in memory as its sizes say, and is in no other run that has given it any."""
    return tensor.array.flags.c_contiguous and SIZED.of(type(tensor)) is not None
