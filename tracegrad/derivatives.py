"""The derivative of each op: for each operand, the cotangent it gets from the cotangent `g` of the result.

    VJPS["mul"] == (lambda g, y, a, b: g * b, lambda g, y, a, b: g * a)

A rule is given g, the result y, the operands and the op's attrs, and is written against an algebra: `g`, `y` and the
operands are Tensors (then it computes) or builder Values (then it writes a graph); `algebra` has the words that both
understand. An operand may also be a Python number, except where the rule asks for its shape; so rules put it last.
What has computed values may say that they lie in memory `by_columns`, so that the gradient of x in y @ x.T lies there
as x does.

1. One rule for each operand, so that only the ones asked for are computed; None: there is no path to this operand.
2. A rule of an elementwise op ignores broadcasting: `unbroadcast` is applied to what it gives, in one place. Only where
   a rule ends in a division by what was repeated it sums before: one division for each sum, not for each term.
3. Every op is either in VJPS or in NON_DIFFERENTIABLE.
4. The cotangent of a complex value z is dL/d(re z) + i dL/d(im z), as in PyTorch, for a real loss L. So the rule of a
   holomorphic op multiplies by the conjugate of its derivative; `conj` of what is real is that itself. Where a real
   operand meets complex ones it was cast: the rule of `cast` takes the real part, in one place.
"""
from __future__ import annotations

from collections.abc import Callable
from math import log, pi, sqrt

from codegen.ir.dims import Size
from tracegrad import linalg_rules as _L
from tracegrad import ordering_rules as ordering
from tracegrad.algebra import (
    Operand,
    are_equal,
    broadcast,
    cast,
    choose,
    conj,
    conjugated,
    element_type,
    is_complex,
    real,
    reshape,
    swap,
    zero,
)

Rule = Callable[..., Operand] | None


def left_product_rule(g: Operand, y: Operand, a: Operand, b: Operand) -> Operand:
    """g b^T; for an `a` that is the transpose of what lies in memory, itself such a transpose."""
    b = conj(b)
    return swap(b.emit("matmul", swap(g))) if lies_by_columns(a) else g.emit("matmul", swap(b))


def right_product_rule(g: Operand, y: Operand, a: Operand, b: Operand) -> Operand:
    """a^T g; for a `b` that is the transpose of what lies in memory, itself such a transpose."""
    a = conj(a)
    return swap(swap(g).emit("matmul", a)) if lies_by_columns(b) else swap(a).emit("matmul", g)


def lies_by_columns(x: Operand) -> bool:
    """Is it known to be the transpose of what lies in memory?"""
    return getattr(x, "by_columns", False)


def kept(shape: tuple[Size, ...], axis: tuple[int, ...]) -> tuple[Size, ...]:
    """The shape of a reduction over `axis` that keeps dims."""
    return tuple(1 if k in axis else size for k, size in enumerate(shape))


def unbroadcast(g: Operand, shape: tuple[Size, ...]) -> Operand:
    """g summed over the axes along which an operand of `shape` was repeated."""
    if are_equal(g.shape, shape):
        return g
    lead = len(g.shape) - len(shape)
    axes = tuple(k for k, size in enumerate(g.shape) if k < lead or shape[k - lead] == 1 and size != 1)
    return reshape(g.emit("sum", axis=axes, keepdims=False), shape)


def flat(g: Operand, y: Operand, x: Operand, *others: Operand) -> Operand:
    """The rule of what is constant between its steps: zeros."""
    return broadcast(zero(g), y.shape)


def base_rule(g: Operand, y: Operand, a: Operand, b: Operand) -> Operand:
    """b a^(b-1); 0 for b = 0, whatever a is."""
    constant = zero(g).emit("eq", b)
    return choose(constant, zero(g), g * conj(a.emit("pow", choose(constant, g.constant(1), b - 1)) * b))


def exponent_rule(g: Operand, y: Operand, a: Operand, b: Operand) -> Operand:
    """a^b log a; 0^b counts as constant."""
    nothing = zero(g).emit("eq", a)
    base = choose(nothing, g.constant(1), g.constant(1) * a)
    return g * conj(choose(nothing, zero(g), y) * base.emit("log"))


def squares(g: Operand, a: Operand, b: Operand) -> Operand:
    """a^2 + b^2; where both are 0, where angles count as constant, 1."""
    nothing = zero(g).emit("eq", a).emit("and", zero(g).emit("eq", b))
    return choose(nothing, g.constant(1), a * a + b * b)


def remainder_rule(g: Operand, y: Operand, a: Operand, b: Operand) -> Operand:
    """a - q b has the derivative -q in b; q = (a - y) / b is a whole number, which rounding makes exact."""
    return -(g * ((a - y) / b).emit("round"))


def sum_rule(g: Operand, y: Operand, x: Operand, *, axis: tuple[int, ...], keepdims: bool) -> Operand:
    return broadcast(reshape(g, kept(x.shape, axis)), x.shape)


def extremum_rule(g: Operand, y: Operand, x: Operand, *, axis: tuple[int, ...], keepdims: bool) -> Operand:
    """Elements that tie share the cotangent equally."""
    shape = kept(x.shape, axis)
    chosen = x.emit("eq", reshape(y, shape)).emit("cast", dtype=element_type(g))
    count = chosen.emit("sum", axis=axis, keepdims=True)
    return chosen * (reshape(g, shape) / count)


def slice_rule(g: Operand, y: Operand, x: Operand, *, start: tuple, stop: tuple, step: tuple) -> Operand:
    high = tuple(size - (a + (n - 1) * s + 1 if n != 0 else a)
                 for size, a, s, n in zip(x.shape, start, step, y.shape))
    return g.emit("pad", low=start, high=high, interior=tuple(s - 1 for s in step))


def pad_rule(g: Operand, y: Operand, x: Operand, *, low: tuple, high: tuple, interior: tuple) -> Operand:
    return g.emit("slice", start=low, stop=tuple(size - b for size, b in zip(y.shape, high)),
                  step=tuple(gap + 1 for gap in interior))


def stretch(g: Operand, axis: int, start: Size, stop: Size) -> Operand:
    """g[start:stop] along an axis."""
    n = len(g.shape)
    return g.emit("slice", start=tuple(start if k == axis else 0 for k in range(n)),
                  stop=tuple(stop if k == axis else size for k, size in enumerate(g.shape)), step=(1,) * n)


def transpose_rule(g: Operand, y: Operand, x: Operand, *, axes: tuple[int, ...]) -> Operand:
    return g.emit("transpose", axes=tuple(axes.index(k) for k in range(len(axes))))


def gather_rule(g: Operand, y: Operand, x: Operand, indices: Operand, *, axis: int) -> Operand:
    return broadcast(zero(g), x.shape).emit("scatter_add", indices, g, axis=axis)


def cast_rule(g: Operand, y: Operand, x: Operand, *, dtype: str) -> Operand:
    """A complex number made of a real one has no imaginary part that x could change."""
    return cast(g if is_complex(x) else real(g), element_type(x))


def sign_rule(g: Operand, y: Operand, x: Operand) -> Operand:
    """z / |z| turns: what of g lies across y, divided by |z|. A real sign does not change."""
    if not is_complex(x):
        return broadcast(zero(g), x.shape)
    size = x.emit("abs")
    along = y * cast(real(g * conj(y)), element_type(g))
    return choose(size.emit("eq", size.constant(0)), zero(g), (g - along) / cast(size, element_type(g)))


# A tie of maximum or minimum gives each operand half; where one is NaN the result is, and both get the cotangent.
# `y > a` says that a lost.
VJPS: dict[str, tuple[Rule, ...]] = {
    "add": (lambda g, y, a, b: g, lambda g, y, a, b: g),
    "sub": (lambda g, y, a, b: g, lambda g, y, a, b: -g),
    "mul": (lambda g, y, a, b: g * conj(b), lambda g, y, a, b: g * conj(a)),
    "div": (lambda g, y, a, b: g / conj(b), lambda g, y, a, b: -(unbroadcast(g * conj(y), b.shape) / conj(b))),
    "maximum": (
        lambda g, y, a, b: choose(y.emit("gt", a), zero(g), choose(y.emit("eq", b), g / 2, g)),
        lambda g, y, a, b: choose(y.emit("gt", b), zero(g), choose(y.emit("eq", a), g / 2, g))),
    "minimum": (
        lambda g, y, a, b: choose(y.emit("lt", a), zero(g), choose(y.emit("eq", b), g / 2, g)),
        lambda g, y, a, b: choose(y.emit("lt", b), zero(g), choose(y.emit("eq", a), g / 2, g))),
    "neg": (lambda g, y, x: -g,),
    "abs": (lambda g, y, x: cast(g, element_type(x)) * x.emit("sign"),),
    "sign": (sign_rule,),
    "sqrt": (lambda g, y, x: g / (conj(y) * 2),),
    "exp": (lambda g, y, x: g * conj(y),),
    "log": (lambda g, y, x: g / conj(x),),
    "tanh": (lambda g, y, x: g * conj(1 - y * y),),
    # elementary functions
    "sin": (lambda g, y, x: g * conj(x.emit("cos")),),
    "cos": (lambda g, y, x: -(g * conj(x.emit("sin"))),),
    "tan": (lambda g, y, x: g * conj(y * y + 1),),
    "asin": (lambda g, y, x: g / conj((1 - x * x).emit("sqrt")),),
    "acos": (lambda g, y, x: -(g / conj((1 - x * x).emit("sqrt"))),),
    "atan": (lambda g, y, x: g / conj(x * x + 1),),
    "atan2": (lambda g, y, a, b: g * b / squares(g, a, b), lambda g, y, a, b: -(g * a / squares(g, b, a))),
    "sinh": (lambda g, y, x: g * conj(x.emit("cosh")),),
    "cosh": (lambda g, y, x: g * conj(x.emit("sinh")),),
    "asinh": (lambda g, y, x: g / conj((x * x + 1).emit("sqrt")),),
    "acosh": (lambda g, y, x: g / conj((x - 1).emit("sqrt") * (x + 1).emit("sqrt")),),
    "atanh": (lambda g, y, x: g / conj(1 - x * x),),
    "expm1": (lambda g, y, x: g * conj(y + 1),),
    "exp2": (lambda g, y, x: g * conj(y * log(2)),),
    "log1p": (lambda g, y, x: g / conj(x + 1),),
    "log2": (lambda g, y, x: g / conj(x * log(2)),),
    "log10": (lambda g, y, x: g / conj(x * log(10)),),
    "cbrt": (lambda g, y, x: g / (y * y * 3),),
    "pow": (base_rule, exponent_rule),
    "hypot": (lambda g, y, a, b: g * (a / y), lambda g, y, a, b: g * (b / y)),
    "logaddexp": (lambda g, y, a, b: g * (a - y).emit("exp"), lambda g, y, a, b: g * (b - y).emit("exp")),
    "erf": (lambda g, y, x: g * ((-(x * x)).emit("exp") * (2 / sqrt(pi))),),
    "erfc": (lambda g, y, x: g * ((-(x * x)).emit("exp") * (-2 / sqrt(pi))),),
    "erfinv": (lambda g, y, x: g * ((y * y).emit("exp") * (sqrt(pi) / 2)),),
    "lgamma": (lambda g, y, x: g * x.emit("polygamma", order=0),),
    "polygamma": (lambda g, y, x, *, order: g * x.emit("polygamma", order=order + 1),),
    **dict.fromkeys(("floor", "ceil", "trunc", "round"), (flat,)),
    "floor_div": (flat, lambda g, y, a, b: flat(g, y, b)),
    "rem": (lambda g, y, a, b: g, remainder_rule),
    "fmod": (lambda g, y, a, b: g, remainder_rule),
    "after": (lambda g, y, x, t: g, None),
    "copysign": (lambda g, y, a, b: g * (a.emit("sign") * y.emit("sign")), None),
    "nextafter": (lambda g, y, a, b: g, None),
    "where": (None, lambda g, y, c, a, b: choose(c, g, zero(g)), lambda g, y, c, a, b: choose(c, zero(g), g)),
    "cast": (cast_rule,),
    # complex numbers
    "real": (lambda g, y, z: cast(g, element_type(z)),),
    "imag": (lambda g, y, z: zero(g).emit("complex", g),),
    "conj": (lambda g, y, z: conj(g),),
    "complex": (lambda g, y, a, b: real(g), lambda g, y, a, b: g.emit("imag")),
    # reductions, movement, contraction, indirection
    "sum": (sum_rule,),
    "max": (extremum_rule,),
    "min": (extremum_rule,),
    "broadcast": (lambda g, y, x, *, shape: unbroadcast(g, x.shape),),
    "reshape": (lambda g, y, x, *, shape: reshape(g, x.shape),),
    "transpose": (transpose_rule,),
    "slice": (slice_rule,),
    "flip": (lambda g, y, x, *, axes: g.emit("flip", axes=axes),),
    "pad": (pad_rule,),
    "concat": (lambda g, y, a, b, *, axis: stretch(g, axis, 0, a.shape[axis]),
               lambda g, y, a, b, *, axis: stretch(g, axis, a.shape[axis], y.shape[axis])),
    "shear": (lambda g, y, x, *, axes, **other: g.emit(
        "unshear", axes=axes, **other, size=tuple(x.shape[k] for k in axes)),),
    "unshear": (lambda g, y, x, *, size, **other: g.emit("shear", **other),),
    "matmul": (left_product_rule, right_product_rule),
    # linear algebra and Fourier transforms
    "cholesky": (_L.cholesky_rule,),
    "triangular_solve": (_L.triangular_left_rule, _L.triangular_right_rule),
    "solve": (_L.solve_left_rule, _L.solve_right_rule),
    "det": (_L.det_rule,),
    "slogdet": (_L.slogdet_rule,),
    "qr": (_L.qr_rule,),
    "svd": (_L.svd_rule,),
    "svdvals": (_L.svdvals_rule,),
    "eigh": (_L.eigh_rule,),
    "eigvalsh": (_L.eigvalsh_rule,),
    "eig": (_L.eig_rule,),
    "eigvals": (_L.eigvals_rule,),
    "pinv": (_L.pinv_rule, None),
    "expm": (_L.expm_rule,),
    "fft": (_L.fft_rule,),
    "rfft": (_L.rfft_rule,),
    "irfft": (_L.irfft_rule,),
    # indirection
    "gather": (gather_rule, None),
    "scatter_add": (
        lambda g, y, x, indices, updates, *, axis: g,
        None,
        lambda g, y, x, indices, updates, *, axis: g.emit("gather", indices, axis=axis)),
    # ordering
    "prod": (conjugated(ordering.prod_rule),),
    "cumsum": (lambda g, y, x, *, axis: ordering.backwards("cumsum", axis, g),),
    "cumprod": (conjugated(ordering.cumprod_rule),),
    "cummax": (ordering.extremum_rule,),
    "cummin": (ordering.extremum_rule,),
    "recurrence": (conjugated(ordering.factor_rule), conjugated(ordering.term_rule)),
    "sort": (ordering.sort_rule,),
    "scatter": (ordering.overwritten_rule, None, ordering.update_rule),
}
"""The vjp rules of every op that can be differentiated, in the order of its operands."""

NON_DIFFERENTIABLE = frozenset({
    "eq", "ne", "lt", "le", "gt", "ge", "and", "or", "xor", "not", "shift_right", "shift_left",   # not real-valued
    "argmax", "constant", "iota", "random_bits",
    "argmin", "argsort", "searchsorted",
    "detach",                                           # where the user says that derivatives stop
})
"""Ops whose results have no derivative with respect to anything."""
