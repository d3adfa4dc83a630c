"""first: each thing that all else takes, once and small, so that what does not work on a card is known at once."""
from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Any

import numpy as np

from benchmarks.gpu.kernel_times import KernelClock, launches_of
from benchmarks.gpu.timing import failed
from benchmarks.rounds import Row


def measure() -> Iterator[Row]:
    """A row for each, with the seconds that it took: what it compiles and loads included."""
    for name, check in CHECKS.items():
        start = time.perf_counter()
        try:
            check()
        except Exception as error:  # noqa: BLE001 - the next may work
            yield failed(name, "tracegrad", error)
        else:
            yield Row(name, "tracegrad", [time.perf_counter() - start])


def close(found: Any, expected: Any, bound: float = 1e-5) -> None:
    """AssertionError, with both, where they differ."""
    found = found.detach().cpu().numpy() if hasattr(found, "detach") else np.asarray(found)
    np.testing.assert_allclose(found.astype(np.float64), np.asarray(expected, np.float64), bound, bound)


def transfers() -> None:
    import tracegrad as tg
    x = tg.arange(1000.0).pin_memory()
    y = x.to("cuda", non_blocking=True)
    stream = tg.cuda.Stream()
    stream.wait_stream(tg.cuda.current_stream())
    with stream:
        z = y + 1
    tg.cuda.current_stream().wait_stream(stream)
    close(z, np.arange(1000.0) + 1)


def eager() -> None:
    import tracegrad as tg
    x = tg.arange(1000.0, device="cuda").requires_grad_()
    (tg.tanh(x * 1e-3) ** 2).sum().backward()
    t = np.tanh(np.arange(1000.0) * 1e-3)
    close(x.grad, 2 * t * (1 - t * t) * 1e-3)
    close(x.reshape(10, 100) @ x.reshape(100, 10), np.arange(1e3).reshape(10, 100) @ np.arange(1e3).reshape(100, 10))
    close(x[tg.tensor([3, 1], device="cuda")], [3, 1])


def kernel() -> None:
    import tracegrad as tg
    rows = np.random.default_rng(0).standard_normal((64, 1000), np.float32)
    f, x = tg.trace(lambda x: tg.softmax(x, axis=-1), strict=True), tg.tensor(rows, device="cuda")
    e = np.exp(rows.astype(np.float64))
    for _ in range(3):
        close(f(x), e / e.sum(-1, keepdims=True))


def graph() -> None:
    """That work is started as one graph nobody sees, so it is captured here as the device does it."""
    import tracegrad as tg
    from codegen.triton_gpu.kernels import kernel_spec
    from tracegrad.devices import cupy
    x, y = tg.zeros(1000, device="cuda"), tg.zeros(1000, device="cuda")
    (report,) = launches_of(lambda x: x + 1, [x])
    spec, clock = kernel_spec(report.step.kernel), KernelClock()
    there, back = clock.bound(spec, [x, y]), clock.bound(spec, [y, x])
    there()
    back()
    stream, runtime = cupy().cuda.Stream(non_blocking=True), cupy().cuda.runtime
    tg.cuda.synchronize()
    with stream:
        stream.begin_capture(runtime.streamCaptureModeThreadLocal)
        there()
        back()
        captured = stream.end_capture()
    for _ in range(2):
        captured.launch()
    tg.cuda.synchronize()
    close(x, np.full(1000, 6.0))


def products(size: int = 512) -> None:
    import tracegrad as tg
    a = np.random.default_rng(0).integers(-3, 4, (size, size)).astype(np.float32)
    f = tg.trace(lambda x, y: x @ y, strict=True)
    for dtype in (tg.float32, tg.bfloat16, tg.float16):
        x = tg.tensor(a, device="cuda").to(dtype)
        for _ in range(3):
            close(f(x, x).float(), a @ a, 1e-2)


def library() -> None:
    from codegen.triton_gpu import cublas
    cublas.Cublas(cublas.load())


def training() -> None:
    import tracegrad as tg
    losses = []
    for device in ("cpu", "cuda"):
        tg.manual_seed(0)
        model = tg.nn.Sequential(tg.nn.Linear(16, 32), tg.nn.LayerNorm(32), tg.nn.Dropout(0.1), tg.nn.Linear(32, 4))
        model = model.to(device)
        optimizer = tg.optim.AdamW(model.parameters(), lr=1e-2)

        @tg.trace(strict=True)
        def step(x, y, model=model, optimizer=optimizer):
            optimizer.zero_grad()
            loss = tg.nn.functional.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            return loss.detach()
        x, y = tg.randn(64, 16).to(device), tg.randint(4, size=(64,)).to(device)
        losses.append([float(step(x, y)) for _ in range(5)])
    close(losses[1], losses[0], 1e-4)


def branches() -> None:
    import tracegrad as tg

    @tg.trace
    def f(x, k):
        y = x[k] * 2
        return y.exp() if y.sum() > 0 else -y
    k = tg.tensor([2, 0], device="cuda")
    for sign in (1, -1, 1, -1, 1, -1):
        x = sign * np.arange(3.0)
        y = x[[2, 0]] * 2
        close(f(tg.tensor(x, device="cuda"), k), np.exp(y) if sign > 0 else -y)
    assert f.stats.replays >= 3, str(f.explain())


def dlpack() -> None:
    import tracegrad as tg
    if not find_spec("torch"):
        return
    import torch
    theirs = torch.arange(4.0, device="cuda")
    x = tg.from_dlpack(theirs)
    close(torch.from_dlpack(x * 2).cpu().numpy(), np.arange(4) * 2.0)


CHECKS: dict[str, Callable[[], None]] = {
    "transfers and streams": transfers, "eager operations, by CuPy": eager, "a kernel": kernel,
    "a CUDA graph of kernels": graph, "matrix products": products, "cuBLAS is found": library,
    "a training step": training, "a branch and a checked index": branches, "DLPack with PyTorch": dlpack,
}
