"""The options of `trace`, as one record that has been checked."""
from __future__ import annotations

from dataclasses import field

from codegen import TARGETS
from codegen.ir.structs import struct
from tracegrad.limits import Limits


@struct
class TraceOptions:
    """How a function is traced; see tracing.trace. `target`: a key of codegen.TARGETS, for tensors on the CPU if
    `follows_device`: for others it is that of their device.
    """

    target: str = "llvm_cpu"
    strict: bool = False
    fast_math: bool = False
    audit: int = 0
    keep: int = 0
    memory_budget: int | None = None
    limits: Limits = field(default_factory=Limits)
    follows_device: bool = False


def checked(target: str, strict: bool, fast_math: bool, audit: int, keep: int, memory_budget: int | None,
            limits: Limits | None) -> TraceOptions:
    """The options as they were given; ValueError and TypeError as `trace` says."""
    if target != "auto" and target not in TARGETS:
        raise ValueError(f"trace: there is no target {target!r}; the targets are auto, {', '.join(TARGETS)}")
    for name, number in (("audit", audit), ("keep", keep)):
        if type(number) is not int or number < 0:
            raise ValueError(f"trace: {name} is a number of calls, 0 or more, not {number!r}")
    if memory_budget is not None and type(memory_budget) is not int:
        raise TypeError(f"trace: memory_budget is a number of bytes, an int, not {memory_budget!r}")
    if memory_budget is not None and memory_budget < 0:
        raise ValueError(f"trace: memory_budget is a number of bytes, 0 or more, not {memory_budget}")
    return TraceOptions("llvm_cpu" if target == "auto" else target, strict, fast_math, audit, keep, memory_budget,
                        limits or Limits(), target == "auto")
