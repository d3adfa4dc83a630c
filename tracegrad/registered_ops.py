"""Functions with a derivative of their own, called by name or written as a function and its vjp.

    tg.autograd.register_function("cube", Cube)     ->   tg.ops.cube(x) is Cube.apply(x)

    @tg.autograd.custom_op                          ->   cube(x), whose gradient is cube_vjp(g, y, x)
    def cube(x): ...

    @cube.vjp
    def cube_vjp(g, y, x): ...
"""
from __future__ import annotations

import inspect
import keyword
from collections.abc import Callable
from functools import update_wrapper
from typing import Any

from tracegrad import ops
from tracegrad.function_calls import as_list
from tracegrad.functions import Function
from tracegrad.source_lines import at_user_line
from tracegrad.tensors import Tensor


def register_function(name: str, function: type[Function] | CustomOp) -> Callable[..., Any]:
    """Make a custom function known as `tg.ops.<name>`, with its docstring and the signature of its forward.

    ValueError for a name that is no identifier, begins with an underscore, or is taken.

        >>> class Twice(tg.autograd.Function):
        ...     '''Two times x.'''
        ...     @staticmethod
        ...     def forward(ctx, x):
        ...         return x * 2
        ...     @staticmethod
        ...     def backward(ctx, g):
        ...         return g * 2
        >>> twice = tg.autograd.register_function("twice", Twice)
        >>> tg.ops.twice(tg.tensor([1.0, 3.0]))
        tensor([2., 6.])
        >>> tg.ops.twice.__doc__
        'Two times x.'
    """
    if not isinstance(name, str) or not name.isidentifier() or keyword.iskeyword(name) or name.startswith("_"):
        raise ValueError(at_user_line(f"register_function: {name!r} is no name that users could write after tg.ops."))
    if name in vars(ops):
        raise ValueError(at_user_line(f"register_function: tg.ops.{name} is there already; choose another name"))
    called: Callable[..., Any]
    if isinstance(function, CustomOp):
        called = function
    elif isinstance(function, type) and issubclass(function, Function):
        called = _by_apply(name, function)
    else:
        raise TypeError(at_user_line(
            f"register_function: {name} would be a {type(function).__name__}: expected a class derived from "
            "tg.autograd.Function, or a custom_op"))
    setattr(ops, name, called)
    return called


def _by_apply(name: str, function: type[Function]) -> Callable[..., Any]:
    def called(*args: Any, **kwargs: Any) -> Any:
        return function.apply(*args, **kwargs)
    called.__name__ = called.__qualname__ = name
    called.__doc__ = function.__doc__ if function.__doc__ != Function.__doc__ else function.forward.__doc__
    called.__module__ = function.__module__
    called.__signature__ = _signature(function)     # type: ignore[attr-defined]
    return called


def _signature(function: type[Function]) -> inspect.Signature:
    """That of forward, without self and ctx."""
    signature = inspect.signature(function.forward)
    names = list(signature.parameters)
    first = 0 if function.setup_context is not None else 2 if names[:2] == ["self", "ctx"] else 1
    return signature.replace(parameters=list(signature.parameters.values())[first:])


class CustomOp:
    """A function of tensors whose derivative is given; made by `custom_op`."""

    def __init__(self, forward: Callable[..., Any]):
        update_wrapper(self, forward)
        parameters = inspect.signature(forward).parameters.values()
        if any(p.kind in (p.KEYWORD_ONLY, p.VAR_KEYWORD) for p in parameters):
            raise TypeError(at_user_line(f"custom_op: {forward.__name__} has parameters that are given by name only: "
                                         "gradients are for positions"))
        self._defaults = [(p.name, p.default) for p in parameters if p.kind is not p.VAR_POSITIONAL]
        self._rule: Callable[..., Any] | None = None
        self.function = _function_of(forward, self)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if len(args) < len(self._defaults) or kwargs:
            args = (*args, *self._named(args, kwargs))
        return self.function.apply(*args)

    def _named(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Any]:
        """The arguments after those that were given by position: the rule is given all of them."""
        found, left = [], dict(kwargs)
        for name, default in self._defaults[len(args):]:
            if name not in left and default is inspect.Parameter.empty:
                raise TypeError(at_user_line(f"{self.function.__name__}: {name} is missing"))
            found.append(left.pop(name, default))
        if left:
            raise TypeError(at_user_line(f"{self.function.__name__} has no parameter {next(iter(left))}, or was given "
                                         "it twice"))
        return found

    def vjp(self, rule: Callable[..., Any]) -> Callable[..., Any]:
        """Decorates rule(g, y, *args): the gradient of each argument, given that of the result y, or of each result.

        A gradient is None where there is none: always for what is no Tensor.
        """
        self._rule = rule
        return rule

    def gradients(self, g: Any, y: Any, args: list[Any]) -> Any:
        """What the rule gives. NotImplementedError if there is none."""
        name = self.function.__name__
        if self._rule is None:
            raise NotImplementedError(at_user_line(f"{name} has no derivative: @{name}.vjp gives it one"))
        return self._rule(g, y, *args)


def custom_op(function: Callable[..., Any]) -> CustomOp:
    """Decorates a function of tensors whose derivative is given by `.vjp`; operations in it are not differentiated.

        >>> @tg.autograd.custom_op
        ... def cube(x):
        ...     return x ** 3
        >>> @cube.vjp
        ... def cube_vjp(g, y, x):
        ...     return 3 * g * x ** 2
        >>> x = tg.tensor([2.0], requires_grad=True)
        >>> cube(x).sum().backward()
        >>> x.grad
        tensor([12.])
    """
    if not callable(function):
        raise TypeError(at_user_line(f"custom_op decorates a function, not a {type(function).__name__}"))
    return CustomOp(function)


def _function_of(op: Callable[..., Any], custom: CustomOp) -> type[Function]:
    """The op as a Function, which saves what its rule is given."""
    class Op(Function):
        @staticmethod
        def forward(ctx: Any, *args: Any) -> Any:
            output = op(*args)
            ctx.single = isinstance(output, Tensor)
            ctx.given = [None if isinstance(a, Tensor) else (a,) for a in (*args, *as_list(output))]
            ctx.arguments = len(args)
            ctx.save_for_backward(*[a for a in (*args, *as_list(output)) if isinstance(a, Tensor)])
            return output

        @staticmethod
        def backward(ctx: Any, *gradients: Any) -> Any:
            saved = iter(ctx.saved_tensors)
            values = [next(saved) if kept is None else kept[0] for kept in ctx.given]
            args, results = values[:ctx.arguments], values[ctx.arguments:]
            if ctx.single:
                return custom.gradients(gradients[0], results[0], args)
            return custom.gradients(gradients, tuple(results), args)
    Op.__name__ = Op.__qualname__ = op.__name__
    return Op
