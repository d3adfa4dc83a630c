"""optim: every rule against its formula in NumPy, and against PyTorch where it is installed."""
from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
import pytest

import tracegrad as tg
from tracegrad import nn

STEPS = 12


def gradients(seed: int = 0) -> Iterator[np.ndarray]:
    rng = np.random.default_rng(seed)
    while True:
        yield rng.standard_normal(5)


def run(make: Callable, dtype=tg.float64) -> np.ndarray:
    """Parameters after each of STEPS steps with given gradients."""
    p = tg.tensor(np.linspace(-1, 1, 5), dtype=dtype, requires_grad=True)
    optimizer = make([p])
    path = []
    for _, g in zip(range(STEPS), gradients()):
        p.grad = tg.tensor(g, dtype=dtype)
        optimizer.step()
        path.append(p.detach().numpy().copy())
    return np.array(path)


def sgd(lr, momentum=0.0, dampening=0.0, weight_decay=0.0, nesterov=False) -> np.ndarray:
    p, v, path = np.linspace(-1, 1, 5), None, []
    for _, g in zip(range(STEPS), gradients()):
        g = g + weight_decay * p
        if momentum:
            v = g if v is None else momentum * v + (1 - dampening) * g
            g = g + momentum * v if nesterov else v
        p = p - lr * g
        path.append(p)
    return np.array(path)


def adam(lr, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, amsgrad=False, decoupled=False) -> np.ndarray:
    p, mean, square, largest, path = np.linspace(-1, 1, 5), 0.0, 0.0, 0.0, []
    for t, g in zip(range(1, STEPS + 1), gradients()):
        if decoupled:
            p = p - lr * weight_decay * p
        else:
            g = g + weight_decay * p
        mean = betas[0] * mean + (1 - betas[0]) * g
        square = betas[1] * square + (1 - betas[1]) * g * g
        largest = np.maximum(largest, square)
        root = np.sqrt((largest if amsgrad else square) / (1 - betas[1] ** t))
        p = p - lr * mean / (1 - betas[0] ** t) / (root + eps)
        path.append(p)
    return np.array(path)


SGD_OPTIONS = [
    {}, {"weight_decay": 0.1}, {"momentum": 0.9}, {"momentum": 0.9, "dampening": 0.3},
    {"momentum": 0.9, "nesterov": True}, {"momentum": 0.8, "dampening": 0.5, "weight_decay": 0.01},
]
ADAM_OPTIONS = [
    {}, {"betas": (0.5, 0.7)}, {"betas": (0.0, 0.9)}, {"eps": 0.1}, {"weight_decay": 0.1}, {"amsgrad": True},
]


@pytest.mark.parametrize("options", SGD_OPTIONS, ids=str)
def test_sgd(options):
    assert np.allclose(run(lambda ps: tg.optim.SGD(ps, lr=0.1, **options)), sgd(0.1, **options), rtol=1e-13)


@pytest.mark.parametrize("options", ADAM_OPTIONS, ids=str)
def test_adam(options):
    assert np.allclose(run(lambda ps: tg.optim.Adam(ps, lr=0.1, **options)), adam(0.1, **options), rtol=1e-11)


def test_adamw():
    expected = adam(0.1, weight_decay=0.05, decoupled=True)
    assert np.allclose(run(lambda ps: tg.optim.AdamW(ps, lr=0.1, weight_decay=0.05)), expected, rtol=1e-11)


@pytest.mark.peers
@pytest.mark.parametrize(("name", "options"), [
    *(("SGD", o) for o in SGD_OPTIONS), *(("Adam", o) for o in ADAM_OPTIONS), *(("AdamW", o) for o in ADAM_OPTIONS),
], ids=str)
def test_optimizers_are_those_of_pytorch(name, options):
    torch = pytest.importorskip("torch")
    p = torch.linspace(-1, 1, 5, dtype=torch.float32).requires_grad_()
    theirs = getattr(torch.optim, name)([p], lr=0.1, **options)
    path = []
    for _, g in zip(range(STEPS), gradients()):
        p.grad = torch.tensor(g, dtype=torch.float32)
        theirs.step()
        path.append(p.detach().numpy().copy())
    ours = run(lambda ps: getattr(tg.optim, name)(ps, lr=0.1, **options), dtype=tg.float32)
    assert np.allclose(ours, np.array(path), rtol=2e-6, atol=2e-6)


@pytest.mark.parametrize("make", [
    lambda ps: tg.optim.SGD(ps, lr=0.1, momentum=0.9), lambda ps: tg.optim.Adam(ps, lr=0.1),
], ids=["SGD", "Adam"])
def test_a_parameter_without_grad_is_left_alone_and_counts_its_own_updates(make):
    late, always = tg.zeros(5, requires_grad=True), tg.zeros(5, requires_grad=True)
    optimizer = make([late, always])
    for _ in range(3):
        always.grad = tg.ones(5)
        optimizer.step()
    assert late.tolist() == [0] * 5
    late.grad, always.grad = tg.ones(5), None
    after_three = always.tolist()
    optimizer.step()
    assert np.allclose(late.tolist(), -0.1) and always.tolist() == after_three


def test_parameters_keep_their_storage_and_stay_leaves():
    layer = nn.Linear(2, 2)
    weight, storage = layer.weight, layer.weight.array
    optimizer = tg.optim.Adam(layer.parameters())
    layer(tg.ones(1, 2)).sum().backward()
    optimizer.step()
    assert layer.weight is weight and weight.array is storage and weight.is_leaf and weight.requires_grad


def test_zero_grad():
    p = tg.ones(2, requires_grad=True)
    optimizer = tg.optim.SGD([p])
    (p * p).sum().backward()
    grad = p.grad
    optimizer.zero_grad(set_to_none=False)
    assert p.grad is grad and grad.tolist() == [0, 0]
    optimizer.zero_grad()
    assert p.grad is None


def test_the_learning_rate_is_a_tensor_written_in_place():
    p = tg.zeros((), requires_grad=True)
    optimizer = tg.optim.SGD([p], lr=0.5)
    held = optimizer.state_dict()["lr"]
    optimizer.lr = 0.25
    assert optimizer.lr == 0.25 and held.item() == 0.25
    p.grad = tg.ones(())
    optimizer.step()
    assert p.item() == -0.25
    assert repr(optimizer) == "SGD(1 parameters, lr=0.25)"


def test_state_goes_round():
    def make():
        p = tg.tensor(np.linspace(-1, 1, 5), requires_grad=True)
        return p, tg.optim.Adam([p], lr=0.1, amsgrad=True)

    def advance(p, optimizer, seed):
        for _, g in zip(range(4), gradients(seed)):
            p.grad = tg.tensor(g)
            optimizer.step()

    p, optimizer = make()
    advance(p, optimizer, 0)
    q, other = make()
    other.load_state_dict({name: value.numpy().copy() for name, value in optimizer.state_dict().items()})
    with tg.no_grad():
        q.copy_(p)
    advance(p, optimizer, 1)
    advance(q, other, 1)
    assert np.array_equal(p.detach().numpy(), q.detach().numpy())
    assert list(optimizer.state_dict()) == ["lr", "step.0", "mean.0", "square.0", "max_square.0"]
    with pytest.raises(ValueError, match="does not fit SGD: unexpected: step.0, mean.0"):
        tg.optim.SGD([p]).load_state_dict(optimizer.state_dict())


@pytest.mark.parametrize(("make", "error", "message"), [
    (lambda p: tg.optim.SGD([]), ValueError, "no parameters"),
    (lambda p: tg.optim.SGD(["w"]), TypeError, "updates Tensors, not str"),
    (lambda p: tg.optim.SGD([p * 2]), ValueError, "give it leaves"),
    (lambda p: tg.optim.SGD([p], lr=-1), ValueError, "SGD: lr = -1 is out of range"),
    (lambda p: tg.optim.SGD([p], nesterov=True), ValueError, "nesterov needs a momentum"),
    (lambda p: tg.optim.Adam([p], betas=(1.0, 0.9)), ValueError, "Adam: betas"),
    (lambda p: tg.optim.AdamW([p], weight_decay=-1), ValueError, "AdamW: weight_decay"),
])
def test_bad_arguments(make, error, message):
    with pytest.raises(error, match=message):
        make(tg.ones(2, requires_grad=True))


def test_schedules_write_the_learning_rate():
    optimizer = tg.optim.SGD([tg.zeros((), requires_grad=True)], lr=1.0)
    schedule = tg.optim.StepLR(optimizer, step_size=2, gamma=0.1)
    rates = []
    for _ in range(5):
        schedule.step()
        rates.append(optimizer.lr)
    assert rates == pytest.approx([1, 0.1, 0.1, 0.01, 0.01])

    optimizer.lr = 1.0
    schedule = tg.optim.CosineAnnealingLR(optimizer, T_max=4, eta_min=0.2)
    rates = []
    for _ in range(4):
        schedule.step()
        rates.append(optimizer.lr)
    assert rates == pytest.approx([0.2 + 0.4 * (1 + math.cos(math.pi * k / 4)) for k in range(1, 5)])


# ---- every rule against PyTorch's ---------------------------------------------------------------------------------

RULES = [
    *(("SGD", {"lr": 0.1, **o}) for o in SGD_OPTIONS), *(("Adam", {"lr": 0.1, **o}) for o in ADAM_OPTIONS),
    *(("AdamW", {"lr": 0.1, **o}) for o in ADAM_OPTIONS),
    ("SGD", {"lr": 0.1, "maximize": True, "momentum": 0.5}), ("Adam", {"maximize": True}),
    ("Adamax", {}), ("Adamax", {"weight_decay": 0.1}), ("NAdam", {}), ("NAdam", {"weight_decay": 0.1}),
    ("NAdam", {"weight_decay": 0.1, "decoupled_weight_decay": True}), ("RAdam", {"lr": 0.1}),
    ("RAdam", {"lr": 0.1, "betas": (0.8, 0.9), "weight_decay": 0.1, "decoupled_weight_decay": True}),
    ("Adagrad", {"lr": 0.1}), ("Adagrad", {"lr_decay": 0.1, "initial_accumulator_value": 0.5, "weight_decay": 0.1}),
    ("RMSprop", {}), ("RMSprop", {"momentum": 0.9, "centered": True}), ("RMSprop", {"alpha": 0.5, "weight_decay": 0.1}),
    ("Adadelta", {}), ("Adadelta", {"lr": 0.5, "rho": 0.5, "weight_decay": 0.1}),
]


@pytest.mark.peers
@pytest.mark.parametrize(("name", "options"), RULES, ids=str)
def test_every_rule_takes_the_path_of_pytorch(name, options):
    torch = pytest.importorskip("torch")
    p = torch.linspace(-1, 1, 5, dtype=torch.float64).requires_grad_()
    theirs = getattr(torch.optim, name)([p], **options)
    path = []
    for _, g in zip(range(STEPS), gradients()):
        p.grad = torch.tensor(g)
        theirs.step()
        path.append(p.detach().numpy().copy())
    ours = run(lambda ps: getattr(tg.optim, name)(ps, **options))
    rtol = 1e-6 if name == "NAdam" else 1e-9           # theirs keeps a product of momenta in float32
    np.testing.assert_allclose(ours, np.array(path), rtol=rtol, atol=1e-12)


@pytest.mark.parametrize(("name", "options"), RULES, ids=str)
def test_a_traced_step_of_every_rule_replays(name, options):
    paths = []
    for traced in (True, False):
        p = tg.tensor(np.linspace(-1, 1, 5), requires_grad=True)
        optimizer = getattr(tg.optim, name)([p], **options)
        update = optimizer.step

        def step(x, p=p, optimizer=optimizer, update=update):
            optimizer.zero_grad()
            ((p - x) ** 2).sum().backward()
            update()

        call = tg.trace(step, strict=True) if traced else step
        path = []
        for g, _ in zip(gradients(), range(5)):
            call(tg.tensor(g))
            path.append(p.detach().numpy().copy())
        paths.append(path)
        assert not traced or (call.stats.recordings, call.stats.replays) == (1, 4), call.explain()
    np.testing.assert_allclose(*paths, rtol=1e-12, atol=1e-14)


def test_groups_have_options_of_their_own():
    a, b, c = (tg.ones(2, requires_grad=True) for _ in range(3))
    optimizer = tg.optim.SGD([{"params": a}, {"params": [b], "lr": 0.5, "momentum": 0.9}], lr=0.1)
    optimizer.add_param_group({"params": [c], "weight_decay": 1.0})
    for p in (a, b, c):
        p.grad = tg.ones(2)
    optimizer.step()
    assert np.allclose([a.tolist(), b.tolist(), c.tolist()], [[0.9] * 2, [0.5] * 2, [0.8] * 2])
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.1, 0.5, 0.1])
    assert list(optimizer.state_dict()) == ["lr", "lr.group1", "lr.group2", "momentum.1"]
    held = optimizer.param_groups[1].options["lr"]
    optimizer.param_groups[1]["lr"] = 0.25
    assert held.item() == 0.25 and optimizer.lr == 0.1
    with pytest.raises(ValueError, match="in two groups"):
        optimizer.add_param_group({"params": [a]})
    with pytest.raises(TypeError, match="SGD has no option beta"):
        tg.optim.SGD([{"params": [a], "beta": 1}])


def test_a_closure_is_called_and_its_loss_returned():
    p = tg.tensor([3.0], requires_grad=True)
    optimizer = tg.optim.SGD([p], lr=0.1)

    def closure():
        optimizer.zero_grad()
        loss = (p * p).sum()
        loss.backward()
        return loss

    with tg.no_grad():
        assert optimizer.step(closure).item() == 9 and p.tolist() == pytest.approx([2.4])


# ---- LBFGS ----------------------------------------------------------------------------------------------------------

LBFGS_OPTIONS = [
    {"lr": 0.1}, {"lr": 0.5, "history_size": 2, "max_iter": 5}, {"line_search_fn": "strong_wolfe"},
    {"line_search_fn": "strong_wolfe", "history_size": 3, "max_iter": 4},
]


@pytest.mark.peers
@pytest.mark.parametrize("options", LBFGS_OPTIONS, ids=str)
def test_lbfgs_takes_the_path_of_pytorch(options):
    torch = pytest.importorskip("torch")

    def path(library, tensor):
        x = tensor([-1.2, 1.0, 0.5]).requires_grad_()
        optimizer = library.optim.LBFGS([x], **options)
        seen = []

        def closure():
            optimizer.zero_grad()
            loss = ((1 - x[:-1]) ** 2 + 10 * (x[1:] - x[:-1] ** 2) ** 2).sum()
            loss.backward()
            seen.append(float(loss))
            return loss

        for _ in range(3):
            optimizer.step(closure)
        return np.array([*seen, *x.detach().numpy()])

    ours = path(tg, lambda v: tg.tensor(v, dtype=tg.float64))
    theirs = path(torch, lambda v: torch.tensor(v, dtype=torch.float64))
    assert len(ours) == len(theirs)
    np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-9)


def test_lbfgs_finds_a_minimum_with_a_traced_closure():
    x = tg.tensor([-1.2, 1.0], dtype=tg.float64, requires_grad=True)
    optimizer = tg.optim.LBFGS([x], max_iter=50, tolerance_change=1e-15, line_search_fn="strong_wolfe")

    @tg.trace(strict=True)
    def closure():
        optimizer.zero_grad()
        loss = (1 - x[0]) ** 2 + 100 * (x[1] - x[0] ** 2) ** 2
        loss.backward()
        return loss

    optimizer.step(closure)
    assert x.tolist() == pytest.approx([1, 1], abs=1e-6) and closure.stats.replays > 20
    with pytest.raises(TypeError, match="needs a closure"):
        optimizer.step()


def test_lbfgs_inside_a_traced_function_runs_eagerly_with_the_reason():
    x = tg.tensor([3.0], requires_grad=True)
    optimizer = tg.optim.LBFGS([x], lr=0.1)

    def closure():
        optimizer.zero_grad()
        loss = (x * x).sum()
        loss.backward()
        return loss

    step = tg.trace(lambda: optimizer.step(closure))
    with pytest.warns(tg.NotReplayed):
        step()
    assert abs(x.item()) < 3 and step.stats.aborts["EFFECT"]


# ---- clipping -------------------------------------------------------------------------------------------------------


@pytest.mark.peers
@pytest.mark.parametrize("norm_type", [1.0, 2.0, math.inf])
@pytest.mark.parametrize("max_norm", [0.5, 100.0])
def test_clipping_by_norm_is_that_of_pytorch(norm_type, max_norm):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    grads = [rng.standard_normal((3, 2)), rng.standard_normal(4)]
    ours = [tg.zeros(g.shape, dtype=tg.float64, requires_grad=True) for g in grads]
    theirs = [torch.zeros(g.shape, dtype=torch.float64, requires_grad=True) for g in grads]
    for p, q, g in zip(ours, theirs, grads):
        p.grad, q.grad = tg.tensor(g), torch.tensor(g)
    total = nn.utils.clip_grad_norm_((p for p in ours), max_norm, norm_type)
    assert total.item() == pytest.approx(torch.nn.utils.clip_grad_norm_(theirs, max_norm, norm_type).item())
    for p, q in zip(ours, theirs):
        np.testing.assert_allclose(p.grad.numpy(), q.grad.numpy(), rtol=1e-12)


def test_clipping_by_value_and_what_has_no_grad():
    p, q = tg.zeros(3, requires_grad=True), tg.zeros(1, requires_grad=True)
    p.grad = tg.tensor([-3.0, 0.5, 2.0])
    nn.utils.clip_grad_value_([p, q], 1.0)
    assert p.grad.tolist() == [-1, 0.5, 1] and q.grad is None
    assert nn.utils.clip_grad_norm_([q], 1.0).item() == 0
    p.grad = tg.tensor([math.inf, 0.0, 0.0])
    with pytest.raises(RuntimeError, match="the norm of order 2"):
        nn.utils.clip_grad_norm_(p, 1.0, 2, error_if_nonfinite=True)


def test_a_traced_step_that_clips_replays():
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))
    optimizer = tg.optim.AdamW(model.parameters(), lr=0.01)

    @tg.trace(strict=True)
    def step(x):
        optimizer.zero_grad()
        model(x).sum().backward()
        norm = nn.utils.clip_grad_norm_(model.parameters(), 0.1)
        optimizer.step()
        return norm

    for _ in range(3):
        assert step(tg.ones(2, 3)).item() > 0.1
    assert step.stats.replays == 2, step.explain()


def test_parameters_as_one_vector():
    layer = nn.Linear(2, 3)
    vector = nn.utils.parameters_to_vector(layer.parameters())
    assert vector.shape == (9,)
    nn.utils.vector_to_parameters(tg.arange(9).float(), layer.parameters())
    assert layer.bias.tolist() == [6, 7, 8]


# ---- schedules ------------------------------------------------------------------------------------------------------

SCHEDULES = {
    "StepLR": lambda s, o: s.StepLR(o, 3, gamma=0.5),
    "MultiStepLR": lambda s, o: s.MultiStepLR(o, [2, 5, 5, 9], gamma=0.5),
    "ExponentialLR": lambda s, o: s.ExponentialLR(o, 0.9),
    "ConstantLR": lambda s, o: s.ConstantLR(o, factor=0.5, total_iters=4),
    "LinearLR": lambda s, o: s.LinearLR(o, 0.25, 0.75, total_iters=6),
    "PolynomialLR": lambda s, o: s.PolynomialLR(o, total_iters=8, power=2.0),
    "LambdaLR": lambda s, o: s.LambdaLR(o, [lambda t: 0.9**t, lambda t: 1 / (1 + t)]),
    "MultiplicativeLR": lambda s, o: s.MultiplicativeLR(o, lambda t: 1 - 0.01 * t),
    "CosineAnnealingLR": lambda s, o: s.CosineAnnealingLR(o, T_max=5, eta_min=0.01),
    "CosineAnnealingWarmRestarts": lambda s, o: s.CosineAnnealingWarmRestarts(o, T_0=3, T_mult=2, eta_min=0.01),
    "OneCycleLR": lambda s, o: s.OneCycleLR(o, [1.0, 2.0], total_steps=21),
    "OneCycleLR linear": lambda s, o: s.OneCycleLR(o, 1.0, epochs=3, steps_per_epoch=7, anneal_strategy="linear",
                                                   three_phase=True, cycle_momentum=False),
    "SequentialLR": lambda s, o: s.SequentialLR(
        o, [s.LinearLR(o, 0.1, total_iters=4), s.ExponentialLR(o, 0.8), s.StepLR(o, 2)], [4, 9]),
    "ChainedScheduler": lambda s, o: s.ChainedScheduler([s.LinearLR(o, 0.1, total_iters=4), s.ExponentialLR(o, 0.8)]),
    "CyclicLR": lambda s, o: s.CyclicLR(o, 0.01, [0.1, 0.2], step_size_up=3, step_size_down=4),
    "CyclicLR triangular2": lambda s, o: s.CyclicLR(o, 0.01, 0.1, step_size_up=3, mode="triangular2",
                                                    cycle_momentum=False),
    "CyclicLR exp_range": lambda s, o: s.CyclicLR(o, 0.01, 0.1, step_size_up=3, mode="exp_range", gamma=0.9),
}


@pytest.mark.peers
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules_are_those_of_pytorch(name):
    torch = pytest.importorskip("torch")

    def rates(library, zeros):
        groups = [{"params": [zeros(1).requires_grad_()], "lr": lr} for lr in (0.5, 0.125)]
        optimizer = library.optim.SGD(groups, momentum=0.9)
        schedule = SCHEDULES[name](library.optim.lr_scheduler, optimizer)
        found = []
        for _ in range(20):
            found.append([v for group in optimizer.param_groups for v in (group["lr"], group["momentum"])])
            optimizer.step()
            schedule.step()
        return np.array(found)

    np.testing.assert_allclose(rates(tg, tg.zeros), rates(torch, torch.zeros), rtol=1e-9, atol=1e-12)


@pytest.mark.peers
@pytest.mark.parametrize("options", [{}, {"mode": "max", "threshold_mode": "abs", "threshold": 0.1, "cooldown": 2},
                                     {"patience": 1, "min_lr": 0.01}], ids=str)
def test_reduction_on_a_plateau_is_that_of_pytorch(options):
    torch = pytest.importorskip("torch")
    options = {"patience": 2, "factor": 0.5, **options}
    metrics = np.abs(np.random.default_rng(0).standard_normal(40))

    def rates(library, zeros):
        optimizer = library.optim.SGD([zeros(1).requires_grad_()], lr=0.5)
        schedule = library.optim.lr_scheduler.ReduceLROnPlateau(optimizer, **options)
        found = []
        for metric in metrics:
            schedule.step(metric)
            found.append(optimizer.param_groups[0]["lr"])
        return found

    assert rates(tg, tg.zeros) == pytest.approx(rates(torch, torch.zeros))


@pytest.mark.parametrize("make", [lambda ps: tg.optim.SGD(ps, lr=0.1, momentum=0.9), tg.optim.Adam],
                         ids=["SGD", "Adam"])
def test_one_cycle_of_rate_and_momentum_records_nothing_anew(make):
    paths = []
    for traced in (True, False):
        p = tg.ones(3, requires_grad=True)
        optimizer = make([p])
        schedule = tg.optim.OneCycleLR(optimizer, 0.2, total_steps=8)

        def step(x, p=p, optimizer=optimizer):
            optimizer.zero_grad()
            ((p - x) ** 2).sum().backward()
            optimizer.step()

        call = tg.trace(step, strict=True) if traced else step
        for _ in range(7):
            call(tg.zeros(3))
            schedule.step()
        paths.append(p.detach().numpy())
        assert not traced or call.stats.recordings == 1
    np.testing.assert_allclose(*paths, rtol=1e-5)


def test_a_schedule_goes_on_where_its_state_says():
    def make():
        optimizer = tg.optim.SGD([tg.zeros((), requires_grad=True)], lr=1.0)
        return optimizer, tg.optim.CosineAnnealingLR(optimizer, T_max=7)

    (first, one), (second, two) = make(), make()
    for _ in range(3):
        one.step()
    two.load_state_dict(one.state_dict())
    second.load_state_dict(first.state_dict())
    one.step()
    two.step()
    assert first.lr == second.lr and one.get_last_lr() == [first.lr]
