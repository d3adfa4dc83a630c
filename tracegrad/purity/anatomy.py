"""parts_of: any object -> its Part, by its exact type, or else as an instance."""
from __future__ import annotations

import collections
import functools
import gc
import operator
import re
import types
from collections.abc import Callable
from typing import Any

import numpy as np

from tracegrad.purity import code_objects, instances, values
from tracegrad.purity.classes import is_intercepted, qualified_name
from tracegrad.purity.declared_pure import METHODS_OF_C, is_numpy_value, is_of_python
from tracegrad.purity.part import ABSENT, Child, Condition, Part, View, is_same, unwatched

Anatomist = Callable[[View, Any], Part]


def _of_partial(view: View, o: functools.partial) -> Part:
    part = Part([Condition("type({p}) is {0}", "has type", (type(o),)),
                 *view.has_none_of(o.__dict__, "{p}.__dict__.keys().isdisjoint({0})")],
                [Child(f".{n}", getattr(o, n), "{p}." + n) for n in ("func", "args", "keywords")], names=o.__dict__)
    chosen = o.__dict__ if view.mentions.computed else view.mentions.attributes.intersection(o.__dict__)
    part.children += [instances.attribute(n, o.__dict__[n], "{p}.__dict__", not view.mentions.computed) for n in chosen]
    return part


def _of_mapping_view(view: View, o: Any) -> Part:
    """A view of a mapping, read-only or of its keys, values or items: it has one, and cannot exchange it."""
    (mapping,) = gc.get_referents(o)
    return Part([is_same(o)], [Child(" (its mapping)", mapping, "{0}", (mapping,))])


def _of_ufunc(view: View, o: np.ufunc) -> Part:
    hides = f"ufunc {o.__name__} calls a Python function that guards cannot see"
    return Part([is_same(o)], refusal=hides if is_of_python(o) else None)


def _of_bytearray(view: View, o: bytearray) -> Part:
    if len(o) > values.MOST_BYTES:
        return Part([is_same(o)], refusal=f"a bytearray of {len(o)} bytes is more than guards compare")
    held = bytes(o)
    return Part([Condition("type({p}) is bytearray and {p} == {0}", "holds", (held,))], state=held, mutable=True)


NAMED_FIELD = type(vars(collections.namedtuple("NAMED_FIELD", "a"))["a"])      # the descriptor of a named tuple's field

BY_TYPE: dict[type, Anatomist] = {
    **dict.fromkeys((type(None), bool, type(Ellipsis), type(NotImplemented), types.CodeType, type(ABSENT),
                     re.Pattern, types.GetSetDescriptorType, types.MemberDescriptorType,
                     NAMED_FIELD, types.GenericAlias, types.UnionType), values.of_singleton),
    int: values.of_int,
    **dict.fromkeys((str, bytes), values.of_text),
    **dict.fromkeys((float, complex), values.of_float),
    **dict.fromkeys(values.BY_TEXT, values.of_text_valued),
    slice: values.of_slice,
    **dict.fromkeys(values.CONTAINERS, values.of_container),
    types.CellType: values.of_cell,
    bytearray: _of_bytearray,
    np.ndarray: values.of_array,
    np.ufunc: _of_ufunc,
    types.MethodType: code_objects.of_method,
    **dict.fromkeys(METHODS_OF_C, code_objects.of_c_descriptor),
    types.MethodWrapperType: code_objects.of_method_wrapper,
    property: code_objects.of_property,
    staticmethod: code_objects.of_bound_function,
    classmethod: code_objects.of_bound_function,
    functools.partial: _of_partial,
    operator.itemgetter: code_objects.of_c_entry,
    operator.attrgetter: code_objects.of_operator_getter,
    operator.methodcaller: code_objects.of_operator_getter,
    **dict.fromkeys((types.MappingProxyType, type({}.keys()), type({}.values()), type({}.items())), _of_mapping_view),
}


def parts_of(view: View, o: Any, via: str | None = None) -> Part:
    """What can be read from `o`. `via` is the name it was read by, if it was read by one."""
    cls = type(o)
    if (anatomist := BY_TYPE.get(cls)) is not None:
        return anatomist(view, o)
    if cls is types.FunctionType:
        return code_objects.of_function(view, o, via)
    if cls is types.BuiltinFunctionType:
        return code_objects.of_builtin(view, o, via)
    if cls is view.library.tensor:
        return instances.with_attributes(view, o, values.of_tensor(view, o))
    if issubclass(cls, types.ModuleType):
        return code_objects.of_module(view, o)
    if is_intercepted(cls) or issubclass(cls, type) and is_intercepted(o):
        return unwatched(o, f"the metaclass of {qualified_name(cls)} answers for its attributes")
    if issubclass(cls, type):
        return code_objects.of_class(view, o)
    if issubclass(cls, np.generic):
        return values.of_array_scalar(view, o)
    if is_numpy_value(cls):
        return values.of_singleton(view, o)
    return instances.of_instance(view, o)


