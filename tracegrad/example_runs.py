"""A run of a function on one example of many, recorded for itself: the graph of it is then what all examples do.

    with within((ACTIVE, recorder), ...): f(example)      recorder.graph(...)          PerExample, raised: there is none

1. A run is given up, by raising, before it has an effect that the graph of it has not: before it reads a value that
   another example may have otherwise, and before it writes to memory that it did not make.
2. What was recorded around it sees nothing of it but the words that it drew.
3. The operations of the run are differentiated as far as its examples are, so that the graph has `detach` where
   differentiation ends. Histories that begin in the run, as those of transforms inside of it, end in it.
"""
from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextvars import ContextVar
from itertools import chain
from typing import Any, NoReturn

from codegen.ir.references import literal_text
from tracegrad.aborts import Abort
from tracegrad.autodiff import edge_of, history
from tracegrad.devices import first_of
from tracegrad.dispatch import FOLLOWER, dispatch, next_sequence
from tracegrad.generators import DRAWS, Generator
from tracegrad.levels import Alias
from tracegrad.recorded import Key
from tracegrad.recorder import ACTIVE, Recorder
from tracegrad.size_numbers import attrs_in_numbers, is_live, is_size, number_in
from tracegrad.source_lines import at_user_line
from tracegrad.symbols import Symbols, has_symbols
from tracegrad.tensors import Saved, Tensor


class PerExample(BaseException):
    """The function is to run for each example: what it does is not the same operations for all."""


class ExampleRecorder(Recorder):
    """Records the run; whatever it could not record raises PerExample, and is noted: the function may catch that."""

    selects = False

    def __init__(self) -> None:
        super().__init__()
        self._began, self._around = next_sequence(), ACTIVE.get()
        self._follower = FOLLOWER.get()
        self._symbols = None if self._around is None else self._around.symbols_met
        self.given_up = False

    @property
    def symbols_met(self) -> Symbols | None:
        return self._symbols

    def _give_up(self, why: str) -> NoReturn:
        self.given_up = True
        raise PerExample(why)

    def abort(self, reason: Abort, detail: str, line: str | None = None) -> None:
        self._give_up(detail)

    def refuse(self, what: str) -> None:
        self._give_up(what)

    def _answer(self, *read: Any) -> None:
        self._give_up("Python reads a value")

    def record_same(self, saved: Saved, tensor: Tensor) -> None:
        if self._around is not None and not self.knows(saved):
            self._around.record_same(saved, tensor)         # what a backward of before the run reads again
        super().record_same(saved, tensor)

    def will_write(self, target: Tensor) -> None:
        if not self.made(target):
            self._give_up("a write in place to a tensor that the function did not make")

    def read_grad(self, tensor: Tensor) -> None:
        if not self.made(tensor):
            self._give_up("it reads the grad of a tensor that it did not make")

    def write_grad(self, tensor: Tensor, grad: Tensor | None) -> None:
        if not self.made(tensor):
            self._give_up("it sets the grad of a tensor that it did not make")

    def hand_out(self, tensor: Tensor) -> None:
        self._give_up("memory of a tensor is handed out")

    def record_function(self, node: Any, outputs: Sequence[Tensor]) -> None:
        if self._leads_out(outputs):
            self._give_up("a custom function is differentiated from outside")
        super().record_function(node, outputs)

    def require_own_history(self, tensors: Iterable[Any]) -> None:
        """Give up if one has a history that no operation of the run gave it, as what a checkpoint computes again."""
        for t in tensors:
            if getattr(t, "requires_grad", False):
                kind, at = self.key(t)
                if kind == "op" and not self.ops[at].carries:
                    self._give_up("a tensor has a history of another")

    def _operands(self, op: str, args: tuple[Any, ...]) -> tuple[Key, ...]:
        self.require_own_history(args)
        return super()._operands(op, args)

    def _number(self, number: Any, dtype: str) -> Key:
        if not is_size(number) or not is_live(number):
            return super()._number(number_in(number), dtype)
        with within((ACTIVE, self._around), (FOLLOWER, self._follower)):    # what it is, the run around knows
            zero = dispatch("constant", value=literal_text(0, dtype), dtype=dtype)
            return self.key(dispatch("add", zero, number))

    def _made(self, op: str, keys: tuple[Key, ...], attrs: dict[str, Any], result: Tensor) -> Key:
        values = chain.from_iterable(value if type(value) is tuple else (value,) for value in attrs.values())
        if self._symbols is not None and any(map(is_size, values)):
            self._symbols.give_up("a vmap gives examples a shape that is another at other sizes")
        return super()._made(op, keys, attrs_in_numbers(attrs), result)

    def require_own_sizes(self, many: Iterable[Tensor]) -> None:
        """What one example meets has the same sizes whatever the sizes of the run around are, of which the first of
        what all examples have is one: else the graph of it is that of this run alone.
        """
        if self._symbols is not None:
            met = [self._symbols.sizes_of(t) for entry in self.inputs if (t := entry.tensor) is not None]
            if any(map(has_symbols, (*met, *(self._symbols.sizes_of(x)[1:] for x in many)))):
                self._symbols.give_up("a vmap meets examples, or what they share, of other sizes at other sizes")

    def _leads_out(self, tensors: Sequence[Tensor]) -> bool:
        """Do histories of these lead to what was there before the run, or to its examples?"""
        for node in history([edge_of(t) for t in tensors if t.requires_grad]):
            if any(isinstance(e, Tensor) for e in node.edges):
                return True
            if type(node) is Alias and node.edges[0] is None and node.sequence < self._began:
                return True
        return False

    def differentiates(self, tensors: Sequence[Tensor]) -> bool:
        """Do histories of these lead to where a transform in the run begins, or to a leaf that the run made?"""
        roots = [edge_of(t) for t in tensors if t.requires_grad]
        nodes = history(roots)
        leaves = [e for e in (*roots, *(e for node in nodes for e in node.edges)) if isinstance(e, Tensor)]
        return any(map(self.made, leaves)) or any(
            type(node) is Alias and node.sequence >= self._began for node in nodes)

    def nodes(self) -> Any:
        """What is differentiated in the run may have been done before: what it saved enters like anything else."""
        return _EVERYTHING

    def escaped(self, known: Sequence[Tensor]) -> bool:
        """Does anything hold a tensor that the run made, but for the tensors `known` and what they are views of?"""
        held = {id(t) for t in known}
        for t in known:
            while t.view_of is not None and (parent := t.view_of.parent) is not None:
                held.add(id(parent))
                t = parent
        living = [reference() for reference, _ in self._keys.values()]
        return any(isinstance(t, Tensor) and self.made(t) and id(t) not in held for t in living)


class _Everything:
    def __contains__(self, key: object) -> bool:
        return True


_EVERYTHING = _Everything()


def within(*settings: tuple[ContextVar, Any]) -> _Within:
    """A context manager: context variables have these values inside."""
    return _Within(settings)


class _Within:
    def __init__(self, settings: Sequence[tuple[ContextVar, Any]]):
        self._settings, self._tokens = settings, list[Any]()

    def __enter__(self) -> None:
        self._tokens = [variable.set(value) for variable, value in self._settings]

    def __exit__(self, *exception: object) -> None:
        for (variable, _), token in zip(self._settings, self._tokens):
            variable.reset(token)


class Draws:
    """What gives random words to a function of examples. `mode`: "error", "different" or "same".

    In a run on one example of `count` all words are drawn at once, as who is around the run draws. Where the function
    runs for each example (`count` None) it draws by itself; `next_example` says that another begins.
    """

    def __init__(self, mode: str, count: int | None):
        self.mode, self.count = mode, count
        self.words: list[tuple[Tensor, Tensor]] = []        # what one example has, what all have
        self._around = (DRAWS, DRAWS.get()), (ACTIVE, ACTIVE.get()), (FOLLOWER, FOLLOWER.get())
        self._first: list[Tensor] = []                      # what the first example drew
        self._place: int | None = None                      # how many of these the present one has had

    def next_example(self) -> None:
        """The function is about to run again."""
        self._place = 0

    def __call__(self, generator: Generator, shape: tuple[int, ...]) -> Tensor:
        if self.mode == "error":
            raise RuntimeError(at_user_line(
                "vmap: the function draws random numbers: randomness='different' draws for each example, 'same' once"))
        if self.mode == "same" and self._place is not None:
            return self._drawn_before(generator, shape)
        several = self.mode == "different" and self.count is not None
        with within(*self._around):
            drawn = generator.bits((self.count, *shape) if several else shape)      # type: ignore[arg-type]
        if not several:
            self._first.append(drawn)
            return drawn
        one = Tensor(first_of(drawn.memory))
        self.words.append((one, drawn))
        return one

    def _drawn_before(self, generator: Generator, shape: tuple[int, ...]) -> Tensor:
        assert self._place is not None
        found = self._first[self._place] if self._place < len(self._first) else None
        self._place += 1
        if found is None or found.shape != shape:
            raise RuntimeError(at_user_line(
                "vmap: randomness='same', and one example draws other random numbers than the first: draw outside"))
        return found
