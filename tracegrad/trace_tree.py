"""TraceTree: every path of one traced function, and the policy of its growth."""
from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from codegen import collector_paused
from tracegrad.all_sizes import AllSizes
from tracegrad.devices import CUPY
from tracegrad.limits import Limits, Wait, bytes_of
from tracegrad.native_call import Entry
from tracegrad.native_replay import native_replay
from tracegrad.other_sizes import Changing, changing, leaves_at_other_sizes, sizes_of
from tracegrad.replay import Root, Trace
from tracegrad.segments import Growth, Path
from tracegrad.sizes_met import SizesMet
from tracegrad.stats import Stats
from tracegrad.tensors import Tensor

FEW = 4
"""So many roots are tried one after the other."""

DEEPEST = 4
"""So far down lists in lists tell calls of other sizes apart."""

SOON, OFTEN = 4, 8
"""After so many replays by Python a root gets its native program: as the first of its function, or beside others."""


class TraceTree:
    """The roots of one function, the one that matched last first.

    `roots` is replaced, never changed, so that a reader in another thread sees one whole tuple; who replaces it holds
    `_changing` from reading it on, so that no thread brings back what another has taken out. `entry` is what native
    code tries for a call, None where that is to be made anew: these roots and those of the tree `of_arrays`, for calls
    with ndarrays where that has Tensors.
    """

    __slots__ = ("entry", "__dict__")

    def __init__(self, limits: Limits, of_tensors: TraceTree | None = None):
        self.entry: Entry | None = None
        self.of_arrays: TraceTree | None = None
        self._of_tensors = of_tensors
        if of_tensors is not None:
            of_tensors.of_arrays = self
        self.limits = limits
        self.roots: tuple[Root, ...] = ()
        self._of_sizes: dict[int, tuple[Root, ...]] = {}        # by the sizes of their leaves
        self._hints: dict[Hashable, Root] = {}          # by the shapes of arguments, where there are many roots
        self.quarantined: tuple[Root, ...] = ()         # of which an audit found a path to be wrong
        self.growth = Growth()
        self._many = ""
        self._wait = Wait()
        self.sizes = SizesMet()
        self.tried: set[Changing] = set()               # which sizes symbols were to stand for in runs
        self.followed_at_new_sizes = 0                  # calls
        self._all_sizes: tuple[AllSizes, ...] = ()      # paths that were recorded for all sizes
        self.has_many_sizes = False                     # does a root share kernels with other sizes?
        self._changing = threading.Lock()

    @property
    def traces(self) -> tuple[Trace, ...]:
        """Every path."""
        return tuple(trace for root in self.roots for trace in root.traces)

    def find(self, args: tuple, kwargs: dict) -> tuple[Root, tuple[Tensor, ...]] | None:
        """The root whose assumptions hold for this call, with the Tensors its paths read.

        If its sizes are new it may be a root made now, of a path that was recorded for all sizes.
        """
        found = self._known(args, kwargs)
        if found is not None:
            return found
        found = self._at_other_sizes(args, kwargs)
        return None if found is not None and CUPY and not found[0].suits(found[1]) else found

    def _known(self, args: tuple, kwargs: dict) -> tuple[Root, tuple[Tensor, ...]] | None:
        roots = self.roots
        if not roots:
            return None
        root = roots[0]
        leaves = root.match(args, kwargs)
        if leaves is not None and not (CUPY and not root.suits(leaves)):
            return root, leaves
        if len(roots) > FEW and (leaves := leaves_at_other_sizes(root, args, kwargs)) is not None:
            for root in self._of_sizes.get(sizes_of(leaves), ()):       # of many, no others are tried
                leaves = root.match(args, kwargs)
                if leaves is not None and not (CUPY and not root.suits(leaves)):
                    self.put_first(root)
                    return root, leaves
            return None
        for root in roots[1:] if len(roots) <= FEW else self._likeliest_first(roots, args):
            leaves = root.match(args, kwargs)
            if leaves is not None and not (CUPY and not root.suits(leaves)):
                self.put_first(root, args)
                return root, leaves
        return None

    def _at_other_sizes(self, args: tuple, kwargs: dict) -> tuple[Root, tuple[Tensor, ...]] | None:
        """The root that a path recorded for all sizes is at those of this call; one of `roots` when they come back."""
        for path in () if self.quarantined else self._all_sizes:
            found = path.find(args, kwargs)
            if found is not None:
                if not self.sizes.are_new(found[0].guards.sizes):
                    self.add(found[0], None)
                return found
        return None

    def grown(self, root: Root, args: tuple, kwargs: dict) -> tuple[Root, tuple[Tensor, ...]] | None:
        """What took the place of a root, with its leaves, if other sizes have brought more ways since."""
        latest = None if root.all_sizes is None else root.all_sizes.latest
        if latest is None or latest is root.all_sizes:
            return None
        found = latest.find(args, kwargs)
        if found is not None and root in self.roots:
            self.add(found[0], root)
        return found

    def has(self, root: Root) -> bool:
        """Is it one of the roots, or one that was made for a call whose sizes are new?"""
        return root in self.roots or root.all_sizes in self._all_sizes

    def has_new_sizes(self, args: tuple, kwargs: Mapping[str, Any]) -> bool:
        """Has this call, for which no path is known, sizes that none had before it, and all else as a root assumes it?
        """
        for root in () if self.quarantined else self.roots[:FEW]:
            leaves = leaves_at_other_sizes(root, args, kwargs)
            if leaves is not None:
                self.put_first(root)
                wanted = changing(root, leaves)
                if wanted[1] and wanted not in self.tried:         # it is to be recorded for all sizes, if that can be
                    return False
                are_new = self.sizes.are_new(sizes_of(leaves))
                self.followed_at_new_sizes += are_new
                return are_new
        return False

    def _by_use(self) -> list[Root]:
        """The roots, the one used last first: what native code has used was used since."""
        entry = (self._of_tensors or self).entry
        native = [] if entry is None else [root for root in entry.by_use() if root in self.roots]
        return [*native, *(root for root in self.roots if root not in native)]

    def wants_entry(self, replayed: Root) -> bool:
        """Is native code to try other programs than it does, now that Python replays this root?"""
        if self.entry is not None and replayed.is_written:
            return False
        alone = not any(root.is_written for root in self._every)
        return replayed.replays >= (SOON if alone else OFTEN) or self.entry is None and not alone

    @property
    def _every(self) -> tuple[Root, ...]:
        """The roots, and those for arrays."""
        return self.roots if self.of_arrays is None else (*self.roots, *self.of_arrays.roots)

    @collector_paused
    def write_entry(self, replayed: Root, stats: Stats, exists: bool | None) -> None:
        """Let native code, if it `exists` (None: that is not known yet), try the roots that calls come back to.

        To write the program of a root takes as long as some replays by Python, most sizes come back a few times, and
        who calls for the first time waits.
        """
        if exists is None:
            return
        with self._changing:
            every, of_arrays = self._every, () if self.of_arrays is None else self.of_arrays.roots
            alone = not any(root.is_written for root in every)
            for root in every:
                if not root.is_written and (root.replays >= OFTEN or alone and root is replayed):
                    root.is_written = True
                    root.native = native_replay(root, root in of_arrays) if exists else None
            self.entry = Entry(every, stats)

    def put_first(self, root: Root, args: tuple | None = None) -> None:
        """The root was used, and matched these arguments, unless another thread has taken it out."""
        with self._changing:
            roots = self.roots
            place = next((k for k, r in enumerate(roots) if r is root), None)
            if place:
                self.roots = (root, *roots[:place], *roots[place + 1:])
                if args is not None and len(roots) > FEW:
                    self._hints[shapes_of(args)] = root

    def _likeliest_first(self, roots: tuple[Root, ...], args: tuple) -> Iterator[Root]:
        """The root that a call with such shapes had last, then all but that of the last call."""
        hinted = self._hints.get(shapes_of(args))
        if hinted is not None:
            yield hinted
        yield from roots[1:]

    def _replace(self, roots: Iterable[Root]) -> None:
        """Have these roots, under the lock; what is no longer among them is not hinted at either."""
        self.roots, self.entry = tuple(roots), None
        if self._of_tensors is not None:
            self._of_tensors.entry = None
        kept = frozenset(map(id, self.roots))
        of_sizes: dict[int, tuple[Root, ...]] = {}
        for root in self.roots:
            of_sizes[root.guards.sizes] = (*of_sizes.get(root.guards.sizes, ()), root)
        self._of_sizes = of_sizes
        self._hints = {shapes: root for shapes, root in self._hints.items() if id(root) in kept}

    @property
    def _sharing(self) -> list[Root]:
        """Those that share kernels with other sizes. Where calls come back to such, there is room for one more."""
        return [root for root in self.roots if root.executable.shares_kernels]

    def _too_many(self, sharing: Sequence[Root]) -> bool:
        """Do these, which share kernels with other sizes, take more room than they may? A quarter of all the memory."""
        return (sum(len(root.traces) for root in sharing) > self.limits.sizes
                or sum(map(bytes_of, sharing)) > self.limits.bytes // 4)

    def add(self, root: Root, replaces: Root | None) -> None:
        """A path has been grafted: `root` has it, and every path of `replaces`. The size longest unused gives way."""
        with self._changing:
            self._replace([root, *(r for r in self._by_use() if r is not replaces)])
            self.has_many_sizes |= root.executable.shares_kernels
            if root.all_sizes is not None and root.all_sizes.root is root:
                if replaces is not None and replaces.all_sizes is not None:
                    replaces.all_sizes.grown = root.all_sizes
                self._all_sizes = (root.all_sizes, *[path for path in self._all_sizes if path.grown is None])[:FEW]
            sharing = self._sharing
            if _come_back_to(sharing):
                while self._too_many(sharing) and sharing[-1] is not root:
                    idle = sharing.pop()
                    self._replace(r for r in self.roots if r is not idle)
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

    def _path_replays(self) -> dict[Path, int]:
        """How many replays each path has had; one for all sizes, at any of them."""
        found = {trace.path: trace.replays for root in self.roots for trace in root.traces}
        for paths in self._all_sizes:
            found |= paths.replays
        return found

    def cold(self) -> list[tuple[Root, list[Path]]]:
        """A call had no path, and there is no room for one: paths that may give way, by root, once that is known."""
        cold = self._wait.cold(self._path_replays())
        roots = *(root for root in self.roots if root.all_sizes is None), *(paths.root for paths in self._all_sizes)
        found = [(root, [trace.path for trace in root.traces if trace.path in cold]) for root in roots]
        return [(root, paths) for root, paths in found if paths]

    def evict(self, root: Root, smaller: Root | None) -> None:
        """Forget paths of `root`, at all sizes if they are for all: `smaller` has the others, if there are any."""
        kept = () if smaller is None else (smaller,)
        with self._changing:
            if root.all_sizes is None:
                self._replace(r for one in self.roots for r in (kept if one is root else (one,)))
            else:
                latest = root.all_sizes.latest
                self._replace([*kept, *(r for r in self.roots if r.all_sizes is None
                                        or r.all_sizes.latest is not latest)])
                latest.grown = None if smaller is None else smaller.all_sizes
                left = [paths for paths in self._all_sizes if paths is not latest]
                self._all_sizes = tuple(left if latest.grown is None else [latest.grown, *left])
        self._many = ""

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
        replays = self._path_replays()
        own = {trace.path for root in (*self.roots, *(paths.root for paths in self._all_sizes))
               if root.all_sizes is not None or not root.executable.shares_kernels for trace in root.traces}
        if sum(not replays.get(path) for path in own) >= self.limits.unused or len(own) >= self.limits.paths:
            return True
        if sum(map(bytes_of, self.roots)) >= self.limits.bytes:
            return True
        return not _come_back_to(self._sharing) and sum(len(r.traces) for r in self._sharing) >= self.limits.sizes // 4


_shape: Callable[[Tensor], tuple[int, ...]] = vars(Tensor)["shape"].__get__


def _come_back_to(roots: Iterable[Root]) -> bool:
    return any(trace.replays for root in roots for trace in root.traces)


def shapes_of(args: Sequence[Any], depth: int = 0) -> Hashable:
    """What tells calls of other sizes apart, mostly: the shapes of arguments, how long lists are and what is first.

    No code of the user's runs, which a class of lists may have, and a list may hold itself.
    """
    return tuple([_shape(a) if issubclass(kind := type(a), Tensor)
                  else (len(a), shapes_of(a[:1], depth + 1)) if kind in (list, tuple) and depth < DEEPEST
                  else None for a in args])
