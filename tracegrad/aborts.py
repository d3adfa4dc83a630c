"""Every way a recording or a compilation can give up: one member, one sentence, one cure."""
from __future__ import annotations

from enum import Enum

from codegen.ir.structs import struct


class Abort(Enum):
    """An abort reason. The value is (sentence, cure)."""

    HOST_READ = (
        "the run read a tensor's value into Python",
        "keep the decision or the number in tensors (tg.where, tensor arithmetic), or read it outside")
    UNKNOWN_CALL = (
        "the run called something outside Python that is not known to be pure",
        "move the call out of the traced function")
    EFFECT = (
        "the run changed Python state that a replay cannot change again",
        "keep the state in Tensors, or change it outside the traced function")
    UNSEEN_CODE = (
        "the run entered code that could not be found before it ran",
        "nothing to do: the next call looks further; if it stays, call it directly, not by a computed name")
    HIDDEN_STATE = (
        "the run reached state that guards cannot watch",
        "pass what it reads as an argument or keep it in plain attributes, lists and dicts")
    UNKNOWN_TENSOR = (
        "a tensor entered the run from a place that cannot be read again",
        "pass it as an argument or keep it in an attribute, a list or a dict that the function reads")
    VIEW_WRITE = (
        "the run wrote in place to a tensor that shares its memory with another",
        "write to the whole tensor, or compute a new one with tg.where")
    SHARED_OUTPUT = (
        "a result shares its memory with an argument, with captured state or with another result",
        "return a clone()")
    RESULT_TYPE = (
        "the result is an object that a replay cannot make again",
        "return tensors, numbers, strings, None, or tuples, lists and dicts of them")
    FOREIGN_ARRAY = (
        "an array that is not a Tensor became one during the run",
        "convert it with tg.tensor outside the traced function")
    HOOK = (
        "a gradient hook or a kept grad belongs to a result, or to a tensor that is no leaf and comes from outside",
        "register hooks of leaves, or call backward where the hook is registered")
    HISTORY = (
        "a result has a history that no replay can give it",
        "call backward in the traced function too, or return it without a history: x.detach(), or x.item()")
    CALLBACK = (
        "what looks inside the run cannot be called again",
        "give tg.debug.callback a function or a method that the traced function finds where it was, and what it needs "
        "as operands")
    DEVICE = (
        "the run works on tensors of a device for which it is not compiled",
        "keep all tensors of the function on one device, moved there outside the traced function")
    NO_DEVICE = (
        "there is nothing here that could run what the target compiles",
        "install or set what the reason names, or leave target= out")
    NOT_RECORDED = (
        "the run did something that eager execution supports and recording does not",
        "move it out of the traced function")
    NOT_LOWERED = (
        "the target cannot compile an operation or a type of this path",
        "nothing to do: it runs eagerly")
    COMPILER_FAILED = (
        "the compiler failed; this is a bug of tracegrad",
        "please report it with the text of f.explain()")
    TOO_MANY_PATHS = (
        "the function has been recorded with too many different states or shapes",
        "pad inputs to few shapes, keep changing numbers in 0-d tensors, or raise limits")
    QUARANTINED = (
        "an audit found that replaying this path does not give what the Python gives; this is a bug of tracegrad",
        "please report it with the text of f.explain(); such calls run eagerly from now on")
    REFUSED = (
        "an operation of a known path refused its operands, and the Python did not raise for it",
        "look at the values before the operation, instead of catching what it raises")
    RAISED = (
        "the run raised an exception",
        "nothing to do: a call that raises is not recorded")
    PYTHON_VERSION = (
        "this version of Python cannot be observed yet",
        "use CPython 3.11, 3.12 or 3.13")
    TENSOR_ARGUMENT = (
        "arrays and Tensors are arguments of the same call",
        "convert the arrays with tg.asarray before the call")
    ARRAY_ARGUMENT = (
        "an array as it is given, or what is asked of NumPy beside it, has no place in a replay",
        "pass ndarrays themselves, of numbers in the byte order of the machine, and let no errors raise")

    @property
    def sentence(self) -> str:
        return self.value[0]

    @property
    def cure(self) -> str:
        return self.value[1]


@struct
class Aborted:
    """One abort: its reason, what exactly it was, and the user's line where that is known."""

    reason: Abort
    detail: str
    line: str | None = None

    def __str__(self) -> str:
        return self.says("not compiled")

    @property
    def followed(self) -> str:
        """What is said of a function that is followed for this reason."""
        return self.says("followed, not replayed: its Python runs at every call")

    def says(self, what: str) -> str:
        where = f"{self.line}: " if self.line else ""
        reason = self.reason
        return f"{where}{what}: {reason.sentence}: {self.detail} (Abort.{reason.name}); cure: {reason.cure}"


class Declined(Exception):
    """This run cannot become a trace."""

    def __init__(self, reason: Abort, detail: str, line: str | None = None):
        self.aborted = Aborted(reason, detail, line)


class NotCompiled(RuntimeError):
    """Raised by a function traced with strict=True where it would have run eagerly."""

    def __init__(self, aborted: Aborted):
        super().__init__(str(aborted))
        self.aborted = aborted
