"""Activations: functions of tracegrad as modules that keep their options."""
from __future__ import annotations

from typing import Any

from tracegrad.creation import full
from tracegrad.nn import functional as F
from tracegrad.nn.modules import Module, Parameter
from tracegrad.operands import refuse_names
from tracegrad.tensors import Tensor


class MayBeInPlace(Module):
    """A function that writes its result into x if it is made with `inplace`."""

    def __init__(self, inplace: bool = False):
        self.inplace = inplace

    def stored(self, x: Tensor, y: Tensor) -> Tensor:
        """y, or x with the values of y."""
        return x.copy_(y) if self.inplace else y

    def extra_repr(self) -> str:
        return "inplace=True" if self.inplace else ""


class ReLU(MayBeInPlace):
    """max(x, 0)."""

    def forward(self, x: Tensor) -> Tensor:
        return self.stored(x, F.relu(x))


class Tanh(Module):
    """tanh(x)."""

    def forward(self, x: Tensor) -> Tensor:
        return F.tanh(x)


class Sigmoid(Module):
    """1 / (1 + exp(-x))."""

    def forward(self, x: Tensor) -> Tensor:
        return F.sigmoid(x)


class SiLU(MayBeInPlace):
    """x * sigmoid(x)."""

    def forward(self, x: Tensor) -> Tensor:
        return self.stored(x, F.silu(x))


class Softmax(Module):
    """exp(x) / sum(exp(x)) along `axis`."""

    def __init__(self, axis: int = -1, **names: Any):
        refuse_names("Softmax", names)
        self.axis = axis

    def forward(self, x: Tensor) -> Tensor:
        return F.softmax(x, axis=self.axis)

    def extra_repr(self) -> str:
        return f"axis={self.axis}"


class LogSoftmax(Module):
    """The logarithm of softmax along `axis`, without the loss of accuracy of taking it afterwards."""

    def __init__(self, axis: int = -1, **names: Any):
        refuse_names("LogSoftmax", names)
        self.axis = axis

    def forward(self, x: Tensor) -> Tensor:
        return F.log_softmax(x, axis=self.axis)

    def extra_repr(self) -> str:
        return f"axis={self.axis}"


class ReLU6(MayBeInPlace):
    """x clipped to [0, 6]."""

    def forward(self, x: Tensor) -> Tensor:
        return self.stored(x, F.relu6(x))


class LogSigmoid(Module):
    """log(sigmoid(x)), which does not become -inf."""

    def forward(self, x: Tensor) -> Tensor:
        return F.logsigmoid(x)


class Mish(MayBeInPlace):
    """x * tanh(softplus(x))."""

    def forward(self, x: Tensor) -> Tensor:
        return self.stored(x, F.mish(x))


class SELU(MayBeInPlace):
    """elu scaled so that layers keep mean 0 and variance 1."""

    def forward(self, x: Tensor) -> Tensor:
        return self.stored(x, F.selu(x))


class Softsign(Module):
    """x / (1 + |x|)."""

    def forward(self, x: Tensor) -> Tensor:
        return F.softsign(x)


class Tanhshrink(Module):
    """x - tanh(x)."""

    def forward(self, x: Tensor) -> Tensor:
        return F.tanhshrink(x)


class Hardsigmoid(MayBeInPlace):
    """x / 6 + 1/2, clipped to [0, 1]."""

    def forward(self, x: Tensor) -> Tensor:
        return self.stored(x, F.hardsigmoid(x))


class Hardswish(MayBeInPlace):
    """x * hardsigmoid(x)."""

    def forward(self, x: Tensor) -> Tensor:
        return self.stored(x, F.hardswish(x))


class GELU(Module):
    """x times the probability that a normal number is below x; approximate "tanh" is faster."""

    def __init__(self, approximate: str = "none"):
        self.approximate = approximate

    def forward(self, x: Tensor) -> Tensor:
        return F.gelu(x, self.approximate)

    def extra_repr(self) -> str:
        return f"approximate={self.approximate}"


class ELU(MayBeInPlace):
    """x above 0, alpha * (exp(x) - 1) below."""

    def __init__(self, alpha: float = 1.0, inplace: bool = False):
        super().__init__(inplace)
        self.alpha = alpha

    def forward(self, x: Tensor) -> Tensor:
        return self.stored(x, F.elu(x, self.alpha))

    def extra_repr(self) -> str:
        return f"alpha={self.alpha}"


class CELU(MayBeInPlace):
    """x above 0, alpha * (exp(x / alpha) - 1) below."""

    def __init__(self, alpha: float = 1.0, inplace: bool = False):
        super().__init__(inplace)
        self.alpha = alpha

    def forward(self, x: Tensor) -> Tensor:
        return self.stored(x, F.celu(x, self.alpha))

    def extra_repr(self) -> str:
        return f"alpha={self.alpha}"


class LeakyReLU(MayBeInPlace):
    """x above 0, negative_slope * x below."""

    def __init__(self, negative_slope: float = 0.01, inplace: bool = False):
        super().__init__(inplace)
        self.negative_slope = negative_slope

    def forward(self, x: Tensor) -> Tensor:
        return self.stored(x, F.leaky_relu(x, self.negative_slope))

    def extra_repr(self) -> str:
        return f"negative_slope={self.negative_slope}"


class Softplus(Module):
    """log(1 + exp(beta x)) / beta; x itself where beta x is above `threshold`."""

    def __init__(self, beta: float = 1.0, threshold: float = 20.0):
        self.beta, self.threshold = beta, threshold

    def forward(self, x: Tensor) -> Tensor:
        return F.softplus(x, self.beta, self.threshold)

    def extra_repr(self) -> str:
        return f"beta={self.beta}, threshold={self.threshold}"


class Hardtanh(MayBeInPlace):
    """x clipped to [min_val, max_val]."""

    def __init__(self, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False):
        super().__init__(inplace)
        self.min_val, self.max_val = min_val, max_val

    def forward(self, x: Tensor) -> Tensor:
        return self.stored(x, F.hardtanh(x, self.min_val, self.max_val))

    def extra_repr(self) -> str:
        return f"min_val={self.min_val}, max_val={self.max_val}"


class Hardshrink(Module):
    """0 where |x| <= lambd, else x."""

    def __init__(self, lambd: float = 0.5):
        self.lambd = lambd

    def forward(self, x: Tensor) -> Tensor:
        return F.hardshrink(x, self.lambd)

    def extra_repr(self) -> str:
        return f"lambd={self.lambd}"


class Softshrink(Module):
    """x moved towards 0 by lambd; 0 within lambd of it."""

    def __init__(self, lambd: float = 0.5):
        self.lambd = lambd

    def forward(self, x: Tensor) -> Tensor:
        return F.softshrink(x, self.lambd)

    def extra_repr(self) -> str:
        return f"lambd={self.lambd}"


class Threshold(MayBeInPlace):
    """x where it is above `threshold`, else `value`."""

    def __init__(self, threshold: float, value: float, inplace: bool = False):
        super().__init__(inplace)
        self.threshold, self.value = threshold, value

    def forward(self, x: Tensor) -> Tensor:
        return self.stored(x, F.threshold(x, self.threshold, self.value))

    def extra_repr(self) -> str:
        return f"threshold={self.threshold}, value={self.value}"


class GLU(Module):
    """a * sigmoid(b) for the halves a and b of x along `axis`."""

    def __init__(self, axis: int = -1, **names: Any):
        refuse_names("GLU", names)
        self.axis = axis

    def forward(self, x: Tensor) -> Tensor:
        return F.glu(x, self.axis)

    def extra_repr(self) -> str:
        return f"axis={self.axis}"


class PReLU(Module):
    """x above 0, weight * x below, with a weight that is learned: one for all, or one for each channel, axis 1."""

    def __init__(self, num_parameters: int = 1, init: float = 0.25, dtype: Any = None):
        self.num_parameters = num_parameters
        self.weight = Parameter(full((num_parameters,), init, dtype=dtype))

    def forward(self, x: Tensor) -> Tensor:
        return F.prelu(x, self.weight)

    def extra_repr(self) -> str:
        return f"num_parameters={self.num_parameters}"


class Softmin(Module):
    """softmax of -x along `axis`."""

    def __init__(self, axis: int = -1, **names: Any):
        refuse_names("Softmin", names)
        self.axis = axis

    def forward(self, x: Tensor) -> Tensor:
        return F.softmin(x, axis=self.axis)

    def extra_repr(self) -> str:
        return f"axis={self.axis}"
