"""Kernels written by hand, in the form of those that are emitted: elementwise, a row at a time, and a product."""
from __future__ import annotations

from codegen.ir.dims import ceil_div, symbol
from codegen.triton_gpu.spec import KernelSpec

HEAD = "import triton\nimport triton.language as tl\n\n\n"

EXP_SUM = KernelSpec("exp_sum", HEAD + '''@triton.jit
def exp_sum(b0, b1, b2, n0, X: tl.constexpr):
    x = tl.program_id(0) * X + tl.arange(0, X)
    m = x < n0
    v0 = tl.load(b0 + x, m)
    v1 = tl.load(b1 + x, m)
    tl.store(b2 + x, tl.exp(v0) * v1 + v0, m)
''', pointers=("fp32", "fp32", "fp32"), checked=False, words=1, constants=(("X", 1024),),
    grid=ceil_div(symbol("n0"), 1024), warps=4, multiples=(0,))
"""One word, which is promised; b0 * b1 + b0 would be contracted if that were permitted."""

SOFTMAX = KernelSpec("softmax", HEAD + '''@triton.jit
def softmax(b0, b1, n0, R: tl.constexpr):
    row = tl.program_id(0)
    r = tl.arange(0, R)
    m = r < 1000
    v = tl.load(b0 + row * 1000 + r, m, other=float("-inf"))
    e = tl.exp(v - tl.max(v, 0))
    tl.store(b1 + row * 1000 + r, e / tl.sum(e, 0), m & (row < n0))
''', pointers=("fp32", "fp32"), checked=False, words=1, constants=(("R", 1024),), grid=symbol("n0"), warps=4)

TAKE = KernelSpec("take", HEAD + '''@triton.jit
def take(b0, b1, b2, failed, n0, n1, X: tl.constexpr):
    x = tl.program_id(0).to(tl.int64) * X + tl.arange(0, X)
    m = x < n0
    i = tl.load(b1 + x, m, other=0)
    good = (i >= 0) & (i < n1)
    tl.store(failed + tl.zeros([X], tl.int32), 1, m & ~good)
    tl.store(b2 + x, tl.load(b0 + i, m & good, other=0.0), m)
''', pointers=("bf16", "i64", "bf16"), checked=True, words=2, constants=(("X", 256),),
    grid=ceil_div(symbol("n0"), 256), warps=4, word_type="i64", multiples=(0,))

_PRODUCT = HEAD + '''@triton.jit
def product(b0, b1, b2, n0, n1, n2, M: tl.constexpr, N: tl.constexpr, K: tl.constexpr):
    tiles = tl.cdiv(n1, N)
    m = tl.program_id(0) // tiles * M + tl.arange(0, M)
    n = tl.program_id(0) % tiles * N + tl.arange(0, N)
    total = tl.zeros((M, N), tl.float32)
    for k0 in range(0, n2, K):
        k = k0 + tl.arange(0, K)
        a = tl.load(b0 + m[:, None] * n2 + k[None, :], (m < n0)[:, None] & (k < n2)[None, :], other=0.0)
        b = tl.load(b1 + k[:, None] * n1 + n[None, :], (k < n2)[:, None] & (n < n1)[None, :], other=0.0)
        total = tl.dot(a, b, total, input_precision="PRECISION")
    tl.store(b2 + m[:, None] * n1 + n[None, :], total, (m < n0)[:, None] & (n < n1)[None, :])
'''


def product(dtype: str, precision: str, tile: tuple[int, int, int], warps: int = 4, stages: int = 3) -> KernelSpec:
    """A @ B with sums in fp32; n0, n1, n2 are the rows, columns and what is summed over."""
    programs = ceil_div(symbol("n0"), tile[0]) * ceil_div(symbol("n1"), tile[1])
    return KernelSpec("product", _PRODUCT.replace("PRECISION", precision), (dtype, dtype, "fp32"), False, 3,
                      tuple(zip("MNK", tile)), programs, warps, stages, multiples=(0, 1, 2))


PRODUCTS = {
    "ieee": product("fp32", "ieee", (64, 64, 32)),
    "tf32": product("fp32", "tf32", (128, 64, 32)),
    "bf16": product("bf16", "ieee", (128, 128, 64), warps=8),
    "fp16": product("fp16", "ieee", (128, 128, 64), warps=8),
}

WRITTEN = {"exp_sum": EXP_SUM, "softmax": SOFTMAX, "take": TAKE} | PRODUCTS
"""All of them, by name."""

