"""Every law is true on samples, NaN, infinities and -0.0 included, and makes things cheaper."""
from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from codegen.ir.builder import Builder
from codegen.ir.edges import same_bits
from codegen.ir.graph import Graph
from codegen.ir.interpret import interpret
from codegen.ir.type_rules import TypeRuleError
from codegen.ir.types import DTYPES, TensorType
from codegen.ir.verify import verify
from codegen.optimize.laws import EXACT, FAST, Law, parse_laws
from codegen.optimize.prune import prune
from codegen.optimize.rewrite import rewrite
from codegen.optimize.simplify import rules_of
from codegen.optimize.terms import KINDS, Apply, Number, Term, Variable, cost, parse_term, variables

DRAWN = ("bool", "i32", "i64", "u32", "f32", "f64")
FLOATS = [0.0, -0.0, 1.0, -1.0, 0.5, -3.7, 1 / 3, 1e-40, -1e-40, 3e38, np.inf, -np.inf, np.nan]
SAMPLES = {
    "bool": [False, True], "f32": FLOATS, "f64": [*FLOATS, 1e-310, 1e308],
    **{i: [0, 1, -1, 7, np.iinfo(DTYPES[i]).min, np.iinfo(DTYPES[i]).max] for i in ("i32", "i64")},
    "u32": [0, 1, 7, 31, 32, 2**32 - 1],
}


def left_graph(law: Law, dtypes: dict[str, str], shape: tuple[int, ...]) -> Graph | None:
    """The left side as a graph of its variables, None where those dtypes do not fit."""
    b = Builder("left")
    inputs = {name: b.input(TensorType(dtype, shape)) for name, dtype in dtypes.items()}

    def emit(term: Term, wanted: str | None) -> object:
        match term:
            case Variable(name, kind):
                if kind is not None and dtypes[name] not in KINDS[kind]:
                    raise TypeRuleError("kind")
                return inputs[name]
            case Number(_, texts):
                if wanted not in dict(texts):
                    raise TypeRuleError("number")
                return b.emit("constant", value=dict(texts)[wanted], dtype=wanted)
            case Apply(op, args):
                dtype = next((dtypes[n] for arg in args[-2:] for n in variables(arg)), wanted)
                choices = ["bool" if op == "where" and k == 0 else dtype for k in range(len(args))]
                return b.emit(op, *(emit(arg, choice) for arg, choice in zip(args, choices)))

    try:
        value = emit(law.left, "bool")
    except TypeRuleError:
        return None
    return b.graph([value])


def instances(law: Law, shape: tuple[int, ...]) -> list[tuple[Graph, list[str]]]:
    names = list(dict.fromkeys(variables(law.left)))
    found = []
    for choice in product(DRAWN, repeat=len(names)):
        graph = left_graph(law, dict(zip(names, choice)), shape)
        if graph is not None:
            found.append((graph, list(choice)))
    return found


@pytest.mark.parametrize("law", EXACT, ids=str)
def test_exact_laws_are_true_bit_for_bit(law: Law) -> None:
    """On the whole product of samples, laid out as one vector."""
    found = instances(law, (1,))
    assert found
    for _, dtypes in found:
        columns = list(zip(*product(*(SAMPLES[d] for d in dtypes))))
        arrays = [np.array(column, DTYPES[d]) for column, d in zip(columns, dtypes)]
        names = list(dict.fromkeys(variables(law.left)))
        graph = left_graph(law, dict(zip(names, dtypes)), (len(columns[0]),))
        after = prune(rewrite(graph, rules_of((law,))))
        verify(after)
        assert after != graph, "the law did not apply"
        left, right = interpret(graph, arrays), interpret(after, arrays)
        assert same_bits(left[0], right[0]), (dtypes, left, right)


@pytest.mark.parametrize("law", FAST, ids=str)
def test_fast_laws_are_true_of_real_numbers(law: Law) -> None:
    found = [(graph, dtypes) for graph, dtypes in instances(law, (50,)) if set(dtypes) <= {"f32", "f64"}]
    assert found
    rng = np.random.default_rng(0)
    for graph, dtypes in found:
        arrays = [rng.uniform(0.5, 2.0, 50).astype(DTYPES[d]) for d in dtypes]
        after = prune(rewrite(graph, rules_of((law,))))
        verify(after)
        assert after != graph, "the law did not apply"
        left, right = interpret(graph, arrays), interpret(after, arrays)
        np.testing.assert_allclose(left[0], right[0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("law", FAST, ids=str)
def test_fast_laws_are_not_exact(law: Law) -> None:
    """A law that is true bit for bit belongs among the exact ones."""
    def differs(graph: Graph, dtypes: list[str]) -> bool:
        if not set(dtypes) <= {"f32", "f64"}:
            return False
        rng = np.random.default_rng(1)
        columns = list(zip(*[*product(*(SAMPLES[d] for d in dtypes)), *rng.normal(size=(200, len(dtypes)))]))
        arrays = [np.array(column, DTYPES[d]) for column, d in zip(columns, dtypes)]
        names = list(dict.fromkeys(variables(law.left)))
        graph = left_graph(law, dict(zip(names, dtypes)), arrays[0].shape)
        after = rewrite(graph, rules_of((law,)))
        return not same_bits(interpret(graph, arrays)[0], interpret(after, arrays)[0])

    assert any(differs(graph, dtypes) for graph, dtypes in instances(law, (1,)))


@pytest.mark.parametrize("law", EXACT + FAST, ids=str)
def test_laws_shrink(law: Law) -> None:
    assert cost(law.right) < cost(law.left)
    left = variables(law.left)
    assert all(left.count(name) >= variables(law.right).count(name) for name in variables(law.right))


@pytest.mark.parametrize("law", EXACT, ids=str)
def test_laws_keep_the_shape(law: Law) -> None:
    """Variables of different shapes broadcast; what the law leaves has the shape of the whole."""
    names = list(dict.fromkeys(variables(law.left)))
    for _, dtypes in instances(law, ())[:2]:
        for shapes in product([(), (3, 1), (2,)], repeat=len(names)):
            b = Builder("f")
            narrow = [b.input(TensorType(d, s)) for d, s in zip(dtypes, shapes)]
            whole = left_graph(law, dict(zip(names, dtypes)), ())
            values = list(narrow)
            for node in whole.nodes:
                values.append(b.emit(node.op, *(values[v] for v in node.args), **dict(node.attrs)))
            graph = b.graph([values[-1]])
            after = rewrite(graph, rules_of((law,)))
            verify(after)
            assert after.type_of(after.outputs[0]) == graph.type_of(graph.outputs[0])


def test_laws_are_there_once() -> None:
    texts = [str(law) for law in EXACT + FAST]
    assert len(set(texts)) == len(texts)


def test_terms_that_are_none() -> None:
    with pytest.raises(KeyError):
        parse_term("explode(x)")
    with pytest.raises(ValueError, match="add takes 2 operands"):
        parse_term("add(x)")
    with pytest.raises(ValueError, match="goes on"):
        parse_term("add(x, y) z")
    with pytest.raises(ValueError, match="is no op"):
        parse_laws("x -> neg(x)")
    with pytest.raises(KeyError):
        parse_term("neg(x:color)")


def test_numbers_match_only_the_dtypes_that_can_hold_them() -> None:
    def dtypes(text: str) -> set[str]:
        term = parse_term(text)
        assert isinstance(term, Number)
        return {dtype for dtype, _ in term.texts}

    assert dtypes("true") == {"bool"}
    assert dtypes("inf") == {"f16", "bf16", "f32", "f64"}
    assert "u32" not in dtypes("-1") and "i32" in dtypes("-1") and "bool" not in dtypes("1")
    assert dtypes("0.5") == {"f16", "bf16", "f32", "f64"}
