"""Schedules: the learning rate of every group of an optimizer as a function of how often `step` was called.

    schedule = CosineAnnealingLR(optimizer, T_max=epochs)
    for _ in range(epochs):
        ...
        schedule.step()

1. A schedule writes into Tensors that are there: a traced step records nothing anew.
2. As in PyTorch, the rate of step 0 is set when the schedule is made, and most schedules go on from the rate that is
   there, so that several can act on one optimizer.
"""
from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from tracegrad.optim.optimizer import Optimizer, ParamGroup


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


def one_for_each_group(optimizer: Optimizer, given: Any) -> list[Any]:
    """A list of what was given for each group, or of the one thing given for all."""
    n = len(optimizer.param_groups)
    values = list(given) if isinstance(given, list | tuple) else [given] * n
    if len(values) != n:
        raise ValueError(f"{len(values)} values for {n} groups of parameters")
    return values


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
