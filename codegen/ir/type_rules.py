"""Type rules: the type of an op's result from the types of its operands and its attrs.

A rule takes TensorTypes by position and attrs by name, and returns a TensorType or raises TypeRuleError with
a sentence that names the operands, in the order they were given.
"""
from __future__ import annotations

from codegen.ir.dims import Size, element_count, may_be_equal
from codegen.ir.types import COMPLEX, FLOATS, INEXACT, INTEGERS, NUMBERS, PARTS, TensorType


class TypeRuleError(TypeError):
    """The operands of an op do not fit each other or its attrs."""


class AxisError(TypeRuleError, IndexError):
    """An axis that the operand does not have."""


def broadcast_shapes(*shapes: tuple[Size, ...]) -> tuple[Size, ...]:
    """The common shape of shapes that broadcast together (Array API, "Broadcasting")."""
    if shapes and shapes.count(shapes[0]) == len(shapes):
        return shapes[0]
    result: list[Size] = [1] * max(map(len, shapes), default=0)
    for shape in shapes:
        for k, size in enumerate(shape, len(result) - len(shape)):
            if result[k] == 1:
                result[k] = size
            elif size != 1 and size != result[k]:
                texts = " and ".join(map(_shape_text, shapes))
                raise TypeRuleError(f"shapes {texts} do not broadcast ({result[k]} vs {size})")
    return tuple(result)


def _shape_text(shape: tuple[Size, ...]) -> str:
    return f"[{','.join(map(str, shape))}]"


def _require(types: tuple[TensorType, ...], allowed: frozenset[str], what: str) -> str:
    first = types[0].dtype
    for type in types:
        dtype = type.dtype
        if dtype not in allowed:
            raise TypeRuleError(f"{type} is not {what}")
        if dtype != first:
            raise TypeRuleError(f"operands {' and '.join(map(str, types))} have different dtypes")
    return first


def _elementwise(allowed: frozenset[str], what: str, result: str | None = None):
    def rule(*types: TensorType) -> TensorType:
        dtype = _require(types, allowed, what)
        return TensorType(result or dtype, broadcast_shapes(*[t.shape for t in types]))
    return rule


REAL = NUMBERS - COMPLEX
number = _elementwise(NUMBERS, "a number")
real = _elementwise(REAL, "a real number")
floating = _elementwise(FLOATS, "a floating-point number")
inexact = _elementwise(INEXACT, "a floating-point or complex number")
integral = _elementwise(INTEGERS, "an integer")
bits = _elementwise(INTEGERS | {"bool"}, "an integer or bool")
comparison = _elementwise(REAL | {"bool"}, "a real number or bool", result="bool")
equality = _elementwise(NUMBERS | {"bool"}, "a number or bool", result="bool")
complex_number = _elementwise(COMPLEX, "a complex number")


def magnitude(x: TensorType) -> TensorType:
    """|x|: real, whatever x is."""
    return TensorType(PARTS.get(x.dtype, x.dtype), number(x).shape)


def part(x: TensorType) -> TensorType:
    """The real or the imaginary part."""
    return TensorType(PARTS[complex_number(x).dtype], x.shape)


def of_parts(real: TensorType, imag: TensorType) -> TensorType:
    """The complex number of two real ones."""
    whole = {part: whole for whole, part in PARTS.items()}
    dtype = _require((real, imag), frozenset(whole), "f32 or f64")
    return TensorType(whole[dtype], broadcast_shapes(real.shape, imag.shape))


def polygamma(x: TensorType, *, order: int) -> TensorType:
    if order < 0:
        raise TypeRuleError(f"the order {order} is negative")
    return floating(x)


def where(condition: TensorType, x: TensorType, y: TensorType) -> TensorType:
    if condition.dtype != "bool":
        raise TypeRuleError(f"the condition {condition} is not bool")
    if x.dtype != y.dtype:
        raise TypeRuleError(f"operands {x} and {y} have different dtypes")
    return TensorType(x.dtype, broadcast_shapes(condition.shape, x.shape, y.shape))


def same(x: TensorType) -> TensorType:
    return x


def cast(x: TensorType, *, dtype: str) -> TensorType:
    if x.dtype in COMPLEX and dtype not in COMPLEX | {"bool"}:
        raise TypeRuleError(f"{x} does not convert to {dtype}: take its real part, its imaginary part or its size")
    return TensorType(dtype, x.shape)


def _reduced(x: TensorType, axis: tuple[int, ...], keepdims: bool) -> tuple[Size, ...]:
    for k in axis:
        if not 0 <= k < x.ndim:
            raise AxisError(f"axis {k} is out of range for {x}")
    if len(set(axis)) != len(axis):
        raise TypeRuleError(f"axis {list(axis)} names an axis twice")
    return tuple(1 if k in axis else size for k, size in enumerate(x.shape) if keepdims or k not in axis)


def summed(x: TensorType, *, axis: tuple[int, ...], keepdims: bool) -> TensorType:
    if x.dtype not in NUMBERS:
        raise TypeRuleError(f"{x} is not a number")
    return TensorType(x.dtype, _reduced(x, axis, keepdims))


def extremum(x: TensorType, *, axis: tuple[int, ...], keepdims: bool) -> TensorType:
    if any(x.shape[k] == 0 for k in axis if 0 <= k < x.ndim):
        raise TypeRuleError(f"{x} has no element along axis {list(axis)}")
    if x.dtype not in REAL:
        raise TypeRuleError(f"{x} is not a real number")
    return TensorType(x.dtype, _reduced(x, axis, keepdims))


def position(x: TensorType, *, axis: int, keepdims: bool) -> TensorType:
    return TensorType("i64", extremum(x, axis=(axis,), keepdims=keepdims).shape)


def broadcast(x: TensorType, *, shape: tuple[Size, ...]) -> TensorType:
    if len(shape) < x.ndim or broadcast_shapes(x.shape, shape) != shape:
        raise TypeRuleError(f"{x} does not broadcast to {_shape_text(shape)}")
    return TensorType(x.dtype, shape)


def reshape(x: TensorType, *, shape: tuple[Size, ...]) -> TensorType:
    before, after = element_count(x.shape), element_count(shape)
    if not may_be_equal(before, after):
        raise TypeRuleError(f"{x} does not reshape to {_shape_text(shape)} ({before} vs {after} elements)")
    return TensorType(x.dtype, shape)


def transpose(x: TensorType, *, axes: tuple[int, ...]) -> TensorType:
    if sorted(axes) != list(range(x.ndim)):
        raise TypeRuleError(f"axes {list(axes)} are not a permutation of the {x.ndim} axes of {x}")
    return TensorType(x.dtype, tuple(x.shape[k] for k in axes))


def slice_(x: TensorType, *, start: tuple[Size, ...], stop: tuple[Size, ...], step: tuple[Size, ...]) -> TensorType:
    if not len(start) == len(stop) == len(step) == x.ndim:
        raise TypeRuleError(f"start, stop and step must have one entry for each of the {x.ndim} axes of {x}")
    shape: list[Size] = []
    for size, a, b, s in zip(x.shape, start, stop, step):
        if s < 1:
            raise TypeRuleError(f"step {s} is not positive")
        if isinstance(a, int) and isinstance(b, int) and isinstance(size, int) and not 0 <= a <= b <= size:
            raise TypeRuleError(f"slice {a}:{b} is out of range for {x}")
        shape.append((b - a + (s - 1)) // s)
    return TensorType(x.dtype, tuple(shape))


def flip(x: TensorType, *, axes: tuple[int, ...]) -> TensorType:
    _reduced(x, axes, True)
    return x


def pad(x: TensorType, *, low: tuple[Size, ...], high: tuple[Size, ...], interior: tuple[Size, ...]) -> TensorType:
    if not len(low) == len(high) == len(interior) == x.ndim:
        raise TypeRuleError(f"low, high and interior must have one entry for each of the {x.ndim} axes of {x}")
    for a, b, gap in zip(low, high, interior):
        if isinstance(a, int) and a < 0 or isinstance(b, int) and b < 0 or gap < 0:
            raise TypeRuleError("padding is negative")
    return TensorType(x.dtype, tuple(
        a + b + (0 if size == 0 else size + (size - 1) * gap)
        for size, a, b, gap in zip(x.shape, low, high, interior)))


def concat(x: TensorType, y: TensorType, *, axis: int) -> TensorType:
    if not 0 <= axis < x.ndim:
        raise TypeRuleError(f"axis {axis} is out of range for {x}")
    others = [t.shape[:axis] + t.shape[axis + 1:] for t in (x, y)]
    if x.dtype != y.dtype or x.ndim != y.ndim or others[0] != others[1]:
        raise TypeRuleError(f"{x} and {y} differ in more than the size of axis {axis}")
    return TensorType(x.dtype, (*x.shape[:axis], x.shape[axis] + y.shape[axis], *x.shape[axis + 1:]))


def shear(x: TensorType, *, axes: tuple[int, ...], along: tuple[int, ...], step: tuple[int, ...],
          dilation: tuple[int, ...]) -> TensorType:
    _require_pairs(x, axes, along, step, dilation)
    shape = list(x.shape)
    for a, o, s, d in zip(axes, along, step, dilation):
        span = (x.shape[o] - 1) * d + 1
        if isinstance(span, int) and isinstance(size := x.shape[a], int) and size < span:
            raise TypeRuleError(f"{x} has no room along axis {a} for windows that span {span}")
        shape[a] = (x.shape[a] - span) // s + 1
    return TensorType(x.dtype, tuple(shape))


def unshear(x: TensorType, *, axes: tuple[int, ...], along: tuple[int, ...], step: tuple[int, ...],
            dilation: tuple[int, ...], size: tuple[Size, ...]) -> TensorType:
    _require_pairs(x, axes, along, step, dilation)
    if len(size) != len(axes):
        raise TypeRuleError(f"there are {len(size)} sizes for {len(axes)} axes")
    sizes = dict(zip(axes, size))
    result = TensorType(x.dtype, tuple(sizes.get(k, n) for k, n in enumerate(x.shape)))
    if shear(result, axes=axes, along=along, step=step, dilation=dilation) != x:
        raise TypeRuleError(f"{x} is no shear of {result}")
    return result


def _require_pairs(x: TensorType, axes: tuple[int, ...], along: tuple[int, ...], step: tuple[int, ...],
                   dilation: tuple[int, ...]) -> None:
    """Each of the axes goes with another axis, a step and a dilation."""
    _reduced(x, (*axes, *along), True)
    if not len(axes) == len(along) == len(step) == len(dilation):
        raise TypeRuleError("axes, along, step and dilation must be equally many")
    if any(n < 1 for n in (*step, *dilation)):
        raise TypeRuleError(f"steps {list(step)} and dilations {list(dilation)} are not all positive")


def matmul(a: TensorType, b: TensorType) -> TensorType:
    dtype = _require((a, b), NUMBERS, "a number")
    if a.ndim < 2 or a.ndim != b.ndim:
        raise TypeRuleError(f"operands {a} and {b} must have the same number of axes, at least 2")
    if a.shape[-1] != b.shape[-2]:
        raise TypeRuleError(f"operands {a} and {b} do not contract ({a.shape[-1]} vs {b.shape[-2]})")
    if a.shape[:-2] != b.shape[:-2]:
        raise TypeRuleError(f"operands {a} and {b} have different batch shapes")
    return TensorType(dtype, (*a.shape[:-1], b.shape[-1]))


def gather(x: TensorType, indices: TensorType, *, axis: int) -> TensorType:
    along(x, indices, axis)
    return TensorType(x.dtype, indices.shape)


def scatter_add(x: TensorType, indices: TensorType, updates: TensorType, *, axis: int) -> TensorType:
    if x.dtype not in NUMBERS:
        raise TypeRuleError(f"{x} is not a number")
    along(x, indices, axis)
    if updates != TensorType(x.dtype, indices.shape):
        raise TypeRuleError(f"updates {updates} are not {TensorType(x.dtype, indices.shape)}")
    return x


def require_axis(x: TensorType, axis: int) -> None:
    """TypeRuleError if x has no such axis."""
    if not 0 <= axis < x.ndim:
        raise AxisError(f"axis {axis} is out of range for {x}")


def along(x: TensorType, indices: TensorType, axis: int) -> None:
    """TypeRuleError if the indices cannot be indices into x along the axis."""
    if indices.dtype not in {"i32", "i64"}:
        raise TypeRuleError(f"indices {indices} are not i32 or i64")
    require_axis(x, axis)
    if x.ndim != indices.ndim or any(k != axis and a != b for k, (a, b) in enumerate(zip(x.shape, indices.shape))):
        raise TypeRuleError(f"{x} and indices {indices} differ in an axis other than {axis}")


def constant(*, value: str, dtype: str) -> TensorType:
    return TensorType(dtype, ())


def iota(*, shape: tuple[Size, ...], axis: int, dtype: str) -> TensorType:
    if not 0 <= axis < len(shape):
        raise AxisError(f"axis {axis} is out of range for shape {_shape_text(shape)}")
    if dtype not in REAL:
        raise TypeRuleError(f"iota counts in real numbers, not in {dtype}")
    return TensorType(dtype, shape)


def random_bits(key: TensorType, counter: TensorType, *, shape: tuple[Size, ...]) -> TensorType:
    for name, type in (("key", key), ("counter", counter)):
        if type != TensorType("u64"):
            raise TypeRuleError(f"the {name} {type} is not u64[]")
    return TensorType("u32", shape)


