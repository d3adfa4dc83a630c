"""Hooks on operations: called when a backward goes through one.

    y.grad_fn.register_prehook(f)       f((gradient of y,))                       before: may return others
    y.grad_fn.register_hook(f)          f((gradients of operands), (gradient of y,))      after: the same

Hooks on tensors are kept where their cotangents arrive, see Node.hooks; those called after an operation are kept here.
"""
from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from codegen.ir.types import type_of
from tracegrad.source_lines import at_user_line
from tracegrad.tensors import Tensor

AFTER: weakref.WeakKeyDictionary[Any, list[Callable]] = weakref.WeakKeyDictionary()
"""By node: what is called after its backward."""


class Handle:
    """Takes a hook away again."""

    __slots__ = ("_hooks", "_hook")

    def __init__(self, hooks: list, hook: Callable):
        self._hooks = hooks
        self._hook: Callable | None = hook

    def remove(self) -> None:
        """Do not call the hook any more."""
        for k, hook in enumerate(self._hooks):
            if hook is self._hook:
                del self._hooks[k]
                break
        self._hook = None


def before(node: Any, hook: Callable[[tuple], Any]) -> Callable[[Any], Any]:
    """A hook on an operation as one on what arrives there."""
    of: Any = weakref.ref(node)         # which has the hook

    def called(g: Any) -> Any:
        arrived = of().arrived(g)
        found = hook(arrived)
        return None if found is None else of().arriving(all_fitting(found, arrived, f"{of().op}, before its backward"))
    return called


def register_after(node: Any, hook: Callable[[tuple, tuple], Any]) -> Handle:
    """Call hook(gradients of the operands, gradients of the results) after each backward of a node."""
    hooks = AFTER.setdefault(node, [])
    hooks.append(hook)
    return Handle(hooks, hook)


def fitting(found: Any, g: Tensor, of: str) -> Tensor:
    """What a hook returned in the place of a gradient. TypeError or RuntimeError if it is no gradient like that."""
    if not isinstance(found, Tensor):
        raise TypeError(at_user_line(f"a hook of {of} returned a {type(found).__name__}: a hook returns a Tensor, "
                                     "or None where the gradient stays what it is"))
    if found.shape != g.shape or found.dtype != g.dtype:
        raise RuntimeError(at_user_line(f"a hook of {of} returned {type_of(found)} for a gradient {type_of(g)}: "
                                        "a hook changes neither shape nor dtype"))
    return found


def all_fitting(found: Any, gradients: Sequence[Tensor | None], of: str) -> list[Tensor | None]:
    """What a hook of an operation returned in the place of these. TypeError or RuntimeError if it does not fit."""
    if not isinstance(found, tuple | list):
        raise TypeError(at_user_line(f"a hook of {of} returned a {type(found).__name__}: it returns a tuple of "
                                     f"{len(gradients)}, or None where the gradients stay what they are"))
    if len(found) != len(gradients):
        raise RuntimeError(at_user_line(
            f"a hook of {of} returned {len(found)} gradients: it was given {len(gradients)}"))
    return [new if old is None or new is None else fitting(new, old, of) for new, old in zip(found, gradients)]


class HookedStep:
    """A node, or what watches one, whose gradients hooks are given."""

    __slots__ = ("_node", "_step")

    def __init__(self, node: Any, step: Any):
        self._node, self._step = node, step

    def pull(self, g: Any, needed: set[int] | None) -> Iterator[tuple[int, Any]]:
        """See Node.pull."""
        edges = self._node.edges
        gradients: list[Any] = [None] * len(edges)
        waiting = iter([k for k, e in enumerate(edges) if e is not None and (needed is None or id(e) in needed)])
        for to, gradient in self._step.pull(g, needed):
            gradients[next(k for k in waiting if id(edges[k]) == to)] = gradient
        for hook in list(AFTER.get(self._node, ())):
            changed = hook(tuple(gradients), self._node.arrived(g))
            if changed is not None:
                gradients = all_fitting(changed, gradients, f"{self._node.op}, after its backward")
        for e, gradient in zip(edges, gradients):
            if e is not None and gradient is not None:
                yield id(e), gradient


def hooked_steps(nodes: Iterable[Any], steps: Iterable[Any]) -> list[Any]:
    """The steps of a walk, those of nodes with hooks after them watched."""
    return [HookedStep(node, step) if AFTER.get(node) else step for node, step in zip(nodes, steps)]
