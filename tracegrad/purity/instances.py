"""The parts of instances of Python classes: their class, and of their attributes those that code mentions.

    class Linear: ...            o.weight and o.bias are read past __getattr__, properties and __getattribute__:
    code mentions weight, bias   from o.__dict__ and from slots; names that are absent must stay absent
"""
from __future__ import annotations

import types
from collections.abc import Iterable
from typing import Any

from tracegrad.purity.code_facts import Mentions, family
from tracegrad.purity.declared_pure import c_base
from tracegrad.purity.library import Trust
from tracegrad.purity.part import ABSENT, Child, Condition, Part, View, is_same, unwatched
from tracegrad.purity.values import CONTAINERS, cell_contents, of_container, of_tensor

SCALAR_BASES = (int, float, complex, str, bytes)
FEW = 16
DICT_GETTERS = (types.GetSetDescriptorType,)
HOLDS_NOTHING = frozenset({str, int, bool, tuple, type(None), types.MemberDescriptorType, types.GetSetDescriptorType})
"""Types of what is in classes and keeps no function."""


def of_instance(view: View, o: Any) -> Part:
    """An instance of a class that is not taken apart by its exact type."""
    cls = view.library.class_of(o)
    base = c_base(cls)
    if view.library.is_tensor(cls):
        return with_attributes(view, o, of_tensor(view, o))
    if base is object or base is types.SimpleNamespace:
        return with_attributes(view, o, Part(mutable=True))
    if base in SCALAR_BASES:
        return with_attributes(view, o, Part([is_same(o)]))
    if base in CONTAINERS:
        return with_attributes(view, o, of_container(view, o, base))
    if issubclass(base, BaseException):
        return with_attributes(view, o, Part(children=[Child(".args", o.args, "{p}.args")], mutable=True))
    return unwatched(o, f"an instance of {cls.__module__}.{cls.__qualname__} may hold state that guards cannot see")


def with_attributes(view: View, o: Any, part: Part) -> Part:
    """The part, and the object's class and attributes."""
    cls = view.library.class_of(o)
    if not part.conditions:
        part.conditions.append(Condition("type({p}) is {0}", "has type", (cls,)))
    if view.mentions.by_identity and not part.is_tensor:
        part.conditions.append(is_same(o))
    part.children.append(Child(" (its class)", cls, "{0}", (cls,), once=("type", id(cls))))
    every = reads_every_attribute(view, cls)
    followed = view.library.follow.get(cls)
    _add_slots(view, o, part, every, followed)
    try:
        names = object.__getattribute__(o, "__dict__")
    except AttributeError:
        return part
    if type(names) is not dict:
        return unwatched(o, f"{cls.__qualname__} keeps its attributes in a {type(names).__name__}")
    part.names = names
    if followed is not None:
        chosen = [n for n in followed if n in names]
    elif every:
        chosen = list(names)
    else:
        chosen = [n for n in names if n in view.mentions.attributes]
    space = "{p}.__dict__" if not _hides_dict(cls) else "object.__getattribute__({p}, '__dict__')"
    space = space if part.namespace is None else f"({space})"
    if part.namespace is None:
        part.namespace, space = space, "{d}"
    if every and followed is None:
        part.conditions.append(Condition(f"[*{space}] == {{0}}", "has the attributes", (chosen,)))
    else:
        few = len(names) <= FEW         # to ask a set about each of them is faster than to make a view of them
        part.conditions += view.has_none_of(
            names, f"{{0}}.isdisjoint({space})" if few else f"{space}.keys().isdisjoint({{0}})")
    part.children += [attribute(n, names[n], space, mentioned=not every) for n in chosen]
    return part


def attribute(name: str, value: Any, space: str, mentioned: bool) -> Child:
    """An entry of a namespace. `mentioned`: is it read by its name only?"""
    return Child(f".{name}", value, f"{space}[{{0}}]", (name,), via=name if mentioned else None,
                 write=f"{space}[{{0}}] = t")


def _add_slots(view: View, o: Any, part: Part, every: bool, followed: Iterable[str] | None) -> None:
    for k in type(o).__mro__:
        if k in view.library.tensor.__mro__ and view.library.is_tensor(type(o)):
            continue                                        # a Tensor's own slots are known
        for name, member in vars(k).items():
            if type(member) is not types.MemberDescriptorType:
                continue
            if name in followed if followed is not None else every or name in view.mentions.attributes:
                part.children.append(Child(f".{name}", slot_value(o, member), "slot_value({p}, {0})", (member,),
                                           via=None if every else name, write="{0}.__set__({p}, t)"))


def slot_value(o: Any, member: Any) -> Any:
    """What a slot holds, or ABSENT."""
    try:
        return member.__get__(o)
    except AttributeError:
        return ABSENT


def reads_every_attribute(view: View, cls: type) -> bool:
    """May any attribute of an instance of `cls` be read, whatever its name?"""
    m = view.mentions
    if m.computed or m.computed_on_self and not codes_of(m, cls).isdisjoint(m.computes_on_self):
        return True
    if view.library.trust_class(cls) in (Trust.CORE, Trust.NUMPY):
        return True
    return c_base(cls) is types.SimpleNamespace and (m.by_identity or m.compares)      # its repr and == read them


def codes_of(mentions: Mentions, cls: type) -> frozenset[int]:
    """The ids of all code of the methods of a class; looked up once for a prediction, which no class changes during."""
    found = mentions.codes_of_class.get(cls)
    if found is None:
        own = [_own_codes(mentions, k) for k in cls.__mro__]
        found = mentions.codes_of_class[cls] = frozenset().union(*own)
    return found


def _own_codes(mentions: Mentions, cls: type) -> frozenset[int]:
    """Those that the class has itself, not by its bases."""
    found = mentions.own_codes_of_class.get(cls)
    if found is None:
        codes = [code for f in _functions_in(vars(cls).values()) for code in family(f.__code__)]
        found = mentions.own_codes_of_class[cls] = frozenset(map(id, codes))
    return found


def _functions_in(members: Iterable[Any]) -> list[types.FunctionType]:
    """The functions among the members of a class, and those that decorators and descriptors keep of them."""
    found: list[types.FunctionType] = []
    todo, seen = [member for member in members if type(member) not in HOLDS_NOTHING], set[int]()
    while todo:
        member = todo.pop()
        kind = type(member)
        if kind is types.FunctionType and not member.__closure__ and not member.__dict__:
            found.append(member)
            continue
        if id(member) in seen:
            continue
        seen.add(id(member))
        if kind is types.FunctionType:
            found.append(member)
            todo += [cell_contents(cell) for cell in member.__closure__ or ()] + [member.__dict__.get("__wrapped__")]
        elif kind is property:
            todo += [member.fget, member.fset, member.fdel]
        elif kind is staticmethod or kind is classmethod:
            todo.append(member.__func__)
        elif kind not in HOLDS_NOTHING:
            names = None if issubclass(kind, type | types.ModuleType) else namespace_of(member)
            todo += [] if names is None else [v for v in names.values() if type(v) is types.FunctionType]
    return found


def namespace_of(o: Any) -> dict[str, Any] | None:
    """The namespace of an instance, read past what its class does; None if it has none."""
    try:
        names: Any = object.__getattribute__(o, "__dict__")
    except AttributeError:
        return None
    return names if type(names) is dict else None


def _hides_dict(cls: type) -> bool:
    """Would `o.__dict__` run code of the class, or give something other than the namespace?"""
    return any("__getattribute__" in vars(k) or "__dict__" in vars(k) and type(vars(k)["__dict__"]) not in DICT_GETTERS
               for k in cls.__mro__ if k is not object and k is not c_base(cls))


