"""Adam and its relatives: steps along a running mean of gradients, divided by how large they usually are."""
from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tracegrad.creation import ones, zeros, zeros_like
from tracegrad.functional import abs, maximum, sqrt, where
from tracegrad.optim.optimizer import Optimizer, ParamGroup, decayed, number, power
from tracegrad.states import State
from tracegrad.tensors import Tensor


class Adam(Optimizer):
    """Adam: p -= lr * mean / (sqrt(square) + eps), of running means without their bias towards 0.

    mean = b1 * mean + (1 - b1) * g and square = b2 * square + (1 - b2) * g * g, divided by 1 - b ** t at a parameter's
    update t. weight_decay w adds w * p to g beforehand. D. P. Kingma, J. Ba (2015), ICLR.
    """

    decoupled = False

    def __init__(self, params: Iterable[Any], lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999),
                 eps: float = 1e-8, weight_decay: float = 0.0, amsgrad: bool = False, *, maximize: bool = False):
        super().__init__(params, dict(lr=lr, betas=betas, eps=eps, weight_decay=weight_decay, amsgrad=amsgrad,
                                      maximize=maximize))

    def initial_state(self, p: Tensor, group: ParamGroup) -> State:
        largest = {"max_square": zeros_like(p)} if group.options["amsgrad"] else {}
        return {**counted_means(p), **largest}

    def update(self, p: Tensor, g: Tensor, state: State, group: ParamGroup) -> None:
        options = group.options
        if self.decoupled:
            decay(p, group)
        else:
            g = decayed(p, g, group)
        b1, b2 = options["betas"]
        t, mean, square = state["step"], state["mean"], state["square"]
        t += 1
        follow(mean, square, g, b1, b2)
        if options["amsgrad"]:
            largest = state["max_square"]
            largest.copy_(maximum(largest, square))
            square = largest
        rate = (options["lr"] / (1 - power(b1, t))).to(p.dtype)
        scale = (1 / sqrt(1 - power(b2, t))).to(p.dtype)
        p -= rate * mean / (sqrt(square) * scale + options["eps"])


class AdamW(Adam):
    """Adam whose weight decay does not pass through its running means: p *= 1 - lr * w first.

    I. Loshchilov, F. Hutter (2019), ICLR.
    """

    decoupled = True

    def __init__(self, params: Iterable[Any], lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999),
                 eps: float = 1e-8, weight_decay: float = 1e-2, amsgrad: bool = False, *, maximize: bool = False):
        super().__init__(params, lr, betas, eps, weight_decay, amsgrad, maximize=maximize)


class Adamax(Optimizer):
    """Adam with the largest gradient, decaying, in the place of the root of the mean square: same paper, section 7."""

    def __init__(self, params: Iterable[Any], lr: float = 2e-3, betas: tuple[float, float] = (0.9, 0.999),
                 eps: float = 1e-8, weight_decay: float = 0.0, *, maximize: bool = False):
        super().__init__(params, dict(lr=lr, betas=betas, eps=eps, weight_decay=weight_decay, maximize=maximize))

    def initial_state(self, p: Tensor, group: ParamGroup) -> State:
        return {"step": zeros((), dtype="float64", device=p.device), "mean": zeros_like(p), "largest": zeros_like(p)}

    def update(self, p: Tensor, g: Tensor, state: State, group: ParamGroup) -> None:
        options = group.options
        g = decayed(p, g, group)
        b1, b2 = options["betas"]
        t, mean, largest = state["step"], state["mean"], state["largest"]
        t += 1
        mean += (g - mean) * (1 - number(b1, p))
        largest.copy_(maximum(largest * number(b2, p), abs(g) + options["eps"]))
        p -= (options["lr"] / (1 - power(b1, t))).to(p.dtype) * mean / largest


class NAdam(Optimizer):
    """Adam with Nesterov's momentum. T. Dozat (2016), ICLR workshop."""

    def __init__(self, params: Iterable[Any], lr: float = 2e-3, betas: tuple[float, float] = (0.9, 0.999),
                 eps: float = 1e-8, weight_decay: float = 0.0, momentum_decay: float = 4e-3,
                 decoupled_weight_decay: bool = False, *, maximize: bool = False):
        super().__init__(params, dict(
            lr=lr, betas=betas, eps=eps, weight_decay=weight_decay, momentum_decay=momentum_decay,
            decoupled_weight_decay=decoupled_weight_decay, maximize=maximize))

    def initial_state(self, p: Tensor, group: ParamGroup) -> State:
        return {**counted_means(p), "momenta": ones((), dtype="float64", device=p.device)}

    def update(self, p: Tensor, g: Tensor, state: State, group: ParamGroup) -> None:
        options = group.options
        if options["decoupled_weight_decay"]:
            decay(p, group)
        else:
            g = decayed(p, g, group)
        b1, b2 = options["betas"]
        t, mean, square = state["step"], state["mean"], state["square"]
        t += 1
        slower = options["momentum_decay"]
        now, after = (b1 * (1 - 0.5 * power(0.96, when * slower)) for when in (t, t + 1))
        of_all = state["momenta"]               # the product of all momenta so far
        of_all *= now
        follow(mean, square, g, b1, b2)
        scale = (1 / sqrt(1 - power(b2, t))).to(p.dtype)
        size = sqrt(square) * scale + options["eps"]
        p -= (options["lr"] * (1 - now) / (1 - of_all)).to(p.dtype) * g / size
        p -= (options["lr"] * after / (1 - of_all * after)).to(p.dtype) * mean / size


class RAdam(Optimizer):
    """Adam that leaves out its division while the mean square is too uncertain. L. Liu et al. (2020), ICLR."""

    def __init__(self, params: Iterable[Any], lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999),
                 eps: float = 1e-8, weight_decay: float = 0.0, decoupled_weight_decay: bool = False, *,
                 maximize: bool = False):
        super().__init__(params, dict(lr=lr, betas=betas, eps=eps, weight_decay=weight_decay,
                                      decoupled_weight_decay=decoupled_weight_decay, maximize=maximize))

    def initial_state(self, p: Tensor, group: ParamGroup) -> State:
        return counted_means(p)

    def update(self, p: Tensor, g: Tensor, state: State, group: ParamGroup) -> None:
        options = group.options
        if options["decoupled_weight_decay"]:
            decay(p, group)
        else:
            g = decayed(p, g, group)
        b1, b2 = options["betas"]
        t, mean, square = state["step"], state["mean"], state["square"]
        t += 1
        follow(mean, square, g, b1, b2)
        most = 2 / (1 - b2) - 1
        left = 1 - power(b2, t)
        samples = most - 2 * t * (1 - left) / left          # how many the mean square is worth
        certain = samples > 5.0
        enough = where(certain, samples, 6.0)
        rectified = sqrt((enough - 4) * (enough - 2) * most / ((most - 4) * (most - 2) * enough) * left)
        rate = options["lr"] / (1 - power(b1, t))
        divided = (rate * rectified).to(p.dtype) * mean / (sqrt(square) + options["eps"])
        p -= where(certain, divided, rate.to(p.dtype) * mean)


def counted_means(p: Tensor) -> State:
    """The count of updates, the running mean of gradients and that of their squares."""
    return {"step": zeros((), dtype="float64", device=p.device), "mean": zeros_like(p), "square": zeros_like(p)}


def follow(mean: Tensor, square: Tensor, g: Tensor, b1: Any, b2: Any) -> None:
    """The running means, moved towards g and g^2."""
    b1, b2 = number(b1, g), number(b2, g)
    mean += (g - mean) * (1 - b1)
    square *= b2
    square += g * g * (1 - b2)


def decay(p: Tensor, group: ParamGroup) -> None:
    """p *= 1 - lr * weight_decay."""
    if group.options["weight_decay"]:
        p *= (1 - group.options["lr"] * group.options["weight_decay"]).to(p.dtype)
