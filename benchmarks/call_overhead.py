"""call_overhead: what a call costs when there is next to nothing to compute.

Two, four and 32 arguments of 8 floats; four ndarrays; a module of 10 linear layers whose parameters need no gradient,
one whose parameters do, so that the result has a history, and a function that reads 100 parameters in a list, all of
which a compiled call has to find again and to check. JAX is given the parameters as an argument, which it takes apart
at each call; its result with a history is that of `jax.vjp`.

Where a call goes, measured on an AMD EPYC of 2 cores (CPython 3.11; np.add of 8 floats: 0.34 us): 4,440 instructions
and 0.38 us for four Tensors, of which finding the method of an instance and its arguments take 740, two modes and the
grad mode 220, an array and its Tensor 1,420 with what freeing them takes, and each Tensor that is guarded and taken
some 200.
"""
from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from benchmarks.frame import Benchmark, Work, sample

CASE = "8 floats"
FOUR = "4 tensors"
MANY = "32 tensors"
ARRAYS = "4 ndarrays"
MODULE = "a module of 20 parameters"
HISTORY = "the same, with gradients"
CAPTURED = "100 captured parameters"
LAYERS = 10
PARAMETERS = 100
ARGUMENTS = {CASE: 2, FOUR: 4, MANY: 32, ARRAYS: 4}


def data(count: int) -> list[np.ndarray]:
    return [np.roll(np.arange(8, dtype=np.float32), k) for k in range(count)]


def two(x, y):
    return x * 2.0 + y


def four(x, y, z, w):
    return x * 2.0 + y * z - w


def many(*tensors):
    return summed(tensors[0], tensors[1:])


def summed(x, parameters):
    for p in parameters:
        x = x + p
    return x


def layered(x, weights, biases):
    for w, b in zip(weights, biases):
        x = x @ w + b
    return x


def layers() -> tuple[list[np.ndarray], list[np.ndarray]]:
    return [np.eye(8, dtype=np.float32) * 0.5 for _ in range(LAYERS)], data(LAYERS)


FUNCTIONS: dict[str, Callable] = {CASE: two, FOUR: four, MANY: many, ARRAYS: four}


def work(case: str, array: Callable[[np.ndarray], Any],
         compiled: Callable[[Callable], Callable] = lambda function: function,
         finish: Callable[[Any], Any] | None = None,
         module: Callable[[bool], Callable[[Any], Any]] | None = None) -> Work:
    """The work of a library that is told by how it makes arrays and, if it does, modules, and compiles and waits."""
    if case in (MODULE, HISTORY):
        weights, biases = ([*map(array, part)] for part in layers())
        function: Callable = (lambda x: layered(x, weights, biases)) if module is None else module(case == HISTORY)
        f, arguments = compiled(function), [array(np.ones((1, 8), np.float32))]
    elif case == CAPTURED:
        x, *parameters = map(array, data(1 + PARAMETERS))
        f, arguments = compiled(lambda x: summed(x, parameters)), [x]
    else:
        given = data(ARGUMENTS[case])
        f, arguments = compiled(FUNCTIONS[case]), given if case == ARRAYS else [*map(array, given)]
    result, call = f(*arguments), partial(f, *arguments)
    numbers = sample(np.asarray(result.detach() if case == HISTORY else result))
    return Work(call if finish is None else lambda: finish(call()), numbers)


def module_of(library: Any, array: Callable[[np.ndarray], Any], gradients: bool) -> Callable[[Any], Any]:
    """Layers of PyTorch, or of a library with its names."""
    linear = [library.nn.Linear(8, 8).requires_grad_(False) for _ in range(LAYERS)]
    for layer, w, b in zip(linear, *layers()):
        layer.weight.copy_(array(w))
        layer.bias.copy_(array(b))
    return library.nn.Sequential(*linear).requires_grad_(gradients)


def tracegrad(case: str) -> Work:
    import tracegrad as tg
    return work(case, tg.asarray, tg.trace, module=partial(module_of, tg, tg.asarray))


def tracegrad_eager(case: str) -> Work:
    import tracegrad as tg
    return work(case, tg.asarray, module=partial(module_of, tg, tg.asarray))


def numpy(case: str) -> Work:
    if case == HISTORY:
        raise NotImplementedError("NumPy does not differentiate")
    return work(case, lambda x: x)


def torch(case: str) -> Work:
    import torch
    return work(case, torch.from_numpy, module=partial(module_of, torch, torch.from_numpy))


def torch_compile(case: str) -> Work:
    import torch
    return work(case, torch.from_numpy, lambda f: torch.compile(f, dynamic=False),
                module=partial(module_of, torch, torch.from_numpy))


def jax(case: str) -> Work:
    import jax

    def finish(result):
        return result.block_until_ready()
    if case not in (MODULE, HISTORY, CAPTURED):
        return work(case, jax.numpy.asarray, jax.jit, finish)
    if case == HISTORY:
        arguments = jax.tree_util.tree_map(jax.numpy.asarray, [np.ones((1, 8), np.float32), *layers()])
        f = jax.jit(lambda *arguments: jax.vjp(layered, *arguments))
        return Work(lambda: jax.block_until_ready(f(*arguments)), sample(np.asarray(f(*arguments)[0])))
    if case == MODULE:
        f, arguments = jax.jit(layered), [np.ones((1, 8), np.float32), *layers()]
    else:
        x, *parameters = data(1 + PARAMETERS)
        f, arguments = jax.jit(summed), [x, parameters]
    arguments = jax.tree_util.tree_map(jax.numpy.asarray, arguments)
    return Work(lambda: finish(f(*arguments)), sample(np.asarray(f(*arguments))))


BENCHMARK = Benchmark(
    question="the cost of a call: next to nothing to compute, from few tensors to many",
    cases=(CASE, FOUR, MANY, ARRAYS, MODULE, HISTORY, CAPTURED),
    contenders={
        "tracegrad": tracegrad, "tracegrad eager": tracegrad_eager, "numpy": numpy, "torch": torch,
        "torch.compile": torch_compile, "jax": jax,
    },
)
