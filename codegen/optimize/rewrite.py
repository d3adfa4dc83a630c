"""rewrite: build a graph again, node by node, through rules. Simplifying, folding, expanding and sharing are rule sets.

    %2 = neg %1                %2 = neg %1
    %3 = neg %2        ->      (%3 is %1: rule neg(neg(x)) -> x)
    %4 = exp %3                %3 = exp %1

1. A node is added after its operands have been rewritten, so a rule sees operands in their final form; nodes that a
   rule makes go through the rules themselves. One walk reaches a fixed point: every rule makes its node cheaper.
2. Equal nodes (op, operands, attrs; commutative operands in any order) are one.
3. What a rule leaves without a reader stays until `prune`.
4. A node keeps its source line; one that a rule makes has the line of the node it stands for.
"""
from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from itertools import chain

from codegen.ir.graph import Attr, Graph, Node, attrs_of
from codegen.ir.ops import COMMUTATIVE, OPS
from codegen.ir.types import TensorType


class Rewriter:
    """A graph being built. `types[v]` and `nodes[v]` (None for an input) describe value v."""

    __slots__ = ("_known", "_rules", "fills", "line", "no_negative_zero", "nodes", "readers", "types")

    def __init__(self, inputs: tuple[TensorType, ...], rules: Rules):
        self.types: list[TensorType] = list(inputs)
        self.nodes: list[Node | None] = [None] * len(inputs)
        self.fills: dict[int, str] = {}
        """The text of the number that fills the whole of a value, for those where that is known."""
        self.no_negative_zero: set[int] = set()
        """Values of which it is known that none of their zeros has a sign that matters."""
        self.readers: dict[int, int] = {}
        """How many operands of distinct nodes, and outputs, of the graph that is rewritten are this value."""
        self.line: str | None = None
        self._rules = rules
        self._known: dict[tuple[object, ...], int] = {}

    def emit(self, op: str, *args: int, **attrs: Attr) -> int:
        """The value of `op`; attrs in the order of its row."""
        type = OPS[op].type_rule(*[self.types[v] for v in args], **attrs)
        return self.add(Node(op, args, tuple(attrs.items()), type, self.line))

    def forget(self) -> None:
        """Nodes equal to those so far are others from here on: what they compute is computed again, not kept."""
        self._known.clear()

    def constant(self, text: str, type: TensorType) -> int:
        """A value of `type` filled with the number of that text."""
        value = self.emit("constant", value=text, dtype=type.dtype)
        return self.emit("broadcast", value, shape=type.shape) if type.shape else value

    def add(self, node: Node) -> int:
        """The value of `node`: one that is there already, or what a rule replaces it with, or a new one."""
        args = node.args
        if len(args) == 2 and args[0] > args[1] and node.op in _COMMUTATIVE:
            args = args[1], args[0]
        key = (node.op, args, node.attrs)
        value = self._known.get(key)
        if value is not None:
            return value
        for rule in self._rules.get(node.op, ()):
            value = rule(self, node)
            if value is not None:
                break
        else:
            value = self.append(node)
        self._known[key] = value
        return value

    def append(self, node: Node) -> int:
        """The value of `node`, a new one whatever is there already."""
        value = len(self.nodes)
        self.nodes.append(node)
        self.types.append(node.type)
        if node.op == "constant":
            self.fills[value] = attrs_of(node)["value"]
        elif node.op in _SPREADING and node.args[0] in self.fills:
            self.fills[value] = self.fills[node.args[0]]
        return value


Rule = Callable[[Rewriter, Node], int | None]
"""The value that a node about to be added can be replaced with, None if the rule does not apply."""

Rules = Mapping[str, tuple[Rule, ...]]
"""Rules by the op whose nodes they look at, in the order in which they are tried."""

_COMMUTATIVE = frozenset(op.name for op in OPS.values() if COMMUTATIVE in op.traits)
_SPREADING = frozenset({"broadcast", "reshape", "transpose", "slice", "flip", "shear"})


def rewrite(graph: Graph, rules: Rules) -> Graph:
    """`graph` with `rules` applied until none applies."""
    rewriter = Rewriter(graph.inputs, rules)
    new = list(range(len(graph.inputs)))
    distinct = {(node.op, node.args, node.attrs) for node in graph.nodes}
    reads = Counter(chain(graph.outputs, *[args for _, args, _ in distinct]))
    for old, node in enumerate(graph.nodes, len(new)):
        args = tuple([new[v] for v in node.args])
        rewriter.line = node.line
        value = rewriter.add(node if args == node.args else Node(node.op, args, node.attrs, node.type, node.line))
        rewriter.readers[value] = rewriter.readers.get(value, 0) + reads[old]
        new.append(value)
    nodes = tuple(rewriter.nodes[len(graph.inputs):])
    return Graph(graph.name, graph.inputs, nodes, tuple(new[v] for v in graph.outputs))  # type: ignore[arg-type]


def merged(*rule_sets: Rules) -> Rules:
    """All rules of all sets, those of an earlier set first."""
    ops = dict.fromkeys(op for rules in rule_sets for op in rules)
    return {op: tuple(rule for rules in rule_sets for rule in rules.get(op, ())) for op in ops}
