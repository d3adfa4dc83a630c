"""Schedules that move the learning rate up and down, and momentum against it."""
from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from tracegrad.optim.optimizer import Optimizer, ParamGroup
from tracegrad.optim.schedules import LRScheduler, one_for_each_group


class OneCycleLR(LRScheduler):
    """Up to `max_lr` during the first pct_start of all steps, then down far below the start; momentum goes against it.

    L. N. Smith, N. Topin (2018), arXiv:1708.07120. The start is max_lr / div_factor, the end that / final_div_factor;
    momentum (Adam's first beta) goes from max_momentum to base_momentum and back, in a Tensor too.
    """

    def __init__(self, optimizer: Optimizer, max_lr: float | Sequence[float], total_steps: int | None = None,
                 epochs: int | None = None, steps_per_epoch: int | None = None, pct_start: float = 0.3,
                 anneal_strategy: str = "cos", cycle_momentum: bool = True, base_momentum: float = 0.85,
                 max_momentum: float = 0.95, div_factor: float = 25.0, final_div_factor: float = 1e4,
                 three_phase: bool = False, last_epoch: int = -1):
        if total_steps is None:
            if epochs is None or steps_per_epoch is None:
                raise ValueError("OneCycleLR: give total_steps, or epochs and steps_per_epoch")
            total_steps = epochs * steps_per_epoch
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(f'OneCycleLR: anneal_strategy is "cos" or "linear", not {anneal_strategy!r}')
        self.total_steps, self.anneal_strategy = total_steps, anneal_strategy
        self.max_lrs = [float(lr) for lr in one_for_each_group(optimizer, max_lr)]
        self.div_factor, self.final_div_factor = div_factor, final_div_factor
        self.cycle_momentum, self.base_momentum, self.max_momentum = cycle_momentum, base_momentum, max_momentum
        up = pct_start * total_steps - 1
        if three_phase:
            self.ends = [up, 2 * up, total_steps - 1.0]
            self.lr_levels, self.momentum_levels = [0, 1, 0, 2], [1, 0, 1, 1]
        else:
            self.ends, self.lr_levels, self.momentum_levels = [up, total_steps - 1.0], [0, 1, 2], [1, 0, 1]
        if last_epoch == -1:
            for lr, group in zip(self.max_lrs, optimizer.param_groups):
                group.initial_lr = lr / div_factor
                if cycle_momentum:
                    make_momentum_tensor(group)
        super().__init__(optimizer, last_epoch)

    def between(self, levels: Sequence[int], values: Sequence[float]) -> float:
        """The value at this step: phase by phase from one level to the next."""
        if self.last_epoch >= self.total_steps:
            raise ValueError(f"OneCycleLR: step {self.last_epoch} is beyond the {self.total_steps} steps of the cycle")
        start = 0.0
        for phase, end in enumerate(self.ends):
            if self.last_epoch <= end or phase == len(self.ends) - 1:
                part = (self.last_epoch - start) / (end - start)
                a, b = values[levels[phase]], values[levels[phase + 1]]
                if self.anneal_strategy == "linear":
                    return a + (b - a) * part
                return b + (a - b) / 2 * (1 + math.cos(math.pi * part))
            start = end
        raise AssertionError

    def rate(self, k: int, lr: float) -> float:
        top = self.max_lrs[k]
        first = top / self.div_factor
        return self.between(self.lr_levels, (first, top, first / self.final_div_factor))

    def set_rates(self) -> None:
        super().set_rates()
        if self.cycle_momentum:
            for group in self.optimizer.param_groups:
                set_momentum(group, self.between(self.momentum_levels, (self.base_momentum, self.max_momentum)))


def make_momentum_tensor(group: ParamGroup) -> None:
    """Make a group's momentum, or its first beta, a Tensor. ValueError if it has neither."""
    if "betas" in group.options:
        first, second = group.options["betas"]
        group.options["beta"] = first
        group.options["betas"] = group.make_tensor("beta"), second
        del group.options["beta"]
    elif "momentum" in group.options:
        group.make_tensor("momentum")
    else:
        raise ValueError("OneCycleLR: the optimizer has no momentum to cycle: pass cycle_momentum=False")


def set_momentum(group: ParamGroup, value: float) -> None:
    """Write a group's momentum, or its first beta, in place."""
    if "betas" in group.options:
        group.options["betas"][0].fill_(value)
    else:
        group["momentum"] = value


class CyclicLR(LRScheduler):
    """Up from base_lr to max_lr in step_size_up steps and down again in step_size_down, over and over.

    mode "triangular"; "triangular2" halves the height each cycle, "exp_range" multiplies it by gamma each step;
    scale_fn(x), of the cycle or of the step (scale_mode "cycle" or "iterations"), takes their place. Momentum goes the
    other way, in a Tensor too. L. N. Smith (2017), WACV.
    """

    def __init__(self, optimizer: Optimizer, base_lr: float | Sequence[float], max_lr: float | Sequence[float],
                 step_size_up: int = 2000, step_size_down: int | None = None, mode: str = "triangular",
                 gamma: float = 1.0, scale_fn: Callable[[float], float] | None = None, scale_mode: str = "cycle",
                 cycle_momentum: bool = True, base_momentum: float = 0.8, max_momentum: float = 0.9,
                 last_epoch: int = -1):
        if mode not in ("triangular", "triangular2", "exp_range"):
            raise ValueError(f"CyclicLR: mode {mode!r} is none of triangular, triangular2 and exp_range")
        self.low = [float(lr) for lr in one_for_each_group(optimizer, base_lr)]
        self.max_lrs = [float(lr) for lr in one_for_each_group(optimizer, max_lr)]
        self.up, self.down = step_size_up, step_size_up if step_size_down is None else step_size_down
        self.mode, self.gamma, self.scale_fn, self.scale_mode = mode, gamma, scale_fn, scale_mode
        self.cycle_momentum, self.base_momentum, self.max_momentum = cycle_momentum, base_momentum, max_momentum
        if last_epoch == -1:
            for lr, group in zip(self.low, optimizer.param_groups):
                group["lr"] = lr
                if cycle_momentum:
                    make_momentum_tensor(group)
        super().__init__(optimizer, last_epoch)

    def height(self) -> float:
        """How high the rate is now, as a share of the way from base_lr to max_lr."""
        length = self.up + self.down
        cycle, at = self.last_epoch // length + 1, self.last_epoch % length
        triangle = at / self.up if at <= self.up else (length - at) / self.down
        if self.scale_fn is not None:
            return triangle * self.scale_fn(cycle if self.scale_mode == "cycle" else self.last_epoch)
        if self.mode == "exp_range":
            return triangle * self.gamma**self.last_epoch
        return triangle / 2 ** (cycle - 1) if self.mode == "triangular2" else triangle

    def rate(self, k: int, lr: float) -> float:
        return self.low[k] + (self.max_lrs[k] - self.low[k]) * self.height()

    def set_rates(self) -> None:
        super().set_rates()
        if self.cycle_momentum:
            for group in self.optimizer.param_groups:
                set_momentum(group, self.max_momentum - (self.max_momentum - self.base_momentum) * self.height())
