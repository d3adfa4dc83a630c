"""Generators: Philox words addressed by a key and a counter, both ordinary tensors, turned into numbers by ops.

    bits = random_bits(key, counter, shape);  counter += ceil(size / 4)

1. A draw depends on key and counter only; it advances the counter by the blocks it used.
2. Every draw is composed of ops, so that eager and compiled runs draw the same bits and the same uniforms.
3. Normals are computed in float64 by the inverse of their distribution function, then rounded.
"""
from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from math import prod

import numpy as np

from codegen.ir.types import type_of
from tracegrad import dtypes
from tracegrad.devices import CPU, Device
from tracegrad.dispatch import dispatch, transfer
from tracegrad.functional import add, clone, log, minimum, multiply, sqrt, subtract, where
from tracegrad.indexing import get
from tracegrad.movement import stack
from tracegrad.operands import convert, tensor_operand
from tracegrad.recorder import ACTIVE
from tracegrad.size_numbers import index
from tracegrad.source_lines import at_user_line
from tracegrad.tensors import FOLLOWERS, Tensor
from tracegrad.writes import write

DRAWS: ContextVar[Callable[[Generator, tuple[int, ...]], Tensor] | None] = ContextVar("tracegrad_draws", default=None)
"""What is asked for words instead of the generators, in this context."""


class Generator:
    """A stream of random numbers. `key` says which stream, `counter` how far it is: u64[] Tensors."""

    def __init__(self, seed: int = 0):
        self.key, self.counter = (dispatch("constant", value="0", dtype="u64") for _ in range(2))
        self.manual_seed(seed)

    def manual_seed(self, seed: int) -> Generator:
        """Start the stream `seed` from its beginning. TypeError if that is no int."""
        if not hasattr(seed, "__index__"):
            raise TypeError(at_user_line(f"manual_seed: {seed!r} is not a seed: a seed is an int"))
        for state, value in ((self.key, index(seed) % 2**64), (self.counter, 0)):
            write(state, dispatch("constant", value=str(value), dtype="u64"))
        return self

    def seed(self) -> int:
        """Start a stream that nobody can foresee; returns its seed."""
        recorder = ACTIVE.get()
        if recorder is not None:
            recorder.refuse("a seed from the operating system")
        seed = secrets.randbits(64)
        self.manual_seed(seed)
        return seed

    def initial_seed(self) -> int:
        """The seed of the stream."""
        return int(self.key.item())

    def bits(self, shape: tuple[int, ...], device: Device = CPU) -> Tensor:
        """u32 words, all values equally likely; the same ones on any device."""
        elsewhere = DRAWS.get()
        if elsewhere is not None:
            return elsewhere(self, shape)
        key, counter = (self.key, self.counter) if device == CPU else (
            transfer(self.key, device), transfer(self.counter, device))
        drawn = dispatch("random_bits", key, counter, shape=shape)
        write(self.counter, dispatch("add", self.counter, (prod(shape) + 3) // 4))
        return drawn

    def get_state(self) -> Tensor:
        """Where the stream is, as a Tensor to give to `set_state`: u64[2], key and counter."""
        return stack([self.key, self.counter])

    def set_state(self, state: Tensor) -> Generator:
        """Go on where a stream was. TypeError for what is no u64[2]."""
        state = tensor_operand("set_state", state)
        if state.shape != (2,) or state.dtype != dtypes.uint64:
            raise TypeError(at_user_line(f"set_state: {type_of(state)} is not u64[2]"))
        for k, own in enumerate((self.key, self.counter)):
            write(own, clone(get(state, k)))
        return self

    def fork(self) -> Generator:
        """A Generator with a stream of its own, which depends on where this one is and moves it on."""
        high, low = (convert(get(self.bits((2,)), k), dtypes.uint64) for k in (0, 1))
        made = Generator()
        write(made.key, dispatch("or", dispatch("shift_left", high, 32), low))
        return made


default_generator = Generator()


def manual_seed(seed: int) -> Generator:
    """Start the default generator's stream `seed` from its beginning."""
    return default_generator.manual_seed(seed)


def uniforms(shape: tuple[int, ...], dtype: np.dtype, generator: Generator, device: Device = CPU) -> Tensor:
    """Multiples of 2^-8 (16 bits), 2^-24 (float32) or 2^-53 (float64), equally likely, in [0, 1)."""
    if dtype != dtypes.float64:
        words = dispatch("shift_right", generator.bits(shape, device), 8 if dtype == dtypes.float32 else 24)
        return multiply(convert(words, dtype), 2.0**-24 if dtype == dtypes.float32 else 2.0**-8)
    high, low = parts_of(generator.bits((*shape, 2), device), 5, 6)
    return multiply(add(multiply(high, 2.0**26), low), 2.0**-53)


def parts_of(words: Tensor, drop_high: int, drop_low: int) -> tuple[Tensor, Tensor]:
    """Pairs of words as two f64 tensors of whole numbers, without their lowest bits."""
    high, low = get(words, (..., 0)), get(words, (..., 1))
    return (convert(dispatch("shift_right", high, drop_high), dtypes.float64),
            convert(dispatch("shift_right", low, drop_low), dtypes.float64))


def normals(shape: tuple[int, ...], dtype: np.dtype, generator: Generator, device: Device = CPU) -> Tensor:
    """Normal numbers of mean 0 and variance 1: one word each for float32 and narrower, two for float64."""
    words = generator.bits((*shape, 2) if dtype == dtypes.float64 else shape, device)
    if prod(shape) <= BLOCK or device != CPU or DRAWS.get() is not None or ACTIVE.get() is not None or FOLLOWERS:
        return normals_of(words, dtype)
    flat = words.array.reshape(-1, 2) if dtype == dtypes.float64 else words.array.reshape(-1)
    drawn = np.empty(prod(shape), dtype)
    for k in range(0, len(drawn), BLOCK):
        drawn[k:k + BLOCK] = normals_of(Tensor(flat[k:k + BLOCK]), dtype).array
    return Tensor(drawn.reshape(shape))


BLOCK = 1 << 14
"""Eagerly a hundred operations make a normal number: with so many numbers at a time, all in a cache."""


def normals_of(words: Tensor, dtype: np.dtype) -> Tensor:
    """The normal numbers that words, or pairs of them, stand for."""
    if dtype == dtypes.float64:
        high, low = parts_of(words, 6, 6)
        p = multiply(add(add(multiply(high, 2.0**26), low), 0.5), 2.0**-52)
    else:
        p = multiply(add(convert(words, dtypes.float64), 0.5), 2.0**-32)
    return convert(normal_quantile(p), dtype)


# ---- the normal quantile ----------------------------------------------------------------------------------------
# Wichura, "Algorithm AS 241: The percentage points of the normal distribution", Applied Statistics 37 (1988), PPND16:
# one rational function around the median, two of r = sqrt(-log(tail)) outside; about 1 part in 10^16.

CENTRAL = (
    (3.3871328727963666080, 133.14166789178437745, 1971.5909503065514427, 13731.693765509461125,
     45921.953931549871457, 67265.770927008700853, 33430.575583588128105, 2509.0809287301226727),
    (1.0, 42.313330701600911252, 687.18700749205790830, 5394.1960214247511077,
     21213.794301586595867, 39307.895800092710610, 28729.085735721942674, 5226.4952788528545610))
MIDDLE = (
    (1.42343711074968357734, 4.63033784615654529590, 5.76949722146069140550, 3.64784832476320460504,
     1.27045825245236838258, 0.241780725177450611770, 0.0227238449892691845833, 7.74545014278341407640e-4),
    (1.0, 2.05319162663775882187, 1.67638483018380384940, 0.689767334985100004550,
     0.148103976427480074590, 0.0151986665636164571966, 5.47593808499534494600e-4, 1.05075007164441684324e-9))
FAR = (
    (6.65790464350110377720, 5.46378491116411436990, 1.78482653991729133580, 0.296560571828504891230,
     0.0265321895265761230930, 1.24266094738807843860e-3, 2.71155556874348757815e-5, 2.01033439929228813265e-7),
    (1.0, 0.599832206555887937690, 0.136929880922735805310, 0.0148753612908506148525,
     7.86869131145613259100e-4, 1.84631831751005468180e-5, 1.42151175831644588870e-7, 2.04426310338993978564e-15))


def polynomial(coefficients: Sequence[float], x: Tensor) -> Tensor:
    """By Horner's rule, the constant term first."""
    result = add(multiply(x, coefficients[-1]), coefficients[-2])
    for c in reversed(coefficients[:-2]):
        result = add(multiply(result, x), c)
    return result


def rational(coefficients: tuple[Sequence[float], Sequence[float]], x: Tensor) -> Tensor:
    return polynomial(coefficients[0], x) / polynomial(coefficients[1], x)


def normal_quantile(p: Tensor) -> Tensor:
    """The number below which a normal variable is with probability p: f64, for p in (0, 1)."""
    q = subtract(p, 0.5)
    central = multiply(rational(CENTRAL, subtract(0.180625, multiply(q, q))), q)
    r = sqrt(-log(minimum(p, subtract(1.0, p))))
    tail = where(r <= 5.0, rational(MIDDLE, subtract(r, 1.6)), rational(FAR, subtract(r, 5.0)))
    return where(q.abs() <= 0.425, central, where(q < 0.0, -tail, tail))
