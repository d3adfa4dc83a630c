"""f.explain(): what a person reads is there, with the user's lines, and long things are short."""
from __future__ import annotations

import warnings
from types import SimpleNamespace

import pytest

import tracegrad as tg


def line_of(function, words):
    """The line of the first source line of a function that holds some words, as an explanation writes it."""
    import inspect

    lines, first = inspect.getsourcelines(function)
    return f"test_explanations.py:{first + next(k for k, line in enumerate(lines) if words in line)}"


def newton(a, tolerance=1e-6):
    x = a
    while abs(x * x - a) > tolerance:
        x = 0.5 * (x + a / x)
    return x


def traced_newton(*values):
    traced = tg.trace(newton)
    for value in values:
        traced(tg.tensor(value, dtype=tg.float64))
    return traced


MODEL = SimpleNamespace(w=tg.ones(4, 3), rate=0.5, layers=[tg.ones(3, 3) for _ in range(3)])
SCALE = 2.0


def step(x, flag=True):
    y = x @ MODEL.w
    for layer in MODEL.layers:
        y = tg.tanh(y @ layer)
    if flag:
        y = y * SCALE
    return y.mean() * MODEL.rate


def test_what_is_assumed_is_said_with_the_line_that_reads_it():
    traced = tg.trace(step)
    traced(tg.ones(5, 4))
    text = str(traced.explain())
    for words, sentence in (("x @ MODEL.w", "args[0]: f32[5,4]"), ("x @ MODEL.w", "MODEL.w: f32[4,3]"),
                            ("in MODEL.layers", "MODEL.layers: a list of length 3"),
                            ("in MODEL.layers", "MODEL.layers[2]: f32[3,3]"),
                            ("y * SCALE", "SCALE: 2.0"), ("MODEL.rate", "MODEL.rate: 0.5")):
        assert f"{line_of(step, words)}  {sentence}\n" in text, text
    assert "has the code" not in text and "has the code" in str(traced.explain(verbose=True))
    guard = next(g for g in traced.explain().guards if g.route == "MODEL.rate")
    assert (guard.condition, guard.expected, guard.line) == ("equals 0.5", 0.5, line_of(step, "MODEL.rate"))


def test_why_a_call_was_recorded_again():
    traced = tg.trace(step)
    traced(tg.ones(5, 4))
    traced(tg.ones(6, 4))
    because = f"recorded again because {line_of(step, 'x @')}: args[0] had shape (5, 4), now (6, 4)"
    assert because in str(traced.explain())
    MODEL.rate = 0.25
    traced(tg.ones(6, 4))
    MODEL.rate = 0.5
    because = f"recorded again because {line_of(step, 'MODEL.rate')}: MODEL.rate was 0.5, now 0.25"
    assert because in str(traced.explain())


def test_a_grad_that_was_not_there():
    w = tg.ones(3, requires_grad=True)

    def learn():
        loss = (w * w).sum()
        loss.backward()
        return loss

    traced = tg.trace(learn)
    traced(), traced()
    assert f"recorded again because {line_of(learn, 'w * w')}: w.grad was None, now f32[3]" in str(traced.explain())
    traced()
    w.grad = None
    traced()
    assert traced.stats.replays == 2, traced.explain()


def test_the_ways_of_a_loop_are_one_row_where_they_are_alike():
    traced = traced_newton(2.0, 3.0, 100.0, 2.0, 9.0, 1e6, 5.0, 7.0)
    explanation = traced.explain()
    text = str(explanation)
    asked = f"{line_of(newton, 'while')}: while abs(x * x - a) > tolerance"
    assert asked in text and "times, at first with" in text and text.count(asked + "\n") <= 5
    assert len(text.splitlines()) < 90 and "      13 times:\n" in text       # in steps of the native call too
    assert sum(trace.replays for trace in explanation.traces) == traced.stats.replays > 0
    assert [read.value for read in explanation.traces[0].reads][-1] == "False"
    left = [e for e in explanation.exits if e.calls]
    assert sum(e.calls for e in left) == traced.stats.side_exits and left[0].line == line_of(newton, "while")


def test_integers_and_floats_that_were_read():
    def pick(x, n, t):
        k = int(n)
        scale = float(t)
        return x * float(k) * scale

    traced = tg.trace(pick)
    for k in (1, 2, 2, 3):
        traced(tg.ones(3), tg.tensor(k), tg.tensor(0.25))
    text = str(traced.explain())
    assert "k = int(n)\n" in text and "another value: not known" in text and "0.25" in text
    assert {read.value for trace in traced.explain().traces for read in trace.reads} == {"1", "2", "3", "0.25"}


def test_what_the_native_call_does_and_moves():
    traced = tg.trace(step)
    traced(tg.ones(5, 4))
    explanation = traced.explain()
    assert "matmul 5x4 @ 4x3 of f32" in [k.summary for k in explanation.kernels]
    moved = sum(k.bytes_moved for k in explanation.kernels)
    assert moved >= (20 + 12 + 27) * 4
    assert f"{len(explanation.kernels)} steps, " in str(explanation)


def test_a_long_graph_is_shortened_unless_all_is_asked_for():
    def long(x):
        for k in range(60):
            x = x + tg.sin(x) * float(k)
        return x

    traced = tg.trace(long)
    traced(tg.ones(3))
    short, whole = str(traced.explain()), str(traced.explain(verbose=True))
    assert "more (explain(verbose=True))" in short and "%100 = " not in short and "%100 = " in whole


def test_an_abort_is_said_as_strict_says_it():
    def prints(x):
        print(end="")
        return x * 2.0

    with pytest.raises(tg.NotCompiled) as raised:
        tg.trace(prints, strict=True)(tg.ones(3))
    traced = tg.trace(prints)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        traced(tg.ones(3))
    assert str(raised.value) in str(traced.explain()).splitlines()
    assert traced.explain().aborts[0] == raised.value.aborted and line_of(prints, "print(") in str(raised.value)


def test_an_explanation_is_a_snapshot():
    traced = traced_newton(2.0)
    explanation = traced.explain()
    before = str(explanation)
    traced(tg.tensor(100.0, dtype=tg.float64)), traced(tg.tensor(2.0, dtype=tg.float64))
    traced.reset()
    assert str(explanation) == before and str(traced.explain()) != before
    assert "not been called" in str(traced.explain())


def test_steps_of_a_path_are_those_on_its_way_also_where_a_loop_is_cut_into_turns():
    w = tg.ones(8, 8)

    def rnn(xs):
        h = tg.zeros(2, 8)
        for x in xs:
            h = tg.tanh(x @ w + h @ w)
        if h.sum() > 0:
            return h * 2.0
        return h

    traced = tg.trace(rnn)
    for length, sign in ((12, 1.0), (12, -1.0), (12, 1.0)):
        traced([tg.full((2, 8), sign) for _ in range(length)])
    root, = traced.explain().roots
    for trace in root.traces:
        matmuls = [step for step in root.steps_of(trace) if step.summary.startswith("matmul")]
        assert len(matmuls) == sum(node.op == "matmul" for node in trace.graph.nodes), traced.explain()
    assert " times:\n" in str(traced.explain())


def test_a_function_that_is_followed_says_so():
    def prints(x):
        print(end="")
        return x * 2.0

    traced = tg.trace(prints)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(3):
            traced(tg.ones(3))
    assert ("are followed" in str(traced.explain())) == (traced.stats.follows > 0)
