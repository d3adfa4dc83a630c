"""Launch what Triton compiles of a KernelSpec on NumPy arrays: as host_check.run, but the compiled code runs."""
from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import cycle, product

import numpy as np
from ptx_machine import run_ptx

from codegen.ir.dims import evaluate
from codegen.triton_gpu.compile import Arch, Cubin, listings_of
from codegen.triton_gpu.launch import GRANULE
from codegen.triton_gpu.spec import KernelSpec

listed = lru_cache(256)(lambda spec, arch, aligned: listings_of([spec], arch, aligned)[0])


def run_compiled(spec: KernelSpec, buffers: Sequence[np.ndarray], words: Sequence[int] = (), failed: bool = False, *,
                 arch: Arch = (8, 0), aligned: bool = True, order: int = 0) -> bool:
    """Launch on flat arrays, in place. Do all checks of the kernel hold? `failed`: has one failed before? Where they
    are not `aligned`, the buffers begin anywhere that their elements can; `order`: see run_ptx."""
    aligned = aligned and not any(words[k] % GRANULE for k in spec.multiples)
    listing: tuple[Cubin, str] = listed(spec, arch, aligned)
    cubin, text = listing
    flag = np.array([failed], np.int32)
    programs = evaluate(spec.grid, {f"n{k}": word for k, word in enumerate(words)})
    if programs:
        run_ptx(text, [*buffers, *[flag] * spec.flagged], words, programs, cubin.shared, aligned, order)
    return not flag.any()


_WAYS = cycle(product((True, False), (0, 1, -1)))


def run_some_way(spec: KernelSpec, buffers: Sequence[np.ndarray], words: Sequence[int] = (),
                 failed: bool = False) -> bool:
    """As run_compiled: with aligned buffers or others, with warps in one order or another, each in turn."""
    aligned, order = next(_WAYS)
    return run_compiled(spec, buffers, words, failed, aligned=aligned, order=order)
