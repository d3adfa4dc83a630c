"""emit: Kernel -> KernelSpec: the text of a Triton kernel, and how it is launched. Pure text; Triton is not imported.

    for i < 64:                                  x = tl.program_id(0) * X + tl.arange(0, X)[:, None]
      pass j < 48: load, accumulate max    ->    r = tl.arange(0, R)[None, :]
      pass j < 48: sub, exp, store               v0 = tl.load(b0 + (48*x + r), mask=r_mask) ...

1. A program computes one block of the outer axes (see tiling). Extents that are numbers are numbers in the text, so
   that Triton sees what is divisible; the others are the words n0, n1, ...
2. Indices are computed in 32 bits, unless there is one that this is not enough for. With words nobody knows: the caller
   does.
"""
from __future__ import annotations

from collections.abc import Iterable

from codegen.ir.dims import Size, number_of
from codegen.ir.structs import struct
from codegen.schedule.index import bounds
from codegen.schedule.kernel import Kernel, indices_of
from codegen.schedule.sizes import LARGEST
from codegen.triton_gpu import operations, reductions
from codegen.triton_gpu.naming import kernel_name
from codegen.triton_gpu.passes import PROGRAM, PassWriter
from codegen.triton_gpu.spec import ELEMENT_TYPES, UNLESS_FAILED, KernelSpec
from codegen.triton_gpu.tiling import Tiling, multiples_of, tiling_of


@struct
class Function:
    """A kernel as a function of the language. `args`: but for its `constants`; `called`: the functions that it calls.

    The others are as a KernelSpec has them.
    """

    name: str
    args: tuple[str, ...]
    lines: tuple[str, ...]
    called: tuple[str, ...]
    constants: tuple[tuple[str, int], ...]
    pointers: tuple[str, ...]
    words: int
    multiples: tuple[int, ...]
    programs: Size

    @property
    def text(self) -> str:
        """Its text."""
        constants = [f"{constant}: tl.constexpr" for constant, _ in self.constants]
        return function_text(self.name, [*self.args, *constants], self.lines)


def emit_kernel(kernel: Kernel, wide: bool = False, tiling: Tiling | None = None, conditional: bool = False
                ) -> KernelSpec:
    """The Triton kernel. `wide`: are indices computed in 64 bits, also where sizes that are numbers do not need it?
    `conditional`: is it to do nothing where a check has failed before?"""
    tiling = tiling or tiling_of(kernel)
    wide = wide or is_large(kernel)
    made = function_of(kernel, tiling, wide, PROGRAM, kernel_name(kernel), conditional)
    return KernelSpec(made.name, module_text([*made.called, made.text]), made.pointers, kernel.checked, made.words,
                      made.constants, made.programs, tiling.warps, 1, "i64" if wide else "i32", made.multiples,
                      conditional)


def function_of(kernel: Kernel, tiling: Tiling, wide: bool, program: str, name: str, conditional: bool = False
                ) -> Function:
    """The function of this name that does what program number `program`, a text, of a kernel does. Where that is not
    the number that the language has, it is the first argument."""
    writer = PassWriter(kernel, tiling, wide, program)
    lines = [*(UNLESS_FAILED if conditional else ()), *writer.program()]
    args = [*([] if program == PROGRAM else [program]), *(f"b{k}" for k in range(len(kernel.params))),
            *["failed"] * (kernel.checked or conditional), *(f"n{k}" for k in range(kernel.words))]
    called = [operations.FUNCTIONS[function] for function in operations.called("\n".join(lines))]
    called += [reductions.FUNCTIONS[function] for function in writer.functions]
    return Function(name, tuple(args), tuple(lines), tuple(called), writer.constants,
                    tuple(ELEMENT_TYPES[p.dtype] for p in kernel.params), kernel.words, multiples_of(kernel, tiling),
                    tiling.programs)


def function_text(name: str, args: Iterable[str], lines: Iterable[str]) -> str:
    """A function of the language."""
    return "\n".join([f"@triton.jit\ndef {name}({', '.join(args)}):", *lines, ""])


def module_text(functions: Iterable[str]) -> str:
    """The module with these functions, each once."""
    return "\n\n".join([operations.HEADER, *dict.fromkeys(functions)])


def is_large(kernel: Kernel) -> bool:
    """Is it seen that there is an index that takes more than 31 bits?"""
    if kernel.words:
        return False
    if any(number_of(p.size) >= LARGEST for p in kernel.params):
        return True
    for p in kernel.passes:
        extents = {axis.name: axis.extent for axis in (*kernel.axes, *p.axes)}
        for index in {index for s in p.body for index in indices_of(s)}:
            low, high = bounds(index, extents)
            if not -LARGEST < low <= high < LARGEST:
                return True
    return False
