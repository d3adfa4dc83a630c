"""observers: what notes how long runs take and each of their steps, for all targets as one.

    observer = native_observer()
    mark = observer.start()         from now on; what this costs, it costs only until the last stop()
    ...
    events, lost = observer.stop(mark)
"""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from codegen.executable import NativeEvent


class Observer(Protocol):
    """`lost`: of how many events there was no room for."""

    def start(self) -> Any: ...
    def stop(self, mark: Any) -> tuple[list[NativeEvent], int]: ...


class Observers:
    """Several as one."""

    def __init__(self, observers: Sequence[Observer]):
        self._observers = observers

    def start(self) -> list[Any]:
        """Note what runs from now on; what to give to stop()."""
        return [observer.start() for observer in self._observers]

    def stop(self, marks: list[Any]) -> tuple[list[NativeEvent], int]:
        """What was noted since start() gave `marks`, and how many events there was no room for."""
        found = [observer.stop(mark) for observer, mark in zip(self._observers, marks, strict=True)]
        return [event for events, _ in found for event in events], sum(lost for _, lost in found)
