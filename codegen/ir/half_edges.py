"""Edge semantics of float16 and bfloat16: rows of the table in `edges`, which says how to read them.

They are the f32 result, rounded to nearest; what is beyond the largest number is infinite, subnormals are kept.
"""
from __future__ import annotations

TEXT = """
add          f16       2048.0 1.0 -> 2048.0
add          f16       2048.0 3.0 -> 2052.0
add          f16       65504.0 15.0 -> 65504.0
add          f16       65504.0 16.0 -> inf
add          bf16      256.0 1.0 -> 256.0
add          bf16      3.39e38 3.39e38 -> inf
mul          f16       6e-8 0.25 -> 0.0
mul          f16       6e-8 0.75 -> 6e-8
mul          f16       0.000061 0.5 -> 0.0000305
mul          bf16      2.755e-40 0.5 -> 1.8367e-40
div          f16       1.0 3.0 -> 0.33325
div          bf16      1.0 3.0 -> 0.333984375
div          f16       65504.0 0.5 -> inf
sqrt         f16       2.0 -> 1.4140625
sqrt         bf16      2.0 -> 1.4140625
exp          f16       11.1 -> inf
exp          bf16      89.0 -> inf
exp          f16       -18.0 -> 0.0
sum          f16       [60000 60000 -60000] -> 60000
sum          bf16      [256 1 1 1 1] -> 260
sum          f16       [65504 65504] -> inf
cast:f16     f32       65519.99 -> 65504.0
cast:f16     f32       65520.0 -> inf
cast:f16     f32       2.9802322e-8 -> 0.0
cast:f16     f32       2.9802326e-8 -> 5.9604645e-8
cast:f16     f32       1.00048828125 -> 1.0
cast:f16     f64       1.0004882812500002 -> 1.0009765625
cast:f16     f64       -1.0004882812500002 -> -1.0009765625
cast:f16     f64       1.0014648437499998 -> 1.0009765625
cast:f16     f64       65519.999999999 -> 65504.0
cast:f16     f64       1e300 -> inf
cast:f16     f64       1e-300 -> 0.0
cast:f16     f64       2.9802322387695316e-8 -> 5.9604644775390625e-8
cast:bf16    f32       3.3961775e38 -> inf
cast:bf16    f32       1.00390625 -> 1.0
cast:bf16    f32       1.01171875 -> 1.015625
cast:bf16    f64       1e300 -> inf
cast:bf16    float     nan -> nan
cast:f16     float     nan -> nan
cast:f16     bf16      1e-40 -> 0.0
cast:f16     i32 i64   min -> -inf
cast:f16     i16       max -> 32768.0
cast:f32     f16       6e-8 -> 5.9604645e-8
cast:f32     bf16      1e-40 -> 9.1835e-41
cast:i64     f16       65504.0 -> 65504
cast:i8      f16 bf16  300.0 -> max
cast:u8      f16 bf16  -1.5 -> 0
cast:u8      f16 bf16  255.5 -> max
"""
