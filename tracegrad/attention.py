"""Attention: softmax(q k^T / sqrt(e)) v. A. Vaswani et al. (2017), NeurIPS."""
from __future__ import annotations

from codegen.ir.type_rules import TypeRuleError
from codegen.ir.types import type_of
from tracegrad.dispatch import dispatch
from tracegrad.dtypes import bool_, float32
from tracegrad.functional import detach, exp, matmul, max, sum, where
from tracegrad.movement import expand_dims, reshape, swapaxes
from tracegrad.noise import dropout
from tracegrad.operands import Operand, convert, floating, tensor_operand
from tracegrad.probabilities import softmax
from tracegrad.source_lines import at_user_line
from tracegrad.tensors import Tensor


def causal(rows: int, columns: int) -> Tensor:
    """bool[rows, columns]: may position i see position j, that is, is j <= i?"""
    i = dispatch("iota", shape=(rows, 1), axis=0, dtype="i64")
    return dispatch("ge", i, dispatch("iota", shape=(1, columns), axis=1, dtype="i64"))


def masked_softmax(scores: Tensor) -> Tensor:
    """softmax along the last axis; 0 in rows whose scores are all minus infinity."""
    if scores.itemsize == 2:
        return convert(masked_softmax(convert(scores, float32)), scores.dtype)
    largest = detach(max(scores, -1, keepdims=True))
    e = exp(scores - where(largest > float("-inf"), largest, 0.0))
    total = sum(e, -1, keepdims=True)
    return e * (1 / where(total > 0, total, 1.0))


def attention_weights(query: Tensor, key: Tensor, mask: Tensor | None, is_causal: bool, scale: float) -> Tensor:
    """How much each of the l queries [..., l, e] takes of each of the s keys [..., s, e]: [..., l, s]."""
    scores = matmul(query * scale, swapaxes(key, -2, -1))
    if is_causal:
        scores = where(causal(*scores.shape[-2:]), scores, float("-inf"))
    if mask is None:
        return softmax(scores, -1)
    scores = where(mask, scores, float("-inf")) if mask.dtype is bool_ else scores + mask
    return masked_softmax(scores)


def repeated(x: Tensor, heads: int) -> Tensor:
    """x [..., h, s, e] with each of its heads repeated so that there are `heads`."""
    *lead, h, s, e = x.shape
    if heads % h:
        raise TypeRuleError(at_user_line(f"scaled_dot_product_attention: {heads} heads are no multiple of {h}"))
    return reshape(expand_dims(x, -3).expand(*lead, h, heads // h, s, e), (*lead, heads, s, e))


def scaled_dot_product_attention(query: Operand, key: Operand, value: Operand, attn_mask: Operand | None = None,
                                 dropout_p: float = 0.0, is_causal: bool = False, scale: float | None = None,
                                 enable_gqa: bool = False) -> Tensor:
    """softmax(query key^T * scale + mask) value: [..., l, e], [..., s, e], [..., s, v] -> [..., l, v].

    attn_mask, which broadcasts to [..., l, s]: bools that say who takes part, or numbers that are added. is_causal:
    position i sees positions up to i. scale is 1 / sqrt(e) unless given. Weights are dropped with probability
    dropout_p, always. A query that may see nothing gets 0. enable_gqa: key and value may have fewer heads.
    """
    op = "scaled_dot_product_attention"
    q, k, v = (floating(tensor_operand(op, x)) for x in (query, key, value))
    if min(q.ndim, k.ndim, v.ndim) < 2:
        raise TypeRuleError(at_user_line(f"{op}: {type_of(q)}, {type_of(k)} and {type_of(v)} "
                                         "need two axes each"))
    if is_causal and attn_mask is not None:
        raise ValueError(at_user_line(f"{op}: give a mask or is_causal, not both"))
    if enable_gqa:
        k, v = repeated(k, q.shape[-3]), repeated(v, q.shape[-3])
    mask = None if attn_mask is None else tensor_operand(op, attn_mask)
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    weights = attention_weights(q, k, mask, is_causal, scale)
    return matmul(dropout(weights, dropout_p), v)
