"""Calls of custom functions in a recorded run, made again by replays, but for their backward.

    y = Relu.apply(x @ w) * 2       replay: x @ w, what Relu.forward did, and * 2, in one native call
    y.sum().backward()              the derivative of * 2, compiled;  Relu.backward, as it is then;  that of x @ w

A replay gives each call a node of its own, with what its forward had left for backward: the tensors that it saved, and
what it had put on ctx. So backward is called when it is asked for, and nothing is taken for granted of it but by the
guards of what traces it (see compiling.Backwards).
"""
from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from codegen.ir.dims import Size, evaluate
from codegen.ir.structs import replaced, struct
from tracegrad.aborts import Abort, Declined
from tracegrad.dispatch import Like, Node
from tracegrad.function_calls import Context, FunctionCall
from tracegrad.function_nodes import FunctionNode, OutputNode
from tracegrad.hooks import AFTER
from tracegrad.lifted import LiftedNumber, plain
from tracegrad.recorded import CallValues, RecordedCall
from tracegrad.recorder import Recorder
from tracegrad.results import Rebuild, UnknownResult
from tracegrad.route_calls import RouteCall
from tracegrad.size_numbers import is_size, number_in, numbers_in
from tracegrad.symbols import Symbols
from tracegrad.tensors import Tensor

State = tuple[tuple[str, Rebuild], ...]
"""What a call had put on ctx: by name, how it is made again."""


@struct(eq=False)
class CallAgain:
    """One call, as replays make it. `call` and `context`: without what differs from replay to replay."""

    values: CallValues
    call: FunctionCall
    arguments: tuple[Like | None, ...]
    outputs: tuple[Like | None, ...]
    only: int | None
    line: str | None
    context: Mapping[str, Any]
    state: State

    def at(self, numbers: Mapping[str, int]) -> CallAgain:
        """The same, of a graph with symbols for sizes, where these are the numbers."""
        def sizes(shape: Sequence[Size]) -> tuple[int, ...]:
            return tuple([evaluate(size, numbers) for size in shape])
        return replaced(self, arguments=_likes(self.arguments, sizes), outputs=_likes(self.outputs, sizes))

    @property
    def kept(self) -> list[int]:
        """The values that it saved."""
        return [s[0] for s in self.values.saved or () if s is not None]

    @property
    def first(self) -> int:
        """The first of its results."""
        return min(v for v in self.values.outputs if v is not None)

    def begin(self, route: RouteCall, nodes: dict[int, Node]) -> FunctionNode:
        """Its node in a call of a route, whose earlier nodes are known; that of each result is one of them."""
        edges = tuple([None if v is None else route.way(v, nodes) for v in self.values.arguments])
        call = self.call.again(self.arguments, route.route.compiling.backwards)
        node = FunctionNode(call, edges, self.outputs, self.only, self.line)
        node.sequence = route.place(self.first - 0.5)
        for k, v in enumerate(self.values.outputs):
            if v is not None and self.only is None:
                nodes[v] = OutputNode(node, k)
                nodes[v].sequence = route.place(v)
            elif v is not None:
                nodes[v] = node
        saved = self.values.saved
        node.save_again(None if saved is None else [None if s is None else self._kept(*s, route, nodes) for s in saved])
        return node

    def _kept(self, value: int, differentiated: bool, route: RouteCall, nodes: Mapping[int, Node]) -> Any:
        outputs = self.values.outputs
        way = None if not differentiated else outputs.index(value) if value in outputs else route.way(value, nodes)
        return route.kept(value), way

    def give(self, node: FunctionNode, tensors: Sequence[Tensor], args: tuple, kwargs: Mapping[str, Any]) -> None:
        """Give the call what it had put on ctx."""
        context = Context.__new__(Context)
        vars(context).update(self.context)
        vars(context).update([(name, rebuild(tensors, args, kwargs)) for name, rebuild in self.state])
        assert isinstance(node.call, FunctionCall)
        node.call.context = context


def left_by(recorder: Recorder, read: Callable[[Any], Any] | None) -> dict[int, dict[str, Any]]:
    """By node what calls of custom functions have put on ctx.

    If something stood in for numbers, it is no longer there: `read` gives the number; but for an argument or a size,
    alone or in tuples, which a replay can make anew.
    """
    contexts = {id(node): node.call.context for node in recorder.called() if isinstance(node.call, FunctionCall)}
    left = {key: context.attributes() for key, context in contexts.items()}
    if read is None:
        return left
    for key, context in contexts.items():
        left[key] = {name: _but_in_tuples(value, read) for name, value in left[key].items()}
        vars(context).update({name: plain(value, replace=_number) for name, value in left[key].items()})
    return left


def _but_in_tuples(value: Any, read: Callable[[Any], Any]) -> Any:
    if type(value) is tuple:
        return tuple([_but_in_tuples(part, read) for part in value])
    return value if is_size(value) or type(value) is LiftedNumber else plain(value, replace=read)


def _number(value: Any) -> Any:
    return value.number if type(value) is LiftedNumber else number_in(value)


def state_of(node: FunctionNode, left: Mapping[str, Any], known: frozenset[int],
             recipe: Callable[[Any], Rebuild]) -> State:
    """What a call has put on ctx, to be made again; Declined if that, or the call, cannot be."""
    call = node.call
    if not isinstance(call, FunctionCall):
        raise _declined(node, "which has not run yet")
    if id(call.function) not in known:
        raise _declined(node, "a class that the run made")
    if AFTER.get(node):
        raise Declined(Abort.HOOK, f"{node.op} has a hook that is called after it")
    found = []
    for name, value in left.items():
        try:
            found.append((name, recipe(value)))
        except UnknownResult as unknown:
            raise _declined(node, f"and ctx.{name} is {unknown}") from None
    return tuple(found)


def call_again(recorded: RecordedCall, state: State, symbols: Symbols | None) -> CallAgain:
    """How replays make a call; Declined if they cannot. `symbols`: what its sizes are, if it is for all sizes."""
    node, values = recorded.node, recorded.values
    if values is None:
        raise _declined(node, "which is checkpointed, or keeps what is in no graph")
    call = node.call

    def sizes(shape: tuple[Any, ...]) -> tuple[Any, ...]:
        return numbers_in(shape) if symbols is None else symbols.symbolic({"shape": shape})["shape"]
    return CallAgain(values, call.again((), None), _likes(call.args, sizes), _likes(node.outputs, sizes), node.only,
                     node.line, call.context.rest(), state)


def _likes(likes: Sequence[Like | None], sizes: Callable[[Any], tuple[Any, ...]]) -> tuple[Like | None, ...]:
    """The same with other sizes."""
    return tuple([None if like is None else Like(sizes(like.shape), like.dtype) for like in likes])


def _declined(node: FunctionNode, why: str) -> Declined:
    return Declined(Abort.HISTORY, f"its gradient is that of {node.op}.backward, {why}")
