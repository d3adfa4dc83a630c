"""The verifier: a kernel is right until one line of it is not, and that line is blamed."""
from __future__ import annotations

import pytest

from codegen.schedule.kernel_text import parse_kernel
from codegen.schedule.kernel_verify import KernelError, verify_kernel

RIGHT = """\
kernel (b0: f32[32] in, b1: i64[4] in, b2: f32[32] out, b3: f32[4] out) {
  for i < 4 parallel grain 1:
    pass:
      v0 = load b1[i]
      v1 = gather b0[8*i] at v0*1 of 8
    pass j < 8 vector:
      v2 = load b0[8*i+j]
      v3 = load b0[8*i+j-1] if 1 <= j < 8
      v4 = mul v2 v3
      v5 = accumulate sum v4
    pass j < 8 vector:
      v6 = load b0[8*i+j]
      v7 = div v6 v5
      store b2[8*i+j] v7
    pass:
      v8 = add v5 v1
      store b3[i] v8
}
"""


def test_right() -> None:
    verify_kernel(parse_kernel(RIGHT))


@pytest.mark.parametrize("line, wrong, message", [
    ("v2 = load b0[8*i+j]", "v2 = load b0[8*i+j+1]",
     "v2 = load b0[8*i+j+1]: b0 has 32 elements and the index goes from 1 to 32"),
    ("if 1 <= j < 8", "if 0 <= j < 8", "the index goes from -1 to 30"),
    ("at v0*1 of 8", "at v0*1 of 9", "b0 has 32 elements and the index goes from 8 to 32"),
    ("at v0*1 of 8", "at v0*9 of 8", "the index goes from 63 to 87"),
    ("v4 = mul v2 v3", "v4 = mul v2 v0", "operands f32[] and i64[] have different dtypes"),
    ("v4 = mul v2 v3", "v4 = mul v2", "mul is no elementwise op of 1"),
    ("v4 = mul v2 v3", "v4 = sum v2", "sum is no elementwise op of 1"),
    ("v8 = add v5 v1", "v8 = add v4 v1", "v8 = add v4 v1: v4 is not seen here"),
    ("v4 = mul v2 v3", "v4 = mul v2 v5", "v5 is not seen here"),
    ("store b3[i] v8", "store b3[j] v8", "axes ['j'] are not around it"),
    ("store b3[i] v8", "store b1[i] v8", "v8 is f32"),
    ("accumulate sum v4", "accumulate mean v4", "there is no accumulation mean"),
    ("v8 = add v5 v1", "v8 = accumulate sum v5", "an accumulation needs axes to combine over"),
    ("b3: f32[4] out", "b3: f32[4] in", "b3: the param is out, not in"),
    ("b1: i64[4] in", "b1: u32[4] in", "v0 is u32 and no index"),
    ("pass j < 8 vector", "pass j < 8 vector, k < 2", "the vector axis j is not the last one"),
    ("for i < 4 parallel", "for j < 4 parallel", "an axis is named twice"),
    ("for i < 4 parallel", "for i < 0 parallel", "axis i has extent 0"),
    ("store b2[8*i+j] v7", "store b0[8*i+j] v7", "an element is read at another point than it is written"),
    ("v6 = load b0[8*i+j]", "v6 = load b0[((8*i+j)//1)]", "a divisor is below 2"),
    ("v6 = load b0[8*i+j]", "v6 = load b0[((i-1)//2)]", "what is divided can be negative"),
])
def test_wrong(line: str, wrong: str, message: str) -> None:
    assert line in RIGHT
    text = RIGHT.replace(line, wrong, 1)
    if "store b0[" in wrong:
        text = text.replace("b0: f32[32] in", "b0: f32[32] inout").replace(", b2: f32[32] out", "").replace("b3", "b2")
    with pytest.raises(KernelError) as error:
        verify_kernel(parse_kernel(text))
    assert message in str(error.value)


def test_clipped_axis_stays_inside() -> None:
    text = ("kernel (b0: f32[10] in, b1: f32[3] out) {\n  for i < 3:\n    pass j < 4 vector while 4*i+j < 10:\n"
            "      v0 = load b0[4*i+j]\n      v1 = accumulate sum v0\n    pass:\n      store b1[i] v1\n}\n")
    verify_kernel(parse_kernel(text))
    with pytest.raises(KernelError, match="b0 has 10 elements and the index goes from 0 to 10"):
        verify_kernel(parse_kernel(text.replace("< 10", "< 11")))


def test_scatter_runs_in_order() -> None:
    text = ("kernel (b0: i64[8] in, b1: f32[8] in, b2: f32[8] inout) {\n"
            "  for i < 8:\n    pass:\n      v0 = load b0[i]\n"
            "      v1 = load b1[i]\n      scatter_add b2[0] at v0*1 of 8 v1\n}\n")
    verify_kernel(parse_kernel(text))
    with pytest.raises(KernelError, match="a scatter must run in order"):
        verify_kernel(parse_kernel(text.replace("for i < 8", "for i < 8 vector")))


@pytest.mark.parametrize("line, wrong, message", [
    ("scan cumsum v0", "scan sum v0", "there is no scan sum of 1"),
    ("scan cumsum v0", "scan recurrence v0", "there is no scan recurrence of 1"),
    ("pass j < 8:", "pass j < 8 vector:", "a scan needs one axis to run along in order"),
    ("pass j < 8:", "pass j < 4, k < 2:", "a scan needs one axis to run along in order"),
])
def test_scans_run_in_order(line: str, wrong: str, message: str) -> None:
    text = ("kernel (b0: f32[32] in, b1: f32[32] out) {\n  for i < 4 parallel grain 2:\n    pass j < 8:\n"
            "      v0 = load b0[8*i+j]\n      v1 = scan cumsum v0\n      v2 = mul v1 v0\n      store b1[8*i+j] v2\n}\n")
    verify_kernel(parse_kernel(text))
    with pytest.raises(KernelError, match=message):
        verify_kernel(parse_kernel(text.replace(line, wrong)))
