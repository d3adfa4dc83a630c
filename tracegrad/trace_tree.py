"""TraceTree: every path of one traced function, and the policy of its growth."""
from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

from tracegrad.limits import Limits, Wait, bytes_of
from tracegrad.replay import Root, Trace
from tracegrad.segments import Growth
from tracegrad.tensors import Tensor

FEW = 4
"""So many roots are tried one after the other."""

MOST_HINTS = 256


class TraceTree:
    """The roots of one function, the one that matched last first.

    `roots` is replaced, never changed, so that a reader in another thread sees one whole tuple; who replaces it holds
    `_changing` from reading it on, so that no thread brings back what another has taken out.
    """

    def __init__(self, limits: Limits):
        self.limits = limits
        self.roots: tuple[Root, ...] = ()
        self._hints: dict[tuple[Any, ...], Root] = {}   # by the shapes of arguments, where there are many roots
        self.quarantined: tuple[Root, ...] = ()         # of which an audit found a path to be wrong
        self.growth = Growth()
        self._many = ""
        self._wait = Wait()
        self._changing = threading.Lock()

    @property
    def traces(self) -> tuple[Trace, ...]:
        """Every path."""
        return tuple(trace for root in self.roots for trace in root.traces)

    def find(self, args: tuple, kwargs: dict) -> tuple[Root, tuple[Tensor, ...]] | None:
        """The root whose assumptions hold for this call, with the Tensors its paths read."""
        roots = self.roots
        if not roots:
            return None
        root = roots[0]
        leaves = root.match(args, kwargs)
        if leaves is not None:
            return root, leaves
        for root in roots[1:] if len(roots) <= FEW else self._likeliest_first(roots, args):
            leaves = root.match(args, kwargs)
            if leaves is not None:
                self._put_first(root)
                if len(roots) > FEW:
                    self._hint(args, root)
                return root, leaves
        return None

    def _put_first(self, root: Root) -> None:
        with self._changing:
            if any(r is root for r in self.roots):
                self.roots = (root, *(r for r in self.roots if r is not root))

    def _likeliest_first(self, roots: tuple[Root, ...], args: tuple) -> Iterator[Root]:
        """The root that a call with such shapes had last, then all but that of the last call."""
        hinted = self._hints.get(_shapes(args))
        if hinted is not None and any(root is hinted for root in roots):
            yield hinted
        yield from roots[1:]

    def _hint(self, args: tuple, root: Root) -> None:
        if len(self._hints) > MOST_HINTS:
            self._hints.clear()
        self._hints[_shapes(args)] = root

    def add(self, root: Root, replaces: Root | None) -> None:
        """A path has been grafted: `root` has it, and every path of `replaces`."""
        with self._changing:
            self.roots = (root, *(r for r in self.roots if r is not replaces))
            while len(self.traces) > self.limits.paths and (idle := self._idle(root)) is not None:
                self.roots = tuple(r for r in self.roots if r is not idle)
        self._many = ""

    def many(self) -> str:
        """How many paths there are, and an example of what keeps changing; said alike until there is another path."""
        if not self._many:
            traces = self.traces
            because = next((trace.because for trace in traces if trace.because is not None), None)
            held = sum(map(bytes_of, self.roots))
            self._many = f"{len(traces)} paths" + (f" that take {held} bytes" if held >= self.limits.bytes else "") + (
                f", one of them since {because}" if because is not None else "")
        return self._many

    def cold(self) -> list[tuple[Root, list[Trace]]]:
        """A call had no path, and there is no room for one: paths that may give way, by root, once that is known."""
        return self._wait.cold(self.roots)

    def evict(self, root: Root, smaller: Root | None) -> None:
        """Forget paths of `root`: `smaller` has the others, if there are any."""
        with self._changing:
            self.roots = tuple(r for r in (smaller if r is root else r for r in self.roots) if r is not None)
        self._many = ""

    def _idle(self, but: Root | None = None) -> Root | None:
        """The root longest unused of those that share kernels with other sizes, if calls come back to such at all."""
        sharing = [root for root in self.roots if root.executable.shares_kernels]
        if not any(trace.replays for root in sharing for trace in root.traces):
            return None
        return next((root for root in reversed(sharing) if root is not but), None)

    def quarantine(self, root: Root, smaller: Root | None) -> None:
        """A path of `root` is not replayed again; `smaller` has the others. Without it none is, nor is any recorded."""
        self.evict(root, smaller)
        if smaller is None:
            self.quarantined = (*self.quarantined, root)

    def is_quarantined(self, args: tuple, kwargs: dict) -> bool:
        """Would this call take a path that is not to be replayed?"""
        return any(root.match(args, kwargs) is not None for root in self.quarantined)

    @property
    def full(self) -> bool:
        """Has the function as many paths as its limits allow?"""
        own = [trace for root in self.roots if not root.executable.shares_kernels for trace in root.traces]
        if sum(not trace.replays for trace in own) >= self.limits.unused:
            return True
        if sum(map(bytes_of, self.roots)) >= self.limits.bytes:
            return True
        return len(self.traces) >= self.limits.paths and self._idle() is None


def _shapes(args: tuple) -> tuple[Any, ...]:
    return tuple([a.shape if isinstance(a, Tensor) else None for a in args])
