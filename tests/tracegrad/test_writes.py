"""Writes in place and views: values are NumPy's, derivatives the numerical ones, saved values never change."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from recordings import recording

import tracegrad as tg
from codegen.ir.interpret import interpret
from codegen.ir.program import Exit
from tracegrad.autodiff import differentiate
from tracegrad.autograd import gradcheck, gradgradcheck
from tracegrad.tensors import Tensor

Array = Any         # an ndarray or a Tensor: the programs below are run on both
Step = Callable[[list[Array]], None]


@st.composite
def steps(draw: Any) -> Step:
    """One step of a program over a pool of arrays, of which some are views of others."""
    a, b, k = draw(st.integers(0, 9)), draw(st.integers(0, 9)), draw(st.integers(0, 2))
    kind = draw(st.sampled_from(("view", "view", "new", "update", "update", "assign", "assign slice")))

    def step(pool: list[Array]) -> None:
        x, y = pool[a % len(pool)], pool[b % len(pool)]
        match kind:
            case "view":
                turned = x.T if x.ndim == 2 else x[::-1]
                views = (lambda: x.reshape(x.size), lambda: turned, lambda: x[1:] if x.ndim else x)
                pool.append(views[k]())
            case "new":
                pool.append((x * y if x.shape == y.shape else x * 1.5, x + 0.25, x * x)[k])
            case "update" if x.shape == y.shape or y.ndim == 0:
                if k == 0:
                    x += y
                elif k == 1:
                    x *= 1.25
                else:
                    x -= y * 0.5
            case "assign" if x.shape == y.shape:
                x[...] = y
            case "assign slice" if x.ndim and x.shape[0]:
                if k == 0:
                    x[0] = 0.75
                elif k == 1:
                    x[::2] = x[0] * 1.5
                else:
                    x[-1:] = y[-1:] * 2.0 if y.shape == x.shape else 2.0

    return step


programs = st.lists(steps(), min_size=1, max_size=12)


def run(program: list[Step], x: Array, w: Array) -> list[Array]:
    """The pool after the program, which begins with a copy of x and one of w."""
    pool = [x * 1.0, w * 1.0, x * w]
    for step in program:
        step(pool)
    return pool


DATA = np.arange(6.0).reshape(3, 2) / 4 + 0.3
WEIGHTS = np.array([[0.5, -0.75], [1.25, 0.5], [-0.25, 1.0]])


@settings(max_examples=200, deadline=None)
@given(programs)
def test_values_are_those_of_numpy(program: list[Step]) -> None:
    expected = run(program, DATA.copy(), WEIGHTS.copy())
    for requires_grad in (False, True):
        found = run(program, Tensor(DATA.copy(), requires_grad), Tensor(WEIGHTS.copy()))
        for e, f in zip(expected, found, strict=True):
            np.testing.assert_array_equal(f.array, e)


@settings(max_examples=150, deadline=None)
@given(programs)
def test_derivatives_are_the_numerical_ones(program: list[Step]) -> None:
    def f(x: Tensor, w: Tensor) -> Tensor:
        return tg.stack([(y * y).sum() for y in run(program, x, w)]).sum()

    assume(abs(f(Tensor(DATA.copy()), Tensor(WEIGHTS.copy())).item()) < 1e4)    # else the difference is rough
    gradcheck(f, (Tensor(DATA.copy(), True), Tensor(WEIGHTS.copy(), True)), atol=1e-3)


@settings(max_examples=30, deadline=None)
@given(programs)
def test_second_derivatives_are_the_numerical_ones(program: list[Step]) -> None:
    def f(x: Tensor) -> Tensor:
        return tg.stack([(y * y).sum() for y in run(program, x, Tensor(WEIGHTS.copy()))]).sum()

    gradgradcheck(f, Tensor(DATA.copy(), True), atol=1e-2)


@settings(max_examples=150, deadline=None)
@given(programs)
def test_a_recorded_run_is_functional_and_gives_the_same(program: list[Step]) -> None:
    x, w = Tensor(DATA.copy(), True), Tensor(WEIGHTS.copy(), True)
    with recording() as recorder:
        pool = run(program, x, w)
        loss = tg.stack([(y * y).sum() for y in pool]).sum()
    assert not recorder.aborts
    values = interpret(recorder.graph("f", [loss, *pool]), [DATA, WEIGHTS])
    assert not isinstance(values, Exit)
    for tensor, value in zip([loss, *pool], values, strict=True):
        np.testing.assert_array_equal(value, tensor.array)
    backward = differentiate(recorder.graph("f", [loss]), (0, 1))
    gradients = interpret(backward, [DATA, WEIGHTS, np.ones(())])
    assert not isinstance(gradients, Exit)
    found = tg.autograd.grad(loss, (x, w), allow_unused=True) if loss.requires_grad else (None, None)
    for eager, compiled in zip(found, gradients, strict=True):
        np.testing.assert_allclose(compiled, 0 if eager is None else eager.array, rtol=1e-12, atol=1e-12)


@settings(max_examples=100, deadline=None)
@given(programs)
def test_a_recorded_run_without_grad_is_functional_too(program: list[Step]) -> None:
    x, w = Tensor(DATA.copy()), Tensor(WEIGHTS.copy())
    view, outside = x[1:], x.detach()
    with recording() as recorder:
        pool = run(program, x, w)
    assert not recorder.aborts
    values = interpret(recorder.graph("f", pool), [DATA, WEIGHTS])
    assert not isinstance(values, Exit)
    for tensor, value in zip(pool, values, strict=True):
        np.testing.assert_array_equal(value, tensor.array)
    assert np.shares_memory(view.array, outside.array)


def test_a_recorded_write_to_memory_that_is_viewed_from_outside_is_refused() -> None:
    x = tg.zeros(3)
    view = x[1:]
    with recording() as recorder:
        x += 1.0
    assert not recorder.aborts              # nothing of the run reads it by its other name
    for target in (x, view):
        with recording() as recorder:
            view * 2.0
            target += 1.0
        assert {a.reason.name for a in recorder.aborts} == {"VIEW_WRITE"}
    with recording() as recorder:
        x += 1.0
        view * 2.0
    assert {a.reason.name for a in recorder.aborts} == {"VIEW_WRITE"}
    del view, target
    with recording() as recorder:
        x += 1.0
    assert not recorder.aborts and recorder.written == {id(x): x}


def gradient_of(x: Tensor) -> np.ndarray:
    assert x.grad is not None
    return x.grad.array


def test_a_tensor_that_only_its_view_keeps_alive_is_not_seen() -> None:
    w = tg.rand(6).reshape(2, 3)
    with recording() as recorder:
        w += 1.0
    assert not recorder.aborts and recorder.written == {id(w): w}
    halves = tg.rand(6)
    low, high = halves[:4], halves[2:]
    del halves
    with recording() as recorder:
        low += 1.0
    assert recorder.aborts                      # high sees the write, through memory that is gone as a tensor
    np.testing.assert_array_equal(high.array[:2], low.array[2:])


# ---- views ----------------------------------------------------------------------------------------------------------


VIEWS: list[Callable[[Tensor], Tensor]] = [
    lambda x: x[1:3], lambda x: x[0], lambda x: x[:, ::-1], lambda x: x[..., None], lambda x: x.T,
    lambda x: x.reshape(6), lambda x: x.flip(0), lambda x: x.detach(), lambda x: x.swapaxes(0, 1),
    lambda x: x.squeeze(), lambda x: x.view(2, 3), lambda x: x.ravel(), lambda x: x.flatten(), lambda x: x.data,
    lambda x: x.split(2)[1], lambda x: x.chunk(2, axis=1)[0], lambda x: x.unbind(1)[1], lambda x: x.narrow(0, 1, 2),
    lambda x: x.select(1, 0), lambda x: x.diagonal(), lambda x: x.unsqueeze(1), lambda x: x.mT, lambda x: x.rot90(),
    lambda x: x.moveaxis(0, 1), lambda x: x.unflatten(0, (1, 3)), lambda x: x.fliplr(), lambda x: x[::-2][:, 1:].T[0],
]


@pytest.mark.parametrize("view", VIEWS)
def test_writes_through_either_side_are_seen_by_both(view: Callable[[Tensor], Tensor]) -> None:
    x = tg.tensor(DATA)
    v = view(x)
    v += 1.0
    np.testing.assert_array_equal(v.array, view(tg.tensor(x.array)).array)
    assert x.array.sum() > DATA.sum()
    x *= 2.0
    np.testing.assert_array_equal(v.array, view(tg.tensor(x.array)).array)


@pytest.mark.parametrize("view", [*VIEWS, lambda x: x.unfold(1, 2, 1), lambda x: tg.sliding_window_view(x, (2, 1))])
def test_what_is_saved_of_a_view_stays_what_it_was(view: Callable[[Tensor], Tensor]) -> None:
    x = tg.tensor(DATA) * 1.0
    seen = view(x)
    before, w = seen.tolist(), tg.ones(seen.shape, dtype=tg.float64, requires_grad=True)
    product = (seen * w).sum()
    x *= 100.0
    product.backward()
    assert gradient_of(w).tolist() == before


def test_broadcasts_and_read_only_arrays_refuse_writes() -> None:
    x = tg.ones(1).broadcast_to(3)
    with pytest.raises(ValueError, match=r"^test_writes\.py:\d+: in place: f32\[3\] is a broadcast or"):
        x += 1.0
    frozen = np.ones(2)
    frozen.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        tg.from_numpy(frozen).zero_()


# ---- autograd -------------------------------------------------------------------------------------------------------


def test_a_value_saved_for_backward_is_kept() -> None:
    x = tg.tensor([1.0, 2.0, 3.0], requires_grad=True)
    y = x * 1.0
    z = (y * y).sum()
    with tg.no_grad():
        y.zero_()
        x *= 10.0
    z.backward()
    np.testing.assert_array_equal(gradient_of(x), [2, 4, 6])
    np.testing.assert_array_equal(x.array, [10, 20, 30])


def test_a_result_saved_for_backward_is_kept() -> None:
    x = tg.tensor([0.0, 1.0], requires_grad=True)
    y = x.exp()
    z = y.sum()
    y *= 0.0
    z.backward()
    np.testing.assert_allclose(gradient_of(x), np.exp([0, 1]))


@pytest.mark.parametrize("write", [lambda base, view: view.zero_(), lambda base, view: base.zero_()])
def test_a_value_saved_through_a_view_that_is_gone_is_kept(write: Callable[[Tensor, Tensor], Tensor]) -> None:
    base = tg.tensor([1.0, 2.0, 3.0, 4.0])
    w = tg.tensor([5.0, 6.0], requires_grad=True)
    y = (base[1:3] * w).sum()
    write(base, base[0:4])
    y.backward()
    np.testing.assert_array_equal(gradient_of(w), [2, 3])


def test_the_writer_keeps_its_storage() -> None:
    w = tg.tensor([1.0, 2.0], requires_grad=True)
    storage, view = w.array, w.detach()
    loss = (w * w).sum()
    with tg.no_grad():
        w -= 0.5
    assert w.array is storage
    np.testing.assert_array_equal(view.array, [0.5, 1.5])
    loss.backward()
    np.testing.assert_array_equal(gradient_of(w), [2, 4])


def test_memory_that_was_handed_out_is_copied_when_saved() -> None:
    array = np.array([1.0, 2.0])
    w = tg.tensor([3.0, 4.0], requires_grad=True, dtype=tg.float64)
    y = (tg.from_numpy(array) * w).sum()
    array[:] = 100.0
    y.backward()
    np.testing.assert_array_equal(gradient_of(w), [1, 2])

    a = tg.tensor([1.0, 2.0])
    z = (a * w).sum()
    a.numpy()[:] = 100.0
    w.grad = None
    z.backward()
    np.testing.assert_array_equal(gradient_of(w), [1, 2])


def test_no_copy_is_made_when_nothing_needs_the_old_value() -> None:
    w = tg.tensor([1.0, 2.0], requires_grad=True)
    (w * w).sum().backward()                # frees what it saved
    assert w.saved is None or w.saved() is None
    loss = (w * w).sum()
    assert w.saved is not None and w.saved() is not None
    del loss
    assert w.saved() is None


def test_a_leaf_that_requires_grad_is_written_only_without_grad() -> None:
    w = tg.ones(3, requires_grad=True)
    for write in (lambda: w.add_(1.0), lambda: w.__setitem__(0, 2.0), lambda: w[1:].zero_(),
                  lambda: w.copy_(tg.zeros(3))):
        with pytest.raises(RuntimeError, match=r"^test_writes\.py:\d+: in place: a (view of a )?leaf that "):
            write()
    np.testing.assert_array_equal(w.array, [1, 1, 1])
    with tg.no_grad():
        w[1:] = 5.0
    np.testing.assert_array_equal(w.array, [1, 5, 5])
    assert w.is_leaf


def test_a_write_gives_a_history_to_a_tensor_that_had_none() -> None:
    w = tg.tensor(2.0, requires_grad=True)
    buffer = tg.zeros(3)
    row = buffer[1:2]
    buffer[0] = w
    row += w * w
    assert buffer.requires_grad and row.requires_grad and not buffer.is_leaf
    (buffer * tg.tensor([1.0, 10.0, 100.0])).sum().backward()
    assert gradient_of(w) == 1 + 10 * 4


def test_copy_gives_the_gradient_to_its_source() -> None:
    a, b = tg.tensor([1.0, 2.0], requires_grad=True), tg.tensor([3.0], requires_grad=True)
    x = a * 1.0
    x.copy_(b)
    (x * a).sum().backward()
    np.testing.assert_array_equal(gradient_of(a), [3, 3])
    np.testing.assert_array_equal(gradient_of(b), [3])


def test_a_write_through_detach_is_not_differentiated() -> None:
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    y = x * 3.0
    y.detach().zero_()
    np.testing.assert_array_equal(y.array, [0, 0])
    y.sum().backward()
    np.testing.assert_array_equal(gradient_of(x), [3, 3])


def test_dtypes_and_shapes_in_place() -> None:
    x = tg.tensor([1, 2])
    with pytest.raises(TypeError, match=r"div_: f32\[2\] cannot be written to i64\[2\] in place; cast it"):
        x /= 2
    with pytest.raises(TypeError, match=r"add_: the result i64\[3,2\] does not fit into i64\[2\]"):
        x += tg.ones(3, 2, dtype=tg.int64)
    y = tg.tensor([1.0, 2.0])
    y += tg.tensor([1.0, 1.0], dtype=tg.float64)
    assert y.dtype == tg.float32 and y.tolist() == [2, 3]
    y[...] = tg.tensor([3, 4])
    assert y.tolist() == [3, 4]
    mask = tg.tensor([True, False])
    mask |= tg.tensor([False, False])
    assert mask.tolist() == [True, False]


def test_data() -> None:
    w = tg.ones(2, requires_grad=True)
    storage, loss = w.array, (w * w).sum()
    w.data -= 0.5
    w.data[0] = 7.0
    assert w.array is storage and w.tolist() == [7, 0.5] and w.is_leaf and not w.data.requires_grad
    w.data = tg.tensor([3.0, 4.0])
    assert w.array is storage and w.tolist() == [3, 4] and tg.is_grad_enabled()
    loss.backward()
    np.testing.assert_array_equal(gradient_of(w), [2, 2])


@pytest.mark.parametrize("number", [2.0, 3, np.float32(2.0)], ids=repr)
@pytest.mark.parametrize("update", [Tensor.add_, Tensor.sub_, Tensor.mul_, Tensor.div_], ids=lambda f: f.__name__)
def test_direct_updates_keep_saved_values_and_know_exceptions(update: Any, number: Any) -> None:
    w = tg.tensor([1.0, 0.0], requires_grad=True)
    loss = (w * w).sum()
    expected = update(w.detach().clone().requires_grad_() * 1.0, number)        # the way that is differentiated
    with tg.no_grad(), np.errstate(all="raise"):
        update(w, number)
        np.testing.assert_array_equal(w.array, expected.array)
        update(w, tg.tensor(0.0))
        update(w, w)
    loss.backward()
    np.testing.assert_array_equal(gradient_of(w), [2, 0])


def test_names_of_in_place_operations() -> None:
    x = tg.tensor([1.0, -2.0])
    assert x.add_(1.0) is x and x.sub_(0.5).mul_(2.0).div_(4.0) is x
    assert x.tolist() == [0.75, -0.75]
    assert x.clamp_(min=0.0).tolist() == [0.75, 0]
    assert x.fill_(3).tolist() == [3, 3] and x.zero_().tolist() == [0, 0]


def test_bools_are_set_to_zero() -> None:
    x = tg.tensor([True, False])
    x.zero_()
    assert x.dtype == tg.bool and x.tolist() == [False, False]


def test_retain_grad_follows_a_write() -> None:
    x = tg.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    y = x * 2
    y.retain_grad()
    y *= 3
    row = y[0]
    row.retain_grad()
    y *= 7
    (row * 5).sum().backward()
    assert row.grad is not None and row.grad.tolist() == [5, 5]
    assert y.grad is not None and y.grad.tolist() == [[5, 5], [0, 0]]
    assert x.grad is not None and x.grad.tolist() == [[210, 210], [0, 0]]


def test_a_hook_stays_with_the_value_it_was_given() -> None:
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    y, seen = x * 2, []
    y.register_hook(lambda g: seen.append(g.tolist()))
    y *= 3
    y.sum().backward()
    assert seen == [[3, 3]]


HOLDERS = {
    "array": lambda a: a, "slice": lambda a: a[1:], "slice of slice": lambda a: a[1:][:1], "transpose": lambda a: a.T,
    "other dtype": lambda a: a.view(np.int32), "memoryview": memoryview, "subclass": lambda a: a.view(np.recarray),
    "capsule": lambda a: a.__dlpack__(), "iterator": lambda a: a.flat,
}


@pytest.mark.parametrize("holder", HOLDERS.values(), ids=HOLDERS.keys())
def test_memory_is_copied_when_saved_as_long_as_others_hold_it(holder: Callable[[Any], Any]) -> None:
    w = tg.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    x = tg.tensor([[1.0, 2.0], [3.0, 4.0]])
    held = holder(x.numpy())
    before = w * x
    assert before.grad_fn.operands[1].array is not x.array
    del held
    after = w * x
    assert after.grad_fn.operands[1].array is x.array


@pytest.mark.parametrize("dtype", [tg.bool, tg.int8, tg.uint64, tg.float16, tg.bfloat16, tg.float32], ids=str)
@pytest.mark.parametrize("shape", [(), (0, 3), (4, 3)], ids=str)
def test_an_array_that_is_handed_out_is_the_memory(dtype: Any, shape: tuple[int, ...]) -> None:
    whole = tg.ones(shape, dtype=dtype)
    for x in (whole, whole.flip(), whole.mT if len(shape) == 2 else whole, whole.broadcast_to(2, *shape)):
        a = x.numpy()
        assert a.shape == x.shape and a.dtype is x.dtype and type(a) is np.ndarray
        assert a.flags.writeable == x.array.flags.writeable
        assert x.array.size == 0 or a.strides == x.array.strides and np.shares_memory(a, x.array)
