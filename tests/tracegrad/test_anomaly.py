"""detect_anomaly: the first operation that makes a NaN raises at its line, eager and traced."""
from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest

import tracegrad as tg
from tracegrad.autograd import AnomalyError, detect_anomaly

NAN = float("nan")


def line_of(function: Any, text: str) -> int:
    """The number of the only line of a function that contains the text."""
    lines, first = inspect.getsourcelines(function)
    found = [k for k, line in enumerate(lines, first) if text in line]
    assert len(found) == 1
    return found[0]


def forward(x: tg.Tensor) -> tg.Tensor:
    y = x - 1.0
    z = tg.log(y)               # the fault
    return (z * 2.0).sum()


def in_place(x: tg.Tensor) -> tg.Tensor:
    y = x.clone()
    y -= 1.0
    y /= y                      # the fault
    return y


def backward(x: tg.Tensor) -> tg.Tensor:
    y = x * 0.0
    z = tg.sqrt(y)              # the fault
    return (z * y).sum()


FAULTS = [(forward, tg.tensor([3.0, 2.0]), tg.tensor([3.0, 0.5]), "log"),
          (in_place, tg.tensor([3.0, 2.0]), tg.tensor([3.0, 1.0]), "div")]


@pytest.mark.parametrize("function, good, bad, op", FAULTS, ids=lambda p: getattr(p, "__name__", ""))
def test_forward_the_operation_that_made_the_first_nan_raises(function, good, bad, op):
    with detect_anomaly():
        np.testing.assert_array_equal(function(good).numpy(), function(good).numpy())
        where, what = line_of(function, "the fault"), r"f32\[2\] has NaN in 1 of its 2 elements, and no operand has any"
        with pytest.raises(AnomalyError, match=f"test_anomaly.py:{where}: {op}: {what}"):
            function(bad)
    assert np.isnan(function(bad).numpy()).any()        # outside nothing is looked for


@pytest.mark.parametrize("function, good, bad, op", FAULTS, ids=lambda p: getattr(p, "__name__", ""))
def test_a_replay_that_meets_nan_runs_again_as_python(function, good, bad, op):
    traced = tg.trace(function)
    for _ in range(2):
        traced(good)
    recordings = traced.stats.recordings
    with detect_anomaly():
        traced(good)
        assert traced.stats.replays == 2
        with pytest.raises(AnomalyError, match=f"test_anomaly.py:{line_of(function, 'the fault')}: {op}:"):
            traced(bad)
        with pytest.raises(AnomalyError, match=f"test_anomaly.py:{line_of(function, 'the fault')}: {op}:"):
            traced(tg.cat([bad, bad]))          # a shape that is not known is not recorded now
    stats = traced.stats
    assert (stats.calls, stats.replays, stats.eager_calls, stats.recordings) == (5, 2, 2, recordings)
    assert np.isnan(traced(bad).numpy()).any() and traced.stats.replays == 3


def test_nan_that_comes_with_the_data_is_no_anomaly():
    x = tg.tensor([NAN, 2.0])
    traced = tg.trace(lambda x: (x * 2.0 + tg.full((2,), NAN)).sum())
    traced(x)
    with detect_anomaly():
        assert np.isnan((x * 2.0 + NAN).numpy()).all()
        assert np.isnan(traced(x).item())
        assert tg.where(tg.isnan(x), 0.0, x).tolist() == [0.0, 2.0]
    assert traced.stats.eager_calls == 1


def test_backward_names_the_operation_and_its_line():
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    with detect_anomaly():
        loss = backward(x)
        where, what = line_of(backward, "the fault"), r"a gradient f32\[2\] has NaN in 2 of"
        with pytest.raises(AnomalyError, match=rf"py:\d+: backward of sqrt, done at test_anomaly.py:{where}: {what}"):
            loss.backward()
    loss = backward(x)
    with detect_anomaly(), pytest.raises(AnomalyError, match="backward of sqrt: a gradient"):
        loss.backward()             # the line is not known of what was done outside
    with detect_anomaly(check_nan=False):
        backward(x).backward()
    assert x.grad is not None and np.isnan(x.grad.numpy()).all()


def test_backward_of_what_was_traced_names_the_operation_too():
    traced = tg.trace(backward)
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    for _ in range(2):
        traced(x)
    for create_graph in (False, True):
        with detect_anomaly():
            loss = traced(x)
            with pytest.raises(AnomalyError, match="backward of what was done at test_anomaly.py:"
                                                   f"{line_of(backward, 'the fault')}, "):
                loss.backward(create_graph=create_graph)
    assert traced.stats.replays == 3


def make_training() -> tuple[Any, dict[str, tg.Tensor]]:
    state = {"w": tg.ones(2, requires_grad=True), "last": tg.zeros(2), "count": tg.zeros(())}

    def step(x: tg.Tensor) -> tg.Tensor:
        w = state["w"]
        with tg.no_grad():
            state["count"] += 1
        noise = tg.rand(2)
        y = tg.log(w * x)                   # the fault
        state["last"] = y.detach() + noise
        loss = y.sum()
        w.grad = None
        loss.backward()
        with tg.no_grad():
            w -= 0.1 * w.grad
        return loss
    return step, state


def test_state_is_as_it_was_when_the_call_runs_again():
    """A whole step: in-place writes, slots, grads and the generator are what plain Python finds when it runs again."""
    outcomes = []
    for traces in (False, True):
        tg.manual_seed(5)
        step, state = make_training()
        run = tg.trace(step) if traces else step
        for k in range(4):
            run(tg.tensor([1.0 + k, 2.0]))
        before = {name: t.numpy().copy() for name, t in state.items() if name != "w"}
        found = []
        with detect_anomaly():
            run(tg.tensor([1.5, 2.0]))
            with pytest.raises(AnomalyError, match=r"test_anomaly.py:\d+: log: f32\[2\] has NaN"):
                run(tg.tensor([-1.0, 2.0]))
        found += [state["w"].detach().numpy(), state["w"].grad.numpy(), state["last"].numpy(), state["count"].numpy()]
        found.append(tg.rand(3).numpy())
        assert state["count"].item() == before["count"] + 2         # the plain run had counted when it raised
        outcomes.append(found)
    for e, f in zip(*outcomes):
        np.testing.assert_allclose(f, e, rtol=1e-6)
    assert run.stats.replays == 4 and run.stats.eager_calls == 1


def test_callbacks_of_a_replay_that_meets_nan_do_not_run_twice():
    seen: list[float] = []

    @tg.trace
    def f(x: tg.Tensor) -> tg.Tensor:
        tg.debug.callback(lambda v: seen.append(v.item()), x.sum())
        return tg.log(x)

    f(tg.ones(2)), f(tg.ones(2))
    with detect_anomaly(), pytest.raises(AnomalyError):
        f(-tg.ones(2))
    assert seen == [2.0, 2.0, -2.0]


def test_numpy_code_raises_at_its_line():
    @tg.trace
    def f(u: np.ndarray) -> np.ndarray:
        v = u - 1.0
        return np.log(v)            # the fault

    for _ in range(3):
        with np.errstate(all="ignore"):
            assert np.isnan(f(np.zeros(2))).all()
    with detect_anomaly(), pytest.raises(FloatingPointError) as raised:
        f(np.zeros(2))
    assert raised.traceback[-1].lineno + 1 == line_of(f.eager, "the fault")
    assert f.stats.replays == 2


def test_modes_nest():
    traced = tg.trace(forward)
    traced(tg.tensor([3.0, 2.0]))
    with detect_anomaly():
        with tg.eager(), pytest.raises(AnomalyError):
            traced(tg.tensor([3.0, 0.5]))
        assert traced.stats.calls == 1
        with detect_anomaly(check_nan=False):
            assert np.isnan(traced(tg.tensor([3.0, 0.5])).item())
        with pytest.raises(AnomalyError):
            forward(tg.tensor([3.0, 0.5]))

    @detect_anomaly()
    def decorated(x: tg.Tensor) -> tg.Tensor:
        return forward(x)

    for _ in range(2):
        with pytest.raises(AnomalyError):
            decorated(tg.tensor([3.0, 0.5]))
    assert np.isnan(forward(tg.tensor([3.0, 0.5])).item())


@pytest.mark.filterwarnings("ignore::tracegrad.NotReplayed")
def test_inside_of_a_traced_function_it_is_not_replayed():
    @tg.trace
    def f(x: tg.Tensor) -> tg.Tensor:
        with detect_anomaly():
            return tg.log(x)

    for _ in range(3):
        f(tg.ones(2))
    with pytest.raises(AnomalyError):
        f(-tg.ones(2))
    assert f.stats.replays == 0
