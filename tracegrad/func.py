"""tg.func: functions of functions. Derivatives of functions of trees, as functions: freely nested, and traced.

    tg.func.grad(loss)(w, x)                           the gradient by w, a tree like w
    tg.func.hessian(f)(x)                              [*f(x).shape, *x.shape, *x.shape]
    tg.vmap(tg.func.grad(loss), in_axes=(None, 0))     one gradient for each x

Names and arguments are torch.func's and JAX's. `argnums` says by which arguments is differentiated: a number, or
several. Each may be a tree (see pytrees), also a Module; the floating-point and complex Tensors in it count, and what
is as the tree has None where something else is. With `has_aux` the function returns (value, aux), and aux is passed
through.

1. Nothing accumulates in `.grad`, and no requires_grad is set: each call differentiates by aliases (see levels).
2. Every op with a rule for backward has a forward mode, too: the derivative of backward, as a function of the
   cotangent, which is linear in it (J. Townsend, A new trick for calculating Jacobian vector products, 2017). Where the
   call is traced nothing of the cotangent itself is left to compute. A custom function with a `jvp` gives it itself.
"""
from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from tracegrad.creation import eye, ones_like, zeros_like
from tracegrad.differentiated import (
    Argnums,
    Differentiated,
    all_real,
    flat_results,
    positions_of,
    real_scalar,
    settled,
    split,
    tangents_of,
)
from tracegrad.dtypes import INEXACT
from tracegrad.levels import Level
from tracegrad.manipulation import moveaxis
from tracegrad.movement import reshape
from tracegrad.pytrees import tree_unflatten
from tracegrad.source_lines import at_user_line
from tracegrad.swapped import functional_call, stack_module_state  # noqa: F401 - public names
from tracegrad.tensors import Tensor
from tracegrad.vectorization import vmap


def _value_and_grad(name: str, func: Callable, argnums: Argnums, has_aux: bool, args: tuple[Any, ...],
                    kwargs: dict[str, Any]) -> tuple[Any, Any, Any]:
    """(value, aux, gradients) at args."""
    places = positions_of(name, argnums, len(args))
    with Level() as level:
        by = Differentiated(level, name, [args[k] for k in places])
        value, aux = split(name, func(*_with(args, places, by.trees), **kwargs), has_aux)
        y = real_scalar(name, value)
        gradients = by.like(level.pull([(y, ones_like(y))], by.aliases))
        found = gradients[0] if isinstance(argnums, int) else gradients
        return settled(level, (value, aux, found))


def _with(args: tuple[Any, ...], places: Sequence[int], trees: Sequence[Any]) -> list[Any]:
    """args with trees in these places."""
    given = list(args)
    for k, tree in zip(places, trees):
        given[k] = tree
    return given


def grad(func: Callable, argnums: Argnums = 0, has_aux: bool = False) -> Callable:
    """A function that gives the gradient of func, which returns a real number, by the arguments argnums.

    It is a tree like the argument, or a tuple of such for several argnums; with has_aux, (gradient, aux).

        >>> tg.func.grad(lambda x: (x ** 3).sum())(tg.tensor([1.0, 2.0]))
        tensor([ 3., 12.])
    """
    @functools.wraps(func)
    def gradient(*args: Any, **kwargs: Any) -> Any:
        _, aux, found = _value_and_grad("grad", func, argnums, has_aux, args, kwargs)
        return (found, aux) if has_aux else found
    return gradient


def value_and_grad(func: Callable, argnums: Argnums = 0, has_aux: bool = False) -> Callable:
    """A function that gives (value, gradient) of func; with has_aux, ((value, aux), gradient). See `grad`.

        >>> tg.func.value_and_grad(lambda x: x * x)(tg.tensor(3.0))
        (tensor(9.), tensor(6.))
    """
    @functools.wraps(func)
    def value_and_gradient(*args: Any, **kwargs: Any) -> Any:
        value, aux, found = _value_and_grad("value_and_grad", func, argnums, has_aux, args, kwargs)
        return ((value, aux) if has_aux else value), found
    return value_and_gradient


def grad_and_value(func: Callable, argnums: Argnums = 0, has_aux: bool = False) -> Callable:
    """`value_and_grad` in PyTorch's order: (gradient, value), or (gradient, (value, aux))."""
    @functools.wraps(func)
    def gradient_and_value(*args: Any, **kwargs: Any) -> Any:
        value, aux, found = _value_and_grad("grad_and_value", func, argnums, has_aux, args, kwargs)
        return found, ((value, aux) if has_aux else value)
    return gradient_and_value


def _one_or_all(trees: tuple[Any, ...]) -> Any:
    return trees[0] if len(trees) == 1 else trees


def vjp(func: Callable, *primals: Any, has_aux: bool = False) -> tuple[Any, ...]:
    """(func(*primals), pull), or (value, pull, aux) with has_aux.

    pull(cotangents), a tree like the value, gives the cotangents of the primals: a tuple, or without it the one of one
    primal, as in PyTorch. It does not run func again, and can be called often.

        >>> y, pull = tg.func.vjp(lambda x: x * x, tg.tensor([1.0, 2.0]))
        >>> pull(tg.ones(2))
        tensor([2., 4.])
    """
    with Level() as level:
        by = Differentiated(level, "vjp", primals)
        value, aux = split("vjp", func(*by.trees), has_aux)
        flat_results("vjp", value)
        out, aux = settled(level, (value, aux))
    ends = [y for y in flat_results("vjp", value)[0] if y.dtype in INEXACT]

    def pull(cotangents: Any) -> Any:
        with level:
            seeds = list(zip(ends, tangents_of("vjp", value, cotangents)))
            return settled(level, _one_or_all(by.like(level.pull(seeds, by.aliases))))

    return (out, pull, aux) if has_aux else (out, pull)


def _pushing(level: Level, ends: Sequence[Tensor], by: Differentiated) -> Callable[[list[Tensor]], list[Tensor]]:
    """From tangents of the aliases to those of `ends`: the derivative of the cotangents by those they are made of."""
    cotangents = [level.alias(zeros_like(y)) for y in ends]
    pulled = level.pull(list(zip(ends, cotangents)), by.aliases, create_graph=True, forward=True)

    def push(tangents: list[Tensor]) -> list[Tensor]:
        return level.pull(list(zip(pulled, tangents)), cotangents)

    return push


def linearize(func: Callable, *primals: Any) -> tuple[Any, Callable]:
    """(func(*primals), push): push(*tangents) gives the tangent of the value, without running func again.

        >>> y, push = tg.func.linearize(lambda x: x * x, tg.tensor([1.0, 2.0]))
        >>> push(tg.tensor([1.0, 10.0]))
        tensor([ 2., 40.])
    """
    out, push, _ = _linearized("linearize", func, primals, False)
    return out, push


def _linearized(name: str, func: Callable, primals: Sequence[Any], has_aux: bool) -> tuple[Any, Callable, Any]:
    """(value, push, aux)."""
    with Level() as level:
        by = Differentiated(level, name, primals)
        value, aux = split(name, func(*by.trees), has_aux)
        leaves, structure = flat_results(name, value)
        pushed = _pushing(level, [y for y in leaves if y.dtype in INEXACT], by)
        out, aux = settled(level, (value, aux))

    def push(*tangents: Any) -> Any:
        with level:
            found = iter(pushed(by.tangents(name, tangents)))
            tree = tree_unflatten(structure, [next(found) if y.dtype in INEXACT else zeros_like(y) for y in leaves])
            return settled(level, tree)

    return out, push, aux


def jvp(func: Callable, primals: Sequence[Any], tangents: Sequence[Any], *, has_aux: bool = False) -> tuple[Any, ...]:
    """(func(*primals), the tangent of it), or (value, tangent, aux): the derivative along tangents, trees like primals.

        >>> tg.func.jvp(tg.sin, (tg.tensor(0.0),), (tg.tensor(2.0),))
        (tensor(0.), tensor(2.))
    """
    if not isinstance(primals, tuple | list) or not isinstance(tangents, tuple | list):
        raise TypeError(at_user_line("jvp: primals and tangents are tuples, with one entry for each argument"))
    out, push, aux = _linearized("jvp", func, primals, has_aux)
    return (out, push(*tangents), aux) if has_aux else (out, push(*tangents))


def _each(function: Callable[[Tensor], list[Tensor]], like: Tensor, chunk_size: int | None) -> list[Tensor]:
    """`function` of every tensor like this that is 1 at one place and 0 elsewhere, along a new first axis."""
    basis = reshape(eye(like.size, dtype=like.dtype, device=like.device), (like.size, *like.shape))
    return vmap(function, chunk_size=chunk_size)(basis)


def jacrev(func: Callable, argnums: Argnums = 0, has_aux: bool = False, *, chunk_size: int | None = None) -> Callable:
    """A function that gives the Jacobian of func by the arguments argnums, [*value.shape, *argument.shape], row by row.

    Of trees it is a tree like the value of trees like the argument (or of tuples of such). Use it where there are fewer
    results than arguments, else `jacfwd`. chunk_size: how many rows are computed at once (None: all).

        >>> tg.func.jacrev(lambda x: x[:2] * x[2])(tg.tensor([1.0, 2.0, 3.0]))
        tensor([[3., 0., 1.],
                [0., 3., 2.]])
    """
    @functools.wraps(func)
    def jacobian(*args: Any, **kwargs: Any) -> Any:
        places = positions_of("jacrev", argnums, len(args))
        with Level() as level:
            by = Differentiated(level, "jacrev", [args[k] for k in places])
            value, aux = split("jacrev", func(*_with(args, places, by.trees), **kwargs), has_aux)
            leaves, structure = flat_results("jacrev", value)
            all_real("jacrev", [*leaves, *by.aliases])
            blocks = []
            for y in leaves:
                rows = _each(lambda v: level.pull([(y, v)], by.aliases), y, chunk_size)  # noqa: B023 - called at once
                block = by.like([reshape(r, (*y.shape, *x.shape)) for r, x in zip(rows, by.aliases)])
                blocks.append(block[0] if isinstance(argnums, int) else block)
            return _jacobian(level, tree_unflatten(structure, blocks), aux, has_aux)
    return jacobian


def jacfwd(func: Callable, argnums: Argnums = 0, has_aux: bool = False, *, chunk_size: int | None = None,
           randomness: str = "error") -> Callable:
    """`jacrev`, column by column: where there are fewer arguments than results.

        >>> tg.func.jacfwd(lambda x: tg.stack([x, x * x, x ** 3]))(tg.tensor(2.0))
        tensor([ 1.,  4., 12.])
    """
    @functools.wraps(func)
    def jacobian(*args: Any, **kwargs: Any) -> Any:
        places = positions_of("jacfwd", argnums, len(args))
        with Level() as level:
            by = Differentiated(level, "jacfwd", [args[k] for k in places])
            value, aux = split("jacfwd", func(*_with(args, places, by.trees), **kwargs), has_aux)
            leaves, structure = flat_results("jacfwd", value)
            all_real("jacfwd", [*leaves, *by.aliases])
            push = _pushing(level, leaves, by)
            zeros = [zeros_like(x) for x in by.aliases]
            columns = [_each(lambda v: push([*zeros[:k], v, *zeros[k + 1:]]), x, chunk_size)  # noqa: B023
                       for k, x in enumerate(by.aliases)]
            blocks = []
            for j, y in enumerate(leaves):
                block = by.like([reshape(moveaxis(of_x[j], 0, -1), (*y.shape, *x.shape))
                                 for of_x, x in zip(columns, by.aliases)])
                blocks.append(block[0] if isinstance(argnums, int) else block)
            return _jacobian(level, tree_unflatten(structure, blocks), aux, has_aux)
    return jacobian


def _jacobian(level: Level, found: Any, aux: Any, has_aux: bool) -> Any:
    return settled(level, (found, aux)) if has_aux else settled(level, found)


def hessian(func: Callable, argnums: Argnums = 0) -> Callable:
    """A function that gives the second derivatives of func: jacfwd(jacrev(func)).

        >>> tg.func.hessian(lambda x: x[0] * x[1] ** 2)(tg.tensor([1.0, 3.0]))
        tensor([[0., 6.],
                [6., 2.]])
    """
    return jacfwd(jacrev(func, argnums), argnums)


def hvp(func: Callable, primals: Any, tangents: Any, *, has_aux: bool = False) -> Any:
    """The Hessian of func, which returns a real number, times tangents, without the Hessian.

    primals and tangents are tuples of trees, one for each argument, or of one argument without the tuple: the product
    is as primals are.

        >>> tg.func.hvp(lambda x: x[0] * x[1] ** 2, tg.tensor([1.0, 3.0]), tg.tensor([1.0, 0.0]))
        tensor([0., 6.])
    """
    several = isinstance(primals, tuple)
    points, along = (primals, tangents) if several else ((primals,), (tangents,))
    with Level() as outer:
        by = Differentiated(outer, "hvp", points)
        _, aux, gradients = _value_and_grad("hvp", func, tuple(range(len(points))), has_aux, by.trees, {})
        ends = tangents_of("hvp", by.trees, gradients)
        product = by.like(outer.pull(list(zip(ends, by.tangents("hvp", along))), by.aliases))
        return settled(outer, ((product if several else product[0]), aux) if has_aux
                       else product if several else product[0])
