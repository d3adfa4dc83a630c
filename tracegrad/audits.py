"""audit: a replay checked against the Python, in a call that counts.

    trace(audit=100): one replay in a hundred     path on copies of all it reads  ─┬─ alike: the Python's result
                                                  the Python on the things itself ─┴─ not: that too, and the path is
                                                                                      quarantined

1. Effects happen once: the Python's. What the replay writes are copies, what it would store is kept aside.
2. Nobody else sees the copies: no Tensor of the user's is changed for a moment, so other threads may go on.
3. A call that leaves at an exit has nothing to compare; it goes its usual way.
"""
from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from codegen.ir.structs import struct
from tracegrad.aborts import Abort, Aborted
from tracegrad.compiling import Compiling
from tracegrad.grafting import without
from tracegrad.replay import Root, Trace
from tracegrad.segments import Path
from tracegrad.tensors import Tensor
from tracegrad.trace_tree import TraceTree
from tracegrad.verification import Verification, compared, exit_taken, first_difference, left_behind


class AuditFailed(UserWarning):
    """A replay gave what the Python does not give: the path is not replayed again."""


@struct
class Audit:
    """What the Python gave or raised, and how the replay compares. `path`: the one it went, None if it raised."""

    result: Any
    error: Exception | None
    verification: Verification
    path: Path | None

    @property
    def aborted(self) -> Aborted:
        """Why the path is not replayed again."""
        differences, first = self.verification.differences, self.verification.first_op
        line, _, operation = (first or "").partition(": ")
        more = f" and {len(differences) - 1} more" if len(differences) > 1 else ""
        begins = f"; the first operation that differs is {operation}" if operation else ""
        return Aborted(Abort.QUARANTINED, f"{differences[0]}{more}{begins}", line if ":" in line else None)


def audit(function: Callable[..., Any], root: Root, leaves: tuple[Tensor, ...], args: tuple,
          kwargs: Mapping[str, Any]) -> Audit | None:
    """Run a call of `function`, which `root` could replay, and compare; None, and nothing done, if it would exit."""
    twins = tuple(map(_twin, leaves))
    inputs = [array.copy() for array in root.fetch(twins, args, dict(kwargs))]
    failure, trace, path = None, root.traces[0], None
    try:
        left_at, kept = replace(root, traces=tuple(map(_keeping, root.traces))).replay(twins, args, dict(kwargs))
        if left_at >= 0:
            exit_taken(root, left_at)           # the call itself will count it
            return None
        trace = root.traces[-1 - left_at]
        path = trace.path
        result, stored = kept
        replayed = left_behind(root, trace, leaves, result, stored, twins)
    except Exception as error:  # noqa: BLE001 - whatever goes wrong in a replay, the Python has the say
        failure, replayed = f"the replay raised {type(error).__name__}: {error}", {}
    trace.replays += 1
    try:
        result = function(*args, **kwargs)
    except Exception as error:  # noqa: BLE001 - it is raised again when the path is out of the way
        says = () if trace.callbacks else (f"the Python raised {type(error).__name__}",)    # they may have raised it
        return Audit(None, error, Verification(not says, says), path)
    stored = [effect.slot.read(args, kwargs) for effect in trace.slot_effects]
    differences = (failure,) if failure else compared(left_behind(root, trace, leaves, result, stored), replayed)
    first = first_difference(root, trace, inputs) if differences else None
    return Audit(result, None, Verification(not differences, differences, first), path)


def quarantine(tree: TraceTree, root: Root, audited: Audit, name: str, compiling: Compiling) -> None:
    """Take the path out of its root, which may have been grafted on meanwhile; without a path, or if it is one for all
    sizes, all of the root.
    """
    path = audited.path
    if path is None or root.all_sizes is not None:
        return tree.quarantine(root, None)
    for now in tree.roots:
        if any(trace.path is path for trace in now.traces):
            tree.quarantine(now, without(now, [path], audited.aborted, name, compiling))


def _twin(tensor: Tensor) -> Tensor:
    """A Tensor on a copy of the memory, with the history of the first and a twin of its grad."""
    twin = Tensor(tensor.array.copy(order="K"), tensor.requires_grad, tensor.grad_fn)
    twin._grad = None if tensor._grad is None else _twin(tensor._grad)
    return twin


def _keeping(trace: Trace) -> Trace:
    """The same path, that gives (its result, what it would store), stores nothing and calls nobody back."""
    def rebuild(tensors: Any, args: tuple, kwargs: Mapping[str, Any]) -> Any:
        return (trace.rebuild(tensors, args, kwargs),
                [effect.rebuild(tensors, args, kwargs) for effect in trace.slot_effects])

    return replace(trace, rebuild=rebuild, slot_effects=(), callbacks=())
