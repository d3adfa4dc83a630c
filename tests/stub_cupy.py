"""CuPy on NumPy: arrays that a GPU has in tests on machines without one.

    with stub_cupy.installed():
        x = tg.ones(3, device="cuda")

It refuses what CuPy refuses: arrays of NumPy beside its own, turning into one unasked, functions and arguments that it
does not have, reductions by ufuncs other than add and multiply. It does not refuse what CuPy does not refuse: an index
that is out of bounds goes around, and of several writes to one place any stays. A copy of memory to itself, which CUDA
does in no order, fails here. Results of no axes stay arrays. A test holds the names below to the CuPy that is there.
What CuPy computes otherwise than NumPy, by rounding say, it does not imitate.
"""
from __future__ import annotations

import ctypes
import functools
import sys
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.machinery import ModuleSpec
from types import ModuleType, SimpleNamespace
from typing import Any

import ml_dtypes
import numpy as np

FUNCTIONS = {name.strip(): tuple(parameters.split()) for name, _, parameters in (line.partition(":") for line in """
    all: a axis out keepdims
    any: a axis out keepdims
    arange: start stop step dtype
    argmax: a axis dtype out keepdims
    argmin: a axis dtype out keepdims
    argsort: a axis kind
    array: obj dtype copy order subok ndmin *blocking
    array_equal: a1 a2 equal_nan
    asarray: a dtype order *copy *blocking
    ascontiguousarray: a dtype
    bincount: x weights minlength
    broadcast_to: array shape
    clip: a a_min a_max out
    concatenate: tup axis out *dtype *casting
    copy: a order
    copyto: dst src casting where
    count_nonzero: a axis
    cumprod: a axis dtype out
    cumsum: a axis dtype out
    empty: shape dtype order
    empty_like: prototype dtype order subok shape
    expand_dims: a axis
    flatnonzero: a
    flip: a axis
    full: shape fill_value dtype order
    full_like: a fill_value dtype order subok shape
    isin: element test_elements assume_unique invert
    linspace: start stop num endpoint retstep dtype axis
    matmul: args *axes *axis *keepdims *casting *dtype *signature *order *out
    max: a axis out keepdims
    may_share_memory: a b max_work
    mean: a axis dtype out keepdims
    min: a axis out keepdims
    moveaxis: a source destination
    ndim: a
    nonzero: a
    ones: shape dtype order
    ones_like: a dtype order subok shape
    prod: a axis dtype out keepdims
    ravel: a order
    repeat: a repeats axis
    reshape: a newshape order *copy
    result_type: arrays_and_dtypes
    searchsorted: a v side sorter
    shape: a
    shares_memory: a b max_work
    sort: a axis kind
    squeeze: a axis
    stack: tup axis out *dtype *casting
    sum: a axis dtype out keepdims
    swapaxes: a axis1 axis2
    take: a indices axis out
    take_along_axis: a indices axis
    transpose: a axes
    unique: ar return_index return_inverse return_counts axis *equal_nan
    where: condition x y
    zeros: shape dtype order
    zeros_like: a dtype order subok shape
""".strip().splitlines())}
"""The functions that CuPy has, with their parameters; * marks those that go by name only."""

UFUNCS = frozenset("""
    absolute add arccos arccosh arcsin arcsinh arctan arctan2 arctanh bitwise_and bitwise_or bitwise_xor cbrt
    ceil conjugate copysign cos cosh divide equal exp exp2 expm1 floor floor_divide fmax fmin fmod greater
    greater_equal hypot invert isfinite isinf isnan left_shift less less_equal log log10 log1p log2 logaddexp
    logical_and logical_not logical_or logical_xor maximum minimum multiply negative nextafter not_equal
    positive power reciprocal remainder right_shift rint sign signbit sin sinh sqrt square subtract tan tanh
    trunc
""".split())
SPECIAL = ("erf", "erfc", "erfinv", "gammaln", "digamma", "zeta")

REDUCED = {"add": "sum", "multiply": "prod"}
ACCUMULATED = {"add": "cumsum", "multiply": "cumprod"}
WRITTEN_AT = {"add": "int32 uint32 uint64 float32 float64 complex64 complex128",
              "maximum": "int32 uint32 uint64 float32 float64", "minimum": "int32 uint32 uint64 float32 float64"}
"""The ufuncs with `at`, and the dtypes for which."""

_BFLOAT16 = np.dtype(ml_dtypes.bfloat16)

SYNCHRONIZATIONS: list[str] = []
"""What has waited for the GPU: each read of a value by the CPU."""

class Memory:
    """An allocation."""

    def __init__(self, array: np.ndarray):
        self.ptr, self.size = np.lib.array_utils.byte_bounds(array)[0], array.nbytes
        self.device = Device(current_device())
        self.first: weakref.ref | None = None               # the array that it was made for


_MEMORY: dict[int, tuple[weakref.ref, Memory]] = {}


def _memory_of(array: np.ndarray) -> Memory:
    while True:
        base = array.base
        if base is not None and not isinstance(base, np.ndarray):
            base = getattr(base, "base", None)                  # as_strided puts something between
        if not isinstance(base, np.ndarray):
            break
        array = base
    found = _MEMORY.get(id(array))
    if found is None or found[0]() is not array:
        key = id(array)
        found = _MEMORY[key] = weakref.ref(array, functools.partial(_MEMORY.pop, key)), Memory(array)
    return found[1]


class MemoryPointer:
    def __init__(self, array: np.ndarray):
        self.mem, self.ptr, self._array = _memory_of(array), array.ctypes.data, array

    def copy_from_host_async(self, memory: int, size: int, stream: Any = None) -> None:
        assert self._array.nbytes == size and self._array.flags.c_contiguous
        _move(self.ptr, memory, size)

    def copy_to_host_async(self, memory: int, size: int, stream: Any = None) -> None:
        assert self._array.nbytes == size and self._array.flags.c_contiguous
        _move(memory, self.ptr, size)


def _move(to: int, come_from: int, size: int) -> None:
    ctypes.memmove(to, come_from, size)


def _at(address: int, shape: Any, dtype: np.dtype) -> np.ndarray:
    """The array that lies there, which owns nothing."""
    size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    return np.ndarray(shape, dtype, memoryview((ctypes.c_char * size).from_address(address)))


class ndarray:
    """An array of the GPU."""

    __slots__ = ("_a", "_base", "__weakref__")
    __hash__ = None                                                 # type: ignore[assignment]
    __array_priority__ = 100

    def __init__(self, shape: Any, dtype: Any = float, memptr: Any = None, *, _array: np.ndarray | None = None):
        self._a = _array if _array is not None else np.zeros(shape, dtype) if memptr is None else _at(
            memptr, shape, np.dtype(dtype))
        memory = _memory_of(self._a)
        self._base = None if memory.first is None else memory.first()       # as CuPy's, a view holds what it is of
        if self._base is None:
            memory.first = weakref.ref(self)

    # ---- what it is
    device = property(lambda self: _memory_of(self._a).device)
    shape = property(lambda self: self._a.shape)
    dtype = property(lambda self: self._a.dtype)
    ndim = property(lambda self: self._a.ndim)
    size = property(lambda self: self._a.size)
    itemsize = property(lambda self: self._a.itemsize)
    nbytes = property(lambda self: self._a.nbytes)
    strides = property(lambda self: self._a.strides)
    data = property(lambda self: MemoryPointer(self._a))
    base = property(lambda self: None if self._a.base is None else _wrap(self._a.base))
    T = property(lambda self: _wrap(self._a.T))

    @property
    def flags(self) -> Any:
        return SimpleNamespace(c_contiguous=self._a.flags.c_contiguous, f_contiguous=self._a.flags.f_contiguous,
                               owndata=self._a.flags.owndata)

    @property
    def real(self) -> ndarray:
        return _wrap(self._a.real)

    @real.setter
    def real(self, value: Any) -> None:
        self._a.real = _bare(value)

    @property
    def imag(self) -> ndarray:
        return _wrap(self._a.imag)

    @imag.setter
    def imag(self, value: Any) -> None:
        self._a.imag = _bare(value)

    def __len__(self) -> int:
        return len(self._a)

    def __iter__(self) -> Iterator[ndarray]:
        return map(_wrap, self._a[..., None].reshape(*self._a.shape, 1)[..., 0]) if self.ndim > 1 else (
            _wrap(self._a[k, ...]) for k in range(len(self._a)))

    # ---- its values
    def get(self, stream: Any = None, order: str = "C", out: Any = None, blocking: bool = True) -> np.ndarray:
        SYNCHRONIZATIONS.append("get")
        return self._a.copy(order)

    def item(self) -> Any:
        return self.get().item()

    def tolist(self) -> Any:
        return self.get().tolist()

    def __bool__(self) -> bool:
        return bool(self.get())

    def __int__(self) -> int:
        return int(self.get())

    def __float__(self) -> float:
        return float(self.get())

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        raise TypeError("Implicit conversion to a NumPy array is not allowed. Please use `.get()` to construct a NumPy "
                        "array explicitly.")

    def __dlpack_device__(self) -> tuple[int, int]:
        return 2, self.device.id

    def __dlpack__(self, *, stream: Any = None, max_version: Any = None, dl_device: Any = None,
                   copy: Any = None) -> Any:
        if dl_device == (1, 0):
            return self.get().__dlpack__(max_version=max_version)
        return "capsule", self, stream

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return {"shape": self.shape, "typestr": self.dtype.str, "data": (self._a.ctypes.data, False), "version": 3}

    # ---- operations
    def __getitem__(self, key: Any) -> ndarray:
        return _wrap(self._a[_inside(self._a, key)])

    def __setitem__(self, key: Any, value: Any) -> None:
        if self.size and any(step == 0 and n > 1 for n, step in zip(self.shape, self.strides)):
            raise AssertionError("a write to a broadcast: CuPy would not refuse it")
        key, value = _inside(self._a, key), _bare(value)
        if isinstance(value, np.ndarray):
            place = self._a[key]
            if np.may_share_memory(place, self._a):
                _check_apart(place, value)
            elif isinstance(key, np.ndarray) and key.dtype.kind in "iu" and self.ndim:
                order = np.random.default_rng().permutation(key.size)       # any of several writes to one place stays
                value = np.broadcast_to(value, place.shape).reshape(key.size, *self.shape[1:])[order]
                key = key.reshape(-1)[order]
        self._a[key] = value

    def astype(self, dtype: Any, order: str = "K", casting: Any = None, subok: Any = None,
               copy: bool = True) -> ndarray:
        with np.errstate(all="ignore"):
            return self if not copy and self.dtype == np.dtype(dtype) else _wrap(self._a.astype(dtype, order=order))

    def copy(self, order: str = "C") -> ndarray:            # to the device that is current
        return _wrap(self._a.copy(order))

    def view(self, dtype: Any = None) -> ndarray:
        return _wrap(self._a.view() if dtype is None else self._a.view(dtype))

    def reshape(self, *shape: Any, order: str = "C") -> ndarray:
        return _wrap(self._a.reshape(*shape, order=order))

    def ravel(self, order: str = "C") -> ndarray:
        return _wrap(self._a.ravel(order))

    def transpose(self, *axes: Any) -> ndarray:
        return _wrap(self._a.transpose(*axes))

    def squeeze(self, axis: Any = None) -> ndarray:
        return _wrap(self._a.squeeze(axis))

    def take(self, indices: Any, axis: Any = None, out: Any = None) -> ndarray:
        return _wrap(self._a.take(_bare(indices), axis, mode="wrap"))

    def fill(self, value: Any) -> None:
        self._a.fill(_bare(value))

    def min(self, axis: Any = None, out: Any = None, keepdims: bool = False) -> ndarray:
        return _wrap(self._a.min(axis, keepdims=keepdims))

    def max(self, axis: Any = None, out: Any = None, keepdims: bool = False) -> ndarray:
        return _wrap(self._a.max(axis, keepdims=keepdims))

    def sum(self, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: bool = False) -> ndarray:
        return _wrap(self._a.sum(axis, dtype, keepdims=keepdims))

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        name = ufunc.__name__
        if name == "matmul" and method == "__call__":
            return _called("matmul", inputs, options)
        if name not in UFUNCS or method not in ("__call__", "reduce", "accumulate", "at", "outer"):
            return NotImplemented
        if method == "reduce" and name not in REDUCED or method == "accumulate" and name not in ACCUMULATED:
            raise NotImplementedError(f"`cupy_{name}.{method}` is not supported yet")
        if method == "at":
            return _written_at(name, *inputs)
        out = options.pop("out", None)
        bare = [_bare(x) for x in inputs]
        if out is not None:
            options["out"] = tuple(_bare(x) for x in out)
        with np.errstate(all="ignore"):
            result = getattr(ufunc, method)(*bare, **options)
        return out[0] if out is not None else _wrap(result)

    def __array_function__(self, function: Any, types: Any, args: Any, options: Any) -> Any:
        name = function.__name__
        if name not in FUNCTIONS or function.__module__ != "numpy":
            return NotImplemented
        return _called(name, args, options)


def _inside(array: np.ndarray, key: Any) -> Any:
    """The key for NumPy. CuPy takes an index that is out of bounds for one that is not: it goes around."""
    keys = _bare(key)
    if isinstance(keys, np.ndarray) and keys.dtype.kind in "iu" and array.ndim and array.shape[0]:
        return keys % array.shape[0]
    return keys


def _check_apart(target: np.ndarray, source: np.ndarray) -> None:
    """CuPy copies what is contiguous by cudaMemcpy, for which the two must not overlap."""
    if target.dtype == source.dtype and target.flags.c_contiguous and source.flags.c_contiguous:
        assert target.ctypes.data == source.ctypes.data or not np.shares_memory(target, source), "copies that overlap"


def _written_at(name: str, array: ndarray, indices: Any, values: Any = None) -> None:
    if name not in WRITTEN_AT:
        raise NotImplementedError(f"`cupy_{name}.at` is not supported yet")
    if array.dtype.name not in WRITTEN_AT[name].split():
        raise TypeError(f"`{name}.at` is not supported for dtype {array.dtype}")
    with np.errstate(all="ignore"):
        getattr(np, name).at(array._a, _bare(indices), _bare(values))


def _operator(ufunc: np.ufunc, swapped: bool = False) -> Any:
    def apply(self: ndarray, *others: Any) -> Any:
        bare = [_bare(x) for x in (self, *others)]
        with np.errstate(all="ignore"):
            return _wrap(ufunc(*(bare[::-1] if swapped else bare)))
    return apply


for _names, _ufunc in {
        "add radd": np.add, "sub rsub": np.subtract, "mul rmul": np.multiply, "truediv rtruediv": np.divide,
        "floordiv rfloordiv": np.floor_divide, "mod rmod": np.remainder, "pow rpow": np.power,
        "and rand": np.bitwise_and, "or ror": np.bitwise_or, "xor rxor": np.bitwise_xor,
        "lshift rlshift": np.left_shift, "rshift rrshift": np.right_shift, "lt": np.less, "le": np.less_equal,
        "gt": np.greater, "ge": np.greater_equal, "eq": np.equal, "ne": np.not_equal,
        "neg": np.negative, "invert": np.invert, "abs": np.absolute, "matmul": np.matmul}.items():
    for _swapped, _name in enumerate(_names.split()):
        setattr(ndarray, f"__{_name}__", _operator(_ufunc, bool(_swapped)))


def _wrap(result: Any) -> Any:
    if isinstance(result, tuple):
        return tuple(map(_wrap, result))
    return ndarray((), _array=np.asarray(result)) if isinstance(result, np.ndarray | np.generic) else result


def _bare(x: Any) -> Any:
    """An operand for NumPy; TypeError for one that CuPy refuses."""
    if isinstance(x, ndarray):
        assert x.device.id == current_device(), f"an array of device {x.device.id}, and {current_device()} is current"
        return x._a
    if isinstance(x, tuple | list):
        return type(x)(map(_bare, x))
    if isinstance(x, np.ndarray):
        raise TypeError(f"Unsupported type {type(x)}")
    return x


def _called(name: str, args: Any, options: Any) -> Any:
    """NumPy's function of the operands, if CuPy's takes them."""
    parameters = FUNCTIONS[name]
    by_place = [p for p in parameters if not p.startswith("*")]
    if len(args) > len(by_place) and parameters[0] != "args":
        raise TypeError(f"{name}() takes {len(by_place)} positional arguments but {len(args)} were given")
    for option in options:
        if option not in parameters and f"*{option}" not in parameters:
            raise TypeError(f"{name}() got an unexpected keyword argument '{option}'")
    if name in ("may_share_memory", "shares_memory"):
        return args[0].data.mem is args[1].data.mem
    bare, named = [_bare(x) for x in args], {key: _bare(value) for key, value in options.items()}
    named.pop("blocking", None)
    if name == "copyto":
        _check_apart(*bare)
        np.copyto(*bare, **named)
        return None
    if name in ("argsort", "sort"):
        if bare[0].dtype == _BFLOAT16:
            raise NotImplementedError("Sorting arrays with dtype 'bfloat16' is not supported")
        named["kind"] = "stable"
    if name in ("nonzero", "flatnonzero") and not bare[0].ndim:
        raise ValueError("Calling nonzero on 0d arrays is not allowed.")
    with np.errstate(all="ignore"):
        if name in ("argmax", "argmin") and bare[0].dtype.kind == "V":
            raise TypeError(name)
        if name == "take":
            named["mode"] = "wrap"
        if name == "take_along_axis":
            bare[1] = bare[1] % bare[0].shape[bare[2] if len(bare) > 2 else named["axis"]]
        result = getattr(np, name)(*bare, **named)
        if name in ("argmax", "argmin") and bare[0].dtype.kind in "fc":         # of several NaNs any is found
            axis, lines = named["axis"], bare[0]
            last = lines.shape[axis] - 1 - np.argmax(np.flip(np.isnan(lines), axis), axis, keepdims=named["keepdims"])
            result = np.where(np.isnan(lines).any(axis, keepdims=named["keepdims"]), last, result)
        if name == "where" and result.dtype == _BFLOAT16:           # CuPy has none of that dtype
            result = result.astype(np.float32)
        if name == "broadcast_to":              # CuPy has no arrays that cannot be written to
            result = np.lib.stride_tricks.as_strided(bare[0], result.shape, result.strides)
        return _wrap(result)


def _module_function(name: str) -> Any:
    def function(*args: Any, **options: Any) -> Any:
        return _called(name, args, options)
    function.__name__ = name
    return function


class _Ufunc:
    def __init__(self, name: str):
        self.name = name

    def __call__(self, *inputs: Any, **options: Any) -> Any:
        with np.errstate(all="ignore"):
            return _wrap(getattr(np, self.name)(*(_bare(x) for x in inputs), **options))

    def at(self, array: ndarray, indices: Any, values: Any = None) -> None:
        _written_at(self.name, array, indices, values)


def _array(obj: Any, dtype: Any = None, copy: Any = None, order: Any = None, subok: Any = False, ndmin: int = 0,
           blocking: bool = False) -> ndarray:
    """From anything: this is how arrays get to a GPU."""
    found = obj._a if isinstance(obj, ndarray) else obj
    return _wrap(np.array(found, dtype) if copy or not isinstance(obj, ndarray) else np.asarray(found, dtype))


# ---- the driver -----------------------------------------------------------------------------------------------------


class Device:
    compute_capability = "90"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Device) and other.id == self.id

    __hash__ = None                                                 # type: ignore[assignment]

    def __init__(self, id: int = 0):
        self.id = id

    def __enter__(self) -> Device:
        _stack().append(self.id)
        return self

    def __exit__(self, *error: Any) -> None:
        _stack().pop()

    def use(self) -> None:
        _stack()[-1] = self.id
        _THREAD.has_context = True

    def synchronize(self) -> None:
        SYNCHRONIZATIONS.append("device")


_THREAD = threading.local()


def _stack() -> list[int]:
    """The numbers of the devices that are current in this thread, the one that counts last."""
    if not hasattr(_THREAD, "devices"):
        _THREAD.devices = [0]
    return _THREAD.devices


def current_device() -> int:
    return _stack()[-1]


def check_context() -> None:
    """CUDA's driver works only in threads in which its runtime has been used."""
    assert getattr(_THREAD, "has_context", False), "invalid device context"


class Stream:
    current: list[Stream] = []

    def __init__(self, null: bool = False, non_blocking: bool = False, ptds: bool = False):
        self.ptr = id(self)
        self.done = True
        self.captured: list[Any] | None = None

    def is_capturing(self) -> bool:
        return self.captured is not None

    def begin_capture(self, mode: int | None = None) -> None:
        self.captured = []

    def end_capture(self) -> Graph:
        works, self.captured = self.captured, None
        assert works is not None
        return Graph(works)

    def __enter__(self) -> Stream:
        Stream.current.append(self)
        return self

    def __exit__(self, *error: Any) -> None:
        Stream.current.pop()

    def synchronize(self) -> None:
        SYNCHRONIZATIONS.append("stream")

    def record(self, event: Event | None = None) -> Event:
        event = event or Event()
        event.record(self)
        return event

    def wait_event(self, event: Event) -> None:
        assert event.stream is not None

    def launch_host_func(self, function: Any, argument: Any) -> None:
        function(argument)


def start(work: Any) -> None:
    """Do what was asked of the current stream, or put it into the graph that it captures."""
    if Stream.current and Stream.current[-1].captured is not None:
        Stream.current[-1].captured.append(work)
    else:
        work()


GRAPHS: list[Graph] = []
"""Those that were launched, in order."""


class Graph:
    def __init__(self, works: list[Any]):
        self.works = works

    def launch(self, stream: Stream | None = None) -> None:
        GRAPHS.append(self)
        for work in self.works:
            work()


EVENTS: weakref.WeakValueDictionary[int, Event] = weakref.WeakValueDictionary()


class Event:
    done = True

    def __init__(self, block: bool = False, disable_timing: bool = False):
        self.stream: Stream | None = None
        self.ptr = id(self)
        EVENTS[self.ptr] = self

    def record(self, stream: Stream | None = None) -> None:
        self.stream = stream or (Stream.current[-1] if Stream.current else Stream())
        assert not self.stream.is_capturing(), "who waits for it waits for no launch of the graph"

    def synchronize(self) -> None:
        SYNCHRONIZATIONS.append("event")


def record_in_graph(event: int) -> None:
    """The driver's call to record an event, by its address, whenever the graph gets there."""
    stream = Stream.current[-1]
    assert stream.is_capturing(), "elsewhere it is refused"
    start(lambda: EVENTS[event].record())


class PinnedMemoryPointer(bytearray):
    """Memory of the CPU."""

    def __init__(self, size: int):
        super().__init__(size)
        _PINNED.add(self)

    __hash__ = object.__hash__                                      # type: ignore[assignment]

    @property
    def ptr(self) -> int:
        return ctypes.addressof(ctypes.c_char.from_buffer(self))


_PINNED: weakref.WeakSet[PinnedMemoryPointer] = weakref.WeakSet()


def is_memory_pinned(address: int) -> bool:
    return any(memory.ptr <= address < memory.ptr + len(memory) for memory in _PINNED)


def _unowned(address: int, size: int, owner: Any, device_id: int = -1) -> int:
    """Memory that CuPy did not give; whose it is cannot be asked of an address that is none."""
    assert address or device_id >= 0
    return address


def memcpy_async(to: int, come_from: int, size: int, kind: int, stream: int) -> None:
    start(lambda: _move(to, come_from, size))


def memset_async(to: int, value: int, size: int, stream: int) -> None:
    start(lambda: ctypes.memset(to, value, size))


class _Pool:
    def used_bytes(self) -> int:
        return 0

    def total_bytes(self) -> int:
        return 0

    def free_all_blocks(self) -> None:
        pass


def module(gpus: int = 1) -> ModuleType:
    """A module `cupy` for a machine with so many GPUs."""
    made: Any = ModuleType("cupy")
    made.__version__, made.__file__, made.__spec__ = "14.2.0", __file__, ModuleSpec("cupy", None)
    made.ndarray = ndarray
    for name in FUNCTIONS:
        setattr(made, name, _module_function(name))
    for name in UFUNCS:
        setattr(made, name, _Ufunc(name))
    made.abs = made.absolute
    made.array = made.asarray = _array
    made.asarray = functools.partial(lambda a, dtype=None, order=None, **options: _array(a, dtype))
    made.from_dlpack = lambda x: x.__dlpack__()[1].view()
    made.lib = SimpleNamespace(stride_tricks=SimpleNamespace(
        as_strided=lambda x, shape=None, strides=None: _wrap(np.lib.stride_tricks.as_strided(x._a, shape, strides))))
    properties = {"name": b"a GPU of tests", "totalGlobalMem": 2**33}
    runtime = SimpleNamespace(getDeviceCount=lambda: gpus, getDevice=current_device, memcpyHostToDevice=1,
                              memcpyDeviceToHost=2, memcpyDeviceToDevice=3, memcpyAsync=memcpy_async,
                              memsetAsync=memset_async, streamCaptureModeThreadLocal=1,
                              getDeviceProperties=lambda number: properties, CUDARuntimeError=RuntimeError)
    default = Stream()
    made.cuda = SimpleNamespace(
        pinned_memory=SimpleNamespace(is_memory_pinned=is_memory_pinned),
        runtime=runtime, Device=Device, Stream=Stream, Event=Event, PinnedMemoryPointer=PinnedMemoryPointer,
        get_current_stream=lambda device=-1: Stream.current[-1] if Stream.current else default,
        UnownedMemory=_unowned, MemoryPointer=lambda memory, offset: memory + offset,
        alloc_pinned_memory=PinnedMemoryPointer, get_elapsed_time=lambda start, end: 1.0)
    made.get_default_memory_pool = made.get_default_pinned_memory_pool = _Pool
    return made


def special() -> ModuleType:
    """A module `cupyx.scipy.special`."""
    import scipy.special
    made: Any = ModuleType("cupyx.scipy.special")
    for name in SPECIAL:
        setattr(made, name, functools.partial(
            lambda function, *xs: _wrap(np.asarray(function(*(_bare(x) for x in xs)), xs[-1].dtype)),
            getattr(scipy.special, name)))
    return made


@contextmanager
def installed(gpus: int = 1) -> Iterator[ModuleType]:
    """While it lasts, this is CuPy."""
    from tracegrad import devices
    names = {"cupy": module(gpus), "cupyx": ModuleType("cupyx"), "cupyx.scipy": ModuleType("cupyx.scipy"),
             "cupyx.scipy.special": special()}
    before, used = _take_out(), devices.CUPY[:]
    sys.modules.update(names)
    devices.CUPY.clear()
    SYNCHRONIZATIONS.clear()
    GRAPHS.clear()
    vars(_THREAD).clear()
    try:
        yield names["cupy"]
    finally:
        devices.CUPY[:] = used
        _take_out()
        sys.modules.update(before)


def _take_out() -> dict[str, ModuleType]:
    """All that is imported of CuPy, no longer imported."""
    return {name: sys.modules.pop(name) for name in [*sys.modules] if name.partition(".")[0] in ("cupy", "cupyx")}


def on_numpy(target: Any) -> Any:
    """A target of programs for the GPU, by one for the CPU: each run is on the NumPy arrays that stand for CuPy's."""
    from dataclasses import replace

    def there(made: Any) -> Any:
        run, resized = made.run, made.resized
        return replace(made, run=lambda arrays: run(tuple(getattr(a, "_a", a) for a in arrays)), entry=None,
                       resized=None if resized is None else lambda numbers: there(resized(numbers)))
    return replace(target, compile=lambda *options: there(target.compile(*options)))
