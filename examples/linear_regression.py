"""Linear regression: recover a slope and an intercept from noisy points by gradient descent.

    python -m examples.linear_regression
"""
from __future__ import annotations

import tracegrad as tg


def main(steps: int = 300) -> tuple[float, float]:
    """Returns the slope and the intercept found; the points lie around y = 3 x - 1."""
    tg.manual_seed(0)
    x = tg.rand(200) * 4 - 2
    y = 3 * x - 1 + 0.1 * tg.randn(200)
    slope = tg.tensor(0.0, requires_grad=True)
    intercept = tg.tensor(0.0, requires_grad=True)
    optimizer = tg.optim.SGD([slope, intercept], lr=0.1)

    @tg.trace
    def step():
        optimizer.zero_grad()
        loss = ((slope * x + intercept - y) ** 2).mean()
        loss.backward()
        optimizer.step()
        return loss

    for k in range(steps):
        loss = step()
        if k % 100 == 0 or k == steps - 1:
            print(f"step {k:3}: loss {loss.item():.4f}")
    print(f"y = {slope.item():.3f} x + {intercept.item():.3f}")
    print(f"{step.stats.replays} of {step.stats.calls} steps were one native call each")
    return slope.item(), intercept.item()


if __name__ == "__main__":
    main()
