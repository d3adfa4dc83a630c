"""Hypothesis strategies: random programs whose arguments have other sizes at nearly every call.

    x, y: f64[n,3] with n = 5, 9, 6, 6, 2, 1, 12, ...       step(x, y) computes, writes, differentiates, reads n

1. A program is source text, as those of program_strategies are; sizes repeat now and then, and may be 0 and 1.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from hypothesis import strategies as st
from program_strategies import Event, Scenario

PRELUDE = '''\
import numpy as np
import tracegrad as tg


def tensor(*shape, seed=0, requires_grad=False):
    values = np.random.default_rng(seed).uniform(-1.0, 1.0, shape)
    return tg.tensor(values, requires_grad=requires_grad)


def near_of():
    return ()


W, V = tensor(3, 4, seed=1, requires_grad=True), tensor(4, 3, seed=2, requires_grad=True)
opt = tg.optim.SGD([W, V], lr=0.05)
state = {"h": tensor(3, seed=3), "scale": 0.5}
log = []
'''


class Value(NamedTuple):
    """An expression, and its sizes: "n", "m" (which is n, too) or a number for each axis."""

    text: str
    shape: tuple[Any, ...]


MADE: dict[tuple[Any, ...], tuple[tuple[str, tuple[Any, ...]], ...]] = {
    ("n", 3): (("tg.tanh({a})", ("n", 3)), ("{a} * s", ("n", 3)), ("tg.exp({a} * 0.1)", ("n", 3)),
               ("({a} + {b})", ("n", 3)),
               ("{a} * {b} - {a}", ("n", 3)), ("{a} / (len(x) + 1)", ("n", 3)),
               ("{a} / (x.shape[0] + 1)", ("n", 3)), ("{a} * y.shape[0] ** -0.5", ("n", 3)),
               ("{a}[:{b}.shape[0] // 2].sum(axis=0)", (3,)), ("{a}[-2:].sum(axis=0)", (3,)),
               ("{a}[1:-1].mean(axis=0)", (3,)), ("{a}[::-2].sum(axis=0)", (3,)), ("{a}[-1]", (3,)),
               ("{a}[x.shape[0] - 1]", (3,)), ("{a}.reshape(3 * y.shape[0])[: y.shape[0]]", ("n",)),
               ("{a} + tg.zeros(x.shape[0], 3, dtype='float64')", ("n", 3)), ("tg.roll({a}, 1, axis=0)", ("n", 3)),
               ("tg.stack([{a}, {b}], axis=1).sum(axis=1)", ("n", 3)), ("{a} - {a}.mean()", ("n", 3)),
               ("tg.pad({a}, ((1, 1), (0, 0)))[1:-1]", ("n", 3)), ("{a}.var(axis=0)", (3,)),
               ("({a} if x.shape == y.shape else {b})", ("n", 3)),
               ("tg.eye(y.shape[0], dtype='float64') @ {a}", ("n", 3)),
               ("tg.where(tg.arange(x.shape[0])[:, None] < x.shape[0] % 4, {a}, {b})", ("n", 3)),
               ("tg.concat([{a}, {b}])[x.shape[0]:]", ("n", 3)),
               ("{a}[min(x.shape[0], 3) - 1:][:1].sum(axis=0)", (3,)), ("{a} * x.shape[0]", ("n", 3)),
               ("{a} * state['scale']", ("n", 3)), ("{a} + state['h']", ("n", 3)), ("{a} @ W", ("n", 4)),
               ("{a}.sum(axis=0)", (3,)), ("{a}.mean(axis=0, keepdims=True) + {b}", ("n", 3)),
               ("{a}.sum(axis=1)", ("n",)),
               ("tg.softmax({a}, axis=1)", ("n", 3)), ("{a}.T", (3, "n")), ("{a}.cumsum(axis=0)", ("n", 3)),
               ("{a}.flip(0)", ("n", 3)), ("{a}[::2].sum(axis=0)", (3,)), ("{a}[1:].sum(axis=0)", (3,)),
               ("{a}.reshape(-1).mean()", ()), ("tg.concat([{a}, {b}])[len(x):]", ("n", 3)),
               ("{a} @ {b}.T", ("n", "m")), ("tg.where({a} > 0.1, {a}, {b})", ("n", 3)), ("{a}[idx]", (2, 3)),
               ("{a}[:, 1]", ("n",)),
               ("{a}.reshape(3, -1).T", ("n", 3)), ("{a}.detach()", ("n", 3)), ("{a}.max(axis=0)", (3,)),
               ("tg.full({a}.shape, 0.25, dtype='float64') * {b}", ("n", 3)), ("{a}.clone()", ("n", 3))),
    ("n", 4): (("tg.tanh({a})", ("n", 4)), ("{a} @ V", ("n", 3)), ("{a}.sum()", ()), ("{a}[:, :3]", ("n", 3)),
               ("tg.nn.functional.layer_norm({a}, (4,)) @ V", ("n", 3))),
    ("n",): (("tg.tanh({a})", ("n",)), ("{a}[:, None] * x", ("n", 3)),
             ("{a} * tg.arange(len(x), dtype='float64')", ("n",)),
             ("{a} * tg.arange(x.shape[0], dtype='float64')", ("n",)),
             ("{a} / {a}.size", ("n",)), ("{a}.sum() / x.shape[0]", ()), ("{a}[{a}.argmax()] * {a}", ("n",)),
             ("{a}.mean()", ()), ("({a} * {a}).sum()", ()), ("tg.outer({a}, {a})", ("n", "m"))),
    (3, "n"): (("{a}.T", ("n", 3)), ("{a} @ x", (3, 3)), ("{a}.sum(axis=1)", (3,)), ("tg.exp({a}) + x.T", (3, "n"))),
    ("n", "m"): (("{a} @ x", ("n", 3)), ("tg.softmax({a}, axis=-1) @ y", ("n", 3)), ("{a}.sum(axis=0)", ("n",)),
                 ("tg.tril({a}).sum()", ())),
    (3,): (("x * {a}", ("n", 3)), ("tg.tanh({a})", (3,)), ("{a}.sum()", ())),
    (): (("x * {a}", ("n", 3)), ("{a} * 0.5", ())),
    (2, 3): (("{a}.sum(axis=0)", (3,)),),
    (3, 3): (("x @ {a}", ("n", 3)),),
}
"""What is made of a value of each shape; b is x or y."""

STATEMENTS = (
    ("assign",) * 10 + ("x *= 0.5", "x[...] += 0.25", "y[1:] = 0.125", "state['h'] = x.mean(axis=0).detach()",
                        "state['h'] *= 0.5", "opt.zero_grad()", "backward", "backward", "opt.step()", "gradient",
                        "if len(x) > 6:", "if x.shape[0] % 2:", "for k in range(min(len(x), 3)):", "write",
                        "log.append(len(x))", "if x.shape[0] > 6:", "if x.shape[0] * 2 > y.shape[0] + 7:",
                        "x[1:] *= 0.5",
                        "n = x.shape[0]; x = x * (n // 3 + 1.0) / n", "state['n'] = x.shape[0]")
    + ("if x.sum() > 0.0:", "if y[0, 0] > x.mean():", "if int((x > 0).sum()) % 2:", "if float(y.max()) < 0.9:",
       "while x.sum() > 2.0:", "if bool((y > x).any()) and x.shape[0] > 4:", "for k in range(int(y[0, 1] > 0.0) + 1):",
       "if x.sum() > s:", "if s > 1.0:",
       "if x.mean() > 0.2: return x, x.shape[0]", "if y.sum() < -1.0: return y * x.shape[0]"))


class _Writer:
    def __init__(self, draw: Callable[[st.SearchStrategy], Any]):
        self.draw, self.lines, self.count = draw, [], 0
        self.pool = [Value("x", ("n", 3)), Value("y", ("n", 3))]

    def pick(self, choices: Sequence[Any]) -> Any:
        return self.draw(st.sampled_from(choices))

    def line(self, text: str) -> None:
        self.lines.append("    " + text)

    def assign(self, indent: str = "") -> Value:
        value = self.pick(self.pool[-4:])
        for _ in range(self.draw(st.integers(1, 3))):
            form, shape = self.pick(MADE[value.shape])
            value = Value(f"({form.replace('{a}', value.text).replace('{b}', self.pick('xy'))})", shape)
        self.count += 1
        self.line(f"{indent}v{self.count} = {value.text}")
        return Value(f"v{self.count}", value.shape)

    def statement(self) -> None:
        kind = self.pick(STATEMENTS)
        if kind == "assign":
            self.pool.append(self.assign())
        elif kind.endswith(":"):
            self.line(kind)
            inside = self.assign("    ")
            self.line(f"    x = x + {inside.text}.sum() * 0.01" if "while" not in kind else "    x = x - 0.3")
        elif kind == "write":
            self.line(f"{self.assign().text} *= 0.5")
        elif kind == "backward":
            self.line(f"(({self.assign().text} * W.sum()).sum() * 0.1).backward()")
        elif kind == "gradient":
            value = self.assign()
            self.line(f"g{self.count}, = tg.autograd.grad(({value.text} * V.sum()).sum(), V)")
            self.line(f"x = x + g{self.count}.sum() * 0.01")
        elif kind == "opt.step()":
            self.line("if all(p.grad is not None for p in opt.params):")
            self.line("    opt.step()")
        elif not kind.startswith("log") or self.pick((True, False, False, False)):
            self.line(kind)


@st.composite
def sized_scenarios(draw: Callable[[st.SearchStrategy], Any]) -> Scenario:
    """A program, and calls of it at many sizes."""
    writer = _Writer(draw)
    for _ in range(draw(st.integers(1, 7))):
        writer.statement()
    results = [value.text for value in writer.pool[-draw(st.integers(1, 3)):]]
    results += ["x.shape[0]"] * draw(st.sampled_from((0, 0, 1)))
    body = "\n".join((*writer.lines, f"    return {', '.join(results)},", ""))
    idx = "    idx = tg.tensor([0, len(x) - 1])\n" if "idx" in body else ""
    source = f"{PRELUDE}\ndef step(x, y, s):\n{idx}{body}"
    events, sizes = [], [5, 8, *draw(st.lists(st.integers(2, 14), min_size=4, max_size=7)), 1,
                         *draw(st.lists(st.integers(0, 9), max_size=3))]
    tracked = draw(st.sampled_from(("False", "False", "True")))
    numbers = draw(st.sampled_from(((0.5,), (0.5, 1.5, 2.0, -1.0))))
    for k, n in enumerate(sizes):
        events.append(Event("args", f"args, kwargs = [tensor({n}, 3, seed={k}), "
                                    f"tensor({n}, 3, seed={k + 50}, requires_grad={tracked}), "
                                    f"{numbers[k % len(numbers)]}], {{}}"))
        if draw(st.integers(0, 9)) == 0:
            events.append(Event("change", draw(st.sampled_from((
                "state['scale'] += 0.25", "W.data *= 0.5", "W.grad = None", "state['h'] = tensor(3, seed=9)")))))
        events.append(Event("call", times=draw(st.sampled_from((1, 1, 1, 2, 3))),
                            then=draw(st.sampled_from(("", "", "backward", "second", "write", "keep")))))
    return Scenario(source, tuple(events), len(PRELUDE))
