"""CuPy itself, with a CPU in the place of the GPU: what it does with what we ask of it, on machines without one.

    python -m pytest -p emulated_cuda tests/tracegrad/test_cuda.py -k "an_op or edge"       in the place of stub_cupy

CuPy's own code runs: its Python, its Cython, and its kernels, which a C++ compiler compiles (see emulated_cuda.h). In
the place of CUDA are functions that it exports from one Cython module to the others, of its runtime and driver, and
NumPy in that of Thrust's sorting and cuBLAS. Results are those of the kernels but for the last bits of functions, and
for float32 below 1.2e-38, which a GPU takes for 0 there. Work is done when it is given to a stream; what is captured is
kept, and an allocation meanwhile fails, as does a call of the driver in a thread that has no context.
"""
from __future__ import annotations

import contextlib
import ctypes
import hashlib
import os
import re
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

os.environ |= {"CUPY_ACCELERATORS": "", "CUPY_CACHE_IN_MEMORY": "1"}
import cuda.pathfinder
import cupy_backends.cuda.api.driver as driver
import cupy_backends.cuda.api.runtime as runtime
import stub_cupy

HERE = Path(__file__).parent
_spec = find_spec("triton")
assert _spec is not None and _spec.origin is not None
CUDA_HEADERS = str(Path(_spec.origin).parent / "backends/nvidia/include")
KERNELS = Path(os.environ.get("EMULATED_CUDA_CACHE") or Path(tempfile.gettempdir()) / "emulated-cuda")
"""Where compiled kernels are kept: there are thousands in a full run, of half a second each."""

# ---- functions that CuPy's modules import from others, as C ---------------------------------------------------------

_TYPES = {"int": ctypes.c_int, "intptr_t": ctypes.c_ssize_t, "size_t": ctypes.c_size_t, "unsigned int": ctypes.c_uint,
          "float": ctypes.c_float}
_capsule, _name = ctypes.pythonapi.PyCapsule_New, ctypes.pythonapi.PyCapsule_GetName
_capsule.restype, _capsule.argtypes = ctypes.py_object, (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)
_name.restype, _name.argtypes = ctypes.c_char_p, (ctypes.py_object,)
_kept: list[Any] = []


def put(module: Any, name: str, function: Callable[..., Any]) -> None:
    """Let the module export this function, to Python and to C, where its signature stands beside it."""
    signature = _name(module.__pyx_capi__[name])
    result, _, rest = signature.decode().rstrip(")").partition("(")
    parameters = [p.strip() for p in rest.split(",") if p.strip() != "void"]
    count = len([p for p in parameters if "__pyx" not in p])
    types = [ctypes.c_void_p if "__pyx_opt_args" in p else _TYPES.get(p.partition(" __pyx")[0], ctypes.py_object)
             for p in parameters]
    made = ctypes.PYFUNCTYPE(_TYPES.get(result.strip(), ctypes.py_object), *types)(
        lambda *given: function(*given[:count]))
    _kept.extend((made, signature))
    module.__pyx_capi__[name] = _capsule(ctypes.cast(made, ctypes.c_void_p), signature, None)
    setattr(module, name, function)


# ---- the runtime ----------------------------------------------------------------------------------------------------

_libc = ctypes.CDLL(None)
_libc.aligned_alloc.restype, _libc.aligned_alloc.argtypes = ctypes.c_void_p, (ctypes.c_size_t, ctypes.c_size_t)
_libc.free.argtypes = (ctypes.c_void_p,)
_thread = threading.local()
_pinned: dict[int, int] = {}
_capturing: dict[int, list[Callable[[], object]]] = {}
"""By the stream: the work that it captures."""
GRAPHS: dict[int, list[Callable[[], object]]] = {}
LAUNCHED: list[int] = []
_devices = [1]
_handles = iter(range(0x1000, 1 << 40, 16))


def _malloc(size: int) -> int:
    if _capturing:
        raise SystemExit("memory is allocated while work is captured")
    address = _libc.aligned_alloc(512, -(-size // 512) * 512)
    ctypes.memset(address, 0xAB, size)
    return address


def _host_alloc(size: int, flags: int) -> int:
    address = _malloc(size)
    _pinned[address] = size
    return address


def _has_context() -> None:
    _thread.has_context = True


def _started(work: Callable[[], object], stream: int) -> None:
    if stream in _capturing:
        _capturing[stream].append(work)
    else:
        work()


def _copy(to: int, come_from: int, size: int, kind: int, stream: int) -> None:
    values = ctypes.string_at(come_from, size) if kind == runtime.memcpyHostToDevice else None
    _started(lambda: ctypes.memmove(to, come_from if values is None else values, size), stream)


def _instantiated(graph: int) -> int:
    made = next(_handles)
    GRAPHS[made] = GRAPHS[graph]
    return made


def _end_capture(stream: int) -> int:
    graph = next(_handles)
    GRAPHS[graph] = _capturing.pop(stream)
    return graph


def _launch_graph(graph: int, stream: int) -> None:
    LAUNCHED.append(graph)
    for work in GRAPHS[graph]:
        work()


def _nothing(*of: Any) -> None:
    """It has been done."""


def _handle(*of: Any) -> int:
    return next(_handles)


_PROPERTIES = {"name": b"an emulated GPU", "totalGlobalMem": 2**34, "major": 9, "minor": 0, "multiProcessorCount": 4,
               "warpSize": 32, "maxThreadsPerBlock": 1024}
_ATTRIBUTES = {75: 9, 76: 0, 16: 4, 1: 1024, 115: 1}
"""Capability, processors, threads of a block, memory pools, by CUDA's numbers."""

for _function_name, _function in {
        "getDevice": lambda: 0, "getDeviceCount": lambda: _devices[0], "setDevice": lambda number: _has_context(),
        "getDeviceProperties": lambda number: dict(_PROPERTIES), "driverGetVersion": lambda: 13000,
        "deviceGetAttribute": lambda attribute, number: _ATTRIBUTES.get(attribute, 0), "deviceSynchronize": _nothing,
        "memGetInfo": lambda: (2**33, 2**34), "_ensure_context": _has_context, "deviceCanAccessPeer": lambda a, b: 1,
        "malloc": _malloc, "free": _libc.free, "hostAlloc": _host_alloc, "freeHost": _nothing,
        "pointerGetMemoryType": lambda address: int(any(p <= address < p + n for p, n in _pinned.items())),
        "pointerGetAttributes": lambda address: runtime.PointerAttributes(0, address, 0, 2),
        "memcpy": lambda to, come_from, size, kind: _copy(to, come_from, size, kind, -1), "memcpyAsync": _copy,
        "memset": lambda at, value, size: ctypes.memset(at, value, size),
        "memsetAsync": lambda at, value, size, stream: _started(lambda: ctypes.memset(at, value, size), stream),
        "streamCreate": _handle, "streamCreateWithFlags": _handle, "streamCreateWithPriority": _handle,
        "streamDestroy": _nothing, "streamSynchronize": _nothing, "streamQuery": lambda stream: 0,
        "streamWaitEvent": _nothing, "streamIsCapturing": lambda stream: int(stream in _capturing),
        "streamBeginCapture": lambda stream, mode=0: _capturing.update({stream: []}), "streamEndCapture": _end_capture,
        "graphInstantiate": _instantiated, "graphLaunch": _launch_graph, "graphDestroy": _nothing,
        "graphExecDestroy": _nothing, "launchHostFunc": lambda stream, function, argument: function(argument),
        "eventCreate": _handle, "eventCreateWithFlags": _handle, "eventDestroy": _nothing, "eventRecord": _nothing,
        "eventQuery": lambda event: 0, "eventSynchronize": _nothing, "eventElapsedTime": lambda begin, end: 1.0,
        }.items():
    put(runtime, _function_name, _function)

# ---- kernels --------------------------------------------------------------------------------------------------------

_modules: dict[int, Any] = {}
_functions: dict[int, Any] = {}


def _load(code: bytes) -> int:
    assert getattr(_thread, "has_context", False), "a call of the driver in a thread without a context"
    module = next(_handles)
    _modules[module] = ctypes.CDLL(code.decode())
    return module


def _function_of(module: int, name: str) -> int:
    function = next(_handles)
    _functions[function] = getattr(_modules[module], f"launch_{name}")
    return function


def _launch(function: int, gx: int, gy: int, gz: int, bx: int, by: int, bz: int, shared: int, stream: int,
            parameters: int, extra: int) -> None:
    assert getattr(_thread, "has_context", False), "a call of the driver in a thread without a context"
    assert stream not in _capturing, "a kernel of CuPy is captured: its parameters are gone when it runs"
    _functions[function](gx, gy, gz, bx, by, bz, ctypes.c_void_p(parameters))


for _function_name, _function in {"moduleLoadData": _load, "moduleGetFunction": _function_of, "moduleUnload": _nothing,
                                  "launchKernel": _launch}.items():
    put(driver, _function_name, _function)
cuda.pathfinder.find_nvidia_header_directory = lambda library: CUDA_HEADERS

import cupy  # noqa: E402
import cupy._core._routines_sorting as sorting  # noqa: E402
from cupy.cuda import compiler  # noqa: E402

_INCLUDED = Path(cupy.__file__).parent / "_core/include"
_FLAGS = ("-std=c++20 -O0 -w -fpermissive -fPIC -fwrapv -fno-strict-aliasing "
          f"-I{KERNELS} -I{_INCLUDED} -I{CUDA_HEADERS} -idirafter {_INCLUDED}/cupy/_cccl/libcudacxx").split()
_IN_PLACE = {"thrust/detail/config/namespace.h": "#define THRUST_NAMESPACE_BEGIN namespace thrust {\n"
                                                 "#define THRUST_NAMESPACE_END }\n",
             **{f"cuda/std/{name}":
                f"#include <{name}>\nnamespace cuda {{ namespace std {{ using namespace ::std; }} }}\n"
                for name in ("bit", "utility", "limits", "type_traits", "cstdint", "cmath", "tuple")},
             "cupy/carray.cuh": (_INCLUDED / "cupy/carray.cuh").read_text().replace(
                 " q = x / y;", " q = y == -1 ? (long long)-(unsigned long long)x : x / y;")}
"""Headers that CuPy takes of NVIDIA's library for C++, and one of its own: the least integer by -1 stops a CPU."""

_LAUNCHER = """
extern "C" void launch_{name}(unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz, void** p) {{
  emulated::run({{gx, gy, gz}}, {{bx, by, bz}}, p, {waits}, [](void** q) {{ emulated::call({name}, q); }});
}}
"""


def _prepared() -> None:
    """Have the headers ready, the largest of them compiled."""
    text = (HERE / "emulated_cuda.h").read_text()
    if (KERNELS / "emulated_cuda.h").exists() and (KERNELS / "emulated_cuda.h").read_text() == text:
        return
    for name, content in {**_IN_PLACE, "emulated_cuda.h": text}.items():
        (KERNELS / name).parent.mkdir(parents=True, exist_ok=True)
        (KERNELS / name).write_text("#pragma once\n" + content if name in _IN_PLACE else content)
    made = KERNELS / f"{os.getpid()}.gch"
    subprocess.run(["c++", *_FLAGS, "-x", "c++-header", KERNELS / "emulated_cuda.h", "-o", made], check=True)
    made.rename(KERNELS / "emulated_cuda.h.gch")


def compiled(source: str, options: Any = (), *of: Any) -> tuple[bytes, dict[str, str]]:
    """In the place of CuPy's compiling by NVRTC: where a library is that runs the kernels of a source."""
    _prepared()
    library = KERNELS / (hashlib.sha256((source + (HERE / "emulated_cuda.h").read_text()).encode()).hexdigest() + ".so")
    if not library.exists():
        text = re.sub(r"extern\s+__shared__\s+([\w ]+?)\s+(\w+)\s*\[\s*\]", r"static \1 \2[65536]", source)
        waits = str(bool(re.search(r"__sync|_sync\(", text))).lower()
        names = dict.fromkeys(re.findall(r"__global__\s+void\s+(?:__launch_bounds__\([^)]*\)\s*)?(\w+)\s*\(", text))
        text += "".join(_LAUNCHER.format(name=name, waits=waits) for name in names)
        made = library.with_suffix(f".{os.getpid()}")
        subprocess.run(["c++", *_FLAGS, "-shared", "-include", "emulated_cuda.h", "-x", "c++", "-", "-o", made],
                       input=text, text=True, check=True, cwd=KERNELS)
        made.rename(library)
    return str(library).encode(), {}


compiler._compile_using_nvrtc_no_warning = compiled
compiler._preprocess = lambda *of, **options: b""
compiler._get_nvrtc_version = lambda: (12, 8)


def there(address: int, shape: Any, dtype: np.dtype) -> np.ndarray:
    """The array that lies there, which owns nothing."""
    return stub_cupy._at(address, tuple(shape), dtype)


class Thrust:
    """Sorting, of the dtypes that Thrust sorts."""

    available = True

    @staticmethod
    def sort(dtype: np.dtype, address: int, keys: int, shape: Any) -> None:
        Thrust._check(dtype)
        there(address, shape, dtype).sort(-1, kind="stable")

    @staticmethod
    def argsort(dtype: np.dtype, places: int, address: int, keys: int, shape: Any) -> None:
        Thrust._check(dtype)
        there(places, shape, np.dtype(np.intp))[...] = there(address, shape, dtype).argsort(-1, kind="stable")

    @staticmethod
    def lexsort(dtype: np.dtype, places: int, keys: int, k: int, n: int) -> None:
        there(places, (n,), np.dtype(np.intp))[...] = np.lexsort(there(keys, (k, n), dtype))

    @staticmethod
    def _check(dtype: np.dtype) -> None:
        if dtype.char not in "?bBhHiIlLqQefdFD":
            raise NotImplementedError(f"Sorting arrays with dtype '{dtype}' is not supported")


cupy.cuda.thrust = sorting.thrust = Thrust


def _matmul(a: Any, b: Any, out: Any = None) -> Any:
    assert a.dtype.char in "efdFDbBhHiIlLqQ?"
    return cupy.asarray(np.matmul(a.get(), b.get()))


cupy.matmul = _matmul

# ---- in the place of the stand-in -----------------------------------------------------------------------------------

from tracegrad import devices  # noqa: E402
from tracegrad.purity import library as trusted  # noqa: E402

_files_of_cupy = devices.cupy_files
trusted.cupy_files = lambda: (*_files_of_cupy(), __file__)          # what runs here is a GPU elsewhere


@contextlib.contextmanager
def installed(gpus: int = 1) -> Iterator[Any]:
    """While it lasts, CuPy is in use."""
    used, devices.CUPY[:] = devices.CUPY[:], []
    _devices[0] = gpus
    try:
        yield cupy
    finally:
        devices.CUPY[:] = used


def on_numpy(target: Any) -> Any:
    """A target of programs for the GPU, by one for the CPU."""
    def moved(made: Any) -> Any:
        def run(arrays: tuple[Any, ...]) -> int:
            return made.run(tuple(there(a.data.ptr, a.shape, a.dtype) if isinstance(a, cupy.ndarray) else a
                                  for a in arrays))
        return replace(made, run=run, entry=None,
                       resized=None if made.resized is None else lambda numbers: moved(made.resized(numbers)))
    return replace(target, compile=lambda *options: moved(target.compile(*options)))


stub_cupy.installed, stub_cupy.on_numpy = installed, on_numpy       # type: ignore[assignment]
