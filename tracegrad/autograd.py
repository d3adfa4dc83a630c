"""tg.autograd: gradients as values, the grad mode, numerical checks of derivatives."""
from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import numpy as np

from tracegrad.anomaly import AnomalyError, detect_anomaly  # noqa: F401 - public names
from tracegrad.autodiff import pull_back, seed_of
from tracegrad.complex_numbers import real
from tracegrad.creation import zeros_like
from tracegrad.dispatch import GRAD
from tracegrad.dtypes import INEXACT, complex128, float64
from tracegrad.functional import sum
from tracegrad.functions import Function, once_differentiable  # noqa: F401 - public names
from tracegrad.packing import saved_tensors_hooks  # noqa: F401 - public names
from tracegrad.registered_ops import custom_op, register_function  # noqa: F401 - public names
from tracegrad.saved_bytes import saved_bytes  # noqa: F401 - public names
from tracegrad.source_lines import at_user_line
from tracegrad.tensors import Tensor

F = TypeVar("F", bound=Callable)


def is_grad_enabled() -> bool:
    """Are operations differentiated in this thread?"""
    return GRAD.enabled


class GradModeContext:
    """A context manager, and a decorator, that sets the grad mode of this thread and puts the old one back."""

    __slots__ = ("_before",)
    _mode = True

    def __init__(self) -> None:
        self._before: list[bool] = []           # one for each time it is entered

    def __enter__(self) -> None:
        self._before.append(GRAD.enabled)
        GRAD.enabled = self._mode

    def __exit__(self, *exception: object) -> None:
        GRAD.enabled = self._before.pop()

    def __call__(self, function: F) -> F:
        mode = type(self)

        @functools.wraps(function)
        def in_mode(*args: Any, **kwargs: Any) -> Any:
            with mode():
                return function(*args, **kwargs)
        return in_mode      # type: ignore[return-value]


class no_grad(GradModeContext):
    """with tg.no_grad(): results have no history, and leaves may be written in place."""

    __slots__ = ()
    _mode = False


class enable_grad(GradModeContext):
    """with tg.enable_grad(): undoes an enclosing no_grad."""

    __slots__ = ()
    _mode = True


def _as_list(x: Any) -> list:
    """One Tensor, or several; TypeError for anything else."""
    if isinstance(x, Tensor):
        return [x]
    if not isinstance(x, Iterable):
        raise TypeError(at_user_line(f"{type(x).__name__} is neither a tensor nor a list of tensors"))
    return list(x)


def grad(outputs: Tensor | Sequence[Tensor], inputs: Tensor | Sequence[Tensor], grad_outputs: Any = None, *,
         retain_graph: bool | None = None, create_graph: bool = False,
         allow_unused: bool = False) -> tuple[Tensor | None, ...]:
    """The derivatives of outputs, times grad_outputs, with respect to each input; nothing is accumulated.

    An output with one element needs no grad_outputs. RuntimeError for an input that the outputs do not depend on,
    unless allow_unused, which gives None there.

        >>> x = tg.tensor([1.0, 3.0], requires_grad=True)
        >>> tg.autograd.grad((x * x).sum(), x)
        (tensor([2., 6.]),)
    """
    ends, starts = _as_list(outputs), _as_list(inputs)
    gradients = [None] * len(ends) if grad_outputs is None else _as_list(grad_outputs)
    if len(gradients) != len(ends):
        raise ValueError(at_user_line(f"grad: {len(gradients)} grad_outputs for {len(ends)} outputs"))
    for k, x in enumerate(starts):
        if not x.requires_grad:
            raise RuntimeError(at_user_line(f"grad: input {k} does not require grad"))
    keep = create_graph if retain_graph is None else retain_graph
    seeds = [(y, seed_of(y, g)) for y, g in zip(ends, gradients)]
    found = pull_back(seeds, starts, create_graph, keep)
    if not allow_unused and any(g is None for g in found):
        k = next(k for k, g in enumerate(found) if g is None)
        raise RuntimeError(at_user_line(
            f"grad: the outputs do not depend on input {k}; allow_unused=True gives None for it"))
    return tuple(found)


class GradcheckError(AssertionError):
    """An analytic derivative differs from the numerical one."""


def gradcheck(f: Callable[..., Any], inputs: Tensor | Sequence[Tensor], eps: float = 1e-6, atol: float = 1e-4,
              rtol: float = 1e-3) -> bool:
    """Compare the derivatives of f, at float64 or complex128 inputs that require grad, with central differences.

    Of complex numbers, the real and the imaginary parts are compared, each as a number of its own.
    True, or GradcheckError that says which entry of which Jacobian differs.

        >>> x = tg.tensor([0.5, 2.0], dtype=tg.float64, requires_grad=True)
        >>> tg.autograd.gradcheck(lambda x: tg.exp(x) * x, x)
        True
    """
    points = _as_list(inputs)
    for k, x in enumerate(points):
        if x.requires_grad and x.dtype not in (float64, complex128):
            raise TypeError(at_user_line(
                f"gradcheck: input {k} is {x.dtype}: numerical derivatives need float64 or complex128"))
    ends = [y for y in _as_list(f(*points)) if y.dtype in INEXACT]
    for j, y in enumerate(ends):
        for k, x in enumerate(points):
            if not x.requires_grad:
                continue
            analytic = _analytic(y, x)
            numeric = _numeric(f, points, j, k, eps)
            if not np.allclose(analytic, numeric, rtol, atol, equal_nan=True):
                at = np.unravel_index(np.argmax(np.abs(analytic - numeric)), analytic.shape)
                raise GradcheckError(f"the derivative of output {j}[{at[0]}] with respect to input {k}[{at[1]}] is "
                                     f"{numeric[at]:.6g} numerically, {analytic[at]:.6g} analytically")
    return True


def gradgradcheck(f: Callable[..., Any], inputs: Tensor | Sequence[Tensor], eps: float = 1e-6, atol: float = 1e-4,
                  rtol: float = 1e-3) -> bool:
    """`gradcheck` of the gradients of f: its second derivatives, in directions that are drawn with a fixed seed."""
    points = _as_list(inputs)
    rng = np.random.default_rng(0)
    directions = [Tensor(_drawn(rng, y)) for y in _as_list(f(*points)) if y.dtype in INEXACT]
    active = [x for x in points if x.requires_grad]

    def gradients(*at: Tensor) -> list[Tensor]:
        ends = [y for y in _as_list(f(*at)) if y.dtype in INEXACT]
        xs = [x for x in at if x.requires_grad]
        if not any_requires_grad(ends):
            return [zeros_like(x) for x in xs]
        scalar = real(sum(ends[0] * directions[0]))
        for y, v in zip(ends[1:], directions[1:]):
            scalar = scalar + real(sum(y * v))
        found = grad(scalar, xs, create_graph=True, allow_unused=True)
        return [zeros_like(x) if g is None else g for x, g in zip(xs, found)]

    return gradcheck(gradients, points, eps, atol, rtol) if active else True


def any_requires_grad(tensors: Sequence[Tensor]) -> bool:
    return any(t.requires_grad for t in tensors)


def reals(array: np.ndarray) -> np.ndarray:
    """The elements as real numbers in a row; of a complex one, its two parts."""
    flat = np.ascontiguousarray(array).ravel()
    return flat.view(flat.real.dtype)


def _drawn(rng: np.random.Generator, like: Tensor) -> np.ndarray:
    numbers = rng.standard_normal(reals(like.array).size)
    return numbers.view(like.dtype if like.dtype == complex128 else float64).reshape(like.shape)


def _analytic(y: Tensor, x: Tensor) -> np.ndarray:
    """f64[reals of y, reals of x]: the Jacobian by backward."""
    n = reals(y.array).size
    rows = np.zeros((n, reals(x.array).size))
    if y.requires_grad:
        for k in range(n):
            seed = np.zeros(n)
            seed[k] = 1.0
            g, = grad(y, x, Tensor(seed.view(y.dtype).reshape(y.shape)), retain_graph=True, allow_unused=True)
            if g is not None:
                rows[k] = reals(g.array)
    return rows


def _numeric(f: Callable[..., Any], points: list[Tensor], j: int, k: int, eps: float) -> np.ndarray:
    """f64[reals of output j, reals of input k]: the Jacobian by central differences."""
    x = points[k].array
    numbers = reals(x)

    def at(moved: np.ndarray) -> np.ndarray:
        here = Tensor(moved.view(x.dtype).reshape(x.shape), points[k].requires_grad)
        there = [here if n == k else p for n, p in enumerate(points)]
        return reals([y for y in _as_list(f(*there)) if y.dtype in INEXACT][j].array).copy()

    columns = []
    for n in range(numbers.size):
        step = np.zeros(numbers.size)
        step[n] = eps
        columns.append((at(numbers + step) - at(numbers - step)) / (2 * eps))
    return np.stack(columns, axis=1) if columns else np.zeros((at(numbers).size, 0))


ABSENT = frozenset({"forward_ad", "graph", "profiler"})
"""Names that users of PyTorch look for here, and that tracegrad does not have yet."""


def __getattr__(name: str) -> None:
    if name in ABSENT:
        raise AttributeError(f"tracegrad.autograd has no {name} yet")
    raise AttributeError(f"module 'tracegrad.autograd' has no attribute {name!r}")
