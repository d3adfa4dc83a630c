"""AllSizes: a path that was recorded with symbols for sizes, as the root that it is at any of them.

    x: f32[b,64], recorded at b = 24, where b > 8 was seen to hold
    find(f32[100,64])       b is 100, b > 8 holds: a root for 100. No Python of the user's runs, nothing is compiled

1. A root at other sizes assumes what the one that was recorded does, with other shapes: its guards check that again.
2. What the run took for granted of sizes holds at the others too, or there is no root for them.
"""
from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from codegen import CannotLower
from codegen.ir.dims import Dim, Size, evaluate
from codegen.ir.evaluation import size_text
from codegen.ir.types import TensorType
from tracegrad.entry import GradExpected, Source
from tracegrad.made import Made, MadeView
from tracegrad.size_numbers import Assumptions, attrs_in_numbers, formula_text, shown

if TYPE_CHECKING:
    from tracegrad.replay import Root
    from tracegrad.sized import Symbols
    from tracegrad.tensors import Tensor

Shape = tuple[Size, ...]


class AllSizes:
    """`root`: what was recorded, at the present numbers of `symbols`. `shapes`: those of its leaves; `makes`: what it
    makes, with symbols. Its last inputs are the numbers computed from sizes that it takes.
    """

    MOST = 64                               # so many roots are kept that no call has come back to yet

    def __init__(self, root: Root, symbols: Symbols, shapes: Sequence[Shape], makes: Sequence[Made | MadeView]):
        self.root, self.shapes, self.symbols = root, tuple(shapes), tuple(symbols.numbers)
        self.assumptions = symbols.assumptions
        self._makes = tuple([m if isinstance(m, Made) else replace(m, attrs=symbols.symbolic(m.attrs)) for m in makes])
        self._values = symbols.computing()
        self._numbers = _unpacking(self.shapes, self.symbols, self.assumptions)
        self._roots: dict[tuple[int, ...], Root | None] = {}
        self._lock = threading.Lock()
        self.calls = 0

    def sentences(self, root: Root) -> tuple[str, ...]:
        """What symbols are, and what is taken for granted of them; of a root at other sizes, what they are there."""
        if root is not self.root:
            numbers = self._numbers(tuple([line.expected[0] for line in root.guards.shapes]))
            return tuple([f"{name} is {n}" for name, n in zip(self.symbols, numbers or ())])
        shapes = [f"{source}.shape is ({', '.join(map(str, shape))}{',' * (len(shape) == 1)})"
                  for source, shape in zip(root.guards.sources, self.shapes) if _has_symbols(shape)]
        assumed = (shown(formula) if holds else f"not {shown(formula, True)}"
                   for formula, holds in self.assumptions.made.items())
        return (*shapes, *assumed, f"calls at sizes that were new: {self.calls}")

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
                    self._roots.pop(next(iter(self._roots)))
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
        kept = root.sources[:len(root.sources) - len(values)]
        computed = [replace(source, array=value) for source, value in zip(root.sources[len(kept):], values)]
        (trace,) = root.traces
        trace = replace(trace, makes=tuple([_made_at(made, binding) for made in self._makes]), replays=0,
                        route=None if trace.route is None else trace.route.at(binding))
        grads = tuple([_grad_at(expected, self.shapes, binding) for expected in root.grads_expected])
        return replace(root, guards=root.guards.with_shapes(dict(enumerate(shapes))),
                       sources=(*kept, *computed), grads_expected=grads, traces=(trace,),
                       executable=executable)


def sized_source(text: str, value: np.ndarray) -> Source:
    """Where a number computed from sizes is found."""
    return Source(text, array=value)


def with_plain_attrs(made: Made | MadeView) -> Made | MadeView:
    """What a replay makes, at the sizes of the run that was recorded."""
    return made if isinstance(made, Made) else replace(made, attrs=attrs_in_numbers(made.attrs))


def _made_at(made: Made | MadeView, binding: Mapping[str, int]) -> Made | MadeView:
    """What a replay makes; of a view, its attrs are numbers."""
    if isinstance(made, Made):
        return made
    return replace(made, attrs={name: tuple([evaluate(size, binding) for size in value]) if _has_symbols(value)
                                else value for name, value in made.attrs.items()})


def _has_symbols(value: Any) -> bool:
    return isinstance(value, tuple) and any(isinstance(size, Dim) for size in value)


def _grad_at(expected: GradExpected, shapes: Sequence[Shape], binding: Mapping[str, int]) -> GradExpected:
    if expected.type is None:
        return expected
    shape = tuple([evaluate(size, binding) for size in shapes[expected.leaf]])
    return replace(expected, type=TensorType(expected.type.dtype, shape))


def _unpacking(shapes: Sequence[Shape], symbols: Sequence[str], assumptions: Assumptions
               ) -> Callable[[tuple[tuple[int, ...], ...]], tuple[int, ...] | None]:
    """What symbols are where leaves have some shapes; None if these do not fit, or what is assumed does not hold."""
    names, tests, given = {name: name for name in symbols}, [f"{name} >= 2" for name in symbols], []
    first: dict[str, str] = {}
    for k, shape in enumerate(shapes):
        given.append(f"({''.join(f'd{k}_{axis}, ' for axis in range(len(shape)))})")
        for axis, size in enumerate(shape):
            if first.setdefault(str(size), f"d{k}_{axis}") != f"d{k}_{axis}" or str(size) not in names:
                tests.append(f"d{k}_{axis} == {size_text(size, names)}")
    tests += [f"{formula_text(formula, names)} is {holds}" for formula, holds in assumptions.made.items()]
    lines = ["def numbers(shapes):", " try:", f"  ({''.join(f'{text}, ' for text in given)}) = shapes",
             *(f"  {name} = {first[name]}" for name in symbols),
             f"  return ({''.join(f'{name}, ' for name in symbols)}) if {' and '.join(tests)} else None",
             " except (ValueError, ArithmeticError, TypeError): return None"]
    space: dict[str, Any] = {}
    exec("\n".join(lines), space)
    return space["numbers"]
