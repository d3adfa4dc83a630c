"""launch: compiled kernels on a device: which variant, with what parameters. Launches are asynchronous.

    launcher = Launcher(CupyDriver(), cache)
    launcher.prepare(specs)                                 compiled, all at once
    work = launcher.bind(spec, pointers, words, failed)     the variant is chosen, loaded, and given its parameters
    work()                                                  one call of the driver, on the stream that is current then

1. The aligned variant runs where all pointers, and all words that it promises, are multiples of 16; else the generic
   one, which is compiled when it is first bound.
2. A kernel whose words need 64 bits is not bound in 32. Of buffers its caller knows: see `needs_wide`.
3. A launch of no programs is none. Nothing is allocated, loaded or compiled by one: it can be captured in a graph.
4. Loaded code stays until the process ends, since launches of it may not have.
5. The driver reports what goes wrong in a kernel, as an access to memory that is not there, with some later call, and
   then with every call: the process has to be started anew. What a launch itself is refused for is raised by it.
"""
from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from ctypes import addressof, c_uint64
from threading import Lock
from typing import Any, Protocol

from codegen.cache import Cache
from codegen.ir.dims import evaluate
from codegen.schedule.plan import CannotLower
from codegen.triton_gpu.compile import Arch, Cubin, compile_specs, is_known
from codegen.triton_gpu.spec import KernelSpec

Work = Callable[[], object]

MOST_PROGRAMS = 2**31 - 1

NARROW = 2**31 - 2**20
"""What is below needs no 64 bits, nor does what lies beyond the last element in its tile, which no load reads."""

SMALL_SHARED_BYTES = 48 << 10
"""More shared memory than this a function is given only where it was permitted before."""

GRANULE = 16
"""What the promise of the aligned variant is about: bytes of a pointer, and multiples of a word."""


class Driver(Protocol):
    """The calls of CUDA's driver that launches need, for one device."""

    @property
    def arch(self) -> Arch:
        """What to compile for."""

    def load(self, cubin: Cubin) -> Any:
        """The function in this code."""

    def permit_shared(self, function: Any, size: int) -> None:
        """Let a function have so many bytes of shared memory."""

    def record_in_graph(self, event: int, stream: int) -> None:
        """Have the graph that a stream captures record an event, which others wait for, each time that it gets here."""

    def launch(self, function: Any, programs: int, threads: int, shared: int, parameters: int) -> None:
        """Start it on the stream that is current. `parameters`: where the addresses of its parameters are."""


class Launcher:
    """Compiled kernels on the device of a driver. Threads may share one."""

    def __init__(self, driver: Driver, cache: Cache):
        self._driver, self._cache = driver, cache
        self._functions: dict[tuple[KernelSpec, bool], tuple[Cubin, Any]] = {}
        self._lock = Lock()

    def prepare(self, specs: Sequence[KernelSpec]) -> list[bool]:
        """Compile the variants that most launches need. Was each compiled for this, and not known from before?

        CannotLower or KernelError as compile_specs.
        """
        new = [not is_known(spec, True, self._driver.arch, self._cache) for spec in specs]
        compile_specs(specs, self._driver.arch, self._cache, (True,))
        return new

    def bind(self, spec: KernelSpec, pointers: Sequence[int], words: Sequence[int] = (), failed: int = 0) -> Work:
        """What launches `spec` on buffers at these addresses; `failed`: the address of the flag, where it takes one."""
        if len(pointers) != len(spec.pointers) or len(words) != spec.words or bool(failed) != spec.flagged:
            raise TypeError(f"{spec.name} takes {len(spec.pointers)} buffers, {'a' if spec.flagged else 'no'} flag and "
                            f"{spec.words} words, not {len(pointers)}, {'a' if failed else 'none'} and {len(words)}")
        if spec.word_type == "i32" and needs_wide(words):
            raise OverflowError(f"{spec.name} computes with 32 bits, and the words {tuple(words)} need more")
        programs = evaluate(spec.grid, {f"n{k}": word for k, word in enumerate(words)})
        if programs > MOST_PROGRAMS:
            raise CannotLower(f"{spec.name} is to run as {programs:,} programs; there can be {MOST_PROGRAMS:,}")
        if programs <= 0:
            return _nothing
        aligned = not any(p % GRANULE for p in pointers) and not any(words[k] % GRANULE for k in spec.multiples)
        cubin, function = self._function(spec, aligned)
        values = (*pointers, *((failed,) if spec.flagged else ()), *words, 0, 0)
        slots = (c_uint64 * len(values))(*[value % 2**64 for value in values])
        first = addressof(slots)
        places = (c_uint64 * len(values))(*range(first, first + 8 * len(values), 8))
        parameters, launch = addressof(places), self._driver.launch

        def work(keep: object = (slots, places)) -> None:
            launch(function, programs, cubin.threads, cubin.shared, parameters)
        return work

    def _function(self, spec: KernelSpec, aligned: bool) -> tuple[Cubin, Any]:
        with self._lock:
            if (spec, aligned) not in self._functions:
                cubin = compile_specs([spec], self._driver.arch, self._cache, (aligned,))[spec, aligned]
                function = self._driver.load(cubin)
                if cubin.shared > SMALL_SHARED_BYTES:
                    self._driver.permit_shared(function, cubin.shared)
                self._functions[spec, aligned] = cubin, function
            return self._functions[spec, aligned]


def needs_wide(counts: Iterable[int]) -> bool:
    """Does a kernel with these words, over buffers and loops of so many elements, need indices of 64 bits?"""
    return any(count > NARROW for count in counts)


def _nothing() -> None:
    pass
