"""build: a plan that was not run before -> an Executable: kernels emitted, compiled where no one has, and encoded.

A kernel is compiled once for a process and, with a disk cache, once for a machine: it is known by its printed text.
Texts are compiled in threads (see jobs) while the next ones are written: quickly, and well while they run (see drafts).
"""
from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from time import perf_counter

from codegen import planning
from codegen.cache import Cache
from codegen.executable import Aliases, Executable, Measured
from codegen.llvm_cpu.blas import Blas
from codegen.llvm_cpu.blas_panels import HALF_PRODUCTS, LLVM_TYPES, multiplier
from codegen.llvm_cpu.drafts import Draft, follow_drafts, replace_drafts
from codegen.llvm_cpu.emit import emit_kernel
from codegen.llvm_cpu.executables import executable, kernel_key, product_key, symbol_of
from codegen.llvm_cpu.features import Features, host_features
from codegen.llvm_cpu.kept_programs import KERNEL, PRODUCT, SYMBOL, keep
from codegen.llvm_cpu.listings import LISTINGS
from codegen.llvm_cpu.loading import Loading, load_kept
from codegen.llvm_cpu.operations import computes
from codegen.llvm_cpu.runtime import runtime
from codegen.llvm_cpu.tile_registers import multiplies_halves
from codegen.schedule.kernel import Kernel
from codegen.schedule.kernel_text import print_kernel
from codegen.schedule.machine import Machine
from codegen.schedule.plan import CannotLower, Launch, Matmul, ProgramPlan, Step
from codegen.source import Source

Emit = Callable[[Kernel, str, Features], str]
"""(kernel, symbol, features) -> LLVM text of a module that defines the symbol."""


def plan_of(source: Source, aliases: tuple[Aliases, ...]) -> ProgramPlan:
    """What running a source takes, on this machine."""
    budget = None if source.binding.numbers else source.memory_budget
    return planning.plan_of(source, aliases, host_machine(multiplies_halves(source.tree), budget))


def host_machine(halves: bool, memory_budget: int | None = None) -> Machine:
    """What the scheduler plans for; `halves`: with products of bf16 in tiles."""
    return Machine(vector_bytes=host_features().vector_bytes, arena_bytes=memory_budget, computes=computes,
                   products=frozenset({*LLVM_TYPES, *(HALF_PRODUCTS if halves else ())}))


def build(plan: ProgramPlan, cache: Cache, emit: Emit = emit_kernel, name: str = "", key: str = "",
          begun: Mapping[str, Loading] | None = None) -> Executable:
    """An executable that runs `plan`, whose kernels are written by `emit`; `name` is for people. With a `key` the
    program is kept on disk. `begun`: functions that multiply and are being compiled, by name."""
    start = perf_counter()
    steps = plan.steps
    for step in steps:
        if reason := unsupported(step):
            raise CannotLower(reason)
    launched = {id(step.kernel): step.kernel for step in steps if isinstance(step, Launch)}
    one_of: dict[Kernel, int] = {}              # of kernels that are equal; to compare them takes long
    same = {number: one_of.setdefault(kernel, number) for number, kernel in launched.items()}
    keys = {number: kernel_key(print_kernel(kernel)) for kernel, number in one_of.items()}
    with cache.lock:
        blas = multiplier(host_features())
        products = _own_products([step for step in steps if isinstance(step, Matmul)], blas)
        if not cache.compiles:
            _load_known((*products.values(), *keys.values()), cache)
        loadings = {key: (begun or {}).get(name) or _product(name, cache)
                    for name, key in products.items() if key not in cache.addresses}
        loadings |= {key: _kernel(launched[number], key, cache, emit)
                     for number, key in keys.items() if key not in cache.addresses}
        from codegen.llvm_cpu.encode import encode  # while what was begun is compiled; so is what follows

        base = runtime()
        cache.addresses |= {key: loading.addresses()[symbol_of(key)] for key, loading in loadings.items()}
        drafts = [Draft(key, symbol_of(key), loading.write, loading.level)
                  for key, loading in loadings.items() if loading.write is not None]
        cache.callers |= {draft.key: [] for draft in drafts}
        addresses = {number: cache.addresses[keys[one]] for number, one in same.items()}
        symbols = {**base.symbols, **{name: cache.addresses[key] for name, key in products.items()}}
    new = [key in loadings and loadings[key].is_compiled for key in (*products.values(), *keys.values())]
    encoded = encode(plan, addresses, symbols, base.blas)
    if key and cache.disk:
        functions = {address: (SYMBOL, symbol) for symbol, address in base.symbols.items()}
        functions |= {symbols[name]: (PRODUCT, name) for name in products}
        functions |= {addresses[number]: (KERNEL, key) for number, key in keys.items()}
        keep(cache.disk, key, plan.inputs, plan.slots, plan.ends, plan.arena_bytes, encoded, functions)
    follow_drafts(encoded, {addresses[number]: key for number, key in keys.items()}
                  | {symbols[name]: key for name, key in products.items()}, cache)
    if drafts:
        replace_drafts(drafts, cache)
    return executable(plan.inputs, plan.slots, plan.ends, plan.arena_bytes, encoded,
                      Measured(name, lambda: plan, LISTINGS), new, start)


def unsupported(step: Step) -> str | None:
    """Why the driver cannot run `step`, if it cannot."""
    if isinstance(step, Matmul) and step.dtype not in (*LLVM_TYPES, *HALF_PRODUCTS):
        return f"matmul of {step.dtype} is not compiled; the dtypes are {', '.join((*LLVM_TYPES, *HALF_PRODUCTS))}"
    return None


def _own_products(steps: Sequence[Matmul], blas: Blas) -> dict[str, str]:
    """The functions of our own that these call, by name, and their keys."""
    if not steps:
        return {}
    from codegen.llvm_cpu.matmul import own_function

    used = dict.fromkeys(own_function(step, blas) for step in steps)
    return {name: product_key(name) for name in used if name is not None}


def _load_known(keys: Iterable[str], cache: Cache) -> None:
    """Have all this code in the process; CannotLower if some of it would have to be compiled."""
    for key in keys:
        if key not in cache.addresses:
            kept = None if cache.disk is None else load_kept(key, cache.disk, (symbol_of(key),))
            if kept is None:
                raise CannotLower("there is a kernel in it that was not compiled before")
            cache.addresses[key] = kept[symbol_of(key)]


def _product(name: str, cache: Cache) -> Loading:
    from codegen.llvm_cpu.products import product  # most programs without products never write one

    return product(name, cache)


def _kernel(kernel: Kernel, key: str, cache: Cache, emit: Emit) -> Loading:
    symbol = symbol_of(key)
    return Loading(key, cache.disk, lambda: emit(kernel, symbol, host_features()), (symbol,), draft=True)
