"""pytrees: Tensors in containers as arguments, results and state of traced functions that replay, and the functions."""
from __future__ import annotations

from collections import OrderedDict, namedtuple
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest

import tracegrad as tg
from tracegrad import nn
from tracegrad.pytrees import tree_flatten, tree_leaves, tree_map, tree_structure, tree_unflatten

Point = namedtuple("Point", "x y")


@dataclass
class Plain:
    """A dataclass with a default of each kind."""

    h: Any
    n: int = 3
    notes: list = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Frozen:
    """A dataclass without a __dict__, whose attributes cannot be set."""

    a: Any
    b: Any = 2.0


SHARED = Frozen(1, 2)


@dataclass
class Shares:
    """A dataclass whose default is one object for all."""

    h: Any
    options: Frozen = SHARED


@dataclass
class Checked:
    """A dataclass with an __init__ of its own making, and one that refuses to be made twice the same way."""

    h: Any

    def __post_init__(self) -> None:
        self.h = self.h * 2


class Pair:
    """A class that was registered."""

    def __init__(self, a: Any, b: Any):
        self.a, self.b = a, b

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Pair) and bool((self.a == other.a).all()) and self.b == other.b


class Bag:
    """A class that brings the methods along."""

    def __init__(self, *held: Any):
        self.held = held

    def __tree_flatten__(self) -> tuple[Any, Any]:
        return self.held, len(self.held)

    @staticmethod
    def __tree_unflatten__(count: int, children: Any) -> Bag:
        assert count == len(children)
        return Bag(*children)


tg.pytrees.register(Pair, lambda p: ((p.a, p.b), "aux"), lambda aux, children: Pair(*children))

TREES: dict[str, Callable[[Any], Any]] = {
    "tuple": lambda t: (t, t + 1),
    "list": lambda t: [t, [t + 1]],
    "dict": lambda t: {"a": t, "b": {"c": t + 1}},
    "ordered": lambda t: OrderedDict(z=t, a=t + 1),
    "named": lambda t: Point(t, (t + 1, None)),
    "dataclass": lambda t: Plain(t, 4),
    "frozen": lambda t: Frozen(t, [t + 1]),
    "post_init": lambda t: Checked(t),
    "registered": lambda t: Pair(t, {"k": 1}),
    "methods": lambda t: Bag(t, t + 1),
    "mixed": lambda t: {"p": Point(Plain(t), (Frozen(t + 1), 7, "text")), "none": None},
}


def numbers(tree: Any) -> list[Any]:
    """The leaves, Tensors as lists."""
    return [x.tolist() if isinstance(x, tg.Tensor) else x for x in tree_leaves(tree)]


def kinds(tree: Any) -> Iterator[type]:
    """The types of all nodes."""
    node = tg.pytrees.opened(tree)
    yield type(tree)
    for child in () if node is None else node.children:
        yield from kinds(child)


# ---- the functions --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", TREES.values(), ids=TREES)
def test_trees_go_apart_and_together(make: Callable[[Any], Any]) -> None:
    tree = make(tg.tensor([1.0, 2.0]))
    leaves, structure = tree_flatten(tree)
    again = tree_unflatten(structure, leaves)
    assert list(kinds(again)) == list(kinds(tree)) and numbers(again) == numbers(tree)
    assert structure.num_leaves == len(leaves) == len(tree_leaves(again)) and tree_structure(again).num_leaves
    doubled = tree_map(lambda x: x * 2, tree)
    assert numbers(doubled) == numbers(tree_unflatten(structure, [x * 2 for x in leaves]))
    added = tree_map(lambda x, y: x + y, tree, doubled)
    assert numbers(added) == numbers(tree_unflatten(structure, [x + x * 2 for x in leaves]))


def test_dicts_are_matched_by_their_keys_and_structures_compared() -> None:
    assert tree_map(lambda x, y: x - y, {"a": 1, "b": 2}, {"b": 20, "a": 10}) == {"a": -9, "b": -18}
    with pytest.raises(ValueError, match=r"keys \['c'\] are not those of the first tree, \['a'\]"):
        tree_map(lambda x, y: x, {"a": 1}, {"c": 1})
    with pytest.raises(ValueError, match="list does not have the structure of the first tree's tuple"):
        tree_map(lambda x, y: x, (1, 2), [1, 2])
    with pytest.raises(ValueError, match="1 leaves for a structure of 2"):
        tree_unflatten(tree_structure((1, 2)), [1])
    assert tree_leaves([(1, 2), 3], is_leaf=lambda t: isinstance(t, tuple)) == [(1, 2), 3]
    with pytest.raises(ValueError, match="Pair is registered already"):
        tg.pytrees.register(Pair, lambda p: ((), None), lambda aux, children: None)


def test_modules_are_nodes() -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.ParameterList([tg.ones(2)]))
    assert len(tree_leaves(model)) == 8
    zeros = tree_map(tg.zeros_like, model)
    assert type(zeros) is nn.Sequential and zeros[0].weight.tolist() == [[0, 0]] * 3 and zeros[0] is not model[0]
    assert model[0].weight.abs().sum().item() > 0 and isinstance(model[0].weight, nn.Parameter)


def test_a_dataclass_is_made_from_its_fields_as_they_are() -> None:
    assert tree_map(lambda x: x, Checked(1)).h == 2
    assert tree_map(lambda x: x + 1, Frozen(1, (2, 3))) == Frozen(2, (3, 4))


# ---- in traced functions --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", TREES.values(), ids=TREES)
def test_arguments_and_results_replay(make: Callable[[Any], Any]) -> None:
    def f(tree: Any, x: Any) -> Any:
        total = sum(leaf.sum() for leaf in tree_leaves(tree) if isinstance(leaf, tg.Tensor))
        return make(x * total)

    traced = tg.trace(f)
    for k in range(6):
        tree, x = make(tg.tensor([1.0, k])), tg.tensor([2.0, k])
        found, expected = traced(tree, x), f(tree, x)
        assert list(kinds(found)) == list(kinds(expected)) and numbers(found) == numbers(expected)
    assert traced.stats.replays >= 2, traced.explain()


def test_results_are_new_on_every_call() -> None:
    traced = tg.trace(lambda x: {"a": Plain(x * 2), "b": Pair(x + 1, [3])})
    results = [traced(tg.ones(2)) for _ in range(3)]
    assert traced.stats.replays == 2, traced.explain()
    assert len({id(r["a"]) for r in results}) == len({id(r["a"].notes) for r in results}) == 3
    results[1]["a"].notes.append(1)
    results[1]["b"].b.append(4)
    assert traced(tg.ones(2))["a"].notes == [] and traced(tg.ones(2))["b"].b == [3]


def test_a_default_that_is_one_object_stays_that_object() -> None:
    traced = tg.trace(lambda x: Shares(x * 2))
    results = [traced(tg.ones(2)) for _ in range(3)]
    assert all(r.options is SHARED for r in results)


def test_a_dataclass_that_was_there_is_returned_itself() -> None:
    held = Plain(tg.ones(2))

    def f(x: Any, given: Any) -> Any:
        held.h = held.h + x
        return held, given

    traced = tg.trace(f)
    given = Frozen(tg.ones(1))
    for k in range(3):
        a, b = traced(tg.ones(2), given)
        assert a is held and b is given and held.h.tolist() == [k + 2] * 2
    assert traced.stats.replays == 2, traced.explain()


def test_replace_of_a_frozen_state() -> None:
    def f(state: Any, x: Any) -> Any:
        return replace(state, a=state.a + x)

    traced, state = tg.trace(f), Frozen(tg.zeros(2), "kept")
    for _ in range(5):
        state = traced(state, tg.ones(2))
    assert state.a.tolist() == [5, 5] and state.b == "kept" and traced.stats.replays >= 3, traced.explain()


@pytest.mark.parametrize("returns", [
    lambda x, s=[]: (d := Plain(x), d), lambda x: Deleted(x * 2), lambda x: More(x * 2),
], ids=["twice", "__del__", "more than its fields"])
def test_what_a_replay_cannot_make_again_runs_eagerly(returns: Callable[[Any], Any]) -> None:
    traced = tg.trace(returns)
    with pytest.warns(tg.NotReplayed, match="RESULT_TYPE"):
        traced(tg.ones(2))
    assert traced.stats.replays == 0


@dataclass
class Deleted:
    """A dataclass that notices its end."""

    h: Any

    def __del__(self) -> None: ...


@dataclass
class More:
    """A dataclass with an attribute that is no field."""

    h: Any

    def __post_init__(self) -> None:
        self.seen = True


def test_what_makes_a_dataclass_is_watched() -> None:
    @dataclass
    class Made:
        h: Any
        scale: float = 2.0
        shared: Any = field(default_factory=lambda: NOTES)

        def __post_init__(self) -> None:
            self.h = self.h * self.scale

    traced = tg.trace(lambda x: Made(x))
    changes = [lambda: None, lambda: None, lambda: setattr(Made, "__post_init__", lambda self: None), lambda: None,
               lambda: setattr(Made.__init__, "__defaults__", (3.0, Made.__init__.__defaults__[1])), lambda: None]
    for change in changes:
        change()
        found, expected = traced(tg.ones(2)), Made(tg.ones(2))
        assert found.h.tolist() == expected.h.tolist() and found.scale == expected.scale
        assert found.shared is NOTES
    assert traced.stats.replays >= 1, traced.explain()


NOTES: list[int] = [1]


def test_a_mode_that_is_set_again_does_not_hinder() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.5)).eval()

    def predict(x: Any) -> Any:
        model.eval()
        return model(x)

    traced = tg.trace(predict)
    for _ in range(3):
        assert traced(tg.ones(1, 2)).tolist() == model(tg.ones(1, 2)).tolist()
    assert traced.stats.replays >= 1, traced.explain()


# ---- state ----------------------------------------------------------------------------------------------------------


class Held:
    """State in containers."""

    def __init__(self) -> None:
        self.pair = (tg.zeros(2), tg.ones(2))
        self.named = {"h": tg.zeros(2), "more": [tg.ones(2), 3]}
        self.record = Plain(tg.zeros(2))
        self.other = (tg.ones(2), tg.ones(2))
        self.counted = (tg.zeros(2), 0)


def step_pair(held: Held, x: Any) -> Any:
    h, c = held.pair
    held.pair = (h + x, c * 2)
    return h


def step_named(held: Held, x: Any) -> Any:
    held.named = {"h": held.named["h"] + x, "more": [held.named["more"][0] * 2, 3]}
    return held.named["h"]


def step_record(held: Held, x: Any) -> Any:
    held.record = Plain(held.record.h + x)
    return held.record.h.sum()


def step_swap(held: Held, x: Any) -> Any:
    held.pair, held.other = held.other, held.pair
    return held.pair[0] + x


def step_list(held: Held, x: Any) -> Any:
    held.named["more"] = [held.named["more"][0] + x, 3]
    return x + 1


@pytest.mark.parametrize("step", [step_pair, step_named, step_record, step_swap, step_list])
def test_containers_of_tensors_are_replaced_by_a_replay(step: Callable[[Held, Any], Any]) -> None:
    ours, plain = Held(), Held()
    traced = tg.trace(lambda x: step(ours, x))
    for k in range(5):
        x = tg.tensor([1.0, k])
        assert traced(x).tolist() == step(plain, x).tolist()
        assert tree_map(numbers, vars(ours)) == tree_map(numbers, vars(plain))
    assert traced.stats.replays == 4, traced.explain()


def test_a_number_beside_the_tensors_that_changes_is_an_effect() -> None:
    held = Held()

    def step(x: Any) -> None:
        held.counted = (held.counted[0] + x, held.counted[1] + 1)

    traced = tg.trace(step)
    with pytest.warns(tg.NotReplayed, match="EFFECT"):
        traced(tg.ones(2))
    traced(tg.ones(2))
    assert held.counted[1] == 2 and held.counted[0].tolist() == [2, 2]


def test_a_recurrent_state_that_a_model_carries_replays() -> None:
    class Reader(nn.Module):
        def __init__(self) -> None:
            self.cell = nn.LSTMCell(3, 4)
            self.state = (tg.zeros(2, 4), tg.zeros(2, 4))

        def forward(self, x: Any) -> Any:
            self.state = tuple(s.detach() for s in self.cell(x, self.state))
            return self.state[0]

    tg.manual_seed(0)
    model = Reader()
    xs = [tg.randn(2, 3) for _ in range(5)]
    traced = tg.trace(model)
    found = [traced(x).tolist() for x in xs]
    model.state = (tg.zeros(2, 4), tg.zeros(2, 4))
    np.testing.assert_allclose(found, [model(x).tolist() for x in xs], rtol=1e-5, atol=1e-7)
    assert traced.stats.replays >= 3, traced.explain()


def test_verify_sees_into_results_and_state() -> None:
    held = Held()
    traced = tg.trace(lambda x: (step_pair(held, x), Frozen(x * 2))[1])
    traced(tg.ones(2))
    assert traced.verify(tg.ones(2))
