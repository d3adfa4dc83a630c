"""Recorder: watches one run. Eager execution reports to the active one and goes on normally whatever it does.

    y = x * 2               record_op("mul", (x, 2), {}, y)          %2 = mul %0, %1
    w -= g                  record_write(w, w - g)                   w is %5 from here on
    w.grad                  read_grad(w)                             the grad w had on entry is an input
    bool(y)                 read_number(y, ...)                      switch %2 {1: ...}: this run is one way of several
    y.numpy()               host_read(y, "numpy")                    the recording is aborted

1. A Tensor that the run did not make is an input, in the order of first use.
2. In-place writes are made functional: a Tensor stands for one value at a time, and a write gives it another.
3. Nothing is refused by raising: an abort is noted, the run goes on eagerly.
4. Nothing that the run made lives longer for being recorded: a weak reference to it dies when it would have died, and
   a finalizer runs when it would have run.
"""
from __future__ import annotations

import weakref
from collections.abc import Container, Sequence
from contextvars import ContextVar
from types import CodeType
from typing import TYPE_CHECKING, Any

import numpy as np

from codegen.ir.graph import Attr, Graph
from codegen.ir.program import SWITCHED, case_number
from codegen.ir.references import literal_text
from codegen.ir.types import FLOATS, type_of
from tracegrad.aborts import Abort, Aborted
from tracegrad.devices import CPU, CUPY, Device, copied
from tracegrad.recorded import Input, Key, NumberRead, RecordedOp, Recording
from tracegrad.recorded_graphs import recording_of
from tracegrad.source_lines import user_line

if TYPE_CHECKING:
    from tracegrad.callbacks import Noted
    from tracegrad.compared import Comparison
    from tracegrad.symbols import Symbols
    from tracegrad.tensors import Saved, Storage, Tensor

ACTIVE: ContextVar[Recorder | None] = ContextVar("tracegrad_recorder", default=None)
"""The recorder of the run in progress in this context."""


class Recorder:
    """Collects what one run does. It watches while it is ACTIVE. `strict`: may nothing leave the graph?
    `symbols`: what its sizes are, if it is to be recorded for all sizes. `selects`: may x[mask] be put off?

    `called_from`: the code that calls the traced function, if numbers that the function returns may be stood for.
    `outside`: the ids of all Tensors that a replay can find again, if that is known; they are kept by others.
    """

    symbols: Symbols | None = None
    selects = True
    outside: Container[int] | None = None
    line: str | None = None             # the user's, while the library is at work by itself

    def __init__(self, strict: bool = False, called_from: CodeType | None = None) -> None:
        self.strict, self.called_from = strict, called_from
        self.device = CPU                                       # a GPU from when a tensor on it was met
        self.ops: list[RecordedOp] = []
        self.inputs: list[Input] = []
        self.reads: list[NumberRead] = []
        self.written: dict[int, Tensor] = {}                   # inputs written in place, by identity
        self.grads_read: dict[int, tuple[Tensor, bool]] = {}   # whose grad on entry was read: was there one?
        self.grads_written: dict[int, Tensor] = {}             # Tensors whose grad was set
        self.floats_given: dict[int, tuple[float, Tensor, str | None]] = {}     # to be returned, by id: of what, where
        self.aborts: list[Aborted] = []
        self.callbacks: list[Noted] = []                       # functions that look inside, in order
        self._fixed: list[bool] = []                           # of the first ops: does it follow from guards alone?
        self._keys: dict[int, tuple[weakref.ref[Tensor | Saved], Key]] = {}    # by id, which others have later on
        self._entered: set[int] = set()                        # the ids of inputs, those that are kept
        self._answered: set[Key] = set()                       # values that Python knows
        self._written_storages: list[Storage] = []             # shared memory that was written
        self._handed_out: list[Storage] = []                    # memory that code that is not seen may write to
        self._postponed: list[weakref.ref[Tensor]] = []        # that have their array yet to be made
        self.checkpointed: list[tuple[int, int, list[Key]]] = []    # operations from, to; what of them was returned
        self._functions: list[weakref.ref[Any]] = []           # calls of custom functions

    @property
    def symbols_met(self) -> Symbols | None:
        """Those that sizes in it can have: its own, or those of a run that it is inside of."""
        return self.symbols

    def works_on(self, device: Device) -> None:
        """The run has come to tensors on a GPU."""
        if self.device not in (CPU, device):
            self.abort(Abort.DEVICE, f"tensors on {self.device} and on {device}")
        self.device = device

    # ---- reports of eager execution -----------------------------------------------------------------------

    def record_op(self, op: str, args: tuple[Any, ...], attrs: dict[str, Attr], result: Tensor) -> None:
        """`result` was made by applying a primitive to Tensors and Python numbers."""
        keys = self._operands(op, args)
        key = self._made(op, keys, attrs, result)
        if result.grad_fn is not None:
            for tensor, k in zip((*args, result), (*keys, key)):
                reference: Any = getattr(tensor, "saved", None)
                saved = None if reference is None else reference()
                if saved is not None:
                    self._keys[id(saved)] = reference, k

    def record_saved(self, tensor: Tensor, saved: Saved) -> None:
        """`saved` is what `tensor` holds now."""
        self._bind(saved, self.key(tensor))

    def record_same(self, saved: Saved, tensor: Tensor) -> None:
        """`tensor` holds what was saved."""
        if self.knows(saved):
            key = self._bind(tensor, self._keys[id(saved)][1])
            if self.symbols is not None:
                self.symbols.stands_for(tensor, key)

    def size_result(self, op: str, args: tuple[Any, ...], attrs: dict[str, Attr], result: Tensor) -> None:
        """`result` is about to be reported: what its sizes are is to be known before its history is."""
        if self.symbols is not None:
            keys = self._operands(op, args)
            self.symbols.made(("op", len(self.ops)), op, keys, attrs, result)

    def will_write(self, target: Tensor) -> None:
        """The memory of `target` is about to be written in place."""

    def record_write(self, target: Tensor, value: Tensor) -> None:
        """`target` was overwritten in place with what `value` holds."""
        self.key(target)
        if id(target) in self._entered:
            self.written.setdefault(id(target), target)
        key = self._bind(target, self.key(value))
        if self.symbols is not None:
            self.symbols.is_at(target, key)
        if target.storage is not None:
            self._written_storages.append(target.storage)

    def hand_out(self, tensor: Tensor) -> None:
        """Code that is not seen may write to the memory of `tensor` from now on: what it holds is no longer known."""
        for member in (tensor, *tensor.aliases()):
            self._keys.pop(id(member), None)
        if tensor.storage is not None:
            self._handed_out.append(tensor.storage)

    def record_view(self, op: str, parent: Tensor, attrs: dict[str, Attr], view: Tensor) -> None:
        """`parent` was written, and with it `view`, which is `op` of it; that is recorded if the run uses the view."""
        self._bind(view, ("view", (op, self.key(parent), attrs)))

    def record_detach(self, source: Tensor, result: Tensor) -> None:
        """`result` is `source` without its history, on the same storage."""
        self._bind(result, self._append(RecordedOp("detach", (self.key(source),), {}, False, user_line()), result))

    def record_function(self, node: Any, outputs: Sequence[Tensor]) -> None:
        """These Tensors are outputs of a custom function, and from here on differentiated as such, by `node`."""
        self._functions.append(weakref.ref(node))
        for y in outputs:
            self._bind(y, self._append(
                RecordedOp("detach", (self.key(y),), {}, True, user_line(), weakref.ref(y.grad_fn)), y))

    def record_checkpoint(self, first: int, results: Sequence[Tensor]) -> None:
        """The operations since the one with this number are done again by derivatives; these are their results."""
        self.checkpointed.append((first, len(self.ops), [self.key(y) for y in results]))

    def record_creation(self, tensor: Tensor, data: Any) -> None:
        """`tensor` was made from Python data."""
        if isinstance(data, bool | int | float | complex | np.generic):
            self._bind(tensor, self._number(data, type_of(tensor.array).dtype))
        elif _is_numbers(data):
            self._enter(tensor, frozen=copied(tensor.array))
        else:
            self.abort(Abort.FOREIGN_ARRAY, f"{type(data).__name__} became {type_of(tensor.array)}")

    def record_copy(self, tensor: Tensor, array: np.ndarray) -> None:
        """`tensor` holds what `array` held at this moment, and nothing else comes to share its memory.

        An array that the function captured is guarded by its contents, and one that it made was made from what is
        guarded, since a read of a Tensor's values is noted: so the values are part of the trace.
        """
        self._enter(tensor, frozen=copied(tensor.array))

    def record_constant(self, tensor: Tensor) -> None:
        """`tensor` was made from values that follow from what is guarded: they are part of the trace."""
        self._enter(tensor, frozen=copied(tensor.array))

    def read_grad(self, tensor: Tensor) -> None:
        """`tensor.grad` is being read."""
        if id(tensor) in self.grads_written or id(tensor) in self.grads_read:
            return
        self.key(tensor)
        if id(tensor) in self._entered:
            grad = tensor._grad
            self.grads_read[id(tensor)] = tensor, grad is not None
            if grad is not None and not self.knows(grad):
                self._enter(grad, grad_of=tensor)

    def write_grad(self, tensor: Tensor, grad: Tensor | None) -> None:
        """`tensor.grad` was set."""
        self.key(tensor)
        if id(tensor) in self._entered:
            self.grads_written[id(tensor)] = tensor

    def enter_number(self, tensor: Tensor, route: str) -> None:
        """`tensor` is the value of a number argument that is lifted."""
        self._enter(tensor, number=route)

    def host_read(self, tensor: Tensor, what: str) -> None:
        """A value left for Python. One that follows from what is guarded is the same on every replay."""
        if not self.is_known(self.key(tensor)):
            self.abort(Abort.HOST_READ, f"{what} of {type_of(tensor.array)}")

    def read_number(self, tensor: Tensor, what: str) -> None:
        """Python is given the one element of `tensor`, as a bool, an int or a float: from here on it knows it."""
        key, array = self.key(tensor), tensor.array
        if self.is_known(key):
            return
        line, dtype = user_line(), type_of(array).dtype
        value: Any = array.reshape(())[()]
        if array.ndim:
            key = self._derived("reshape", (key,), {"shape": ()}, line)
        if what == "bool" and dtype != "bool":
            key = self._derived("ne", (key, self._number(0, dtype)), {}, line)
            value, dtype = np.bool_(value != 0), "bool"
        elif what == "int" and dtype in FLOATS:         # the same questions whatever the value: paths begin alike
            wide = self._derived("cast", (key,), {"dtype": "f64"}, line)
            size = self._derived("abs", (wide,), {}, line)
            small = abs(float(value)) < 2**53           # NaN is not
            fits = self._derived("lt", (size, self._number(2.0**53, "f64")), {}, line)
            self._answer(fits, "bool", int(small), "is below 2**53", line)
            if small:
                key = self._derived("cast", (wide,), {"dtype": "i64"}, line)
                value, dtype = np.int64(int(value)), "i64"
        if dtype == "bool":
            self._answer(key, dtype, int(value), what, line)
        elif dtype in SWITCHED:
            self._answer(key, dtype, case_number(value), what, line)
        else:
            self.abort(Abort.HOST_READ, f"{what} of {type_of(array)}")

    def compare_number(self, tensor: Tensor, number: int | float, comparisons: Sequence[Comparison]) -> bool:
        """Python is given how these comparisons with `number`, the one element of `tensor`, end: is that recorded?"""
        key, dtype = self.key(tensor), type_of(tensor.array).dtype
        if self.is_known(key):
            return True
        if dtype == "u64" or dtype == "i64" and any(one.absolute for one in comparisons):
            return False                # there are numbers that an i64 does not hold
        line, wide = user_line(), "f64" if dtype in FLOATS else "i64"
        if tensor.array.ndim:
            key = self._derived("reshape", (key,), {"shape": ()}, line)
        key = self._derived("cast", (key,), {"dtype": wide}, line)
        for one in comparisons:
            side = self._derived("abs", (key,), {}, line) if one.absolute else key
            answer = self._derived(one.op, (side, self._number(one.other, wide)), {}, line)
            self._answer(answer, "bool", int(one.holds(number)), f"is {one}", line)
        return True

    def refuse(self, what: str) -> None:
        """Eager execution did something that recording cannot follow."""
        self.abort(Abort.VIEW_WRITE if "view" in what else Abort.HOOK if "hook" in what else Abort.NOT_RECORDED, what)

    def abort(self, reason: Abort, detail: str, line: str | None = None) -> None:
        """Note that this run cannot be replayed."""
        self.aborts.append(Aborted(reason, detail, line or user_line()))

    # ---- what the run left behind -------------------------------------------------------------------------

    def postpone(self, tensor: Tensor) -> None:
        """`tensor` has no array yet: whoever asks for one gets it."""
        self._postponed.append(weakref.ref(tensor))

    def settle(self) -> None:
        """The run is over: what can still be reached must have its array."""
        for reference in self._postponed:
            tensor = reference()
            if tensor is not None:
                tensor.array        # noqa: B018 - asking is enough

    def release(self) -> None:
        """All is known of the run: keep nothing of it alive any more."""
        for held in (self.ops, self.inputs, self._keys, self._entered, self.written, self.grads_read,
                     self.grads_written, self.floats_given):
            held.clear()

    def same_value(self, a: Key, b: Key, depth: int = 6) -> bool:
        """Are two values the same input, or the same operation of the same values?"""
        if a == b or depth == 0 or a[0] != "op" or b[0] != "op":
            return a == b
        x, y = self.ops[a[1]], self.ops[b[1]]
        return x.op == y.op and x.attrs == y.attrs and len(x.args) == len(y.args) and all(
            self.same_value(j, k, depth - 1) for j, k in zip(x.args, y.args))

    def knows(self, tensor: Tensor | Saved) -> bool:
        """Did the run make or use `tensor`?"""
        entry = self._keys.get(id(tensor))
        return entry is not None and entry[0]() is tensor

    def key_of(self, saved: Saved) -> Key:
        """The value that was saved, which the run `knows`."""
        return self._keys[id(saved)][1]

    def made(self, tensor: Tensor) -> bool:
        """Did the run make `tensor`?"""
        return self.knows(tensor) and id(tensor) not in self._entered

    def key(self, tensor: Tensor) -> Key:
        """The value `tensor` stands for now; a Tensor not seen before becomes an input."""
        entry = self._keys.get(id(tensor))
        if entry is None or entry[0]() is not tensor:
            return self._enter(tensor)
        key = entry[1]
        if key[0] == "view":
            op, parent, attrs = key[1]
            return self._made(op, (parent,), attrs, tensor)
        return key

    def index_of(self, tensor: Tensor) -> int:
        """The number of the input that `tensor` is; ValueError if it is none."""
        for k, entry in enumerate(self.inputs):
            if entry.tensor is tensor:
                return k
        raise ValueError("not an input")

    def routes(self) -> dict[int, str]:
        """Of lifted arguments, by the ids of the Tensors that they are in the run."""
        return {id(entry.tensor): entry.number for entry in self.inputs if entry.number is not None}

    def hooked(self) -> set[int]:
        """The ids of the operations whose results have hooks or keep grads, and that may be differentiated yet."""
        nodes = (recorded.living() for recorded in self.ops)
        return {id(n) for n in nodes if n is not None and (n.hooks or n.retained) and not n.freed}

    def nodes(self) -> set[int]:
        """The ids of the operations of eager autograd that the run made."""
        found = {id(node) for recorded in self.ops if (node := recorded.living()) is not None}
        return found | set(map(id, self.called()))

    def called(self) -> list[Any]:
        """The calls of custom functions whose results something may be differentiated through yet, as nodes."""
        return [node for r in self._functions if (node := r()) is not None]

    def graph(self, name: str, outputs: list[Tensor]) -> Graph:
        """The run as a Graph whose outputs are the values these Tensors stand for now."""
        return self.recording(name, outputs).graph

    def recording(self, name: str, outputs: list[Tensor], sizes: Symbols | None = None) -> Recording:
        """The graph, what was read, and what is known of its derivatives: see `recorded_graphs`."""
        return recording_of(self, name, outputs, sizes)

    def is_fixed(self, key: Key) -> bool:
        """Does a value follow from numbers and constants of the run, and from no input?"""
        kind, at = key
        if kind != "op":
            return kind in ("number", "size") or self.inputs[at].frozen is not None
        for recorded in self.ops[len(self._fixed):at + 1]:
            self._fixed.append(all(map(self.is_fixed, recorded.args)))
        return self._fixed[at]

    # ---- inside -------------------------------------------------------------------------------------------

    def _operands(self, op: str, args: tuple[Any, ...]) -> tuple[Key, ...]:
        keys: list[Key] = []
        for a in args:
            entry = self._keys.get(id(a))
            if entry is not None and entry[0]() is a and entry[1][0] != "view":     # as `key` says
                keys.append(entry[1])
            else:
                keys.append(self.key(a) if hasattr(a, "requires_grad") else self._number(a, _dtype_beside(op, args)))
        return tuple(keys)

    def _made(self, op: str, keys: tuple[Key, ...], attrs: dict[str, Attr], result: Tensor) -> Key:
        grad_fn, held = result.grad_fn, result.held
        node = None if grad_fn is None else weakref.ref(grad_fn)
        type = getattr(held, "type", None)          # of what is yet to be computed
        key = "op", len(self.ops)
        self.ops.append(RecordedOp(op, keys, attrs, result.requires_grad, self.line or user_line(), node, type))
        if self.symbols is not None:
            self.symbols.made(key, op, keys, attrs, result)
        self._keys[id(result)] = weakref.ref(result), key
        return key

    def _derived(self, op: str, args: tuple[Key, ...], attrs: dict[str, Attr], line: str | None) -> Key:
        """A value that only a read needs, which eager execution did not compute."""
        return self._append(RecordedOp(op, args, attrs, False, line), None)

    def _answer(self, key: Key, dtype: str, number: int, what: str, line: str | None) -> None:
        if key not in self._answered:
            self._answered.add(key)
            self.reads.append(NumberRead(len(self.ops), key, dtype, number, what, line))

    def is_known(self, key: Key) -> bool:
        """Does a value that is read follow from what is guarded? One that follows from sizes does at these alone."""
        is_known = self.is_fixed(key)
        if is_known and self.symbols is not None and self.symbols.lead_to(key):
            self.symbols.give_up("Python reads a value that follows from sizes")
        return is_known

    def _append(self, recorded: RecordedOp, result: Tensor | None) -> Key:
        self.ops.append(recorded)
        key = "op", len(self.ops) - 1
        if self.symbols is not None:
            self.symbols.made(key, recorded.op, recorded.args, recorded.attrs, result)
        return key

    def _enter(self, tensor: Tensor, **how: Any) -> Key:
        key = "input", len(self.inputs)
        if CUPY and tensor.device != CPU:
            self.works_on(tensor.device)
        type = type_of(tensor) if self.symbols is None else self.symbols.entered(key, tensor, how.get("grad_of"))
        is_kept = "frozen" not in how and (how or self.outside is None or id(tensor) in self.outside)
        self.inputs.append(Input(tensor if is_kept else None, type, tensor.requires_grad, tensor.grad_fn, **how))
        if is_kept:
            self._entered.add(id(tensor))
        if any(tensor.storage is storage for storage in self._written_storages):
            self.abort(Abort.VIEW_WRITE, f"{type_of(tensor)} shares memory that the run has written")
        if any(tensor.storage is storage for storage in self._handed_out):
            self.abort(Abort.NOT_RECORDED, f"{type_of(tensor)} is used after its memory was handed out")
        return self._bind(tensor, key)

    def _number(self, number: Any, dtype: str) -> Key:
        if self.symbols is not None and (key := self.symbols.operand(number, dtype)) is not None:
            return key
        try:
            return "number", (literal_text(number, dtype), dtype)
        except OverflowError:               # eager comparisons take any number
            self.abort(Abort.NOT_RECORDED, f"{number} beside {dtype}, which cannot hold it")
            return "number", (literal_text(0, dtype), dtype)

    def _bind(self, tensor: Tensor | Saved, key: Key) -> Key:
        self._keys[id(tensor)] = weakref.ref(tensor), key
        return key


def _dtype_beside(op: str, args: tuple[Any, ...]) -> str:
    """A Python number takes the dtype of the Tensors beside it; the condition of `where` has no say."""
    for a in reversed(args[1:] if op == "where" else args):
        if hasattr(a, "requires_grad"):
            return type_of(a).dtype
    raise TypeError(f"{op}: no operand is a Tensor")


def _is_numbers(data: Any) -> bool:
    if isinstance(data, list | tuple):
        return all(map(_is_numbers, data))
    return isinstance(data, bool | int | float | complex | np.generic)


def not_replayed(why: Abort, what: str) -> None:
    """What this thread does next no replay would do: a run that is being recorded is not replayed."""
    recorder = ACTIVE.get()
    if recorder is not None:
        recorder.abort(why, what)
