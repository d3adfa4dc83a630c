"""DLPack both ways: NumPy's, torch's and JAX's arrays on one memory with Tensors."""
from __future__ import annotations

import gc
from typing import Any

import numpy as np
import pytest

import tracegrad as tg

DTYPES = [tg.bool, tg.int8, tg.int16, tg.int32, tg.int64, tg.uint8, tg.uint16, tg.uint32, tg.uint64, tg.float16,
          tg.bfloat16, tg.float32, tg.float64, tg.complex64, tg.complex128]


def numbers(dtype: np.dtype) -> np.ndarray:
    return (np.arange(12).reshape(3, 4) % 2 if dtype == tg.bool else np.arange(12).reshape(3, 4)).astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("options", [{}, {"max_version": (1, 0)}, {"max_version": (1, 0), "copy": False},
                                     {"dl_device": (1, 0)}], ids=str)
def test_every_dtype_goes_through_a_capsule(dtype: np.dtype, options: dict[str, Any]) -> None:
    class Exporter:
        def __dlpack__(self, **ignored: Any) -> Any:
            return x.__dlpack__(**options)

        def __dlpack_device__(self) -> tuple[int, int]:
            return x.__dlpack_device__()

    x = tg.asarray(numbers(dtype))
    y = tg.from_dlpack(Exporter())
    assert (y.dtype, y.shape) == (x.dtype, x.shape) and bool((y == x).all())
    assert np.shares_memory(y.array.view(np.uint8), x.array.view(np.uint8))
    turned = tg.from_dlpack(tg.asarray(numbers(dtype)).T[:, ::2])
    assert turned.tolist() == numbers(dtype).T[:, ::2].tolist()


def test_both_sides_see_writes() -> None:
    x = tg.zeros(3)
    array = np.from_dlpack(x)
    x[0] = 1.0
    assert array.tolist() == [1.0, 0.0, 0.0]
    source = np.zeros(3, np.float32)
    y = tg.from_dlpack(source)
    source[1] = 2.0
    y[2] = 3.0
    assert y.tolist() == source.tolist() == [0.0, 2.0, 3.0]


def test_memory_outlives_the_side_that_made_it() -> None:
    y = tg.from_dlpack(tg.asarray(numbers(tg.bfloat16)))
    gc.collect()
    assert y.tolist() == numbers(tg.bfloat16).tolist()


def test_what_cannot_be_exported_is_a_buffer_error() -> None:
    with pytest.raises(BufferError, match="requires grad"):
        tg.ones(2, requires_grad=True).__dlpack__()
    with pytest.raises(BufferError, match="not on"):
        tg.ones(2).__dlpack__(dl_device=(2, 0))
    with pytest.raises(ValueError, match="no streams"):
        tg.ones(2).__dlpack__(stream=1)
    with pytest.raises(TypeError, match="no method __dlpack__"):
        tg.from_dlpack([1, 2])
    with pytest.raises(ValueError, match="no device"):
        tg.from_dlpack(np.ones(2), device="mps")


def test_read_only_memory_stays_so() -> None:
    array = np.ones(3)
    array.flags.writeable = False
    for x in (tg.from_dlpack(array), tg.asarray(array)):
        with pytest.raises(ValueError, match="read-only"):
            x[0] = 2.0
        with pytest.raises(BufferError, match="readonly"):
            x.__dlpack__()
        assert not np.from_dlpack(x).flags.writeable
    assert tg.from_dlpack(array, copy=True).add_(1.0).tolist() == [2.0, 2.0, 2.0]


def test_copies_when_asked() -> None:
    x = tg.ones(3)
    y = tg.from_dlpack(x, copy=True)
    y[0] = 5.0
    assert x.tolist() == [1.0, 1.0, 1.0]
    assert np.shares_memory(tg.from_dlpack(x, copy=False, device="cpu").array, x.array)


def test_a_write_through_an_exported_array_does_not_change_a_gradient() -> None:
    x, w = tg.ones(3), tg.ones(3, requires_grad=True)
    array = np.from_dlpack(x)
    y = (w * x).sum()
    array[:] = 7.0
    y.backward()
    assert w.grad.tolist() == [1.0, 1.0, 1.0]


@pytest.mark.peers
@pytest.mark.parametrize("dtype", ["bool", "uint8", "int8", "int16", "int32", "int64", "float16", "bfloat16", "float32",
                                   "float64", "complex64", "complex128"])
def test_torch_shares_memory(dtype: str) -> None:
    torch = pytest.importorskip("torch")
    ours = tg.asarray(numbers(getattr(tg, dtype)))
    theirs = torch.from_dlpack(ours)
    assert theirs.dtype == getattr(torch, dtype) and theirs.tolist() == ours.tolist()
    theirs[0, 0] = 1
    assert ours[0, 0].item() == 1
    back = tg.from_dlpack(theirs)
    assert back.dtype == ours.dtype and back.tolist() == ours.tolist()
    assert back.array.ctypes.data == theirs.data_ptr() == ours.array.ctypes.data
    theirs[2, 3] = 0
    assert back[2, 3].item() == 0
    with pytest.raises(Exception, match="requires? grad"):
        tg.from_dlpack(torch.ones(2, requires_grad=True))
    assert torch.from_dlpack(tg.asarray(numbers(tg.float32)).T).tolist() == numbers(tg.float32).T.tolist()


@pytest.mark.peers
@pytest.mark.parametrize("dtype", ["bool", "uint8", "int32", "float16", "bfloat16", "float32", "complex64"])
def test_jax_shares_memory(dtype: str) -> None:
    jax = pytest.importorskip("jax")
    theirs = jax.numpy.asarray(numbers(getattr(tg, dtype)))
    ours = tg.from_dlpack(theirs)
    assert ours.dtype == getattr(tg, dtype) and ours.tolist() == theirs.tolist()
    assert ours.array.ctypes.data == theirs.unsafe_buffer_pointer()
    with pytest.raises(ValueError, match="read-only"):                  # JAX's arrays do not change
        ours.zero_()
    back = jax.numpy.from_dlpack(tg.asarray(numbers(getattr(tg, dtype))))
    assert back.dtype == theirs.dtype and back.tolist() == theirs.tolist()
