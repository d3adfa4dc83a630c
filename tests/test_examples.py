"""The examples run, and find what they look for."""
from __future__ import annotations

import numpy as np
import pytest

from examples import digits, linear_regression, second_order, softmax_rows


def test_the_digits_are_all_there_and_split_evenly():
    data = digits.load()
    assert len(data.y) + len(data.y_held) == 1797
    assert data.x.dtype == np.float32 and data.x.shape[1:] == (64,) and 0 <= data.x.min() and data.x.max() == 1
    held, all_of_them = np.bincount(data.y_held), np.bincount(np.concatenate([data.y, data.y_held]))
    assert held / all_of_them == pytest.approx(0.2, abs=0.01)
    rows = {x.tobytes() for x in data.x}
    assert sum(x.tobytes() in rows for x in data.x_held) == 0


def test_digits(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    eager, compiled = digits.main(epochs=20)
    assert min(eager.accuracy, compiled.accuracy) >= 0.97
    assert digits.difference(eager, compiled) <= digits.TOLERANCE
    assert "(bound 1e-04): yes" in capsys.readouterr().out
    assert (tmp_path / "out" / "digits.png").read_bytes().startswith(b"\x89PNG")


def test_linear_regression():
    assert linear_regression.main() == pytest.approx((3, -1), abs=0.03)


def test_softmax_rows(capsys):
    rows = softmax_rows.main()
    assert rows.numpy().sum(axis=1) == pytest.approx(1)
    assert "softmax" in capsys.readouterr().out


def test_second_order():
    assert second_order.main() == pytest.approx([1, 1])
