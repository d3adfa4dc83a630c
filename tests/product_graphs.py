"""Products with work before and behind them, as graphs of any sizes M, N and K and any dtype T."""
from __future__ import annotations

LINEAR = """graph f(%0: T[M,K], %1: T[N,K], %2: T[N], %3: T[M,N]) {
  %4 = transpose %1 axes=[1,0] : T[K,N]
  %5 = matmul %0, %4 : T[M,N]
  %6 = broadcast %2 shape=[M,N] : T[M,N]
  %7 = add %5, %6 : T[M,N]
  %8 = constant value=0.0 dtype=T : T[]
  %9 = broadcast %8 shape=[M,N] : T[M,N]
  %10 = maximum %7, %9 : T[M,N]
  %11 = add %10, %3 : T[M,N]
  return %11, %10, %5
}"""
GELU = """graph f(%0: T[M,K], %1: T[K,N]) {
  %2 = matmul %0, %1 : T[M,N]
  %3 = constant value=0.7071067811865476 dtype=T : T[]
  %4 = broadcast %3 shape=[M,N] : T[M,N]
  %5 = mul %2, %4 : T[M,N]
  %6 = erf %5 : T[M,N]
  %7 = add %6, %6 : T[M,N]
  %8 = mul %2, %7 : T[M,N]
  %9 = reshape %8 shape=[1,M,N,1] : T[1,M,N,1]
  return %9
}"""
HEADS = """graph f(%0: T[2,M,3,K], %1: T[2,N,3,K]) {
  %2 = transpose %0 axes=[0,2,1,3] : T[2,3,M,K]
  %3 = transpose %1 axes=[0,2,3,1] : T[2,3,K,N]
  %4 = matmul %2, %3 : T[2,3,M,N]
  %5 = transpose %4 axes=[0,2,1,3] : T[2,M,3,N]
  %6 = mul %5, %5 : T[2,M,3,N]
  return %6
}"""
MASKED = """graph f(%0: T[M,K], %1: T[M,K], %2: T[M,N]) {
  %3 = lt %0, %1 : bool[M,K]
  %4 = constant value=0.5 dtype=T : T[]
  %5 = broadcast %4 shape=[M,K] : T[M,K]
  %6 = where %3, %0, %5 : T[M,K]
  %7 = transpose %6 axes=[1,0] : T[K,M]
  %8 = matmul %7, %2 : T[K,N]
  return %8
}"""
CASTS = """graph f(%0: f32[M,K], %1: f32[K,N], %2: f32[N]) {
  %3 = cast %0 dtype=T : T[M,K]
  %4 = cast %1 dtype=T : T[K,N]
  %5 = matmul %3, %4 : T[M,N]
  %6 = cast %5 dtype=f32 : f32[M,N]
  %7 = broadcast %2 shape=[M,N] : f32[M,N]
  %8 = mul %6, %7 : f32[M,N]
  return %8
}"""
UPDATE = """graph f(%0: T[K,M], %1: T[K,N], %2: T[M,N]) {
  %3 = transpose %0 axes=[1,0] : T[M,K]
  %4 = matmul %3, %1 : T[M,N]
  %5 = constant value=0.1 dtype=T : T[]
  %6 = broadcast %5 shape=[M,N] : T[M,N]
  %7 = mul %4, %6 : T[M,N]
  %8 = sub %2, %7 : T[M,N]
  return %8
}"""
GRAPHS = {"linear": LINEAR, "gelu": GELU, "heads": HEADS, "masked": MASKED, "casts": CASTS, "update": UPDATE}


def text_of(name: str, dtype: str, sizes: tuple[int, int, int]) -> str:
    """One of them, of these M, N and K."""
    text = GRAPHS[name].replace("T[", f"{dtype}[").replace("=T", f"={dtype}")
    for letter, size in zip("MNK", sizes):
        text = text.replace(f"{letter},", f"{size},").replace(f"{letter}]", f"{size}]")
    return text
