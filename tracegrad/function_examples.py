"""Custom functions with a `vmap` of their own, in functions that vmap runs on one example of many.

    y = F.apply(x)     in a run on one example       xs, what x is for all examples, by the operations so far
                                                     ys = F.vmap(info, in_dims, xs), done around the run
                                                     y is the first of ys, and enters the run as x did

1. What F.vmap does is differentiated by what is around the run. Where a transform inside of the run differentiates the
   call, its `backward` is part of the run instead, as PyTorch has it.
2. What F.vmap is given cannot be written to: the run would not see it.
3. F.vmap is called where an argument has examples, and only where the run is one for all of them.
"""
from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, NamedTuple

from codegen.ir.types import type_of
from tracegrad.checkpointing import leaves_of
from tracegrad.devices import first_of
from tracegrad.dispatch import FOLLOWER, GRAD, dispatch
from tracegrad.example_runs import ExampleRecorder, within
from tracegrad.function_calls import as_list, described
from tracegrad.functional import detach
from tracegrad.generators import DRAWS
from tracegrad.manipulation import moveaxis
from tracegrad.pytrees import tree_unflatten
from tracegrad.recorder import ACTIVE
from tracegrad.source_lines import at_user_line
from tracegrad.tensors import Tensor


class VmapInfo(NamedTuple):
    """What the `vmap` of a custom function is told of the vmap that it is called in."""

    batch_size: int
    randomness: str


class ManyArguments:
    """What a call is given in a run, for all examples: trees, and the axes of the examples in their places.
    `inside`: does a transform in the run differentiate by them?
    """

    def __init__(self, examples: Examples, args: tuple[Any, ...], in_dims: tuple[Any, ...], inside: bool):
        self._examples, self._args, self._in_dims, self.inside = examples, args, in_dims, inside

    def call(self, name: str, vmap: Callable[..., Any]) -> Any:
        """What the call gives in the run, by the function's vmap. RuntimeError if that does not give what it has to."""
        return self._examples.call(name, vmap, self._args, self._in_dims, self.inside)


class Examples:
    """A run on one example, to the custom functions in it. `values`: gives Tensors of the run for all examples, each
    with whether it has any; it is told if that is differentiated, and what entered the run.
    """

    def __init__(self, recorder: ExampleRecorder, info: VmapInfo,
                 values: Callable[[list[Tensor], bool, list[tuple[Tensor, Tensor]]], list[tuple[Tensor, bool]]]):
        self._recorder, self._info, self._values = recorder, info, values
        self._around = tuple((variable, variable.get()) for variable in (ACTIVE, FOLLOWER, DRAWS, EXAMPLES))
        self.entered: list[tuple[Tensor, Tensor]] = []      # what one example has, what all have

    def arguments(self, function: Any, given: tuple[Any, ...]) -> ManyArguments | None:
        """The arguments of a call for all examples; None if they are the same for all.

        RuntimeError if the function is not one whose vmap can be called.
        """
        leaves, structure = leaves_of(given)
        own = [t for t in leaves if isinstance(t, Tensor)]
        inside = GRAD.enabled and self._recorder.differentiates(own)
        values, axes = [], []
        with within(*self._around):
            differentiated = not inside and any(t.requires_grad for t in own)
            found = iter(self._values(own, differentiated, self.entered) if own else ())
            for x in leaves:
                value, is_batched = next(found) if isinstance(x, Tensor) else (x, False)
                value = detach(value) if inside and isinstance(value, Tensor) else value
                values.append(dispatch("broadcast", value, shape=value.shape) if is_batched else value)
                axes.append(0 if is_batched else None)
        if all(axis is None for axis in axes):
            return None
        if function.generate_vmap_rule:
            raise RuntimeError(at_user_line(f"{function.__name__} has a vmap, and generate_vmap_rule=True, which asks "
                                            "for another: leave out one of them"))
        if inside and function.setup_context is None:
            raise RuntimeError(at_user_line(
                f"{function.__name__} has a vmap, and is differentiated inside of tg.vmap: its forward then takes no "
                "ctx, and setup_context(ctx, inputs, output) saves what backward needs"))
        return ManyArguments(self, tree_unflatten(structure, values), tree_unflatten(structure, axes), inside)

    def call(self, name: str, vmap: Callable[..., Any], args: tuple[Any, ...], in_dims: tuple[Any, ...],
             inside: bool) -> Any:
        """See ManyArguments.call."""
        before, GRAD.enabled = GRAD.enabled, GRAD.enabled and not inside
        try:
            with within(*self._around):
                found = vmap(self._info, in_dims, *args)
                if not isinstance(found, tuple) or len(found) != 2:
                    raise RuntimeError(at_user_line(
                        f"{name}.vmap returned {described(found)}: expected (output, out_dims)"))
                output, out_dims = found
                results = as_list(output)
                if not results:
                    raise RuntimeError(at_user_line(
                        f"{name}.vmap returned {described(output)} for output: expected a Tensor or a tuple of them"))
                axes = list(out_dims) if isinstance(out_dims, tuple | list) else [out_dims] * len(results)
                if len(axes) != len(results):
                    raise RuntimeError(at_user_line(
                        f"{name}.vmap returned {len(axes)} out_dims for {len(results)} results: expected one for each, "
                        "None for what is the same for all examples"))
                ones = [self._entering(name, k, y, axis) for k, (y, axis) in enumerate(zip(results, axes))]
        finally:
            GRAD.enabled = before
        return ones[0] if isinstance(output, Tensor) else getattr(type(output), "_make", type(output))(ones)

    def _entering(self, name: str, k: int, y: Any, axis: Any) -> Any:
        """Result k, which has its examples along an axis, as the run sees it."""
        if axis is None:
            return y
        n = self._info.batch_size
        fits = isinstance(y, Tensor) and isinstance(axis, int) and -y.ndim <= axis < y.ndim and y.shape[axis] == n
        if not fits:
            what = str(type_of(y)) if isinstance(y, Tensor) else f"a {type(y).__name__}"
            raise RuntimeError(at_user_line(
                f"{name}.vmap returned {what} for result {k}, with out_dims {axis!r}: expected a Tensor with the {n} "
                "examples along that axis, or None for what is the same for all"))
        many = moveaxis(y, axis, 0) if axis % y.ndim else y
        one = Tensor(first_of(many.memory), many.requires_grad)
        self.entered.append((one, many))
        return one


EXAMPLES: ContextVar[Examples | None] = ContextVar("tracegrad_examples", default=None)
"""The run on one example in this context, if there is one."""


def for_all(function: Any, given: tuple[Any, ...]) -> ManyArguments | None:
    """The arguments of a call for all examples, where this is a run on one of several that they differ in."""
    examples = EXAMPLES.get()
    return None if examples is None else examples.arguments(function, given)
