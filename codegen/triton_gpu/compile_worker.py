"""compile_worker: the process in which Triton compiles, run as a script by compile.py. It knows nothing of codegen.

In: a question, a dict (see `_compiled`). Out: {"code": ..., ...}, or {"error": what Triton says and of which line}.

1. The only adapter to Triton: what differs between its versions is here.
2. What is compiled is the text in the question. The file that it names is for people: tracebacks, profilers, debuggers.
3. Everything that Triton or its tools write goes to a log, never to the user's terminal; an error there is an error.
4. The assembler may spill a few bytes for the sake of more programs beside each other. Then it is asked again, and may
   use all the registers that one program can have.
5. Triton's own cache is emptied after every kernel: ours knows more, and two would hold everything twice.
"""
from __future__ import annotations

import linecache
import os
import re
import shutil
import struct
import sys
import tempfile
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

IDLE_SECONDS = 60.0
"""After so long without a question the process ends: it holds some hundred megabytes."""

MOST_TEXT = 3000
"""Of a longer error, as one that repeats the assembly, the beginning and the end are told."""

FAILURES = re.compile(rb"^.*(?:\berror:|LLVM ERROR|Assertion .* failed).*$", re.MULTILINE)


def main(pipe: Connection) -> None:
    """Answer until nobody asks any more."""
    with tempfile.TemporaryDirectory(prefix="tracegrad-triton-") as folder:
        os.environ["TRITON_CACHE_DIR"] = folder
        while pipe.poll(IDLE_SECONDS):
            try:
                question = pipe.recv()
            except EOFError:
                return
            pipe.send(_answer(question))
            for entry in Path(folder).iterdir():
                shutil.rmtree(entry, ignore_errors=True)


def _answer(question: dict[str, Any]) -> dict[str, Any]:
    os.ftruncate(1, 0)
    os.lseek(1, 0, os.SEEK_SET)                         # what came before concerns other kernels
    try:
        answer = _compiled(**question)
    except Exception as error:      # noqa: BLE001 - whatever Triton raises is told to who asked
        return {"error": _shortened(f"{type(error).__name__}: {error}")}
    sys.stdout.flush()
    sys.stderr.flush()
    said = os.pread(1, os.fstat(1).st_size, 0)
    if failures := FAILURES.findall(said):
        return {"error": _shortened(b"\n".join(failures).decode(errors="replace"))}
    return answer


def _compiled(source: str, path: str, name: str, signature: tuple[str, ...], constants: dict[str, int],
              divisible: tuple[int, ...], target: tuple[str, int | str, int], options: dict[str, Any],
              listing: bool) -> dict[str, Any]:
    """Compile the function `name` of `source`. `signature`: of what a launch passes; constants are compiled in.
    `divisible`: by 16, which of that. `target`: as a GPUTarget takes it. `listing`: with the text of the assembly."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    function = _loaded(source, path, name)
    types, promised = iter(signature), dict[tuple[int], list[list[Any]]]()
    arguments = dict[str, str]()
    passed = 0
    for position, argument in enumerate(function.arg_names):
        arguments[argument] = "constexpr" if argument in constants else next(types)
        if argument not in constants:
            if passed in divisible:
                promised[position,] = [["tt.divisibility", 16]]
            passed += 1
    if passed != len(signature) or len(constants) + passed != len(arguments):
        raise TypeError(f"{name} takes ({', '.join(arguments)}), not {len(signature)} arguments and {list(constants)}")

    def compiled(**more: int) -> Any:
        return triton.compile(ASTSource(function, arguments, constants, promised), target=GPUTarget(*target),
                              options=options | more)

    kernel = compiled()
    if target[0] == "cuda" and stack_of(kernel.asm["cubin"]):
        freer = compiled(maxnreg=min(MOST_REGISTERS, REGISTERS // kernel.metadata.num_warps // target[2]))
        kernel = min(kernel, freer, key=lambda kernel: stack_of(kernel.asm["cubin"]))
    metadata = kernel.metadata
    scratch = {part: getattr(metadata, f"{part}_scratch_size", 0) for part in ("global", "profile")}
    if any(scratch.values()) or getattr(metadata, "num_ctas", 1) != 1:
        raise NotImplementedError(f"{name} needs {scratch} bytes of scratch memory in clusters of {metadata.num_ctas}")
    code, text = ("cubin", "ptx") if target[0] == "cuda" else ("hsaco", "amdgcn")
    return {"code": kernel.asm[code], "name": metadata.name, "shared": metadata.shared,
            "threads": metadata.num_warps * target[2]} | ({"listing": kernel.asm[text]} if listing else {})


MOST_REGISTERS, REGISTERS = 255, 1 << 16
"""Of a thread, and of all threads of a processor."""


def stack_of(cubin: bytes) -> int:
    """How many bytes of stack a thread of a cubin uses: where what does not fit into registers is.

    A cubin is an ELF file. Its section .nv.info has records: a form, an attribute, and for form 4 the length of what
    follows, here the number of a function and the size of its frame.
    """
    table, = struct.unpack_from("<Q", cubin, 0x28)
    size, count, names = struct.unpack_from("<3H", cubin, 0x3A)
    sections = [struct.unpack_from("<IIQQQQ", cubin, table + size * k) for k in range(count)]
    found, text = [0], sections[names][4]
    for name, _, _, _, at, length in sections:
        if cubin[text + name:cubin.index(b"\0", text + name)] != b".nv.info":
            continue
        end = at + length
        while at < end:
            form, attribute, value = struct.unpack_from("<BBH", cubin, at)
            if (form, attribute) == (4, FRAME_SIZE):
                found.append(struct.unpack_from("<II", cubin, at + 4)[1])
            at += 4 + (value if form == 4 else 0)
    return max(found)


FRAME_SIZE = 0x11
"""The attribute that says the size of a function's frame."""


def _loaded(source: str, path: str, name: str) -> Any:
    """The function, as if the file at `path` had been imported: Triton reads its text by `inspect`."""
    linecache.cache[path] = len(source), None, source.splitlines(True), path
    space = {"__name__": f"kernel_{name}", "__file__": path}
    exec(compile(source, path, "exec"), space)
    return space[name]


def _shortened(text: str) -> str:
    half = MOST_TEXT // 2
    return text if len(text) <= MOST_TEXT else f"{text[:half]}\n[...]\n{text[-half:]}"


if __name__ == "__main__":
    main(Connection(int(sys.argv[1])))
