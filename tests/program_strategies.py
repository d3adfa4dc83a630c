"""Hypothesis strategies: random Python programs that keep state, and what happens between calls of their `step`.

    @given(scenarios())
    def test(scenario):
        exec(scenario.source, namespace)            # a world: tensors, layers, a box, a dict, an optimizer; and step
        for event in scenario.events: ...           # new arguments, changes of the world, calls

1. A program is source text, so that a failing one can be pasted and run.
2. What a change or a call does is text too; it runs in the namespace of the program.
3. Most programs run without an exception; some raise, and then must raise alike.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from hypothesis import strategies as st

PRELUDE = '''\
import contextlib
import math
import numpy as np
import tracegrad as tg


def tensor(*shape, seed=0, dtype="float64", requires_grad=False):
    values = np.random.default_rng(seed).uniform(-1.5, 1.5, shape)
    return tg.tensor(values, dtype=dtype, requires_grad=requires_grad)


class Scale:
    def __init__(self, seed):
        self.w = tensor(3, seed=seed, requires_grad=True)
        self.on = True

    def __call__(self, x):
        return x * self.w if self.on else x


class Mix:
    def __init__(self, seed):
        self.w = tensor(3, 3, seed=seed, requires_grad=True)
        self.b = tensor(3, seed=seed + 1)

    def __call__(self, x):
        return tg.tanh(x @ self.w + self.b) if x.ndim > 1 else x + self.b


class Squash:
    gain = 1.5

    def __call__(self, x):
        return tg.tanh(x) * self.gain


class Box:
    def __init__(self):
        self.h, self.w = tensor(3, seed=1), tensor(2, 3, seed=2)
        self.scale, self.flag, self.mode, self.count = 0.5, True, "plus", 0
        self.layers = [Scale(10), Mix(11), Squash()]

    def lean(self, x):
        return x * self.scale + self.h if self.mode == "plus" else x - self.h

    @property
    def doubled(self):
        return self.h * 2.0


def helper(a, b=None, *, times=2):
    return a * times if b is None else a * b + times


def nested(a, depth):
    return a if depth <= 0 else nested(tg.tanh(a), depth - 1) + a


@tg.trace
def inner(a):
    return tg.tanh(a) * box.scale


tg.manual_seed(3)
model = tg.nn.Sequential(tg.nn.Linear(3, 4), tg.nn.Dropout(0.25), tg.nn.Tanh(), tg.nn.Linear(4, 3)).to("float64")
box = Box()
state = {"w": tensor(3, seed=3), "h": tensor(2, 3, seed=4), "rate": 0.25}
items = [tensor(3, seed=5), tensor(seed=6), tensor(2, 3, seed=7)]
W = tensor(3, seed=8, requires_grad=True)
B = tensor(2, 3, seed=9)
flags = [True, False]
scale = 0.75
log = []
'''

SHAPES = ((2, 3), (3,), ())
CAPTURED: tuple[tuple[str, tuple[int, ...]], ...] = (
    ("box.h", (3,)), ("box.w", (2, 3)), ("state['w']", (3,)), ("state['h']", (2, 3)), ("items[0]", (3,)),
    ("items[1]", ()), ("items[-1]", (2, 3)), ("B", (2, 3)), ("near", (3,)), ("box.layers[1].b", (3,)), ("box.doubled", (3,)))
PARAMETERS = (("W", (3,)), ("box.layers[0].w", (3,)), ("near_w", (2, 3)))
NUMBERS = ("box.scale", "state['rate']", "scale", "n", "n", "Squash.gain", "0.5", "2", "len(box.layers)", "math.pi / 4")
PLACES = (("box.h", (3,)), ("state['w']", (3,)), ("items[0]", (3,)), ("state['h']", (2, 3)), ("near", (3,)))
"""Where a program stores Tensors."""


class Value(NamedTuple):
    """An expression of a Tensor, its shape as the program expects it, and what may be done to it."""

    text: str
    shape: tuple[int, ...]
    kind: str       # made, captured, argument, parameter, view


@dataclass(frozen=True)
class Event:
    """One thing that happens: `args` (text sets args and kwargs), `change` (text) or `call` (so many times).

    After a call, `then` is done to the result: nothing, "backward", "second", "write", "keep".
    """

    kind: str
    text: str = ""
    times: int = 1
    then: str = ""


@dataclass(frozen=True)
class Scenario:
    """A program and what happens to it. What is its own begins at position `start` of the source."""

    source: str
    events: tuple[Event, ...]
    start: int = len(PRELUDE)

    def __repr__(self) -> str:
        return "\n".join((self.source[self.start:], *(f"{e.kind} {e.times} {e.then}\n{e.text}" for e in self.events)))

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(repr(self))


class _Writer:
    """Writes the body of `step`, statement by statement."""

    def __init__(self, draw: Callable[[st.SearchStrategy], Any], parameters: tuple[str, ...]):
        self.draw, self.lines, self.indent, self.count = draw, [], 1, 0
        self.parameters = parameters
        self.grad = True
        self.pool = [Value("x", (2, 3), "argument"), Value("y", (3,), "argument")]
        self.losses: list[str] = []

    def pick(self, choices: Sequence[Any]) -> Any:
        return self.draw(st.sampled_from(choices))

    def chance(self, percent: int) -> bool:
        return self.draw(st.integers(0, 99)) < percent

    def line(self, text: str) -> None:
        self.lines.append("    " * self.indent + text)

    def name(self) -> str:
        self.count += 1
        return f"v{self.count}"

    def operand(self) -> Value:
        """A Tensor to compute with."""
        where = self.draw(st.integers(0, 9))
        if where < 6:
            return self.pick(self.pool[-5:])
        if where < 8:
            return Value(*self.pick(CAPTURED), "captured")
        return Value(*self.pick(PARAMETERS), "parameter")

    def expression(self, depth: int = 2) -> Value:
        a = self.operand()
        for _ in range(self.draw(st.integers(1, depth))):
            a = self.applied(a)
        return a

    def applied(self, a: Value) -> Value:
        """An operation on a, and maybe another operand."""
        t, shape = a.text, a.shape
        kind = self.pick(("binary", "binary", "binary", "unary", "unary", "number", "reduce", "movement", "matmul", "call",
                          "gather", "random", "choice", "detach", "model"))
        match kind:
            case "binary":
                b = self.operand()
                both = _broadcast(shape, b.shape)
                if both is None:
                    return Value(f"tg.tanh({t})", shape, "made")
                form = self.pick(("({} + {})", "({} - {})", "({} * {})", "tg.maximum({}, {})", "({} / (1.5 + {}.abs()))"))
                return Value(form.format(t, b.text), both, "made")
            case "unary":
                form = self.pick(("tg.tanh({})", "(-{})", "tg.exp(tg.tanh({}))", "{}.abs()", "tg.sqrt({} * {} + 0.5)",
                                  "tg.relu({})", "tg.sigmoid({})", "np.tanh({})", "{}.clone()", "{}.square().clamp(max=2.0)"))
                return Value(form.replace("{}", t), shape, "made")
            case "number":
                form = self.pick(("({} * {})", "({} + {})", "({} / (2.0 + abs({})))", "tg.minimum({}, {})"))
                return Value(form.format(t, self.pick(NUMBERS)), shape, "made")
            case "reduce":
                axis = self.draw(st.integers(0, len(shape) - 1)) if shape and self.chance(60) else None
                form = self.pick(("sum", "mean", "max", "sum"))
                rest = () if axis is None else shape[:axis] + shape[axis + 1:]
                return Value(f"{t}.{form}({'' if axis is None else f'axis={axis}'})", rest, "made")
            case "movement":
                return self.moved(a)
            case "matmul" if len(shape) == 2 and shape[1] == 3:
                return Value(f"({t} @ box.layers[1].w)", (shape[0], 3), "made")
            case "call":
                form = self.pick(("helper({})", "helper({}, times=n)", "box.lean({})", "nested({}, 2)", "box.layers[0]({})",
                                  "box.layers[2]({})", "turn({})", "inner({})", "inner({})"))
                wide = form.startswith(("box.lean", "box.layers[0]", "turn"))
                both = _broadcast(shape, (3,)) if wide else shape
                return Value(form.format(t), both, "made") if both is not None else a
            case "model" if shape and shape[-1] == 3:
                return Value(f"model({t})", shape, "made")
            case "gather" if shape and shape[0] > 1:
                return Value(f"{t}[idx]", (2, *shape[1:]), "made")
            case "random":
                form = self.pick(("({} + tg.rand(3, dtype='float64'))", "({} * tg.randn(3, dtype='float64'))"))
                both = _broadcast(shape, (3,))
                return Value(form.format(t), both, "made") if both is not None else a
            case "choice":
                form = self.pick(("tg.where({} > 0.1, {}, 0.5)", "({} if flag else {} * 0.5)",
                                  "({} if box.flag and flags[0] else -{})", "tg.where({} < n, {}, {})"))
                return Value(form.replace("{}", t), shape, "made")
            case "detach":
                return Value(f"{t}.detach()", shape, "view")
        return Value(f"({t} * 0.5)", shape, "made")

    def moved(self, a: Value) -> Value:
        """A view of a, mostly."""
        t, shape = a.text, a.shape
        n = len(shape)
        choices = [(f"{t}[None]", (1, *shape)), (f"{t}.reshape(-1)", (int(np.prod(shape)),))]
        if n:
            choices += [(f"{t}[0]", shape[1:]), (f"{t}[1:]", (shape[0] - 1, *shape[1:])), (f"{t}[::-1]", shape),
                        (f"tg.concat([{t}, {t}])", (2 * shape[0], *shape[1:])), (f"{t}[..., :1]", (*shape[:-1], 1))]
        if n == 2:
            choices += [(f"{t}.T", shape[::-1]), (f"{t}[:, 1]", shape[:1])]
        text, shape = self.pick(choices)
        return Value(text, shape, "view")

    # ---- statements ---------------------------------------------------------------------------------------------------

    def statement(self) -> None:
        kind = self.pick(("assign",) * 5 + ("update",) * 3 + ("store", "store", "branch", "loop", "no grad", "view write",
                         "backward", "backward", "optimize", "grads", "gradient", "impure", "number"))
        match kind:
            case "assign":
                self.assign(self.expression())
            case "update":
                self.update()
            case "store":
                place, shape = self.pick(PLACES)
                value = self.fitted(self.expression(), shape)
                self.line(f"{place} = {value}")
            case "branch":
                self.block(self.pick(("if flag:", "if box.flag:", "if n > 1:", "if box.mode == 'plus':", "if flags[1] or not flag:",
                                      "if x.shape[0] > 2:", "if isinstance(n, int):")))
            case "loop":
                if self.chance(50):
                    source, v = self.pick(self.pool), self.name()
                    self.line(f"{v} = {source.text}")
                    self.line(f"for layer in {self.pick(('box.layers', 'box.layers[::-1]', 'reversed(box.layers)'))}:")
                    self.line(f"    {v} = layer({v})")
                    self.pool.append(Value(v, _broadcast(source.shape, (3,)) or (3,), "made"))
                else:
                    self.block(self.pick(("for k in range(2):", "for k in range(int(n)):", "for name in sorted(state)[:2]:")))
            case "no grad":
                before, self.grad = self.grad, False
                self.block("with tg.no_grad():")
                self.grad = before
            case "view write":
                a = self.operand()
                if a.shape:
                    v = self.name()
                    self.line(f"{v} = {self.moved(a).text}")
                    self.write(f"{v}{self.pick((' *= 0.5', ' += 0.25', '[...] = 0.75'))}", a.kind == "parameter")
                    self.pool.append(a)
            case "backward":
                self.backward()
            case "optimize":
                self.line("if all(p.grad is not None for p in opt.params):" if self.chance(30) else "if True:")
                self.line("    opt.step()")
                if self.chance(50):
                    self.line(f"opt.zero_grad({self.pick(('', 'set_to_none=False'))})")
            case "grads":
                p = self.pick(self.parameters)
                v = self.name()
                if self.chance(50):
                    self.line(f"{v} = {p}.grad if {p}.grad is not None else {p}.detach()")
                    self.pool.append(Value(v, dict(PARAMETERS).get(p, (3,)), "view"))
                else:
                    self.line(f"{p}.grad = {self.pick(('None', f'None if {p}.grad is None else {p}.grad * 0.5'))}")
            case "gradient":
                p, shape = self.pick(PARAMETERS)
                v = self.name()
                create = self.pick(("", ", create_graph=True", ", retain_graph=True"))
                self.line(f"{v}, = tg.autograd.grad(({self.expression().text} * {p}.sum()).sum(), {p}{create})")
                self.pool.append(Value(v, shape, "made"))
            case "impure":
                if self.chance(25):
                    self.line(self.pick(("box.count += 1", "log.append(n)", "if x.sum() > 0: y = y * 2.0", "z = float(x.sum())",
                                         "box.last = n", "scratch = [n, {}]", "log.append(x.sum())",
                                         "x.requires_grad_()", "y = y.detach().requires_grad_()", "W.data *= 0.5")))
            case "number":
                v = self.name()
                self.line(f"{v} = {self.pick(('n * 2', 'box.scale + 1', 'round(n, 1)', 'max(n, 1)', 'len(items)', 'x.shape[-1]'))}")
                a = self.operand()
                self.assign(Value(f"({a.text} * {v})", a.shape, "made"))

    def assign(self, value: Value) -> None:
        v = self.name()
        self.line(f"{v} = {value.text}")
        self.pool.append(Value(v, value.shape, value.kind))

    def fitted(self, value: Value, shape: tuple[int, ...]) -> str:
        """The value, bounded, in a shape."""
        text = f"tg.tanh({value.text})" if self.chance(80) else value.text
        if value.shape != shape:
            text = f"({text}.mean() + {'state[' + repr('w') + ']' if shape == (3,) else 'B'})"
        return f"{text}.detach()" if self.chance(40) else text

    def update(self) -> None:
        """An in-place operation."""
        a = self.operand()
        b = self.expression(1)
        if _broadcast(a.shape, b.shape) != a.shape:
            b = Value("0.5", (), "made")
        forms = ["{} += {}", "{} *= 0.5", "{} -= {}", "{}.copy_({})", "{}.zero_()", "{}.add_({}).mul_(0.5)"]
        forms += ["{}[0] = 0.5", "{}[1:] *= 0.5", "{}[..., 0] = {}.mean()", "{}[...] = {}"] if a.shape else []
        form = self.pick(forms)
        text = form.format(a.text, b.text if b.text != "0.5" or "mean" not in form else "x")
        if a.text.startswith("box.doubled"):
            return
        self.write(text, a.kind == "parameter")
        if a.kind in ("view", "captured"):
            self.pool.append(a)

    def write(self, text: str, of_leaf: bool) -> None:
        """A write; to a leaf that requires grad mostly under no_grad."""
        if self.grad and self.chance(97 if of_leaf else 40):
            self.line("with tg.no_grad():")
            self.line("    " + text)
        else:
            self.line(text)

    def block(self, head: str) -> None:
        self.line(head)
        self.indent += 1
        known = len(self.pool)
        for _ in range(self.draw(st.integers(1, 2))):
            self.statement()
        self.line("pass")
        self.indent -= 1
        if not head.startswith("with"):
            del self.pool[known:]

    def backward(self) -> None:
        v = self.name()
        self.line(f"{v} = ({self.expression().text} * {self.pick(self.parameters)}).sum()")
        options = self.pick(("", "", "", "retain_graph=True", "create_graph=True"))
        self.line(f"{v}.backward({options})")
        self.pool.append(Value(v, (), "made"))
        self.losses.append(v)

    def result(self) -> None:
        a, b = self.pool[-1], self.pick(self.pool)
        self.line("return " + self.pick((
            "{a}", "{a}", "{a} * 2.0", "({a}, {b})", "{{'a': {a}, 'b': [{b} + 1.0, n]}}", "({a} * 1.0, x, W, None)",
            "[{a} + 0.5, box.h, state['w']]", "tg.tanh({a}).sum()", "({a} * 1.0, ({b} * W.sum()).sum(), 'done')",
            "{a}.detach(), {b}.mean()", "None", "Pair({a} * 1.0, {b} * 3.0)")).format(a=a.text, b=b.text))


def _broadcast(a: tuple[int, ...], b: tuple[int, ...]) -> tuple[int, ...] | None:
    try:
        return np.broadcast_shapes(a, b)
    except ValueError:
        return None


ARGUMENTS_X = ("tensor(2, 3, seed={})", "tensor(2, 3, seed={})", "tensor(2, 3, seed={}, requires_grad=True)", "tensor(3, 2, seed={}).T",
               "tensor(4, 3, seed={})", "tensor(2, 3, seed={}, dtype='float32')", "B", "box.w", "tensor(4, 3, seed={})[::2]",
               "(tensor(2, 3, seed={}, requires_grad=True) * 1.0)", "state['h']", "tensor(0, 3, seed={})")
ARGUMENTS_Y = ("tensor(3, seed={})", "tensor(3, seed={})", "tensor(3, seed={}, requires_grad=True)", "x[0]", "W", "tensor(2, 3, seed={})",
               "tensor(1, seed={})", "items[0]", "x", "near_of()", "tensor(seed={})", "box.h")
ARGUMENTS_N = ("1", "2", "3", "0.5", "1.5", "2.5", "1.0", "True", "-0.0", "0.0", "7")
CHANGES = (
    "box.h = tensor(3, seed={})", "state['w'] = tensor(3, seed={})", "items[0] = tensor(3, seed={})", "W = tensor(3, seed={}, requires_grad=True)",
    "box.h += 0.5", "with tg.no_grad(): W *= 0.5", "with tg.no_grad(): box.layers[0].w.copy_(tensor(3, seed={}))", "B[0] = 0.25",
    "box.scale = {} / 8", "box.flag = not box.flag", "box.mode = 'minus' if box.mode == 'plus' else 'plus'", "flags.reverse()", "scale = {} / 4",
    "box.layers[0] = Scale({})", "box.layers.append(Squash())", "box.layers[0].on = not box.layers[0].on", "box.layers.reverse(); box.layers.reverse()",
    "Squash.gain = {} / 8", "state['rate'] = {} / 8", "items.append(tensor(2, 3, seed={}))", "W.grad = None", "W.grad = tensor(3, seed={})",
    "opt.lr = 0.01 * {}", "opt.zero_grad()", "items[0] = box.h", "state['w'] = box.h", "state['h'] = box.w[::1]", "items[0] = items[2][0]",
    "def helper(a, b=None, *, times=2): return a - times", "Box.lean = lambda self, x: x + self.h", "box.w = tensor(2, 3, seed={}, dtype='float32')",
    "tg.manual_seed({})", "B = tensor(2, 3, seed={}, requires_grad=True)", "box.h = tensor(3, seed={}).detach()", "set_near(tensor(3, seed={}))",
    "box.layers[0].w.grad = box.layers[0].w.detach()", "W.grad = box.h.detach().clone()", "box.layers[0].w = W", "state['w'] = W", "box.h.numpy()[0] = 0.125",
    "opt.load_state_dict({{k: v.clone() for k, v in opt.state_dict().items()}})", "box.h = tensor(6, seed={})[::2]", "box.w.requires_grad_(False)",
    "W.grad = box.layers[0].w.grad", "model.train(not model.training)", "box.layers[1] = box.layers[0]", "state['w'] = x[0]",
    "W = box.layers[0].w", "items[0] = W.detach()", "box.h = W", "box.layers[0].w.data = tensor(3, seed={})",
    "model[0] = tg.nn.Linear(3, 4, dtype='float64')", "model[3].bias = None", "model[3].weight.grad = None", "inner = helper",
    "model.load_state_dict({{k: v.clone() * 0.5 for k, v in model.state_dict().items()}})", "model = model.to('float64')",
    "items.reverse()", "near_of().add_(0.5)", "box = __import__('copy').deepcopy(box)", "state['h'] = B", "B = B.T.clone().T", "W.requires_grad_(not W.requires_grad)",
)


@st.composite
def scenarios(draw: Callable[[st.SearchStrategy], Any]) -> Scenario:
    """A program and events: arguments first, then calls, with changes between them."""
    parameters = tuple(name for name, _ in PARAMETERS)
    w = _Writer(draw, parameters)
    for _ in range(draw(st.integers(1, 6))):
        w.statement()
    w.result()
    optimizer = draw(st.sampled_from(("SGD(params, lr=0.1)", "SGD(params, lr=0.1, momentum=0.9)", "Adam(params, lr=0.05)")))
    source = "\n".join((
        PRELUDE, "from collections import namedtuple", "Pair = namedtuple('Pair', 'a b')", "", "", "def make():",
        "    near, near_w = tensor(3, seed=20), tensor(2, 3, seed=21, requires_grad=True)",
        f"    params = [W, box.layers[0].w, near_w, *model.parameters()]\n    opt = tg.optim.{optimizer}", "",
        "    def turn(a):\n        return a * near", "",
        "    def set_near(value):\n        nonlocal near\n        near = value", "",
        "    def near_of():\n        return near", "",
        "    def step(x, y, n=1, idx=None, flag=True):",
        "        nonlocal near, near_w\n        global W, B", *(f"    {line}" for line in w.lines), "",
        "    return step, opt, set_near, near_of", "", "", "step, opt, set_near, near_of = make()", ""))
    return Scenario(source, tuple(_events(draw)))


def _events(draw: Callable[[st.SearchStrategy], Any]) -> list[Event]:
    events = [_arguments(draw, plain=True), _call(draw)]
    for _ in range(draw(st.integers(1, 5))):
        if draw(st.integers(0, 9)) < 4:
            events.append(_arguments(draw, plain=False))
        else:
            change = draw(st.sampled_from(CHANGES))
            events.append(Event("change", change.format(draw(st.integers(30, 50)))))
        events.append(_call(draw))
    return events


def _arguments(draw: Callable[[st.SearchStrategy], Any], plain: bool) -> Event:
    seed = draw(st.integers(50, 60))
    most = 3 if plain else None
    x, y = (draw(st.sampled_from(texts[:most])).format(seed + k) for k, texts in enumerate((ARGUMENTS_X, ARGUMENTS_Y)))
    n = draw(st.sampled_from(ARGUMENTS_N))
    index = draw(st.sampled_from(("[0, 1]", "[1, 1]", "[-1, 0]", "[0, 1]", "[0, 1]", "[0, 9]"))) if not plain else "[0, 1]"
    flag = draw(st.sampled_from(("True", "False")))
    kwargs = draw(st.sampled_from((
        f"dict(n={n}, idx=idx, flag={flag})", f"dict(flag={flag}, idx=idx)", f"dict(idx=idx, n={n})")))
    return Event("args", f"x = {x}\ny = {y}\nidx = tg.tensor({index})\nargs, kwargs = (x, y), {kwargs}")


def _call(draw: Callable[[st.SearchStrategy], Any]) -> Event:
    then = draw(st.sampled_from(("", "", "backward", "second", "write", "keep")))
    return Event("call", times=draw(st.sampled_from((1, 2, 3, 5))), then=then)
