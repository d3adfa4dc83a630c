"""mlp_step: a whole training step of an MLP 784-512-512-10 on batches of 64: forward, backward, plain SGD, float32."""
from __future__ import annotations

from collections.abc import Callable

import numpy as np

from benchmarks.frame import Benchmark, Work

BATCH, SIZES, LR = 64, (784, 512, 512, 10), 0.05
CASE = f"batch {BATCH}, {'-'.join(map(str, SIZES))}"
COMPARED_STEPS = 5


def data() -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
    """Weights [out, in] and biases [out] in turn; inputs; labels."""
    rng = np.random.default_rng(0)
    parameters: list[np.ndarray] = []
    for k, n in zip(SIZES, SIZES[1:]):
        bound = k ** -0.5
        parameters += [rng.uniform(-bound, bound, shape).astype(np.float32) for shape in ((n, k), (n,))]
    return parameters, rng.standard_normal((BATCH, SIZES[0]), dtype=np.float32), rng.integers(0, SIZES[-1], BATCH)


def contender(make: Callable[[], Callable[[], object]]) -> Callable[[str], Work]:
    """The losses of the first steps, to compare, then the step itself, to measure."""
    def prepare(case: str) -> Work:
        step = make()
        return Work(step, [float(step()) for _ in range(COMPARED_STEPS)])
    return prepare


def tracegrad_eager() -> Callable[[], object]:
    """The step as a user writes it, with its model and optimizer in a closure."""
    step, x, y = tracegrad_step()
    return lambda: step(x, y)


def tracegrad() -> Callable[[], object]:
    import tracegrad as tg
    step, x, y = tracegrad_step()
    step = tg.trace(step, strict=True)
    return lambda: step(x, y)


def tracegrad_step() -> tuple[Callable, object, object]:
    import tracegrad as tg
    from tracegrad import nn
    parameters, x, y = data()
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


def torch() -> Callable[[], object]:
    import torch
    parameters, x, y = data()
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


def torch_compile() -> Callable[[], object]:
    import torch
    parameters, x, y = data()
    ps = [torch.from_numpy(p) for p in parameters]
    x, y = torch.from_numpy(x), torch.from_numpy(y)

    @torch.compile(fullgraph=True, dynamic=False)
    def step(ps, x, y):
        grads, loss = torch.func.grad_and_value(torch_loss)(ps, x, y)
        for p, g in zip(ps, grads):
            p.sub_(LR * g)
        return loss

    return lambda: step(ps, x, y)


def jax() -> Callable[[], object]:
    import jax
    import jax.numpy as jnp
    parameters, x, y = data()

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


BENCHMARK = Benchmark(
    question="a whole training step of an MLP: forward, backward, SGD, float32",
    cases=(CASE,),
    contenders={
        "tracegrad": contender(tracegrad), "tracegrad eager": contender(tracegrad_eager), "torch": contender(torch),
        "torch.compile": contender(torch_compile), "jax": contender(jax),
    },
    flops={CASE: sum(3 * 2.0 * BATCH * k * n for k, n in zip(SIZES, SIZES[1:])) - 2.0 * BATCH * SIZES[0] * SIZES[1]},
)
