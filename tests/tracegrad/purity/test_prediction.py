"""How far a prediction goes, and what happens beyond."""
from __future__ import annotations

import pytest
from hazards import LIBRARY, program, record
from hazards_of_code import CODE
from hazards_of_values import VALUES
from hazards_refused import REFUSED

import tracegrad as tg
from tracegrad.aborts import Abort
from tracegrad.purity import prediction
from tracegrad.purity.prediction import Prediction, predict

MANY = """
def make(k): return lambda x: x + k
first = make(0)
""" + "".join(f"def g{k}(x): return g{k + 1}(x)\n" for k in range(20)) + """
def g20(x): return x
def f(x): return first(x) if x > 0 else g0(x)
"""


def test_code_that_may_run_is_found_by_names_that_lead_from_one_to_the_next():
    program = record(MANY)
    assert program.reads.refusals == ()
    assert [c.co_name for c in program.seen.codes.values()] == ["f", "<lambda>"]


def test_beyond_its_budget_a_prediction_takes_only_code_that_is_known_to_run(monkeypatch):
    monkeypatch.setattr(prediction, "MOST_CODES", 10)
    assert {refusal.reason for refusal in record(MANY).reads.refusals} == {Abort.UNSEEN_CODE}
    program = record(MANY, rehearsals=1)
    assert program.reads.refusals == () and program.holds()
    program.change("args = (-1.0,)")
    assert not program.holds()


def test_more_objects_than_can_be_walked_are_refused(monkeypatch):
    source = "class C: pass\nxs = [C() for _ in range(100)]\ndef f(x): return len(xs)"
    assert record(source).reads.refusals == ()
    monkeypatch.setattr(prediction, "MOST_OBJECTS", 50)
    assert Abort.HIDDEN_STATE in {refusal.reason for refusal in record(source).reads.refusals}


def test_code_that_no_guard_watches_is_refused():
    program = record("def g(x): return x\ndef h(): return g\ndef f(x): return eval('g')(x) if x else h()")
    assert "g ran, and no guard watches it" in {refusal.detail for refusal in program.reads.refusals}


@pytest.mark.parametrize("callable_source", [
    "def f(x): return x * k",
    "class C:\n    def __call__(self, x): return x * k\nf = C()",
    "class C:\n    def m(self, x): return x * k\nf = C().m",
    "from functools import partial\ndef g(s, x): return s * x * k\nf = partial(g, 1.0)",
    "f = lambda x: x * k",
])
def test_anything_that_can_be_called_can_be_predicted(callable_source):
    program = record(f"k = 2.0\n{callable_source}")
    assert program.reads.refusals == () and program.holds()
    program.change("k = 3.0")
    assert not program.holds()


MODEL = """
optimizer = tg.optim.Adam(tg.nn.Linear(3, 2).parameters())
model = tg.nn.Sequential(tg.nn.Linear(3, 4), tg.nn.Dropout(0.5), tg.nn.Linear(4, 2))
def f(x):
    optimizer.step()
    return model(x), optimizer.state_dict()
"""

LATER_A_VALUE = """
def g(x): return x
g.k = [1]
class D:
    def n(self, x): return (g, x)
class C:
    def m(self, x): return self.d.n(x)
c = C()
c.d = D()
def f(x): return g(x), c.m(x), x.k
"""


def met(found: Prediction) -> list[tuple]:
    """What a prediction found of each object."""
    return [(id(entry.object), [(child.route, id(child.value), child.via) for child in entry.children],
             sorted(entry.names or ())) for entry in found.snapshot if type(entry.object) is not tg.Tensor]


def test_what_no_new_name_reads_need_not_be_taken_apart_again(monkeypatch):
    for source in (MANY, MODEL, LATER_A_VALUE, *(hazard.source for hazard in (*CODE, *VALUES, *REFUSED))):
        space = program(source)
        call = space["f"], space["args"], space["kwargs"], LIBRARY
        found = predict(*call)
        with monkeypatch.context() as patch:
            patch.setattr(prediction._Walk, "_may_have", lambda *of: True)
            whole = predict(*call)
        assert met(found) == met(whole) and found.hides == whole.hides and found.names_met == whole.names_met, source
