"""Where the threads of a program have to wait for each other, and where not."""
from __future__ import annotations

import numpy as np
from gpu_extra import needs_triton

from codegen.schedule.kernel_text import parse_kernel
from codegen.triton_gpu.emit import emit_kernel
from codegen.triton_gpu.host_check import run

STATES = parse_kernel("""kernel (b0: f32[64] inout, b1: f32[131072] in, b2: f32[131072] out) {
  for i < 64 parallel grain 0:
    pass:
      v0 = load b0[i]
      v1 = const 2.0 f32
      v2 = mul v0 v1
      store b0[i] v2
    pass j < 2048:
      v3 = load b1[2048*i+j]
      v4 = mul v3 v2
      store b2[2048*i+j] v4
}
""")
IN_PLACE = parse_kernel("""kernel (b0: f32[131072] inout) {
  for i < 131072 parallel grain 0:
    pass:
      v0 = load b0[i]
      v1 = mul v0 v0
      store b0[i] v1
}
""")


def test_what_all_threads_load_is_stored_when_all_have():
    lines = [line.strip() for line in emit_kernel(STATES).source.splitlines()]
    assert lines.count("tl.debug_barrier()") == 1
    assert lines[lines.index("tl.debug_barrier()") + 1] == "tl.store(b0 + x, v2)"
    assert "debug_barrier" not in emit_kernel(IN_PLACE).source


@needs_triton
def test_a_state_is_changed_in_place():
    states, x, out = np.arange(64, dtype="f4"), np.ones(131072, "f4"), np.zeros(131072, "f4")
    assert run(emit_kernel(STATES), [states, x, out])
    assert np.array_equal(states, 2 * np.arange(64)) and np.array_equal(out, np.repeat(states, 2048))
