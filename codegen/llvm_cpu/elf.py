"""elf: object code into memory without LLVM, where it is for x86-64 and Linux: what compiles nothing loads no compiler.

    object     .text .rodata ...  .data .bss    and where it reads or calls what
       ▼
    memory     .text .rodata ...  slots  stubs  |  .data .bss        slot: the address of a symbol from elsewhere
               read and executed                |  read and written  stub: jmp *slot

1. Of an object only what such objects consist of is known (see the kinds of relocations); Unusual for any other.
2. What is executed cannot be written once it is loaded. What is loaded stays until the process ends.
3. Nothing unwinds through what is compiled here, so what unwinding would need is left out.
"""
from __future__ import annotations

import ctypes
import platform
import sys
from collections.abc import Iterable, Mapping
from functools import cache
from mmap import MAP_ANONYMOUS, MAP_PRIVATE, PAGESIZE, PROT_EXEC, PROT_READ, PROT_WRITE
from struct import Struct, error

ABSOLUTE, RELATIVE, CALL, SLOTS = 1, 2, 4, (9, 41, 42)
"""Kinds of relocations: R_X86_64_64; PC32; PLT32; GOTPCREL, GOTPCRELX and REX_GOTPCRELX."""

_IDENTITY, _OBJECT, _X86_64 = b"\x7fELF\x02\x01\x01", 1, 62
_CONTENT, _SYMBOLS, _RELOCATIONS, _ZEROS = 1, 2, 4, 8
_WRITTEN, _LOADED = 1, 2
_UNDEFINED, _RESERVED = 0, 0xFF00

_JUMP = b"\xff\x25"                     # jmp *[rip + offset]
_WORD, _OFFSET = Struct("<Q"), Struct("<i")


class Unusual(Exception):
    """An object of which not everything is known here."""


class Missing(Exception):
    """A symbol that is nowhere."""


class _Section:
    __slots__ = ("kind", "flags", "offset", "size", "link", "info", "alignment")

    def __init__(self, name: int, kind: int, flags: int, address: int, offset: int, size: int, link: int, info: int,
                 alignment: int, entry_bytes: int):
        self.kind, self.flags, self.offset, self.size = kind, flags, offset, size
        self.link, self.info, self.alignment = link, info, alignment

    @property
    def is_loaded(self) -> bool:
        return bool(self.flags & _LOADED) and self.kind in (_CONTENT, _ZEROS)


class _Symbol:
    __slots__ = ("name", "section", "value")

    def __init__(self, name: int, info: int, other: int, section: int, value: int, size: int):
        self.name, self.section, self.value = name, section, value


class _Relocation:
    """At `offset` of a section goes where a symbol is, plus `addend`."""

    __slots__ = ("offset", "kind", "symbol", "addend")

    def __init__(self, offset: int, info: int, addend: int):
        self.offset, self.kind, self.symbol, self.addend = offset, info & 0xFFFFFFFF, info >> 32, addend


_SECTION, _SYMBOL, _RELOCATION = Struct("<IIQQQQIIQQ"), Struct("<IBBHQQ"), Struct("<QQq")


def is_known_here() -> bool:
    """Does this process run such objects?"""
    return sys.platform == "linux" and platform.machine() == "x86_64" and sys.maxsize > 1 << 32


def load(code: bytes, exports: Iterable[str], imports: Mapping[str, int]) -> dict[str, int]:
    """Load an object; the addresses of `exports`. Symbols that are not in it are those of `imports` and the process.

    Unusual if it is none of those that are known here; Missing for a symbol that is nowhere.
    """
    try:
        return _Object(code).loaded(tuple(exports), imports)
    except (error, IndexError, ValueError, OSError) as reason:
        raise Unusual(str(reason)) from None


class _Object:
    """What an object consists of; `relocations`: (section, relocation)."""

    def __init__(self, code: bytes):
        kind, machine = Struct("<HH").unpack_from(code, 16)
        if not code.startswith(_IDENTITY) or (kind, machine) != (_OBJECT, _X86_64):
            raise Unusual("no object for x86-64")
        (start,), (entry_bytes, count) = _WORD.unpack_from(code, 40), Struct("<HH").unpack_from(code, 58)
        self.code = code
        self.sections = [_Section(*row) for row in self._rows(_SECTION, start, entry_bytes * count)]
        self.symbols: list[_Symbol] = []
        self.relocations: list[tuple[int, _Relocation]] = []
        for section in self.sections:
            if section.kind == _SYMBOLS:
                self.symbols = [_Symbol(*row) for row in self._rows(_SYMBOL, section.offset, section.size)]
                self._names = self.sections[section.link].offset
            elif section.kind == _RELOCATIONS and self.sections[section.info].is_loaded:
                self.relocations += ((section.info, _Relocation(*row))
                                     for row in self._rows(_RELOCATION, section.offset, section.size))

    def _rows(self, row: Struct, start: int, size: int) -> Iterable[tuple]:
        return row.iter_unpack(memoryview(self.code)[start:start + size])

    def name(self, symbol: _Symbol) -> str:
        start = self._names + symbol.name
        return self.code[start:self.code.index(0, start)].decode()

    def loaded(self, exports: tuple[str, ...], imports: Mapping[str, int]) -> dict[str, int]:
        """The addresses of `exports`, after loading."""
        symbols = self.symbols
        outside = {k: self._outside(self.name(symbol), imports) for k, symbol in enumerate(symbols)
                   if symbol.section == _UNDEFINED and symbol.name}
        slotted = [*dict.fromkeys(r.symbol for _, r in self.relocations if r.kind in SLOTS or r.symbol in outside)]
        places, end = self._placed(0, written=False)
        slots = _up(end, _WORD.size)
        stubs = slots + len(slotted) * _WORD.size
        split = _up(stubs + len(slotted) * _WORD.size, PAGESIZE)
        data, end = self._placed(split, written=True)
        places |= data
        base = _new_memory(end)

        def address(number: int) -> int:
            symbol = symbols[number]
            if number in outside:
                return outside[number]
            if symbol.section not in places:
                raise Unusual(f"{self.name(symbol)!r} is in section {symbol.section}")
            return base + places[symbol.section] + symbol.value

        written = [at + self.sections[number].size for number, at in places.items()
                   if self.sections[number].kind == _CONTENT]
        image = bytearray(max([split, *written]))            # new memory is zeros
        for number, at in places.items():
            section = self.sections[number]
            if section.kind == _CONTENT:
                image[at:at + section.size] = self.code[section.offset:section.offset + section.size]
        slot_of: dict[int, int] = {}
        stub_of: dict[int, int] = {}
        for k, number in enumerate(slotted):
            slot_of[number], stub_of[number] = slot, stub = slots + k * _WORD.size, stubs + k * _WORD.size
            _WORD.pack_into(image, slot, address(number))
            image[stub:stub + len(_JUMP)] = _JUMP
            _OFFSET.pack_into(image, stub + len(_JUMP), slot - stub - len(_JUMP) - _OFFSET.size)
        for where, r in self.relocations:
            at = places[where] + r.offset
            if r.kind == ABSOLUTE:
                _WORD.pack_into(image, at, address(r.symbol) + r.addend)
            elif r.kind in SLOTS:
                _OFFSET.pack_into(image, at, slot_of[r.symbol] + r.addend - at)
            elif r.kind == CALL and r.symbol in outside:
                _OFFSET.pack_into(image, at, stub_of[r.symbol] + r.addend - at)
            elif r.kind in (RELATIVE, CALL) and r.symbol not in outside:
                _OFFSET.pack_into(image, at, address(r.symbol) - base + r.addend - at)
            else:
                raise Unusual(f"a relocation of kind {r.kind}")
        found = {self.name(symbol): k for k, symbol in enumerate(symbols) if k not in outside and symbol.name}
        missing = [name for name in exports if name not in found]
        if missing:
            raise Missing(missing[0])
        addresses = {name: address(found[name]) for name in exports}
        _fill(base, image, split)
        return addresses

    def _placed(self, start: int, written: bool) -> tuple[dict[int, int], int]:
        """Where each section that is written, or each that is not, goes, from `start` on, and where the last ends.

        Those that are nothing but zeros come last.
        """
        places: dict[int, int] = {}
        for number, section in sorted(enumerate(self.sections), key=lambda of: of[1].kind == _ZEROS):
            if section.is_loaded and bool(section.flags & _WRITTEN) == written:
                places[number] = start = _up(start, max(section.alignment, 1))
                start += section.size
        return places, start

    def _outside(self, name: str, imports: Mapping[str, int]) -> int:
        """The address of a symbol that is not in the object."""
        if name in imports:
            return imports[name]
        try:
            return ctypes.cast(getattr(_process(), name), ctypes.c_void_p).value or 0
        except AttributeError:
            raise Missing(name) from None


def _up(size: int, grain: int) -> int:
    """The next multiple of grain."""
    return -(-size // grain) * grain


@cache
def _process() -> ctypes.CDLL:
    """The symbols of this process."""
    process = ctypes.CDLL(None, use_errno=True)
    process.mmap.restype = ctypes.c_void_p
    process.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_ssize_t]
    process.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    return process


def _new_memory(size: int) -> int:
    """Where so many bytes are that can be written. A mapping of Python's would end with the interpreter, too early."""
    address = _process().mmap(None, max(size, 1), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
    if address == ctypes.c_void_p(-1).value:
        raise OSError(ctypes.get_errno(), "no memory")
    return address


def _fill(base: int, image: bytearray, split: int) -> None:
    """Move an image to its place; what is before `split` can be executed then, and not be written."""
    ctypes.memmove(base, bytes(image), len(image))
    if _process().mprotect(base, split, PROT_READ | PROT_EXEC):
        raise OSError(ctypes.get_errno(), "memory cannot be made executable")
