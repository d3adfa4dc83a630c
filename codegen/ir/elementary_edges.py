"""Edge semantics of the elementary functions, rounding and division: rows of the table in `edges`, which says how to
read them.

Of floats they are C's (C17, annex F), so NumPy's; the quotients and remainders of integers by 0 are 0.
"""
from __future__ import annotations

TEXT = """
# trigonometry
sin          f32 f64   -0.0 -> -0.0
sin          f32 f64   inf -> nan
sin          f32 f64   nan -> nan
sin          f32 f64   1e-40 -> 1e-40
cos          f32 f64   -0.0 -> 1.0
cos          f32 f64   -inf -> nan
cos          f32 f64   nan -> nan
tan          f32 f64   -0.0 -> -0.0
tan          f32 f64   inf -> nan
tan          f32 f64   nan -> nan
tan          f32 f64   1e-40 -> 1e-40
asin         f32 f64   -0.0 -> -0.0
asin         f32 f64   1.5 -> nan
asin         f32 f64   nan -> nan
acos         f32 f64   1.0 -> 0.0
acos         f32 f64   -1.5 -> nan
acos         f32 f64   nan -> nan
atan         f32 f64   -0.0 -> -0.0
atan         f32 f64   nan -> nan
atan         f64       inf -> 1.5707963267948966
atan         f32       -inf -> -1.5707964
atan2        f32 f64   0.0 1.0 -> 0.0
atan2        f32 f64   -0.0 0.0 -> -0.0
atan2        f32 f64   1.0 inf -> 0.0
atan2        f32 f64   nan 1.0 -> nan
atan2        f32 f64   1.0 nan -> nan
atan2        f64       0.0 -0.0 -> 3.141592653589793
atan2        f64       -1.0 -inf -> -3.141592653589793
atan2        f64       1.0 0.0 -> 1.5707963267948966
atan2        f64       -inf 1.0 -> -1.5707963267948966
atan2        f64       inf inf -> 0.7853981633974483
atan2        f64       inf -inf -> 2.356194490192345

# hyperbolic functions
sinh         f32 f64   -0.0 -> -0.0
sinh         f32 f64   -inf -> -inf
sinh         f32 f64   nan -> nan
sinh         f32 f64   1e-40 -> 1e-40
sinh         f32       90.0 -> inf
cosh         f32 f64   0.0 -> 1.0
cosh         f32 f64   -inf -> inf
cosh         f32 f64   nan -> nan
cosh         f32       90.0 -> inf
asinh        f32 f64   -0.0 -> -0.0
asinh        f32 f64   -inf -> -inf
asinh        f32 f64   nan -> nan
acosh        f32 f64   1.0 -> 0.0
acosh        f32 f64   0.5 -> nan
acosh        f32 f64   inf -> inf
acosh        f32 f64   nan -> nan
atanh        f32 f64   -0.0 -> -0.0
atanh        f32 f64   1.0 -> inf
atanh        f32 f64   -1.0 -> -inf
atanh        f32 f64   1.5 -> nan
atanh        f32 f64   nan -> nan

# exponentials, logarithms, powers
expm1        f32 f64   -0.0 -> -0.0
expm1        f32 f64   -inf -> -1.0
expm1        f32 f64   inf -> inf
expm1        f32 f64   nan -> nan
expm1        f32 f64   1e-40 -> 1e-40
expm1        f32       89.0 -> inf
exp2         f32 f64   -0.0 -> 1.0
exp2         f32 f64   3.0 -> 8.0
exp2         f32 f64   inf -> inf
exp2         f32 f64   -inf -> 0.0
exp2         f32 f64   nan -> nan
exp2         f32       -149.0 -> 1e-45
exp2         f32       128.0 -> inf
exp2         f64       -1074.0 -> 5e-324
log1p        f32 f64   -0.0 -> -0.0
log1p        f32 f64   -1.0 -> -inf
log1p        f32 f64   -1.5 -> nan
log1p        f32 f64   inf -> inf
log1p        f32 f64   nan -> nan
log1p        f32 f64   1e-40 -> 1e-40
log2         f32 f64   8.0 -> 3.0
log2         f32 f64   1.0 -> 0.0
log2         f32 f64   -0.0 -> -inf
log2         f32 f64   -1.0 -> nan
log2         f32 f64   inf -> inf
log2         f32 f64   nan -> nan
log2         f32       1e-45 -> -149.0
log10        f32 f64   1.0 -> 0.0
log10        f32 f64   0.0 -> -inf
log10        f32 f64   -1.0 -> nan
log10        f32 f64   inf -> inf
log10        f32 f64   nan -> nan
cbrt         f32 f64   -0.0 -> -0.0
cbrt         f32 f64   -inf -> -inf
cbrt         f32 f64   nan -> nan
pow          f32 f64   nan 0.0 -> 1.0
pow          f32 f64   1.0 nan -> 1.0
pow          f32 f64   nan 1.0 -> nan
pow          f32 f64   2.0 nan -> nan
pow          f32 f64   -2.0 3.0 -> -8.0
pow          f32 f64   -2.0 -2.0 -> 0.25
pow          f32 f64   -2.0 0.5 -> nan
pow          f32 f64   -inf 0.5 -> inf
pow          f32 f64   0.0 0.0 -> 1.0
pow          f32 f64   0.0 -1.0 -> inf
pow          f32 f64   -0.0 -1.0 -> -inf
pow          f32 f64   -0.0 -2.0 -> inf
pow          f32 f64   -0.0 3.0 -> -0.0
pow          f32 f64   -0.0 0.5 -> 0.0
pow          f32 f64   -1.0 inf -> 1.0
pow          f32 f64   0.5 inf -> 0.0
pow          f32 f64   0.5 -inf -> inf
pow          f32 f64   2.0 -inf -> 0.0
pow          f32 f64   -2.0 inf -> inf
pow          f32 f64   inf -1.0 -> 0.0
pow          f32 f64   -inf 3.0 -> -inf
pow          f32 f64   -inf -3.0 -> -0.0
pow          f32       2.0 128.0 -> inf
pow          f32       -2.0 129.0 -> -inf
pow          f32       2.0 -149.0 -> 1e-45
pow          i32 i64   3 4 -> 81
pow          i32 i64   -3 3 -> -27
pow          i32 i64   0 0 -> 1
pow          i32 i64   min 2 -> 0
pow          i32       3 40 -> 689956897
pow          u32 u64   2 64 -> 0
pow          i32 i64   2 -1 -> 0
pow          i32 i64   1 min -> 1
pow          i32 i64   -1 -3 -> -1
pow          i32 i64   -1 -2 -> 1
pow          i32 i64   0 -1 -> 0
hypot        f32 f64   inf nan -> inf
hypot        f32 f64   nan -inf -> inf
hypot        f32 f64   nan 1.0 -> nan
hypot        f32 f64   -0.0 0.0 -> 0.0
hypot        f32 f64   3.0 -4.0 -> 5.0
hypot        f32       3e38 1.0 -> 3e38
logaddexp    f32 f64   -inf -inf -> -inf
logaddexp    f32 f64   inf -inf -> inf
logaddexp    f32 f64   inf inf -> inf
logaddexp    f32 f64   -inf 1.0 -> 1.0
logaddexp    f32 f64   nan 1.0 -> nan
logaddexp    f32 f64   1.0 nan -> nan

# special functions
erf          f32 f64   -0.0 -> -0.0
erf          f32 f64   inf -> 1.0
erf          f32 f64   -inf -> -1.0
erf          f32 f64   nan -> nan
erfc         f32 f64   0.0 -> 1.0
erfc         f32 f64   inf -> 0.0
erfc         f32 f64   -inf -> 2.0
erfc         f32 f64   nan -> nan
erfinv       f32 f64   0.0 -> 0.0
erfinv       f32 f64   1.0 -> inf
erfinv       f32 f64   -1.0 -> -inf
erfinv       f32 f64   2.0 -> nan
erfinv       f32 f64   nan -> nan
lgamma       f32 f64   1.0 -> 0.0
lgamma       f32 f64   2.0 -> 0.0
lgamma       f32 f64   0.0 -> inf
lgamma       f32 f64   -1.0 -> inf
lgamma       f32 f64   inf -> inf
lgamma       f32 f64   -inf -> inf
lgamma       f32 f64   nan -> nan
polygamma    f32 f64   0.0 -> -inf
polygamma    f32 f64   -1.0 -> nan
polygamma    f32 f64   inf -> inf
polygamma    f32 f64   nan -> nan

# rounding: halves to the even neighbor, the sign of a zero kept
floor        f32 f64   -0.5 -> -1.0
floor        f32 f64   -0.0 -> -0.0
floor        f32 f64   inf -> inf
floor        f32 f64   nan -> nan
ceil         f32 f64   -0.5 -> -0.0
ceil         f32 f64   1e-40 -> 1.0
ceil         f32 f64   -inf -> -inf
ceil         f32 f64   nan -> nan
trunc        f32 f64   -1.5 -> -1.0
trunc        f32 f64   -0.5 -> -0.0
trunc        f32 f64   nan -> nan
round        f32 f64   0.5 -> 0.0
round        f32 f64   -0.5 -> -0.0
round        f32 f64   1.5 -> 2.0
round        f32 f64   2.5 -> 2.0
round        f32 f64   -inf -> -inf
round        f32 f64   nan -> nan
round        f64       0.49999999999999994 -> 0.0

# quotients round down, so a remainder has the sign of the divisor; fmod's has that of the dividend
floor_div    f32 f64   -7.0 2.0 -> -4.0
floor_div    f32 f64   7.0 -2.0 -> -4.0
floor_div    f32 f64   1.0 0.0 -> inf
floor_div    f32 f64   -1.0 0.0 -> -inf
floor_div    f32 f64   0.0 0.0 -> nan
floor_div    f32 f64   inf 2.0 -> nan
floor_div    f32 f64   1.0 inf -> 0.0
floor_div    f32 f64   -1.0 inf -> -1.0
floor_div    f32 f64   nan 1.0 -> nan
floor_div    f32 f64   -0.0 2.0 -> -0.0
floor_div    i32 i64   -7 2 -> -4
floor_div    i32 i64   7 -2 -> -4
floor_div    i32 i64   7 0 -> 0
floor_div    i32 i64   -7 0 -> 0
floor_div    i32 i64   min -1 -> min
floor_div    u32       max 2 -> 2147483647
floor_div    u32 u64   7 0 -> 0
rem          f32 f64   -7.0 2.0 -> 1.0
rem          f32 f64   7.0 -2.0 -> -1.0
rem          f32 f64   -0.0 2.0 -> 0.0
rem          f32 f64   6.0 -2.0 -> -0.0
rem          f32 f64   1.0 0.0 -> nan
rem          f32 f64   inf 2.0 -> nan
rem          f32 f64   1.0 inf -> 1.0
rem          f32 f64   -1.0 inf -> inf
rem          f32 f64   nan 1.0 -> nan
rem          i32 i64   -7 2 -> 1
rem          i32 i64   7 -2 -> -1
rem          i32 i64   7 0 -> 0
rem          i32 i64   min -1 -> 0
rem          u32 u64   max 2 -> 1
rem          u32 u64   7 0 -> 0
fmod         f32 f64   -7.0 2.0 -> -1.0
fmod         f32 f64   7.0 -2.0 -> 1.0
fmod         f32 f64   -6.0 2.0 -> -0.0
fmod         f32 f64   1.0 0.0 -> nan
fmod         f32 f64   inf 2.0 -> nan
fmod         f32 f64   -1.0 inf -> -1.0
fmod         f32 f64   nan 1.0 -> nan
fmod         i32 i64   -7 2 -> -1
fmod         i32 i64   7 0 -> 0
fmod         i32 i64   min -1 -> 0
fmod         u32 u64   7 0 -> 0

# bits
copysign     f32 f64   1.0 -0.0 -> -1.0
copysign     f32 f64   -inf 1.0 -> inf
copysign     f32 f64   nan -1.0 -> nan
after        f32 f64   nan 1.0 -> nan
after        f32 f64   -0.0 nan -> -0.0
nextafter    f32 f64   1.0 1.0 -> 1.0
nextafter    f32 f64   0.0 -0.0 -> -0.0
nextafter    f32 f64   nan 1.0 -> nan
nextafter    f32 f64   1.0 nan -> nan
nextafter    f32       0.0 1.0 -> 1e-45
nextafter    f32       1.0 2.0 -> 1.0000001
nextafter    f32       3.4028235e38 inf -> inf
nextafter    f64       0.0 -1.0 -> -5e-324
nextafter    f64       1.0 0.0 -> 0.9999999999999999
shift_left   i32 i64   -3 2 -> -12
shift_left   i32       1 31 -> min
shift_left   i32       1 32 -> 0
shift_left   i32 i64   1 -1 -> 0
shift_left   i32 i64   max 1 -> -2
shift_left   u64       1 63 -> 9223372036854775808
shift_left   u32 u64   max max -> 0
"""
