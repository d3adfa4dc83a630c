"""Why a call that could not be replayed was recorded: what had been assumed on entry and did not hold.

    model.py:12: args[0] had shape (3,), now (4,)
    model.py:30: model.w.grad was None, now f32[3]

This is asked before a run is recorded, never before a replay; the text is made when somebody reads it.
"""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from codegen.ir.structs import struct
from codegen.ir.types import type_of
from tracegrad.devices import CUPY
from tracegrad.guards import Guards, Missed
from tracegrad.lifted import may_be_lifted
from tracegrad.replay import Root
from tracegrad.trace_tree import TraceTree


@struct(eq=False)
class MissedOnEntry:
    """Something beside the guards did not hold: `says`, of what `route` leads to."""

    guards: Guards
    route: str
    says: str

    def __str__(self) -> str:
        where = self.guards.read_lines().line_of(self.route)
        return f"{where}: {self.route} {self.says}" if where else f"{self.route} {self.says}"


Miss = Missed | MissedOnEntry


def last_missed(tree: TraceTree, args: tuple, kwargs: Mapping[str, Any]) -> Miss | None:
    """What this call does not have of what the root that was used last assumes; None without a root."""
    if not tree.roots:
        return None
    root = tree.roots[0]
    return root.guards.missed(args, kwargs) or _missed_beside_guards(root, args, kwargs)


def _missed_beside_guards(root: Root, args: tuple, kwargs: Mapping[str, Any]) -> MissedOnEntry | None:
    guards = root.guards
    leaves = guards.check(args, kwargs)
    if leaves is None:                          # it changed in this moment
        return None
    if CUPY and not root.suits(leaves):
        return MissedOnEntry(guards, "the arguments", "held tensors on other devices")
    for source in root.sources:
        if source.number is not None and not may_be_lifted(source.argument(args, kwargs)):
            return MissedOnEntry(guards, source.text, "was a finite number of moderate size")
    for expected in root.grads_expected:
        grad = leaves[expected.leaf]._grad
        if not expected.is_met(grad):
            now = None if grad is None else type_of(grad.array)
            changed = f"was {expected.type}, now {now}" if expected.type != now else "has another history or hooks"
            return MissedOnEntry(guards, f"{guards.sources[expected.leaf]}.grad", changed)
    return MissedOnEntry(guards, "what is written in place", "had memory of its own, contiguous and writeable")
