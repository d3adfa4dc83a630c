"""Tables that lie in different modules fit each other, and what is said once is said in one place."""
from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

import tracegrad as tg
from codegen.ir.ops import ELEMENTWISE, MOVEMENT, OPS
from codegen.ir.types import DTYPES, FLOATS
from codegen.optimize.expand import EXPANSIONS
from codegen.schedule.movement import MAPS
from tracegrad.aborts import Abort
from tracegrad.derivatives import NON_DIFFERENTIABLE, VJPS
from tracegrad.numpy_functions import UFUNCS

ROOT = Path(__file__).parent.parent
SOURCES = {
    file.relative_to(ROOT).as_posix(): file.read_text(encoding="utf-8")
    for package in ("tracegrad", "codegen") for file in sorted((ROOT / package).rglob("*.py"))
}
ENVIRONMENT = ("TRACEGRAD_CACHE_DIR", "TRACEGRAD_EAGER", "TRACEGRAD_NUM_THREADS")


@pytest.mark.parametrize("op", OPS)
def test_every_op_says_how_it_varies(op):
    assert (op in VJPS) != (op in NON_DIFFERENTIABLE)
    assert len(VJPS.get(op, range(OPS[op].arity))) == OPS[op].arity


@pytest.mark.parametrize("op", [op for op, row in OPS.items() if MOVEMENT in row.traits])
def test_every_movement_has_an_index_map_or_is_rewritten(op):
    assert op in MAPS or op in EXPANSIONS


@pytest.mark.parametrize("op", [
    op for op, row in OPS.items() if ELEMENTWISE in row.traits and isinstance(row.reference, np.ufunc)])
def test_every_op_that_is_a_ufunc_can_be_called_as_one(op):
    row = OPS[op]
    dtype = DTYPES[row.dtypes[0]]
    arrays = [np.array([1, 0, 1]).astype(dtype) for _ in range(row.arity)]
    assert row.reference in UFUNCS
    result = row.reference(*map(tg.asarray, arrays))
    with np.errstate(all="ignore"):
        assert isinstance(result, tg.Tensor) and np.array_equal(result.numpy(), row.reference(*arrays), equal_nan=True)


@pytest.mark.parametrize("name", DTYPES)
def test_every_dtype_can_be_named(name):
    dtype = DTYPES[name]
    assert getattr(tg, dtype.name) == dtype
    assert tg.zeros(2, dtype=dtype).dtype == dtype
    assert tg.is_floating_point(dtype) == (name in FLOATS)


@pytest.mark.parametrize("reason", Abort, ids=lambda reason: reason.name)
def test_every_abort_reason_has_a_sentence_and_a_cure_and_is_used(reason):
    sentence, cure = reason.value
    assert sentence and cure and sum(sentence == other.value[0] for other in Abort) == 1
    uses = [file for file, text in SOURCES.items() if re.search(rf"\bAbort\.{reason.name}\b", text)]
    assert uses, f"nothing gives up because of {reason.name}"


def test_environment_variables_are_three_and_each_is_read_in_one_file():
    readers: dict[str, list[str]] = {}
    for file, text in SOURCES.items():
        for name in set(re.findall(r'(?:get\(|environ\[|environment\[)\s*"(TRACEGRAD_\w+)"', text)):
            readers.setdefault(name, []).append(file)
    assert sorted(readers) == sorted(ENVIRONMENT)
    assert all(len(files) == 1 for files in readers.values()), readers


def test_what_the_readme_says_of_traced_functions_exists():
    section = (ROOT / "README.md").read_text().split("## What a traced function tells you")[1].split("##")[0]
    traced = tg.trace(lambda x: x)
    for name in re.findall(r"\bf\.(\w+)", section):
        assert hasattr(traced, name), name
