"""Contractions: einsum and its relatives, by transposes, reshapes and one matmul for each pair of operands.

    einsum("bij,bjk->bki", x, y)    matmul of x[b,i,j] and y[b,j,k], [b,i,k], its last two axes exchanged

1. Labels of one operand alone that the result lacks are summed first; a label twice in an operand is a diagonal.
2. A pair is one matmul where something is summed over and something is left of either; else a product and a sum.
3. Of more than two operands, that pair goes first whose result is smaller than the two by the most.
"""
from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import combinations
from math import prod
from typing import Any

from codegen.ir.type_rules import TypeRuleError
from codegen.ir.types import type_of
from tracegrad import functional
from tracegrad.complex_numbers import conj
from tracegrad.dispatch import dispatch
from tracegrad.dtype_info import result_type
from tracegrad.dtypes import bool_, dtype_of, int64
from tracegrad.functional import matmul, multiply
from tracegrad.movement import one_axis, reshape, swapaxes
from tracegrad.mutation import deliver
from tracegrad.operands import Number, Operand, convert, pair, refuse_names, tensor_operand
from tracegrad.size_numbers import index
from tracegrad.source_lines import at_user_line
from tracegrad.subscripts import Labels, diagonals, error, labeled, output, parsed, without_ones
from tracegrad.tensors import Tensor

Labeled = tuple[Tensor, Labels]


def einsum(subscripts: Any, /, *operands: Any, optimize: Any = True, dtype: Any = None, **names: Any) -> Tensor:
    """Sums of products over labeled axes: einsum("ij,jk->ik", x, y) is x @ y.

    As in NumPy and PyTorch: without `->` the result has the labels that occur once, in order; `...` stands for
    broadcast axes; a label twice in an operand is its diagonal; the operands may be one sequence; labels may be ints
    in sequences, einsum(x, [0, 1], y, [1, 2], [0, 2]). Several operands are contracted in pairs, in an order of little
    work; `optimize` may name the order as NumPy's einsum_path does, else it makes no difference.

        >>> x = tg.tensor([[1.0, 2.0], [3.0, 4.0]])
        >>> tg.einsum("ij,ij->i", x, x)
        tensor([ 5., 25.])
        >>> tg.einsum("ii", x)
        tensor(5.)
    """
    refuse_names("einsum", names)
    terms, wanted, given = parsed(subscripts, operands)
    tensors = [tensor_operand("einsum", x) for x in given]
    common = result_type(*tensors) if dtype is None else dtype_of(dtype)
    logical = common is bool_
    tensors = [convert(x, int64 if logical else common) for x in tensors]
    named, broadcast = labeled(terms, tensors)
    result = output(wanted, named, broadcast)
    y = _contracted(without_ones([diagonals(x, labels) for x, labels in zip(tensors, named)]), result, optimize)
    return functional.not_equal(y, 0) if logical else y


# ---- pairs --------------------------------------------------------------------------------------------------------


def _contracted(parts: list[Labeled], result: Labels, optimize: Any) -> Tensor:
    """All parts contracted in pairs, the axes in the order of `result`."""
    path = _path(optimize, len(parts))
    while len(parts) > 1:
        chosen = path.pop(0) if path else _best_pair(parts, result)
        taken, parts = [parts[k] for k in chosen], [p for k, p in enumerate(parts) if k not in chosen]
        while len(taken) > 1:
            left, right, *later = taken
            kept = {*result, *(label for _, labels in (*parts, *later) for label in labels)}
            taken = [_product(left, right, kept, result), *later]
        parts += taken
    x, labels = _summed(*parts[0], set(result))
    return _arranged(x, labels, result)


def _path(optimize: Any, count: int) -> list[tuple[int, ...]]:
    """The operands contracted together at each step, where the caller says it."""
    if not isinstance(optimize, tuple | list) or not optimize or optimize[0] != "einsum_path":
        return []
    path = [tuple(map(index, step)) for step in optimize[1:]]
    left = count
    for step in path:
        if len(set(step)) < len(step) or not all(0 <= k < left for k in step):
            raise error(f"the step {step} of the path does not name operands of {left}")
        left -= len(step) - 1
    return path


def _best_pair(parts: list[Labeled], result: Labels) -> tuple[int, ...]:
    """The two parts whose product is smaller than they are by the most."""
    sizes = {label: size for x, labels in parts for label, size in zip(labels, x.shape)}

    def growth(two: tuple[int, int]) -> tuple[int, int]:
        elsewhere = {*result, *(label for k, (_, labels) in enumerate(parts) if k not in two for label in labels)}
        together = {*parts[two[0]][1], *parts[two[1]][1]}
        after = prod(sizes[label] for label in together & elsewhere)
        before = [prod(x.shape) for x, _ in (parts[k] for k in two)]
        return after - before[0] - before[1], prod(sizes[label] for label in together)

    return min(combinations(range(len(parts)), 2), key=growth)


def _product(left: Labeled, right: Labeled, kept: set[Any], result: Labels) -> Labeled:
    """The product of two operands, summed over the labels that are not kept."""
    left, right = _summed(*left, kept | set(right[1])), _summed(*right, kept | set(left[1]))
    rank = {label: k for k, label in enumerate(result)}
    own = [_in_order([label for label in x[1] if label not in y[1]], rank) for x, y in ((left, right), (right, left))]
    if own[1] and (not own[0] or rank.get(own[1][0], -1) < rank.get(own[0][0], -1)):
        left, right, own = right, left, own[::-1]           # what comes first in the result is on the left
    common = [label for label in left[1] if label in right[1]]
    batch = _in_order([label for label in common if label in kept], rank)
    over = [label for label in (left if left[0].size >= right[0].size else right)[1]
            if label in common and label not in kept]
    if over and own[0]:
        return _matmul(left, right, batch, over, own), (*batch, *own[0], *own[1])
    labels = (*batch, *own[0], *own[1], *over)
    y = multiply(*(_spaced(_arranged(x, names, tuple(label for label in labels if label in names)), names, labels)
                   for x, names in (left, right)))
    n = len(labels)
    y = functional.sum(y, axis=tuple(range(n - len(over), n)), dtype=y.dtype) if over else y
    return y, labels[:n - len(over)]


def _matmul(left: Labeled, right: Labeled, batch: Sequence[Any], over: Sequence[Any], own: list[list[Any]]) -> Tensor:
    """The product summed over the labels `over`, [*batch, *own of left, *own of right]."""
    sizes = {label: size for x, labels in (left, right) for label, size in zip(labels, x.shape)}
    k = prod(sizes[label] for label in over)
    outer = (prod(sizes[label] for label in batch),) if batch else ()
    matrices = []
    for (x, labels), free, turned in ((left, own[0], False), (right, own[1], True)):
        order = (*batch, *over, *free)
        by_columns = labels == order                        # then a transposed matrix is there without a copy
        n = prod(sizes[label] for label in free)
        x = reshape(_arranged(x, labels, order if by_columns else (*batch, *free, *over)),
                    (*outer, k, n) if by_columns else (*outer, n, k))
        matrices.append(x if turned == by_columns else swapaxes(x, -1, -2))
    return reshape(matmul(*matrices), tuple(sizes[label] for label in (*batch, *own[0], *own[1])))


def _in_order(labels: Sequence[Any], rank: dict[Any, int]) -> list[Any]:
    """The labels as they come in the result, those that are not in it before."""
    return sorted(labels, key=lambda label: rank.get(label, -1))


def _summed(x: Tensor, labels: Labels, kept: set[Any]) -> Labeled:
    """x summed over the labels that are not kept."""
    axes = tuple(k for k, label in enumerate(labels) if label not in kept)
    if not axes:
        return x, labels
    return functional.sum(x, axis=axes, dtype=x.dtype), tuple(label for label in labels if label in kept)


def _arranged(x: Tensor, labels: Labels, order: Labels) -> Tensor:
    """x with its axes in another order."""
    return x if labels == order else dispatch("transpose", x, axes=tuple(labels.index(label) for label in order))


def _spaced(x: Tensor, own: Labels, labels: Labels) -> Tensor:
    """x, whose labels are in the order of `labels`, with axes of size 1 for those that it lacks."""
    sizes = iter(x.shape)
    return reshape(x, tuple(next(sizes) if label in own else 1 for label in labels))


# ---- by position --------------------------------------------------------------------------------------------------


def tensordot(x1: Operand, x2: Operand, /, axes: Any = 2, **names: Any) -> Tensor:
    """Sums of products over the last `axes` axes of x1 and the first of x2, or over a pair of lists of their axes.

        >>> tg.tensordot(tg.ones(2, 3, 4), tg.ones(4, 3, 5), axes=((1, 2), (1, 0))).shape
        (2, 5)
    """
    refuse_names("tensordot", names)
    a, b = _common("tensordot", x1, x2)
    m, n = a.ndim, b.ndim
    if isinstance(axes, Sequence):
        lists = [(k,) if isinstance(k, int) else tuple(k) for k in axes]
    else:
        lists = [tuple(range(m - index(axes), m)), tuple(range(index(axes)))]
    first, second = (tuple(one_axis("tensordot", x, k, x.ndim) for k in ks) for x, ks in zip((a, b), lists))
    sizes = [[x.shape[k] for k in ks] for x, ks in ((a, first), (b, second))]
    if sizes[0] != sizes[1] or len(set(first)) < len(first):
        raise TypeRuleError(at_user_line(
            f"tensordot: axes {list(first)} of {type_of(a)} and {list(second)} of {type_of(b)} do not fit"))
    places = {k: j for j, k in zip(first, second)}
    ours, theirs = tuple(range(m)), tuple(places.get(k, m + k) for k in range(n))
    left = tuple(k for k in ours if k not in first)
    return _contracted([(a, ours), (b, theirs)], (*left, *(k for k in theirs if k >= m)), True)


def _common(op: str, x1: Operand, x2: Operand) -> tuple[Tensor, Tensor]:
    """Two Tensors of one dtype."""
    a, b = pair(op, tensor_operand(op, x1), tensor_operand(op, x2))
    return a, b


def vecdot(x1: Operand, x2: Operand, /, *, axis: int = -1, **names: Any) -> Tensor:
    """The dot products of the vectors, x1's conjugated, along an axis of both; other axes broadcast.

        >>> tg.vecdot(tg.tensor([[1, 2], [3, 4]]), tg.tensor([1, 10]))
        tensor([21, 43])
    """
    refuse_names("vecdot", names)
    a, b = _common("vecdot", x1, x2)
    k = index(axis)
    for x in (a, b):
        one_axis("vecdot", x, k, x.ndim)
    if k >= 0 and a.ndim != b.ndim or a.shape[k] != b.shape[k]:
        raise TypeRuleError(at_user_line(f"vecdot: axis {k} of {type_of(a)} and {type_of(b)} do not fit"))
    y = multiply(conj(a), b)
    return functional.sum(y, axis=k, dtype=y.dtype)


def outer(x1: Operand, x2: Operand, /) -> Tensor:
    """All products of an element of x1 and one of x2, [size of x1, size of x2].

        >>> tg.outer(tg.tensor([1, 2]), tg.tensor([3, 4, 5]))
        tensor([[ 3,  4,  5],
                [ 6,  8, 10]])
    """
    return multiply(reshape(x1, (-1, 1)), reshape(x2, (-1,)))


def inner(x1: Operand, x2: Operand, /) -> Tensor:
    """Sums of products over the last axes of both; of a number, the product. NumPy's and PyTorch's function.

        >>> tg.inner(tg.tensor([[1, 2], [3, 4]]), tg.tensor([1, 10]))
        tensor([21, 43])
    """
    a, b = _common("inner", x1, x2)
    return tensordot(a, b, axes=(-1, -1)) if a.ndim and b.ndim else multiply(a, b)


def dot(x1: Operand, x2: Operand, /, *, out: Tensor | None = None) -> Tensor:
    """NumPy's: matmul of vectors and matrices; in general over the last axis of x1 and the last but one of x2.

        >>> tg.dot(tg.ones(2, 3), tg.ones(4, 3, 5)).shape
        (2, 4, 5)
    """
    if out is not None:
        return deliver(out, dot(x1, x2), "dot")
    a, b = _common("dot", x1, x2)
    m, n = a.ndim, b.ndim
    if not m or not n:
        return multiply(a, b)
    return inner(a, b) if m == n == 1 else tensordot(a, b, axes=(-1, -2 if n > 1 else 0))


def kron(x1: Operand, x2: Operand, /) -> Tensor:
    """The Kronecker product: each element of x1 times the whole of x2; axes of size 1 are put in front of the shorter.

        >>> tg.kron(tg.tensor([1, 10]), tg.tensor([1, 2]))
        tensor([ 1,  2, 10, 20])
    """
    a, b = _common("kron", x1, x2)
    n = max(a.ndim, b.ndim)
    ours, theirs = ((1,) * (n - x.ndim) + x.shape for x in (a, b))
    y = multiply(reshape(a, _interleaved(ours, (1,) * n)), reshape(b, _interleaved((1,) * n, theirs)))
    return reshape(y, tuple(p * q for p, q in zip(ours, theirs)))


def _interleaved(first: Iterable[int], second: Iterable[int]) -> tuple[int, ...]:
    return tuple(size for two in zip(first, second) for size in two)


# ---- PyTorch's names ----------------------------------------------------------------------------------------------


def _matrices(op: str, a: Operand, b: Operand, m: int, n: int) -> Tensor:
    """matmul of operands of m and n axes, TypeRuleError for others; a batch does not broadcast."""
    x, y = _common(op, a, b)
    if (x.ndim, y.ndim) != (m, n) or m == n == 3 and x.shape[0] != y.shape[0]:
        same = " and one batch" if m == 3 else ""
        raise TypeRuleError(at_user_line(
            f"{op}: {type_of(x)} and {type_of(y)} must have {m} and {n} axes{same}"))
    return matmul(x, y)


def mm(x1: Operand, x2: Operand, /) -> Tensor:
    """The product of two matrices."""
    return _matrices("mm", x1, x2, 2, 2)


def mv(x1: Operand, x2: Operand, /) -> Tensor:
    """The product of a matrix and a vector."""
    return _matrices("mv", x1, x2, 2, 1)


def bmm(x1: Operand, x2: Operand, /) -> Tensor:
    """The products of the matrices of two batches, x1 [b,m,k] and x2 [b,k,n]."""
    return _matrices("bmm", x1, x2, 3, 3)


def _added(y: Tensor, x: Operand, beta: Number, alpha: Number) -> Tensor:
    """beta * x + alpha * y; x does not count at all where beta is 0."""
    y = y if alpha == 1 else multiply(y, alpha)
    if beta == 0:
        return y
    return functional.add(x if beta == 1 else multiply(x, beta), y)


def addmm(x: Operand, x1: Operand, x2: Operand, /, *, beta: Number = 1, alpha: Number = 1) -> Tensor:
    """beta * x + alpha * (x1 @ x2) for matrices x1 and x2."""
    return _added(mm(x1, x2), x, beta, alpha)


def addmv(x: Operand, x1: Operand, x2: Operand, /, *, beta: Number = 1, alpha: Number = 1) -> Tensor:
    """beta * x + alpha * (x1 @ x2) for a matrix x1 and a vector x2."""
    return _added(mv(x1, x2), x, beta, alpha)


def baddbmm(x: Operand, x1: Operand, x2: Operand, /, *, beta: Number = 1, alpha: Number = 1) -> Tensor:
    """beta * x + alpha * (x1 @ x2) for batches of matrices x1 and x2.

        >>> tg.baddbmm(tg.ones(1, 2, 2), tg.ones(1, 2, 3), tg.ones(1, 3, 2), beta=0.5)
        tensor([[[3.5000, 3.5000],
                 [3.5000, 3.5000]]])
    """
    return _added(bmm(x1, x2), x, beta, alpha)
