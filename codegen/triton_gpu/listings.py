"""listings: what is compiled for a step, for people to read: Triton, and the assembly that comes of it."""
from __future__ import annotations

from collections.abc import Collection, Sequence

from codegen.schedule.plan import CannotLower, Step
from codegen.schedule.step_reports import Listings
from codegen.triton_gpu.compile import listing_of
from codegen.triton_gpu.kernels import KernelLaunch, kernel_launch
from codegen.triton_gpu.product_tiles import Capability


def listings(capability: Capability, precision: str, conditional: Collection[int]) -> Listings:
    """Those of what is compiled for a GPU of this capability, with products of f32 in this precision.

    `conditional`: the ids of steps that do nothing where a check has failed.
    """
    def launch(step: Step, beside: Sequence[Step]) -> KernelLaunch | None:
        is_conditional = any(id(each) in conditional for each in (step, *beside))
        return kernel_launch(step, capability, precision, beside, is_conditional)

    def triton(step: Step, *beside: Step) -> str:
        made = launch(step, beside)
        return "" if made is None else made.spec.source

    def asm(step: Step, *beside: Step) -> str:
        made = launch(step, beside)
        try:
            return "" if made is None else listing_of(made.spec, capability)
        except CannotLower as reason:               # who reads it elsewhere than it runs may have no compiler
            return str(reason)

    return Listings(lambda step, *beside: "", asm, triton)
