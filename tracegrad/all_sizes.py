"""AllSizes: paths that were recorded with symbols for sizes, as the root that they are at any of them.

    x: f32[b,64], recorded at b = 24, where b > 8 was seen to hold
    find(f32[100,64])       b is 100, b > 8 holds: a root for 100. No Python of the user's runs, nothing is compiled
    a call leaves that root where it asks whether a sum is positive: the way it goes is recorded with b as a symbol, too

1. A root at other sizes assumes what the one that was recorded does, with other shapes: its guards check that again.
2. What the runs took for granted of sizes holds at the others too, or there is no root for them.
3. It is never changed: one more path makes another, which has `grown` from it. Roots of before find that one when they
   are left.
"""
from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from codegen import CannotLower
from codegen.ir.dims import Size, evaluate
from codegen.ir.evaluation import size_text
from codegen.ir.structs import replaced
from codegen.ir.types import TensorType
from tracegrad.entry import GradExpected, Source
from tracegrad.made import Made, MadeView
from tracegrad.made_tensors import MadeTensors
from tracegrad.segments import Path
from tracegrad.size_numbers import Formula, attrs_in_numbers, computing, formula_text, shown
from tracegrad.sized import may_be_sized
from tracegrad.symbols import Symbols, has_symbols

if TYPE_CHECKING:
    from tracegrad.recorder import Recorder
    from tracegrad.replay import Root
    from tracegrad.tensors import Tensor

Shape = tuple[Size, ...]
Makes = tuple[Made | MadeView, ...]


class AllSizes:
    """`root`: what was recorded, at the sizes of the last run of these. `shapes`: those of its leaves, in `symbols`, as
    its `inputs` are; `assumed`: what the runs took for granted of them; `makes`: what each path makes, with symbols.
    """

    MOST = 64                               # so many roots are kept that no call has come back to yet

    def __init__(self, root: Root, inputs: Sequence[TensorType], symbols: tuple[str, ...], shapes: Sequence[Shape],
                 assumed: Mapping[Formula, bool], makes: Mapping[Path, Makes]):
        self.root, self.inputs, self.symbols, self.shapes = root, tuple(inputs), symbols, tuple(shapes)
        self.assumed, self._makes = assumed, makes
        formulas = {k: source.of_sizes for k, source in enumerate(root.sources) if source.of_sizes is not None}
        self._computed = tuple(formulas)                        # inputs that are numbers computed from sizes
        self._values = computing(symbols, [(formula, inputs[k].dtype) for k, formula in formulas.items()])
        self._numbers = _unpacking(self.shapes, symbols, assumed)
        self._roots: dict[tuple[int, ...], Root | None] = {}
        self._replays: dict[Path, int] = {}                     # at sizes that are not kept any more
        self._lock = threading.Lock()
        self.grown: AllSizes | None = None
        self.calls = 0

    def with_path(self, root: Root, inputs: Sequence[TensorType], leaves: Sequence[Tensor], symbols: Symbols,
                  makes: Mapping[Path, Makes]) -> AllSizes:
        """These and one more, of a run with `symbols` that had left one of them: all are paths of `root`."""
        return self._continued(AllSizes(root, inputs, self.symbols, [symbols.sizes_of(t) for t in leaves],
                                        {**self.assumed, **symbols.assumptions.made}, {**self._makes, **makes}))

    def without_paths(self, root: Root) -> AllSizes:
        """Those that `root` still has."""
        return self._continued(AllSizes(root, self.inputs, self.symbols, self.shapes, self.assumed,
                                        {trace.path: self._makes[trace.path] for trace in root.traces}))

    def _continued(self, other: AllSizes) -> AllSizes:
        """The other, which counts on from here."""
        other.calls, replays = self.calls, self.replays
        other._replays = {path: replays.get(path, 0) for path in other._makes}
        return other

    @property
    def replays(self) -> dict[Path, int]:
        """How many replays each path has had, at whatever sizes."""
        with self._lock:
            found = dict(self._replays)
            for root in (self.root, *self._roots.values()):
                _count(root, found)
        return found

    @property
    def latest(self) -> AllSizes:
        """What it has grown to."""
        found = self
        while found.grown is not None:
            found = found.grown
        return found

    def symbols_at(self, leaves: Sequence[Tensor]) -> Symbols | None:
        """The symbols, for a run that leaves a root at the sizes of these leaves; None if none are to be had."""
        numbers = self._numbers(tuple([leaf.array.shape for leaf in leaves]))
        given = [(leaf, shape) for leaf, shape in zip(leaves, self.shapes) if has_symbols(shape)]
        if numbers is None or not all(may_be_sized(leaf) for leaf, _ in given):
            return None
        return Symbols(given, dict(zip(self.symbols, numbers)))

    def sentences(self, root: Root) -> tuple[str, ...]:
        """What symbols are, and what is taken for granted of them; of a root at other sizes, what they are there."""
        if root is not self.root:
            return tuple([f"{name} is {n}" for name, n in self.numbers_of(root).items()])
        shapes = [f"{source}.shape is ({', '.join(map(str, shape))}{',' * (len(shape) == 1)})"
                  for source, shape in zip(root.guards.sources, self.shapes) if has_symbols(shape)]
        assumed = (shown(formula) if holds else f"not {shown(formula, True)}"
                   for formula, holds in self.assumed.items())
        return (*shapes, *assumed, f"calls at sizes that were new: {self.calls}")

    def numbers_of(self, root: Root) -> dict[str, int]:
        """What the symbols are for a root."""
        return dict(zip(self.symbols, self._numbers(tuple([line.expected[0] for line in root.guards.shapes])) or ()))

    def find(self, args: tuple, kwargs: Mapping[str, Any]) -> tuple[Root, tuple[Tensor, ...]] | None:
        """The root for a call, with the Tensors that its path reads; None if this is no path of it."""
        leaves = self.root.guards.but_shapes(args, kwargs)
        if leaves is None:
            return None
        shapes = tuple([leaf.array.shape for leaf in leaves])
        numbers = self._numbers(shapes)
        if numbers is None:
            return None
        with self._lock:
            if numbers not in self._roots:
                self._roots[numbers] = self._at(numbers, shapes)
                if len(self._roots) > self.MOST:
                    _count(self._roots.pop(next(iter(self._roots))), self._replays)
            root = self._roots[numbers]
        found = None if root is None else root.match(args, dict(kwargs))
        if root is None or found is None:
            return None
        self.calls += 1
        return root, found

    def _at(self, numbers: tuple[int, ...], shapes: tuple[tuple[int, ...], ...]) -> Root | None:
        root, binding = self.root, dict(zip(self.symbols, numbers))
        assert root.executable.resized is not None
        try:
            executable = root.executable.resized(binding)
            values = self._values(*numbers)
        except (CannotLower, ArithmeticError, TypeError, ValueError):       # Python will say what is wrong with them
            return None
        sources = list(root.sources)
        for k, value in zip(self._computed, values):
            sources[k] = replaced(sources[k], array=value)
        traces = [replaced(trace, makes=tuple([_made_at(made, binding) for made in self._makes[trace.path]]), replays=0,
                          route=None if trace.route is None else trace.route.at(binding)) for trace in root.traces]
        if any(trace.route is not None and not trace.route.keeps_within_budget for trace in traces):
            return None
        grads = tuple([_grad_at(expected, self.shapes, binding) for expected in root.grads_expected])
        return replaced(root, guards=root.guards.with_shapes(dict(enumerate(shapes))), sources=tuple(sources),
                       grads_expected=grads, traces=tuple(traces), executable=executable)


def sized_source(formula: Formula, value: np.ndarray) -> Source:
    """Where a number computed from sizes is found."""
    return Source(shown(formula), array=value, of_sizes=formula)


def _count(root: Root | None, replays: dict[Path, int]) -> None:
    for trace in () if root is None else root.traces:
        replays[trace.path] = replays.get(trace.path, 0) + trace.replays


def with_symbols(made: MadeTensors, symbols: Symbols, recorder: Recorder) -> Makes:
    """What a path makes, with symbols for sizes."""
    tensors = iter(made.tensors)

    def symbolic(m: Made | MadeView) -> Made | MadeView:
        if isinstance(m, MadeView):
            return replaced(m, attrs=symbols.symbolic(m.attrs))
        tensor = next(tensors)
        return replaced(m, type=TensorType(m.type.dtype, symbols.sizes_of(tensor)),
                       strides=None if m.strides is None else symbols.strides_of(tensor, recorder))
    return tuple(map(symbolic, made.makes))


def with_plain_attrs(made: Made | MadeView) -> Made | MadeView:
    """What a replay makes, at the sizes of the run that was recorded."""
    return replaced(made, attrs=attrs_in_numbers(made.attrs)) if isinstance(made, MadeView) else made


def _made_at(made: Made | MadeView, binding: Mapping[str, int]) -> Made | MadeView:
    """What a replay makes, in numbers."""
    if isinstance(made, Made):
        shape = tuple([evaluate(size, binding) for size in made.type.shape])
        strides = None if made.strides is None else tuple([evaluate(stride, binding) for stride in made.strides])
        return replaced(made, type=TensorType(made.type.dtype, shape), strides=strides)
    return replaced(made, attrs={name: tuple([evaluate(size, binding) for size in value]) if has_symbols(value)
                                else value for name, value in made.attrs.items()})


def _grad_at(expected: GradExpected, shapes: Sequence[Shape], binding: Mapping[str, int]) -> GradExpected:
    if expected.type is None:
        return expected
    shape = tuple([evaluate(size, binding) for size in shapes[expected.leaf]])
    return replaced(expected, type=TensorType(expected.type.dtype, shape))


def _unpacking(shapes: Sequence[Shape], symbols: Sequence[str], assumed: Mapping[Formula, bool]
               ) -> Callable[[tuple[tuple[int, ...], ...]], tuple[int, ...] | None]:
    """What symbols are where leaves have some shapes; None if these do not fit, or what is assumed does not hold."""
    names, tests, given = {name: name for name in symbols}, [f"{name} >= 2" for name in symbols], []
    first: dict[str, str] = {}
    for k, shape in enumerate(shapes):
        given.append(f"({''.join(f'd{k}_{axis}, ' for axis in range(len(shape)))})")
        for axis, size in enumerate(shape):
            if first.setdefault(str(size), f"d{k}_{axis}") != f"d{k}_{axis}" or str(size) not in names:
                tests.append(f"d{k}_{axis} == {size_text(size, names)}")
    tests += [f"{formula_text(formula, names)} is {holds}" for formula, holds in assumed.items()]
    lines = ["def numbers(shapes):", " try:", f"  ({''.join(f'{text}, ' for text in given)}) = shapes",
             *(f"  {name} = {first[name]}" for name in symbols),
             f"  return ({''.join(f'{name}, ' for name in symbols)}) if {' and '.join(tests)} else None",
             " except (ValueError, ArithmeticError, TypeError): return None"]
    space: dict[str, Any] = {}
    exec("\n".join(lines), space)
    return space["numbers"]
