"""Hypothesis strategies: random Graphs that are well typed, of the ops of the table, and inputs for them.

    @given(graphs(), st.integers(0, 2**32 - 1))
    def test(graph, seed):
        interpret(graph, arrays_for(graph, seed))
"""
from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from hypothesis import strategies as st
from op_cases import LIBRARY_OPS

from codegen.ir.builder import Builder, Value
from codegen.ir.dims import Size, evaluate, symbol
from codegen.ir.graph import Graph
from codegen.ir.interpret import bind
from codegen.ir.ops import OPS
from codegen.ir.type_rules import TypeRuleError
from codegen.ir.types import DTYPES, TensorType

Draw = Callable[[st.SearchStrategy], object]

DTYPES_DRAWN = ("f32", "f64", "i32", "i64", "u32", "bool")
NUMBERS_DRAWN = {
    "f": (0.0, -0.0, 1.0, -1.0, 2.0, 0.5, 0.1, np.inf, -np.inf, np.nan),
    "i": (0, 1, -1, 2, 7), "u": (0, 1, 2, 7), "b": (True, False),
}
SPECIAL = (0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, 1e-40)


OPS_DRAWN = tuple(name for name in OPS if name not in LIBRARY_OPS)
"""Those that take what has any shape."""


@st.composite
def graphs(draw, ops: Sequence[str] = OPS_DRAWN, dtypes: Sequence[str] = DTYPES_DRAWN, max_nodes: int = 10,
           sizes: Sequence[int] = (0, 1, 2, 3, 5), symbolic: bool = False) -> Graph:
    """A well-typed graph of the given ops, on inputs of the given dtypes and sizes; with symbols among the sizes."""
    fitting = [name for name in ops if name in OPS_DRAWN]
    b = Builder("random")
    base: list[Size] = [*sizes, symbol("b"), symbol("c")] if symbolic else list(sizes)
    shapes = [tuple(draw(st.lists(st.sampled_from(base), max_size=3))) for _ in range(2)]
    if symbolic:
        b.input(TensorType("f32", (symbol("b"), symbol("c"))))
    for _ in range(draw(st.integers(1, 4))):
        b.input(TensorType(draw(st.sampled_from(dtypes)), _broadcasting_with(draw, draw(st.sampled_from(shapes)))))
    values = [Value(b, v, type) for v, type in enumerate(b.graph(()).inputs)]
    for k in range(draw(st.integers(1, max_nodes))):
        b.line = f"model.py:{k + 1}" if draw(st.booleans()) else None
        try:
            values.append(_node(draw, b, draw(st.sampled_from(fitting)), values))
        except TypeRuleError:
            continue
    return b.graph([*draw(st.lists(st.sampled_from(values), max_size=3)), values[-1]])


def arrays_for(graph: Graph, seed: int, largest: int = 4) -> list[np.ndarray]:
    """Inputs for `graph`: small numbers and special ones; symbols get sizes from 2 to the largest."""
    rng = np.random.default_rng(seed)
    names = sorted(set().union(*(type.symbols for type in graph.inputs))) if graph.inputs else []
    binding = {name: int(rng.integers(2, largest + 1)) for name in names}
    arrays = []
    for type in graph.inputs:
        shape = tuple(evaluate(size, binding) for size in type.shape)
        dtype = DTYPES[type.dtype]
        if dtype.kind in "iu":
            arrays.append(rng.integers(0 if dtype.kind == "u" else -4, 5, shape, dtype))
        elif dtype.kind == "b":
            arrays.append(rng.integers(0, 2, shape).astype(dtype))
        else:
            ordinary, special = rng.normal(size=shape) * 2, rng.choice(SPECIAL, size=shape)
            arrays.append(np.asarray(np.where(rng.random(shape) < 0.2, special, ordinary), dtype))
    assert bind(graph.inputs, [a.shape for a in arrays]) == binding
    return arrays


def _broadcasting_with(draw: Draw, shape: tuple[Size, ...]) -> tuple[Size, ...]:
    """`shape` without some of its first axes, and 1 for some of the others."""
    kept = shape[draw(st.integers(0, len(shape))):] if draw(st.booleans()) else shape
    return tuple(1 if draw(st.integers(0, 4)) == 0 else size for size in kept)


def _node(draw: Draw, b: Builder, op: str, values: list[Value]) -> Value:
    row = OPS[op]
    match op:
        case "constant":
            dtype = draw(st.sampled_from(DTYPES_DRAWN))
            return b.constant(draw(st.sampled_from(NUMBERS_DRAWN[DTYPES[dtype].kind])), dtype)
        case "iota":
            x = draw(st.sampled_from([v for v in values if v.ndim] or [_scalar_row(b)]))
            dtype = draw(st.sampled_from(DTYPES_DRAWN[:-1]))
            return b.emit(op, shape=x.shape, axis=draw(st.integers(0, x.ndim - 1)), dtype=dtype)
        case "random_bits":
            key, counter = (b.constant(draw(st.integers(0, top)), "u64") for top in (2**64 - 1, 9))
            return b.emit(op, key, counter, shape=draw(st.sampled_from(values)).shape)
        case "where":
            x, y = draw(st.sampled_from(values)), draw(st.sampled_from(values))
            y = y if y.dtype == x.dtype else x
            conditions = [v for v in values if v.dtype == "bool"]
            return b.emit(op, draw(st.sampled_from(conditions)) if conditions else x.emit("eq", x), x, y)
        case "matmul":
            x = draw(st.sampled_from([v for v in values if v.ndim > 1] or [_scalar_row(b)]))
            fitting = [v for v in values if v.dtype == x.dtype and v.ndim == x.ndim > 1 and v.shape[-2] == x.shape[-1]]
            axes = (*range(x.ndim - 2), x.ndim - 1, x.ndim - 2) if x.ndim > 1 else (0,)
            return b.emit(op, x, draw(st.sampled_from(fitting)) if fitting else x.emit("transpose", axes=axes))
        case "recurrence" | "searchsorted":
            x = draw(st.sampled_from(values))
            y = draw(st.sampled_from([v for v in values if v.type == x.type]))
            if op == "searchsorted":            # what it gives for rows that are not sorted is nobody's promise
                return b.emit(op, x.emit("sort", axis=max(x.ndim - 1, 0)), y, right=draw(st.booleans()))
            return b.emit(op, x, y, axis=draw(st.integers(0, max(x.ndim - 1, 0))))
        case "concat":
            x = draw(st.sampled_from([v for v in values if v.ndim] or [_scalar_row(b)]))
            axis = draw(st.integers(0, x.ndim - 1))
            others = x.shape[:axis] + x.shape[axis + 1:]
            fitting = [v for v in values if v.dtype == x.dtype and v.ndim == x.ndim
                       and v.shape[:axis] + v.shape[axis + 1:] == others]
            return b.emit(op, x, draw(st.sampled_from([*fitting, x])), axis=axis)
        case "gather" | "scatter_add" | "scatter":
            return _indexed(draw, b, op, values)
        case _ if row.arity == 2:
            x = draw(st.sampled_from(values))
            return b.emit(op, x, draw(st.sampled_from([v for v in values if v.dtype == x.dtype])))
        case _:
            x = draw(st.sampled_from(values))
            return b.emit(op, x, **_attrs(draw, op, x, values) if row.attrs else {})


def _scalar_row(b: Builder) -> Value:
    return b.constant(3, "f32").emit("reshape", shape=(1,))


def _indexed(draw: Draw, b: Builder, op: str, values: list[Value]) -> Value:
    """Mostly indices in bounds, made from an iota; sometimes any value of the right type."""
    x = draw(st.sampled_from([v for v in values if v.ndim] or [_scalar_row(b)]))
    axis = draw(st.integers(0, x.ndim - 1))
    size = x.shape[axis]
    any_fitting = [v for v in values if v.dtype == "i64" and v.ndim == x.ndim
                   and v.shape[:axis] + v.shape[axis + 1:] == x.shape[:axis] + x.shape[axis + 1:]]
    if any_fitting and draw(st.booleans()):
        indices = draw(st.sampled_from(any_fitting))
    else:
        count = draw(st.integers(0, size)) if isinstance(size, int) else size
        indices = b.emit("iota", shape=(*x.shape[:axis], count, *x.shape[axis + 1:]), axis=axis, dtype="i64")
        if isinstance(count, int) and draw(st.booleans()):
            indices = indices - count
    if op == "gather":
        return b.emit(op, x, indices, axis=axis)
    updates = b.emit("gather", x, indices, axis=axis)
    return b.emit(op, x, indices, updates, axis=axis)


def _attrs(draw: Draw, op: str, x: Value, values: list[Value]) -> dict[str, object]:
    """Attrs that mostly fit; the type rule refuses the others."""
    axes = draw(st.permutations(range(x.ndim)))
    some = tuple(sorted(axes[:draw(st.integers(0, x.ndim))]))
    match op:
        case "cast":
            return {"dtype": draw(st.sampled_from(DTYPES_DRAWN))}
        case "polygamma":
            return {"order": draw(st.integers(0, 2))}
        case "sum" | "prod" | "max" | "min":
            return {"axis": some, "keepdims": draw(st.booleans())}
        case "cumsum" | "cumprod" | "cummax" | "cummin" | "sort" | "argsort":
            return {"axis": axes[0] if axes else 0}
        case "argmax" | "argmin":
            return {"axis": axes[0] if axes else 0, "keepdims": draw(st.booleans())}
        case "broadcast":
            front = tuple(draw(st.lists(st.sampled_from([1, 2, 3]), max_size=2)))
            return {"shape": front + tuple(draw(st.integers(1, 3)) if size == 1 else size for size in x.shape)}
        case "reshape":
            return {"shape": _reshaped(draw, x.shape)}
        case "transpose":
            return {"axes": tuple(axes)}
        case "flip":
            return {"axes": some}
        case "slice":
            cuts = [_cut(draw, size) for size in x.shape]
            return {name: tuple(cut[k] for cut in cuts) for k, name in enumerate(("start", "stop", "step"))}
        case "pad":
            low, high = (tuple(draw(st.integers(0, 2)) for _ in x.shape) for _ in range(2))
            return {"low": low, "high": high, "interior": tuple(draw(st.integers(0, 1)) for _ in x.shape)}
        case "shear":
            return _shear(draw, x, axes)
        case "unshear":
            attrs = _shear(draw, x, axes)
            sizes = [size for k in attrs["axes"] if isinstance(size := x.shape[k], int)]
            longer = [n * s + draw(st.integers(0, 3)) for n, s in zip(sizes, attrs["step"])]
            return {**attrs, "size": tuple(longer)}
        case _:
            raise KeyError(op)


def _shear(draw: Draw, x: Value, axes: Sequence[int]) -> dict[str, tuple[int, ...]]:
    """Attrs of a shear of up to two axes, each with one of the others; whether symbols fit only a run would tell."""
    axes = [k for k in axes if isinstance(x.shape[k], int)]
    n = draw(st.integers(0, len(axes) // 2))
    step, dilation = (tuple(draw(st.integers(1, 2)) for _ in range(n)) for _ in range(2))
    return {"axes": tuple(axes[:n]), "along": tuple(axes[n:2 * n]), "step": step, "dilation": dilation}


def _cut(draw: Draw, size: Size) -> tuple[Size, Size, int]:
    """Start, stop and step along an axis; often the whole of it."""
    if not isinstance(size, int) or draw(st.booleans()):
        return 0, size, 1
    start = draw(st.integers(0, size))
    return start, draw(st.integers(start, size)), draw(st.integers(1, 2))


def _reshaped(draw: Draw, shape: tuple[Size, ...]) -> tuple[Size, ...]:
    """The same elements: two axes in one, or axes of size 1 put in or left out."""
    kept = [size for size in shape if size != 1 or draw(st.booleans())]
    if len(kept) > 1 and draw(st.booleans()):
        kept[:2] = [kept[0] * kept[1]]
    if draw(st.booleans()):
        kept.insert(draw(st.integers(0, len(kept))), 1)
    return tuple(kept)
