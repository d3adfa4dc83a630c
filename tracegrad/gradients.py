"""grad: gradients as values; backward: of several tensors at once."""
from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from tracegrad.autodiff import pull_back, pull_into, seed_of
from tracegrad.creation import zeros_like
from tracegrad.source_lines import at_user_line
from tracegrad.tensors import Tensor


def as_tensors(x: Any) -> list:
    """One Tensor, or several; TypeError for anything else."""
    if isinstance(x, Tensor):
        return [x]
    if not isinstance(x, Iterable):
        raise TypeError(at_user_line(f"{type(x).__name__} is neither a tensor nor a list of tensors"))
    return list(x)


def tensors_of(what: str, x: Any) -> list[Tensor]:
    """One Tensor, or several; TypeError for anything else. `what` it was given for."""
    found = as_tensors(x)
    for k, t in enumerate(found):
        if not isinstance(t, Tensor):
            raise TypeError(at_user_line(f"{what} {k} is a {type(t).__name__}, not a Tensor"))
    return found


def seeds_of(name: str, outputs: Any, grad_outputs: Any) -> list[tuple[Tensor, Tensor]]:
    """(output, cotangent) for each output. RuntimeError if there are not as many of both."""
    ends = tensors_of(f"{name}: output", outputs)
    given = [None] * len(ends) if grad_outputs is None else as_tensors(grad_outputs)
    if len(given) != len(ends):
        raise RuntimeError(at_user_line(
            f"{name}: {len(given)} gradients for {len(ends)} outputs: pass one for each, or None"))
    return [(y, seed_of(y, g)) for y, g in zip(ends, given)]


def backward(tensors: Tensor | Sequence[Tensor], grad_tensors: Any = None, retain_graph: bool | None = None,
             create_graph: bool = False, *, inputs: Tensor | Sequence[Tensor] | None = None) -> None:
    """`Tensor.backward` of several tensors at once: what they have in common is gone through once.

        >>> x = tg.tensor([1.0, 3.0], requires_grad=True)
        >>> tg.autograd.backward([(x * x).sum(), x * 2], [None, tg.ones(2)])
        >>> x.grad
        tensor([4., 8.])
    """
    wanted = None if inputs is None else tensors_of("backward: input", inputs)
    pull_into(seeds_of("backward", tensors, grad_tensors), wanted, create_graph, retain_graph)


def grad(outputs: Tensor | Sequence[Tensor], inputs: Tensor | Sequence[Tensor], grad_outputs: Any = None, *,
         retain_graph: bool | None = None, create_graph: bool = False, allow_unused: bool = False,
         materialize_grads: bool = False) -> tuple[Tensor | None, ...]:
    """The derivatives of outputs, times grad_outputs, with respect to each input; nothing is accumulated.

    An output with one element needs no grad_outputs. RuntimeError for an input that the outputs do not depend on,
    unless allow_unused, which gives None there, or materialize_grads, which gives zeros.

        >>> x = tg.tensor([1.0, 3.0], requires_grad=True)
        >>> tg.autograd.grad((x * x).sum(), x)
        (tensor([2., 6.]),)
    """
    ends, starts = tensors_of("grad: output", outputs), tensors_of("grad: input", inputs)
    for k, x in enumerate(starts):
        if not x.requires_grad:
            raise RuntimeError(at_user_line(f"grad: input {k} does not require grad: requires_grad_() makes it, "
                                            "before it is computed with"))
    keep = create_graph if retain_graph is None else retain_graph
    found = pull_back(seeds_of("grad", ends, grad_outputs), starts, create_graph, keep)
    if materialize_grads:
        return tuple(zeros_like(x) if g is None else g for x, g in zip(starts, found))
    if not allow_unused and any(g is None for g in found):
        k = next(k for k, g in enumerate(found) if g is None)
        raise RuntimeError(at_user_line(
            f"grad: the outputs do not depend on input {k}; allow_unused=True gives None for it"))
    return tuple(found)
