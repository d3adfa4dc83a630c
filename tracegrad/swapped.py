"""functional_call: a Module as a function of its parameters; stack_module_state: the parameters of several."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tracegrad.movement import stack
from tracegrad.source_lines import at_user_line
from tracegrad.tensors import Tensor


def functional_call(module: Any, parameters_and_buffers: Mapping[str, Tensor] | Sequence[Mapping[str, Tensor]],
                    args: Any = None, kwargs: Mapping[str, Any] | None = None, *, tie_weights: bool = True,
                    strict: bool = False) -> Any:
    """module(*args, **kwargs) with these tensors, by name, in the place of its parameters and buffers.

    args: a tuple, or one argument that is none. The module has its own back afterwards. tie_weights: a parameter that
    the module has under several names is replaced under all of them. strict: every parameter and buffer is named.

        >>> layer = tg.nn.Linear(2, 1)
        >>> tg.func.functional_call(layer, {"weight": tg.ones(1, 2), "bias": tg.zeros(1)}, tg.ones(2))
        tensor([2.])
    """
    named: dict[str, Tensor] = {}
    for given in [parameters_and_buffers] if isinstance(parameters_and_buffers, Mapping) else parameters_and_buffers:
        named.update(given)
    places: dict[str, tuple[Any, Any]] = {}             # what holds each, and its name or index there
    for path, owner in module.named_modules(remove_duplicate=False):
        for name, _ in (*owner.own_parameters(), *((name, tensor) for name, tensor, _ in owner.own_buffers())):
            places[f"{path}.{name}" if path else name] = owner.place_of(name)
    unknown = [name for name in named if name not in places]
    if unknown:
        raise KeyError(at_user_line(f"functional_call: the module has no parameter or buffer {unknown[0]!r}"))
    if strict and (missing := [name for name in places if name not in named]):
        raise KeyError(at_user_line(f"functional_call: strict, and {missing[0]!r} is not given"))
    held = {name: _slots(owner)[key] for name, (owner, key) in places.items()}
    if tie_weights:
        replaced = {id(held[name]): tensor for name, tensor in named.items()}
        named = {name: named.get(name, replaced[id(t)]) for name, t in held.items() if id(t) in replaced}
    positional = () if args is None else args if isinstance(args, tuple) else (args,)
    try:
        for name, tensor in named.items():
            owner, key = places[name]
            _slots(owner)[key] = tensor
        return module(*positional, **(kwargs or {}))
    finally:
        for name in named:
            owner, key = places[name]
            _slots(owner)[key] = held[name]


def _slots(owner: Any) -> Any:
    return owner if isinstance(owner, list | dict) else vars(owner)


def stack_module_state(models: Sequence[Any]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """(parameters, buffers) by name, those of several models of one shape stacked: vmap over them is an ensemble.

        >>> models = [tg.nn.Linear(2, 1) for _ in range(3)]
        >>> params, buffers = tg.func.stack_module_state(models)
        >>> tg.vmap(lambda p, x: tg.func.functional_call(models[0], p, x), in_axes=(0, None))(params, tg.ones(2)).shape
        (3, 1)
    """
    if not models:
        raise ValueError(at_user_line("stack_module_state: there is no model"))
    if len(kinds := {type(m).__name__ for m in models}) > 1:
        raise ValueError(at_user_line(f"stack_module_state: models of several classes: {', '.join(sorted(kinds))}"))
    parameters, buffers = ([dict(named(m)) for m in models] for named in (
        lambda m: m.named_parameters(), lambda m: m.named_buffers()))
    return _stacked(parameters), _stacked(buffers)


def _stacked(states: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    return {name: stack([state[name] for state in states]) for name in states[0]}
