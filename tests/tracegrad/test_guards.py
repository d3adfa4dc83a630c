"""The generated check: what it says of itself, and that no code of the user's runs in it."""
from __future__ import annotations

import gc
import sys
import threading
import weakref

import pytest
from hazards import record

SOURCE = """
class Config:
    def __init__(self): self.scale, self.on = 2.0, True
config = Config()
names = ['a', 'b']
def f(x):
    return x * config.scale if config.on and names[0] == 'a' else x
args = (tg.ones(2),)
"""


def test_every_guard_is_a_route_and_a_sentence():
    guards = record(SOURCE).reads.guards
    sentences = guards.sentences()
    assert "config.scale equals 2.0" in sentences
    assert "config.on is still True" in sentences
    assert "config has type Config" in sentences
    assert "names has length 2" in sentences
    assert "args[0] has shape (2,)" in sentences
    assert "args has length 1" in sentences
    assert [f"{g.route} {g.condition}" for g in guards.guards] == list(sentences)
    lines = {g.route: g.line for g in guards.guards if g.line is not None}
    assert {text.rpartition(":")[2] for text in (lines["config"], lines["names"], lines["args[0]"])} == {"7"}
    assert all(str(g).startswith(f"{g.line}: {g.route} ") for g in guards.guards if g.line)


@pytest.mark.parametrize("change, sentence", [
    ("config.scale = 3.0", "config.scale was 2.0, now 3.0"),
    ("config.scale = 'much'", "config.scale was 2.0, now 'much'"),
    ("config.on = False", "config.on was True, now False"),
    ("names.append('c')", "names had length 2, now 3"),
    ("names[1] = 'c'", "names[1] was 'b', now 'c'"),
    ("del config.scale", "config.scale is no longer there, or is something else"),
    ("Config = 3; config.__class__ = type('Other', (), {})", "config had type Config, now Other"),
    ("args = (tg.ones(3),)", "args[0] had shape (2,), now (3,)"),
    ("args = (tg.ones(2, dtype=tg.float64),)", "args[0] had dtype float32, now float64"),
    ("args = (tg.ones(2), 1)", "args had length 1, now 2"),
])
def test_what_failed_is_said_with_what_is_there_now(change, sentence):
    program = record(SOURCE)
    program.change(change)
    text = str(program.reads.guards.missed(program.namespace["args"], {}))
    assert text.endswith(sentence), text
    assert text.startswith("args had") or ":7: " in text


def test_explain_names_the_first_guard_that_fails():
    program = record(SOURCE)
    guards = program.reads.guards
    assert guards.explain(program.args, {}) is None
    program.change("config.scale = 3.0")
    assert guards.explain(program.args, {}) == ("config.scale", "equals 2.0")
    program.change("config.scale = 2.0; names.append('c')")
    assert guards.explain(program.args, {}) == ("names", "has length 2")
    program.change("del config")
    assert guards.explain(program.args, {}) == ("config", "is no longer there")
    assert guards.explain((), {}) == ("args", "has length 1")
    assert guards.explain(program.args, {"z": 1}) == ("kwargs", "is empty")


def test_a_check_runs_no_code_of_the_users():
    program = record("""
        class Key(str):
            __hash__ = str.__hash__
            def __eq__(self, other): raise RuntimeError('ran')
        class Lying:
            def __eq__(self, other): raise RuntimeError('ran')
            def __len__(self): raise RuntimeError('ran')
            def __iter__(self): raise RuntimeError('ran')
            def __getattribute__(self, name): raise RuntimeError('ran')
            __hash__ = object.__hash__
        class Sub(dict):
            def keys(self): raise RuntimeError('ran')
            def values(self): raise RuntimeError('ran')
            def __iter__(self): raise RuntimeError('ran')
        d, xs, k, t, s = {'a': 1}, [1, 2], 1.0, (1, 2), {1, 2}
        sub = Sub(a=1)
        def f(x): return d['a'] + xs[0] + k + t[0] + sub['a'] + (1 in s)
        """)
    assert program.holds()
    for name in ("d", "xs", "k", "t", "s", "sub"):
        kept = program.namespace[name]
        program.namespace[name] = program.namespace["Lying"]()
        assert not program.holds()
        program.namespace[name] = kept
    program.change("xs[0] = Lying()")
    assert not program.holds()
    program.change("xs[0] = 1; d['a'] = Lying()")
    assert not program.holds()
    program.change("d['a'] = 1; k = Lying()")
    assert not program.holds()
    program.change("k = 1.0; sub['a'] = Lying()")
    assert not program.holds()


def test_a_check_may_run_in_many_threads():
    program = record(SOURCE)
    results = []
    threads = [threading.Thread(target=lambda: results.append(program.holds())) for _ in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert results == [True] * 8


def test_guards_do_not_keep_arguments_alive():
    program = record("def f(x): return x * 2\nargs = (tg.ones(2),)")
    guards, x = program.reads.guards, weakref.ref(program.args[0])
    del program, sys.modules["program"].args
    gc.collect()
    assert x() is None and guards.sources == ("args[0]",)


def test_a_captured_object_has_a_source():
    program = record("""
        class C: pass
        c = C(); c.xs = [1, 2]
        def f(x, d):
            c.w = c.w
            return c.xs, d
        c.w = tg.ones(2)
        args = (2.0, {'a': [3]})
        """)
    reads, namespace = program.reads, program.namespace
    assert reads.source(namespace["c"].xs)(program.args, {}) is namespace["c"].xs
    inner = program.args[1]["a"]
    assert reads.source(inner)(program.args, {}) is inner
    other = {"a": [4]}
    assert reads.source(inner)((2.0, other), {}) is other["a"]
    assert reads.source([1, 2]) is None
    assert reads.source(namespace["c"].w) is None
