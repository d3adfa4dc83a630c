"""rates: amounts, times and speeds as people read them; and how near a step comes to what this machine can do."""
from __future__ import annotations

from codegen import StepReport, machine_ceilings

BYTES = ((1 << 30, "GB"), (1 << 20, "MB"), (1 << 10, "kB"))
FLOPS = ((10**9, "Gflop"), (10**6, "Mflop"), (10**3, "kflop"))
TIMES = ((1.0, "s"), (1e-3, "ms"), (1e-6, "us"))

SHORTEST = 1e-6
"""Seconds: of a step that takes less, most is the launch."""


def bytes_text(count: int) -> str:
    """A number of bytes in the unit in which it is easiest to read."""
    return next((f"{count / size:.1f} {name}" for size, name in BYTES if count >= size), f"{count} bytes")


def flops_text(count: int) -> str:
    """A number of floating-point operations; "" for none."""
    return next((f"{count / size:.1f} {name}" for size, name in FLOPS if count >= size), f"{count} flop" * (count > 0))


def time_text(seconds: float) -> str:
    """A time."""
    for size, name in TIMES:
        if seconds >= size:
            return f"{seconds / size:.3g} {name}" if seconds < 999 * size else f"{seconds / size:.0f} {name}"
    return f"{seconds * 1e9:.0f} ns"


def share_text(step: StepReport, seconds: float) -> str:
    """How near a step that took so long comes to the bandwidth or the peak of this machine; "" where nothing is said.

    The ceilings are measured when they are first asked for.
    """
    if seconds < SHORTEST or not step.bytes_moved or step.summary.endswith("on the host"):
        return ""
    share, of = machine_ceilings().share(step.bytes_moved, step.bytes_written, step.flops, step.dtype, seconds)
    return f"{share:.0%} {of}"
