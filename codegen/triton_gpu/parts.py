"""parts: launches as one, whose programs are divided among them: kernels -> KernelSpec.

    b0 += b1 on 5000 elements       def add(program, b0, b1, n0, X): ...
    b0 += b1 on 300            ->   def add_of_2(b0_0, b1_0, b0_1, b1_1, n0_0, n0_1, X):
                                        program = tl.program_id(0)                          5 programs, and 1
                                        if program < (n0_0 + 1023) // 1024: b0, b1, n0 = b0_0, b1_0, n0_0
                                        else: b0, b1, n0, program = b0_1, b1_1, n0_1, program - ...
                                        add(program, b0, b1, n0, X)

1. The code of a kernel is there once, however many launches of it there are. A program compares its number with where
   the programs of each begin, a few instructions for each before its own. Of several kernels each has a function that
   does so; what is launched calls that of the kernel that a program is of.
2. Buffers and words are arguments like those of any kernel, launch after launch: the promise of alignment is made for
   each of them, the interpreter knows each buffer, and a graph of launches keeps them. A table of addresses in memory
   would have no limit of 4 KiB, but it would have to be written anew wherever a buffer is somewhere else, and Triton
   would know nothing of what it points to.
"""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate

from codegen.ir.dims import Size, replaced, symbol
from codegen.ir.structs import struct
from codegen.schedule.kernel import Kernel
from codegen.triton_gpu.emit import Function, function_of, function_text, is_large, module_text
from codegen.triton_gpu.naming import kernel_name
from codegen.triton_gpu.places import factor_text
from codegen.triton_gpu.spec import UNLESS_FAILED, KernelSpec
from codegen.triton_gpu.tiling import tiling_of

Row = tuple[tuple[Kernel, int], ...]
"""Kernels, none of them checked, and how many launches of each are one launch together."""


def emit_row(row: Row, wide: bool = False, conditional: bool = False) -> KernelSpec:
    """The kernel that does so many launches of each kernel. `wide`, `conditional`: as emit_kernel says."""
    wide = wide or any(is_large(kernel) for kernel, _ in row)
    tilings = [tiling_of(kernel, parts) for kernel, parts in row]
    warps = max(tiling.warps for tiling in tilings)
    groups: list[_Group] = []
    for (kernel, parts), tiling in zip(row, tilings):
        name = kernel_name(kernel)
        if any(group.one.name == name for group in groups):
            name = f"{name}_{len(groups)}"
        one = function_of(kernel, replace(tiling, warps=warps), wide, "program", name)
        before = groups[-1] if groups else None
        first = (before.buffers.stop, before.words.stop) if before else (0, 0)
        groups.append(_Group(one, parts, *first))
    alone = len(groups) == 1
    name = groups[0].name if alone else f"{groups[0].one.name}_and_others_of_{sum(group.parts for group in groups)}"
    constants = groups[0].one.constants if alone else ()
    texts = [text for group in groups for text in (*group.one.called, group.one.text)]
    begin = [*(UNLESS_FAILED if conditional else ()),
             f"    program = tl.program_id(0){'.to(tl.int64)' if wide else ''}"]
    texts += [_launched_alone(groups[0], begin)] if alone else [
        *(function_text(group.name, ["program", *group.args], group.lines(inline=True)) for group in groups
          if group.parts > 1),
        _launched_together(name, groups, begin)]
    programs: Size = 0
    for group in groups:
        programs = programs + group.programs
    return KernelSpec(name, module_text(texts), tuple(p for group in groups for p in group.parts * group.one.pointers),
                      False, groups[-1].words.stop, constants, programs, warps, 1, "i64" if wide else "i32",
                      tuple(word for group in groups for word in group.multiples), conditional)


@struct
class _Group:
    """The launches of one kernel: so many `parts`, whose buffers and words begin at these of all that are passed."""

    one: Function
    parts: int
    first_buffer: int
    first_word: int

    @property
    def name(self) -> str:
        """Of the function that divides programs among them."""
        return f"{self.one.name}_of_{self.parts}"

    @property
    def buffers(self) -> range:
        """Theirs among those of all groups."""
        return range(self.first_buffer, self.first_buffer + self.parts * len(self.one.pointers))

    @property
    def words(self) -> range:
        """Theirs among those of all groups."""
        return range(self.first_word, self.first_word + self.parts * self.one.words)

    @property
    def multiples(self) -> list[int]:
        """The words that are to be multiples of 16, among those of all groups."""
        return [self.first_word + part * self.one.words + word for part in range(self.parts)
                for word in self.one.multiples]

    @property
    def programs(self) -> Size:
        """How many there are, in the words of all groups."""
        total: Size = 0
        for part in range(self.parts):
            first = self.first_word + part * self.one.words
            total = total + replaced(self.one.programs, {f"n{k}": symbol(f"n{first + k}")
                                                         for k in range(self.one.words)})
        return total

    @property
    def args(self) -> list[str]:
        """The buffers of each part, then the words of each."""
        return [*self.pointers, *(f"n{k}_{part}" for part in range(self.parts) for k in range(self.one.words))]

    @property
    def pointers(self) -> list[str]:
        """The buffers of each part."""
        return [f"b{k}_{part}" for part in range(self.parts) for k in range(len(self.one.pointers))]

    def lines(self, inline: bool) -> list[str]:
        """What finds out which part `program` is of, and does its work; `inline`: with its constants as numbers."""
        own = [*(f"b{k}" for k in range(len(self.one.pointers))), *(f"n{k}" for k in range(self.one.words))]
        constants = [str(number) if inline else constant for constant, number in self.one.constants]
        counts = [replaced(self.one.programs, {f"n{k}": symbol(f"n{k}_{part}") for k in range(self.one.words)})
                  for part in range(self.parts)]
        lines, ends = _ends(counts)
        for part in range(self.parts):
            lines.append(_case(part, ends))
            lines += [f"        {each} = {each}_{part}" for each in own]
            lines += [f"        program -= {ends[part - 1]}"] if part else []
        return [*lines, f"    {self.one.name}({', '.join(('program', *own, *constants))})"]


def _ends(counts: Sequence[Size]) -> tuple[list[str], list[str]]:
    """Where the programs of each but the last of several end, which have so many; and the lines that compute that."""
    if all(isinstance(count, int) for count in counts):
        return [], [*map(str, accumulate(counts[:-1]))]
    ends = [f"end{k}" for k in range(len(counts) - 1)]
    before = ["", *(f"{end} + " for end in ends)]
    return [f"    {end} = {before[k]}{factor_text(counts[k])}" for k, end in enumerate(ends)], ends


def _case(k: int, ends: Sequence[str]) -> str:
    """The line before what programs of the k-th do."""
    return "    else:" if k == len(ends) else f"    {'elif' if k else 'if'} program < {ends[k]}:"


def _launched_alone(group: _Group, begin: Sequence[str]) -> str:
    pointers = len(group.pointers)
    args = [*group.args[:pointers], *["failed"] * (len(begin) > 1), *group.args[pointers:]]
    args += [f"{constant}: tl.constexpr" for constant, _ in group.one.constants]
    return function_text(group.name, args, [*begin, *group.lines(inline=False)])


def _launched_together(name: str, groups: Sequence[_Group], begin: Sequence[str]) -> str:
    lines, ends = _ends([group.programs for group in groups])
    for k, group in enumerate(groups):
        number = f"program - {ends[k - 1]}" if k else "program"
        given = [number, *(f"b{b}" for b in group.buffers), *(f"n{n}" for n in group.words)]
        given += [str(size) for _, size in group.one.constants] if group.parts == 1 else []
        lines += [_case(k, ends), f"        {group.name if group.parts > 1 else group.one.name}({', '.join(given)})"]
    args = [*(f"b{b}" for group in groups for b in group.buffers), *["failed"] * (len(begin) > 1),
            *(f"n{n}" for group in groups for n in group.words)]
    return function_text(name, args, [*begin, *lines])
