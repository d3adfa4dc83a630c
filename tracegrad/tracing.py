"""trace: the same function, fast. A run is recorded as it happens and replayed where it would have gone the same way.

    f(x) ─┬─ a known path's guards hold ──► replay
          └─ else record: run the Python eagerly, watched ──► a new path, or an abort and the eager result
"""
from __future__ import annotations

import copy
import functools
import threading
import time
import types
import warnings
from collections.abc import Callable, Sequence
from typing import Any, ParamSpec, TypeVar, overload

import numpy as np

from codegen import TARGETS
from tracegrad.aborts import Abort, Aborted, NotCompiled
from tracegrad.audits import Audit, AuditFailed, audit, quarantine
from tracegrad.callbacks import made_before
from tracegrad.compiling import Backwards, Compiling
from tracegrad.deferred_runs import DeferredRun
from tracegrad.explanation import Explanation, explain
from tracegrad.fallbacks import report_fallback, warn, warn_of_memory
from tracegrad.follow import Follow, may_follow
from tracegrad.grafting import Departure, Grafted, without
from tracegrad.kept_calls import KeptCalls
from tracegrad.lifted import NumberArguments
from tracegrad.limits import Limits
from tracegrad.misses import last_missed
from tracegrad.modes import MODE, Mode
from tracegrad.native_call import Called, install
from tracegrad.noted_calls import noted_call, run_eagerly
from tracegrad.numpy_front.boundary import Adopted, NotAdopted, adopt, is_of_arrays, reason_not_to_run
from tracegrad.numpy_front.boundary import Run as ArrayRun
from tracegrad.other_sizes import resized
from tracegrad.pipeline import compile_run
from tracegrad.purity.observation import supported
from tracegrad.recorder import ACTIVE
from tracegrad.rehearsal import Rehearsal, rehearse
from tracegrad.replay import Root
from tracegrad.returned import numbers_of
from tracegrad.runs import LIBRARY, record
from tracegrad.source_lines import at_user_line, user_level
from tracegrad.stats import Stats
from tracegrad.tensors import Tensor
from tracegrad.trace_options import TraceOptions, checked
from tracegrad.trace_tree import TraceTree
from tracegrad.verification import Verification, verify
from tracegrad.watched_calls import watched_call

P = ParamSpec("P")
R = TypeVar("R")


class Traced(Called):
    """A traced function. Calling it gives what the function gives, always."""

    __slots__ = ("stats", "_audit", "__dict__", "__weakref__")      # what each call reads is found fastest here
    _kept: KeptCalls | None = None
    is_backward = False                     # of a custom function, that results lead to: traced without being asked

    def __init__(self, function: Callable, options: TraceOptions):
        functools.update_wrapper(self, function)
        self.name = getattr(function, "__name__", type(function).__name__)
        self.eager, self.stats = function, Stats()
        self._options, self._strict = options, options.strict
        self._compiling = Compiling(options.target, options.fast_math, options.memory_budget, self.stats,
                                    Backwards(Traced, options), options.follows_device)
        self._follow = Follow(self.name, self._compiling)
        self._audit = options.audit                                 # one replay of a path in so many; 0: none
        self._tree = TraceTree(options.limits)
        self._array_trees: dict[tuple[Any, ...], TraceTree] = {}    # of calls with ndarrays, by which are scalars
        self._aborted: list[Aborted] = []
        self._reason: Sequence[Aborted] = ()                        # why the last run that was given up was
        self._codes: frozenset[types.CodeType] = frozenset()        # what recorded runs entered
        self._numbers = NumberArguments()
        self._rehearsed = False                                     # may it run on what stands for arrays?
        self._warned = False                                        # that a budget is not met?
        self._makes_arrays = False                                  # is it NumPy code that was given no array?
        self._lock = threading.RLock()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:       # the native entry takes its place (see native_call)
        return self.in_python(args, kwargs)

    def in_python(self, args: tuple, kwargs: dict) -> Any:
        """A call, without the native entry."""
        mode = MODE.get()
        if mode is not None or ACTIVE.get() is not None:
            if mode is not Mode.EAGER and ACTIVE.get() is None:
                return (watched_call if mode is Mode.WATCHED else noted_call)(self, args, kwargs)
            return self.eager(*args, **kwargs)
        self.stats.calls += 1
        tree = self._tree
        found = tree.find(args, kwargs)
        if found is None:
            return self._without_path(args, kwargs)
        self._write_entry(found[0])
        return self._replay(tree, *found, args, kwargs)

    def _write_entry(self, root: Root) -> None:
        """From now on the native entry replays this root, if it can."""
        if self._tree.wants_entry(root) and not self._audit:
            self._tree.write_entry(root, self.stats, install(Traced, TraceTree))

    def left(self, root: Root, left_at: int, args: tuple, kwargs: dict) -> Any:
        """A call by the native entry left at an exit: nothing has changed."""
        leaves = root.match(args, kwargs) if root in self._tree.roots else None
        if leaves is None:                              # it is of arrays, or changed in another thread since
            return self.in_python(args, kwargs)
        self.stats.calls += 1
        return self._after_exit(self._tree, root, leaves, root.left(left_at), args, kwargs)

    def _replay(self, tree: TraceTree, root: Root, leaves: tuple[Tensor, ...], args: tuple, kwargs: dict,
                adopted: Adopted | None = None) -> Any:
        stats = self.stats
        if self._audit and root.replays % self._audit == 0:
            audited = audit(self.eager, root, leaves, args, kwargs)
            if audited is not None:
                return self._end_audit(tree, root, audited)
        try:
            left_at, result = root.replay(leaves, args, kwargs)
        except BaseException:               # a callback's, or Ctrl-C
            stats.replays += 1
            raise
        if left_at < 0:
            stats.replays += 1
            return result
        return self._after_exit(tree, root, leaves, left_at, args, kwargs, adopted)

    def _after_exit(self, tree: TraceTree, root: Root, leaves: tuple[Tensor, ...], left_at: int, args: tuple,
                    kwargs: dict, adopted: Adopted | None = None) -> Any:
        self.stats.side_exits += 1
        if left_at:
            grown = tree.grown(root, *((args, kwargs) if adopted is None else adopted[:2]))
            if grown is not None:
                return self._replay(tree, *grown, args, kwargs, adopted)
            return self._miss(tree, args, kwargs, adopted, Departure(root, leaves, root.exits[left_at - 1]))
        self.stats.eager_calls += 1
        result = run_eagerly(self, args, kwargs)    # it raises what it is asked to, unless it catches that
        self._give_up([Aborted(Abort.REFUSED, "an index was out of bounds, or a matrix was not of the kind asked for")])
        return result

    def known(self, args: tuple, kwargs: dict) -> tuple[Root, tuple[Tensor, ...]] | None:
        """What is known to fit this call, on Tensors or on ndarrays."""
        try:
            adopted = adopt(args, kwargs, self._makes_arrays)
        except NotAdopted:
            return None
        if adopted is None:
            return self._tree.find(args, kwargs)
        tree = self._array_trees.get(adopted.scalars)
        return None if tree is None else tree.find(adopted.args, adopted.kwargs)

    def _end_audit(self, tree: TraceTree, root: Root, audited: Audit) -> Any:
        """The call has run as Python: give what it gave; a path that gives something else is never replayed again."""
        self.stats.audits += 1
        self.stats.eager_calls += 1
        if not audited.verification.agrees:
            with self._lock:
                quarantine(tree, root, audited, self.name, self._compiling)
                self._note([audited.aborted])
            warnings.warn(f"{self.name}: {audited.aborted}", AuditFailed, stacklevel=user_level())
        if audited.error is not None:
            raise audited.error
        return audited.result

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        return self if instance is None else types.MethodType(self, instance)

    def __reduce__(self) -> str:
        return self.eager.__qualname__      # like a function, it is pickled by its name

    def __deepcopy__(self, memo: dict[int, Any]) -> Traced:
        function = copy.deepcopy(self.eager, memo)
        if function is self.eager:
            return self
        return type(self)(function, self._options)

    def __repr__(self) -> str:
        return f"<traced {self.name}: {sum(len(tree.traces) for tree in self._trees())} paths>"

    def _trees(self) -> tuple[TraceTree, ...]:
        return self._tree, *self._array_trees.values()

    def explain(self, verbose: bool = False) -> Explanation:
        """What is known about this function: every path with its guards, steps and cost, every abort with its cure.

        str() of it shortens what is long and leaves out guards that go without saying, unless `verbose`.
        """
        trees = self._trees()
        return explain(self, [root for tree in trees for root in tree.roots],
                       [root for tree in trees for root in tree.quarantined], tuple(self._aborted), verbose)

    def verify(self, *args: Any, **kwargs: Any) -> Verification:
        """Run this call both ways on copies and compare; str() of the result says what differs first, and where."""
        return verify(self, args, kwargs)

    def rerun(self, index: int = -1) -> Any:
        """Run one of the calls that trace(keep=n) has kept again, as plain Python: the last, or kept call `index`.

        On copies of what it was given, in its grad mode, drawing what it drew; captured state is read and changed as it
        is now. No call is counted or kept. IndexError if there is no such call, ValueError if none are kept.
        """
        if self._kept is None:
            raise ValueError(at_user_line(f"rerun: {self.name} keeps no calls: make it with trace(keep=8)"))
        return self._kept.rerun(self.eager, index)

    def reset(self) -> None:
        """Forget every path, every call that was kept, and every reason not to record."""
        with self._lock:
            if self._kept is not None:
                self._kept.clear()
            self._tree, self._array_trees = TraceTree(self._tree.limits), {}
            self.stats, self._aborted = Stats(), []
            self._compiling = self._compiling.anew(self.stats)
            self._follow = Follow(self.name, self._compiling)
            self._reason, self._codes, self._numbers = (), frozenset(), NumberArguments()
            self._rehearsed, self._makes_arrays = False, False

    def _without_path(self, args: tuple, kwargs: dict) -> Any:
        """A call on Tensors whose path is not known, or one on ndarrays."""
        refused: Aborted | None = None
        try:
            adopted = adopt(args, kwargs, self._makes_arrays)
        except NotAdopted as refusal:
            refused = Aborted(Abort.ARRAY_ARGUMENT, str(refusal))
        if refused is not None:     # not in the `except`: an error of the user's would name ours as its context
            self.stats.eager_calls += 1
            self._give_up([refused])
            return run_eagerly(self, args, kwargs)
        if adopted is None:
            return self._miss(self._tree, args, kwargs)
        tree = self._array_trees.get(adopted.scalars)
        if tree is None:
            tree = TraceTree(self._tree.limits, None if adopted.scalars else self._tree)
            self._array_trees[adopted.scalars] = tree
        found = tree.find(adopted.args, adopted.kwargs)
        if found is None:
            return self._miss(tree, args, kwargs, adopted)
        if not adopted.scalars:
            self._write_entry(found[0])
        return self._replay(tree, *found, args, kwargs, adopted)

    def _miss(self, tree: TraceTree, args: tuple, kwargs: dict, adopted: Adopted | None = None,
              departure: Departure | None = None) -> Any:
        """No known path: record this run if that may succeed, else run eagerly. `departure`: how it left a root."""
        if adopted is None and self._follow.at_new_sizes(tree, args, kwargs, departure):
            return self._follow.call(self.eager, args, kwargs, comes_again=False)
        if not self._lock.acquire(blocking=False):          # another thread is recording
            return self._not_replayed(self._reason if may_follow(self._reason) else (), args, kwargs, adopted)
        try:
            if departure is not None and not tree.has(departure.root):      # another thread has grafted meanwhile
                departure = None
            reason = self._reason_not_to_record(tree, args, kwargs, adopted, departure)
            if reason is None:
                with DeferredRun() as deferred:
                    return self._record(tree, args, kwargs, adopted, departure, deferred)
        finally:
            self._lock.release()
        return self._not_replayed(reason, args, kwargs, adopted)

    def _not_replayed(self, reason: Sequence[Aborted], args: tuple, kwargs: dict, adopted: Adopted | None) -> Any:
        """Run a call for which there is no path, nor will be: followed, or else eagerly."""
        follows = adopted is None and self._follow.may(reason)
        if not follows or reason and self._strict:
            self.stats.eager_calls += 1
        if reason:
            self._give_up(reason, follows)
        return self._follow.call(self.eager, args, kwargs) if follows else run_eagerly(self, args, kwargs)

    def _reason_not_to_record(self, tree: TraceTree, args: tuple, kwargs: dict,
                              adopted: Adopted | None, departure: Departure | None) -> Sequence[Aborted] | None:
        if adopted is None:
            for argument in (*args, *kwargs.values()):
                if isinstance(argument, np.ndarray):
                    return [Aborted(Abort.TENSOR_ARGUMENT, f"{argument.dtype}{list(argument.shape)}")]
        elif reason := reason_not_to_run(self.eager):
            return [reason]
        if sentence := supported():
            return [Aborted(Abort.PYTHON_VERSION, sentence)]
        if tree.is_quarantined(*((args, kwargs) if adopted is None else adopted[:2])):
            return [next(a for a in self._aborted if a.reason is Abort.QUARANTINED)]
        if (much := tree.limits.reached(self.stats)) is not None:
            return [Aborted(Abort.TOO_MANY_PATHS, much)]
        if tree.full and not self._make_room(tree, departure):
            return [Aborted(Abort.TOO_MANY_PATHS, tree.many())]
        if departure is not None and departure.segment.growth.closed is not None:
            return [departure.segment.growth.closed]
        if departure is not None and (reason := departure.segment.changing_float(tree.limits.values)):
            return [reason]
        growth = tree.growth if departure is None else departure.segment.growth
        return None if growth.may_record(tree.limits.failures) else self._reason

    def _make_room(self, tree: TraceTree, departure: Departure | None) -> bool:
        """Let what is cold give way; is there room now? Not yet for a call that left what is no longer there."""
        for root, cold in tree.cold():
            tree.evict(root, without(root, cold, None, self.name, self._compiling))
        return not tree.full and (departure is None or tree.has(departure.root))

    def _record(self, tree: TraceTree, args: tuple, kwargs: dict, adopted: Adopted | None,
                departure: Departure | None, deferred: DeferredRun) -> Any:
        start = time.perf_counter()
        self.stats.eager_calls += 1         # until it is known better
        TARGETS[self._compiling.target].prepare()
        growth = tree.growth if departure is None else departure.segment.growth
        if adopted is not None and not self._rehearsed:
            rehearsal = rehearse(self.eager, args, kwargs, LIBRARY, self._codes)
            self._rehearsed = rehearsal is None or not rehearsal.aborts
            if rehearsal is not None:
                return self._end_rehearsal(tree, rehearsal)
        front = None if adopted is None else ArrayRun(adopted, args, kwargs)
        given: tuple[tuple, dict] = (args, kwargs) if adopted is None else adopted[:2]
        like = resized(tree, *given) if departure is None else None
        because = None if departure is not None else last_missed(tree, *given) if like is None else like.because
        lifted = self._lift(tree, args, kwargs) if departure is None else departure.root.lifted
        self.stats.recordings += 1
        run = record(self.eager, *given, self._codes, lifted, self._strict, deferred, front, departure, like)
        looks_further, self._codes = run.codes != self._codes, run.codes
        self._numbers.read |= run.numbers_read
        if adopted is None and not run.recorder.ops and is_of_arrays(run.result):
            self._makes_arrays = True
        if run.error is not None:
            self._note(run.aborts)
            if departure is not None:
                growth.failed()
            if front is not None and run.undoable:      # it may be the Arrays that do not please
                growth.failed()
                front.undo()
                with made_before(len(run.recorder.callbacks)):
                    return self.eager(*args, **kwargs)
            raise run.error
        outcome = compile_run(run, self.name, self._compiling, deferred)
        seconds, budget = time.perf_counter() - start, self._options.memory_budget
        self.stats.compile_seconds += seconds - run.seconds
        if isinstance(outcome, Grafted):
            outcome.trace.seconds, outcome.trace.because = seconds, because
            tree.add(outcome.root, outcome.replaces)
            self.stats.eager_calls -= 1
            self.stats.new_paths += 1
            growth.succeeded()
            self._warned = warn_of_memory(self.name, outcome.root.executable.arena_bytes, budget, self._warned)
            return numbers_of(run.result) if front is None else front.result(run.result)
        if looks_further and front is None and all(a.reason is Abort.UNSEEN_CODE for a in outcome):
            self._note(outcome)             # now its code is known, and the next call is recorded
            return numbers_of(run.result)
        growth.failed()
        if front is not None and run.undoable:
            front.undo()
        self._give_up(outcome, front is None and may_follow(outcome))
        if front is None or not run.undoable:
            return numbers_of(run.result) if front is None else front.result(run.result)
        with made_before(len(run.recorder.callbacks)):
            return self.eager(*args, **kwargs)

    def _end_rehearsal(self, tree: TraceTree, rehearsal: Rehearsal) -> Any:
        """The call was run as it is: give what it gave."""
        self._codes |= rehearsal.codes
        if rehearsal.error is not None:
            self._note(rehearsal.aborts)
            raise rehearsal.error
        if rehearsal.aborts:
            tree.growth.failed()
            self._give_up(rehearsal.aborts)
        return rehearsal.result

    def _lift(self, tree: TraceTree, args: tuple, kwargs: dict) -> frozenset[str]:
        """Routes of the number arguments that are to be inputs.

        None before a run could be replayed: one that does more than compute would see what stands in for a number. A
        lifted run that raises is run again: only what is pure may be.
        """
        changing = self._numbers.changing(args, kwargs)
        return frozenset() if not tree.roots or self._aborted else changing

    def _give_up(self, aborts: Sequence[Aborted], followed: bool = False) -> None:
        """Say once, or under strict raise, why this call is not replayed."""
        first = not self._aborted
        self._note(aborts)
        report_fallback(self.name, aborts[0], followed or self.is_backward)
        if self._strict:
            raise NotCompiled(aborts[0])
        if first and not self.is_backward:
            warn(self.name, aborts[0], followed)

    def _note(self, aborts: Sequence[Aborted]) -> None:
        self._reason = aborts[:1]
        for aborted in aborts:
            self.stats.aborts[aborted.reason.name] += 1
            if aborted not in self._aborted:
                self._aborted.append(aborted)


class KeepingTraced(Traced):
    """One that keeps what its last calls were given."""

    def __init__(self, function: Callable, options: TraceOptions):
        super().__init__(function, options)
        self._kept = KeptCalls(options.keep)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if ACTIVE.get() is None and MODE.get() is not Mode.PROFILED and self._kept is not None:   # noted: comes again
            self._kept.add(args, kwargs)
        return super().__call__(*args, **kwargs)


LIBRARY.follow.update(dict.fromkeys((Traced, KeepingTraced), ("eager",)))    # in another it is its function


@overload
def trace(fn: Callable[P, R], /) -> Callable[P, R]: ...
@overload
def trace(*, target: str = ..., strict: bool = ..., fast_math: bool = ..., audit: int = ...,
          keep: int = ..., memory_budget: int | None = ..., limits: Limits | None = ...
          ) -> Callable[[Callable[P, R]], Callable[P, R]]: ...


def trace(fn=None, /, *, target="auto", strict=False, fast_math=False, audit=0, keep=0, memory_budget=None,
          limits=None):
    """Make `fn` fast: its runs are recorded and replayed as native code, forward, backward and update alike.

    The result of a call is always what running the Python would have given; a call that cannot be replayed runs
    eagerly, and `f.explain()` says why. Called with ndarrays it is NumPy code: it sees arrays, gives arrays, and
    writes into those it was given. `strict=True` raises NotCompiled instead. `fast_math=True` permits rewrites that
    change rounding, and tf32 on a GPU. `audit=n` runs one replay in n, the first of each root included, as Python
    too and compares: a path that gives something else is reported and never replayed again. `keep=n` keeps what the
    last n calls were given, so that `f.rerun(-1)` runs one of them again as plain Python. `memory_budget`: the
    bytes that a native call may work in beside what it is given and gives, and that what it gives may keep for its
    backward: what does not fit is computed again, with the same results; OverBudget is warned of once where a call
    cannot do with that. `target` is "auto" or a key of codegen.TARGETS. ValueError for an option that is none,
    TypeError for a memory_budget that is no int.

        @tg.trace
        def step(x, y):
            opt.zero_grad()
            loss = tg.cross_entropy(model(x), y)
            loss.backward()
            opt.step()
            return loss
    """
    options = checked(target, strict, fast_math, audit, keep, memory_budget, limits)

    def decorate(function):
        if not callable(function):
            raise TypeError(f"trace takes a function, not {function!r}; options go by name: trace(fn, strict=True)")
        return (KeepingTraced if keep else Traced)(function, options)

    return decorate if fn is None else decorate(fn)
