"""Connectionist temporal classification: the loss of a sequence of labels whose places in time are not known.

A. Graves, S. Fernandez, F. Gomez, J. Schmidhuber (2006), ICML. Labels stand between blanks, z = (_, a, _, b, _), and
alpha[t, s] is the log of the probability of all ways to have read z up to s at time t:

    alpha[t, s] = log(sum of exp of alpha[t-1, s], alpha[t-1, s-1], alpha[t-1, s-2] if z[s] is new) + log p[t, z[s]]
"""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from codegen.ir.type_rules import TypeRuleError
from codegen.ir.types import type_of
from tracegrad import dtypes
from tracegrad.creation import full, tensor
from tracegrad.dispatch import dispatch
from tracegrad.functional import exp, log, logical_and, maximum, where
from tracegrad.host import tolist
from tracegrad.losses import reduced
from tracegrad.movement import concat, expand_dims, reshape, squeeze, stack, take_along_axis
from tracegrad.operands import Operand, convert, floating, tensor_operand
from tracegrad.source_lines import at_user_line
from tracegrad.tensors import Tensor

NEVER = -1e30
"""The log of a probability of 0: finite, so that its derivatives are."""


def ctc_loss(log_probs: Operand, targets: Operand, input_lengths: Any, target_lengths: Any, blank: int = 0,
             reduction: str = "mean", zero_infinity: bool = False) -> Tensor:
    """-log of the probability of the targets, summed over their places in time.

    log_probs: f[t, n, c] or f[t, c], logarithms of probabilities. targets: i[n, s], padded with anything, or all of
    them one after another. Lengths: integers for each of the n, a Tensor or a sequence. The mean is one of the losses,
    each divided by the length of its target. A target that does not fit in time costs infinity, or 0 with
    `zero_infinity`.

        >>> p = tg.full((3, 1, 2), 0.5).log()
        >>> tg.nn.functional.ctc_loss(p, tg.tensor([[1]]), [3], [1])        # 6 of 8 ways to read "1"
        tensor(0.2877)
    """
    log_p = floating(tensor_operand("ctc_loss", log_probs))
    alone = log_p.ndim == 2
    log_p = expand_dims(log_p, 1) if alone else log_p
    if log_p.ndim != 3:
        raise TypeRuleError(at_user_line(f"ctc_loss: log_probs {type_of(log_p)} is not [time,batch,classes]"))
    times, count, _ = log_p.shape
    lengths = lengths_of(target_lengths, count)
    labels = label_rows(tensor_operand("ctc_loss", targets), target_lengths, count)
    losses = -read_probability(log_p, labels, lengths_of(input_lengths, count), lengths, blank)
    losses = where(losses > -NEVER / 2, 0.0 if zero_infinity else float("inf"), losses)
    if reduction == "mean":
        losses = losses / convert(maximum(lengths, 1), losses.dtype)
    losses = reduced("ctc_loss", losses, reduction)
    return squeeze(losses, 0) if alone and reduction == "none" else losses


def lengths_of(lengths: Any, count: int) -> Tensor:
    """i64[n] of lengths given as a Tensor or as a sequence of ints."""
    if not isinstance(lengths, Tensor):
        lengths = tensor(list(lengths) if isinstance(lengths, Sequence) else lengths)
    return reshape(convert(lengths, dtypes.int64), (count,))


def label_rows(targets: Tensor, lengths: Any, count: int) -> Tensor:
    """The targets as i64[n, s]; those that come one after another are cut by their lengths, which are read."""
    targets = convert(targets, dtypes.int64)
    if targets.ndim == 2:
        return targets
    if count == 1:
        return reshape(targets, (1, -1))
    each = [int(k) for k in (tolist(lengths) if isinstance(lengths, Tensor) else lengths)]
    longest, rows, start = max(each, default=0), [], 0
    for length in each:
        rows.append(concat([targets[start:start + length], full((longest - length,), 0, device=targets.device)]))
        start += length
    return stack(rows)


def read_probability(log_p: Tensor, labels: Tensor, input_lengths: Tensor, target_lengths: Tensor,
                     blank: int) -> Tensor:
    """f[n]: the log of the probability of reading each row of labels in the time that its input has."""
    (times, count, _), dtype = log_p.shape, log_p.dtype
    width = 2 * labels.shape[1] + 1
    blanks, device = full(labels.shape, blank, device=labels.device), labels.device
    between = reshape(stack([blanks, labels], axis=2), (count, width - 1))
    z = concat([between, full((count, 1), blank, device=device)], axis=1)
    is_new = concat([full((count, min(2, width)), False, device=device),
                     logical_and(z[:, 2:] != blank, z[:, 2:] != z[:, :max(width - 2, 0)])], axis=1)
    emitted = take_along_axis(log_p, expand_dims(z, 0), axis=2)                 # [t, n, width]
    places = dispatch("iota", shape=(1, width), axis=1, dtype="i64")
    at = expand_dims(input_lengths, 1)

    def moved(alpha: Tensor, k: int) -> Tensor:
        never = full((count, min(k, width)), NEVER, dtype=dtype, device=device)
        return concat([never, alpha[:, :max(width - k, 0)]], axis=1)

    alpha = where(places < 2, emitted[0], NEVER)
    for t in range(1, times):
        two = where(is_new, moved(alpha, 2), NEVER)
        one = moved(alpha, 1)
        most = maximum(maximum(alpha, one), two).detach()
        total = log(exp(alpha - most) + exp(one - most) + exp(two - most)) + most
        alpha = where(at > t, maximum(total + emitted[t], NEVER), alpha)
    last = expand_dims(2 * target_lengths, 1)
    ends = where(logical_and(places >= last - 1, places <= last), alpha, NEVER)
    most = ends.max(axis=1, keepdims=True).detach()
    return squeeze(log(exp(ends - most).sum(axis=1, keepdims=True)) + most, 1)
