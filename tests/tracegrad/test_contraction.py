"""einsum and its relatives against NumPy, eager and traced, and their derivatives."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tracegrad as tg
from codegen.ir.type_rules import TypeRuleError

SIZES = dict(zip("abcdefghijklmnopqrw", (2, 3, 4, 2, 3, 2, 2, 3, 4, 2, 3, 4, 2, 3, 2, 3, 3, 2, 3)))

SUBSCRIPTS = """
    ij,jk->ik ij,jk ij,kj->ki bij,bjk->bki ii ii->i iij->j ijj,j->i i,j->ij i,j i,i ij,ij ij->ji ij-> ij->j ba
    ijk,jil->kl abc,cd,de,ef->abf ab,bc,cd,ad-> bhqd,bhkd->bhqk bqhd,bkhd->bhqk bhqk,bkhd->bqhd ijkl,klmn->ijmn
    ijkl,mnkl->mnij ,ij->ij ijij->ij ijii->j aab,bcc->ac abcd,abcd->ad nchw,oc->nohw i,i,i->i ij,ik,il->jkl
    ...ij,...jk->...ik ...i,...i->... ...i,i ...,...->... a...b,b...a->... ...
""".split()


def drawn(*shape: int) -> np.ndarray:
    return np.random.default_rng(len(shape)).normal(size=shape)


def operands(subscripts: str) -> list[np.ndarray]:
    """Arrays that fit; an ellipsis is two axes of the first operand and one of the others."""
    shapes: list[tuple[int, ...]] = []
    for term in subscripts.partition("->")[0].split(","):
        before, dots, after = term.partition("...")
        broadcast = () if not dots else (5, 2) if not shapes else (2,)
        shapes.append((*(SIZES[k] for k in before), *broadcast, *(SIZES[k] for k in after)))
    return [drawn(*shape) for shape in shapes]


@pytest.mark.parametrize("subscripts", SUBSCRIPTS)
def test_einsum(subscripts: str) -> None:
    arrays = operands(subscripts)
    for dtype in ("float64", "int64"):
        given = [(a * 5).astype(dtype) for a in arrays]
        expected = np.einsum(subscripts, *given)
        f = tg.trace(lambda *xs: tg.einsum(subscripts, *xs) * 1, strict=True)
        for run in (f.eager, f, f):
            result = run(*map(tg.tensor, given))
            assert (result.shape, result.dtype) == (expected.shape, expected.dtype)
            np.testing.assert_allclose(result.numpy(), expected, atol=1e-10)
    leaves = [tg.tensor(a, requires_grad=True) for a in arrays]
    tg.autograd.gradgradcheck(lambda *xs: tg.einsum(subscripts, *xs), leaves)


def test_forms_of_einsum() -> None:
    x, y, z = (tg.tensor(drawn(*shape)) for shape in ((2, 3), (3, 4), (4, 5)))
    expected = (x @ y).numpy()
    for result in (tg.einsum("ij, jk -> ik", [x, y]), tg.einsum(x, [0, 1], y, [1, 2]), tg.einsum("iJ,Jk", x, y.numpy()),
                   tg.einsum(x, [5, 1], y, [1, 2], [5, 2]), tg.einsum(x, [..., 1], y, [1, 2], [..., 2])):
        np.testing.assert_allclose(result.numpy(), expected)
    path = np.einsum_path("ij,jk,kl", x.numpy(), y.numpy(), z.numpy())[0]
    for optimize in (path, ["einsum_path", (0, 1, 2)], ["einsum_path", (1, 2), (0, 1)], False, "greedy"):
        np.testing.assert_allclose(tg.einsum("ij,jk,kl", x, y, z, optimize=optimize).numpy(), expected @ z.numpy())
    assert tg.einsum("ij,ij", tg.tensor([[True, False]]), tg.tensor([[True, True]])).tolist() is True
    assert tg.einsum("i,i", tg.ones(1), tg.ones(3)).item() == 3


@pytest.mark.parametrize("call,error,message", [
    (lambda x: tg.einsum("ij,jk", x), ValueError, "has 2 terms, and there are 1 operands"),
    (lambda x: tg.einsum("ij->ii", x), ValueError, "the result ii has a label twice"),
    (lambda x: tg.einsum("ij->k", x), ValueError, "or one that no operand has"),
    (lambda x: tg.einsum("i.j", x), ValueError, "is not made of letters"),
    (lambda x: tg.einsum("i", x), ValueError, r"f64\[2,3\] does not have the axes i"),
    (lambda x: tg.einsum("ii", x), ValueError, r"the axes i of f64\[2,3\] differ in size"),
    (lambda x: tg.einsum("ij,ji", x, x), ValueError, "the label . is . in one operand and . in another"),
    (lambda x: tg.tensordot(x, x, axes=1), TypeRuleError, "do not fit"),
    (lambda x: tg.vecdot(x, tg.ones(2)), TypeRuleError, "do not fit"),
    (lambda x: tg.mm(x, tg.ones(3)), TypeRuleError, "must have 2 and 2 axes"),
    (lambda x: tg.bmm(tg.ones(1, 2, 3), tg.ones(2, 3, 4)), TypeRuleError, "one batch"),
])
def test_errors(call: Callable, error: type, message: str) -> None:
    with pytest.raises(error, match=rf"^test_contraction\.py:\d+: \w+: .*{message}"):
        call(tg.tensor(drawn(2, 3)))


@pytest.mark.parametrize("axes", [0, 1, ((1, 2), (1, 0)), ((2,), (0,)), ((-1,), (-3,))])
def test_tensordot(axes: Any) -> None:
    a, b = drawn(2, 3, 4), drawn(4, 3, 5)
    result = tg.tensordot(tg.tensor(a), tg.tensor(b), axes=axes)
    np.testing.assert_allclose(result.numpy(), np.tensordot(a, b, axes), atol=1e-12)


@pytest.mark.parametrize("name,shapes", [
    ("dot", ((3,), (3,))), ("dot", ((2, 3), (3, 4))), ("dot", ((2, 3), (3,))), ("dot", ((2, 3), (5, 3, 2))),
    ("dot", ((), (3,))), ("inner", ((2, 3), (4, 3))), ("inner", ((), (3,))), ("inner", ((3,), (2, 5, 3))),
    ("outer", ((2, 3), (4,))), ("outer", ((), (3,))), ("kron", ((2, 3), (4, 5))), ("kron", ((2, 3), (2,))),
    ("kron", ((), (2, 2))), ("kron", ((2,), (2, 3, 2)))])
def test_products_of_numpy(name: str, shapes: tuple) -> None:
    arrays = [drawn(*shape) for shape in shapes]
    expected = getattr(np, name)(*arrays)
    result = getattr(tg, name)(*map(tg.tensor, arrays))
    assert result.shape == expected.shape
    np.testing.assert_allclose(result.numpy(), expected, atol=1e-12)


def test_products_of_pytorch() -> None:
    x, y, v, b, c = (tg.tensor(drawn(*shape)) for shape in ((2, 3), (3, 4), (3,), (5, 2, 3), (5, 3, 4)))
    for result, expected in ((x.mm(y), x @ y), (x.mv(v), x @ v), (b.bmm(c), b @ c),
                             (tg.addmm(x[0, 0], x, y, beta=2, alpha=3), 2 * x[0, 0] + 3 * (x @ y)),
                             (tg.addmv(x[:, 0], x, v), x[:, 0] + x @ v),
                             (tg.baddbmm(tg.full((4,), float("nan")), b, c, beta=0), b @ c)):
        np.testing.assert_allclose(result.numpy(), expected.numpy())
    assert tg.vecdot(b, x, axis=-1).shape == (5, 2) and tg.vecdot(x, x, axis=0).shape == (3,)


def test_layouts_that_a_product_reads_as_they_lie_are_not_copied() -> None:
    x, y = tg.tensor(drawn(6, 5)), tg.tensor(drawn(7, 6))
    f = tg.trace(lambda x, y: tg.einsum("ki,jk->ij", x, y), strict=True)
    f(x, y)
    np.testing.assert_allclose(f(x, y).numpy(), np.einsum("ki,jk->ij", x.numpy(), y.numpy()))
    assert f.stats.kernels_compiled == 0
