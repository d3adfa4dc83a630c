"""NVIDIA's device library for Triton's interpreter, which has none: its functions by NumPy's and SciPy's, in f64.

A function takes fp32 or fp64, all its operands one of them, as the library does; what is not here is refused by name.
"""
from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np

from codegen.ir import elementary


def _special(name: str) -> Callable[..., np.ndarray]:
    def function(*operands: np.ndarray) -> np.ndarray:
        from scipy import special
        return getattr(special, name)(*operands)
    return function


_FUNCTIONS: dict[str, Callable[..., np.ndarray]] = {
    "abs": np.abs, "floor": np.floor, "ceil": np.ceil, "trunc": np.trunc, "rint": np.rint, "nearbyint": np.rint,
    "sqrt": np.sqrt, "sqrt_rn": np.sqrt, "rsqrt": lambda x: 1 / np.sqrt(x), "rcp_rn": lambda x: 1 / x,
    "div_rn": np.divide, "add_rn": np.add, "sub_rn": np.subtract, "mul_rn": np.multiply,
    "exp": np.exp, "exp2": np.exp2, "exp10": lambda x: 10.0 ** x, "expm1": np.expm1,
    "log": np.log, "log2": np.log2, "log10": np.log10, "log1p": np.log1p,
    "sin": np.sin, "cos": np.cos, "tan": np.tan, "asin": np.arcsin, "acos": np.arccos, "atan": np.arctan,
    "sinh": np.sinh, "cosh": np.cosh, "tanh": np.tanh, "asinh": np.arcsinh, "acosh": np.arccosh, "atanh": np.arctanh,
    "atan2": np.arctan2, "hypot": np.hypot, "pow": np.power, "fmod": np.fmod, "cbrt": np.cbrt,
    "copysign": np.copysign, "nextafter": np.nextafter, "fdim": lambda x, y: np.where(x > y, x - y, (x - y) * 0),
    "erf": _special("erf"), "erfc": _special("erfc"), "erfcx": _special("erfcx"), "erfinv": _special("erfinv"),
    "erfcinv": _special("erfcinv"), "normcdf": _special("ndtr"), "normcdfinv": _special("ndtri"),
    "lgamma": elementary.lgamma, "tgamma": _special("gamma"), "j0": _special("j0"), "j1": _special("j1"),
    "y0": _special("y0"), "y1": _special("y1"), "cyl_bessel_i0": _special("i0"), "cyl_bessel_i1": _special("i1"),
}
_OF_THEIR_DTYPE = frozenset({"nextafter", "fmod"})
"""What depends on the dtype that it is computed in, or is exact in any."""


def provide(interpreter: Any, library: ModuleType) -> None:
    """Give the module of stubs `library` functions that compute."""
    tl, handle = interpreter.tl, interpreter.TensorHandle

    def lifted(name: str, function: Callable[..., np.ndarray]) -> Callable[..., Any]:
        def call(*operands: Any) -> Any:
            types = {x.dtype.scalar for x in operands}
            if len(types) > 1 or not types <= {tl.float32, tl.float64}:
                raise TypeError(f"libdevice.{name} of {', '.join(map(str, types))}: it takes one of fp32 and fp64")
            type, = types
            dtype = operands[0].handle.data.dtype
            wide = dtype if name in _OF_THEIR_DTYPE else np.float64
            result = np.asarray(function(*(x.handle.data.astype(wide) for x in operands))).astype(dtype)
            shape = np.broadcast_shapes(*(tuple(x.shape) for x in operands))
            return tl.tensor(handle(result, type), tl.block_type(type, list(shape)) if shape else type)
        return call

    def missing(name: str) -> Callable[..., Any]:
        def call(*operands: Any) -> Any:
            raise NotImplementedError(f"libdevice.{name} is not known to the interpreter")
        return call

    for name, stub in vars(library).copy().items():
        if callable(stub) and not name.startswith("_"):
            setattr(library, name, lifted(name, _FUNCTIONS[name]) if name in _FUNCTIONS else missing(name))
