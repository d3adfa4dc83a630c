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
