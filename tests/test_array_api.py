"""The script that runs the Array API's suite, on outcomes of no suite; and the namespace of traced functions."""
from __future__ import annotations

from xml.etree import ElementTree

import array_api_conformance as conformance
import pytest
import traced_namespace

import tracegrad as tg


def test_outcomes_are_named_as_pytest_names_tests() -> None:
    attributes = 'classname="array_api_tests.test_x.TestDims" name="test_y[a]"'
    case = ElementTree.fromstring(f"<testcase {attributes}><failure/></testcase>")
    assert conformance.outcome(case) == ("test_x.py::TestDims::test_y[a]", "failed")


def test_tests_named_after_dtypes_are_matched_by_their_place() -> None:
    yardstick = {"f.py::t[float32]": "passed", "f.py::t[float64]": "passed", "f.py::u": "failed"}
    found = {"f.py::t[dtype0]": "passed", "f.py::t[dtype1]": "failed", "f.py::u": "passed"}
    assert conformance.aligned(found, yardstick)["f.py::t[float64]"] == "failed"
    assert conformance.aligned(found, yardstick)["f.py::t[float32]"] == "passed"


def test_a_failure_without_a_reason_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    yardstick = {"f.py::a": "passed", "f.py::b": "passed", "f.py::c": "failed", "f.py::d": "skipped"}
    assert conformance.compare("eager", {**yardstick, "f.py::c": "passed"}, yardstick)
    assert "2 of the 2 tests that NumPy passes (100.00 %), and 1 that it does not" in capsys.readouterr().out
    assert not conformance.compare("eager", {**yardstick, "f.py::b": "failed"}, yardstick)
    assert "f.py::b: failed: NO REASON KNOWN" in capsys.readouterr().out


def test_every_known_failure_has_a_reason() -> None:
    assert all(name and reason for name, reason in conformance.reasons().items())


def test_functions_of_the_traced_namespace_are_replayed() -> None:
    xp = traced_namespace
    x = xp.asarray([3.0, 1.0, 2.0])
    before = xp.COUNTS["sort"]["replayed"]
    assert xp.sort(x).tolist() == [1.0, 2.0, 3.0] and xp.linalg.vector_norm(x).item() == pytest.approx(14**0.5)
    assert xp.COUNTS["sort"]["replayed"] == before + 1 and xp.float32 is tg.float32
