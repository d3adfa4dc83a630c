"""tg.autograd: gradients as values, the grad mode, derivatives of one's own, and checks of derivatives."""
# ruff: noqa: F401 - the public names
from __future__ import annotations

from tracegrad.anomaly import AnomalyError, detect_anomaly
from tracegrad.checkpointing import CheckpointError
from tracegrad.functions import Function, once_differentiable
from tracegrad.grad_modes import enable_grad, inference_mode, is_grad_enabled, no_grad, set_grad_enabled
from tracegrad.gradient_checks import GradcheckError, gradcheck, gradgradcheck
from tracegrad.gradients import backward, grad
from tracegrad.packing import saved_tensors_hooks
from tracegrad.registered_ops import custom_op, register_function
from tracegrad.saved_bytes import saved_bytes

ABSENT = {
    "forward_ad": "tg.func.jvp is forward mode",
    "functional": "tg.func has jacrev, hessian, jvp, vjp and hvp",
    "graph": "saved_tensors_hooks and the hooks of operations are in tg.autograd and on grad_fn",
    "profiler": "tg.profile() says what takes how long",
    "set_detect_anomaly": "write with tg.autograd.detect_anomaly():",
}
"""Names that users of PyTorch look for here, and what there is instead."""


def __getattr__(name: str) -> None:
    if name in ABSENT:
        raise AttributeError(f"tracegrad.autograd has no {name}: {ABSENT[name]}")
    raise AttributeError(f"module 'tracegrad.autograd' has no attribute {name!r}")
