"""GradScaler: losses scaled up so that float16 gradients do not become 0, and steps whose gradients are no numbers
skipped, with PyTorch's names and rules.

1. The scale, its count of good steps and whether a gradient is infinite or NaN are Tensors, decided where they are:
   nothing is read by Python, so a traced step stays one native call. A skipped step is a step whose values are put
   back (see Optimizer.step_unless).
2. Between two updates an optimizer's gradients are unscaled once, then it steps once.
"""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tracegrad.classification import isfinite
from tracegrad.creation import tensor
from tracegrad.dtypes import float16, float32, int32
from tracegrad.functional import logical_and, logical_not, where
from tracegrad.grad_modes import no_grad
from tracegrad.optim.optimizer import Optimizer
from tracegrad.source_lines import at_user_line
from tracegrad.tensors import Tensor


class GradScaler:
    """Scale a loss, unscale its gradients, step unless one of them is infinite or NaN, and adapt the scale.

    `growth_interval` good steps in a row multiply the scale by `growth_factor`; a bad one by `backoff_factor`. With
    enabled=False everything passes through. `device` is where the scale is at first: it follows what is scaled.

        >>> w = tg.tensor([1.0, 2.0], requires_grad=True)
        >>> optimizer, scaler = tg.optim.SGD([w], lr=0.5), tg.amp.GradScaler(init_scale=4.0, growth_interval=1)
        >>> scaler.scale((w * w).sum()).backward()
        >>> w.grad, scaler.get_scale()
        (tensor([ 8., 16.]), 4.0)
        >>> scaler.step(optimizer)
        >>> scaler.update()
        >>> w.detach(), scaler.get_scale()
        (tensor([0., 0.]), 8.0)
    """

    def __init__(self, device: Any = None, init_scale: float = 2.0**16, growth_factor: float = 2.0,
                 backoff_factor: float = 0.5, growth_interval: int = 2000, enabled: bool = True):
        if enabled and not (growth_factor > 1 and 0 < backoff_factor < 1):
            raise ValueError(f"GradScaler: growth_factor {growth_factor} must be above 1 and backoff_factor "
                             f"{backoff_factor} between 0 and 1")
        self._enabled, self._growth_interval = enabled, growth_interval
        self._growth_factor, self._backoff_factor = growth_factor, backoff_factor
        self._scale = tensor(float(init_scale), dtype=float32, device=device)
        self._good_steps = tensor(0, dtype=int32, device=device)
        self._checked: list[tuple[Optimizer, Tensor]] = []      # unscaled since the last update: were all finite?
        self._stepped: list[Optimizer] = []                     # stepped since the last update

    # ---- a step -------------------------------------------------------------------------------------------------

    def scale(self, outputs: Any) -> Any:
        """A Tensor times the scale, in float32 if it is narrower; of a list or tuple each part."""
        if not self._enabled:
            return outputs
        if isinstance(outputs, Tensor):
            if outputs.device != self._scale.device:
                self._scale, self._good_steps = (t.to(outputs.device) for t in (self._scale, self._good_steps))
            return outputs * self._scale
        if isinstance(outputs, list | tuple):
            return type(outputs)([self.scale(part) for part in outputs])
        raise ValueError(at_user_line("GradScaler: outputs are a Tensor, or a list or tuple of them"))

    def unscale_(self, optimizer: Optimizer) -> None:
        """Divide the gradients of the optimizer's parameters by the scale, in place, to clip them say. `step` does it
        itself where it was not done."""
        if not self._enabled:
            return
        if self._is_stepped(optimizer):
            raise RuntimeError(at_user_line("unscale_() is called after step()"))
        if self._finite(optimizer) is not None:
            raise RuntimeError(at_user_line("unscale_() was called on this optimizer since the last update()"))
        finite: Tensor | None = None
        with no_grad():
            back = (1.0 / self._scale.double()).float()
            for group in optimizer.param_groups:
                for p in group.params:
                    g = p.grad
                    if g is None:
                        continue
                    if g.dtype == float16:
                        raise ValueError(at_user_line("GradScaler: gradients are float16: parameters are to be "
                                                      "float32, and autocast casts them"))
                    g *= back.to(g.dtype)
                    good = isfinite(g).all()
                    finite = good if finite is None else logical_and(finite, good)
        if finite is not None:
            self._checked.append((optimizer, finite))

    def step(self, optimizer: Optimizer, *args: Any, **kwargs: Any) -> Any:
        """optimizer.step(), unless one of its gradients is infinite or NaN: then parameters and state stay.

        RuntimeError if it was called since the last update(), or if no parameter has a grad.
        """
        if not self._enabled:
            return optimizer.step(*args, **kwargs)
        if args or kwargs:
            raise RuntimeError(at_user_line("GradScaler: step takes no closure: gradients are to be there already"))
        if self._is_stepped(optimizer):
            raise RuntimeError(at_user_line("step() was called on this optimizer since the last update()"))
        if self._finite(optimizer) is None:
            self.unscale_(optimizer)
        finite = self._finite(optimizer)
        if finite is None:
            raise RuntimeError(at_user_line("GradScaler: no parameter of the optimizer has a grad"))
        self._stepped.append(optimizer)
        if type(optimizer).step is Optimizer.step:
            optimizer.step_unless(logical_not(finite))
            return None
        return optimizer.step() if finite else None             # one with a step of its own: Python decides

    def update(self, new_scale: Any = None) -> None:
        """The scale for the next step, or `new_scale`, a number or a Tensor."""
        if not self._enabled:
            return
        with no_grad():
            if new_scale is not None:
                self._scale.fill_(new_scale)
            else:
                self._adapt()
        self._checked.clear()
        self._stepped.clear()

    def _adapt(self) -> None:
        if not self._checked:
            raise RuntimeError(at_user_line("GradScaler: no gradients were checked since the last update()"))
        good = self._checked[0][1]
        for _, finite in self._checked[1:]:
            good = logical_and(good, finite)
        count = self._good_steps + 1
        grows = logical_and(good, count >= self._growth_interval)
        larger = self._scale * self._growth_factor
        larger = where(isfinite(larger), larger, self._scale)
        self._scale.copy_(where(good, where(grows, larger, self._scale), self._scale * self._backoff_factor))
        self._good_steps.copy_(where(logical_and(good, logical_not(grows)), count, 0))

    def _finite(self, optimizer: Optimizer) -> Tensor | None:
        """Were all its gradients finite when they were unscaled? None if they were not since the last update."""
        for one, finite in self._checked:
            if one is optimizer:
                return finite
        return None

    def _is_stepped(self, optimizer: Optimizer) -> bool:
        for one in self._stepped:
            if one is optimizer:
                return True
        return False

    # ---- what it is ---------------------------------------------------------------------------------------------

    def get_scale(self) -> float:
        """The scale as a number, 1.0 if disabled; that reads it."""
        return self._scale.item() if self._enabled else 1.0

    def is_enabled(self) -> bool:
        """Does it scale?"""
        return self._enabled

    def get_growth_factor(self) -> float:
        """What the scale is multiplied by after `growth_interval` good steps."""
        return self._growth_factor

    def set_growth_factor(self, new_factor: float) -> None:
        """Set what the scale grows by."""
        self._growth_factor = new_factor

    def get_backoff_factor(self) -> float:
        """What the scale is multiplied by after a step that was skipped."""
        return self._backoff_factor

    def set_backoff_factor(self, new_factor: float) -> None:
        """Set what the scale shrinks by."""
        self._backoff_factor = new_factor

    def get_growth_interval(self) -> int:
        """How many good steps in a row let the scale grow."""
        return self._growth_interval

    def set_growth_interval(self, new_interval: int) -> None:
        """Set how many good steps in a row let the scale grow."""
        self._growth_interval = new_interval

    def state_dict(self) -> dict[str, Any]:
        """Its numbers by PyTorch's names; {} if it is disabled. Take it after an update()."""
        if not self._enabled:
            return {}
        return {"scale": self.get_scale(), "growth_factor": self._growth_factor,
                "backoff_factor": self._backoff_factor, "growth_interval": self._growth_interval,
                "_growth_tracker": self._good_steps.item()}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take the numbers of another one's state_dict(); a disabled one takes nothing."""
        if not self._enabled:
            return
        if not state_dict:
            raise RuntimeError("GradScaler: the state is empty: it may be of one that was disabled")
        with no_grad():
            self._scale.fill_(float(state_dict["scale"]))
            self._good_steps.fill_(int(state_dict["_growth_tracker"]))
        self._growth_factor = float(state_dict["growth_factor"])
        self._backoff_factor = float(state_dict["backoff_factor"])
        self._growth_interval = int(state_dict["growth_interval"])

    def __repr__(self) -> str:
        return f"GradScaler(scale={self.get_scale():g}, enabled={self._enabled})"
