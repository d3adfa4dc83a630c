"""structs: what dataclasses promises of a frozen class with slots holds of a struct."""
from __future__ import annotations

import copy
import pickle
from collections import Counter
from dataclasses import FrozenInstanceError, dataclass, field, fields, is_dataclass, replace
from typing import ClassVar

import pytest

from codegen.ir.structs import FEW, replaced, struct


@struct
class Pair:
    LIMIT: ClassVar[int] = 3
    a: int
    b: tuple[int, ...] = ()
    line: str | None = field(default=None, compare=False, repr=False)
    seen: Counter[str] = field(default_factory=Counter)
    total: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "total", self.a + sum(self.b))


@dataclass(frozen=True, slots=True)
class Other:
    a: int
    b: tuple[int, ...] = ()


@pytest.mark.parametrize("before", [0, FEW])
def test_fields_and_defaults(before):
    """With and without generated code."""
    for _ in range(before):
        Pair(1)
    p = Pair(1, b=(2, 3))
    assert (p.a, p.b, p.line, p.seen, p.total, Pair.LIMIT) == (1, (2, 3), None, Counter(), 6, 3)
    assert p.seen is not Pair(1).seen
    assert [f.name for f in fields(Pair)] == ["a", "b", "line", "seen", "total"] and is_dataclass(p)
    assert repr(p) == "Pair(a=1, b=(2, 3), seen=Counter(), total=6)"
    assert not hasattr(p, "__dict__")
    for wrong in (lambda: Pair(), lambda: Pair(1, c=2), lambda: Pair(1, (), None, Counter(), 6)):
        with pytest.raises(TypeError, match="__init__"):
            wrong()


def test_equality_is_of_what_is_compared():
    assert Pair(1, (2,), "here") == Pair(1, (2,), "there") != Pair(1)
    assert Pair(1) != Other(1) and Pair(1) != (1, ())

    @struct
    class One:
        a: int

    @struct(eq=False)
    class Same:
        a: int

    assert hash(One(1)) == hash(One(1)) and len({One(1), One(1), One(2)}) == 2 and One(1) != One((1,))
    assert Same(1) != Same(1) and len({Same(1), Same(1)}) == 2


def test_frozen_and_not():
    p = Pair(1)
    for change in (lambda: setattr(p, "a", 2), lambda: setattr(p, "c", 2), lambda: delattr(p, "a")):
        with pytest.raises(FrozenInstanceError):
            change()

    @struct(frozen=False)
    class Open:
        a: int = 0

    o = Open()
    o.a = 2
    assert o == Open(2)
    with pytest.raises(TypeError, match="unhashable"):
        hash(o)


def test_copies_and_patterns():
    p = Pair(1, (2,), "here")
    for changed in (replace(p, a=5), replaced(p, a=5)):
        assert changed == Pair(5, (2,)) and changed.total == 7 and changed.line == "here"
    for copied in (pickle.loads(pickle.dumps(p)), copy.deepcopy(p), copy.copy(p)):
        assert copied == p and copied.line == "here"
    match p:
        case Pair(a, (b,)):
            assert (a, b) == (1, 2)
        case _:
            raise AssertionError(p)


def test_fields_of_bases_come_first():
    @struct
    class Base:
        a: int

    @struct
    class Derived(Base):
        b: int = 2

    assert Derived(1) == Derived(1, 2) != Base(1) and Derived.__slots__ == ("b",) and Derived(1).a == 1
