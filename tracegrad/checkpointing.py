"""checkpoint: what backward needs of a function is computed again instead of being kept.

    y = checkpoint(f, x)        forward: f runs, and of what its operations save nothing is kept but x
    y.backward()                backward: the first operation that asks has f run again, which gives all of it

1. f has the same history as without: derivatives of any order, and of tensors that f finds elsewhere. What it finds
   (leaves) and its arguments are kept as they were.
2. The second run draws the same random numbers from the default generator, which is then where it was.
3. In a trace the second run is recorded where it happens: `after` makes its operations others than those of the first,
   which come not before the cotangent that asks for them.
4. A value of a second run is given out once: what asks again has f run again.
"""
from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tracegrad.complex_numbers import real
from tracegrad.creation import zeros
from tracegrad.dispatch import GRAD, dispatch
from tracegrad.dtypes import FLOATING
from tracegrad.functional import convert, detach
from tracegrad.generators import default_generator
from tracegrad.packing import PackedNode
from tracegrad.pytrees import Structure, tree_flatten, tree_unflatten
from tracegrad.recorder import ACTIVE
from tracegrad.source_lines import at_user_line, user_line
from tracegrad.tensors import Saved, Tensor
from tracegrad.writes import copy_


class CheckpointError(RuntimeError):
    """The second run of a checkpointed function was not like the first."""


def checkpoint(function: Callable[..., Any], /, *args: Any, preserve_rng_state: bool = True, **kwargs: Any) -> Any:
    """function(*args, **kwargs); backward runs the function again instead of keeping what its operations save.

    It needs the memory of the arguments, and during backward that of one function, for about a third more time. The
    second run must do what the first did: CheckpointError if it saves other values, or if a tensor that requires grad
    and that it finds elsewhere was changed in between. `preserve_rng_state`: it draws the same random numbers.
    In a traced function, too: put it there, since what replays of a traced function inside of it save is kept.

        >>> x = tg.tensor([0.5], requires_grad=True)
        >>> tg.checkpoint(lambda x: tg.exp(tg.sin(x)), x).backward()
        >>> tg.allclose(x.grad, tg.exp(tg.sin(x)) * tg.cos(x))
        True
    """
    if not GRAD.enabled:
        return function(*args, **kwargs)
    forward, recorder = First(function, args, kwargs), ACTIVE.get()
    before, GRAD.packing = GRAD.packing, forward
    first = 0 if recorder is None else len(recorder.ops)
    try:
        result = function(*args, **kwargs)
    finally:
        GRAD.packing = before
    forward.end(preserve_rng_state)
    if recorder is not None:
        recorder.record_checkpoint(first, tensors_in(result))
    return result


class First:
    """A first run, and what a second one is made of: see packing.Packing."""

    def __init__(self, function: Callable[..., Any], args: tuple, kwargs: dict[str, Any]):
        self._function, self.line, self._casting = function, user_line(), GRAD.casting
        leaves, self._structure = leaves_of((args, kwargs))
        own = [t for t in leaves if isinstance(t, Tensor)]
        self.given = [Kept(t) if isinstance(t, Tensor) else t for t in leaves]
        self._arguments = {id(t) for t in own}
        self._own = [weakref.ref(t) for t in own]                   # which the function may also find elsewhere
        self._only_leaves = all(t.requires_grad and t.grad_fn is None for t in own if t.dtype in FLOATING)
        self._found: dict[int, tuple[Tensor, Saved]] = {}           # what requires grad and was found elsewhere
        self._generator = [(state, kept_value(state)) for state in (default_generator.key, default_generator.counter)]
        self._types: list[tuple[Any, ...]] = []                     # of what its operations saved, in order
        self._over = False                                          # else a derivative taken in it may ask for values
        self._again: dict[int, Saved] = {}                          # the same, of a second run

    def node(self, op: str, attrs: dict[str, Any], edges: tuple[Any, ...], *values: Any) -> PackedNode:
        """See packing.Packing."""
        for t in edges:
            if isinstance(t, Tensor) and id(t) not in self._arguments and id(t) not in self._found:
                self._found[id(t)] = t, t.save()
        return PackedNode(op, attrs, edges, *values)

    def save(self, t: Tensor) -> Any:
        """See packing.Packing."""
        if is_found(t, self._arguments):
            return t.save()
        self._types.append((t.shape, t.dtype))
        return Slot(self, len(self._types) - 1)

    def end(self, preserve_rng_state: bool) -> None:
        """The first run is over."""
        self._arguments, self._over = set(), True
        if not preserve_rng_state or all(saved.tensor() is state for state, saved in self._generator):
            self._generator = []                                    # nothing was drawn

    def value(self, number: int, g: Tensor | None) -> Tensor:
        """The value with this number, from a second run."""
        if number not in self._again:
            self._run(g)
        return self._again.pop(number).restored()

    def _run(self, g: Tensor | None) -> None:
        """Run the function again."""
        for t, saved in self._found.values():
            if saved.tensor() is not t:
                raise CheckpointError(at_user_line(
                    f"checkpoint at {self.line}: a tensor of shape {list(t.shape)} that requires grad and that the "
                    "function found was changed between forward and backward: it cannot be run again as it was"))
        late = None if ACTIVE.get() is None else g
        leaves = [self._argument(kept, g, late) if type(kept) is Kept else kept for kept in self.given]
        args, kwargs = tree_unflatten(self._structure, leaves)
        found = [own for reference in self._own if (own := reference()) is not None]
        second = Second({id(t) for t in (*found, *leaves) if isinstance(t, Tensor)})
        before = GRAD.enabled, GRAD.packing, GRAD.casting
        now = [state.clone() for state, _ in self._generator]
        try:
            GRAD.enabled, GRAD.packing = False, None
            for state, saved in self._generator:
                copy_(state, saved.restored())
            GRAD.enabled, GRAD.packing, GRAD.casting = True, second, self._casting
            self._function(*args, **kwargs)
        finally:
            GRAD.enabled, GRAD.packing, GRAD.casting = False, None, None
            for (state, _), value in zip(self._generator, now):
                copy_(state, value)
            GRAD.enabled, GRAD.packing, GRAD.casting = before
        types = [(saved.held.shape, saved.held.dtype) for saved in second.values]
        if (types if self._over else types[:len(self._types)]) != self._types:
            raise CheckpointError(at_user_line(
                f"checkpoint at {self.line}: the function saved {len(types)} values for backward when it ran again, "
                f"and {len(self._types)} before, or others: it must do the same each time"))
        self._again = dict(enumerate(second.values))

    def _argument(self, kept: Kept, g: Tensor | None, late: Tensor | None) -> Tensor:
        """An argument of the second run: a leaf with the value that it had, not to be used before `late` is there."""
        value = kept.value.restored() if isinstance(kept.value, Saved) else kept.value.unpacked(g)
        if late is not None and value.dtype in FLOATING and (not kept.is_leaf or self._only_leaves):
            value = dispatch("after", value, token_of(late, value.dtype))
        value = detach(value)
        value.requires_grad = kept.requires_grad
        return value


class Second:
    """A second run, which keeps what its operations save: see packing.Packing."""

    def __init__(self, arguments: set[int]):
        self.values: list[Saved] = []
        self._arguments = arguments

    def node(self, *of_node: Any) -> PackedNode:
        """See packing.Packing."""
        return PackedNode(*of_node)

    def save(self, t: Tensor) -> Any:
        """See packing.Packing."""
        saved = t.save()
        if not is_found(t, self._arguments):
            self.values.append(saved)
        return saved


class Slot:
    """One value that a first run saved: see packing.Packed."""

    __slots__ = ("_of", "_number")

    def __init__(self, of: First, number: int):
        self._of, self._number = of, number

    def unpacked(self, g: Tensor | None) -> Tensor:
        """See packing.Packed."""
        return self._of.value(self._number, g)

    def kept(self) -> Iterator[Any]:
        """What is kept for it: the arguments of the first run."""
        yield from (kept.value for kept in self._of.given if type(kept) is Kept)


class Kept:
    """An argument: its value, as what packs values around keeps it, and what it is to differentiation."""

    __slots__ = ("value", "requires_grad", "is_leaf")

    def __init__(self, t: Tensor):
        self.value: Any = kept_value(t) if GRAD.packing is None else GRAD.packing.save(t)
        self.requires_grad, self.is_leaf = t.requires_grad, t.requires_grad and t.grad_fn is None


def leaves_of(tree: Any) -> tuple[list[Any], Structure]:
    """What is in tuples, lists and dicts, and these without it. Anything else, a Module too, is given as it is."""
    return tree_flatten(tree, lambda x: type(x) not in (tuple, list, dict) and not hasattr(type(x), "_make"))


def tensors_in(tree: Any) -> list[Tensor]:
    """The Tensors in tuples, lists and dicts."""
    return [t for t in leaves_of(tree)[0] if isinstance(t, Tensor)]


def is_found(t: Tensor, arguments: set[int]) -> bool:
    """Was this there before the function ran?"""
    return id(t) in arguments or t.requires_grad and t.grad_fn is None


def kept_value(t: Tensor) -> Saved:
    """The value as it is now."""
    saved, recorder = t.save(), ACTIVE.get()
    if recorder is not None:
        recorder.record_saved(t, saved)
    return saved


def token_of(g: Tensor, dtype: np.dtype) -> Tensor:
    """A number that is there when g is."""
    first = g.flatten()[0] if g.size else zeros(dtype=dtype)
    return convert(real(first), dtype)
