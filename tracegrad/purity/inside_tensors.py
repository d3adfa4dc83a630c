"""What code reads of a Tensor that is not what it shows: its storage, its history, what shares its memory.

    x.array[0]          the values, which no guard compares: refused; x.numpy() is a read that is seen
    x.grad_fn.op        refused; `x.grad_fn is None` is guarded in any case
    x.view_of, x.hooks  None or not, as a guard; refused where it is not None
"""
from __future__ import annotations

from tracegrad.purity.bytecode import Step

VALUES, HISTORY = ("array", "held"), "grad_fn"
NONE_AS_A_RULE = frozenset({"storage", "view_of", "saved", "hooks"})
INSIDE = NONE_AS_A_RULE | {*VALUES, HISTORY}


def read_inside(program: list[Step], this: str | None) -> frozenset[str]:
    """The names among INSIDE that these steps read as attributes of something that may be a Tensor.

    `this` is the first parameter: an attribute of `self` is one of a class of the user's. What is called at once is a
    function of a module, as np.array is.
    """
    found = set()
    for k, (kind, name, called) in enumerate(program):
        if kind != "attribute" or name not in INSIDE or called:
            continue
        before = program[k - 1] if k else None
        if before is not None and before.kind == "local" and before.value == this == "self":
            continue
        after = program[k + 1:k + 3]
        if name == HISTORY and len(after) == 2 and after[0] == Step("constant", None) and after[1].kind == "is":
            continue
        found.add(name)
    return frozenset(found)
