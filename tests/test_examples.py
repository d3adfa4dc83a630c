"""The examples run, and find what they look for."""
from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from examples import adaptive_ode, autograd_tour, digits, linear_regression, second_order, softmax_rows, tree_network

ROOT = Path(__file__).parent.parent


def test_the_digits_are_all_there_and_split_evenly():
    data = digits.load()
    assert len(data.y) + len(data.y_held) == 1797
    assert data.x.dtype == np.float32 and data.x.shape[1:] == (64,) and 0 <= data.x.min() and data.x.max() == 1
    held, all_of_them = np.bincount(data.y_held), np.bincount(np.concatenate([data.y, data.y_held]))
    assert held / all_of_them == pytest.approx(0.2, abs=0.01)
    rows = {x.tobytes() for x in data.x}
    assert sum(x.tobytes() in rows for x in data.x_held) == 0


def test_digits(tmp_path):
    """As `make demo` runs it. It exits with an error if the runs differ or learn too little."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"}
    run = subprocess.run(
        [sys.executable, "-m", "examples.digits"], capture_output=True, text=True, cwd=tmp_path, env=environment)
    assert run.returncode == 0, run.stdout + run.stderr
    accuracies = [float(percent) for percent in re.findall(r"(\d+\.\d)%", run.stdout)]
    assert len(accuracies) == 2 and min(accuracies) >= 97
    assert "1759 of 1760 steps of the compiled run were one native call each" in run.stdout
    assert "(bound 1e-04): yes" in run.stdout and run.stderr == ""
    assert (tmp_path / "out" / "digits.png").read_bytes().startswith(b"\x89PNG")


def run_example(name: str, folder: Path) -> str:
    """What an example prints. It exits with an error if it does not find what it looks for."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"}
    run = subprocess.run(
        [sys.executable, "-m", f"examples.{name}"], capture_output=True, text=True, cwd=folder, env=environment)
    assert run.returncode == 0, run.stdout + run.stderr
    assert run.stderr == ""
    return run.stdout


def test_a_cnn_reads_the_digits(tmp_path):
    printed = run_example("digits_cnn", tmp_path)
    assert float(re.search(r"held out: (\d+\.\d)% right", printed)[1]) >= 98.5
    assert "347 of 348 steps were one native call each" in printed


def test_a_transformer_reads_docstrings_better_than_a_bigram_model(tmp_path):
    printed = run_example("char_transformer", tmp_path)
    ours, bigram = map(float, re.search(r"each character: (\S+), of the bigram model (\S+)", printed).groups())
    assert ours < bigram - 0.3
    assert "399 of 400 steps were one native call each" in printed


def test_linear_regression():
    assert linear_regression.main() == pytest.approx((3, -1), abs=0.03)


def test_softmax_rows(capsys):
    rows = softmax_rows.main()
    assert rows.numpy().sum(axis=1) == pytest.approx(1)
    assert "softmax" in capsys.readouterr().out


def test_second_order():
    assert second_order.main() == pytest.approx([1, 1])


def test_a_comet_comes_back_by_steps_that_are_native_calls(capsys):
    missed, steps, replays = adaptive_ode.main()
    assert missed < 1e-4 and steps - replays < 8
    assert "tried again, shorter" in capsys.readouterr().out


def test_a_tree_network_reads_shapes_that_it_has_never_seen():
    right, replays = tree_network.main()
    assert right > 0.95 and replays == tree_network.STEPS - len(tree_network.SHAPES)


def test_the_tour_of_autograd_is_replayed(capsys):
    autograd_tour.main()
    told = capsys.readouterr().out
    assert told.count(" recorded, ") == 10 and "whose gradient is 12       1 recorded,  3 replayed   12" in told
