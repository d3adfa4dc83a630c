"""KernelSpec: a Triton kernel and how it is launched, as data. Nothing here imports Triton.

    @triton.jit
    def exp_sum(b0, b1, n0, X: tl.constexpr, R: tl.constexpr):      pointers ("fp32", "fp32"), words 1
        ...                                                         constants (("X", 1), ("R", 1024)), grid n0

1. A launch passes, in this order: a pointer to each buffer; where it is `checked` or `conditional`, one to a flag, an
   i32; each of its words. A checked kernel sets the flag to 1 where a check fails, a conditional one does nothing where
   it is 1. Constants are no arguments: they are compiled in.
2. Every access of a launch with these words lies inside its buffers, which never overlap.
3. The grid has one dimension, so that it can be as large as 2**31 - 1.
4. A source is compiled in two variants: `aligned`, for pointers, and words that are `multiples`, all divisible by 16,
   and generic, for all others. A launch chooses.
"""
from __future__ import annotations

from codegen.ir.dims import Size
from codegen.ir.structs import struct


class KernelError(Exception):
    """A kernel does not compile, or does what none may: a defect, of what wrote it or of the compiler."""


@struct
class KernelSpec:
    """`source`: the text of a module with the function `name` in it.

    `pointers`: the element types of the buffers, by Triton's names. `word_type`: i32 or i64, which indices are computed
    in, too. `multiples`: the words that are divisible by 16 where the aligned variant is launched. `grid`: programs, in
    the words of the launch. `warps` of 32 threads run a program, which loads `stages` ahead in its loops.
    """

    name: str
    source: str
    pointers: tuple[str, ...]
    checked: bool
    words: int
    constants: tuple[tuple[str, int], ...]
    grid: Size
    warps: int
    stages: int = 1
    word_type: str = "i32"
    multiples: tuple[int, ...] = ()
    conditional: bool = False

    @property
    def flagged(self) -> bool:
        """Is it passed the flag?"""
        return self.checked or self.conditional

    @property
    def signature(self) -> tuple[str, ...]:
        """The types of what a launch passes, in order, by Triton's names."""
        flag = ("*i32",) if self.flagged else ()
        return (*(f"*{element}" for element in self.pointers), *flag, *((self.word_type,) * self.words))


ELEMENT_TYPES = {"bool": "i1", "i8": "i8", "i16": "i16", "i32": "i32", "i64": "i64", "u8": "u8", "u16": "u16",
                 "u32": "u32", "u64": "u64", "f16": "fp16", "bf16": "bf16", "f32": "fp32", "f64": "fp64"}
"""Triton's name for the elements of a buffer, by dtype; none is complex: that runs as host calls."""

UNLESS_FAILED = ("    if tl.load(failed) != 0:", "        return")
"""How the program of a conditional kernel begins."""
