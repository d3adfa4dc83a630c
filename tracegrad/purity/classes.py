"""Classes as they are, read past their metaclasses: one that intercepts attributes would run its code in a walk.

    type(cls).__getattribute__ is type's own     the class is like any other
    else                                          nothing of it is asked but what `mro` and `namespace` give
"""
from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

mro: Callable[[type], tuple[type, ...]] = vars(type)["__mro__"].__get__
namespace: Callable[[type], Mapping[str, Any]] = vars(type)["__dict__"].__get__
flags: Callable[[type], int] = vars(type)["__flags__"].__get__
qualified_name: Callable[[type], str] = vars(type)["__qualname__"].__get__


def is_intercepted(cls: type) -> bool:
    """Does a metaclass answer when this class, or the class of this class, is asked for an attribute?"""
    meta = type(cls)
    if meta is type:
        return False
    return any("__getattribute__" in namespace(k) for k in mro(meta) if k is not type and k is not object)

SPECIAL = frozenset("""__new__ __init__ __del__ __repr__ __str__ __bytes__ __format__ __lt__ __le__ __eq__ __ne__ __gt__
__ge__ __hash__ __bool__ __getattr__ __getattribute__ __setattr__ __delattr__ __dir__ __get__ __set__ __delete__
__set_name__ __init_subclass__ __instancecheck__ __subclasscheck__ __subclasshook__ __class_getitem__ __call__ __len__
__length_hint__ __getitem__ __setitem__ __delitem__ __missing__ __iter__ __next__ __reversed__ __contains__ __add__
__sub__ __mul__ __matmul__ __truediv__ __floordiv__ __mod__ __divmod__ __pow__ __lshift__ __rshift__ __and__ __xor__
__or__ __radd__ __rsub__ __rmul__ __rmatmul__ __rtruediv__ __rfloordiv__ __rmod__ __rdivmod__ __rpow__ __rlshift__
__rrshift__ __rand__ __rxor__ __ror__ __iadd__ __isub__ __imul__ __imatmul__ __itruediv__ __ifloordiv__ __imod__
__ipow__ __ilshift__ __irshift__ __iand__ __ixor__ __ior__ __neg__ __pos__ __abs__ __invert__ __complex__ __int__
__float__ __index__ __round__ __trunc__ __floor__ __ceil__ __enter__ __exit__ __await__ __aiter__ __anext__ __aenter__
__aexit__ __class__ __prepare__ __mro_entries__ __copy__ __deepcopy__ __replace__ __reduce__ __reduce_ex__ __getstate__
__buffer__ __release_buffer__ __post_init__ __array__ __array_ufunc__ __array_function__ __array_priority__
__array_interface__ __array_struct__ __array_wrap__ __array_finalize__ __dlpack__ __dlpack_device__""".split())
"""Methods that the interpreter, the standard library or NumPy calls without any code naming them."""

_IN_ORDER = tuple(sorted(SPECIAL))


def special_methods(cls: type) -> tuple[Any, ...]:
    """What a class itself has for operators, `len`, `for`, ...: no code names them, and all code uses them."""
    _ = cls.mro         # a class that was asked for something has a version
    return tuple(map(namespace(cls).get, _IN_ORDER))
