"""SGD: gradient descent, with momentum."""
from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tracegrad.creation import zeros, zeros_like
from tracegrad.optim.optimizer import Optimizer, ParamGroup, decayed, number
from tracegrad.states import State
from tracegrad.tensors import Tensor


class SGD(Optimizer):
    """Stochastic gradient descent: p -= lr * g.

    With momentum m and dampening d: v = m * v + (1 - d) * g (v = g at first) and p -= lr * v, or, with nesterov,
    p -= lr * (g + m * v). weight_decay w adds w * p to g beforehand; maximize takes -g for g.
    """

    def __init__(self, params: Iterable[Any], lr: float = 1e-3, momentum: float = 0.0, dampening: float = 0.0,
                 weight_decay: float = 0.0, nesterov: bool = False, *, maximize: bool = False):
        super().__init__(params, dict(lr=lr, momentum=momentum, dampening=dampening, weight_decay=weight_decay,
                                      nesterov=nesterov, maximize=maximize))

    def check(self, options: dict[str, Any]) -> None:
        super().check(options)
        if options["nesterov"] and (options["momentum"] == 0 or options["dampening"] != 0):
            raise ValueError("SGD: nesterov needs a momentum and no dampening")

    def initial_state(self, p: Tensor, group: ParamGroup) -> State:
        if not has_momentum(group):
            return {}
        state = {"momentum": zeros_like(p)}
        if group.options["dampening"]:
            state["damped"] = zeros((), dtype=p.dtype, device=p.device)          # 1 from the first update on
        return state

    def update(self, p: Tensor, g: Tensor, state: State, group: ParamGroup) -> None:
        g = decayed(p, g, group)
        if has_momentum(group):
            g = self.with_momentum(p, g, state, group)
        p -= number(group.options["lr"], p) * g

    def with_momentum(self, p: Tensor, g: Tensor, state: State, group: ParamGroup) -> Tensor:
        """What is subtracted in the place of g."""
        momentum, v = number(group.options["momentum"], p), state["momentum"]
        v *= momentum
        if group.options["dampening"]:
            v += g * (1 - group.options["dampening"] * state["damped"])
            state["damped"].fill_(1.0)
        else:
            v += g
        return g + momentum * v if group.options["nesterov"] else v


def has_momentum(group: ParamGroup) -> bool:
    """Is there a momentum, or a Tensor that may become one?"""
    momentum = group.options["momentum"]
    return isinstance(momentum, Tensor) or momentum != 0
