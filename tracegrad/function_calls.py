"""Calls of custom functions (see functions) as differentiation sees them: what they have to give, and their errors.

A recorded run does not look at this code, as at most of the library. What users wrote is called by `functions`, which
hands over an `Ask` for each method.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
from types import MethodType
from typing import Any

from tracegrad.algebra import are_equal
from tracegrad.autodiff import pull_back
from tracegrad.compiling import Backwards
from tracegrad.complex_numbers import real
from tracegrad.creation import ones_like, zeros
from tracegrad.derivatives import unbroadcast
from tracegrad.dispatch import GRAD, Like
from tracegrad.dtypes import COMPLEX_NUMBERS, INEXACT
from tracegrad.function_nodes import FunctionNode, attach, edge_of
from tracegrad.functional import convert, detach
from tracegrad.recorder import ACTIVE
from tracegrad.source_lines import at_user_line
from tracegrad.tensors import Tensor

Ask = Callable[..., Any]
"""Calls a method of a custom function: with the context, if it takes one, and what it is given."""


class _SavedTensors:
    """What was saved. RuntimeError if an earlier backward freed it."""

    def __get__(self, ctx: Context | None, owner: type) -> Any:
        if ctx is None:
            return self
        return ctx._to_save if ctx._node is None else ctx.part(ctx._node.saved())


class Context:
    """What `forward` leaves for `backward`: saved tensors, and any attributes of your own.

    `needs_input_grad` has a bool for each argument: is its gradient wanted? Tensors are better saved with
    `save_for_backward` than kept as attributes: what is saved stays what it was, whatever is written to it later, is
    differentiated by a second backward, and is freed with the graph.
    """

    def __init__(self, name: str, needs_input_grad: tuple[bool, ...]):
        self.needs_input_grad = needs_input_grad
        self._name = name
        self._to_save: tuple[Tensor | None, ...] = ()
        self._to_push: tuple[Tensor | None, ...] = ()
        self._for_backward: int | None = None               # how many of what is saved, where others are for jvp
        self._pushes = False                                # while jvp runs
        self._node: FunctionNode | None = None              # while backward runs
        self._dirty: tuple[Tensor, ...] = ()
        self._constant: tuple[Tensor, ...] = ()
        self._materialize = True

    def save_for_backward(self, *tensors: Tensor | None) -> None:
        """Keep these for `backward`: inputs, outputs, or others. TypeError for what is no Tensor: set an attribute."""
        self._to_save = self._savable("save_for_backward", tensors)

    def save_for_forward(self, *tensors: Tensor | None) -> None:
        """Keep these for `jvp`, which is given what was saved for backward else."""
        self._to_push = self._savable("save_for_forward", tensors)

    def _savable(self, name: str, tensors: tuple[Any, ...]) -> tuple[Tensor | None, ...]:
        for t in tensors:
            if t is not None and not isinstance(t, Tensor):
                raise TypeError(at_user_line(
                    f"{self._name}: {name} was given a {type(t).__name__}: it takes Tensors; "
                    "keep anything else as an attribute, ctx.name = value"))
        return tensors

    saved_tensors = _SavedTensors()             # no property: a backward that is traced finds them among the attributes

    def part(self, saved: tuple[Any, ...]) -> tuple[Any, ...]:
        """What the method that runs has a right to, of all that was saved."""
        n = self._for_backward
        return saved if n is None else saved[n:] if self._pushes else saved[:n]

    def attributes(self) -> dict[str, Any]:
        """What users have put here."""
        return {name: value for name, value in vars(self).items() if name not in _OWN}

    def rest(self) -> dict[str, Any]:
        """All else, once forward is over: no tensors."""
        return {name: value for name, value in vars(self).items() if name in _OWN}

    def mark_dirty(self, *tensors: Tensor) -> None:
        """These arguments were changed in place; `forward` returns them."""
        self._dirty = tensors

    def mark_non_differentiable(self, *tensors: Tensor) -> None:
        """These outputs have no gradient."""
        self._constant = tensors

    def set_materialize_grads(self, value: bool) -> None:
        """False: an output that nothing was computed from has None for its gradient, not zeros."""
        self._materialize = bool(value)


_OWN = frozenset(vars(Context("", ())))


class FunctionCall:
    """One call: see function_nodes.Call. `twice`, `push`: how double_backward and jvp are called, None without them.
    `backwards`: what traces backward, if something does.
    """

    backwards: Backwards | None = None

    def __init__(self, function: type, backward: Ask, twice: Ask | None, args: tuple[Any, ...],
                 push: Ask | None = None):
        self.function, self.name = function, function.__name__
        self.backward, self.twice, self.push = backward, twice, push
        self.edges = tuple(edge_of(a) if isinstance(a, Tensor) and a.requires_grad else None for a in args)
        recorder = ACTIVE.get()
        self.keys: Sequence[Any] = () if recorder is None else [
            None if e is None else recorder.key(a) for e, a in zip(self.edges, args)]
        self.args: tuple[Any, ...] = args                   # after forward, what is known of them
        self.context = Context(self.name, tuple(edge is not None for edge in self.edges))

    @property
    def materialize(self) -> bool:
        """See function_nodes.Call."""
        return self.context._materialize

    def again(self, args: tuple[Like | None, ...], backwards: Backwards | None) -> FunctionCall:
        """The same call, of such arguments, once it is given a context."""
        call = FunctionCall.__new__(FunctionCall)
        vars(call).update(vars(self), keys=(), args=args, backwards=backwards)
        vars(call).pop("context", None)
        return call

    def forward(self, ask: Ask) -> Any:
        """What forward returns, with its history."""
        before, GRAD.enabled = GRAD.enabled, False
        try:
            output = ask(self.context)
            results = self._results(output)
        finally:
            GRAD.enabled = before
        ctx, args = self.context, self.args
        self.args = tuple(Like(a.shape, a.dtype, device=a.device) if isinstance(a, Tensor) else None for a in args)
        if GRAD.enabled and any(ctx.needs_input_grad):
            dirty = {id(t) for t in ctx._dirty}
            if ctx._to_push and self.push is not None:
                ctx._for_backward, ctx._to_save = len(ctx._to_save), (*ctx._to_save, *ctx._to_push)
            attach(self, self.edges, results, ctx._to_save, {id(t) for t in ctx._constant},
                   [k for k, y in enumerate(results) if id(y) in dirty])
        self.edges = ctx._to_save = ctx._to_push = ctx._dirty = ctx._constant = ()
        return results[0] if isinstance(output, Tensor) else getattr(type(output), "_make", type(output))(results)

    def _results(self, output: Any) -> list[Any]:
        """What forward returned, each by itself; TypeError if there is no Tensor among it.

        An argument, and what requires grad already, is returned as another Tensor on its memory.
        """
        results = as_list(output)
        if not any(isinstance(y, Tensor) for y in results):
            raise TypeError(at_user_line(
                f"{self.name}.forward returned {described(output)}: expected a Tensor or a tuple of them"))
        tensors = [a for a in self.args if isinstance(a, Tensor)]
        if self.twice is not None and not len(results) == len(tensors) == 1:
            raise TypeError(at_user_line(
                f"{self.name} defines double_backward, which is for one tensor in and one out: it was given "
                f"{len(tensors)} and returned {len(results)}"))
        dirty = {id(t) for t in self.context._dirty}
        if not dirty <= {id(y) for y in results}:
            raise RuntimeError(at_user_line(f"{self.name}.forward marked a tensor dirty that it does not return"))
        known = {id(a) for a in tensors}
        return [detach(y) if isinstance(y, Tensor) and id(y) not in dirty and (id(y) in known or y.requires_grad) else y
                for y in results]

    def gradients(self, node: FunctionNode, cotangents: Sequence[Tensor | None],
                  wanted: tuple[bool, ...]) -> Sequence[Tensor | None]:
        """See function_nodes.Call. TypeError, or RuntimeError, if backward does not give what it has to."""
        if GRAD.forward and self.push is not None:
            return pushing(self, node, cotangents, wanted)
        if self.twice is not None and GRAD.enabled:
            return self._twice(node, cotangents, wanted)
        gradients = self._checked(self._backward(node, cotangents, wanted))
        if GRAD.forward:
            self._require_histories(node, cotangents, wanted, gradients)
        return gradients

    def _backward(self, node: FunctionNode, cotangents: Sequence[Tensor | None], wanted: tuple[bool, ...]) -> Any:
        """What backward returns: traced, where that can be and the walk is not differentiated itself."""
        traced = None
        if self.backwards is not None and not GRAD.enabled and not node.freed and ACTIVE.get() is None:
            traced = self.backwards.of(self.function)
        if traced is None:
            return self.asked(self.backward, node, cotangents, wanted)
        ctx = self.context
        before, ctx.needs_input_grad = ctx.needs_input_grad, wanted
        vars(ctx)["saved_tensors"] = ctx.part(node.saved())
        try:
            return traced(ctx, *cotangents)
        finally:
            ctx.needs_input_grad = before
            vars(ctx).pop("saved_tensors", None)

    def _require_histories(self, node: FunctionNode, cotangents: Sequence[Tensor | None], wanted: tuple[bool, ...],
                           gradients: Sequence[Tensor | None]) -> None:
        """RuntimeError for a gradient that depends on the cotangents, and not as differentiation sees it."""
        lost = [k for k, g in enumerate(gradients) if wanted[k] and g is not None and not g.requires_grad]
        if not lost or not any(g is not None and g.requires_grad for g in cotangents):
            return
        before, GRAD.enabled = GRAD.enabled, False
        try:
            probes = [None if g is None else ones_like(g) for g in cotangents]
            found = self._checked(self.asked(self.backward, node, probes, wanted))
        finally:
            GRAD.enabled = before
        if any((g := found[k]) is not None and g.memory.any() for k in lost):
            raise RuntimeError(at_user_line(
                f"{self.name}.backward gives gradients that have no history, as after detach() or in NumPy: no forward "
                f"mode can be derived from it; give {self.name} a jvp(ctx, *tangents)"))

    def asked(self, ask: Ask, node: FunctionNode, given: Sequence[Any], wanted: tuple[bool, ...]) -> Any:
        """What a method gives that looks at what the call saved."""
        ctx = self.context
        before = ctx._node, ctx.needs_input_grad
        ctx._node, ctx.needs_input_grad = node, wanted
        try:
            return ask(ctx, *given)
        finally:
            ctx._node, ctx.needs_input_grad = before

    def _checked(self, found: Any) -> list[Tensor | None]:
        expected, gradients = len(self.args), as_list(found)
        if found is None or len(gradients) < expected or any(g is not None for g in gradients[expected:]):
            raise RuntimeError(at_user_line(
                f"{self.name}.backward returned {described(found)}: expected a gradient for each of the {expected} "
                "arguments of forward, None where there is none"))
        return [self.fitted(k, g, "backward") for k, g in enumerate(gradients[:expected])]

    def fitted(self, k: int, g: Any, method: str) -> Tensor | None:
        """A gradient that a method returned for argument k, as that is."""
        like = self.args[k]
        if g is None:
            return None
        if not isinstance(g, Tensor):
            raise TypeError(at_user_line(
                f"{self.name}.{method} returned {described(g)} for argument {k}: expected a Tensor or None"))
        if like is None:
            raise RuntimeError(at_user_line(
                f"{self.name}.{method} returned a gradient for argument {k}, which is no Tensor: expected None"))
        if not are_equal(g.shape, like.shape):
            lead = len(g.shape) - len(like.shape)
            if lead < 0 or any(n not in (1, m) for n, m in zip(like.shape, g.shape[lead:])):
                raise RuntimeError(at_user_line(
                    f"{self.name}.{method} returned a gradient of shape {list(g.shape)} for argument {k}: expected "
                    f"{list(like.shape)}"))
            g = unbroadcast(g, like.shape)
        return convert(g if like.dtype in COMPLEX_NUMBERS else real(g), like.dtype)

    def _twice(self, node: FunctionNode, cotangents: Sequence[Tensor | None],
               wanted: tuple[bool, ...]) -> list[Tensor | None]:
        """The gradients with a history: to the cotangent through backward, to the input through double_backward."""
        (g,), k = cotangents, wanted.index(True)
        full = cotangent = None
        if g is not None:
            cotangent = detach(g).requires_grad_()
            full = self._checked(self.asked(self.backward, node, (cotangent,), wanted))[k]
        if g is None or cotangent is None or full is None:
            return [None] * len(wanted)
        gradient = detach(full)
        edges = edge_of(g) if g.requires_grad else None, node.edges[k]
        attach(SecondCall(self, node, k, full, cotangent), edges, [gradient], (g,), ())
        return [gradient if j == k else None for j in range(len(wanted))]


class SecondCall:
    """A call of backward, as a function of the cotangent and of the input, which is argument k of the first call."""

    materialize, keys = property(lambda self: True), ()

    def __init__(self, first: FunctionCall, node: FunctionNode, k: int, full: Tensor, cotangent: Tensor):
        self.name = f"{first.name}.double_backward"
        self._first, self._node, self._k, self._full, self._cotangent = first, node, k, full, cotangent

    def gradients(self, node: FunctionNode, cotangents: Sequence[Tensor | None],
                  wanted: tuple[bool, ...]) -> Sequence[Tensor | None]:
        """See function_nodes.Call."""
        (gg,), (g,) = cotangents, node.saved()
        assert gg is not None and g is not None
        first, to_cotangent, to_input = self._first, None, None
        if wanted[0] and self._full.requires_grad:
            to_cotangent, = pull_back([(self._full, gg)], [self._cotangent], GRAD.enabled, True)
        if wanted[1]:
            needs = tuple(j == self._k for j in range(len(first.args)))
            assert first.twice is not None
            found = first.asked(first.twice, self._node, (gg, g), needs)
            if isinstance(found, tuple | list) and len(found) == 1:
                found, = found
            if not isinstance(found, Tensor):
                raise TypeError(at_user_line(
                    f"{self.name} returned {described(found)}: expected a Tensor, the gradient for the input"))
            to_input = first.fitted(self._k, found, "double_backward")
        return to_cotangent, to_input


def pushing(call: FunctionCall, node: FunctionNode, cotangents: Sequence[Tensor | None],
            wanted: tuple[bool, ...]) -> list[Tensor | None]:
    """A gradient for each argument whose derivative by the cotangents is what jvp gives; nobody looks at its value."""
    places = [k for k, is_wanted in enumerate(wanted) if is_wanted]
    gradients = {k: zeros(like.shape, dtype=like.dtype, device=like.device)
                 for k in places if (like := call.args[k]) is not None}
    edges = [None if g is None or not g.requires_grad else edge_of(g) for g in cotangents]
    attach(ForwardCall(call, node, places), (*edges, node), list(gradients.values()), (), ())
    return [gradients.get(k) for k in range(len(wanted))]


class ForwardCall:
    """A call of jvp: from tangents of the arguments `places` of a call to those of its results.

    The last of its edges is that call: what jvp gives depends on what it saved.
    """

    keys: Sequence[Any] = ()

    def __init__(self, first: FunctionCall, node: FunctionNode, places: Sequence[int]):
        self.name = f"{first.name}.jvp"
        self._first, self._node, self._places = first, node, places

    @property
    def materialize(self) -> bool:
        """See function_nodes.Call."""
        return self._first.materialize

    def gradients(self, node: FunctionNode, cotangents: Sequence[Tensor | None],
                  wanted: tuple[bool, ...]) -> Sequence[Tensor | None]:
        """See function_nodes.Call."""
        first, given = self._first, dict(zip(self._places, cotangents))
        tangents = [given[k] if k in given else zeros(like.shape, dtype=like.dtype, device=like.device)
                    if like is not None and like.dtype in INEXACT and self.materialize else None
                    for k, like in enumerate(first.args)]
        assert first.push is not None
        first.context._pushes = True
        try:
            found = first.asked(first.push, self._node, tangents, tuple(k in given for k in range(len(tangents))))
        finally:
            first.context._pushes = False
        outputs, results = self._node.outputs, as_list(found)
        if len(results) != len(outputs):
            raise RuntimeError(at_user_line(
                f"{self.name} returned {described(found)}: expected a tangent for each of the {len(outputs)} results "
                "of forward, None where there is none"))
        return [*(self._fitted(k, t, like) for k, (t, like) in enumerate(zip(results, outputs))), None]

    def _fitted(self, k: int, tangent: Any, like: Like | None) -> Tensor | None:
        """A tangent that jvp returned for result k, as that is."""
        if tangent is None:
            return None
        if not isinstance(tangent, Tensor):
            raise TypeError(at_user_line(
                f"{self.name} returned {described(tangent)} for result {k}: expected a Tensor or None"))
        if like is None or like.dtype not in INEXACT:
            raise RuntimeError(at_user_line(
                f"{self.name} returned a tangent for result {k}, which has no derivative: expected None"))
        if not are_equal(tangent.shape, like.shape):
            raise RuntimeError(at_user_line(
                f"{self.name} returned a tangent of shape {list(tangent.shape)} for result {k}: expected "
                f"{list(like.shape)}"))
        return convert(tangent if like.dtype in COMPLEX_NUMBERS else real(tangent), like.dtype)


class Refusal:
    """Stands where the derivative would be of a backward that was marked once_differentiable."""

    materialize, keys = property(lambda self: False), ()

    def __init__(self, name: str):
        self.name = name

    def gradients(self, node: FunctionNode, cotangents: Sequence[Tensor | None],
                  wanted: tuple[bool, ...]) -> Sequence[Tensor | None]:
        """See function_nodes.Call."""
        raise RuntimeError(at_user_line(
            f"{self.name}.backward is differentiated, and it was marked once_differentiable: write it in tensors for "
            "second derivatives, and for forward modes, or give it a jvp(ctx, *tangents) for these"))


def once(ask: Ask, ctx: Context, gradients: Sequence[Any]) -> Any:
    """What backward gives, undifferentiated: a derivative of it raises."""
    differentiated, GRAD.enabled = GRAD.enabled, False
    try:
        found = ask(ctx, *gradients)
    finally:
        GRAD.enabled = differentiated
    ways = tuple(edge_of(t) for t in (*gradients, *ctx.saved_tensors) if isinstance(t, Tensor) and t.requires_grad)
    if not differentiated or not ways:
        return found
    results = [detach(g) if isinstance(g, Tensor) else g for g in as_list(found)]
    attach(Refusal(ctx._name), ways, results, (), ())
    return results[0] if isinstance(found, Tensor) else tuple(results)


def as_list(found: Any) -> list[Any]:
    """One Tensor, or each of several values; nothing of anything else."""
    return [found] if isinstance(found, Tensor) else list(found) if isinstance(found, tuple | list) else []


def described(found: Any) -> str:
    """What a method returned, in words."""
    if found is None:
        return "None (is there a return?)"
    if isinstance(found, tuple | list):
        return f"{len(found)} values" if len(found) != 1 else "1 value"
    return f"a {type(found).__name__}"


def bound(function: type, method: Any) -> Any:
    """A method of a custom function; one that was written with `self` before `ctx` is given an instance."""
    code = getattr(method, "__code__", None)
    return MethodType(method, function()) if code is not None and code.co_varnames[:2] == ("self", "ctx") else method


def takes(method: Any) -> int:
    """How many positional arguments a method is called with."""
    return method.__code__.co_argcount - isinstance(method, MethodType)


def in_order(forward: Any, kwargs: dict[str, Any]) -> list[Any]:
    """The values of keyword arguments, in the order of the parameters; then those that are no parameters'."""
    code = forward.__code__
    names = code.co_varnames[:code.co_argcount + code.co_kwonlyargcount]
    return [kwargs[n] for n in (*[n for n in names if n in kwargs], *[n for n in kwargs if n not in names])]
