"""Scanner: a place in a text that moves from word to word. What parsers are made of.

Space and line ends separate words; a comment goes from `#`, at the start of a line or after space, to the line's end.
"""
from __future__ import annotations

import re
from collections.abc import Callable
from typing import NoReturn


class ParseError(ValueError):
    """The text is not what it should be; the message says where, by line and column."""


_SPACE = re.compile(r"(?:\s+(?:#[^\n]*)?|\A#[^\n]*)*")


class Scanner:
    """A place in the text: `at` is where the next word begins, `start` where the last one did."""

    def __init__(self, text: str):
        self.text = text
        self.start = 0
        self.at = self.skip(0)

    def skip(self, at: int) -> int:
        """The place after the space and comments at `at`."""
        found = _SPACE.match(self.text, at)
        assert found is not None
        return found.end()

    def fail(self, message: str, at: int | None = None) -> NoReturn:
        """Blame the place `at`; where the next word would begin, if none is given."""
        at = self.at if at is None else at
        line = self.text.count("\n", 0, at) + 1
        column = at - (self.text.rfind("\n", 0, at) + 1) + 1
        raise ParseError(f"line {line}, column {column}: {message}")

    def accept(self, pattern: re.Pattern[str]) -> str | None:
        """The text of `pattern` here (of its group, if it has one), None if it is not here."""
        found = pattern.match(self.text, self.at)
        if found is None:
            return None
        self.start, self.at = self.at, self.skip(found.end())
        return found.group(found.re.groups)

    def take(self, pattern: re.Pattern[str], what: str) -> str:
        """`accept`, or fail."""
        found = self.accept(pattern)
        if found is None:
            self.fail(f"expected {what}")
        return found

    def accept_mark(self, mark: str) -> bool:
        """Is `mark` here? Then go past it."""
        if not self.text.startswith(mark, self.at):
            return False
        self.at = self.skip(self.at + len(mark))
        return True

    def mark(self, mark: str) -> None:
        """Go past `mark`, or fail."""
        if not self.accept_mark(mark):
            self.fail(f"expected {mark!r}")

    def listed(self, item: Callable[[], object], close: str) -> tuple:
        """Items with commas between them, up to and with the mark `close`."""
        if self.accept_mark(close):
            return ()
        items = [item()]
        while self.accept_mark(","):
            items.append(item())
        self.mark(close)
        return tuple(items)
