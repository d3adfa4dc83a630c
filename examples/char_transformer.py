"""A transformer that reads characters: trained on the docstrings of Python's standard library.

    python -m examples.char_transformer

Every tenth docstring is held out. The loss on those is reported beside that of a bigram model, which knows how often
each character follows each other one. The step (forward, backward, clipping, AdamW) is one native call.
"""
from __future__ import annotations

import ast
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import tracegrad as tg
from tracegrad import nn

CONTEXT, BATCH, STEPS, EAGER_STEPS, SEED = 64, 24, 400, 4, 0
WIDTH, HEADS, LAYERS = 64, 4, 2
MOST_CHARACTERS = 600_000
TOLERANCE, MARGIN = 1e-3, 0.3


@dataclass(frozen=True, slots=True)
class Text:
    """Characters as numbers, places in `alphabet`: what is learned from and what is held out."""

    ids: np.ndarray
    held: np.ndarray
    alphabet: str

    @property
    def kinds(self) -> int:
        return len(self.alphabet)


@dataclass(frozen=True, slots=True)
class Run:
    """How one training went."""

    name: str
    model: Reader
    losses: np.ndarray
    seconds: float              # without those of the first step, which compiles
    first: float
    replays: int

    @property
    def steps_per_second(self) -> float:
        return (len(self.losses) - 1) / self.seconds


def docstrings() -> Iterator[str]:
    """The docstrings of the modules, classes and functions in the files of the standard library."""
    for file in sorted(Path(os.__file__).parent.glob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8", errors="ignore"))):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
                text = ast.get_docstring(node) or ""
                yield "".join(c for c in text if c == "\n" or " " <= c <= "~")


def gather() -> Text:
    """Distinct docstrings, as many as there is room for, every tenth one held out."""
    found: dict[str, None] = {}
    size = 0
    for text in docstrings():
        if len(text) >= 40 and text not in found:
            found[text] = None
            size += len(text)
        if size > MOST_CHARACTERS:
            break
    kept = list(found)
    parts = ["\n\n".join(text for k, text in enumerate(kept) if (k % 10 == 9) is held) for held in (False, True)]
    alphabet = "".join(sorted(set("".join(parts))))
    place = {c: k for k, c in enumerate(alphabet)}
    ids, held = (np.array([place[c] for c in part]) for part in parts)
    return Text(ids, held, alphabet)


def bigram_loss(text: Text) -> float:
    """The mean of -log p(character | the one before) on what was held out, p counted in the rest."""
    counts = np.ones((text.kinds, text.kinds))
    np.add.at(counts, (text.ids[:-1], text.ids[1:]), 1)
    p = counts / counts.sum(axis=1, keepdims=True)
    return float(-np.log(p[text.held[:-1], text.held[1:]]).mean())


def gelu(x: tg.Tensor) -> tg.Tensor:
    """The faster of the two forms of the activation."""
    return nn.functional.gelu(x, approximate="tanh")


class Reader(nn.Module):
    """[n, l] characters -> [n, l, kinds]: scores of the character after each."""

    def __init__(self, kinds: int) -> None:
        self.characters, self.places = nn.Embedding(kinds, WIDTH), nn.Embedding(CONTEXT, WIDTH)
        for embedding in (self.characters, self.places):
            nn.init.normal_(embedding.weight, 0.0, 0.1)
        layer = nn.TransformerEncoderLayer(WIDTH, HEADS, 4 * WIDTH, dropout=0.0, activation=gelu,
                                           batch_first=True, norm_first=True)
        self.layers = nn.TransformerEncoder(layer, LAYERS, nn.LayerNorm(WIDTH))
        self.out = nn.Linear(WIDTH, kinds)

    def forward(self, x: tg.Tensor) -> tg.Tensor:
        h = self.characters(x) + self.places.weight[:x.shape[1]]
        return self.out(self.layers(h, is_causal=True))


def loss_of(model: Reader, windows: tg.Tensor) -> tg.Tensor:
    """How badly each character of windows [n, l + 1] is foreseen from those before it."""
    scores = model(windows[:, :-1])
    return nn.functional.cross_entropy(scores.reshape(-1, scores.shape[-1]), windows[:, 1:].reshape(-1))


def train(name: str, text: Text, prepare: Callable, steps: int) -> Run:
    """Train from the same start; `prepare` is what becomes of the step before it runs: tg.trace, or nothing."""
    tg.manual_seed(SEED)
    model = Reader(text.kinds)
    optimizer = tg.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.98), weight_decay=0.01)
    schedule = tg.optim.OneCycleLR(optimizer, 6e-3, total_steps=STEPS + 1, pct_start=0.1, cycle_momentum=False)
    rng = np.random.default_rng(SEED)

    def step(windows):
        optimizer.zero_grad()
        loss = loss_of(model, windows)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return loss

    run_step = prepare(step)
    losses, times = [], [time.perf_counter()]
    for _ in range(steps):
        starts = rng.integers(0, len(text.ids) - CONTEXT, BATCH)
        losses.append(run_step(tg.tensor(text.ids[starts[:, None] + np.arange(CONTEXT + 1)])).item())
        schedule.step()
        times.append(time.perf_counter())
    replays = 0 if run_step is step else run_step.stats.replays
    return Run(name, model, np.array(losses), times[-1] - times[1], times[1] - times[0], replays)


def held_out_loss(model: Reader, text: Text, windows: int = 480) -> float:
    """The mean loss over windows that are spread evenly over what was held out."""
    starts = np.linspace(0, len(text.held) - CONTEXT - 1, windows).astype(int).reshape(-1, BATCH)
    loss = tg.trace(lambda windows: loss_of(model, windows))
    with tg.no_grad():
        return float(np.mean([loss(tg.tensor(text.held[s[:, None] + np.arange(CONTEXT + 1)])).item() for s in starts]))


def written(model: Reader, text: Text, length: int = 150) -> str:
    """What the model writes after the beginning of what was held out, character by character, by its probabilities."""
    ids = text.held[:CONTEXT].tolist()
    chosen = tg.trace(lambda window: tg.multinomial(tg.softmax(model(window)[0, -1]), 1))
    with tg.no_grad():
        for _ in range(length):
            ids.append(chosen(tg.tensor([ids[-CONTEXT:]])).item())
    return "".join(text.alphabet[k] for k in ids[CONTEXT:])


def main() -> tuple[float, float]:
    """Train, compare, report; returns the held-out losses of the transformer and of the bigram model."""
    text = gather()
    bigram = bigram_loss(text)
    eager = train("eager", text, lambda step: step, EAGER_STEPS)
    compiled = train("compiled", text, lambda step: tg.trace(step, strict=True), STEPS)
    parameters = sum(p.numel() for p in compiled.model.parameters())
    print(f"{len(text.ids):,} characters of {text.kinds} kinds to learn from, {len(text.held):,} held out; "
          f"{parameters:,} parameters\n")
    print(f"{'':10}{'steps':>8}{'first s':>10}{'steps/s':>10}{'ratio':>8}")
    for run in (eager, compiled):
        ratio = run.steps_per_second / eager.steps_per_second
        print(f"{run.name:10}{len(run.losses):8}{run.first:10.2f}{run.steps_per_second:10.1f}{ratio:7.1f}x")
    print(f"\n{compiled.replays} of {len(compiled.losses)} steps were one native call each")
    apart = float((np.abs(eager.losses - compiled.losses[:EAGER_STEPS]) / eager.losses).max())
    print(f"the losses of the first {EAGER_STEPS} steps agree to {apart:.1e} relative")
    held = held_out_loss(compiled.model, text)
    print(f"held out, nats for each character: {held:.3f}, of the bigram model {bigram:.3f}")
    print(f"it writes: {written(compiled.model, text)!r}")
    if apart > TOLERANCE or held > bigram - MARGIN:
        sys.exit("this is not how it should have gone: see above")
    return held, bigram


if __name__ == "__main__":
    main()
