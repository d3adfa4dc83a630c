"""Which blocks programs compute, by what their loads and stores are neighbors along."""
from __future__ import annotations

from codegen.schedule.kernel_text import parse_kernel
from codegen.triton_gpu.tiling import tiling_of


def blocks(text: str) -> dict[str, int]:
    return {span.name: span.block for span in tiling_of(parse_kernel(text)).outer}


ROWS = """kernel (b0: f32[4194304] in, b1: f32[{size}] in, b2: f32[4194304] out) {{
  for i < 4096 parallel grain 0:
    for j < 1024:
      pass:
        v0 = load b0[1024*i+j]
        v1 = load b1[{index}]
        v2 = add v0 v1
        store b2[1024*i+j] v2
}}
"""


def test_a_number_for_each_row_makes_no_block_of_two_dimensions():
    assert blocks(ROWS.format(size=4096, index="i")) == {"x": 1024}
    assert blocks(ROWS.format(size=4194304, index="i+4096*j")) == {"y": 64, "x": 64}
