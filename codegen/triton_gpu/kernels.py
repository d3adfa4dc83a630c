"""kernels: the steps of a plan that are launches of kernels, as KernelSpecs with what each is given."""
from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import lru_cache

from codegen.ir.dims import Size
from codegen.ir.structs import struct
from codegen.schedule.kernel import Kernel
from codegen.schedule.plan import Attention, Launch, Matmul, Plan, Spliced, Step, at_once
from codegen.triton_gpu.attention import attention_launch
from codegen.triton_gpu.emit import emit_kernel
from codegen.triton_gpu.parts import Row, emit_row
from codegen.triton_gpu.product_tiles import Capability
from codegen.triton_gpu.products import product_launch
from codegen.triton_gpu.spec import KernelSpec

IEEE, TF32 = "ieee", "tf32"
"""How f32 are multiplied: as they are; or rounded to 10 bits first, where rounding is free to change."""


@struct
class KernelLaunch:
    """`buffers` of the plan, and the words, in the order in which the kernel takes them. `precision`: of a product."""

    spec: KernelSpec
    buffers: tuple[int, ...]
    words: tuple[Size, ...]
    precision: str = IEEE


def kernel_launch(step: Step, capability: Capability, precision: str = IEEE, beside: Sequence[Step] = (),
                  conditional: bool = False) -> KernelLaunch | None:
    """The launch that does a step; None for one that no kernel does. CannotLower for what no kernel can be made of.

    `precision`: of products of f32 (see products). `beside`: the steps that are one launch with it. `conditional`: does
    it do nothing where a check has failed before?
    """
    match step:
        case Launch(kernel) if not beside:
            return KernelLaunch(kernel_spec(kernel, conditional), step.buffers, step.words)
        case Launch():
            launches = [step, *(other for other in beside if isinstance(other, Launch))]
            assert len(launches) == 1 + len(beside), "only launches of kernels are one"
            kernels = dict.fromkeys(each.kernel for each in launches)
            in_order = [each for kernel in kernels for each in launches if each.kernel == kernel]
            row = tuple((kernel, sum(each.kernel == kernel for each in launches)) for kernel in kernels)
            return KernelLaunch(row_spec(row, conditional), tuple(b for each in in_order for b in each.buffers),
                                tuple(word for each in in_order for word in each.words))
        case Matmul() | Spliced():
            made = product_launch(step, capability, precision, conditional=conditional)
            return KernelLaunch(made.spec, made.buffers, made.words, precision)
        case Attention():
            made = attention_launch(step, capability, precision, conditional=conditional)
            return KernelLaunch(made.spec, made.buffers, made.words, precision)
        case _:
            return None


def kernel_launches(plan: Plan, capability: Capability, precision: str = IEEE,
                    conditional: Collection[int] = ()) -> dict[int, KernelLaunch]:
    """What does the steps of a plan, by the number of the first step of each. `conditional`: the ids of those that do
    nothing where a check has failed."""
    rows = {numbers.start: [plan.steps[k] for k in numbers] for numbers in at_once(plan.steps)}
    made = {k: kernel_launch(row[0], capability, precision, row[1:], any(id(step) in conditional for step in row))
            for k, row in rows.items()}
    return {k: launch for k, launch in made.items() if launch is not None}


@lru_cache(maxsize=1024)
def kernel_spec(kernel: Kernel, conditional: bool = False) -> KernelSpec:
    """The kernel in Triton, written once."""
    return emit_kernel(kernel, conditional=conditional)


@lru_cache(maxsize=256)
def row_spec(row: Row, conditional: bool = False) -> KernelSpec:
    """What does launches of several kernels, or of one several times, written once."""
    return emit_row(row, conditional=conditional)
