"""Tensors are inputs: found again by their routes, never compared by value, guarded in all a graph depends on."""
from __future__ import annotations

import pytest
from hazards import Hazard, record

import tracegrad as tg
from tracegrad.aborts import Abort
from tracegrad.purity.effects import Kind

MLP = """
class Linear:
    def __init__(self, n, m): self.w, self.b = tg.ones(n, m), tg.zeros(m)
    def __call__(self, x): return x @ self.w + self.b
class Net:
    def __init__(self): self.layers = [Linear(3, 4), Linear(4, 2)]
    def __call__(self, x):
        for layer in self.layers: x = tg.tanh(layer(x))
        return x
net = Net()
def f(x): return net(x)
args = (tg.ones(2, 3),)
"""

HAZARDS = (
    Hazard("captured weights", MLP,
           ("net.layers[0].w = tg.ones(3, 5); net.layers[1].w = tg.ones(5, 2); net.layers[0].b = tg.zeros(5)",
            "net.layers.append(Linear(2, 2))", "net.layers.reverse(); args = (tg.ones(2, 4),); net.layers[0].w = tg.ones(4, 4) * 0",
            "Linear.__call__ = lambda s, x: x", "net.layers[0].w = 1.0", "net.layers[1].w.requires_grad_(True)",
            "net.layers[1].w = tg.ones(4, 2, dtype=tg.float64)", "tg_tanh, tg.tanh = tg.tanh, tg.exp"),
           ("net.layers[0].w = tg.zeros(3, 4) + 1", "net.layers[1].w = tg.ones(4, 2)", "args = (tg.ones(2, 3),)")),
    Hazard("an argument", "def f(x): return x * 2\nargs = (tg.ones(2, 3),)",
           ("args = (tg.ones(3, 2),)", "args = (tg.ones(2, 3, dtype=tg.float64),)", "args = (2.0,)",
            "args = (tg.ones(2, 3, requires_grad=True),)", "args = (tg.ones(3),)"),
           ("args = (tg.ones(2, 3),)",)),
    Hazard("shape of a Tensor in Python", "def f(x): return x * x.shape[0]\nargs = (tg.ones(2),)", ("args = (tg.ones(3),)",)),
    Hazard("a dict of Tensors", "p = {'w': tg.ones(2), 'b': tg.zeros(2)}\ndef f(x): return x * p['w'] + p['b']\nargs = (tg.ones(2),)",
           ("p['b'] = 5.0", "p = {'w': tg.ones(2), 'b': tg.ones(1, 2)}"), ("p['w'] = tg.ones(2)",)),
    Hazard("a Tensor with a history", "w = tg.ones(2, requires_grad=True)\nargs = (w * 1,)\ndef f(x): return x * 2",
           ("args = (tg.ones(2, requires_grad=True),)", "args = (tg.ones(2),)"), ("args = (w * 1,)",)),
    Hazard("a Tensor that has an alias", "a, b = tg.ones(2), tg.ones(2)\ndef f(x): return a is b", ("b = a",)),
    Hazard("a Tensor with two names", "a = b = tg.ones(2)\ndef f(x): return a is b", ("b = tg.ones(2)",)),
    Hazard("a list where None may be", "bias = None\ndef f(x): return x if bias is None else x + bias\nargs = (tg.ones(2),)",
           ("bias = tg.ones(2)",)),
    Hazard("a function of the library", "def f(x): return tg.relu(x)\nargs = (tg.ones(2) * -1,)\nold = tg.relu", ("tg.relu = tg.exp",)),
    Hazard("a method of Tensor", "def f(x): return x.exp()\nargs = (tg.ones(2),)", ("tg.Tensor.exp = lambda s: s", )),
)


@pytest.fixture(autouse=True)
def restore():
    """Undo what programs patch."""
    relu, tanh, exp = tg.relu, tg.tanh, tg.Tensor.exp
    yield
    tg.relu, tg.tanh, tg.Tensor.exp = relu, tanh, exp


@pytest.mark.parametrize("hazard", HAZARDS, ids=lambda h: h.name)
def test_the_guards_hold_while_nothing_changes(hazard):
    program = record(hazard.source)
    assert program.reads.refusals == ()
    assert program.changes == []
    assert program.holds()


CHANGES = [(h, c) for h in HAZARDS for c in h.changes]


@pytest.mark.parametrize(("hazard", "change"), CHANGES, ids=[f"{h.name}: {c}" for h, c in CHANGES])
def test_a_change_is_seen(hazard, change):
    program = record(hazard.source)
    program.change(change)
    assert not program.holds()


HARMLESS = [(h, c) for h in HAZARDS for c in h.harmless]


@pytest.mark.parametrize(("hazard", "change"), HARMLESS, ids=[f"{h.name}: {c}" for h, c in HARMLESS])
def test_another_tensor_of_the_same_kind_is_taken_in_its_place(hazard, change):
    program = record(hazard.source)
    program.change(change)
    assert program.holds(), program.reads.guards.explain(program.args, program.kwargs)


def test_leaves_are_read_again_through_their_routes():
    program = record(MLP)
    net, x = program.namespace["net"], program.args[0]
    assert program.reads.guards.sources == (
        "net.layers[0].w", "net.layers[0].b", "net.layers[1].w", "net.layers[1].b", "args[0]")
    first, second = net.layers
    assert program.reads.tensors == (first.w, first.b, second.w, second.b, x)
    second.w = tg.zeros(4, 2)
    other = tg.ones(2, 3)
    assert program.reads.guards.check((other,), {}) == (first.w, first.b, second.w, second.b, other)


def test_values_of_tensors_are_not_compared():
    program = record("w = tg.ones(2)\ndef f(x): return x * w\nargs = (tg.ones(2),)")
    program.namespace["w"].fill_(5.0)
    assert program.holds()


def test_memory_that_a_written_tensor_shares_is_guarded():
    program = record("a, b = tg.ones(4), tg.ones(4)\ndef f(x): return a + b")
    reads = program.again(written=("a",))
    assert reads.guards.check(program.args, {}) is not None
    program.change("b = a[0:4]")
    assert reads.guards.check(program.args, {}) is None
    program.change("b = tg.ones(8)[0:4]")
    assert reads.guards.check(program.args, {}) is None       # a view where there was none: not known to be apart
    assert program.reads.guards.check(program.args, {}) is not None     # where nothing is written it does not matter


def test_views_of_one_array_stay_views_of_one_array():
    program = record("base = tg.zeros(8)\nw = tg.ones(4)\na, b = base[0:4], base[4:8]\ndef f(x): return a + b + w")
    reads = program.again(written=("w",))
    assert reads.guards.check(program.args, {}) is not None
    program.change("a = tg.zeros(8)[0:4]")
    assert reads.guards.check(program.args, {}) is None
    program.change("a = base[4:8]")
    assert reads.guards.check(program.args, {}) is not None
    program.change("a = w[0:4]")
    assert reads.guards.check(program.args, {}) is None


def test_memory_that_numpy_does_not_own_is_compared_by_address():
    program = record("""
        memory = bytearray(64)
        a, w = tg.asarray(np.frombuffer(memory, np.float32)[:4]), tg.ones(4)
        def f(x): return a + w
        """)
    reads = program.again(written=("w",))
    assert reads.guards.check(program.args, {}) is not None
    program.change("w = tg.asarray(np.frombuffer(memory, np.float32)[:4])")
    assert reads.guards.check(program.args, {}) is None


# ---- state that a run writes -------------------------------------------------------------------------------------------

STATE_WRITES = {
    "an attribute": ("class C: pass\nc = C(); c.h = tg.zeros(2)\ndef f(x):\n    c.h = c.h + x\n    return c.h", "c.h"),
    "a slot": ("class C: __slots__ = ('h',)\nc = C(); c.h = tg.zeros(2)\ndef f(x):\n    c.h = c.h + x\n    return c.h", "c.h"),
    "a list": ("s = [tg.zeros(2)]\ndef f(x):\n    s[0] = s[0] + x\n    return s[0]", "s[0]"),
    "a dict": ("s = {'h': tg.zeros(2)}\ndef f(x):\n    s['h'] = s['h'] + x\n    return s['h']", "s['h']"),
    "a global": ("h = tg.zeros(2)\ndef f(x):\n    global h\n    h = h + x\n    return h", "h"),
    "a cell": ("def make():\n    h = tg.zeros(2)\n    def f(x):\n        nonlocal h\n        h = h + x\n        return h\n    return f\nf = make()", "h"),
    "an argument's attribute": ("class C: pass\nc = C(); c.h = tg.zeros(2)\nargs = (c,)\ndef f(c):\n    c.h = c.h + 2.0\n    return c.h", "args[0].h"),
    "an attribute of an attribute": ("class C: pass\nc = C(); c.d = C(); c.d.h = tg.zeros(2)\ndef f(x):\n    c.d.h = c.d.h + x\n    return c.d.h", "c.d.h"),
    "through setattr": ("class C: pass\nc = C(); c.h = tg.zeros(2)\ndef f(x):\n    setattr(c, 'h', c.h + x)\n    return c.h", "c.h"),
}


@pytest.mark.parametrize("name", STATE_WRITES)
def test_a_replaced_tensor_is_written_where_the_run_wrote_it(name):
    source, route = STATE_WRITES[name]
    program = record(source)
    assert program.reads.refusals == ()
    (change,) = program.changes
    assert change.kind is Kind.SLOT
    slot = program.reads.slot(change)
    assert slot is not None and slot.text == route
    assert slot.read(program.args, program.kwargs) is change.after is program.seen.result
    assert program.holds()
    new = tg.ones(2) * 7
    slot.assign(program.args, program.kwargs, new)
    assert slot.read(program.args, program.kwargs) is new
    assert program.run() == repr(new + 2.0)


def test_the_owner_of_a_written_slot_is_found_anew():
    program = record("class C: pass\nc = C(); c.h = tg.zeros(2)\nargs = (c,)\ndef f(c):\n    c.h = c.h + 2.0\n    return c.h")
    slot = program.reads.slot(program.changes[0])
    other = type(program.namespace["c"])()
    other.h = tg.zeros(2)
    assert slot is not None
    slot.assign((other,), {}, tg.ones(2))
    assert other.h.tolist() == [1, 1] and program.namespace["c"].h.tolist() == [2, 2]


@pytest.mark.parametrize("source", [
    "class C: h = tg.zeros(2)\ndef f(x):\n    C.h = C.h + x\n    return x",
    "h = None\ndef f(x):\n    global h\n    h = tg.zeros(2)\n    return x",
    "h = tg.zeros(2)\ndef f(x):\n    global h\n    h = None\n    return x",
    "s = [tg.zeros(2)]\ndef f(x):\n    s.append(tg.zeros(2))\n    return x",
    "s = {tg.float32: tg.zeros(2)}\ndef f(x):\n    s[tg.float32] = tg.ones(2)\n    return x",
])
def test_other_changes_of_tensors_are_refused(source):
    program = record(source)
    assert Abort.EFFECT in {refusal.reason for refusal in program.reads.refusals}


# ---- grads, requires_grad, modes ---------------------------------------------------------------------------------------

def test_a_grad_that_changed_is_an_effect_of_its_own_kind():
    program = record("w = tg.ones(2, requires_grad=True)\ndef f(x): (w * x).sum().backward()")
    (change,) = program.changes
    assert change.kind is Kind.GRAD and change.owner is program.namespace["w"]
    assert change.before is None and change.after is program.namespace["w"].grad
    assert program.reads.refusals == ()


def test_grads_that_were_read_are_leaves():
    program = record("w = tg.ones(2, requires_grad=True)\ndef f(x): return w.grad")
    w = program.namespace["w"]
    assert program.again().guards.sources == ("w",)
    reads = program.again(grads_read=("w",))
    assert reads.guards.check((2.0,), {}) == (w,)
    w.grad = tg.ones(2)
    assert reads.guards.check((2.0,), {}) is None
    reads = program.again(grads_read=("w",))
    assert reads.guards.sources == ("w", "w.grad")
    assert reads.guards.check((2.0,), {}) == (w, w.grad)


def test_a_run_that_changes_requires_grad_is_refused():
    program = record("w = tg.ones(2)\ndef f(x):\n    w.requires_grad_(not w.requires_grad)\n    return x")
    assert [refusal.reason for refusal in program.reads.refusals] == [Abort.EFFECT]


def test_guards_tell_of_a_tensor_as_it_was_before_the_run():
    program = record("w = tg.ones(2)\ndef f(x):\n    w.requires_grad_(True)\n    return x")
    assert not program.holds()


def test_a_hook_that_appears_is_seen():
    program = record("w = tg.ones(2, requires_grad=True)\ndef f(x): return w * x")
    assert program.holds()
    program.namespace["w"].register_hook(lambda g: g * 2)
    assert not program.holds()


def test_the_grad_mode_is_a_guard():
    program = record("w = tg.ones(2, requires_grad=True)\ndef f(x): return w * x")
    with tg.no_grad():
        assert not program.holds()
    assert program.holds()


def test_a_run_that_leaves_the_grad_mode_changed_is_refused():
    try:
        program = record("def f(x):\n    tg.no_grad().__enter__()\n    return x")
    finally:
        tg.enable_grad().__enter__()
    assert Abort.EFFECT in {refusal.reason for refusal in program.reads.refusals}


# ---- numbers that are inputs -------------------------------------------------------------------------------------------

def test_of_a_lifted_number_only_the_type_is_guarded():
    program = record("def f(x, lr, *, decay): return x * lr * decay\nargs = (tg.ones(2), 0.1)\nkwargs = {'decay': 0.5}",
                     lifted=("args[1]", "kwargs['decay']"))
    x = program.args[0]
    assert program.reads.guards.check((x, 0.2), {"decay": 0.25}) == (x,)
    assert program.reads.guards.check((x, 2), {"decay": 0.25}) is None
    assert program.reads.guards.check((x, 0.2), {"decay": None}) is None
    assert program.reads.guards.explain((x, 2), {"decay": 0.25}) == ("args[1]", "has type float")
