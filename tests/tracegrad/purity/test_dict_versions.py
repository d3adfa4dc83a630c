"""Guards on namespaces are skipped while the version of the namespace says that nothing changed; never else."""
from __future__ import annotations

import sys

import pytest
from hazards import record, restored
from hazards_of_code import CODE

from tracegrad.purity.dict_versions import KEPT, TAGGED, version


@pytest.mark.skipif(not KEPT, reason="this interpreter keeps no version of a dict")
def test_the_version_of_a_namespace_changes_with_it():
    class C:
        a = 1
    for namespace, change in ((vars(C), lambda: setattr(C, "a", 2)), (vars(C), lambda: delattr(C, "a")),
                              (globals(), lambda: globals().update(new=1)), (globals(), lambda: globals().pop("new"))):
        number = version(namespace)
        assert number is not None
        before = number.value
        assert number.value == before and namespace.get("nothing") is None and number.value == before
        change()
        assert number.value != before


@pytest.mark.skipif(not TAGGED, reason="this interpreter keeps no version of a class")
@pytest.mark.parametrize("kept", [False, *([True] if KEPT else [])], ids=lambda kept: "by dict" if kept else "by class")
def test_the_version_of_a_class_changes_with_it(monkeypatch, kept):
    monkeypatch.setattr("tracegrad.purity.dict_versions.KEPT", kept)

    class C:
        a = 1
    number, seen = version(C), set()
    for change in (lambda: None, lambda: setattr(C, "__add__", len), lambda: delattr(C, "__add__"),
                   lambda: setattr(C, "a", 2)):
        change()
        assert C.a and number.value and number.value not in seen and C().a and number.value not in seen
        seen.add(number.value)


def test_cpython_3_11_and_3_12_keep_versions():
    assert KEPT or sys.version_info >= (3, 13) or sys.implementation.name != "cpython"


def test_a_dict_of_another_class_has_no_version():
    class Dict(dict): pass
    assert version(Dict(a=1)) is None


def test_guards_hold_again_when_a_change_is_taken_back():
    program = record("class C: k = 1\nn = 0\ndef f(x): return x * C.k")
    for _ in range(3):
        assert program.holds()
        program.change("C.k = 2")
        assert not program.holds() and not program.holds()
        program.change("C.k = 1; n += 1")
        assert program.holds()


CHANGES = [(h, c) for h in CODE for c in h.changes]


@pytest.mark.parametrize(("hazard", "change"), CHANGES, ids=[f"{h.name}: {c}" for h, c in CHANGES])
def test_changes_are_seen_without_versions(hazard, change, monkeypatch):
    monkeypatch.setattr("tracegrad.guards.version", lambda namespace: None)
    program = record(hazard.source, hazard.rehearsals)
    with restored():
        assert program.holds()
        program.change(change)
        assert not program.holds()
