"""compile_program: Program -> Tree -> optimize -> target -> Executable. What goes wrong is one of two exceptions."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from time import perf_counter
from typing import cast

from codegen.cache import Cache, default_cache
from codegen.collector import collector_paused
from codegen.executable import Aliases, Executable
from codegen.ir.generalize import Binding
from codegen.ir.graph import Graph
from codegen.ir.program import Program, joins_of, program_of
from codegen.ir.tree import Tree, opened
from codegen.ir.types import is_static
from codegen.ir.verify import VerifyError, verify
from codegen.optimize.blocks import optimize_tree
from codegen.optimize.iterations import cut_at_iterations
from codegen.schedule.plan import CannotLower, TooMuchMemory
from codegen.seen_sizes import SeenSizes
from codegen.source import UNBOUND, Source
from codegen.targets import TARGETS
from codegen.turns import short_turns


class CompileError(Exception):
    """A defect: of the compiler, or of the program if `__cause__` is a VerifyError. `__cause__` is what happened."""


@collector_paused
@short_turns
def compile_program(program: Graph | Program, target: str = "llvm_cpu", cache: Cache | None = None,
                    aliases: Aliases | Sequence[Aliases] = (), fast_math: bool = False,
                    sizes: SeenSizes | None = None, numbers: Mapping[str, int] | None = None,
                    memory_budget: int | None = None) -> Executable:
    """Compile `program`, a Graph or a Program that is a tree, for a target (a name in TARGETS).

    aliases: ((output, input), ...): that output shares that input's storage. Each output and each input at most once,
    and both of one type. For a Program one such tuple for each Return, in order of blocks, or none at all.
    `fast_math` permits rewrites that change rounding. `cache` holds compiled code; None is the cache of the process.
    `sizes`: what was compiled before for the same purpose: where only sizes differ, the kernels are made for all sizes.
    `numbers`: what the symbols of the program are; `resized` of the executable is the program at others.
    `memory_budget`: the bytes of the arena, for which some of the program may be done again. Where they are too few it
    is as small as was found; but what serves all sizes takes no more.
    CannotLower, with a sentence, for what the target does not do; CompileError for a defect; ValueError for an unknown
    target or wrong aliases.
    """
    start = perf_counter()
    if target not in TARGETS:
        raise ValueError(f"there is no target {target!r}; the targets are {', '.join(TARGETS)}")
    _verify(program)
    tree = _tree(program_of(program) if isinstance(program, Graph) else program)
    given = (aliases,) if isinstance(program, Graph) else aliases or ((),) * len(tree.ends())
    shared = cast(tuple[Aliases, ...], tuple(given))
    _check_aliases(tree, shared, bool(numbers))
    try:
        known = None if numbers else sizes
        executable = _for_all_sizes(tree, target, shared, cache or default_cache(), fast_math, known, memory_budget)
        if executable is None:
            if numbers and not TARGETS[target].binds:
                raise CannotLower(f"{target} compiles no sizes that are symbols")
            binding, whole = (Binding(numbers, ()), is_short(tree)) if numbers else (UNBOUND, False)
            source = source_of(tree, fast_math, binding, whole, memory_budget)
            executable = TARGETS[target].compile(source, shared, cache or default_cache())
    except CannotLower:
        raise
    except Exception as error:
        raise CompileError(f"{program.name}: {type(error).__name__}: {error}") from error
    return replace(executable, compile_seconds=perf_counter() - start)


def _for_all_sizes(tree: Tree, target: str, aliases: tuple[Aliases, ...], cache: Cache, fast_math: bool,
                   sizes: SeenSizes | None, memory_budget: int | None) -> Executable | None:
    """An executable with kernels that serve other sizes too; None where no other sizes were seen, or none can be."""
    if sizes is None or not TARGETS[target].binds:
        return None
    found = sizes.generic_of(tree, aliases, fast_math)
    if found is None:
        return None
    generic, binding = found
    try:
        source = source_of(generic.tree, fast_math, binding, memory_budget=memory_budget)
        return TARGETS[target].compile(source, aliases, cache)
    except TooMuchMemory:
        return None
    except CannotLower:
        sizes.refuse(generic)
        return None


def source_of(tree: Tree, fast_math: bool, binding: Binding = UNBOUND, whole: bool = False,
              memory_budget: int | None = None) -> Source:
    """A tree for a target to compile; what is not `whole` is cut where it repeats itself."""
    parts = (lambda: tree) if whole else partial(cut_at_iterations, tree)
    return Source(tree, lambda: optimize_tree(parts(), fast_math), fast_math, binding, memory_budget,
                  partial(optimize_tree, tree, fast_math))


SHORT = 1000
"""So many nodes with symbols stay whole, since that is what other numbers are filled into fastest."""


def is_short(tree: Tree) -> bool:
    """Does it take longer to fill numbers into its parts than to plan it whole?"""
    return sum(len(block.nodes) for block in tree.blocks) <= SHORT


def _verify(program: Graph | Program) -> None:
    """Code compiled from wrong types would read and write out of bounds."""
    try:
        verify(program)
    except VerifyError as error:
        raise CompileError(str(error)) from error


def _tree(program: Program) -> Tree:
    joins = joins_of(program)
    if joins:
        raise CannotLower(f"{program.name} is no tree, since not one way leads to block{joins[0]}; "
                          "only trees of blocks are compiled")
    return opened(program)


def _check_aliases(tree: Tree, aliases: Sequence[Aliases], bound: bool) -> None:
    types, ends = tree.types(), tree.ends()
    if len(aliases) != len(ends):
        raise ValueError(f"there are aliases for {len(aliases)} ends; {tree.name} has {len(ends)}")
    for values, pairs in zip(ends.values(), aliases):
        for side, count in ((0, len(values)), (1, len(tree.inputs))):
            numbers = [pair[side] for pair in pairs]
            if len(set(numbers)) < len(numbers) or not all(0 <= n < count for n in numbers):
                raise ValueError(f"the aliases {pairs} name an output or an input twice, or one that is not there")
        for output, input in pairs:
            own, shared = types[values[output]], tree.inputs[input]
            if own != shared or not (bound or is_static(own)):
                raise ValueError(f"output {output} is {own} and cannot share the storage of input {input}, {shared}")
