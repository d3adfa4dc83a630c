"""Features: what the code generator needs to know of a processor.

    host_features()                    the processor this runs on
    AVX512, AVX2, PORTABLE             presets, for tests and for comparing

The names of features are LLVM's.
"""
from __future__ import annotations

from functools import cache

from codegen.ir.structs import struct
from codegen.llvm_cpu.identity import host


@struct
class Features:
    """`cpu` and `flags` go to LLVM; the rest decides what is emitted.

    vector_bytes: the width of a vector register. fma: llvm.fma is one instruction. ldexp: llvm.ldexp of a vector is
    one instruction. half: conversions of f16 are (elsewhere each would become a call of a function for each lane).
    tiles: there are tile registers that multiply bf16 (AMX), and a conversion to it.
    """

    cpu: str
    flags: str
    vector_bytes: int
    fma: bool
    ldexp: bool
    half: bool
    tiles: bool

    @property
    def chooses_of_eight(self) -> bool:
        """Is taking, for each of eight lanes, one of eight words of a register an instruction of AVX2's?"""
        return self.vector_bytes == 32 and self.fma

    @property
    def chooses_of_32(self) -> bool:
        """Is taking, for each of 16 lanes, one of 32 words of two registers an instruction?"""
        return self.vector_bytes == 64

    @property
    def asks_by_page(self) -> bool:
        """Is it known that asking for what lies a page further on is worth it? It was not measured with AVX2."""
        return self.vector_bytes == 64

    def reads_masked(self, item: int) -> bool:
        """Is reading neighbors of so many bytes each, under a mask, an instruction?"""
        return self.vector_bytes == 64 or self.vector_bytes == 32 and item >= 4

    def writes_masked(self) -> bool:
        """Is writing them one that is worth it? AVX2's takes as long as 18 others on processors of AMD."""
        return self.vector_bytes == 64

    def gathers(self, item: int) -> bool:
        """Is reading or writing elements of so many bytes each, anywhere and under a mask, an instruction?

        AVX2 has one that reads, which is not faster than reading one after the other.
        """
        return self.vector_bytes == 64 and item >= 4


def features_of(cpu: str, flags: str) -> Features:
    """The Features of a processor whose LLVM feature string is `flags`: "+avx2,-avx512f,...".

    Example: features_of("haswell", "+avx2,+fma").vector_bytes is 32.
    """
    enabled = {flag[1:] for flag in flags.split(",") if flag.startswith("+")}
    wide = {"avx512f", "avx512bw", "avx512dq", "avx512vl"} <= enabled
    width = 64 if wide else 32 if "avx2" in enabled else 16
    fma = not enabled.isdisjoint({"fma", "neon", "fp-armv8"})
    half = wide or not enabled.isdisjoint({"f16c", "neon", "fp-armv8"})
    tiles = wide and {"amx-tile", "amx-bf16", "avx512bf16"} <= enabled
    return Features(cpu, flags, width, fma, ldexp=wide, half=half, tiles=tiles)


@cache
def host_features() -> Features:
    """The Features of the processor this runs on."""
    return features_of(*host())


AVX512 = features_of("skylake-avx512", "+avx2,+fma,+avx512f,+avx512bw,+avx512dq,+avx512vl")
AVX2 = features_of("haswell", "+avx2,+fma,+f16c")
PORTABLE = features_of("x86-64", "")
