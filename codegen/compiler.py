"""compile_program: Program -> optimize -> target -> Executable. Whatever goes wrong inside is one of two exceptions."""
from __future__ import annotations

from dataclasses import replace
from time import perf_counter

from codegen.cache import Cache, default_cache
from codegen.executable import Executable
from codegen.ir.graph import Graph
from codegen.ir.program import Program, Return
from codegen.ir.types import is_static
from codegen.ir.verify import VerifyError, verify
from codegen.optimize.pipeline import optimize
from codegen.schedule.plan import CannotLower
from codegen.targets import TARGETS


class CompileError(Exception):
    """A defect: of the compiler, or of the program if `__cause__` is a VerifyError. `__cause__` is what happened."""


def compile_program(program: Graph | Program, target: str = "llvm_cpu", cache: Cache | None = None,
                    aliases: tuple[tuple[int, int], ...] = (), fast_math: bool = False) -> Executable:
    """Compile `program` for a target (a name in TARGETS).

    aliases: ((output, input), ...): that output shares that input's storage. Each output and each input at most once,
    and both of one type. `fast_math` permits rewrites that change rounding. `cache` holds compiled code; None is the
    cache of the process.
    CannotLower, with a sentence, for what the target does not do; CompileError for a defect; ValueError for an unknown
    target or wrong aliases.
    """
    start = perf_counter()
    if target not in TARGETS:
        raise ValueError(f"there is no target {target!r}; the targets are {', '.join(TARGETS)}")
    _verify(program)
    graph = _only_graph(program)
    _check_aliases(graph, aliases)
    try:
        executable = TARGETS[target].compile(optimize(graph, fast_math), aliases, cache or default_cache())
    except CannotLower:
        raise
    except Exception as error:
        raise CompileError(f"{graph.name}: {type(error).__name__}: {error}") from error
    return replace(executable, compile_seconds=perf_counter() - start)


def _verify(program: Graph | Program) -> None:
    """Code compiled from wrong types would read and write out of bounds."""
    try:
        verify(program)
    except VerifyError as error:
        raise CompileError(str(error)) from error


def _only_graph(program: Graph | Program) -> Graph:
    if isinstance(program, Graph):
        return program
    first = program.blocks[0]
    if len(program.blocks) > 1 or not isinstance(first.terminator, Return):
        raise CannotLower(f"{program.name} has branches; only straight-line programs are compiled")
    return Graph(program.name, first.inputs, first.nodes, first.terminator.values)


def _check_aliases(graph: Graph, aliases: tuple[tuple[int, int], ...]) -> None:
    for side, count in ((0, len(graph.outputs)), (1, len(graph.inputs))):
        numbers = [alias[side] for alias in aliases]
        if len(set(numbers)) < len(numbers) or not all(0 <= n < count for n in numbers):
            raise ValueError(f"the aliases {aliases} name an output or an input twice, or one that is not there")
    for output, input in aliases:
        own, shared = graph.type_of(graph.outputs[output]), graph.inputs[input]
        if own != shared or not is_static(own):
            raise ValueError(f"output {output} is {own} and cannot share the storage of input {input}, {shared}")
