"""Levels: what a transform of `func` differentiates by, kept apart from what everything around it differentiates by.

    with Level() as level:
        x = level.alias(x)          another Tensor on the same memory, with a Node of its own
        y = f(x)                    a history that ends in x, or goes on where x had one
        g, = level.pull([(y, v)], [x])
        y, g = level.left([y, g])   what the level differentiated by is no longer seen

1. An alias is an identity whose Node leads on to the history of its operand, and nowhere if that has none. So a level
   inside another finds the cotangents that arrive at its own aliases, and the other those that go on from there.
2. Inside a level operations are differentiated, whatever the grad mode around it; what leaves it has a history where
   that mode says so and where it leads out of the level: to a leaf, or to an alias of a level around it.
3. Its backwards are differentiated themselves only if something outside could ask for that.
"""
from __future__ import annotations

from collections.abc import Iterable, Sequence

from tracegrad.autodiff import edge_of, history, pull_back
from tracegrad.creation import zeros_like
from tracegrad.dispatch import GRAD, Like, Node
from tracegrad.functional import detach
from tracegrad.recorder import ACTIVE
from tracegrad.tensors import Tensor


class Alias(Node):
    """The identity where a level begins. `open`: is the level that its cotangent is for still going on?"""

    __slots__ = ("open",)

    def __init__(self, x: Tensor):
        edge = edge_of(x) if x.requires_grad else None
        super().__init__("transpose", {"axes": tuple(range(x.ndim))}, (edge,), (Like(x.shape, x.dtype),), None)
        self.open = True


class Level:
    """One application of a transform; a context manager that enables differentiation, and may be entered again."""

    __slots__ = ("_aliases", "_targets", "_around")

    def __init__(self) -> None:
        self._aliases: list[Alias] = []
        self._targets: dict[int, tuple[Tensor, Tensor]] = {}    # by the id of an alias: it, and its Node's own Tensor

    def __enter__(self) -> Level:
        self._around, GRAD.enabled = GRAD.enabled, True
        return self

    def __exit__(self, *exception: object) -> None:
        GRAD.enabled = self._around
        for alias in self._aliases:
            alias.open = False

    def alias(self, x: Tensor) -> Tensor:
        """x, as something to differentiate by."""
        result = x.twin()
        result.requires_grad = True
        node = result.grad_fn = Alias(x)
        self._aliases.append(node)
        recorder = ACTIVE.get()
        if recorder is not None:
            recorder.size_result(node.op, (x,), node.attrs, result)
        x.share(result, node.op, node.attrs, x.requires_grad)
        if recorder is not None:
            recorder.record_op(node.op, (x,), node.attrs, result)
        target = x.twin()               # a write in place gives the alias another Node
        target.requires_grad, target.grad_fn = True, node
        self._targets[id(result)] = result, target
        return result

    def pull(self, seeds: Sequence[tuple[Tensor, Tensor]], targets: Sequence[Tensor],
             create_graph: bool | None = None, forward: bool = False) -> list[Tensor]:
        """The cotangents of aliases, as they were given out, from those of results; zeros where no path leads.

        create_graph: is what comes out differentiated by this level, too? Else it is where something outside may ask.
        forward: see autodiff.pull_back.
        """
        seeds = [(y, g) for y, g in seeds if y.requires_grad]
        if create_graph is None:
            create_graph = self.leads_out([t for seed in seeds for t in seed])
        found = pull_back(seeds, [self._targets[id(t)][1] for t in targets], create_graph, True, forward)
        return [zeros_like(t) if g is None else g for t, g in zip(targets, found)]

    def leads_out(self, tensors: Iterable[Tensor]) -> bool:
        """Could something outside of this level differentiate one of them?"""
        return any(self._leading_out([t for t in tensors if t.requires_grad]))

    def left(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """The tensors as who is outside of the level sees them."""
        followed = [t for t in tensors if t.requires_grad]
        out = {id(t) for t, leads in zip(followed, self._leading_out(followed)) if leads}
        return [t if not t.requires_grad or id(t) in out else detach(t) for t in tensors]

    def _leading_out(self, tensors: Sequence[Tensor]) -> list[bool]:
        """For each tensor, which has a history or is a leaf: could something outside of this level differentiate it?"""
        if not self._around:
            return [False] * len(tensors)
        own, out = {id(alias) for alias in self._aliases}, set[int]()
        roots = [edge_of(t) for t in tensors]
        for node in reversed(history(roots)):
            if type(node) is Alias and node.edges[0] is None:
                if node.open and id(node) not in own:
                    out.add(id(node))
            elif any(isinstance(e, Tensor) or id(e) in out for e in node.edges if e is not None):
                out.add(id(node))
        return [isinstance(root, Tensor) or id(root) in out for root in roots]
