"""Compiling: how one traced function's programs become executables.

Programs that differ only in sizes from what the function was before share kernels, from the second size on: whatever
they are of, paths of the function or backwards of its results.
"""
from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import field, replace
from types import FunctionType
from typing import TYPE_CHECKING, Any

from codegen import AnySize, Executable, Graph, Program, SeenSizes, compile_any_size, compile_program
from codegen.ir.structs import struct
from tracegrad.aborts import Abort, Declined
from tracegrad.devices import CPU, Device, current
from tracegrad.spans import begin, end
from tracegrad.stats import Stats

if TYPE_CHECKING:
    from tracegrad.trace_options import TraceOptions

Aliases = tuple[tuple[int, int], ...]

GPU_TARGET = "triton_gpu"


class Backwards:
    """The backwards of custom functions that results of one traced function lead to, each traced by itself."""

    def __init__(self, make: Callable[[FunctionType, TraceOptions], Any], options: TraceOptions):
        self._make, self._options = make, replace(options, strict=False, fast_math=False, audit=0)
        self.traced: dict[FunctionType, Any] = {}

    def anew(self) -> Backwards:
        """The same, which knows of none."""
        return Backwards(self._make, self._options)

    def of(self, function: type) -> Any:
        """That of a custom function as it is now; None for one that is no plain function of ctx."""
        backward = getattr(function, "backward", None)
        if type(backward) is not FunctionType or backward.__code__.co_varnames[:2] == ("self", "ctx"):
            return None
        if backward not in self.traced:
            made = self._make(backward, self._options)
            made.name, made.is_backward = f"{function.__name__}.backward", True
            self.traced[backward] = made
        return self.traced[backward]


@struct
class Compiling:
    """A target, what it may do, and the sizes seen before. Kernels that had to be compiled are counted in `stats`.

    `memory_budget`: the bytes that a native call is to work in at most, and that is kept of one for its backward.
    """

    target: str
    fast_math: bool = False
    memory_budget: int | None = None
    stats: Stats = field(default_factory=Stats)
    backwards: Backwards | None = None          # what its results lead to
    follows_device: bool = False                # is the target another where tensors are on a GPU?
    device: Device = CPU                        # where what it compiles works, and leaves its results
    sizes: SeenSizes = field(default_factory=SeenSizes)
    elsewhere: dict[Device, Compiling] = field(default_factory=dict)

    def anew(self, stats: Stats) -> Compiling:
        """The same, which has seen nothing."""
        backwards = None if self.backwards is None else self.backwards.anew()
        return Compiling(self.target, self.fast_math, self.memory_budget, stats, backwards, self.follows_device)

    def on(self, device: Device) -> Compiling:
        """The same for tensors on a device; Declined where the target is not one of it."""
        if device == self.device:
            return self
        if device == CPU or not self.follows_device and self.target != GPU_TARGET:
            raise Declined(Abort.DEVICE, f"tensors on {device}, and target={self.target!r}")
        if device not in self.elsewhere:
            self.elsewhere[device] = replace(self, target=GPU_TARGET, device=device, sizes=SeenSizes(), elsewhere={})
        return self.elsewhere[device]

    def executable(self, program: Graph | Program, aliases: Aliases | Sequence[Aliases] = (),
                   numbers: Mapping[str, int] | None = None) -> Executable:
        """The executable of a program, at these numbers for its symbols; what compile_program raises."""
        began = begin()
        with current(self.device):
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
