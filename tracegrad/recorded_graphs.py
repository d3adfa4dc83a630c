"""A recorded run as a Graph: its operations in order, `detach` where eager autograd stopped, and what Python read."""
from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from codegen.ir.builder import Builder
from tracegrad.recomputation import Region, inside
from tracegrad.recorded import CallValues, Key, Read, RecordedCall, Recording

if TYPE_CHECKING:
    from tracegrad.recorder import Recorder
    from tracegrad.symbols import Symbols
    from tracegrad.tensors import Tensor


def recording_of(recorder: Recorder, name: str, outputs: list[Tensor], sizes: Symbols | None = None) -> Recording:
    """The graph, what was read, and what is known of its derivatives. `detach` stands where eager autograd stopped.

    With `sizes`, those of the run, it is the graph for all sizes: numbers that are computed from sizes are its last
    inputs.
    """
    b = Builder(name)
    ends = [recorder.key(t) for t in outputs]           # first: a view that was not used since is recorded now
    freed: set[int] = set()
    lost: set[int] = set()
    seen: set[int] = set()
    ended: set[int] = set()                             # values whose history leads nowhere: see levels
    called: dict[int, tuple[Any, dict[int, int]]] = {}  # calls of custom functions, each with its outputs
    values: dict[Key, int] = {}
    carrying: set[int] = set()
    for k, entry in enumerate(recorder.inputs):
        values["input", k] = b.input(entry.type if sizes is None else sizes.type_of(("input", k))).id
        if entry.carries:
            carrying.add(k)
    if sizes is not None:
        for key in sizes.operands:
            values[key] = b.input(sizes.type_of(key)).id
    in_attrs = None if recorder.symbols is None else recorder.symbols.in_numbers if sizes is None else sizes.symbolic

    def value(key: Key) -> int:
        found = values.get(key)
        if found is not None:
            return found
        if key[0] == "size" and sizes is None:
            key = "number", key[1][:2]
        if key[0] == "number" and key not in values:
            text, dtype = key[1]
            values[key] = b.emit("constant", value=text, dtype=dtype).id
        return values[key]

    reads: list[Read] = []
    waiting = iter(recorder.reads)
    read = next(waiting, None)
    for k, recorded in enumerate(recorder.ops):
        while read is not None and read.ops == k:
            reads.append(read.in_graph(len(b), value(read.value)))
            read = next(waiting, None)
        b.line = recorded.line
        args = tuple([value(key) for key in recorded.args])
        attrs = recorded.attrs if in_attrs is None else in_attrs(recorded.attrs)
        result = b.add(recorded.type if sizes is None else None, recorded.op, args, attrs)
        if not carrying.isdisjoint(args):
            if recorded.carries:
                carrying.add(result)
            elif recorded.op != "detach":
                result = b.add(b.type_of(result), "detach", (result,), {})
        node = None if recorded.node is None else recorded.node()
        if node is not None:            # no result is differentiated through one that is gone
            if node.freed:
                freed.add(result)
            ways = [a for edge, a in zip(node.edges, args) if edge is not None]
            if recorded.op == "detach":         # an output of a custom function: its gradient goes to that
                call, position = node.output_of
                called.setdefault(id(call), (call, {}))[1][position] = result
                carrying.add(result)
            elif result not in carrying and ended.issuperset(ways):
                ended.add(result)
            elif id(node) not in seen and any(a not in carrying and a not in ended for a in ways):
                lost.add(id(node))
            seen.add(id(node))          # it comes again where a view is derived again after a write
        values["op", k] = result
    b.line = None
    for last in (read, *waiting):
        if last is not None:
            reads.append(last.in_graph(len(b), value(last.value)))
    found = [value(key) for key in ends]
    lost |= {id(t.grad_fn) for t, v in zip(outputs, found) if t.grad_fn is not None and v not in carrying}
    regions = tuple(Region(frozenset(values["op", k] for k in range(first, last)),
                           frozenset(map(value, results)))
                    for first, last, results in recorder.checkpointed)
    calls = tuple(_call(recorder, *of_call, value, inside(regions)) for of_call in called.values())
    lost |= {id(call.node) for call in calls if call.values is not None and not carrying.issuperset(call.values.ways)}
    return Recording(b.ending(found), tuple(reads), frozenset(freed), frozenset(lost), regions, calls)


def _call(recorder: Recorder, node: Any, outputs: dict[int, int], value: Callable[[Key], int],
          again: frozenset[int]) -> RecordedCall:
    """A call of a custom function. Its values are not known if it keeps something else for backward, or is one of what
    is checkpointed: what derivatives compute `again`.
    """
    keys, saves = node.call.keys, node.saves()
    known = all(s is None or recorder.knows(s[0]) for s in saves or ())
    if not known or len(keys) != len(node.edges) or not again.isdisjoint(outputs.values()):
        return RecordedCall(node, None)
    arguments = tuple(None if edge is None else value(key) for edge, key in zip(node.edges, keys))
    saved = None if saves is None else tuple(
        None if s is None else (outputs[s[1]], True) if type(s[1]) is int and s[1] in outputs
        else (value(recorder.key_of(s[0])), s[1] is not None) for s in saves)
    return RecordedCall(node, CallValues(arguments, tuple(outputs.get(k) for k in range(len(node.outputs))), saved))
