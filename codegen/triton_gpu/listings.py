"""listings: what is compiled for a step, for people to read: Triton, and the assembly that comes of it."""
from __future__ import annotations

from codegen.schedule.plan import CannotLower, Step
from codegen.schedule.step_reports import Listings
from codegen.triton_gpu.compile import listing_of
from codegen.triton_gpu.kernels import kernel_launch
from codegen.triton_gpu.product_tiles import Capability


def listings(capability: Capability, precision: str) -> Listings:
    """Those of what is compiled for a GPU of this capability, with products of f32 in this precision."""
    def triton(step: Step, *beside: Step) -> str:
        made = kernel_launch(step, capability, precision, beside)
        return "" if made is None else made.spec.source

    def asm(step: Step, *beside: Step) -> str:
        made = kernel_launch(step, capability, precision, beside)
        try:
            return "" if made is None else listing_of(made.spec, capability)
        except CannotLower as reason:               # who reads it elsewhere than it runs may have no compiler
            return str(reason)

    return Listings(lambda step, *beside: "", asm, triton)
