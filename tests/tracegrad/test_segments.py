"""Paths that share a beginning become one program, which the interpreter runs."""
from __future__ import annotations

import numpy as np
import pytest

import tracegrad as tg
from codegen.ir.builder import Builder
from codegen.ir.interpret import interpret
from codegen.ir.program import Exit, case_number
from codegen.ir.types import TensorType
from codegen.ir.verify import verify
from tracegrad.recorded import Read
from tracegrad.segments import KnownPath, NotThisTree, Path, Segment, added, lowered

F64 = TensorType("f64")


def halvings(n: int) -> Path:
    """x is halved n times, until it is below 1: a path with n + 1 reads."""
    b = Builder("halve")
    x, reads = b.input(F64), []
    for k in range(n + 1):
        large = x.emit("ge", 1.0)
        reads.append(Read(len(b), large.id, "bool", int(k < n), "bool", "halve.py:3"))
        if k < n:
            x = x / 2.0
    return Path(b.graph([x]), tuple(reads), (0,), ())


def by_number(number: float) -> Path:
    """x is read as a float: its double is the result."""
    b = Builder("number")
    x = b.input(F64)
    reads = (Read(0, x.id, "f64", case_number(np.float64(number)), "float", None),)
    return Path(b.graph([b.constant(2 * number, "f64")]), reads, (0,), ())


def tree_of(*paths: Path) -> Segment:
    tree = None
    for path in paths:
        tree = added(tree, path)
    assert tree is not None
    return tree


def test_paths_share_their_beginning() -> None:
    low = lowered("halve", (F64,), tree_of(halvings(1), halvings(3), halvings(0)))
    verify(low.program)
    assert len(low.ends) == 3 and len(low.program.blocks) == 7
    for x, expected in ((0.5, 0.5), (1.5, 0.75), (7.0, 0.875)):
        assert interpret(low.program, [np.float64(x)]) == [expected]


def test_a_way_that_is_not_known_is_an_exit_that_names_its_segment() -> None:
    tree = tree_of(halvings(1), halvings(3))
    low = lowered("halve", (F64,), tree)
    left = {interpret(low.program, [np.float64(x)]).number for x in (0.5, 2.5, 9.0)}
    assert left == {1, 2, 3}
    assert low.exits[interpret(low.program, [np.float64(0.5)]).number - 1] is tree


def test_a_float_that_is_read_is_a_way_of_its_own() -> None:
    low = lowered("number", (F64,), tree_of(by_number(1.5), by_number(0.0), by_number(float("nan"))))
    for x, expected in ((1.5, 3.0), (0.0, 0.0)):
        assert interpret(low.program, [np.float64(x)]) == [expected]
    assert np.isnan(interpret(low.program, [np.float64("nan")])[0])
    assert isinstance(interpret(low.program, [np.float64(-0.0)]), Exit)


def test_the_old_tree_stays_as_it_was() -> None:
    tree = tree_of(halvings(2))
    before = lowered("halve", (F64,), tree).program
    added(tree, halvings(1))
    assert lowered("halve", (F64,), tree).program == before


@pytest.mark.parametrize("path, why", [(halvings(2), KnownPath), (by_number(1.0), NotThisTree)],
                         ids=["the same again", "another beginning"])
def test_what_does_not_branch_off_at_a_read_is_no_way_of_the_tree(path: Path, why: type[Exception]) -> None:
    with pytest.raises(why):
        added(tree_of(halvings(2)), path)


def test_a_float_whose_last_digits_differ_when_compiled_is_followed_from_then_on() -> None:
    def f(x: tg.Tensor) -> float:
        return 1 + float(tg.sin(x))

    values = np.linspace(1, 100, 1000, dtype=np.float32)
    compiled = tg.trace(lambda x: tg.sin(x))
    compiled(tg.tensor(values))
    x = tg.tensor(values[compiled(tg.tensor(values)).numpy() != np.sin(values)][0])
    traced = tg.trace(f)
    with pytest.warns(tg.Followed, match="test_segments.py:[0-9]+: .*last digits"):
        results = [traced(x) for _ in range(6)]
    np.testing.assert_allclose(results, f(x), rtol=1e-6)
    assert (traced.stats.recordings, traced.stats.new_paths, traced.stats.follows) == (2, 1, 4), traced.stats


def test_a_long_path_does_not_recurse() -> None:
    low = lowered("halve", (F64,), tree_of(halvings(1000)))
    assert interpret(low.program, [np.float64(2.0**999)]) == [0.5]


def test_floats_that_become_ints_are_ways_of_one_root_whatever_they_are() -> None:
    def f(x: tg.Tensor) -> object:
        try:
            return int(x), x * int(x)
        except (ValueError, OverflowError) as error:
            return type(error).__name__

    values = (2.7, -2.7, float("nan"), 1e30, float("inf"), 2.0**53, 0.0)
    for dtype in (tg.float16, tg.float32, tg.float64):
        traced = tg.trace(f)
        for _ in range(2):
            before = traced.stats.replays
            for value in values:
                x = tg.tensor(value, dtype=dtype)
                assert repr(traced(x)) == repr(f(x))
        assert traced.stats.replays == before + len(values) and len(traced.explain().roots) == 1
