"""The text of kernels: what is printed is parsed back, and what is no kernel is refused with its line.

Round trips of kernels that the scheduler makes are part of test_random_graphs.
"""
from __future__ import annotations

import pytest

from codegen.schedule.kernel import Gather, Load, Quotient, Remainder, Scatter, Store, Unary
from codegen.schedule.kernel_text import KernelParseError, parse_kernel, print_kernel

EVERYTHING = """\
kernel (b0: f32[64] in, b1: u64[1] in, b2: i64[8] in, b3: f32[64] inout, b4: bool[8] out) {
  for i < 8 parallel grain 3:
    pass:
      v0 = const -1.5e-07 f32
      v1 = const -inf f32
      v2 = const true bool
      v3 = load b1[0]
      v4 = load b2[i]
      store b4[i] v2
    pass j < 4, k < 2 vector while 2*j+k < 7:
      v5 = position ((i+3)//4)+((i//2)%3)-2*j f32
      v6 = load b0[8*i+2*j+k] if 1 <= i < 7, 0 <= ((i+1)%2) < 1
      v7 = gather b0[2*j+k] at v4*8 of 8 if -1 <= j-1 < 2
      v8 = random 8*i+2*j+k key v3 counter v3
      v9 = cast v8 f32
      v10 = add v6 v7
      v11 = gt v10 v9
      v12 = select v11 v10 v5
      v13 = exp v12
      v14 = accumulate sum v13
      v15 = load b3[8*i+2*j+k]
      v16 = mul v15 v0
      store b3[8*i+2*j+k] v16
    pass:
      v17 = maximum v14 v1
}
"""

SCATTER = """\
kernel (b0: i64[8] in, b1: f32[8] in, b2: f32[64] inout) {
  for i < 8:
    pass:
      v0 = load b0[-i+7]
      v1 = load b1[i]
      scatter_add b2[i] at v0*8 of 8 v1
      scatter_set b2[i] at v0*8 of 8 v1
}
"""

SCANS = """\
kernel (b0: f32[32] in, b1: f32[32] out) {
  for i < 4 parallel grain 2:
    pass j < 8:
      v0 = load b0[8*i+j]
      v1 = scan cumsum v0
      v2 = scan recurrence v0 v1
      v3 = mul v2 v1
      store b1[8*i+j] v3
}
"""

NOTHING = "kernel () {\n}\n"


@pytest.mark.parametrize("text", [EVERYTHING, SCATTER, SCANS, NOTHING])
def test_round_trip(text: str) -> None:
    assert print_kernel(parse_kernel(text)) == text


def test_parsed() -> None:
    kernel = parse_kernel(EVERYTHING)
    assert (kernel.vector, kernel.grain, kernel.chunks, kernel.checked) == ("k", 3, 3, True)
    assert [len(p.axes) for p in kernel.passes] == [0, 2, 0]
    body = kernel.passes[1].body
    assert isinstance(body[1], Load) and body[1].guards[0].high == 7
    assert isinstance(body[2], Gather) and (body[2].k, body[2].stride, body[2].size) == (4, 8, 8)
    assert isinstance(body[-1], Store) and isinstance(body[8], Unary)
    position = body[0].index                    # type: ignore[union-attr]
    assert [type(term) for term, _ in position.terms] == [Quotient, Remainder, str]
    assert isinstance(parse_kernel(SCATTER).passes[0].body[-1], Scatter)


@pytest.mark.parametrize("text, message", [
    ("kern", "line 1: expected 'kernel', not 'kern'"),
    ("kernel () {\n", "line 1: expected '}', not 'end of the text'"),
    ("kernel (b1: f32[3] in) {\n}", "line 1: expected 'b0', not 'b1'"),
    ("kernel (b0: f32[3] into) {\n}", "line 1: expected in, out or inout, not 'into'"),
    ("kernel () {\n  pass:\n    v1 = const 1.0 f32\n}", "line 3: expected 'v0', not 'v1'"),
    ("kernel () {\n  pass:\n    v0 = const one f32\n}", "line 3: expected a number, true or false, not 'one'"),
    ("kernel () {\n  for i < j:\n}", "line 2: expected an integer, not 'j'"),
    ("kernel () {\n  for i < 2 vector:\n  for j < 2 vector:\n}", "line 3: expected ':', not 'vector'"),
    ("kernel () {\n  pass:\n    store b0[i v0\n}", r"line 3: expected '\]', not 'v0'"),
])
def test_refused(text: str, message: str) -> None:
    with pytest.raises(KernelParseError, match=f"^{message}$"):
        parse_kernel(text)
