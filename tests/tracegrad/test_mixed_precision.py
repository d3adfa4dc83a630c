"""autocast: which dtypes there are inside, that it nests, and that a traced call is never of another mode."""
from __future__ import annotations

import inspect
import pickle
import threading
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest

import tracegrad as tg
from tracegrad import mixed_precision
from tracegrad.dispatch import GRAD
from tracegrad.mixed_precision import POLICIES, casting
from tracegrad.tensors import Tensor

F = tg.nn.functional
bf16, f16, f32, f64 = tg.bfloat16, tg.float16, tg.float32, tg.float64


def tensor(*shape: int, seed: int = 0, **options: Any) -> Tensor:
    return tg.tensor(np.random.default_rng(seed).standard_normal(shape).astype(np.float32), **options)


# ---- the context ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("given", "expected"), [
    ((("bfloat16",), {}), bf16), (((bf16,), {}), bf16), ((("float16",), {}), f16), (((np.float16,), {}), f16),
    ((("cpu",), {}), bf16), ((("cpu", f16), {}), f16), ((("cpu",), {"dtype": tg.bfloat16}), bf16),
    (((), {"device_type": "cpu", "dtype": "float16"}), f16), (((), {"dtype": "float16"}), f16), (((), {}), bf16),
    ((("cuda",), {}), f32), ((("cuda", bf16), {}), f32), ((("bfloat16",), {"enabled": False}), f32),
    ((("cpu",), {"enabled": False}), f32), ((("cpu", bf16, True, False), {}), bf16)])
def test_how_it_is_spelled(given: tuple[tuple, dict], expected: np.dtype) -> None:
    """On the CPU: what is cast on "cuda" alone leaves it."""
    x, w = tensor(2, 3), tensor(3, 4)
    with tg.autocast(*given[0], **given[1]):
        assert (x @ w).dtype == expected
    assert (x @ w).dtype == f32


@pytest.mark.parametrize(("given", "words"), [
    (("tpu",), "'tpu' is no type of device"), (("bfloat16", "float16"), "'bfloat16' is no type of device"),
    (("float32",), "not float32; enabled=False"), (("cpu", f64), "not float64")])
def test_what_it_does_not_take(given: tuple, words: str) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        tg.autocast(*given)
    assert "test_mixed_precision.py" in str(caught.value)


def test_it_nests_and_is_put_back_when_an_error_passes() -> None:
    x = tensor(3, 3)
    with tg.autocast("bfloat16"):
        with tg.autocast("float16"):
            assert (x @ x).dtype == f16
            with tg.autocast(enabled=False):
                assert (x @ x).dtype == f32 and not tg.is_autocast_enabled()
            assert (x @ x).dtype == f16
        with pytest.raises(KeyError), tg.autocast("float16"):
            raise KeyError
        assert (x @ x).dtype == bf16
        with tg.autocast("cpu", enabled=False):
            assert (x @ x).dtype == f32
            assert tg.is_autocast_enabled("cuda") and not tg.is_autocast_enabled("cpu")
            assert tg.get_autocast_dtype("cuda") == bf16
        assert tg.get_autocast_dtype() == bf16
    assert not tg.is_autocast_enabled() and tg.get_autocast_dtype("cuda") == f16 and GRAD.casts is None


def test_one_context_may_be_entered_again_inside_itself() -> None:
    x, context = tensor(3, 3), tg.autocast("bfloat16")
    with context, context:
        pass
    with context:
        assert (x @ x).dtype == bf16
    assert (x @ x).dtype == f32


def test_it_decorates_functions_and_generators() -> None:
    x = tensor(3, 3)

    @tg.autocast("bfloat16")
    def product() -> Tensor:
        return x @ x

    @tg.autocast("bfloat16")
    def products() -> Iterator[Tensor]:
        yield x @ x
        with tg.autocast(enabled=False):
            yield x @ x
        yield x @ x

    found = []
    for y in products():
        found.append(y.dtype)
        assert (x @ x).dtype == f32
    assert found == [bf16, f32, bf16] and product().dtype == bf16


def test_it_is_of_one_thread() -> None:
    x, found = tensor(3, 3), []
    with tg.autocast("bfloat16"):
        thread = threading.Thread(target=lambda: found.append((x @ x).dtype))
        thread.start()
        thread.join()
    assert found == [f32]


# ---- what is cast -----------------------------------------------------------------------------------------------


def test_the_table_names_functions_that_there_are() -> None:
    public = {function.__name__ for space in (tg, F, tg.linalg) for function in vars(space).values()
              if inspect.isfunction(function)}
    assert POLICIES.keys() - public == {"cell", "sequence"}
    assert tg.matmul is Tensor.matmul is Tensor.__matmul__ is casting(inspect.unwrap(tg.matmul))
    assert tg.cholesky_solve is tg.linalg.cholesky_solve and tg.softmax is F.softmax
    assert tg.linalg.norm.__wrapped__.__module__ == "tracegrad.matrix_norms"


@pytest.mark.parametrize("function", [tg.exp, F.layer_norm, tg.linalg.norm, tg.matmul])
def test_a_function_that_casts_is_one_still(function: Callable) -> None:
    assert pickle.loads(pickle.dumps(function)) is function
    assert inspect.signature(function) == inspect.signature(function.__wrapped__) and function.__doc__


@pytest.mark.parametrize("make", [lambda x: x, lambda x: x.astype(f64), lambda x: (x * 4).astype(tg.int64)],
                         ids=["f32", "f64", "i64"])
def test_what_is_cast_and_what_is_not(make: Callable[[Tensor], Tensor]) -> None:
    x = make(tensor(3, 3))
    cast = x.dtype == f32
    with tg.autocast("bfloat16"):
        assert (x @ x).dtype == (bf16 if cast else x.dtype)
        assert tg.einsum("ij,jk->ik", x, x).dtype == (bf16 if cast else x.dtype)
        assert (x @ x.numpy()).dtype == (bf16 if cast else x.dtype)
        assert tg.matmul(x, x, out=tg.zeros(3, 3, dtype=x.dtype)).dtype == x.dtype
        assert (x.exp().dtype == x.dtype) if x.dtype != tg.int64 else (x.exp().dtype == f32)
        low = (x @ x) if cast else tg.zeros(3, 3, dtype=bf16)
        assert low.sum(dtype=bf16).dtype == bf16 and low.sum().dtype == f32
        assert (low + x.astype(f32)).dtype == f32 and (low * low).dtype == bf16 and low.mean().dtype == bf16
        before = low.clone()
        assert before.exp_() is before and before.dtype == bf16
        assert np.exp(low).dtype == bf16                # NumPy's names follow NumPy's rules


def test_gradients_have_the_dtype_of_what_they_are_of() -> None:
    x, w, b = tensor(5, 3), tensor(4, 3, seed=1, requires_grad=True), tensor(4, seed=2, requires_grad=True)
    with tg.autocast("bfloat16"):
        y = F.linear(x, w, b)
        loss = F.cross_entropy(y, tg.tensor([0, 1, 2, 3, 0]))
        loss.backward()                                 # inside, too: derivatives are of the forward's dtypes
    assert y.dtype == bf16 and loss.dtype == f32 and w.grad.dtype == b.grad.dtype == f32
    exact = F.cross_entropy(F.linear(x, w, b), tg.tensor([0, 1, 2, 3, 0]))
    for got, want in zip((w.grad, b.grad), tg.autograd.grad(exact, [w, b])):
        assert 0 < np.linalg.norm((got - want).numpy()) <= 2**-6 * np.linalg.norm(want.numpy())


def test_a_checkpoint_runs_again_as_it_ran() -> None:
    x, w = tensor(4, 4), tensor(4, 4, seed=1, requires_grad=True)
    grads = []
    for call in (lambda f: f(w), lambda f: tg.checkpoint(f, w)):
        w.grad = None
        with tg.autocast("bfloat16"):
            loss = call(lambda w: (x @ w).exp().sum())
        loss.backward()
        grads.append(w.grad.numpy())
    assert np.array_equal(*grads)


def test_a_checkpoint_outside_is_not_cast_by_a_backward_inside() -> None:
    x, w = tensor(4, 4), tensor(4, 4, seed=1, requires_grad=True)
    loss = tg.checkpoint(lambda w: (x @ w).exp().sum(), w)
    with tg.autocast("bfloat16"):
        loss.backward()
    assert np.array_equal(w.grad.numpy(), tg.autograd.grad((x @ w).exp().sum(), w)[0].numpy())


def test_a_kept_call_is_run_again_in_its_mode() -> None:
    f = tg.trace(lambda x: x @ x, keep=1)
    with tg.autocast("bfloat16"):
        f(tensor(3, 3))
    assert f.rerun(-1).dtype == bf16 and not tg.is_autocast_enabled()


# ---- weights are cast once --------------------------------------------------------------------------------------


def casts_in(run: Callable[[], Any], monkeypatch: pytest.MonkeyPatch) -> int:
    """How many arrays are cast."""
    made = []
    monkeypatch.setattr(mixed_precision, "convert", lambda x, dtype: made.append(x) or x.astype(dtype))
    run()
    return len(made)


def test_weights_are_cast_once(monkeypatch: pytest.MonkeyPatch) -> None:
    x, w = tensor(4, 4), tensor(4, 4, seed=1, requires_grad=True)

    def run(cache: bool) -> list[Tensor]:
        with tg.autocast("bfloat16", cache_enabled=cache):
            with tg.autocast("bfloat16"):               # the outermost one's
                first = x @ w
            return [first, x @ w, x @ w]
    assert casts_in(lambda: run(True), monkeypatch) == 4 and casts_in(lambda: run(False), monkeypatch) == 6
    results = []
    for cache in (True, False):
        w.grad = None
        sum(y.astype(f32).exp().sum() for y in run(cache)).backward()
        results.append(w.grad.numpy())
    assert np.array_equal(*results)


WRITES = {
    "in place": lambda w, seen: w.detach().mul_(2.0), "data": lambda w, seen: setattr(w, "data", w.detach() * 2),
    "through an array": lambda w, seen: np.multiply(seen, 2, out=seen),
    "a view": lambda w, seen: w.detach()[0].fill_(0)}


@pytest.mark.parametrize("write", WRITES)
def test_a_weight_that_was_written_to_is_cast_again(write: str) -> None:
    x, w = tensor(4, 4), tensor(4, 4, seed=1, requires_grad=True)
    seen = w.detach().numpy() if write == "through an array" else None
    with tg.autocast("bfloat16"):
        before = (x @ w).detach()
        with tg.no_grad():
            WRITES[write](w, seen)
        now = (x @ w).detach()
    fresh = tg.tensor(w.detach().numpy().copy())
    with tg.autocast("bfloat16"):
        expected = x @ fresh
    assert np.array_equal(now.astype(f32).numpy(), expected.astype(f32).numpy())
    assert not np.array_equal(now.astype(f32).numpy(), before.astype(f32).numpy())


def test_what_einsum_gives_is_the_callers() -> None:
    w = tensor(3, 3, requires_grad=True)
    with tg.autocast("bfloat16"), tg.no_grad():
        y = tg.einsum("ij->ij", w)
        y.fill_(0.0)
        assert float(abs(tg.einsum("ij->ij", w)).sum()) > 0


# ---- traced -----------------------------------------------------------------------------------------------------


class Block(tg.nn.Module):
    """Something of everything: products, attention, a norm, a softmax, a convolution."""

    def __init__(self) -> None:
        self.conv = tg.nn.Conv1d(6, 8, 3, padding=1)
        self.attention = tg.nn.MultiheadAttention(8, 2, batch_first=True)
        self.norm = tg.nn.LayerNorm(8)
        self.out = tg.nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = F.gelu(self.conv(x)).swapaxes(1, 2)
        x = x + self.attention(x, x, x)[0]
        return self.out(self.norm(x)).mean(axis=1)


def trained(make: Callable, dtype: str) -> tuple[Any, list[Any]]:
    """A step as `make` makes it, and its losses and parameters."""
    x, y = tensor(2, 6, 7), tg.tensor([1, 3])
    tg.manual_seed(0)
    model = Block()
    optimizer = tg.optim.SGD(model.parameters(), lr=0.05)

    @make
    def step(x: Tensor, y: Tensor) -> Tensor:
        optimizer.zero_grad()
        with tg.autocast(dtype):
            loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    losses = [float(step(x, y)) for _ in range(5)]
    assert losses[-1] < losses[0]
    return step, [*losses, *(p.detach().numpy().ravel() for p in model.parameters())]


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_a_traced_step_is_one_native_call_and_gives_what_an_eager_one_does(dtype: str) -> None:
    _, expected = trained(lambda f: f, dtype)
    step, found = trained(tg.trace, dtype)
    assert step.stats.replays == 4 and step.stats.recordings == 1, step.explain()
    steps = [line for line in str(step.explain()).partition("    graph")[0].splitlines() if "matmul" in line]
    assert len(steps) >= 8 and all("of bf16" in line for line in steps if dtype == "bfloat16")
    for eager, traced in zip(expected, found):
        np.testing.assert_allclose(eager, traced, rtol=2e-2, atol=2e-3)


def test_a_call_in_another_mode_is_another_path() -> None:
    x, w = tensor(3, 3), tensor(3, 3, seed=1, requires_grad=True)
    f = tg.trace(lambda x: (x @ w).sum())
    modes = {"off": nullcontext(), "bf16": tg.autocast("bfloat16"), "f16": tg.autocast("float16"),
             "cuda": tg.autocast("cuda"), "none": tg.autocast("cpu", enabled=False)}
    for _ in range(4):
        for mode in modes.values():
            with mode:
                eager, traced = f.eager(x), f(x)
            assert traced.item() == pytest.approx(eager.item(), rel=1e-6)
    assert f.stats.recordings == 4 and f.stats.replays == 16, f.explain()
    assert "autocast" in str(f.explain(verbose=True))


def test_a_mode_that_a_call_leaves_changed_is_kept() -> None:
    """It is Python's, so such a function is not replayed."""
    x, context = tensor(3, 3), tg.autocast("bfloat16")

    @tg.trace
    def f(x: Tensor) -> Tensor:
        context.__enter__()
        return x @ x

    with pytest.warns(UserWarning):
        for _ in range(3):
            assert f(x).dtype == bf16 and tg.is_autocast_enabled()
            context.__exit__(None, None, None)
            assert not tg.is_autocast_enabled()
    assert f.stats.replays == 0


def test_a_cast_made_outside_is_not_in_a_trace() -> None:
    x, w = tensor(3, 3), tensor(3, 3, seed=1, requires_grad=True)
    f = tg.trace(lambda x: x @ w)
    with tg.autocast("bfloat16"):
        for k in range(6):
            eager, traced = x @ w, f(x)
            assert np.array_equal(eager.astype(f32).detach().numpy(), traced.astype(f32).detach().numpy())
            if k == 3:
                with tg.no_grad():
                    w.mul_(3.0)
    assert f.stats.recordings == 1 and f.stats.replays >= 4, f.explain()


def test_weights_of_a_recurrence_are_cast_once_in_a_trace() -> None:
    tg.manual_seed(0)
    layer = tg.nn.RNN(4, 4)
    f = tg.trace(lambda x: layer(x)[0])
    with tg.autocast("bfloat16"):
        for _ in range(3):
            assert f(tensor(5, 2, 4)).dtype == bf16
    assert f.stats.replays == 2, f.explain()
    casts = [step for step in str(f.explain()).split("graph\n")[0].splitlines() if "cast to bf16" in step]
    assert len(casts) <= 5, f.explain()                 # x, two weights, two biases


def test_a_traced_function_inside_one_sees_its_mode() -> None:
    x = tensor(3, 3)
    inner = tg.trace(lambda x: x @ x)

    @tg.trace
    def outer(x: Tensor) -> tuple[Tensor, Tensor]:
        with tg.autocast("bfloat16"):
            y = inner(x)
        return y, inner(x)

    for _ in range(4):
        assert [y.dtype for y in outer(x)] == [bf16, f32]
        assert inner(x).dtype == f32
    assert outer.stats.replays >= 2


def test_a_branch_that_chooses_the_mode() -> None:
    @tg.trace
    def f(x: Tensor) -> Tensor:
        with tg.autocast("bfloat16", enabled=bool(x.sum() > 0)):
            return (x @ x).astype(f32)

    for k in range(8):
        x = abs(tensor(4, 4, seed=k)) * (-1.0) ** (k // 2)
        assert np.array_equal(f(x).numpy(), f.eager(x).numpy())
    assert f.stats.replays >= 5
