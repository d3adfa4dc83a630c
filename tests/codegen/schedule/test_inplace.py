"""When a result may be written over an operand, and what the kernel is then."""
from __future__ import annotations

import pytest

from codegen.schedule.inplace import can_overwrite, overwriting
from codegen.schedule.kernel_text import parse_kernel, print_kernel
from codegen.schedule.kernel_verify import verify_kernel

PARAMS = "b0: f32[8] in, b1: f32[8] in, b2: f32[8] out"


def kernel(*lines: str) -> str:
    return "\n".join([f"kernel ({PARAMS}) {{", "  for i < 8 vector:", *lines, "}"]) + "\n"


SAME = ("    pass:", "      v0 = load b0[i]", "      v1 = load b1[i]", "      v2 = add v0 v1", "      store b2[i] v2")


def test_same_index() -> None:
    before = parse_kernel(kernel(*SAME))
    assert can_overwrite(before, 0, 2) and can_overwrite(before, 1, 2)
    after = overwriting(before, 1, 2)
    verify_kernel(after)
    assert print_kernel(after) == kernel(*SAME).replace(PARAMS, "b0: f32[8] in, b1: f32[8] inout").replace("b2", "b1")


@pytest.mark.parametrize("line, other", [
    ("v0 = load b0[i]", "v0 = load b0[-i+7]"),
    ("v0 = load b0[i]", "v0 = load b0[i] if 1 <= i < 8"),
    ("store b2[i] v2", "store b2[i] v2\n      v3 = load b0[i]"),
])
def test_not_the_same(line: str, other: str) -> None:
    assert not can_overwrite(parse_kernel(kernel(*SAME).replace(line, other)), 0, 2)


def test_other_sizes_and_dtypes() -> None:
    assert not can_overwrite(parse_kernel(kernel(*SAME).replace("b0: f32[8]", "b0: f32[9]")), 0, 2)
    assert not can_overwrite(parse_kernel(kernel(*SAME).replace("b0: f32[8]", "b0: i32[8]")), 0, 2)
    assert not can_overwrite(parse_kernel(kernel(*SAME)), 0, 1)
