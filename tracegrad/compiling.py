"""Compiling: how one traced function's programs become executables.

Programs that differ only in sizes from what the function was before share kernels, from the second size on: whatever
they are of, paths of the function or backwards of its results.
"""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field

from codegen import AnySize, Executable, Graph, Program, SeenSizes, compile_any_size, compile_program
from codegen.ir.structs import struct
from tracegrad.spans import begin, end
from tracegrad.stats import Stats

Aliases = tuple[tuple[int, int], ...]


@struct
class Compiling:
    """A target, what it may do, and the sizes seen before. Kernels that had to be compiled are counted in `stats`.

    `memory_budget`: the bytes that a native call is to work in at most, and that is kept of one for its backward.
    """

    target: str
    fast_math: bool = False
    memory_budget: int | None = None
    stats: Stats = field(default_factory=Stats)
    sizes: SeenSizes = field(default_factory=SeenSizes)

    def executable(self, program: Graph | Program, aliases: Aliases | Sequence[Aliases] = (),
                   numbers: Mapping[str, int] | None = None) -> Executable:
        """The executable of a program, at these numbers for its symbols; what compile_program raises."""
        began = begin()
        made = compile_program(program, self.target, aliases=aliases, fast_math=self.fast_math, sizes=self.sizes,
                               numbers=numbers, memory_budget=self.memory_budget)
        end(began, "code", program.name, kernels_compiled=made.kernels_compiled, kernels_reused=made.kernels_reused)
        self.stats.kernels_compiled += made.kernels_compiled
        return made

    def for_all_sizes(self, graphs: Sequence[Graph], aliases: Aliases, compiles: bool) -> AnySize | None:
        """What serves all of these graphs, which differ in sizes alone, and others like them; None if nothing does.

        `compiles`: may it compile kernels?
        """
        began = begin()
        made = compile_any_size(graphs, self.target, aliases=aliases, fast_math=self.fast_math, compiles=compiles)
        if made is not None:
            end(began, "code", graphs[-1].name, kernels_compiled=made.executable.kernels_compiled,
                kernels_reused=made.executable.kernels_reused)
            self.stats.kernels_compiled += made.executable.kernels_compiled
            self.stats.compile_seconds += made.executable.compile_seconds
        return made
