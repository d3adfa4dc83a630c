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

from math import prod
from typing import TYPE_CHECKING

import numpy as np

from tracegrad.recorder import ACTIVE
from tracegrad.stand_ins import StandIns, plain_class, put_class
from tracegrad.tensors import Tensor

if TYPE_CHECKING:
    from tracegrad.symbols import Symbols


def symbols_of_run() -> Symbols | None:
    """Those of the run that is being recorded in this context, if it has any, or of one that this is inside of."""
    recorder = ACTIVE.get()
    return None if recorder is None else recorder.symbols_met


class Sized(Tensor):
    """A Tensor with SizeNumbers in its shape."""

    __slots__ = ()
    __class__ = property(plain_class, put_class)

    @property
    def array(self) -> np.ndarray:
        symbols = symbols_of_run()
        if symbols is not None:
            symbols.look_at(self)
        return self._settled()

    @array.setter
    def array(self, array: np.ndarray) -> None:
        symbols = symbols_of_run()
        if symbols is not None:
            symbols.give_up("an array was put into a tensor")
        self.held = array

    @property
    def memory(self) -> np.ndarray:
        return self._settled()

    @property
    def shape(self) -> tuple[int, ...]:
        symbols = symbols_of_run()
        return self.held.shape if symbols is None else symbols.shape_of(self)

    @property
    def size(self) -> int:
        return prod(self.shape)

    @property
    def nbytes(self) -> int:
        return self.size * self.itemsize


SIZED = StandIns(Sized)


def may_be_sized(tensor: Tensor) -> bool:
    """Can a run give it symbols? It lies in memory as its sizes say, and is in no other run that has given it any."""
    return tensor.memory.flags.c_contiguous and SIZED.of(type(tensor)) is not None
