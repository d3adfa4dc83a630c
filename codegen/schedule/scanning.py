"""scanning: a scan -> its kernels.

    %1 = cumsum %0 axis=1        for i < 64: pass j < 5000: v0 = load b0[5000*i+j]; v1 = scan cumsum v0; store b1 ... v1

Where a machine that computes all points at once would go through few long lines, each by itself, they are cut in
blocks: reduced, what they come to scanned, and scanned each from what is before it, as in Merrill and Grimshaw,
Parallel Scan for Stream Architectures (2009). Memory is read twice and written once.

    kernel 1: for i < 256: pass j < 4096: v1 = accumulate sum v0; then store b1[i] v1
    kernel 2: pass i < 256: v0 = load b1[i]; v1 = scan cumsum v0; store b2[i] v1
    kernel 3: for i < 256: v0 = load b2[i-1]; pass j < 4096: v1 = scan cumsum ..; v2 = add v0 v1; store b3[4096*i+j] v2

1. Blocks are combined in the dtype in which the reference of the op goes on: f64 for f32, f32 for the halves.
2. A scan is cut where it may be combined in any order: products of floats may not (a part of one can overflow where the
   whole is 0), nor may a recurrence.
"""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import prod

from codegen.ir.dims import Size, ceil_div, typical
from codegen.ir.graph import attrs_of
from codegen.ir.types import FLOATS
from codegen.schedule.costs import cost_of
from codegen.schedule.expressions import Expressions, Partial
from codegen.schedule.forms import StaticGraph
from codegen.schedule.index import axis, coefficient, flatten, shift
from codegen.schedule.kernel import (
    Accumulate,
    Binary,
    Cast,
    Const,
    Holds,
    Load,
    Param,
    Position,
    Scan,
    Select,
    Statement,
    Store,
    Unary,
    Within,
    indices_of,
    operands,
)
from codegen.schedule.machine import Machine
from codegen.schedule.nest import Nest, blocks_of, cut_in_blocks, nest_of, plain_axis
from codegen.schedule.passes import Lowered, emitted
from codegen.schedule.tile import ROW_LANES, Layout, grain_of, scan_blocks

_WIDE = {"f32": "f64", "f16": "f32", "bf16": "f32"}
_COMBINED = {"cumsum": ("sum", "add"), "cumprod": ("prod", "mul"), "cummax": ("max", "maximum"),
             "cummin": ("min", "minimum")}
"""What a scan is, as a reduction and as an op of two."""


def lower_scan(graph: StaticGraph, value: int, loaded: Callable[[int], bool], machine: Machine) -> list[Lowered]:
    """The kernels of a scan: in order along its axis, a line in each lane, or each chunk, of the other axes."""
    nest = _in_one(graph, value, loaded)
    node = graph.node(value)
    if machine.at_once and node.op in _COMBINED and not (node.op == "cumprod" and node.type.dtype in FLOATS):
        lines = tuple(nest.extents[name] for name in nest.outer)
        blocks = scan_blocks(lines, nest.extents[nest.inner[0]], _neighbors(nest) is not None, machine)
        if blocks:
            return [_kernel(part, 0, machine) for part in _in_three(nest, value, node.type.dtype, blocks)]
    grain: Size = 0
    if nest.outer and not machine.at_once:
        work = graph.sizes[value] * (1 + sum(map(cost_of, nest.statements)))
        lanes = ROW_LANES if nest.outer[0] == _neighbors(nest) else 1
        grain = grain_of(work, nest.extents[nest.outer[0]], lanes, machine)
    return [_kernel(nest, grain, machine)]


def _in_one(graph: StaticGraph, value: int, loaded: Callable[[int], bool]) -> Nest:
    """A scan of whole lines. The first point of a recurrence goes on from nothing: its factor is 0."""
    node = graph.node(value)
    shape, along = graph.shapes[value], f"a{attrs_of(node)['axis']}"
    axes = {f"a{k}": n for k, n in enumerate(shape)}
    point = tuple(map(axis, axes, shape))
    expressions = Expressions(graph, loaded, dict(axes), {}, {})
    args = [expressions.value(a, point) for a in node.args]
    if node.op == "recurrence":
        place = expressions.add(Position(axis(along, axes[along]), "i64"))
        first = expressions.binary("eq", place, expressions.number(0, "i64"))
        args[0] = expressions.select(first, expressions.number(0, node.type.dtype), args[0])
    root = Store(expressions.buffer(value), flatten(point, shape), expressions.add(Scan(node.op, tuple(args)), *args))
    return nest_of(expressions, (root,), [a for a, n in axes.items() if n not in (0, 1) and a != along], (along,))


def _neighbors(nest: Nest) -> str | None:
    """The axis of the lines, if neighbors are in other lines."""
    (store,) = nest.roots
    lines = nest.outer[-1] if nest.outer else None
    return lines if lines is not None and coefficient(indices_of(store)[0], lines) == 1 else None


def _kernel(nest: Nest, grain: Size, machine: Machine) -> Lowered:
    return emitted(nest, Layout(nest.outer, nest.inner, _neighbors(nest), grain), machine)


# ---- in blocks -----------------------------------------------------------------------------------------------------


class _More:
    """A nest that expressions and buffers are added to."""

    def __init__(self, nest: Nest):
        self.nest = nest

    def add(self, s: Statement) -> int:
        """The number of another expression."""
        nest = self.nest
        stage = max((nest.stages[x] for x in operands(s)), default=0) + isinstance(s, Accumulate)
        self.nest = replace(nest, statements=(*nest.statements, s), stages=(*nest.stages, stage))
        return len(nest.statements)


def _in_three(nest: Nest, value: int, dtype: str, wanted: int) -> tuple[Nest, Nest, Nest]:
    """The scan in about so many blocks: what each comes to, what all up to each come to, and the results.

    Partial results lie block after block, each like the lines.
    """
    (along,), (root,) = nest.inner, nest.roots
    scan = nest.statements[root.x]
    assert isinstance(root, Store) and isinstance(scan, Scan)
    length = -(-typical(nest.extents[along]) // wanted)
    multiple = next((n for n in (1024, 64) if length > n), 1)
    length = -(-length // multiple) * multiple
    blocks, lines = ceil_div(nest.extents[along], length), tuple(nest.extents[name] for name in nest.outer)
    counter, wide = blocks_of(along), _WIDE.get(dtype, dtype) if scan.op in ("cumsum", "cumprod") else dtype
    place = flatten((plain_axis(counter), *map(axis, nest.outer, lines)), (blocks, *lines))
    kind, op = _COMBINED[scan.op]
    storages = Partial(value), Partial(value, 1)
    params = (Param(wide, blocks * prod(lines), "in"),) * 2
    ends, sums = len(nest.storages), len(nest.storages) + 1

    more = _More(cut_in_blocks(replace(nest, storages=(*nest.storages, *storages), params=(*nest.params, *params)),
                               along, length))
    x = more.add(Cast(scan.args[0], wide)) if wide != dtype else scan.args[0]
    cut = more.nest

    end = more.add(Accumulate(kind, x))
    if scan.op == "cumsum" and wide in FLOATS:
        end = _with_zeros_below_0(more, x, end, wide)
    first = replace(more.nest, roots=(Store(ends, place, end),))

    second = Nest((Load(0, place), Scan(scan.op, (0,))), (0, 0), (Store(1, place, 1),), (), {}, storages, params,
                  nest.outer, (counter,), {counter: blocks, **{name: nest.extents[name] for name in nest.outer}})

    more = _More(cut)
    here = more.add(Scan(scan.op, (x,)))
    guards = (Within(plain_axis(counter), 1, blocks),)
    before = more.add(Load(sums, shift(place, -prod(lines)), guards))
    result = more.add(Select(more.add(Holds(guards)), more.add(Binary(op, before, here)), here))
    result = more.add(Cast(result, dtype)) if wide != dtype else result
    (stored,) = cut.roots
    third = replace(more.nest, roots=(replace(stored, x=result),))
    return first, second, third


def _with_zeros_below_0(more: _More, x: int, total: int, dtype: str) -> int:
    """A sum that is -0.0 where all that is added up is, as a scan has it."""
    sign = more.add(Binary("copysign", more.add(Const("1.0", dtype)), x))
    below = more.add(Accumulate("min", more.add(Binary("lt", sign, more.add(Const("0.0", dtype))))))
    return more.add(Select(below, more.add(Unary("neg", more.add(Unary("abs", total)))), total))
