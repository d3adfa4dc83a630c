"""A device whose kernels run by kernel_interpret, for tests of all that is around them: they need no Triton."""
from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from codegen.ir.ops import OPS
from codegen.schedule.kernel import Kernel
from codegen.schedule.kernel_interpret import run_kernel
from codegen.schedule.kernel_text import parse_kernel, print_kernel
from codegen.schedule.plan import Matmul
from codegen.schedule.sizes import kernel_at
from codegen.triton_gpu.devices import Work
from codegen.triton_gpu.host_device import HostDevice
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

    def launch(self, spec: KernelSpec, arrays: Sequence[np.ndarray], words: Sequence[int], flag: np.ndarray | None
               ) -> Work:
        kernel = parse_kernel(spec.source)

        def work() -> None:
            self.launched += 1
            if not run_kernel(kernel_at(kernel, words), arrays):
                assert flag is not None
                flag[0] = 1
        return work

    def product(self, step: Matmul, a: np.ndarray, b: np.ndarray, c: np.ndarray) -> Work:
        return lambda: multiply(step, a, b, c)


def multiply(step: Matmul, a: np.ndarray, b: np.ndarray, c: np.ndarray) -> None:
    """By NumPy."""
    batch, m, n, k = step.sizes
    a = a.reshape(batch, *((k, m) if step.transpose_a else (m, k)))
    b = b.reshape(batch, *((n, k) if step.transpose_b else (k, n)))
    a = a.swapaxes(1, 2) if step.transpose_a else a
    b = b.swapaxes(1, 2) if step.transpose_b else b
    with np.errstate(all="ignore"):
        c.reshape(batch, m, n)[...] = OPS["matmul"].reference(a, b)
