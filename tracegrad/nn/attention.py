"""MultiheadAttention: attention of several heads, each on its own projections of queries, keys and values."""
from __future__ import annotations

from typing import Any

from tracegrad.attention import attention_weights, causal
from tracegrad.creation import empty, zeros
from tracegrad.functional import where
from tracegrad.movement import concat
from tracegrad.nn import functional as F
from tracegrad.nn import init
from tracegrad.nn.layers import Linear
from tracegrad.nn.modules import Module, Parameter
from tracegrad.tensors import Tensor


class MultiheadAttention(Module):
    """Attention with `num_heads` heads of embed_dim / num_heads columns each.

    query [l, n, embed_dim], key [s, n, kdim], value [s, n, vdim], or [n, l, ...] with `batch_first`, or without n.
    Gives (result, weights): result like query, weights [n, l, s], the mean over heads, or [n, heads, l, s] without
    `average_attn_weights`, or None without `need_weights`.

    A bool in `attn_mask` [l, s] or [n * heads, l, s], or in `key_padding_mask` [n, s], says who is NOT seen, as in
    PyTorch; numbers there are added to the scores. `is_causal` without a mask: position i sees positions up to i.
    """

    def __init__(self, embed_dim: int, num_heads: int, dropout: float = 0.0, bias: bool = True,
                 add_bias_kv: bool = False, add_zero_attn: bool = False, kdim: int | None = None,
                 vdim: int | None = None, batch_first: bool = False, dtype: Any = None):
        if embed_dim % num_heads:
            raise ValueError(f"MultiheadAttention: {num_heads} heads do not divide embed_dim {embed_dim}")
        self.embed_dim, self.num_heads, self.dropout = embed_dim, num_heads, dropout
        self.kdim, self.vdim = embed_dim if kdim is None else kdim, embed_dim if vdim is None else vdim
        self.add_zero_attn, self.batch_first = add_zero_attn, batch_first
        self.one_size = self.kdim == self.vdim == embed_dim

        def made(*shape: int, wanted: bool = True) -> Any:
            return Parameter(empty(shape, dtype=dtype)) if wanted else None

        self.in_proj_weight = made(3 * embed_dim, embed_dim, wanted=self.one_size)
        self.q_proj_weight = made(embed_dim, embed_dim, wanted=not self.one_size)
        self.k_proj_weight = made(embed_dim, self.kdim, wanted=not self.one_size)
        self.v_proj_weight = made(embed_dim, self.vdim, wanted=not self.one_size)
        self.in_proj_bias = made(3 * embed_dim, wanted=bias)
        self.out_proj = Linear(embed_dim, embed_dim, bias=bias, dtype=dtype)
        self.bias_k, self.bias_v = (made(1, 1, embed_dim, wanted=add_bias_kv) for _ in "kv")
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new initial values."""
        for weight in (self.in_proj_weight, self.q_proj_weight, self.k_proj_weight, self.v_proj_weight):
            if weight is not None:
                init.xavier_uniform_(weight)
        for bias in (self.in_proj_bias, self.out_proj.bias):
            if bias is not None:
                init.zeros_(bias)
        for bias in (self.bias_k, self.bias_v):
            if bias is not None:
                init.xavier_normal_(bias)

    def forward(self, query: Tensor, key: Tensor, value: Tensor, key_padding_mask: Tensor | None = None,
                need_weights: bool = True, attn_mask: Tensor | None = None, average_attn_weights: bool = True,
                is_causal: bool = False) -> tuple[Tensor, Tensor | None]:
        alone = query.ndim == 2
        q, k, v = self.project(query, key, value)
        if alone:
            q, k, v = q.unsqueeze(0), k.unsqueeze(0), v.unsqueeze(0)
            key_padding_mask = None if key_padding_mask is None else key_padding_mask.unsqueeze(0)
        elif not self.batch_first:
            q, k, v = q.swapaxes(0, 1), k.swapaxes(0, 1), v.swapaxes(0, 1)
        mask = merged_mask(attn_mask, key_padding_mask, q, self.num_heads)
        if is_causal and mask is None and (self.add_zero_attn or self.bias_k is not None):
            mask = hidden_scores(causal(q.shape[1], k.shape[1]).logical_not(), q)
        k, v, mask = self.with_more_keys(k, v, mask)

        n, l, _ = q.shape
        q, k, v = self.heads(q), self.heads(k), self.heads(v)
        weights = attention_weights(q, k, mask, is_causal and mask is None, q.shape[-1] ** -0.5)
        weights = F.dropout(weights, self.dropout, self.training)
        result = (weights @ v).swapaxes(1, 2).reshape(n, l, self.embed_dim)
        result = self.out_proj(result)
        if alone:
            result = result.squeeze(0)
        elif not self.batch_first:
            result = result.swapaxes(0, 1)
        if not need_weights:
            return result, None
        weights = weights.mean(axis=1) if average_attn_weights else weights
        return result, weights.squeeze(0) if alone else weights

    def project(self, query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values of all heads, side by side; one product where all are made of the same."""
        e, b = self.embed_dim, self.in_proj_bias
        w = self.in_proj_weight
        if w is not None and query is key and key is value:
            all_three = F.linear(query, w, b)
            return all_three[..., :e], all_three[..., e:2 * e], all_three[..., 2 * e:]
        b_q, b_k, b_v = (None, None, None) if b is None else (b[:e], b[e:2 * e], b[2 * e:])
        if w is not None:
            return F.linear(query, w[:e], b_q), F.linear(key, w[e:2 * e], b_k), F.linear(value, w[2 * e:], b_v)
        return (F.linear(query, self.q_proj_weight, b_q), F.linear(key, self.k_proj_weight, b_k),
                F.linear(value, self.v_proj_weight, b_v))

    def heads(self, x: Tensor) -> Tensor:
        """[n, l, heads * d] as [n, heads, l, d]."""
        n, l, e = x.shape
        return x.reshape(n, l, self.num_heads, e // self.num_heads).swapaxes(1, 2)

    def with_more_keys(self, k: Tensor, v: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
        """Keys, values and mask with a learned pair, and a pair of zeros, at their end, where there are any."""
        n, _, e = k.shape
        zero = zeros((1, 1, e), dtype=k.dtype, device=k.device)
        more = [] if self.bias_k is None else [(self.bias_k, self.bias_v)]
        for key, value in more + [(zero, zero)] * self.add_zero_attn:
            k, v = concat([k, key.expand(n, 1, e)], axis=1), concat([v, value.expand(n, 1, e)], axis=1)
            if mask is not None:
                mask = concat([mask, zeros((*mask.shape[:-1], 1), dtype=mask.dtype, device=mask.device)], axis=-1)
        return k, v, mask

    def extra_repr(self) -> str:
        return f"embed_dim={self.embed_dim}, num_heads={self.num_heads}, dropout={self.dropout}"


def hidden_scores(mask: Tensor, x: Tensor) -> Tensor:
    """A mask as numbers to add to scores: minus infinity where a bool says that something is not seen."""
    if mask.dtype.kind == "b":
        return where(mask, float("-inf"), zeros(mask.shape, dtype=x.dtype, device=x.device))
    return mask


def merged_mask(attn_mask: Tensor | None, key_padding_mask: Tensor | None, q: Tensor, heads: int) -> Tensor | None:
    """Both masks as one to add to scores [n, heads, l, s]; None if there is none."""
    merged = None
    if attn_mask is not None:
        merged = hidden_scores(attn_mask, q)
        if merged.ndim == 3:
            merged = merged.reshape(q.shape[0], heads, *merged.shape[1:])
    if key_padding_mask is not None:
        padding = hidden_scores(key_padding_mask, q).unsqueeze(1).unsqueeze(1)
        merged = padding if merged is None else merged + padding
    return merged
