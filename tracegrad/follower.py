"""Follower: runs along with the Python of one call and puts off the work on tensors until somebody looks.

    y = x * 2          defer("mul", (x, 2), {})       y is Deferred, the cursor moves on in the known segments
    p -= lr * y        overwrite(p, p - lr * y)       so is p: its memory is written with the rest
    print(y)           y.array                        the segment is computed: by NumPy the first time, then natively

1. What is seen is what eager execution shows: a value is computed before it is looked at, memory is read before anyone
   writes to it, an op that may refuse its values is computed at its line.
2. What enters a segment is read when it is computed; memory that others may write unseen is copied.
3. A view of an array that exists is made at once; one of what is pending shares its memory as soon as there is one.
4. Another thread that asks for a pending array computes the segment; the one that defers notices, and begins another.
"""
from __future__ import annotations

import sys
import threading
import weakref
from collections import Counter
from typing import Any

import numpy as np

from codegen.ir.ops import OPS
from tracegrad.deferred_work import KnownWork
from tracegrad.devices import may_share_memory
from tracegrad.dispatch import GRAD, VIEWING, differentiate
from tracegrad.pending import Pending, defer, put_array, put_pending
from tracegrad.source_lines import user_line
from tracegrad.spans import begin, end
from tracegrad.steps import CAN_REFUSE, Step, input_step, op_step, with_family
from tracegrad.tensors import Saved, Tensor

LONGEST = 400
"""A segment of this many steps is computed though nobody looks: the time to compile one grows with it."""

ALONE = next(map(sys.getrefcount, [object()]))
"""What map(getrefcount, list) says of something that the list alone holds."""

class Running:
    """The segment in progress: its values, what entered it, what it will write."""

    def __init__(self, follower: Follower):
        self.follower = follower
        self.cursor = follower.known.begin()
        self.steps: list[Step] = []                     # up to the cursor
        self.values: list[Pending] = []                 # of each
        self.inputs: list[np.ndarray] = []
        self.tensors: list[weakref.ref[Tensor]] = []    # that hold a value of it
        self.places: dict[int, tuple[np.ndarray, int]] = {}     # what entered, by id: its array, and its step
        self.homes: dict[int, tuple[weakref.ref[Tensor], np.ndarray]] = {}     # what is written, by id: its memory
        self.closed = False                             # is it computed, or being so?
        self.error: BaseException | None = None         # why it could not be

    def compute(self) -> None:
        self.follower.compute(self)

    def release(self) -> None:
        """Keep no array alive any more: values of it may be held for long."""
        self.values, self.inputs, self.tensors, self.places, self.homes = [], [], [], {}, {}

    def copy(self, tensor: Tensor) -> Tensor:
        """A copy of a value of this segment."""
        made = self.follower.defer("reshape", (tensor,), {"shape": tensor.shape}, True)
        return Tensor(tensor.array.copy("C")) if made is None else made

    def new_step(self, op: str, args: tuple[Any, ...], places: list[Any], attrs: dict[str, Any], fresh: bool) -> Step:
        """A step after the cursor. `places`: those of steps, and anything for a number."""
        steps = self.steps
        operands = [steps[place] if type(place) is int else None for place in places]
        if None in operands:
            places = [place if type(place) is int else (a,) for place, a in zip(places, args)]
        return op_step(self.cursor, op, places, operands, attrs, fresh)

    def is_written(self, tensor: Tensor) -> bool:
        """Is it a Tensor with memory of its own, to be written with this segment?"""
        entry = self.homes.get(id(tensor))
        return entry is not None and entry[0]() is tensor

    def alone(self, tensor: Tensor) -> bool:
        """Has it its memory to itself?"""
        storage = tensor.storage
        return storage is None or not storage.exported and all(member is tensor for member in storage.members())

    def reads(self, tensor: Tensor) -> bool:
        """Will it read memory that `tensor` is on?"""
        array = tensor.memory
        entered = [*self.places.values()]               # at once: another thread may be deferring
        return any(may_share_memory(one, array) for one, _ in entered)


class Follower:
    """Defers the operations of one call. `alone_writes`: is it sure to be asked before anyone writes to memory?
    keeps: are its steps kept for other calls?
    """

    alone_writes = False

    def __init__(self, known: KnownWork, longest: int = LONGEST, keeps: bool = True):
        self.known, self._longest, self._keeps = known, longest, keeps
        self._new_steps = self._interprets = False
        self._running = Running(self)
        self._over = False
        self._lock = threading.RLock()

    @property
    def met_new(self) -> bool:
        """Did it meet steps that were not known at these sizes, and work that was not compiled at others either?"""
        return self._new_steps and self._interprets

    # ---- operations ---------------------------------------------------------------------------------------------

    def defer(self, op: str, args: tuple[Any, ...], attrs: dict[str, Any], fresh: bool = False) -> Tensor | None:
        """`op` of args, deferred; None if it is to be computed now. fresh: in memory of its own, not a view."""
        running = self._running
        if self._over or GRAD.anomaly is not None:
            return None
        if op in VIEWING and not self._is_inside(running, args[0], fresh):
            return None                                 # a view of an array costs nothing and shares its memory
        places: list[Any] = []
        for a in args:
            if isinstance(a, Tensor):
                pending: Any = a.held
                known = type(pending) is Pending and pending.segment is running
                places.append(pending.step.index if known else self._place(running, a))
            else:
                places.append((a if a == a and a else repr(a),))
        step = self._step(running, op, args, places, attrs, fresh)
        if step.refused:
            return None
        carries = any(isinstance(a, Tensor) and a.requires_grad for a in args)
        return self._deferred(running, step, op, args, attrs, fresh, carries)

    def _is_inside(self, running: Running, x: Tensor, fresh: bool) -> bool:
        """Is a view of x one of a value of this segment?"""
        held: Any = x.held
        return type(held) is Pending and held.segment is running and (fresh or id(x) not in running.homes)

    def _deferred(self, running: Running, step: Step, op: str, args: tuple[Any, ...], attrs: dict[str, Any],
                  fresh: bool, carries: bool) -> Tensor | None:
        """The result of the op by this step; is it differentiated, if anything is now?"""
        pending = self._advance(running, step)
        if running.closed:                              # another thread has computed it meanwhile
            with self._lock:
                if pending.array is None:
                    return self.defer(op, args, attrs, fresh)
        result = defer(pending)
        if carries and GRAD.enabled:
            differentiate(op, args, attrs, result)
        if step.base != step.index:
            x = args[0]
            x.share(result, op, attrs, result.requires_grad == x.requires_grad)
        if op in CAN_REFUSE and not accepts(args[0], args[1], attrs["axis"]) or step.index > self._longest:
            self.compute(running)
        return result

    def _advance(self, running: Running, step: Step) -> Pending:
        pending = Pending(running, step)
        running.steps.append(step)
        running.values.append(pending)
        running.cursor = step
        return pending

    def _step(self, running: Running, op: str, args: tuple[Any, ...], places: list[Any], attrs: dict[str, Any],
              fresh: bool) -> Step:
        """The step after the cursor, known or new."""
        step = running.cursor.after.get((op, fresh, *places, *attrs.items()))
        if step is None:
            if tuple in map(type, places):
                self._lift(running, op, args, places, attrs)
            cursor, key = running.cursor, (op, fresh, *places, *attrs.items())
            step = cursor.after.get(key)
            if step is None:
                step = self._add(cursor, key, running.new_step(op, args, places, attrs, fresh))
        return step

    def _add(self, cursor: Step, key: Any, step: Step) -> Step:
        """A step that was not known at these sizes."""
        self._new_steps = True
        if not step.refused:
            with_family(step, user_line)
            if not step.family.is_known:
                step.family.is_known = True
                self.known.families += 1
        step.keep()
        if not self._keeps:
            return step
        self.known.size += 1
        return cursor.after.setdefault(key, step)

    def _lift(self, running: Running, op: str, args: tuple[Any, ...], places: list[Any], attrs: dict[str, Any]) -> None:
        """Make numbers inputs where other numbers have been before: they change from call to call."""
        kind = (op, *(a if type(a) is int else "number" for a in places), *attrs)
        numbers = tuple([a for a in places if type(a) is not int])
        if running.cursor.family.numbers.setdefault(kind, numbers) == numbers:
            return
        beside = next(a.dtype for a in reversed(args[1:] if op == "where" else args) if isinstance(a, Tensor))
        try:
            arrays = {k: np.asarray(a, beside) for k, a in enumerate(args) if not isinstance(a, Tensor)}
        except OverflowError:                           # the step will refuse it
            return
        for k, array in arrays.items():
            places[k] = self._enter(running, array)

    # ---- what enters --------------------------------------------------------------------------------------------

    def _place(self, running: Running, tensor: Tensor) -> int:
        """The step of a Tensor that is not of this segment."""
        array = tensor.array
        entry = running.places.get(id(tensor))
        if entry is not None and entry[0] is array:
            return entry[1]
        storage = tensor.storage
        if storage is not None:
            if storage.exported and not self.alone_writes:
                return self._enter(running, array.copy())
            place = self._view(running, tensor)
        else:
            place = None
        if place is None:
            place = self._enter(running, array)
        running.places[id(tensor)] = array, place
        return place

    def _view(self, running: Running, tensor: Tensor) -> int | None:
        """The step of a view that does not lie in order, as a view of what does; None if it is none."""
        view = tensor.view_of
        parent = None if view is None else view.parent
        if view is None or parent is None or parent.storage is not tensor.storage or tensor.array.flags.c_contiguous:
            return None
        place = self._place(running, parent)
        if view.op == "detach":
            return place
        step = self._step(running, view.op, (parent,), [place], view.attrs, False)
        return None if step.refused else self._advance(running, step).step.index

    def _enter(self, running: Running, array: np.ndarray) -> int:
        """The step by which an array enters."""
        cursor, key = running.cursor, ("input", array.dtype, array.shape, array.strides)
        step = cursor.after.get(key)
        if step is None:
            step = self._add(cursor, key, input_step(cursor, array))
        running.inputs.append(array)
        return self._advance(running, step).step.index

    # ---- writes in place ----------------------------------------------------------------------------------------

    def handed_out(self) -> None:
        """This thread is about to have memory that it may write to unseen."""

    def keeps(self, saved: Saved) -> bool:
        """Will it see to it that a value stays as it is, which was saved in memory that others may write unseen?"""
        return False

    def before_write(self, tensor: Tensor) -> None:
        """The memory of `tensor` is about to change."""
        running = self._running
        if running.places and running.reads(tensor):
            self.compute(running)

    def overwrite(self, target: Tensor, value: Tensor) -> bool:
        """Let `target` have the pending `value`, of its type; False if that is to be written now.

        It is deferred for a Tensor that has its memory to itself; the memory is written with the segment.
        """
        running, new = self._running, value.held
        if type(new) is not Pending or new.segment is not running or self._over or not running.alone(target):
            return False
        settled: Any = target.held
        if type(settled) is Pending and settled.segment is not running:
            settled = target.array
        is_pending = type(settled) is Pending
        if not is_pending:
            if not (settled.flags.c_contiguous and settled.flags.writeable):
                return False
            target.keep_saved()
        with self._lock:
            if is_pending:
                target.saved = None                     # what was saved is the Pending that it held
                if not running.is_written(target):      # it is to have memory of its own, not that of the value
                    copied = self.defer("reshape", (value,), {"shape": value.shape}, True)
                    new = None if copied is None else copied.held
            if running.closed or type(new) is not Pending or new.segment is not running:    # by another thread
                return False
            if not is_pending:
                running.homes[id(target)] = weakref.ref(target), settled
            put_pending(target, new)
            return True

    # ---- looks --------------------------------------------------------------------------------------------------

    def compute(self, running: Running) -> None:
        """Compute the values of a segment that something still holds, and write what it is to write."""
        with self._lock:
            if running.closed:
                if running.error is not None:
                    raise running.error
                return
            running.closed = True
            if self._running is running:
                self._running = Running(self)
            try:
                self._compute(running)
            except BaseException as error:
                running.error = error
                raise
            finally:
                running.release()

    def finish(self) -> None:
        """The call is over: what can still be reached gets its array."""
        self.compute(self._running)
        self._over = True

    def _compute(self, running: Running) -> None:
        targets = self._to_write(running)
        written = tuple((k, self._home(running, target, home)) for target, k, home in targets)
        by_targets = Counter(k for target, k, _ in targets if type(target.held) is Pending)
        values, last = running.values, running.cursor
        wanted = [k for k, n in zip(range(last.index + 1), map(sys.getrefcount, values)) if n > ALONE + by_targets[k]]
        if wanted or written:
            bases = tuple(sorted({values[k].step.base for k in wanted}))
            work = self.known.find(last, bases, written, self._keeps)
            homes = [home for *_, home in targets]
            inputs = running.inputs[:last.entered]
            began, by = begin(), "native code"
            arrays, interruption = work.run(inputs, homes)
            if arrays is not None:
                self._hand_over(running, wanted, arrays, targets)
            else:
                arrays, by, self._interprets = {}, "NumPy", True
                try:
                    work.interpret(inputs, arrays)
                finally:                                    # what comes before an error has happened
                    for home, (k, _) in zip(homes, written):
                        if k in arrays:
                            np.copyto(home, arrays[k])
                    self._hand_over(running, wanted, arrays, targets)
            end(began, "segment", self.known.name, by=by, operations=work.path[-1].computing)
            if interruption is not None:
                raise interruption

    def _to_write(self, running: Running) -> list[tuple[Tensor, int, np.ndarray]]:
        """What is to be written: for whom, the step of its value, to which memory."""
        return [(target, target.held.step.index, home) for reference, home in running.homes.values()
                if (target := reference()) is not None and type(target.held) is Pending]

    @staticmethod
    def _hand_over(running: Running, wanted: list[int], arrays: dict[int, np.ndarray],
                   targets: list[tuple[Tensor, int, np.ndarray]]) -> None:
        """Give Tensors their arrays."""
        for k in wanted:
            deliver(running.values, k, arrays)
        for target, k, home in targets:
            if running.values[k].array is None:         # another thread may have taken it from the Tensor meanwhile
                running.values[k].array = home
            put_array(target, home)
        for reference in running.tensors:
            tensor = reference()
            if tensor is not None:
                pending: Any = tensor.held
                if type(pending) is Pending and pending.array is not None:
                    put_array(tensor, pending.array)

    @staticmethod
    def _home(running: Running, target: Tensor, home: np.ndarray) -> int | None:
        """Where the memory that is to be written entered, if it did."""
        entry = running.places.get(id(target))
        return entry[1] if entry is not None and entry[0] is home else None


def deliver(values: list[Pending], k: int, arrays: dict[int, np.ndarray]) -> np.ndarray | None:
    """Value k as an array, a view if that is what it is of another value; None if an error came before it."""
    pending = values[k]
    step = pending.step
    if pending.array is None:
        if step.base == k:
            pending.array = arrays.get(k)
        else:
            whole = deliver(values, step.args[0], arrays)
            pending.array = None if whole is None else OPS[step.op].reference(whole, **step.attrs)
    return pending.array


def accepts(x: Tensor, indices: Tensor, axis: int) -> bool:
    """Is it known that all indices are in bounds?"""
    array: Any = indices.held
    if type(array) is Pending:
        return False
    once = array[tuple(slice(1) if stride == 0 else slice(None) for stride in array.strides)]
    return once.size == 0 or 0 <= once.min() and once.max() < x.shape[axis]
