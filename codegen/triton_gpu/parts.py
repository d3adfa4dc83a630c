"""parts: launches of one kernel as one, whose programs are divided among them: the text that says which has which.

    b0 += b1 on 5000 elements       def add(program, b0, b1, n0, X): ...
    b0 += b1 on 300            ->   def add_of_2(b0_0, b1_0, b0_1, b1_1, n0_0, n0_1, X):
                                        program = tl.program_id(0)                          5 programs, and 1
                                        if program < (n0_0 + 1023) // 1024: b0, b1, n0 = b0_0, b1_0, n0_0
                                        else: b0, b1, n0, program = b0_1, b1_1, n0_1, program - ...
                                        add(program, b0, b1, n0, X)

1. The code of the kernel is there once, however many launches it does. A program compares its number with where the
   programs of each begin, a few instructions for each before its own.
2. Buffers and words are arguments like those of any kernel: the promise of alignment is made for each of them, the
   interpreter knows each buffer, and a graph of launches keeps them. A table of addresses in memory would have no limit
   of 4 KiB, but it would have to be written anew wherever a buffer is somewhere else, and Triton would know nothing of
   what it points to.
"""
from __future__ import annotations

from collections.abc import Sequence

from codegen.ir.dims import Size, replaced, symbol
from codegen.schedule.kernel import Kernel
from codegen.triton_gpu.places import factor_text


def function_text(name: str, args: Sequence[str], constants: Sequence[str], lines: Sequence[str]) -> str:
    """A function of the language."""
    given = ", ".join([*args, *(f"{constant}: tl.constexpr" for constant in constants)])
    return "\n".join([f"@triton.jit\ndef {name}({given}):", *lines, ""])


def divided_text(name: str, one: str, kernel: Kernel, programs: Size, constants: Sequence[str], parts: int,
                 begin: Sequence[str] = ()) -> str:
    """The function that is launched; `one` does one launch, in so many `programs`. `begin`: what looks at a flag."""
    buffers, words = range(len(kernel.params)), range(kernel.words)
    own = [*(f"b{k}" for k in buffers), *(f"n{k}" for k in words)]
    args = [f"b{k}_{part}" for part in range(parts) for k in buffers]
    args += ["failed"] * bool(begin) + [f"n{k}_{part}" for part in range(parts) for k in words]
    lines = [*begin, "    program = tl.program_id(0)"]
    ends = [str(programs * part) for part in range(1, parts)]
    if not isinstance(programs, int):
        ends = [f"end{part}" for part in range(parts - 1)]
        for part, end in enumerate(ends):
            count = replaced(programs, {f"n{k}": symbol(f"n{k}_{part}") for k in words})
            lines.append(f"    {end} = {f'{ends[part - 1]} + ' if part else ''}{factor_text(count)}")
    for part in range(parts):
        lines.append("    else:" if part == parts - 1 else f"    {'elif' if part else 'if'} program < {ends[part]}:")
        lines += [f"        {each} = {each}_{part}" for each in own]
        lines += [f"        program -= {ends[part - 1]}"] if part else []
    lines.append(f"    {one}({', '.join(('program', *own, *constants))})")
    return function_text(name, args, constants, lines)


def programs_of(kernel: Kernel, programs: Size, parts: int) -> Size:
    """How many programs there are, in the words of all launches."""
    total: Size = 0
    for part in range(parts):
        first = part * kernel.words
        total = total + replaced(programs, {f"n{k}": symbol(f"n{first + k}") for k in range(kernel.words)})
    return total
