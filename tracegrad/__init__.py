"""tracegrad: dynamic, debuggable array code in Python, made fast by tracing it.

    import tracegrad as tg

    w = tg.randn(3, requires_grad=True)
    loss = (w * w).sum()
    loss.backward()
    w.grad                      # 2 * w

The namespace follows the Python Array API standard, with PyTorch's names beside it.
"""
# ruff: noqa: F401 - the public names
from __future__ import annotations

from tracegrad import autograd, func, methods, pytrees
from tracegrad.aborts import Abort, NotCompiled
from tracegrad.activations import (
    celu,
    elu,
    gelu,
    glu,
    hardshrink,
    hardsigmoid,
    hardswish,
    hardtanh,
    leaky_relu,
    logsigmoid,
    mish,
    prelu,
    relu6,
    selu,
    silu,
    softplus,
    softshrink,
    softsign,
    tanhshrink,
    threshold,
)
from tracegrad.audits import AuditFailed
from tracegrad.autograd import enable_grad, inference_mode, is_grad_enabled, no_grad, set_grad_enabled
from tracegrad.checkpointing import checkpoint
from tracegrad.classification import (
    allclose,
    isclose,
    isfinite,
    isinf,
    isnan,
    isneginf,
    isposinf,
    nan_to_num,
    signbit,
)
from tracegrad.complex_numbers import (
    angle,
    complex,
    conj,
    imag,
    is_complex,
    iscomplex,
    isreal,
    polar,
    real,
    view_as_complex,
    view_as_real,
)
from tracegrad.contraction import (
    addmm,
    addmv,
    baddbmm,
    bmm,
    dot,
    einsum,
    inner,
    kron,
    mm,
    mv,
    outer,
    tensordot,
    vecdot,
)
from tracegrad.convolution import (
    conv1d,
    conv2d,
    conv3d,
    conv_transpose1d,
    conv_transpose2d,
    conv_transpose3d,
)
from tracegrad.creation import (
    as_tensor,
    asarray,
    empty,
    empty_like,
    eye,
    from_numpy,
    full,
    full_like,
    ones,
    ones_like,
    tensor,
    tri,
    vander,
    zeros,
    zeros_like,
)
from tracegrad.cumulative import (
    cummax,
    cummin,
    cumprod,
    cumsum,
    cumulative_prod,
    cumulative_sum,
    linear_recurrence,
    logcumsumexp,
    nancumprod,
    nancumsum,
    prod,
)
from tracegrad.devices import Device
from tracegrad.diagonals import diag, diag_embed, diagflat, diagonal, tril, tril_indices, triu, triu_indices
from tracegrad.differences import diff, ediff1d, gradient, interp, trapezoid
from tracegrad.dtype_info import array_namespace_info as __array_namespace_info__
from tracegrad.dtype_info import can_cast, finfo, iinfo, isdtype, promote_types, result_type
from tracegrad.dtypes import (
    bfloat16,
    complex64,
    complex128,
    float16,
    float32,
    float64,
    int8,
    int16,
    int32,
    int64,
    is_floating_point,
    set_default_dtype,
    uint8,
    uint16,
    uint32,
    uint64,
)
from tracegrad.dtypes import bool_ as bool
from tracegrad.dtypes import default_float as get_default_dtype
from tracegrad.elementary import (
    absolute,
    acos,
    acosh,
    addcdiv,
    addcmul,
    arccos,
    arccosh,
    arcsin,
    arcsinh,
    arctan,
    arctan2,
    arctanh,
    asin,
    asinh,
    atan,
    atan2,
    atanh,
    bitwise_left_shift,
    cbrt,
    ceil,
    copysign,
    cos,
    cosh,
    deg2rad,
    degrees,
    digamma,
    divmod,
    erf,
    erfc,
    erfinv,
    exp2,
    expm1,
    fabs,
    fix,
    float_power,
    floor,
    floor_divide,
    fmax,
    fmin,
    fmod,
    frac,
    heaviside,
    hypot,
    ldexp,
    left_shift,
    lerp,
    lgamma,
    log1p,
    log2,
    log10,
    logaddexp,
    logaddexp2,
    logit,
    mod,
    modf,
    nextafter,
    polygamma,
    pow,
    rad2deg,
    radians,
    reciprocal,
    remainder,
    right_shift,
    rint,
    round,
    rsqrt,
    sin,
    sinc,
    sinh,
    tan,
    true_divide,
    trunc,
    xlogy,
)
from tracegrad.exchange import from_dlpack
from tracegrad.fallbacks import FellBackToEager, Followed, NotReplayed, OverBudget
from tracegrad.formatting import get_printoptions, printoptions, set_printoptions
from tracegrad.functional import (
    abs,
    add,
    all,
    any,
    argmax,
    astype,
    bitwise_and,
    bitwise_invert,
    bitwise_or,
    bitwise_right_shift,
    bitwise_xor,
    clip,
    clone,
    detach,
    divide,
    equal,
    exp,
    greater,
    greater_equal,
    less,
    less_equal,
    log,
    logical_and,
    logical_not,
    logical_or,
    logical_xor,
    matmul,
    max,
    maximum,
    mean,
    min,
    minimum,
    multiply,
    negative,
    not_equal,
    positive,
    relu,
    sigmoid,
    sign,
    sqrt,
    square,
    std,
    subtract,
    sum,
    tanh,
    var,
)
from tracegrad.histograms import bincount, histc, histogram, histogram_bin_edges
from tracegrad.io import load, save
from tracegrad.limits import Limits
from tracegrad.losses import cross_entropy, mse_loss
from tracegrad.manipulation import (
    atleast_1d,
    atleast_2d,
    atleast_3d,
    broadcast_arrays,
    column_stack,
    dstack,
    fliplr,
    flipud,
    hstack,
    meshgrid,
    moveaxis,
    ravel,
    repeat,
    repeat_interleave,
    roll,
    rollaxis,
    rot90,
    row_stack,
    tile,
    unflatten,
    vstack,
)
from tracegrad.mixed_precision import autocast, get_autocast_dtype, is_autocast_enabled, publish
from tracegrad.modes import eager
from tracegrad.movement import (
    broadcast_to,
    concat,
    expand_dims,
    flatten,
    flip,
    gather,
    matrix_transpose,
    permute_dims,
    reshape,
    squeeze,
    stack,
    swapaxes,
    take,
    take_along_axis,
)
from tracegrad.padding import pad
from tracegrad.placing import index_put, masked_scatter, put
from tracegrad.pooling import (
    adaptive_avg_pool1d,
    adaptive_avg_pool2d,
    adaptive_max_pool1d,
    adaptive_max_pool2d,
    avg_pool1d,
    avg_pool2d,
    avg_pool3d,
    max_pool1d,
    max_pool2d,
    max_pool3d,
)
from tracegrad.probabilities import log_softmax, logsumexp, one_hot, softmax
from tracegrad.processors import get_num_threads, set_num_threads
from tracegrad.profiles import profile
from tracegrad.random import (
    Generator,
    bernoulli,
    default_generator,
    get_rng_state,
    manual_seed,
    multinomial,
    normal,
    rand,
    rand_like,
    randint,
    randint_like,
    randn,
    randn_like,
    randperm,
    set_rng_state,
)
from tracegrad.scattering import (
    index_add,
    index_copy,
    index_fill,
    index_select,
    masked_fill,
    put_along_axis,
    scatter,
    scatter_add,
    scatter_reduce,
)
from tracegrad.sequences import arange, geomspace, linspace, logspace
from tracegrad.sets import (
    intersect1d,
    setdiff1d,
    setxor1d,
    union1d,
    unique,
    unique_all,
    unique_counts,
    unique_inverse,
    unique_values,
)
from tracegrad.signals import convolve, correlate
from tracegrad.sorting import (
    argmin,
    argsort,
    argwhere,
    bucketize,
    compress,
    count_nonzero,
    digitize,
    extract,
    flatnonzero,
    isin,
    kthvalue,
    masked_select,
    nonzero,
    searchsorted,
    sort,
    topk,
    where,
)
from tracegrad.splitting import (
    array_split,
    chunk,
    dsplit,
    hsplit,
    narrow,
    select,
    split,
    tensor_split,
    unstack,
    vsplit,
)
from tracegrad.statistics import (
    average,
    corrcoef,
    cov,
    median,
    mode,
    nanmax,
    nanmean,
    nanmedian,
    nanmin,
    nanpercentile,
    nanprod,
    nanquantile,
    nanstd,
    nansum,
    nanvar,
    norm,
    percentile,
    ptp,
    quantile,
)
from tracegrad.tensors import Tensor
from tracegrad.tracing import trace
from tracegrad.windows import sliding_window_view

__version__ = "0.1.0"
__array_api_version__ = "2024.12"

# Other names for the same functions: PyTorch's, and the constants of the Array API.
clamp, sub, mul, div, neg, unsqueeze, permute = clip, subtract, multiply, divide, negative, expand_dims, permute_dims
cat = concatenate = concat
amax, amin = max, min
unbind, movedim, broadcast_tensors = unstack, moveaxis, broadcast_arrays
power, invert, bitwise_not = pow, bitwise_invert, bitwise_invert
half, double, short, long, cfloat, cdouble = float16, float64, int16, int64, complex64, complex128
pi, e, inf, nan, newaxis = 3.141592653589793, 2.718281828459045, float("inf"), float("nan"), None

from tracegrad import amp, cuda, data, debug, fft, linalg, nn, ops, optim  # noqa: E402

cross, cholesky_solve, vmap = linalg.cross, linalg.cholesky_solve, func.vmap
publish(globals())
del publish
