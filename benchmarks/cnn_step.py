"""cnn_step: a whole training step of a CNN, two 3x3 convolutions with pooling and a classifier, plain SGD, float32."""
from __future__ import annotations

from collections.abc import Callable

import numpy as np

from benchmarks.frame import Benchmark, Work

FILTERS, CLASSES, LR = (16, 32), 10, 0.05
CASES = {"8x1x28x28": (8, 1, 28), "64x3x32x32": (64, 3, 32)}
"""Batch, channels, height and width; each convolution keeps the size, each pooling halves it."""
COMPARED_STEPS = 4


def data(case: str) -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
    """Filters [out, in, 3, 3] or weights [out, in], and biases, in turn; inputs; labels."""
    batch, channels, size = CASES[case]
    rng = np.random.default_rng(0)
    parameters: list[np.ndarray] = []
    one, two = FILTERS
    for shape in ((one, channels, 3, 3), (two, one, 3, 3), (CLASSES, two * (size // 4) ** 2)):
        bound = float(np.prod(shape[1:])) ** -0.5
        parameters += [rng.uniform(-bound, bound, s).astype(np.float32) for s in (shape, shape[:1])]
    x = rng.standard_normal((batch, channels, size, size), dtype=np.float32)
    return parameters, x, rng.integers(0, CLASSES, batch)


def contender(make: Callable[[str], Callable[[], object]]) -> Callable[[str], Work]:
    """The losses of the first steps, to compare, then the step itself, to measure."""
    def prepare(case: str) -> Work:
        step = make(case)
        return Work(step, [float(step()) for _ in range(COMPARED_STEPS)])
    return prepare


def tracegrad_eager(case: str) -> Callable[[], object]:
    step, x, y = tracegrad_step(case)
    return lambda: step(x, y)


def tracegrad(case: str) -> Callable[[], object]:
    import tracegrad as tg
    step, x, y = tracegrad_step(case)
    step = tg.trace(step, strict=True)
    return lambda: step(x, y)


def tracegrad_step(case: str) -> tuple[Callable, object, object]:
    import tracegrad as tg
    import tracegrad.nn.functional as F
    parameters, x, y = data(case)
    ps = [tg.tensor(p, requires_grad=True) for p in parameters]
    optimizer = tg.optim.SGD(ps, lr=LR)

    def step(x, y):
        optimizer.zero_grad()
        loss = loss_of(F, ps, x, y)
        loss.backward()
        optimizer.step()
        return loss

    return step, tg.asarray(x), tg.asarray(y)


def loss_of(F, ps, x, y):
    """The loss, in the names that tracegrad and PyTorch share."""
    for k in (0, 2):
        x = F.max_pool2d(F.relu(F.conv2d(x, ps[k], ps[k + 1], padding=1)), 2)
    return F.cross_entropy(F.linear(x.flatten(1), ps[4], ps[5]), y)


def torch(case: str) -> Callable[[], object]:
    import torch
    parameters, x, y = data(case)
    ps = [torch.from_numpy(p).requires_grad_() for p in parameters]
    x, y = torch.from_numpy(x), torch.from_numpy(y)
    optimizer = torch.optim.SGD(ps, lr=LR)

    def step():
        optimizer.zero_grad()
        loss = loss_of(torch.nn.functional, ps, x, y)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step


def torch_compile(case: str) -> Callable[[], object]:
    import torch
    parameters, x, y = data(case)
    ps = [torch.from_numpy(p) for p in parameters]
    x, y = torch.from_numpy(x), torch.from_numpy(y)

    @torch.compile(fullgraph=True, dynamic=False)
    def step(ps, x, y):
        grads, loss = torch.func.grad_and_value(lambda ps: loss_of(torch.nn.functional, ps, x, y))(ps)
        for p, g in zip(ps, grads):
            p.sub_(LR * g)
        return loss

    return lambda: step(ps, x, y)


def jax(case: str) -> Callable[[], object]:
    import jax
    import jax.numpy as jnp
    parameters, x, y = data(case)

    def loss_of_jax(ps, x, y):
        for k in (0, 2):
            x = jax.lax.conv(x, ps[k], (1, 1), "SAME") + ps[k + 1].reshape(-1, 1, 1)
            x = jax.lax.reduce_window(jax.nn.relu(x), -jnp.inf, jax.lax.max, (1, 1, 2, 2), (1, 1, 2, 2), "VALID")
        x = x.reshape(len(x), -1) @ ps[4].T + ps[5]
        return -jnp.take_along_axis(jax.nn.log_softmax(x), y[:, None], axis=1).mean()

    def update(ps, x, y):
        loss, grads = jax.value_and_grad(loss_of_jax)(ps, x, y)
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


def flops(case: str) -> float:
    """Multiplications and additions of the products, forward and backward; x has no gradient."""
    batch, channels, size = CASES[case]
    first = 2.0 * batch * size**2 * FILTERS[0] * channels * 9
    second = 2.0 * batch * (size // 2) ** 2 * FILTERS[1] * FILTERS[0] * 9
    last = 2.0 * batch * (size // 4) ** 2 * FILTERS[1] * CLASSES
    return 2 * first + 3 * second + 3 * last


BENCHMARK = Benchmark(
    question="a whole training step of a small CNN: forward, backward, SGD, float32",
    cases=tuple(CASES),
    contenders={
        "tracegrad": contender(tracegrad), "tracegrad eager": contender(tracegrad_eager), "torch": contender(torch),
        "torch.compile": contender(torch_compile), "jax": contender(jax),
    },
    tolerance=1e-3,
    flops={case: flops(case) for case in CASES},
)
