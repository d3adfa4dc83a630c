"""What all tests share: a cache of their own for compiled code, and golden files.

Golden files: text that a test makes, kept in a file, so that a change of it shows up as a diff to be read.

`golden(name, text)` in tests/codegen/ir/test_text.py compares text with tests/golden/codegen/ir/test_text/<name>.
`pytest --update-golden` writes the files instead.
"""
from __future__ import annotations

import gc
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from oracle_device import OracleDevice, OracleDriver

TESTS = Path(__file__).parent

# Threads of OpenBLAS wait by spinning: two workers with two each take many times what their small products need. It is
# read when NumPy and SciPy are loaded, in the workers of pytest-xdist after this.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

# The same examples in every run: the outcome depends on the code alone. `--hypothesis-profile=default` explores.
settings.register_profile("suite", derandomize=True, deadline=None)
settings.load_profile("suite")


def pytest_configure(config: pytest.Config) -> None:
    """Compiled code goes where nothing of it stays; set before anything of the library is imported.

    The workers of pytest-xdist share what their parent made.
    """
    if "PYTEST_XDIST_WORKER" in os.environ:
        return
    folder = tempfile.TemporaryDirectory(prefix="tracegrad-tests-", ignore_cleanup_errors=True)     # threads compile
    os.environ["TRACEGRAD_CACHE_DIR"] = folder.name
    config.add_cleanup(folder.cleanup)


def pytest_collection_finish() -> None:
    """What was collected, of which there is much, the garbage collector need not go through again and again."""
    gc.collect()
    gc.freeze()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="write the golden files, compare nothing")


@pytest.fixture(scope="session", autouse=True)
def native_entry() -> None:
    """The native entry, from the first replay on: calls would otherwise do without until a thread has compiled it, and
    until Python has replayed a function some times.
    """
    from tracegrad import trace_tree
    from tracegrad.native_call import install
    from tracegrad.trace_tree import TraceTree
    from tracegrad.tracing import Traced

    trace_tree.SOON = 0
    install(Traced, TraceTree, wait=True)


@pytest.fixture(scope="session", autouse=True)
def frozen_uncounted() -> Iterator[None]:
    """What was collected is frozen, and stays so: to count it anew after each program takes longer than to compile it.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("codegen.collector.has_frozen", lambda: True)
        yield


@pytest.fixture(scope="session", autouse=True)
def compiled_once() -> Iterator[None]:
    """Each kernel is compiled once, and well: as a draft it would be again meanwhile, and time would decide
    which code a test meets. Tests of drafts, which compute the same bits, ask for `drafts`.
    """
    from codegen.llvm_cpu import build, products

    class Well(products.Loading):
        def __init__(self, *given: Any, draft: bool = False, meanwhile: Any = None, **named: Any):
            super().__init__(*given, **named)

    with pytest.MonkeyPatch.context() as patch:
        for module in (build, products):
            patch.setattr(module, "Loading", Well)
        yield


@pytest.fixture
def drafts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kernels are compiled as in other processes: quickly, and well while they run."""
    from codegen.llvm_cpu import build, loading, products

    for module in (build, products):
        monkeypatch.setattr(module, "Loading", loading.Loading)


@pytest.fixture
def oracle_device(monkeypatch: pytest.MonkeyPatch) -> OracleDevice:
    """The target triton_gpu, with kernels run by kernel_interpret: what is around them needs neither Triton nor a GPU.
    """
    from oracle_device import OracleDevice, written_as_kernel, written_as_row

    monkeypatch.setattr("codegen.triton_gpu.kernels.kernel_spec", written_as_kernel)
    monkeypatch.setattr("codegen.triton_gpu.kernels.row_spec", written_as_row)
    device = OracleDevice()
    for launch in ("product_launch", "attention_launch"):
        monkeypatch.setattr(f"codegen.triton_gpu.kernels.{launch}", device.written_as_product)
    monkeypatch.setattr("codegen.triton_gpu.target.current_device", lambda: device)
    return device


@pytest.fixture
def cuda_device(oracle_device: OracleDevice, monkeypatch: pytest.MonkeyPatch) -> Iterator[OracleDriver]:
    """The target triton_gpu through CuPy and CUDA's driver, both of which tests stand in for: see stub_cupy."""
    import stub_cupy
    from oracle_device import OracleDriver

    from codegen.triton_gpu.cuda_device import CudaDevice

    driver = OracleDriver(oracle_device)
    monkeypatch.setattr("codegen.triton_gpu.launch.compile_specs", driver.compiled)
    monkeypatch.setattr("codegen.triton_gpu.launch.is_known", lambda *of: False)
    with stub_cupy.installed() as cupy:
        device = CudaDevice(driver, cupy)
        monkeypatch.setattr("codegen.triton_gpu.target.current_device", lambda: device)
        yield driver


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """golden(name, text): fails unless the golden file of that name holds exactly text."""
    folder = TESTS / "golden" / request.path.relative_to(TESTS).with_suffix("")

    def compare(name: str, text: str) -> None:
        file = folder / name
        if request.config.getoption("--update-golden"):
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
        assert file.exists(), f"there is no {file.relative_to(TESTS)}: write it with pytest --update-golden"
        assert text == file.read_text(encoding="utf-8")

    return compare
