"""What autograd says to its misuse: the exceptions of PyTorch, with a sentence that names the remedy.

Each case is a program in names that both libraries have. It runs eagerly, traced, and where PyTorch is installed there,
too: PyTorch raises the same type, but for the cases in OTHERWISE.
"""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tracegrad as tg

try:
    import torch
except ImportError:
    torch = None                    # type: ignore[assignment]

T: Any = tg
"""The library that a case runs in."""

Program = Callable[[Any, Any], Any]


def grad(*args: Any, **options: Any) -> Any:
    return T.autograd.grad(*args, **options)


def ones(*shape: int, dtype: str = "float64") -> Any:
    return T.ones(shape, dtype=getattr(T, dtype))


def backward_twice(x: Any, w: Any) -> None:
    loss = (x * x).sum()
    loss.backward()
    loss.backward()


def grad_twice(x: Any, w: Any) -> None:
    loss = (x ** 3).sum()
    grad(loss, x, retain_graph=False)
    grad(loss, x)


def backward_of_what_was_computed_in(mode: str) -> Program:
    def program(x: Any, w: Any) -> None:
        with getattr(T, mode)():
            loss = (x * x).sum()
        loss.backward()
    return program


def second_derivative_of_a_first(x: Any, w: Any) -> None:
    g, = grad((x ** 3).sum(), x)
    grad(g.sum(), x)


def requires_grad_set_on_integers(x: Any, w: Any) -> None:
    n = T.tensor([1, 2, 3])
    n.requires_grad = True
    (n * x).sum().backward()


def a_write_to_a_view_of_a_leaf(x: Any, w: Any) -> None:
    x[1:].mul_(2)


def an_assignment_to_a_leaf(x: Any, w: Any) -> None:
    x[0] = 1


def a_write_to_a_saved_value(x: Any, w: Any) -> Any:
    y = T.exp(x * 1)
    y.add_(1)
    return grad(y.sum(), x)[0]


def hook(returned: Callable[[Any], Any]) -> Program:
    def program(x: Any, w: Any) -> None:
        y = x * 1
        y.register_hook(returned)
        (y * y).sum().backward()
    return program


def hook_of_a_leaf(returned: Callable[[Any], Any]) -> Program:
    def program(x: Any, w: Any) -> None:
        x.register_hook(returned)
        (x * x).sum().backward()
    return program


def prehook(returned: Callable[[Any], Any]) -> Program:
    def program(x: Any, w: Any) -> None:
        y = T.exp(x)
        y.grad_fn.register_prehook(returned)
        y.sum().backward()
    return program


def hook_of_an_operation(returned: Callable[[Any, Any], Any]) -> Program:
    def program(x: Any, w: Any) -> None:
        y = x * (x + 1)
        y.grad_fn.register_hook(returned)
        y.sum().backward()
    return program


def set_grad(value: Callable[[Any], Any]) -> Program:
    def program(x: Any, w: Any) -> None:
        x.grad = value(x)
    return program


def unpacking(value: Callable[[], Any]) -> Program:
    def program(x: Any, w: Any) -> None:
        hooks = (T.autograd if T is tg else T.autograd.graph).saved_tensors_hooks
        with hooks(lambda t: 0, lambda kept: value()):
            y = (x * x).sum()
        y.backward()
    return program


def complex_seed() -> Any:
    return T.complex(ones(3), ones(3))


CASES: dict[str, tuple[Program, type[Exception], str]] = {
    # backward, grad
    "a second backward": (backward_twice, RuntimeError, "mul: backward through a graph that was freed: pass "
                          "retain_graph=True to the first backward"),
    "grad after retain_graph=False": (grad_twice, RuntimeError, "graph that was freed: pass retain_graph=True"),
    "more than one element": (lambda x, w: (x * x).backward(), RuntimeError,
                              r"the tensor has shape \[3\]: with more than one element, pass a gradient, or sum it"),
    "no element": (lambda x, w: (x[:0] * 2).backward(), RuntimeError, "with less than one element, pass a gradient"),
    "a complex result": (lambda x, w: T.complex(x, x).sum().backward(), RuntimeError,
                         "the tensor is complex128: only a real loss goes without a gradient"),
    "what requires no grad": (lambda x, w: x.detach().sum().backward(), RuntimeError,
                              "does not require grad and has no grad_fn: compute it from one that requires grad"),
    "computed under no_grad": (backward_of_what_was_computed_in("no_grad"), RuntimeError,
                               "compute it from one that requires grad, with gradients enabled"),
    "computed under inference_mode": (backward_of_what_was_computed_in("inference_mode"), RuntimeError,
                                      "compute it from one that requires grad, with gradients enabled"),
    "a second derivative without create_graph": (second_derivative_of_a_first, RuntimeError,
                                                 "does not require grad and has no grad_fn"),
    "the gradient of a comparison": (lambda x, w: grad((x > 0).sum(), x), RuntimeError, "does not require grad"),
    "the gradient of an index": (lambda x, w: T.argmax(x).backward(), RuntimeError, "does not require grad"),
    "an input without requires_grad": (lambda x, w: grad(x.sum(), w.detach()), RuntimeError,
                                       r"grad: input 0 does not require grad: requires_grad_\(\) makes it"),
    "an input that is not used": (lambda x, w: grad(x.sum(), (x, w)), RuntimeError,
                                  "do not depend on input 1; allow_unused=True gives None for it"),
    "an input that is no tensor": (lambda x, w: grad(x.sum(), [3]), TypeError, "grad: input 0 is a int, not a Tensor"),
    "an output that is no tensor": (lambda x, w: grad([3], x), TypeError, "grad: output 0 is a int, not a Tensor"),
    "no output": (lambda x, w: grad(None, x), TypeError, "NoneType is neither a tensor nor a list"),
    "a gradient of another shape": (lambda x, w: (x * x).backward(ones(2)), RuntimeError,
                                    r"the gradient has shape \[2\], the tensor \[3\]: pass one of the tensor's shape"),
    "a gradient that would broadcast": (lambda x, w: grad(x * x, x, ones(1)), RuntimeError,
                                        r"the gradient has shape \[1\], the tensor \[3\]"),
    "a gradient that is a number": (lambda x, w: x.sum().backward(1.0), TypeError,
                                    "the gradient is a float, not a Tensor"),
    "a complex gradient of what is real": (lambda x, w: grad(x * x, x, complex_seed()), RuntimeError,
                                           "the gradient is complex128, the tensor float64: pass its real part"),
    "fewer gradients than outputs": (lambda x, w: T.autograd.backward([x.sum(), w.sum()], [None]), RuntimeError,
                                     "1 gradients for 2 outputs: pass one for each, or None"),
    "backward into nothing": (lambda x, w: x.sum().backward(inputs=[]), RuntimeError,
                              "inputs are tensors that require grad, and at least one"),
    "backward into what requires no grad": (lambda x, w: x.sum().backward(inputs=[w.detach()]), RuntimeError,
                                            "inputs are tensors that require grad, and at least one"),
    # requires_grad, grad
    "integers that require grad": (lambda x, w: T.tensor([1, 2], requires_grad=True), RuntimeError,
                                   r"i64\[2\] is neither floating-point nor complex: it has no derivative; cast it"),
    "bools that require grad": (lambda x, w: T.tensor([True]).requires_grad_(), RuntimeError,
                                r"bool\[1\] is neither floating-point nor complex"),
    "requires_grad set on integers": (requires_grad_set_on_integers, RuntimeError,
                                      r"requires_grad was set on i64\[3\], which is neither .* nor complex"),
    "a result that is to require none": (lambda x, w: (x * 2).requires_grad_(False), RuntimeError,
                                         r"requires_grad_: the tensor is not a leaf; use detach\(\)"),
    "a grad of another shape": (set_grad(lambda x: ones(2)), RuntimeError,
                                r"of shape \[3\] and dtype float64: here it has shape \[2\]"),
    "a grad of another dtype": (set_grad(lambda x: ones(3, dtype="float32")), RuntimeError, "and dtype float32"),
    "a grad that is a number": (set_grad(lambda x: 1.0), TypeError, "grad is None or a Tensor, not a float"),
    "a grad that is the tensor": (set_grad(lambda x: x), RuntimeError, "a tensor is not its own gradient"),
    "a grad kept of what has none": (lambda x, w: x.detach().retain_grad(), RuntimeError,
                                     "retain_grad: the tensor does not require grad: no gradient arrives at it"),
    # in place
    "a write to a leaf": (lambda x, w: x.add_(1), RuntimeError,
                          r"a leaf that requires grad is written to; do it under tg.no_grad\(\)"),
    "a write to a view of a leaf": (a_write_to_a_view_of_a_leaf, RuntimeError,
                                    "a view of a leaf that requires grad is written to; do it under"),
    "an assignment to a leaf": (an_assignment_to_a_leaf, RuntimeError, "that requires grad is written to"),
    # hooks
    "a hook of what has no gradient": (lambda x, w: x.detach().register_hook(print), RuntimeError,
                                       "register_hook: the tensor does not require grad: no gradient arrives at it"),
    "a hook that returns another shape": (hook(lambda g: ones(2)), RuntimeError,
                                          r"returned f64\[2\] for a gradient f64\[3\]: a hook changes neither"),
    "a hook that returns a sum": (hook(lambda g: g.sum()), RuntimeError, r"returned f64\[\] for a gradient f64\[3\]"),
    "a hook that returns another dtype": (hook(lambda g: ones(3, dtype="float32")), RuntimeError,
                                          r"returned f32\[3\] for a gradient f64\[3\]"),
    "a hook that returns a number": (hook(lambda g: 3.0), TypeError, "a hook of a tensor returned a float: "
                                     "a hook returns a Tensor, or None where the gradient stays what it is"),
    "a leaf's hook that returns another shape": (hook_of_a_leaf(lambda g: ones(2)), RuntimeError,
                                                 r"returned f64\[2\] for a gradient f64\[3\]"),
    "a hook before an operation that returns a Tensor": (prehook(lambda gs: gs[0]), TypeError,
                                                         "before its backward returned a Tensor: .* a tuple of 1"),
    "a hook before an operation that returns two": (prehook(lambda gs: (gs[0], gs[0])), RuntimeError,
                                                    "exp, before its backward returned 2 gradients: it was given 1"),
    "a hook before an operation, another shape": (prehook(lambda gs: (ones(2),)), RuntimeError,
                                                  r"exp, before its backward returned f64\[2\] for .* f64\[3\]"),
    "a hook after an operation that returns a number": (hook_of_an_operation(lambda gi, go: 3), TypeError,
                                                        "mul, after its backward returned a int: .* a tuple of 2"),
    "a hook after an operation that returns one": (hook_of_an_operation(lambda gi, go: (gi[0],)), RuntimeError,
                                                   "mul, after its backward returned 1 gradients: it was given 2"),
    "a hook after an operation, another shape": (hook_of_an_operation(lambda gi, go: (ones(2), gi[1])), RuntimeError,
                                                 r"mul, after its backward returned f64\[2\] for .* f64\[3\]"),
    # what packs values
    "unpack returns no tensor": (unpacking(lambda: 3), TypeError, "unpack returned a int; what was packed is a Tensor"),
    "unpack returns another shape": (unpacking(lambda: ones(2)), RuntimeError, r"unpack returned \[2\] float64; what"),
    # what else is only for leaves, or without grad
    "NumPy of what requires grad": (lambda x, w: np.asarray(x * 1), RuntimeError, r"use x.detach\(\).numpy\(\)"),
    "a copy of what has a history": (lambda x, w: __import__("copy").deepcopy(x * 1), RuntimeError,
                                     r"only leaves can be copied; use clone\(\) or detach\(\)"),
}

OTHERWISE: dict[str, type[Exception]] = {
    # of what has another type Python says TypeError
    "an input that is no tensor": RuntimeError,
    "an output that is no tensor": AssertionError,
}
"""What PyTorch raises where we do not raise the same, and why."""


def run(program: Program, library: Any) -> Any:
    global T
    x = library.tensor([0.5, -1.5, 2.0], dtype=library.float64, requires_grad=True)
    w = library.tensor([1.0, 2.0, 3.0], dtype=library.float64, requires_grad=True)
    T = library
    try:
        return program(x, w)
    finally:
        T = tg


@pytest.mark.parametrize("name", CASES)
def test_misuse(name: str) -> None:
    program, kind, message = CASES[name]
    traced = tg.trace(program)
    for function in (program, traced, traced):
        with pytest.raises(kind, match=r"^test_misuse\.py:\d+: .*" + message) as raised:
            run(function, tg)
        assert raised.type is kind
    assert tg.is_grad_enabled()
    if torch is not None:
        with pytest.raises(Exception) as others:
            run(program, torch)
        assert others.type is OTHERWISE.get(name, kind)


FINE: dict[str, tuple[Program, list[float], str]] = {
    "a value that is saved may be overwritten": (
        a_write_to_a_saved_value, [1.64872127, 0.22313016, 7.3890561], "modified by an inplace operation"),
    "a gradient": (
        lambda x, w: [(x * 2).sum().backward(), x.grad][1], [2, 2, 2], ""),
    "none of what was not asked for": (lambda x, w: grad(x.sum(), (x, w), allow_unused=True)[0], [1, 1, 1], ""),
    "zeros instead of None": (lambda x, w: grad(x.sum(), (x, w), materialize_grads=True)[1], [0, 0, 0], ""),
    "backward into some leaves": (lambda x, w: [(x * w).sum().backward(inputs=[x]), x.grad][1], [1, 2, 3], ""),
    "backward of several": (
        lambda x, w: [T.autograd.backward([x.sum(), x * 2], [None, w.detach()]), x.grad][1], [3, 5, 7], ""),
}


@pytest.mark.parametrize("name", FINE)
def test_what_is_none(name: str) -> None:
    """`message`: what PyTorch says where it refuses."""
    program, expected, message = FINE[name]
    traced = tg.trace(program)
    for function in (program, *[traced] * 4):
        np.testing.assert_allclose(run(function, tg).numpy(), expected)
    assert traced.stats.replays >= 2
    if torch is not None:
        if message:
            with pytest.raises(RuntimeError, match=message):
                run(program, torch)
        else:
            np.testing.assert_allclose(run(program, torch).numpy(), expected)


def test_hooks_that_change_the_hooks() -> None:
    """Those are called that are there when the gradient arrives."""
    seen: list[str] = []
    x = tg.ones(2, requires_grad=True)
    y = x * 1

    def once(g: tg.Tensor) -> None:
        seen.append("once")
        handle.remove()
        y.register_hook(lambda g: seen.append("late"))

    handle = y.register_hook(once)
    y.register_hook(lambda g: seen.append("always"))
    loss = (y * y).sum()
    loss.backward(retain_graph=True)
    assert seen == ["once", "always"]
    loss.backward()
    assert seen == ["once", "always", "always", "late"]
