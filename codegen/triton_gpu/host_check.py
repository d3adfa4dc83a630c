"""host_check: a KernelSpec and NumPy arrays -> the arrays as its launch leaves them, without a GPU.

    run(spec, [x, out], words=[1000])      True where all checks of the kernel hold

The kernel runs in Triton's interpreter, in a process of its own that starts at the first run, stays, and ends with this
one; this process never imports Triton. What is known to differ between the interpreter and a GPU is repaired there.

1. An access outside the buffers of the launch is an IndexError that names the kernel, its line and the buffer; any
   other error in a kernel is a KernelError, an order of accesses that a GPU does not keep among them (see
   interpreter_races). After either, what the arrays hold is what they held before.
2. Any number of threads may run kernels: one at a time does.
"""
from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from codegen.ir.dims import evaluate
from codegen.ir.types import DTYPES
from codegen.triton_gpu.spec import ELEMENT_TYPES, KernelError, KernelSpec
from codegen.triton_gpu.workers import WorkerDied, WorkerPool

MISSING = "Triton is not installed: pip install 'tracegrad[gpu]'"


def has_triton() -> bool:
    """Is Triton installed? If not, MISSING says what to do. It is not imported."""
    return find_spec("triton") is not None


def run(spec: KernelSpec, buffers: Sequence[np.ndarray], words: Sequence[int] = (), failed: bool = False) -> bool:
    """Launch on flat arrays, in place. Do all checks of the kernel hold? `failed`: has one failed before?"""
    if not has_triton():
        raise ModuleNotFoundError(MISSING)
    arrays = [_bytes_of(spec, k, buffer) for k, buffer in enumerate(buffers)]
    if len(arrays) != len(spec.pointers) or len(words) != spec.words:
        raise TypeError(f"kernel {spec.name} takes {len(spec.pointers)} buffers and {spec.words} words, "
                        f"not {len(arrays)} and {len(words)}")
    grid = evaluate(spec.grid, {f"n{k}": word for k, word in enumerate(words)})
    if grid == 0:
        return True
    word = np.array([failed], np.int32).view(np.uint8)
    flag, pointers = ([word], (*spec.pointers, "i32")) if spec.flagged else ([], spec.pointers)
    question = {
        "name": spec.name, "source": spec.source, "pointers": pointers,
        "buffers": [array.tobytes() for array in (*arrays, *flag)],
        "dtypes": [_NUMPY_NAMES[p] for p in pointers],
        "writeable": [array.flags.writeable for array in (*arrays, *flag)],
        "words": [int(word) for word in words], "word_type": spec.word_type, "constants": dict(spec.constants),
        "grid": grid, "threads": 32 * spec.warps,
    }
    answer, = _pool().answers([question])
    if isinstance(answer, WorkerDied):
        raise KernelError(f"kernel {spec.name} ended Triton's interpreter: {answer}")
    if "error" in answer:
        raise (IndexError if answer["error"] == "IndexError" else KernelError)(answer["text"])
    for k, data in answer["written"].items():
        (*arrays, *flag)[k][:] = np.frombuffer(data, np.uint8)
    return not word.any()


_NUMPY_NAMES = {triton: "uint16" if name == "bf16" else DTYPES[name].name for name, triton in ELEMENT_TYPES.items()}


def _bytes_of(spec: KernelSpec, k: int, buffer: np.ndarray) -> np.ndarray:
    """The memory of a buffer; TypeError for one that is not what the kernel takes there."""
    element = spec.pointers[k] if k < len(spec.pointers) else ""
    if buffer.ndim != 1 or not buffer.flags.c_contiguous:
        raise TypeError(f"buffer {k} of kernel {spec.name} is no flat array")
    if buffer.dtype.name not in (_NUMPY_NAMES.get(element), element.replace("bf", "bfloat")):
        raise TypeError(f"buffer {k} of kernel {spec.name} is of {element or 'nothing'}, not of {buffer.dtype}")
    return buffer.view(np.uint8)


@cache
def _pool() -> WorkerPool:
    """The process in which kernels run, which imports codegen from where this one does."""
    path = os.pathsep.join(os.path.abspath(p) for p in sys.path)
    environment = os.environ | {"TRITON_INTERPRET": "1", "PYTHONPATH": path}
    return WorkerPool(Path(__file__).with_name("interpreter_worker.py"), environment, 1)
