"""Tensors are inputs: found again by their routes, never compared by value, guarded in all a graph depends on."""
from __future__ import annotations

import pytest
from hazards import record
from hazards_of_tensors import MLP

import tracegrad as tg
from tracegrad.aborts import Abort
from tracegrad.purity.effects import Kind


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
    program.change("b = a.detach()")
    assert reads.guards.check(program.args, {}) is None
    program.change("b = a[0:4]")
    assert reads.guards.check(program.args, {}) is None
    program.change("b = tg.ones(8)[0:4]")
    assert reads.guards.check(program.args, {}) is None       # a view where there was none: not known to be apart
    assert program.reads.guards.check(program.args, {}) is not None     # where nothing is written it does not matter


def test_views_of_one_array_stay_views_of_one_array():
    program = record("base = tg.zeros(8)\nw = tg.ones(8)\na, b = base[0:4], base[4:8]\ndef f(x): return a, b, w")
    reads = program.again(written=("w",))
    assert reads.guards.check(program.args, {}) is not None
    program.change("a = tg.zeros(8)[0:4]")
    assert reads.guards.check(program.args, {}) is None
    program.change("a = base[4:8]")
    assert reads.guards.check(program.args, {}) is not None
    program.change("a = w[0:4]")
    assert reads.guards.check(program.args, {}) is None
    program.change("b = w[4:8]")
    assert reads.guards.check(program.args, {}) is None


def test_memory_that_numpy_does_not_own_is_compared_by_address():
    program = record("""
        memory = bytearray(64)
        a, w = tg.Tensor(np.frombuffer(memory, np.float32)[:4]), tg.ones(4)
        def f(x): return a + w
        """)
    reads = program.again(written=("w",))
    assert reads.guards.check(program.args, {}) is not None
    program.change("a = tg.Tensor(np.frombuffer(w.array.data, np.float32))")
    assert reads.guards.check(program.args, {}) is None
    assert Abort.VIEW_WRITE in {refusal.reason for refusal in program.again(written=("w",)).refusals}


# ---- state that a run writes -----------------------------------------------------------------------------------------

HOLDER = "class C: pass\nc = C(); c.h = tg.zeros(2)\n"
STATE_WRITES = {
    "an attribute": (HOLDER + "def f(x):\n    c.h = c.h + x\n    return c.h", "c.h"),
    "a slot": ("""
        class C: __slots__ = ('h',)
        c = C(); c.h = tg.zeros(2)
        def f(x):
            c.h = c.h + x
            return c.h
        """, "c.h"),
    "a list": ("s = [tg.zeros(2)]\ndef f(x):\n    s[0] = s[0] + x\n    return s[0]", "s[0]"),
    "a dict": ("s = {'h': tg.zeros(2)}\ndef f(x):\n    s['h'] = s['h'] + x\n    return s['h']", "s['h']"),
    "a global": ("h = tg.zeros(2)\ndef f(x):\n    global h\n    h = h + x\n    return h", "h"),
    "a cell": ("""
        def make():
            h = tg.zeros(2)
            def f(x):
                nonlocal h
                h = h + x
                return h
            return f
        f = make()
        """, "h"),
    "an argument's attribute": (HOLDER + "args = (c,)\ndef f(c):\n    c.h = c.h + 2.0\n    return c.h", "args[0].h"),
    "an attribute of an attribute": (
        HOLDER + "c.d = C(); c.d.h = tg.zeros(2)\ndef f(x):\n    c.d.h = c.d.h + x\n    return c.d.h", "c.d.h"),
    "through setattr": (HOLDER + "def f(x):\n    setattr(c, 'h', c.h + x)\n    return c.h", "c.h"),
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
    program = record(HOLDER + "args = (c,)\ndef f(c):\n    c.h = c.h + 2.0\n    return c.h")
    slot = program.reads.slot(program.changes[0])
    other = type(program.namespace["c"])()
    other.h = tg.zeros(2)
    assert slot is not None
    slot.assign((other,), {}, tg.ones(2))
    assert other.h.tolist() == [1, 1] and program.namespace["c"].h.tolist() == [2, 2]


def test_guards_see_what_was_there_before_the_run():
    program = record("h = tg.zeros(2)\ndef f(x):\n    global h\n    h = tg.zeros(h.shape[0] + 1)\n    return x")
    assert program.reads.refusals == () and not program.holds()
    program.change("h = tg.ones(2)")
    assert program.holds()


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


# ---- grads, requires_grad, modes -------------------------------------------------------------------------------------

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


# ---- numbers that are inputs -----------------------------------------------------------------------------------------

def test_of_a_lifted_number_only_the_type_is_guarded():
    source = "def f(x, lr, *, decay): return x * lr * decay\nargs = (tg.ones(2), 0.1)\nkwargs = {'decay': 0.5}"
    program = record(source, lifted=("args[1]", "kwargs['decay']"))
    x = program.args[0]
    assert program.reads.guards.check((x, 0.2), {"decay": 0.25}) == (x,)
    assert program.reads.guards.check((x, 2), {"decay": 0.25}) is None
    assert program.reads.guards.check((x, 0.2), {"decay": None}) is None
    assert program.reads.guards.explain((x, 2), {"decay": 0.25}) == ("args[1]", "has type float")


def test_a_run_that_changes_the_default_dtype_is_refused():
    before = tg.get_default_dtype()
    try:
        program = record("def f(x):\n    tg.set_default_dtype(tg.float64)\n    return x")
    finally:
        tg.set_default_dtype(before)
    assert [refusal.reason for refusal in program.reads.refusals] == [Abort.EFFECT]
