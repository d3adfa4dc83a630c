"""TraceTree: every path of one traced function, and the policy of its growth."""
from __future__ import annotations

from dataclasses import dataclass

from tracegrad.replay import Trace
from tracegrad.tensors import Tensor


@dataclass(frozen=True, slots=True)
class Limits:
    """How far a traced function may grow: how many paths it keeps, how many of them may be such as no call has come
    back to, and how often it may fail to record in a row.
    """

    paths: int = 64
    unused: int = 16
    failures: int = 8


class TraceTree:
    """The traces of one function, the one that matched last first.

    `traces` is replaced, never changed, so that a reader in another thread sees one whole tuple.
    """

    def __init__(self, limits: Limits):
        self.limits = limits
        self.traces: tuple[Trace, ...] = ()
        self.quarantined: tuple[Trace, ...] = ()        # that an audit found to be wrong
        self._failures = 0
        self._skip = 0

    def find(self, args: tuple, kwargs: dict) -> tuple[Trace, tuple[Tensor, ...]] | None:
        """The trace whose assumptions hold for this call, with the Tensors it reads."""
        for trace in self.traces:
            leaves = trace.match(args, kwargs)
            if leaves is not None:
                if trace is not self.traces[0]:
                    self.traces = (trace, *(t for t in self.traces if t is not trace))
                return trace, leaves
        return None

    def add(self, trace: Trace) -> None:
        """Graft a new trace."""
        self.traces = (trace, *self.traces)
        self._failures = self._skip = 0

    def quarantine(self, trace: Trace) -> None:
        """Never replay this path again, nor record it anew."""
        self.traces = tuple(t for t in self.traces if t is not trace)
        self.quarantined = (*self.quarantined, trace)

    def is_quarantined(self, args: tuple, kwargs: dict) -> bool:
        """Would this call take a path that is not to be replayed?"""
        return any(trace.match(args, kwargs) is not None for trace in self.quarantined)

    @property
    def full(self) -> bool:
        """Has the function as many paths as its limits allow?"""
        return len(self.traces) >= min(self.limits.paths, self.limits.unused) and (
            len(self.traces) >= self.limits.paths
            or sum(not trace.replays for trace in self.traces) >= self.limits.unused)

    def may_record(self) -> bool:
        """Should this call be recorded? After n failures in a row 2**n - 1 calls are not, after the last none is."""
        if self.full or self._failures >= self.limits.failures:
            return False
        if self._skip:
            self._skip -= 1
            return False
        return True

    def failed(self) -> None:
        """A recording was aborted."""
        self._failures += 1
        self._skip = 2 ** self._failures - 1
