"""dispatch: the one door through which every operation on Tensors goes.

    dispatch("mul", x, 2.0)  ->  Tensor(np.multiply(x.array, 2.0)), a Node if x requires grad, a report to the recorder

1. Operands are Tensors of the dtypes and shapes that the op's type rule asks for, or Python numbers, which take the
   dtype of the Tensors beside them. At least one operand is a Tensor, unless the op creates.
2. Floating-point exceptions are silent, whatever np.errstate says.
3. An error is a sentence with the user's line: that of the op's type rule, so recorded and eager runs say the same.
"""
from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any

import numpy as np

from codegen.ir.builder import Builder, Value
from codegen.ir.ops import MOVEMENT, OPS
from codegen.ir.types import TensorType, type_of
from tracegrad.aborts import Abort
from tracegrad.derivatives import NON_DIFFERENTIABLE, VJPS, unbroadcast
from tracegrad.devices import CPU, CUPY, Device, holding, is_gpu_array, may_share_memory, transferred
from tracegrad.dtypes import INEXACT, bfloat16
from tracegrad.float_errors import restore, silence
from tracegrad.hooks import Handle, before, register_after
from tracegrad.outside import pause, resume
from tracegrad.placement import anywhere
from tracegrad.recorder import ACTIVE
from tracegrad.refusals import REFUSALS, failure
from tracegrad.size_numbers import attrs_in_numbers, is_live, is_size, number_in, numbers_in
from tracegrad.source_lines import at_user_line, user_line
from tracegrad.spans import begin, end
from tracegrad.tensors import FOLLOWERS, NoArray, Saved, Tensor

VIEWING = frozenset(name for name, op in OPS.items() if MOVEMENT in op.traits) - {"pad", "unshear"} | {"real", "imag"}
"""Ops whose result can be a view of their operand."""

_REFERENCES = {name: op.reference for name, op in OPS.items()}
_ndarray, _asarray = np.ndarray, np.asarray
next_sequence = itertools.count().__next__

FOLLOWER: ContextVar[Any] = ContextVar("tracegrad_follower", default=None)
"""What defers the operations of the run in progress in this context, if something does; it is one of FOLLOWERS."""


class GradMode(threading.local):
    """Are operations differentiated in this thread? `anomaly`: what is told of each, if anything (see anomaly.py).
    `packing`: what keeps the values that they save, if not they themselves (see packing.py). `forward`: is the walk in
    progress the one that a forward mode is derived from (see func)? `casting`: the dtypes of products under autocast,
    `casts`: the weights that were cast (see mixed_precision).
    """

    enabled, forward = True, False
    anomaly: Any = None
    packing: Any = None
    casting: Any = None
    casts: Any = None


GRAD = GradMode()


class Like:
    """An operand of which backward needs the type only."""

    __slots__ = ("shape", "dtype", "by_columns", "device")

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype, by_columns: bool = False, device: Device = CPU):
        self.shape, self.dtype, self.by_columns, self.device = shape, dtype, by_columns, device


def like(x: Tensor) -> Like:
    """What backward needs of an operand whose values it does not read."""
    held = x.held
    return held.like if isinstance(held, NoArray) else Like(
        x.shape, x.dtype, x.by_columns, holding(held) if CUPY else CPU)


class Node:
    """One differentiated operation: where its result's cotangent goes (`edges`), and what the rules need (saved).

    An edge is the Node that made an operand, or the operand itself if it is a leaf, or None where there is no path.
    `sequence` grows with time, so every node comes after those its edges point to.
    """

    __slots__ = ("op", "attrs", "edges", "operands", "result", "sequence", "hooks", "retained", "__weakref__")

    runs_python = False         # does its backward run code of the user's?

    def __init__(self, op: str, attrs: dict[str, Any], edges: tuple[Node | Tensor | None, ...],
                 operands: tuple[Any, ...] | None, result: Saved | Like | None):
        self.op, self.attrs, self.edges = op, attrs, edges
        self.operands, self.result = operands, result
        self.sequence: float = next_sequence()
        self.hooks: list[Callable[[Tensor], Tensor | None]] | None = None
        self.retained: Any = None           # weakly, the tensor whose grad this cotangent becomes

    def __repr__(self) -> str:
        return f"<{self.op} backward>"

    def name(self) -> str:
        """The operation whose backward it is."""
        return self.op

    @property
    def next_functions(self) -> tuple[tuple[Node | AccumulateGrad | None, int], ...]:
        """Where its gradients go: for each operand a Node, or an AccumulateGrad for a leaf, or None; and which of that
        one's results the operand is."""
        return tuple((AccumulateGrad(e), 0) if isinstance(e, Tensor) else (None, 0) if e is None else e.as_next()
                     for e in self.edges)

    def as_next(self) -> tuple[Node, int]:
        """What stands in `next_functions` for a result of this operation."""
        return self, 0

    def register_prehook(self, hook: Callable[[tuple], Any]) -> Handle:
        """Call hook(gradients of its results) in each backward before this operation; a tuple that it returns takes
        their place."""
        if self.hooks is None:
            self.hooks = []
        called = before(self, hook)
        self.hooks.append(called)
        self.watch()
        return Handle(self.hooks, called)

    def register_hook(self, hook: Callable[[tuple, tuple], Any]) -> Handle:
        """Call hook(gradients of operands, gradients of results) in each backward after this operation; None stands
        where there is none. A tuple that it returns takes the place of the operands' gradients."""
        self.watch()
        return register_after(self, hook)

    @property
    def freed(self) -> bool:
        """Has a backward given up what the rules need?"""
        return self.operands is None

    def pull(self, g: Tensor, needed: set[int] | None) -> Iterator[tuple[int, Tensor]]:
        """(id of edge, cotangent) for each edge whose id is in `needed` (None: each). RuntimeError if it was freed."""
        wanted = [k for k, e in enumerate(self.edges) if e is not None and (needed is None or id(e) in needed)]
        if not wanted:
            return
        if self.operands is None:
            raise RuntimeError(at_user_line(
                f"{self.op}: backward through a graph that was freed: pass retain_graph=True to the first backward"))
        y = self._unpack(self.result, self)
        operands = [self._unpack(o, e) for o, e in zip(self.operands, self.edges)]
        rules, attrs = self.rules(), self.attrs
        for k in wanted:
            rule = rules[k]
            assert rule is not None
            yield id(self.edges[k]), unbroadcast(rule(g, y, *operands, **attrs), operands[k].shape)

    def rules(self) -> tuple[Callable[..., Tensor] | None, ...]:
        """What takes a cotangent of the result to one of each operand."""
        return VJPS[self.op]

    def arrived(self, g: Any) -> tuple[Tensor | None, ...]:
        """What arrives here in a walk, as the gradient of each result."""
        return (g,)

    def arriving(self, gradients: tuple[Tensor | None, ...]) -> Any:
        """Gradients of the results as what arrives here in a walk."""
        return gradients[0]

    def kept(self) -> Iterator[Any]:
        """What it keeps for backward: Saved values, Tensors, arrays, and what stands for such."""
        return (kept for kept in (*(self.operands or ()), self.result) if type(kept) is not Like)

    def watch(self) -> None:
        """Somebody wants to know the cotangent that arrives here."""

    def settle(self) -> None:
        """A walk begins: `edges` and `sequence` are what they are now."""

    def free(self) -> Any:
        """Give up the saved values, which this returns; a node without any stays usable."""
        held = self.operands, self.result
        if self.operands is not None and Saved in map(type, (self.result, *self.operands)):
            self.operands = self.result = None
        return held

    def _unpack(self, saved: Any, edge: Node | Tensor | None) -> Any:
        if type(saved) is not Saved:
            return saved
        tensor = saved.tensor()
        if tensor is not None and (edge is None or tensor.requires_grad):
            return tensor
        if edge is None:
            return saved.restored()
        if isinstance(edge, Tensor):        # a leaf that was overwritten since: its old value, with a path to it
            edge = Node("reshape", {"shape": edge.shape}, (edge,), (Like(edge.shape, edge.dtype),), None)
        restored = saved.restored()
        restored.requires_grad, restored.grad_fn = True, edge
        return restored


class AccumulateGrad:
    """Stands in `next_functions` for a leaf, `variable`, to whose grad the gradient is added."""

    __slots__ = ("variable",)

    next_functions: tuple = ()

    def __init__(self, variable: Tensor):
        self.variable = variable

    def __repr__(self) -> str:
        return f"<AccumulateGrad {type_of(self.variable)}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, AccumulateGrad) and other.variable is self.variable

    def __hash__(self) -> int:
        return hash(self.variable)

    def name(self) -> str:
        return "AccumulateGrad"


class LinedNode(Node):
    """One that knows the user's line it was done at."""

    __slots__ = ("line",)

    def __init__(self, *of_node: Any, line: str | None = None):
        super().__init__(*of_node)
        self.line = line or user_line()


class Transfer(Node):
    """A copy on another device."""

    __slots__ = ()

    def rules(self) -> tuple[Callable[..., Tensor] | None, ...]:
        return lambda g, y, x, device: transfer(g, device),


def transfer(x: Tensor, device: Device, non_blocking: bool = False) -> Tensor:
    """A copy of x on another device, with its history."""
    recorder = ACTIVE.get()
    if recorder is not None and device == CPU:      # what is compiled leaves its results on the GPU
        recorder.abort(Abort.DEVICE, f"{type_of(x)} from {x.device} to {device}")
    elif recorder is not None:
        recorder.works_on(device)
    result = Tensor(transferred(x.array, device, non_blocking))
    if x.requires_grad and GRAD.enabled:
        result.requires_grad = True
        edge = x if x.grad_fn is None else x.grad_fn
        result.grad_fn = Transfer("to", {"device": x.device}, (edge,), (like(x),), None)
    if recorder is not None:
        recorder.record_op("reshape", (x,), {"shape": x.shape}, result)
    return result


def dispatch(op: str, *args: Any, **attrs: Any) -> Tensor:
    """Apply a primitive op. TypeRuleError if its type rule refuses, IndexError for an index out of bounds."""
    recorder = ACTIVE.get()
    if recorder is None:
        return _applied(op, args, attrs)
    if recorder.line is not None:       # the library is at work by itself, and nothing watches that could pause
        return _applied(op, args, attrs, recorder.symbols)
    watch = pause(args)
    try:
        return _applied(op, args, attrs, recorder.symbols)
    finally:
        resume(watch)


def _applied(op: str, args: tuple[Any, ...], attrs: dict[str, Any], symbols: Any = None) -> Tensor:
    """A primitive op, deferred or by its reference, with its history, reported. `symbols`: those of the run."""
    if FOLLOWERS and not CUPY:              # what is deferred is CPU work
        deferred = _deferred(op, args, attrs)
        if deferred is not None:
            return deferred
    errors = silence()
    try:
        if symbols is None:
            operands = [weak(a, args) if not isinstance(a, Tensor) else held if type(held := a.held) is _ndarray
                        else a.array for a in args]
            array = (anywhere(op, _REFERENCES[op]) if CUPY else _REFERENCES[op])(*operands, **attrs)
        else:
            operands = [a.memory if isinstance(a, Tensor) else weak(number_in(a), args) for a in args]
            reference = anywhere(op, _REFERENCES[op]) if CUPY else _REFERENCES[op]
            array = reference(*operands, **attrs_in_numbers(attrs))
    except REFUSALS as error:
        if symbols is not None:
            symbols.give_up(f"{op} is refused")
        raise failure(op, args, attrs, error) from None
    finally:
        restore(errors)
    if type(array) is not _ndarray and not (CUPY and is_gpu_array(array)):
        array = _asarray(array)
    result = Tensor(array)
    if GRAD.anomaly is not None:
        GRAD.anomaly.made(op, args, result)
    if GRAD.enabled:
        for a in args:
            if isinstance(a, Tensor) and a.requires_grad:
                differentiate(op, args, attrs, result)
                break
    if op in VIEWING:
        x, base = args[0], array.base
        is_view = may_share_memory(array, x.memory) if CUPY and is_gpu_array(array) else (
            base is not None and (base is x.memory or base is x.memory.base or op == "shear"))
        if symbols is not None and op == "reshape":         # where NumPy copies if it has to
            symbols.reshaped(x, attrs["shape"], is_view)
        if is_view:
            x.share(result, op, attrs, result.requires_grad == x.requires_grad)
    recorder = ACTIVE.get()
    if recorder is not None:
        recorder.record_op(op, args, attrs, result)
    return result


def _deferred(op: str, args: tuple[Any, ...], attrs: dict[str, Any], fresh: bool = False) -> Tensor | None:
    """The result where the run in progress defers its work, reported; None if it is to be computed now."""
    follower = FOLLOWER.get()
    result: Tensor | None = None if follower is None else follower.defer(op, args, attrs, fresh)
    if result is not None:
        recorder = ACTIVE.get()
        if recorder is not None:
            recorder.record_op(op, args, attrs, result)
    return result


def note_ops(noted: bool) -> None:
    """Let what NumPy does for each operation be a span (see spans), or let it not be one any more."""
    for name, op in OPS.items():
        _REFERENCES[name] = _noted(name, op.reference) if noted else op.reference


def _noted(op: str, reference: Callable[..., Any]) -> Callable[..., Any]:
    def apply(*operands: Any, **attrs: Any) -> Any:
        began = begin()
        array = reference(*operands, **attrs)
        end(began, "op", op)
        return array
    return apply


def view(op: str, x: Tensor, array: np.ndarray, attrs: dict[str, Any]) -> Tensor:
    """`array`, which the caller computed as `op` of x on the memory of x, as a Tensor with its history, reported."""
    result = Tensor(array)
    if x.requires_grad and GRAD.enabled:
        differentiate(op, (x,), attrs, result)
    x.share(result, op, attrs, result.requires_grad == x.requires_grad)
    recorder = ACTIVE.get()
    if recorder is not None:
        recorder.record_op(op, (x,), attrs, result)
    return result


def weak(number: bool | int | float, args: tuple[Any, ...]) -> Any:
    """A number as NumPy takes it beside the Tensors of args: itself; an array beside bfloat16, where it is not weak."""
    beside = next((a for a in reversed(args) if isinstance(a, Tensor)), None)
    number = number_in(number) if is_size(number) and is_live(number) else number       # its recorder knows of that
    return number if beside is None or beside.dtype is not bfloat16 else np.asarray(number, bfloat16)


def owned(op: str, args: tuple[Any, ...], attrs: dict[str, Any], compute: Callable[[], np.ndarray]) -> Tensor:
    """`op` of args in memory of its own; `compute` gives the array."""
    deferred = _deferred(op, args, attrs, True) if FOLLOWERS and not CUPY else None
    return complete(op, args, attrs, Tensor(compute())) if deferred is None else deferred


def complete(op: str, args: tuple[Any, ...], attrs: dict[str, Any], result: Tensor) -> Tensor:
    """`result`, which the caller computed as `op` of args in memory of its own, with its history, reported."""
    if GRAD.enabled and any(isinstance(a, Tensor) and a.requires_grad for a in args):
        differentiate(op, args, attrs, result)
    recorder = ACTIVE.get()
    if recorder is not None:
        recorder.record_op(op, args, attrs, result)
    return result


def differentiate(op: str, args: tuple[Any, ...], attrs: dict[str, Any], result: Tensor) -> None:
    """Give `result`, which is `op` of `args`, its history; nothing if it has none."""
    dtype = result.dtype
    if dtype not in INEXACT:
        return
    rules = VJPS.get(op)
    if rules is None:
        if op in NON_DIFFERENTIABLE:
            return
        raise NotImplementedError(at_user_line(f"{op} has no derivative: derivatives.py has no row for it"))
    recorder = ACTIVE.get()
    if recorder is not None and recorder.symbols is not None:
        recorder.size_result(op, args, attrs, result)
    if CUPY and result.device != CPU:       # a number on the CPU beside it gets its gradient there
        args = tuple([transfer(a, result.device) if isinstance(a, Tensor) and a.requires_grad and a.device == CPU
                      else a for a in args])
    edges: list[Node | Tensor | None] = []
    wanted = 0
    for k, a in enumerate(args):
        if isinstance(a, Tensor) and a.requires_grad and rules[k] is not None:
            edges.append(a if a.grad_fn is None else a.grad_fn)
            wanted |= 1 << k
        else:
            edges.append(None)
    if not wanted:
        return
    kind = dtype.kind                           # rules of complex numbers read more
    used = _USED.get((op, wanted, kind))
    if used is None:
        used = _USED[op, wanted, kind] = used_values(op, wanted, args, attrs, result)
    operands = []
    packing = GRAD.packing
    save = Tensor.save if packing is None else packing.save
    for k, a in enumerate(args):
        if isinstance(a, Tensor):
            operands.append(save(a) if used[k] else like(a))
        else:
            operands.append(a)
    result.requires_grad = True
    make = packing.node if packing is not None else Node if GRAD.anomaly is None else LinedNode
    node = result.grad_fn = make(op, attrs, tuple(edges), tuple(operands), None)
    node.result = save(result) if used[-1] else like(result)


_USED: dict[tuple[str, int, str], tuple[bool, ...]] = {}


def used_values(op: str, wanted: int, args: tuple[Any, ...], attrs: dict[str, Any], result: Tensor) -> tuple[bool, ...]:
    """Which operands, and (last) whether the result, the rules of the wanted operands read the values of.

    The rules themselves say: they are run once, writing a graph, and what its nodes use is what they read.
    """
    b = Builder(op)
    own = _type_in_numbers(result)
    types = [_type_in_numbers(a) if isinstance(a, Tensor) else TensorType(own.dtype) for a in args]
    attrs = attrs_in_numbers(attrs)
    *operands, y, g = [b.input(t) for t in (*types, own, own)]
    outputs: list[Value] = []
    for k, rule in enumerate(VJPS[op]):
        if wanted >> k & 1 and rule is not None:
            outputs.append(rule(g, y, *operands, **attrs))
    graph = b.graph(outputs)
    used = {a for node in graph.nodes for a in node.args} | set(graph.outputs)
    return tuple(v.id in used for v in (*operands, y))


def _type_in_numbers(x: Tensor) -> TensorType:
    return TensorType(type_of(x).dtype, numbers_in(x.shape))
