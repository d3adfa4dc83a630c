"""The door itself: reports, histories, views, errors; that it needs nothing private of NumPy."""
from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from op_cases import cases, strided
from recordings import recording

import tracegrad as tg
from codegen.ir.edges import same_bits
from codegen.ir.ops import OPS, Op
from codegen.ir.type_rules import AxisError, TypeRuleError
from codegen.ir.types import type_of
from tracegrad.dispatch import VIEWING, dispatch
from tracegrad.tensors import Tensor

ROWS = pytest.mark.parametrize("op", [op for op in OPS.values() if op.name != "detach"], ids=lambda op: op.name)


@ROWS
def test_results_are_those_of_the_reference_and_of_the_type_rule(op: Op) -> None:
    for operands, attrs in cases(op):
        for arrays in (operands, [strided(x) for x in operands]):
            found = dispatch(op.name, *map(Tensor, arrays), **attrs)
            with np.errstate(all="ignore"):
                assert same_bits(found.array, np.asarray(op.reference(*arrays, **attrs)))
            assert type_of(found.array) == op.type_rule(*map(type_of, operands), **attrs)
            assert type(found.array) is np.ndarray


@ROWS
def test_operations_are_reported(op: Op) -> None:
    operands, attrs = next(iter(cases(op)))
    with recording() as recorder:
        args = [Tensor(x) for x in operands]
        result = dispatch(op.name, *args, **attrs)
    assert [r.op for r in recorder.ops] == [op.name] and recorder.ops[0].attrs == attrs and recorder.made(result)
    assert recorder.ops[0].line is not None and recorder.ops[0].line.startswith("test_dispatch.py:")
    assert [entry.tensor for entry in recorder.inputs] == args and not recorder.aborts


@pytest.mark.parametrize("name", sorted(VIEWING))
def test_a_result_is_a_view_exactly_where_it_shares_memory(name: str) -> None:
    for operands, attrs in cases(OPS[name]):
        for arrays in (operands, [strided(x) for x in operands]):
            x = Tensor(arrays[0])
            result = dispatch(name, x, **attrs)
            assert result.array.size == 0 or (result.view_of is not None) == np.shares_memory(x.array, result.array)


@pytest.mark.parametrize("op,args,attrs,error,message", [
    ("add", (tg.ones(2), tg.ones(3)), {}, TypeRuleError, r"add: shapes \[2\] and \[3\] do not broadcast \(2 vs 3\)"),
    ("matmul", (tg.ones(2, 3), tg.ones(2, 3)), {}, TypeRuleError,
     r"matmul: operands f32\[2,3\] and f32\[2,3\] do not contract"),
    ("reshape", (tg.ones(2),), {"shape": (3,)}, TypeRuleError, r"reshape: f32\[2\] does not reshape to \[3\]"),
    ("gather", (tg.ones(2), tg.tensor([5])), {"axis": 0}, IndexError, "gather: index 5 is out of bounds for "),
    ("add", (tg.ones(2, dtype=tg.int8), 1000), {}, OverflowError, "add: Python integer 1000 out of bounds for int8"),
    ("sum", (tg.ones(2),), {"axis": (4,), "keepdims": False}, AxisError, "sum: axis 4 is out of range for f32"),
])
def test_errors(op: str, args: Any, attrs: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=rf"^test_dispatch\.py:\d+: {message}") as caught:
        dispatch(op, *args, **attrs)
    assert type(caught.value) is error
    with recording(), pytest.raises(error, match=rf"^test_dispatch\.py:\d+: {message}"):
        dispatch(op, *args, **attrs)


def test_only_what_the_rules_read_is_saved() -> None:
    a, b = tg.ones(3, requires_grad=True), tg.ones(3, requires_grad=True)

    def saved(result: Tensor) -> tuple[bool, ...]:
        return tuple(hasattr(s, "array") for s in (*result.grad_fn.operands, result.grad_fn.result))

    assert saved(a + b) == (False, False, False)
    assert saved(a * b) == (True, True, False)
    assert saved(a * b.detach()) == (False, True, False)
    assert saved(a.exp()) == (False, True) and saved(a.log()) == (True, False)
    assert saved(a.sum()) == saved(a.reshape(1, 3)) == (False, False)


def test_without_numpys_private_names_exceptions_are_silent_too() -> None:
    program = """
import warnings, numpy as np, numpy._core.umath as private
del private._make_extobj
import tracegrad as tg
warnings.simplefilter("error")
before = np.geterr()
x = tg.tensor([0.0, -1.0])
assert (1 / x).tolist() == [float("inf"), -1.0] and str(tg.log(x).tolist()) == "[-inf, nan]"
x /= 0.0
assert np.geterr() == before
"""
    subprocess.run([sys.executable, "-c", program], check=True)


def test_importing_is_light() -> None:
    program = "import sys, tracegrad; sys.exit(any(m in sys.modules for m in ('scipy', 'llvmlite', 'matplotlib')))"
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.parametrize("call", [
    lambda x: tg.sum(x, 2), lambda x: tg.expand_dims(x, 4), lambda x: x.max(axis=-3), lambda x: tg.argmax(x, 2),
    lambda x: tg.flip(x, 2)])
def test_an_axis_that_is_not_there_is_an_index_error_too(call) -> None:
    with pytest.raises(IndexError, match=r"test_dispatch.py:\d+: \w+: axis -?\d is out of range"):
        call(tg.zeros(2, 3))
