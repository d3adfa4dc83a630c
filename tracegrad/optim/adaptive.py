"""Rules that divide a gradient by how large it usually is: Adagrad, RMSprop, Adadelta."""
from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tracegrad.creation import full_like, zeros, zeros_like
from tracegrad.functional import sqrt
from tracegrad.optim.optimizer import Optimizer, ParamGroup, decayed, number
from tracegrad.states import State
from tracegrad.tensors import Tensor


class Adagrad(Optimizer):
    """p -= lr * g / (sqrt(sum of all g^2) + eps), lr / (1 + t * lr_decay) at update t. J. Duchi et al. (2011)."""

    def __init__(self, params: Iterable[Any], lr: float = 1e-2, lr_decay: float = 0.0, weight_decay: float = 0.0,
                 initial_accumulator_value: float = 0.0, eps: float = 1e-10, *, maximize: bool = False):
        super().__init__(params, dict(
            lr=lr, lr_decay=lr_decay, weight_decay=weight_decay, eps=eps,
            initial_accumulator_value=initial_accumulator_value, maximize=maximize))

    def initial_state(self, p: Tensor, group: ParamGroup) -> State:
        start = float(group.options["initial_accumulator_value"])
        return {"step": zeros((), dtype="float64", device=p.device), "sum": full_like(p.detach(), start)}

    def update(self, p: Tensor, g: Tensor, state: State, group: ParamGroup) -> None:
        options = group.options
        g = decayed(p, g, group)
        rate = options["lr"] / (1 + state["step"] * options["lr_decay"])
        state["step"] += 1
        total = state["sum"]
        total += g * g
        p -= rate.to(p.dtype) * g / (sqrt(total) + options["eps"])


class RMSprop(Optimizer):
    """p -= lr * g / (sqrt(square) + eps), square = alpha * square + (1 - alpha) * g^2. T. Tieleman, G. Hinton (2012).

    `centered` subtracts the square of the running mean of g, so that square is a variance.
    """

    def __init__(self, params: Iterable[Any], lr: float = 1e-2, alpha: float = 0.99, eps: float = 1e-8,
                 weight_decay: float = 0.0, momentum: float = 0.0, centered: bool = False, *, maximize: bool = False):
        super().__init__(params, dict(lr=lr, alpha=alpha, eps=eps, weight_decay=weight_decay, momentum=momentum,
                                      centered=centered, maximize=maximize))

    def initial_state(self, p: Tensor, group: ParamGroup) -> State:
        state = {"square": zeros_like(p)}
        if group.options["momentum"]:
            state["momentum"] = zeros_like(p)
        if group.options["centered"]:
            state["mean"] = zeros_like(p)
        return state

    def update(self, p: Tensor, g: Tensor, state: State, group: ParamGroup) -> None:
        options = group.options
        g = decayed(p, g, group)
        alpha, square = options["alpha"], state["square"]
        square *= alpha
        square += g * g * (1 - alpha)
        if options["centered"]:
            mean = state["mean"]
            mean += (g - mean) * (1 - alpha)
            square = square - mean * mean
        g = g / (sqrt(square) + options["eps"])
        if options["momentum"]:
            v = state["momentum"]
            v *= number(options["momentum"], p)
            v += g
            g = v
        p -= number(options["lr"], p) * g


class Adadelta(Optimizer):
    """p -= lr * g * sqrt(delta + eps) / sqrt(square + eps), of running means of updates and of g squared.

    M. D. Zeiler (2012), arXiv:1212.5701.
    """

    def __init__(self, params: Iterable[Any], lr: float = 1.0, rho: float = 0.9, eps: float = 1e-6,
                 weight_decay: float = 0.0, *, maximize: bool = False):
        super().__init__(params, dict(lr=lr, rho=rho, eps=eps, weight_decay=weight_decay, maximize=maximize))

    def initial_state(self, p: Tensor, group: ParamGroup) -> State:
        return {"square": zeros_like(p), "delta": zeros_like(p)}

    def update(self, p: Tensor, g: Tensor, state: State, group: ParamGroup) -> None:
        options = group.options
        g = decayed(p, g, group)
        rho, eps, square, delta = options["rho"], options["eps"], state["square"], state["delta"]
        square *= rho
        square += g * g * (1 - rho)
        change = sqrt(delta + eps) / sqrt(square + eps) * g
        delta *= rho
        delta += change * change * (1 - rho)
        p -= number(options["lr"], p) * change
