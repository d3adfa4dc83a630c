"""struct: a class of fields with slots, frozen; what dataclass(frozen=True, slots=True) makes in ten times the time.

    @struct
    class Load:
        param: int
        index: tuple[int, ...] = ()

    Load(0) == Load(0), hash(Load(0)), replace(Load(0), param=1), fields(Load), case Load(param=0): ...

1. Importing defines hundreds of such classes, of which a process uses few: no code is generated before some instances
   were made, and then for __init__ alone. The other methods are the same functions for every class.
2. A struct has `__dataclass_fields__`: what dataclasses and match statements do with dataclasses they do with structs.
"""
from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import MISSING, Field, FrozenInstanceError, field
from functools import cache
from operator import attrgetter
from typing import Any, TypeVar, dataclass_transform, overload

T = TypeVar("T")

FEW = 100
"""So many instances are made before code is generated for a class, which takes as long as two hundred of them."""

Row = tuple[bool, str, Callable[[Any, Any], None], Any, Any]
"""Of a field: is it an argument of __init__, its name, what sets it, its default, what makes that."""


@overload
def struct(cls: type[T], /) -> type[T]: ...
@overload
def struct(*, frozen: bool = ..., eq: bool = ..., repr: bool = ...) -> Callable[[type[T]], type[T]]: ...


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def struct(cls=None, /, *, frozen=True, eq=True, repr=True):
    """The class with its annotations as fields. `eq=False`: instances are equal to themselves only."""
    def decorate(cls: type) -> type:
        return _with_methods(_with_slots(cls, _fields_of(cls)), frozen, eq, repr)

    return decorate if cls is None else decorate(cls)


def replaced(o: T, **changes: Any) -> T:
    """`dataclasses.replace`, of a struct, for where that takes too long: it asks each field what kind it is."""
    cls: Any = type(o)
    names = cls.__match_args__
    values = [_getter(names)(o)] if len(names) == 1 else [*_getter(names)(o)]
    for name, value in changes.items():
        values[names.index(name)] = value
    return cls(*values)


def _fields_of(cls: type) -> dict[str, Field]:
    """All fields by name, those of base classes first."""
    found: dict[str, Field] = {}
    for base in reversed(cls.__mro__[1:]):
        found |= vars(base).get("__dataclass_fields__", {})
    for name, annotation in vars(cls).get("__annotations__", {}).items():
        if str(annotation).startswith("ClassVar"):
            continue
        given = vars(cls).get(name, MISSING)
        f: Any = given if isinstance(given, Field) else field() if given is MISSING else field(default=given)
        f.name, f.type, f.kw_only, f._field_type = name, annotation, False, dataclasses._FIELD  # type: ignore[attr-defined]
        found[name] = f
    return found


def _with_slots(cls: type, fields: dict[str, Field]) -> Any:
    """The class again, with a slot for each field that has none yet."""
    inherited = {name for base in cls.__mro__[1:] for name in vars(base).get("__slots__", ())}
    space = {name: value for name, value in vars(cls).items()
             if name not in fields and name not in ("__dict__", "__weakref__")}
    space |= {"__slots__": tuple(name for name in fields if name not in inherited), "__dataclass_fields__": fields}
    made = type(cls)(cls.__name__, cls.__bases__, space)
    made.__qualname__ = cls.__qualname__
    return made


def _with_methods(cls: Any, frozen: bool, eq: bool, repr: bool) -> type:
    fields: dict[str, Field] = cls.__dataclass_fields__

    uncompiled, rows = iter(range(FEW)), list[Row]()

    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        if not rows:
            rows.extend((f.init, name, getattr(cls, name).__set__, f.default, f.default_factory)
                        for name, f in fields.items())
        if next(uncompiled, None) is None or not _initialize(self, rows, args, kwargs):
            cls.__init__ = _initializer(cls, frozen)
            cls.__init__(self, *args, **kwargs)

    cls.__init__ = __init__
    setattr(cls, "__match_args__", tuple(name for name, f in fields.items() if f.init))     # noqa: B010 - mypy refuses
    cls.__getstate__, cls.__setstate__ = _getstate, _setstate
    if repr and "__repr__" not in vars(cls):
        cls.__repr__ = _repr
    if frozen:
        cls.__setattr__, cls.__delattr__ = _refuse_to_set, _refuse_to_delete
    if eq:
        values = _getter(tuple(name for name, f in fields.items() if f.compare))

        def __eq__(self: Any, other: Any) -> Any:
            if self is other:
                return True
            return values(self) == values(other) if other.__class__ is self.__class__ else NotImplemented

        def __hash__(self: Any) -> int:
            return hash(values(self))

        if "__eq__" not in vars(cls):
            cls.__eq__ = __eq__
        if not frozen:
            cls.__hash__ = None
        elif "__hash__" not in vars(cls) or vars(cls)["__hash__"] is None:
            cls.__hash__ = __hash__
    return cls


@cache
def _getter(names: tuple[str, ...]) -> Callable[[Any], Any]:
    """What gives a tuple of these attributes of an object; of one name, the attribute."""
    return attrgetter(*names) if names else lambda o: ()


def _initialize(self: Any, rows: list[Row], args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Do what the compiled __init__ would, unless it would refuse these arguments; was it done?"""
    taken = named = 0
    for is_argument, name, set_field, default, make in rows:
        if is_argument and taken < len(args):
            value = args[taken]
            taken += 1
        elif is_argument and name in kwargs:
            value = kwargs[name]
            named += 1
        elif default is not MISSING:
            value = default
        elif make is not MISSING:
            value = make()
        elif is_argument:
            return False
        else:
            continue                                # __post_init__ is to set it
        set_field(self, value)
    if taken < len(args) or named < len(kwargs):
        return False
    if hasattr(self, "__post_init__"):
        self.__post_init__()
    return True


def _initializer(cls: Any, frozen: bool) -> Callable[..., None]:
    """__init__(self, a, b=...), which sets the slots past a frozen class's __setattr__."""
    space: dict[str, Any] = {"__name__": cls.__module__, "missing": MISSING}
    params, body = ["self"], list[str]()
    for name, f in cls.__dataclass_fields__.items():
        space |= {f"set_{name}": getattr(cls, name).__set__,
                  f"make_{name}": f.default_factory, f"given_{name}": f.default}
        made, given = f.default_factory is not MISSING, f.default is not MISSING
        if f.init:
            params.append(f"{name}=missing" if made else f"{name}=given_{name}" if given else name)
            value = f"make_{name}() if {name} is missing else {name}" if made else name
        elif made or given:
            value = f"make_{name}()" if made else f"given_{name}"
        else:
            continue                                # __post_init__ is to set it
        body.append(f"set_{name}(self, {value})" if frozen else f"self.{name} = {value}")
    if hasattr(cls, "__post_init__"):
        body.append("self.__post_init__()")
    exec(compile(f"def __init__({', '.join(params)}):\n " + "\n ".join(body or ["pass"]), __file__, "exec"), space)
    initializer = space["__init__"]
    initializer.__qualname__ = f"{cls.__qualname__}.__init__"
    return initializer


def _repr(self: Any) -> str:
    shown = [f"{name}={getattr(self, name)!r}" for name, f in self.__dataclass_fields__.items() if f.repr]
    return f"{type(self).__qualname__}({', '.join(shown)})"


def _getstate(self: Any) -> list[Any]:
    return [getattr(self, name) for name in self.__dataclass_fields__]


def _setstate(self: Any, state: list[Any]) -> None:
    for name, value in zip(self.__dataclass_fields__, state, strict=True):
        object.__setattr__(self, name, value)


def _refuse_to_set(self: Any, name: str, value: Any) -> None:
    raise FrozenInstanceError(f"cannot assign to field {name!r}")


def _refuse_to_delete(self: Any, name: str) -> None:
    raise FrozenInstanceError(f"cannot delete field {name!r}")
