"""A device whose kernels run by kernel_interpret, for tests of all that is around them: they need no Triton."""
from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import stub_cupy

from codegen.cache import Cache
from codegen.ir.dims import Size, evaluate, number_of
from codegen.ir.types import DTYPES
from codegen.schedule.kernel import Kernel
from codegen.schedule.kernel_interpret import run_attention, run_kernel, run_spliced
from codegen.schedule.kernel_text import parse_kernel, print_kernel
from codegen.schedule.plan import NOWHERE, Attention, Matmul, Spliced
from codegen.schedule.plan_text import step_text
from codegen.schedule.sizes import kernel_at
from codegen.triton_gpu.compile import Arch, Cubin, Variants
from codegen.triton_gpu.devices import Work
from codegen.triton_gpu.host_device import HostDevice
from codegen.triton_gpu.parts import Row
from codegen.triton_gpu.product_tiles import Capability
from codegen.triton_gpu.products import ProductLaunch
from codegen.triton_gpu.spec import KernelSpec


def written_as_kernel(kernel: Kernel, conditional: bool = False) -> KernelSpec:
    """A spec whose source is the text of the kernel, not Triton's."""
    return written_as_row(((kernel, 1),), conditional)


def written_as_row(row: Row, conditional: bool = False) -> KernelSpec:
    """The same of launches that are one: each kernel, and how often."""
    source = ROW.join(f"{parts} of {print_kernel(kernel)}" for kernel, parts in row)
    pointers = tuple(p.dtype for kernel, parts in row for p in parts * kernel.params)
    return KernelSpec("oracle", source, pointers, any(kernel.checked for kernel, _ in row),
                      sum(parts * kernel.words for kernel, parts in row), (), 1, 1, conditional=conditional)


ROW = "\n\n"


def _kernels(spec: KernelSpec, words: Sequence[int]) -> list[Kernel]:
    """The kernel of each launch that is one with others, at its words."""
    found, rest = [], [*words]
    for parts, text in (part.split(" of ", 1) for part in spec.source.split(ROW)):
        kernel = parse_kernel(text)
        for _ in range(int(parts)):
            found.append(kernel_at(kernel, rest[:kernel.words]))
            del rest[:kernel.words]
    return found


class OracleDevice(HostDevice):
    """`launched`: how many kernels were."""

    name = "kernel_interpret"

    def __init__(self) -> None:
        super().__init__()
        self.launched = 0
        self.products: dict[str, Spliced | Attention] = {}

    def written_as_product(self, step: Matmul | Spliced | Attention, capability: Capability, precision: str,
                           conditional: bool = False) -> ProductLaunch:
        """A product, or two in one, by its text, in words."""
        step = Spliced(step) if isinstance(step, Matmul) else step
        words = step.scores.product.words if isinstance(step, Attention) else step.product.words
        used = [b for one in _products(step) for b in (one.product.a, one.product.b, one.product.c)]
        used += [b for part in step.parts for b in part.buffers]
        buffers = {b: k for k, b in enumerate(dict.fromkeys(b for b in used if b != NOWHERE))}
        own = _with_products(step, lambda one: _on_buffers(one, buffers))
        if isinstance(own, Attention):
            own = replace(own, rows=replace(own.rows, buffers=tuple(buffers[b] for b in own.rows.buffers)))
        self.products[step_text(own)] = own
        pointers = tuple(dtype for dtype, _ in _extents(own))
        spec = KernelSpec("product", step_text(own), pointers, False, len(words), (), 1, 1,
                          conditional=conditional)
        return ProductLaunch(spec, tuple(buffers), words)

    def launch(self, spec: KernelSpec, arrays: Sequence[np.ndarray], words: Sequence[int], flag: np.ndarray | None
               ) -> Work:
        work = self._computed(spec, arrays, words, flag)

        def unless_failed() -> None:
            assert flag is not None
            if not flag[0]:
                work()
        return unless_failed if spec.conditional else work

    def _computed(self, spec: KernelSpec, arrays: Sequence[np.ndarray], words: Sequence[int], flag: np.ndarray | None
                  ) -> Work:
        if spec.source in self.products:
            return self._multiplied(self.products[spec.source], arrays, tuple(words))
        kernels = _kernels(spec, words)

        def work() -> None:
            self.launched += 1
            first = 0
            for kernel in kernels:
                if not run_kernel(kernel, arrays[first:first + len(kernel.params)]):
                    assert flag is not None
                    flag[0] = 1
                first += len(kernel.params)
        return work

    def extents(self, spec: KernelSpec, words: Sequence[int]) -> list[tuple[str, int]]:
        """The dtype and size of each array that a launch with these words takes."""
        given = {f"n{k}": word for k, word in enumerate(words)}
        if own := self.products.get(spec.source):
            return [(dtype, evaluate(size, given)) for dtype, size in _extents(own)]
        return [(p.dtype, number_of(p.size)) for kernel in _kernels(spec, words) for p in kernel.params]

    def _multiplied(self, step: Spliced | Attention, arrays: Sequence[np.ndarray], words: tuple[int, ...]) -> Work:
        given = {f"n{k}": word for k, word in enumerate(words)}

        def at(one: Spliced) -> Spliced:
            own = one.product
            batch, m, n, k = (evaluate(size, given) for size in (own.batch, own.m, own.n, own.k))
            return replace(one, product=replace(own, batch=batch, m=m, n=n, k=k, words=words))
        bound = _with_products(step, at)

        def work() -> None:
            self.launched += 1
            if isinstance(bound, Attention):
                run_attention(bound, arrays)
            else:
                run_spliced(bound, arrays)
        return work


def _products(step: Spliced | Attention) -> tuple[Spliced, ...]:
    return (step.scores, step.result) if isinstance(step, Attention) else (step,)


def _with_products(step: Spliced | Attention, new: Callable[[Spliced], Spliced]) -> Spliced | Attention:
    if isinstance(step, Attention):
        return replace(step, scores=new(step.scores), result=new(step.result))
    return new(step)


def _on_buffers(step: Spliced, buffers: Mapping[int, int]) -> Spliced:
    """A product in words, on buffers by the numbers that they have there."""
    batch, m, n, k = step.product.given or step.product.sizes
    own = {name: buffers.get(getattr(step.product, name), NOWHERE) for name in "abc"}
    parts = {name: part and replace(part, buffers=tuple(buffers[b] for b in part.buffers))
             for name, part in (("left", step.left), ("right", step.right), ("behind", step.behind))}
    return replace(step, product=replace(step.product, batch=batch, m=m, n=n, k=k, words=(), **own), **parts)


def _extents(step: Spliced | Attention) -> list[tuple[str, Size]]:
    """The dtype and size of each buffer of a product, by its number."""
    found: dict[int, tuple[str, Size]] = {}
    for product in (one.product for one in _products(step)):
        batch, m, n, k = product.batch, product.m, product.n, product.k
        found |= {number: (product.dtype, size) for number, size in (
            (product.a, batch * m * k), (product.b, batch * k * n), (product.c, batch * m * n))}
    for part in step.parts:
        found |= {b: (param.dtype, param.size) for b, param in zip(part.buffers, part.kernel.params)}
    return [found[number] for number in sorted(found) if number != NOWHERE]


class StubGpu(OracleDevice):
    """The GPU that stub_cupy stands for. `moved`: bytes that were copied to it or from it."""

    name = "a stand-in of a GPU"

    def __init__(self) -> None:
        super().__init__()
        self.moved = 0

    def holds(self, array: object) -> bool:
        return isinstance(array, stub_cupy.ndarray)

    def given(self, array: Any) -> np.ndarray:
        return array._a.reshape(-1)

    def upload(self, array: np.ndarray, target: np.ndarray) -> None:
        self.moved += array.nbytes
        super().upload(array, target)

    def download(self, source: np.ndarray, array: np.ndarray) -> None:
        self.moved += array.nbytes
        super().download(source, array)


class OracleDriver:
    """CUDA's driver: a function is a kernel's spec, a launch runs the oracle on the memory at its parameters."""

    arch = (8, 0)

    def __init__(self, oracle: OracleDevice):
        self._oracle, self._specs = oracle, dict[bytes, KernelSpec]()
        self.launches = 0

    def compiled(self, specs: Iterable[KernelSpec], arch: Arch, cache: Cache, variants: tuple[bool, ...]) -> Variants:
        """In the place of compile_specs: the code of a spec is its text."""
        found = {(spec, aligned): Cubin(spec.source.encode(), spec.name, 32 * spec.warps, 0)
                 for spec in specs for aligned in variants}
        self._specs |= {cubin.code: spec for (spec, _), cubin in found.items()}
        return found

    def load(self, cubin: Cubin) -> KernelSpec:
        stub_cupy.check_context()
        return self._specs[cubin.code]

    def permit_shared(self, function: KernelSpec, size: int) -> None:
        raise AssertionError("there is none")

    def record_in_graph(self, event: int, stream: int) -> None:
        stub_cupy.record_in_graph(event)

    def launch(self, function: KernelSpec, programs: int, threads: int, shared: int, parameters: int) -> None:
        stub_cupy.check_context()
        slots = (ctypes.c_uint64 * (len(function.pointers) + function.flagged + function.words + 2)).from_address(
            parameters)
        values = [ctypes.c_uint64.from_address(slot).value for slot in slots]
        pointers, rest = values[:len(function.pointers)], values[len(function.pointers):-2]
        words = [word - (word >> 63 << 64) for word in rest[function.flagged:]]
        arrays = [stub_cupy._at(pointer, (size,), DTYPES[dtype])
                  for pointer, (dtype, size) in zip(pointers, self._oracle.extents(function, words), strict=True)]
        flag = stub_cupy._at(rest[0], (1,), np.dtype(np.int32)) if function.flagged else None
        work = self._oracle.launch(function, arrays, words, flag)

        def run() -> None:
            self.launches += 1
            work()
        stub_cupy.start(run)
