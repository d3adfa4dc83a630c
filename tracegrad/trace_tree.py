"""TraceTree: every path of one traced function, and the policy of its growth."""
from __future__ import annotations

from dataclasses import dataclass

from tracegrad.replay import Root, Trace
from tracegrad.segments import Growth
from tracegrad.tensors import Tensor


@dataclass(frozen=True, slots=True)
class Limits:
    """How far a traced function may grow.

    paths: how many it keeps; unused: how many of them may be such as no call has come back to; failures: how often it
    may fail to record in a row, from the start or at one exit; values: how many values of a float that Python reads at
    one place may each be a way of its own.
    """

    paths: int = 64
    unused: int = 16
    failures: int = 8
    values: int = 4


class TraceTree:
    """The roots of one function, the one that matched last first.

    `roots` is replaced, never changed, so that a reader in another thread sees one whole tuple.
    """

    def __init__(self, limits: Limits):
        self.limits = limits
        self.roots: tuple[Root, ...] = ()
        self.quarantined: tuple[Root, ...] = ()         # of which an audit found a path to be wrong
        self.growth = Growth()
        self._many = ""

    @property
    def traces(self) -> tuple[Trace, ...]:
        """Every path."""
        return tuple(trace for root in self.roots for trace in root.traces)

    def find(self, args: tuple, kwargs: dict) -> tuple[Root, tuple[Tensor, ...]] | None:
        """The root whose assumptions hold for this call, with the Tensors its paths read."""
        for root in self.roots:
            leaves = root.match(args, kwargs)
            if leaves is not None:
                if root is not self.roots[0]:
                    self.roots = (root, *(r for r in self.roots if r is not root))
                return root, leaves
        return None

    def add(self, root: Root, replaces: Root | None) -> None:
        """A path has been grafted: `root` has it, and every path of `replaces`."""
        self.roots = (root, *(r for r in self.roots if r is not replaces))
        self._many = ""

    def many(self) -> str:
        """How many paths there are, and an example of what keeps changing; said alike until there is another path."""
        if not self._many:
            traces = self.traces
            because = next((trace.because for trace in traces if trace.because is not None), None)
            self._many = f"{len(traces)} paths" + (f", one of them since {because}" if because is not None else "")
        return self._many

    def quarantine(self, root: Root, smaller: Root | None) -> None:
        """A path of `root` is not replayed again; `smaller` has the others. Without it none is, nor is any recorded."""
        self.roots = tuple(r for r in (smaller if r is root else r for r in self.roots) if r is not None)
        if smaller is None:
            self.quarantined = (*self.quarantined, root)

    def is_quarantined(self, args: tuple, kwargs: dict) -> bool:
        """Would this call take a path that is not to be replayed?"""
        return any(root.match(args, kwargs) is not None for root in self.quarantined)

    @property
    def full(self) -> bool:
        """Has the function as many paths as its limits allow?"""
        traces = self.traces
        return len(traces) >= self.limits.paths or sum(not trace.replays for trace in traces) >= self.limits.unused
