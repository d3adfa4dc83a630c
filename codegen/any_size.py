"""any_size: programs that differ in sizes alone -> one whose kernels serve them all, and any more of its kind.

    made = compile_any_size([graph at f32[8,64], graph at f32[16,64]], aliases)
    made.at(sizes_of(graph at f32[24,64]))      an Executable: numbers are filled in, all else is known

1. It serves a graph that does the same as those it was made of, with the sizes that it has at the numbers of its
   symbols: each one is compared. So what was guessed from a few graphs is right wherever it is used.
"""
from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from codegen.cache import Cache, default_cache
from codegen.collector import collector_paused
from codegen.compiler import CompileError, source_of
from codegen.executable import Aliases, Executable
from codegen.ir.dims import Dim, Size
from codegen.ir.evaluation import evaluator
from codegen.ir.generalize import Generic, generalized, witness_of
from codegen.ir.graph import Graph, Node
from codegen.ir.program import program_of
from codegen.ir.tree import opened
from codegen.ir.types import TensorType
from codegen.schedule.plan import CannotLower
from codegen.targets import TARGETS


def sizes_in(inputs: Iterable[TensorType], nodes: Iterable[Node]) -> Iterator[Size]:
    """Every size of a graph, in order: those of its inputs, then for each node those in its attrs and its type."""
    for type in inputs:
        yield from type.shape
    for node in nodes:
        for _, value in node.attrs:
            if isinstance(value, tuple):
                yield from value
        yield from node.type.shape


class AnySize:
    """A program with symbols. `executable`: it, at the sizes of the last graph that it was made of."""

    def __init__(self, generic: Generic, executable: Executable):
        self.executable = executable
        (block,) = generic.tree.blocks
        sizes = tuple(sizes_in(generic.tree.inputs, block.nodes))
        self._symbols: dict[str, tuple[int, int]] = {}      # where the number of each is seen, and how many times it
        for k, size in enumerate(sizes[:sum(type.ndim for type in generic.tree.inputs)]):
            if isinstance(size, Dim) and len(size.terms) == 1 and not size.constant:
                ((name, times),) = size.terms
                if isinstance(name, str):
                    self._symbols.setdefault(name, (k, times))
        self._expected = evaluator(sizes, tuple(self._symbols))

    def at(self, sizes: tuple[int, ...]) -> Executable | None:
        """The executable for a graph with these sizes that else is like those it was made of; None if it is none."""
        numbers = [sizes[k] // times for k, times in self._symbols.values()]
        if min(numbers) < 2 or self._expected(*numbers) != sizes or self.executable.resized is None:
            return None
        try:
            return self.executable.resized(dict(zip(self._symbols, numbers)))
        except CannotLower:
            return None


@collector_paused
def compile_any_size(graphs: Sequence[Graph], target: str = "llvm_cpu", cache: Cache | None = None,
                     aliases: Aliases = (), fast_math: bool = False, compiles: bool = True) -> AnySize | None:
    """What serves all of these graphs, which differ in sizes alone; None where nothing is found that does.

    `aliases` of each. `compiles`: else it is found only if all kernels are known. CompileError for a defect.
    """
    if not TARGETS[target].binds:
        return None
    cache = cache or default_cache()
    *others, tree = [opened(program_of(graph)) for graph in graphs]
    try:
        generic = generalized(tree, (aliases,), [witness_of(other, (aliases,)) for other in others])
        binding = None if generic is None or generic.lifted else generic.binding_of(tree)
        if generic is None or binding is None or not binding.numbers:
            return None
        executable = TARGETS[target].compile(source_of(generic.tree, fast_math, binding), (aliases,),
                                             cache if compiles else cache.without_compiling())
    except CannotLower:
        return None
    except Exception as error:
        raise CompileError(f"{graphs[-1].name}: {type(error).__name__}: {error}") from error
    return AnySize(generic, executable)
