"""Functions traced for the GPU, end to end on tiny sizes: whole training steps, kernels in Triton's interpreter."""
from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import stub_cupy
from gpu_extra import needs_triton
from oracle_device import OracleDriver

import tracegrad as tg
from examples import digits
from tracegrad import nn

BOUND = 1e-4
"""How far losses may be apart, relative to the CPU's: sums are in another order."""


@pytest.fixture(autouse=True)
def interpreted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRITON_INTERPRET", "1")


@needs_triton
def test_the_digits_demo() -> None:
    whole = digits.load()
    few = digits.Digits(whole.x[:128], whole.y[:128], whole.x_held[:50], whole.y_held[:50])
    on_gpu, on_cpu = (digits.train(target, few, tg.trace(target=target), epochs=2, width=24)
                      for target in ("triton_gpu", "llvm_cpu"))
    assert on_gpu.replays == on_cpu.replays == len(on_gpu.losses) - 1
    assert digits.difference(on_cpu, on_gpu) < BOUND
    assert on_gpu.accuracy == on_cpu.accuracy


def transformer_losses(prepare: Callable, dropout: float = 0.1) -> tuple[list[float], Callable]:
    """Those of some steps of a small transformer on the same characters; and the step."""
    tg.manual_seed(0)
    kinds, width, length = 11, 16, 8
    characters, places = nn.Embedding(kinds, width), nn.Embedding(length, width)
    layers = nn.TransformerEncoder(
        nn.TransformerEncoderLayer(width, 2, 32, dropout=dropout, activation="gelu", batch_first=True, norm_first=True),
        2, nn.LayerNorm(width))
    out = nn.Linear(width, kinds)
    model = nn.Sequential(characters, layers, out)
    optimizer = tg.optim.AdamW([*model.parameters(), *places.parameters()], lr=1e-2)

    @prepare
    def step(windows):
        optimizer.zero_grad()
        x, y = windows[:, :-1], windows[:, 1:]
        scores = out(layers(characters(x) + places.weight[:length], is_causal=True))
        loss = nn.functional.cross_entropy(scores.reshape(-1, kinds), y.reshape(-1))
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return loss

    rng = np.random.default_rng(0)
    return [step(tg.asarray(rng.integers(0, kinds, (3, length + 1)))).item() for _ in range(4)], step


@needs_triton
def test_a_transformer_step() -> None:
    found, step = transformer_losses(tg.trace(target="triton_gpu"))
    expected, _ = transformer_losses(tg.trace)
    np.testing.assert_allclose(found, expected, BOUND)
    assert step.stats.replays == 3


@needs_triton
def test_it_shows_its_kernels() -> None:
    @tg.trace(target="triton_gpu")
    def softmax(x):
        return tg.softmax(x, axis=1)

    softmax(tg.ones(4, 8))
    softmax(tg.ones(4, 8))
    kernel, = softmax.explain().kernels
    assert "@triton.jit" in kernel.triton and "tl.load" in kernel.triton and kernel.llvm == ""
    assert "@triton.jit" in str(softmax.explain(verbose=True))


@needs_triton
def test_products_are_of_tf32_only_where_rounding_may_change() -> None:
    x = tg.asarray(np.full((16, 16), 1 + 2.0**-12, np.float32))
    results = []
    for fast_math in (False, True):
        product = tg.trace(lambda x: x @ x, target="triton_gpu", fast_math=fast_math)
        results.append(product(x).numpy())
        results.append(product(x).numpy())
        assert ("tf32" in product.explain().kernels[0].triton) is fast_math
    np.testing.assert_allclose(results[1], 16 * (1 + 2.0**-12) ** 2, rtol=1e-6)
    np.testing.assert_array_equal(results[3], 16)


@needs_triton
def test_branches_and_another_size() -> None:
    """The way is decided by what is read back; the third size compiles nothing."""
    @tg.trace(target="triton_gpu")
    def halves(x):
        while x.sum() > 4:
            x = x / 2
        return x.exp()

    def check(n: int) -> None:
        x = tg.ones(n) * 3
        np.testing.assert_allclose(halves(x).numpy(), halves.eager(x).numpy(), rtol=1e-5)

    for n in (3, 3, 5, 5):
        check(n)
    compiled = halves.stats.kernels_compiled
    check(4)
    check(4)
    assert halves.stats.kernels_compiled == compiled
    assert halves.stats.replays >= 3


def test_a_step_on_tensors_of_a_gpu_waits_for_nothing(cuda_device: OracleDriver) -> None:
    """target="auto" compiles it for the GPU; after some replays it is one graph, or another where its gradients are in
    turn. What the generator's counter is, on the CPU, nobody asks the GPU. The kernels are run by the oracle, CuPy and
    CUDA are stand-ins."""
    def losses(device: str, prepare: Callable) -> tuple[list[tg.Tensor], Callable]:
        tg.manual_seed(0)
        x, y = tg.randn(32, 8).to(device), tg.randn(32, 1).to(device)
        model = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Dropout(0.1), nn.Linear(16, 1)).to(device)
        optimizer = tg.optim.AdamW(model.parameters(), lr=0.1)

        @prepare
        def step(x, y):
            optimizer.zero_grad()
            loss = ((model(x) - y) ** 2).mean()
            loss.backward()
            optimizer.step()
            return loss

        first = step(x, y)
        stub_cupy.SYNCHRONIZATIONS.clear()
        return [first, *(step(x, y) for _ in range(8))], step

    found, step = losses("cuda", tg.trace)
    assert stub_cupy.SYNCHRONIZATIONS == []
    assert step.stats.replays == 8 and len(stub_cupy.GRAPHS) == 4 and cuda_device.launches > 40
    first, second = stub_cupy.GRAPHS[:2]
    assert stub_cupy.GRAPHS == [first, second, first, second] and first is not second
    expected, _ = losses("cpu", lambda step: step)
    np.testing.assert_allclose([x.item() for x in found], [x.item() for x in expected], BOUND)


def test_a_step_with_checks_is_one_graph(cuda_device: OracleDriver) -> None:
    """That no index was out of bounds is what a call waits for, when all of it has been started. Where one is, the call
    raises, and no parameter has changed."""
    tg.manual_seed(0)
    model = nn.Sequential(nn.Embedding(12, 8), nn.Linear(8, 12)).to("cuda")
    optimizer = tg.optim.AdamW(model.parameters(), lr=0.1)

    @tg.trace
    def step(words, following):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(words), following)
        loss.backward()
        optimizer.step()
        return loss

    words = [tg.tensor(np.random.default_rng(k).integers(0, 12, 20), device="cuda") for k in range(12)]
    losses = [step(words[k], words[k + 1]) for k in range(8)]
    stub_cupy.SYNCHRONIZATIONS.clear()
    stub_cupy.GRAPHS.clear()
    losses += [step(words[k], words[k + 1]) for k in range(8, 11)]
    assert stub_cupy.SYNCHRONIZATIONS == 3 * ["event"] and len(stub_cupy.GRAPHS) == 3
    assert stub_cupy.GRAPHS[0] is stub_cupy.GRAPHS[2]

    state = {name: value.cpu().numpy() for name, value in model.state_dict().items()}
    with pytest.raises(IndexError):
        step(words[0], words[1] + 12)
    assert all(np.array_equal(state[name], value.cpu().numpy()) for name, value in model.state_dict().items())
    assert step(words[0], words[1]).item() < losses[0].item()


def test_what_a_call_makes_is_where_it_was_once_nobody_holds_it(cuda_device: OracleDriver) -> None:
    """Also not a view of it; on another stream it is somewhere else."""
    f = tg.trace(lambda x: x * 2)
    x = tg.ones(6, device="cuda")
    f(x)

    def place(y: tg.Tensor) -> int:
        return y.array.data.ptr

    y, z = f(x), f(x)
    first, second = place(y), place(z)
    assert first != second
    view = y[2:]
    del y
    for _ in range(3):
        assert place(f(x)) not in (first, second)
    assert view.tolist() == [2] * 4
    del view, z
    assert place(f(x)) == second
    with tg.cuda.Stream():
        assert place(f(x)) != second


def test_what_is_missing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRITON_INTERPRET")

    @tg.trace(target="triton_gpu")
    def f(x):
        return x * 2

    with pytest.warns(UserWarning, match="TRITON_INTERPRET=1|tracegrad.gpu"):
        assert f(tg.ones(3)).sum().item() == 6
