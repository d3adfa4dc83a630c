"""Steps: what a followed run does, op by op, as a tree that all runs of a function share as far as they go alike.

    Step     one op after those before it: known operands, attrs and types give the type of its result at once,
             and where NumPy would have put it in memory: see `step_types`

Where eager execution would have made a view, the step knows whose memory it is on.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from codegen.ir.generalize import SIZED
from codegen.ir.ops import CHECKED, OPS
from codegen.ir.references import literal_text
from codegen.ir.types import TensorType
from tracegrad.dispatch import VIEWING
from tracegrad.step_types import StepType, beside_numbers, input_of, order_of, result_of

CAN_REFUSE = frozenset(name for name, op in OPS.items() if CHECKED in op.traits)
"""Ops that refuse some values; the error belongs to the line of the op."""


NO_ATTRS, NO_STEPS = dict[str, Any](), dict[Any, Any]()
"""Never written to."""


class Family:
    """Steps that do the same after the same steps, at any sizes; but 0 and 1 are apart from others.

    `numbers`: those that were the first operands of what followed. `works`: what is run where a segment ends here, by
    what is wanted of it. `line`: where it was first met. `is_known`: was it counted?
    """

    __slots__ = ("after", "numbers", "works", "line", "is_known")

    def __init__(self, line: str | None = None):
        self.after: dict[Any, Family] = {}
        self.numbers: dict[Any, tuple[Any, ...]] = {}
        self.works: dict[Any, Any] = {}
        self.line = line
        self.is_known = False


class Step:
    """One op, after the steps before it; or an array that enters, under the name "input".

    `args`: k for the result of step k, (text, dtype) for a number. `base`: the step whose memory the result is on,
    itself unless it is a view. `order`: the axes of the result as they lie in memory, the slowest first, None if that
    is their order. `refused`: this op is not deferred.
    """

    __slots__ = ("parent", "op", "args", "attrs", "fresh", "index", "entered", "of", "type", "dtype", "shape",
                 "strides", "base", "order", "refused", "line", "after", "works", "computing", "bytes", "family")

    index: int
    family: Family
    entered: int
    computing: int
    bytes: int
    op: str
    args: tuple[Any, ...]
    attrs: dict[str, Any]
    fresh: bool                             # is it a copy where NumPy would give a view?
    of: StepType                            # and what that says:
    type: TensorType
    dtype: np.dtype
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    base: int
    order: tuple[int, ...] | None
    line: str | None
    after: dict[Any, Step]
    works: dict[Any, Any]

    def __init__(self, parent: Step | None = None, family: Family | None = None):
        self.parent = parent
        if parent is None:
            self.family = family or Family()
            self.index, self.entered, self.computing, self.bytes = -1, 0, 0, 0
        else:
            self.index = parent.index + 1
            self.entered = parent.entered       # how many inputs there are so far
            self.computing = parent.computing   # how many ops that are no views
            self.bytes = parent.bytes           # of what enters and of all results
        self.refused = False
        self.line = None                        # unless it is of a family
        self.after, self.works = NO_STEPS, NO_STEPS
        if parent is None:
            self.keep()

    def keep(self) -> None:
        """It may come again: it is to know the steps after it, and what is run where a segment ends here, by what is
        wanted of it."""
        self.after, self.works = {}, {}

    def give(self, of: StepType) -> None:
        """Say what the result is."""
        self.of = of
        self.type, self.dtype, self.shape, self.strides, self.order = of.type, of.dtype, of.shape, of.strides, of.order
        self.bytes += of.bytes

    def path(self) -> list[Step]:
        """The steps up to this one."""
        found: list[Step] = []
        step: Step | None = self
        while step is not None and step.index >= 0:
            found.append(step)
            step = step.parent
        return found[::-1]


def input_step(parent: Step, array: np.ndarray) -> Step:
    """The step by which an array of this type enters."""
    step = Step(parent)
    step.op, step.args, step.attrs, step.fresh = "input", (), NO_ATTRS, False
    step.entered += 1
    step.base = step.index
    step.give(input_of(array))
    return step


def op_step(parent: Step, op: str, args: Sequence[Any], operands: Sequence[Step | None], attrs: dict[str, Any],
            fresh: bool) -> Step:
    """The step for an op of steps, the `operands`, and numbers, each in a tuple; `refused` if not to be deferred."""
    step = Step(parent)
    step.op, step.attrs, step.fresh = op, attrs, fresh
    types = tuple([None if o is None else o.of for o in operands])
    found = result_of(op, fresh, types, tuple(attrs.items()) if attrs else ())
    if found is None:
        step.refused = True
        return step
    of, is_view = found
    if None in types:
        beside = beside_numbers(op, types)
        try:
            step.args = tuple([a if type(a) is int else (literal_text(a[0], beside), beside) for a in args])
        except (TypeError, OverflowError):      # eager execution says so, or takes it all the same
            step.refused = True
            return step
    else:
        step.args = tuple(args)
    step.give(of)
    step.base = operands[0].base if is_view else step.index      # type: ignore[union-attr]
    if fresh or op not in VIEWING:
        step.computing += 1
    return step


def with_family(step: Step, line: Callable[[], str | None]) -> Step:
    """A new step, with its family found or founded; `line` gives the user's line, asked for if none like it was met."""
    parent = step.parent
    assert parent is not None
    sizes: tuple[Any, ...] = ()
    if step.op == "input":
        key: Any = "input", step.type.dtype, kinds(step.shape), None if step.of.ordered else order_of(step.strides)
    else:
        if step.attrs:
            sizes = tuple([(name, len(value) if name in SIZED and type(value) is tuple else value)
                           for name, value in step.attrs.items()])
        key = step.op, step.fresh, step.args, sizes, kinds(step.shape), step.base, step.order
    family = parent.family.after.get(key)
    if family is None:
        family = parent.family.after.setdefault(key, Family(line()))
    step.family, step.line = family, family.line
    return step


def kinds(shape: tuple[int, ...]) -> Any:
    """What is no number in a shape: how many sizes it has, and which are 0 or 1."""
    if 0 in shape or 1 in shape:
        return tuple([size if size < 2 else 2 for size in shape])
    return len(shape)
