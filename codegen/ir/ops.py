"""The op table: one row says what an op is; execution, folding, printing, verifying and the generated tests follow from it.

A row's `reference` is the meaning of the op in NumPy. It is what eager execution runs, what constants fold
through, and the oracle for every backend. `traits` are laws that hold of the op; a generated test checks each.
"""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from codegen.ir import references, type_rules
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


@dataclass(frozen=True, slots=True)
class Op:
    """One kind of computation."""

    name: str
    arity: int
    type_rule: Callable[..., TensorType]
    reference: Callable[..., Any]
    attrs: tuple[tuple[str, str], ...] = ()             # (name, kind)
    traits: frozenset[str] = frozenset()
    dtypes: tuple[str, ...] = ("f32", "f64")            # element types the generated tests draw
    domain: tuple[float, float] = REALS                 # interval the generated tests draw operands from


def _elementwise(name: str, arity: int, rule: Callable[..., TensorType], reference: Callable[..., Any], *traits: str, **row: Any) -> Op:
    return Op(name, arity, rule, reference, traits=frozenset((ELEMENTWISE, *traits)), **row)


_FLOATS_AND_INTS = ("f32", "f64", "i32", "i64")
_BITS = ("bool", "i32", "i64", "u32", "u64")
_REDUCE = (("axis", "ints"), ("keepdims", "flag"))

_ROWS = (
    # arithmetic
    _elementwise("add", 2, type_rules.number, np.add, COMMUTATIVE, dtypes=_FLOATS_AND_INTS),
    _elementwise("sub", 2, type_rules.number, np.subtract, dtypes=_FLOATS_AND_INTS),
    _elementwise("mul", 2, type_rules.number, np.multiply, COMMUTATIVE, dtypes=_FLOATS_AND_INTS),
    _elementwise("div", 2, type_rules.floating, np.divide, domain=POSITIVE),
    _elementwise("maximum", 2, type_rules.real, np.maximum, IDEMPOTENT, dtypes=_FLOATS_AND_INTS),
    _elementwise("minimum", 2, type_rules.real, np.minimum, IDEMPOTENT, dtypes=_FLOATS_AND_INTS),
    _elementwise("neg", 1, type_rules.signed, np.negative, LINEAR, dtypes=_FLOATS_AND_INTS),
    _elementwise("abs", 1, type_rules.signed, np.abs, IDEMPOTENT, dtypes=_FLOATS_AND_INTS),
    _elementwise("sign", 1, type_rules.signed, np.sign, IDEMPOTENT, dtypes=_FLOATS_AND_INTS),
    _elementwise("sqrt", 1, type_rules.floating, np.sqrt, domain=POSITIVE),
    _elementwise("exp", 1, type_rules.floating, np.exp),
    _elementwise("log", 1, type_rules.floating, np.log, domain=POSITIVE),
    _elementwise("tanh", 1, type_rules.floating, np.tanh),
    # comparison, choice, bits
    _elementwise("eq", 2, type_rules.comparison, np.equal, COMMUTATIVE, dtypes=_FLOATS_AND_INTS),
    _elementwise("ne", 2, type_rules.comparison, np.not_equal, COMMUTATIVE, dtypes=_FLOATS_AND_INTS),
    _elementwise("lt", 2, type_rules.comparison, np.less, dtypes=_FLOATS_AND_INTS),
    _elementwise("le", 2, type_rules.comparison, np.less_equal, dtypes=_FLOATS_AND_INTS),
    _elementwise("gt", 2, type_rules.comparison, np.greater, dtypes=_FLOATS_AND_INTS),
    _elementwise("ge", 2, type_rules.comparison, np.greater_equal, dtypes=_FLOATS_AND_INTS),
    _elementwise("where", 3, type_rules.where, np.where, dtypes=_FLOATS_AND_INTS),
    _elementwise("and", 2, type_rules.bits, np.bitwise_and, COMMUTATIVE, IDEMPOTENT, dtypes=_BITS),
    _elementwise("or", 2, type_rules.bits, np.bitwise_or, COMMUTATIVE, IDEMPOTENT, dtypes=_BITS),
    _elementwise("xor", 2, type_rules.bits, np.bitwise_xor, COMMUTATIVE, dtypes=_BITS),
    _elementwise("not", 1, type_rules.bits, np.invert, dtypes=_BITS),
    _elementwise("shift_right", 2, type_rules.integral, references.shift_right, dtypes=_BITS[1:], domain=(0.0, 40.0)),
    _elementwise("cast", 1, type_rules.cast, references.cast, attrs=(("dtype", "dtype"),), dtypes=_FLOATS_AND_INTS),
    _elementwise("detach", 1, type_rules.same, references.detach, IDEMPOTENT, LINEAR, dtypes=_FLOATS_AND_INTS),
    # reductions
    Op("sum", 1, type_rules.summed, references.summed, _REDUCE, frozenset({REDUCTION, LINEAR}), _FLOATS_AND_INTS),
    Op("max", 1, type_rules.extremum, np.max, _REDUCE, frozenset({REDUCTION}), _FLOATS_AND_INTS),
    Op("min", 1, type_rules.extremum, np.min, _REDUCE, frozenset({REDUCTION}), _FLOATS_AND_INTS),
    Op("argmax", 1, type_rules.position, np.argmax, (("axis", "int"), ("keepdims", "flag")), dtypes=_FLOATS_AND_INTS),
    # movement
    Op("broadcast", 1, type_rules.broadcast, references.broadcast, (("shape", "dims"),), frozenset({MOVEMENT, LINEAR}), _FLOATS_AND_INTS),
    Op("reshape", 1, type_rules.reshape, references.reshape, (("shape", "dims"),), frozenset({MOVEMENT, LINEAR}), _FLOATS_AND_INTS),
    Op("transpose", 1, type_rules.transpose, np.transpose, (("axes", "ints"),), frozenset({MOVEMENT, LINEAR}), _FLOATS_AND_INTS),
    Op("slice", 1, type_rules.slice_, references.slice_, (("start", "dims"), ("stop", "dims"), ("step", "ints")),
       frozenset({MOVEMENT, LINEAR}), _FLOATS_AND_INTS),
    Op("flip", 1, type_rules.flip, references.flip, (("axes", "ints"),), frozenset({MOVEMENT, LINEAR}), _FLOATS_AND_INTS),
    Op("pad", 1, type_rules.pad, references.pad, (("low", "dims"), ("high", "dims"), ("interior", "ints")),
       frozenset({MOVEMENT, LINEAR}), _FLOATS_AND_INTS),
    # contraction, indirection
    Op("matmul", 2, type_rules.matmul, np.matmul),
    Op("gather", 2, type_rules.gather, references.gather, (("axis", "int"),), frozenset({CHECKED}), _FLOATS_AND_INTS),
    Op("scatter_add", 3, type_rules.scatter_add, references.scatter_add, (("axis", "int"),), frozenset({CHECKED}), _FLOATS_AND_INTS),
    # creation, random bits
    Op("constant", 0, type_rules.constant, references.constant, (("value", "literal"), ("dtype", "dtype")), frozenset({CREATION}), _FLOATS_AND_INTS),
    Op("iota", 0, type_rules.iota, references.iota, (("shape", "dims"), ("axis", "int"), ("dtype", "dtype")), frozenset({CREATION}), _FLOATS_AND_INTS),
    Op("random_bits", 2, type_rules.random_bits, references.random_bits, (("shape", "dims"),), dtypes=("u32",)),
)

OPS: dict[str, Op] = {op.name: op for op in _ROWS}
"""Every primitive op by name."""
