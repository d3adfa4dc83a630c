"""Second order: Newton's method on the Rosenbrock function, with the Hessian by double backward.

    python -m examples.second_order
"""
from __future__ import annotations

import numpy as np

import tracegrad as tg


def rosenbrock(p):
    x, y = p[0], p[1]
    return (1 - x) ** 2 + 100 * (y - x * x) ** 2


@tg.trace
def gradient_and_hessian(p):
    """The gradient [2] and the Hessian [2, 2] at a point p [2] that requires grad."""
    (g,) = tg.autograd.grad(rosenbrock(p), p, create_graph=True)
    rows = [tg.autograd.grad(g[k], p, retain_graph=True)[0] for k in range(2)]
    return g, tg.stack(rows)


def main() -> np.ndarray:
    """Returns the minimum found; it lies at [1, 1]."""
    point = np.array([-1.2, 1.0])
    for k in range(8):
        g, hessian = gradient_and_hessian(tg.tensor(point, requires_grad=True))
        g, hessian = g.detach().numpy(), hessian.detach().numpy()
        print(f"step {k}: p = {point.round(6)}, |gradient| = {np.linalg.norm(g):.2e}")
        point = point - np.linalg.solve(hessian, g)
    print(f"found {point.round(6)}")
    return point


if __name__ == "__main__":
    main()
