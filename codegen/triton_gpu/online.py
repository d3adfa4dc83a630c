"""online: the greatest of a long row, and the sum of exponentials relative to it, found while memory is read once.

    pass j < 50257: v1 = accumulate max v0                          for r_start in range(0, 50257, R):
    pass j < 50257: v4 = accumulate sum (exp (sub v0 v1))    ->         acc4, acc1 = both, gone on with v0
                                                                    v1 = max of acc1
                                                                    v4 = sum of acc4 * exp(acc1 - v1)

What was added up relative to a lesser one is scaled when a greater one comes: Milakov and Gimelshein, Online normalizer
calculation for softmax (2018).

1. Only of f32 and f64: halves are rounded at each operation.
2. Infinities and NaN come to what they do in two passes. A lane that has met nothing but -inf counts those, and its sum
   is scaled by exp(-inf - max) in the end: that is 0, or NaN where the row is nothing else.
"""
from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from codegen.ir.structs import struct
from codegen.schedule.kernel import (
    Accumulate,
    Binary,
    Gather,
    Kernel,
    Load,
    Scan,
    Statement,
    Unary,
    makes_value,
    operands,
    with_operands,
)
from codegen.triton_gpu.operations import operation


@struct
class Online:
    """`sums`: by the number of a maximum, that of the sum that is found with it; `passes`: those that it takes no more.
    """

    sums: Mapping[int, int]
    passes: frozenset[int]


def online_sums(kernel: Kernel, passes: Sequence[Sequence[tuple[Statement, int]]], dtypes: Sequence[str],
                loops: Collection[int]) -> Online:
    """What of a kernel is found so. `passes`: its statements with the numbers of their values; `loops`: the passes that
    read memory once more if they are there."""
    table = {number: s for body in passes for s, number in body if makes_value(s)}
    pass_of = {number: k for k, body in enumerate(passes) for s, number in body if makes_value(s)}
    same = _same(kernel, table, pass_of)
    sums: dict[int, int] = {}
    gone: set[int] = set()
    for k in sorted(loops):
        found: dict[int, int] = {}
        for number in (number for s, number in passes[k] if isinstance(s, Accumulate)):
            m = _maximum(number, table, same)
            if m is None or pass_of[m] not in loops or kernel.passes[pass_of[m]].axes != kernel.passes[k].axes:
                break
            if dtypes[m] not in ("f32", "f64") or m in sums or m in found:
                break
            found[m] = number
        else:
            if found and {number for _, number in passes[k]} <= _made_of(found.values(), table) and all(
                    makes_value(s) for s, _ in passes[k]):
                sums |= found
                gone.add(k)
    return Online(sums, frozenset(gone))


def _maximum(number: int, table: Mapping[int, Statement], same: Mapping[int, int]) -> int | None:
    """The maximum of x, if this is the sum of exp(x - that)."""
    match table[number]:
        case Accumulate("sum", x):
            match table[x]:
                case Unary("exp", difference):
                    match table[difference]:
                        case Binary("sub", value, m):
                            match table[m]:
                                case Accumulate("max", greatest) if same[greatest] == same[value]:
                                    return m
    return None


def _same(kernel: Kernel, table: Mapping[int, Statement], pass_of: Mapping[int, int]) -> dict[int, int]:
    """For each value a number that is the same for those that are, at the same point."""
    known: dict[tuple[Statement, int], int] = {}
    found: dict[int, int] = {}
    for number, s in table.items():
        alone = isinstance(s, Accumulate | Scan) or (
            isinstance(s, Load | Gather) and kernel.params[s.buffer].access != "in")
        found[number] = known.setdefault((with_operands(s, [found[x] for x in operands(s)]), number * alone), number)
    return found


def _made_of(numbers: Collection[int], table: Mapping[int, Statement]) -> set[int]:
    """Values, and what they are made of."""
    found: set[int] = set()
    pending = [*numbers]
    while pending:
        x = pending.pop()
        if x not in found:
            found.add(x)
            pending += operands(table[x])
    return found


def gone_on(points: str, greatest: int, total: int, dtype: str) -> list[str]:
    """The lines that go on with a sum, before its maximum does."""
    apart, power = f"apart{total}", f"power{total}"
    return [f"{apart} = tl.where({points} == acc{greatest}, 0.0, {points} - acc{greatest})",
            f"{power} = {operation('exp', dtype, [f'-tl.abs({apart})'])}",
            f"acc{total} = tl.where({apart} > 0, acc{total} * {power} + 1.0, acc{total} + {power})"]


def scaled(greatest: int, total: int, dtype: str) -> str:
    """The sum of each lane, relative to the maximum of all."""
    return f"acc{total} * {operation('exp', dtype, [f'(acc{greatest} - v{greatest})'])}"
