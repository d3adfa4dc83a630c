"""tg.linalg: linear algebra, by the names of the Array API standard, of NumPy and of PyTorch.

    tg.linalg.solve(a, b)       tg.linalg.svd(x).S      tg.linalg.eigh(x).eigenvalues     tg.linalg.norm(x)

1. Matrices are the last two axes, float32, float64, complex64 or complex128; integers are computed in the default
   floating-point dtype. Axes before them are a batch, which broadcasts where there are two operands.
2. What cannot be computed of the values (a singular matrix, one that is not positive definite) is
   numpy.linalg.LinAlgError, with the user's line, traced or not.
3. Derivatives of what is made of eigenvectors or singular vectors hold for what does not depend on their phases.
"""
from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import Any, NamedTuple

import numpy as np

from codegen.ir.library_calls import packing
from codegen.ir.type_rules import TypeRuleError
from codegen.ir.types import type_of
from tracegrad import diagonals, functional
from tracegrad.complex_numbers import adjoint, real
from tracegrad.contraction import outer, tensordot, vecdot
from tracegrad.dispatch import GRAD, dispatch
from tracegrad.dtype_info import result_type
from tracegrad.functional import matmul, max, min, sum
from tracegrad.linalg_rules import unpacked
from tracegrad.matrix_norms import Order, matrix_norm, matrix_rank, norm, real_dtype, vector_norm
from tracegrad.mixed_precision import publish
from tracegrad.movement import broadcast_shapes, broadcast_to, expand_dims, matrix_transpose, reshape, squeeze, stack
from tracegrad.operands import Operand, convert, floating, refuse_names, scalar, tensor_operand
from tracegrad.refusals import check
from tracegrad.size_numbers import index
from tracegrad.source_lines import at_user_line
from tracegrad.tensors import Tensor

__all__ = [
    "cholesky", "cholesky_solve", "cond", "cross", "det", "diagonal", "eig", "eigh", "eigvals", "eigvalsh", "expm",
    "inv", "lstsq", "matmul", "matrix_exp", "matrix_norm", "matrix_power", "matrix_rank", "matrix_transpose",
    "multi_dot", "norm", "outer", "pinv", "qr", "slogdet", "solve", "solve_triangular", "svd", "svdvals", "tensordot",
    "trace", "vecdot", "vector_norm",
]

LinAlgError = np.linalg.LinAlgError


class EighResult(NamedTuple):
    """The eigenvalues, and the eigenvectors as columns."""

    eigenvalues: Tensor
    eigenvectors: Tensor


class QRResult(NamedTuple):
    """x = Q R: Q with orthonormal columns, R upper triangular."""

    Q: Tensor
    R: Tensor


class SVDResult(NamedTuple):
    """x = U diag(S) Vh: the singular values descend."""

    U: Tensor
    S: Tensor
    Vh: Tensor


class SlogdetResult(NamedTuple):
    """det = sign * exp(logabsdet)."""

    sign: Tensor
    logabsdet: Tensor


class LstsqResult(NamedTuple):
    """`residuals`: sums of squares of a x - b; none where a has no more rows than columns."""

    solution: Tensor
    residuals: Tensor
    rank: Tensor
    singular_values: Tensor


def apply(op: str, *operands: Tensor, **attrs: Any) -> Tensor:
    """A routine of the op table; TypeRuleError, with the user's line, before it is called where it does not fit."""
    check(op, operands, attrs)
    return dispatch(op, *operands, **attrs)


def matrices(op: str, *operands: Operand) -> tuple[Tensor, ...]:
    """Floating-point or complex Tensors of one dtype."""
    tensors = [floating(tensor_operand(op, x)) for x in operands]
    common = result_type(*tensors)
    return tuple(convert(x, common) for x in tensors)


def side_by_side(op: str, a: Operand, b: Operand) -> tuple[Tensor, Tensor]:
    """Two stacks of matrices of one batch."""
    x, y = matrices(op, a, b)
    if x.ndim < 2 or y.ndim < 2:
        raise TypeRuleError(at_user_line(f"{op}: {type_of(x)} and {type_of(y)} are no two matrices"))
    batch = broadcast_shapes(op, x.shape[:-2], y.shape[:-2])
    return tuple(broadcast_to(z, (*batch, *z.shape[-2:])) for z in (x, y))        # type: ignore[return-value]


# ---- equations ------------------------------------------------------------------------------------------------------


def solve(x1: Operand, x2: Operand, /) -> Tensor:
    """The x of x1 x = x2; a 1-d x2 is one right-hand side. LinAlgError if x1 is singular.

        >>> tg.linalg.solve(tg.tensor([[2.0, 0.0], [0.0, 4.0]]), tg.tensor([2.0, 2.0]))
        tensor([1.0000, 0.5000])
    """
    b = tensor_operand("solve", x2)
    if b.ndim == 1:
        return squeeze(solve(x1, expand_dims(b, -1)), -1)
    return apply("solve", *side_by_side("solve", x1, b))


def inv(x: Operand, /) -> Tensor:
    """The inverse. LinAlgError if x is singular.

        >>> tg.linalg.inv(tg.tensor([[2.0, 0.0], [0.0, 4.0]]))
        tensor([[0.5000, 0.0000],
                [0.0000, 0.2500]])
    """
    x, = matrices("inv", x)
    require_square("inv", x)
    return apply("solve", x, broadcast_to(identity(x.shape[-1], x), x.shape))


def require_square(op: str, x: Tensor) -> None:
    if x.ndim < 2 or x.shape[-1] != x.shape[-2]:
        raise TypeRuleError(at_user_line(f"{op}: {type_of(x)} is not square"))


def identity(n: int, like: Tensor) -> Tensor:
    """The unit matrix of n rows, in the dtype of `like`."""
    row, column = (dispatch("iota", shape=(n, n), axis=k, dtype="i64") for k in (0, 1))
    return convert(dispatch("eq", row, column), like.dtype)


def det(x: Operand, /) -> Tensor:
    """The determinant. Its derivative exists where x is not singular.

        >>> tg.linalg.det(tg.tensor([[1.0, 2.0], [3.0, 4.0]]))
        tensor(-2.)
    """
    return apply("det", *matrices("det", x))


def slogdet(x: Operand, /) -> SlogdetResult:
    """The sign of the determinant and the logarithm of its size."""
    x, = matrices("slogdet", x)
    sign, size = unpacked(apply("slogdet", x), packing("slogdet", x.shape))
    return SlogdetResult(sign, real(size))


def cholesky(x: Operand, /, *, upper: bool = False) -> Tensor:
    """The lower L of x = L L^H, or the upper U of x = U^H U. That triangle of x is read; the derivative is hermitian.

        >>> tg.linalg.cholesky(tg.tensor([[4.0, 2.0], [2.0, 2.0]]))
        tensor([[2., 0.],
                [1., 1.]])
    """
    x, = matrices("cholesky", x)
    return adjoint(apply("cholesky", adjoint(x))) if upper else apply("cholesky", x)


def solve_triangular(a: Operand, b: Operand, /, *, upper: bool, left: bool = True,
                     unitriangular: bool = False) -> Tensor:
    """PyTorch's: the x of a x = b (of x a = b if not `left`) of a triangular a, its diagonal 1 if `unitriangular`."""
    x, y = matrices("solve_triangular", a, b)
    if not left:
        x, y = matrix_transpose(x), matrix_transpose(y)
        return matrix_transpose(solve_triangular(x, y, upper=not upper, unitriangular=unitriangular))
    x, y = side_by_side("solve_triangular", x, y)
    return apply("triangular_solve", x, y, lower=not upper, adjoint=False, unit=unitriangular)


def cholesky_solve(b: Operand, factor: Operand, /, upper: bool = False) -> Tensor:
    """PyTorch's: the x of a x = b from the Cholesky factor of a."""
    low, y = side_by_side("cholesky_solve", factor, b)
    low = adjoint(low) if upper else low
    half = apply("triangular_solve", low, y, lower=True, adjoint=False, unit=False)
    return apply("triangular_solve", low, half, lower=True, adjoint=True, unit=False)


def pinv(x: Operand, /, *, rtol: Any = None, rcond: Any = None, hermitian: bool = False) -> Tensor:
    """The Moore-Penrose inverse; singular values up to rtol (default: max(m, n) eps) times the largest count as 0.

    `rcond` is NumPy's word for rtol; `hermitian` makes no difference.
    """
    x, = matrices("pinv", x)
    check("svdvals", (x,), {})
    m, n = x.shape[-2:]
    dtype = real_dtype(x)
    given = rcond if rtol is None else rtol
    default = (m if m > n else n) * float(np.finfo(dtype).eps)
    tolerance = scalar(default, dtype) if given is None else tensor_operand("pinv", given)
    return apply("pinv", x, broadcast_to(convert(tolerance, dtype), x.shape[:-2]))


def lstsq(a: Operand, b: Operand, /, rcond: Any = None) -> LstsqResult:
    """The x that minimizes |a x - b|, of all such the shortest, by the Moore-Penrose inverse of a."""
    y = tensor_operand("lstsq", b)
    if y.ndim == 1:
        found = lstsq(a, expand_dims(y, -1), rcond)
        return found._replace(solution=squeeze(found.solution, -1))
    x, y = side_by_side("lstsq", a, y)
    solution = functional.matmul(pinv(x, rtol=rcond), y)
    away = abs(functional.matmul(x, solution) - y)
    m, n = x.shape[-2:]
    residuals = sum(away * away, axis=-2)
    if m <= n:
        residuals = reshape(residuals[..., :0], (0,))
    return LstsqResult(solution, residuals, matrix_rank(x, rtol=rcond), svdvals(x))


# ---- factorizations -------------------------------------------------------------------------------------------------


def qr(x: Operand, /, mode: str = "reduced") -> Any:
    """x = Q R, "reduced" or "complete"; mode "r" gives R alone. "complete" of a tall x has no derivative.

        >>> tg.linalg.qr(tg.tensor([[3.0, 1.0], [4.0, 2.0]])).R.shape
        (2, 2)
    """
    x, = matrices("qr", x)
    if mode not in ("reduced", "complete", "r"):
        raise ValueError(at_user_line(f"qr: mode {mode!r} is none of 'reduced', 'complete' and 'r'"))
    complete = mode == "complete"
    if complete and x.requires_grad and GRAD.enabled and x.ndim > 1 and x.shape[-2] > x.shape[-1]:
        raise NotImplementedError(at_user_line(
            f"qr: mode 'complete' of {type_of(x)} has no derivative, its last columns can be any: detach() it"))
    q, r = unpacked(apply("qr", x, complete=complete), packing("qr", x.shape, complete=complete))
    return r if mode == "r" else QRResult(q, r)


def svd(x: Operand, /, full_matrices: bool = True, compute_uv: bool = True) -> Any:
    """x = U diag(S) Vh; U and Vh are square if `full_matrices`. Without `compute_uv`, NumPy's word, S alone.

        >>> tg.linalg.svd(tg.tensor([[3.0, 0.0], [0.0, -4.0]])).S
        tensor([4., 3.])
    """
    if not compute_uv:
        return svdvals(x)
    x, = matrices("svd", x)
    u, s, vh = unpacked(apply("svd", x, full=full_matrices), packing("svd", x.shape, full=full_matrices))
    return SVDResult(u, real(s), vh)


def svdvals(x: Operand, /) -> Tensor:
    """The singular values, descending."""
    return apply("svdvals", *matrices("svdvals", x))


def eigh(x: Operand, /, UPLO: str = "L") -> EighResult:
    """The eigenvalues, ascending, and eigenvectors of a hermitian x, of which the triangle UPLO ("L", "U") is read.

        >>> tg.linalg.eigh(tg.tensor([[2.0, 0.0], [0.0, 1.0]])).eigenvalues
        tensor([1., 2.])
    """
    x = triangle_of("eigh", x, UPLO)
    w, v = unpacked(apply("eigh", x), packing("eigh", x.shape))
    return EighResult(real(w), v)


def eigvalsh(x: Operand, /, UPLO: str = "L") -> Tensor:
    """The eigenvalues of a hermitian x, ascending."""
    return apply("eigvalsh", triangle_of("eigvalsh", x, UPLO))


def triangle_of(op: str, x: Operand, name: str) -> Tensor:
    """x, with the triangle that is to be read where the lower one is."""
    if name.upper() not in ("L", "U"):
        raise ValueError(at_user_line(f"{op}: UPLO is 'L' or 'U', not {name!r}"))
    x, = matrices(op, x)
    return x if name.upper() == "L" else adjoint(x)


def eig(x: Operand, /) -> EighResult:
    """The eigenvalues, in no order, and eigenvectors, of length 1: complex, as in PyTorch, whatever x is."""
    x, = matrices("eig", x)
    return EighResult(*unpacked(apply("eig", x), packing("eig", x.shape)))


def eigvals(x: Operand, /) -> Tensor:
    """The eigenvalues, in no order: complex, as in PyTorch, whatever x is."""
    return apply("eigvals", *matrices("eigvals", x))


def cond(x: Operand, /, p: Order = None) -> Tensor:
    """The condition number: the norm of x times that of its inverse; without p, that of the largest singular value."""
    x, = matrices("cond", x)
    if p in (None, 2, -2):
        values = svdvals(x)
        largest, smallest = max(values, -1), min(values, -1)
        return smallest / largest if p == -2 else largest / smallest
    return norm(x, p, (-2, -1)) * norm(inv(x), p, (-2, -1))


# ---- products and powers --------------------------------------------------------------------------------------------


def expm(x: Operand, /) -> Tensor:
    """The exponential of square matrices. SciPy's name; matrix_exp is PyTorch's.

        >>> tg.linalg.expm(tg.zeros(2, 2))
        tensor([[1., 0.],
                [0., 1.]])
    """
    return apply("expm", *matrices("expm", x))


matrix_exp = expm


def matrix_power(x: Operand, n: int, /) -> Tensor:
    """x multiplied n times with itself, by squaring; of n < 0 the inverse.

        >>> tg.linalg.matrix_power(tg.tensor([[1, 1], [0, 1]]), 5)
        tensor([[1, 5],
                [0, 1]])
    """
    x, n = tensor_operand("matrix_power", x), index(n)
    require_square("matrix_power", x)
    if n < 0:
        return matrix_power(inv(x), -n)
    if n == 0:
        return broadcast_to(identity(x.shape[-1], x), x.shape)
    result = None
    while n:
        if n & 1:
            result = x if result is None else functional.matmul(result, x)
        n >>= 1
        x = functional.matmul(x, x) if n else x
    assert result is not None
    return result


def multi_dot(arrays: Sequence[Operand], /) -> Tensor:
    """The product of matrices, in the order that takes the fewest multiplications; the ends may be vectors.

        >>> tg.linalg.multi_dot([tg.ones(2, 3), tg.ones(3, 9), tg.ones(9)])
        tensor([27., 27.])
    """
    factors = [tensor_operand("multi_dot", x) for x in arrays]
    if len(factors) < 2:
        raise ValueError(at_user_line(f"multi_dot: {len(factors)} matrices are no product"))
    ends = [x.ndim == 1 for x in (factors[0], factors[-1])]
    if ends[0]:
        factors[0] = expand_dims(factors[0], 0)
    if ends[1]:
        factors[-1] = expand_dims(factors[-1], 1)
    sizes = [factors[0].shape[0], *(x.shape[-1] for x in factors)]
    product = multiplied(factors, cheapest(sizes), 0, len(factors) - 1)
    return squeeze(product, (0,) * ends[0] + (-1,) * ends[1])


def cheapest(sizes: Sequence[int]) -> dict[tuple[int, int], int]:
    """Where to cut each run of factors in two (Cormen et al., "Introduction to Algorithms", matrix-chain order)."""
    n, cut = len(sizes) - 1, {}
    cost: dict[tuple[int, int], float] = {(i, i): 0 for i in range(n)}
    for length in range(1, n):
        for i in range(n - length):
            j = i + length
            cost[i, j] = inf
            for k in range(i, j):
                here = cost[i, k] + cost[k + 1, j] + sizes[i] * sizes[k + 1] * sizes[j + 1]
                if here < cost[i, j]:
                    cost[i, j], cut[i, j] = here, k
    return cut


def multiplied(factors: Sequence[Tensor], cut: dict[tuple[int, int], int], i: int, j: int) -> Tensor:
    if i == j:
        return factors[i]
    return functional.matmul(multiplied(factors, cut, i, cut[i, j]), multiplied(factors, cut, cut[i, j] + 1, j))


def cross(x1: Operand, x2: Operand, /, *, axis: int = -1, **names: Any) -> Tensor:
    """The cross products of vectors of size 3 along an axis of both; other axes broadcast.

        >>> tg.linalg.cross(tg.tensor([1, 0, 0]), tg.tensor([0, 1, 0]))
        tensor([0, 0, 1])
    """
    refuse_names("cross", names)
    a, b = tensor_operand("cross", x1), tensor_operand("cross", x2)
    for x in (a, b):
        if not -x.ndim <= axis < x.ndim or x.shape[axis] != 3:
            raise TypeRuleError(at_user_line(f"cross: axis {axis} of {type_of(x)} does not have size 3"))
    a0, a1, a2 = (a[(*(slice(None),) * (axis % a.ndim), k)] for k in range(3))
    b0, b1, b2 = (b[(*(slice(None),) * (axis % b.ndim), k)] for k in range(3))
    return stack([a1 * b2 - a2 * b1, a2 * b0 - a0 * b2, a0 * b1 - a1 * b0], axis=axis)


def diagonal(x: Operand, /, *, offset: int = 0) -> Tensor:
    """The diagonals of the last two axes."""
    return diagonals.diagonal(x, offset, -2, -1)


def trace(x: Operand, /, *, offset: int = 0, dtype: Any = None) -> Tensor:
    """The sums of the diagonals of the last two axes.

        >>> tg.linalg.trace(tg.tensor([[1, 2], [3, 4]]))
        tensor(5)
    """
    return sum(diagonal(x, offset=offset), axis=-1, dtype=dtype)


publish(globals())
