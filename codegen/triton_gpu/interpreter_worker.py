"""The process in which kernels run in Triton's interpreter: all it does is `serve`.

In, through a connection from `host_check`: a Request, then the bytes of each buffer. Out: a Reply, then the bytes of
each buffer that was written. It ends when the other end is closed.

1. TRITON_INTERPRET=1 is set before Triton is imported, so this process can interpret and nothing else.
2. An exception in a kernel is a Reply; what is none ends the process, and the other end says so.
"""
from __future__ import annotations

import linecache
import os
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from codegen.ir.structs import struct
from codegen.triton_gpu.interpreter_libdevice import provide
from codegen.triton_gpu.interpreter_memory import Memory, guard, pointer
from codegen.triton_gpu.interpreter_repairs import repair

KEPT_FUNCTIONS = 4096


@struct
class Request:
    """One launch. `dtypes`: NumPy's names of those that hold the buffers. The last may be the flag."""

    name: str
    source: str
    pointers: tuple[str, ...]
    dtypes: tuple[str, ...]
    writeable: tuple[bool, ...]
    words: tuple[int, ...]
    word_type: str
    constants: tuple[tuple[str, int], ...]
    grid: int


@struct
class Reply:
    """The numbers of the buffers that were written; or what went wrong: an exception's class, by name, and a text."""

    written: tuple[int, ...] = ()
    error: str = ""
    text: str = ""


class Interpreter:
    """Triton's interpreter, repaired and guarded, and the functions that it knows."""

    def __init__(self) -> None:
        os.environ["TRITON_INTERPRET"] = "1"
        import triton.runtime.interpreter as interpreter
        from triton.language.extra import libdevice
        self.interpreter: Any = interpreter
        self.memory = Memory()
        self.functions: dict[tuple[str, str], tuple[Callable[..., None], str]] = {}
        np.seterr(all="ignore")
        repair(interpreter)
        guard(interpreter, self.memory)
        provide(interpreter, libdevice)
        interpreter.interpreter_builder.options = interpreter.InterpreterOptions(sanitize_overflow=False)

    def run(self, request: Request, buffers: list[np.ndarray]) -> Reply:
        """Run every program of a launch, in order."""
        self.memory.hold(buffers, request.writeable)
        builder = self.interpreter.interpreter_builder
        builder.set_grid_dim(request.grid, 1, 1)
        program, file = -1, ""
        try:
            function, file = self._function(request.name, request.source)
            arguments, constants = self._arguments(request), dict(request.constants)
            for program in range(request.grid):
                builder.set_grid_idx(program, 0, 0)
                self.memory.races.program = program
                function(*arguments, **constants)
        except Exception as error:                                  # noqa: BLE001 - whatever a kernel raises is told
            return _told(error, request, program, file)
        return Reply(tuple(sorted(self.memory.written)))

    def _function(self, name: str, source: str) -> tuple[Callable[..., None], str]:
        """The function `name` of a module with this text, as the interpreter runs it, and the name of its file."""
        found = self.functions.get((name, source))
        if found is None:
            if len(self.functions) >= KEPT_FUNCTIONS:
                self.functions.clear()
                linecache.clearcache()
            file = f"<{name} {len(self.functions)}>"
            linecache.cache[file] = (len(source), None, source.splitlines(True), file)
            module: dict[str, Any] = {"__name__": name}
            exec(compile(source, file, "exec"), module)
            found = self.functions[name, source] = (module[name].rewrite(), file)
        return found

    def _arguments(self, request: Request) -> list[Any]:
        tl, handle = self.interpreter.tl, self.interpreter.TensorHandle
        arguments = []
        for k, element in enumerate(request.pointers):
            type = tl.str_to_ty(f"*{element}", None)
            arguments.append(tl.tensor(handle(pointer(k), type), type))
        type = tl.str_to_ty(request.word_type, None)
        dtype = self.interpreter._get_np_dtype(type)
        return [*arguments, *(tl.tensor(handle(np.array([word], dtype), type), type) for word in request.words)]


def _told(error: BaseException, request: Request, program: int, file: str) -> Reply:
    """What went wrong, and at which line of the kernel."""
    line, cause = 0, error
    while True:
        trace = cause.__traceback__
        while trace is not None:
            if file and trace.tb_frame.f_code.co_filename == file:
                line = trace.tb_lineno
            trace = trace.tb_next
        if cause.__cause__ is None:
            break
        cause = cause.__cause__
    place = f"kernel {request.name}"
    if program >= 0:
        place += f", program {program} of {request.grid}"
    if line:
        place += f", line {line}: {request.source.splitlines()[line - 1].strip()}"
    kind = type(cause).__name__
    return Reply((), kind, f"{place}\n{cause}" if kind == "IndexError" else f"{place}\n{kind}: {cause}")


def serve(descriptor: int) -> None:
    """Answer requests until the other end is closed."""
    connection, interpreter = Connection(descriptor), Interpreter()
    while True:
        try:
            request: Request = connection.recv()
            buffers = [np.frombuffer(bytearray(connection.recv_bytes()), dtype) for dtype in request.dtypes]
        except (EOFError, ConnectionError):
            return
        reply = interpreter.run(request, buffers)
        connection.send(reply)
        for k in reply.written:
            connection.send_bytes(buffers[k].data.cast("B"))
