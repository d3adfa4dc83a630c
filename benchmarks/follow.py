"""follow: functions that print or read floats in the middle: as plain Python, followed, and without what they do there.

A step is one of an MLP with Adam that formats its loss; a chain is twenty elementwise operations, their mean as a
float, and twenty more. `replay` is the same function where nothing is read, for what following costs beside it.
"""
from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np

from benchmarks.frame import Benchmark, Work

STEPS = {"step, batch 64, 256-256-10": (64, 256), "step, batch 4, 8-8-10": (4, 8)}
CHAINS = {"chain, 1M floats": 1 << 20, "chain, 16 floats": 16}
WARM_UP = 12


def step_of(batch: int, size: int, reads: bool) -> Callable[[], object]:
    import tracegrad as tg
    tg.manual_seed(0)
    model = tg.nn.Sequential(tg.nn.Linear(size, size), tg.nn.ReLU(), tg.nn.Linear(size, 10))
    optimizer = tg.optim.Adam(model.parameters(), lr=1e-3)
    rng = np.random.default_rng(0)
    x = tg.tensor(rng.standard_normal((batch, size), dtype=np.float32))
    y = tg.tensor(rng.integers(0, 10, batch))
    log: dict[str, str] = {}

    def step(x, y):
        optimizer.zero_grad()
        loss = tg.cross_entropy(model(x), y)
        if reads:
            log["loss"] = f"{loss.item():.4f}"
        loss.backward()
        optimizer.step()
        return loss

    return lambda run=step: run(x, y)       # type: ignore[misc]


def chain_of(size: int, reads: bool) -> Callable[[], object]:
    import tracegrad as tg
    x = tg.tensor(np.linspace(-1, 1, size, dtype=np.float32))
    log: list[str] = []

    def twenty(y):
        for _ in range(5):
            y = (y * 0.5 + 0.25).tanh() - y
        return y

    def chain(x):
        y = twenty(x)
        mean = y.mean()
        if reads:
            log.append(f"{mean.item():.4f}")
        return (twenty(y) * mean).mean()

    return lambda run=chain: run(x)         # type: ignore[misc]


def contender(traced: bool, reads: bool) -> Callable[[str], Work]:
    def prepare(case: str) -> Work:
        import tracegrad as tg
        call = step_of(*STEPS[case], reads) if case in STEPS else chain_of(CHAINS[case], reads)
        if traced:
            function = tg.trace(call.__defaults__[0])       # type: ignore[attr-defined]
            plain, call = call, lambda: plain(function)     # type: ignore[call-arg]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", tg.NotReplayed)
            values = [float(call().detach()) for _ in range(WARM_UP)]       # type: ignore[attr-defined]
        if traced:
            stats = function.stats
            assert (stats.follows if reads else stats.replays) > WARM_UP // 2, function.explain()
        return Work(call, values)
    return prepare


BENCHMARK = Benchmark(
    question="functions that cannot be replayed, followed",
    cases=(*STEPS, *CHAINS),
    contenders={"tracegrad": contender(True, True), "tracegrad eager": contender(False, True),
                "tracegrad replay": contender(True, False)},
)
