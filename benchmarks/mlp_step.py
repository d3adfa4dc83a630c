"""mlp_step: a whole training step of an MLP 784-512-512-10: forward, backward, plain SGD, float32, by batch size."""
from __future__ import annotations

from collections.abc import Callable

import numpy as np

from benchmarks.frame import Benchmark, Work

SIZES, LR = (784, 512, 512, 10), 0.05
CASES = {f"batch {batch}, {'-'.join(map(str, SIZES))}": batch for batch in (64, 1, 32, 256)}
CASE = next(iter(CASES))
COMPARED_STEPS = 5


def data(case: str) -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
    """Weights [out, in] and biases [out] in turn; inputs; labels."""
    rng = np.random.default_rng(0)
    parameters: list[np.ndarray] = []
    for k, n in zip(SIZES, SIZES[1:]):
        bound = k ** -0.5
        parameters += [rng.uniform(-bound, bound, shape).astype(np.float32) for shape in ((n, k), (n,))]
    batch = CASES[case]
    return parameters, rng.standard_normal((batch, SIZES[0]), dtype=np.float32), rng.integers(0, SIZES[-1], batch)


def contender(make: Callable[[str], Callable[[], object]]) -> Callable[[str], Work]:
    """The losses of the first steps, to compare, then the step itself, to measure."""
    def prepare(case: str) -> Work:
        step = make(case)
        return Work(step, [float(step()) for _ in range(COMPARED_STEPS)])
    return prepare


def tracegrad_eager(case: str = CASE) -> Callable[[], object]:
    """The step as a user writes it, with its model and optimizer in a closure."""
    step, x, y = tracegrad_step(case)
    return lambda: step(x, y)


def tracegrad(case: str = CASE) -> Callable[[], object]:
    import tracegrad as tg
    step, x, y = tracegrad_step(case)
    step = tg.trace(step, strict=True)
    return lambda: step(x, y)


def tracegrad_step(case: str = CASE) -> tuple[Callable, object, object]:
    import tracegrad as tg
    from tracegrad import nn
    parameters, x, y = data(case)
    model = nn.Sequential(
        nn.Linear(*SIZES[:2]), nn.ReLU(), nn.Linear(*SIZES[1:3]), nn.ReLU(), nn.Linear(*SIZES[2:]))
    model.load_state_dict(dict(zip(model.state_dict(), parameters)))
    optimizer = tg.optim.SGD(model.parameters(), lr=LR)
    loss_of = nn.CrossEntropyLoss()

    def step(x, y):
        optimizer.zero_grad()
        loss = loss_of(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    return step, tg.asarray(x), tg.asarray(y)


def torch(case: str = CASE) -> Callable[[], object]:
    import torch
    parameters, x, y = data(case)
    ps = [torch.from_numpy(p).requires_grad_() for p in parameters]
    x, y = torch.from_numpy(x), torch.from_numpy(y)
    optimizer = torch.optim.SGD(ps, lr=LR)

    def step():
        optimizer.zero_grad()
        loss = torch_loss(ps, x, y)
        loss.backward()
        optimizer.step()
        return loss

    return step


def torch_loss(ps, x, y):
    import torch
    for k in range(0, len(ps), 2):
        x = torch.nn.functional.linear(x, ps[k], ps[k + 1])
        x = x if k == len(ps) - 2 else torch.relu(x)
    return torch.nn.functional.cross_entropy(x, y)


def torch_compile(case: str = CASE) -> Callable[[], object]:
    import torch
    parameters, x, y = data(case)
    ps = [torch.from_numpy(p) for p in parameters]
    x, y = torch.from_numpy(x), torch.from_numpy(y)

    @torch.compile(fullgraph=True, dynamic=False)
    def step(ps, x, y):
        grads, loss = torch.func.grad_and_value(torch_loss)(ps, x, y)
        for p, g in zip(ps, grads):
            p.sub_(LR * g)
        return loss

    return lambda: step(ps, x, y)


def jax(case: str = CASE) -> Callable[[], object]:
    import jax
    import jax.numpy as jnp
    parameters, x, y = data(case)

    def loss_of(ps, x, y):
        for k in range(0, len(ps), 2):
            x = x @ ps[k].T + ps[k + 1]
            x = x if k == len(ps) - 2 else jax.nn.relu(x)
        return -jnp.take_along_axis(jax.nn.log_softmax(x), y[:, None], axis=1).mean()

    def update(ps, x, y):
        loss, grads = jax.value_and_grad(loss_of)(ps, x, y)
        return loss, [p - LR * g for p, g in zip(ps, grads)]

    compiled = jax.jit(update, donate_argnums=0)
    state = [jnp.asarray(p) for p in parameters]
    x, y = jnp.asarray(x), jnp.asarray(y)

    def step():
        nonlocal state
        loss, state = compiled(state, x, y)
        jax.block_until_ready(state)
        return loss

    return step


def flops(batch: int) -> float:
    """Multiplications and additions of the products; x has no gradient."""
    return sum(3 * 2.0 * batch * k * n for k, n in zip(SIZES, SIZES[1:])) - 2.0 * batch * SIZES[0] * SIZES[1]


BENCHMARK = Benchmark(
    question="a whole training step of an MLP: forward, backward, SGD, float32",
    cases=tuple(CASES),
    contenders={
        "tracegrad": contender(tracegrad), "tracegrad eager": contender(tracegrad_eager), "torch": contender(torch),
        "torch.compile": contender(torch_compile), "jax": contender(jax),
    },
    flops={case: flops(batch) for case, batch in CASES.items()},
)
