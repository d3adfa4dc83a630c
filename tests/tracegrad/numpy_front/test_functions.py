"""Every ufunc, method and function that has a counterpart, in every dtype, as NumPy has it, replayed."""
from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from traced_numpy import check_equal, outcome, replayed

from tracegrad.lifted import plain
from tracegrad.numpy_front.arrays import real
from tracegrad.numpy_front.binding import Array
from tracegrad.numpy_functions import UFUNCS
from tracegrad.tensors import Tensor

F8 = np.array([[0.5, 0.25, 0.75, 0.1], [0.9, 0.3, 0.6, 0.2], [0.15, 0.45, 0.05, 0.8]])
I8 = np.array([[5, 2, 3, 7], [1, 4, 2, 0], [6, 6, 9, 1]])
DTYPES = ("bool", "int8", "uint8", "int32", "int64", "uint32", "float16", "float32", "float64", "complex128")


def operand(dtype: str) -> np.ndarray:
    kind = np.dtype(dtype).kind
    return (I8 if kind in "iu" else I8 % 2 if kind == "b" else F8).astype(dtype)


def operands(ufunc: np.ufunc, dtype: str) -> list[np.ndarray]:
    x = operand(dtype)
    return [x, x[::-1].copy() if ufunc is not np.matmul else x.T.copy()][:ufunc.nin]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("ufunc", UFUNCS, ids=lambda f: f.__name__)
@pytest.mark.filterwarnings("ignore::RuntimeWarning", "ignore:.*casting:UserWarning")
def test_ufuncs(ufunc: np.ufunc, dtype: str) -> None:
    """The values and dtypes of NumPy's loop, or its error."""
    given = operands(ufunc, dtype)
    expected, error = outcome(ufunc, tuple(given))
    found, mistake = outcome(ufunc, tuple(Array(Tensor(x)) for x in given))
    assert type(mistake) is type(error)
    check_equal(plain(found, replace=real), expected)


@pytest.mark.parametrize("dtype", ["float64", "float32", "int64"])
@pytest.mark.parametrize("nin", [1, 2])
def test_ufuncs_replay(nin: int, dtype: str) -> None:
    """All at once; of integers those that have integer results by definition of the op."""
    some = [u for u in UFUNCS if u.nin == nin and u is not np.matmul and not isinstance(
        outcome(u, tuple(operands(u, dtype)))[1], Exception)]
    if dtype == "int64":
        some = [u for u in some if u not in (np.reciprocal, np.power, np.left_shift, np.right_shift)]
    x, y = operands(np.add, dtype)
    replayed(lambda x, y: [u(x) if nin == 1 else u(x, y) for u in some], x, y)


PROMOTIONS: dict[str, Callable] = {
    "int and float": lambda x, i: x.astype(np.float32) + i,
    "small ints and a number": lambda x, i: (i.astype(np.int8) + 1, i.astype(np.uint8) * 2),
    "float32 and a number": lambda x, i: (x.astype(np.float32) * 2.5, 2 / x.astype(np.float32)),
    "float32 and a NumPy scalar": lambda x, i: x.astype(np.float32) * np.float64(2.5),
    "int division": lambda x, i: (i / 2, i // 2, i % 3, i / i.astype(np.int8).clip(1)),
    "bools": lambda x, i: ((x > 0.3) + (x > 0.5), (x > 0.3) * (i > 2), (x > 0.3) & (i > 2), ~(x > 0.3)),
    "bool and int": lambda x, i: (x > 0.3) + i,
    "mean of ints": lambda x, i: (i.mean(), i.mean(axis=0), i.var(axis=1), i.std()),
    "sum of small ints": lambda x, i: (i.astype(np.int8).sum(), i.astype(np.uint8).sum(axis=1), (x > 0.5).sum()),
    "prod": lambda x, i: (x.prod(axis=0), i.astype(np.int16).prod(axis=1)),
    "scalars": lambda x, i: (x[0, 0] + i[0, 0], x.astype(np.float32)[0, 0] * 2.0, x.sum() * np.float32(1)),
    "sqrt of ints": lambda x, i: (np.sqrt(i), np.exp(i.astype(np.int8)), np.sqrt(i.astype(np.int16))),
    "where": lambda x, i: (np.where(x > 0.5, i, x), np.where(x > 0.5, 1, 0), np.where(i > 2, np.float32(1), 0)),
    "concatenate": lambda x, i: (np.concatenate([x, i]), np.concatenate([i.astype(np.int8), i])),
    "power": lambda x, i: (i ** 2, x ** 3, x ** 0.5, 2.0 ** x, x.astype(np.float32) ** 2),
    "clip": lambda x, i: (x.clip(0.2, 0.7), np.clip(i, 2, 5), i.clip(1.5, 4)),
    "dot": lambda x, i: (x.dot(i.T), i @ i.T, x.astype(np.float32) @ i.T),
}


@pytest.mark.parametrize("name", PROMOTIONS)
def test_promotion_is_numpys(name: str) -> None:
    replayed(PROMOTIONS[name], F8, I8)


METHODS: dict[str, Callable] = {
    "astype": lambda x: (x.astype(int), x.astype("f4"), x.astype(bool), x.astype(float, copy=False)),
    "max, min": lambda x: (x.max(), x.min(axis=0), x.max(axis=(0, 1), keepdims=True), x.max(initial=3.0)),
    "any, all": lambda x: ((x > 0.5).any(), (x > 0.5).all(axis=1), x.any()),
    "argmax, argmin": lambda x: (x.argmax(), x.argmax(axis=0), x.argmin(axis=1), x.argmin(keepdims=True)),
    "mean, where": lambda x: x.mean(where=x > 0.2),
    "std, ddof": lambda x: (x.std(ddof=1), x.var(axis=0, ddof=1, keepdims=True)),
    "reshape": lambda x: (x.reshape(4, 3), x.reshape((2, -1)), x.reshape(-1), x.T.reshape(2, 6)),
    "ravel, flatten": lambda x: (x.ravel(), x.flatten(), x.T.ravel()),
    "transpose": lambda x: (x.T, x.transpose(), x.transpose(1, 0), x.transpose((1, 0)), x.swapaxes(0, 1)),
    "of scalars": lambda x: (x.sum().T, x.sum().transpose(), x.sum().squeeze(), x.sum().reshape(()), x.sum().view(),
                             np.transpose(x.max()), np.squeeze(x.max()), x.max().reshape(1), (x > 0.5) ** 2),
    "squeeze": lambda x: (x[None].squeeze(), x[:, :1].squeeze(1)),
    "diagonal, trace": lambda x: (x.diagonal() * 1, x.diagonal(1) * 1, x.trace()),
    "repeat": lambda x: (x.repeat(2), x.repeat(3, axis=1)),
    "take": lambda x: (x.take([0, 5]), x.take([2, 0], axis=1), x.take(3)),
    "round": lambda x: (x.round(), x.round(1), np.round(x, 1)),
    "copy, view": lambda x: (x.copy(), x.view() + 0),
    "cumsum": lambda x: (x.cumsum(), x.cumsum(axis=1), x.cumprod(axis=0), (x > 0.5).cumsum()),
    "sort": lambda x: (np.sort(x), np.sort(x, axis=0), x.argsort(), np.argsort(x, axis=None)),
    "searchsorted": lambda x: np.searchsorted(np.sort(x[0]), x[1]),
    "item reads": lambda x: (x[0, 0], x[-1], x[1:, 2], x[..., 0], x[None, 1], x[0][1]),
    "indices": lambda x: (x[[0, 2]], x[[0, 1], [1, 2]], x[np.array([[0], [2]]), [0, 3]], x[1, [0, 1]], x[::-1, ::2]),
    "constant masks": lambda x: (x[np.array([True, False, True])], x[np.arange(3) > 0]),
    "iteration": lambda x: [row.sum() for row in x],
    "len, shape": lambda x: (len(x), x.shape, x.ndim, x.size, x.dtype.name),
    "builtins": lambda x: (abs(x), sum(x), divmod(x, 0.3)),
    "isinstance": lambda x: x * (isinstance(x, np.ndarray) + isinstance(x[0, 0], float) + np.isscalar(x[0, 0])),
}


@pytest.mark.parametrize("name", METHODS)
def test_methods(name: str) -> None:
    replayed(METHODS[name], F8)


CALLS: dict[str, Callable] = {
    "creation": lambda x: (np.zeros(3) + x[:, 0], np.ones((2, 2)), np.full(3, 7), np.empty_like(x) * 0, np.eye(3) @ x,
                           np.arange(4) * x, np.arange(0.0, 1.0, 0.25) * x, np.linspace(0, 1, 4) + x, np.identity(3)),
    "like": lambda x: (np.zeros_like(x), np.ones_like(x, dtype=int), np.full_like(x, 3), np.zeros_like(x[0])),
    "array": lambda x: (np.array([x[0, 0], 1.0]), np.array([x[0], x[1]]), np.asarray(x), np.array(x, dtype=np.float32)),
    "stacking": lambda x: (np.stack([x, x]), np.vstack([x, x[0]]), np.hstack([x, x]), np.column_stack([x[0], x[1]]),
                           np.dstack([x, x]), np.concatenate([x, x], axis=1), np.append(x, x[0]), np.r_[x[0], x[1]]),
    "splitting": lambda x: (np.split(x, 2, axis=1), np.array_split(x, 2), np.hsplit(x, 2)),
    "rolling": lambda x: (np.roll(x, 1), np.roll(x, 1, axis=0), np.roll(x, (1, 2), axis=(0, 1)), np.rot90(x)),
    "flipping": lambda x: (np.flip(x), np.fliplr(x), np.flipud(x), np.flip(x, 0)),
    "axes": lambda x: (np.moveaxis(x[None], 0, -1), np.expand_dims(x, 1), np.atleast_3d(x), np.swapaxes(x, 0, 1)),
    "tiling": lambda x: (np.tile(x, 2), np.tile(x, (2, 1)), np.repeat(x, 2, axis=0), np.kron(x, np.eye(2))),
    "differences": lambda x: (np.diff(x), np.diff(x, axis=0, n=2), np.gradient(x[0]), np.ediff1d(x[0])),
    "products": lambda x: (np.dot(x, x.T), np.inner(x, x), np.outer(x[0], x[1]), np.vdot(x, x), np.matmul(x, x.T),
                           np.tensordot(x, x, axes=([1], [1])), np.trace(x), np.cross(x[:, :3], x[:, 1:])),
    "einsum": lambda x: (np.einsum("ij,kj->ik", x, x), np.einsum("ij->j", x)),
    "triangles": lambda x: (np.tril(x), np.triu(x, 1), np.diag(x[0]), np.diag(x), np.diagflat(x[0])),
    "statistics": lambda x: (np.mean(x), np.average(x, axis=0, weights=[1, 2, 3]), np.std(x, axis=1), np.ptp(x),
                             np.cov(x), np.corrcoef(x), np.var(x, ddof=1)),
    "reductions": lambda x: (np.sum(x, axis=0), np.prod(x), np.max(x, axis=1), np.amin(x), np.all(x > 0), np.any(x > 2),
                             np.argmax(x, axis=1), np.count_nonzero(x > 0.5), np.nansum(x), np.nanmean(x, axis=0)),
    "order statistics": lambda x: (np.median(x), np.median(x, axis=1)),
    "cumulative": lambda x: (np.cumsum(x, axis=1), np.cumprod(x[0]), np.trapezoid(x, axis=1)),
    "choice": lambda x: (np.where(x > 0.5, x, 0), np.select([x > 0.6, x > 0.3], [x, -x], 0), np.clip(x, 0.2, 0.6),
                         np.nan_to_num(x)),
    "polynomials": lambda x: (np.polyval([1.0, 2.0, 3.0], x), np.vander(x[0], 3)),
    "interpolation": lambda x: np.interp(x, [0.0, 0.5, 1.0], [1.0, 2.0, 0.0]),
    "norms": lambda x: (np.linalg.norm(x), np.linalg.norm(x, axis=1), np.linalg.norm(x[0], 1)),
    "grids": lambda x: (np.meshgrid(x[0], x[1]), np.indices((2, 2)), np.mgrid[0:2, 0:3] * x[0, 0]),
    "broadcasting": lambda x: (np.broadcast_to(x[0], (2, 4)) * 1, np.broadcast_arrays(x, x[0])[1] * 1),
    "padding": lambda x: (np.pad(x, 1), np.pad(x, ((1, 0), (0, 2)), constant_values=2.0), np.pad(x, 1, mode="edge")),
    "windows": lambda x: np.convolve(x[0], [1.0, 2.0, 1.0], mode="valid"),
    "closeness": lambda x: (np.isclose(x, 0.5), np.isfinite(x), np.sinc(x), np.angle(x), np.signbit(x)),
    "ufunc methods": lambda x: (np.add.reduce(x, axis=1), np.maximum.accumulate(x, axis=1), np.add.accumulate(x),
                                np.multiply.reduce(x), np.subtract.outer(x[0], x[1])),
    "ufunc options": lambda x: (np.add(x, 1, dtype=np.float32), np.sum(x, where=x > 0.5),
                                np.sqrt(x, out=np.ones_like(x))),
    "routines": lambda x: (np.linalg.solve(x @ x.T + np.eye(3), x), np.linalg.inv(x @ x.T + np.eye(3)),
                           np.linalg.det(x @ x.T), np.linalg.slogdet(x @ x.T),
                           np.linalg.cholesky(x @ x.T + np.eye(3)),
                           np.linalg.eigh(x @ x.T), np.linalg.svd(x), np.linalg.qr(x), np.linalg.pinv(x),
                           np.linalg.svd(x, compute_uv=False), np.linalg.matrix_power(x @ x.T, 3),
                           np.linalg.eigvalsh(x @ x.T)),
    "routines of integers": lambda x: (np.linalg.inv((x * 9).astype(int)[:, :3] + 9 * np.eye(3, dtype=int)),
                                       np.fft.fft((x * 9).astype(int))),
    "Fourier": lambda x: (np.fft.fft(x), np.fft.ifft(np.fft.fft(x)).real, np.fft.rfft(x, axis=0), np.fft.irfft(x),
                          np.fft.fft2(x), np.fft.fftshift(np.fft.fftfreq(4)) * x, np.fft.fftshift(x, axes=1),
                          np.fft.rfft(x.astype(np.float32))),
    "histograms": lambda x: (np.histogram(x, bins=5, range=(0, 1)), np.histogram(x, [0.0, 0.3, 0.6])[0],
                             np.digitize(x, [0.3, 0.6]), np.histogram(x.astype(np.float32), 4, (0.1, 0.7))),
    "blocks": lambda x: np.block([[x, x], [x, x]]),
    "without NaN": lambda x: (np.nanmax(x, axis=0), np.nanmin(x)),
    "imported": lambda x: __import__("numpy").tanh(x),
}


@pytest.mark.parametrize("name", CALLS)
def test_functions(name: str) -> None:
    replayed(CALLS[name], F8)
