"""gradcheck and gradgradcheck: derivatives against central differences, in float64 or complex128.

    gradcheck: 1 of 2 Jacobians is not what differences say (atol 0.0001, rtol 0.001)
      output  input  wrong   worst at   numerical  analytical
           0      0  2 of 4  [1], [1]           4           5

The Jacobian of output j by input k has a row for each element of the output. Of complex numbers, the real and the
imaginary parts are elements, each by itself.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from codegen.ir.structs import struct
from tracegrad.complex_numbers import real
from tracegrad.creation import zeros_like
from tracegrad.devices import CPU, is_gpu_array, transferred
from tracegrad.dtypes import INEXACT, complex128, float64
from tracegrad.func import linearize
from tracegrad.functional import sum
from tracegrad.gradients import as_tensors, grad
from tracegrad.source_lines import at_user_line
from tracegrad.tensors import Tensor


class GradcheckError(AssertionError):
    """An analytical derivative differs from the numerical one, or from itself."""


def gradcheck(f: Callable[..., Any], inputs: Tensor | Sequence[Tensor], eps: float = 1e-6, atol: float = 1e-4,
              rtol: float = 1e-3, raise_exception: bool = True, nondet_tol: float = 0.0,
              check_forward_ad: bool = False) -> bool:
    """Compare the derivatives of f, at float64 or complex128 inputs that require grad, with central differences.

    inputs: one Tensor or several, arguments of f, which returns one or several; what is no Tensor is given as it is.
    eps: the step of the differences. nondet_tol: how much two backwards may differ. True, or GradcheckError with a
    table of what differs and where most; with raise_exception=False, False. TypeError for an input that requires grad
    and has another dtype, ValueError if there is none that requires grad. check_forward_ad: those of forward mode, too,
    as what the jvp of a custom function says.

        >>> x = tg.tensor([0.5, 2.0], dtype=tg.float64, requires_grad=True)
        >>> tg.autograd.gradcheck(lambda x: tg.exp(x) * x, x)
        True
    """
    points = points_of("gradcheck", inputs)
    for k, x in enumerate(points):
        if varies(x) and x.dtype not in (float64, complex128):
            raise TypeError(at_user_line(
                f"gradcheck: input {k} is {x.dtype}: numerical derivatives need float64 or complex128"))
    found: list[Difference] = []
    compared = 0
    for j, y in enumerate(_outputs(f, points)):
        for k, x in enumerate(points):
            if not varies(x):
                continue
            compared += 1
            analytical, again = _analytical(y, x), _analytical(y, x)
            if not np.allclose(analytical, again, 0, nondet_tol, equal_nan=True):
                if raise_exception:
                    raise GradcheckError(at_user_line(
                        f"gradcheck: two backwards of output {j} give input {k} gradients that differ by up to "
                        f"{np.max(np.abs(analytical - again)):.3g}: backward is not deterministic"))
                return False
            numerical = _numerical(f, points, j, k, eps)
            pushed = [_pushed(f, points, j, k)] if check_forward_ad else []
            for mode, jacobian in zip(("reverse", "forward"), (analytical, *pushed)):
                is_wrong = ~np.isclose(jacobian, numerical, rtol, atol, equal_nan=True)
                if is_wrong.any():
                    found.append(Difference(mode, j, k, is_wrong, numerical, jacobian))
    if found and raise_exception:
        raise GradcheckError(at_user_line(_table(found, compared * (1 + check_forward_ad), atol, rtol)))
    return not found


def gradgradcheck(f: Callable[..., Any], inputs: Tensor | Sequence[Tensor], eps: float = 1e-6, atol: float = 1e-4,
                  rtol: float = 1e-3, raise_exception: bool = True, nondet_tol: float = 0.0) -> bool:
    """`gradcheck` of the gradients of f, as functions of its inputs and of the cotangents of its outputs.

    The cotangents are drawn with a fixed seed: they are the inputs after those of f.

        >>> x = tg.tensor([0.5, 2.0], dtype=tg.float64, requires_grad=True)
        >>> tg.autograd.gradgradcheck(lambda x: tg.exp(x) * x, x)
        True
    """
    points = points_of("gradgradcheck", inputs)
    rng = np.random.default_rng(0)
    outputs = _outputs(f, points)
    cotangents = [_beside(y, _drawn(rng, y), True) for y in outputs]

    def gradients(*at: Tensor) -> list[Tensor]:
        values, directions = at[:len(points)], at[len(points):]
        xs = [x for x in values if varies(x)]
        pairs = [(y, v) for y, v in zip(_outputs(f, list(values)), directions) if y.requires_grad]
        if not pairs:
            return [zeros_like(x) for x in xs]
        total = real(sum(pairs[0][0] * _conjugate(pairs[0][1])))
        for y, v in pairs[1:]:
            total = total + real(sum(y * _conjugate(v)))
        found = grad(total, xs, create_graph=True, allow_unused=True)
        return [zeros_like(x) if g is None else g for x, g in zip(xs, found)]

    return gradcheck(gradients, [*points, *cotangents], eps, atol, rtol, raise_exception, nondet_tol)


def points_of(name: str, inputs: Any) -> list[Any]:
    """The arguments of a function that is checked, each another one. ValueError if none requires grad."""
    points, seen = [inputs] if isinstance(inputs, Tensor) else list(inputs), set[int]()
    for k, x in enumerate(points):
        if varies(x):
            if id(x) in seen:
                points[k] = x.detach().requires_grad_()
            seen.add(id(x))
    if not seen:
        raise ValueError(at_user_line(f"{name}: no input is a Tensor that requires grad: there is nothing to check"))
    return points


def varies(x: Any) -> bool:
    """Is this an input that derivatives are by?"""
    return isinstance(x, Tensor) and x.requires_grad


def _conjugate(v: Tensor) -> Tensor:
    return v.conj() if v.dtype == complex128 else v


@struct(eq=False)
class Difference:
    """A Jacobian that is not what differences say, in reverse or forward mode."""

    mode: str
    output: int
    input: int
    is_wrong: np.ndarray
    numerical: np.ndarray
    analytical: np.ndarray

    def row(self) -> tuple[str, ...]:
        """Its line of the table."""
        off = np.where(self.is_wrong, np.nan_to_num(np.abs(self.analytical - self.numerical), nan=np.inf), -1.0)
        at = np.unravel_index(np.argmax(off), off.shape)
        return (self.mode, f"{self.output}", f"{self.input}",
                f"{np.count_nonzero(self.is_wrong)} of {self.is_wrong.size}",
                f"[{at[0]}], [{at[1]}]", f"{self.numerical[at]:.6g}", f"{self.analytical[at]:.6g}")


def _table(found: list[Difference], compared: int, atol: float, rtol: float) -> str:
    heads = ("mode", "output", "input", "wrong", "worst at", "numerical", "analytical")
    rows = [heads, *(difference.row() for difference in found)]
    if all(difference.mode == "reverse" for difference in found):
        rows = [row[1:] for row in rows]
    widths = [max(len(row[c]) for row in rows) for c in range(len(rows[0]))]
    lines = ["  " + "  ".join(cell.rjust(width) for cell, width in zip(row, widths)) for row in rows]
    what = f"{len(found)} of {compared} Jacobian{'s' * (compared > 1)} {'is' if len(found) == 1 else 'are'}"
    head = f"gradcheck: {what} not what differences say (atol {atol}, rtol {rtol})"
    return "\n".join([head, *lines])


def _outputs(f: Callable[..., Any], points: Sequence[Tensor]) -> list[Tensor]:
    """What of its outputs has derivatives."""
    return [y for y in as_tensors(f(*points)) if isinstance(y, Tensor) and y.dtype in INEXACT]


def reals(array: np.ndarray) -> np.ndarray:
    """The elements as real numbers in a row; of a complex one, its two parts."""
    flat = np.ascontiguousarray(transferred(array, CPU) if is_gpu_array(array) else array).ravel()
    return flat.view(flat.real.dtype)


def _beside(like: Tensor, array: np.ndarray, requires_grad: bool = False) -> Tensor:
    """A leaf of these values on the device of another tensor."""
    return Tensor(array if like.device == CPU else transferred(array, like.device), requires_grad)


def _drawn(rng: np.random.Generator, like: Tensor) -> np.ndarray:
    numbers = rng.standard_normal(reals(like.array).size)
    return numbers.view(like.dtype if like.dtype == complex128 else float64).reshape(like.shape)


def _analytical(y: Tensor, x: Tensor) -> np.ndarray:
    """f64[reals of y, reals of x]: the Jacobian by backward."""
    n = reals(y.array).size
    rows = np.zeros((n, reals(x.array).size))
    if y.requires_grad:
        for k in range(n):
            seed = np.zeros(n)
            seed[k] = 1.0
            g, = grad(y, x, _beside(y, seed.view(y.dtype).reshape(y.shape)), retain_graph=True, allow_unused=True)
            if g is not None:
                rows[k] = reals(g.array)
    return rows


def _pushed(f: Callable[..., Any], points: list[Any], j: int, k: int) -> np.ndarray:
    """f64[reals of output j, reals of input k]: the Jacobian by forward mode."""
    x = points[k].detach()
    y, push = linearize(lambda a: _outputs(f, [a if n == k else p for n, p in enumerate(points)])[j], x)
    size = reals(x.array).size
    columns = np.zeros((reals(y.array).size, size))
    for n in range(size):
        seed = np.zeros(size)
        seed[n] = 1.0
        columns[:, n] = reals(push(_beside(x, seed.view(x.dtype).reshape(x.shape))).array)
    return columns


def _numerical(f: Callable[..., Any], points: list[Tensor], j: int, k: int, eps: float) -> np.ndarray:
    """f64[reals of output j, reals of input k]: the Jacobian by central differences."""
    x = points[k].array
    numbers = reals(x)

    def at(moved: np.ndarray) -> np.ndarray:
        here = _beside(points[k], moved.view(x.dtype).reshape(x.shape), points[k].requires_grad)
        there = [here if n == k else p for n, p in enumerate(points)]
        return reals(_outputs(f, there)[j].array).copy()

    columns = []
    for n in range(numbers.size):
        step = np.zeros(numbers.size)
        step[n] = eps
        columns.append((at(numbers + step) - at(numbers - step)) / (2 * eps))
    return np.stack(columns, axis=1) if columns else np.zeros((at(numbers).size, 0))
