"""What a Recorder notes of one run: its operations, what entered it, what Python read; and the graph that it makes."""
from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

import numpy as np

from codegen.ir.graph import Attr, Graph
from codegen.ir.structs import struct
from codegen.ir.types import TensorType
from tracegrad.recomputation import Region

if TYPE_CHECKING:
    from tracegrad.tensors import Tensor

Key = tuple[str, Any]
"""A value of the run: ("input", k), ("op", k), ("number", (text, dtype)); or ("view", (op, key, attrs)) of another,
which is an operation once it is used.
"""


class RecordedOp:
    """One primitive as it happened. `carries`: does eager autograd follow it, and if so by which `node`, weakly?
    `type`: what its type rule says, where that was asked.
    """

    __slots__ = ("op", "args", "attrs", "carries", "line", "node", "type")      # no struct: a run makes thousands

    def __init__(self, op: str, args: tuple[Key, ...], attrs: dict[str, Attr], carries: bool, line: str | None,
                 node: weakref.ref[Any] | None = None, type: TensorType | None = None):
        self.op, self.args, self.attrs, self.carries, self.line = op, args, attrs, carries, line
        self.node, self.type = node, type

    def living(self) -> Any:
        """The node, if there is one and something holds it."""
        return None if self.node is None else self.node()


@struct
class NumberRead:
    """One number that Python was given: after `ops` operations it asked for `what` of a 0-d value and got `number`.

    The number is written as that of a case: see codegen.ir.program.case_number; of a bool it is 0 or 1.
    """

    ops: int
    value: Key
    dtype: str
    number: int
    what: str
    line: str | None

    def in_graph(self, nodes: int, value: int) -> Read:
        """The same in a graph."""
        return Read(nodes, value, self.dtype, self.number, self.what, self.line)


@struct
class Read:
    """A NumberRead in a graph: after `nodes` nodes, `number` was read of `value`."""

    nodes: int
    value: int
    dtype: str
    number: int
    what: str
    line: str | None


@struct
class Input:
    """A Tensor that entered the run: its type and history on entry, and whether it takes part in differentiation.

    `tensor`: None of one that came from nowhere that can be found again, and of one that is
    `frozen`: made during the run from Python numbers, so its values, as they were then, are part of the trace;
    `number`: the route of the lifted argument it is the value of; `grad_of`: it was read as the grad of this Tensor.
    """

    tensor: Any
    type: TensorType
    carries: bool
    history: Any
    frozen: np.ndarray | None = None
    number: str | None = None
    grad_of: Tensor | None = None


@struct
class CallValues:
    """The values of a graph that a call of a custom function is about. None stands for what is not differentiated.

    `saved`: what it saved, each with whether it is differentiated through; if a backward has used that up, None.
    """

    arguments: tuple[int | None, ...]
    outputs: tuple[int | None, ...]
    saved: tuple[tuple[int, bool] | None, ...] | None

    @property
    def ways(self) -> set[int]:
        """Values where gradients of its arguments go, or of what it saved."""
        return {v for v in self.arguments if v is not None} | {s[0] for s in self.saved or () if s is not None and s[1]}


@struct
class RecordedCall:
    """A call of a custom function, by the node that eager autograd has of it; `values`: None if they are not known."""

    node: Any
    values: CallValues | None


@struct
class Recording:
    """A run as a graph, and what Python read of its values on the way. `freed`: values whose history a backward of the
    run has freed; `lost`: by id, operations of eager autograd that lead to a tensor where the graph does not, since the
    run made it or had overwritten it; `regions`: what derivatives compute again; `calls`: those of custom functions
    whose results something may be differentiated through yet.
    """

    graph: Graph
    reads: tuple[Read, ...]
    freed: frozenset[int]
    lost: frozenset[int]
    regions: tuple[Region, ...] = ()
    calls: tuple[RecordedCall, ...] = ()
