"""Triton's interpreter made to compute what the GPU computes, or to refuse. In: its module. Out: it, repaired in place.

    bfloat16     rounds to nearest even; arithmetic on it is refused: a kernel computes in fp32
    tl.dot       of bfloat16; of fp32 with tf32, operands cut to it
    tl.maximum   without propagate_nan takes the number of a number and a NaN
    reduce       of a custom function, and a scan, combine whole halves at a time, not element by element
    range        over numbers that are known at run time only

What LLVM leaves undefined does not come out as if it were defined: a shift by too much and a float that an integer
type cannot hold give garbage, a division of integers by 0 is an error. Versions 3.6 and 3.9 are known to it.
"""
from __future__ import annotations

from collections.abc import Callable
from types import FunctionType
from typing import Any

import numpy as np

from codegen.triton_gpu.interpreter_memory import garbage


def decoded(bits: np.ndarray) -> np.ndarray:
    """bfloat16, by its bits, as f32."""
    return (bits.astype(np.uint32) << np.uint32(16)).view(np.float32)


def encoded(x: np.ndarray) -> np.ndarray:
    """f32 as the bits of bfloat16, rounded to nearest even."""
    bits = np.ascontiguousarray(x, np.float32).view(np.uint32)
    rounded = (bits + np.uint32(0x7FFF) + (bits >> np.uint32(16) & np.uint32(1))) >> np.uint32(16)
    return np.where(np.isnan(x), bits >> np.uint32(16) | np.uint32(0x40), rounded).astype(np.uint16)


def encoded_double(x: np.ndarray) -> np.ndarray:
    """f64 as the bits of bfloat16, rounded once: by way of an f32 that is odd where it is not exact."""
    single = x.astype(np.float32)
    toward_zero = np.where(np.abs(single.astype(np.float64)) > np.abs(x), np.nextafter(single, np.float32(0)), single)
    inexact = toward_zero.astype(np.float64) != x
    return encoded((toward_zero.view(np.uint32) | inexact.astype(np.uint32)).view(np.float32))


def cut_to_tf32(x: np.ndarray) -> np.ndarray:
    """f32 without its last 13 bits: tensor cores do not look at them, and no rounding is compiled before them."""
    return (np.ascontiguousarray(x, np.float32).view(np.uint32) & np.uint32(0xFFFFE000)).view(np.float32)


def repair(interpreter: Any) -> None:
    """All of the above, once for the process: the interpreter stays as it is made here between launches."""
    _repair_conversions(interpreter)
    _repair_arithmetic(interpreter)
    _repair_reductions(interpreter)
    _stay(interpreter)


def _repair_conversions(interpreter: Any) -> None:
    builder, handle, tl = interpreter.InterpreterBuilder, interpreter.TensorHandle, interpreter.tl

    def cast(self: Any, x: Any, type: Any) -> Any:
        source, target, data = x.dtype.scalar, type.scalar, x.data
        if source == target:
            return handle(data, target)
        if source == tl.bfloat16:
            data = decoded(data)
        if target == tl.bfloat16:
            data = encoded_double(data) if data.dtype == np.float64 else encoded(data.astype(np.float32))
            return handle(data, target)
        return handle(data.astype(interpreter._get_np_dtype(target)), target)

    def to_integer(self: Any, x: Any, type: Any) -> Any:
        dtype, data = interpreter._get_np_dtype(type.scalar), x.data
        if x.dtype.scalar == tl.bfloat16:
            raise TypeError("bfloat16 to an integer: generated code converts fp32")
        limits = np.iinfo(dtype)
        whole = np.trunc(data.astype(np.float64))
        inside = (whole >= float(limits.min)) & (whole < float(limits.max + 1))
        return handle(np.where(inside, np.where(inside, data, 0).astype(dtype), garbage((), dtype)), type.scalar)

    original = builder.create_fp_to_fp

    def convert(self: Any, x: Any, type: Any, rounding: Any) -> Any:
        simple = all(t.scalar in (tl.bfloat16, tl.float16, tl.float32, tl.float64) for t in (x.dtype, type))
        return cast(self, x, type) if simple else original(self, x, type, rounding)

    builder.cast_impl, builder.create_fp_to_fp = cast, convert
    builder.create_fp_to_si = builder.create_fp_to_ui = to_integer


def _repair_arithmetic(interpreter: Any) -> None:
    builder, handle, tl = interpreter.InterpreterBuilder, interpreter.TensorHandle, interpreter.tl

    def refuse_bfloat16(*operands: Any) -> None:
        if any(x.dtype.scalar == tl.bfloat16 for x in operands):
            raise TypeError("arithmetic on bfloat16: generated code computes in fp32")

    def unary(self: Any, x: Any, op: Callable) -> Any:
        refuse_bfloat16(x)
        return handle(op(x.data), x.dtype.scalar)

    def binary(self: Any, x: Any, y: Any, op: Callable) -> Any:
        refuse_bfloat16(x, y)
        type = x.dtype.scalar
        if x.data.dtype == np.bool_ and y.data.dtype == np.bool_:           # integers of one bit
            return handle((op(x.data.astype(np.int8), y.data.astype(np.int8)) & 1).astype(np.bool_), type)
        result = op(x.data, y.data)
        if result.dtype == np.bool_:
            return handle(result, tl.int1)
        return handle(result.astype(interpreter._get_np_dtype(type), copy=False), type)

    def divided(op: Callable) -> Callable:
        def divide(self: Any, x: Any, y: Any) -> Any:
            if not y.data.all():
                raise ZeroDivisionError("an integer divided by 0, which is undefined even where nothing uses it")
            if y.data.dtype.kind == "i" and ((y.data == -1) & (x.data == np.iinfo(x.data.dtype).min)).any():
                raise OverflowError("the least integer divided by -1, which is undefined even where nothing uses it")
            return handle(op(x.data, y.data).astype(x.data.dtype), x.dtype.scalar)
        return divide

    def shifted(op: Callable) -> Callable:
        def shift(self: Any, x: Any, count: Any) -> Any:
            bits = x.data.dtype.itemsize * 8
            inside = (count.data >= 0) & (count.data < bits)
            result = op(x.data, np.where(inside, count.data, 0).astype(count.data.dtype))
            return handle(np.where(inside, result, garbage((), x.data.dtype)).astype(x.data.dtype), x.dtype.scalar)
        return shift

    def logical(x: np.ndarray, count: np.ndarray) -> np.ndarray:
        unsigned = np.dtype(f"u{x.dtype.itemsize}")
        return (x.view(unsigned) >> count.astype(unsigned)).view(x.dtype)

    def arithmetic(x: np.ndarray, count: np.ndarray) -> np.ndarray:
        signed = np.dtype(f"i{x.dtype.itemsize}")
        return (x.view(signed) >> count.astype(signed)).view(x.dtype)

    def fused(self: Any, x: Any, y: Any, z: Any) -> Any:
        refuse_bfloat16(x, y, z)
        wide = np.longdouble if z.data.dtype == np.float64 else np.float64
        result = x.data.astype(wide) * y.data.astype(wide) + z.data.astype(wide)
        return handle(result.astype(z.data.dtype), z.dtype.scalar)

    def dot(self: Any, x: Any, y: Any, sum: Any, precision: Any, *_: Any) -> Any:
        operands = [decoded(o.data) if o.dtype.scalar == tl.bfloat16 else o.data for o in (x, y)]
        if x.dtype.scalar == tl.float32 and precision == interpreter._ir.INPUT_PRECISION.TF32:
            operands = [cut_to_tf32(o) for o in operands]
        return handle(np.matmul(*operands, dtype=sum.data.dtype) + sum.data, sum.dtype.scalar)

    def error_function(self: Any, x: Any) -> Any:
        from scipy.special import erf
        return unary(self, x, lambda data: erf(data).astype(data.dtype))

    def all_ones(self: Any, type: Any) -> Any:
        dtype = interpreter._get_np_dtype(type.scalar)
        return handle(~np.zeros(1, dtype), type.scalar)

    builder.unary_op, builder.binary_op = unary, binary
    builder.get_all_ones_value = all_ones                                   # 3.6 knows none of unsigned integers
    builder.create_sdiv = builder.create_udiv = builder.create_idiv = divided(
        lambda x, y: (x - np.fmod(x, y)) // y)
    builder.create_srem = builder.create_urem = divided(np.fmod)
    builder.create_shl, builder.create_lshr = shifted(np.left_shift), shifted(logical)
    builder.create_ashr = shifted(arithmetic)
    builder.create_maxnumf = lambda self, x, y: binary(self, x, y, np.fmax)
    builder.create_minnumf = lambda self, x, y: binary(self, x, y, np.fmin)
    builder.create_dot, builder.create_erf = dot, error_function
    if not hasattr(interpreter._interpreter, "fma_fp32"):                   # 3.6 rounds twice
        builder.create_fma = fused


def _repair_reductions(interpreter: Any) -> None:
    tl, handle = interpreter.tl, interpreter.TensorHandle

    def tensors(arrays: list[np.ndarray], types: list[Any]) -> list[Any]:
        return [tl.tensor(handle(x, t), tl.block_type(t, list(x.shape))) for x, t in zip(arrays, types)]

    def combined(combine: Any, left: list[np.ndarray], right: list[np.ndarray], types: list[Any]) -> list[np.ndarray]:
        result = combine.rewrite()(*tensors(left, types), *tensors(right, types))
        return [r.handle.data for r in (result if isinstance(result, tuple | tl.tuple) else (result,))]

    def reduce(self: Any, input: tuple[Any, ...]) -> list[Any]:
        axis, types = self.axis, [x.dtype.scalar for x in input]
        shape = input[0].handle.data.shape
        arrays = [x.handle.data.reshape(-1) if axis is None else np.moveaxis(x.handle.data, axis, 0) for x in input]
        while (n := len(arrays[0])) > 1:
            half = n // 2
            left, right = [x[:half] for x in arrays], [x[half:2 * half] for x in arrays]
            new = combined(self.combine_fn, left, right, types)
            arrays = [np.concatenate((a, x[2 * half:])) for a, x in zip(new, arrays)]
        results = [x[0] for x in arrays]
        if self.keep_dims:
            kept = [1 if axis is None or k == axis % len(shape) else n for k, n in enumerate(shape)]
            results = [np.reshape(x, kept) for x in results]
        return [self.to_tensor(x, t) for x, t in zip(results, types)]

    def scan(self: Any, input: tuple[Any, ...]) -> list[Any]:
        types = [x.dtype.scalar for x in input]
        arrays = [np.moveaxis(x.handle.data, self.axis, 0) for x in input]
        step = 1
        while step < len(arrays[0]):
            before = [np.concatenate((x[:step], x[:-step])) for x in arrays]
            new = combined(self.combine_fn, before, arrays, types)
            arrays = [np.concatenate((x[:step], a[step:])) for a, x in zip(new, arrays)]
            step *= 2
        return [self.to_tensor(np.ascontiguousarray(np.moveaxis(x, 0, self.axis)), t) for x, t in zip(arrays, types)]

    def sum_(self: Any, input: Any) -> Any:
        if input.dtype.scalar == tl.bfloat16:
            raise TypeError("a sum of bfloat16: generated code computes in fp32")
        data = input.handle.data
        start = data.dtype.type(-0.0)                   # NumPy's 0.0 would make a sum of -0.0 0.0
        result = np.add.reduce(data, axis=self.axis, dtype=data.dtype, keepdims=self.keep_dims, initial=start)
        return self.to_tensor(result, input.dtype)

    interpreter.ReduceOps.generic_reduce, interpreter.ReduceOps.sum = reduce, sum_
    interpreter.ScanOps.generic_scan = scan


def _stay(interpreter: Any) -> None:
    """The language is redirected to the interpreter now; Triton would do it anew, and undo it, at every launch."""
    tl = interpreter.tl

    def kernel() -> None:
        """Stands for every kernel: its globals are where the language is looked for."""

    names = {"tl": tl, "core": tl.core}
    interpreter._patch_lang(FunctionType(kernel.__code__, names))
    tl.tensor.__index__ = lambda self: int(self.handle.data.squeeze())

    class Nothing:
        def restore(self) -> None:
            """There is nothing to undo."""

    interpreter._patch_lang = lambda function: Nothing()
