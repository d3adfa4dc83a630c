"""Accumulators: the running state of an Accumulate, as Values that a loop carries.

    state = start(...)        in a loop: state = step(state, x)        result = finish(state)

Accuracy of sums, with u half an ulp of 1 in the dtype of x, |error| relative to the sum of the |x|:
f32, f16 and bf16 are summed in f64 and rounded once (the halves by way of f32): u + n * 2^-53, for f32 below 2u for n
up to 2^28. Across lanes, the at most four registers of a vector are first added in pairs in f32, which takes a third of
the instructions: 2u more where the numbers fill more than two registers, u where they fill more than one. Down columns
in strips the eight rows that are taken together at most (see strips) are added in pairs, too: 3u more.
f64 carries what each addition rounded off (the error of Knuth's two-sum, added up beside the sum): u + n^2 * u^2, from
Ogita, Rump, Oishi, "Accurate sum and dot product", SIAM J. Sci. Comput. 26(6), 2005, proposition 4.5, Sum2.
Pairwise summation has log2(n) * u, which is never less: a register holds at least four numbers.
Integers wrap. max and min give NaN if there is one. A product is off by n * u.
"""
from __future__ import annotations

from collections.abc import Sequence

from codegen.ir.structs import struct
from codegen.ir.types import FLOATS
from codegen.llvm_cpu import operations
from codegen.llvm_cpu.assembler import Assembler, Value, vector
from codegen.llvm_cpu.features import Features

_COMBINE = {"sum": "add", "prod": "mul", "max": "maximum", "min": "minimum"}


@struct
class Accumulator:
    """Combines values of `dtype` by `kind` (sum, prod, max, min), `lanes` at a time; if `across`, the lanes too."""

    kind: str
    dtype: str
    lanes: int
    across: bool
    features: Features

    @property
    def width(self) -> int:
        """How many values the state is."""
        return 2 if self._floating_sum and self.dtype == "f64" else 1

    @property
    def state_dtype(self) -> str:
        """The dtype of each value of the state."""
        return "f64" if self._floating_sum else self.dtype

    def start(self, a: Assembler) -> list[Value]:
        """The state before the first value."""
        return [a.constant(vector(self.state_dtype, self._state_lanes), self.identity)] * self.width

    def step(self, a: Assembler, state: list[Value], x: Value, mask: Value | None) -> list[Value]:
        """The state after x; lanes outside the mask take no part in a result across lanes."""
        x = a.splat(x, self.lanes)
        if mask is not None and self.across:
            x = a.select(mask, x, a.constant(x.type, self.identity))
        if not self._floating_sum:
            return [self._combine(a, state[0], x)]
        if self.dtype != "f64":
            while x.type.lanes > self._state_lanes:
                x = a.binary("fadd", *_halves(a, x))
            return [a.binary("fadd", state[0], a.convert("fpext", x, vector("f64", x.type.lanes)))]
        total, error = _two_sum(a, state[0], x)
        return [total, a.binary("fadd", state[1], error)]

    def step_all(self, a: Assembler, state: list[Value], several: Sequence[Value]) -> list[Value]:
        """The state after 2^k values, which are combined in pairs first, unless they are summed in f64."""
        if self._floating_sum and self.dtype == "f64":
            for x in several:
                state = self.step(a, state, x, None)
            return state
        while len(several) > 1:
            pairs = zip(several[::2], several[1::2])
            several = [a.binary("fadd", x, y) if self._floating_sum else self._combine(a, x, y) for x, y in pairs]
        return self.step(a, state, several[0], None)

    def finish(self, a: Assembler, state: list[Value]) -> Value:
        """The result."""
        while self.across and state[0].type.lanes > 1:
            low, high = zip(*(_halves(a, part) for part in state))
            state = self._join(a, low, high)
        if not self._floating_sum:
            return state[0]
        if self.dtype == "f64":
            return _corrected(a, *state)
        single = a.convert("fptrunc", state[0], vector("f32", state[0].type.lanes))
        return operations.cast(a, self.features, single, self.dtype)

    def empty(self, a: Assembler) -> Value:
        """The result over no values."""
        return a.constant(vector(self.dtype), self.identity)

    @property
    def identity(self) -> int | float:
        """What changes no result (but the sign of a zero sum)."""
        if self.kind in ("sum", "prod"):
            return int(self.kind == "prod")
        if self.dtype in FLOATS:
            return float("-inf") if self.kind == "max" else float("inf")
        low, high = operations.integer_range(self.dtype)
        return low if self.kind == "max" else high

    @property
    def _floating_sum(self) -> bool:
        return self.kind == "sum" and self.dtype in FLOATS

    @property
    def _state_lanes(self) -> int:
        """How many partial results there are: of sums in f64 across lanes, as many as a register holds of f32."""
        wider = self._floating_sum and self.dtype != "f64" and self.across
        return min(self.lanes, self.features.vector_bytes // 4) if wider else self.lanes

    def _join(self, a: Assembler, x: tuple[Value, ...], y: tuple[Value, ...]) -> list[Value]:
        """The state after what is in x and what is in y."""
        if not self._floating_sum:
            return [self._combine(a, x[0], y[0])]
        if self.dtype != "f64":
            return [a.binary("fadd", x[0], y[0])]
        total, error = _two_sum(a, x[0], y[0])
        return [total, a.binary("fadd", a.binary("fadd", x[1], y[1]), error)]

    def _combine(self, a: Assembler, x: Value, y: Value) -> Value:
        return operations.binary(a, self.features, _COMBINE[self.kind], x, y)


def _halves(a: Assembler, x: Value) -> tuple[Value, Value]:
    half = x.type.lanes // 2
    if half == 1:
        return a.extract(x, 0), a.extract(x, 1)
    return a.shuffle(x, x, range(half)), a.shuffle(x, x, range(half, 2 * half))


def _two_sum(a: Assembler, x: Value, y: Value) -> tuple[Value, Value]:
    """s, e with s = x + y rounded and s + e = x + y exactly (Knuth)."""
    s = a.binary("fadd", x, y)
    part = a.binary("fsub", s, x)
    return s, a.binary("fadd", a.binary("fsub", x, a.binary("fsub", s, part)), a.binary("fsub", y, part))


def _corrected(a: Assembler, total: Value, error: Value) -> Value:
    """total + error; total itself if it is infinite or NaN, since then error is NaN."""
    finite = a.compare("fcmp oeq", a.binary("fsub", total, total), a.constant(total.type, 0.0))
    return a.select(finite, a.binary("fadd", total, error), total)
