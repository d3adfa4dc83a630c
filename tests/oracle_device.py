"""A device whose kernels run by kernel_interpret, for tests of all that is around them: they need no Triton."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import stub_cupy

from codegen.ir.dims import evaluate
from codegen.schedule.kernel import Kernel
from codegen.schedule.kernel_interpret import run_kernel, run_spliced
from codegen.schedule.kernel_text import parse_kernel, print_kernel
from codegen.schedule.plan import NOWHERE, Matmul, Spliced
from codegen.schedule.plan_text import step_text
from codegen.schedule.sizes import kernel_at
from codegen.triton_gpu.devices import Work
from codegen.triton_gpu.host_device import HostDevice
from codegen.triton_gpu.product_tiles import Capability
from codegen.triton_gpu.products import ProductLaunch
from codegen.triton_gpu.spec import KernelSpec


def written_as_kernel(kernel: Kernel) -> KernelSpec:
    """A spec whose source is the text of the kernel, not Triton's."""
    return KernelSpec("oracle", print_kernel(kernel), tuple(param.dtype for param in kernel.params), kernel.checked,
                      kernel.words, (), 1, 1)


class OracleDevice(HostDevice):
    """`launched`: how many kernels were."""

    name = "kernel_interpret"

    def __init__(self) -> None:
        super().__init__()
        self.launched = 0
        self.products: dict[str, Spliced] = {}

    def written_as_product(self, step: Matmul | Spliced, capability: Capability) -> ProductLaunch:
        """A product by its text, in words."""
        step = step if isinstance(step, Spliced) else Spliced(step)
        product = step.product
        batch, m, n, k = product.given or product.sizes
        whole = replace(step, product=replace(product, batch=batch, m=m, n=n, k=k, words=()))
        buffers = {b: k for k, b in enumerate(dict.fromkeys(
            b for b in (product.a, product.b, product.c, *(b for part in step.parts for b in part.buffers)) if b >= 0))}
        own = replace(whole, product=replace(whole.product, **{
            name: buffers.get(getattr(product, name), NOWHERE) for name in "abc"}), **{
            name: part and replace(part, buffers=tuple(buffers[b] for b in part.buffers))
            for name, part in (("left", step.left), ("right", step.right), ("behind", step.behind))})
        self.products[step_text(own)] = own
        spec = KernelSpec("product", step_text(own), (), False, len(product.words), (), 1, 1)
        return ProductLaunch(spec, tuple(buffers), product.words)

    def launch(self, spec: KernelSpec, arrays: Sequence[np.ndarray], words: Sequence[int], flag: np.ndarray | None
               ) -> Work:
        if spec.source in self.products:
            return self._multiplied(self.products[spec.source], arrays, tuple(words))
        kernel = parse_kernel(spec.source)

        def work() -> None:
            self.launched += 1
            if not run_kernel(kernel_at(kernel, words), arrays):
                assert flag is not None
                flag[0] = 1
        return work

    def _multiplied(self, step: Spliced, arrays: Sequence[np.ndarray], words: tuple[int, ...]) -> Work:
        given = {f"n{k}": word for k, word in enumerate(words)}
        own = step.product
        batch, m, n, k = (evaluate(size, given) for size in (own.batch, own.m, own.n, own.k))
        bound = replace(step, product=replace(own, batch=batch, m=m, n=n, k=k, words=words))

        def work() -> None:
            self.launched += 1
            run_spliced(bound, arrays)
        return work


class StubGpu(OracleDevice):
    """The GPU that stub_cupy stands for. `moved`: bytes that were copied to it or from it."""

    name = "a stand-in of a GPU"

    def __init__(self) -> None:
        super().__init__()
        self.moved = 0

    def holds(self, array: object) -> bool:
        return isinstance(array, stub_cupy.ndarray)

    def given(self, array: Any) -> np.ndarray:
        return array._a.reshape(-1)

    def upload(self, array: np.ndarray, target: np.ndarray) -> None:
        self.moved += array.nbytes
        super().upload(array, target)

    def download(self, source: np.ndarray, array: np.ndarray) -> None:
        self.moved += array.nbytes
        super().download(source, array)
