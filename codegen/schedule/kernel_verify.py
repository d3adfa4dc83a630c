"""verify_kernel: does a Kernel without words keep the rules that emission relies on? Blames the first line if not.

    kernel (b0: f32[8] in) {
      for i < 9 vector:
        pass:
          v0 = load b0[i]            # b0 has 8 elements and the index goes from 0 to 8
    }

The rules are those of kernel.py. An index is bounded by interval arithmetic; if that says too much, point by point.
"""
from __future__ import annotations

from collections.abc import Iterable
from math import prod
from typing import assert_never

import numpy as np

from codegen.ir.dims import Size, number_of
from codegen.ir.ops import ELEMENTWISE, OPS
from codegen.ir.type_rules import TypeRuleError
from codegen.ir.types import DTYPES, TensorType
from codegen.schedule.index import axes_of, bounds, coefficient, index_values, without_axes
from codegen.schedule.inplace import at_one_index
from codegen.schedule.kernel import (
    SCANS,
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
    Quotient,
    RandomWord,
    Remainder,
    Scan,
    Scatter,
    Select,
    Statement,
    Store,
    Unary,
    Within,
    buffer_of,
    indices_of,
    makes_value,
    operands,
)
from codegen.schedule.kernel_text import statement_text


class KernelError(ValueError):
    """A kernel breaks a rule; the message says which and where."""


def verify_kernel(kernel: Kernel) -> None:
    """Check a kernel; KernelError if it breaks a rule."""
    _Verifier(kernel).run()


class _Verifier:
    def __init__(self, kernel: Kernel):
        self.kernel = kernel
        self.dtypes: list[str] = []                     # of each value so far
        self.seen: set[int] = set()                     # values that the present pass sees
        self.shelved: dict[tuple[Axis, ...], set[int]] = {}         # those made before at each point of these axes
        self.where = "kernel"

    def require(self, holds: bool, message: str) -> None:
        if not holds:
            raise KernelError(f"{self.where}: {message}")

    def run(self) -> None:
        self.axes()
        for one in self.kernel.passes:
            self.one_pass(one)
        self.where = "kernel"
        self.buffers()

    # rules 4 and 5

    def axes(self) -> None:
        kernel = self.kernel
        for one in kernel.passes or (Pass((), ()),):
            names = [axis.name for axis in (*kernel.axes, *one.axes)]
            self.require(len(set(names)) == len(names), f"an axis is named twice in {names}")
            for axis in (*kernel.axes, *one.axes):
                self.require(axis.extent >= 1, f"axis {axis.name} has extent {axis.extent}")
                self.clip(axis, names)
        outer = bool(kernel.axes) and kernel.axes[-1].name == kernel.vector
        inner = all(one.axes[-1].name == kernel.vector for one in kernel.passes if one.axes) and any(
            one.axes for one in kernel.passes)
        self.require(kernel.vector is None or outer or inner, f"the vector axis {kernel.vector} is not the last one")
        self.require(kernel.grain >= 0 and (not kernel.grain or bool(kernel.axes)), "there is no axis to be parallel")

    def clip(self, axis: Axis, names: list[str]) -> None:
        if axis.clip is None:
            return
        index, bound = axis.clip
        self.require(axes_of(index) <= set(names) and coefficient(index, axis.name) == 1 and bound >= 1,
                     f"axis {axis.name} is clipped by an index that does not count it")

    # rules 1, 2, 3, 6

    def one_pass(self, one: Pass) -> None:
        axes = (*self.kernel.axes, *one.axes)
        extents = {axis.name: axis.extent for axis in axes}
        lasting = set(self.seen)
        shelved = self.shelved.setdefault(one.axes, set())
        self.seen |= shelved
        for s in one.body:
            name = f"v{len(self.dtypes)} = " if makes_value(s) else ""
            self.where = f"{name}{statement_text(s)}"
            for x in operands(s):
                self.require(x in self.seen, f"v{x} is not seen here")
            for index in indices_of(s):
                self.index(index, extents)
            self.bounds(s, axes, extents)
            self.require(not isinstance(s, Accumulate) or bool(one.axes), "an accumulation needs axes to combine over")
            if isinstance(s, Scan):
                self.require(len(one.axes) == 1 and one.axes[0].name != self.kernel.vector,
                             "a scan needs one axis to run along in order")
            dtype = self.dtype(s)
            if dtype is not None:
                number = len(self.dtypes)
                self.dtypes.append(dtype)
                if not isinstance(s, Accumulate):
                    self.seen.add(number)               # what an accumulation comes to is known after its pass
                (lasting if isinstance(s, Accumulate) or not one.axes else shelved).add(number)
        self.seen = lasting

    def index(self, index: Index, extents: dict[str, Size]) -> None:
        missing = sorted(axes_of(index) - extents.keys())
        self.require(not missing, f"axes {missing} are not around it")
        texts = [str(term) for term, _ in index.terms]
        self.require(len(set(texts)) == len(texts) and all(c for _, c in index.terms), "an index is not canonical")
        for term, _ in index.terms:
            if isinstance(term, Quotient | Remainder):
                self.require(term.divisor >= 2, "a divisor is below 2")
                self.require(bounds(term.index, extents)[0] >= 0, "what is divided can be negative")
                self.index(term.index, extents)

    def bounds(self, s: Statement, axes: tuple[Axis, ...], extents: dict[str, Size]) -> None:
        match s:
            case Load(buffer, index, guards):
                self.inside(buffer, [index], guards, axes, extents)
            case Store(buffer, index):
                self.inside(buffer, [index], (), axes, extents)
            case Gather(buffer, base, _, stride, size, guards):
                self.inside(buffer, [base, _moved(base, stride * (size - 1))], guards, axes, extents)
            case Scatter(_, buffer, base, _, stride, size):
                self.inside(buffer, [base, _moved(base, stride * (size - 1))], (), axes, extents)
                self.require(self.kernel.vector is None and not self.kernel.grain, "a scatter must run in order")

    def inside(self, buffer: int, places: Iterable[Index], guards: tuple[Within, ...], axes: tuple[Axis, ...],
               extents: dict[str, Size]) -> None:
        self.require(buffer < len(self.kernel.params), f"there is no b{buffer}")
        size = self.kernel.params[buffer].size
        for place in places:
            low, high = bounds(*_clipped(place, axes, extents))
            if not (low >= 0 and high < size):
                low, high = _bounds_by_points(place, guards, axes)
            self.require(low >= 0 and high < size,
                         f"b{buffer} has {size} elements and the index goes from {low} to {high}")

    def dtype(self, s: Statement) -> str | None:
        """The dtype of the value that a statement makes, by the type rules of its op; None for a store."""
        match s:
            case Const(_, dtype) | Position(_, dtype):
                return self.known(dtype)
            case Load(buffer) | Gather(buffer):
                if isinstance(s, Gather):
                    self.require(self.dtypes[s.k] in ("i32", "i64"), f"v{s.k} is {self.dtypes[s.k]} and no index")
                return self.kernel.params[buffer].dtype
            case Holds():
                return "bool"
            case Unary(op, x):
                return self.result(op, x)
            case Binary(op, x, y):
                return self.result(op, x, y)
            case Select(condition, x, y):
                return self.result("where", condition, x, y)
            case Cast(_, dtype):
                return self.known(dtype)
            case RandomWord(key, counter):
                self.require((self.dtypes[key], self.dtypes[counter]) == ("u64", "u64"), "key and counter are u64")
                return "u32"
            case Accumulate(kind, x):
                self.require(kind in ("sum", "prod", "max", "min"), f"there is no accumulation {kind}")
                return self.dtypes[x]
            case Scan(op, args):
                self.require(op in SCANS and len(args) == OPS[op].arity, f"there is no scan {op} of {len(args)}")
                return self.dtypes[args[0]]
            case Store(buffer, _, x) | Scatter(buffer=buffer, x=x):
                self.require(self.dtypes[x] == self.kernel.params[buffer].dtype, f"v{x} is {self.dtypes[x]}")
                return None
            case _:
                assert_never(s)

    def known(self, dtype: str) -> str:
        self.require(dtype in DTYPES, f"there is no dtype {dtype}")
        return dtype

    def result(self, op: str, *args: int) -> str:
        self.require(op in OPS and ELEMENTWISE in OPS[op].traits and OPS[op].arity == len(args),
                     f"{op} is no elementwise op of {len(args)}")
        try:
            return OPS[op].type_rule(*(TensorType(self.dtypes[x]) for x in args)).dtype
        except TypeRuleError as error:
            raise KernelError(f"{self.where}: {error}") from None

    # rule 7

    def buffers(self) -> None:
        for k, param in enumerate(self.kernel.params):
            self.where = f"b{k}"
            touching = [s for p in self.kernel.passes for s in p.body if buffer_of(s) == k]
            reads = any(isinstance(s, Load | Gather | Scatter) for s in touching)
            writes = any(isinstance(s, Store | Scatter) for s in touching)
            self.require(param.dtype in DTYPES, f"there is no dtype {param.dtype}")
            expected = "inout" if reads and writes else "out" if writes else "in" if reads else "unused"
            self.require(param.access == expected, f"the param is {expected}, not {param.access}")
            self.require(at_one_index(self.kernel, {k}), "an element is read at another point than it is written")


def _moved(index: Index, distance: Size) -> Index:
    return Index(index.terms, index.constant + distance)


def _clipped(index: Index, axes: tuple[Axis, ...], extents: dict[str, Size]) -> tuple[Index, dict[str, Size]]:
    """The index with a clipped axis and those that its clip counts with it as one axis, which runs below the bound."""
    for axis in axes:
        if axis.clip is None:
            continue
        whole, bound = axis.clip
        counted = {term: c for term, c in whole.terms if isinstance(term, str)}
        if len(counted) != len(whole.terms) or whole.constant:
            continue
        if all(coefficient(index, name) == c * (coefficient(index, axis.name) or 0) for name, c in counted.items()):
            extents = {**extents, axis.name: bound}
            alone = counted.keys() - {axis.name}
            index = without_axes(index, alone, extents)
    return index, extents


def _bounds_by_points(index: Index, guards: tuple[Within, ...], axes: tuple[Axis, ...]) -> tuple[int, int]:
    """The least and greatest value of an index over all points where the guards hold and no axis is clipped."""
    around = [axis for axis in axes if any(axis.name in axes_of(i) for i in (index, *(g.index for g in guards)))]
    around += [axis for axis in axes if axis not in around and any(
        a.clip and axis.name in axes_of(a.clip[0]) for a in around)]
    numbers = np.indices([number_of(axis.extent) for axis in around]).reshape(len(around), -1)
    grid = dict(zip([axis.name for axis in around], numbers))

    def at(i: Index) -> np.ndarray:
        return index_values(i, grid)

    holds = np.ones(max(1, prod(number_of(axis.extent) for axis in around)), bool)
    for guard in (*guards, *(Within(a.clip[0], 0, a.clip[1]) for a in around if a.clip)):
        holds &= (number_of(guard.low) <= at(guard.index)) & (at(guard.index) < number_of(guard.high))
    values = np.broadcast_to(at(index), holds.shape)[holds]
    return (int(values.min()), int(values.max())) if values.size else (0, 0)
