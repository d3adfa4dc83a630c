"""The dtypes of a kernel's values."""
from __future__ import annotations

from codegen.schedule.kernel import (
    Accumulate,
    Binary,
    Cast,
    Const,
    Gather,
    Holds,
    Kernel,
    Load,
    Position,
    RandomWord,
    Scan,
    Scatter,
    Select,
    Store,
    Unary,
)

COMPARISONS = frozenset({"eq", "ne", "lt", "le", "gt", "ge"})


def value_dtypes(kernel: Kernel) -> list[str]:
    """The dtype of each value, by its number."""
    dtypes: list[str] = []
    for p in kernel.passes:
        for s in p.body:
            match s:
                case Const() | Position() | Cast():
                    dtypes.append(s.dtype)
                case Load() | Gather():
                    dtypes.append(kernel.params[s.buffer].dtype)
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
