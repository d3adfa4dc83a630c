"""Hypothesis strategies: random programs of views, writes through them, keys of every kind and arithmetic.

    a, b = x, w                              the same text runs on NumPy's arrays, on Tensors, eager and traced, and on
    v2 = a.T                                 `Dual`, which knows nothing of views: what is written to gets new values,
    v2[I([1, 1]), 0] += b[0]                 and an array is a table of positions in them. It carries derivatives along,
    a[a > 0.5] = 0.25                        forwards, so it is an oracle for gradients too.
    v3 = v2[::-1, None] * 0.5

A program is written while it runs on NumPy's arrays, so every step of it fits.
"""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st
from key_strategies import keys

SHAPES = ((4,), (2, 3), (3, 3), (2, 1, 3), (1, 4), ())


# ---- the oracle ---------------------------------------------------------------------------------------------------


class Base:
    """Numbers in a row, and the derivative of each with respect to every input: values[n], slopes[n, inputs]."""

    def __init__(self, values: np.ndarray, slopes: np.ndarray):
        self.values, self.slopes = values, slopes


class Dual:
    """An array: which numbers of a base it consists of."""

    def __init__(self, base: Base, places: np.ndarray):
        self.base, self.places = base, places

    @classmethod
    def new(cls, values: np.ndarray, slopes: np.ndarray) -> Dual:
        flat = Base(values.reshape(-1).copy(), slopes.reshape(values.size, slopes.shape[-1]).copy())
        return cls(flat, np.arange(values.size).reshape(values.shape))

    @property
    def values(self) -> np.ndarray:
        return self.base.values[self.places]

    @property
    def slopes(self) -> np.ndarray:
        return self.base.slopes[self.places]

    @property
    def shape(self) -> tuple[int, ...]:
        return self.places.shape

    @property
    def T(self) -> Dual:
        return self.seen(self.places.T)

    def seen(self, places: np.ndarray) -> Dual:
        """Those numbers: a view if NumPy would give one of memory laid out as `places` is, else a copy."""
        if np.shares_memory(places, self.places):
            return Dual(self.base, places)
        return Dual.new(self.base.values[places], self.base.slopes[places])

    def __getitem__(self, key: Any) -> Dual:
        return self.seen(self.places[key])

    def reshape(self, *shape: int) -> Dual:
        return self.seen(self.places.reshape(*shape))

    def swapaxes(self, a: int, b: int) -> Dual:
        return self.seen(self.places.swapaxes(a, b))

    def __setitem__(self, key: Any, value: Any) -> None:
        places = self.places[key]
        given = value if isinstance(value, Dual) else constant(value, self)
        rank = len(given.shape) - places.ndim
        taken = given.places.reshape(given.shape[max(rank, 0):])        # NumPy drops axes of size 1 in front
        at = np.broadcast_to(taken, places.shape).reshape(-1)
        values, slopes = self.base.values.copy(), self.base.slopes.copy()
        for k, j in zip(places.reshape(-1), at):
            values[k], slopes[k] = given.base.values[j], given.base.slopes[j]
        self.base.values, self.base.slopes = values, slopes

    def __mul__(self, other: Any) -> Dual:
        b = other if isinstance(other, Dual) else constant(other, self)
        return Dual.new(self.values * b.values, self.slopes * b.values[..., None] + b.slopes * self.values[..., None])

    def __add__(self, other: Any) -> Dual:
        b = other if isinstance(other, Dual) else constant(other, self)
        shape = np.broadcast_shapes(self.shape, b.shape)
        inputs = self.slopes.shape[-1:]
        return Dual.new(self.values + b.values, sum(np.broadcast_to(
            k.slopes.reshape((1,) * (len(shape) - len(k.shape)) + k.slopes.shape), shape + inputs) for k in (self, b)))

    def __sub__(self, other: Any) -> Dual:
        return self + other * -1.0

    def __neg__(self) -> Dual:
        return self * -1.0

    def sum(self, axis: int) -> Dual:
        return Dual.new(self.values.sum(axis), self.slopes.sum(axis))

    def __gt__(self, other: float) -> np.ndarray:
        return self.values > other

    def updated(self, value: Dual) -> Dual:
        self[...] = value
        return self

    def __iadd__(self, other: Any) -> Dual:
        return self.updated(self + other)

    def __isub__(self, other: Any) -> Dual:
        return self.updated(self - other)

    def __imul__(self, other: Any) -> Dual:
        return self.updated(self * other)


def constant(number: float, like: Dual) -> Dual:
    return Dual.new(np.asarray(float(number)), np.zeros(like.base.slopes.shape[-1:]))


# ---- programs -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ViewProgram:
    """Text that makes v0, v1, ... of the inputs x and w; `count` of them."""

    text: str
    x: tuple[int, ...]
    w: tuple[int, ...]
    count: int

    def inputs(self) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng(len(self.text))
        return rng.uniform(-1.5, 1.5, self.x), rng.uniform(-1.5, 1.5, self.w)

    def function(self, indices: Callable[[Any], Any]) -> Callable[[Any, Any], list[Any]]:
        """From the inputs to the arrays it makes. `indices` makes what stands in a key."""
        names: dict[str, Any] = {"I": indices}
        arrays = ", ".join(f"v{k}" for k in range(self.count))
        lines = "".join(f"    {line}\n" for line in self.text.splitlines())
        exec(f"def step(x, w):\n{lines}    return [{arrays}]\n", names)
        return names["step"]

    def __repr__(self) -> str:
        return f"\n# x {self.x}, w {self.w}\n{self.text}"


class _Writer:
    """Writes a program while running it."""

    def __init__(self, draw: Callable[[st.SearchStrategy], Any], x: np.ndarray, w: np.ndarray, start: str):
        self.draw = draw
        self.names: dict[str, Any] = {"x": x, "w": w, "I": np.array}
        self.lines: list[str] = []
        self.count = 0
        for name in ("x", "w"):
            self.define(start.format(name))

    def pick(self, choices: Any) -> Any:
        return self.draw(st.sampled_from(choices))

    def run(self, line: str) -> bool:
        """Add a line, if NumPy accepts it."""
        try:
            exec(line, self.names)
        except (IndexError, TypeError, ValueError):
            return False
        self.lines.append(line)
        return True

    def define(self, expression: str) -> None:
        name = f"v{self.count}"
        if self.run(f"{name} = {expression}"):
            if isinstance(self.names[name], np.ndarray):
                self.count += 1
            else:
                self.lines.pop()            # a number of NumPy's own, where a Tensor would be a view

    def array(self) -> tuple[str, np.ndarray]:
        name = f"v{self.draw(st.integers(max(0, self.count - 6), self.count - 1))}"
        return name, self.names[name]

    def key(self, shape: tuple[int, ...]) -> str:
        return key_text(self.draw(keys(shape)))

    def step(self) -> None:
        (a, x), (b, y) = self.array(), self.array()
        axis = self.draw(st.integers(0, x.ndim - 1)) if x.ndim else 0
        match self.pick(("key", "key", "turn", "reshape", "line", "compute", "compute", "write", "write", "write",
                         "add", "add", "update", "mask", "broadcast")):
            case "key":
                self.define(f"{a}[{self.key(x.shape)}]")
            case "turn" if x.ndim:
                self.define(self.pick((f"{a}.T" if x.ndim == 2 else f"{a}[::-1]", f"{a}.swapaxes(0, {axis})")))
            case "reshape":
                self.define(self.pick((f"{a}.reshape(-1)", f"{a}.reshape(1, {x.size})", f"{a}.reshape({x.size}, 1)")))
            case "line" if x.ndim == 2 and x.flags.c_contiguous:        # a diagonal, and what else lies regularly
                self.define(f"{a}.reshape(-1)[::{x.shape[1] + self.pick((1, 0, -1)) or 1}]")
            case "compute":
                made = self.pick((f"{a} * {b}", f"{a} + {b}", f"{a} - {b}", f"-{a}", f"{a} * 0.5", f"{a} + 0.25",
                                  f"{a}.sum({axis})" if x.ndim else f"{a} * {a}"))
                self.define(f"({made})[...]")       # so that NumPy too has an array, not a number
            case "write" if x.flags.writeable:
                self.run(f"{a}[{self.key(x.shape)}] = {self.value(b)}")
            case "add" if x.flags.writeable:
                self.run(f"{a}[{self.key(x.shape)}] {self.pick(('+=', '-=', '*='))} {self.value(b)}")
            case "update" if x.flags.writeable:
                self.run(f"{a} {self.pick(('+=', '-=', '*='))} {self.value(b)}")
            case "mask" if x.flags.writeable and self.pick((True, False)):
                mask = f"{a} > {self.pick((0.3, -0.2, 5.0))}"
                self.run(f"{a}[{mask}] = {self.pick(('', '-'))}{a}[{mask}] * 0.5 {self.pick(('+', '-'))} "
                         f"{self.pick((f'{b}[{mask}]' if x.shape == y.shape else '0.5', '0.25'))}")
            case "mask" if x.flags.writeable:
                self.run(f"{a}[{a} > {self.pick((0.3, -0.2, 5.0))}] {self.pick(('=', '=', '+=', '*='))} "
                         f"{self.pick(('0.5', '-1.5', f'{b}[..., 0]' if y.ndim == 1 else '0.25'))}")

    def value(self, name: str) -> str:
        return self.pick((name, name, "0.75", f"{name}[..., :1]", f"{name} * 0.5"))


def key_text(key: Any) -> str:
    if isinstance(key, tuple):
        return f"({', '.join(map(key_text, key))},)" if key else "()"
    if isinstance(key, np.ndarray):
        return f"I({key.tolist()!r})" if key.size and key.dtype != bool else f"I({key.tolist()!r}, {key.dtype.name!r})"
    if isinstance(key, slice):
        return f"slice({key.start}, {key.stop}, {key.step})"
    return repr(key)


@st.composite
def view_programs(draw: Callable[[st.SearchStrategy], Any], start: str = "({} * 1.0)[...]") -> ViewProgram:
    """A program. `start`: what its first arrays are, of the inputs; "{}[...]" are the inputs themselves."""
    x, w = draw(st.sampled_from(SHAPES)), draw(st.sampled_from(SHAPES))
    for length in (draw(st.integers(1, 12)),):
        program = ViewProgram("", x, w, 0)
        writer = _Writer(draw, *program.inputs(), start)
        for _ in range(length):
            writer.step()
    return ViewProgram("\n".join(writer.lines), x, w, writer.count)
