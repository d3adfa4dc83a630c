"""pytrees: Tensors in containers in containers, and what can be done with all of them at once.

    tree_map(tg.zeros_like, {"w": w, "layers": [a, b]})   ->   {"w": zeros, "layers": [zeros, zeros]}

A node is a tuple (a named one too), list, dict, OrderedDict, None, an instance of a dataclass, a Module, or of a class
that was registered; everything else is a leaf.

1. Children come in the order of the container: dicts in that of their keys, dataclasses in that of their fields.
2. A dataclass is made again from its fields as they are, without its __init__, as copy.copy does it; frozen ones too.
3. A class takes part by `register`, or by methods: `__tree_flatten__(self) -> (children, aux)` and the static
   `__tree_unflatten__(aux, children)`. Both must be pure: a replay of a traced function that returns such an object
   calls the second with new children.
"""
from __future__ import annotations

import dataclasses
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from codegen.ir.structs import struct

Flatten = Callable[[Any], tuple[Iterable[Any], Any]]
Unflatten = Callable[[Any, Sequence[Any]], Any]


class Opened(NamedTuple):
    """A node taken apart: its children, what else it holds, and how both make it again."""

    children: tuple[Any, ...]
    aux: Any
    make: Unflatten


def _keys_and_values(tree: Any) -> tuple[Iterable[Any], Any]:
    return tree.values(), tuple(tree)


REGISTERED: dict[type, tuple[Flatten, Unflatten]] = {
    tuple: (lambda tree: (tree, None), lambda aux, children: tuple(children)),
    list: (lambda tree: (tree, None), lambda aux, children: list(children)),
    dict: (_keys_and_values, lambda keys, children: dict(zip(keys, children))),
    OrderedDict: (_keys_and_values, lambda keys, children: OrderedDict(zip(keys, children))),
    type(None): (lambda tree: ((), None), lambda aux, children: None),
}
"""Node classes, by exact type."""

BUILTIN = tuple(REGISTERED)


def register(cls: type, flatten: Flatten, unflatten: Unflatten) -> None:
    """Make instances of `cls` (not of classes derived from it) nodes.

    flatten(tree) gives (children, aux), unflatten(aux, children) the tree again. ValueError for a class that is a node.

        >>> class Pair:
        ...     def __init__(self, a, b): self.a, self.b = a, b
        >>> tg.pytrees.register(Pair, lambda p: ((p.a, p.b), None), lambda aux, children: Pair(*children))
        >>> tg.pytrees.tree_leaves([Pair(1, 2), 3])
        [1, 2, 3]
    """
    if cls in REGISTERED:
        raise ValueError(f"register: {cls.__qualname__} is registered already")
    REGISTERED[cls] = flatten, unflatten


def is_registered(cls: type) -> bool:
    """Was the class registered by someone, or does it bring the methods along?"""
    return cls in REGISTERED and cls not in BUILTIN or hasattr(cls, "__tree_flatten__")


def opened(tree: Any) -> Opened | None:
    """A node taken apart by one level; None for a leaf."""
    cls = type(tree)
    known = REGISTERED.get(cls)
    if known is not None:
        children, aux = known[0](tree)
        return Opened(tuple(children), aux, known[1])
    if isinstance(tree, tuple) and hasattr(cls, "_make"):
        return Opened(tuple(tree), cls, lambda aux, children: aux._make(children))
    if hasattr(cls, "__tree_flatten__"):
        children, aux = tree.__tree_flatten__()
        return Opened(tuple(children), aux, cls.__tree_unflatten__)
    if dataclasses.is_dataclass(cls):
        held = {f.name: value for f in dataclasses.fields(tree) if (value := held_by(tree, f.name)) is not MISSING}
        return Opened(tuple(held.values()), (cls, tuple(held)), instance)
    return None


MISSING = object()


def held_by(tree: Any, name: str) -> Any:
    """What an attribute holds, or MISSING; no code of the class runs."""
    try:
        return object.__getattribute__(tree, name)
    except AttributeError:
        return MISSING


def instance(aux: tuple[type, tuple[str, ...]], children: Sequence[Any]) -> Any:
    """An instance of a dataclass that holds these values."""
    cls, names = aux
    made: Any = object.__new__(cls)
    for name, child in zip(names, children):
        object.__setattr__(made, name, child)
    return made


@struct
class Structure:
    """What is left of a tree without its leaves; `make` is None for a leaf."""

    aux: Any = None
    make: Unflatten | None = None
    children: tuple[Structure, ...] = ()

    @property
    def num_leaves(self) -> int:
        """How many leaves it has room for."""
        return 1 if self.make is None else sum(child.num_leaves for child in self.children)


LEAF = Structure()


def tree_flatten(tree: Any, is_leaf: Callable[[Any], bool] | None = None) -> tuple[list[Any], Structure]:
    """(leaves, structure); what `is_leaf` holds for is a leaf, whatever it is.

        >>> leaves, structure = tg.pytrees.tree_flatten({"a": 1, "b": (2, None)})
        >>> leaves, tg.pytrees.tree_unflatten(structure, [x * 10 for x in leaves])
        ([1, 2], {'a': 10, 'b': (20, None)})
    """
    leaves: list[Any] = []
    return leaves, _structure_of(tree, is_leaf, leaves)


def _structure_of(tree: Any, is_leaf: Callable[[Any], bool] | None, leaves: list[Any]) -> Structure:
    """Its structure; its leaves are appended. (A function inside another that calls itself would keep them alive.)"""
    node = None if is_leaf is not None and is_leaf(tree) else opened(tree)
    if node is None:
        leaves.append(tree)
        return LEAF
    return Structure(node.aux, node.make, tuple(_structure_of(child, is_leaf, leaves) for child in node.children))


def tree_unflatten(structure: Structure, leaves: Iterable[Any]) -> Any:
    """The tree of this structure with these leaves. ValueError if there are more or fewer."""
    given = list(leaves)
    if len(given) != structure.num_leaves:
        raise ValueError(f"tree_unflatten: {len(given)} leaves for a structure of {structure.num_leaves}")
    return _built(structure, iter(given))


def _built(structure: Structure, rest: Iterator[Any]) -> Any:
    if structure.make is None:
        return next(rest)
    return structure.make(structure.aux, [_built(child, rest) for child in structure.children])


def tree_leaves(tree: Any, is_leaf: Callable[[Any], bool] | None = None) -> list[Any]:
    """The leaves of a tree, in order."""
    return tree_flatten(tree, is_leaf)[0]


def tree_structure(tree: Any, is_leaf: Callable[[Any], bool] | None = None) -> Structure:
    """The structure of a tree."""
    return tree_flatten(tree, is_leaf)[1]


def tree_map(function: Callable[..., Any], tree: Any, /, *rest: Any,
             is_leaf: Callable[[Any], bool] | None = None) -> Any:
    """The tree with `function` of each leaf, and of what is in its place in the other trees, in its place.

    ValueError if another tree has another node where this one has a node.

        >>> tg.pytrees.tree_map(lambda x, y: x + y, {"a": 1, "b": [2]}, {"b": [20], "a": 10})
        {'a': 11, 'b': [22]}
    """
    node = None if is_leaf is not None and is_leaf(tree) else opened(tree)
    if node is None:
        return function(tree, *rest)
    columns = [node.children, *(_children_like(tree, node, other) for other in rest)]
    return node.make(node.aux, [tree_map(function, *row, is_leaf=is_leaf) for row in zip(*columns)])


def _children_like(tree: Any, node: Opened, other: Any) -> Sequence[Any]:
    """The children of `other` in the order of those of `tree`, a node of the same kind."""
    found = opened(other) if type(other) is type(tree) else None
    if found is None or len(found.children) != len(node.children):
        raise ValueError(f"tree_map: {type(other).__name__} does not have the structure of the first tree's "
                         f"{type(tree).__name__}")
    if not isinstance(tree, dict):
        return found.children
    if other.keys() != tree.keys():
        raise ValueError(f"tree_map: keys {list(other)} are not those of the first tree, {list(tree)}")
    return [other[key] for key in tree]
