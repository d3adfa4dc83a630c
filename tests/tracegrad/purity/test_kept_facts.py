"""What code mentions is found once for a machine, and anew where it changed or what is kept cannot be believed."""
from __future__ import annotations

import ast
import marshal
import sys
from pathlib import Path
from typing import Any

import pytest

import tracegrad as tg
from codegen import Cache, DiskCache
from tracegrad.purity import code_facts, kept_facts, prediction
from tracegrad.purity.code_facts import Facts
from tracegrad.purity.prediction import predict
from tracegrad.runs import LIBRARY

NAMES = [name for name in Facts.__slots__ if name != "code"]        # type: ignore[attr-defined]


@pytest.fixture
def taken_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the code that is taken apart, with a cache of its own."""
    found: list[str] = []
    original = code_facts._find_facts

    def noting(code: Any) -> Facts:
        found.append(code.co_name)
        return original(code)

    cache = Cache(DiskCache(tmp_path))
    monkeypatch.setattr(kept_facts, "default_cache", lambda: cache)
    monkeypatch.setattr(code_facts, "_find_facts", noting)
    return found


def program(n: int, last: str = "x.w") -> Any:
    """A function that leads to n others."""
    calls = "".join(f"def g{k}(x): return g{k + 1}(x)\n" for k in range(n))
    space: dict[str, Any] = {}
    exec(compile(f"{calls}def g{n}(x): return {last}\ndef f(x): return g0(x)", "program.py", "exec"), space)
    return space["f"]


def predicted(f: Any, monkeypatch: pytest.MonkeyPatch) -> dict[str, list[Any]]:
    """The facts of all code that a call may run, as a process that knows none would find them."""
    monkeypatch.setattr(code_facts, "_FACTS", {})
    codes = predict(f, (tg.ones(3),), {}, LIBRARY).codes.values()
    return {code.co_name: [getattr(code_facts.facts_of(code), name) for name in NAMES] for code in codes}


def test_another_process_reads_what_was_found(taken_apart, monkeypatch):
    first = predicted(program(20), monkeypatch)
    assert len(taken_apart) == len(first) == 22
    assert predicted(program(20), monkeypatch) == first and len(taken_apart) == 22


def test_code_that_changed_is_taken_apart_again(taken_apart, monkeypatch):
    predicted(program(20), monkeypatch)
    del taken_apart[:]
    other = predicted(program(20, "x.v"), monkeypatch)
    assert taken_apart == ["g20"] and other["g20"][NAMES.index("attributes")] == {"v"}
    del taken_apart[:]
    assert predicted(program(20, "x.v"), monkeypatch) == other and not taken_apart


def test_little_code_is_not_looked_for(taken_apart, monkeypatch, tmp_path):
    predicted(program(kept_facts.FEW - 2), monkeypatch)
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("kept", [b"", b"no marshal", marshal.dumps([1]), marshal.dumps({b"": (1,)}),
                                  marshal.dumps(({b"": (1,)}, None)), marshal.dumps(({}, (1,)))])
def test_what_cannot_be_believed_is_found_anew(taken_apart, monkeypatch, tmp_path, kept):
    first = predicted(program(20), monkeypatch)
    (entry,) = tmp_path.iterdir()
    DiskCache(tmp_path).put(entry.stem, kept)
    del taken_apart[:]
    assert predicted(program(20), monkeypatch) == first and len(taken_apart) == 22
    del taken_apart[:]
    assert predicted(program(20), monkeypatch) == first and not taken_apart


class Held:
    """What a program reads: more, the more attributes are mentioned."""


@pytest.fixture
def held() -> Any:
    made: Any = Held()
    made.v, made.w = [1], [2]       # not in a method, whose code would mention both
    return made


@pytest.fixture
def walks(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many rounds each walk of a prediction takes."""
    found: list[int] = []

    class Counting(prediction._Walk):
        def __init__(self, *args: Any, **kwargs: Any):
            super().__init__(*args, **kwargs)
            found.append(0)

        def is_done(self) -> bool:
            found[-1] += 1
            return super().is_done()

    monkeypatch.setattr(prediction, "_Walk", Counting)
    return found


def met(f: Any, held: Any, monkeypatch: pytest.MonkeyPatch) -> set[int]:
    """The objects that are met by the prediction of a call, in a process that knows no facts."""
    monkeypatch.setattr(code_facts, "_FACTS", {})
    return {id(entry.object) for entry in predict(f, (held,), {}, LIBRARY).snapshot}


def test_another_process_looks_at_all_that_is_mentioned_in_the_first_round(taken_apart, held, walks, monkeypatch):
    first, n = met(program(20), held, monkeypatch), walks.pop()
    assert id(held.w) in first and id(held.v) not in first
    assert id(held.w) in met(program(20), held, monkeypatch) and walks == [n - 1]


def test_what_is_not_mentioned_any_more_is_not_looked_at(taken_apart, held, walks, monkeypatch):
    met(program(20, "x.v + x.w"), held, monkeypatch)
    for _ in range(2):
        del walks[:]
        found = met(program(20), held, monkeypatch)
        assert id(held.w) in found and id(held.v) not in found
    assert len(walks) == 1                      # the first began again, and kept what it found


def test_what_is_mentioned_now_is_looked_at(taken_apart, held, walks, monkeypatch):
    met(program(20), held, monkeypatch)
    assert {id(held.v), id(held.w)} <= met(program(20, "x.v + x.w"), held, monkeypatch)


def test_the_modules_that_facts_depend_on_are_known():
    """All that taking code apart imports of this package, but for what is the same whatever it does."""
    found, todo = set[str](), [code_facts.__name__]
    while todo:
        name = todo.pop()
        if name not in found:
            found.add(name)
            tree = ast.parse(Path(sys.modules[name].__file__ or "").read_text(encoding="utf-8"))
            todo += [node.module for node in ast.walk(tree)
                     if isinstance(node, ast.ImportFrom) and str(node.module).startswith("tracegrad.")]
    assert found == {module.__name__ for module in kept_facts.TAKING_APART}
