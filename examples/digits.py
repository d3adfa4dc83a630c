"""Digits: train a classifier on 8x8 images of handwritten digits, eager and compiled, from the same source.

    python -m examples.digits

Prints how fast and how accurate each run is, checks that both follow the same curve, writes out/digits.png.
"""
from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import tracegrad as tg
from tracegrad import nn

DATA = Path(__file__).parent / "data" / "digits.npz"
OUT = Path("out")
EPOCHS, BATCH, SEED = 40, 32, 0
COMPARED_STEPS, TOLERANCE = 100, 1e-4


@dataclass(frozen=True, slots=True)
class Digits:
    """Images as float32 [n, 64] in 0..1 and labels as int64 [n], one fifth of each digit held out."""

    x: np.ndarray
    y: np.ndarray
    x_held: np.ndarray
    y_held: np.ndarray


@dataclass(frozen=True, slots=True)
class Run:
    """How one training went."""

    name: str
    seconds: float
    compile_seconds: float
    replays: int            # steps that were one native call
    accuracy: float
    losses: np.ndarray      # of every step

    @property
    def steps_per_second(self) -> float:
        return len(self.losses) / self.seconds


def load(seed: int = SEED) -> Digits:
    """The digits, split the same way every time."""
    with np.load(DATA) as data:
        x = data["images"].reshape(-1, 64).astype(np.float32) / 16
        y = data["labels"].astype(np.int64)
    order = np.random.default_rng(seed).permutation(len(y))
    held = np.zeros(len(y), dtype=bool)
    for digit in range(10):
        of_digit = order[y[order] == digit]
        held[of_digit[:round(len(of_digit) / 5)]] = True
    return Digits(x[~held], y[~held], x[held], y[held])


def train(
    name: str,
    digits: Digits,
    prepare: Callable,
    epochs: int = EPOCHS,
    progress: Callable[[str, float], None] | None = None,
    width: int = 512,
) -> Run:
    """Train from the same start; `prepare` is what becomes of the step before it runs: `tg.trace`, or nothing."""
    tg.manual_seed(SEED)
    model = nn.Sequential(
        nn.Linear(64, width), nn.ReLU(), nn.Dropout(0.3),
        nn.Linear(width, width), nn.ReLU(), nn.Dropout(0.3),
        nn.Linear(width, 10),
    )
    loss_of = nn.CrossEntropyLoss()
    optimizer = tg.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-3)
    schedule = tg.optim.CosineAnnealingLR(optimizer, epochs)
    batches = tg.data.DataLoader((digits.x, digits.y), batch_size=BATCH, shuffle=True, drop_last=True, seed=SEED)

    def step(x, y):
        optimizer.zero_grad()
        loss = loss_of(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    run_step = prepare(step)
    losses = []
    start = time.perf_counter()
    for epoch in range(epochs):
        for x, y in batches:
            losses.append(run_step(x, y).item())
        schedule.step()
        if progress:
            progress(name, (epoch + 1) / epochs)
    seconds = time.perf_counter() - start

    model.eval()
    with tg.no_grad():
        guesses = model(tg.asarray(digits.x_held)).argmax(axis=1).numpy()
    compile_seconds, replays = 0.0, 0
    if run_step is not step:
        compile_seconds, replays = run_step.stats.compile_seconds, run_step.stats.replays
    return Run(name, seconds, compile_seconds, replays, float((guesses == digits.y_held).mean()), np.array(losses))


def difference(a: Run, b: Run, steps: int = COMPARED_STEPS) -> float:
    """The largest relative difference between two loss curves over their first steps."""
    return float((np.abs(a.losses - b.losses) / np.abs(a.losses))[:steps].max())


def table(runs: list[Run]) -> str:
    """One line for each run; the ratio is that of steps per second to the first run's."""
    lines = [f"{'':10}{'seconds':>10}{'steps/s':>10}{'compile s':>11}{'held out':>10}{'ratio':>8}"]
    for run in runs:
        ratio = run.steps_per_second / runs[0].steps_per_second
        lines.append(f"{run.name:10}{run.seconds:10.2f}{run.steps_per_second:10.0f}{run.compile_seconds:11.2f}"
                     f"{run.accuracy:10.1%}{ratio:7.2f}x")
    return "\n".join(lines)


def draw(runs: list[Run], file: Path) -> None:
    """Write the loss curves, and how far they are apart, as a PNG."""
    import matplotlib
    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, (curves, distance) = plt.subplots(
        2, 1, sharex=True, figsize=(8, 6), height_ratios=(3, 1), layout="constrained")
    for run, style in zip(runs, ({"lw": 4, "color": "#9ecae1"}, {"lw": 1, "color": "#08306b"})):
        label = f"{run.name}: {run.steps_per_second:.0f} steps/s, {run.accuracy:.1%}"
        curves.semilogy(run.losses, label=label, **style)
    curves.set(ylabel="loss", title="8x8 handwritten digits, MLP 64-512-512-10")
    curves.legend()
    first, second = runs
    distance.semilogy(np.abs(first.losses - second.losses) / np.abs(first.losses) + 1e-12, lw=0.5, color="#cb181d")
    distance.axhline(TOLERANCE, ls=":", color="black", lw=1)
    distance.set(xlabel="step", ylabel="relative difference")
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=120)
    plt.close(figure)


def bar(name: str, done: float) -> None:
    """A progress bar, where someone is watching."""
    if sys.stderr.isatty():
        filled = "#" * round(40 * done)
        print(f"\r{name:10}[{filled:.<40}] {done:4.0%}", end="\n" if done == 1 else "", file=sys.stderr)


def main() -> list[Run]:
    """Train both ways, compare, report."""
    digits = load()
    print(f"{len(digits.y)} digits to learn from, {len(digits.y_held)} held out; batches of {BATCH}, {EPOCHS} epochs\n")
    runs = [train("eager", digits, lambda step: step, progress=bar), train("compiled", digits, tg.trace, progress=bar)]
    print(table(runs))
    print(f"\n{runs[1].replays} of {len(runs[1].losses)} steps of the compiled run were one native call each")
    apart = difference(*runs)
    print(f"the loss curves agree to {apart:.1e} relative over the first {COMPARED_STEPS} steps"
          f" (bound {TOLERANCE:.0e}): {'yes' if apart <= TOLERANCE else 'NO'}")
    try:
        draw(runs, OUT / "digits.png")
        print(f"the curves: {OUT / 'digits.png'}")
    except ModuleNotFoundError:
        print("no chart: matplotlib is not installed (pip install 'tracegrad[demo]')")
    if apart > TOLERANCE or min(run.accuracy for run in runs) < 0.97:
        sys.exit("this is not how it should have gone: see above")
    return runs


if __name__ == "__main__":
    main()
