"""Generated from the op table: references agree with type rules, traits are true, and the table is total."""
from __future__ import annotations

import numpy as np
import pytest
from op_cases import LIBRARY_OPS, SHAPES, attrs, cases, complex_cases, drawn, eps_of, strided, wide

from codegen.ir import ops
from codegen.ir.builder import Builder
from codegen.ir.edges import same_bits
from codegen.ir.interpret import interpret
from codegen.ir.ops import ATTR_KINDS, OPS, TRAITS, Op
from codegen.ir.type_rules import TypeRuleError
from codegen.ir.types import DTYPES, TensorType, type_of
from codegen.ir.verify import verify

ROWS = pytest.mark.parametrize("op", OPS.values(), ids=lambda op: op.name)


def run(op: Op, operands: list[np.ndarray], chosen: dict[str, object]) -> np.ndarray:
    """The reference's result, through a verified graph of one node, whose interpreter checks the type."""
    b = Builder("one")
    graph = b.graph([b.emit(op.name, *[b.input(type_of(x)) for x in operands], **chosen)])
    verify(graph)
    result, = interpret(graph, operands)
    return result


@ROWS
def test_references_give_what_type_rules_say(op: Op) -> None:
    count = 0
    for operands, chosen in (*cases(op), *complex_cases(op)):
        run(op, operands, chosen)
        count += 1
    assert count >= 2


def on_host(op: Op) -> bool:
    """Is the op a routine of NumPy or SciPy on whole matrices or lines?"""
    return op.name in LIBRARY_OPS


@ROWS
def test_layout_of_operands_changes_nothing(op: Op) -> None:
    for operands, chosen in cases(op):
        results = [np.asarray(op.reference(*xs, **chosen)) for xs in (operands, [strided(x) for x in operands])]
        if op.name in ("matmul", "sum", "prod") or op.name in ROUNDED or on_host(op):
            np.testing.assert_allclose(*results, rtol=1e-5, atol=1e-5)
        else:
            assert same_bits(*results)


ROUNDED = {"exp", "log", "tanh", "sin", "cos", "tan", "pow"}
"""NumPy rounds these differently in its loops for contiguous and for strided arrays."""


@ROWS
def test_references_leave_operands_alone(op: Op) -> None:
    for operands, chosen in cases(op):
        before = [x.copy() for x in operands]
        for x in operands:
            x.flags.writeable = False
        op.reference(*operands, **chosen)
        assert all(same_bits(x, y) for x, y in zip(operands, before))


# ---- traits ---------------------------------------------------------------------------------------------------------


def having(trait: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("op", [op for op in OPS.values() if trait in op.traits], ids=lambda op: op.name)


@having(ops.ELEMENTWISE)
def test_elementwise(op: Op) -> None:
    """Each element of the result is the op of the elements it stands over."""
    for operands, chosen in cases(op):
        result = run(op, operands, chosen)
        spread = np.broadcast_arrays(*operands)
        assert result.shape == spread[0].shape
        for k in np.ndindex(result.shape):
            one = np.asarray(op.reference(*[np.asarray(x[k]) for x in spread], **chosen))
            if op.name in ROUNDED:
                np.testing.assert_allclose(one, result[k], rtol=1e-6)
            else:
                assert same_bits(one, np.asarray(result[k]))


@having(ops.COMMUTATIVE)
def test_commutative(op: Op) -> None:
    for (x, y), chosen in cases(op):
        assert same_bits(run(op, [x, y], chosen), run(op, [y, x], chosen))
    for dtype in set(op.dtypes) & {"f32", "f64"}:
        x, y = map(np.ravel, np.meshgrid(*[np.array([0.0, -0.0, 1.5, np.inf, -np.inf, np.nan], DTYPES[dtype])] * 2))
        assert same_bits(run(op, [x, y], {}), run(op, [y, x], {}))


@having(ops.IDEMPOTENT)
def test_idempotent(op: Op) -> None:
    for operands, chosen in cases(op):
        if op.arity == 1:
            once = run(op, operands, chosen)
            assert same_bits(run(op, [once], chosen), once)
        else:
            assert same_bits(run(op, [operands[0]] * 2, chosen), operands[0])


@having(ops.LINEAR)
def test_linear(op: Op) -> None:
    for (x,), chosen in cases(op):
        y = np.roll(x, 1)
        parts = run(op, [x], chosen) + run(op, [y], chosen)
        both = run(op, [x + y], chosen)
        np.testing.assert_allclose(wide(both), wide(parts), rtol=64 * eps_of(x.dtype), atol=64 * eps_of(x.dtype))


@having(ops.REDUCTION)
def test_reduction(op: Op) -> None:
    """Reducing axis after axis is reducing them all; what is not reduced stays apart."""
    x = drawn(op, "i64", (2, 3, 4), 1)
    whole = run(op, [x], {"axis": (0, 2), "keepdims": True})
    assert whole.shape == (1, 3, 1)
    assert same_bits(whole, run(op, [run(op, [x], {"axis": (2,), "keepdims": True})], {"axis": (0,), "keepdims": True}))
    for k in range(3):
        assert same_bits(whole[:, k:k + 1], run(op, [x[:, k:k + 1].copy()], {"axis": (0, 2), "keepdims": True}))


@having(ops.MOVEMENT)
def test_movement(op: Op) -> None:
    """Elements are those of the operand or 0, and their places do not depend on what they are."""
    for dtype in ("i64", "f32"):
        for shape in SHAPES:
            for chosen in attrs(op.name, shape):
                x = np.arange(1, 1 + int(np.prod(shape)), dtype=DTYPES[dtype]).reshape(shape)
                moved = run(op, [x], chosen)
                assert set(moved.ravel()) <= {0, *x.ravel()}
                assert same_bits(run(op, [-x], chosen) * -1 + 0, moved)


@having(ops.CREATION)
def test_creation(op: Op) -> None:
    assert op.arity == 0
    for _, chosen in cases(op):
        assert same_bits(run(op, [], chosen), run(op, [], chosen))


@having(ops.CHECKED)
def test_checked(op: Op) -> None:
    if on_host(op):
        (x, *others), chosen = next(cases(op))
        bad = {"cholesky": -x, "solve": x * 0, "triangular_solve": x * 0}.get(op.name, x * np.nan)
        with pytest.raises(np.linalg.LinAlgError), np.errstate(all="ignore"):
            op.reference(bad, *others, **{**chosen, "unit": False} if "unit" in chosen else chosen)
        return
    x = drawn(op, "f32", (3,), 1)
    with pytest.raises(IndexError, match="index 3 is out of bounds for an axis of size 3"):
        op.reference(*[x, np.array([3]), x[:1]][:op.arity], axis=0)
    with pytest.raises(IndexError, match="index -4 is out of bounds"):
        op.reference(*[x, np.array([0, -4]), x[:2]][:op.arity], axis=0)


def test_ops_without_a_trait_do_not_have_it() -> None:
    """A trait that is left out is left out because it is not true."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 50))
    for op in OPS.values():
        if op.arity == 2 and ops.ELEMENTWISE in op.traits and "f64" in op.dtypes:
            commutes = same_bits(op.reference(x, y), op.reference(y, x))
            assert commutes == (ops.COMMUTATIVE in op.traits) or op.name in ("maximum", "minimum")
            same = op.reference(x, x)
            assert (type_of(same) == type_of(x) and same_bits(same, x)) == (ops.IDEMPOTENT in op.traits)


# ---- the table ------------------------------------------------------------------------------------------------------


def test_table_is_well_formed() -> None:
    for name, op in OPS.items():
        assert op.name == name and name.isidentifier() or name in ("and", "or", "not")
        assert op.traits <= set(TRAITS)
        assert all(kind in ATTR_KINDS for _, kind in op.attrs)
        assert set(op.dtypes) <= DTYPES.keys() and op.domain[0] < op.domain[1]
    assert {t for op in OPS.values() for t in op.traits} == set(TRAITS)
    assert {kind for op in OPS.values() for _, kind in op.attrs} == set(ATTR_KINDS)


SHEAR = {"axes": (0,), "along": (1,), "step": (1,), "dilation": (1,)}

REFUSED = [
    ("add", ["f32[3]", "f32[4]"], {}, r"shapes \[3\] and \[4\] do not broadcast \(3 vs 4\)"),
    ("add", ["f32[3]", "f64[3]"], {}, r"operands f32\[3\] and f64\[3\] have different dtypes"),
    ("add", ["bool[]", "bool[]"], {}, r"bool\[\] is not a number"),
    ("exp", ["i32[]"], {}, r"i32\[\] is not a floating-point or complex number"),
    ("floor", ["i32[]"], {}, r"i32\[\] is not a floating-point number"),
    ("polygamma", ["f32[]"], {"order": -1}, "the order -1 is negative"),
    ("neg", ["bool[]"], {}, r"bool\[\] is not a number"),
    ("maximum", ["c64[]", "c64[]"], {}, "not a real number"),
    ("shift_right", ["bool[]", "bool[]"], {}, "not an integer"),
    ("and", ["f32[]", "f32[]"], {}, "not an integer or bool"),
    ("eq", ["f32[]", "f64[]"], {}, "different dtypes"),
    ("abs", ["bool[]"], {}, "is not a number"),
    ("real", ["f32[]"], {}, r"f32\[\] is not a complex number"),
    ("conj", ["f64[2]"], {}, r"f64\[2\] is not a complex number"),
    ("complex", ["i32[]", "i32[]"], {}, r"i32\[\] is not f32 or f64"),
    ("cast", ["c64[]"], {"dtype": "f32"}, r"c64\[\] does not convert to f32"),
    ("lt", ["c64[]", "c64[]"], {}, "not a real number or bool"),
    ("where", ["i32[]", "f32[]", "f32[]"], {}, "the condition i32.. is not bool"),
    ("where", ["bool[]", "f32[]", "f64[]"], {}, "different dtypes"),
    ("sum", ["f32[2]"], {"axis": (1,), "keepdims": False}, r"axis 1 is out of range for f32\[2\]"),
    ("sum", ["f32[2]"], {"axis": (-1,), "keepdims": False}, "axis -1 is out of range"),
    ("sum", ["f32[2]"], {"axis": (0, 0), "keepdims": False}, "names an axis twice"),
    ("sum", ["bool[2]"], {"axis": (0,), "keepdims": False}, "not a number"),
    ("max", ["f32[0]"], {"axis": (0,), "keepdims": False}, r"f32\[0\] has no element along axis \[0\]"),
    ("max", ["bool[2]"], {"axis": (0,), "keepdims": False}, "not a real number"),
    ("argmax", ["f32[]"], {"axis": 0, "keepdims": False}, "axis 0 is out of range"),
    ("broadcast", ["f32[2]"], {"shape": (3,)}, r"\[2\] and \[3\] do not broadcast \(2 vs 3\)"),
    ("broadcast", ["f32[2,1]"], {"shape": (2,)}, "does not broadcast"),
    ("broadcast", ["f32[3]"], {"shape": (1,)}, "does not broadcast"),
    ("reshape", ["f32[2,3]"], {"shape": (5,)}, r"does not reshape to \[5\] \(6 vs 5 elements\)"),
    ("transpose", ["f32[2,3]"], {"axes": (0, 0)}, "not a permutation"),
    ("slice", ["f32[3]"], {"start": (0,), "stop": (4,), "step": (1,)}, "slice 0:4 is out of range"),
    ("slice", ["f32[3]"], {"start": (2,), "stop": (1,), "step": (1,)}, "slice 2:1 is out of range"),
    ("slice", ["f32[3]"], {"start": (0,), "stop": (3,), "step": (0,)}, "step 0 is not positive"),
    ("slice", ["f32[3]"], {"start": (), "stop": (), "step": ()}, "one entry for each"),
    ("flip", ["f32[3]"], {"axes": (1,)}, "axis 1 is out of range"),
    ("pad", ["f32[3]"], {"low": (-1,), "high": (0,), "interior": (0,)}, "padding is negative"),
    ("pad", ["f32[3]"], {"low": (), "high": (0,), "interior": (0,)}, "one entry for each"),
    ("shear", ["f32[2,3]"], SHEAR, r"has no room along axis 0 for windows that span 3"),
    ("shear", ["f32[2,3]"], {**SHEAR, "along": (2,)}, r"axis 2 is out of range"),
    ("shear", ["f32[2,3]"], {**SHEAR, "along": (0,)}, r"names an axis twice"),
    ("shear", ["f32[2,3]"], {**SHEAR, "step": ()}, r"must be equally many"),
    ("shear", ["f32[3,2]"], {**SHEAR, "dilation": (0,)}, r"not all positive"),
    ("unshear", ["f32[3,2]"], {**SHEAR, "size": (5,)}, r"f32\[3,2\] is no shear of f32\[5,2\]"),
    ("unshear", ["f32[3,2]"], {**SHEAR, "size": ()}, r"there are 0 sizes for 1 axes"),
    ("matmul", ["f32[6,8]", "f32[6,1]"], {}, r"do not contract \(8 vs 6\)"),
    ("matmul", ["f32[3]", "f32[3]"], {}, "at least 2"),
    ("matmul", ["f32[2,3,4]", "f32[5,4,3]"], {}, "different batch shapes"),
    ("gather", ["f32[3]", "f32[3]"], {"axis": 0}, "are not i32 or i64"),
    ("gather", ["f32[3]", "i64[3]"], {"axis": 1}, "axis 1 is out of range"),
    ("gather", ["f32[3,4]", "i64[2,4]"], {"axis": 1}, "differ in an axis other than 1"),
    ("scatter_add", ["f32[3]", "i64[2]", "f32[3]"], {"axis": 0}, r"updates f32\[3\] are not f32\[2\]"),
    ("scatter_add", ["bool[3]", "i64[2]", "bool[2]"], {"axis": 0}, "not a number"),
    ("concat", ["f32[2]", "f32[3]"], {"axis": 1}, r"axis 1 is out of range for f32\[2\]"),
    ("concat", ["f32[2,3]", "f32[3,4]"], {"axis": 0}, "differ in more than the size of axis 0"),
    ("prod", ["f32[2]"], {"axis": (1,), "keepdims": False}, "axis 1 is out of range"),
    ("argmin", ["f32[]"], {"axis": 0, "keepdims": False}, "axis 0 is out of range"),
    ("cumsum", ["bool[2]"], {"axis": 0}, r"bool\[2\] is not a number"),
    ("cummax", ["f32[2]"], {"axis": 1}, r"axis 1 is out of range for f32\[2\]"),
    ("cummax", ["c64[2]"], {"axis": 0}, "not a real number"),
    ("recurrence", ["f32[2]", "f32[3]"], {"axis": 0}, r"the factors f32\[2\] and the terms f32\[3\] are of different"),
    ("sort", ["c64[2]"], {"axis": 0}, "not a real number or bool"),
    ("argsort", ["f32[2]"], {"axis": -1}, "axis -1 is out of range"),
    ("searchsorted", ["f32[2]", "f64[2]"], {"right": False}, "different dtypes"),
    ("searchsorted", ["f32[2,3]", "f32[3,3]"], {"right": False}, "differ in an axis other than the last"),
    ("scatter", ["f32[3]", "i64[2]", "f32[3]"], {"axis": 0}, r"updates f32\[3\] are not f32\[2\]"),
    ("scatter", ["f32[3]", "f32[2]", "f32[2]"], {"axis": 0}, "are not i32 or i64"),
    ("cholesky", ["f32[3,2]"], {}, r"f32\[3,2\] is not square"),
    ("cholesky", ["f32[3]"], {}, "is no matrix: it has 1 axes"),
    ("expm", ["i64[2,2]"], {}, "is not f32, f64, c64 or c128"),
    ("det", ["f32[2,3]"], {}, "is not square"),
    ("slogdet", ["f32[2,3]"], {}, "is not square"),
    ("solve", ["f32[2,2]", "f32[3,1]"], {}, r"do not fit each other \(2 vs 3 rows\)"),
    ("solve", ["f32[2,2]", "f64[2,1]"], {}, "different dtypes"),
    ("solve", ["f32[4,2,2]", "f32[2,1]"], {}, "different batch shapes"),
    ("qr", ["f32[2]"], {"complete": False}, "is no matrix"),
    ("svd", ["bool[2,2]"], {"full": True}, "is not f32, f64, c64 or c128"),
    ("svdvals", ["bool[2,2]"], {}, "is not f32, f64, c64 or c128"),
    *((op, ["f32[2,3]"], {}, "is not square") for op in ("eigh", "eigvalsh", "eig", "eigvals")),
    ("pinv", ["f32[2,3]", "f64[]"], {}, r"the tolerance f64\[\] is not f32\[\]"),
    ("fft", ["f32[3]"], {"axes": (0,), "inverse": False}, "is not a complex number"),
    ("fft", ["c64[3]"], {"axes": (1,), "inverse": False}, "axis 1 is out of range"),
    ("fft", ["c64[0]"], {"axes": (0,), "inverse": False}, "no element along axis 0"),
    ("rfft", ["c64[3]"], {"axis": 0}, "is not f32 or f64"),
    ("irfft", ["c64[3]"], {"axis": 0, "size": 6}, "no half of a spectrum of size 6"),
    ("iota", [], {"shape": (3,), "axis": 1, "dtype": "i32"}, "axis 1 is out of range"),
    ("iota", [], {"shape": (3,), "axis": 0, "dtype": "bool"}, "counts in real numbers"),
    ("random_bits", ["u64[]", "i64[]"], {"shape": (3,)}, r"the counter i64\[\] is not u64\[\]"),
]


def type_from(text: str) -> TensorType:
    dtype, _, shape = text[:-1].partition("[")
    return TensorType(dtype, tuple(map(int, filter(None, shape.split(",")))))


@pytest.mark.parametrize(("op", "operands", "chosen", "message"), REFUSED)
def test_type_rules_refuse(op: str, operands: list[str], chosen: dict[str, object], message: str) -> None:
    with pytest.raises(TypeRuleError, match=message):
        OPS[op].type_rule(*map(type_from, operands), **chosen)


def test_every_type_rule_that_can_refuse_does() -> None:
    cannot = {"constant", "detach"}
    rules = {op.type_rule for op in OPS.values()}
    assert {OPS[row[0]].type_rule for row in REFUSED} == rules - {OPS[op].type_rule for op in cannot}


def test_philox_known_answer() -> None:
    """The published test vector of Philox4x32-10 for counter 0 and key 0; other blocks are further along its stream."""
    zero = np.asarray(np.uint64(0))
    bits = OPS["random_bits"].reference
    assert [hex(w) for w in bits(zero, zero, shape=(4,))] == ["0x6627e8d5", "0xe169c58d", "0xbc57ac4c", "0x9b00dbd8"]
    key = np.asarray(np.uint64(2**40 + 17))
    stream = bits(key, zero, shape=(64,))
    assert np.array_equal(bits(key, np.asarray(np.uint64(3)), shape=(5, 2)), stream[12:22].reshape(5, 2))
    assert len(set(stream.tolist())) == 64 and not np.array_equal(bits(zero, zero, shape=(64,)), stream)


@pytest.mark.parametrize("dtype", ["f16", "bf16"])
def test_half_precision_is_added_up_and_multiplied_in_f32(dtype: str) -> None:
    ones = np.ones((5000, 2), DTYPES[dtype])
    for axis, expected in (((0,), 5000), ((0, 1), 10000), ((1,), 2)):
        result = OPS["sum"].reference(ones, axis=axis, keepdims=False)
        assert result.dtype == ones.dtype and np.all(result == np.asarray(expected, ones.dtype))
    product = OPS["matmul"].reference(ones.T, ones)
    assert product.dtype == ones.dtype and np.all(product == np.asarray(5000, ones.dtype))
