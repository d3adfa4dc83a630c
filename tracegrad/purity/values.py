"""The parts of plain values, containers, NumPy arrays and Tensors.

Floats and complex numbers are compared by their bits: nan equals itself, and -0.0 is not 0.0.
"""
from __future__ import annotations

import collections
import datetime
import decimal
import struct
from typing import Any

import numpy as np

from tracegrad.purity.inside_tensors import HISTORY, VALUES
from tracegrad.purity.part import ABSENT, DECIMAL_CONTEXT, Child, Condition, Part, View, is_same, unwatched

MOST_ITEMS = 20_000
MOST_BYTES = 1 << 20
UNPACKED = 8                # lists of plain values that are longer are compared as a whole; so are all such tuples
PLAIN = frozenset({int, float, complex, bool, str, bytes, type(None), type(Ellipsis)})
BY_TEXT = frozenset({range, decimal.Decimal, datetime.date, datetime.datetime, datetime.timedelta, datetime.time,
                     datetime.timezone})
CONTAINERS = frozenset({list, tuple, dict, set, frozenset, collections.deque, collections.OrderedDict,
                        collections.defaultdict})


# ---- what generated code calls ---------------------------------------------------------------------------------------

def bits(number: float | complex) -> bytes:
    """The bits of a float or complex number."""
    return struct.pack("dd", number.real, number.imag)


def plain_items(items: Any) -> tuple[Any, ...] | None:
    """Plain values as something whose equality is theirs; None if any of them is not plain."""
    kinds = tuple(map(type, items))
    if not PLAIN.issuperset(kinds):
        return None
    if float in kinds or complex in kinds:
        items = (bits(v) if type(v) in (float, complex) else v for v in items)
    return kinds, tuple(items)


def any_nan(items: list[Any]) -> bool:
    """Is there a NaN among these, which is no other NaN to who looks for it?"""
    return any(type(v) is float and v != v for v in items)


def held(plain: tuple[Any, ...]) -> tuple[Any, ...]:
    """The values that plain_items took apart."""
    kinds, items = plain
    return tuple(_number(kind, item) if kind in (float, complex) else item for kind, item in zip(kinds, items))


def _number(kind: type, bits: bytes) -> float | complex:
    real, imag = struct.unpack("dd", bits)
    return complex(real, imag) if kind is complex else real


# ---- values ----------------------------------------------------------------------------------------------------------

def of_singleton(view: View, o: Any) -> Part:
    return Part([is_same(o)])


def of_int(view: View, o: int) -> Part:
    return Part([Condition("type({p}) is int and {p} == {0}", "equals", (o,))])


def of_text(view: View, o: str | bytes) -> Part:
    return Part([Condition("type({p}) is {1} and {p} == {0}", "equals", (o, type(o)))])


def of_float(view: View, o: float | complex) -> Part:
    if type(o) is float and o == o and o != 0:
        return of_text(view, o)         # type: ignore[arg-type]
    return Part([Condition("({p} is {0} or type({p}) is {2} and bits({p}) == {1})", "equals", (o, bits(o), type(o)))])


def of_text_valued(view: View, o: Any) -> Part:
    """A value that its text tells whole."""
    if isinstance(o, decimal.Decimal):
        view.needs(DECIMAL_CONTEXT)
    zone = getattr(o, "tzinfo", None)
    if zone is not None and type(zone) is not datetime.timezone:
        return unwatched(o, f"the time zone is a {type(zone).__name__}")
    return Part([Condition("type({p}) is {2} and repr({p}) == {1}", "equals", (o, repr(o), type(o)))])


def of_slice(view: View, o: slice) -> Part:
    return Part([Condition("type({p}) is {0}", "has type", (slice,))],
                [Child("." + name, getattr(o, name), "{p}." + name) for name in ("start", "stop", "step")])




# ---- containers ------------------------------------------------------------------------------------------------------

def of_container(view: View, o: Any, base: Any = None) -> Part:
    """A container of exact type `base`, or of a class derived from it, read past anything that class overrides."""
    kind = type(o)
    base = base or kind
    if base.__len__(o) > MOST_ITEMS:
        return unwatched(o, f"a {kind.__name__} of {base.__len__(o)} items is more than guards compare")
    part = Part([Condition("type({p}) is {0}", "has type", (kind,))], mutable=base not in (tuple, frozenset))
    if base in (set, frozenset):
        _take_set_apart(part, o, base)
    elif issubclass(base, dict):
        _take_dict_apart(part, o, base)
    else:
        _take_sequence_apart(part, o, base)
    return part


def _take_sequence_apart(part: Part, o: Any, base: Any) -> None:
    items = list(base.__iter__(o))
    plain = plain_items(items) if (len(items) > UNPACKED or type(o) is tuple) and not any_nan(items) else None
    if plain is not None:
        part.state = plain
        test = "plain_items([*{1}({p})]) == {0}"
        test = f"({{p}} is {{2}} or {test})" if type(o) is tuple else test
        part.conditions.append(Condition(test, "holds", (plain, base.__iter__, o)))
        return
    length = len if type(o) is base else base.__len__
    part.conditions.append(Condition("{1}({p}) == {0}", "has length", (len(items), length)))
    part.children = [Child(f"[{k}]", v, write=f"{{p}}[{k}] = t" if base is list else None) for k, v in enumerate(items)]
    part.unpack = "{p}" if type(o) is base else f"{base.__name__}.__iter__({{p}})"
    if base is collections.deque:
        part.conditions.append(Condition("{p}.maxlen == {0}", "has maxlen", (o.maxlen,)))


def _take_set_apart(part: Part, o: Any, base: Any) -> None:
    items = list(base.__iter__(o))
    plain = None if any_nan(items) else plain_items(items)
    part.state = plain or [id(v) for v in items]
    if plain is not None:
        test = "plain_items([*{1}({p})]) == {0}"
        part.conditions.append(Condition(test, "holds in this order", (plain, base.__iter__)))
        return
    part.conditions.append(Condition("{1}({p}) == {0}", "has length", (len(items), base.__len__)))
    part.children = [Child(f"{{{k}}}", v) for k, v in enumerate(items)]
    part.unpack = f"{base.__name__}.__iter__({{p}})"


def _take_dict_apart(part: Part, o: Any, base: Any) -> None:
    keys, values = list(base.keys(o)), list(base.values(o))
    part.state = [id(key) for key in keys]
    if base is collections.defaultdict:
        part.children.append(Child(".default_factory", o.default_factory, "{p}.default_factory"))
    ordered = base if base is collections.OrderedDict else dict
    keys_text, values_text = f"{ordered.__name__}.keys({{p}})", f"{ordered.__name__}.values({{p}})"
    if type(o) is dict:
        keys_text, values_text = "{p}", "{p}.values()"
    if all(type(key) is str for key in keys):
        test = f"[*{keys_text}] == {{0}} and [*map(type, {keys_text})] == {{1}}"
        part.conditions.append(Condition(test, "has the keys", (keys, [str] * len(keys))))
        part.unpack = values_text
    else:
        part.conditions.append(Condition(f"len({keys_text}) == {{0}}", "has length", (len(keys),)))
        part.children += [Child(f"<key {k}>", key) for k, key in enumerate(keys)]
        part.unpack = f"[*{keys_text}, *{values_text}]"
    part.children += [
        Child(f"[{key!r}]" if type(key) in PLAIN else f"[<key {k}>]", value, None, (key,),
              write="{p}[{0}] = t" if type(key) in PLAIN else None)
        for k, (key, value) in enumerate(zip(keys, values))]


def of_cell(view: View, o: Any) -> Part:
    value = cell_contents(o)
    return Part(children=[Child("", value, "cell_contents({p})" if value is ABSENT else "{p}.cell_contents",
                                write="{p}.cell_contents = t")])


def cell_contents(cell: Any) -> Any:
    """What a cell holds, or ABSENT."""
    try:
        return cell.cell_contents
    except ValueError:
        return ABSENT


# ---- arrays and Tensors ----------------------------------------------------------------------------------------------

def of_array(view: View, o: np.ndarray) -> Part:
    """A captured ndarray: its bytes are compared."""
    if o.dtype.hasobject:
        return unwatched(o, "an array of objects is a container that guards do not follow")
    if o.nbytes > MOST_BYTES:
        return unwatched(o, f"an array of {o.nbytes} bytes is more than guards compare")
    state = o.dtype, o.shape, o.strides, o.flags.num, o.tobytes()
    return Part([
        Condition("type({p}) is {0}", "has type", (type(o),)),
        Condition("{p}.dtype == {0} and {p}.shape == {1} and {p}.strides == {2} and {p}.flags.num == {3}",
                  "has dtype, shape, strides and flags", state[:4]),
        Condition("{p}.tobytes() == {1}", "holds", (o, state[4]))], state=state, mutable=True)


def of_array_scalar(view: View, o: np.generic) -> Part:
    if o.dtype.hasobject:
        return unwatched(o, "an object of NumPy's void type can change")
    return Part([Condition("type({p}) is {2} and {p}.dtype == {3} and {p}.tobytes() == {1}", "equals",
                           (o, o.tobytes(), type(o), o.dtype))])


def tensor_state(view: View, o: Any) -> tuple[Any, ...]:
    """What guards compare of a Tensor: (dtype, shape, strides, requires_grad, has a history?, has hooks?).

    The strides decide what is a view and what a copy, and how results lie; None for those of C order.
    """
    layout = view.library.layout
    array = _attribute(o, layout.array)
    return (array.dtype, array.shape, None if array.flags.c_contiguous else array.strides,
            _attribute(o, layout.requires_grad), _attribute(o, layout.history) is not None,
            bool(_attribute(o, layout.hooks)))


def of_tensor(view: View, o: Any) -> Part:
    """A Tensor is an input: of its values nothing is compared, of everything else all that a graph depends on."""
    layout = view.library.layout
    state = view.tensor_states.get(id(o)) or tensor_state(view, o)
    dtype, shape, strides, requires_grad, history, hooks = state
    if dtype.hasobject:
        return unwatched(o, "a Tensor of objects")
    part = Part([
        Condition("type({p}) is {0}", "has type", (view.library.class_of(o),)),
        Condition("({d}.dtype is {0} or {d}.dtype == {0})", "has dtype", (dtype,)),
        Condition("{d}.shape == {0}", "has shape", (shape,)),
        Condition("{d}.flags.c_contiguous", "is contiguous") if strides is None else
        Condition("{d}.strides == {0}", "has strides", (strides,)),
        Condition(f"{layout.requires_grad} is {requires_grad}", "requires grad:", (requires_grad,)),
        Condition(f"{layout.history} is {'not ' if history else ''}None", "has a history:", (history,)),
        Condition(f"{'not not' if hooks else 'not'} {layout.hooks}", "has hooks:", (hooks,))],
        namespace=layout.array, state=state, mutable=True, is_tensor=True)
    if hooks:
        part.children.append(Child(".hooks", _attribute(o, layout.hooks), layout.hooks, via="hooks"))
    for name in sorted(view.mentions.inside):
        if name in VALUES or getattr(o, name) is not None:
            part.refusal = f".{name} of a Tensor is read"
        elif name != HISTORY:                   # whether there is one is guarded in any case
            part.conditions.append(Condition(f"{{p}}.{name} is None", f"has no {name}"))
    if view.grads_read is None or id(o) in view.grads_read:
        part.children.append(Child(".grad", _attribute(o, layout.grad), layout.grad, via="grad"))
    return part


def _attribute(o: Any, template: str) -> Any:
    return getattr(o, template.removeprefix("{p}."))
