"""A device whose kernels run by kernel_interpret, for tests of all that is around them: they need no Triton."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from codegen.cache import Cache
from codegen.schedule.kernel import Kernel
from codegen.schedule.kernel_interpret import run_kernel
from codegen.schedule.sizes import kernel_at
from codegen.triton_gpu.devices import Loaded
from codegen.triton_gpu.host_device import HostDevice


class OracleDevice(HostDevice):
    """Counts what it is asked for: `loaded` kernels that it had not seen, `launched` ones, works put `joined`."""

    name = "kernel_interpret"

    def __init__(self) -> None:
        self.known: set[Kernel] = set()
        self.launched = 0

    def load(self, kernels: Sequence[Kernel], cache: Cache) -> Sequence[Loaded]:
        found = [Loaded(self._launch(kernel), kernel not in self.known) for kernel in kernels]
        self.known.update(kernels)
        return found

    def _launch(self, kernel: Kernel) -> Any:
        def launch(buffers: Sequence[np.ndarray], words: Sequence[int], flag: np.ndarray | None) -> None:
            self.launched += 1
            if not run_kernel(kernel_at(kernel, words), buffers):
                assert flag is not None
                flag[0] = 1
        return launch
