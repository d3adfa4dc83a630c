"""Tensor: an array, its place in differentiation, and what shares its memory.

1. `array` is the storage, a NumPy array (of any rank, 0 included); it is replaced only by code that made it. `held` is
   this array, or what stands for it until somebody asks for it (see `pending`): no class but one tells of that.
2. A Tensor is a leaf when `grad_fn` is None. `grad_fn` is the last operation on it, a Node of dispatch.
3. Tensors that share memory share one Storage. A view knows what it is a view of, and by which operation.
4. A value saved for backward never changes: who is about to write to memory calls `prepare_write()` first, which
   gives every saved value in that memory a copy. The writer keeps its memory, so whoever shares it stays true. One that
   the tensor itself holds, for the next replay, and nothing else, is no saved value yet.
5. Memory that others hold (numpy(), from_numpy, DLPack) can be written unseen, so it is copied when saved: as long as
   an array that was handed out lives, and always if it is not ours.

The operators and methods of Tensor are the functions of `functional` and others, bound in `methods`.
"""
from __future__ import annotations

import sys
import weakref
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from codegen.ir.types import TensorType
from tracegrad.devices import CPU, CUPY, Device, holding, is_gpu_array, there
from tracegrad.recorder import ACTIVE
from tracegrad.source_lines import at_user_line

if TYPE_CHECKING:
    from tracegrad.dispatch import Like
    from tracegrad.signatures import Signatures
else:
    Signatures = object


FOLLOWERS: list[Any] = []
"""The followers (see `follower`) of all runs in progress: their deferred work may read memory that is to be written."""

_ndarray = np.ndarray


class NoArray:
    """The base of what a Tensor may hold that is no array: it is a Yet."""

    __slots__ = ()

    like: Any
    demand: Any
    tensor: Any
    settle: Any
    twin_of: Any
    copy_of: Any


class Yet(Protocol):
    """What stands for an array that is yet to be computed. `type`: what the type rule of its op says."""

    type: TensorType
    like: Like
    shape: tuple[int, ...]
    dtype: np.dtype
    ndim: int
    size: int
    itemsize: int
    nbytes: int
    strides: tuple[int, ...]

    def demand(self) -> np.ndarray:
        """The array, computed now if it is not."""

    def tensor(self) -> Tensor:
        """A Tensor of this value."""

    def settle(self, holder: Tensor) -> np.ndarray:
        """The array of who holds this, which holds that from now on."""

    def twin_of(self, holder: Tensor) -> Tensor: ...
    def copy_of(self, holder: Tensor) -> Tensor: ...


class Saved:
    """A value saved for backward: what its Tensor held, and (weakly) the Tensor that still holds exactly this value."""

    __slots__ = ("held", "tensor", "__weakref__")

    def __init__(self, held: Any, tensor: weakref.ref[Tensor]):
        self.held, self.tensor = held, tensor

    @property
    def array(self) -> np.ndarray:
        held = self.held
        return held.demand() if isinstance(held, NoArray) else held

    def restored(self) -> Tensor:
        """A Tensor of the value."""
        held = self.held
        made = held.tensor() if isinstance(held, NoArray) else Tensor(held)
        recorder = ACTIVE.get()
        if recorder is not None:
            recorder.record_same(self, made)
        return made

    def keep_copy(self) -> None:
        """The memory is about to be overwritten: go on with a copy."""
        tensor, recorder = self.tensor(), ACTIVE.get()
        if tensor is not None and recorder is not None:
            recorder.record_saved(tensor, self)
        self.held, self.tensor = self.array.copy(), GONE


class View:
    """What a tensor is a view of: `op` with `attrs` of `parent`. `tracked`: does differentiation see it as one?"""

    __slots__ = ("_parent", "op", "attrs", "tracked")

    def __init__(self, parent: Tensor, op: str, attrs: dict[str, Any], tracked: bool):
        # A view that differentiation does not see must not keep its parent's graph alive.
        self._parent: Callable[[], Tensor | None] | Tensor = parent if tracked else weakref.ref(parent)
        self.op, self.attrs, self.tracked = op, attrs, tracked

    @property
    def parent(self) -> Tensor | None:
        """The tensor viewed; None if it is gone."""
        return self._parent if self.tracked else self._parent()     # type: ignore[operator, return-value]


class Storage:
    """Memory that more than one tensor, or code that we do not see, can write to."""

    __slots__ = ("_members", "_saved", "_handed_out", "foreign")

    def __init__(self, first: Tensor):
        self._members: list[weakref.ref[Tensor]] = [weakref.ref(first)]
        self._saved: list[weakref.ref[Saved]] = [] if first.saved is None else [first.saved]
        self._handed_out: list[weakref.ref[np.ndarray]] = []
        self.foreign = False                    # made by someone else, who may keep it

    @property
    def exported(self) -> bool:
        """Can code that we do not see write to it?"""
        if self._handed_out:
            self._handed_out = [r for r in self._handed_out if r() is not None]
        return self.foreign or bool(self._handed_out)

    def hand_out(self, array: np.ndarray) -> np.ndarray:
        """An array on the memory of `array`, for others.

        NumPy lets a view keep alive what its array is based on, if that is an array, else the array itself. This one is
        based on a memoryview, so it lives as long as anything that was made from it.
        """
        if is_gpu_array(array):
            shared = array.view()
            _append(self._handed_out, weakref.ref(shared))
            return shared
        bits = array.view(np.uint16) if array.dtype.kind == "V" else array      # bfloat16 has no buffer format
        shared = np.asarray(bits.data)
        _append(self._handed_out, weakref.ref(shared))
        return shared if shared.dtype is array.dtype else shared.view(array.dtype)

    def add(self, tensor: Tensor) -> None:
        tensor.storage = self
        _append(self._members, weakref.ref(tensor))

    def add_saved(self, saved: weakref.ref[Saved]) -> None:
        _append(self._saved, saved)

    def members(self) -> list[Tensor]:
        """The living tensors of this memory, each after what it is a view of."""
        return [t for r in self._members if (t := r()) is not None and t.storage is self]

    def saved(self) -> Iterator[Saved]:
        """The saved values in this memory that are still needed."""
        return (s for r in self._saved if (s := r()) is not None)

    def has_only(self, reference: weakref.ref[Saved] | None) -> bool:
        """Is this the only saved value, dead ones included?"""
        return len(self._saved) == 1 and self._saved[0] is reference

    def forget_saved(self) -> None:
        self._saved.clear()


def _append(references: list, reference: weakref.ref) -> None:
    """Append; drop dead ones now and then, so that the list stays as long as what lives."""
    references.append(reference)
    n = len(references)
    if n >= 16 and n & (n - 1) == 0:
        references[:] = [r for r in references if r() is not None]


class Tensor(Signatures):
    """An n-dimensional array that remembers how it was computed."""

    __slots__ = (
        "held", "requires_grad", "_grad", "grad_fn", "saved", "kept", "storage", "view_of", "hooks", "__weakref__")

    held: Any                                   # its array, or a Yet
    requires_grad: bool
    _grad: Tensor | None
    grad_fn: Any                                # the Node that made it, None for a leaf
    saved: weakref.ref[Saved] | None            # the present value, if an operation saved it
    kept: Saved | None                          # the same, where the next replay that saves it is to find it
    storage: Storage | None                     # None while the memory is this tensor's alone
    view_of: View | None
    hooks: list[Callable[[Tensor], Tensor | None]] | None      # of a leaf; other tensors have theirs on grad_fn

    def __init__(self, array: np.ndarray, requires_grad: bool = False, grad_fn: Any = None):
        self.held = array
        self.requires_grad = requires_grad
        self._grad = None
        self.grad_fn = grad_fn
        self.saved = None
        self.kept = None
        self.storage = None
        self.view_of = None
        self.hooks = None

    # ---- what it is ----------------------------------------------------------------------------------------------

    @property
    def array(self) -> np.ndarray:
        """Its storage; what is yet to be computed is computed now."""
        held = self.held
        return held if type(held) is _ndarray or not isinstance(held, NoArray) else held.settle(self)

    @array.setter
    def array(self, array: np.ndarray) -> None:
        self._settled()
        self.held = array

    def _settled(self) -> np.ndarray:
        held = self.held
        return held.settle(self) if isinstance(held, NoArray) else held

    @property
    def shape(self) -> tuple[int, ...]:
        return self.held.shape

    @property
    def dtype(self) -> np.dtype:
        return self.held.dtype

    @property
    def ndim(self) -> int:
        return self.held.ndim

    @property
    def size(self) -> int:
        """The number of elements."""
        return self.held.size

    @property
    def itemsize(self) -> int:
        return self.held.itemsize

    @property
    def nbytes(self) -> int:
        return self.held.nbytes

    @property
    def memory(self) -> np.ndarray:
        """The array, for who looks at what is in it, not at its sizes (see `sized`)."""
        return self.array

    @property
    def by_columns(self) -> bool:
        """Do the elements of a column lie together, as in the transpose of a matrix?"""
        strides = self.held.strides
        return len(strides) > 1 and strides[-2] == self.held.itemsize < strides[-1]

    @property
    def device(self) -> Device:
        """Where its storage is."""
        return holding(self.held) if CUPY else CPU

    @property
    def is_leaf(self) -> bool:
        """Was it made by the user, not by an operation that is differentiated?"""
        return self.grad_fn is None

    @property
    def grad(self) -> Tensor | None:
        """The gradient that backward() accumulated here, or None."""
        recorder = ACTIVE.get()
        if recorder is not None:
            recorder.read_grad(self)
        return self._grad

    @grad.setter
    def grad(self, grad: Tensor | None) -> None:
        if grad is not None and (grad is self or not isinstance(grad, Tensor) or grad.shape != self.shape
                                 or grad.dtype != self.dtype or CUPY and grad.device != self.device):
            raise not_a_grad(self, grad)
        self._grad = grad
        recorder = ACTIVE.get()
        if recorder is not None:
            recorder.write_grad(self, grad)

    def __hash__(self) -> int:
        return id(self)

    # ---- memory --------------------------------------------------------------------------------------------------

    def save(self) -> Saved:
        """The present value, for backward."""
        reference = self.saved
        saved = None if reference is None else reference()
        if saved is None:
            saved = Saved(self.held, weakref.ref(self))
            storage = self.storage
            if storage is None:
                self.saved = weakref.ref(saved)
            elif storage.exported and not any(follower.keeps(saved) for follower in FOLLOWERS):
                saved.keep_copy()
            else:
                self.saved = weakref.ref(saved)
                storage.add_saved(self.saved)
        return saved

    def keep(self) -> Saved:
        """The present value, for the backward of a replay: it stays, so that the next one has it at once."""
        saved = self.save()
        if self.saved is not None:
            self.kept = saved
        return saved

    def prepare_write(self) -> None:
        """Call before this tensor's memory changes: saved values in it get copies, deferred work on it is done."""
        self._settled()
        if FOLLOWERS:
            for follower in FOLLOWERS[:]:
                follower.before_write(self)
        if self.saved is None and self.kept is None and self.storage is None:
            return                                  # nothing is, or was, kept of it
        if not self._keeps_alone():
            self.keep_saved()

    def _keeps_alone(self) -> bool:
        """Is what it keeps the only saved value in this memory, and needed by nothing so far?"""
        if self.kept is None or sys.getrefcount(self.kept) > ALONE or self.kept.held is not self.held:
            return False
        return self.storage is None or self.storage.has_only(self.saved)

    def keep_saved(self) -> None:
        """Saved values in this tensor's memory get copies; none is known of any more."""
        storage = self.storage
        if storage is None:
            self.kept = None
            if self.saved is not None:
                saved = self.saved()
                self.saved = None
                if saved is not None:
                    saved.keep_copy()
            return
        if not storage._saved:
            self.saved = None
            return
        members = storage.members()
        for member in members:
            member.kept = None
        for saved in storage.saved():
            saved.keep_copy()
        storage.forget_saved()
        for member in members:
            member.saved = None

    def twin(self) -> Tensor:
        """Another Tensor on the same memory, with no history, and not yet known to share it."""
        held = self.held
        return held.twin_of(self) if isinstance(held, NoArray) else Tensor(held)

    def copied(self) -> Tensor:
        """A Tensor of the same values, in order in memory of its own, with no history."""
        held = self.held
        if isinstance(held, NoArray):
            return held.copy_of(self)
        if not CUPY:
            return Tensor(held.copy("C"))
        with there(held):
            return Tensor(held.copy("C"))

    def share(self, other: Tensor, op: str, attrs: dict[str, Any], tracked: bool) -> None:
        """`other` is `op` of this tensor, on the same memory."""
        if self.storage is None:
            self.storage = Storage(self)
        self.storage.add(other)
        other.view_of = View(self, op, attrs, tracked)

    def hand_out(self) -> np.ndarray:
        """An array on the same memory, for code that may write to it unseen."""
        for follower in FOLLOWERS[:]:
            follower.handed_out()
        self.prepare_write()
        self.keep_saved()
        if self.storage is None:
            self.storage = Storage(self)
        recorder = ACTIVE.get()
        if recorder is not None:
            recorder.hand_out(self)
        return self.storage.hand_out(self.array)

    def mark_foreign(self) -> None:
        """The memory is not ours: whoever made it may write to it unseen."""
        for follower in FOLLOWERS[:]:
            follower.handed_out()
        self.prepare_write()
        self.keep_saved()
        if self.storage is None:
            self.storage = Storage(self)
        self.storage.foreign = True

    def aliases(self) -> list[Tensor]:
        """The other living tensors on this tensor's memory."""
        return [] if self.storage is None else [t for t in self.storage.members() if t is not self]


def not_a_grad(x: Tensor, grad: Any) -> Exception:
    """The error of x.grad = grad."""
    if not isinstance(grad, Tensor):
        return TypeError(at_user_line(f"grad is None or a Tensor, not a {type(grad).__name__}"))
    if grad is x:
        return RuntimeError(at_user_line("grad: a tensor is not its own gradient; set a clone() of it"))
    return RuntimeError(at_user_line(
        f"grad must be None or a Tensor of shape {list(x.shape)} and dtype {x.dtype}: here it has shape "
        f"{list(grad.shape)} and dtype {grad.dtype}" + (
            f", and it is on {grad.device}, not {x.device}" if grad.device != x.device else "")))


GONE = weakref.ref(Tensor(np.zeros(0)))
"""Instead of the Tensor that holds a value: there is none any more."""


def _references_of_kept() -> int:
    """What getrefcount says of a value that only its tensor keeps."""
    probe = Tensor(np.zeros(0))
    probe.keep()
    return sys.getrefcount(probe.kept)


ALONE = _references_of_kept()
