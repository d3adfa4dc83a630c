"""host_check: a KernelSpec and NumPy arrays -> the arrays as its launch leaves them, without a GPU.

    run(spec, [x, out], words=[1000])      True where all checks of the kernel hold

The kernel runs in Triton's interpreter, in a process of its own that starts at the first run, stays, and ends with this
one; this process never imports Triton. What is known to differ between the interpreter and a GPU is repaired there.

1. An access outside the buffers of the launch is an IndexError that names the kernel, its line and the buffer; any
   other error in a kernel is a KernelError, an order of accesses that a GPU does not keep among them (see
   interpreter_races). After either, what the arrays hold is what they held before.
2. A process that died is replaced at the next run. A child of fork has a process of its own.
3. Any number of threads may run kernels: one at a time does.
"""
from __future__ import annotations

import atexit
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from importlib.util import find_spec
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import IO

import numpy as np

from codegen.ir.dims import evaluate
from codegen.ir.types import DTYPES
from codegen.triton_gpu.interpreter_worker import Reply, Request, serve
from codegen.triton_gpu.spec import ELEMENT_TYPES, KernelSpec

MISSING = "Triton is not installed: pip install 'tracegrad[gpu]'"


class KernelError(RuntimeError):
    """A kernel that the interpreter could not run to its end."""


def available() -> bool:
    """Can kernels run here? If not, MISSING says what to do."""
    return find_spec("triton") is not None


def run(spec: KernelSpec, buffers: Sequence[np.ndarray], words: Sequence[int] = ()) -> bool:
    """Launch on flat arrays, in place. Do all checks of the kernel hold?"""
    if not available():
        raise ModuleNotFoundError(MISSING)
    arrays = [_bytes_of(spec, k, buffer) for k, buffer in enumerate(buffers)]
    if len(arrays) != len(spec.pointers) or len(words) != spec.words:
        raise TypeError(f"kernel {spec.name} takes {len(spec.pointers)} buffers and {spec.words} words, "
                        f"not {len(arrays)} and {len(words)}")
    grid = evaluate(spec.grid, {f"n{k}": word for k, word in enumerate(words)})
    if grid == 0:
        return True
    failed = np.zeros(4, np.uint8)
    flag, pointers = ([failed], (*spec.pointers, "i32")) if spec.checked else ([], spec.pointers)
    request = Request(spec.name, spec.source, pointers, tuple(_NUMPY_NAMES[p] for p in pointers),
                      tuple(buffer.flags.writeable for buffer in (*buffers, *flag)), tuple(map(int, words)),
                      spec.word_type, spec.constants, grid)
    _worker.exchange(request, [*arrays, *flag])
    return not failed.any()


_NUMPY_NAMES = {triton: "uint16" if name == "bf16" else DTYPES[name].name for name, triton in ELEMENT_TYPES.items()}


def _bytes_of(spec: KernelSpec, k: int, buffer: np.ndarray) -> np.ndarray:
    """The memory of a buffer; TypeError for one that is not what the kernel takes there."""
    element = spec.pointers[k] if k < len(spec.pointers) else ""
    if buffer.ndim != 1 or not buffer.flags.c_contiguous:
        raise TypeError(f"buffer {k} of kernel {spec.name} is no flat array")
    if buffer.dtype.name not in (_NUMPY_NAMES.get(element), element.replace("bf", "bfloat")):
        raise TypeError(f"buffer {k} of kernel {spec.name} is of {element or 'nothing'}, not of {buffer.dtype}")
    return buffer.view(np.uint8)


class _Worker:
    """The process, while there is one, and this end of the connection to it."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.process: subprocess.Popen | None = None
        self.connection: Connection | None = None
        self.errors: IO[bytes] | None = None

    def exchange(self, request: Request, arrays: Sequence[np.ndarray]) -> None:
        """Have a launch run, and what it wrote put into `arrays`."""
        with self.lock:
            try:
                if self.connection is None:
                    self._start()
                assert self.connection is not None
                self.connection.send(request)
                for array in arrays:
                    self.connection.send_bytes(array.data)
                reply: Reply = self.connection.recv()
                for k in reply.written:
                    if arrays[k].size != self.connection.recv_bytes_into(arrays[k]):
                        raise EOFError
            except (EOFError, ConnectionError) as error:
                raise KernelError(f"the process that runs Triton's interpreter ended in kernel {request.name}"
                                  f"{self._last_words()}") from error
            except BaseException:                       # interrupted between a request and its reply: they would not
                self.stop()                             # belong together any more
                raise
        if reply.error:
            raise (IndexError if reply.error == "IndexError" else KernelError)(reply.text)

    def _start(self) -> None:
        self.connection, other = Pipe()
        self.errors = tempfile.TemporaryFile()
        path = os.pathsep.join(os.path.abspath(p) for p in sys.path)
        with other:
            self.process = subprocess.Popen(
                [sys.executable, "-c", f"from {serve.__module__} import serve; serve({other.fileno()})"],
                env=os.environ | {"TRITON_INTERPRET": "1", "PYTHONPATH": path}, pass_fds=(other.fileno(),),
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=self.errors, start_new_session=True)

    def _last_words(self) -> str:
        """How the process ended and the end of what it wrote about it; it is gone then."""
        assert self.process is not None and self.errors is not None
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            pass
        status, errors = self.process.poll(), self.errors
        errors.seek(max(0, errors.seek(0, os.SEEK_END) - 2000))
        text = errors.read().decode(errors="replace").strip()
        self.stop()
        return f" (status {status})" + (f":\n{text}" if text else "")

    def stop(self) -> None:
        """End the process; the next exchange starts another."""
        process, connection, errors = self.process, self.connection, self.errors
        self.process = self.connection = self.errors = None
        if connection is not None:
            connection.close()
        if errors is not None:
            errors.close()
        if process is not None:
            process.kill()
            process.wait()

    def forget(self) -> None:
        """In a child of fork: the process is the parent's."""
        if self.process is not None:
            self.process.returncode = 0                 # so that nobody waits for what is no child of this process
        if self.connection is not None:
            self.connection.close()
        self.__init__()                                 # type: ignore[misc]


_worker = _Worker()
atexit.register(_worker.stop)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_worker.forget)
