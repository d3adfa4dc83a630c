"""Indices and guards as scalar or vector arithmetic, for the place in the loop nest where code is being written.

Along the vector axis an index is either affine (a scalar for lane 0 and a constant step from lane to lane) or it is a
vector of lanes. A quotient or a remainder stays affine where the step is a multiple of its divisor, and where all lanes
provably fall between two multiples of it.
"""
from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import gcd
from types import MappingProxyType
from typing import overload

from codegen.ir.dims import Dim, Size, content, exact_quotient, number_of
from codegen.ir.structs import struct
from codegen.llvm_cpu.assembler import I32, Assembler, Value, vector
from codegen.schedule.index import bounds
from codegen.schedule.kernel import Index, Quotient, Remainder, Term, Within

NONE_ASSUMED: Mapping[Within, bool] = MappingProxyType({})


@struct
class Point:
    """Where in the nest code is written.

    indices: the current number along each open axis, along the vector axis that of lane 0. lanes: 1 outside that axis.
    aligned: the number of lane 0 is a multiple of this. count: so many lanes exist, None for all. assumed: guards that
    were found to hold in every lane (True) or in none (False). with_lines: what is stored at this index is, in lane 0,
    where a line of memory begins (see Lines).
    """

    indices: Mapping[str, Value]
    extents: Mapping[str, Size]
    vector: str | None
    lanes: int = 1
    aligned: int = 1
    count: Value | None = None
    assumed: Mapping[Within, bool] = NONE_ASSUMED
    with_lines: Index | None = None


    def mask(self, a: Assembler) -> Value | None:
        """The lanes that exist, None for all."""
        if self.count is None:
            return None
        if self.count.number is not None:
            return a.first_lanes(self.lanes, self.count.number)
        few = a.splat(narrow(a, self.count), self.lanes)
        return a.compare("icmp slt", a.lane_numbers(vector("i32", self.lanes)), few)


@struct
class Affine:
    """base + step * lane; base is a multiple of `aligned` (0: it is 0)."""

    base: Value
    step: int
    aligned: int


# ---- along the vector axis: affine, or lanes -----------------------------------------------------------------------


def affine(a: Assembler, point: Point, index: Index) -> Affine | None:
    """`index` in affine form, None where it has none."""
    parts = []
    step, aligned = 0, content(index.constant)
    for term, coefficient in index.terms:
        part = _affine_term(a, point, term)
        if part is None or part.step and not isinstance(coefficient, int):
            return None
        parts.append((part.base, coefficient))
        step += coefficient * part.step if isinstance(coefficient, int) else 0
        aligned = gcd(aligned, content(coefficient) * part.aligned)
    return Affine(_sum(a, parts, index.constant), step, aligned)


def _sum(a: Assembler, parts: list[tuple[Value, Size]], constant: Size) -> Value:
    """sum of value * coefficient + constant; what is known furthest out is added first."""
    total: Value | None = None
    for value, coefficient in sorted(parts, key=lambda part: part[0].scope):
        product = value if coefficient == 1 else a.binary("mul nsw", value, a.size(coefficient))
        total = product if total is None else a.binary("add nsw", total, product)
    if total is None:
        return a.size(constant)
    return a.binary("add nsw", total, a.size(constant)) if constant else total


def _affine_term(a: Assembler, point: Point, term: Term) -> Affine | None:
    if isinstance(term, str):
        varies = term == point.vector and point.lanes > 1
        return Affine(point.indices[term], int(varies), point.aligned if varies else 1)
    inner = affine(a, point, term.index)
    if inner is None:
        return None
    base, step, divisor = inner.base, inner.step, term.divisor
    number = a.size(divisor)
    whole_steps = exact_quotient(step, divisor)
    room = gcd(inner.aligned, content(divisor))     # lane 0 is at least this far below the next multiple of the divisor
    together = 0 <= step * (point.lanes - 1) < room
    if whole_steps is None and not together:
        return None
    if isinstance(term, Quotient):
        return Affine(a.binary("udiv", base, number), number_of(whole_steps or 0), 1)
    return Affine(a.binary("urem", base, number), step if whole_steps is None else 0, room)


def lanes(a: Assembler, point: Point, index: Index) -> Value:
    """`index` as a vector with one number for each lane: i32 where it fits, else i64."""
    return _lanes(a, point, index, "i32" if _fits_i32(index, point.extents) else "i64")


def _fits_i32(index: Index, extents: Mapping[str, Size]) -> bool:
    low, high = bounds(index, extents)
    if isinstance(low, Dim) or isinstance(high, Dim):
        return True                         # as whoever gives the words has made sure
    inner = (term.index for term, _ in index.terms if not isinstance(term, str))
    return -(1 << 30) < low and high < 1 << 30 and all(_fits_i32(i, extents) for i in inner)


def _lanes(a: Assembler, point: Point, index: Index, dtype: str) -> Value:
    form = affine(a, point, index)
    type = vector(dtype, point.lanes)
    if form is not None:
        return spread(a, form, type.dtype, point.lanes)
    scalars, total = [], None
    for term, coefficient in index.terms:
        part = _affine_term(a, point, term)
        if part is not None and part.step == 0:
            scalars.append((part.base, coefficient))
            continue
        if part is not None:
            lane = spread(a, part, dtype, point.lanes)
        else:
            assert isinstance(term, Quotient | Remainder)
            opcode = "udiv" if isinstance(term, Quotient) else "urem"
            lane = a.binary(opcode, _lanes(a, point, term.index, dtype), a.size_in_lanes(term.divisor, type))
        product = lane if coefficient == 1 else a.binary("mul", lane, a.size_in_lanes(coefficient, type))
        total = product if total is None else a.binary("add", total, product)
    assert total is not None
    rest = spread(a, Affine(_sum(a, scalars, index.constant), 0, 1), dtype, point.lanes)
    return a.binary("add", rest, total)


def spread(a: Assembler, form: Affine, dtype: str, lanes: int) -> Value:
    """An affine index as a vector of lanes of dtype i32 or i64 (what it holds must fit)."""
    base = form.base if dtype == "i64" else narrow(a, form.base)
    if form.step == 0:
        return a.splat(base, lanes)
    return a.binary("add", a.splat(base, lanes), a.lane_numbers(vector(dtype, lanes), form.step))


def narrow(a: Assembler, x: Value) -> Value:
    """The low half of an i64 as i32."""
    return a.convert("trunc", x, I32) if x.number is None else a.constant(I32, x.number)


def number(a: Assembler, point: Point, index: Index) -> Value:
    """`index` as a value: a scalar where it is the same in every lane."""
    form = affine(a, point, index)
    return form.base if form is not None and form.step == 0 else lanes(a, point, index)


# ---- guards --------------------------------------------------------------------------------------------------------


def holds(a: Assembler, point: Point, guards: tuple[Within, ...]) -> Value | None:
    """Where all guards hold: one bool for all lanes, or for each; None where the axes' extents imply them."""
    return both(a, *held_apart(a, point, guards))


def fails(point: Point, guards: Iterable[Within]) -> bool:
    """Is one of the guards assumed to hold in no lane?"""
    return any(point.assumed.get(guard) is False for guard in guards)


def held_apart(a: Assembler, point: Point, guards: tuple[Within, ...]) -> tuple[Value | None, Value | None]:
    """Do those guards hold that are the same in every lane, and where do the others; None where that is everywhere."""
    scalar: Value | None = None
    vectors: Value | None = None
    for guard in guards:
        if point.assumed.get(guard) or _is_implied(guard, point.extents):
            continue
        shifted = Index(guard.index.terms, guard.index.constant - guard.low)
        width = guard.high - guard.low                      # low <= i < high, as i - low < width unsigned
        width = min(max(width, 0), (1 << 31) - 1) if isinstance(width, int) else width
        form = affine(a, point, shifted)
        if form is not None and form.step == 0:
            test = a.compare("icmp ult", form.base, a.size(width))
            scalar = test if scalar is None else a.binary("and", scalar, test)
        else:
            lane = lanes(a, point, shifted)
            test = a.compare("icmp ult", lane, a.size_in_lanes(width, lane.type))
            vectors = test if vectors is None else a.binary("and", vectors, test)
    return scalar, vectors


def _is_implied(guard: Within, extents: Mapping[str, Size]) -> bool:
    """Does a guard hold wherever the axes are, whatever number each word is: also 0, 1 or a negative one?

    So only what is the same for all words decides. What follows from the sizes that the words stand for, which are
    known while kernels are made, is no guard of the kernel.
    """
    if not all(isinstance(c, int) and (isinstance(term, str) or _has_numbers(term, extents))
               for term, c in guard.index.terms):
        return False
    low, high = bounds(guard.index, extents)
    before, beyond = low - guard.low, guard.high - 1 - high
    return isinstance(before, int) and isinstance(beyond, int) and before >= 0 and beyond >= 0


def _has_numbers(term: Term, extents: Mapping[str, Size]) -> bool:
    """Are all sizes that a term depends on numbers?"""
    if isinstance(term, str):
        return isinstance(extents[term], int)
    sizes = (term.divisor, term.index.constant, *(c for _, c in term.index.terms))
    return all(isinstance(n, int) for n in sizes) and all(_has_numbers(t, extents) for t, _ in term.index.terms)


def usual(a: Assembler, point: Point, guards: Iterable[Within]) -> tuple[Value | None, dict[Within, bool]]:
    """Is each guard, in every lane, what it is at most points, and what is that? Of the guards of which one comparison
    can tell; None where there are none, or where a vector is too long for it.
    """
    test: Value | None = None
    told: dict[Within, bool] = {}
    for guard in guards:
        form = affine(a, point, guard.index)
        low, high = bounds(guard.index, point.extents)
        if form is None or form.step < 0 or not all(isinstance(n, int) for n in (low, high, guard.low, guard.high)):
            continue
        first, last = max(number_of(low), number_of(guard.low)), min(number_of(high) + 1, number_of(guard.high))
        reach = form.step * (point.lanes - 1)
        if 2 * (last - first) > number_of(high) + 1 - number_of(low):
            inside, width = first, last - first - reach                 # of the first lane
        elif first <= low:
            inside, width = last, number_of(high) + 1 - last
        elif last > high:
            inside, width = number_of(low), first - reach - number_of(low)
        else:
            continue
        if width <= 0:
            return None, {}
        holds = a.compare("icmp ult", a.binary("sub nsw", form.base, a.size(inside)), a.size(width))
        test = holds if test is None else a.binary("and", test, holds)
        told[guard] = inside == first
    return test, told


@overload
def both(a: Assembler, x: Value, y: Value | None) -> Value: ...
@overload
def both(a: Assembler, x: Value | None, y: Value | None) -> Value | None: ...
def both(a: Assembler, x: Value | None, y: Value | None) -> Value | None:
    """x and y, where None holds everywhere; a vector where either is one."""
    if x is None or y is None:
        return x if y is None else y
    lanes = max(x.type.lanes, y.type.lanes)
    return a.binary("and", a.splat(x, lanes), a.splat(y, lanes))
