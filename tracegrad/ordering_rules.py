"""The derivatives of products, running results, sorts and writes at indices, in the algebra of `derivatives`.

They hold at zeros, in every order: no product is divided by a factor. What is needed instead is

    y[i] = a[i] * y[i-1] + b[i]     and, for it,     h[i] = g[i] + a[i+1] * h[i+1]

the op `recurrence`, whose derivative is the same recurrence run backwards.
"""
from __future__ import annotations

from math import prod
from typing import Any, TypeAlias

from codegen.ir.dims import Size

Operand: TypeAlias = Any        # a Tensor or a builder Value, as in `derivatives`


def backwards(op: str, axis: int, *operands: Operand) -> Operand:
    """`op` along an axis from its end to its start."""
    first, *others = (x.emit("flip", axes=(axis,)) for x in operands)
    return first.emit(op, *others, axis=axis).emit("flip", axes=(axis,))


def before(x: Operand, axis: int, first: int) -> Operand:
    """x[i-1] at i along an axis; `first` at 0."""
    n = x.shape[axis]
    low = tuple(int(k == axis) for k in range(len(x.shape)))
    none = (0,) * len(low)
    moved = x.emit("pad", low=low, high=none, interior=none).emit(
        "slice", start=none, stop=x.shape, step=(1,) * len(low))
    if first == 0:
        return moved
    line = tuple(n if k == axis else 1 for k in range(len(low)))
    return x.iota(line, axis).emit("eq", 0).emit("where", x.constant(first), moved)


def prod_rule(g: Operand, y: Operand, x: Operand, *, axis: tuple[int, ...], keepdims: bool) -> Operand:
    """g times the product of all other elements: of those before and of those after."""
    kept = tuple(k for k in range(len(x.shape)) if k not in axis)
    order = (*kept, *axis)
    shape: tuple[Size, ...] = tuple(x.shape[k] for k in order)
    lines = x.emit("transpose", axes=order).emit("reshape", shape=(*shape[:len(kept)], prod(shape[len(kept):])))
    last = len(kept)
    products = before(lines.emit("cumprod", axis=last), last, 1)
    turned = lines.emit("flip", axes=(last,))
    others = products * before(turned.emit("cumprod", axis=last), last, 1).emit("flip", axes=(last,))
    back = tuple(order.index(k) for k in range(len(order)))
    others = others.emit("reshape", shape=shape).emit("transpose", axes=back)
    wide = tuple(1 if k in axis else size for k, size in enumerate(x.shape))
    return others * g.emit("reshape", shape=wide)


def cumprod_rule(g: Operand, y: Operand, x: Operand, *, axis: int) -> Operand:
    """The product of what is before x[i], times the sum over k >= i of g[k] times what is between i and k."""
    return before(y, axis, 1) * carried_back(g, x, axis)


def carried_back(g: Operand, a: Operand, axis: int) -> Operand:
    """h[i] = g[i] + a[i+1] * h[i+1]: the cotangents of y in y[i] = a[i] * y[i-1] + ..."""
    turned = before(a.emit("flip", axes=(axis,)), axis, 0)
    return turned.emit("recurrence", g.emit("flip", axes=(axis,)), axis=axis).emit("flip", axes=(axis,))


def factor_rule(g: Operand, y: Operand, a: Operand, b: Operand, *, axis: int) -> Operand:
    return carried_back(g, a, axis) * before(y, axis, 0)


def term_rule(g: Operand, y: Operand, a: Operand, b: Operand, *, axis: int) -> Operand:
    return carried_back(g, a, axis)


def zeros(g: Operand, shape: tuple[Size, ...]) -> Operand:
    return g.constant(0).emit("broadcast", shape=shape)


def extremum_rule(g: Operand, y: Operand, x: Operand, *, axis: int) -> Operand:
    """The cotangent goes to the last element so far that is the extremum, or is NaN."""
    found = x.emit("eq", y).emit("or", x.emit("ne", x))
    place = x.iota(x.shape, axis)
    places = found.emit("where", place, place.constant(0)).emit("cummax", axis=axis)
    return zeros(g, x.shape).emit("scatter_add", places, g, axis=axis)


def sort_rule(g: Operand, y: Operand, x: Operand, *, axis: int) -> Operand:
    return zeros(g, x.shape).emit("scatter_add", x.emit("argsort", axis=axis), g, axis=axis)


def overwritten_rule(g: Operand, y: Operand, x: Operand, indices: Operand, updates: Operand, *, axis: int) -> Operand:
    return g.emit("scatter", indices, zeros(g, indices.shape), axis=axis)


def update_rule(g: Operand, y: Operand, x: Operand, indices: Operand, updates: Operand, *, axis: int) -> Operand:
    """Of updates of one element only the last, which stays, has a cotangent."""
    place = g.iota(indices.shape, axis)
    stays = g.iota(x.shape, axis).emit("scatter", indices, place, axis=axis)
    chosen = stays.emit("gather", indices, axis=axis).emit("eq", place)
    return chosen.emit("where", g.emit("gather", indices, axis=axis), g.constant(0))
