"""Operands that an op refuses: the one sentence that a user sees, whatever refused them."""
from __future__ import annotations

from typing import Any

import numpy as np

from codegen.ir.ops import OPS
from codegen.ir.type_rules import TypeRuleError
from codegen.ir.types import TensorType, type_of
from tracegrad.source_lines import at_user_line
from tracegrad.tensors import Tensor

REFUSALS = (IndexError, np.linalg.LinAlgError, OverflowError, MemoryError, ValueError, TypeError)
"""What a reference raises when it refuses its operands; of two that fit, the first is what the user sees."""


def failure(op: str, args: tuple[Any, ...], attrs: dict[str, Any], error: Exception) -> Exception:
    """The error for operands that the reference of `op` refused: the sentence of its type rule if that refuses too."""
    try:
        check(op, args, attrs)
    except TypeRuleError as refusal:
        return refusal
    kind = next(k for k in REFUSALS if isinstance(error, k))
    return kind(at_user_line(f"{op}: {error}"))


def check(op: str, args: tuple[Any, ...], attrs: dict[str, Any]) -> None:
    """TypeRuleError, with the user's line, if the op's type rule refuses."""
    tensors = [a for a in args if isinstance(a, Tensor)]
    dtype = type_of(tensors[-1]).dtype if tensors else "f32"
    types = [type_of(a) if isinstance(a, Tensor) else TensorType(dtype) for a in args]
    try:
        OPS[op].type_rule(*types, **attrs)
    except TypeRuleError as refusal:
        raise type(refusal)(at_user_line(f"{op}: {refusal}")) from None
