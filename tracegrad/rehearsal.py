"""rehearse: run a function as it is, watched, before it is ever run on something that only stands for its arguments.

    f calls print, or scipy   ->   its first call is a rehearsal: it has effects, so it is never run but as it is;
                                   or it has none, so the next call is recorded
    f calls NumPy and Python  ->   no rehearsal: nothing it calls can tell what it is given apart

A run on stand-ins can be undone and repeated if it had no effects. One that had some, and then failed because a
function that we know nothing of would not take a stand-in, could not.
"""
from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np

from codegen.ir.structs import struct
from tracegrad.aborts import Abort, Aborted
from tracegrad.purity.declared_pure import PURE_TYPES, c_base, is_numpy_value, is_pure_function
from tracegrad.purity.effects import effects
from tracegrad.purity.library import Library, Trust, is_standard
from tracegrad.purity.observation import observe
from tracegrad.purity.part import Child
from tracegrad.purity.prediction import Prediction, predict

HARMLESS = frozenset({Abort.RAISED, Abort.UNSEEN_CODE})
DEEPEST = 16
PARTS: dict[type, Callable[[Any], Iterable[Any]]] = {list: list.__iter__, tuple: tuple.__iter__, dict: dict.values}
KNOWN = (np.ndarray, ModuleType, MethodType, functools.partial)


@struct
class Rehearsal:
    """What the run gave or raised, why its like may not be run on stand-ins, and the code that ran."""

    result: Any
    error: Exception | None
    aborts: tuple[Aborted, ...]
    codes: frozenset[CodeType]


def rehearse(function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any], library: Library,
             codes: Iterable[CodeType]) -> Rehearsal | None:
    """Run the call, if something in its reach calls for that; what it does to arrays of its arguments is no effect."""
    prediction = predict(function, args, kwargs, library, codes)
    used = (child.value for entry in prediction.snapshot for child in entry.children if not is_method(child))
    if not any(is_foreign(value, prediction) for value in used):
        return None
    seen = observe(prediction, lambda: function(*args, **kwargs))
    given = set(arrays_in((*args, *kwargs.values())))
    aborts = [refusal for refusal in seen.refusals if refusal.reason not in HARMLESS]
    ran = frozenset(seen.codes.values())
    aborts += filter(None, [e.refusal(ran) for e in effects(prediction) if id(e.owner) not in given])
    return Rehearsal(seen.result, seen.error, tuple(dict.fromkeys(aborts)), ran)


def arrays_in(values: Iterable[Any], depth: int = 0) -> Iterator[int]:
    """The ids of the arrays among these, and in lists, tuples and dicts of them, whose classes are not asked."""
    for value in values:
        kind = type(value)
        if issubclass(kind, np.ndarray):
            yield id(value)
        elif depth < DEEPEST and (base := next((b for b in PARTS if issubclass(kind, b)), None)) is not None:
            yield from arrays_in(PARTS[base](value), depth + 1)


def is_method(child: Child) -> bool:
    """Is it a function that a class holds? Dataclasses and named tuples have some of the standard library's."""
    return type(child.value) is FunctionType and type(child.once) is tuple and child.once[0] == "entry"


def is_foreign(value: Any, prediction: Prediction) -> bool:
    """Is it something to be called that is neither NumPy's, nor pure, nor Python code that runs as it is?"""
    kind = type(value)
    if kind is BuiltinFunctionType:
        return value is not __import__ and not is_pure_function(value)
    if kind is FunctionType:
        trust = prediction.library.trust(value.__code__)
        return trust not in (Trust.CORE, Trust.NUMPY) and is_standard(value.__code__.co_filename)
    if issubclass(kind, type):
        return value not in PURE_TYPES and c_base(value) is value and not is_numpy_value(value)
    if issubclass(kind, KNOWN) or is_numpy_value(kind) or prediction.library.trust_class(kind) is not None:
        return False
    return callable(value) and c_base(kind) is not object and c_base(kind) not in PURE_TYPES
