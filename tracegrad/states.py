"""States: Tensors by name, what `state_dict()` gives and `load_state_dict()` takes.

1. A state shares storage with what it was taken from; loading writes into the storage that is there.
2. Loading checks every name and shape first: it writes everything or nothing.
"""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from tracegrad.creation import asarray
from tracegrad.grad_modes import no_grad
from tracegrad.tensors import Tensor

State = dict[str, Tensor]


class IncompatibleKeys(NamedTuple):
    """The names a state lacked, and those it had beyond what was asked for."""

    missing_keys: list[str]
    unexpected_keys: list[str]


def load_in_place(
    owner: str, targets: Mapping[str, Tensor], state: Mapping[str, Any], strict: bool,
) -> IncompatibleKeys:
    """Write the Tensors or arrays of `state` into the Tensors of `targets`, by name, converting dtypes.

    ValueError, naming `owner` and every name at fault, for a shape that differs and, if `strict`, for a name that
    is missing or unexpected.
    """
    missing = [name for name in targets if name not in state]
    unexpected = [name for name in state if name not in targets]
    values = {name: asarray(state[name]) for name in targets if name in state}
    faults = [
        f"{name} has shape {value.shape}, not {targets[name].shape}"
        for name, value in values.items() if value.shape != targets[name].shape
    ]
    if strict and unexpected:
        faults.insert(0, f"unexpected: {', '.join(unexpected)}")
    if strict and missing:
        faults.insert(0, f"missing: {', '.join(missing)}")
    if faults:
        raise ValueError(f"the state does not fit {owner}: {'; '.join(faults)}")
    with no_grad():
        for name, value in values.items():
            targets[name].copy_(value)
    return IncompatibleKeys(missing, unexpected)
