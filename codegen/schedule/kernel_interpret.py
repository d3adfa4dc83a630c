"""kernel_interpret: run a Kernel or a Plan on NumPy arrays: the oracle between scheduling and machine code.

All points of the axes are computed at once, a statement at a time: outer points are rows of an array, inner points its
columns. Every index is checked against its buffer. Memory not written yet, in arena and outputs, holds NaN or all ones.
"""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any, assert_never

import numpy as np

from codegen.ir.dims import number_of
from codegen.ir.ops import OPS
from codegen.ir.references import literal
from codegen.ir.types import DTYPES, FLOATS, NAMES, TensorType
from codegen.schedule.host import run_host
from codegen.schedule.index import index_values
from codegen.schedule.kernel import (
    Accumulate,
    Axis,
    Binary,
    Cast,
    Const,
    Gather,
    Holds,
    Index,
    Kernel,
    Load,
    Pass,
    Position,
    RandomWord,
    Scan,
    Scatter,
    Select,
    Statement,
    Store,
    Unary,
    Within,
)
from codegen.schedule.memory import LiveRange
from codegen.schedule.plan import (
    NOWHERE,
    Arena,
    Attention,
    Check,
    Constant,
    Copy,
    Host,
    Input,
    Launch,
    Matmul,
    Output,
    Part,
    Plan,
    Spliced,
)
from codegen.schedule.sizes import kernel_at

IDENTITIES = {"sum": lambda dtype: 0, "prod": lambda dtype: 1,
              "max": lambda dtype: _limits(dtype)[0], "min": lambda dtype: _limits(dtype)[1]}


def _limits(dtype: np.dtype) -> tuple[Any, Any]:
    if NAMES[dtype] in FLOATS:
        return -np.inf, np.inf
    return (False, True) if dtype.kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max)


def run_kernel(kernel: Kernel, buffers: Sequence[np.ndarray]) -> bool:
    """Run a kernel on flat arrays, one for each param, in place; does every check hold?"""
    run = _Run(kernel, buffers)
    with np.errstate(all="ignore"):
        for one in kernel.passes:
            run.one_pass(one)
    return not run.failed


class _Run:
    def __init__(self, kernel: Kernel, buffers: Sequence[np.ndarray]):
        for param, buffer in zip(kernel.params, buffers, strict=True):
            assert (buffer.dtype, buffer.shape) == (DTYPES[param.dtype], (param.size,)), f"{buffer.dtype} for {param}"
        self.kernel, self.buffers = kernel, buffers
        self.failed = False
        self.values: list[np.ndarray] = []
        self.axes: list[tuple[Axis, ...] | None] = []       # of the pass at whose points each is, if it is done
        self.here: tuple[Axis, ...] = ()
        self.outer = _grid(kernel.axes)
        self.points: dict[str, np.ndarray] = {}
        self.alive: np.ndarray = np.ones((1, 1), bool)

    def one_pass(self, one: Pass) -> None:
        inner = _grid(one.axes)
        self.here = one.axes
        self.points = {a: p[:, None] for a, p in self.outer.items()} | {a: p[None, :] for a, p in inner.items()}
        self.alive = np.ones((len(next(iter(self.outer.values()), [0])), len(next(iter(inner.values()), [0]))), bool)
        for axis in one.axes:
            if axis.clip is not None:
                self.alive = self.alive & (self.index(axis.clip[0]) < axis.clip[1])
        start = len(self.values)
        for s in one.body:
            self.statement(s)
        made = [s for s in one.body if not isinstance(s, Store | Scatter)]
        self.axes += [None if isinstance(s, Accumulate) or not one.axes else one.axes for s in made]
        assert len(self.axes) == len(self.values) == start + len(made)

    def index(self, index: Index) -> np.ndarray:
        return np.atleast_2d(index_values(index, self.points))

    def holds(self, guards: tuple[Within, ...]) -> np.ndarray:
        result = self.alive
        for guard in guards:
            at = self.index(guard.index)
            result = result & (number_of(guard.low) <= at) & (at < number_of(guard.high))
        return result

    def value(self, k: int) -> np.ndarray:
        assert k >= len(self.axes) or self.axes[k] in (None, self.here), f"v{k} is not seen here"
        return self.values[k]

    def read(self, buffer: int, place: np.ndarray, valid: np.ndarray) -> np.ndarray:
        array = self.buffers[buffer]
        place, valid = np.broadcast_arrays(place, valid)
        assert ((place[valid] >= 0) & (place[valid] < array.size)).all(), f"b{buffer} is read outside"
        result = np.zeros(place.shape, array.dtype)
        result[valid] = array[place[valid]]
        return result

    def picked(self, s: Gather | Scatter, valid: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The places that a statement indexes by a value, and where the value is in bounds."""
        k = self.value(s.k).astype(np.int64)
        size = number_of(s.size)
        inside = (-size <= k) & (k < size)
        self.failed = self.failed or bool((valid & ~inside).any())
        return self.index(s.base) + number_of(s.stride) * np.where(k < 0, k + size, k), valid & inside

    def statement(self, s: Statement) -> None:
        match s:
            case Const(text, dtype):
                result = np.full((1, 1), literal(text), DTYPES[dtype])
            case Position(index, dtype):
                result = self.index(index).astype(DTYPES[dtype])
            case Load(buffer, index, guards):
                result = self.read(buffer, self.index(index), self.holds(guards))
            case Holds(guards):
                result = self.holds(guards)
            case Gather():
                result = self.read(s.buffer, *self.picked(s, self.holds(s.guards)))
            case Unary(op, x):
                result = OPS[op].reference(self.value(x))
            case Binary(op, x, y):
                result = OPS[op].reference(self.value(x), self.value(y))
            case Select(condition, x, y):
                result = np.where(self.value(condition), self.value(x), self.value(y))
            case Cast(x, dtype):
                result = OPS["cast"].reference(self.value(x), dtype=dtype)
            case RandomWord(key, counter, index):
                result = self.random_words(self.value(key), self.value(counter), self.index(index))
            case Accumulate(kind, x):
                x_all = np.broadcast_to(self.value(x), self.alive.shape)
                x_all = np.where(self.alive, x_all, x_all.dtype.type(IDENTITIES[kind](x_all.dtype)))
                result = OPS[kind].reference(x_all, axis=(1,), keepdims=True)
            case Scan(op, args):
                result = OPS[op].reference(*(np.broadcast_to(self.value(x), self.alive.shape) for x in args), axis=1)
            case Store(buffer, index, x):
                self.store(buffer, *np.broadcast_arrays(self.index(index), self.value(x), self.alive))
                return
            case Scatter():
                where, valid = self.picked(s, self.alive)
                where, terms, valid = np.broadcast_arrays(where, self.value(s.x), valid)
                self.scatter(s.kind, self.buffers[s.buffer], where[valid], terms[valid])
                return
            case _:
                assert_never(s)
        self.values.append(np.asarray(result))

    def scatter(self, kind: str, buffer: np.ndarray, where: np.ndarray, terms: np.ndarray) -> None:
        if kind == "add":
            np.add.at(buffer, where, terms)
        elif kind == "max":
            np.maximum.at(buffer, where, terms)
        else:
            buffer[where] = terms
            same = kind == "set" or buffer[where].tobytes() == terms.tobytes()
            assert same, "what is written to one place is not the same"

    def store(self, buffer: int, place: np.ndarray, x: np.ndarray, valid: np.ndarray) -> None:
        array = self.buffers[buffer]
        assert ((place[valid] >= 0) & (place[valid] < array.size)).all(), f"b{buffer} is written outside"
        assert x.dtype == array.dtype, f"{x.dtype} is stored in b{buffer}, which is {array.dtype}"
        array[place[valid]] = x[valid]

    def random_words(self, key: np.ndarray, counter: np.ndarray, index: np.ndarray) -> np.ndarray:
        words = OPS["random_bits"].reference(key.reshape(-1)[0], counter.reshape(-1)[0], shape=(int(index.max()) + 1,))
        return words[index]


def _grid(axes: tuple[Axis, ...]) -> dict[str, np.ndarray]:
    """For each axis its number at every point, the last axis changing fastest."""
    shape = [number_of(axis.extent) for axis in axes]
    return {axis.name: grid.reshape(-1) for axis, grid in zip(axes, np.indices(shape))} if axes else {}


# ---- plans ---------------------------------------------------------------------------------------------------------


def run_plan(plan: Plan, inputs: Sequence[np.ndarray]) -> list[np.ndarray] | None:
    """The outputs of a plan, None where it leaves at its check. Aliased inputs are written; they are C-contiguous."""
    if plan.symbolic:
        raise ValueError("a plan with symbols has to be bound to numbers first")
    outputs = [_poisoned(type) for type in plan.outputs]
    for output, input in plan.aliases:
        outputs[output] = inputs[input]
    arena = np.full(plan.arena_bytes, 0xFF, np.uint8)
    buffers: list[np.ndarray] = []
    for buffer in plan.buffers:
        dtype = DTYPES[buffer.dtype]
        start, stop = number_of(buffer.start), number_of(buffer.start) + number_of(buffer.size)
        match buffer.place:
            case Input(k):
                buffers.append(np.ascontiguousarray(inputs[k]).reshape(-1)[start:stop])
            case Output(k):
                buffers.append(outputs[k].reshape(-1)[start:stop])
            case Arena(offset):
                assert offset % 64 == 0
                size = dtype.itemsize
                buffers.append(arena[offset + start * size:offset + stop * size].view(dtype))
            case Constant(data):
                buffers.append(np.frombuffer(data, dtype)[start:stop])
            case LiveRange():
                raise AssertionError("only plans with symbols have these")
        assert buffers[-1].shape == (buffer.size,) and buffers[-1].dtype == dtype
    holds = True
    for step in plan.steps:
        match step:
            case Launch(kernel, numbers, words):
                known = kernel_at(kernel, tuple(map(number_of, words)))
                holds = run_kernel(known, [buffers[n] for n in numbers]) and holds
            case Matmul():
                _matmul(step, buffers[step.a], buffers[step.b], buffers[step.c])
            case Spliced():
                run_spliced(step, buffers)
            case Attention():
                run_attention(step, buffers)
            case Host():
                holds = _host(step, buffers) and holds
            case Copy(source, target):
                buffers[target][:] = buffers[source]
            case Check():
                if not holds:
                    return None
            case _:
                assert_never(step)
    return outputs


def _host(step: Host, buffers: Sequence[np.ndarray]) -> bool:
    """Does the reference take its operands?"""
    try:
        run_host(step, [np.empty(0) if k is None else buffers[k] for k, _ in step.operands], buffers[step.result])
    except (ArithmeticError, IndexError, ValueError):       # NumPy's LinAlgError is a ValueError
        return False
    return True


def _poisoned(type: TensorType) -> np.ndarray:
    array = np.empty(tuple(map(int, type.shape)), DTYPES[type.dtype])       # type: ignore[arg-type]
    array.reshape(-1).view(np.uint8)[:] = 0xFF if array.dtype.kind != "b" else 1
    return array


def run_spliced(step: Spliced, buffers: Sequence[np.ndarray], left: np.ndarray | None = None,
                rows: Sequence[np.ndarray] = (), made: Sequence[np.ndarray] = ()) -> None:
    """Multiply, with what is done in the tiles done to the whole. `left`: the left operand, if it is in no buffer; what
    is behind takes `rows` before the result, and `made` after it."""
    product = step.product
    batch, m, n, k = product.sizes

    def tile(number: int, size: int, part: Part | None, after: int = 0) -> np.ndarray:
        own = DTYPES[part.kernel.params[-1 - after].dtype if part else product.dtype]
        return np.empty(batch * size, own) if number == NOWHERE else buffers[number]

    a = tile(product.a, m * k, step.left) if left is None else left
    b, c = tile(product.b, k * n, step.right), tile(product.c, m * n, step.behind, len(made))
    _run_part(step.left, product, buffers, a)
    _run_part(step.right, product, buffers, b)
    _matmul(product, a, b, c)
    _run_part(step.behind, product, buffers, *rows, c, *made)


def run_attention(step: Attention, buffers: Sequence[np.ndarray]) -> None:
    """Two products, the rows of the first one whole."""
    product, params = step.scores.product, step.rows.kernel.params[len(step.rows.buffers):]
    batch, m, n, _ = product.sizes
    assert step.scores.behind is not None
    scores = np.empty(batch * m * n, DTYPES[step.scores.behind.kernel.params[-1].dtype])
    run_spliced(step.scores, buffers, made=(scores,))
    largest, total, weight, *read = (np.empty(batch * m, DTYPES[param.dtype]) for param in params)
    with np.errstate(all="ignore"):
        whole = scores.reshape(batch * m, n).astype(largest.dtype)
        largest[:] = whole.max(1)
        weights = np.exp(whole - np.where(largest == -np.inf, 0, largest)[:, None])
        total[:] = weights.sum(1)
        _run_part(step.rows, product, buffers, largest, total, weight, *read)
        run_spliced(step.result, buffers, (weights * weight[:, None]).reshape(-1), read)


def _run_part(part: Part | None, product: Matmul, buffers: Sequence[np.ndarray], *tiles: np.ndarray) -> None:
    if part is not None:
        words = tuple(map(number_of, product.words))
        run_kernel(kernel_at(part.kernel, words), [*(buffers[b] for b in part.buffers), *tiles])


def _matmul(step: Matmul, a: np.ndarray, b: np.ndarray, c: np.ndarray) -> None:
    batch, m, n, k = step.sizes
    a = a.reshape(batch, *((k, m) if step.transpose_a else (m, k)))
    b = b.reshape(batch, *((n, k) if step.transpose_b else (k, n)))
    a = a.swapaxes(1, 2) if step.transpose_a else a
    b = b.swapaxes(1, 2) if step.transpose_b else b
    with np.errstate(all="ignore"):
        c.reshape(batch, m, n)[:] = OPS["matmul"].reference(a.astype(c.dtype), b.astype(c.dtype))
