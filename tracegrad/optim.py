"""optim: update rules, with PyTorch's names, defaults and numbers.

1. All that changes from step to step is a Tensor: the state of each parameter, the learning rate (0-d float64), and
   Adam's counts of updates. So a traced step holds no number that goes stale, and a schedule records nothing anew.
2. State exists, as zeros, from the start: the first step is like every other.
3. Parameters and state are updated in their own storage, outside of differentiation.
4. A parameter whose grad is None is left alone, its state too.
"""
from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from tracegrad.autograd import no_grad
from tracegrad.creation import tensor, zeros, zeros_like
from tracegrad.functional import exp, maximum, sqrt
from tracegrad.nn.modules import clear_grads
from tracegrad.states import State, load_in_place
from tracegrad.tensors import Tensor


class Optimizer:
    """Base of the update rules: the parameters, the learning rate, and state by name.

    `states` are lists parallel to `params`; a subclass fills them once, in its constructor, and defines `step`.
    """

    def __init__(self, params: Iterable[Tensor], lr: float):
        self.params = list(params)
        if not self.params:
            raise ValueError(f"{type(self).__name__} was given no parameters")
        for p in self.params:
            if not isinstance(p, Tensor):
                raise TypeError(f"{type(self).__name__} updates Tensors, not {type(p).__name__}")
            if not p.is_leaf:
                raise ValueError(f"{type(self).__name__} cannot update the result of an operation: give it leaves")
        _require(self, "lr", lr, lr >= 0)
        self._lr = tensor(float(lr), dtype="float64")
        self.states: dict[str, list[Tensor]] = {}

    @property
    def lr(self) -> float:
        """The learning rate. Setting it writes into the Tensor that steps read."""
        return self._lr.item()

    @lr.setter
    def lr(self, lr: float) -> None:
        _require(self, "lr", lr, lr >= 0)
        with no_grad():
            self._lr.fill_(float(lr))

    def step(self) -> None:
        """Update every parameter that has a grad."""
        raise NotImplementedError(f"{type(self).__name__} does not define step")

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Clear the grad of every parameter: to None, or to 0 in its own storage."""
        clear_grads(self.params, set_to_none)

    def state_dict(self) -> State:
        """The learning rate and all state, by name, on their own storage: {"lr": ..., "momentum.0": ...}."""
        return {name: value.detach() for name, value in self._named_state().items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Write the state_dict of an optimizer like this one into it; ValueError if names or shapes differ."""
        load_in_place(type(self).__name__, self._named_state(), state, strict=True)

    def _named_state(self) -> State:
        named = {f"{name}.{k}": value for name, values in self.states.items() for k, value in enumerate(values)}
        return {"lr": self._lr, **named}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self.params)} parameters, lr={self.lr:g})"


class SGD(Optimizer):
    """Stochastic gradient descent: p -= lr * g.

    With momentum m and dampening d: v = m * v + (1 - d) * g (v = g at first) and p -= lr * v, or, with nesterov,
    p -= lr * (g + m * v). weight_decay w adds w * p to g beforehand.
    """

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
    ):
        super().__init__(params, lr)
        _require(self, "momentum", momentum, momentum >= 0)
        _require(self, "weight_decay", weight_decay, weight_decay >= 0)
        if nesterov and (momentum == 0 or dampening != 0):
            raise ValueError("SGD: nesterov needs a momentum and no dampening")
        self.momentum, self.dampening = momentum, dampening
        self.weight_decay, self.nesterov = weight_decay, nesterov
        if momentum:
            self.states["momentum"] = [zeros_like(p) for p in self.params]
        if momentum and dampening:
            self.states["damped"] = [zeros((), dtype=p.dtype) for p in self.params]     # 1 from its first update on

    def step(self) -> None:
        with no_grad():
            for k, p in enumerate(self.params):
                g = p.grad
                if g is None:
                    continue
                if self.weight_decay:
                    g = g + self.weight_decay * p
                if self.momentum:
                    g = self._with_momentum(k, g)
                p -= self._lr.to(p.dtype) * g

    def _with_momentum(self, k: int, g: Tensor) -> Tensor:
        v = self.states["momentum"][k]
        v *= self.momentum
        if self.dampening:
            damped = self.states["damped"][k]
            v += g * (1 - self.dampening * damped)
            damped.fill_(1.0)
        else:
            v += g
        return g + self.momentum * v if self.nesterov else v


class Adam(Optimizer):
    """Adam: p -= lr * mean / (sqrt(square) + eps), of running means without their bias towards 0.

    mean = b1 * mean + (1 - b1) * g and square = b2 * square + (1 - b2) * g * g, divided by 1 - b ** t at a parameter's
    update t. weight_decay w adds w * p to g beforehand. D. P. Kingma, J. Ba (2015), ICLR.
    """

    decoupled = False

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        amsgrad: bool = False,
    ):
        super().__init__(params, lr)
        for beta in betas:
            _require(self, "betas", betas, 0 <= beta < 1)
        _require(self, "eps", eps, eps >= 0)
        _require(self, "weight_decay", weight_decay, weight_decay >= 0)
        self.betas, self.eps, self.weight_decay, self.amsgrad = betas, eps, weight_decay, amsgrad
        self.states["step"] = [zeros((), dtype="float64") for _ in self.params]
        self.states["mean"] = [zeros_like(p) for p in self.params]
        self.states["square"] = [zeros_like(p) for p in self.params]
        if amsgrad:
            self.states["max_square"] = [zeros_like(p) for p in self.params]

    def step(self) -> None:
        with no_grad():
            for k, p in enumerate(self.params):
                g = p.grad
                if g is None:
                    continue
                if self.weight_decay and self.decoupled:
                    p *= (1 - self._lr * self.weight_decay).to(p.dtype)
                elif self.weight_decay:
                    g = g + self.weight_decay * p
                self._update(k, p, g)

    def _update(self, k: int, p: Tensor, g: Tensor) -> None:
        b1, b2 = self.betas
        t, mean, square = self.states["step"][k], self.states["mean"][k], self.states["square"][k]
        t += 1
        mean += (g - mean) * (1 - b1)
        square *= b2
        square += g * g * (1 - b2)
        if self.amsgrad:
            largest = self.states["max_square"][k]
            largest.copy_(maximum(largest, square))
            square = largest
        rate = (self._lr / (1 - _power(b1, t))).to(p.dtype)
        scale = (1 / sqrt(1 - _power(b2, t))).to(p.dtype)
        p -= rate * mean / (sqrt(square) * scale + self.eps)


class AdamW(Adam):
    """Adam whose weight decay does not pass through its running means: p *= 1 - lr * w first.

    I. Loshchilov, F. Hutter (2019), ICLR.
    """

    decoupled = True

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
    ):
        super().__init__(params, lr, betas, eps, weight_decay, amsgrad)


class StepLR:
    """The learning rate, multiplied by gamma every `step_size` steps of this schedule."""

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1):
        self.optimizer, self.step_size, self.gamma = optimizer, step_size, gamma
        self.base_lr, self.last_epoch = optimizer.lr, 0

    def step(self) -> None:
        """Go on by one, usually after each epoch."""
        self.last_epoch += 1
        self.optimizer.lr = self.base_lr * self.gamma ** (self.last_epoch // self.step_size)


class CosineAnnealingLR:
    """The learning rate, down to `eta_min` along half a cosine in T_max steps of this schedule, then up again."""

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0):
        self.optimizer, self.T_max, self.eta_min = optimizer, T_max, eta_min
        self.base_lr, self.last_epoch = optimizer.lr, 0

    def step(self) -> None:
        """Go on by one, usually after each epoch."""
        self.last_epoch += 1
        height = (1 + math.cos(math.pi * self.last_epoch / self.T_max)) / 2
        self.optimizer.lr = self.eta_min + (self.base_lr - self.eta_min) * height


def _power(base: float, exponent: Tensor) -> Tensor:
    """base ** exponent, for base in [0, 1) and a positive exponent."""
    return exp(exponent * (math.log(base) if base else -math.inf))


def _require(optimizer: Optimizer, name: str, value: object, holds: bool) -> None:
    if not holds:
        raise ValueError(f"{type(optimizer).__name__}: {name} = {value} is out of range")
