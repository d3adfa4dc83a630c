"""Recurrent layers and cells: see tracegrad.recurrence for what a step computes.

Parameters have PyTorch's names: weight_ih_l0, weight_hh_l0, bias_ih_l0, bias_hh_l0, ..., with _reverse for the other
direction, gates in the order i, f, g, o (LSTM) and r, z, n (GRU).
"""
from __future__ import annotations

import math
from typing import Any

from tracegrad.creation import empty, zeros
from tracegrad.mixed_precision import casting
from tracegrad.movement import concat, stack
from tracegrad.nn import functional as F
from tracegrad.nn import init
from tracegrad.nn.modules import Module, Parameter
from tracegrad.recurrence import GATES
from tracegrad.recurrence import cell as plain_cell
from tracegrad.recurrence import sequence as plain_sequence
from tracegrad.source_lines import at_user_line
from tracegrad.tensors import Tensor

cell, sequence = casting(plain_cell), casting(plain_sequence)


def parameters_of(mode: str, columns: int, hidden_size: int, bias: bool, dtype: Any) -> list[Any]:
    """w_ih, w_hh, b_ih, b_hh of one layer in one direction, drawn from U(-k, k), k = 1 / sqrt(hidden_size)."""
    rows, k = GATES[mode] * hidden_size, 1 / math.sqrt(hidden_size) if hidden_size else 0.0
    shapes = [(rows, columns), (rows, hidden_size), (rows,), (rows,)][:4 if bias else 2]
    made = [Parameter(init.uniform_(empty(shape, dtype=dtype), -k, k)) for shape in shapes]
    return [*made, *[None] * (4 - len(made))]


class RecurrentLayer(Module):
    """Layers of one recurrence, one on top of the other; with `bidirectional`, each in both directions.

    x [t, n, input_size], [n, t, input_size] with `batch_first`, or [t, input_size]; gives (output, state): output
    [t, n, hidden_size], twice as wide if bidirectional, of the last layer; state [layers * directions, n, hidden_size],
    for LSTM a pair of these (h, c). `dropout` acts between the layers.
    """

    mode = ""
    states = 1              # Tensors that a state consists of

    def __init__(self, input_size: int, hidden_size: int, num_layers: int = 1, bias: bool = True,
                 batch_first: bool = False, dropout: float = 0.0, bidirectional: bool = False, dtype: Any = None):
        if hidden_size < 1 or num_layers < 1:
            raise ValueError(f"{type(self).__name__}: hidden_size {hidden_size} and num_layers {num_layers} "
                             "must be positive")
        self.input_size, self.hidden_size, self.num_layers, self.bias = input_size, hidden_size, num_layers, bias
        self.batch_first, self.dropout, self.bidirectional = batch_first, dropout, bidirectional
        self.suffixes = ("", "_reverse") if bidirectional else ("",)
        for layer in range(num_layers):
            columns = input_size if layer == 0 else hidden_size * len(self.suffixes)
            for suffix in self.suffixes:
                made = parameters_of(self.mode, columns, hidden_size, bias, dtype)
                for name, parameter in zip(("weight_ih", "weight_hh", "bias_ih", "bias_hh"), made):
                    if parameter is not None:
                        setattr(self, f"{name}_l{layer}{suffix}", parameter)

    def reset_parameters(self) -> None:
        """Draw new initial values."""
        k = 1 / math.sqrt(self.hidden_size)
        for _, parameter in self.own_parameters():
            init.uniform_(parameter, -k, k)

    def weights(self, layer: int, suffix: str) -> tuple[Any, Any, Any, Any]:
        """w_ih, w_hh, b_ih, b_hh of one layer in one direction."""
        end = f"_l{layer}{suffix}"
        w_ih, w_hh = getattr(self, "weight_ih" + end), getattr(self, "weight_hh" + end)
        if not self.bias:
            return w_ih, w_hh, None, None
        return w_ih, w_hh, getattr(self, "bias_ih" + end), getattr(self, "bias_hh" + end)

    def forward(self, x: Tensor, hx: Any = None) -> tuple[Tensor, Any]:
        if x.ndim not in (2, 3) or x.shape[-1] != self.input_size:
            raise ValueError(at_user_line(
                f"{type(self).__name__}: x of shape {x.shape} is not [.., .., {self.input_size}]"))
        alone = x.ndim == 2
        xs = x.unsqueeze(1) if alone else x.swapaxes(0, 1) if self.batch_first else x
        start = self.start(hx, xs, alone)
        ends: list[tuple[Tensor, ...]] = []
        for layer in range(self.num_layers):
            if layer and self.dropout:
                xs = F.dropout(xs, self.dropout, self.training)
            outputs = []
            for suffix in self.suffixes:
                state = tuple(s[len(ends)] for s in start)
                w_ih, w_hh, b_ih, b_hh = self.weights(layer, suffix)
                output, end = sequence(self.mode, xs, state, w_ih, w_hh, b_ih, b_hh, suffix == "_reverse")
                outputs.append(output)
                ends.append(end)
            xs = outputs[0] if len(outputs) == 1 else concat(outputs, axis=-1)
        finals = tuple(stack([end[k] for end in ends]) for k in range(self.states))
        if alone:
            xs, finals = xs.squeeze(1), tuple(s.squeeze(1) for s in finals)
        elif self.batch_first:
            xs = xs.swapaxes(0, 1)
        return xs, finals[0] if self.states == 1 else finals

    def start(self, hx: Any, xs: Tensor, alone: bool) -> tuple[Tensor, ...]:
        """The state before the first step, zeros unless given: each Tensor [layers * directions, n, hidden_size]."""
        shape = (self.num_layers * len(self.suffixes), xs.shape[1], self.hidden_size)
        if hx is None:
            return (zeros(shape, dtype=xs.dtype, device=xs.device),) * self.states
        given = tuple(s.unsqueeze(1) if alone else s for s in (hx if self.states > 1 else (hx,)))
        for s in given:
            if s.shape != shape:
                raise ValueError(at_user_line(f"{type(self).__name__}: a state of shape {s.shape} is not {shape}"))
        return given

    def extra_repr(self) -> str:
        options = [f"{self.input_size}, {self.hidden_size}"]
        for name, value, usual in (("num_layers", self.num_layers, 1), ("bias", self.bias, True),
                                   ("batch_first", self.batch_first, False), ("dropout", self.dropout, 0.0),
                                   ("bidirectional", self.bidirectional, False)):
            if value != usual:
                options.append(f"{name}={value}")
        return ", ".join(options)


class RNN(RecurrentLayer):
    """h = tanh(W x + b + U h + d), or with relu."""

    def __init__(self, input_size: int, hidden_size: int, num_layers: int = 1, nonlinearity: str = "tanh",
                 bias: bool = True, batch_first: bool = False, dropout: float = 0.0, bidirectional: bool = False,
                 dtype: Any = None):
        self.mode, self.nonlinearity = mode_of(nonlinearity), nonlinearity
        super().__init__(input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, dtype)


class LSTM(RecurrentLayer):
    """c = f c + i g, h = o tanh(c)."""

    mode, states = "LSTM", 2


class GRU(RecurrentLayer):
    """h = (1 - z) n + z h."""

    mode = "GRU"


def mode_of(nonlinearity: str) -> str:
    """The recurrence of RNN and RNNCell."""
    if nonlinearity not in ("tanh", "relu"):
        raise ValueError(f'nonlinearity is "tanh" or "relu", not {nonlinearity!r}')
    return f"RNN_{nonlinearity.upper()}"


class RecurrentCell(Module):
    """One step of a recurrence: x [n, input_size] or [input_size], and a state of [n, hidden_size] or None: zeros."""

    mode = ""
    states = 1

    def __init__(self, input_size: int, hidden_size: int, bias: bool = True, dtype: Any = None):
        self.input_size, self.hidden_size = input_size, hidden_size
        self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh = parameters_of(
            self.mode, input_size, hidden_size, bias, dtype)

    def reset_parameters(self) -> None:
        """Draw new initial values."""
        k = 1 / math.sqrt(self.hidden_size)
        for _, parameter in self.own_parameters():
            init.uniform_(parameter, -k, k)

    def forward(self, x: Tensor, hx: Any = None) -> Any:
        if x.shape[-1] != self.input_size or x.ndim not in (1, 2):
            raise ValueError(at_user_line(
                f"{type(self).__name__}: x of shape {x.shape} is not [.., {self.input_size}]"))
        if hx is None:
            hx = (zeros((*x.shape[:-1], self.hidden_size), dtype=x.dtype, device=x.device),) * self.states
        elif self.states == 1:
            hx = (hx,)
        alone = x.ndim == 1
        if alone:
            x, hx = x.unsqueeze(0), tuple(s.unsqueeze(0) for s in hx)
        state = cell(self.mode, x, tuple(hx), self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh)
        if alone:
            state = tuple(s.squeeze(0) for s in state)
        return state[0] if self.states == 1 else state

    def extra_repr(self) -> str:
        return f"{self.input_size}, {self.hidden_size}" + ("" if self.bias_ih is not None else ", bias=False")


class RNNCell(RecurrentCell):
    """h = tanh(W x + b + U h + d), or with relu."""

    def __init__(self, input_size: int, hidden_size: int, bias: bool = True, nonlinearity: str = "tanh",
                 dtype: Any = None):
        self.mode, self.nonlinearity = mode_of(nonlinearity), nonlinearity
        super().__init__(input_size, hidden_size, bias, dtype)


class LSTMCell(RecurrentCell):
    """(h, c) after one step: c = f c + i g, h = o tanh(c)."""

    mode, states = "LSTM", 2


class GRUCell(RecurrentCell):
    """h = (1 - z) n + z h."""

    mode = "GRU"
