"""Mixed precision: products of 16-bit floats, sums and losses in float32, and casts where the two meet.

    with tg.autocast("bfloat16"):       x, w f32
        y = x @ w                       matmul(cast(x, bf16), cast(w, bf16))
        p = tg.softmax(y)               softmax(cast(y, f32))
        z = y + x                       f32, by promotion

1. POLICIES is the one table. What it does not name keeps the dtypes of its operands: CUDA's rules in PyTorch, on every
   device.
2. It is asked where a user, a layer or a method calls a function: `casting(f)` is f behind it. Our own functions call
   each other without, so what is composed is cast once, as a whole.
3. A cast is an operation like any other: differentiated, so gradients have the dtype of what they are of; recorded,
   and compiled with what is around it. float64, integers and complex numbers are not cast.
4. The mode is one object for each pair of dtypes, so a traced call compares it with `is`.
"""
from __future__ import annotations

import functools
from collections.abc import Callable
from types import FunctionType
from typing import Any

import numpy as np

from codegen.ir.structs import struct
from tracegrad.dispatch import GRAD, complete
from tracegrad.dtypes import bfloat16, dtype_of, float16, float32, name_of
from tracegrad.grad_modes import ThreadMode
from tracegrad.operands import adopt, convert
from tracegrad.recorder import ACTIVE
from tracegrad.source_lines import at_user_line
from tracegrad.tensors import FOLLOWERS, Tensor

DEVICES = {"cpu": bfloat16, "cuda": float16}
"""The types of devices, and what autocast takes for each unless it is told."""

HALVES = (bfloat16, float16)


@struct
class Casting:
    """The dtype of products on each type of device; None where nothing is cast."""

    cpu: np.dtype | None
    cuda: np.dtype | None

    def of(self, x: Tensor) -> np.dtype | None:
        """The dtype of products of this tensor."""
        return self.cpu if self.cpu is self.cuda or x.device.type == "cpu" else self.cuda


@functools.cache
def _mode(cpu: np.dtype | None, cuda: np.dtype | None) -> Casting | None:
    """One object for each pair, None for none."""
    return None if cpu is cuda is None else Casting(cpu, cuda)


class autocast(ThreadMode):
    """with tg.autocast("bfloat16"): products are computed in bfloat16, what needs the accuracy in float32.

    As PyTorch spells it, too: autocast(device_type, dtype, enabled, cache_enabled), where "cpu" or "cuda" casts what
    is on such a device alone, and takes bfloat16 or float16 unless told. A context manager and a decorator; it nests,
    and with enabled=False nothing is cast inside. Weights are cast once for the outermost of those that are entered,
    unless cache_enabled is False; one that was written to is cast again.

        >>> x, w = tg.ones(2, 3), tg.ones(3, 4, requires_grad=True)
        >>> with tg.autocast("bfloat16"):
        ...     y = x @ w
        ...     loss = tg.nn.functional.mse_loss(y, tg.zeros(2, 4))
        >>> y.dtype, loss.dtype
        (dtype(bfloat16), dtype('float32'))
        >>> loss.backward()
        >>> w.grad.dtype
        dtype('float32')
    """

    __slots__ = ("_dtype", "_devices", "_cache")

    of = "casting"

    def __init__(self, device_type: Any = None, dtype: Any = None, enabled: bool = True,
                 cache_enabled: bool | None = None):
        super().__init__()
        if device_type is not None and not (type(device_type) is str and device_type in DEVICES):
            if dtype is not None or not _names_dtype(device_type):
                raise ValueError(at_user_line(f"autocast: {device_type!r} is no type of device: 'cpu' and 'cuda' are, "
                                              "or give a dtype alone, as in autocast('bfloat16')"))
            device_type, dtype = None, device_type
        chosen = DEVICES.get(device_type, bfloat16) if dtype is None else dtype_of(dtype)
        if chosen not in HALVES:
            raise ValueError(at_user_line(f"autocast: products are cast to bfloat16 or float16, not {chosen}; "
                                          "enabled=False leaves them as they are"))
        self._dtype = chosen if enabled else None
        self._devices = tuple(DEVICES) if device_type is None else (device_type,)
        self._cache = cache_enabled is not False

    def _inside(self, now: Casting | None) -> Casting | None:
        cpu, cuda = (self._dtype if device in self._devices else None if now is None else getattr(now, device)
                     for device in DEVICES)
        return _mode(cpu, cuda)

    def _set(self, mode: Any) -> None:
        before, GRAD.casting = GRAD.casting, mode
        if mode is None:
            GRAD.casts = None
        elif before is None:
            GRAD.casts = {} if self._cache else None


def _names_dtype(given: Any) -> bool:
    try:
        dtype_of(given)
    except TypeError:
        return False
    return True


def is_autocast_enabled(device_type: str | None = None) -> bool:
    """Is autocast on in this thread, for devices of this type or (None) of any?

        >>> with tg.autocast("cpu"):
        ...     tg.is_autocast_enabled("cpu"), tg.is_autocast_enabled("cuda")
        (True, False)
    """
    now = GRAD.casting
    return now is not None and (device_type is None or getattr(now, device_type) is not None)


def get_autocast_dtype(device_type: str = "cpu") -> np.dtype:
    """The dtype that products are cast to on devices of this type: what autocast takes by itself where it is off."""
    now = None if GRAD.casting is None else getattr(GRAD.casting, device_type)
    return DEVICES[device_type] if now is None else now


# ---- the table ----------------------------------------------------------------------------------------------------


def lower(casting: Casting, x: Any) -> Any:
    """The operand of a product."""
    if isinstance(x, np.ndarray):
        x = adopt(x, is_operand=True)
    if not isinstance(x, Tensor):
        return x
    dtype, own = casting.of(x), x.dtype
    if dtype is None or own is dtype or own is not float32 and own not in HALVES:
        return x
    return convert(x, dtype) if GRAD.casts is None or x.grad_fn is not None else _kept(x, dtype)


def _in_own_memory(casting: Casting, x: Any) -> Any:
    """The operand of a product whose result may be a view of it, so no one else may have it."""
    casts, GRAD.casts = GRAD.casts, None
    try:
        return lower(casting, x)
    finally:
        GRAD.casts = casts


def single(casting: Casting, x: Any) -> Any:
    """The operand of what is computed in float32."""
    if isinstance(x, Tensor) and x.dtype in HALVES and casting.of(x) is not None:
        return convert(x, float32)
    return x


def widest(casting: Casting, x: Any) -> Any:
    """The operand of what writes one of its operands into another, where one of them is float32 (see `casting`)."""
    return single(casting, x)


Policy = Callable[[Casting, Any], Any]

POLICIES: dict[str, Policy] = {
    **dict.fromkeys((
        "matmul", "mm", "mv", "bmm", "addmm", "addmv", "baddbmm", "vecdot", "multi_dot", "matrix_power", "linear",
        "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d", "prelu",
        "scaled_dot_product_attention", "cell", "sequence"), lower),
    "einsum": _in_own_memory,
    **dict.fromkeys((
        # elementwise
        "exp", "expm1", "log", "log1p", "log2", "log10", "pow", "reciprocal", "rsqrt", "acos", "asin", "cosh", "sinh",
        "tan", "erfinv", "softplus", "square", "complex", "polar",
        # along axes
        "sum", "prod", "cumsum", "cumprod", "cumulative_sum", "cumulative_prod", "softmax", "softmin", "log_softmax",
        "logsumexp", "norm", "vector_norm", "matrix_norm", "layer_norm", "group_norm", "rms_norm", "normalize",
        "cosine_similarity", "pairwise_distance", "interpolate",
        # matrices as a whole: no factorization is of 16-bit floats
        "cholesky", "cholesky_solve", "cond", "det", "eig", "eigh", "eigvals", "eigvalsh", "expm", "inv", "lstsq",
        "matrix_rank", "pinv", "qr", "slogdet", "solve", "solve_triangular", "svd", "svdvals",
        # losses
        "binary_cross_entropy", "binary_cross_entropy_with_logits", "cosine_embedding_loss", "cross_entropy",
        "ctc_loss", "gaussian_nll_loss", "hinge_embedding_loss", "huber_loss", "kl_div", "l1_loss",
        "margin_ranking_loss", "mse_loss", "multi_margin_loss", "multilabel_soft_margin_loss", "nll_loss",
        "poisson_nll_loss", "smooth_l1_loss", "soft_margin_loss", "triplet_margin_loss"), single),
    **dict.fromkeys(("index_put", "scatter_add"), widest),
}
"""What happens to each floating-point operand of a function, by the function's name, where autocast is on."""


@functools.cache
def casting(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function` as users call it: with the casts of POLICIES where autocast is on. What writes to `out`, or is told
    the dtype of its result, is left alone."""
    policy = POLICIES.get(function.__name__)
    if policy is None or hasattr(function, "__wrapped__"):      # it is one already
        return function

    @functools.wraps(function)
    def cast(*args: Any, **options: Any) -> Any:
        now = GRAD.casting
        if now is None or options and (options.get("out") is not None or options.get("dtype") is not None):
            return function(*args, **options)
        if policy is widest and not any(isinstance(x, Tensor) and x.dtype is float32 for x in args):
            return function(*args, **options)
        args = tuple([_each(policy, now, a) for a in args])
        return function(*args, **{name: _each(policy, now, a) for name, a in options.items()})
    return cast


def _each(policy: Policy, now: Casting, x: Any) -> Any:
    if type(x) in (list, tuple):
        return type(x)([policy(now, part) for part in x])
    return policy(now, x)


def publish(namespace: dict[str, Any]) -> None:
    """Let the functions that a module has for users, __all__ if it says so, be those that cast."""
    for name in namespace.get("__all__", tuple(namespace)):
        function = namespace[name]
        if type(function) is FunctionType and function.__module__.startswith("tracegrad."):
            cast = casting(function)
            if cast is not function:
                cast.__module__ = namespace["__name__"]         # where pickle finds it
                namespace[name] = cast


# ---- casts that are kept ------------------------------------------------------------------------------------------


def _kept(x: Tensor, dtype: np.dtype) -> Tensor:
    """A leaf in a narrower dtype: the array that was made of this value before, if there is one.

    Each use has a history of its own, so gradients are added up in the dtype of x. In a run that is recorded, or that
    follows a recording, nothing is kept: there a cast that is there twice is computed once.
    """
    if not x.requires_grad or ACTIVE.get() is not None or FOLLOWERS:
        return convert(x, dtype)
    key = id(x), dtype
    saved, array = GRAD.casts.get(key, (None, None))
    if saved is None or saved.tensor() is not x:
        made = convert(x, dtype)
        saved = x.save()
        if saved.tensor() is x:             # nobody can write to it unseen
            GRAD.casts[key] = saved, made.array
        return made
    return complete("cast", (x,), {"dtype": name_of(dtype)}, Tensor(array))
