"""A small CNN on the digits: convolutions, batch normalization, dropout, AdamW and one cycle of the learning rate.

    python -m examples.digits_cnn

The step (forward, backward, update of parameters and of running statistics) is one native call. Some steps are run
eagerly too, from the same start: the losses must agree, and the table says how fast either way is.
"""
from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice

import numpy as np

import tracegrad as tg
from examples import digits
from tracegrad import nn

EPOCHS, BATCH, SEED = 12, 48, 0
EAGER_STEPS, TOLERANCE = 6, 1e-3
WANTED = 0.985


class Net(nn.Module):
    """[n, 1, 8, 8] -> [n, 10]: convolutions of 3x3 with batch normalization, pooled from 8x8 to 4x4 to 2x2."""

    def __init__(self) -> None:
        def block(channels: int, filters: int) -> list[nn.Module]:
            return [nn.Conv2d(channels, filters, 3, padding=1, bias=False), nn.BatchNorm2d(filters), nn.ReLU()]

        self.features = nn.Sequential(
            *block(1, 24), *block(24, 24), nn.MaxPool2d(2),
            *block(24, 48), nn.MaxPool2d(2), nn.Flatten())
        self.drop = nn.Dropout(0.3)
        self.out = nn.Linear(48 * 2 * 2, 10)

    def forward(self, x: tg.Tensor) -> tg.Tensor:
        return self.out(self.drop(self.features(x)))


@dataclass(frozen=True, slots=True)
class Run:
    """How one training went."""

    name: str
    model: Net
    losses: np.ndarray
    seconds: float              # without those of the first step, which compiles
    first: float
    replays: int

    @property
    def steps_per_second(self) -> float:
        return (len(self.losses) - 1) / self.seconds


def train(name: str, data: digits.Digits, prepare: Callable, steps: int | None = None) -> Run:
    """Train from the same start, for some steps or for all epochs; `prepare` is tg.trace, or nothing."""
    tg.manual_seed(SEED)
    model = Net()
    loss_of = nn.CrossEntropyLoss(label_smoothing=0.05)
    optimizer = tg.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=1e-2)
    images = data.x.reshape(-1, 1, 8, 8)
    batches = tg.data.DataLoader((images, data.y), batch_size=BATCH, shuffle=True, drop_last=True, seed=SEED)
    schedule = tg.optim.OneCycleLR(optimizer, max_lr=6e-3, total_steps=EPOCHS * len(batches) + 1)

    def step(x, y):
        optimizer.zero_grad()
        loss = loss_of(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    run_step = prepare(step)
    losses, times = [], [time.perf_counter()]
    for x, y in islice((batch for _ in range(EPOCHS) for batch in batches), steps):
        losses.append(run_step(x, y).item())
        schedule.step()
        times.append(time.perf_counter())
    replays = 0 if run_step is step else run_step.stats.replays
    return Run(name, model, np.array(losses), times[-1] - times[1], times[1] - times[0], replays)


def accuracy(model: Net, x: np.ndarray, y: np.ndarray) -> float:
    """The share of images that a model, in its mode for use, reads right."""
    model.eval()
    with tg.no_grad():
        guesses = tg.trace(model)(tg.asarray(x.reshape(-1, 1, 8, 8))).argmax(axis=1).numpy()
    return float((guesses == y).mean())


def main() -> float:
    """Train, compare, report; returns the accuracy on what was held out."""
    data = digits.load()
    eager = train("eager", data, lambda step: step, EAGER_STEPS)
    compiled = train("compiled", data, lambda step: tg.trace(step, strict=True))
    print(f"{len(data.y)} digits to learn from, {len(data.y_held)} held out; batches of {BATCH}, {EPOCHS} epochs\n")
    print(f"{'':10}{'steps':>8}{'first s':>10}{'steps/s':>10}{'ratio':>8}")
    for run in (eager, compiled):
        ratio = run.steps_per_second / eager.steps_per_second
        print(f"{run.name:10}{len(run.losses):8}{run.first:10.2f}{run.steps_per_second:10.1f}{ratio:7.1f}x")
    print(f"\n{compiled.replays} of {len(compiled.losses)} steps were one native call each")
    apart = float((np.abs(eager.losses - compiled.losses[:EAGER_STEPS]) / eager.losses).max())
    print(f"the losses of the first {EAGER_STEPS} steps agree to {apart:.1e} relative")
    held = accuracy(compiled.model, data.x_held, data.y_held)
    print(f"held out: {held:.1%} right")
    if apart > TOLERANCE or held < WANTED:
        sys.exit("this is not how it should have gone: see above")
    return held


if __name__ == "__main__":
    main()
