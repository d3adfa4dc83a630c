"""Schedules: the learning rate of every group of an optimizer as a function of how often `step` was called.

    schedule = CosineAnnealingLR(optimizer, T_max=epochs)
    for _ in range(epochs):
        ...
        schedule.step()
"""
from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from tracegrad.optim.cycles import CyclicLR, OneCycleLR
from tracegrad.optim.optimizer import Optimizer
from tracegrad.optim.schedules import LRScheduler, one_for_each_group

__all__ = [
    "ChainedScheduler", "ConstantLR", "CosineAnnealingLR", "CosineAnnealingWarmRestarts", "CyclicLR", "ExponentialLR",
    "LRScheduler", "LambdaLR", "LinearLR", "MultiStepLR", "MultiplicativeLR", "OneCycleLR", "PolynomialLR",
    "ReduceLROnPlateau", "SequentialLR", "StepLR",
]


class StepLR(LRScheduler):
    """The learning rate, multiplied by gamma every `step_size` steps."""

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1, last_epoch: int = -1):
        self.step_size, self.gamma = step_size, gamma
        super().__init__(optimizer, last_epoch)

    def rate(self, k: int, lr: float) -> float:
        return lr * self.gamma if self.last_epoch and self.last_epoch % self.step_size == 0 else lr


class MultiStepLR(LRScheduler):
    """The learning rate, multiplied by gamma at each of the steps `milestones`."""

    def __init__(self, optimizer: Optimizer, milestones: Iterable[int], gamma: float = 0.1, last_epoch: int = -1):
        self.milestones, self.gamma = sorted(milestones), gamma
        super().__init__(optimizer, last_epoch)

    def rate(self, k: int, lr: float) -> float:
        return lr * self.gamma ** self.milestones.count(self.last_epoch)


class ExponentialLR(LRScheduler):
    """The learning rate, multiplied by gamma every step."""

    def __init__(self, optimizer: Optimizer, gamma: float, last_epoch: int = -1):
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def rate(self, k: int, lr: float) -> float:
        return lr * self.gamma if self.last_epoch else lr


class ConstantLR(LRScheduler):
    """The learning rate times `factor` for `total_iters` steps, then as it was."""

    def __init__(self, optimizer: Optimizer, factor: float = 1 / 3, total_iters: int = 5, last_epoch: int = -1):
        if not 0 <= factor <= 1:
            raise ValueError(f"ConstantLR: factor = {factor} is not between 0 and 1")
        self.factor, self.total_iters = factor, total_iters
        super().__init__(optimizer, last_epoch)

    def rate(self, k: int, lr: float) -> float:
        if self.last_epoch == 0:
            return lr * self.factor
        return lr / self.factor if self.last_epoch == self.total_iters else lr


class LinearLR(LRScheduler):
    """The learning rate times a factor that goes from start_factor to end_factor in `total_iters` steps."""

    def __init__(self, optimizer: Optimizer, start_factor: float = 1 / 3, end_factor: float = 1.0,
                 total_iters: int = 5, last_epoch: int = -1):
        if not 0 < start_factor <= 1 or not 0 <= end_factor <= 1:
            raise ValueError(f"LinearLR: factors {start_factor} and {end_factor} are not between 0 and 1")
        self.start_factor, self.end_factor, self.total_iters = start_factor, end_factor, total_iters
        super().__init__(optimizer, last_epoch)

    def factor(self, t: int) -> float:
        """The factor at step t."""
        return self.start_factor + (self.end_factor - self.start_factor) * min(t / self.total_iters, 1.0)

    def rate(self, k: int, lr: float) -> float:
        if self.last_epoch == 0:
            return lr * self.start_factor
        if self.last_epoch > self.total_iters:
            return lr
        return lr * self.factor(self.last_epoch) / self.factor(self.last_epoch - 1)


class PolynomialLR(LRScheduler):
    """The learning rate times (1 - t / total_iters) ** power, 0 from step `total_iters` on."""

    def __init__(self, optimizer: Optimizer, total_iters: int = 5, power: float = 1.0, last_epoch: int = -1):
        self.total_iters, self.power = total_iters, power
        super().__init__(optimizer, last_epoch)

    def rate(self, k: int, lr: float) -> float:
        t, n = self.last_epoch, self.total_iters
        return lr if t == 0 or t > n else lr * ((1 - t / n) / (1 - (t - 1) / n)) ** self.power


class LambdaLR(LRScheduler):
    """The first learning rate times lr_lambda(t); a list of functions has one for each group."""

    def __init__(self, optimizer: Optimizer, lr_lambda: Callable[[int], float] | Sequence[Callable[[int], float]],
                 last_epoch: int = -1):
        self.lr_lambdas = one_for_each_group(optimizer, lr_lambda)
        super().__init__(optimizer, last_epoch)

    def rate(self, k: int, lr: float) -> float:
        return self.base_lrs[k] * self.lr_lambdas[k](self.last_epoch)


class MultiplicativeLR(LRScheduler):
    """The learning rate, multiplied by lr_lambda(t) at step t."""

    def __init__(self, optimizer: Optimizer, lr_lambda: Callable[[int], float] | Sequence[Callable[[int], float]],
                 last_epoch: int = -1):
        self.lr_lambdas = one_for_each_group(optimizer, lr_lambda)
        super().__init__(optimizer, last_epoch)

    def rate(self, k: int, lr: float) -> float:
        return lr * self.lr_lambdas[k](self.last_epoch) if self.last_epoch else lr


class CosineAnnealingLR(LRScheduler):
    """The learning rate, down to `eta_min` along half a cosine in T_max steps, then up again.

    I. Loshchilov, F. Hutter (2017), ICLR.
    """

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0, last_epoch: int = -1):
        self.T_max, self.eta_min = T_max, eta_min
        super().__init__(optimizer, last_epoch)

    def rate(self, k: int, lr: float) -> float:
        t, low, base = self.last_epoch, self.eta_min, self.base_lrs[k]
        if t == 0:
            return lr
        before = 1 + math.cos(math.pi * (t - 1) / self.T_max)
        if (t - 1 - self.T_max) % (2 * self.T_max) == 0:        # it is at its lowest: nothing to go on from
            return lr + (base - low) * (1 - math.cos(math.pi / self.T_max)) / 2
        return low + (lr - low) * (1 + math.cos(math.pi * t / self.T_max)) / before


class CosineAnnealingWarmRestarts(LRScheduler):
    """Half a cosine down to `eta_min` in T_0 steps, then from the top again in T_mult times as many, and so on."""

    def __init__(self, optimizer: Optimizer, T_0: int, T_mult: int = 1, eta_min: float = 0.0, last_epoch: int = -1):
        if T_0 < 1 or T_mult < 1:
            raise ValueError(f"CosineAnnealingWarmRestarts: T_0 = {T_0} and T_mult = {T_mult} must be positive")
        self.T_0, self.T_mult, self.eta_min = T_0, T_mult, eta_min
        super().__init__(optimizer, last_epoch)

    def rate(self, k: int, lr: float) -> float:
        t, length = self.last_epoch, self.T_0
        if self.T_mult == 1:
            t %= length
        while t >= length:
            t, length = t - length, length * self.T_mult
        return self.eta_min + (self.base_lrs[k] - self.eta_min) * (1 + math.cos(math.pi * t / length)) / 2


class SequentialLR(LRScheduler):
    """One schedule after the other: the next begins at each of the steps `milestones`."""

    def __init__(self, optimizer: Optimizer, schedulers: Sequence[LRScheduler], milestones: Sequence[int],
                 last_epoch: int = -1):
        if len(milestones) != len(schedulers) - 1:
            raise ValueError(f"SequentialLR: {len(schedulers)} schedules need {len(schedulers) - 1} milestones")
        if any(s.optimizer is not optimizer for s in schedulers):
            raise ValueError("SequentialLR: every schedule must be one of this optimizer")
        self.optimizer, self.schedulers, self.milestones = optimizer, list(schedulers), list(milestones)
        self.base_lrs, self.last_epoch = schedulers[0].base_lrs, last_epoch + 1
        for group in optimizer.param_groups:            # making each of them has changed it
            group["lr"] = group.initial_lr
        for each in self.schedulers:
            each.last_epoch -= 1
        self.schedulers[0].step()

    def step(self) -> None:
        """Go on by one, usually after each epoch."""
        self.last_epoch += 1
        k = bisect_right(self.milestones, self.last_epoch)
        now = self.schedulers[k]
        if k and self.milestones[k - 1] == self.last_epoch:
            for group in self.optimizer.param_groups:
                group["lr"] = group.initial_lr
            now.last_epoch = -1
        now.step()


class ChainedScheduler:
    """Several schedules of one optimizer, stepped one after the other."""

    def __init__(self, schedulers: Sequence[LRScheduler], optimizer: Optimizer | None = None):
        if len({id(s.optimizer) for s in schedulers}) != 1 or optimizer not in (None, schedulers[0].optimizer):
            raise ValueError("ChainedScheduler: every schedule must be one of the same optimizer")
        self.schedulers, self.optimizer = list(schedulers), schedulers[0].optimizer

    def step(self) -> None:
        """Go on by one, usually after each epoch."""
        for each in self.schedulers:
            each.step()

    def get_last_lr(self) -> list[float]:
        """The present learning rate of each group."""
        return self.schedulers[-1].get_last_lr()

    def state_dict(self) -> dict[str, Any]:
        """The states of the schedules."""
        return {"schedulers": [each.state_dict() for each in self.schedulers]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where the schedules of this state_dict were."""
        for each, its in zip(self.schedulers, state["schedulers"], strict=True):
            each.load_state_dict(its)


class ReduceLROnPlateau:
    """The learning rate, multiplied by `factor` when a number has not got better for more than `patience` steps.

    Better is smaller ("min") or larger ("max") by `threshold`, a share ("rel") or a difference ("abs"). After a
    change, `cooldown` steps do not count; the rate stays above min_lr, and changes below `eps` are left out.
    """

    def __init__(self, optimizer: Optimizer, mode: str = "min", factor: float = 0.1, patience: int = 10,
                 threshold: float = 1e-4, threshold_mode: str = "rel", cooldown: int = 0,
                 min_lr: float | Sequence[float] = 0.0, eps: float = 1e-8):
        if not factor < 1:
            raise ValueError(f"ReduceLROnPlateau: factor = {factor} is not below 1")
        if mode not in ("min", "max") or threshold_mode not in ("rel", "abs"):
            raise ValueError(f"ReduceLROnPlateau: mode {mode!r} is min or max, threshold_mode {threshold_mode!r} is "
                             "rel or abs")
        self.optimizer, self.mode, self.factor, self.patience = optimizer, mode, factor, patience
        self.threshold, self.threshold_mode, self.cooldown, self.eps = threshold, threshold_mode, cooldown, eps
        self.min_lrs = [float(lr) for lr in one_for_each_group(optimizer, min_lr)]
        self.best = math.inf if mode == "min" else -math.inf
        self.bad_steps, self.cooling, self.last_epoch = 0, 0, 0

    def step(self, metric: Any) -> None:
        """Go on by one; `metric` is the number to watch, or a Tensor of it."""
        value = float(metric)
        self.last_epoch += 1
        if self.is_better(value):
            self.best, self.bad_steps = value, 0
        else:
            self.bad_steps += 1
        if self.cooling:
            self.cooling -= 1
            self.bad_steps = 0
        if self.bad_steps > self.patience:
            self.cooling, self.bad_steps = self.cooldown, 0
            for least, group in zip(self.min_lrs, self.optimizer.param_groups):
                lr = max(group["lr"] * self.factor, least)
                if group["lr"] - lr > self.eps:
                    group["lr"] = lr

    def is_better(self, value: float) -> bool:
        """Is this better than the best so far, by the threshold?"""
        sign = 1 if self.mode == "max" else -1
        if self.threshold_mode == "abs":
            return sign * value > sign * self.best + self.threshold
        if math.isinf(self.best):
            return sign * value > sign * self.best
        return sign * value > sign * self.best * (1 + sign * self.threshold)

    def get_last_lr(self) -> list[float]:
        """The present learning rate of each group."""
        return [group["lr"] for group in self.optimizer.param_groups]

    state_dict, load_state_dict = LRScheduler.state_dict, LRScheduler.load_state_dict
