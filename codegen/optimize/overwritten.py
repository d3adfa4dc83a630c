"""Rules of values that were overwritten in part: what is read of them comes from the write or from before it.

    %2 = where pad(true), pad(%v), %x                x[low:..] = v
    %3 = slice %2                          ->        slice %v            inside what was written
                                           ->        slice %x            beside it

A chain of such writes is what filling an array element by element comes to. All rules are exact.
"""
from __future__ import annotations

from math import prod
from typing import cast

from codegen.ir.graph import Attr, Node, attrs_of
from codegen.ir.references import literal_text
from codegen.ir.types import is_static
from codegen.optimize.rewrite import Rewriter, Rules

Region = tuple[range, ...]
"""Indices along each axis."""

MUCH_LARGER = 4
"""How many times smaller than the whole a write must be for reads that meet it in part to be taken apart."""


def _sliced(node: Node) -> Region:
    """What a slice reads."""
    attrs = attrs_of(node)
    return tuple(range(a, a + n * s, s) for a, n, s in zip(attrs["start"], node.type.shape, attrs["step"]))


def _padded(node: Node, shape: tuple[int, ...]) -> Region:
    """Where pad puts the elements of an operand of this shape."""
    attrs = attrs_of(node)
    return tuple(range(a, a + n * (gap + 1), gap + 1) for a, n, gap in zip(attrs["low"], shape, attrs["interior"]))


def _inside(inner: range, outer: range) -> bool:
    """Is every index of `inner`, which is not empty, one of `outer`?"""
    return inner[0] in outer and inner[-1] in outer and (len(inner) == 1 or inner.step % outer.step == 0)


def _apart(a: range, b: range) -> bool:
    """Have they no index in common, for a reason that is seen at once?"""
    if not a or not b or a[-1] < b[0] or b[-1] < a[0]:
        return True
    return a.step == b.step and (a.start - b.start) % a.step != 0 or len(a) == 1 and a[0] not in b


def _written(rewriter: Rewriter, value: int) -> tuple[Node, Region] | None:
    """The `where` that `value` is, and the region it takes from its second operand, if it is a write."""
    node = rewriter.nodes[value]
    if node is None or node.op != "where" or any(rewriter.types[v].shape != node.type.shape for v in node.args):
        return None
    mask = rewriter.nodes[node.args[0]]
    if mask is None or mask.op != "pad" or rewriter.fills.get(mask.args[0]) != "true":
        return None
    return node, _padded(mask, cast(tuple[int, ...], rewriter.types[mask.args[0]].shape))


def _slice_of_write(rewriter: Rewriter, node: Node) -> int | None:
    """slice(where(pad(true), v, x)) -> slice(v) inside the region, slice(x) apart from it

    Small writes that the slice meets in part stay, of slices, where one below them is passed.
    """
    if 0 in node.type.shape or not is_static(node.type) or not is_static(rewriter.types[node.args[0]]):
        return None
    read, value = _sliced(node), node.args[0]
    met: list[Node] = []
    passed = 0
    while (found := _written(rewriter, value)) is not None:
        write, region = found
        if any(map(_apart, read, region)):
            passed, value = passed + 1, write.args[2]
        elif all(map(_inside, read, region)):
            if _is_kept(rewriter, value, write, region):
                break
            passed, value = passed + 1, write.args[1]
            break
        elif prod(map(len, region)) * MUCH_LARGER <= prod(cast(tuple[int, ...], write.type.shape)):
            met.append(write)
            value = write.args[2]
        else:
            break
    if not passed:
        return None
    attrs = attrs_of(node)
    result = rewriter.emit("slice", value, **attrs)
    for write in reversed(met):
        mask, new = (rewriter.emit("slice", v, **attrs) for v in write.args[:2])
        result = rewriter.emit("where", mask, new, result)
    return result


def _is_kept(rewriter: Rewriter, value: int, write: Node, region: Region) -> bool:
    """Is a write that makes up most of an array read by others, too? Then what is written is best read from there."""
    most = 2 * prod(map(len, region)) > prod(cast(tuple[int, ...], write.type.shape))
    return most and rewriter.readers.get(value, 1) > 1


def _slice_of_pad(rewriter: Rewriter, node: Node) -> int | None:
    """slice(pad(x)) -> slice(x) inside, 0 outside, pad(slice(x)) across an edge"""
    v, = node.args
    inner = rewriter.nodes[v]
    if inner is None or inner.op != "pad" or 0 in node.type.shape:
        return None
    x, = inner.args
    type = rewriter.types[x]
    if not (is_static(node.type) and is_static(type) and is_static(inner.type)):
        return None
    read, region = _sliced(node), _padded(inner, cast(tuple[int, ...], type.shape))
    if any(map(_apart, read, region)):
        return rewriter.constant(literal_text(0, type.dtype), node.type)
    cuts = [_cut(a, b) for a, b in zip(read, region)]
    if any(cut is None for cut in cuts):
        return None
    start, stop, step, low, high = zip(*cast(list[tuple[int, ...]], cuts))
    part = rewriter.emit("slice", x, start=start, stop=stop, step=step)
    if not any((*low, *high)):
        return part
    attrs: dict[str, Attr] = {"low": low, "high": high, "interior": (0,) * len(low)}
    return rewriter.emit("pad", part, **attrs)


def _cut(read: range, region: range) -> tuple[int, int, int, int, int] | None:
    """(start, stop, step) of a slice of what lies in `region`, and the zeros before and after it, that make `read`."""
    gap = region.step
    if _inside(read, region):
        first, last = region.index(read[0]), region.index(read[-1])
        return first, last + 1, max(1, (last - first) // max(1, len(read) - 1)), 0, 0
    if gap != 1 or read.step != 1:
        return None
    first, last = max(read[0], region[0]), min(read[-1], region[-1])
    return first - region[0], last - region[0] + 1, 1, first - read[0], read[-1] - last


OVERWRITTEN: Rules = {"slice": (_slice_of_write, _slice_of_pad)}
"""What a slice can be replaced with, besides what MOVEMENT says; a folded slice needs neither."""

