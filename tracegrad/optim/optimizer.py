"""Optimizer: groups of parameters with their options and state, and the step that updates them.

1. All that changes from step to step is a Tensor: the state of each parameter, counts of updates, and the learning
   rate (0-d float64). So a traced step holds no number that goes stale, and a schedule records nothing anew.
2. State exists, as zeros, from the start: the first step is like every other.
3. Parameters and state are updated in their own storage, outside of differentiation.
4. A parameter whose grad is None is left alone, its state too.
"""
from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from tracegrad.creation import tensor
from tracegrad.functional import exp, log, where
from tracegrad.grad_modes import enable_grad, no_grad
from tracegrad.nn.modules import clear_grads
from tracegrad.states import State, load_in_place
from tracegrad.tensors import Tensor


class ParamGroup:
    """Parameters that share their options: group["lr"], group["params"], ...

    An option that is a 0-d Tensor, as the learning rate always is, is read as a number and written in place.
    """

    def __init__(self, params: list[Tensor], options: dict[str, Any]):
        self.params, self.options = params, options
        self.states: list[State] = []               # of each parameter
        self.initial_lr: float | None = None        # set by the first schedule

    def __getitem__(self, name: str) -> Any:
        if name == "params":
            return self.params
        value = self.options[name]
        return value.item() if isinstance(value, Tensor) else value

    def __setitem__(self, name: str, value: Any) -> None:
        held = self.options.get(name)
        if isinstance(held, Tensor) and not isinstance(value, Tensor):
            with no_grad():
                held.fill_(float(value))
        else:
            self.options[name] = value

    def __contains__(self, name: object) -> bool:
        return name == "params" or name in self.options

    def __iter__(self) -> Iterator[str]:
        return iter(("params", *self.options))

    def keys(self) -> Iterable[str]:
        """The names of what the group holds."""
        return ("params", *self.options)

    def make_tensor(self, name: str) -> Tensor:
        """Make an option a 0-d Tensor, so that changes of it record nothing anew."""
        value = self.options[name]
        if not isinstance(value, Tensor):
            value = self.options[name] = tensor(float(value), dtype="float64")
        return value

    def __repr__(self) -> str:
        return ", ".join(f"{name}={self[name]!r}" for name in self.options)


class Optimizer:
    """Base of the update rules. `params` are Tensors, or dicts with "params" and options that differ from `defaults`.

    A subclass defines `initial_state`, what it keeps for a parameter, and `update`.
    """

    def __init__(self, params: Iterable[Any], defaults: dict[str, Any]):
        self.defaults = defaults
        self.param_groups: list[ParamGroup] = []
        if isinstance(params, Tensor):
            raise TypeError(f"{type(self).__name__} takes a list of Tensors or of groups, not a Tensor")
        given = [params] if isinstance(params, dict) else list(params)
        if not given:
            raise ValueError(f"{type(self).__name__} was given no parameters")
        for group in given if isinstance(given[0], dict) else [{"params": given}]:
            self.add_param_group(group)

    def add_param_group(self, group: Mapping[str, Any]) -> None:
        """Update more parameters: {"params": ..., and options that differ from the defaults}."""
        name = type(self).__name__
        params = [group["params"]] if isinstance(group["params"], Tensor) else list(group["params"])
        known = {id(p) for g in self.param_groups for p in g.params}
        for p in params:
            if not isinstance(p, Tensor):
                raise TypeError(f"{name} updates Tensors, not {type(p).__name__}")
            if not p.is_leaf:
                raise ValueError(f"{name} cannot update the result of an operation: give it leaves")
            if id(p) in known:
                raise ValueError(f"{name}: a parameter is in two groups, or in one twice")
            known.add(id(p))
        options = {**self.defaults, **{key: value for key, value in group.items() if key != "params"}}
        if unknown := options.keys() - self.defaults.keys():
            raise TypeError(f"{name} has no option {', '.join(sorted(unknown))}")
        self.check(options)
        made = ParamGroup(params, options)
        made.make_tensor("lr")
        made.states = [self.initial_state(p, made) for p in params]
        self.param_groups.append(made)

    def check(self, options: dict[str, Any]) -> None:
        """ValueError for an option that is out of range."""
        for name in ("lr", "momentum", "weight_decay", "eps", "lr_decay", "initial_accumulator_value"):
            self.require(name, options, lambda value: value >= 0)
        self.require("betas", options, lambda betas: all(0 <= beta < 1 for beta in betas))
        for name in ("alpha", "rho"):
            self.require(name, options, lambda value: 0 <= value <= 1)

    def require(self, name: str, options: dict[str, Any], holds: Callable[[Any], bool]) -> None:
        """ValueError if there is an option of this name for which `holds` is false."""
        if name in options and not holds(options[name]):
            raise ValueError(f"{type(self).__name__}: {name} = {options[name]} is out of range")

    def initial_state(self, p: Tensor, group: ParamGroup) -> State:
        """What is kept for a parameter, by name."""
        return {}

    def update(self, p: Tensor, g: Tensor, state: State, group: ParamGroup) -> None:
        """Update one parameter, given its gradient."""
        raise NotImplementedError(f"{type(self).__name__} does not define update")

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update every parameter that has a grad; of a closure that computes them, return what it returns."""
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        with no_grad():
            for p, g, state, group in self._due():
                self.update(p, g, state, group)
        return loss

    def step_unless(self, refused: Tensor) -> None:
        """step() without a closure, but where a 0-d bool holds everything stays as it is. Nobody reads it: parameters
        and state are updated and put back, so in a traced step there is no branch."""
        with no_grad():
            for p, g, state, group in self._due():
                written = (p, *state.values())
                before = [t.clone() for t in written]
                self.update(p, g, state, group)
                for t, old in zip(written, before):
                    t.copy_(where(refused, old, t))

    def _due(self) -> Iterator[tuple[Tensor, Tensor, State, ParamGroup]]:
        """Each parameter that has a grad, with the gradient to go down."""
        for group in self.param_groups:
            for p, state in zip(group.params, group.states):
                g = p.grad
                if g is not None:
                    yield p, -g if group.options.get("maximize") else g, state, group

    @property
    def params(self) -> list[Tensor]:
        """The parameters of all groups."""
        return [p for group in self.param_groups for p in group.params]

    @property
    def lr(self) -> float:
        """The learning rate of the first group. Setting it sets that of all, in the Tensors that steps read."""
        return self.param_groups[0]["lr"]

    @lr.setter
    def lr(self, lr: float) -> None:
        self.require("lr", {"lr": lr}, lambda value: value >= 0)
        for group in self.param_groups:
            group["lr"] = lr

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Clear the grad of every parameter: to None, or to 0 in its own storage."""
        for group in self.param_groups:
            clear_grads(group.params, set_to_none)

    def state_dict(self) -> State:
        """The learning rates and all state, by name, on their own storage: {"lr": ..., "momentum.0": ...}."""
        return {name: value.detach() for name, value in self._named_state().items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Write the state_dict of an optimizer like this one into it; ValueError if names or shapes differ."""
        load_in_place(type(self).__name__, self._named_state(), state, strict=True)

    def _named_state(self) -> State:
        named: State = {}
        for k, group in enumerate(self.param_groups):
            named |= {name if k == 0 else f"{name}.group{k}": value
                      for name, value in group.options.items() if isinstance(value, Tensor)}
        states = [state for group in self.param_groups for state in group.states]
        return named | {f"{name}.{k}": value for k, state in enumerate(states) for name, value in state.items()}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self.params)} parameters, lr={self.lr:g})"


def number(option: Any, like: Tensor) -> Any:
    """An option as it multiplies a Tensor: a Python number, or a Tensor of that dtype."""
    return option.to(like.dtype) if isinstance(option, Tensor) else option


def power(base: Any, exponent: Tensor) -> Tensor:
    """base ** exponent, for base in [0, 1), a number or a Tensor, and a positive exponent."""
    if isinstance(base, Tensor):
        return exp(exponent * log(base))
    return exp(exponent * (math.log(base) if base else -math.inf))


def decayed(p: Tensor, g: Tensor, group: ParamGroup) -> Tensor:
    """The gradient with that of weight_decay / 2 * p^2."""
    decay = group.options["weight_decay"]
    return g + number(decay, p) * p if isinstance(decay, Tensor) or decay else g
