"""grad: gradients as values."""
from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from tracegrad.autodiff import pull_back, seed_of
from tracegrad.source_lines import at_user_line
from tracegrad.tensors import Tensor


def as_tensors(x: Any) -> list:
    """One Tensor, or several; TypeError for anything else."""
    if isinstance(x, Tensor):
        return [x]
    if not isinstance(x, Iterable):
        raise TypeError(at_user_line(f"{type(x).__name__} is neither a tensor nor a list of tensors"))
    return list(x)


def grad(outputs: Tensor | Sequence[Tensor], inputs: Tensor | Sequence[Tensor], grad_outputs: Any = None, *,
         retain_graph: bool | None = None, create_graph: bool = False,
         allow_unused: bool = False) -> tuple[Tensor | None, ...]:
    """The derivatives of outputs, times grad_outputs, with respect to each input; nothing is accumulated.

    An output with one element needs no grad_outputs. RuntimeError for an input that the outputs do not depend on,
    unless allow_unused, which gives None there.

        >>> x = tg.tensor([1.0, 3.0], requires_grad=True)
        >>> tg.autograd.grad((x * x).sum(), x)
        (tensor([2., 6.]),)
    """
    ends, starts = as_tensors(outputs), as_tensors(inputs)
    gradients = [None] * len(ends) if grad_outputs is None else as_tensors(grad_outputs)
    if len(gradients) != len(ends):
        raise ValueError(at_user_line(f"grad: {len(gradients)} grad_outputs for {len(ends)} outputs"))
    for k, x in enumerate(starts):
        if not x.requires_grad:
            raise RuntimeError(at_user_line(f"grad: input {k} does not require grad"))
    keep = create_graph if retain_graph is None else retain_graph
    seeds = [(y, seed_of(y, g)) for y, g in zip(ends, gradients)]
    found = pull_back(seeds, starts, create_graph, keep)
    if not allow_unused and any(g is None for g in found):
        k = next(k for k, g in enumerate(found) if g is None)
        raise RuntimeError(at_user_line(
            f"grad: the outputs do not depend on input {k}; allow_unused=True gives None for it"))
    return tuple(found)
