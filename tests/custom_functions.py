"""Custom functions as tutorials write them, that several tests are about."""
from __future__ import annotations

import tracegrad as tg
from tracegrad.autograd import Function


class Multiply(Function):
    @staticmethod
    def forward(ctx, a, b):
        ctx.save_for_backward(a, b)
        return a * b

    @staticmethod
    def backward(ctx, g):
        a, b = ctx.saved_tensors
        return g * b, g * a


class MaskedReLU(Function):
    """As tutorials write it: without @staticmethod, masking the gradient in place."""

    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.clamp(min=0)

    def backward(ctx, g):
        x, = ctx.saved_tensors
        g = g.clone()
        g[x < 0] = 0
        return g


class Power(Function):
    @staticmethod
    def forward(ctx, x, n):
        ctx.save_for_backward(x)
        ctx.n = n
        return x ** n

    @staticmethod
    def backward(ctx, g):
        x, = ctx.saved_tensors
        return g * ctx.n * x ** (ctx.n - 1), None


class SineCosine(Function):
    @staticmethod
    def forward(ctx, x):
        s, c = tg.sin(x), tg.cos(x)
        ctx.save_for_backward(s, c)
        return s, c

    @staticmethod
    def backward(ctx, gs, gc):
        s, c = ctx.saved_tensors
        return gs * c - gc * s


class Cube(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x ** 3

    @staticmethod
    def backward(ctx, g):
        x, = ctx.saved_tensors
        return 3 * x ** 2 * g

    @staticmethod
    def double_backward(ctx, gg, g):
        x, = ctx.saved_tensors
        return 6 * x * gg * g


class OnSign(Function):
    """Which way forward and backward go depends on the values."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * 2 if x.sum() > 0 else x * x

    @staticmethod
    def backward(ctx, g):
        x, = ctx.saved_tensors
        return g * 2 if x.sum() > 0 else g * 2 * x
