"""The modes of a thread, as context managers; and the grad mode: are operations differentiated?"""
from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from tracegrad.dispatch import GRAD

F = TypeVar("F", bound=Callable)


def is_grad_enabled() -> bool:
    """Are operations differentiated in this thread?"""
    return GRAD.enabled


class ThreadMode:
    """A context manager, and a decorator, that sets a mode of this thread, `of` GRAD, and puts the old one back.

    A generator function that it decorates has the mode while its body runs, and who iterates keeps its own.
    """

    __slots__ = ("_before",)

    of = "enabled"

    def __init__(self) -> None:
        self._before: list[Any] = []            # one for each time it is entered

    def _inside(self, now: Any) -> Any:
        """The mode inside, where it is `now` outside."""
        raise NotImplementedError

    def _set(self, mode: Any) -> None:
        setattr(GRAD, self.of, mode)

    def __enter__(self) -> None:
        before = getattr(GRAD, self.of)
        self._before.append(before)
        self._set(self._inside(before))

    def __exit__(self, *exception: object) -> None:
        self._set(self._before.pop())

    def __call__(self, function: F) -> F:
        if inspect.isgeneratorfunction(function):
            @functools.wraps(function)
            def steps_in_mode(*args: Any, **kwargs: Any) -> Iterator[Any]:
                return (yield from self._steps(function(*args, **kwargs)))
            return steps_in_mode        # type: ignore[return-value]

        @functools.wraps(function)
        def in_mode(*args: Any, **kwargs: Any) -> Any:
            before = getattr(GRAD, self.of)
            self._set(self._inside(before))
            try:
                return function(*args, **kwargs)
            finally:
                self._set(before)
        return in_mode      # type: ignore[return-value]

    def _steps(self, generator: Any) -> Any:
        """What a generator yields, whose body has the mode."""
        resume, given, inside, entered = generator.send, None, None, False
        while True:
            before = getattr(GRAD, self.of)
            self._set(inside if entered else self._inside(before))
            try:
                value = resume(given)
            except StopIteration as end:
                return end.value
            finally:
                inside, entered = getattr(GRAD, self.of), True
                self._set(before)
            try:
                resume, given = generator.send, (yield value)
            except BaseException as error:      # noqa: BLE001 - the generator's
                resume, given = generator.throw, error


class GradModeContext(ThreadMode):
    """Sets the grad mode."""

    __slots__ = ()

    def __new__(cls, function: Any = None, **_: Any) -> Any:
        """@no_grad without parentheses decorates, too."""
        return cls()(function) if callable(function) else super().__new__(cls)


class no_grad(GradModeContext):
    """with tg.no_grad(): results have no history, and leaves may be written in place."""

    __slots__ = ()

    def _inside(self, now: bool) -> bool:
        return False


class enable_grad(GradModeContext):
    """with tg.enable_grad(): undoes an enclosing no_grad."""

    __slots__ = ()

    def _inside(self, now: bool) -> bool:
        return True


class inference_mode(GradModeContext):
    """with tg.inference_mode(): as no_grad; with mode=False nothing changes. What is made in it can be used anywhere.

        >>> w = tg.ones(2, requires_grad=True)
        >>> with tg.inference_mode():
        ...     y = w * 2
        >>> y.requires_grad
        False
    """

    __slots__ = ("_mode",)

    def __init__(self, mode: bool = True) -> None:
        super().__init__()
        self._mode = mode

    def _inside(self, now: bool) -> bool:
        return now and not self._mode


class set_grad_enabled(GradModeContext):
    """set_grad_enabled(mode) sets the grad mode at once; as a context manager it puts the old one back at the end.

        >>> with tg.set_grad_enabled(False):
        ...     tg.is_grad_enabled()
        False
    """

    __slots__ = ("_mode", "_is_set")

    def __init__(self, mode: bool) -> None:
        super().__init__()
        self._mode, self._is_set = bool(mode), True
        super().__enter__()

    def _inside(self, now: bool) -> bool:
        return self._mode

    def __enter__(self) -> None:
        if not self._is_set:
            super().__enter__()
        self._is_set = False

    def __call__(self, function: F) -> F:
        super().__exit__()                      # it decorates: the mode is set in each call
        return super().__call__(function)
