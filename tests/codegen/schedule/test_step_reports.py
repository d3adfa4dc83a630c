"""What the steps of a plan do, in a line each, the bytes they move, the operations they do, and why they are steps."""
from __future__ import annotations

import platform
import re

import pytest

from codegen import Cache, compile_program, parse
from codegen.schedule.costs import op_cost
from codegen.schedule.step_reports import step_reports


def reports(text):
    program = compile_program(parse(text)).plan
    assert program is not None
    plan, = program.plans
    return step_reports(plan)


def test_a_kernel_says_what_it_computes_and_reads_each_buffer_once():
    report, = reports("""graph f(%0: f32[6,4], %1: f32[4]) {
      %2 = mul %0, %1 : f32[6,4]
      %3 = exp %2 : f32[6,4]
      %4 = sum %3 axis=[1] keepdims=false : f32[6]
      return %4
    }""")
    assert report.bytes_moved == (24 + 4 + 6) * 4
    assert report.summary == "kernel over 6x4: mul, exp, sum" and "kernel (" in report.text


def test_a_matmul_and_what_follows_it():
    matmul, kernel = reports("""graph f(%0: f64[8,3], %1: f64[3,5]) {
      %2 = matmul %0, %1 : f64[8,5]
      %3 = tanh %2 : f64[8,5]
      return %3
    }""")
    assert matmul.summary == "matmul 8x3 @ 3x5 of f64" and matmul.bytes_moved == (24 + 15 + 40) * 8
    assert kernel.summary == "kernel over 40: tanh" and kernel.bytes_moved == 2 * 40 * 8


@pytest.mark.parametrize("text, summary, bytes_moved", [
    ("graph f(%0: f32[3]) {\n  return %0\n}", "kernel over 3: copies", 24),
    ("graph f(%0: f32[3,3]) {\n %1 = cholesky %0 : f32[3,3]\n return %1\n}",
     "cholesky on the host: f32[3,3] -> f32[3,3]", 72),
])
def test_other_steps(text, summary, bytes_moved):
    found = [(r.summary, r.bytes_moved) for r in reports(text)]
    assert (summary, bytes_moved) in found or ("copy", bytes_moved) in found, found


@pytest.mark.parametrize("text, flops", [
    ("graph f(%0: f32[6,4]) {\n %1 = mul %0, %0 : f32[6,4]\n %2 = sum %1 axis=[1] keepdims=false : f32[6]\n"
     " %3 = sqrt %2 : f32[6]\n return %3\n}", 24 + 24 + 6),
    ("graph f(%0: f32[9]) {\n %1 = exp %0 : f32[9]\n return %1\n}", 9 * op_cost("exp")),
    ("graph f(%0: i32[9], %1: f32[9]) {\n %2 = mul %0, %0 : i32[9]\n %3 = lt %1, %1 : bool[9]\n return %2, %3\n}", 0),
    ("graph f(%0: f64[8,3], %1: f64[3,5]) {\n %2 = matmul %0, %1 : f64[8,5]\n return %2\n}", 2 * 8 * 3 * 5),
    ("graph f(%0: f32[1000,700]) {\n %1 = transpose %0 axes=[1,0] : f32[700,1000]\n"
     " %2 = add %1, %1 : f32[700,1000]\n return %2\n}", 700_000),                    # in ragged tiles
])
def test_floating_point_operations_are_counted(text, flops):
    assert sum(report.flops for report in reports(text)) == flops


def test_a_step_says_what_asked_for_it_and_why_it_is_no_part_of_another():
    first, second = reports("""graph f(%0: f32[64,32]) {
      %1 = exp %0 : f32[64,32]                          @ model.py:3
      %2 = sum %1 axis=[1] keepdims=false : f32[64]     @ model.py:4
      %3 = sum %1 axis=[0] keepdims=false : f32[32]     @ model.py:5
      return %2, %3
    }""")
    assert (first.lines, second.lines) == (("model.py:3", "model.py:4"), ("model.py:5",))
    apart, = (decision for decision in second.decisions if decision.parts)
    assert apart.value == 3 and "it combines over other points" in apart.sentence and apart.sentence in second.why


def test_the_text_of_a_kernel_is_written_at_every_level_also_where_its_code_was_compiled_before():
    matmul, kernel = compile_program(parse("""graph f(%0: f32[8,3], %1: f32[3,5]) {
      %2 = matmul %0, %1 : f32[8,5]
      %3 = tanh %2 : f32[8,5]
      return %3
    }"""), cache=Cache(None)).steps[0]
    assert kernel.ir.startswith("kernel (") and "define void @kernel(" in kernel.llvm and "\nkernel:" in kernel.asm
    assert matmul.ir.startswith("matmul f32") and bool(matmul.llvm) == bool(matmul.asm)
    cold = compile_program(parse("graph f(%0: f32[3]) {\n %1 = exp %0 : f32[3]\n return %1\n}"))
    warm = compile_program(parse("graph f(%0: f32[3]) {\n %1 = exp %0 : f32[3]\n return %1\n}"))
    assert warm.kernels_compiled == 0 and warm.steps[0][0].asm == cold.steps[0][0].asm != ""


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the names are those of x86-64")
def test_vectors_that_are_spilled_lie_within_lines():
    compute = "".join(f" %{k} = {op} %{k - 1} : f32[4096]\n" for k, op in enumerate(["tanh", "exp", "erf", "sin"], 1))
    kernel, = compile_program(parse(f"graph f(%0: f32[4096]) {{\n{compute} return %4\n}}")).steps[0]
    assert re.search(r"\bandq\t\$-64, %rsp", kernel.asm) and not re.search(r"vmovup[sd]\t[^(]*\(%rsp\)", kernel.asm)
