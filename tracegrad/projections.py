"""Products with weights: linear, bilinear, embedding, with PyTorch's arguments."""
from __future__ import annotations

from collections.abc import Callable
from math import prod

from codegen.ir.type_rules import TypeRuleError
from codegen.ir.types import type_of
from tracegrad.algebra import conj, swap
from tracegrad.autodiff import edge_of
from tracegrad.dispatch import Node, dispatch, like
from tracegrad.functional import equal, matmul, sqrt, sum, where
from tracegrad.grad_modes import no_grad
from tracegrad.movement import expand_dims, index_operand, permute_dims, reshape, swapaxes, take
from tracegrad.operands import Operand, tensor_operand
from tracegrad.recorder import ACTIVE
from tracegrad.source_lines import at_user_line
from tracegrad.tensors import Saved, Tensor


def linear(x: Operand, weight: Operand, bias: Operand | None = None) -> Tensor:
    """x @ weight.T + bias: x [..., k], weight [n, k] or [k], bias [n] or []: [..., n] or [...]."""
    x, weight = tensor_operand("linear", x), tensor_operand("linear", weight)
    transposed = weight if weight.ndim == 1 else swapaxes(weight, -2, -1)
    y = matmul(x, transposed)
    if weight.ndim == 2 and x.dtype is weight.dtype and y.grad_fn is not None:
        _lead_past(transposed, weight, y.grad_fn)
    return y if bias is None else y + bias


class TransposedProduct(Node):
    """x w^T as an operation on w, not on its transpose: backward transposes neither w nor the gradient of it."""

    __slots__ = ()

    def rules(self) -> tuple[Callable[..., Tensor] | None, ...]:
        """See Node.rules."""
        return _LINEAR


_LINEAR = (lambda g, y, x, w: g.emit("matmul", conj(w)), lambda g, y, x, w: swap(g).emit("matmul", conj(x)))


def _lead_past(transposed: Tensor, weight: Tensor, node: Node) -> None:
    """Let a product with the transpose of the weight, which may have been reshaped, lead to the weight itself.

    Nobody but who made it has the transpose: no hook can be on it, and no gradient of it be asked for.
    """
    product = node.edges[0] if node.op == "reshape" else node
    if type(product) is not Node or product.op != "matmul" or product.edges[1] is not transposed.grad_fn:
        return                                  # one that is packed, say, or that notes its line
    x, operand = product.operands or (None, None)
    if type(operand) is Saved:
        operand = weight.save()
        recorder = ACTIVE.get()
        if recorder is not None:
            recorder.record_saved(weight, operand)
    else:
        operand = like(weight)
    product.operands = x, operand
    product.edges = product.edges[0], edge_of(weight) if weight.requires_grad else None
    product.__class__ = TransposedProduct       # not another: what was recorded knows this one


def bilinear(x1: Operand, x2: Operand, weight: Operand, bias: Operand | None = None) -> Tensor:
    """sum over i, j of x1[.., i] weight[k, i, j] x2[.., j], plus bias[k]: [..., k]."""
    x1, x2, weight = (tensor_operand("bilinear", x) for x in (x1, x2, weight))
    out, rows, columns = weight.shape
    lead = x1.shape[:-1]
    half = matmul(reshape(x1, (-1, rows)), reshape(permute_dims(weight, (1, 0, 2)), (rows, out * columns)))
    y = sum(reshape(half, (*lead, out, columns)) * expand_dims(x2, -2), -1)
    return y if bias is None else y + bias


def embedding(indices: Operand, weight: Operand, padding_idx: int | None = None, max_norm: float | None = None,
              norm_type: float = 2.0) -> Tensor:
    """The rows of `weight` [n, d] at integer `indices` [...]: [..., d]. IndexError out of 0 .. n-1.

    The row `padding_idx` gets no gradient. With `max_norm`, rows that are looked up and whose norm is larger are
    scaled down to it first, in `weight` itself; norm_type is 2.

        >>> tg.nn.functional.embedding(tg.tensor([1, 0]), tg.tensor([[1.0, 2.0], [3.0, 4.0]]))
        tensor([[3., 4.],
                [1., 2.]])
    """
    indices, weight = index_operand("embedding", indices), tensor_operand("embedding", weight)
    if weight.ndim != 2:
        raise TypeRuleError(at_user_line(f"embedding: weight {type_of(weight)} is not [rows, columns]"))
    rows = weight.shape[0]
    if padding_idx is not None and not -rows <= padding_idx < rows:
        raise IndexError(at_user_line(f"embedding: padding_idx {padding_idx} is none of the {rows} rows"))
    indices = where(indices < 0, rows, indices)         # take would count them from the end
    if max_norm is not None:
        shorten(weight, indices, max_norm, norm_type)
    try:
        found = take(weight, indices, 0)
    except IndexError:
        raise IndexError(at_user_line(f"embedding: an index is none of the {rows} rows")) from None
    if padding_idx is None:
        return found
    return where(expand_dims(equal(indices, padding_idx % rows), -1), found.detach(), found)


def shorten(weight: Tensor, indices: Tensor, max_norm: float, norm_type: float) -> None:
    """Scale the rows of `weight` at `indices` down to `max_norm`, in place."""
    if norm_type != 2:
        raise NotImplementedError(at_user_line(f"embedding: norm_type = {norm_type} is not 2"))
    with no_grad():
        flat = reshape(indices, (prod(indices.shape),))
        rows = weight.shape[0]
        none = dispatch("iota", shape=(rows,), axis=0, dtype="i64") * 0
        uses = dispatch("scatter_add", none, flat, flat * 0 + 1, axis=0)
        norms = sqrt(sum(weight * weight, 1))
        scale = where((uses > 0) & (norms > max_norm), max_norm / (norms + 1e-7), 1.0)
        weight *= expand_dims(scale, 1)
