"""Kernels of random graphs: what they are run on, and how exactly they can be compared."""
from __future__ import annotations

import numpy as np

from codegen.ir.ops import OPS
from codegen.ir.types import DTYPES
from codegen.llvm_cpu.vector_math import FUNCTIONS, FUNCTIONS_OF_TWO
from codegen.schedule.kernel import Accumulate, Binary, Kernel, Param, Unary

SIZES = (0, 1, 2, 3, 5, 33, 70)
LARGE = 1 << 14
ROUNDED = {*FUNCTIONS, *FUNCTIONS_OF_TWO}
KERNEL_OPS = tuple(name for name in OPS if name != "matmul")


def contents(param: Param, generator: np.random.Generator) -> np.ndarray:
    """Numbers for a param, small ones that are also good indices."""
    dtype = DTYPES[param.dtype]
    if dtype.kind == "b":
        return generator.integers(0, 2, param.size).astype(dtype)
    if dtype.kind in "iu":
        return generator.integers(0, 3, param.size).astype(dtype)
    return generator.normal(size=param.size).astype(dtype)


def rounds_differently(kernel: Kernel) -> bool:
    """May machine code and NumPy round apart in it?"""
    statements = (s for p in kernel.passes for s in p.body)
    return any(isinstance(s, Accumulate) or isinstance(s, Unary | Binary) and s.op in ROUNDED for s in statements)


def compares(kernel: Kernel) -> bool:
    """Does it have a step where a small difference becomes a large one?"""
    steps = ("eq", "ne", "lt", "le", "gt", "ge", "floor", "ceil", "trunc", "round", "floor_div", "rem", "fmod", "atan2",
             "copysign", "sign", "pow")
    return any(isinstance(s, Unary | Binary) and s.op in steps for p in kernel.passes for s in p.body)
