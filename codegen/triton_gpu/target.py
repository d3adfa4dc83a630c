"""target: the GPU as a Target: Tree -> ProgramPlan -> Triton kernels -> Executable, whose runs Python drives.

Where the environment says TRITON_INTERPRET=1, kernels run in Triton's interpreter on NumPy arrays, each access checked:
that is slow, and needs no GPU.
"""
from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from functools import cache, partial
from importlib.metadata import PackageNotFoundError, version
from time import perf_counter

from codegen.cache import Cache
from codegen.executable import Aliases, Executable, Measured
from codegen.ir.generalize import Binding
from codegen.planning import plan_of
from codegen.schedule.machine import Machine
from codegen.schedule.plan import NoDevice, TooMuchMemory
from codegen.source import Source
from codegen.triton_gpu.attention_tiles import attends
from codegen.triton_gpu.bound_blocks import conditional_steps
from codegen.triton_gpu.cpu_numbers import cpu_numbers
from codegen.triton_gpu.cupy_driver import current_number
from codegen.triton_gpu.devices import Device
from codegen.triton_gpu.host_check import has_triton
from codegen.triton_gpu.host_device import HostDevice
from codegen.triton_gpu.kernels import IEEE, TF32, kernel_launches
from codegen.triton_gpu.listings import listings
from codegen.triton_gpu.operations import computes
from codegen.triton_gpu.products import splices
from codegen.triton_gpu.runs import Runner


def current_device() -> Device:
    """Where this process runs plans; NoDevice, with what to install or to set, where it can run none."""
    if not has_triton():
        raise NoDevice("kernels for a GPU are made by Triton, which is not installed: pip install 'tracegrad[gpu]'")
    if os.environ.get("TRITON_INTERPRET") == "1":
        return _interpreter()
    return _gpu(current_number())


@cache
def _interpreter() -> HostDevice:
    return HostDevice()


@cache
def _gpu(number: int) -> Device:
    """The GPU of this number, which is CuPy's current one."""
    import cupy

    from codegen.triton_gpu.cuda_device import CudaDevice
    from codegen.triton_gpu.cupy_driver import CupyDriver

    return CudaDevice(CupyDriver(), cupy)


def gpu_machine(memory_budget: int | None = None) -> Machine:
    """What the scheduler plans for."""
    return Machine(at_once=True, cheap=64, shelf_worth=0, serial_work=1 << 13, chunk_work=1 << 12, most_chunks=256,
                   least_joined=1 << 16, arena_bytes=memory_budget, computes=computes,
                   products=frozenset({"f16", "bf16", "f32", "f64"}), splices=splices, attends=attends)


def compile_source(source: Source, aliases: tuple[Aliases, ...], cache: Cache) -> Executable:
    """An executable for `source` on the GPU; CannotLower, with a sentence, for what this target does not do."""
    return _executable(source, aliases, cache, current_device())


def _executable(source: Source, aliases: tuple[Aliases, ...], cache: Cache, device: Device) -> Executable:
    start = perf_counter()
    sized = bool(source.binding.numbers)
    plan = plan_of(source, aliases, gpu_machine(None if sized else source.memory_budget))
    if sized and source.memory_budget is not None and plan.arena_bytes > source.memory_budget:
        raise TooMuchMemory(f"for all sizes it would work in {plan.arena_bytes} bytes, and its budget is "
                            f"{source.memory_budget}")
    precision = TF32 if source.fast_math else IEEE
    conditional = conditional_steps(plan)
    launches = {id(one.steps[k]): made for one in plan.plans
                for k, made in kernel_launches(one, device.capability, precision, conditional).items()}
    new = device.prepare(list(dict.fromkeys(made.spec for made in launches.values())), cache)
    measured = Measured(source.tree.name, lambda: plan, listings(device.capability, precision, conditional))
    numbers = {} if sized or source.binding.constants else cpu_numbers(source.tree, plan.ends)
    return Executable(
        plan.inputs, plan.slots, plan.ends, Runner(plan, device, launches, measured, numbers), plan.arena_bytes,
        compile_seconds=perf_counter() - start, kernels_compiled=sum(new), kernels_reused=len(new) - sum(new),
        shares_kernels=sized, measured=measured,
        resized=partial(_resized, source, aliases, cache, device) if sized else None)


def _resized(source: Source, aliases: tuple[Aliases, ...], cache: Cache, device: Device, numbers: Mapping[str, int]
             ) -> Executable:
    """The executable at other numbers: it is planned with the same kernels."""
    return _executable(replace(source, binding=Binding(numbers, source.binding.constants)), aliases, cache, device)


def describe_gpu() -> dict[str, str]:
    """What this target found here, by name, for people to read."""
    try:
        found = current_device().name
    except NoDevice as reason:
        found = f"none: {reason}"
    versions = [f"{name} {version(name)}" for name in ("triton", "cupy-cuda12x", "cupy-cuda13x") if _is_there(name)]
    return {"gpu": found, "gpu tools": ", ".join(versions) or "not installed: pip install 'tracegrad[gpu]'"}


def _is_there(distribution: str) -> bool:
    try:
        version(distribution)
    except PackageNotFoundError:
        return False
    return True
