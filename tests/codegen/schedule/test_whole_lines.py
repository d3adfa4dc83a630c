"""Matrices of halves whose rows are no whole lines, stored in longer ones where large products make and read them."""
from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from plan_oracle import AT_ONCE, SPLICING, agree

from codegen.ir.builder import Builder
from codegen.ir.graph import Graph
from codegen.ir.text import parse
from codegen.ir.types import DTYPES, TensorType
from codegen.optimize.pipeline import optimize
from codegen.schedule import whole_lines
from codegen.schedule.half_products import HALVES, half_products
from codegen.schedule.plan import Matmul, Plan

GPU = replace(AT_ONCE, products=frozenset({"f32", "f64", "bf16", "f16"}))
ROWS, WORDS, WIDTH = 130, 1027, 136


def planned(body: str, words: int = WORDS, width: int = WIDTH) -> Plan:
    """The plan for hidden rows %0, the table %1 of words, as it is and as halves, %2, and scores %3."""
    inputs = "%0: bf16[ROWS,WIDTH], %1: f32[WORDS,WIDTH], %2: bf16[WORDS,WIDTH], %3: f32[ROWS,WORDS]"
    text = f"graph f({inputs}) {{\n{body}\n}}"
    for name, size in (("ROWS", ROWS), ("WORDS", words), ("WIDTH", width)):
        text = text.replace(name, str(size))
    random = np.random.default_rng(0)
    shapes = ((ROWS, width), "bf16"), ((words, width), "f32"), ((words, width), "bf16"), ((ROWS, words), "f32")
    arrays = [random.standard_normal(shape).astype(DTYPES[dtype]) for shape, dtype in shapes]
    return agree(parse(text), arrays, machine=GPU, rtol=0.05, atol=0.5)


def sizes(plan: Plan) -> list[tuple[object, ...]]:
    return [step.sizes[1:] for step in plan.steps if isinstance(step, Matmul)]


SCORES = """%4 = cast %1 dtype=bf16 : bf16[WORDS,WIDTH]
%5 = transpose %4 axes=[1,0] : bf16[WIDTH,WORDS]
%6 = matmul %0, %5 : bf16[ROWS,WORDS]
%7 = cast %6 dtype=f32 : f32[ROWS,WORDS]
"""
BACKWARD = SCORES + """%8 = add %7, %3 : f32[ROWS,WORDS]
%9 = cast %8 dtype=bf16 : bf16[ROWS,WORDS]
%10 = matmul %9, %4 : bf16[ROWS,WIDTH]
%11 = transpose %9 axes=[1,0] : bf16[WORDS,ROWS]
%12 = matmul %11, %0 : bf16[WORDS,WIDTH]
"""


ALIKE = ((ROWS, 1032, WIDTH), (ROWS, WIDTH, 1032), (1032, WIDTH, ROWS))


def test_both_directions() -> None:
    plan = planned(BACKWARD + """%13 = sum %9 axis=[0] keepdims=false : bf16[WORDS]
%14 = cast %12 dtype=f32 : f32[WORDS,WIDTH]
return %7, %10, %14, %13""")
    assert sizes(plan) == [*ALIKE]


def test_rows_that_are_read_by_columns() -> None:
    body = """%4 = cast %3 dtype=bf16 : bf16[ROWS,WORDS]
%5 = transpose %0 axes=[1,0] : bf16[WIDTH,ROWS]
%6 = matmul %5, %4 : bf16[WIDTH,WORDS]
%7 = cast %6 dtype=f32 : f32[WIDTH,WORDS]
return %7"""
    assert sizes(planned(body)) == [(WIDTH, 1032, ROWS)]


@pytest.mark.parametrize("body", [SCORES + "return %7", BACKWARD.replace("cast %8", "cast %3") + "return %9, %10",
                                  BACKWARD.replace("matmul %9, %4", "matmul %9, %2") + "return %10",
                                  BACKWARD + "return %10, %12"],
                         ids=["no rows that are read", "rows that are returned", "a table that is given",
                              "rows that another product reads, whose result is returned"])
def test_nothing_is_copied_for_it(body: str) -> None:
    assert 1032 not in [n for each in sizes(planned(body)) for n in each]


@pytest.mark.parametrize("words, width", [(1032, WIDTH), (517, WIDTH), (WORDS, 64)])
def test_small_products_and_whole_lines(words: int, width: int) -> None:
    assert [words in each for each in sizes(planned(BACKWARD + "return %10", words=words, width=width))] == [True] * 2


def products_in_a_row(seed: int) -> tuple[Graph, list[np.ndarray]]:
    """A graph of products of small matrices, some transposed, with elementwise work between them, and its inputs."""
    rng = np.random.default_rng(seed)
    b = Builder("products")
    sizes = rng.choice([3, 5, 8, 9], 3)
    inputs = [b.input(TensorType(str(rng.choice(["f32", "bf16"])), tuple(map(int, rng.choice(sizes, 2)))))
              for _ in range(3)]
    pool = [x.emit("cast", dtype="bf16") if x.type.dtype == "f32" else x.emit("tanh") for x in inputs]
    for _ in range(12):
        x, y = (pool[k] for k in rng.integers(0, len(pool), 2))
        if rng.random() < 0.3:
            pool.append(x + y if x.shape == y.shape else x.emit("transpose", axes=(1, 0)))
            continue
        y = y.emit("transpose", axes=(1, 0)) if x.shape[1] != y.shape[0] else y
        if x.shape[1] == y.shape[0]:
            wide = (operand.emit("cast", dtype="f32") for operand in (x, y))
            product = next(wide).emit("matmul", next(wide)).emit("cast", dtype="bf16")
            pool.append(product.emit("tanh") if rng.random() < 0.6 else product)
    arrays = [(rng.normal(size=x.shape) * 0.5).astype(DTYPES[x.type.dtype]) for x in inputs]
    return optimize(b.graph([pool[-1].emit("cast", dtype="f32"), pool[-2]])), arrays


def test_random_products(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(whole_lines, "LONG", 2)
    monkeypatch.setattr(whole_lines, "WIDE", 1)
    changed = 0
    for seed in range(60):
        graph, arrays = products_in_a_row(seed)
        changed += whole_lines.with_whole_lines(half_products(graph, HALVES)) != half_products(graph, HALVES)
        for machine in (GPU, SPLICING):
            agree(graph, arrays, machine=machine, rtol=0.1, atol=0.2)
    assert changed > 20
