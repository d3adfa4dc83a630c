"""Costs: how long an element of each op takes, in additions. They decide what fuses and what is computed again."""
from __future__ import annotations

from codegen.schedule.kernel import Binary, Cast, Gather, Holds, RandomWord, Select, Statement, Unary

COSTS: dict[str, int] = {
    "constant": 0, "iota": 0, "cast": 1, "detach": 0, "after": 0, "where": 1, "concat": 1,
    "add": 1, "sub": 1, "mul": 1, "maximum": 1, "minimum": 1, "neg": 1, "abs": 1, "sign": 2,
    "eq": 1, "ne": 1, "lt": 1, "le": 1, "gt": 1, "ge": 1, "and": 1, "or": 1, "xor": 1, "not": 1,
    "shift_right": 1, "shift_left": 1, "floor": 1, "ceil": 1, "trunc": 1, "round": 1, "copysign": 1, "nextafter": 6,
    "div": 4, "sqrt": 4, "hypot": 10, "sin": 20, "cos": 20, "tan": 28, "atan2": 24, "pow": 40, "logaddexp": 28,
    "floor_div": 24, "rem": 20, "fmod": 20,
    "gather": 6, "scatter_add": 3, "scatter": 3, "random_bits": 30,
}
"""Ops that take less or more than a transcendental function does."""

TRANSCENDENTAL = 14
CHEAP = 8
"""What is computed at this cost or less may be computed again rather than stored."""


def op_cost(op: str) -> int:
    """The cost of an element of a light op."""
    return COSTS.get(op, TRANSCENDENTAL)


def cost_of(statement: Statement) -> int:
    """The cost of a kernel statement; loads and stores cost bytes, not operations."""
    match statement:
        case Unary(op) | Binary(op):
            return op_cost(op)
        case Select() | Cast():
            return 1
        case Holds(guards):
            return len(guards)
        case Gather():
            return op_cost("gather")
        case RandomWord():
            return op_cost("random_bits")
        case _:
            return 0
