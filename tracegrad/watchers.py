"""watchers: lists that what happens is added to while somebody wants to know it."""
from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

Seen = TypeVar("Seen")


class Watchers(Generic[Seen]):
    """`lists`: of whoever watches now; replaced, never changed, so that any thread reads it as it is."""

    __slots__ = ("lists", "_lock")

    def __init__(self) -> None:
        self.lists: tuple[list[Seen], ...] = ()
        self._lock = threading.Lock()

    @contextmanager
    def watched(self) -> Iterator[list[Seen]]:
        """What happens in any thread while the body runs, in order."""
        seen: list[Seen] = []
        with self._lock:
            self.lists = (*self.lists, seen)
        try:
            yield seen
        finally:
            with self._lock:
                self.lists = tuple(other for other in self.lists if other is not seen)

    def see(self, what: Seen) -> None:
        """It happened."""
        for seen in self.lists:
            seen.append(what)
