"""correctness: what kernels compute on the card, held against float64.

    eager ops       each op in each dtype on tensors of the GPU
    compiled ops    the same, each as a program of its own
    kernels         those of the golden plans and of the random graphs that the tests draw

Errors are relative norms, at most 1e-5 in float32, 1e-3 in tf32, 1e-2 in halves. Integers are exact. The operands are
those of the tests, which have to be there: it is run from a checkout.
"""
from __future__ import annotations

import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import islice
from typing import Any

import numpy as np

from benchmarks.gpu.timing import failed, relative_error, the_device
from benchmarks.rounds import ROOT, Row

BOUNDS = {"f32": 1e-5, "tf32": 1e-3, "f64": 1e-11, "f16": 1e-2, "bf16": 1e-2, "c64": 1e-5, "c128": 1e-11}
STEPPING = frozenset("floor_div rem fmod floor ceil trunc round sign nextafter eq ne lt le gt ge argmax argmin argsort "
                     "sort searchsorted cast gather scatter copysign where cummax cummin maximum minimum max "
                     "min".split())
"""Ops that jump, or only choose: the reference in their own dtype says what they give."""

Case = tuple[str, list[np.ndarray], dict[str, Any]]


def import_tests() -> None:
    """The modules of the tests can be imported."""
    for folder in (ROOT / "tests", ROOT / "tests" / "codegen" / "triton_gpu"):
        if str(folder) not in sys.path:
            sys.path.insert(0, str(folder))


def op_cases() -> Iterator[tuple[str, Case]]:
    """(dtype, case): each op in each dtype, on the operands that the tests have."""
    import_tests()
    from op_cases import cases

    from codegen.ir.gpu_references import ON_CPU
    from codegen.ir.ops import OPS
    from codegen.ir.types import NAMES
    for op in OPS.values():
        if op.arity and op.name not in ON_CPU:
            for operands, attrs in cases(op):
                yield NAMES[operands[-1].dtype], (op.name, operands, attrs)


def expected_of(op: str, operands: list[np.ndarray], attrs: dict[str, Any]) -> np.ndarray:
    """By the reference, in float64 where that is the same function."""
    from codegen.ir.ops import OPS
    from codegen.ir.types import FLOATS, NAMES
    floats = all(NAMES[x.dtype] in FLOATS for x in operands)
    if floats and op not in STEPPING:
        operands = [x.astype(np.float64) for x in operands]
    with np.errstate(all="ignore"):
        return np.asarray(OPS[op].reference(*operands, **attrs))


def eagerly(op: str, operands: list[np.ndarray], attrs: dict[str, Any]) -> np.ndarray:
    import tracegrad as tg
    from tracegrad.dispatch import dispatch
    return dispatch(op, *(tg.tensor(x, device="cuda") for x in operands), **attrs).cpu().numpy()


def executable(op: str, operands: list[np.ndarray], attrs: dict[str, Any]) -> Any:
    from codegen import Builder, compile_program
    from codegen.ir.types import type_of
    b = Builder(op)
    return compile_program(b.graph([b.emit(op, *[b.input(type_of(x)) for x in operands], **attrs)]), "triton_gpu")


def compiled(op: str, operands: list[np.ndarray], attrs: dict[str, Any]) -> np.ndarray:
    import tracegrad as tg
    from tracegrad.made import outputs_of
    there = [tg.tensor(x, device="cuda") for x in operands]
    made, = outputs_of(executable(op, operands, attrs), [x.array for x in there], there[0].device)
    return tg.Tensor(made).cpu().numpy()


def first_of_each(cases: Iterable[tuple[str, Case]]) -> Iterator[tuple[str, Case]]:
    """For each op and dtype the first case of some size, since each is compiled by itself."""
    seen: set[tuple[str, str]] = set()
    for dtype, case in cases:
        if (dtype, case[0]) not in seen and all(x.size > 1 for x in case[1]):
            seen.add((dtype, case[0]))
            yield dtype, case


def measure(what: str, compute: Callable[..., np.ndarray], cases: Iterable[tuple[str, Case]], seconds: float
            ) -> Iterator[Row]:
    """A row for each dtype; and one for each op that fails or differs."""
    start, worst, count, spent = time.perf_counter(), defaultdict[str, float](float), defaultdict[str, int](int), 0.0
    bad: list[Row] = []
    told: set[str] = set()
    for dtype, (op, operands, attrs) in cases:
        spent = time.perf_counter() - start
        if spent > seconds:
            break
        name = f"{what}: {op} {dtype}"
        try:
            error = relative_error(compute(op, operands, attrs), expected_of(op, operands, attrs), operands)
        except Exception as failure:  # noqa: BLE001 - it is a row
            if name not in told:
                told.add(name)
                bad.append(failed(name, "tracegrad", failure))
            continue
        count[dtype] += 1
        if error > BOUNDS.get(dtype, 0.0):
            if name not in told:
                told.add(name)
                bad.append(Row(name, "tracegrad", [0.0], difference=error, agrees=False))
        else:
            worst[dtype] = max(worst[dtype], error)
    cut = f", cut off after {seconds:.0f} s" if spent > seconds else ""
    for dtype, n in count.items():
        yield Row(f"{what}, {dtype}", "tracegrad", [spent], difference=worst[dtype],
                  share=f"{n} checked, largest error {worst[dtype]:.1e} of {BOUNDS.get(dtype, 0.0):.0e}{cut}")
    yield from bad


def in_advance(cases: Iterable[tuple[str, Case]], at_once: int = 32) -> Iterator[tuple[str, Case]]:
    """The same cases, some at a time, each a kernel that is compiled beside others before it is asked for."""
    def quietly(case: tuple[str, Case]) -> None:
        with suppress(Exception):               # it fails again where it is measured
            executable(*case[1])
    left = iter(cases)
    with ThreadPoolExecutor(8) as pool:
        while some := list(islice(left, at_once)):
            list(pool.map(quietly, some))
            yield from some


def ops(seconds: float = 60.0) -> Iterator[Row]:
    end = time.perf_counter() + seconds
    yield from measure("eager ops", eagerly, op_cases(), seconds / 3)
    yield from measure("compiled ops", compiled, in_advance(first_of_each(op_cases())), end - time.perf_counter())


def products(sizes: tuple[int, int, int] = (512, 768, 384)) -> Iterator[Row]:
    """Matrix products in each precision."""
    import tracegrad as tg
    m, n, k = sizes
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((m, k)), rng.standard_normal((k, n))
    for dtype, fast in (("float32", False), ("float32", True), ("float16", False), ("bfloat16", False)):
        precision = "tf32" if fast else {"float32": "f32", "float16": "f16", "bfloat16": "bf16"}[dtype]
        x, y = (tg.tensor(o, dtype=dtype, device="cuda") for o in (a, b))
        wide = [t.cpu().numpy().astype(np.float64) for t in (x, y)]
        multiply = tg.trace(lambda p, q: tg.matmul(p, q), fast_math=fast)
        for _ in range(2):
            found = multiply(x, y)
        error = relative_error(found.cpu().numpy(), wide[0] @ wide[1])
        yield Row(f"product {m}x{k}x{n}, {precision}", "tracegrad", [0.0], difference=error,
                  agrees=error <= BOUNDS[precision], share=f"error {error:.1e} of {BOUNDS[precision]:.0e}")


def drawn_kernels(most: int | None = None) -> list[tuple[Any, Any, list[np.ndarray], tuple[int, ...]]]:
    """(kernel, spec, what its buffers hold, its words) of the kernels that the tests run in the interpreter, at most
    so many; those of the golden plans come first."""
    import_tests()
    import test_agreement as drawn

    from codegen.schedule.sizes import kernel_at
    found = []

    def collect(kernel: Any, seed: int, words: Any = (), wide: bool = False, run: Any = None) -> None:
        at = kernel_at(kernel, words)
        if any(p.size > drawn.LARGE for p in at.params) or drawn.rounds_differently(at) and drawn.compares(at):
            return
        generator = np.random.default_rng(seed)
        found.append((at, drawn.emit_kernel(kernel, wide), [drawn.contents(p, generator) for p in at.params],
                      tuple(words)))

    before, drawn.agree = drawn.agree, collect
    try:
        for file in sorted(drawn.GOLDEN.glob("*.plan")):
            drawn.test_the_kernels_of_golden_plans_agree(file.stem, drawn.run)
        for test in vars(drawn).values():
            if getattr(test, "is_hypothesis_test", False) and (most is None or len(found) < most):
                test()
    finally:
        drawn.agree = before
    return found[:most]


class OnCard:
    """Runs kernels on the GPU, in place on NumPy arrays, as the interpreter does."""

    def __init__(self) -> None:
        self._device = the_device()

    def prepare(self, specs: Iterable[Any]) -> None:
        """Compile them; what does not compile fails where it is run."""
        from codegen.cache import default_cache
        with suppress(Exception):
            self._device.prepare(list(dict.fromkeys(specs)), default_cache())

    def __call__(self, spec: Any, buffers: list[np.ndarray], words: tuple[int, ...]) -> bool:
        """Do all checks hold?"""
        import tracegrad as tg
        there = [tg.tensor(x, device="cuda") for x in buffers]
        flag = tg.zeros(1, dtype="int32", device="cuda")
        given = self._device.given
        self._device.launch(spec, [given(t.array.reshape(-1)) for t in there], words, given(flag.array))()
        for x, t in zip(buffers, there):
            x[...] = t.cpu().numpy()
        return not flag.item()


class InInterpreter:
    """The same in Triton's interpreter, where there is no GPU."""

    def prepare(self, specs: Iterable[Any]) -> None:
        pass

    def __call__(self, spec: Any, buffers: list[np.ndarray], words: tuple[int, ...]) -> bool:
        from codegen.triton_gpu.host_check import run
        return run(spec, buffers, words)


BATCH, MOST_TOLD = 48, 5


def kernels(seconds: float = 50.0, made: Callable[[], Any] = OnCard, most: int | None = None) -> Iterator[Row]:
    """Kernels of the golden plans and of random graphs, held against the kernel interpreter."""
    end = time.perf_counter() + seconds
    try:
        cases = drawn_kernels(most)
    except Exception as error:  # noqa: BLE001 - what draws them need not be installed
        yield failed("kernels", "tracegrad", error)
        return
    run, worst, wrong, checked = made(), defaultdict[str, float](float), 0, 0
    start = time.perf_counter()
    for k, (kernel, spec, held, words) in enumerate(cases):
        if time.perf_counter() > end or wrong > MOST_TOLD:
            break
        if k % BATCH == 0:
            run.prepare(spec for _, spec, _, _ in cases[k:k + BATCH])
        checked += 1
        try:
            difference = differences(kernel, spec, held, words, run)
        except Exception as error:  # noqa: BLE001 - it is a row
            wrong += 1
            yield failed(f"kernel {checked}: {spec.name}", "tracegrad", error)
            continue
        wrong += isinstance(difference, str)
        if isinstance(difference, str):
            yield Row(f"kernel {checked}: {spec.name}", "tracegrad", error=difference, traceback=spec.source)
        else:
            for dtype, error in difference.items():
                worst[dtype] = max(worst[dtype], error)
    spent = time.perf_counter() - start
    errors = ", ".join(f"{dtype} {error:.1e}" for dtype, error in worst.items())
    yield Row("kernels of golden plans and random graphs", "tracegrad", [spent], agrees=not wrong,
              difference=max(worst.values(), default=0.0),
              share=f"{checked - wrong} of {checked} agree, of {len(cases)}; largest errors {errors}")


def differences(kernel: Any, spec: Any, held: list[np.ndarray], words: tuple[int, ...], run: Any
                ) -> dict[str, float] | str:
    """The largest error in each dtype of floats; or, where it is too large, what differs."""
    from codegen.ir.types import FLOATS
    from codegen.schedule.kernel_interpret import run_kernel
    expected, actual = [x.copy() for x in held], [x.copy() for x in held]
    with np.errstate(all="ignore"):
        good = run_kernel(kernel, expected)
    if run(spec, actual, words) != good:
        return "its checks hold" if not good else "its checks do not hold"
    found: dict[str, float] = {}
    for number, (param, a, e) in enumerate(zip(kernel.params, actual, expected) if good else ()):
        error, bound = relative_error(a, e), BOUNDS[param.dtype] if param.dtype in FLOATS else 0.0
        if not error <= bound:
            return f"b{number}, {param}, differs by {error:.1e}, more than {bound:.0e}"
        if param.dtype in FLOATS:
            found[param.dtype] = max(found.get(param.dtype, 0.0), error)
    return found
