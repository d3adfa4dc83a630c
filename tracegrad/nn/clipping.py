"""Gradient clipping, and a model's parameters as one vector: what PyTorch keeps in `nn.utils`."""
from __future__ import annotations

from collections.abc import Iterable
from math import inf

from tracegrad.creation import zeros
from tracegrad.functional import maximum, minimum
from tracegrad.grad_modes import no_grad
from tracegrad.movement import concat, stack
from tracegrad.tensors import Tensor


def grads_of(parameters: Tensor | Iterable[Tensor]) -> list[Tensor]:
    """The grads that there are."""
    given = [parameters] if isinstance(parameters, Tensor) else parameters
    return [grad for p in given if (grad := p.grad) is not None]


def get_total_norm(tensors: Iterable[Tensor], norm_type: float = 2.0, error_if_nonfinite: bool = False) -> Tensor:
    """The norm of all elements of all tensors together: norm_type 1, 2 or inf."""
    if norm_type not in (1, 2, inf):
        raise NotImplementedError(f"get_total_norm: norm_type = {norm_type} is none of 1, 2 and inf")
    with no_grad():
        if norm_type == 2:
            parts = [(t * t).sum() for t in tensors]
        else:
            parts = [t.abs().max() if norm_type == inf else t.abs().sum() for t in tensors]
        if not parts:
            return zeros(())
        together = stack(parts)
        total = together.max() if norm_type == inf else together.sum()
        total = total.sqrt() if norm_type == 2 else total
        if error_if_nonfinite and not float(total) < inf:
            raise RuntimeError(f"the norm of order {norm_type} of the gradients is {float(total)}")
        return total


def clip_grad_norm_(parameters: Tensor | Iterable[Tensor], max_norm: float, norm_type: float = 2.0,
                    error_if_nonfinite: bool = False) -> Tensor:
    """Scale all grads, in place, so that their norm together is at most `max_norm`; returns the norm before.

    norm_type is 1, 2 or inf. RuntimeError with `error_if_nonfinite` if the norm is none; that reads it, so a traced
    step then runs eagerly.
    """
    given = [parameters] if isinstance(parameters, Tensor) else list(parameters)
    total = get_total_norm(grads_of(given), norm_type, error_if_nonfinite)
    clip_grads_with_norm_(given, max_norm, total)
    return total


def clip_grads_with_norm_(parameters: Tensor | Iterable[Tensor], max_norm: float, total_norm: Tensor) -> None:
    """Scale all grads, in place, by max_norm / total_norm where that is below 1."""
    with no_grad():
        scale = minimum(max_norm / (total_norm + 1e-6), 1.0)
        for grad in grads_of(parameters):
            grad *= scale.to(grad.dtype)


def clip_grad_value_(parameters: Tensor | Iterable[Tensor], clip_value: float) -> None:
    """Move every element of every grad, in place, into [-clip_value, clip_value]."""
    with no_grad():
        for grad in grads_of(parameters):
            grad.copy_(maximum(minimum(grad, clip_value), -clip_value))


def parameters_to_vector(parameters: Iterable[Tensor]) -> Tensor:
    """All elements of all parameters, one after another."""
    return concat([p.reshape(-1) for p in parameters])


def vector_to_parameters(vector: Tensor, parameters: Iterable[Tensor]) -> None:
    """Write the elements of a vector into the parameters, in place."""
    start = 0
    with no_grad():
        for p in parameters:
            p.copy_(vector[start:start + p.size].reshape(p.shape))
            start += p.size
