"""Kernels spliced into products: which ones are, what is left of the plan, and that it does the same."""
from __future__ import annotations

from dataclasses import replace

import numpy as np
from graph_strategies import arrays_for
from hypothesis import given, settings
from hypothesis import strategies as st
from plan_oracle import SPLICING, agree

from codegen.ir.text import parse
from codegen.optimize.pipeline import optimize
from codegen.schedule.binding import plan_at
from codegen.schedule.kernel_interpret import run_plan
from codegen.schedule.pipeline import schedule
from codegen.schedule.plan import NOWHERE, Arena, Launch, Matmul, Plan, Spliced
from codegen.schedule.plan_text import print_plan
from codegen.schedule.step_reports import step_reports

INPUTS = "%0: f32[6,5], %1: f32[5,8], %2: f32[8], %3: f32[6,8], %4: f32[8,6]"


def planned(body: str, aliases: tuple[tuple[int, int], ...] = (), inputs: str = INPUTS) -> Plan:
    graph = optimize(parse(f"graph f({inputs}) {{\n{body}\n}}"))
    return agree(graph, arrays_for(graph, 0), aliases, machine=SPLICING)


def kinds(plan: Plan) -> list[str]:
    """What each step is; of a spliced one, which parts it has."""
    return [" ".join(("product", *(name for name in ("left", "right", "behind") if getattr(step, name))))
            if isinstance(step, Spliced) else type(step).__name__ for step in plan.steps]


LAYER = """%5 = matmul %0, %1 : f32[6,8]
%6 = broadcast %2 shape=[6,8] : f32[6,8]
%7 = add %5, %6 : f32[6,8]
%8 = tanh %7 : f32[6,8]
"""


def test_what_reads_a_product_at_its_points_is_spliced_behind_it():
    plan = planned(LAYER + "%9 = add %8, %3 : f32[6,8]\nreturn %9, %8")
    assert kinds(plan) == ["product behind"]
    assert not any(isinstance(buffer.place, Arena) for buffer in plan.buffers) and plan.arena_bytes == 0
    step, = plan.steps
    assert isinstance(step, Spliced) and step.product.c == NOWHERE and len(step.behind.buffers) == 4


def test_an_operand_that_is_read_behind_the_product_too_is_not_made_in_its_tiles():
    plan = planned("""%2 = cast %0 dtype=f64 : f64[6,5]
%3 = cast %1 dtype=f64 : f64[5,5]
%4 = matmul %2, %3 : f64[6,5]
%5 = add %4, %2 : f64[6,5]
return %5""", inputs="%0: f32[6,5], %1: f32[5,5]")
    assert kinds(plan) == ["Launch", "product right behind"]


def test_a_product_that_others_read_is_stored_as_well():
    plan = planned(LAYER + "%9 = matmul %5, %4 : f32[6,6]\nreturn %8, %9")
    assert kinds(plan) == ["product behind", "Matmul"]
    assert kinds(planned(LAYER + "return %8, %5")) == ["product behind"]


def test_reductions_and_other_points_are_not():
    rows = "%9 = max %5 axis=[1] keepdims=true : f32[6,1]\n%10 = broadcast %9 shape=[6,8] : f32[6,8]\n"
    assert kinds(planned(LAYER + rows + "%11 = sub %8, %10 : f32[6,8]\nreturn %11")) == ["Matmul", "Launch"]
    part = "%6 = slice %5 start=[0,0] stop=[6,4] step=[1,1] : f32[6,4]\n%7 = exp %6 : f32[6,4]\nreturn %7"
    assert kinds(planned(LAYER.splitlines()[0] + "\n" + part)) == ["Matmul", "Launch"]
    both = "%9 = flip %5 axes=[1] : f32[6,8]\n%10 = add %9, %8 : f32[6,8]\nreturn %10"
    assert "behind" not in kinds(planned(LAYER + both))[0]


def test_a_result_may_be_stored_elsewhere():
    plan = planned(LAYER + "%9 = transpose %8 axes=[1,0] : f32[8,6]\n%10 = mul %9, %4 : f32[8,6]\nreturn %10")
    assert kinds(plan) == ["product behind"]


CAST = """%5 = cast %0 dtype=bf16 : bf16[6,5]
%6 = cast %1 dtype=bf16 : bf16[5,8]
%7 = matmul %5, %6 : bf16[6,8]
"""


def test_what_makes_an_operand_is_spliced_before_it():
    graph = optimize(parse(f"graph f({INPUTS}) {{\n{CAST}%8 = cast %7 dtype=f32 : f32[6,8]\nreturn %8\n}}"))
    plan = agree(graph, arrays_for(graph, 0), machine=SPLICING, rtol=0.05, atol=0.05)
    assert kinds(plan) == ["product left right behind"] and plan.arena_bytes == 0
    assert "bf16" in step_reports(plan)[0].summary and "left on 0, tile" in print_plan(plan)


def test_an_operand_that_others_read_or_that_is_dear_is_stored():
    body = "%5 = mul %0, %0 : f32[6,5]\n%6 = matmul %5, %1 : f32[6,8]\n"
    assert "product left" not in kinds(planned(body + "return %6, %5"))
    assert kinds(planned("%5 = exp %0 : f32[6,5]\n%6 = matmul %5, %1 : f32[6,8]\nreturn %6")) == ["Launch", "Matmul"]
    assert kinds(planned("%5 = mul %0, %0 : f32[6,5]\n%6 = matmul %5, %1 : f32[6,8]\nreturn %6")) == ["product left"]
    many = "%0: f32[6,5], %1: f32[5,2048]"
    assert kinds(planned("%2 = mul %0, %0 : f32[6,5]\n%3 = matmul %2, %1 : f32[6,2048]\nreturn %3", inputs=many)
                 ) == ["Launch", "Matmul"]


def test_movement_of_operands_is_spliced():
    inputs = "%0: f32[2,6,3,4], %1: f32[2,6,3,4]"               # attention: heads are the third axis
    plan = planned("""%2 = transpose %0 axes=[0,2,1,3] : f32[2,3,6,4]
%3 = transpose %1 axes=[0,2,3,1] : f32[2,3,4,6]
%4 = matmul %2, %3 : f32[2,3,6,6]
%5 = mul %4, %4 : f32[2,3,6,6]
return %5""", inputs=inputs)
    assert kinds(plan) == ["product left right behind"]


def test_an_update_is_written_over_what_it_updates():
    inputs = "%0: f32[6,5], %1: f32[6,8], %2: f32[5,8]"         # the step of a descent
    body = """%3 = transpose %0 axes=[1,0] : f32[5,6]
%4 = matmul %3, %1 : f32[5,8]
%5 = constant value=0.1 dtype=f32 : f32[]
%6 = broadcast %5 shape=[5,8] : f32[5,8]
%7 = mul %4, %6 : f32[5,8]
%8 = sub %2, %7 : f32[5,8]
return %8"""
    plan = planned(body, ((0, 2),), inputs)
    assert kinds(plan) == ["product behind"] and plan.arena_bytes == 0


def test_what_other_tiles_still_read_is_not_written_over():
    body = "%1 = matmul %0, %0 : f32[5,5]\n%2 = add %0, %1 : f32[5,5]\nreturn %2"
    assert kinds(planned(body, ((0, 0),), "%0: f32[5,5]")) == ["product behind", "Launch"]


def test_sizes_that_are_symbols():
    graph = optimize(parse("""graph f(%0: f32[b,5], %1: f32[5,c], %2: f32[c]) {
  %3 = matmul %0, %1 : f32[b,c]
  %4 = broadcast %2 shape=[b,c] : f32[b,c]
  %5 = add %3, %4 : f32[b,c]
  %6 = reshape %5 shape=[(b*c)] : f32[(b*c)]
  %7 = exp %6 : f32[(b*c)]
  return %7
}"""))
    plan = schedule(graph, machine=SPLICING)
    assert kinds(plan) == ["product behind"]
    rng = np.random.default_rng(0)
    for b, c in ((3, 4), (7, 2)):
        x, y, z = (rng.standard_normal(shape).astype(np.float32) for shape in ((b, 5), (5, c), (c,)))
        bound = plan_at(plan, {"b": b, "c": c})
        found, = run_plan(bound, [x, y, z])
        np.testing.assert_allclose(found, np.exp(x @ y + z).reshape(-1), rtol=1e-5)
        step, = bound.steps
        assert isinstance(step, Spliced) and {b, c} <= {*step.product.words}
        assert step.behind.kernel is plan.steps[0].behind.kernel        # compiled once


def test_a_machine_that_does_not_splice():
    graph = optimize(parse(f"graph f({INPUTS}) {{\n{LAYER}return %8\n}}"))
    for machine in (None, replace(SPLICING, splices=lambda dtype, batch, m, n, k: k > 5)):
        assert [type(step) for step in schedule(graph, machine=machine).steps] == [Matmul, Launch]


SHAPES = st.tuples(*[st.integers(1, 5)] * 4)
OPS = st.lists(st.sampled_from(("exp", "add", "mul", "sum", "transpose", "reshape", "product", "again")), max_size=8)


@settings(deadline=None, max_examples=60)
@given(SHAPES, OPS, st.integers(0, 2**16), st.booleans())
def test_chains_of_products(shape, ops, seed, keep):
    """Chains of products, of movement and of pointwise work: run like the graph."""
    batch, m, n, k = shape
    lines, values = [], [(f"[{batch},{m},{k}]", 0), (f"[{batch},{k},{n}]", 1)]

    def node(text: str, dims: list[int]) -> tuple[int, list[int]]:
        lines.append(f"%{len(lines) + 2} = {text} : f64[{','.join(map(str, dims))}]")
        return len(lines) + 1, dims

    x, dims = node("matmul %0, %1", [batch, m, n])
    outputs = [x]
    for op in ops:
        shown = ",".join(map(str, dims))
        match op:
            case "exp":
                x, dims = node(f"tanh %{x}", dims)
            case "add" | "mul":
                x, dims = node(f"{op} %{x}, %{x}", dims)
            case "sum":
                row, _ = node(f"sum %{x} axis=[2] keepdims=true", [*dims[:2], 1])
                row, _ = node(f"broadcast %{row} shape=[{shown}]", dims)
                x, dims = node(f"sub %{x}, %{row}", dims)
            case "transpose":
                x, dims = node(f"transpose %{x} axes=[1,0,2]", [dims[1], dims[0], dims[2]])
            case "reshape":
                x, dims = node(f"reshape %{x} shape=[1,{dims[0] * dims[1]},{dims[2]}]", [1, dims[0] * dims[1], dims[2]])
            case "product":
                turned, _ = node(f"transpose %{x} axes=[0,2,1]", [dims[0], dims[2], dims[1]])
                x, dims = node(f"matmul %{x}, %{turned}", [dims[0], dims[1], dims[1]])
            case "again":
                outputs.append(x)
    outputs = [*outputs, x] if keep else [x]
    text = (f"graph f(%0: f64{values[0][0]}, %1: f64{values[1][0]}) {{\n" + "\n".join(lines)
            + f"\nreturn {', '.join(f'%{v}' for v in dict.fromkeys(outputs))}\n}}")
    graph = optimize(parse(text))
    agree(graph, arrays_for(graph, seed), machine=SPLICING)
