"""Cases of calls as lines of text, and the arrays they are called with: ours | operands | the other's | mark.

    softmax(x, axis=1)          | x=f(3,4)                      in PyTorch the same with dim= for axis=
    permute_dims(x, (1, 0))     | x=f(3,4)    | permute(x, (1, 0))

Operands: f normal, p in 0.1..4, q in 0.1..0.9, u in -0.9..0.9, g in 1.1..4, d distinct numbers in any order, i integers
0..n-1 with n first, b bools, c complex, s symmetric positive definite, m well-conditioned, t lower triangular, arange;
then the shape. Marks: `value` where nothing is differentiated, `once` where the other has no second derivative.
"""
from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True, slots=True)
class Case:
    """One call: ours, the other's, the operands (name, kind, shape), how often it can be differentiated."""

    number: int
    ours: str
    theirs: str
    operands: tuple[tuple[str, str, tuple[int, ...]], ...]
    orders: int

    def __str__(self) -> str:
        shapes = ",".join("x".join(map(str, shape)) for _, _, shape in self.operands)
        return f"{self.ours}[{shapes}]"

    @property
    def names(self) -> set[str]:
        """What it calls: `softmax`, `linalg.inv`."""
        return set(re.findall(r"([A-Za-z_][\w.]*)\(", self.ours))

    def arrays(self) -> Arrays:
        """Its operands, the same every time."""
        rng = np.random.default_rng(self.number)
        return {name: _drawn(kind, shape, rng) for name, kind, shape in self.operands}


def parse(text: str) -> tuple[Case, ...]:
    """The cases of a text, one on each line, comments after # at the start of a line."""
    return tuple(_case(number, line) for number, line in enumerate(
        line for line in text.splitlines() if line and not line.startswith("#")))


def _case(number: int, line: str) -> Case:
    ours, operands, theirs, mark, *_ = [*(part.strip() for part in line.split("|")), "", ""]
    found = tuple((name, kind, tuple(int(n) for n in sizes.split(",") if n))
                  for name, kind, sizes in re.findall(r"(\w+)=(\w+)\(([\d,]*)\)", operands))
    return Case(number, ours, theirs or ours, found, {"": 2, "once": 1, "value": 0}[mark])


def _drawn(kind: str, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    match kind:
        case "f":
            return np.asarray(rng.normal(size=shape))
        case "p" | "q" | "u" | "g":
            return rng.uniform(*{"p": (0.1, 4.0), "q": (0.1, 0.9), "u": (-0.9, 0.9), "g": (1.1, 4.0)}[kind], shape)
        case "d":
            return rng.permutation(int(np.prod(shape))).reshape(shape) * 0.25 - 1.0
        case "i":
            return rng.integers(0, shape[0], shape[1:])
        case "b":
            return rng.integers(0, 2, shape).astype(bool)
        case "c":
            return rng.normal(size=shape) + 1j * rng.normal(size=shape)
        case "arange":
            return np.arange(*shape) - 2.0
    n = shape[-1]
    square = rng.normal(size=(*shape, n))
    if kind == "s":
        return square @ square.swapaxes(-1, -2) + np.eye(n)
    return np.tril(square + 3 * np.eye(n)) if kind == "t" else square + 3 * np.eye(n)
