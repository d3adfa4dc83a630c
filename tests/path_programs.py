"""Hypothesis strategies: random Python programs whose way depends on values, and what happens between their calls.

    def step(x, y, k, n=1):
        v1 = x * 0.5 + box.h
        if v1.sum() > 0.25 and box.flag:            # `x`, `y` are vectors, `k` an integer Tensor, `n` a number
            return items[int(k)] - v1
        turns = 0
        while v1.max() < 1.5 and turns < 3:
            v1 = v1 * 2.0 + y
            turns += 1
        box.h = v1.detach()
        return v1, turns

Nearly all arithmetic is exact on both ways, and no two sides of a comparison are close by construction, so both go the
same way. Arguments come from a small set, so that a program comes along its paths again.
"""
from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from hypothesis import strategies as st
from program_strategies import Event, Scenario

PRELUDE = '''\
import numpy as np
import tracegrad as tg


def tensor(*shape, seed=0, requires_grad=False):
    values = np.random.default_rng(seed).integers(-24, 25, shape) / 16
    return tg.tensor(values, dtype="float64", requires_grad=requires_grad)


class Box:
    def __init__(self):
        self.h, self.scale, self.flag, self.count = tensor(3, seed=1), 0.5, True, 0


def shrunk(a, depth=0):
    return shrunk(a * 0.5, depth + 1) if a.max() > 0.7 and depth < 3 else a


def signed(a):
    if a.sum() > 0.3:
        return a
    return -a


def positive(tensors):
    for t in tensors:
        if t.sum() > 0.1:
            yield t


def checked(a):
    if a.min() < -1.3:
        raise ValueError("too small")
    return a + 0.25


tg.manual_seed(3)
box = Box()
state = {"w": tensor(3, seed=3), "rate": 0.25}
items = [tensor(3, seed=5), tensor(3, seed=6), tensor(3, seed=7)]
W = tensor(3, seed=8, requires_grad=True)
M = tensor(3, 3, seed=9)
flags = [True, False]
log = []
opt = tg.optim.SGD([W], lr=0.125)


def near_of():
    return box.h
'''

CAPTURED = ("box.h", "state['w']", "items[0]", "items[1]", "items[-1]", "M[0]", "M[:, 1]", "W")
NUMBERS = ("box.scale", "state['rate']", "n", "0.5", "2", "len(items)", "1.5")
LEVELS = ("0.3", "-0.2", "0.7", "1.1", "-0.9", "2.3")
PLAIN_CONDITIONS = ("box.flag", "not box.flag", "n > 1", "flags[0]", "state['rate'] > 0.2", "len(items) == 3")
FORMS = ("{} * {}", "{} + {}", "{} - {}", "tg.maximum({}, {})", "tg.where({} > {}, {}, {})")
CALLS = ("shrunk({})", "signed({})", "checked({})", "sum(positive(items), {})", "signed(shrunk({}))", "tg.tanh({})")


class _Writer:
    """Writes the body of `step`, statement by statement. Every variable v1, v2, ... is a vector of three."""

    def __init__(self, draw: Callable[[st.SearchStrategy], Any]):
        self.draw = draw
        self.lines: list[str] = []
        self.indent, self.count, self.loops = 1, 0, 0
        self.grad = True
        self.pool = ["x", "y"]

    def pick(self, choices: Sequence[Any]) -> Any:
        return self.draw(st.sampled_from(choices))

    def chance(self, percent: int) -> bool:
        return self.draw(st.integers(0, 99)) < percent

    def line(self, text: str) -> None:
        self.lines.append("    " * self.indent + text)

    @contextmanager
    def block(self, head: str) -> Iterator[None]:
        """A block; the variables that it makes are not known behind it."""
        self.line(head)
        self.indent += 1
        known, empty = len(self.pool), len(self.lines)
        yield
        if len(self.lines) == empty:
            self.line("pass")
        del self.pool[known:]
        self.indent -= 1

    # ---- expressions ----------------------------------------------------------------------------------------------

    def vector(self) -> str:
        return self.pick(CAPTURED) if self.chance(25) else self.pick(self.pool[-4:])

    def scalar(self) -> str:
        v = self.vector()
        return self.pick((f"{v}.sum()", f"{v}[0]", f"{v}.max()", f"{v}.min()", f"{v}[-1]", f"({v} * {v}).sum()"))

    def number(self) -> str:
        """A number of Python's, mostly one that is read from a Tensor."""
        return self.pick((*NUMBERS, "int(k)", "k.item()", f"[0.5, 2.0, -1.0][int({self.vector()}.argmax())]",
                          "[0.25, 1.5, -0.5][k]", f"round(float({self.vector()}[0]), 3)"))

    def condition(self) -> str:
        level = self.pick(LEVELS)
        simple = (f"{self.scalar()} > {level}", f"{self.scalar()} < {level}", f"-0.4 < {self.scalar()} < {level}",
                  f"{self.vector()}[0] >= {self.vector()}[1]", f"({self.vector()} > {level}).any()",
                  f"tg.all({self.vector()} < {level})", "int(k) == 1", "k == 2", f"float({self.scalar()}) < {level}",
                  f"{level} <= abs({self.scalar()}.item())", f"box.scale > {self.scalar()}.item()",
                  f"{level} < {self.scalar()}.item() <= 2.7", "k.item() < 2")
        match self.pick(("simple",) * 5 + ("and", "or", "not", "plain", "mixed", "any", "xor")):
            case "and":
                return f"{self.pick(simple)} and {self.pick(simple)}"
            case "or":
                return f"{self.pick(simple)} or {self.pick(simple)}"
            case "not":
                return f"not {self.pick(simple)}"
            case "plain":
                return self.pick(PLAIN_CONDITIONS)
            case "mixed":
                return f"{self.pick(PLAIN_CONDITIONS)} and {self.pick(simple)}"
            case "any":
                return f"{self.pick(('any', 'all'))}(t[0] < {level} for t in items)"
            case "xor":
                return f"bool({self.scalar()} > {level}) != ({self.pick(PLAIN_CONDITIONS)})"
        return self.pick(simple)

    def expression(self) -> str:
        a = self.vector()
        match self.pick(("binary",) * 4 + ("number", "number", "call", "index", "choice", "filter", "view", "least",
                         "order")):
            case "binary":
                form = self.pick(FORMS)
                for _ in range(form.count("{}")):
                    form = form.replace("{}", self.vector(), 1)
                return form if form.startswith("tg.") else f"({form}) * 0.5"
            case "number":
                return f"{a} * {self.number()}" if self.chance(50) else f"{a} * 0.5 + {self.number()}"
            case "call":
                return self.pick(CALLS).format(a)
            case "index":
                return self.pick(("items[int(k)]", "items[k]", f"items[{a}.argmax()]",
                                  f"items[int({a}.argmin())] - {a}"))
            case "choice":
                return f"({a} if {self.condition()} else {self.vector()} * 0.5)"
            case "filter":
                return f"sum([t * 0.5 for t in items if t.sum() > {self.pick(LEVELS)}], {a})"
            case "view":
                return self.pick((f"{a}[::-1]", f"{a}.reshape(3)", f"{a}[None][0]"))
            case "least":
                return f"{self.pick(('min', 'max'))}({a}, {self.vector()}, key=lambda t: t[1]) * 0.5"
        return f"sorted(items, key=lambda t: t[0])[{self.pick((0, 1, -1))}] + {a}"

    # ---- statements -----------------------------------------------------------------------------------------------

    def statements(self, most: int) -> None:
        for _ in range(self.draw(st.integers(1, most))):
            self.statement()

    def statement(self) -> None:
        kinds = ("assign",) * 5 + ("again",) * 3 + ("write", "write", "store", "state", "backward", "effect", "assert")
        if self.indent < 3:
            kinds += ("if",) * 3 + ("while", "for", "for", "return", "match", "try", "no grad")
        match self.pick(kinds):
            case "assign":
                self.assign()
            case "again":
                self.again()
            case "write":
                self.write()
            case "store":
                value = self.pick((f"tg.tanh({self.expression()})", self.expression()))
                self.line(f"{self.pick(('box.h', 'state[' + repr('w') + ']', 'items[1]'))} = ({value}).detach()")
            case "state":
                with self.block("with tg.no_grad():"):
                    self.line(self.pick(("box.h.mul_(0.5)", f"items[0].copy_({self.vector()} * 0.5)", "W *= 0.5",
                                         f"state['w'][0] = {self.scalar()}")))
            case "backward" if self.grad:
                self.line(f"(({self.expression()}) * W).sum().backward()")
                if self.chance(50):
                    self.line("opt.step()" if self.chance(50) else "W.grad = None")
            case "effect" if self.chance(30):
                self.line(self.pick(("box.count += 1", "log.append(n)", "box.flag = not box.flag",
                                     f"log.append(float({self.scalar()}))")))
            case "assert" if self.chance(50):
                self.line(f"assert {self.scalar()} > -9.7, 'too small'")
            case "if":
                self.branch()
            case "while":
                self.loop_while()
            case "for":
                self.loop_for()
            case "return":
                with self.block(f"if {self.condition()}:"):
                    self.result()
            case "match":
                subject = self.pick(("int(k)", f"int({self.vector()}.argmax())", "k.item()"))
                with self.block(f"match {subject}:"):
                    for case in ("0", "1", "_"):
                        with self.block(f"case {case}:"):
                            self.again()
            case "try":
                with self.block("try:"):
                    v = self.again(f"checked({self.vector()})")
                    self.statements(1)
                with self.block("except ValueError:"):
                    self.line(f"{v} = {v} * -0.5")
            case "no grad":
                before, self.grad = self.grad, False
                with self.block("with tg.no_grad():"):
                    self.statements(2)
                self.grad = before

    def assign(self, value: str = "") -> None:
        self.line(f"v{self.count + 1} = {value or self.expression()}")
        self.count += 1
        self.pool.append(f"v{self.count}")

    def again(self, value: str = "") -> str:
        """A variable gets another value, so that what a branch did is seen behind it."""
        v = self.pick(self.pool)
        self.line(f"{v} = {value or self.expression()}")
        return v

    def write(self) -> None:
        v = self.pick(self.pool)
        if v in ("x", "y") and self.chance(60):
            return self.assign(f"{v} * 1.0")
        target = self.pick((v, f"{v}[1:]", f"{v}[0]", f"{v}[::-1]"))
        value = self.scalar() if self.chance(60) or target != v else self.vector()
        self.line(self.pick((f"{target} += {value}", f"{target} *= 0.5", f"{v}[k] = {self.scalar()}",
                             f"{v}[{v} > {self.pick(LEVELS)}] = 0.25",
                             f"{target if '[' in target else v + '[...]'} = {value}")))

    def branch(self) -> None:
        """Now and then by a number in a variable, which may be used again or not."""
        condition, read = self.condition(), self.chance(25)
        if read:
            level = self.pick(LEVELS)
            self.line(f"r = {self.pick(('float({})', '{}.item()', 'abs(float({}))')).format(self.scalar())}")
            condition = self.pick((f"r < {level}", f"r > {level} and {condition}", f"not 0.1 < r < {level}"))
        with self.block(f"if {condition}:"):
            self.again(f"{self.vector()} * r") if read and self.chance(15) else self.statements(1)
        if self.chance(30):
            with self.block(f"elif {self.condition()}:"):
                self.statements(1)
        if self.chance(60):
            with self.block("else:"):
                self.statements(2)

    def loop_while(self) -> None:
        turns = self.turns()
        self.line(f"{turns} = 0")
        with self.block(f"while {turns} < 3 and ({self.condition()}):"):
            self.line(f"{turns} += 1")
            if self.chance(30):
                with self.block(f"if {self.condition()}:"):
                    self.line(self.pick(("break", "continue")))
            self.again()
            if self.chance(40):
                self.statements(1)

    def loop_for(self) -> None:
        turns = self.turns()
        v = self.pick(self.pool)
        head = self.pick((f"for {turns} in items:", f"for {turns} in range(int(k)):", f"for {turns} in ({v}, W):",
                          f"for {turns} in positive(items):", f"for {turns} in range(3):"))
        with self.block(head):
            if self.chance(60):
                with self.block(f"if {self.condition()}:"):
                    self.line(self.pick(("break", "continue", "break")))
            self.line(f"{v} = {v} * 0.5 + {turns}")
            if self.chance(40):
                self.statements(1)
        if self.chance(20):
            with self.block("else:"):
                self.again()

    def turns(self) -> str:
        self.loops += 1
        return f"t{self.loops}"

    def result(self) -> None:
        a, b = self.pool[-1], self.pick(self.pool)
        self.line("return " + self.pick((
            a, f"{a} * 2.0", f"({a}, {b})", f"{{'a': {a}, 'n': [{b} + 1.0, n]}}", f"[{a} + 0.5, box.h]",
            f"({a} * W).sum()", f"({a} * 1.0, x, W, None)", f"({a}.sum(), int(k))", f"({a}, {b}.sum().item())",
            "None")))


ARGUMENTS = ("tensor(3, seed={})", "tensor(3, seed={})", "tensor(3, seed={}, requires_grad=True)")
OTHERS = ("W", "box.h", "items[1]", "tensor(3, 3, seed={})[:, 0]", "tensor(3, 3, seed={})[1]",
          "tensor(3, seed={}) * 4.0")
CHANGES = (
    "box.h = tensor(3, seed={})", "box.h += 0.5", "state['w'] = tensor(3, seed={})", "items[0] = tensor(3, seed={})",
    "items.reverse()", "items.append(tensor(3, seed={}))", "box.scale = {} / 8", "box.flag = not box.flag",
    "flags.reverse()", "state['rate'] = {} / 128", "W = tensor(3, seed={}, requires_grad=True)", "W.grad = None",
    "with tg.no_grad(): W *= 0.5", "W.grad = tensor(3, seed={})", "M[0] = 0.25", "items[2] = box.h", "opt.lr = {} / 64",
    "W.requires_grad_(not W.requires_grad)", "def signed(a): return a * 0.5 if a[0] > 0.3 else a",
    "def positive(tensors): return [t for t in tensors if t[1] < 0.4]", "items[0] = items[0].detach()",
    "state['w'] = x", "box = Box()", "M = M.T", "checked = shrunk",
)


@st.composite
def path_scenarios(draw: Callable[[st.SearchStrategy], Any]) -> Scenario:
    """A program and events: calls with arguments of a small set, and changes between them."""
    w = _Writer(draw)
    w.statements(3)
    w.branch()
    w.statements(2)
    w.result()
    source = "\n".join((PRELUDE, "", "def step(x, y, k, n=1):", "    global box, W, M, items", *w.lines, ""))
    seeds = draw(st.lists(st.integers(40, 60), min_size=1, max_size=3, unique=True))
    events: list[Event] = []
    for _ in range(draw(st.integers(4, 9))):
        if events and draw(st.integers(0, 9)) < 3:
            events.append(Event("change", draw(st.sampled_from(CHANGES)).format(draw(st.integers(20, 39)))))
        if not events or draw(st.integers(0, 9)) < 8:
            events.append(_arguments(draw, seeds))
        then = draw(st.sampled_from(("", "", "", "backward", "second", "write", "keep")))
        events.append(Event("call", times=draw(st.sampled_from((1, 1, 2, 5))), then=then))
    return Scenario(source, tuple(events), len(PRELUDE))


def _arguments(draw: Callable[[st.SearchStrategy], Any], seeds: list[int]) -> Event:
    texts = [draw(st.sampled_from(OTHERS if draw(st.integers(0, 9)) == 0 else ARGUMENTS)) for _ in range(2)]
    x, y = (text.format(draw(st.sampled_from(seeds)) + k) for k, text in enumerate(texts))
    k, n = draw(st.integers(0, 2)), draw(st.sampled_from(("1", "1", "2", "0.5")))
    return Event("args", f"x = {x}\ny = {y}\nargs, kwargs = (x, y, tg.tensor({k})), dict(n={n})")
