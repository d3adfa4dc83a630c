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

from codegen.ir.dims import number_of
from codegen.schedule.index import bounds
from codegen.schedule.kernel import Kernel, indices_of
from codegen.schedule.sizes import LARGEST
from codegen.triton_gpu import operations, reductions
from codegen.triton_gpu.naming import kernel_name
from codegen.triton_gpu.parts import divided_text, function_text, programs_of
from codegen.triton_gpu.passes import PROGRAM, PassWriter
from codegen.triton_gpu.spec import ELEMENT_TYPES, UNLESS_FAILED, KernelSpec
from codegen.triton_gpu.tiling import Tiling, multiples_of, tiling_of


def emit_kernel(kernel: Kernel, wide: bool = False, tiling: Tiling | None = None, parts: int = 1,
                conditional: bool = False) -> KernelSpec:
    """The Triton kernel. `wide`: are indices computed in 64 bits, also where sizes that are numbers do not need it?
    `parts`: so many launches in one, whose buffers and words follow each other (see parts). `conditional`: is it to do
    nothing where a check has failed before?"""
    tiling = tiling or tiling_of(kernel, parts)
    wide = wide or not kernel.words and _is_large(kernel)
    writer = PassWriter(kernel, tiling, wide, PROGRAM if parts == 1 else "program")
    lines = writer.program()
    name, constants = kernel_name(kernel), writer.constants
    buffers, words = [f"b{k}" for k in range(len(kernel.params))], [f"n{k}" for k in range(kernel.words)]
    names = [constant for constant, _ in constants]
    functions = [operations.FUNCTIONS[function] for function in operations.called("\n".join(lines))]
    functions += [reductions.FUNCTIONS[function] for function in writer.functions]
    pointers, multiples = tuple(ELEMENT_TYPES[p.dtype] for p in kernel.params), multiples_of(kernel, tiling)
    flag, begin = ["failed"] * (kernel.checked or conditional), UNLESS_FAILED if conditional else ()
    if parts == 1:
        functions.append(function_text(name, [*buffers, *flag, *words], names, [*begin, *lines]))
        programs = tiling.programs
    else:
        functions.append(function_text(name, ["program", *buffers, *words], names, lines))
        name = f"{name}_of_{parts}"
        functions.append(divided_text(name, kernel_name(kernel), kernel, tiling.programs, names, parts, begin))
        programs = programs_of(kernel, tiling.programs, parts)
    source = "\n\n".join([operations.HEADER, *functions])
    return KernelSpec(name, source, parts * pointers, kernel.checked, parts * kernel.words, constants, programs,
                      tiling.warps, 1, "i64" if wide else "i32",
                      tuple(part * kernel.words + word for part in range(parts) for word in multiples), conditional)


def _is_large(kernel: Kernel) -> bool:
    """Is there an index that takes more than 31 bits?"""
    if any(number_of(p.size) >= LARGEST for p in kernel.params):
        return True
    for p in kernel.passes:
        extents = {axis.name: axis.extent for axis in (*kernel.axes, *p.axes)}
        for index in {index for s in p.body for index in indices_of(s)}:
            low, high = bounds(index, extents)
            if not -LARGEST < low <= high < LARGEST:
                return True
    return False
