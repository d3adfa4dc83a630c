"""Limits, kinds, casts, promotion with numbers, and what the namespace says of itself."""
from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

import tracegrad as tg

INTEGERS = [tg.int8, tg.int16, tg.int32, tg.int64, tg.uint8, tg.uint16, tg.uint32, tg.uint64]
FLOATS = [tg.float16, tg.bfloat16, tg.float32, tg.float64]


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_finfo(dtype: np.dtype) -> None:
    info, known = tg.finfo(dtype), ml_dtypes.finfo(dtype)
    assert info.bits == dtype.itemsize * 8 and info.dtype == dtype
    assert (info.eps, info.max, info.min, info.smallest_normal) == tuple(
        float(x) for x in (known.eps, known.max, known.min, known.smallest_normal))
    one = np.ones((), dtype)
    assert float(np.nextafter(one, one + one)) == 1.0 + info.eps and info.tiny == info.smallest_normal
    assert tg.finfo(tg.ones(2, dtype=dtype)) == info
    assert tg.finfo(tg.complex64) == tg.finfo(tg.float32)
    with pytest.raises(TypeError, match="iinfo is for integers"):
        tg.finfo(tg.int8)


@pytest.mark.parametrize("dtype", INTEGERS, ids=str)
def test_iinfo(dtype: np.dtype) -> None:
    info = tg.iinfo(dtype)
    assert (info.bits, info.max, info.min) == (np.iinfo(dtype).bits, np.iinfo(dtype).max, np.iinfo(dtype).min)
    with pytest.raises(TypeError, match="finfo is for"):
        tg.iinfo(tg.float32)


def test_isdtype() -> None:
    kinds = {"bool": [tg.bool], "signed integer": INTEGERS[:4], "unsigned integer": INTEGERS[4:], "integral": INTEGERS,
             "real floating": FLOATS, "complex floating": [tg.complex64, tg.complex128],
             "numeric": [*INTEGERS, *FLOATS, tg.complex64, tg.complex128]}
    for kind, members in kinds.items():
        for dtype in (tg.bool, *INTEGERS, *FLOATS, tg.complex64, tg.complex128):
            assert tg.isdtype(dtype, kind) == (dtype in members)
    assert tg.isdtype(tg.int8, ("bool", tg.int8)) and not tg.isdtype(tg.int8, tg.uint8)
    with pytest.raises(ValueError, match="there is no kind 'number'"):
        tg.isdtype(tg.int8, "number")


def test_can_cast_is_promotion() -> None:
    assert tg.can_cast(tg.uint8, tg.int16) and not tg.can_cast(tg.uint16, tg.int16)
    assert not tg.can_cast(tg.uint64, tg.int64) and not tg.can_cast(tg.complex64, tg.float64)
    assert tg.can_cast(tg.zeros(1), tg.complex64) and not tg.can_cast(tg.bfloat16, tg.float16)


@pytest.mark.parametrize("operands, expected", [
    ((tg.int8, 1), tg.int8), ((tg.int8, 1.0), tg.float32), ((1.0, tg.float16), tg.float16), ((tg.bool, 2), tg.int64),
    ((tg.float64, 1j), tg.complex128), ((tg.bfloat16, 1.0, 3), tg.bfloat16), ((tg.zeros(1), np.float64(2)), tg.float32),
    ((1, 2.0), tg.float32), ((tg.int32, tg.uint8, True), tg.int32),
])
def test_result_type_with_numbers(operands: tuple, expected: np.dtype) -> None:
    assert tg.result_type(*operands) == expected


def test_the_namespace_says_what_it_is() -> None:
    info = tg.__array_namespace_info__()
    assert info.default_device() == tg.ones(1).device and info.default_device() in info.devices()
    assert info.default_dtypes()["real floating"] == tg.ones(1).dtype
    assert info.default_dtypes(device="cpu")["integral"] == tg.arange(3).dtype
    assert set(info.dtypes(kind="real floating")) == {"float32", "float64"} and "bool" in info.dtypes()
    assert info.capabilities()["max dimensions"] == tg.ones((1,) * 64).ndim
    assert tg.ones(1).__array_namespace__(api_version=tg.__array_api_version__) is tg
    with pytest.raises(ValueError, match="no version '1999.12'"):
        tg.ones(1).__array_namespace__(api_version="1999.12")


def test_methods_that_convert() -> None:
    x = tg.tensor([1.5, -2.5])
    for name, dtype in (("half", tg.float16), ("bfloat16", tg.bfloat16), ("short", tg.int16), ("char", tg.int8),
                        ("double", tg.float64)):
        assert getattr(x, name)().dtype == dtype
    assert x.to(tg.int8).tolist() == [1, -2] and x.to("cpu") is x and x.to(x.dtype) is x
    assert x.to("cpu", dtype=tg.float64).dtype == x.to("cpu", tg.float64).dtype == tg.float64
    assert x.to(tg.zeros(1, dtype=tg.int32)).dtype == tg.int32 and x.to(tg.float32, copy=True) is not x
    assert x.type(tg.int16).dtype == tg.int16 and x.type() == "float32" and x.type_as(tg.arange(1)).dtype == tg.int64
    assert x.to_device(x.device) is x and tg.astype(x, tg.int8, device="cpu").dtype == tg.int8
    with pytest.raises(ValueError, match="no device"):
        x.to_device("tpu:0")
    with pytest.raises(ValueError, match="no streams"):
        x.to_device("cpu", stream=3)
