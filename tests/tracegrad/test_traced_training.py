"""Whole training steps, traced against eager: every optimizer, and what a user changes between two steps."""
from __future__ import annotations

import numpy as np
import pytest

import tracegrad as tg
from tracegrad import nn, optim

OPTIMIZERS = {
    "SGD": lambda ps: optim.SGD(ps, lr=0.1),
    "momentum": lambda ps: optim.SGD(ps, lr=0.05, momentum=0.9, weight_decay=0.01),
    "dampening": lambda ps: optim.SGD(ps, lr=0.05, momentum=0.9, dampening=0.2),
    "nesterov": lambda ps: optim.SGD(ps, lr=0.05, momentum=0.9, nesterov=True),
    "Adam": lambda ps: optim.Adam(ps, lr=0.01, weight_decay=0.01),
    "amsgrad": lambda ps: optim.Adam(ps, lr=0.01, amsgrad=True),
    "AdamW": lambda ps: optim.AdamW(ps, lr=0.01),
}


class Training:
    """A small model, its optimizer and a step, with everything drawn from one seed."""

    def __init__(self, make_optimizer=OPTIMIZERS["momentum"], *, dropout: float = 0.0, dtype=tg.float32, traced: bool):
        tg.manual_seed(0)
        self.model = nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Dropout(dropout), nn.Linear(8, 3)).to(dtype)
        self.optimizer = make_optimizer(self.model.parameters())
        self.loss_of = nn.CrossEntropyLoss()
        self.set_to_none = True
        self.x = tg.randn(6, 5, dtype=dtype)
        self.y = tg.tensor([0, 1, 2, 2, 1, 0])
        tg.manual_seed(1)
        self.run = tg.trace(self.step) if traced else self.step

    def step(self, x, y):
        self.optimizer.zero_grad(set_to_none=self.set_to_none)
        loss = self.loss_of(self.model(x), y)
        loss.backward()
        self.optimizer.step()
        return loss

    def advance(self, steps: int) -> list[float]:
        return [self.run(self.x, self.y).item() for _ in range(steps)]

    def state(self) -> list[np.ndarray]:
        tensors = (*self.model.state_dict().values(), *self.optimizer.state_dict().values())
        return [t.numpy().copy() for t in tensors]

    def set_lr(self, lr: float) -> None:
        self.optimizer.lr = lr

    def edit_a_weight(self) -> None:
        with tg.no_grad():
            self.model[0].weight *= 0.5

    def load_a_state(self) -> None:
        self.model.load_state_dict({k: v.numpy() * 0.9 for k, v in self.model.state_dict().items()})

    def replace_a_layer(self) -> None:
        tg.manual_seed(7)
        self.model[3] = nn.Linear(8, 3)
        self.optimizer = optim.SGD(self.model.parameters(), lr=0.2)

    def add_a_layer(self) -> None:
        tg.manual_seed(8)
        self.model.append(nn.Linear(3, 3))

    def replace_a_weight(self) -> None:
        self.model[0].weight = nn.Parameter(tg.ones(8, 5))

    def freeze_a_weight(self) -> None:
        self.model[0].weight.requires_grad_(False)

    def switch_to_eval(self) -> None:
        self.model.eval()

    def keep_grads(self) -> None:
        self.set_to_none = False

    def smooth_labels(self) -> None:
        self.loss_of.label_smoothing = 0.2

    def change_momentum(self) -> None:
        self.optimizer.param_groups[0]["momentum"] = 0.5

    def convert_the_model(self) -> None:
        self.model.to(tg.float64)
        self.optimizer = optim.SGD(self.model.parameters(), lr=0.2)
        self.x = self.x.to(tg.float64)


def assert_same(traced: Training, eager: Training, losses: tuple[list[float], list[float]]) -> None:
    assert np.allclose(*losses, rtol=2e-5, atol=1e-6)
    for ours, plain in zip(traced.state(), eager.state(), strict=True):
        assert ours.dtype == plain.dtype and np.allclose(ours, plain, rtol=2e-4, atol=2e-6)


def run_both(make, changes=()) -> Training:
    """Some steps, a change, some steps, and so on, traced and eager, from the same random numbers."""
    trainings = []
    losses: list[list[float]] = []
    for traced in (True, False):
        training = make(traced=traced)
        path = training.advance(4)
        for change in changes:
            getattr(training, change)()
            path += training.advance(4)
        trainings.append(training)
        losses.append(path)
    assert_same(*trainings, tuple(losses))
    return trainings[0]


@pytest.mark.parametrize("dtype", [tg.float32, tg.float64], ids=["f32", "f64"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_step_of_every_optimizer_is_one_native_call(name, dtype):
    training = run_both(lambda traced: Training(OPTIMIZERS[name], dtype=dtype, traced=traced))
    assert (training.run.stats.recordings, training.run.stats.replays) == (1, 3), training.run.explain()


def test_dropout_draws_the_same_numbers_either_way():
    training = run_both(lambda traced: Training(dropout=0.5, traced=traced))
    assert training.run.stats.replays == 3, training.run.explain()


@pytest.mark.parametrize("change", ["edit_a_weight", "load_a_state"])
def test_values_that_change_are_seen_and_record_nothing(change):
    training = run_both(lambda traced: Training(traced=traced), [change, change])
    assert training.run.stats.recordings == 1 and training.run.stats.replays == 11, training.run.explain()


@pytest.mark.parametrize("change", [
    "replace_a_layer", "add_a_layer", "replace_a_weight", "freeze_a_weight", "switch_to_eval", "keep_grads",
    "smooth_labels", "change_momentum", "convert_the_model",
])
def test_structure_that_changes_is_seen(change):
    run_both(lambda traced: Training(dropout=0.3, traced=traced), [change])


def test_many_changes_one_after_the_other():
    run_both(lambda traced: Training(dropout=0.3, traced=traced), [
        "switch_to_eval", "edit_a_weight", "keep_grads", "smooth_labels", "load_a_state", "replace_a_layer",
        "edit_a_weight", "add_a_layer", "convert_the_model"])


@pytest.mark.parametrize("name", ["momentum", "Adam"])
def test_a_schedule_records_nothing(name):
    paths = []
    for traced in (True, False):
        training = Training(OPTIMIZERS[name], traced=traced)
        schedule = optim.CosineAnnealingLR(training.optimizer, T_max=5)
        path = []
        for _ in range(5):
            path += training.advance(2)
            schedule.step()
        paths.append(path)
        if traced:
            assert training.run.stats.recordings == 1 and training.run.stats.replays == 9, training.run.explain()
    assert np.allclose(*paths, rtol=2e-5)


def test_batches_of_a_loader_replay_and_the_last_small_one_has_its_own_path():
    x, y = np.random.default_rng(0).standard_normal((14, 5)).astype(np.float32), np.arange(14) % 3
    paths = []
    for traced in (True, False):
        training = Training(traced=traced)
        loader = tg.data.DataLoader((x, y), batch_size=6, shuffle=True, seed=3)
        paths.append([training.run(*batch).item() for _ in range(3) for batch in loader])
        if traced:
            assert training.run.stats.recordings == 2 and training.run.stats.replays == 7, training.run.explain()
    assert np.allclose(*paths, rtol=2e-5)


def test_a_parameter_that_is_not_used_is_left_alone():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    optimizer = optim.Adam(model.parameters(), lr=0.1)

    @tg.trace
    def step(x):
        optimizer.zero_grad()
        model[0](x).sum().backward()
        optimizer.step()

    before = [p.detach().numpy().copy() for p in model.parameters()]
    for _ in range(3):
        step(tg.ones(1, 2))
    after = [p.detach().numpy() for p in model.parameters()]
    assert step.stats.replays == 2, step.explain()
    assert [np.array_equal(a, b) for a, b in zip(before, after)] == [False, False, True, True]


def test_a_state_that_is_held_sees_every_step():
    trainings = [Training(traced=True), Training(traced=False)]
    held = [t.model.state_dict() for t in trainings]
    for t in trainings:
        t.advance(3)
    for ours, plain in zip(held[0].values(), held[1].values()):
        assert np.allclose(ours.numpy(), plain.numpy(), rtol=2e-4, atol=2e-6)


@pytest.mark.parametrize("dtype", [tg.float16, tg.bfloat16], ids=str)
def test_a_model_of_half_precision_learns_alike_eager_and_traced(dtype: np.dtype) -> None:
    def losses(traced: bool) -> list[float]:
        tg.manual_seed(0)
        model = tg.nn.Sequential(tg.nn.Linear(8, 32), tg.nn.GELU(), tg.nn.LayerNorm(32), tg.nn.Linear(32, 1)).to(dtype)
        x, y = tg.randn(64, 8).to(dtype), tg.randn(64, 1).to(dtype)
        optimizer = tg.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)

        def step(x: tg.Tensor, y: tg.Tensor) -> tg.Tensor:
            optimizer.zero_grad()
            loss = ((model(x) - y) ** 2).mean()
            loss.backward()
            optimizer.step()
            return loss

        run = tg.trace(step) if traced else step
        found = [run(x, y) for _ in range(30)]
        assert not traced or run.stats.replays == 29
        assert all(loss.dtype == dtype for loss in found)
        return [loss.item() for loss in found]

    eager, traced = losses(False), losses(True)
    np.testing.assert_allclose(traced, eager, rtol=0.05)
    assert traced[-1] < 0.3 * traced[0]


def test_hooks_of_parameters_are_part_of_the_path():
    factor = [2.0]
    w = tg.tensor([1.0, 2.0], requires_grad=True)
    x = tg.tensor([3.0, 4.0])

    @tg.trace
    def step(x):
        w.grad = None
        loss = (w * x).sum()
        loss.backward()
        return loss

    def gradients(times):
        found = []
        for _ in range(times):
            step(x)
            found.append(w.grad.tolist())
        return found

    handle = w.register_hook(lambda g: g * factor[0])
    assert gradients(3) == [[6.0, 8.0]] * 3 and step.stats.replays == 2
    factor[0] = 3.0
    assert gradients(3) == [[9.0, 12.0]] * 3 and step.stats.replays == 4
    w.register_hook(lambda g: g + 1.0)
    assert gradients(2) == [[10.0, 13.0]] * 2 and step.stats.replays == 5
    handle.remove()
    assert gradients(2) == [[4.0, 5.0]] * 2 and step.stats.replays == 6


@pytest.mark.filterwarnings("ignore::tracegrad.NotReplayed")
def test_a_hook_that_does_more_than_compute_is_called_every_time():
    calls = []
    w = tg.tensor([1.0, 2.0], requires_grad=True)
    w.register_hook(lambda g: calls.append(g))
    step = tg.trace(lambda x: (w * x).sum().backward())
    for n in range(1, 5):
        step(tg.ones(2))
        assert len(calls) == n
    assert w.grad.tolist() == [4.0, 4.0] and step.stats.replays == 0
