"""What the steps of a plan do, in a line each, and the bytes they move."""
from __future__ import annotations

import pytest

from codegen import compile_program, parse
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
