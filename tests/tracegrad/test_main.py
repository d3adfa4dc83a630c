"""python -m tracegrad, and the environment variable that turns tracing off."""
from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tracegrad.__main__ import main


def test_info_names_what_was_found(capsys):
    assert main(["info"]) == 0
    text = capsys.readouterr().out
    for word in ("tracegrad", "processor", "features", "threads", "cache", "gpu", "one thread", "Gflop/s of f64"):
        assert word in text


def test_the_cache_is_shown_and_cleared(capsys):
    assert main(["cache"]) == 0
    assert os.environ["TRACEGRAD_CACHE_DIR"] in capsys.readouterr().out
    assert main(["cache", "clear"]) == 0


def test_a_function_is_explained(tmp_path, monkeypatch, capsys):
    (tmp_path / "mine.py").write_text(
        "import tracegrad as tg\n"
        "@tg.trace\n"
        "def double(x):\n"
        "    return x * 2.0\n"
        "double(tg.ones(3))\n"
        "plain = len\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    assert main(["explain", "mine:double"]) == 0
    assert "mul" in capsys.readouterr().out
    assert main(["explain", "mine:double", "--verbose"]) == 0
    assert "native call" in capsys.readouterr().out
    assert main(["explain", "mine:double", "--html", "page.html"]) == 0
    assert "traced function <code>double</code>" in (tmp_path / "page.html").read_text() and not capsys.readouterr().out


@pytest.mark.parametrize("name, sentence", [
    ("nowhere:f", "No module named 'nowhere'"), ("math:nothing", "no attribute"),
    ("math:sin", "not a traced function")])
def test_what_cannot_be_explained_says_why(name, sentence, monkeypatch, capsys):
    monkeypatch.setattr(sys, "path", list(sys.path))
    assert main(["explain", name]) == 2
    assert sentence in capsys.readouterr().err


@pytest.mark.parametrize("value, calls", [("1", 0), ("0", 2), ("", 2)])
def test_tracegrad_eager_runs_a_process_as_plain_python(value, calls):
    program = ("import tracegrad as tg\nf = tg.trace(lambda x: x * 2.0)\n"
               "f(tg.ones(2)), f(tg.ones(2))\nprint(f.stats.calls)")
    done = subprocess.run([sys.executable, "-c", program], env={**os.environ, "TRACEGRAD_EAGER": value},
                          capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(calls)
