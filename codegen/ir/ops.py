"""The op table: one row says what an op is; execution, folding, text, verifying and generated tests follow from it.

A row's `reference` is the meaning of the op in NumPy. It is what eager execution runs, what constants fold
through, and the oracle for every backend. `traits` are laws that hold of the op; a generated test checks each.
"""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from codegen.ir import elementary, library_calls, ordering, references, type_rules
from codegen.ir.structs import struct
from codegen.ir.types import TensorType

ELEMENTWISE, COMMUTATIVE, LINEAR, REDUCTION, MOVEMENT, IDEMPOTENT, CREATION, CHECKED = TRAITS = (
    "elementwise",    # one element of each operand, broadcast together, makes one of the result
    "commutative",    # op(a, b) == op(b, a), bit for bit
    "linear",         # op(a + b) == op(a) + op(b), up to rounding
    "reduction",      # combines the elements along `axis`
    "movement",       # every element of the result is an element of the operand or 0
    "idempotent",     # op(op(x)) == op(x) for one operand, op(x, x) == x for two
    "creation",       # makes an array from attrs alone
    "checked",        # can refuse its operands' values at run time: an exit
)

ATTR_KINDS = ("int", "ints", "flag", "dims", "dtype", "literal")
"""What an attr holds: an int; a tuple of ints; a bool; a tuple of sizes; a key of DTYPES; a number's text."""

REALS = (-3.0, 3.0)
POSITIVE = (0.1, 4.0)
AROUND_ONE = (0.66, 1.4)      # the product of many is neither large nor small


@struct
class Op:
    """One kind of computation."""

    name: str
    arity: int
    type_rule: Callable[..., TensorType]
    reference: Callable[..., Any]
    attrs: tuple[tuple[str, str], ...] = ()             # (name, kind)
    traits: frozenset[str] = frozenset()
    dtypes: tuple[str, ...] = ("f32", "f64", "f16", "bf16")     # element types the generated tests draw
    domain: tuple[float, float] = REALS                 # interval the generated tests draw operands from


def _op(name: str, arity: int, rule: Callable[..., TensorType], reference: Callable[..., Any],
        *traits: str, **row: Any) -> Op:
    return Op(name, arity, rule, reference, traits=frozenset(traits), **row)


def _elementwise(name: str, arity: int, rule: Callable[..., TensorType], reference: Callable[..., Any],
                 *traits: str, **row: Any) -> Op:
    return _op(name, arity, rule, reference, ELEMENTWISE, *traits, **row)


_FLOATS = ("f32", "f64", "f16", "bf16")
_FLOATS_AND_INTS = (*_FLOATS, "i32", "i64", "i8", "i16", "u8", "u16", "u32", "u64")
_SINGLE_DOUBLE = ("f32", "f64")
_COMPLEX = ("c64", "c128")
_ALL = (*_FLOATS_AND_INTS, "bool")
_BITS = ("i32", "i64", "i8", "i16", "u8", "u16", "u32", "u64", "bool")
_REDUCE = (("axis", "ints"), ("keepdims", "flag"))
_SHAPE = (("shape", "dims"),)
_AXIS = (("axis", "int"),)
_TRIANGLE = (("lower", "flag"), ("adjoint", "flag"), ("unit", "flag"))
_CUT = (("start", "dims"), ("stop", "dims"), ("step", "dims"))
_SHEAR = (("axes", "ints"), ("along", "ints"), ("step", "ints"), ("dilation", "ints"))
_EDGES = (("low", "dims"), ("high", "dims"), ("interior", "dims"))

_ROWS = (
    # arithmetic
    _elementwise("add", 2, type_rules.number, np.add, COMMUTATIVE, dtypes=_FLOATS_AND_INTS),
    _elementwise("sub", 2, type_rules.number, np.subtract, dtypes=_FLOATS_AND_INTS),
    _elementwise("mul", 2, type_rules.number, np.multiply, COMMUTATIVE, dtypes=_FLOATS_AND_INTS),
    _elementwise("div", 2, type_rules.inexact, np.divide, domain=POSITIVE),
    _elementwise("maximum", 2, type_rules.real, np.maximum, IDEMPOTENT, dtypes=_FLOATS_AND_INTS),
    _elementwise("minimum", 2, type_rules.real, np.minimum, IDEMPOTENT, dtypes=_FLOATS_AND_INTS),
    _elementwise("neg", 1, type_rules.number, np.negative, LINEAR, dtypes=_FLOATS_AND_INTS),
    _elementwise("abs", 1, type_rules.magnitude, np.abs, IDEMPOTENT, dtypes=_FLOATS_AND_INTS),
    _elementwise("sign", 1, type_rules.number, np.sign, IDEMPOTENT, dtypes=_FLOATS_AND_INTS),
    _elementwise("sqrt", 1, type_rules.inexact, np.sqrt, domain=POSITIVE),
    _elementwise("exp", 1, type_rules.inexact, np.exp),
    _elementwise("log", 1, type_rules.inexact, np.log, domain=POSITIVE),
    _elementwise("tanh", 1, type_rules.inexact, np.tanh),
    # comparison, choice, bits
    _elementwise("eq", 2, type_rules.equality, np.equal, COMMUTATIVE, dtypes=_ALL),
    _elementwise("ne", 2, type_rules.equality, np.not_equal, COMMUTATIVE, dtypes=_ALL),
    _elementwise("lt", 2, type_rules.comparison, np.less, dtypes=_ALL),
    _elementwise("le", 2, type_rules.comparison, np.less_equal, dtypes=_ALL),
    _elementwise("gt", 2, type_rules.comparison, np.greater, dtypes=_ALL),
    _elementwise("ge", 2, type_rules.comparison, np.greater_equal, dtypes=_ALL),
    _elementwise("where", 3, type_rules.where, np.where, dtypes=_ALL),
    _elementwise("and", 2, type_rules.bits, np.bitwise_and, COMMUTATIVE, IDEMPOTENT, dtypes=_BITS),
    _elementwise("or", 2, type_rules.bits, np.bitwise_or, COMMUTATIVE, IDEMPOTENT, dtypes=_BITS),
    _elementwise("xor", 2, type_rules.bits, np.bitwise_xor, COMMUTATIVE, dtypes=_BITS),
    _elementwise("not", 1, type_rules.bits, np.invert, dtypes=_BITS),
    _elementwise("shift_right", 2, type_rules.integral, elementary.shift_right, dtypes=_BITS[:-1], domain=(0.0, 40.0)),
    _elementwise("cast", 1, type_rules.cast, references.cast, attrs=(("dtype", "dtype"),), dtypes=_ALL),
    _elementwise("detach", 1, type_rules.same, references.detach, IDEMPOTENT, LINEAR, dtypes=_ALL),
    _elementwise("after", 2, type_rules.floating, references.after, IDEMPOTENT),
    # complex numbers
    _elementwise("real", 1, type_rules.part, references.real, LINEAR, dtypes=_COMPLEX),
    _elementwise("imag", 1, type_rules.part, references.imag, LINEAR, dtypes=_COMPLEX),
    _elementwise("conj", 1, type_rules.complex_number, np.conjugate, LINEAR, dtypes=_COMPLEX),
    _elementwise("complex", 2, type_rules.of_parts, references.complex_, dtypes=("f32", "f64")),
    # elementary functions
    _elementwise("sin", 1, type_rules.inexact, np.sin),
    _elementwise("cos", 1, type_rules.inexact, np.cos),
    _elementwise("tan", 1, type_rules.inexact, np.tan, domain=(-1.4, 1.4)),
    _elementwise("asin", 1, type_rules.inexact, np.arcsin, domain=(-0.9, 0.9)),
    _elementwise("acos", 1, type_rules.inexact, np.arccos, domain=(-0.9, 0.9)),
    _elementwise("atan", 1, type_rules.inexact, np.arctan),
    _elementwise("atan2", 2, type_rules.floating, np.arctan2, domain=POSITIVE),
    _elementwise("sinh", 1, type_rules.inexact, np.sinh),
    _elementwise("cosh", 1, type_rules.inexact, np.cosh),
    _elementwise("asinh", 1, type_rules.inexact, np.arcsinh),
    _elementwise("acosh", 1, type_rules.inexact, np.arccosh, domain=(1.1, 4.0)),
    _elementwise("atanh", 1, type_rules.inexact, np.arctanh, domain=(-0.9, 0.9)),
    _elementwise("expm1", 1, type_rules.inexact, np.expm1),
    _elementwise("exp2", 1, type_rules.inexact, np.exp2),
    _elementwise("log1p", 1, type_rules.inexact, np.log1p, domain=(-0.9, 4.0)),
    _elementwise("log2", 1, type_rules.inexact, np.log2, domain=POSITIVE),
    _elementwise("log10", 1, type_rules.inexact, np.log10, domain=POSITIVE),
    _elementwise("cbrt", 1, type_rules.floating, np.cbrt, domain=POSITIVE),
    _elementwise("pow", 2, type_rules.number, elementary.power, domain=POSITIVE, dtypes=_FLOATS_AND_INTS),
    _elementwise("hypot", 2, type_rules.floating, np.hypot, COMMUTATIVE, domain=POSITIVE),
    _elementwise("logaddexp", 2, type_rules.floating, np.logaddexp, COMMUTATIVE),
    _elementwise("erf", 1, type_rules.floating, elementary.erf),
    _elementwise("erfc", 1, type_rules.floating, elementary.erfc),
    _elementwise("erfinv", 1, type_rules.floating, elementary.erfinv, domain=(-0.9, 0.9)),
    _elementwise("lgamma", 1, type_rules.floating, elementary.lgamma, domain=(0.5, 4.0)),
    _elementwise("polygamma", 1, type_rules.polygamma, elementary.polygamma, attrs=(("order", "int"),),
                 domain=(0.5, 4.0)),
    # rounding, division with a remainder, bits of numbers
    _elementwise("floor", 1, type_rules.floating, np.floor, IDEMPOTENT),
    _elementwise("ceil", 1, type_rules.floating, np.ceil, IDEMPOTENT),
    _elementwise("trunc", 1, type_rules.floating, np.trunc, IDEMPOTENT),
    _elementwise("round", 1, type_rules.floating, np.rint, IDEMPOTENT),
    _elementwise("floor_div", 2, type_rules.real, np.floor_divide, domain=POSITIVE, dtypes=_FLOATS_AND_INTS),
    _elementwise("rem", 2, type_rules.real, np.remainder, domain=POSITIVE, dtypes=_FLOATS_AND_INTS),
    _elementwise("fmod", 2, type_rules.real, np.fmod, domain=POSITIVE, dtypes=_FLOATS_AND_INTS),
    _elementwise("copysign", 2, type_rules.floating, np.copysign, IDEMPOTENT),
    _elementwise("nextafter", 2, type_rules.floating, np.nextafter, IDEMPOTENT),
    _elementwise("shift_left", 2, type_rules.integral, elementary.shift_left, dtypes=_BITS[:-1], domain=(0.0, 40.0)),
    # reductions
    _op("sum", 1, type_rules.summed, references.summed, REDUCTION, LINEAR, attrs=_REDUCE, dtypes=_FLOATS_AND_INTS),
    _op("max", 1, type_rules.extremum, references.greatest, REDUCTION, attrs=_REDUCE, dtypes=_FLOATS_AND_INTS),
    _op("min", 1, type_rules.extremum, references.least, REDUCTION, attrs=_REDUCE, dtypes=_FLOATS_AND_INTS),
    _op("argmax", 1, type_rules.position, np.argmax, attrs=(*_AXIS, ("keepdims", "flag")), dtypes=_FLOATS_AND_INTS),
    # movement
    _op("broadcast", 1, type_rules.broadcast, references.broadcast, MOVEMENT, LINEAR, attrs=_SHAPE,
        dtypes=_ALL),
    _op("reshape", 1, type_rules.reshape, references.reshape, MOVEMENT, LINEAR, attrs=_SHAPE, dtypes=_ALL),
    _op("transpose", 1, type_rules.transpose, references.transpose, MOVEMENT, LINEAR, attrs=(("axes", "ints"),),
        dtypes=_ALL),
    _op("slice", 1, type_rules.slice_, references.slice_, MOVEMENT, LINEAR, attrs=_CUT, dtypes=_ALL),
    _op("flip", 1, type_rules.flip, references.flip, MOVEMENT, LINEAR, attrs=(("axes", "ints"),),
        dtypes=_ALL),
    _op("pad", 1, type_rules.pad, references.pad, MOVEMENT, LINEAR, attrs=_EDGES, dtypes=_ALL),
    _op("concat", 2, type_rules.concat, references.concat, attrs=_AXIS, dtypes=_ALL),
    # movement between the places of windows, and the places in them
    _op("shear", 1, type_rules.shear, references.shear, MOVEMENT, LINEAR, attrs=_SHEAR, dtypes=_FLOATS_AND_INTS),
    _op("unshear", 1, type_rules.unshear, references.unshear, MOVEMENT, LINEAR, attrs=(*_SHEAR, ("size", "dims")),
        dtypes=_FLOATS_AND_INTS),
    # contraction, indirection
    _op("matmul", 2, type_rules.matmul, references.matmul, dtypes=_FLOATS_AND_INTS),
    _op("gather", 2, type_rules.gather, references.gather, CHECKED, attrs=_AXIS, dtypes=_ALL),
    _op("scatter_add", 3, type_rules.scatter_add, references.scatter_add, CHECKED, attrs=_AXIS,
        dtypes=_FLOATS_AND_INTS),
    # ordering: products and positions, running results, sorting, writes
    _op("prod", 1, type_rules.summed, ordering.prod, REDUCTION, attrs=_REDUCE, dtypes=_FLOATS_AND_INTS,
        domain=AROUND_ONE),
    _op("argmin", 1, type_rules.position, ordering.argmin, attrs=(*_AXIS, ("keepdims", "flag")),
        dtypes=_FLOATS_AND_INTS),
    _op("cumsum", 1, ordering.running, ordering.cumsum, LINEAR, attrs=_AXIS, dtypes=_FLOATS_AND_INTS),
    _op("cumprod", 1, ordering.running, ordering.cumprod, attrs=_AXIS, dtypes=_FLOATS_AND_INTS,
        domain=AROUND_ONE),
    _op("cummax", 1, ordering.running_extremum, ordering.cummax, IDEMPOTENT, attrs=_AXIS, dtypes=_FLOATS_AND_INTS),
    _op("cummin", 1, ordering.running_extremum, ordering.cummin, IDEMPOTENT, attrs=_AXIS, dtypes=_FLOATS_AND_INTS),
    _op("recurrence", 2, ordering.recurring, ordering.recurrence, attrs=_AXIS, dtypes=_FLOATS_AND_INTS,
        domain=AROUND_ONE),
    _op("sort", 1, ordering.ordered, ordering.sort, IDEMPOTENT, attrs=_AXIS, dtypes=_FLOATS_AND_INTS),
    _op("argsort", 1, ordering.order, ordering.argsort, attrs=_AXIS, dtypes=_FLOATS_AND_INTS),
    _op("searchsorted", 2, ordering.search, ordering.searchsorted, attrs=(("right", "flag"),),
        dtypes=_FLOATS_AND_INTS),
    _op("scatter", 3, ordering.scattered, ordering.scatter, CHECKED, attrs=_AXIS, dtypes=_FLOATS_AND_INTS),
    # linear algebra: routines on whole matrices
    _op("cholesky", 1, library_calls.square, library_calls.cholesky, CHECKED, dtypes=_SINGLE_DOUBLE),
    _op("triangular_solve", 2, library_calls.solved, library_calls.triangular_solve, CHECKED, attrs=_TRIANGLE,
        dtypes=_SINGLE_DOUBLE),
    _op("solve", 2, library_calls.solved, np.linalg.solve, CHECKED, dtypes=_SINGLE_DOUBLE),
    _op("det", 1, library_calls.determinant, np.linalg.det, dtypes=_SINGLE_DOUBLE),
    _op("slogdet", 1, library_calls.log_determinant, library_calls.slogdet, dtypes=_SINGLE_DOUBLE),
    _op("qr", 1, library_calls.factored, library_calls.qr, attrs=(("complete", "flag"),), dtypes=_SINGLE_DOUBLE),
    _op("svd", 1, library_calls.decomposed, library_calls.svd, CHECKED, attrs=(("full", "flag"),),
        dtypes=_SINGLE_DOUBLE),
    _op("svdvals", 1, library_calls.singular_values, library_calls.svdvals, CHECKED, dtypes=_SINGLE_DOUBLE),
    _op("eigh", 1, library_calls.hermitian_vectors, library_calls.eigh, CHECKED, dtypes=_SINGLE_DOUBLE),
    _op("eigvalsh", 1, library_calls.hermitian_values, np.linalg.eigvalsh, CHECKED, dtypes=_SINGLE_DOUBLE),
    _op("eig", 1, library_calls.general_vectors, library_calls.eig, CHECKED, dtypes=_SINGLE_DOUBLE),
    _op("eigvals", 1, library_calls.general_values, library_calls.eigvals, CHECKED, dtypes=_SINGLE_DOUBLE),
    _op("pinv", 2, library_calls.pseudoinverse, library_calls.pinv, CHECKED, dtypes=_SINGLE_DOUBLE),
    _op("expm", 1, library_calls.square, library_calls.expm, dtypes=_SINGLE_DOUBLE),
    # Fourier transforms
    _op("fft", 1, library_calls.spectrum, library_calls.fft, LINEAR, attrs=(("axes", "ints"), ("inverse", "flag")),
        dtypes=_COMPLEX),
    _op("rfft", 1, library_calls.half_spectrum, library_calls.rfft, LINEAR, attrs=_AXIS, dtypes=_SINGLE_DOUBLE),
    _op("irfft", 1, library_calls.from_half_spectrum, library_calls.irfft, LINEAR, attrs=(*_AXIS, ("size", "int")),
        dtypes=_COMPLEX),
    # creation, random bits
    _op("constant", 0, type_rules.constant, references.constant, CREATION,
        attrs=(("value", "literal"), ("dtype", "dtype")), dtypes=_ALL),
    _op("iota", 0, type_rules.iota, references.iota, CREATION, attrs=(*_SHAPE, *_AXIS, ("dtype", "dtype")),
        dtypes=_FLOATS_AND_INTS),
    _op("random_bits", 2, type_rules.random_bits, references.random_bits, attrs=_SHAPE, dtypes=("u64",)),
)

OPS: dict[str, Op] = {op.name: op for op in _ROWS}
"""Every primitive op by name."""
