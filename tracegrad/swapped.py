"""functional_call: a Module as a function of its parameters."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

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
