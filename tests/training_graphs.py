"""Graphs of what training is made of, forward and backward written out: the input of tests of fusion.

    softmax(rows, columns)      Graph, with random inputs from `inputs_for`
"""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from codegen.ir.builder import Builder, Value
from codegen.ir.graph import Graph
from codegen.ir.types import DTYPES, TensorType


@dataclass(frozen=True)
class Step:
    """A graph, and the outputs that go into the storage of inputs."""

    graph: Graph
    aliases: tuple[tuple[int, int], ...] = ()


def inputs_for(graph: Graph, seed: int = 0) -> list[np.ndarray]:
    """Normal numbers; integers are 0, 1 or 2."""
    rng = np.random.default_rng(seed)
    draw = {"f": lambda shape: rng.normal(size=shape), "i": lambda shape: rng.integers(0, 3, shape)}
    return [np.asarray(draw["f" if t.dtype.startswith("f") else "i"](t.shape), DTYPES[t.dtype]) for t in graph.inputs]


def f32(b: Builder, *shape: int) -> Value:
    return b.input(TensorType("f32", shape))


def total(x: Value, *axis: int, keepdims: bool = True) -> Value:
    return x.emit("sum", axis=axis, keepdims=keepdims)


def transposed(x: Value) -> Value:
    return x.emit("transpose", axes=(*range(x.ndim - 2), x.ndim - 1, x.ndim - 2))


def softmax_of(x: Value) -> Value:
    last = x.ndim - 1
    e = (x - x.emit("max", axis=(last,), keepdims=True)).emit("exp")
    return e / total(e, last)


def softmax(rows: int, columns: int) -> Step:
    """y and the derivative by x."""
    b = Builder("softmax")
    x, dy = f32(b, rows, columns), f32(b, rows, columns)
    y = softmax_of(x)
    return Step(b.graph([y, y * (dy - total(y * dy, 1))]))


def log_softmax(rows: int, columns: int) -> Step:
    """y and the derivative by x."""
    b = Builder("log_softmax")
    x, dy = f32(b, rows, columns), f32(b, rows, columns)
    s = x - x.emit("max", axis=(1,), keepdims=True)
    y = s - total(s.emit("exp"), 1).emit("log")
    return Step(b.graph([y, dy - y.emit("exp") * total(dy, 1)]))


def convolution(batch: int, channels: int, size: int, filters: int) -> Step:
    """relu of a 3x3 convolution that keeps the size, and the derivatives by filters, bias and x."""
    b = Builder("convolution")
    x, w = f32(b, batch, channels, size, size), f32(b, filters, channels, 3, 3)
    bias, dy = f32(b, filters, 1), f32(b, batch, filters, size, size)
    places, terms, wide = batch * size * size, channels * 9, size + 2
    shear = {"axes": (4, 5), "along": (0, 1), "step": (1, 1), "dilation": (1, 1)}
    wider = x.emit("pad", low=(0, 0, 1, 1), high=(0, 0, 1, 1), interior=(0,) * 4)
    windows = wider.emit("broadcast", shape=(3, 3, batch, channels, wide, wide)).emit("shear", **shear)
    columns = windows.emit("transpose", axes=(3, 0, 1, 2, 4, 5)).emit("reshape", shape=(terms, places))
    flat = w.emit("reshape", shape=(filters, terms))
    y = flat.emit("matmul", columns) + bias
    zero = b.constant(0, "f32")
    on, over = y.emit("gt", zero), dy.emit("transpose", axes=(1, 0, 2, 3)).emit("reshape", shape=(filters, places))
    g = on.emit("where", over, zero)
    apart = transposed(flat).emit("matmul", g).emit("reshape", shape=(channels, 3, 3, batch, size, size))
    spread = apart.emit("transpose", axes=(1, 2, 3, 0, 4, 5)).emit("unshear", **shear, size=(wide, wide))
    edge = {"start": (0, 0, 1, 1), "stop": (batch, channels, size + 1, size + 1), "step": (1,) * 4}
    dx = total(spread, 0, 1, keepdims=False).emit("slice", **edge)
    kept = on.emit("where", y, zero).emit("reshape", shape=(filters, batch, size, size))
    dw = g.emit("matmul", transposed(columns)).emit("reshape", shape=w.shape)
    return Step(b.graph([kept.emit("transpose", axes=(1, 0, 2, 3)), dw, total(g, 1), dx]))


def layer_norm(rows: int, columns: int) -> Step:
    """y and the derivatives by x, scale and offset."""
    b = Builder("layer_norm")
    x, scale, offset, dy = f32(b, rows, columns), f32(b, columns), f32(b, columns), f32(b, rows, columns)
    return Step(b.graph(_normalized(x, scale, offset, dy, along=1, across=0)))


def batch_norm(rows: int, columns: int) -> Step:
    """y and the derivatives by x, scale and offset."""
    b = Builder("batch_norm")
    x, scale, offset, dy = f32(b, rows, columns), f32(b, columns), f32(b, columns), f32(b, rows, columns)
    return Step(b.graph(_normalized(x, scale, offset, dy, along=0, across=0)))


def _normalized(x: Value, scale: Value, offset: Value, dy: Value, along: int, across: int) -> list[Value]:
    share = 1.0 / x.shape[along]
    centered = x - total(x, along) * share
    rate = x.constant(1.0) / (total(centered * centered, along) * share + 1e-5).emit("sqrt")
    normal = centered * rate
    d_normal = dy * scale
    dx = rate * (d_normal - total(d_normal, along) * share - normal * (total(d_normal * normal, along) * share))
    return [normal * scale + offset, dx, total(dy * normal, across, keepdims=False), total(dy, across, keepdims=False)]


def cross_entropy_of(scores: Value, labels: Value) -> tuple[Value, Value]:
    """The mean loss and its derivative by the scores."""
    rows, classes = scores.shape
    shifted = scores - scores.emit("max", axis=(1,), keepdims=True)
    log_p = shifted - total(shifted.emit("exp"), 1).emit("log")
    loss = total(-log_p.emit("gather", labels, axis=1), 0, 1, keepdims=False) * (1.0 / rows)
    d_picked = scores.constant(-1.0 / rows).emit("broadcast", shape=(rows, 1))
    zeros = scores.constant(0.0).emit("broadcast", shape=(rows, classes))
    d_log_p = zeros.emit("scatter_add", labels, d_picked, axis=1)
    return loss, d_log_p - log_p.emit("exp") * total(d_log_p, 1)


def cross_entropy(rows: int, classes: int) -> Step:
    """The mean loss and its derivative by the scores."""
    b = Builder("cross_entropy")
    scores, labels = f32(b, rows, classes), b.input(TensorType("i64", (rows, 1)))
    return Step(b.graph(cross_entropy_of(scores, labels)))


def perceptron_step(rows: int, inputs: int, hidden: int, classes: int) -> Step:
    """A step of SGD of a perceptron with one hidden layer: the loss, and four parameters updated in place."""
    b = Builder("perceptron_step")
    x, labels = f32(b, rows, inputs), b.input(TensorType("i64", (rows, 1)))
    w1, b1, w2, b2 = f32(b, inputs, hidden), f32(b, hidden), f32(b, hidden, classes), f32(b, classes)
    rate = f32(b)
    z = x.emit("matmul", w1) + b1
    h = z.emit("maximum", z.constant(0.0))
    loss, d_scores = cross_entropy_of(h.emit("matmul", w2) + b2, labels)
    d_w2, d_b2 = transposed(h).emit("matmul", d_scores), total(d_scores, 0, keepdims=False)
    d_h = d_scores.emit("matmul", transposed(w2))
    d_z = z.emit("gt", z.constant(0.0)).emit("where", d_h, z.constant(0.0))
    d_w1, d_b1 = transposed(x).emit("matmul", d_z), total(d_z, 0, keepdims=False)
    updates = [p - rate * d for p, d in ((w1, d_w1), (b1, d_b1), (w2, d_w2), (b2, d_b2))]
    return Step(b.graph([loss, *updates]), ((1, 2), (2, 3), (3, 4), (4, 5)))


def adam_step(*shapes: tuple[int, ...]) -> Step:
    """Adam on parameters of these shapes, given their derivatives; all but these are updated in place."""
    b = Builder("adam_step")
    parameters, gradients, means, squares = ([f32(b, *shape) for shape in shapes] for _ in range(4))
    count = f32(b)
    after = count + 1.0
    bias1, bias2 = (after.constant(1.0) - (after * float(np.log(beta))).emit("exp") for beta in (0.9, 0.999))
    outputs, aliases, n = [after], [(0, 4 * len(shapes))], len(shapes)
    for k, (p, g, m, v) in enumerate(zip(parameters, gradients, means, squares)):
        m, v = m * 0.9 + g * 0.1, v * 0.999 + g * g * 0.001
        p = p - (m / bias1) / ((v / bias2).emit("sqrt") + 1e-8) * 1e-3
        aliases += [(len(outputs), k), (len(outputs) + 1, 2 * n + k), (len(outputs) + 2, 3 * n + k)]
        outputs += [p, m, v]
    return Step(b.graph(outputs), tuple(aliases))


def attention(batch: int, heads: int, length: int, width: int) -> Step:
    """Causal attention over [batch, length, heads*width], forward and backward."""
    b = Builder("attention")
    shape = (batch, length, heads * width)
    given = [f32(b, *shape) for _ in range(4)]
    apart = [x.emit("reshape", shape=(batch, length, heads, width)) for x in given]
    q, k, v, dy = (x.emit("transpose", axes=(0, 2, 1, 3)) for x in apart)
    row, column = (b.emit("iota", shape=(length, length), axis=axis, dtype="i64") for axis in (0, 1))
    visible, scale = row.emit("ge", column), width ** -0.5
    scores = q.emit("matmul", transposed(k)) * scale
    p = softmax_of(visible.emit("where", scores, scores.constant(-1e9)))
    dp = dy.emit("matmul", transposed(v))
    d_scores = visible.emit("where", p * (dp - total(p * dp, 3)), scores.constant(0.0)) * scale
    pairs = ((p, v), (d_scores, k), (transposed(d_scores), q), (transposed(p), dy))
    results = [x.emit("matmul", y) for x, y in pairs]
    return Step(b.graph([x.emit("transpose", axes=(0, 2, 1, 3)).emit("reshape", shape=shape) for x in results]))


def gelu(size: int) -> Step:
    """y and the derivative by x of the tanh form of GELU."""
    b = Builder("gelu")
    x, dy = f32(b, size), f32(b, size)
    t = ((x + x * x * x * 0.044715) * 0.7978845608).emit("tanh")
    slope = (x * x * (3 * 0.044715) + 1.0) * 0.7978845608
    return Step(b.graph([x * 0.5 * (t + 1.0), dy * ((t + 1.0) * 0.5 + x * 0.5 * (t.constant(1.0) - t * t) * slope)]))


def dropout(rows: int, columns: int) -> Step:
    """x where a random word is above a quarter, and the counter moved on in place."""
    b = Builder("dropout")
    x, key, counter = f32(b, rows, columns), b.input(TensorType("u64")), b.input(TensorType("u64"))
    kept = b.emit("random_bits", key, counter, shape=(rows, columns)).emit("ge", b.constant(1 << 30, "u32"))
    y, moved_on = kept.emit("where", x * (4 / 3), x.constant(0.0)), counter + (rows * columns + 3) // 4
    return Step(b.graph([y, moved_on]), ((1, 2),))


def embedding(words: int, width: int, length: int, dtype: str = "f32") -> Step:
    """Rows of a table looked up, and the derivative by the table of their sum weighted by dy, added up row by row."""
    b = Builder("embedding")
    table, places = b.input(TensorType(dtype, (words, width))), b.input(TensorType("i64", (length,)))
    dy = b.input(TensorType(dtype, (length, width)))
    wide = places.emit("reshape", shape=(length, 1)).emit("broadcast", shape=(length, width))
    zeros = b.emit("constant", value="0.0", dtype=dtype).emit("broadcast", shape=(words, width))
    return Step(b.graph([table.emit("gather", wide, axis=0), zeros.emit("scatter_add", wide, dy, axis=0)]))


def rows_written(rows: int, width: int, length: int) -> Step:
    """Rows of a table written at places that may repeat: the last one of a place stays."""
    b = Builder("rows_written")
    table, places, new = f32(b, rows, width), b.input(TensorType("i64", (length,))), f32(b, length, width)
    wide = places.emit("reshape", shape=(length, 1)).emit("broadcast", shape=(length, width))
    return Step(b.graph([table.emit("scatter", wide, new, axis=0)]), ((0, 0),))


def running_sum(length: int) -> Step:
    """The running sum of a line."""
    b = Builder("running_sum")
    return Step(b.graph([f32(b, length).emit("cumsum", axis=0)]))
