"""What a replay finds on entry: where each input of its program comes from, what must hold of the grads it reads."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from codegen.ir.structs import struct
from codegen.ir.types import DTYPES, TensorType
from tracegrad.devices import CUPY, contiguous, may_share_memory
from tracegrad.purity.memory import NotOwned, owner
from tracegrad.size_numbers import Formula
from tracegrad.tensors import Tensor


@struct
class Source:
    """Where an input of the graph is found: a leaf, the grad of one, a number argument, or an array the trace owns."""

    text: str
    leaf: int | None = None
    of_grad: bool = False
    number: int | str | None = None         # position or name of the argument
    array: np.ndarray | None = None
    dtype: np.dtype | None = None           # of a number
    contiguous: bool = False                # guards say that its storage is
    of_sizes: Formula | None = None         # what the array is computed from, of a path for all sizes

    def tensor(self, leaves: Sequence[Tensor]) -> Tensor:
        """The Tensor itself; only for an input with a leaf."""
        assert self.leaf is not None
        found = leaves[self.leaf]
        return found._grad if self.of_grad else found       # type: ignore[return-value]

    def fetch(self, leaves: Sequence[Tensor], args: tuple, kwargs: Mapping[str, Any]) -> np.ndarray:
        """Its storage, made contiguous where it is not."""
        if self.leaf is not None:
            array = self.tensor(leaves).array
            return array if array.flags.c_contiguous else contiguous(array)
        if self.array is not None:
            return self.array
        return np.asarray(self.argument(args, kwargs), self.dtype)

    def argument(self, args: tuple, kwargs: Mapping[str, Any]) -> Any:
        """The argument itself; only for a number."""
        return args[self.number] if isinstance(self.number, int) else kwargs[str(self.number)]


@struct
class GradExpected:
    """The grad that leaf `leaf` has on entry: none, or a Tensor of this type; does it require grad, by a history?"""

    leaf: int
    type: TensorType | None = None
    requires_grad: bool = False
    has_history: bool = False

    def is_met(self, grad: Tensor | None) -> bool:
        """Is it this one?"""
        if grad is None or self.type is None:
            return grad is None and self.type is None
        array = grad.array
        return (array.shape == self.type.shape and array.dtype is DTYPES[self.type.dtype]
                and grad.requires_grad is self.requires_grad
                and (grad.grad_fn is not None) is self.has_history and not grad.hooks)


def own_memory(leaves: Sequence[Tensor], grads: Sequence[Tensor]) -> bool:
    """Has each of the grads memory that no other of these Tensors has?"""
    gpu = CUPY[0].ndarray if CUPY else None

    def whole(array: Any) -> int:
        if type(array) is gpu:
            return id(array.data.mem)
        return id(array if array.base is None else owner(array))

    try:
        owners = {whole(grad.array) for grad in grads}
        return len(owners) == len(grads) and owners.isdisjoint([whole(t.array) for t in leaves])
    except NotOwned:
        others = (*grads, *leaves)
        return not any(may_share_memory(g.array, t.array) for k, g in enumerate(grads) for t in others[k + 1:])
