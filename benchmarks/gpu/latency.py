"""latency: seconds from making a training step to its first compiled result, in a fresh process: with empty caches, and
again with those that the process before has left. Imports are left out, as is what the step itself takes."""
from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator

from benchmarks.rounds import ROOT, Row

PROGRAM = """
import sys, time
from benchmarks.gpu import models, steps
contender, name = sys.argv[1:]
make, finish = {"tracegrad": (models.tracegrad_step, steps.finish_tracegrad),
                "torch.compile": (models.torch_step, steps.finish_torch)}[contender]
if contender == "tracegrad":
    import tracegrad as tg
    tg.ones(1, device="cuda").item()
else:
    import torch
    torch.ones(1, device="cuda").item()
step = make(models.MODELS[name], False)
start = time.perf_counter()
for _ in range(2):
    float(step())
finish()
whole = time.perf_counter() - start
start = time.perf_counter()
for _ in range(2):
    float(step())
finish()
print(whole - (time.perf_counter() - start))
"""


def measure(contenders: tuple[str, ...], seconds: float = 240.0, name: str = "MLP") -> Iterator[Row]:
    """A cold process and a warm one of each contender, in so many seconds together."""
    end = time.monotonic() + seconds
    for contender in contenders:
        with tempfile.TemporaryDirectory() as folder:
            caches = {"TRACEGRAD_CACHE_DIR": folder, "TRITON_CACHE_DIR": f"{folder}/triton",
                      "TORCHINDUCTOR_CACHE_DIR": f"{folder}/inductor", "CUPY_CACHE_DIR": f"{folder}/cupy",
                      "PYTHONPATH": str(ROOT)}
            for case in ("cold caches", "warm caches"):
                left = max(end - time.monotonic(), 0.1)
                try:
                    done = subprocess.run([sys.executable, "-c", PROGRAM, contender, name], capture_output=True,
                                          text=True, timeout=left, cwd=ROOT, env={**os.environ, **caches})
                except subprocess.TimeoutExpired:
                    yield Row(f"{name}, {case}", contender, error=f"took more than the {left:.0f} s that were left")
                    continue
                if done.returncode:
                    last = (done.stderr.strip().splitlines() or ["it died"])[-1]
                    yield Row(f"{name}, {case}", contender, error=last[:300], traceback=done.stderr[-8000:])
                else:
                    yield Row(f"{name}, {case}", contender, [float(done.stdout.split()[-1])])
