"""Calls whose value is NumPy's too, a line each, as `call_cases` reads it; NumPy's call where it differs."""
from __future__ import annotations

from call_cases import parse

NUMPY_CASES = parse("""
# creation
arange(5)                               |               |                   | value
arange(1, 2, 0.25)                      |               |                   | value
linspace(0, 1, 5)                       |               |                   | value
linspace(0, 1, 5, endpoint=False)       |               |                   | value
logspace(0, 2, 5)                       |               |                   | value
geomspace(1, 8, 4)                      |               |                   | value
eye(3, 4, k=1)                          |               |                   | value
full((2, 3), 0.5)                       |               |                   | value
zeros((2, 3))                           |               |                   | value
ones((2, 3))                            |               |                   | value
zeros_like(x)                           | x=f(3,4)      |                   | value
ones_like(x)                            | x=f(3,4)      |                   | value
full_like(x, 2.0)                       | x=f(3,4)      |                   | value
tri(3, 4)                               |               |                   | value
tril_indices(4)[0]                      |               |                   | value
triu_indices(3, 1)[1]                   |               |                   | value
meshgrid(x, y)[1]                       | x=f(3) y=f(4)
vander(x, 3)                            | x=f(4)
diag(x, 1)                              | x=f(4,4)
diagflat(x)                             | x=f(3)

# elementwise
cbrt(x)                                 | x=p(3,4)
degrees(x)                              | x=f(3,4)
radians(x)                              | x=f(3,4)
rint(x)                                 | x=f(3,4)
fabs(x)                                 | x=f(3,4)
divmod(x, y)[1]                         | x=f(3,4) y=p(3,4)
modf(x)[0]                              | x=f(3,4)
power(x, y)                             | x=p(3,4) y=f(3,4)
true_divide(x, y)                       | x=f(3,4) y=p(3,4)
invert(x)                               | x=i(9,3,4)    |                   | value
left_shift(x, y)                        | x=i(9,3,4) y=i(5,4)   |           | value
right_shift(x, y)                       | x=i(9,3,4) y=i(3,4)   |           | value
mod(x, y)                               | x=f(3,4) y=p(3,4)
x // y                                  | x=i(9,3,4) y=i(4,4)   |           | value
x % y                                   | x=i(9,3,4) y=i(4,4)   |           | value
isclose(x, y)                           | x=f(3,4) y=f(3,4)     |           | value
isreal(x)                               | x=c(3,4)      |                   | value
iscomplex(x)                            | x=c(3,4)      |                   | value
heaviside(x, 0.5)                       | x=f(3,4)      |                   | value
nan_to_num(x)                           | x=f(3,4)
where(x > 0, x, 0.0)                    | x=f(3,4)
clip(x, -0.5, 0.5)                      | x=f(3,4)
round(x, 1)                             | x=f(3,4)

# reductions and statistics
sum(x, axis=(0, 2))                     | x=f(2,3,4)
prod(x, axis=(0, 1))                    | x=f(2,3,4)
mean(x, axis=0, keepdims=True)          | x=f(3,4)
var(x, axis=1)                          | x=f(3,4)
std(x)                                  | x=f(3,4)
max(x, axis=(0, 1))                     | x=d(2,3,4)
min(x, axis=1)                          | x=d(3,4)
ptp(x, axis=1)                          | x=d(3,4)
average(x, axis=1, weights=w)           | x=f(3,4) w=p(4)
median(x, axis=1)                       | x=d(3,5)
median(x)                               | x=d(3,4)
quantile(x, 0.25, axis=0)               | x=d(5,3)
percentile(x, 30)                       | x=d(12)
nanmax(x, axis=1)                       | x=d(3,4)
nanmin(x)                               | x=d(3,4)
nanstd(x, axis=1)                       | x=f(3,4)
nanvar(x)                               | x=f(3,4)
nanprod(x, axis=1)                      | x=f(3,4)
nanmedian(x)                            | x=d(15)
nancumprod(x, axis=1)                   | x=f(3,4)
nanquantile(x, 0.3, axis=1)             | x=d(3,5)
nanpercentile(x, 30)                    | x=d(12)
nancumsum(x, axis=1)                    | x=f(3,4)
cov(x)                                  | x=f(3,8)
corrcoef(x)                             | x=f(3,8)
histogram(x, bins=4)[0]                 | x=f(20)       |                   | value
histogram_bin_edges(x, bins=4)          | x=f(20)
bincount(x, minlength=6)                | x=i(5,20)     |                   | value
digitize(x, y)                          | x=f(6) y=arange(5)    |           | value
argmax(x)                               | x=d(3,4)      |                   | value
argmin(x, axis=0)                       | x=d(3,4)      |                   | value
count_nonzero(x)                        | x=i(2,3,4)    |                   | value
trapezoid(y, x)                         | y=f(6) x=arange(6)    | trapezoid(y, x)
gradient(x)                             | x=f(6)
interp(x, y, z)                         | x=u(5) y=arange(6) z=f(6)
cross(x, y)                             | x=f(4,3) y=f(4,3)
convolve(x, y)                          | x=f(6) y=f(3)
correlate(x, y)                         | x=f(6) y=f(3)

# order
sort(x, axis=0)                         | x=d(4,3)
argsort(x, axis=-1)                     | x=d(3,4)      |                   | value
searchsorted(x, y, side='right')        | x=arange(6) y=f(4)    |           | value
unique(x)                               | x=i(5,20)     |                   | value
unique_values(x)                        | x=i(5,20)     | unique(x)         | value
unique_counts(x)[1]                     | x=i(5,20)     |                   | value
unique_inverse(x)[1]                    | x=i(5,20)     |                   | value
unique_all(x)[1]                        | x=i(5,20)     |                   | value
nonzero(x)[1]                           | x=i(2,3,4)    |                   | value
flatnonzero(x)                          | x=i(2,3,4)    |                   | value
argwhere(x)                             | x=i(2,3,4)    |                   | value
isin(x, y)                              | x=i(9,3,4) y=i(9,3)   |           | value
union1d(x, y)                           | x=i(9,5) y=i(9,4)     |           | value
intersect1d(x, y)                       | x=i(9,5) y=i(9,4)     |           | value
setdiff1d(x, y)                         | x=i(9,5) y=i(9,4)     |           | value
setxor1d(x, y)                          | x=i(9,5) y=i(9,4)     |           | value
compress(c, x, axis=1)                  | c=b(4) x=f(3,4)       |           | value
extract(c, x)                           | c=b(3,4) x=f(3,4)     |           | value
cumsum(x, axis=1)                       | x=f(3,4)
cumprod(x, axis=0)                      | x=f(3,4)
cumulative_sum(x, axis=1, include_initial=True)     | x=f(3,4)
cumulative_prod(x, axis=1)              | x=f(3,4)
diff(x, n=2)                            | x=f(3,5)
ediff1d(x)                              | x=f(5)

# shapes
concat((x, y))                          | x=f(3,4) y=f(2,4)
stack((x, y), axis=-1)                  | x=f(3,4) y=f(3,4)
row_stack((x, y))                       | x=f(3,4) y=f(2,4)     | vstack((x, y))
unstack(x, axis=1)[1]                   | x=f(3,4)
array_split(x, 3)[0]                    | x=f(7,2)
hsplit(x, 2)[1]                         | x=f(3,4)
vsplit(x, 2)[0]                         | x=f(4,3)
dsplit(x, 2)[0]                         | x=f(2,3,4)
repeat(x, 2, axis=1)                    | x=f(3,4)
tile(x, (2, 1, 2))                      | x=f(3,4)
roll(x, (1, 2), axis=(0, 1))            | x=f(3,4)
rot90(x, 3)                             | x=f(3,4)
rollaxis(x, 2)                          | x=f(2,3,4)
moveaxis(x, (0, 1), (1, 2))             | x=f(2,3,4)
permute_dims(x, (1, 0))                 | x=f(3,4)
squeeze(x)                              | x=f(3,1,4)
expand_dims(x, axis=(0, 2))             | x=f(3,4)
broadcast_to(x, (2, 3, 4))              | x=f(4)
pad(x, 1)                               | x=f(3,4)
pad(x, ((1, 2), (0, 1)), mode='edge')   | x=f(3,4)
pad(x, 2, mode='reflect')               | x=f(3,4)
pad(x, 2, mode='symmetric')             | x=f(3,4)
pad(x, 2, mode='wrap')                  | x=f(3,4)
pad(x, 1, constant_values=0.5)          | x=f(3,4)
sliding_window_view(x, 3, axis=1)       | x=f(3,6)      | lib.stride_tricks.sliding_window_view(x, 3, axis=1)
take(x, k, axis=1)                      | x=f(3,5) k=i(5,2,3)
take_along_axis(x, k, axis=1)           | x=f(3,5) k=i(5,3,2)
x[::-1, ::-2]                           | x=f(3,4)
x[[0, 2], [1, 3]]                       | x=f(3,4)
x[:, [True, False, True, False]]        | x=f(3,4)
x[k, 1:]                                | x=f(3,5) k=i(3,4)

# products
einsum('ij,kj->ik', x, y)               | x=f(3,4) y=f(2,4)
einsum('ij,ij', x, y)                   | x=f(3,4) y=f(3,4)
einsum('...ij->...ji', x)               | x=f(2,3,4)
tensordot(x, y, axes=([1], [0]))        | x=f(3,4) y=f(4,2)
tensordot(x, y, 2)                      | x=f(2,3,4) y=f(3,4,2)
inner(x, y)                             | x=f(3,4) y=f(4)
dot(x, y)                               | x=f(3,4) y=f(4,2)     | matmul(x, y)
vecdot(x, y)                            | x=c(3,4) y=c(3,4)
matmul(x, y)                            | x=i(5,3,4) y=i(5,4,2) |           | value

# linear algebra
linalg.norm(x)                          | x=f(3,4)
linalg.norm(x, 'nuc')                   | x=f(3,4)
linalg.norm(x, 2)                       | x=f(3,4)
linalg.cond(x)                          | x=m(3)
linalg.matrix_rank(x)                   | x=f(3,4)      |                   | value
linalg.matrix_transpose(x)              | x=f(2,3,4)
linalg.eigvals(diag(x))                 | x=d(3)        | linalg.eigvals(diag(x)) + 0j  | value
linalg.outer(x, y)                      | x=f(3) y=f(4)
linalg.svd(x)[1]                        | x=f(3,4)
linalg.slogdet(x)[0]                    | x=m(3)        |                   | value
linalg.tensordot(x, y)                  | x=f(2,3,4) y=f(3,4)
linalg.vecdot(x, y)                     | x=f(3,4) y=f(3,4)
linalg.matmul(x, y)                     | x=f(3,4) y=f(4,2)

# Fourier transforms
fft.ifftn(x)                            | x=c(3,4)
fft.rfftn(x)                            | x=f(3,4)
fft.irfftn(x)                           | x=c(3,4)
fft.ifft2(x)                            | x=c(3,4)
fft.rfft2(x)                            | x=f(3,4)
fft.irfft2(x)                           | x=c(3,4)
fft.ihfft(x)                            | x=f(6)
fft.fftfreq(5)                          |               |                   | value
fft.rfftfreq(5)                         |               |                   | value
fft.ifftshift(x)                        | x=f(3,4)
""")
