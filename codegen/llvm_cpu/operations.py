"""Elementwise ops as LLVM instructions. In: the name of an op and Values. Out: a Value.

What LLVM leaves undefined is never reached: an instruction that gives poison for some operand is followed by a select
that takes something else there. No operation on floats carries a fast-math flag: + - * / and sqrt round as IEEE 754
says, and a product and a sum are never contracted. What f16 and bf16 give is the result of f32, rounded.
"""
from __future__ import annotations

from collections.abc import Callable

from codegen.ir.types import FLOATS, SIGNED
from codegen.llvm_cpu.assembler import ELEMENTS, Assembler, Type, Value, vector
from codegen.llvm_cpu.features import Features
from codegen.llvm_cpu.halves import HALVES, from_double, rounded
from codegen.llvm_cpu.integers import INTEGER_OPS
from codegen.llvm_cpu.remainders import REMAINDERS
from codegen.llvm_cpu.vector_arithmetic import Arithmetic
from codegen.llvm_cpu.vector_math import BELOW_0, FUNCTIONS, FUNCTIONS_OF_TWO, NOT_OF_F64

_BITS = {"i8": 8, "i16": 16, "i32": 32, "i64": 64}
_FLOAT, _SIGNED, _UNSIGNED, _BOOL = range(4)

_INSTRUCTIONS = {
    #       float             signed         unsigned       bool
    "add": ("fadd",           "add",         "add",         None),
    "sub": ("fsub",           "sub",         "sub",         None),
    "mul": ("fmul",           "mul",         "mul",         None),
    "div": ("fdiv",           None,          None,          None),
    "and": (None,             "and",         "and",         "and"),
    "or":  (None,             "or",          "or",          "or"),
    "xor": (None,             "xor",         "xor",         "xor"),
}
_CONDITIONS = {
    "eq": ("fcmp oeq",        "icmp eq",     "icmp eq",     "icmp eq"),
    "ne": ("fcmp une",        "icmp ne",     "icmp ne",     "icmp ne"),
    "lt": ("fcmp olt",        "icmp slt",    "icmp ult",    "icmp ult"),
    "le": ("fcmp ole",        "icmp sle",    "icmp ule",    "icmp ule"),
    "gt": ("fcmp ogt",        "icmp sgt",    "icmp ugt",    "icmp ugt"),
    "ge": ("fcmp oge",        "icmp sge",    "icmp uge",    "icmp uge"),
}


def _kind(type: Type) -> int:
    dtype = type.dtype
    return _FLOAT if dtype in FLOATS else _SIGNED if dtype in SIGNED else _BOOL if dtype == "bool" else _UNSIGNED


def integer_range(dtype: str) -> tuple[int, int]:
    """The least and the greatest number of an integer dtype (False and True are 0 and 1)."""
    if dtype == "bool":
        return 0, 1
    bits = _BITS[ELEMENTS[dtype]]
    return (-(1 << bits - 1), (1 << bits - 1) - 1) if dtype in SIGNED else (0, (1 << bits) - 1)


def together(a: Assembler, *values: Value) -> list[Value]:
    """The values, scalars among vectors repeated in every lane."""
    lanes = max(v.type.lanes for v in values)
    return [a.splat(v, lanes) for v in values]


# ---- two operands ---------------------------------------------------------------------------------------------------


def binary(a: Assembler, features: Features, op: str, x: Value, y: Value) -> Value:
    """The op with two operands of one dtype."""
    x, y = together(a, x, y)
    kind = _kind(x.type)
    if op in _CONDITIONS:
        return a.compare(_CONDITIONS[op][kind], x, y)
    if x.type.dtype in HALVES and op not in _EXACT:
        return rounded(a, features, binary(a, features, op, _single(a, x), _single(a, y)), x.type.dtype,
                       of_halves=op in _INSTRUCTIONS)
    instruction = _INSTRUCTIONS.get(op, (None,) * 4)[kind]
    if instruction:
        return a.binary(instruction, x, y)
    if kind == _FLOAT and op in FUNCTIONS_OF_TWO:
        return FUNCTIONS_OF_TWO[op](Arithmetic(a, x.type, features), x, y)
    if kind == _FLOAT and op in REMAINDERS:
        return REMAINDERS[op](Arithmetic(a, x.type, features), x, y)
    return INTEGER_OPS[op](a, x, y) if op in INTEGER_OPS else _BINARY[op](a, x, y)


_EXACT = frozenset({"neg", "abs", "sign", "detach", "after", "maximum", "minimum", "copysign", "floor",
                    "ceil", "trunc", "round"})
"""Ops whose results are numbers of the dtype as they are."""


def _single(a: Assembler, x: Value) -> Value:
    """A number of f16 or bf16 as the f32 that it is in a register."""
    return a.relabel(x, vector("f32", x.type.lanes))


def _extremum(condition: int) -> Callable[[Assembler, Value, Value], Value]:
    def emit(a: Assembler, x: Value, y: Value) -> Value:
        better = a.select(a.compare(_CONDITIONS["gt" if condition > 0 else "lt"][_kind(x.type)], x, y), x, y)
        if _kind(x.type) != _FLOAT:
            return better
        return a.select(a.compare("fcmp uno", x, x), x, better)      # better is y where either is NaN
    return emit


def _shift_right(a: Assembler, x: Value, count: Value) -> Value:
    bits = _BITS[x.type.element]
    inside = a.compare("icmp ult", count, a.constant(count.type, bits))       # a negative count is large here
    if _kind(x.type) == _SIGNED:
        return a.binary("ashr", x, a.select(inside, count, a.constant(count.type, bits - 1)))
    return a.select(inside, a.binary("lshr", x, count), a.constant(x.type, 0))


def _copysign(a: Assembler, x: Value, y: Value) -> Value:
    return a.intrinsic("copysign", x, y)


def _nextafter(a: Assembler, x: Value, y: Value) -> Value:
    """The bits of a float count its size: one more or one less of them."""
    integer = vector("i32" if x.type.dtype == "f32" else "i64", x.type.lanes)
    zero, bits = a.constant(x.type, 0.0), a.convert("bitcast", x, integer)
    away = a.compare("icmp eq", a.compare("fcmp olt", x, y), a.compare("fcmp ogt", x, zero))
    step = a.select(away, a.constant(integer, 1), a.constant(integer, -1))
    least = a.intrinsic("copysign", a.convert("bitcast", a.constant(integer, 1), x.type), y)
    moved = a.select(a.compare("fcmp oeq", x, zero), least, a.convert("bitcast", a.binary("add", bits, step), x.type))
    result = a.select(a.compare("fcmp oeq", x, y), y, moved)
    return a.select(a.compare("fcmp uno", x, y), a.binary("fadd", x, y), result)


_BINARY = {"maximum": _extremum(+1), "minimum": _extremum(-1), "shift_right": _shift_right, "copysign": _copysign,
           "nextafter": _nextafter, "after": lambda a, x, t: x}


# ---- one operand ----------------------------------------------------------------------------------------------------


def unary(a: Assembler, features: Features, op: str, x: Value, below_0: bool = False) -> Value:
    """The op with one operand, of which `below_0` says that it is known not to be above 0."""
    if x.type.dtype in HALVES and op not in _EXACT:
        return rounded(a, features, unary(a, features, op, _single(a, x), below_0), x.type.dtype)
    if op in FUNCTIONS:
        function = BELOW_0.get(op, FUNCTIONS[op]) if below_0 else FUNCTIONS[op]
        return function(Arithmetic(a, x.type, features), x)
    if op in _ROUNDING:
        number = _single(a, x) if x.type.dtype in HALVES else x
        return a.relabel(getattr(Arithmetic(a, number.type, features), op)(number), x.type)
    return _UNARY[op](a, x)


_ROUNDING = frozenset({"floor", "ceil", "trunc", "round"})
"""Ops that are methods of Arithmetic."""


def _neg(a: Assembler, x: Value) -> Value:
    return a.negate(x) if _kind(x.type) == _FLOAT else a.binary("sub", a.constant(x.type, 0), x)


def _abs(a: Assembler, x: Value) -> Value:
    """The least integer has no positive counterpart: it stays what it is."""
    kind = _kind(x.type)
    if kind == _FLOAT:
        return a.intrinsic("fabs", x)
    return a.select(a.compare("icmp slt", x, a.constant(x.type, 0)), _neg(a, x), x) if kind == _SIGNED else x


def _sign(a: Assembler, x: Value) -> Value:
    """-1, 0 or 1; NaN for NaN."""
    zero, one, kind = a.constant(x.type, 0), a.constant(x.type, 1), _kind(x.type)
    above = a.select(a.compare(_CONDITIONS["gt"][kind], x, zero), one, zero)
    if kind == _UNSIGNED:
        return above
    result = a.select(a.compare(_CONDITIONS["lt"][kind], x, zero), a.constant(x.type, -1), above)
    return a.select(a.compare("fcmp uno", x, x), x, result) if kind == _FLOAT else result


def _not(a: Assembler, x: Value) -> Value:
    return a.binary("xor", x, a.constant(x.type, True if x.type.dtype == "bool" else -1))


_UNARY: dict[str, Callable[[Assembler, Value], Value]] = {
    "neg": _neg, "abs": _abs, "sign": _sign, "not": _not,
    "sqrt": lambda a, x: a.intrinsic("sqrt", x),
    "detach": lambda a, x: x,
}


# ---- choice and conversion ------------------------------------------------------------------------------------------


def select(a: Assembler, condition: Value, x: Value, y: Value) -> Value:
    """x where condition holds, else y; one of them where that is known."""
    if condition.text in ("true", "false"):
        return x if condition.text == "true" else y
    x, y = together(a, x, y)
    if condition.type.lanes > 1:
        condition, x, y = together(a, condition, x, y)
    return a.select(condition, x, y)


def cast(a: Assembler, features: Features, x: Value, dtype: str) -> Value:
    """x as dtype: floats truncate and saturate, NaN becomes 0; integers wrap; bool is x != 0."""
    source, target = x.type, vector(dtype, x.type.lanes)
    from_kind, to_kind = _kind(source), _kind(target)
    if source.dtype == dtype:
        return x
    if to_kind == _BOOL:
        return a.compare(_CONDITIONS["ne"][from_kind], x, a.constant(source, 0))
    if from_kind == _FLOAT:
        if to_kind == _FLOAT:
            return _float_to_float(a, features, x, target)
        return _float_to_integer(a, x, target)
    if to_kind == _FLOAT:
        if dtype in HALVES:
            return cast(a, features, cast(a, features, x, "f32"), dtype)
        return a.convert("sitofp" if from_kind == _SIGNED else "uitofp", x, target)
    return to_integer(a, x, dtype)


def to_integer(a: Assembler, x: Value, dtype: str) -> Value:
    """An integer or bool as an integer dtype: the low bits, or more of them."""
    target, kind = vector(dtype, x.type.lanes), _kind(x.type)
    before, after = (1 if kind == _BOOL else _BITS[x.type.element]), _BITS[target.element]
    if before == after:
        return a.relabel(x, target)
    return a.convert("trunc" if after < before else "sext" if kind == _SIGNED else "zext", x, target)


def _float_to_float(a: Assembler, features: Features, x: Value, target: Type) -> Value:
    if target.dtype in HALVES:
        return (from_double if x.type.dtype == "f64" else rounded)(a, features, x, target.dtype)
    if x.type.element == target.element:
        return a.relabel(x, target)
    return a.convert("fpext" if target.dtype == "f64" else "fptrunc", x, target)


def _float_to_integer(a: Assembler, x: Value, target: Type) -> Value:
    low, high = integer_range(target.dtype)
    inside = a.convert("fptosi" if _kind(target) == _SIGNED else "fptoui", x, target)      # poison out of range
    above = a.compare("fcmp oge", x, a.constant(x.type, high + 1))
    below = a.compare("fcmp ole", x, a.constant(x.type, low or -1))
    result = a.select(above, a.constant(target, high), a.select(below, a.constant(target, low), inside))
    return a.select(a.compare("fcmp uno", x, x), a.constant(target, 0), result)


def computes(op: str, dtype: str) -> bool:
    """Is there code for the elementwise op on operands of this dtype?"""
    if dtype not in ELEMENTS:
        return False
    if op in ("where", "cast"):
        return True
    kind = _kind(vector(dtype))
    instructions = _INSTRUCTIONS.get(op)
    if instructions is not None and instructions[kind] is not None:
        return True
    if op in INTEGER_OPS and kind in (_SIGNED, _UNSIGNED):
        return True
    if op in FUNCTIONS or op in FUNCTIONS_OF_TWO:
        return kind == _FLOAT and not (dtype == "f64" and op in NOT_OF_F64)
    if op in REMAINDERS:
        return kind == _FLOAT and dtype not in HALVES
    if op == "nextafter":
        return dtype not in HALVES
    return op in _CONDITIONS or op in _BINARY or op in _UNARY or op in _ROUNDING
