"""The vjp rules of linear algebra and of Fourier transforms; `derivatives` says what a rule is given and gives.

    y = L of x = L L^H      s = L^-H Phi(L^H g) L^-1      (s + s^H) / 2

1. Rules are written in ops that have rules, so every order exists.
2. Where an op reads one triangle of a hermitian operand, the cotangent is hermitian: that of x + x^H over 2, as in
   PyTorch.
3. Eigenvectors and singular vectors are known up to their phases, so a loss must not depend on these. Where two
   eigenvalues or singular values are equal, what depends on the vectors one by one has no derivative: inf or NaN.

Sources: Giles, "Collected matrix derivative results for forward and reverse mode AD", 2008. Murray, "Differentiation
of the Cholesky decomposition", 2016. Seeger et al., "Auto-differentiating linear algebra", 2017. Townsend,
"Differentiating the singular value decomposition", 2016. Walter and Lehmann, "Algorithmic differentiation of linear
algebra functions", 2010. Golub and Pereyra, "The differentiation of pseudo-inverses", SIAM J. Numer. Anal. 1973.
Al-Mohy and Higham, "Computing the Frechet derivative of the matrix exponential", SIMAX 2009.
"""
from __future__ import annotations

from collections.abc import Sequence

from codegen.ir.dims import Size, element_count
from codegen.ir.library_calls import Shape, packing
from tracegrad.algebra import (
    Operand,
    broadcast,
    cast,
    choose,
    conj,
    element_type,
    is_complex,
    real,
    reshape,
    swap,
    zero,
)

# ---- matrices -------------------------------------------------------------------------------------------------------


def adjoint(x: Operand) -> Operand:
    """The conjugate transpose."""
    return conj(swap(x))


def product(*factors: Operand) -> Operand:
    """Matrices multiplied, from the left."""
    result = factors[0]
    for factor in factors[1:]:
        result = result.emit("matmul", factor)
    return result


def places(x: Operand, comparison: str) -> Operand:
    """bool[n,n]: where row number and column number of the square matrices x compare so."""
    n = x.shape[-1]
    row, column = (x.iota((n, n), k) for k in (0, 1))
    return row.emit(comparison, column)


def identity(x: Operand) -> Operand:
    """The unit matrix, of the size and the dtype of the square matrices x."""
    return cast(places(x, "eq"), element_type(x))


def diagonal(x: Operand) -> Operand:
    """The diagonals of square matrices, as vectors."""
    return choose(places(x, "eq"), x, zero(x)).emit("sum", axis=(len(x.shape) - 1,), keepdims=False)


def rows(v: Operand) -> Operand:
    """v as matrices of one column: what multiplies the rows of another."""
    return reshape(v, (*v.shape, 1))


def columns(v: Operand) -> Operand:
    """v as matrices of one row: what multiplies the columns of another."""
    return reshape(v, (*v.shape[:-1], 1, v.shape[-1]))


def on_diagonal(v: Operand, like: Operand) -> Operand:
    """Vectors as the diagonals of matrices of the shape of `like`."""
    return columns(v) * identity(like)


def differences(v: Operand) -> Operand:
    """v[j] - v[i] at row i and column j; 1 on the diagonal."""
    away = columns(v) - rows(v)
    return choose(places(away, "eq"), away.constant(1), away)


def over(x: Operand, y: Operand) -> Operand:
    """x / y; 0 / 0 is 0: no cotangent has no part along vectors that are not known one by one.

    Where y is not 0 it is linear in x, also at 0, where forward modes differentiate it.
    """
    nothing = x.emit("eq", zero(x)).emit("and", y.emit("eq", zero(y)))
    return choose(nothing, zero(x), x / choose(nothing, y.constant(1), y))


def unpacked(y: Operand, shapes: Sequence[Shape]) -> list[Operand]:
    """The parts of a packed result; the batch stays in front."""
    found, start, batch = [], 0, y.shape[:-1]
    for shape in shapes:
        stop: Size = start + element_count(shape)
        part = y.emit("slice", start=(0,) * len(batch) + (start,), stop=(*batch, stop), step=(1,) * len(y.shape))
        found.append(reshape(part, (*batch, *shape)))
        start = stop                            # type: ignore[assignment]
    return found


# ---- equations ------------------------------------------------------------------------------------------------------


def cholesky_rule(g: Operand, y: Operand, x: Operand) -> Operand:
    """Murray 2016, equation 9: Phi keeps the lower triangle and halves the diagonal."""
    inner = product(adjoint(y), g)
    half = choose(places(g, "gt"), inner, choose(places(g, "eq"), inner / 2, zero(g)))
    left = y.emit("triangular_solve", half, lower=True, adjoint=True, unit=False)
    s = adjoint(y.emit("triangular_solve", adjoint(left), lower=True, adjoint=True, unit=False))
    return (s + adjoint(s)) / 2


def solve_left_rule(g: Operand, y: Operand, a: Operand, b: Operand) -> Operand:
    return -product(solve_right_rule(g, y, a, b), adjoint(y))


def solve_right_rule(g: Operand, y: Operand, a: Operand, b: Operand) -> Operand:
    return adjoint(a).emit("solve", g)


def triangular_left_rule(g: Operand, y: Operand, a: Operand, b: Operand, *, lower: bool, adjoint: bool,
                         unit: bool) -> Operand:
    solved = triangular_right_rule(g, y, a, b, lower=lower, adjoint=adjoint, unit=unit)
    outer = -(product(y, conj(swap(solved))) if adjoint else product(solved, conj(swap(y))))
    return choose(places(a, ("gt" if unit else "ge") if lower else ("lt" if unit else "le")), outer, zero(g))


def triangular_right_rule(g: Operand, y: Operand, a: Operand, b: Operand, *, lower: bool, adjoint: bool,
                          unit: bool) -> Operand:
    return a.emit("triangular_solve", g, lower=lower, adjoint=not adjoint, unit=unit)


def inverse_adjoint(x: Operand, scale: Operand) -> Operand:
    """x^-H, each matrix times an element of `scale`."""
    spread = broadcast(reshape(scale, (*scale.shape, 1, 1)) * identity(x), x.shape)
    return adjoint(x).emit("solve", spread)


def det_rule(g: Operand, y: Operand, x: Operand) -> Operand:
    return inverse_adjoint(x, g * conj(y))


def slogdet_rule(g: Operand, y: Operand, x: Operand) -> Operand:
    """d log|det| is the real part of tr(x^-1 dx), and the sign turns by its imaginary part."""
    (g_sign, g_size), (sign, _) = unpacked(g, ((), ())), unpacked(y, ((), ()))
    if not is_complex(x):
        return inverse_adjoint(x, g_size)
    turn = (g_sign * conj(sign)).emit("imag")
    return inverse_adjoint(x, real(g_size).emit("complex", turn))


def pinv_rule(g: Operand, y: Operand, x: Operand, rtol: Operand) -> Operand:
    """Golub and Pereyra 1973, theorem 4.3, transposed; where the rank does not change."""
    h = adjoint(g)
    k = product(h, y)
    w = product(k, adjoint(y))
    return adjoint(-product(y, k)) + w - product(x, y, w) + product(adjoint(y), y, h - product(k, x))


def expm_rule(g: Operand, y: Operand, x: Operand) -> Operand:
    """exp of [[x^H, g], [0, x^H]] has the derivative of exp at x^H in direction g in its upper right corner."""
    *batch, n, _ = x.shape
    none = (0,) * len(batch)

    def placed(part: Operand, row: int, column: int) -> Operand:
        low, high = (row * n, column * n), (n - row * n, n - column * n)
        return part.emit("pad", low=(*none, *low), high=(*none, *high), interior=(*none, 0, 0))

    block = adjoint(x)
    whole = placed(block, 0, 0) + placed(block, 1, 1) + placed(g, 0, 1)
    return whole.emit("expm").emit("slice", start=(*none, 0, n), stop=(*batch, n, 2 * n), step=(1,) * len(x.shape))


# ---- factorizations -------------------------------------------------------------------------------------------------


def qr_rule(g: Operand, y: Operand, x: Operand, *, complete: bool) -> Operand:
    """Walter and Lehmann 2010; of a wide x = [u | v] = q [r | s] as of u = q r, since v = q s."""
    m, n = x.shape[-2:]
    if complete and m > n:
        raise NotImplementedError(f"qr: mode 'complete' of {m} rows and {n} columns has no derivative: "
                                  "the last columns of q can be any")
    shapes = packing("qr", x.shape, complete=complete)
    (gq, gr), (q, r) = unpacked(g, shapes), unpacked(y, shapes)
    if m >= n:
        return tall_qr_rule(gq, gr, q, r)
    none, batch = (0,) * (len(x.shape) - 2), x.shape[:-2]

    def cut(part: Operand, start: Size, stop: Size) -> Operand:
        return part.emit("slice", start=(*none, 0, start), stop=(*batch, m, stop), step=(1,) * len(x.shape))

    right = product(q, cut(gr, m, n))
    left = tall_qr_rule(gq + product(q, cut(r, m, n), adjoint(cut(gr, m, n))), cut(gr, 0, m), q, cut(r, 0, m))
    still = (0,) * len(x.shape)
    return (left.emit("pad", low=still, high=(*none, 0, n - m), interior=still)
            + right.emit("pad", low=(*none, 0, m), high=still, interior=still))


def tall_qr_rule(gq: Operand, gr: Operand, q: Operand, r: Operand) -> Operand:
    inner = product(r, adjoint(gr)) - product(adjoint(gq), q)
    below = choose(places(inner, "gt"), inner, zero(inner))
    middle = cast(real(diagonal(inner)), element_type(inner))
    whole = gq + product(q, below + adjoint(below) + on_diagonal(middle, inner))
    return adjoint(r.emit("triangular_solve", adjoint(whole), lower=False, adjoint=False, unit=False))


def eigh_rule(g: Operand, y: Operand, x: Operand) -> Operand:
    """Giles 2008, section 3.1: what changes the eigenvectors is skew."""
    (gw, gv), (w, v) = (unpacked(z, packing("eigh", x.shape)) for z in (g, y))
    inner = product(adjoint(v), gv)
    turn = over((inner - adjoint(inner)) / 2, differences(cast(real(w), element_type(x))))
    off = choose(places(turn, "eq"), zero(g), turn)
    return product(v, off + on_diagonal(cast(real(gw), element_type(x)), turn), adjoint(v))


def eigvalsh_rule(g: Operand, y: Operand, x: Operand) -> Operand:
    _, v = unpacked(x.emit("eigh"), packing("eigh", x.shape))
    return product(v * columns(cast(g, element_type(x))), adjoint(v))


def eig_rule(g: Operand, y: Operand, x: Operand) -> Operand:
    """Of eigenvectors of length 1, whose cotangents are projected on what keeps the length."""
    (gw, gv), (w, v) = (unpacked(z, packing("eig", x.shape)) for z in (g, y))
    inner = product(adjoint(v), gv)
    along = cast(real(diagonal(inner)), element_type(g))
    turn = over(inner - product(adjoint(v), v * columns(along)), conj(differences(w)))
    off = choose(places(turn, "eq"), zero(g), turn)
    return beside_vectors(off + on_diagonal(gw, turn), v, x)


def eigvals_rule(g: Operand, y: Operand, x: Operand) -> Operand:
    _, v = unpacked(x.emit("eig"), packing("eig", x.shape))
    return beside_vectors(on_diagonal(g, v), v, x)


def beside_vectors(inside: Operand, v: Operand, x: Operand) -> Operand:
    """v^-H inside v^H; of a real matrix, its real part."""
    whole = adjoint(v).emit("solve", product(inside, adjoint(v)))
    return whole if is_complex(x) else real(whole)


def svdvals_rule(g: Operand, y: Operand, x: Operand) -> Operand:
    u, _, vh = unpacked(x.emit("svd", full=False), packing("svd", x.shape, full=False))
    return product(u * columns(cast(g, element_type(x))), vh)


def svd_rule(g: Operand, y: Operand, x: Operand, *, full: bool) -> Operand:
    """Townsend 2016, with the phases of complex vectors; columns of full bases beyond the rank's bound are any."""
    m, n = x.shape[-2:]
    k = min(m, n)
    dtype, none, batch = element_type(x), (0,) * (len(x.shape) - 2), x.shape[:-2]
    shapes = packing("svd", x.shape, full=full)

    def reduced(packed: Operand) -> list[Operand]:
        u, s, vh = unpacked(packed, shapes)
        step = (1,) * len(x.shape)
        return [u.emit("slice", start=(*none, 0, 0), stop=(*batch, m, k), step=step), cast(real(s), dtype),
                vh.emit("slice", start=(*none, 0, 0), stop=(*batch, k, n), step=step)]

    (gu, gs, gvh), (u, s, vh) = reduced(g), reduced(y)
    v, gv = adjoint(vh), adjoint(gvh)
    gaps = differences(s * s)
    left, right = product(adjoint(u), gu), product(adjoint(v), gv)
    left, right = left - adjoint(left), right - adjoint(right)
    turn = over(left, gaps) * columns(s) + over(right, gaps) * rows(s)
    inside = choose(places(turn, "eq"), zero(g), turn) + on_diagonal(gs, turn)
    if is_complex(x):
        inside = inside + on_diagonal(over(diagonal(left), s * 2), turn)
    result = product(u, inside, vh)
    if m > k:
        scaled = over(gu, broadcast(columns(s), gu.shape))
        result = result + product(scaled - product(u, adjoint(u), scaled), vh)
    if n > k:
        scaled = over(gv, broadcast(columns(s), gv.shape))
        result = result + product(u, adjoint(scaled - product(v, vh, scaled)))
    return result


# ---- Fourier transforms ---------------------------------------------------------------------------------------------


def ends(x: Operand, axis: int, size: int, at_ends: float, between: float) -> Operand:
    """Half a spectrum of `size` numbers, what is its own mirror times one number, what stands for two times another."""
    place = x.iota(tuple(n if k == axis else 1 for k, n in enumerate(x.shape)), axis)
    alone = place.emit("eq", place.constant(0))
    if size % 2 == 0:
        alone = alone.emit("or", place.emit("eq", place.constant(size // 2)))
    return x * choose(alone, x.constant(at_ends), x.constant(between))


def fft_rule(g: Operand, y: Operand, x: Operand, *, axes: tuple[int, ...], inverse: bool) -> Operand:
    return g.emit("fft", axes=axes, inverse=not inverse)


def rfft_rule(g: Operand, y: Operand, x: Operand, *, axis: int) -> Operand:
    size = x.shape[axis]
    return ends(g, axis, size, 1, 0.5).emit("irfft", axis=axis, size=size)


def irfft_rule(g: Operand, y: Operand, x: Operand, *, axis: int, size: int) -> Operand:
    return ends(g.emit("rfft", axis=axis), axis, size, 1, 2)
