"""interpreter_worker: the process in which kernels run in Triton's interpreter, run as a script by host_check.

In: a question, a dict (see `Interpreter.run`). Out: {"written": {number of a buffer that was written: its bytes}}, or
{"error": the name of an exception's class, "text": what went wrong, and at which line of the kernel}.

1. TRITON_INTERPRET=1 is set before Triton is imported, so this process can interpret and nothing else.
2. Whatever is raised in a kernel is an answer; what is not raised ends the process, and who asked is told so.
"""
from __future__ import annotations

import linecache
import sys
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from codegen.triton_gpu.interpreter_libdevice import provide
from codegen.triton_gpu.interpreter_memory import Memory, guard, pointer
from codegen.triton_gpu.interpreter_repairs import repair

IDLE_SECONDS = 300.0
"""After so long without a question the process ends."""

KEPT_FUNCTIONS = 4096


class Interpreter:
    """Triton's interpreter, repaired and guarded, and the functions that it knows."""

    def __init__(self) -> None:
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

    def run(self, name: str, source: str, pointers: Sequence[str], buffers: Sequence[bytes], dtypes: Sequence[str],
            writeable: Sequence[bool], words: Sequence[int], word_type: str, constants: dict[str, int],
            grid: int, threads: int) -> dict[str, Any]:
        """Run every program of a launch, in order. `dtypes`: NumPy's names of those that hold the buffers."""
        arrays = [np.frombuffer(bytearray(data), dtype) for data, dtype in zip(buffers, dtypes)]
        self.memory.hold(arrays, writeable, threads)
        builder = self.interpreter.interpreter_builder
        builder.set_grid_dim(grid, 1, 1)
        program, file = -1, ""
        try:
            function, file = self._function(name, source)
            arguments = [*map(self._pointer, range(len(pointers)), pointers),
                         *(self._word(word, word_type) for word in words)]
            for program in range(grid):
                builder.set_grid_idx(program, 0, 0)
                self.memory.races.program = program
                function(*arguments, **constants)
        except Exception as error:                                  # noqa: BLE001 - whatever a kernel raises is told
            line, cause = _line_of(error, file)
            place = f"kernel {name}" + (f", program {program} of {grid}" if program >= 0 else "")
            if line:
                place += f", line {line}: {source.splitlines()[line - 1].strip()}"
            kind = type(cause).__name__
            return {"error": kind, "text": f"{place}\n{cause}" if kind == "IndexError" else f"{place}\n{kind}: {cause}"}
        return {"written": {k: arrays[k].tobytes() for k in sorted(self.memory.written)}}

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

    def _pointer(self, number: int, element: str) -> Any:
        """The argument that points to a buffer."""
        type = self.interpreter.tl.str_to_ty(f"*{element}", None)
        return self.interpreter.tl.tensor(self.interpreter.TensorHandle(pointer(number), type), type)

    def _word(self, word: int, word_type: str) -> Any:
        type = self.interpreter.tl.str_to_ty(word_type, None)
        value = np.array([word], self.interpreter._get_np_dtype(type))
        return self.interpreter.tl.tensor(self.interpreter.TensorHandle(value, type), type)


def _line_of(error: BaseException, file: str) -> tuple[int, BaseException]:
    """The line of a file in which an exception was raised, 0 if in none; and that with which it began."""
    line, cause = 0, error
    while True:
        trace = cause.__traceback__
        while trace is not None:
            if file and trace.tb_frame.f_code.co_filename == file:
                line = trace.tb_lineno
            trace = trace.tb_next
        if cause.__cause__ is None:
            return line, cause
        cause = cause.__cause__


def main(pipe: Connection) -> None:
    """Answer until nobody asks any more."""
    interpreter = Interpreter()
    while pipe.poll(IDLE_SECONDS):
        try:
            question = pipe.recv()
        except EOFError:
            return
        pipe.send(interpreter.run(**question))


if __name__ == "__main__":
    main(Connection(int(sys.argv[1])))
