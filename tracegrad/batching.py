"""The batched form of each op: what it does to many examples at once, whose operands have them along a new first axis.

    exp : f32[3] -> f32[3]                           exp : f32[n,3] -> f32[n,3]
    sum axis=[0] : f32[3] -> f32[]                   sum axis=[1] : f32[n,3] -> f32[n]
    matmul : f32[2,3], f32[3,4] -> f32[2,4]          matmul : f32[n*2,3], f32[3,4] -> f32[n*2,4], between reshapes

A rule is given the op's name, its operands (those of which `batched` says so have the new axis), the number of
examples, and the op's attrs for one example. What it gives has the new axis. Rules are written in the algebra of
`algebra`: operands are Tensors, and then they compute and have a history, or builder Values.

1. Every op has a rule, and no rule is asked where no operand is batched.
2. A rule does for each example what the op does, and refuses what it refuses; the bits are the same, but where sums add
   up in another order.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from codegen.ir.dims import Size
from codegen.ir.ops import ELEMENTWISE, OPS
from tracegrad.algebra import Operand, broadcast, reshape, swap

Rule = Callable[..., Operand]


def whole(x: Operand, is_batched: bool, n: Size) -> Operand:
    """x for each example, where it is the same for all."""
    return x if is_batched else broadcast(x, (n, *x.shape))


def lifted(x: Operand, is_batched: bool, ndim: int) -> Operand:
    """x with as many axes for an example as others have."""
    missing = ndim + 1 - len(x.shape)
    return x if not is_batched or missing == 0 else reshape(x, (x.shape[0], *(1,) * missing, *x.shape[1:]))


def elementwise(op: str, xs: Sequence[Operand], batched: Sequence[bool], n: Size, **attrs: Any) -> Operand:
    """Operands are broadcast as those of one example are: the new axis is in front of all of theirs."""
    ndim = max(len(x.shape) - b for x, b in zip(xs, batched))
    first, *rest = (lifted(x, b, ndim) for x, b in zip(xs, batched))
    return first.emit(op, *rest, **attrs)


def leading(op: str, xs: Sequence[Operand], batched: Sequence[bool], n: Size, **attrs: Any) -> Operand:
    """An op of which the first axes are a batch already."""
    first, *rest = (whole(x, b, n) for x, b in zip(xs, batched))
    return first.emit(op, *rest, **attrs)


def along_axis(op: str, xs: Sequence[Operand], batched: Sequence[bool], n: Size, *, axis: int, **attrs: Any) -> Operand:
    return leading(op, xs, batched, n, axis=axis + 1, **attrs)


def along_axes(op: str, xs: Sequence[Operand], batched: Sequence[bool], n: Size, **attrs: Any) -> Operand:
    """An op with `axis` or `axes`, or both `axes` and `along`, for lists of axes."""
    moved = {k: tuple(a + 1 for a in v) if k in ("axis", "axes", "along") else v for k, v in attrs.items()}
    return leading(op, xs, batched, n, **moved)


def broadcast_rule(op: str, xs: Sequence[Operand], batched: Sequence[bool], n: Size, *,
                   shape: tuple[Size, ...]) -> Operand:
    return broadcast(lifted(xs[0], True, len(shape)), (n, *shape))


def reshape_rule(op: str, xs: Sequence[Operand], batched: Sequence[bool], n: Size, *,
                 shape: tuple[Size, ...]) -> Operand:
    return reshape(xs[0], (n, *shape))


def transpose_rule(op: str, xs: Sequence[Operand], batched: Sequence[bool], n: Size, *,
                   axes: tuple[int, ...]) -> Operand:
    return xs[0].emit("transpose", axes=(0, *(a + 1 for a in axes)))


def slice_rule(op: str, xs: Sequence[Operand], batched: Sequence[bool], n: Size, *, start: tuple[Size, ...],
               stop: tuple[Size, ...], step: tuple[Size, ...]) -> Operand:
    return xs[0].emit("slice", start=(0, *start), stop=(n, *stop), step=(1, *step))


def pad_rule(op: str, xs: Sequence[Operand], batched: Sequence[bool], n: Size, *, low: tuple[Size, ...],
             high: tuple[Size, ...], interior: tuple[Size, ...]) -> Operand:
    return xs[0].emit("pad", low=(0, *low), high=(0, *high), interior=(0, *interior))


def matmul_rule(op: str, xs: Sequence[Operand], batched: Sequence[bool], n: Size) -> Operand:
    """A matrix that all examples share takes their rows as those of one matrix."""
    a, b = xs
    if batched[0] and not batched[1] and len(b.shape) == 2:
        rows = reshape(a, (n * a.shape[1], a.shape[2]))
        return reshape(rows.emit("matmul", b), (n, a.shape[1], b.shape[1]))
    if batched[1] and not batched[0] and len(a.shape) == 2:
        return swap(matmul_rule(op, (swap(b), swap(a)), (True, False), n))
    return leading(op, xs, batched, n)


def gather_rule(op: str, xs: Sequence[Operand], batched: Sequence[bool], n: Size, *, axis: int) -> Operand:
    """What all examples share is not repeated: their indices into it are laid one after the other."""
    x, indices = xs
    if batched[0]:
        return along_axis(op, xs, batched, n, axis=axis)
    beside = (*range(1, axis + 1), 0, *range(axis + 1, len(indices.shape)))
    there = indices.emit("transpose", axes=beside)
    before, count, after = there.shape[:axis], there.shape[axis + 1], there.shape[axis + 2:]
    found = x.emit("gather", reshape(there, (*before, n * count, *after)), axis=axis)
    back = tuple(sorted(range(len(beside)), key=beside.__getitem__))
    return reshape(found, (*before, n, count, *after)).emit("transpose", axes=back)


def random_rule(op: str, xs: Sequence[Operand], batched: Sequence[bool], n: Size, *,
                shape: tuple[Size, ...]) -> Operand:
    """Each example has its own key or counter: it draws by itself."""
    if n == 0:
        return broadcast(lifted(xs[batched.index(True)].emit("cast", dtype="u32"), True, len(shape)), (0, *shape))
    found = None
    assert isinstance(n, int)
    for k in range(n):
        key, counter = (reshape(x.emit("slice", start=(k,), stop=(k + 1,), step=(1,)), ()) if b else x
                        for x, b in zip(xs, batched))
        drawn = reshape(key.emit(op, counter, shape=shape), (1, *shape))
        found = drawn if found is None else found.emit("concat", drawn, axis=0)
    return found


def not_of_values(op: str, xs: Sequence[Operand], batched: Sequence[bool], n: Size, **attrs: Any) -> Operand:
    """An op without operands has none that is batched."""
    raise AssertionError(f"{op} has no operand")


RULES: dict[str, Rule] = {
    **{name: elementwise for name, op in OPS.items() if ELEMENTWISE in op.traits},
    # reductions and what runs along an axis
    **dict.fromkeys(("sum", "max", "min", "prod"), along_axes),
    **dict.fromkeys(("argmax", "argmin", "cumsum", "cumprod", "cummax", "cummin", "recurrence", "sort", "argsort",
                     "concat", "scatter_add", "scatter"), along_axis),
    # movement
    "broadcast": broadcast_rule,
    "reshape": reshape_rule,
    "transpose": transpose_rule,
    "slice": slice_rule,
    "flip": along_axes,
    "pad": pad_rule,
    "shear": along_axes,
    "unshear": along_axes,
    # contraction, indirection
    "matmul": matmul_rule,
    "gather": gather_rule,
    "searchsorted": leading,
    # linear algebra and transforms
    **dict.fromkeys(("cholesky", "triangular_solve", "solve", "det", "slogdet", "qr", "svd", "svdvals", "eigh",
                     "eigvalsh", "eig", "eigvals", "pinv", "expm"), leading),
    "fft": along_axes,
    "rfft": along_axis,
    "irfft": along_axis,
    # creation, random bits
    "constant": not_of_values,
    "iota": not_of_values,
    "random_bits": random_rule,
}
