"""Random numbers: draws from a Generator, with PyTorch's names (rand, randn, ...) and NumPy's (uniform, choice, ...).

    tg.rand(2, 3)     tg.random.uniform(-1.0, 1.0, (2, 3))     tg.random.choice(5, 2, replace=False)

Every draw takes `generator`, tracegrad's own unless given. Draws are not differentiated: what depends on parameters of
a distribution is written with them (mean + std * randn). A seed gives the same numbers eager, traced, and by any number
of threads.
"""
from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from typing import Any

import numpy as np

from codegen.ir.type_rules import TypeRuleError
from codegen.ir.types import type_of
from tracegrad import dtypes
from tracegrad.devices import CPU, Device, device_of
from tracegrad.dispatch import dispatch
from tracegrad.dtypes import FLOATING, dtype_of
from tracegrad.elementary import ceil, log1p, tan
from tracegrad.functional import add, argmax, exp, less, log, minimum, multiply, subtract
from tracegrad.generators import Generator, default_generator, manual_seed, normals, uniforms
from tracegrad.indexing import get
from tracegrad.movement import broadcast_shapes, expand_dims, reshape, sizes_of, take
from tracegrad.operands import Number, Operand, convert, floating, tensor_operand
from tracegrad.size_numbers import index
from tracegrad.source_lines import at_user_line
from tracegrad.tensors import Tensor
from tracegrad.writes import copy_

__all__ = [
    "Generator", "bernoulli", "choice", "default_generator", "exponential", "fork_rng", "get_rng_state", "integers",
    "manual_seed", "multinomial", "normal", "permutation", "rand", "rand_like", "randint", "randint_like", "randn",
    "randn_like", "randperm", "seed", "set_rng_state", "shuffle", "uniform",
]


def seed() -> int:
    """Start the default generator's stream anew, unforeseeably; returns its seed."""
    return default_generator.seed()


def get_rng_state() -> Tensor:
    """Where the default generator is: u64[2]."""
    return default_generator.get_state()


def set_rng_state(state: Tensor) -> None:
    """Let the default generator go on where one was."""
    default_generator.set_state(state)


@contextmanager
def fork_rng() -> Iterator[None]:
    """Inside, the default generator goes on as always; afterwards it is where it was before."""
    state = default_generator.get_state()
    try:
        yield
    finally:
        default_generator.set_state(state)


def source(generator: Generator | None) -> Generator:
    """The generator to draw from; TypeError for what is none."""
    if generator is not None and not isinstance(generator, Generator):
        raise TypeError(at_user_line(f"generator={generator!r}: a tg.Generator is asked for"))
    return default_generator if generator is None else generator


def rand(*size: Any, dtype: Any = None, device: str | Device | None = None, requires_grad: bool = False,
         generator: Generator | None = None) -> Tensor:
    """Uniform numbers in [0, 1)."""
    drawn = uniforms(sizes_of("rand", size), float_dtype("rand", dtype), source(generator), device_of(device))
    return finished(drawn, requires_grad)


def randn(*size: Any, dtype: Any = None, device: str | Device | None = None, requires_grad: bool = False,
          generator: Generator | None = None) -> Tensor:
    """Normal numbers, of mean 0 and variance 1.

    float32 and narrower draw one word each, which reaches to 6.3 standard deviations; float64 draws two.
    """
    drawn = normals(sizes_of("randn", size), float_dtype("randn", dtype), source(generator), device_of(device))
    return finished(drawn, requires_grad)


def randint(low: int, high: int | None = None, size: Any = (), *, dtype: Any = None, device: str | Device | None = None,
            generator: Generator | None = None) -> Tensor:
    """Integers, equally likely (to 2^-53 of the range), in [low, high); randint(high, size=...) starts at 0.

        >>> tg.randint(3, size=(2, 2)).shape
        (2, 2)
    """
    if high is None:
        low, high = 0, low
    if not low < high:
        raise ValueError(at_user_line(f"randint: the interval [{low}, {high}) is empty"))
    target = dtypes.int64 if dtype is None else dtype_of(dtype)
    u = uniforms(sizes_of("randint", (size,)), dtypes.float64, source(generator), device_of(device))
    return convert(add(convert(multiply(u, float(high - low)), dtypes.int64), low), target)


def randperm(n: int, *, device: str | Device | None = None, generator: Generator | None = None) -> Tensor:
    """The numbers 0 .. n-1 in random order: i64[n]. They are sorted by random keys of 64 bits.

        >>> sorted(tg.randperm(3).tolist())
        [0, 1, 2]
    """
    words = convert(source(generator).bits(sizes_of("randperm", (n, 2)), device_of(device)), dtypes.uint64)
    keys = dispatch("or", dispatch("shift_left", get(words, (..., 0)), 32), get(words, (..., 1)))
    return dispatch("argsort", keys, axis=0)


def float_dtype(op: str, dtype: Any) -> np.dtype:
    target = dtypes.default_float() if dtype is None else dtype_of(dtype)
    if target not in FLOATING:
        raise TypeError(at_user_line(f"{op}: {target} is not a floating-point dtype"))
    return target


def finished(made: Tensor, requires_grad: bool) -> Tensor:
    made.requires_grad = requires_grad
    return made


# ---- in the shape of another tensor -------------------------------------------------------------------------------


def rand_like(x: Tensor, /, *, dtype: Any = None, device: str | Device | None = None, requires_grad: bool = False,
              generator: Generator | None = None) -> Tensor:
    """Uniform numbers in [0, 1), with the shape of x, and its dtype unless given."""
    return rand(x.shape, dtype=x.dtype if dtype is None else dtype, device=x.device if device is None else device,
                requires_grad=requires_grad, generator=generator)


def randn_like(x: Tensor, /, *, dtype: Any = None, device: str | Device | None = None, requires_grad: bool = False,
               generator: Generator | None = None) -> Tensor:
    """Normal numbers with the shape of x, and its dtype unless given."""
    return randn(x.shape, dtype=x.dtype if dtype is None else dtype, device=x.device if device is None else device,
                 requires_grad=requires_grad, generator=generator)


def randint_like(x: Tensor, low: int, high: int | None = None, /, *, dtype: Any = None,
                 device: str | Device | None = None, generator: Generator | None = None) -> Tensor:
    """Integers in [low, high), or [0, low), with the shape of x, and its dtype unless given."""
    return randint(low, high, x.shape, dtype=x.dtype if dtype is None else dtype,
                   device=x.device if device is None else device, generator=generator)


# ---- distributions ------------------------------------------------------------------------------------------------


def size_of(op: str, size: Any, *parameters: Operand) -> tuple[int, ...]:
    """The shape of a draw: `size`, or that to which the parameters broadcast."""
    if size is not None:
        return sizes_of(op, (size,))
    return broadcast_shapes(op, *(p.shape for p in parameters if isinstance(p, Tensor)), ())


def device_beside(*parameters: Operand) -> Device:
    """Where a draw with these parameters is made: on the GPU if one of them is there."""
    return next((p.device for p in parameters if isinstance(p, Tensor) and p.device != CPU), CPU)


def uniform(low: Operand = 0.0, high: Operand = 1.0, size: Any = None, *, dtype: Any = None,
            generator: Generator | None = None) -> Tensor:
    """Uniform numbers in [low, high), which may be Tensors."""
    u = uniforms(size_of("uniform", size, low, high), float_dtype("uniform", dtype), source(generator),
                 device_beside(low, high))
    return u * subtract(high, low) + low


def normal(mean: Operand = 0.0, std: Operand = 1.0, size: Any = None, *, dtype: Any = None,
           generator: Generator | None = None) -> Tensor:
    """Normal numbers with this mean and standard deviation, which may be Tensors."""
    z = normals(size_of("normal", size, mean, std), float_dtype("normal", dtype), source(generator),
                device_beside(mean, std))
    return z * std + mean


def exponential(scale: Operand = 1.0, size: Any = None, *, dtype: Any = None,
                generator: Generator | None = None) -> Tensor:
    """Exponential numbers with the mean `scale`."""
    u = uniforms(size_of("exponential", size, scale), float_dtype("exponential", dtype), source(generator),
                 device_beside(scale))
    return -log1p(-u) * scale


def integers(low: int, high: int | None = None, size: Any = (), *, dtype: Any = None, endpoint: bool = False,
             generator: Generator | None = None) -> Tensor:
    """Integers in [low, high), or [low, high] with `endpoint`; integers(high) starts at 0."""
    if high is None:
        low, high = 0, low
    return randint(low, high + endpoint, size, dtype=dtype, generator=generator)


def bernoulli(p: Operand, /, *, generator: Generator | None = None) -> Tensor:
    """1 with the probabilities p, else 0, in the shape and dtype of p.

        >>> tg.bernoulli(tg.tensor([0.0, 1.0]))
        tensor([0., 1.])
    """
    p = floating(tensor_operand("bernoulli", p))
    u = uniforms(p.shape, dtypes.float64 if p.itemsize == 8 else dtypes.float32, source(generator), p.device)
    return convert(less(u, convert(p, u.dtype)), p.dtype)


def multinomial(weights: Operand, num_samples: int, replacement: bool = False, *,
                generator: Generator | None = None) -> Tensor:
    """Positions drawn with probabilities proportional to weights [c] or [n, c]: i64[num_samples] or [n, num_samples].

    Without `replacement` a position is drawn at most once; weights of 0 are then drawn last. By a race: the first of
    exponential times whose rates are the weights.

        >>> tg.multinomial(tg.tensor([0.0, 0.0, 1.0]), 2, replacement=True)
        tensor([2, 2])
    """
    weights = floating(tensor_operand("multinomial", weights))
    shape = weights.shape
    if len(shape) not in (1, 2):
        raise TypeRuleError(at_user_line(f"multinomial: {type_of(weights)} is neither [classes] nor [n,classes]"))
    classes, wide = shape[-1], convert(weights, dtypes.float64)
    if replacement:
        u = uniforms((*shape[:-1], num_samples, classes), dtypes.float64, source(generator), wide.device)
        return argmax(expand_dims(wide, -2) / -log1p(-u), axis=-1)
    if num_samples > classes:
        raise ValueError(at_user_line(f"multinomial: {num_samples} samples of {classes} classes need replacement"))
    times = -log1p(-uniforms(shape, dtypes.float64, source(generator), wide.device)) / wide
    return get(dispatch("argsort", times, axis=len(shape) - 1), (..., slice(0, num_samples)))


# ---- order and choice ---------------------------------------------------------------------------------------------


def permutation(x: int | Operand, /, *, axis: int = 0, generator: Generator | None = None) -> Tensor:
    """The numbers below x, or the parts of a Tensor along `axis`, in random order."""
    if isinstance(x, int):
        return randperm(x, generator=generator)
    x = tensor_operand("permutation", x)
    return take(x, randperm(x.shape[axis], device=x.device, generator=generator), axis=axis)


def shuffle(x: Tensor, /, *, axis: int = 0, generator: Generator | None = None) -> None:
    """Bring the parts of x along `axis` into random order, in place."""
    copy_(x, permutation(x, axis=axis, generator=generator))


def choice(a: int | Operand, size: Any = (), replace: bool = True, p: Operand | None = None, *, axis: int = 0,
           generator: Generator | None = None) -> Tensor:
    """Draws from the numbers below a, or from the parts of a Tensor along `axis`, all as likely unless p says how.

        >>> tg.random.choice(tg.tensor([7, 8]), 3, p=tg.tensor([0.0, 1.0]))
        tensor([8, 8, 8])
    """
    values = None if isinstance(a, int) else tensor_operand("choice", a)
    n = index(a) if values is None else values.shape[axis]
    shape = sizes_of("choice", (size,))
    count = prod(shape)
    if not replace and count > n:
        raise ValueError(at_user_line(f"choice: {count} draws of {n} need replace=True"))
    if p is not None:
        places = multinomial(p, count, replace, generator=generator)
    elif replace:
        places = randint(n, size=count, generator=generator)
    else:
        places = get(randperm(n, generator=generator), slice(0, count))
    places = reshape(places, shape)
    return places if values is None else take(values, places, axis=axis)


# ---- in place -----------------------------------------------------------------------------------------------------


def normal_(x: Tensor, mean: Number = 0.0, std: Number = 1.0, *, generator: Generator | None = None) -> Tensor:
    """Write normal numbers."""
    drawn = normals(x.shape, float_dtype("normal_", x.dtype), source(generator), x.device)
    return copy_(x, drawn * std + mean)


def uniform_(x: Tensor, low: Number = 0.0, high: Number = 1.0, *, generator: Generator | None = None) -> Tensor:
    """Write uniform numbers in [low, high)."""
    drawn = uniforms(x.shape, float_dtype("uniform_", x.dtype), source(generator), x.device)
    return copy_(x, drawn * (high - low) + low)


def bernoulli_(x: Tensor, p: Operand = 0.5, *, generator: Generator | None = None) -> Tensor:
    """Write 1 with probability p, which may be a Tensor, else 0."""
    p = p if isinstance(p, Tensor) else tensor_operand("bernoulli_", p)
    return copy_(x, convert(bernoulli(p.broadcast_to(x.shape), generator=generator), x.dtype))


def exponential_(x: Tensor, lambd: Number = 1.0, *, generator: Generator | None = None) -> Tensor:
    """Write exponential numbers with the mean 1 / lambd."""
    return copy_(x, exponential(1 / lambd, x.shape, dtype=x.dtype, generator=generator))


def log_normal_(x: Tensor, mean: Number = 1.0, std: Number = 2.0, *, generator: Generator | None = None) -> Tensor:
    """Write e to the power of normal numbers."""
    return copy_(x, exp(normal(mean, std, x.shape, dtype=x.dtype, generator=generator)))


def cauchy_(x: Tensor, median: Number = 0.0, sigma: Number = 1.0, *, generator: Generator | None = None) -> Tensor:
    """Write numbers of Cauchy's distribution."""
    u = uniforms(x.shape, float_dtype("cauchy_", x.dtype), source(generator))
    return copy_(x, tan((u - 0.5) * np.pi) * sigma + median)


def geometric_(x: Tensor, p: Number, *, generator: Generator | None = None) -> Tensor:
    """Write how often one tries until the first success, each with probability p: 1, 2, ..."""
    u = uniforms(x.shape, dtypes.float64, source(generator), x.device)
    tries = add(minimum(ceil(log1p(-u) / log(tensor_operand("geometric_", 1.0 - p)) - 1), 2.0**53), 1)
    return copy_(x, convert(tries, x.dtype))


def random_(x: Tensor, low: int = 0, high: int | None = None, *, generator: Generator | None = None) -> Tensor:
    """Write integers in [low, high); random_(high) starts at 0, random_() reaches as far as x can count."""
    if high is None and low == 0:
        high = 2 ** (np.finfo(x.dtype).nmant + 1) if x.dtype in FLOATING else np.iinfo(x.dtype).max
    return copy_(x, randint(low, high, x.shape, dtype=x.dtype, generator=generator))
