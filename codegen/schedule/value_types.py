"""The dtypes of a kernel's values."""
from __future__ import annotations

from collections.abc import Iterable, Sequence

from codegen.schedule.kernel import (
    Accumulate,
    Binary,
    Cast,
    Const,
    Gather,
    Holds,
    Kernel,
    Load,
    Param,
    Position,
    RandomWord,
    Scan,
    Scatter,
    Select,
    Statement,
    Store,
    Unary,
)

COMPARISONS = frozenset({"eq", "ne", "lt", "le", "gt", "ge"})


def value_dtypes(kernel: Kernel) -> list[str]:
    """The dtype of each value, by its number."""
    return dtypes_of((s for p in kernel.passes for s in p.body), kernel.params)


def dtypes_of(statements: Iterable[Statement], params: Sequence[Param]) -> list[str]:
    """The dtype of each value that statements in a row make, whose operands are its numbers."""
    dtypes: list[str] = []
    for s in statements:
        match s:
            case Const() | Position() | Cast():
                dtypes.append(s.dtype)
            case Load() | Gather():
                dtypes.append(params[s.buffer].dtype)
            case Binary() if s.op in COMPARISONS:
                dtypes.append("bool")
            case Holds():
                dtypes.append("bool")
            case Unary() | Binary() | Select() | Accumulate():
                dtypes.append(dtypes[s.x])
            case Scan(args=(x, *_)):
                dtypes.append(dtypes[x])
            case RandomWord():
                dtypes.append("u32")
            case Store() | Scatter():
                pass
    return dtypes
