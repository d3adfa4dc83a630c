"""How Tensors print: options, summaries, and tables in notebooks. The texts themselves are in test_tensors."""
from __future__ import annotations

import re

import numpy as np
import pytest

import tracegrad as tg


def test_options_are_for_a_while_or_for_good() -> None:
    x = tg.tensor([1 / 3, 100.0])
    with tg.printoptions(precision=2):
        assert repr(x) == "tensor([  0.33, 100.00])"
        with tg.printoptions(sci_mode=True):
            assert repr(x) == "tensor([3.33e-01, 1.00e+02])"
    assert repr(x) == "tensor([  0.3333, 100.0000])"
    before = tg.get_printoptions()
    tg.set_printoptions(precision=1, sci_mode=False)
    try:
        assert repr(tg.tensor([1e-9, 0.5])) == "tensor([0.0, 0.5])"
    finally:
        tg.set_printoptions(**before)
    with pytest.raises(TypeError):
        tg.set_printoptions(digits=3)


@pytest.mark.parametrize("dtype", [tg.float32, tg.bfloat16, tg.float16, tg.complex64, tg.int32, tg.bool], ids=str)
def test_large_tensors_are_summarized_by_what_is_shown(dtype: np.dtype) -> None:
    x = tg.ones(100, 2000).to(dtype)
    with tg.no_grad():
        x[50, 50] = 0
    text = repr(x)
    assert text.count("...") == 7 and len(text.splitlines()) == 7
    with tg.printoptions(edgeitems=1, threshold=10):
        assert len(repr(x).splitlines()) == 3


def test_a_number_that_is_not_shown_does_not_change_how_the_others_are() -> None:
    x = tg.full((5000,), 0.5)
    x[2500] = 1e-20
    assert repr(x) == "tensor([0.5000, 0.5000, 0.5000, ..., 0.5000, 0.5000, 0.5000])"


def test_notebooks_show_small_matrices_as_tables() -> None:
    html = tg.tensor([[1.0, 2.5], [3.0, 4.0]], requires_grad=True)._repr_html_()
    assert html is not None and html.count("<tr>") == 2 and html.count("<td>") == 4
    assert "<caption>f32[2,2], requires_grad=True</caption>" in html and "<td>2.5000</td>" in html
    assert "grad_fn=&lt;mul backward&gt;" in (tg.ones(2, requires_grad=True) * 2)._repr_html_()
    assert re.findall("<td>(.*?)</td>", tg.arange(20)._repr_html_()) == [str(k) for k in range(20)]
    for x in (tg.tensor(1.0), tg.ones(21), tg.ones(2, 2, 2), tg.zeros(0, 3)):
        assert x._repr_html_() is None


def test_a_traced_function_sets_and_reads_the_options_at_every_call():
    def sets(x):
        tg.set_printoptions(precision=2)
        return x * 2

    def reads(x):
        return x * tg.get_printoptions()["precision"]

    with tg.printoptions():
        for traced in (tg.trace(sets), tg.trace(reads)):
            with pytest.warns(tg.Followed, match="how Tensors print"):
                for precision in (5, 6, 6, 7):
                    tg.set_printoptions(precision=precision)
                    result, now = traced(tg.ones(2)).tolist(), tg.get_printoptions()["precision"]
                    assert (result, now) in (([2.0] * 2, 2), ([float(precision)] * 2, precision))
