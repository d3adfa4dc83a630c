"""Work: what the steps up to one run as, for the values that are wanted: by NumPy the first time, then compiled.

    work.run(inputs, homes)             one native call: the wanted values; what is to be written is written
    work.interpret(inputs, arrays)      the same op by op, and nothing is written yet

1. Work that is wanted once only is not compiled: a compiled call pays from the second time on.
2. What does not compile, and what is too little for a native call, is interpreted for ever.
"""
from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import lru_cache
from math import prod
from typing import Any

import numpy as np

from codegen import AnySize, CannotLower, CompileError, Executable
from codegen.ir.builder import Builder, Value
from codegen.ir.graph import Graph
from codegen.ir.ops import OPS
from codegen.ir.type_rules import TypeRuleError
from tracegrad.compiling import Compiling
from tracegrad.float_errors import restore, silence
from tracegrad.made import OutputPool
from tracegrad.refusals import REFUSALS, failure
from tracegrad.steps import Step
from tracegrad.tensors import Tensor

LARGE = 12 << 10
"""So many bytes of each operation take NumPy as long as it takes to fit known kernels to other sizes."""

SMALL = 1 << 16
"""One or two ops on fewer bytes than this are left to NumPy."""

Written = tuple[tuple[int, int | None], ...]
"""Of each value to be written: its step, and the step by which the memory that it goes to entered, if it did."""


class Work:
    """What the steps up to `last` run as, for the values `wanted` and those that are `written` to memory there was."""

    def __init__(self, last: Step, wanted: tuple[int, ...], written: Written):
        self.wanted, self.written = wanted, written
        self.path = last.path()
        self.runs = 0
        self.reason: str | None = None          # why it is not compiled
        self.executable: Any = None
        self._pools: dict[int, OutputPool] = {}     # by the position among what run() is given

    @property
    def is_worth_it(self) -> bool:
        """Is a native call of all of it faster than NumPy op by op?"""
        computing = self.path[-1].computing
        return computing > 2 or computing > 0 and any(prod(s.shape) * s.dtype.itemsize >= SMALL for s in self.path)

    @property
    def aliases(self) -> tuple[tuple[int, int], ...]:
        """Which outputs of the graph are written over which of its inputs."""
        first = len(self.wanted)
        return tuple((first + j, self.path[n].entered - 1) for j, (_, n) in enumerate(self.written) if n is not None)

    @property
    def is_large(self) -> bool:
        """Does NumPy take longer than it takes to fit known kernels to these sizes?"""
        last = self.path[-1]
        return last.bytes >= LARGE * last.computing

    def sizes(self) -> tuple[int, ...]:
        """The sizes in the graph, in order (see codegen.sizes_in)."""
        found: list[int] = []
        for step in self.path:
            if step.op == "input":
                found += step.shape
        for step in self.path:
            if step.op != "input":
                for name, _ in OPS[step.op].attrs:
                    value = step.attrs[name]
                    if type(value) is tuple:
                        found += value
                found += step.shape
        for step in map(self.path.__getitem__, self.wanted):
            if step.order is not None:
                found += (*step.order, *(step.shape[k] for k in step.order))
        return tuple(found)

    def compile(self, name: str, compiling: Compiling, alike: Alike, anew: bool) -> None:
        """Make the executable, with kernels of those `alike` if there are such, or note why there is none.

        `anew`: may kernels be compiled for it? Else it takes known ones.
        """
        first = len(self.wanted)
        try:
            executable = alike.executable(self, name, compiling, anew)
            if executable is None and not anew:
                self.reason = "no known kernels do it"
                return
            if executable is None:
                executable = compiling.executable(self.graph(name), self.aliases)
                compiling.stats.compile_seconds += executable.compile_seconds
        except (CannotLower, CompileError, TypeRuleError) as error:
            self.reason = str(error)
            return
        count = len(executable.inputs)
        self._pools = {k: OutputPool(executable.slots[k - count]) for k in executable.ends[0][:first]}
        self.executable = executable

    def graph(self, name: str) -> Graph:
        """The steps as a Graph: what is wanted, in the order of its memory, then what is written."""
        b = Builder(name)
        values: dict[int, Value] = {s.index: b.input(s.type) for s in self.path if s.op == "input"}
        for step in self.path:
            if step.op != "input":
                b.line = step.line
                args = [values[a] if type(a) is int else b.emit("constant", value=a[0], dtype=a[1]) for a in step.args]
                values[step.index] = b.emit(step.op, *args, **step.attrs)
        b.line = None
        orders = [self.path[k].order for k in self.wanted]
        outputs = [values[k] if order is None else b.emit("transpose", values[k], axes=order)
                   for k, order in zip(self.wanted, orders)]
        return b.graph([*outputs, *(values[k] for k, _ in self.written)])

    def run(self, inputs: Sequence[np.ndarray], homes: Sequence[np.ndarray]
            ) -> tuple[dict[int, np.ndarray] | None, BaseException | None]:
        """The wanted values; what is written goes to `homes`. None if it left at an exit, with nothing written, or if
        it is not compiled. And what has interrupted it: the user's code had the work done already, so it is finished.
        """
        if self.executable is None:
            return None, None
        places = self.executable.ends[0]
        given = [a if a.flags.c_contiguous else np.ascontiguousarray(a) for a in inputs]
        stored = {place: pool.take() for place, pool in self._pools.items()}
        for place, home in zip(places[len(self.wanted):], homes):
            if place >= len(given):
                stored[place] = home
        operands, interruption = (*given, *(stored[place] for place in sorted(stored))), None
        try:
            left_at = self.executable.run(operands)
        except BaseException as error:  # noqa: BLE001 - raised by who called, once everything is in order
            left_at, interruption = self.executable.run(operands), error
        if left_at >= 0:
            return None, interruption
        arrays = {}
        for k, place in zip(self.wanted, places):
            order = self.path[k].order
            arrays[k] = stored[place] if order is None else stored[place].transpose(np.argsort(order))
        return arrays, interruption

    def interpret(self, inputs: Sequence[np.ndarray], arrays: dict[int, np.ndarray]) -> None:
        """Put every value that is wanted or written into `arrays`, by NumPy. What refuses raises as in eager mode."""
        kept = {*self.wanted, *(k for k, _ in self.written)}
        last = {a: step.index for step in self.path for a in step.args if type(a) is int}
        entering = iter(inputs)
        errors = silence()
        try:
            for step in self.path:
                if step.op == "input":
                    arrays[step.index] = next(entering)
                    continue
                operands = [arrays[a] if type(a) is int else number(*a) for a in step.args]
                try:
                    array = np.asarray(OPS[step.op].reference(*operands, **step.attrs))
                except REFUSALS as error:
                    raise failure(step.op, tuple(map(Tensor, operands)), step.attrs, error) from None
                arrays[step.index] = array.copy("C") if step.fresh else array
                for a in step.args:
                    if type(a) is int and last[a] == step.index and a not in kept:
                        arrays.pop(a, None)
        finally:
            restore(errors)


@lru_cache(maxsize=4096)
def number(text: str, dtype: str) -> np.ndarray:
    """The value of a number operand."""
    return OPS["constant"].reference(value=text, dtype=dtype)


class Alike:
    """Works that differ in sizes alone: some of them, and, once there are several, what serves them all."""

    MOST, MOST_TRIES = 4, 4

    def __init__(self) -> None:
        self.serves: AnySize | None = None
        self._met: dict[tuple[int, ...], Work] = {}     # by their sizes
        self._tries = 0

    @property
    def is_known(self) -> bool:
        """Was any met?"""
        return bool(self._met)

    def meet(self, work: Work) -> None:
        """A work was run."""
        if len(self._met) < self.MOST:
            self._met.setdefault(work.sizes(), work)

    def executable(self, work: Work, name: str, compiling: Compiling, anew: bool) -> Executable | None:
        """One for `work` whose kernels serve all of them; None where no other was met, or nothing is found that does.

        `anew`: may kernels be compiled for it?
        """
        sizes = work.sizes()
        made = None if self.serves is None else self.serves.at(sizes)
        others = [other for met, other in self._met.items() if met != sizes]
        if made is None and others and self._tries < self.MOST_TRIES:
            self._tries += 1
            serves = compiling.for_all_sizes([w.graph(name) for w in (*others, work)], work.aliases, anew)
            if serves is not None:
                self.serves, made = serves, serves.executable
        self.meet(work)
        return made


class KnownWork:
    """All that the followed calls of one function have deferred, by its steps."""

    MOST_STEPS = 20_000
    families = 0                                        # how many families of steps are known

    def __init__(self, name: str, compiling: Compiling):
        self.name, self._compiling = name, compiling
        self.root = Step()
        self.size = 0                                   # steps known
        self.compiled: list[Work] = []                  # but those that share kernels with one of them
        self._lock = threading.Lock()

    def begin(self) -> Step:
        """Where a call begins. Of many steps those at all sizes are forgotten, but not their families."""
        if self.size > self.MOST_STEPS:
            self.root, self.size = Step(family=self.root.family), 0
        return self.root

    def find(self, last: Step, wanted: tuple[int, ...], written: Written, anew: bool) -> Work:
        """What to run for these values; compiled when they are wanted for the second time, be it at another size.

        `anew`: may kernels be compiled for it?
        """
        key = wanted, written
        work = last.works.get(key)
        if work is None:
            work = last.works.setdefault(key, Work(last, wanted, written))
        work.runs += 1
        if work.executable is None and work.reason is None:
            with self._lock:
                if work.executable is None and work.reason is None:
                    self._compile(work, last.family.works.setdefault(key, Alike()), anew)
        return work

    def _compile(self, work: Work, alike: Alike, anew: bool) -> None:
        if not work.is_worth_it:
            work.reason = "NumPy does so little faster than a native call"
        elif work.runs > 1 or alike.is_known and work.is_large:
            compiled = alike.serves
            work.compile(f"{self.name}.segment{len(self.compiled)}", self._compiling, alike, anew)
            if work.executable is not None and (compiled is None or alike.serves is not compiled):
                self.compiled.append(work)
        else:
            alike.meet(work)
