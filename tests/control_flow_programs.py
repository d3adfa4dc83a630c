"""Programs whose control flow depends on the values of their tensors, as people write them.

Each is a plain function of tensors; beside it stand inputs that take it along several paths. What is an array here is
a Tensor in the call, also inside lists and tuples.
"""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import tracegrad as tg


@dataclass(frozen=True)
class Seed:
    """A Generator in the call."""

    number: int


@dataclass(frozen=True, eq=False)
class Program:
    """`exact`: eager and compiled give the same bits. `raises`: the inputs, by position, for which it raises.

    Derivatives are taken with respect to the arrays of the inputs and to `parameters`.
    """

    function: Callable[..., Any]
    inputs: tuple[tuple[Any, ...], ...]
    exact: bool = True
    raises: tuple[int, ...] = ()
    parameters: tuple[tg.Tensor, ...] = ()
    differentiable: bool = True

    def arguments(self, k: int, requires_grad: bool = False) -> tuple[Any, ...]:
        """The arguments of the k-th call, made anew."""
        return given(self.inputs[k], requires_grad)

    @property
    def name(self) -> str:
        return self.function.__name__


def given(value: Any, requires_grad: bool) -> Any:
    """What a call is given for a part of an input."""
    match value:
        case np.ndarray():
            return tg.tensor(value, requires_grad=requires_grad and value.dtype.kind == "f")
        case Seed(number):
            return tg.Generator(number)
        case list() | tuple():
            return type(value)(given(part, requires_grad) for part in value)
        case _:
            return value


def numbers(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


def weights(*shape: int, seed: int = 0, scale: float = 0.5) -> tg.Tensor:
    return tg.tensor(numbers(*shape, seed=seed) * scale, requires_grad=True)


SIGNS = ((1.0, 1.0, -1.0), (-1.0, 1.0, 1.0), (-1.0, -1.0, 1.0), (1.0, 1.0, 1.0))


def lists(*counts: int, size: int = 3) -> tuple[tuple[list[np.ndarray]], ...]:
    """A call with one list of vectors for each count."""
    return tuple(([numbers(size, seed=10 * k + j) for j in range(count)],) for k, count in enumerate(counts))


def signed_lists() -> tuple[tuple[list[np.ndarray]], ...]:
    return tuple(([s * np.array([1.0, 0.5 + k, 0.25 * j]) for j, s in enumerate(signs)],)
                 for k, signs in enumerate(SIGNS))


def vectors(*seeds: int, size: int = 3) -> tuple[tuple[np.ndarray], ...]:
    return tuple((numbers(size, seed=seed),) for seed in seeds)


def scalars(*values: float) -> tuple[tuple[np.ndarray], ...]:
    return tuple((np.array(value),) for value in values)


# ---- branches ---------------------------------------------------------------------------------------------------


def conditional(x):
    if x.sum() > 0:
        return x * 2
    return x / 2


def and_or_not(x, y):
    if x.sum() > 0 and y.sum() > 0:
        return x * y
    if x.max() > 1 or y.max() > 1:
        return x - y
    z = not (x[0] > y[0])
    return x + y if z else y * 3.0


def chained_comparison(x):
    return x * 10 if 0 < x[0] < 1 else x - 10


def operands_as_results(x, y):
    """`or` and `and` give one of their operands, not a bool."""
    first = (x[0] - 1) or y[0]
    return first * 2.0 + (x[1] and y[1])


def clipped(x):
    """A gradient clipped by its norm."""
    norm = (x * x).sum().sqrt()
    if norm > 1.0:
        x = x / norm
    return x * 3.0


def early_return(xs):
    total = xs[0] * 0.0
    for x in xs:
        total = total + x
        if total.sum() > 3:
            return total * 2
    return total - 1


def with_assert(x):
    assert x.min() > -5, "too small"
    return x * 0.5 + 1


def raising(x):
    if x.min() < 0:
        raise ValueError(f"negative at {int(x.argmin())}")
    return x.sqrt()


def recovering(x):
    """A value error that is handled inside."""
    try:
        return raising(x) * 2
    except ValueError:
        return x * x


def sorted_by_value(xs):
    ordered = sorted(xs, key=lambda x: x.sum())
    return ordered[0] - ordered[-1] * 2, max(xs, key=lambda x: x[0]) + 1


def insertion_sort(x):
    items: list[Any] = []
    for k in range(3):
        at = 0
        while at < len(items) and items[at] < x[k]:
            at += 1
        items.insert(at, x[k])
    return tg.stack(items) * tg.tensor([1.0, 2.0, 4.0], dtype="float64")


def filtered(xs):
    kept = [x * 2 for x in xs if x.sum() > 0]
    return sum(kept, xs[0] * 0.0), len(kept)


def any_and_all(xs):
    if all(x.min() > 0 for x in xs):
        return xs[0] * xs[1]
    if any(x.max() > 1 for x in xs):
        return xs[0] + xs[1]
    return xs[0] - xs[1]


# ---- integers -----------------------------------------------------------------------------------------------------

EXPERTS = [weights(3, 3, seed=k) for k in range(4)]


def experts(x):
    """Hard routing: one of four experts, by an argmax."""
    gate = tg.concat([x, -x[:1]])
    return tg.tanh(x @ EXPERTS[gate.argmax()])


def by_index(x, index):
    return x * float([1, 20, 300][int(index)])


def machine(x, codes):
    """A little machine whose instructions are in a tensor."""
    for k in range(codes.shape[0]):
        match int(codes[k]):
            case 0:
                break
            case 1:
                x = x + 1
            case 2:
                x = x * x
            case _:
                x = -x
    return x


def counted(x, n):
    for k in range(n):
        x = x * 0.5 + k
    return x


def greedy_decoding(x):
    """Tokens until the one that ends: each is the argmax of logits that depend on the one before."""
    tokens, state = [], x
    while len(tokens) < 6:
        state = tg.tanh(state @ EXPERTS[0] + x)
        token = int(state.argmax())
        tokens.append(token)
        if token == 2:
            break
    return state, tokens


def gcd(a, b):
    while b != 0:
        a, b = b, a % b
    return a


def collatz(n):
    """The number of steps to 1, by recursion."""
    if n == 1:
        return 0
    return 1 + collatz(n // 2 if n % 2 == 0 else 3 * n + 1)


PROGRAMS = (
    Program(conditional, ((np.array([1.0, 2.0]),), (np.array([-1.0, -2.0]),), (np.array([3.0, -1.0]),))),
    Program(and_or_not, tuple((np.array([a, 0.5]), np.array([b, 0.25])) for a, b in (
        (1, 1), (2, -1), (-1, 2), (-1, -1), (0.5, -0.75), (-1, -0.5)))),
    Program(chained_comparison, tuple((np.array([v, 2.0]),) for v in (0.5, -1.0, 3.0))),
    Program(operands_as_results, tuple((np.array(v), np.array([7.0, 5.0])) for v in (
        [1.0, 0.0], [1.0, 3.0], [2.0, 0.0], [2.0, 3.0]))),
    Program(clipped, ((np.array([0.5, 0.5]),), (np.array([3.0, 4.0]),))),
    Program(early_return, signed_lists()),
    Program(with_assert, ((np.array([1.0, 2.0]),), (np.array([-9.0, 2.0]),), (np.array([2.0, 3.0]),)), raises=(1,)),
    Program(raising, ((np.array([1.0, 2.0]),), (np.array([3.0, -2.0]),), (np.array([0.25, 3.0]),)), raises=(1,)),
    Program(recovering, ((np.array([1.0, 2.0]),), (np.array([3.0, -2.0]),), (np.array([-3.0, 2.0]),))),
    Program(sorted_by_value, lists(2, 3, 3)),
    Program(insertion_sort, tuple((np.array(v),) for v in ((1.0, 2, 3), (3.0, 2, 1), (2.0, 3, 1), (2.0, 1, 3)))),
    Program(filtered, signed_lists()),
    Program(any_and_all, tuple(([np.array(a), np.array(b)],) for a, b in (
        ([1.0, 2], [3.0, 4]), ([-1.0, 2], [0.0, 0]), ([-1.0, 0], [0.0, 0.5])))),
    Program(experts, vectors(1, 2, 3, 4), exact=False, parameters=tuple(EXPERTS)),
    Program(by_index, tuple((np.array([1.0, 2.0]), np.array(k)) for k in (0, 1, 2))),
    Program(machine, tuple((np.array([1.0, 2.0]), np.array(codes)) for codes in ((1, 2, 3), (2, 2, 0), (0, 1, 1)))),
    Program(counted, tuple((np.array([1.0, 2.0]), np.array(n)) for n in (0, 1, 4))),
    Program(greedy_decoding, vectors(1, 2, 5), exact=False),
    Program(gcd, tuple((np.array(a), np.array(b)) for a, b in ((12, 18), (7, 7), (100, 36))), differentiable=False),
    Program(collatz, tuple((np.array(n),) for n in (1, 6, 8)), differentiable=False),
)
