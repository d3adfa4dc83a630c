"""A comet around the sun: an adaptive solver whose decisions are plain Python, each step one native call.

A step is tried again, shorter, until its error is small: a `while` on a Tensor's value. Each number of tries is a path.

    python -m examples.adaptive_ode
"""
from __future__ import annotations

import math

import tracegrad as tg

ECCENTRICITY = 0.95
TOLERANCE = 1e-8


def slope(y):
    """Of (position, velocity) [4] under a sun of mass 1."""
    position, velocity = y[:2], y[2:]
    distance = tg.sqrt((position * position).sum())
    return tg.concat([velocity, -position / (distance * distance * distance)])


@tg.trace
def step(y, k1, h):
    """One accepted step by Bogacki and Shampine's pair, with k1 = slope(y).

    (y, its slope, the step taken, how long the next one may be, tries)
    """
    tries = 1
    while True:
        k2 = slope(y + 0.5 * h * k1)
        k3 = slope(y + 0.75 * h * k2)
        new = y + h * (k1 * 2 + k2 * 3 + k3 * 4) / 9
        k4 = slope(new)
        error = tg.abs(h * (k2 * 6 + k3 * 8 - k1 * 5 - k4 * 9) / 72).max()
        longer = tg.clamp(0.9 * tg.cbrt(TOLERANCE / error), min=0.2, max=3.0)
        if error <= TOLERANCE:
            return new, k4, h, h * longer, tries
        h = h * longer
        tries += 1


def energy(y) -> float:
    return ((y[2:] * y[2:]).sum() / 2 - 1 / tg.sqrt((y[:2] * y[:2]).sum())).item()


def main() -> tuple[float, int, int]:
    """Returns how far from its start the comet is after one orbit, how many steps that took, and replayed ones."""
    nearest = 1 - ECCENTRICITY
    y = tg.tensor([nearest, 0.0, 0.0, math.sqrt((1 + ECCENTRICITY) / nearest)], dtype="float64")
    start, k, h = y, slope(y), tg.tensor(0.01, dtype="float64")
    t, steps, again, shortest, longest = 0.0, 0, 0, math.inf, 0.0
    while t < 2 * math.pi:
        y, k, taken, h, tries = step(y, k, tg.minimum(h, 2 * math.pi - t))
        t += taken.item()
        steps, again = steps + 1, again + tries - 1
        shortest, longest = min(shortest, taken.item()), max(longest, taken.item())
    missed = tg.sqrt(((y - start)[:2] ** 2).sum()).item()
    print(f"one orbit in {steps} steps from {shortest:.1e} to {longest:.1e}; {again} were tried again, shorter")
    print(f"the comet is {missed:.1e} from where it started, its energy is off by {abs(energy(y) - energy(start)):.1e}")
    print(f"{step.stats.replays} of {steps} steps were one native call each")
    return missed, steps, step.stats.replays


if __name__ == "__main__":
    main()
