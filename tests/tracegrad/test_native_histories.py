"""Histories that the native entry makes are what a replay by Python would make, and keep values as they were."""
from __future__ import annotations

import gc
import subprocess
import sys
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tracegrad as tg
from tracegrad.dispatch import Node
from tracegrad.route_calls import RouteCall, RouteNode
from tracegrad.tensors import Saved, Tensor


def tensor(*shape: int, seed: int = 0, requires_grad: bool = True) -> Tensor:
    return tg.tensor(np.random.default_rng(seed).random(shape), requires_grad=requires_grad)


def forward(x: Tensor, w: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return (x * w).tanh().sum(), (w * v).exp(), x * 2.0


def known(*args: Any) -> Any:
    """`forward`, traced, once the native entry has it."""
    traced = tg.trace(forward)
    for _ in range(3):
        traced(*args)
    assert traced._tree.roots[0].native is not None
    return traced


def slots(o: Any) -> dict[str, Any]:
    classes = (Node, RouteNode) if isinstance(o, RouteNode) else (type(o),)
    return {name: getattr(o, name) for cls in classes for name in cls.__slots__ if name != "__weakref__"}


def test_native_histories_are_those_of_python() -> None:
    args = tensor(3, requires_grad=False), tensor(3, seed=1), tensor(3, seed=2) * 2.0
    traced = known(*args)
    (root,) = traced._tree.roots
    native, python = traced(*args), root.replay(root.match(args, {}), args, {})[1]
    assert traced(*args)[1].grad_fn.sequence > native[1].grad_fn.sequence > native[0].grad_fn.sequence
    for a, b in zip(native, python, strict=True):
        assert (a.requires_grad, a.is_leaf, type(a.grad_fn)) == (b.requires_grad, b.is_leaf, type(b.grad_fn))
        if a.grad_fn is None:
            continue
        of_node, as_made = slots(a.grad_fn), slots(b.grad_fn)
        call, expected = slots(of_node.pop("call")), slots(as_made.pop("call"))
        assert of_node.pop("sequence") < as_made.pop("sequence")
        assert repr(a.grad_fn) == repr(b.grad_fn)
        for found, other in ((of_node, as_made), (call, expected)):
            assert found.keys() == other.keys()
            for name in found.keys() - {"saved"}:
                assert type(found[name]) is type(other[name]), name
                assert found[name] == other[name] or name == "inputs", name
        assert all(x is y for x, y in zip(call["inputs"], expected["inputs"], strict=True) if type(x) is Saved)
        assert all(map(np.array_equal, call["saved"], expected["saved"]))


def test_a_history_does_what_histories_do() -> None:
    x, w, v = tensor(3, requires_grad=False), tensor(3, seed=1), tensor(3, seed=2)
    traced = known(x, w, v)
    met: list[Tensor] = []
    for call in (forward, traced):
        w.grad = v.grad = None
        loss, other, plain = call(x, w, v)
        assert not loss.is_leaf and plain.is_leaf and not plain.requires_grad
        other.retain_grad()
        handle = other.register_hook(lambda g: g * 3.0)
        (loss * other.sum()).backward(retain_graph=True)
        handle.remove()
        met += [t.grad.clone() for t in (w, v, other) if t.grad is not None]
        (by_w,) = tg.autograd.grad(loss * other.sum(), [w], create_graph=True)
        (second,) = tg.autograd.grad(by_w.sum(), [w], retain_graph=True)
        met += [by_w, second]
        loss.backward()
        with pytest.raises(RuntimeError, match="freed"):
            loss.backward()
    for expected, found in zip(met[:5], met[5:], strict=True):
        np.testing.assert_allclose(found.array, expected.array, rtol=1e-12)


def whole(w: Tensor) -> None:
    w.mul_(0.5)


def through_a_view(w: Tensor) -> None:
    w.detach()[1:].zero_()


def by_numpy(w: Tensor) -> None:
    w.detach().numpy()[:] = 3.0


def by_a_replay(w: Tensor) -> None:
    halve(w)


@tg.trace
def halve(w: Tensor) -> None:
    with tg.no_grad():
        w.mul_(0.5)


def nothing(w: Tensor) -> None:
    pass


@pytest.mark.parametrize("before", [nothing, through_a_view, by_numpy])
@pytest.mark.parametrize("write", [whole, through_a_view, by_numpy, by_a_replay])
def test_values_are_kept_as_they_were(before: Callable[[Tensor], None], write: Callable[[Tensor], None]) -> None:
    x, w, v = tensor(3, requires_grad=False), tensor(3, seed=1), tensor(3, seed=2)
    with tg.no_grad():
        for _ in range(3):
            by_a_replay(w)
    traced = known(x, w, v)
    handed_out = w.detach().numpy() if before is by_numpy else None
    for _ in range(4):
        with tg.no_grad():
            before(w)
            write(w)                            # nothing needs the value: it may change
        losses = [f(x, w, v)[0] for f in (forward, traced, traced)]
        with tg.no_grad():
            before(w)
            write(w)
            write(w)
        if handed_out is not None:
            handed_out[0] += 1.0
        expected, first, second = (tg.autograd.grad(loss, [w])[0].array for loss in losses)
        np.testing.assert_allclose(first, expected, rtol=1e-12)
        np.testing.assert_allclose(second, expected, rtol=1e-12)
    assert traced.stats.replays >= 10


def test_memory_of_others_is_copied_when_it_is_kept() -> None:
    numbers, w, v = np.ones(3), tensor(3, seed=1), tensor(3, seed=2)
    x = tg.asarray(numbers)
    assert np.shares_memory(x.array, numbers)
    traced = known(x, w, v)
    for k in range(3):
        numbers[:] = k
        expected, found = forward(x, w, v)[0], traced(x, w, v)[0]
        numbers[:] = 100.0
        (a,), (b,) = tg.autograd.grad(expected, [w]), tg.autograd.grad(found, [w])
        np.testing.assert_allclose(b.array, a.array, rtol=1e-12)
    assert x.kept is None


def test_what_is_kept_is_copied_only_where_something_needs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    copies: list[Saved] = []
    copy = Saved.keep_copy
    monkeypatch.setattr(Saved, "keep_copy", lambda self: (copies.append(self), copy(self))[1])
    x, w, v = tensor(3, requires_grad=False), tensor(3, seed=1), tensor(3, seed=2)
    traced = known(x, w, v)
    kept = w.kept
    assert type(kept) is Saved and kept.held is w.array
    del kept
    with tg.no_grad():
        w.mul_(0.5)
        halve(w)
        halve(w)
    assert not copies and w.kept is not None                # it stays, for the next replay
    loss = traced(x, w, v)[0]
    with tg.no_grad():
        halve(w)
    assert len(copies) == 1 and w.kept is None
    array, loss_node = weakref.ref(copies.pop().held), loss.grad_fn
    del loss
    assert array() is not None
    del loss_node
    assert array() is None


def test_nothing_is_left_of_histories() -> None:
    x, w, v = tensor(3, requires_grad=False), tensor(3, seed=1), tensor(3, seed=2)
    foreign = tg.asarray(np.ones(3))
    traced = known(x, w, v)
    watched = (w, w.array, v, x, x.array, foreign, foreign.array, None, RouteNode, RouteCall, Saved, traced)

    def calls() -> None:
        loss, other, _ = traced(x, w, v)
        traced(foreign, w, v)
        traced(x, w, v * 2.0)
        traced(tg.zeros(3, dtype=tg.float64), w, v)[0].backward()
        w.grad = v.grad = None
        with tg.no_grad():
            halve(w)

    def counts() -> list[int]:
        gc.collect()
        return [*map(sys.getrefcount, watched), len(gc.get_objects())]
    for _ in range(10):
        calls()
    before = counts()
    for _ in range(200):
        calls()
    assert all(now - then < 20 for now, then in zip(counts(), before))
    gc.disable()
    try:
        loss = traced(x, w, v)[0]
        node = weakref.ref(loss.array)
        del loss
        assert node() is None                   # without the collector
    finally:
        gc.enable()


@pytest.mark.parametrize("slot", ["kept", "saved", "storage", "held", "grad_fn"])
@pytest.mark.parametrize("value", ["nothing", None, 5, [], ""])
def test_slots_that_hold_something_else_do_no_harm(slot: str, value: Any) -> None:
    traced, args = known(*(tensor(3, seed=k) for k in range(3))), [tensor(3, seed=k) for k in range(3)]
    for _ in range(2):
        if value == "nothing":
            if hasattr(args[1], slot):
                delattr(args[1], slot)
        else:
            setattr(args[1], slot, value)
        try:
            traced(*args)
        except (AttributeError, TypeError):
            pass
        with tg.no_grad():
            try:
                halve(args[1])
            except (AttributeError, TypeError):
                pass


UNKNOWN = """
import codegen.llvm_cpu.objects as objects
objects._counting = lambda: objects.Counting.UNKNOWN
import sys, gc, numpy as np, tracegrad as tg
from tracegrad.native_call import install
from tracegrad.trace_tree import TraceTree
from tracegrad.tracing import Traced
install(Traced, TraceTree, wait=True)
w, x = tg.tensor([1.0, 2.0], requires_grad=True), tg.tensor([3.0, 4.0])
f = tg.trace(lambda x: (x * w * w).sum())
update = tg.trace(lambda: w.mul_(0.5) and None)
for k in range(200):
    if k == 100:
        loss = None
        gc.collect()
        before = [sys.getrefcount(o) for o in (w, x, w.array)], len(gc.get_objects())
    loss = f(x)
    with tg.no_grad():
        expected = (2.0 * x * w).tolist()
        w.mul_(1.5)
    assert tg.autograd.grad(loss, w)[0].tolist() == expected
    with tg.no_grad():
        w.copy_(tg.tensor([1.0, 2.0]))
del loss
gc.collect()
after = [sys.getrefcount(o) for o in (w, x, w.array)], len(gc.get_objects())
assert f._tree.roots[0].native is not None and after[1] - before[1] < 20 and after[0] == before[0], (before, after)
"""


def test_where_references_are_counted_in_another_way() -> None:
    run = subprocess.run([sys.executable, "-c", UNKNOWN], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
