"""codegen: tensor programs to native code. Knows no Tensor, no gradient, no Python frame."""
from codegen.any_size import AnySize, compile_any_size, sizes_in
from codegen.cache import Cache, DiskCache, content_key, default_cache
from codegen.ceilings import Ceilings, machine_ceilings
from codegen.collector import collector_paused, made_to_last
from codegen.compiler import CompileError, compile_program
from codegen.entries import (
    Built,
    EntryHost,
    EntryProgram,
    Keeping,
    NativeMethod,
    Register,
    attribute_offsets,
    member_offset,
    native_call,
    slot_offset,
)
from codegen.executable import DONE, Executable, ExitTaken, Measured, NativeEvent, clock_ns
from codegen.ir.builder import Builder
from codegen.ir.graph import Graph
from codegen.ir.program import Program
from codegen.ir.text import parse
from codegen.llvm_cpu.threads import get_num_threads, set_num_threads
from codegen.schedule.plan import CannotLower, NoDevice
from codegen.schedule.step_reports import StepReport, StepTime
from codegen.seen_sizes import SeenSizes
from codegen.targets import (
    TARGETS,
    Target,
    calibrate_products,
    describe_gpu,
    describe_host,
    finish_compiling,
    native_observer,
)

__all__ = [
    "DONE", "TARGETS", "AnySize", "Builder", "Built", "Cache", "CannotLower", "Ceilings", "CompileError",
    "DiskCache", "EntryHost", "EntryProgram", "Executable", "ExitTaken", "Graph", "Keeping", "Measured",
    "NativeEvent", "NativeMethod", "NoDevice", "Program", "Register", "SeenSizes", "StepReport", "StepTime",
    "Target", "attribute_offsets", "clock_ns", "collector_paused", "compile_any_size", "compile_program",
    "content_key", "default_cache", "calibrate_products", "describe_gpu", "describe_host", "finish_compiling",
    "get_num_threads", "machine_ceilings", "made_to_last", "member_offset", "native_call", "native_observer",
    "parse", "set_num_threads", "sizes_in", "slot_offset",
]
