"""kernels: the steps of a plan that are launches of kernels, as KernelSpecs with what each is given."""
from __future__ import annotations

from functools import lru_cache

from codegen.ir.dims import Size
from codegen.ir.structs import struct
from codegen.schedule.kernel import Kernel
from codegen.schedule.plan import Launch, Matmul, Spliced, Step
from codegen.triton_gpu.emit import emit_kernel
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


def kernel_launch(step: Step, capability: Capability, precision: str = IEEE) -> KernelLaunch | None:
    """The launch that does a step; None for one that no kernel does. CannotLower for what no kernel can be made of.

    `precision`: of products of f32 (see products).
    """
    match step:
        case Launch(kernel, buffers, words):
            return KernelLaunch(kernel_spec(kernel), buffers, words)
        case Matmul() | Spliced():
            made = product_launch(step, capability, precision)
            return KernelLaunch(made.spec, made.buffers, made.words, precision)
        case _:
            return None


@lru_cache(maxsize=1024)
def kernel_spec(kernel: Kernel) -> KernelSpec:
    """The kernel in Triton, written once."""
    return emit_kernel(kernel)
