"""Recurrence: one step, and a whole sequence, of the simple, the LSTM and the GRU recurrence, with PyTorch's numbers.

    h = lstm_cell(x, (h, c), w_ih, w_hh, b_ih, b_hh)        sequence("LSTM", xs, ...): all steps in turn

The products with the inputs do not depend on the state: a sequence does them for all steps at once.
"""
from __future__ import annotations

from collections.abc import Callable

from tracegrad.functional import relu, sigmoid, tanh
from tracegrad.movement import concat, reshape
from tracegrad.outside import pause, resume
from tracegrad.projections import linear
from tracegrad.recorder import ACTIVE
from tracegrad.source_lines import user_line
from tracegrad.tensors import Tensor

State = tuple[Tensor, ...]


def parts(gates: Tensor, count: int) -> tuple[Tensor, ...]:
    """The gates [n, count * h], one by one."""
    h = gates.shape[-1] // count
    return tuple(gates[..., k * h:(k + 1) * h] for k in range(count))


def simple_step(from_x: Tensor, state: State, w_hh: Tensor, b_hh: Tensor | None) -> State:
    """h = tanh(x' + W h + b). J. L. Elman (1990)."""
    return (tanh(from_x + linear(state[0], w_hh, b_hh)),)


def relu_step(from_x: Tensor, state: State, w_hh: Tensor, b_hh: Tensor | None) -> State:
    """h = max(0, x' + W h + b)."""
    return (relu(from_x + linear(state[0], w_hh, b_hh)),)


def lstm_step(from_x: Tensor, state: State, w_hh: Tensor, b_hh: Tensor | None) -> State:
    """c = f c + i g, h = o tanh(c) with the gates i, f, g, o. S. Hochreiter, J. Schmidhuber (1997)."""
    h, c = state
    i, f, g, o = parts(from_x + linear(h, w_hh, b_hh), 4)
    c = sigmoid(f) * c + sigmoid(i) * tanh(g)
    return sigmoid(o) * tanh(c), c


def gru_step(from_x: Tensor, state: State, w_hh: Tensor, b_hh: Tensor | None) -> State:
    """h = (1 - z) n + z h, n = tanh(x_n + r h_n), with the gates r, z. K. Cho et al. (2014)."""
    (h,) = state
    (x_r, x_z, x_n), (h_r, h_z, h_n) = parts(from_x, 3), parts(linear(h, w_hh, b_hh), 3)
    n = tanh(x_n + sigmoid(x_r + h_r) * h_n)
    return (n + sigmoid(x_z + h_z) * (h - n),)


Step = Callable[[Tensor, State, Tensor, Tensor | None], State]

STEPS: dict[str, Step] = {
    "RNN_TANH": simple_step, "RNN_RELU": relu_step, "LSTM": lstm_step, "GRU": gru_step}
"""By PyTorch's names of the modes."""

GATES = {"RNN_TANH": 1, "RNN_RELU": 1, "LSTM": 4, "GRU": 3}


def cell(mode: str, x: Tensor, state: State, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor | None,
         b_hh: Tensor | None) -> State:
    """One step: x [n, input], state of [n, h] each."""
    return STEPS[mode](linear(x, w_ih, b_ih), state, w_hh, b_hh)


def sequence(mode: str, xs: Tensor, state: State, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor | None,
             b_hh: Tensor | None, backwards: bool) -> tuple[Tensor, State]:
    """All steps of xs [t, n, input], `backwards` from the last on: (h after each [t, n, h], the last state)."""
    recorder, watch = ACTIVE.get(), None
    if recorder is not None:
        watch, recorder.line = pause((xs, *state, w_ih, w_hh, b_ih, b_hh)), user_line()
    try:
        return _all_steps(STEPS[mode], xs, state, w_ih, w_hh, b_ih, b_hh, backwards)
    finally:
        if recorder is not None:
            recorder.line = None
        resume(watch)


def _all_steps(step: Step, xs: Tensor, state: State, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor | None,
               b_hh: Tensor | None, backwards: bool) -> tuple[Tensor, State]:
    if step is not gru_step and b_ih is not None and b_hh is not None:      # there b_hh goes into a product
        b_ih, b_hh = b_ih + b_hh, None
    from_xs = linear(xs, w_ih, b_ih)
    order = range(xs.shape[0])
    hidden: list[Tensor] = []
    for t in reversed(order) if backwards else order:
        state = step(from_xs[t], state, w_hh, b_hh)
        hidden.append(state[0])
    rows = concat(hidden[::-1] if backwards else hidden)
    return reshape(rows, (len(hidden), *hidden[0].shape)), state
