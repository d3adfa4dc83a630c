"""Custom functions: a forward and the backward that goes with it, both written in tensors.

    class Cube(tg.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * x * x

        @staticmethod
        def backward(ctx, g):
            x, = ctx.saved_tensors
            return 3 * g * x * x

    y = Cube.apply(x)

1. `forward` runs without differentiation; `backward` runs as the walk does that calls it, so with create_graph=True
   its own operations are differentiated: every order exists.
2. What is here is ordinary code, which a recorded run looks at like the user's: it calls methods that users write.
"""
from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, ClassVar

from tracegrad.function_calls import Context, FunctionCall, bound, in_order, once, takes
from tracegrad.function_examples import for_all
from tracegrad.source_lines import at_user_line
from tracegrad.tensors import Tensor


class Function:
    """A function with a derivative of its own. Derive from it, define `forward` and `backward`, call `apply`.

    forward(ctx, *args)         returns a Tensor, or a tuple of Tensors and other values
    backward(ctx, *gradients)   is given a gradient for each output, and returns one, or None, for each argument
    setup_context(ctx, inputs, output)    where it is defined `forward(*args)` is not given ctx; this is, afterwards
    jvp(ctx, *tangents)         where it is defined forward modes call it, instead of deriving it from `backward`: it is
                                given a tangent for each argument, and returns one, or None, for each output
    vmap(info, in_dims, *args)  where it is defined tg.vmap calls it, with the arguments for all examples, the axis of
                                these in each, or None, and info.batch_size and info.randomness: it returns the outputs
                                and the axes of the examples in them. Else forward is done for all examples at once,
                                so generate_vmap_rule, which PyTorch asks for, may be set or not
    double_backward(ctx, grad_grad, grad_output)    instead of the derivative of `backward` with respect to the input,
                                for one tensor in and one out; with one argument it is given grad_grad * grad_output

    They are static methods; one that is written without @staticmethod works too. A gradient has the shape of its
    argument, or one that the argument can be broadcast to (then it is summed). Inside of a traced function both are
    part of what is compiled.

        >>> class Above(tg.autograd.Function):
        ...     @staticmethod
        ...     def forward(ctx, x, low):
        ...         ctx.save_for_backward(x)
        ...         ctx.low = low
        ...         return tg.maximum(x, low)
        ...     @staticmethod
        ...     def backward(ctx, g):
        ...         x, = ctx.saved_tensors
        ...         return g * (x > ctx.low), None
        >>> x = tg.tensor([-1.0, 2.0], requires_grad=True)
        >>> Above.apply(x, 0.0).sum().backward()
        >>> x.grad
        tensor([0., 1.])
    """

    setup_context: ClassVar[Callable[..., None] | None] = None
    double_backward: ClassVar[Callable[..., Any] | None] = None
    jvp: ClassVar[Callable[..., Any] | None] = None
    vmap: ClassVar[Callable[..., Any] | None] = None
    generate_vmap_rule: ClassVar[bool] = False

    @staticmethod
    def forward(*args: Any, **kwargs: Any) -> Any:
        """What the function gives."""
        raise NotImplementedError(at_user_line(f"{_name(args)} defines no forward"))

    @staticmethod
    def backward(*args: Any) -> Any:
        """A gradient for each argument, given one for each output."""
        raise NotImplementedError(at_user_line(f"{_name(args)} defines no backward"))

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        name = type(self).__name__
        raise TypeError(at_user_line(f"a custom function has no instances that are called: {name}.apply(...)"))

    @classmethod
    def apply(cls, *args: Any, **kwargs: Any) -> Any:
        """Call the function. Keyword arguments count after the others, in the order in which `forward` names them."""
        given = (*args, *in_order(cls.forward, kwargs)) if kwargs else args
        many = None if cls.vmap is None else for_all(cls, given)
        found = None if many is None else many.call(cls.__name__, cls._of_all)
        if many is not None and not many.inside:
            return found

        def forward(ctx: Context) -> Any:
            if cls.setup_context is None:
                return bound(cls, cls.forward)(ctx, *args, **kwargs)
            output = bound(cls, cls.forward)(*args, **kwargs) if many is None else found
            bound(cls, cls.setup_context)(ctx, given, output)
            return output

        def backward(ctx: Context, *gradients: Any) -> Any:
            return bound(cls, cls.backward)(ctx, *gradients)

        def twice(ctx: Context, gg: Tensor, g: Tensor) -> Any:
            method = bound(cls, cls.double_backward)
            return method(ctx, gg * g) if takes(method) == 2 else method(ctx, gg, g)

        def push(ctx: Context, *tangents: Any) -> Any:
            return bound(cls, cls.jvp)(ctx, *tangents)
        call = FunctionCall(cls, backward, None if cls.double_backward is None else twice, given,
                            None if cls.jvp is None else push)
        return call.forward(forward)

    @classmethod
    def _of_all(cls, info: Any, in_dims: Any, *args: Any) -> Any:
        return bound(cls, cls.vmap)(info, in_dims, *args)


def once_differentiable(backward: Callable[..., Any]) -> Callable[..., Any]:
    """Decorates a `backward` that cannot be differentiated: a second derivative raises, instead of being wrong.

        >>> class Sign(tg.autograd.Function):
        ...     @staticmethod
        ...     def forward(ctx, x):
        ...         return tg.sign(x)
        ...     @staticmethod
        ...     @tg.autograd.once_differentiable
        ...     def backward(ctx, g):
        ...         return g
    """
    @wraps(backward)
    def undifferentiated(ctx: Context, *gradients: Any) -> Any:
        return once(backward, ctx, gradients)
    return undifferentiated


def _name(args: tuple[Any, ...]) -> str:
    return args[0]._name if args and type(args[0]) is Context else "a custom function"
