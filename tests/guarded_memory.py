"""Arrays that end, or begin, at memory that must not be touched: an access outside of them is a fault."""
from __future__ import annotations

import ctypes
import mmap

import numpy as np

_libc = ctypes.CDLL(None)


def guarded(array: np.ndarray, at_end: bool) -> np.ndarray:
    """A copy of `array` with an inaccessible page right after its last byte, or right before its first."""
    page = mmap.PAGESIZE
    inside = -(-max(array.nbytes, 1) // page) * page
    region = mmap.mmap(-1, inside + 2 * page)
    base = ctypes.addressof(ctypes.c_char.from_buffer(region))
    offset = page + (inside - array.nbytes if at_end else 0)
    copy = np.frombuffer(region, array.dtype, array.size, offset).reshape(array.shape)
    copy[...] = array
    for edge in (base, base + page + inside):
        assert _libc.mprotect(ctypes.c_void_p(edge), ctypes.c_size_t(page), 0) == 0
    return copy
