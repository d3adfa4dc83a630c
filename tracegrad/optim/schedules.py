"""LRScheduler: what every schedule of the learning rate is made of.

1. A schedule writes into Tensors that are there: a traced step records nothing anew.
2. As in PyTorch, the rate of step 0 is set when the schedule is made, and most schedules go on from the rate that is
   there, so that several can act on one optimizer.
"""
from __future__ import annotations

from typing import Any

from tracegrad.optim.optimizer import Optimizer


class LRScheduler:
    """Base of the schedules: a subclass defines `rate`, the learning rate of a group at step `last_epoch`."""

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1):
        self.optimizer = optimizer
        for group in optimizer.param_groups:
            if group.initial_lr is None:
                group.initial_lr = group["lr"]
        self.base_lrs = [float(group.initial_lr or 0.0) for group in optimizer.param_groups]
        self.last_epoch = last_epoch
        self.step()

    @property
    def base_lr(self) -> float:
        """The learning rate that the first group began with."""
        return self.base_lrs[0]

    def rate(self, k: int, lr: float) -> float:
        """What takes the place of `lr`, the present learning rate of group k."""
        raise NotImplementedError(f"{type(self).__name__} does not define rate")

    def step(self) -> None:
        """Go on by one, usually after each epoch."""
        self.last_epoch += 1
        self.set_rates()

    def set_rates(self) -> None:
        """Give every group its rate at this step."""
        for k, group in enumerate(self.optimizer.param_groups):
            group["lr"] = self.rate(k, group["lr"])

    def get_last_lr(self) -> list[float]:
        """The present learning rate of each group."""
        return [group["lr"] for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """Numbers that say how far the schedule is; functions it was given are not among them."""
        return {name: value for name, value in vars(self).items()
                if name != "optimizer" and isinstance(value, bool | int | float | str | list | tuple | type(None))
                and not any(callable(v) for v in (value if isinstance(value, list | tuple) else ()))}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where the schedule of this state_dict was."""
        vars(self).update(state)


def one_for_each_group(optimizer: Optimizer, given: Any) -> list[Any]:
    """A list of what was given for each group, or of the one thing given for all."""
    n = len(optimizer.param_groups)
    values = list(given) if isinstance(given, list | tuple) else [given] * n
    if len(values) != n:
        raise ValueError(f"{len(values)} values for {n} groups of parameters")
    return values
