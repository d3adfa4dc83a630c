"""What is saved for backward, kept in another form until backward asks for it.

    with tg.autograd.saved_tensors_hooks(pack, unpack):         of each value that is saved, what pack(value) returns is
        loss = model(x)                                         kept; backward reads unpack(what was kept)

While a Packing is on in a thread, every operation keeps what it gives instead of the value: see GradMode.packing.
"""
from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol

from tracegrad.dispatch import GRAD, Like, LinedNode, Node
from tracegrad.functional import detach
from tracegrad.modes import MODE, Mode
from tracegrad.recorder import ACTIVE
from tracegrad.source_lines import at_user_line
from tracegrad.tensors import Saved, Tensor


class Packed(Protocol):
    """A value that was saved, in another form."""

    def unpacked(self, g: Tensor | None) -> Tensor:
        """The value, without a history; `g` is a cotangent whose arrival asks for it."""


class Packing(Protocol):
    """What is done with values that are saved."""

    def node(self, *of_node: Any) -> PackedNode:
        """A Node of an operation whose values it keeps."""

    def save(self, t: Tensor) -> Saved | Packed:
        """What is to be kept for it."""


class PackedNode(LinedNode):
    """An operation that keeps values in another form."""

    __slots__ = ("_g",)

    runs_python = True

    def pull(self, g: Tensor, needed: set[int] | None) -> Iterator[tuple[int, Tensor]]:
        """See Node.pull."""
        self._g = g
        try:
            yield from super().pull(g, needed)
        finally:
            del self._g

    def free(self) -> Any:
        """See Node.free."""
        held = self.operands, self.result
        if self.operands is not None and any(hasattr(kept, "unpacked") for kept in self.kept()):
            self.operands = self.result = None
        super().free()
        return held

    def _unpack(self, saved: Any, edge: Node | Tensor | None) -> Any:
        if not hasattr(saved, "unpacked"):
            return super()._unpack(saved, edge)
        return with_history(saved.unpacked(self._g), edge)


def with_history(value: Tensor, edge: Node | Tensor | None) -> Tensor:
    """`value`, whose cotangent goes to `edge`."""
    if edge is None:
        return value
    result = detach(value)
    result.requires_grad, result.grad_fn = True, edge if isinstance(edge, Node) else way_to(edge)
    return result


def way_to(leaf: Tensor) -> Node:
    """A Node that hands what arrives on to a leaf."""
    return Node("reshape", {"shape": leaf.shape}, (leaf,), (Like(leaf.shape, leaf.dtype),), None)


class saved_tensors_hooks:
    """with saved_tensors_hooks(pack, unpack): values that operations save for backward go through these functions.

    `pack(value)` is called when a value is saved, in forward, and may return anything; `unpack` is given that, in
    backward, and returns a Tensor with the value that was packed. No operation in them is differentiated. Traced
    functions run as plain Python meanwhile. Of what is not such a Tensor backward says TypeError or RuntimeError.

        >>> x = tg.tensor([2.0], requires_grad=True)
        >>> with tg.autograd.saved_tensors_hooks(lambda t: t.tolist(), lambda kept: tg.tensor(kept)):
        ...     y = x * x
        >>> y.backward()
        >>> x.grad
        tensor([4.])
    """

    def __init__(self, pack_hook: Callable[[Tensor], Any], unpack_hook: Callable[[Any], Tensor]):
        self._pack, self._unpack = pack_hook, unpack_hook
        self._before: list[tuple[Any, Any]] = []

    def node(self, *of_node: Any) -> PackedNode:
        """See Packing."""
        return PackedNode(*of_node)

    def __enter__(self) -> None:
        recorder = ACTIVE.get()
        if recorder is not None:
            recorder.refuse("saved_tensors_hooks inside of a traced function")
        self._before.append((GRAD.packing, MODE.set(Mode.EAGER)))
        GRAD.packing = self

    def __exit__(self, *exception: object) -> None:
        GRAD.packing, token = self._before.pop()
        MODE.reset(token)

    def save(self, t: Tensor) -> Packed:
        """See Packing."""
        return ByHand(silently(self._pack, detach(t)), self._unpack, t)


def silently(function: Callable[[Any], Any], value: Any) -> Any:
    """function(value), nothing in it differentiated or packed."""
    before = GRAD.enabled, GRAD.packing
    GRAD.enabled, GRAD.packing = False, None
    try:
        return function(value)
    finally:
        GRAD.enabled, GRAD.packing = before


class ByHand:
    """A value that hooks keep."""

    __slots__ = ("kept", "_unpack", "_shape", "_dtype")

    def __init__(self, kept: Any, unpack: Callable[[Any], Tensor], value: Tensor):
        self.kept, self._unpack, self._shape, self._dtype = kept, unpack, value.shape, value.dtype

    def unpacked(self, g: Tensor | None) -> Tensor:
        """See Packed."""
        value = silently(self._unpack, self.kept)
        if not isinstance(value, Tensor) or value.shape != self._shape or value.dtype != self._dtype:
            is_tensor = isinstance(value, Tensor)
            what = f"{list(value.shape)} {value.dtype}" if is_tensor else f"a {type(value).__name__}"
            raise (RuntimeError if is_tensor else TypeError)(at_user_line(
                f"saved_tensors_hooks: unpack returned {what}; what was packed is a Tensor {list(self._shape)} "
                f"{self._dtype}"))
        return value
