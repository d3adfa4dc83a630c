"""Automatic mixed precision, by PyTorch's names: autocast, GradScaler, and the casts of custom functions.

    scaler = tg.amp.GradScaler()

    @tg.trace
    def step(x, y):
        optimizer.zero_grad()
        with tg.amp.autocast("float16"):
            loss = loss_of(model(x), y)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        return loss
"""
from __future__ import annotations

from tracegrad.function_casts import custom_bwd, custom_fwd
from tracegrad.mixed_precision import autocast, get_autocast_dtype, is_autocast_enabled
from tracegrad.optim.grad_scaler import GradScaler

__all__ = ["GradScaler", "autocast", "custom_bwd", "custom_fwd", "get_autocast_dtype", "is_autocast_enabled"]
