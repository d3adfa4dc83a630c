"""A tree network learns logic: it reads expressions such as (a and (b xor c)) by recursion over nested tuples.

The shape of a tree is known to Python alone, so each shape is a path: its whole training step, forward, backward and
update, is one native call. Nothing is padded and nothing is said twice.

    python -m examples.tree_network
"""
from __future__ import annotations

import random

import numpy as np

import tracegrad as tg

OPERATIONS = (np.logical_and, np.logical_or, np.logical_xor)
BATCH, WIDTH, STEPS = 64, 24, 800

SHAPES = ((0, 0), ((0, 0), 0), (0, (0, 0)), ((0, 0), (0, 0)), (((0, 0), 0), 0), (0, (0, (0, 0))))
LARGER = (((0, 0), (0, 0)), (0, 0)), ((0, (0, 0)), ((0, 0), 0)), (((0, 0), (0, 0)), ((0, 0), (0, 0)))
"""Shapes of trees to learn from, and larger ones that are held out; 0 is a leaf."""


def grow(shape, rng):
    """A batch of random expressions of one shape, and their truth. A node is (operation [B, 3], left, right)."""
    if shape == 0:
        truth = rng.integers(0, 2, BATCH).astype(bool)
        return tg.tensor(truth[:, None] * 2.0 - 1.0, dtype="float32"), truth
    (left, a), (right, b) = (grow(part, rng) for part in shape)
    which = rng.integers(0, 3, BATCH)
    truth = np.choose(which, [operation(a, b) for operation in OPERATIONS])
    return (tg.tensor(np.eye(3, dtype=np.float32)[which]), left, right), truth


class Reader(tg.nn.Module):
    """What a tree says, from what its parts say."""

    def __init__(self):
        super().__init__()
        self.leaf = tg.nn.Linear(1, WIDTH)
        self.join = tg.nn.Sequential(
            tg.nn.Linear(3 + 2 * WIDTH, 64), tg.nn.ReLU(), tg.nn.Linear(64, WIDTH), tg.nn.Tanh())
        self.answer = tg.nn.Linear(WIDTH, 1)

    def read(self, tree):
        if isinstance(tree, tuple):
            operation, left, right = tree
            return self.join(tg.concat([operation, self.read(left), self.read(right)], axis=1))
        return tg.tanh(self.leaf(tree))

    def forward(self, tree):
        return self.answer(self.read(tree))[:, 0]


def main() -> tuple[float, int]:
    """Returns the share of larger expressions, of shapes never seen, that it reads right, and the replays."""
    tg.manual_seed(0)
    rng, pick = np.random.default_rng(0), random.Random(0)
    model = Reader()
    optimizer = tg.optim.Adam(model.parameters(), lr=3e-3)

    @tg.trace
    def step(tree, truth):
        optimizer.zero_grad()
        loss = tg.nn.functional.binary_cross_entropy_with_logits(model(tree), truth)
        loss.backward()
        optimizer.step()
        return loss

    for k in range(STEPS):
        tree, truth = grow(pick.choice(SHAPES), rng)
        loss = step(tree, tg.tensor(truth.astype(np.float32)))
        if k % 200 == 0 or k == STEPS - 1:
            print(f"step {k:4}: loss {loss.item():.3f}")
    right = []
    for shape in LARGER:
        tree, truth = grow(shape, rng)
        with tg.no_grad():
            right.append(((model(tree).numpy() > 0) == truth).mean())
        print(f"{str(shape).replace('0', 'x'):36} {right[-1]:6.1%} right")
    print(f"{step.stats.replays} of {STEPS} steps were one native call each; {len(SHAPES)} shapes, "
          f"{step.stats.kernels_compiled} kernels")
    return float(np.mean(right)), step.stats.replays


if __name__ == "__main__":
    main()
