"""Follow: calls that cannot be replayed run their Python, every time, with the work on tensors deferred and compiled.

    print(loss)  in the function   ->   it is never replayed; its Python runs, with a Follower beside it

1. A followed call is the call: what it does and gives is what plain Python would have done and given.
2. A call at sizes that no call had before is followed, if calls at others are replayed: its work is alike that of those
   but for the sizes, so that known kernels do it (see deferred_work). When its sizes return they are recorded.
3. Following pays where the same work comes again. A function whose calls keep bringing work that no call had before
   runs eagerly for a while, longer each time: see `Patience`.
"""
from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tracegrad.aborts import Abort, Aborted
from tracegrad.compiling import Compiling
from tracegrad.deferred_work import KnownWork
from tracegrad.dispatch import FOLLOWER
from tracegrad.follower import Follower
from tracegrad.grafting import Departure
from tracegrad.modes import eager
from tracegrad.spans import begin, end
from tracegrad.tensors import FOLLOWERS
from tracegrad.trace_tree import TraceTree

NOT_FOLLOWED = frozenset({Abort.ARRAY_ARGUMENT, Abort.QUARANTINED})
"""Reasons not to replay that are reasons not to follow: NumPy code has no Tensors to defer the work on, and a function
that computed something else than its Python is not to be compiled in another way."""


def may_follow(reasons: Sequence[Aborted]) -> bool:
    """Can calls that are not replayed for these reasons be followed?"""
    return bool(reasons) and not any(aborted.reason in NOT_FOLLOWED for aborted in reasons)


class Patience:
    """After `CALLS` calls in a row that brought new work, so many calls run eagerly; then twice as many, and so on.

    A function that has `STEPS` families of steps to keep is not followed any more.
    """

    CALLS = 32
    STEPS = 50_000

    def __init__(self) -> None:
        self._new = 0
        self._skip = 0
        self._penalty = self.CALLS

    def allows(self, known: KnownWork) -> bool:
        """Should this call be followed?"""
        if self._skip:
            self._skip -= 1
            return False
        return known.families < self.STEPS

    def note(self, met_new: bool) -> None:
        """A call was followed."""
        self._new = self._new + 1 if met_new else 0
        if self._new >= self.CALLS:
            self._new, self._skip = 0, self._penalty
            self._penalty *= 2


class Follow:
    """How one traced function is followed."""

    def __init__(self, name: str, compiling: Compiling):
        self.known = KnownWork(name, compiling)
        self._patience, self._stats = Patience(), compiling.stats

    def may(self, reasons: Sequence[Aborted]) -> bool:
        """Is a call to be followed that is not replayed for these reasons?"""
        return may_follow(reasons) and self._patience.allows(self.known)

    def at_new_sizes(self, tree: TraceTree, args: tuple, kwargs: Mapping[str, Any],
                     departure: Departure | None) -> bool:
        """Is this call to be followed since it differs from those that are replayed in sizes, which none had before?

        One that left a root is so where what comes then is recorded for each size.
        """
        if departure is not None and (departure.root in tree.roots or not departure.segment.growth.for_one_size):
            return False
        return (tree.has_many_sizes and self.known.families < Patience.STEPS
                and (departure is not None or tree.has_new_sizes(args, kwargs)))

    def call(self, function: Callable[..., Any], args: tuple, kwargs: dict[str, Any], comes_again: bool = True) -> Any:
        """Run the call. `comes_again`: are calls like it to be expected that have its sizes?"""
        follower = Follower(self.known, keeps=comes_again)
        FOLLOWERS.append(follower)
        token = FOLLOWER.set(follower)
        self._stats.follows += 1
        began = begin()
        try:
            with eager():               # traced functions that it calls are part of it
                return function(*args, **kwargs)
        finally:
            end(began, "follow", self.known.name)
            FOLLOWER.reset(token)
            try:
                follower.finish()
            finally:
                FOLLOWERS.remove(follower)
                if comes_again:
                    self._patience.note(follower.met_new)
