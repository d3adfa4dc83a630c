"""Attention as graphs: what scores are made of, and how weights and results come about, by name.

    attention("causal", "divided", "bf16", Sizes(batch=6, m=40, n=56, k=16, v=24))
"""
from __future__ import annotations

from collections.abc import Callable

import numpy as np

from codegen.ir.builder import Builder, Value
from codegen.ir.dims import Size
from codegen.ir.graph import Graph
from codegen.ir.structs import struct
from codegen.ir.types import DTYPES, TensorType
from codegen.optimize.pipeline import optimize


@struct
class Sizes:
    """`batch` heads of m queries and n keys of k numbers, and of n values of v."""

    batch: Size = 6
    m: Size = 40
    n: Size = 56
    k: Size = 16
    v: Size = 24


def where(condition: Value, x: Value, otherwise: float) -> Value:
    """x where the condition holds."""
    return condition.emit("where", x, x.builder.constant(otherwise, x.dtype))


def causal(s: Value, more: Value | None) -> Value:
    rows, columns = (s.iota(s.shape[1:], axis) for axis in (0, 1))
    return where(rows.emit("ge", columns), s, float("-inf"))


def ahead(s: Value, more: Value | None) -> Value:
    """Of columns up to the next after the row."""
    rows, columns = (s.iota(s.shape[1:], axis) for axis in (0, 1))
    return (rows + 1).emit("lt", columns).emit("where", s.builder.constant(float("-inf"), s.dtype), s * 0.25)


SCORES: dict[str, Callable[[Value, Value], Value]] = {
    "plain": lambda s, more: s,
    "scaled": lambda s, more: s * 0.25,
    "capped": lambda s, more: (s * 0.5).emit("tanh") * 2.0,
    "causal": causal,
    "ahead": ahead,
    "masked": lambda s, more: where(more, s, float("-inf")),
    "biased": lambda s, more: s * 0.5 + more,
}
MORE = {"masked": lambda batch, m, n, dtype: TensorType("bool", (m, n)),
        "biased": lambda batch, m, n, dtype: TensorType(dtype, (batch, m, n))}


def divided(s: Value, v: Value) -> list[Value]:
    e = (s - s.emit("max", axis=(2,), keepdims=True)).emit("exp")
    return [(e / e.emit("sum", axis=(2,), keepdims=True)).emit("matmul", v)]


def divided_late(s: Value, v: Value) -> list[Value]:
    e = (s - s.emit("max", axis=(2,), keepdims=True)).emit("exp")
    return [e.emit("matmul", v) / e.emit("sum", axis=(2,), keepdims=True)]


def guarded(s: Value, v: Value) -> list[Value]:
    """0 where a row has no score but -inf; halves in f32."""
    wide = s.emit("cast", dtype="f32") if s.dtype in ("bf16", "f16") else s
    largest = wide.emit("max", axis=(2,), keepdims=True)
    e = (wide - where(largest.emit("gt", float("-inf")), largest, 0.0)).emit("exp")
    total = e.emit("sum", axis=(2,), keepdims=True)
    w = e * (total.constant(1.0) / where(total.emit("gt", 0.0), total, 1.0))
    return [(w if w.dtype == s.dtype else w.emit("cast", dtype=s.dtype)).emit("matmul", v)]


def logsum(s: Value, v: Value) -> list[Value]:
    """The logarithm of the sum of a row, too."""
    largest = s.emit("max", axis=(2,), keepdims=True)
    e = (s - largest).emit("exp")
    total = e.emit("sum", axis=(2,), keepdims=True)
    return [(e / total).emit("matmul", v), total.emit("log") + largest]


def changed(s: Value, v: Value) -> list[Value]:
    """With more behind the result, and before its right operand."""
    out, = divided(s, v * 0.5)
    return [(out * 2.0).emit("tanh")]


WEIGHTS = {one.__name__: one for one in (divided, divided_late, guarded, logsum, changed)}


def attention(scores: str, weights: str, dtype: str, sizes: Sizes) -> Graph:
    """The graph."""
    return attention_of(SCORES[scores], WEIGHTS[weights], dtype, sizes, MORE.get(scores))


def attention_of(scores: Callable[[Value, Value], Value], weights: Callable[[Value, Value], list[Value]], dtype: str,
                 sizes: Sizes, more: Callable[[Size, Size, Size, str], TensorType] | None = None) -> Graph:
    """The graph of any; `more`: what scores are made of besides the product."""
    builder = Builder("attention")
    batch, m, n, k = sizes.batch, sizes.m, sizes.n, sizes.k
    shapes = (batch, m, k), (batch, n, k), (batch, n, sizes.v)
    q, keys, v = (builder.input(TensorType(dtype, shape)) for shape in shapes)
    other = builder.input(more(batch, m, n, dtype)) if more else q
    product = q.emit("matmul", keys.emit("transpose", axes=(0, 2, 1)))
    return optimize(builder.graph(weights(scores(product, other), v)), in_parts=0)


def trained(layers: int, dtype: str, sizes: Sizes) -> Graph:
    """Layers of attention over what the one before gives, [batch, m, k], and the derivative by what the first is given.
    """
    builder = Builder("trained")
    x = builder.input(TensorType(dtype, (sizes.batch, sizes.m, sizes.k)))
    ys, ps = [x], []
    for _ in range(layers):
        y = ys[-1]
        s = (y.emit("matmul", turned(y)) * 0.25).emit("cast", dtype="f32")
        e = (s - s.emit("max", axis=(2,), keepdims=True)).emit("exp")
        ps.append((e / e.emit("sum", axis=(2,), keepdims=True)).emit("cast", dtype=dtype))
        ys.append(ps[-1].emit("matmul", y))
    g = ys[-1]
    for y, p in zip(reversed(ys[:-1]), reversed(ps)):
        wide, dp = p.emit("cast", dtype="f32"), g.emit("matmul", turned(y)).emit("cast", dtype="f32")
        ds = wide * (dp - (wide * dp).emit("sum", axis=(2,), keepdims=True)) * 0.25
        ds = ds.emit("cast", dtype=dtype)
        g = turned(p).emit("matmul", g) + ds.emit("matmul", y) + turned(ds).emit("matmul", y)
    return optimize(builder.graph([ys[-1], g]), in_parts=False)


def turned(x: Value) -> Value:
    return x.emit("transpose", axes=(0, 2, 1))


def inputs_of(graph: Graph, seed: int = 0) -> list[np.ndarray]:
    """Numbers for its inputs; of bools most are True."""
    rng = np.random.default_rng(seed)
    return [rng.random(type.shape) < 0.7 if type.dtype == "bool"
            else rng.standard_normal(type.shape).astype(DTYPES[type.dtype]) for type in graph.inputs]


def special(graph: Graph) -> list[np.ndarray]:
    """The same, where the last input, a bias, has rows of -inf, with inf, with NaN, and that begin or end with -inf."""
    *others, bias = inputs_of(graph)
    half = bias.shape[2] // 2
    bias[0, 0], bias[0, 1, 1], bias[0, 2, half], bias[0, 3, 0] = -np.inf, np.inf, np.nan, -np.inf
    bias[0, 4, :half], bias[0, 5, half:], bias[1, 0, 1:], bias[1, 1] = -np.inf, -np.inf, -np.inf, np.nan
    bias[1, 2], bias[1, 3, :half], bias[1, 4] = np.inf, 1e30, bias[1, 4] * 1e4
    return [*others, bias]
