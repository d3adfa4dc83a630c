"""MadeTensors: what outlives a run of the Tensors that it made, and how each call makes them anew.

    return y, y.T, w[0]       y: Made, on memory of its own    y.T: a copy, or a view of y    w[0]: a view of a leaf
"""
from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from codegen.ir.graph import Graph, Node
from codegen.ir.types import DTYPES, TensorType, type_of
from tracegrad.aborts import Abort, Declined
from tracegrad.devices import CPU, is_writeable
from tracegrad.made import Made, MadeView
from tracegrad.pending import layout_of, may_share_memory
from tracegrad.recorder import Recorder
from tracegrad.results import Read, Rebuild
from tracegrad.step_types import standard
from tracegrad.tensors import Tensor


class MadeTensors:
    """The Tensors that outlive the run, by position: leaves first, then those made by the run as they appear.

    A view of a leaf is made as one again. A view of what the run made becomes a tensor of its own, unless
    `views_of_made`: then what it is a view of is made too.
    """

    def __init__(self, recorder: Recorder, place_of_leaf: dict[int, int], leaves: int, views_of_made: bool):
        self._recorder, self._places, self._leaves = recorder, dict(place_of_leaf), leaves
        self._views_of_made = views_of_made
        self.tensors: list[Tensor] = []         # those with memory of their own
        self.makes: list[Made | MadeView] = []
        self._unmet = set(recorder.floats_given)

    def place(self, tensor: Tensor) -> int:
        """The position of a Tensor that outlives the run; Declined if nothing leads to it."""
        known = self._places.get(id(tensor))
        if known is not None:
            return known
        owner = next((e.grad_of for e in self._recorder.inputs if e.tensor is tensor), None)
        if owner is not None:                   # the grad that this tensor had on entry
            self.makes.append(MadeView(self.place(owner), "grad", {}, False))
            return self._placed(tensor)
        if not self._recorder.made(tensor):
            raise Declined(Abort.UNKNOWN_TENSOR, f"a result {type_of(tensor.array)}")
        if tensor._grad is not None:
            raise Declined(Abort.NOT_RECORDED, "a tensor that the run made has a grad")
        if tensor.hooks:
            raise Declined(Abort.HOOK, f"of {type_of(tensor.array)}, which the run made")
        self.makes.append(self._view(tensor) or self._fresh(tensor))
        return self._placed(tensor)

    def _placed(self, tensor: Tensor) -> int:
        """The position of what was appended last."""
        place = self._places[id(tensor)] = self._leaves + len(self.makes) - 1
        return place

    def returned_float(self, value: Any, place: Callable[[Tensor], int],
                       source: Callable[[Any], Read | None]) -> Rebuild | None:
        """How to make a float that Python read only to return it."""
        given = self._recorder.floats_given.get(id(value)) if type(value) is float else None
        if given is None:
            return None
        self._unmet.discard(id(value))
        k = place(given[1])
        return lambda tensors, args, kwargs: float(tensors[k].array)

    def require_floats(self) -> None:
        """Declined if a float that was read to be returned is not in the result: something else was made of it."""
        for _, tensor, line in (self._recorder.floats_given[k] for k in self._unmet):
            raise Declined(Abort.HOST_READ, f"float of {type_of(tensor.array)}", line)

    def _fresh(self, tensor: Tensor) -> Made:
        self.tensors.append(tensor)
        strides, writeable = layout_of(tensor)
        type = type_of(tensor)
        order = None if strides is None else order_of(type, strides)
        if tensor.device != CPU and order is None:
            strides, writeable = None, True             # there a result without gaps takes the place of any other
        if self._recorder.symbols is not None and (strides is None or order is not None):
            self._recorder.symbols.lay_out(tensor, order or range(type.ndim), self._recorder)
        return Made(type, tensor.requires_grad, tensor.grad_fn is not None, None if order else strides, writeable,
                    order)

    def _view(self, tensor: Tensor) -> MadeView | None:
        """How to make it a view again, if it is one of something that outlives the run."""
        view = tensor.view_of
        parent = None if view is None else view.parent
        if view is None or parent is None or not (self._views_of_made or self._is_of_leaf(parent)):
            return None
        if tensor.requires_grad != (view.tracked and parent.requires_grad):
            return None
        writeable = is_writeable(tensor.array) or not is_writeable(parent.array)
        return MadeView(self.place(parent), view.op, view.attrs, view.tracked, writeable)

    def _is_of_leaf(self, tensor: Tensor | None) -> bool:
        while tensor is not None and self._places.get(id(tensor), self._leaves) >= self._leaves:
            tensor = None if tensor.view_of is None else tensor.view_of.parent
        return tensor is not None


def order_of(type: TensorType, strides: tuple[int, ...]) -> tuple[int, ...] | None:
    """The axes as they lie in memory, the slowest first, if elements with these strides lie without gaps."""
    order = tuple(sorted(range(type.ndim), key=lambda k: -strides[k]))
    like = standard(tuple(type.shape[k] for k in order), DTYPES[type.dtype])
    return order if like == tuple(strides[k] for k in order) else None


def in_memory_order(graph: Graph, orders: Mapping[int, tuple[int, ...]]) -> Graph:
    """The same graph, with the axes of these outputs, by position, as they lie in memory."""
    nodes, outputs = list(graph.nodes), list(graph.outputs)
    for k, axes in orders.items():
        type = TensorType(graph.type_of(outputs[k]).dtype, tuple(graph.type_of(outputs[k]).shape[a] for a in axes))
        nodes.append(Node("transpose", (outputs[k],), (("axes", axes),), type))
        outputs[k] = len(graph.inputs) + len(nodes) - 1
    return Graph(graph.name, graph.inputs, tuple(nodes), tuple(outputs))


def shared_storage(recorder: Recorder, made: list[Tensor], grads: set[int]) -> str | None:
    """The types of a result and of something else that the caller can reach on one memory: it would be a copy."""
    inputs = [e.tensor for e in recorder.inputs if e.frozen is None]
    for k, t in enumerate(made):
        if id(t) in grads:
            continue
        if t.storage is not None and t.storage.foreign:
            return f"{type_of(t)} and an array"
        for other in (*inputs, *(m for m in made[:k] if id(m) not in grads)):
            if may_share_memory(t, other):
                return f"{type_of(t)} and {type_of(other)}"
    return None
