"""Anomaly detection: an error at the line of the operation that made the first NaN.

    with tg.autograd.detect_anomaly():
        y = tg.log(x - 1)           model.py:7: log: f32[3] has NaN in 1 of its 3 elements, and no operand has any
        loss.backward()             train.py:9: backward of sqrt, done at model.py:8: a gradient f32[3] has NaN in 2 ...

1. Forward, an operation is at fault if its result has a NaN and none of its operands: data with NaN may go through.
2. Backward, every gradient is looked at, as in PyTorch: the first that has a NaN is at fault, and the operation that it
   is a gradient of is named with the line where it was done.
3. A traced function is replayed where a path is known. If what the replay leaves behind has a NaN, everything it wrote
   in place is put back and the call runs as plain Python, which raises; nothing is recorded meanwhile. Where Python
   finds no operation at fault, the NaN came with the data, and its result is the call's.
"""
from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from codegen.ir.graph import Graph
from codegen.ir.interpret import interpret
from codegen.ir.ops import CREATION, OPS
from codegen.ir.types import type_of
from tracegrad.dispatch import GRAD, LinedNode, Node
from tracegrad.dtypes import INEXACT, bfloat16
from tracegrad.modes import MODE, Mode
from tracegrad.recorder import ACTIVE
from tracegrad.route_calls import RouteNode
from tracegrad.route_graphs import with_outputs
from tracegrad.source_lines import at_user_line
from tracegrad.tensors import Tensor


class AnomalyError(RuntimeError):
    """An operation made a NaN under detect_anomaly."""


@contextmanager
def detect_anomaly(check_nan: bool = True) -> Iterator[None]:
    """In the body of a `with`, or of a function it decorates, an operation that makes a NaN raises AnomalyError.

    Operations remember the line they are done at, so that one whose backward makes a NaN is named with it; with
    `check_nan=False` that is all. Traced functions keep their replays: a call that meets NaN runs again as plain
    Python, with everything as it was, so that the error comes from the user's line. One that is given ndarrays runs
    under np.errstate(invalid="raise") then. Everything is slower meanwhile.

        >>> x = tg.tensor([1.0, 0.0])
        >>> with tg.autograd.detect_anomaly():
        ...     y = tg.log(x - 1.0)         # doctest: +IGNORE_EXCEPTION_DETAIL
        Traceback (most recent call last):
        AnomalyError: model.py:3: log: f32[2] has NaN in 1 of its 2 elements, and no operand has any
    """
    recorder = ACTIVE.get()
    if recorder is not None:
        recorder.refuse("detect_anomaly inside of a traced function")
    before, GRAD.anomaly = GRAD.anomaly, Detector(check_nan)
    token = MODE.set(Mode.WATCHED if check_nan and MODE.get() is not Mode.EAGER else MODE.get())
    try:
        yield
    finally:
        MODE.reset(token)
        GRAD.anomaly = before


def has_nan(array: np.ndarray) -> bool:
    """Is any element not a number?"""
    return array.dtype in INEXACT and bool(_nans(array).any())


def _nans(array: np.ndarray) -> np.ndarray:
    return np.isnan(array.astype(np.float32) if array.dtype is bfloat16 else array)


def described(array: np.ndarray) -> str:
    """Its type, and how much of it is NaN."""
    return f"{type_of(array)} has NaN in {np.count_nonzero(_nans(array))} of its {array.size} elements"


class Detector:
    """What dispatch and backward report to while anomalies are looked for, in one thread."""

    def __init__(self, check_nan: bool):
        self._check_nan = check_nan

    def made(self, op: str, args: Sequence[Any], result: Tensor) -> None:
        """`op` of `args` gave `result`. AnomalyError if it made a NaN."""
        if self._check_nan and has_nan(result.array) and not any(map(is_nan, args)) and CREATION not in OPS[op].traits:
            raise AnomalyError(at_user_line(f"{op}: {described(result.array)}, and no operand has any"))

    def steps(self, nodes: Sequence[Node]) -> Sequence[Any]:
        """The nodes, as backward is to walk them."""
        return [WatchedStep(node) for node in nodes] if self._check_nan else nodes


def is_nan(operand: Any) -> bool:
    """Is it, or does it have, a NaN?"""
    return has_nan(operand.array) if isinstance(operand, Tensor) else operand != operand


class WatchedStep:
    """One operation seen backward, whose gradients are looked at."""

    __slots__ = ("node",)

    def __init__(self, node: Node):
        self.node = node

    def pull(self, g: Tensor, needed: set[int] | None) -> Iterator[tuple[int, Tensor]]:
        """See Node.pull. AnomalyError for a gradient with a NaN."""
        before, GRAD.anomaly = GRAD.anomaly, None       # the derivative's own operations have no line of the user's
        try:
            found = list(self.node.pull(g, needed))
        finally:
            GRAD.anomaly = before
        for _, gradient in found:
            if isinstance(gradient, Tensor) and has_nan(gradient.array):
                raise AnomalyError(at_user_line(
                    f"backward of {culprit(self.node, g)}: a gradient {described(gradient.array)}"))
        yield from found


def culprit(node: Node, g: Tensor) -> str:
    """The operation whose backward made the NaN, with the line where it was done as far as that is known."""
    if isinstance(node, RouteNode):
        graph, operands = node.derivation(g)
        return first_nan(graph, [t.array for t in operands]) or "a traced function"
    return f"{node.op}, done at {node.line}" if isinstance(node, LinedNode) and node.line else node.op


def first_nan(graph: Graph, inputs: list[np.ndarray]) -> str | None:
    """The operation of a derivative whose value is the first with a NaN that none of its operands has."""
    k = len(graph.inputs)
    values = interpret(with_outputs(graph, range(k, k + len(graph.nodes))), inputs)
    assert isinstance(values, list)
    nan = [*map(has_nan, inputs), *map(has_nan, values)]
    for j, node in enumerate(graph.nodes, k):
        if nan[j] and (not any(nan[a] for a in node.args)):
            return f"what was done at {node.line}, {node.op}" if node.line else node.op
    return None
