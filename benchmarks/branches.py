"""branches: what it costs to take a branch to a known block, inside one native call, beyond the work.

The same blocks are run with a branch after each, and with a jump after each, which costs nothing and needs no
predicate: a hundredth of the difference is a branch and what decides it. The last contender compiles the blocks anew,
their kernels known: what a new path costs.
"""
from __future__ import annotations

import numpy as np

from benchmarks.frame import Benchmark, Work, sample

STEPS = 100
CASE = f"{STEPS} steps of 8 floats"


def text(branches: bool) -> str:
    """x = x * w + x, again and again, with a predicate that holds as long as there is no NaN."""
    lines = ["program steps {"]
    for k in range(STEPS):
        way = f"branch %5 -> block{k + 1}(%3, %1), exit1" if branches else f"jump block{k + 1}(%3, %1)"
        lines.append(f"""block{k}(%0: f32[8], %1: f32[8]):
            %2 = mul %0, %1 : f32[8]
            %3 = add %2, %0 : f32[8]
            %4 = max %3 axis=[0] keepdims=false : f32[]
            %5 = eq %4, %4 : bool[]
            {way}""")
    return "\n".join([*lines, f"block{STEPS}(%0: f32[8], %1: f32[8]):\n return %0\n}}"])


def run(branches: bool) -> Work:
    from codegen import compile_program, parse
    executable = compile_program(parse(text(branches)))
    x, w, out = np.ones(8, np.float32), np.full(8, 0.01, np.float32), np.empty(8, np.float32)
    arrays = x, w, out
    executable.run(arrays)
    return Work(lambda: executable.run(arrays), sample(out))


def tracegrad(case: str) -> Work:
    return run(branches=True)


def tracegrad_jumps(case: str) -> Work:
    return run(branches=False)


def tracegrad_compile(case: str) -> Work:
    from codegen import compile_program, parse
    program = parse(text(branches=True))
    return Work(lambda: compile_program(program), run(branches=True).numbers)


BENCHMARK = Benchmark(
    question="the cost of branches to known blocks",
    cases=(CASE,),
    contenders={"tracegrad": tracegrad, "tracegrad jumps": tracegrad_jumps, "tracegrad compile": tracegrad_compile},
)
