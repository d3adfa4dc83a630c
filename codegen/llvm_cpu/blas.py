"""blas: the routine that multiplies matrices, wherever this Python has one, and holding it to one thread.

NumPy brings a BLAS along; its routines are found by name in the library that NumPy has loaded, and tried on small
products before they are trusted. Without one SciPy's does, else our own code (see gemm).

BLAS keeps threads of its own, which would compete with the pool for the processors, so it is held to one thread while
any run is under way (`@hold_blas` .. `@release_blas`); the last run gives it back the number it had.
"""
from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from functools import cache
from importlib import import_module

import numpy as np

from codegen.ir.structs import struct

_ROW_MAJOR, _AS_IS, _TRANSPOSED = 101, 111, 112

_GEMM_NAMES = (("scipy_cblas_{}gemm64_", "cblas64"), ("cblas_{}gemm64_", "cblas64"), ("cblas_{}gemm", "cblas32"))
_THREADS_NAMES = ("scipy_openblas_{}_num_threads64_", "scipy_openblas_{}_num_threads",
                  "openblas_{}_num_threads64_", "openblas_{}_num_threads")


@struct
class Blas:
    """Where the routines are. `kind`: cblas64 or cblas32 (the bits of a size), fortran (32 bits), or own.

    above: products of fewer multiply-adds are left to our own code; limits: the same for a dtype and a form (see
    blas_panels), where it was measured.
    """

    kind: str
    name: str
    sgemm: int = 0
    dgemm: int = 0
    get_threads: int = 0
    set_threads: int = 0
    above: int = 0
    limits: tuple[tuple[tuple[str, str], float], ...] = ()

    def begins(self, dtype: str, form: str) -> float:
        """From how many multiply-adds on a product of that form is its own."""
        return dict(self.limits).get((dtype, form), self.above)

    @property
    def imports(self) -> dict[str, int]:
        """The addresses of the symbols that code which calls it refers to."""
        named = {"blas_f32": self.sgemm, "blas_f64": self.dgemm,
                 "blas_get_threads": self.get_threads, "blas_set_threads": self.set_threads}
        return {name: address for name, address in named.items() if address}


OWN = Blas("own", "own kernels")


@cache
def find_blas() -> Blas:
    """The first BLAS that is there and multiplies right, or OWN."""
    return next((blas for blas in candidates() if multiplies(blas)), OWN)


def candidates() -> Iterator[Blas]:
    """Every BLAS there may be, untried, best first."""
    library = _numpy_library()
    if library is not None:
        for pattern, kind in _GEMM_NAMES:
            single, double = (_address(library, pattern.format(letter)) for letter in "sd")
            if single and double:
                get, set_ = _thread_routines(library)
                yield Blas(kind, pattern.format("*"), single, double, get, set_)
    try:
        module = import_module("scipy.linalg.cython_blas")
        table, library = module.__pyx_capi__, ctypes.CDLL(module.__file__)
    except (ImportError, AttributeError, OSError):
        return
    single, double = (_capsule_address(table[name]) for name in ("sgemm", "dgemm"))
    yield Blas("fortran", "scipy.linalg.cython_blas", single, double, *_thread_routines(library))


def _numpy_library() -> ctypes.CDLL | None:
    """NumPy's extension module; names are looked up in it and in the libraries it is linked to."""
    for name in ("numpy._core._multiarray_umath", "numpy.core._multiarray_umath"):
        try:
            return ctypes.CDLL(import_module(name).__file__)
        except (ImportError, OSError, TypeError):
            continue
    return None


def _address(library: ctypes.CDLL, name: str) -> int:
    try:
        return ctypes.cast(getattr(library, name), ctypes.c_void_p).value or 0
    except AttributeError:
        return 0


def _thread_routines(library: ctypes.CDLL) -> tuple[int, int]:
    for pattern in _THREADS_NAMES:
        get, set_ = (_address(library, pattern.format(verb)) for verb in ("get", "set"))
        if get and set_:
            return get, set_
    return 0, 0


def _capsule_address(capsule: object) -> int:
    name, pointer = ctypes.pythonapi.PyCapsule_GetName, ctypes.pythonapi.PyCapsule_GetPointer
    name.restype, name.argtypes = ctypes.c_char_p, [ctypes.py_object]
    pointer.restype, pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    return pointer(capsule, name(capsule))


def multiplies(blas: Blas) -> bool:
    """Does `blas` give the right products, transposed or not, in both precisions?"""
    m, n, k = 5, 3, 4
    for dtype, real, address in ((np.float32, ctypes.c_float, blas.sgemm), (np.float64, ctypes.c_double, blas.dgemm)):
        multiply = _fortran_caller(real, address) if blas.kind == "fortran" else _cblas_caller(blas.kind, real, address)
        a: np.ndarray = np.arange(m * k, dtype=dtype).reshape(m, k) - 7
        b: np.ndarray = np.arange(k * n, dtype=dtype).reshape(k, n) % 5 - 2
        for turn_a in (False, True):
            for turn_b in (False, True):
                left, right = (np.ascontiguousarray(x.T if turn else x) for x, turn in ((a, turn_a), (b, turn_b)))
                c = np.full((m, n), np.nan, dtype)
                multiply(turn_a, turn_b, (m, n, k), left, right, c)
                if not np.array_equal(c, a @ b):
                    return False
    return True


_Multiply = Callable[[bool, bool, tuple[int, int, int], np.ndarray, np.ndarray, np.ndarray], None]


def _cblas_caller(kind: str, real: type, address: int) -> _Multiply:
    pointer, char, size = ctypes.c_void_p, ctypes.c_int, ctypes.c_int64 if kind == "cblas64" else ctypes.c_int
    routine = ctypes.CFUNCTYPE(
        None, char, char, char, size, size, size, real, pointer, size, pointer, size, real, pointer, size)(address)

    def multiply(turn_a, turn_b, sizes, a, b, c):
        turns = (_TRANSPOSED if turn else _AS_IS for turn in (turn_a, turn_b))
        routine(_ROW_MAJOR, *turns, *sizes, 1, a.ctypes.data, a.shape[1], b.ctypes.data, b.shape[1],
                0, c.ctypes.data, c.shape[1])

    return multiply


def _fortran_caller(real: type, address: int) -> _Multiply:
    """Fortran stores by columns: what it sees of row-major a, b and c are their transposes, and c' = b' a'."""
    routine = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 13)(address)

    def multiply(turn_a, turn_b, sizes, a, b, c):
        m, n, k = sizes
        turns = [ctypes.c_char(b"T" if turn else b"N") for turn in (turn_b, turn_a)]
        numbers = [ctypes.c_int(x) for x in (n, m, k, b.shape[1], a.shape[1], c.shape[1])]
        factors = [real(1), real(0)]
        at = ctypes.addressof
        routine(*map(at, turns), *map(at, numbers[:3]), at(factors[0]), b.ctypes.data, at(numbers[3]),
                a.ctypes.data, at(numbers[4]), at(factors[1]), c.ctypes.data, at(numbers[5]))

    return multiply


_NOTHING_TO_HOLD = """
define internal void @hold_blas() nounwind {
  ret void
}
define internal void @release_blas() nounwind {
  ret void
}
define internal void @reset_blas() nounwind {
  ret void
}
"""

_HOLD = """
; ---- BLAS held to one thread while any run is under way
@blas.lock = internal global i32 0, align 64
@blas.runs = internal global i32 0
@blas.threads = internal global i32 1
declare i32 @blas_get_threads()
declare void @blas_set_threads(i32)
define internal void @lock_blas() nounwind {
entry:
  br label %try
try:
  %swap = cmpxchg ptr @blas.lock, i32 0, i32 1 acquire monotonic, align 4
  %free = extractvalue { i32, i1 } %swap, 1
  br i1 %free, label %out, label %try
out:
  ret void
}
define internal void @hold_blas() nounwind {
entry:
  call void @lock_blas()
  %runs = load i32, ptr @blas.runs
  %runs.now = add i32 %runs, 1
  store i32 %runs.now, ptr @blas.runs
  %first = icmp eq i32 %runs, 0
  br i1 %first, label %hold, label %out
hold:
  %threads = call i32 @blas_get_threads()
  store i32 %threads, ptr @blas.threads
  call void @blas_set_threads(i32 1)
  br label %out
out:
  store atomic i32 0, ptr @blas.lock release, align 4
  ret void
}
define internal void @release_blas() nounwind {
entry:
  call void @lock_blas()
  %runs = load i32, ptr @blas.runs
  %runs.now = sub i32 %runs, 1
  store i32 %runs.now, ptr @blas.runs
  %last = icmp eq i32 %runs.now, 0
  br i1 %last, label %restore, label %out
restore:
  %threads = load i32, ptr @blas.threads
  call void @blas_set_threads(i32 %threads)
  br label %out
out:
  store atomic i32 0, ptr @blas.lock release, align 4
  ret void
}
; in a forked child: the runs that were under way do not exist
define internal void @reset_blas() nounwind {
entry:
  store i32 0, ptr @blas.lock
  %runs = load i32, ptr @blas.runs
  store i32 0, ptr @blas.runs
  %held = icmp ne i32 %runs, 0
  br i1 %held, label %restore, label %out
restore:
  %threads = load i32, ptr @blas.threads
  call void @blas_set_threads(i32 %threads)
  br label %out
out:
  ret void
}
"""


def hold_text(blas: Blas) -> str:
    """The LLVM text of @hold_blas(), @release_blas() and @reset_blas()."""
    return _HOLD if blas.set_threads else _NOTHING_TO_HOLD
