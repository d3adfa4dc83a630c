"""A run that is recorded, with its work on Tensors deferred: the program that it becomes computes it, not NumPy.

    y = exp(x) * 2; return y.sum()      recorded: nothing is computed;  compiled;  one native call: the sum

1. What is asked for during the run is computed by NumPy, and what cannot be compiled: all is as in a run that computes
   as it goes. So is what the program does not give, but something still holds.
2. Memory that others may write unseen is not copied where no code that is predicted can reach it but by Tensors. From
   where code runs that is not predicted, nothing is deferred; from where the run hands memory out, it is copied.
3. From the end of the Python to that of the work memory that the run writes in place holds what it held before: reading
   the state that the run found is reading it as it is.
4. Whatever comes between, Ctrl-C too: the work is done before the call is over, and no write is done twice.
"""
from __future__ import annotations

import sys
import weakref
from collections import Counter
from collections.abc import Sequence
from contextvars import Token
from typing import Any

import numpy as np

from codegen import DONE
from tracegrad.deferred_work import SMALL, KnownWork, Work, Written
from tracegrad.dispatch import FOLLOWER, GRAD, VIEWING
from tracegrad.follower import ALONE, Follower, Running
from tracegrad.pending import Pending, put_array
from tracegrad.purity.prediction import Prediction
from tracegrad.recorder import Recorder
from tracegrad.replay import Root
from tracegrad.route_calls import RouteNode, kept_tensor, way_of
from tracegrad.steps import Step, op_step
from tracegrad.tensors import FOLLOWERS, Saved, Tensor, View

LARGE = 1 << 18
"""Of a run that meets no Tensor of so many bytes the work is done sooner than deferred."""


class _Once(KnownWork):
    """Work that does not come again."""

    def __init__(self) -> None:
        self.name, self.size, self.root = "recorded", 0, Step()

    def find(self, last: Step, wanted: tuple[int, ...], written: Written, anew: bool) -> Work:
        return Work(last, wanted, written)


class DeferredRun(Follower):
    """What defers the work of one recorded run, once it has begun; as a context: until the call is over."""

    def __init__(self) -> None:
        super().__init__(_Once(), longest=sys.maxsize)
        self._saved: list[weakref.ref[Saved]] = []          # to be copied in the end
        self._whole = self._running         # as long as nothing was computed
        self._parked: list[tuple[Tensor, Pending, np.ndarray]] = []     # what is to be written, by its memory
        self._token: Token[Any] | None = None

    # ---- the Python ---------------------------------------------------------------------------------------------

    def begin(self, prediction: Prediction) -> None:
        """From here on this thread defers its work, if that may be and is worth it."""
        large = any(entry.is_tensor and entry.object.memory.nbytes >= LARGE for entry in prediction.snapshot)
        if not large or GRAD.anomaly is not None:
            return
        arrays = any(issubclass(type(entry.object), (np.ndarray, bytearray)) for entry in prediction.snapshot)
        self.alone_writes = prediction.complete and not (arrays or prediction.hides)
        FOLLOWERS.append(self)
        self._token = FOLLOWER.set(self)

    def defer(self, op: str, args: tuple[Any, ...], attrs: dict[str, Any], fresh: bool = False) -> Tensor | None:
        """See Follower.defer, which this does in one go: no step comes again, so none is looked for, and a run has
        thousands. Indices are known at once: an op that may refuse them asks.
        """
        running = self._running
        waits = carries = False
        for a in args:
            if isinstance(a, Tensor):
                carries = a.requires_grad or carries        # a Selection becomes a Tensor like others
                waits = waits or type(a.held) is Pending or a.dtype.kind not in "iub" or a.memory.nbytes >= SMALL
        if not waits or self._over or GRAD.anomaly is not None:
            return None
        if op in VIEWING and not self._is_inside(running, args[0], fresh):
            return None
        steps = running.steps
        places: list[Any] = []
        operands: list[Step | None] = []
        for a in args:
            if isinstance(a, Tensor):
                held: Any = a.held
                place = (held.step.index if type(held) is Pending and held.segment is running
                         else self._place(running, a))
                places.append(place)
                operands.append(steps[place])
            else:
                places.append((a,))
                operands.append(None)
        step = op_step(running.cursor, op, places, operands, attrs, fresh)
        return None if step.refused else self._deferred(running, step, op, args, attrs, fresh, carries)

    def _step(self, running: Running, op: str, args: tuple[Any, ...], places: list[Any], attrs: dict[str, Any],
              fresh: bool) -> Step:
        """See Follower._step. No step comes again, so none is looked for."""
        return running.new_step(op, args, places, attrs, fresh)

    def _add(self, cursor: Step, key: Any, step: Step) -> Step:
        return step

    def surprised(self) -> None:
        """Code is about to run that nothing is known of: be done before it, and defer no more."""
        if not self._over:
            super().finish()
            self._copy_saved()

    def handed_out(self) -> None:
        """See Follower.handed_out."""
        if FOLLOWER.get() is self:
            self._copy_saved()
            self.alone_writes = False

    def keeps(self, saved: Saved) -> bool:
        """See Follower.keeps."""
        tensor = saved.tensor()
        if not self.alone_writes or FOLLOWER.get() is not self or tensor is None or tensor.storage is None:
            return False
        tensor.saved = weakref.ref(saved)
        tensor.storage.add_saved(tensor.saved)
        self._saved.append(tensor.saved)
        return True

    def _copy_saved(self) -> None:
        saved, self._saved = self._saved, []
        for reference in saved:
            value = reference()
            tensor = None if value is None else value.tensor()
            if value is not None:
                value.keep_copy()
            if tensor is not None and tensor.saved is reference:
                tensor.saved = None         # its memory may come to hold another

    def end(self, computes: bool) -> None:
        """The Python of the run has ended; `computes`: there will be no program."""
        self._leave()
        if computes:
            return self.finish()
        with self._lock:
            for reference, home in self._whole.homes.values():
                target = reference()
                pending = None if target is None else target.held
                if target is not None and type(pending) is Pending:
                    self._parked.append((target, pending, home))
                    put_array(target, home)

    def _leave(self) -> None:
        token, self._token = self._token, None
        if token is not None:
            FOLLOWER.reset(token)

    # ---- the work -----------------------------------------------------------------------------------------------

    def _to_write(self, running: Running) -> list[tuple[Tensor, int, np.ndarray]]:
        parked, self._parked = self._parked, []
        return [(target, pending.step.index, home) for target, pending, home in parked] or super()._to_write(running)

    def finish(self) -> None:
        """See Follower.finish; it may be called again."""
        self._leave()
        try:
            super().finish()
        finally:
            self._copy_saved()
            if self in FOLLOWERS:
                FOLLOWERS.remove(self)

    def __enter__(self) -> DeferredRun:
        return self

    def __exit__(self, *of_error: object) -> None:
        self.finish()

    def replay(self, root: Root, tensors: Sequence[Tensor], recorder: Recorder) -> None:
        """Compute what the run made, `tensors`, by the program of its path, if that gives all that is wanted."""
        if self not in FOLLOWERS:           # it has never begun
            return
        written = set(map(id, recorder.written.values()))
        operands = [e.tensor if e.frozen is None else e.frozen for e in recorder.inputs]
        with self._lock:
            if self._running is not self._whole or self._whole.closed or written != {id(t) for t, *_ in self._parked}:
                return
            inside = recorder.nodes()
            recorder.release()
            views = _Apart([t for t in tensors if type(t.held) is Pending])
            done = False
            try:
                done = self._is_all(tensors, inside) and self._run(root, tensors, operands)
            finally:
                if not done:
                    views.restore()

    def _is_all(self, tensors: Sequence[Tensor], inside: set[int]) -> bool:
        """Does nothing but these, their history `inside` of the run, and what is to be written hold a value that is yet
        to be computed?
        """
        known, holders = set(map(id, tensors)), Counter(pending.step.index for _, pending, _ in self._parked)
        for reference in self._whole.tensors:
            tensor = reference()
            pending = None if tensor is None else tensor.held
            if type(pending) is Pending and pending.array is None:
                if id(tensor) not in known:
                    return False
                holders[pending.step.index] += 1
        tensor = pending = None
        holders.update(_saved_by([t.grad_fn for t in tensors], inside))
        counts = map(sys.getrefcount, self._whole.values)
        return all(n <= ALONE + holders[k] for k, n in enumerate(counts))

    def _run(self, root: Root, tensors: Sequence[Tensor], operands: Sequence[Tensor | np.ndarray]) -> bool:
        """Run the program, and give the Tensors what it gives. Where it leaves at an exit, or is interrupted, all work
        is yet to be done.
        """
        (trace,), (places,) = root.traces, root.places
        edges = tuple(way_of(x) if carries and isinstance(x, Tensor) else None
                      for x, carries in zip(operands, root.carries))
        values = tuple(map(kept_tensor, operands)) if root.keeps else None
        for target, *_ in self._parked:
            target.keep_saved()
        inputs = [x.array if isinstance(x, Tensor) else x for x in operands]
        arrays = (*(a if a.flags.c_contiguous else np.ascontiguousarray(a) for a in inputs),
                  *root.storage())
        before = [(home, home.copy()) for _, _, home in self._parked]
        try:
            if root.executable.run(arrays) == DONE:
                for tensor, m, place in zip(tensors, trace.made, places):
                    pending = tensor.held
                    if type(pending) is Pending:
                        pending.array = m.tensor(arrays[place]).array
                        put_array(tensor, pending.array)
                if trace.route is not None:
                    live = [t for t, m in zip(tensors, trace.made) if m.has_history]
                    trace.attach((edges, values), [arrays[place] for place in places[len(tensors):]], live)
                if all(t.grad_fn is None or type(t.grad_fn) is RouteNode for t in tensors):
                    self._whole.closed = True
                    self._whole.release()
                    self._parked.clear()
        finally:
            if not self._whole.closed:
                for home, were in before:
                    np.copyto(home, were)
        return self._whole.closed


class _Apart:
    """Tensors that were views of others, each on memory of its own; what they are views of is gone, if nobody holds it.
    """

    def __init__(self, tensors: Sequence[Tensor]):
        self._tensors = tensors
        views = [t.view_of for t in tensors]
        self._views = [None if view is None or view.parent is None
                       else (weakref.ref(view.parent), view.op, view.attrs, view.tracked) for view in views]
        self._storages = [t.storage for t in tensors]
        for t in tensors:
            t.view_of = t.storage = None

    def restore(self) -> None:
        """What each was is what it is again."""
        for t, view, storage in zip(self._tensors, self._views, self._storages):
            t.storage = storage
            parent = None if view is None else view[0]()
            if view is not None and parent is not None:
                t.view_of = View(parent, *view[1:])


def _saved_by(nodes: Sequence[Any], inside: set[int]) -> Counter[int]:
    """By the step of a value, how often these operations and those before them have it saved, as far as they are of
    the run.
    """
    found: dict[int, int] = {}
    seen = set[int]()
    todo = [node for node in nodes if node is not None]
    while todo:
        node = todo.pop()
        if id(node) in inside and id(node) not in seen:
            seen.add(id(node))
            todo += (edge for edge in node.edges if edge is not None)
            found |= {id(s): s.held.step.index for s in (node.result, *(node.operands or ()))
                      if type(s) is Saved and type(s.held) is Pending}
    return Counter(found.values())
