"""targets: what a program can be compiled for. One literal table; a backend is a folder and a row here."""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from codegen.cache import Cache
from codegen.executable import DONE, Executable
from codegen.ir.graph import Graph
from codegen.ir.interpret import interpret
from codegen.ir.program import Exit


def describe_host() -> dict[str, str]:
    """What the llvm_cpu target found here, by name: processor, compiler, BLAS, threads, entry, cache."""
    from codegen.llvm_cpu.target import describe_host as describe

    return describe()


@dataclass(frozen=True, slots=True)
class Target:
    """`compile(graph, aliases, cache)` makes an Executable or raises CannotLower."""

    name: str
    about: str
    compile: Callable[[Graph, tuple[tuple[int, int], ...], Cache], Executable]


def _llvm_cpu(graph: Graph, aliases: tuple[tuple[int, int], ...], cache: Cache) -> Executable:
    from codegen.llvm_cpu.target import compile_graph  # brings LLVM along, which only compiling needs

    return compile_graph(graph, aliases, cache)


def _interpret(graph: Graph, aliases: tuple[tuple[int, int], ...], cache: Cache) -> Executable:
    outputs = tuple(graph.type_of(value) for value in graph.outputs)
    owner = dict(aliases)
    places = [owner[k] if k in owner else len(graph.inputs) + k - sum(other < k for other in owner)
              for k in range(len(outputs))]

    def run(arrays: tuple[np.ndarray, ...]) -> int:
        results = interpret(graph, arrays[:len(graph.inputs)])
        if isinstance(results, Exit):
            return results.number
        for place, result in zip(places, results, strict=True):
            arrays[place][...] = result
        return DONE

    return Executable(graph.inputs, outputs, aliases, run)


TARGETS: dict[str, Target] = {target.name: target for target in (
    Target("llvm_cpu", "native code for this machine's processor, by LLVM", _llvm_cpu),
    Target("interpret", "the reference of every op, in NumPy: the oracle of the others", _interpret),
)}
"""Every target by name."""
