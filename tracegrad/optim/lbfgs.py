"""LBFGS: steps of Newton's method with a Hessian estimated from the last gradients, the whole model as one vector.

J. Nocedal, S. J. Wright (2006), Numerical Optimization, algorithms 7.4 and 7.5, and 3.5 and 3.6 for the line search.

It decides by the values of losses and gradients, so it runs eagerly; the closure it calls may be a traced function.
"""
from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from tracegrad.creation import zeros_like
from tracegrad.grad_modes import enable_grad, no_grad
from tracegrad.movement import concat
from tracegrad.optim.optimizer import Optimizer
from tracegrad.tensors import Tensor

Evaluation = tuple[float, float, Tensor, float]
"""(step length, loss, gradient, slope along the direction)."""


class LBFGS(Optimizer):
    """`step(closure)` takes up to max_iter steps; the closure clears the grads, computes them and returns the loss.

    line_search_fn is None, for steps of length lr, or "strong_wolfe". A step ends early when the largest gradient is
    at most tolerance_grad, or the change of the parameters or of the loss at most tolerance_change.
    """

    def __init__(self, params: Iterable[Any], lr: float = 1.0, max_iter: int = 20, max_eval: int | None = None,
                 tolerance_grad: float = 1e-7, tolerance_change: float = 1e-9, history_size: int = 100,
                 line_search_fn: str | None = None):
        if line_search_fn not in (None, "strong_wolfe"):
            raise ValueError(f'LBFGS: line_search_fn is None or "strong_wolfe", not {line_search_fn!r}')
        super().__init__(params, dict(lr=lr))
        if len(self.param_groups) != 1:
            raise ValueError("LBFGS: all parameters are one vector, so there is one group")
        self.max_iter, self.max_eval = max_iter, max_iter * 5 // 4 if max_eval is None else max_eval
        self.tolerance_grad, self.tolerance_change = tolerance_grad, tolerance_change
        self.history_size, self.line_search_fn = history_size, line_search_fn
        self.iterations = 0
        self.pairs: list[tuple[Tensor, Tensor, float]] = []     # (change of gradient, of parameters, 1 / product)
        self.scale = 1.0                                        # of the first estimate of the inverse Hessian
        self.direction: Tensor | None = None
        self.length = 0.0
        self.last_gradient: Tensor | None = None

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Minimize the closure's loss; returns its value before."""
        if closure is None:
            raise TypeError("LBFGS: step needs a closure that computes the loss and its gradients")
        with enable_grad():
            first = closure()
        with no_grad():
            self.minimize(closure, float(first), self.gradient())
        return first

    def minimize(self, closure: Callable[[], Any], loss: float, g: Tensor) -> None:
        """Up to max_iter steps from where the loss and its gradient are these."""
        evaluations, taken, lr = 1, 0, self.lr
        while largest(g) > self.tolerance_grad and taken < self.max_iter:
            taken += 1
            self.iterations += 1
            d = self.next_direction(g)
            self.last_gradient, before = g, loss
            slope = dot(g, d)
            t = min(1.0, 1.0 / float(g.abs().sum())) * lr if self.iterations == 1 else lr
            self.direction, self.length = d, t
            if slope > -self.tolerance_change:
                return
            if self.line_search_fn is None:
                self.move(d, t)
                if taken < self.max_iter:
                    loss, g = self.evaluate(closure)
                used = 1
            else:
                start = [p.clone() for p in self.params]
                t, loss, g, used = self.search(closure, start, d, t, loss, g, slope)
                self.put(start, d, t)
                self.length = t
            evaluations += used
            change = largest(d) * t
            if evaluations >= self.max_eval or change <= self.tolerance_change or (
                    abs(loss - before) < self.tolerance_change):
                return

    def next_direction(self, g: Tensor) -> Tensor:
        """Minus the estimated inverse Hessian times g (algorithm 7.4), after taking the last step into account."""
        if self.direction is None or self.last_gradient is None:
            return -g
        y, s = g - self.last_gradient, self.direction * self.length
        product = dot(y, s)
        if product > 1e-10:
            self.pairs = [*self.pairs[-self.history_size + 1:], (y, s, 1.0 / product)] if self.history_size > 1 else [
                (y, s, 1.0 / product)]
            self.scale = product / dot(y, y)
        q, weights = -g, []
        for y, s, inverse in reversed(self.pairs):
            weights.append(dot(s, q) * inverse)
            q = q - y * weights[-1]
        d = q * self.scale
        for (y, s, inverse), weight in zip(self.pairs, reversed(weights)):
            d = d + s * (weight - dot(y, d) * inverse)
        return d

    # ---- the parameters as one vector -------------------------------------------------------------------------------

    def gradient(self) -> Tensor:
        """The gradient as one vector."""
        return concat([(zeros_like(p) if p.grad is None else p.grad).reshape(-1) for p in self.params])

    def move(self, d: Tensor, t: float) -> None:
        """Go t along d."""
        start = 0
        for p in self.params:
            p += d[start:start + p.size].reshape(p.shape) * t
            start += p.size

    def put(self, start: list[Tensor], d: Tensor, t: float) -> None:
        """Go to where t along d leads from `start`."""
        for p, old in zip(self.params, start):
            p.copy_(old)
        self.move(d, t)

    def evaluate(self, closure: Callable[[], Any]) -> tuple[float, Tensor]:
        """The loss and its gradient where the parameters are."""
        with enable_grad():
            loss = float(closure())
        return loss, self.gradient()

    # ---- the line search --------------------------------------------------------------------------------------------

    def search(self, closure: Callable[[], Any], start: list[Tensor], d: Tensor, t: float, loss: float, g: Tensor,
               slope: float, c1: float = 1e-4, c2: float = 0.9, most: int = 25) -> tuple[float, float, Tensor, int]:
        """(t, loss, gradient, evaluations) with a smaller loss and a flatter slope: the strong Wolfe conditions."""
        def at(length: float) -> Evaluation:
            self.put(start, d, length)
            f, gradient = self.evaluate(closure)
            return length, f, gradient, dot(gradient, d)

        origin: Evaluation = (0.0, loss, g, slope)
        size = largest(d)
        before, new, used = origin, at(t), 1
        bracket: list[Evaluation] = []
        for k in range(most):                                           # algorithm 3.5
            if new[1] > loss + c1 * new[0] * slope or k > 0 and new[1] >= before[1]:
                bracket = [before, new]
                break
            if abs(new[3]) <= -c2 * slope:
                return new[0], new[1], new[2], used
            if new[3] >= 0:
                bracket = [before, new]
                break
            shortest = new[0] + 0.01 * (new[0] - before[0])
            length = cubic_minimum(before, new, (shortest, new[0] * 10))
            before, new = new, at(length)
            used += 1
        if not bracket:
            bracket = [origin, new]

        low, high = (0, 1) if bracket[0][1] <= bracket[-1][1] else (1, 0)
        stuck = False
        for _ in range(most - used + 1):                                # algorithm 3.6
            ends = sorted(e[0] for e in bracket)
            if (ends[1] - ends[0]) * size < self.tolerance_change:
                break
            length = cubic_minimum(bracket[0], bracket[1])
            edge = 0.1 * (ends[1] - ends[0])
            if min(ends[1] - length, length - ends[0]) < edge:          # hardly any progress: once is allowed
                if stuck or length >= ends[1] or length <= ends[0]:
                    nearer = abs(length - ends[1]) < abs(length - ends[0])
                    length, stuck = (ends[1] - edge if nearer else ends[0] + edge), False
                else:
                    stuck = True
            else:
                stuck = False
            new = at(length)
            used += 1
            if new[1] > loss + c1 * new[0] * slope or new[1] >= bracket[low][1]:
                bracket[high] = new
                low, high = (0, 1) if bracket[0][1] <= bracket[1][1] else (1, 0)
            else:
                if abs(new[3]) <= -c2 * slope:
                    bracket[low] = new
                    break
                if new[3] * (bracket[high][0] - bracket[low][0]) >= 0:
                    bracket[high] = bracket[low]
                bracket[low] = new
        best = bracket[low]
        return best[0], best[1], best[2], used


def dot(x: Tensor, y: Tensor) -> float:
    """The product of two vectors as a number."""
    return float((x * y).sum())


def largest(x: Tensor) -> float:
    """The largest absolute value."""
    return float(x.abs().max()) if x.size else 0.0


def cubic_minimum(a: Evaluation, b: Evaluation, bounds: tuple[float, float] | None = None) -> float:
    """Where the cubic through two losses with these slopes is smallest, within bounds (equation 3.59)."""
    if a[0] > b[0]:
        a, b = b, a
    low, high = bounds or (a[0], b[0])
    d1 = a[3] + b[3] - 3 * (a[1] - b[1]) / (a[0] - b[0]) if a[0] != b[0] else float("nan")
    square = d1 * d1 - a[3] * b[3]
    if not square >= 0:
        return (low + high) / 2
    d2 = square**0.5
    return min(max(b[0] - (b[0] - a[0]) * ((b[3] + d2 - d1) / (b[3] - a[3] + 2 * d2)), low), high)
