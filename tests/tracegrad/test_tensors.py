"""Tensors: creation, attributes, values for Python, printing, copies; the protocols of Python and NumPy."""
from __future__ import annotations

import ast
import copy
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from recordings import recording

import tracegrad as tg
from tracegrad import methods
from tracegrad.mixed_precision import casting
from tracegrad.tensors import Tensor

# ---- creation -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("data,dtype", [
    (1.5, tg.float32), (True, tg.bool), (3, tg.int64), ([1, 2], tg.int64), ([1, 2.5], tg.float32),
    ([[True], [False]], tg.bool),
    ([], tg.float32), (np.zeros(2), tg.float64), (np.float64(1), tg.float64), (np.arange(3, dtype=np.int16), tg.int16),
    ((1.0, (2.0))[0], tg.float32), ([np.float32(1.0)], tg.float32),
], ids=repr)
def test_dtype_of_data(data: Any, dtype: Any) -> None:
    x = tg.tensor(data)
    assert x.dtype == dtype and x.dtype is tg.zeros(1, dtype=dtype).dtype
    np.testing.assert_array_equal(x.array, data)
    assert x.is_leaf and not x.requires_grad and x.device == tg.Device("cpu")


def test_tensor_copies_and_asarray_shares() -> None:
    array = np.array([1.0, 2.0])
    copied, shared, same = tg.tensor(array), tg.asarray(array), tg.from_numpy(array)
    array[0] = 7.0
    assert copied.tolist() == [1, 2] and shared.tolist() == same.tolist() == [7, 2]
    assert tg.asarray(shared) is shared and tg.asarray(shared, copy=True) is not shared
    assert tg.asarray([1, 2]).dtype == tg.int64 and tg.asarray(array, dtype=tg.float32).dtype == tg.float32
    assert tg.tensor(shared, dtype=tg.int32).tolist() == [7, 2]
    for obj, dtype in ((array, tg.float32), ([1.0], None)):
        with pytest.raises(ValueError, match="a copy is needed"):
            tg.asarray(obj, dtype=dtype, copy=False)
    swapped = np.array([1, 2], ">i4")
    assert tg.asarray(swapped).tolist() == [1, 2] and tg.asarray(swapped).dtype == tg.int32


@pytest.mark.parametrize("data,message", [
    ("text", "tensor: str data of dtype .* are not numbers"), (object(), "are not numbers"), ([1, [2]], "tensor: "),
    (np.array(["a"]), "are not numbers"), (np.zeros(1, np.datetime64), "are not numbers"),
])
def test_what_is_no_data(data: Any, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=rf"^test_tensors\.py:\d+: .*{message}"):
        tg.tensor(data)


def test_creation_from_nothing() -> None:
    for found, expected in (
        (tg.zeros(2, 3), np.zeros((2, 3), np.float32)), (tg.zeros((2, 0)), np.zeros((2, 0), np.float32)),
        (tg.ones(2, dtype=tg.int32), np.ones(2, np.int32)), (tg.zeros(()), np.float32(0)),
        (tg.full((2,), 7), np.array([7, 7])), (tg.full(2, 0.5), np.full(2, 0.5, np.float32)),
        (tg.full((), True), np.array(True)), (tg.empty(2), np.zeros(2, np.float32)),
        (tg.eye(2, 3, k=1), np.eye(2, 3, k=1, dtype=np.float32)), (tg.eye(2, dtype=tg.int64), np.eye(2, dtype=int)),
        (tg.arange(4), np.arange(4)), (tg.arange(1, 4), np.arange(1, 4)), (tg.arange(5, 0, -2), np.arange(5, 0, -2)),
        (tg.arange(3, 0), np.arange(3, 0)), (tg.arange(0, 1, 0.25), np.arange(0, 1, 0.25, np.float32)),
        (tg.arange(3, dtype=tg.float64), np.arange(3.0)),
        (tg.linspace(0, 1, 5), np.linspace(0, 1, 5, dtype=np.float32)), (tg.linspace(2, 3, 1), np.float32([2])),
        (tg.linspace(0, 0.3, 4, dtype=tg.float64), np.linspace(0, 0.3, 4)),
        (tg.linspace(1, 2, 0), np.zeros(0, np.float32)), (tg.ones_like(tg.zeros(1)), np.ones(1, np.float32)),
        (tg.zeros_like(tg.ones(2, dtype=tg.int8)), np.zeros(2, np.int8)),
        (tg.full_like(tg.zeros(2), 3, dtype=tg.int64), np.array([3, 3])),
    ):
        np.testing.assert_array_equal(found.array, expected, strict=True)
    with pytest.raises(ValueError, match="arange: the step is 0"):
        tg.arange(1, 2, 0)
    x = tg.zeros(2, requires_grad=True)
    assert x.requires_grad and x.is_leaf
    y = tg.zeros(2)
    y[0] = 1.0                                      # what is made of a constant has memory of its own
    assert y.tolist() == [1, 0]


# ---- values for Python ----------------------------------------------------------------------------------------------


def test_values_for_python() -> None:
    assert tg.tensor(2.5).item() == 2.5 and type(tg.tensor(2).item()) is int and tg.tensor([[True]]).item() is True
    assert float(tg.tensor([1.5])) == 1.5 and int(tg.tensor(-1.5)) == -1 and bool(tg.tensor(0.0)) is False
    assert [10, 20, 30][tg.tensor(1)] == 20 and range(tg.tensor(3)) == range(3)
    assert tg.tensor([[1, 2]]).tolist() == [[1, 2]] and tg.tensor(1.0).tolist() == 1.0
    assert len(tg.zeros(3, 2)) == 3 and [row.tolist() for row in tg.tensor([[1], [2]])] == [[1], [2]]
    assert 2 in tg.tensor([1, 2]) and 3 not in tg.tensor([1, 2])
    a, b = tg.tensor([1, 2])
    assert a.item() == 1 and b.item() == 2
    assert tg.tensor(2.0) == 2.0 and not tg.tensor(2.0) == None and tg.tensor(1) != "1"     # noqa: E711
    assert len({tg.tensor(1), tg.tensor(1)}) == 2
    assert f"{tg.tensor(3.14159):.2f}" == "3.14"


@pytest.mark.parametrize("call,error,message", [
    (lambda x: bool(x), ValueError, r"bool: f32\[2\] has 2 elements, its truth is ambiguous; use tg.any or tg.all"),
    (lambda x: bool(x[:0]), ValueError, r"bool: f32\[0\] has 0 elements"),
    (lambda x: x.item(), ValueError, r"item: f32\[2\] has 2 elements, not 1"),
    (lambda x: float(x), ValueError, r"float: f32\[2\] has 2 elements, not 1"),
    (lambda x: [1][x[0]], TypeError, r"index: f32\[\] is not a 0-d integer tensor"),
    (lambda x: len(x[0]), TypeError, "len: a 0-d tensor has no length"),
    (lambda x: iter(x[0]), TypeError, "iter: a 0-d tensor cannot be iterated over"),
    (lambda x: f"{x:.2f}", TypeError, r"format: a tensor of shape \[2\] does not take '.2f'"),
    (lambda x: x.requires_grad_().numpy(), RuntimeError, r"numpy: the tensor requires grad"),
], ids=range(9))
def test_what_is_no_value(call: Callable, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=rf"^test_tensors\.py:\d+: {message}"):
        call(tg.tensor([1.0, 2.0]))


@pytest.mark.parametrize("read", [
    bool, float, int, repr, str, Tensor.item, Tensor.tolist, Tensor.numpy, np.asarray, lambda x: f"{x:.1f}",
    lambda x: f"{x}", np.from_dlpack, lambda x: 3 in x, pickle.dumps, lambda x: [1, 2][x.long()],
], ids=range(15))
def test_reads_are_reported(read: Callable) -> None:
    x = tg.tensor([1.0])[0]
    with recording() as recorder:
        read(x)
    assert bool(recorder.reads) != ([a.reason.name for a in recorder.aborts] == ["HOST_READ"])
    with recording() as recorder:
        x.shape, x.dtype, x.ndim, x.size, x.requires_grad, x.is_leaf, x.grad, x.reshape(1), len(x.reshape(1))
    assert not recorder.aborts


# ---- printing -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make,text", [
    (lambda: tg.tensor([1.0, 2.0]), "tensor([1., 2.])"),
    (lambda: tg.tensor([1.0, -2.5]), "tensor([ 1.0000, -2.5000])"),
    (lambda: tg.tensor(3.25), "tensor(3.2500)"),
    (lambda: tg.tensor([1, 20]), "tensor([ 1, 20])"),
    (lambda: tg.tensor([True, False]), "tensor([ True, False])"),
    (lambda: tg.tensor([np.nan, -np.inf, 1.5]), "tensor([   nan,   -inf, 1.5000])"),
    (lambda: tg.tensor([np.inf, 2.0]), "tensor([inf,  2.])"),
    (lambda: tg.tensor([1e-6, 1.0]), "tensor([1.0000e-06, 1.0000e+00])"),
    (lambda: tg.tensor([1e9]), "tensor([1.0000e+09])"),
    (lambda: tg.tensor([[1.0, 2.5]], requires_grad=True), "tensor([[1.0000, 2.5000]], requires_grad=True)"),
    (lambda: tg.tensor([2.0], requires_grad=True).exp(), "tensor([7.3891], grad_fn=<exp backward>)"),
    (lambda: tg.tensor([1.0], dtype=tg.float64), "tensor([1.], dtype=float64)"),
    (lambda: tg.tensor([1.5], dtype=tg.bfloat16), "tensor([1.5000], dtype=bfloat16)"),
    (lambda: tg.tensor([1], dtype=tg.uint8), "tensor([1], dtype=uint8)"),
    (lambda: tg.zeros(0), "tensor([])"),
    (lambda: tg.zeros(0, dtype=tg.int64), "tensor([], dtype=int64)"),
    (lambda: tg.zeros(2, 0), "tensor([], shape=(2, 0))"),
    (lambda: tg.tensor([[1.0], [2.0]]), "tensor([[1.],\n        [2.]])"),
    (lambda: tg.arange(2000), "tensor([   0,    1,    2, ..., 1997, 1998, 1999])"),
    (lambda: tg.arange(2000) * 0.5, "tensor([  0.0000,   0.5000,   1.0000, ..., 998.5000, 999.0000, 999.5000])"),
])
def test_printing(make: Callable[[], Tensor], text: str) -> None:
    assert repr(make()) == text


# ---- copies ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [tg.float32, tg.bool, tg.bfloat16, tg.int64], ids=str)
def test_copies(dtype: Any) -> None:
    x = tg.ones(2, dtype=dtype)
    for y in (copy.deepcopy(x), pickle.loads(pickle.dumps(x))):
        assert isinstance(y, Tensor) and y.dtype is x.dtype and y.tolist() == x.tolist()
        assert not np.shares_memory(x.array, y.array)
    assert np.shares_memory(copy.copy(x).array, x.array)


def test_copies_of_parameters_with_gradients() -> None:
    w = tg.nn.Parameter(tg.ones(2))
    w.sum().backward()
    twin, shared, loaded = copy.deepcopy([w, w]), copy.copy(w), pickle.loads(pickle.dumps(w))
    assert twin[0] is twin[1] and type(twin[0]) is type(shared) is type(loaded) is tg.nn.Parameter
    assert twin[0].requires_grad and twin[0].is_leaf and twin[0].grad.tolist() == [1, 1]
    assert not np.shares_memory(twin[0].grad.array, w.grad.array)   # type: ignore[union-attr]
    assert shared.requires_grad and shared.is_leaf
    with pytest.raises(RuntimeError, match="deepcopy: the tensor has a history, and only leaves can be copied"):
        copy.deepcopy(w * 2.0)


# ---- methods --------------------------------------------------------------------------------------------------------


def test_signatures_name_what_is_bound() -> None:
    source = (Path(methods.__file__).parent / "signatures.pyi").read_text()
    declared = [n for c in ast.walk(ast.parse(source)) if isinstance(c, ast.ClassDef) for n in c.body
                if isinstance(n, ast.FunctionDef)]
    bound = {**methods._OPERATORS, **methods._METHODS, **methods._PROPERTIES}
    assert {f.name for f in declared} == set(bound)
    assert all(getattr(Tensor, name) is casting(function) for name, function in methods._METHODS.items())


def test_other_names() -> None:
    x = tg.tensor([[4.0, 9.0]])
    assert x.numel() == x.size == 2 and x.element_size() == x.itemsize == 4 and x.nbytes == 8 and x.dim() == x.ndim == 2
    assert x.sub(1.0).tolist() == [[3, 8]] and x.div(2.0).tolist() == [[2, 4.5]] and x.neg().tolist() == [[-4, -9]]
    assert (x ** 0.5).tolist() == [[2, 3]]
    assert (1 - x).tolist() == [[-3, -8]] and (36 / x).tolist() == [[9, 4]] and abs(-x).tolist() == [[4, 9]]
    assert x.eq(4.0).tolist() == [[True, False]] and (x >= 9).tolist() == [[False, True]]


@pytest.mark.parametrize("dtype", [tg.int8, tg.int32, tg.uint8, tg.bool], ids=str)
def test_numbers_that_do_not_fit_are_converted_as_astype_does(dtype: Any) -> None:
    data = np.array([np.nan, 1e20, -1e20, 2.9, -2.9, np.inf, 300.0])
    expected = tg.tensor(data).astype(dtype).tolist()
    assert tg.tensor(data, dtype=dtype).tolist() == tg.tensor(data.tolist(), dtype=dtype).tolist() == expected
    assert tg.tensor(data.astype(">f8"), dtype=dtype).tolist() == expected
