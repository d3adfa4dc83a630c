"""The line of the user's program that reads what a guard is on, found from routes and code."""
from __future__ import annotations

import pytest

from tracegrad.purity.read_lines import ReadLines

SOURCE = """\
def helper(layer, x):
    return layer.w @ x + layer.b
def step(x, y=1, *more, flag=True):
    first = other.w
    h = model.w + first
    for layer in model.layers:
        h = helper(layer, h)
    if flag and config["on"]:
        h = h * more[0] + x.w
    return inner() + y
"""
NAMESPACE: dict = {}
exec(compile(SOURCE, "model.py", "exec"), NAMESPACE)


@pytest.mark.parametrize("route, line", [
    ("model", 5), ("model.w", 5), ("other.w", 4), ("model.layers", 6), ("model.layers[0]", 6), ("model.layers[0].w", 2),
    ("model.layers[12].b", 2), ("args[0]", 9), ("args[0].w", 9), ("args[1]", 10), ("args[2]", 9), ("args[5]", 9),
    ("kwargs['flag']", 8), ("config", 8), ("config['on']", 8), ("config['a']['b'].c", 8), ("inner", 10), ("helper", 7),
    ("model (its class)", 5), ("model.hidden", 5), ("model.__class__.w", 2),
    ("the grad mode", None), ("the objects in reach", None), ("nowhere", None), ("kwargs", None), ("step", None),
    ("args[0", None), ("", None)])
def test_the_line_that_reads_a_route(route, line):
    lines = ReadLines(NAMESPACE["step"], [NAMESPACE["step"].__code__, NAMESPACE["helper"].__code__])
    assert lines.line_of(route) == (line and f"model.py:{line}")


def test_methods_are_called_without_what_they_are_bound_to():
    class Model:
        def step(self, x):
            return x

    number = Model.step.__code__.co_firstlineno + 1
    lines = ReadLines(Model().step, [Model.step.__code__])
    assert lines.line_of("args[0]") == f"test_read_lines.py:{number}"
    assert ReadLines(Model.step, [Model.step.__code__]).line_of("args[1]") == f"test_read_lines.py:{number}"
    assert ReadLines(print, [Model.step.__code__]).line_of("args[1]") is None


def test_code_of_the_library_reads_nothing():
    import tracegrad as tg

    assert ReadLines(None, [tg.relu6.__code__]).line_of("clip") is None
