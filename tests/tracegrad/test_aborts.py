"""Every way to give up is reachable, says itself with its cure, and leaves the result what the Python gives."""
from __future__ import annotations

import threading
import types
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import stub_cupy

import tracegrad as tg
from codegen import TARGETS, CannotLower, CompileError
from tracegrad import compiling, tracing
from tracegrad.aborts import Abort

X = tg.arange(4, dtype=tg.float32)
counter = [0]


def host_read(x):
    return x * len(x.tolist())


def unknown_call(x):
    print(end="")
    return x


def effect(x):
    counter.append(len(counter))
    return x + 1.0


def unseen_code(x):
    namespace = {}
    exec("def f(x): return x * 2.0", namespace)
    return namespace["f"](x)


def hidden_state(x, numbers=iter(range(1000))):     # noqa: B008 - an iterator that outlives the call is the point
    return x * float(next(numbers))


def unknown_tensor(x):
    LOSS.backward(retain_graph=True)        # what the operations of LOSS saved is in no attribute
    return x * 1.0


def view_write(x):
    half = HALF.sum()
    WHOLE[1:3] += 1.0
    return WHOLE * half


def shared_output(x):
    return x[1:3].requires_grad_()


def result_type(x):
    return object()


def foreign_array(x):
    return x + tg.asarray(np.ones(4, np.float32))


def hook(x):
    y = W * x
    y.register_hook(lambda g: g * 2.0)
    return y.sum()


def history(x):
    with tg.no_grad():
        W.mul_(0.5)
    loss = (W * x).sum()
    loss.backward()
    return loss


def callback(x):
    count = 0

    def look(v):
        nonlocal count
        count += 1

    tg.debug.callback(look, x)
    return x * count


def not_recorded(x):
    FORTRAN.add_(1.0)
    return x * 1.0


def raised(x):
    raise KeyError("mine")


W = tg.ones(4, requires_grad=True)
LOSS = tg.tanh(W * 2.0).sum()
WHOLE = tg.zeros(4)
HALF = WHOLE[0:2]
FORTRAN = tg.zeros(3, 4).T


def call(traced, *x):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return traced(*x)


def test_every_reason_is_in_a_test():
    text = Path(__file__).read_text()
    tested = {name for name in Abort.__members__ if f"Abort.{name}" in text or f'"{name}"' in text}
    assert tested == set(Abort.__members__)


@pytest.mark.parametrize("function, reason", [
    (host_read, Abort.HOST_READ), (unknown_call, Abort.UNKNOWN_CALL), (effect, Abort.EFFECT),
    (unseen_code, Abort.UNSEEN_CODE), (hidden_state, Abort.HIDDEN_STATE),
    (unknown_tensor, Abort.UNKNOWN_TENSOR), (shared_output, Abort.SHARED_OUTPUT),
    (result_type, Abort.RESULT_TYPE), (foreign_array, Abort.FOREIGN_ARRAY), (hook, Abort.HOOK),
    (history, Abort.HISTORY), (callback, Abort.CALLBACK), (not_recorded, Abort.NOT_RECORDED),
], ids=lambda p: getattr(p, "__name__", ""))
def test_a_reason_is_said_with_its_cure(function, reason):
    traced = tg.trace(function)
    with pytest.warns(tg.NotReplayed):
        traced(X)
    assert traced.stats.aborts[reason.name] >= 1, traced.explain()
    text = str(traced.explain())
    assert reason.sentence in text and reason.cure in text
    with pytest.raises(tg.NotCompiled):
        tg.trace(function, strict=True)(X)


def test_what_the_target_declines_runs_eagerly(monkeypatch):
    def declines(graph, aliases, cache):
        raise CannotLower("nothing is compiled here")

    monkeypatch.setitem(TARGETS, "declining", replace(TARGETS["llvm_cpu"], name="declining", compile=declines))
    traced = tg.trace(lambda x: x * 2.0, target="declining")
    with pytest.warns(tg.NotReplayed, match="nothing is compiled here"):
        assert traced(X).tolist() == (X * 2.0).tolist()
    assert traced.stats.aborts == {Abort.NOT_LOWERED.name: 1}


def test_an_exception_is_raised_and_noted():
    traced = tg.trace(raised)
    with pytest.raises(KeyError, match="mine"):
        traced(X)
    assert traced.stats.aborts["RAISED"] == 1


def test_a_write_through_a_view_that_the_run_did_not_make():
    traced = tg.trace(view_write)
    for _ in range(3):
        expected = np.asarray(WHOLE).copy()
        half = expected[:2].sum()
        expected[1:3] += 1.0
        np.testing.assert_array_equal(np.asarray(call(traced, X)), expected * half)
    assert traced.stats.aborts["VIEW_WRITE"] >= 1 and traced.stats.replays == 0


def test_arrays_as_arguments():
    traced = tg.trace(lambda a, b: a * b)
    np.testing.assert_array_equal(call(traced, np.ones(3), tg.ones(3)).numpy(), np.ones(3))
    assert traced.stats.aborts["TENSOR_ARGUMENT"] == 1
    np.testing.assert_array_equal(call(traced, np.ones(3, ">f8"), np.ones(3)), np.ones(3))
    assert traced.stats.aborts["ARRAY_ARGUMENT"] == 1
    with pytest.raises(ValueError) as caught:
        call(traced, np.ones(3, ">f8"), np.ones(4))
    assert caught.value.__context__ is None         # nothing of ours


def test_too_many_paths():
    traced = tg.trace(lambda x: x * len(x), limits=tg.Limits(sizes=4))         # len: each path is for one size
    for n in (2, 3, 4, 4, 5, 5):
        assert call(traced, tg.ones(n)).shape == (n,)
    assert traced.stats.aborts["TOO_MANY_PATHS"] == 2 and traced.stats.recordings == 2
    aborted, = traced.explain().aborts
    assert "2 paths, one of them since test_aborts.py:" in str(aborted)
    assert "args[0] had shape (2,), now (3,)" in str(aborted)


def test_operands_that_are_refused():
    def chosen(x, k):
        try:
            return tg.take(x, k, axis=0) * 2.0
        except IndexError:
            return x

    traced = tg.trace(chosen)
    traced(X, tg.tensor([1])), traced(X, tg.tensor([2]))
    with pytest.warns(tg.NotReplayed, match="refused its operands"):
        assert traced(X, tg.tensor([9])) is X
    assert traced.stats.aborts == {Abort.REFUSED.name: 1} and traced.stats.replays == 1
    raising = tg.trace(lambda x, k: tg.take(x, k, axis=0))
    raising(X, tg.tensor([1]))
    with pytest.raises(IndexError):
        raising(X, tg.tensor([9]))
    assert not raising.stats.aborts


def test_a_path_that_an_audit_finds_wrong():
    traced = tg.trace(lambda x: x * 2.0, audit=1)
    traced(X)
    root, = traced._tree.roots
    root.executable = replace(root.executable, run=lambda arrays: -1)     # it leaves the outputs as they are
    root.__post_init__()
    with pytest.warns(tg.AuditFailed):
        assert traced(X).tolist() == (X * 2.0).tolist()
    assert call(traced, X).tolist() == (X * 2.0).tolist()
    assert traced.stats.aborts["QUARANTINED"] == 2 and Abort.QUARANTINED.cure in str(traced.explain())


def test_a_failing_compiler_is_a_fallback(monkeypatch):
    def fails(*args, **kwargs):
        raise CompileError("made to fail")

    monkeypatch.setattr(compiling, "compile_program", fails)
    traced = tg.trace(lambda x: x * 2.0)
    np.testing.assert_array_equal(np.asarray(call(traced, X)), np.asarray(X) * 2.0)
    assert traced.stats.aborts["COMPILER_FAILED"] == 1


def test_a_python_that_cannot_be_observed(monkeypatch):
    monkeypatch.setattr(tracing, "supported", lambda: "made to be old")
    traced = tg.trace(lambda x: x * 2.0)
    np.testing.assert_array_equal(np.asarray(call(traced, X)), np.asarray(X) * 2.0)
    assert traced.stats.aborts["PYTHON_VERSION"] == 1


def test_the_line_is_the_users_where_python_itself_does_what_cannot_be_replayed() -> None:
    @tg.trace
    def f(x: tg.Tensor) -> tg.Tensor:
        return x * threading.Semaphore(2)._value

    with pytest.warns(tg.Followed) as warned:
        for _ in range(4):
            f(tg.ones(3))
    line = f.eager.__code__.co_firstlineno + 2
    assert str(warned[0].message).startswith(f"f: test_aborts.py:{line}: "), warned[0].message


def test_a_change_is_named_with_the_line_that_makes_it() -> None:
    n, bag = 0, types.SimpleNamespace(steps=0)

    def by_closure(x: tg.Tensor) -> tg.Tensor:
        nonlocal n
        n += 1
        return x * n

    def by_attribute(x: tg.Tensor) -> tg.Tensor:
        bag.steps += 1
        return x * bag.steps

    for function, line, what in ((by_closure, 2, "the variable n"), (by_attribute, 1, ".steps of a SimpleNamespace")):
        traced, line = tg.trace(function), line + function.__code__.co_firstlineno
        with pytest.warns(tg.Followed, match=f"test_aborts.py:{line}: .*changed {what}"):
            for _ in range(3):
                traced(X)


def test_a_target_with_nothing_to_run_it(monkeypatch):
    monkeypatch.setattr("codegen.triton_gpu.target.has_triton", lambda: False)
    traced = tg.trace(lambda x: x * 2.0, target="triton_gpu")
    with pytest.warns(tg.NotReplayed, match=r"pip install 'tracegrad\[gpu\]'"):
        assert traced(X).tolist() == (X * 2.0).tolist()
    assert traced.stats.aborts == {Abort.NO_DEVICE.name: 1}


def test_tensors_of_a_device_that_is_not_compiled_for():
    with stub_cupy.installed():
        f = tg.trace(lambda x: (x * 2).sum(), target="llvm_cpu")
        assert float(call(f, tg.ones(3, device="cuda"))) == 6.0
        assert "tensors on cuda:0, and target='llvm_cpu' (Abort.DEVICE)" in str(f.explain())
        g = tg.trace(lambda x: x.cpu().sum())
        assert float(call(g, tg.ones(3, device="cuda"))) == 3.0
        assert "f32[3] from cuda:0 to cpu (Abort.DEVICE)" in str(g.explain())
