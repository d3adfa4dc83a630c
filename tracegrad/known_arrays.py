"""Guards on arrays of a GPU: what held of one once holds of it as long as it lives, so nothing of it is asked again.

    v5 = v4.held
    ids, owners, _ = known.last
    if [*map(id, (v5, v9))] != ids:                 another array than in the call before, or none yet
        v5 = v4.array
        ...
        if not (v5.shape == k3 and ...): return None
        owners = known.keep((v5, v9))

CuPy makes what it says of an array anew each time that it is asked: its shape, its flags, a pointer.

1. Of a CuPy array only the shape can be changed, and nobody but its Tensor has one: what users give and get is another
   array on the same memory. One of NumPy is asked each time.
2. The ids are those of arrays that live. No array is kept: with any of them all is forgotten.
3. What is an argument, or directly in one, is another one in most calls, and is asked each time, too.
"""
from __future__ import annotations

import re
import weakref
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from tracegrad.purity.memory import owner

_READ_ARRAY = re.compile(r"(?P<array>v\d+) = (?P<tensor>v\d+)\.array")
_READ = re.compile(r"(?P<targets>[v\d, ]+) = (?P<source>.*)")
_VARIABLE = re.compile(r"\bv\d+\b")
_ARRAY_OF = re.compile(r"\b(v\d+)\.array\b")
_DISTINCT_MEMORY = re.compile(r"len\(\{\*map\(id, \((?P<names>.*\.array.*)\)\)\}\) == (?P<number>\d+)")
_DISTINCT = re.compile(r"len\(\{\*map\(id, \((?P<names>v\d+(?:, v\d+)*)\)\)\}\) == \d+")

Text = tuple[str, bool]
"""A line of guards, and is it a test?"""


class KnownArrays:
    """The arrays of the last call that everything held of. `last`: their ids, those of what owns their memory, and what
    tells when one is gone. It is one object, since threads read and change it.
    """

    __slots__ = ("last",)

    def __init__(self) -> None:
        self._forget()

    def keep(self, arrays: Sequence[Any]) -> frozenset[int]:
        """All holds of these. The ids of what owns their memory."""
        owners = frozenset([id(owner(array)) for array in arrays])
        alive = tuple([weakref.ref(array, self._forget) for array in arrays])
        self.last: tuple[list[int] | None, frozenset[int], tuple[Any, ...]] = [*map(id, arrays)], owners, alive
        return owners

    def _forget(self, gone: Any = None) -> None:
        self.last = None, frozenset(), ()


def found_elsewhere(texts: Iterable[Text]) -> set[str]:
    """The variables of what is no argument, nor in one (invariant 3)."""
    given: set[str] = set()
    found: set[str] = set()
    for text, is_test in texts:
        read = None if is_test else _READ.fullmatch(text)
        if read is not None:
            source, targets = read["source"], _VARIABLE.findall(read["targets"])
            of_argument = "args" in source or not given.isdisjoint(_VARIABLE.findall(source))
            (given if of_argument and not source.endswith(".__dict__") else found).update(targets)
    return found


def with_known(texts: Sequence[Text], tensors: Collection[str]) -> tuple[list[Text], list[str], list[Text]]:
    """The same lines: those before, the statements that ask what is not known of the arrays of `tensors`, those after.
    """
    array_of = {read["tensor"]: read["array"] for text, is_test in texts if not is_test
                and (read := _READ_ARRAY.fullmatch(text)) and read["tensor"] in tensors}
    known = {*array_of.values()}
    before: list[Text] = []
    asked: list[str] = []
    after: list[Text] = []
    memory = {tensor for text, _ in texts if _DISTINCT_MEMORY.fullmatch(text) for tensor in _ARRAY_OF.findall(text)}
    for text, is_test in texts:
        read, distinct = _READ_ARRAY.fullmatch(text), _DISTINCT_MEMORY.fullmatch(text)
        variables, owners = {*_VARIABLE.findall(text)}, {*_ARRAY_OF.findall(text)}
        if not is_test:
            before.append((f"{read['array']} = {read['tensor']}.held" if read and read["array"] in known else text,
                           False))
        elif (objects := _DISTINCT.fullmatch(text)) and {*objects["names"].split(", ")} == memory:
            pass                                    # what has no memory in common is not the same Tensor
        elif distinct is not None and not owners.isdisjoint(array_of):
            names = distinct["names"].split(", ")
            of_known = [name for name in names if not array_of.keys().isdisjoint(_ARRAY_OF.findall(name))]
            others = "".join(f"{name}, " for name in names if name not in of_known)
            asked.append(f"len({{*map(id, ({''.join(f'{name}, ' for name in of_known)}))}}) == {len(of_known)}")
            after.append((f"len({{*owners, *map(id, ({others}))}}) == {distinct['number']}", True))
        elif variables <= array_of.keys() | known and (owners or not known.isdisjoint(variables)):
            asked.append(text)
        else:
            before.append((text, True))
    arrays = "".join(f"{array}, " for array in array_of.values())
    ask = [*(f"{array} = {tensor}.array" for tensor, array in array_of.items()),
           f"if not ({' and '.join(asked)}): return None", f"owners = known.keep(({arrays}))"]
    return before, ["ids, owners, _ = known.last", f"if [*map(id, ({arrays}))] != ids:", *(f" {one}" for one in ask)
                    ], after
