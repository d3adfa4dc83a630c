"""What could make a replay differ from NumPy: state that changes in between, aliases, effects, odd arguments."""
from __future__ import annotations

import copy
import operator
import warnings
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
import pytest
from traced_numpy import check_equal, replayed, traced

import tracegrad as tg

X = np.arange(12.0).reshape(3, 4)

WEIGHT = np.ones((4, 2))
SCALE = 2.0


def helper(x: np.ndarray) -> np.ndarray:
    return x * 2


def agrees(f: Any, *arguments: Any) -> None:
    """One call of a traced function, compared with the function."""
    mine, theirs = copy.deepcopy(arguments), copy.deepcopy(arguments)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        check_equal(f(*mine), f.eager(*theirs))
    check_equal(mine, theirs)


# ---- captured state ------------------------------------------------------------------------------------------------


def test_a_captured_array_is_read_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    f = replayed(lambda x: x @ WEIGHT, X)
    WEIGHT[0, 0] = 5.0
    try:
        agrees(f, X)
        monkeypatch.setitem(globals(), "WEIGHT", np.zeros((4, 3)))
        agrees(f, X)
    finally:
        monkeypatch.undo()
        WEIGHT[0, 0] = 1.0
    agrees(f, X)
    assert f.stats.replays >= 3


def test_an_array_in_a_closure_that_is_changed_in_place() -> None:
    bias = np.zeros(4)
    f = replayed(lambda x: x + bias + bias[::-1], X)
    for k in range(3):
        bias[k] += 1
        agrees(f, X)


def test_a_global_number_that_is_bound_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    f = replayed(lambda x: x * SCALE, X)
    for value in (3.0, 4, np.float32(0.1), np.array([1, 2, 3, 4])):
        monkeypatch.setitem(globals(), "SCALE", value)
        agrees(f, X)


def test_a_helper_that_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    f = replayed(lambda x: helper(x) + 1, X)
    monkeypatch.setitem(globals(), "helper", lambda x: np.zeros_like(x) - x)
    agrees(f, X)
    monkeypatch.setitem(globals(), "helper", np.sin)
    agrees(f, X)


def test_numpy_that_is_rebound(monkeypatch: pytest.MonkeyPatch) -> None:
    f = replayed(lambda x: np.exp(x), X)
    monkeypatch.setattr(np, "exp", np.cos)
    agrees(f, X)


def test_attributes_of_an_object() -> None:
    class Model:
        def __init__(self) -> None:
            self.w, self.rate = np.ones(4), 0.5

        def forward(self, x: np.ndarray) -> np.ndarray:
            return np.tanh(x * self.w) * self.rate

    model = Model()
    f = replayed(lambda x: model.forward(x), X)
    model.w = np.arange(4.0)
    agrees(f, X)
    model.w[1] = 7
    agrees(f, X)
    model.rate = 0.25
    agrees(f, X)
    replayed(model.forward, X)


# ---- arguments -----------------------------------------------------------------------------------------------------


def test_changes_in_place_are_the_callers() -> None:
    def step(x: np.ndarray, v: np.ndarray) -> None:
        v -= 0.1 * x
        x[1:] += v[1:]
        x[0] = 0

    replayed(step, X, np.ones((3, 4)))


def test_a_result_that_is_an_argument_is_that_array() -> None:
    def f(x: np.ndarray) -> np.ndarray:
        x *= 2
        return x

    g = tg.trace(f)
    for _ in range(3):
        x = X.copy()
        assert g(x) is x and np.array_equal(x, X * 2)
    assert g.stats.replays == 2         # type: ignore[attr-defined]


def test_results_that_are_views_of_arguments() -> None:
    f = tg.trace(lambda x: (x[1:], x.T, x.reshape(4, 3)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(3):
            x = X.copy()
            rows, turned, shaped = f(x)
            rows[0, 0] = 100
            assert x[1, 0] == turned[0, 1] == shaped[1, 1] == 100


def test_results_that_are_views_of_each_other() -> None:
    def f(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        y = x * 2
        return y, y[1:]

    g = tg.trace(f)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(3):
            y, part = g(X)
            part[0, 0] = -1
            assert y[1, 0] == -1


def test_the_same_array_twice() -> None:
    def f(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        x += 1
        return x * y

    g = tg.trace(f)
    for first, second in ((X.copy(), None), (X.copy(), X.copy()), (X.copy(), None), (X.copy(), X.copy())):
        second = first if second is None else second
        mine = (first.copy(), None)
        theirs = (mine[0], mine[0] if second is first else second.copy())
        expected = f(*theirs)       # type: ignore[arg-type]
        assert np.array_equal(g(first, second), expected) and np.array_equal(first, mine[0])
    assert g.stats.replays == 2     # type: ignore[attr-defined]


def test_arguments_that_overlap() -> None:
    def f(x: np.ndarray, y: np.ndarray) -> None:
        x += y
        y *= 2

    g = tg.trace(f)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for at in (4, 1, 1, 4, 1, 4):
            a, b = np.arange(8.0), np.arange(8.0)
            g(a[:4], a[at:at + 4])
            f(b[:4], b[at:at + 4])
            assert np.array_equal(a, b)


@pytest.mark.parametrize("make", [
    lambda: X.T, lambda: X[::2], lambda: X[:, ::-1], lambda: np.asfortranarray(X), lambda: X[:0],
    lambda: np.broadcast_to(X[0], (3, 4)), lambda: X.astype(">f8"), lambda: X.astype(object),
    lambda: np.array(2.5), lambda: X.view(np.recarray),
    lambda: np.ma.masked_array(X, X > 5), lambda: np.matrix(X), lambda: np.zeros((2, 0, 3)), lambda: np.int8(3),
    lambda: X.astype(np.longdouble), lambda: np.array(["a", "b"]), lambda: np.float32(1.5),
    lambda: np.array([True, False]), lambda: np.arange(3, dtype=np.longlong),
    lambda: np.frombuffer(bytes(25), np.float64, 3, 1), lambda: np.zeros(2, [("a", float)])["a"],
])
def test_arrays_of_every_kind(make: Callable[[], Any]) -> None:
    def f(x: Any, y: np.ndarray) -> Any:
        return x * 2 + y.sum(), x

    arguments = (make(), X)
    traced(f, arguments, arguments, arguments)


def test_a_read_only_array_that_is_written_to_raises() -> None:
    def f(x: np.ndarray) -> None:
        x[0] = 1

    frozen = X.copy()
    frozen.flags.writeable = False
    g = tg.trace(f)
    for _ in range(2):
        g(X.copy())
        with pytest.raises(ValueError, match="assignment destination is read-only"):
            g(frozen)
    assert np.array_equal(frozen, X)


def test_scalars_and_arrays_without_axes_are_told_apart() -> None:
    f = tg.trace(lambda x, y: x * y)
    f(X, X)
    for x in (np.float64(2), np.array(2.0), 2.0, np.float64(3), np.array(3.0), 3.0):
        for y in (np.ones(2, np.float32), np.float32(4)):
            check_equal(f(x, y), f.eager(x, y))     # type: ignore[attr-defined]


def test_shapes_and_dtypes_are_paths_of_their_own() -> None:
    f = tg.trace(lambda x: (x + 1).sum(axis=0) / len(x))
    for x in (X, X[:2], X.astype(np.float32), X.astype(int), X[0], X):
        agrees(f, x)


def test_keywords_defaults_and_numbers() -> None:
    def f(x: np.ndarray, scale: float = 2.0, *, mode: str = "a", shift: Any = None) -> np.ndarray:
        y = x * scale if mode == "a" else x / scale
        return y if shift is None else y + shift

    g = tg.trace(f)
    for options in ({}, {"scale": 3}, {"scale": 2.5}, {"mode": "b"}, {"shift": X}, {"shift": np.float32(1)},
                    {"scale": 4.5}):
        for _ in range(2):
            check_equal(g(X, **options), f(X, **options))
    assert g.stats.replays >= 6         # type: ignore[attr-defined]


# ---- effects and values --------------------------------------------------------------------------------------------


def test_effects_happen_once_for_each_call(capsys: pytest.CaptureFixture[str]) -> None:
    history: list[Any] = []

    def f(x: np.ndarray) -> np.ndarray:
        y = x * 2
        history.append(y.sum())
        print("called")
        return y + len(history)

    g = tg.trace(f)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = [g(X) for _ in range(4)]
    assert [r[0, 0] for r in results] == [1, 2, 3, 4] and capsys.readouterr().out == "called\n" * 4
    assert all(type(value) is np.float64 for value in history) and len(history) == 4


def test_an_effect_before_a_value_is_read() -> None:
    state = {"n": 0, "last": None}

    def f(x: np.ndarray) -> float:
        state["n"] += 1                 # type: ignore[operator]
        state["last"] = x * 3           # type: ignore[assignment]
        return float(x.sum())

    g = tg.trace(f)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert [g(X) for _ in range(3)] == [X.sum()] * 3
    assert state["n"] == 3 and type(state["last"]) is np.ndarray


def test_arguments_change_once_where_a_value_is_read() -> None:
    def f(x: np.ndarray) -> np.ndarray:
        x += 1
        if x[0, 0] > 1:
            x *= 2
        return x

    traced(f, (X,), (X - 5,), (X,))


def test_numbers_that_python_reads_are_ways() -> None:
    cases: list[Callable] = [
        lambda x: x if x[0, 0] > 3 else -x, lambda x: float(x.sum()), lambda x: x[int(x[0, 1]) % 2],
        lambda x: [v for v in x[0] if v > 1], lambda x: max(x[0]), lambda x: x.argmax() == 3 or 5,
    ]
    for function in cases:
        f = tg.trace(function)
        for _ in range(2):
            before = f.stats.replays
            for x in (X, X + 1, X * 2):
                check_equal(f(x), function(x))
        assert f.stats.replays == before + 3, f.explain()


def test_values_that_python_reads_run_eagerly_and_say_why() -> None:
    cases: list[Callable] = [
        lambda x: x.tolist(), lambda x: f"{x.mean():.2f}", lambda x: x[x > 3], lambda x: np.unique(x),
        lambda x: np.nonzero(x), lambda x: {x[0, 0]: 1},
    ]
    for function in cases:
        f = traced(function, (X,), (X + 1,), (X * 2,))
        assert f.stats.replays == 0 and f.explain().aborts


def test_values_that_follow_from_constants_may_be_read() -> None:
    def f(x: np.ndarray) -> np.ndarray:
        table = np.cos(np.arange(4.0))
        return x * float(table[1]) if table.sum() > -10 else x

    replayed(f, X)


def test_exceptions_are_numpys() -> None:
    for function in (lambda x: x @ x, lambda x: x.reshape(5), lambda x: x[7], lambda x: x.astype("nonsense"),
                     lambda x: np.zeros(-1), lambda x: np.concatenate([x, x[0]]), lambda x: x.frobnicate()):
        traced(function, (X,), (X,))


@pytest.mark.parametrize("value", [
    300, np.int64(300), np.array(300), -1, 1.5, np.float32(1.5), float("nan"), np.float64("nan"), 1e300, 1j,
    np.complex128(1j), [300, 1], [1.5, 2.5], True, "3", None, 2**70], ids=repr)
@pytest.mark.parametrize("dtype", ["int8", "uint8", "int64", "float32", "bool"])
def test_numbers_that_do_not_fit_raise_as_in_numpy(dtype: str, value: Any) -> None:
    def f(x: np.ndarray) -> np.ndarray:
        x[:] = value
        x[x == x] = value
        return x
    traced(f, *[(np.zeros(2, dtype),)] * 3)


@pytest.mark.parametrize("dtype", ["int8", "int64", "float32"])
def test_computed_numbers_that_may_not_fit(dtype: str) -> None:
    def from_array(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        x[0] = y.sum()
        return x

    def from_number(x: np.ndarray, k: Any) -> np.ndarray:
        x[0] = k
        return x
    x = np.zeros(2, dtype)
    for kind in (np.int64, np.float64):
        traced(from_array, *((x, np.array([k, 0]).astype(kind)) for k in (1, 2, 200, -1)))
    traced(from_number, *((x, k) for k in (1, 2, 3, 200, 300, 1.5, 2.5, 1e30)))


class Unknown:
    def __radd__(self, other: Any) -> str:
        return "radd"


class First(Unknown):
    __array_ufunc__ = None


@pytest.mark.parametrize("other", [
    "a", b"a", Unknown, First, object, len, {}, range(3), Fraction(1, 2), Decimal(2), memoryview(b"abc"), [1, 2, 3],
    (1, 2, 3), [], None, np.datetime64("2020-01-01"), np.longdouble(2)], ids=lambda o: type(o).__name__)
def test_operators_with_what_is_no_number(other: Any) -> None:
    other = other() if other in (Unknown, First, object) else other
    for operation in (operator.add, operator.eq, operator.lt, operator.mul, operator.pow):
        for f in (lambda x: operation(x, other), lambda x: operation(other, x),             # noqa: B023
                  lambda x: operation(other, x[0])):                                        # noqa: B023
            traced(f, (np.arange(3.0),), (np.arange(3.0),))
    traced(lambda x: [0] * x.argmax(), (np.arange(3.0),))


@pytest.mark.parametrize("ufunc", [np.conj, np.positive, np.absolute, np.floor, np.ceil, np.trunc, np.rint, np.fabs])
@pytest.mark.parametrize("dtype", ["int64", "float64", "bool", "complex128"])
def test_what_a_ufunc_gives_is_an_array_of_its_own(ufunc: np.ufunc, dtype: str) -> None:
    def f(x: np.ndarray) -> tuple[np.ndarray, ...]:
        y = ufunc(x)
        y[:1] = 7
        return x, y
    traced(f, *[(np.array([0, 1, 1]).astype(dtype),)] * 3)


def test_the_conjugate_of_real_numbers_is_the_array_itself() -> None:
    def f(x: np.ndarray) -> np.ndarray:
        y = x.conj()
        y[0] = 7
        return x + y
    replayed(f, np.arange(3.0))
    x = np.arange(3.0)
    assert tg.trace(lambda x: x.conjugate())(x) is x


@pytest.mark.parametrize("dtype", ["int64", "float32", "complex128"])
def test_what_only_rearranges_and_multiplies_keeps_the_dtype(dtype: str) -> None:
    def f(x: np.ndarray) -> tuple[Any, ...]:
        return (np.fft.fftshift(x), np.fft.ifftshift(x, axes=0), np.linalg.matrix_power(x, 3),
                np.linalg.outer(x[0], x[1]),
                np.linalg.cross(x, x[::-1]), np.linalg.trace(x), np.linalg.multi_dot([x, x, x]),
                np.linalg.tensordot(x, x), np.linalg.matrix_transpose(x), np.linalg.matmul(x, x),
                np.linalg.vecdot(x, x[0]))
    traced(f, *[(np.arange(9).reshape(3, 3).astype(dtype),)] * 3)


@pytest.mark.parametrize("dtype", ["int32", "uint8", "bool", "int64", "float32"])
def test_sums_in_the_dtype_that_is_asked_for(dtype: str) -> None:
    def f(x: np.ndarray) -> tuple[Any, ...]:
        return (np.sum(x, dtype=dtype), x.sum(axis=0, dtype=dtype), x.prod(dtype=dtype), np.cumsum(x, dtype=dtype),
                np.add.reduce(x, dtype=dtype), np.add.accumulate(x, dtype=dtype), np.cumprod(x, 0, dtype))
    for given in (dtype, "int16", "bool"):
        traced(f, *[(np.arange(100, 109).reshape(3, 3).astype(given),)] * 3)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "bool"])
def test_quantiles_at_one_share_and_at_several(dtype: str) -> None:
    def f(x: np.ndarray) -> tuple[Any, ...]:
        return np.percentile(x, [10, 50], axis=1), np.quantile(x, 0.3), np.quantile(x, np.array([0.5]))
    traced(f, *[(np.arange(9).reshape(3, 3).astype(dtype),)] * 3)


def test_the_least_of_nothing_raises_in_every_dtype() -> None:
    for dtype in (bool, int, float):
        traced(lambda x: x.min(), (np.zeros(0, dtype),), (np.zeros(0, dtype),))
        traced(lambda x: np.max(x, axis=0), (np.zeros((2, 0), dtype),), (np.zeros((0, 2), dtype),))


def test_what_has_no_axes_is_not_sorted() -> None:
    for f in (lambda x: x.sort(), np.sort, lambda x: x.argsort(), lambda x: np.argsort(x[()], axis=0)):
        traced(f, (np.array(3.0),), (np.array(3.0),))


def test_copyto_casts_numbers_only_where_numpy_does() -> None:
    for number in (1, 300, 1.5, 1j):
        traced(lambda x: np.copyto(x, number), (np.arange(3, dtype=np.int8),), (np.arange(3, dtype=np.int8),))   # noqa: B023


def test_an_exception_that_is_caught() -> None:
    def f(x: np.ndarray) -> np.ndarray:
        try:
            return x @ x
        except ValueError:
            return x * 2

    traced(f, (X,), (X,))


def test_functions_that_a_copy_cannot_be_made_of() -> None:
    count = 0

    def counting(x: np.ndarray) -> np.ndarray:
        nonlocal count
        count += 1
        return x * count

    def generating(x: np.ndarray) -> Any:
        yield x * 2

    g = tg.trace(counting)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert [g(np.ones(1))[0] for _ in range(3)] == [1, 2, 3]
        assert [y.tolist() for y in tg.trace(generating)(np.ones(1))] == [[2.0]]


def test_random_numbers_are_numpys_own() -> None:
    def f(x: np.ndarray) -> np.ndarray:
        return x + np.random.random(x.shape)

    g = tg.trace(f)
    np.random.seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = [g(X) for _ in range(3)]
    np.random.seed(0)
    check_equal(found, [f(X) for _ in range(3)])


def test_strict_raises() -> None:
    with pytest.raises(tg.NotCompiled, match="the run read a tensor's value into Python: tolist"):
        tg.trace(lambda x: x * len(x.tolist()), strict=True)(X)


def test_results_that_are_kept_stay_as_they_were() -> None:
    f = tg.trace(lambda x: x * 2)
    kept = [f(X + k) for k in range(5)]
    views = [f(X + k)[0] for k in range(5)]
    for k in range(5):
        assert np.array_equal(kept[k], (X + k) * 2) and np.array_equal(views[k], (X[0] + k) * 2)


def test_a_result_that_was_turned_into_something_else_is_not_used_again() -> None:
    f = tg.trace(lambda x: x * 2)
    for change in (lambda y: setattr(y, "shape", (12,)), lambda y: y.setflags(write=False),
                   lambda y: setattr(y, "dtype", np.int64), lambda y: y.resize((2, 2), refcheck=False)):
        for _ in range(4):
            y = f(X)
            assert y.shape == (3, 4) and y.dtype == np.float64 and y.flags.writeable and np.array_equal(y, X * 2)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                change(y)
            del y


def test_error_states_that_raise_are_respected() -> None:
    f = tg.trace(lambda x: x / 0)
    with np.errstate(all="ignore"):
        for _ in range(3):
            assert np.isinf(f(X[1:])).all()
    with np.errstate(divide="raise"), pytest.raises(FloatingPointError):
        f(X[1:])


def test_tensors_and_arrays_take_turns() -> None:
    f = tg.trace(lambda x: x * 2 + 1)
    for _ in range(3):
        assert type(f(X)) is np.ndarray and type(f(tg.asarray(X))) is tg.Tensor
    assert f.stats.replays == 4         # type: ignore[attr-defined]


# ---- arguments that hold arrays --------------------------------------------------------------------------------------


def test_lists_tuples_and_dicts_of_arrays() -> None:
    def step(params: dict[str, Any], layers: list[Any], pair: tuple[Any, Any]) -> Any:
        for w, b in layers:
            w -= 0.1 * params["rate"] * pair[0]
            b += w.sum(axis=0)
        return {"w": layers[0][0], "sum": sum(w.sum() for w, _ in layers), "pair": pair, "layers": layers}

    f = tg.trace(step)
    for k in range(4):
        arguments = ({"rate": 0.5, "n": 3}, [(X + k, X[0] * k), (X * 2, X[1].copy())], (X, np.arange(2)))
        mine, theirs = copy.deepcopy(arguments), copy.deepcopy(arguments)
        found, expected = f(*mine), step(*theirs)
        check_equal(found, expected)
        check_equal(mine, theirs)
        assert found["w"] is mine[1][0][0] and found["pair"] is mine[2] and found["layers"] is mine[1]
    assert f.stats.replays == 3         # type: ignore[attr-defined]


def test_a_list_that_is_changed_is_the_callers() -> None:
    def f(parts: list[Any], named: dict[str, Any]) -> Any:
        parts.append(parts[0] * 2)
        parts[0] = parts[1]
        named["new"] = named.pop("old") + 1
        return parts

    g = tg.trace(f)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(3):
            mine, theirs = ([X.copy(), X + 1], {"old": X.copy()}), ([X.copy(), X + 1], {"old": X.copy()})
            assert g(*mine) is mine[0]
            f(*theirs)
            check_equal(mine, theirs)
            assert list(mine[1]) == ["new"] and mine[0][0] is mine[0][1]


def test_the_same_array_in_several_places() -> None:
    def f(x: np.ndarray, parts: list[np.ndarray]) -> np.ndarray:
        parts[0] += 1
        return x * parts[1]

    g = tg.trace(f)
    for shared in (True, False, True, False, True):
        x, y = X.copy(), X.copy()
        a, b = X.copy(), X.copy()
        check_equal(g(x, [x if shared else y, y]), f(a, [a if shared else b, b]))
        check_equal((x, y), (a, b))


def test_containers_that_lead_to_themselves() -> None:
    loop: list[Any] = [X]
    loop.append(loop)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert np.array_equal(tg.trace(lambda v: v[1][0] * 2)(loop), X * 2)     # type: ignore[call-arg]


def test_results_that_follow_from_captured_arrays_are_new_each_time() -> None:
    f = replayed(lambda x: (WEIGHT * 2, x + 1), X)
    first, second = f(X)[0], f(X)[0]
    assert first is not second and not np.shares_memory(first, WEIGHT)
    first[0] = -1
    agrees(f, X)
    captured = tg.trace(lambda x: (WEIGHT, WEIGHT[1:], x + 1))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(3):
            whole, part, _ = captured(X)
            assert whole is WEIGHT and np.shares_memory(part, WEIGHT)


def test_errors_that_raise_inside() -> None:
    def f(x: np.ndarray) -> Any:
        with np.errstate(divide="raise"):
            try:
                return x / x.sum()
            except FloatingPointError:
                return "caught"

    traced(f, (X,), (X * 0 + [1, -1, 1, -1],), (X,))
    replayed(lambda x: np.log(x) if np.errstate(all="ignore") else x, X)


def test_types_are_those_of_numpy() -> None:
    def f(x: np.ndarray) -> Any:
        kinds = type(x) is np.ndarray, type(x[0, 0]) is np.float64, isinstance(type(x), type), int is int
        names = type(x).__name__, x.__class__.__name__, type(x.sum()).__name__
        return x * sum(kinds), names

    replayed(f, X)


def test_what_calls_unknown_code_is_rehearsed(capsys: pytest.CaptureFixture[str]) -> None:
    class Strict:
        def __call__(self, x: np.ndarray) -> np.ndarray:
            return x * 2

    def takes_arrays_only(x: Any) -> Any:
        return np.frombuffer(memoryview(x), x.dtype).sum()      # an Array has no buffer

    def noisy(x: np.ndarray) -> Any:
        print("once")
        return takes_arrays_only(x)

    traced(noisy, (X,), (X,), (X + 1,))
    assert capsys.readouterr().out == "once\n" * 6
    traced(lambda x: takes_arrays_only(x), (X,), (X,))
    replayed(lambda x: Strict()(x), X)


def test_error_states_that_ignore_inside_are_replayed() -> None:
    def f(x: np.ndarray) -> np.ndarray:
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(x > 0, 1 / x, 0)

    replayed(f, X)


def test_verify_and_explain() -> None:
    def f(x: np.ndarray, parts: dict[str, Any]) -> Any:
        x += parts["b"]
        return {"y": np.exp(x), "n": x.sum()}

    g = tg.trace(f)
    x, parts = X.copy(), {"b": X / 2}
    with pytest.raises(ValueError, match="no path is known"):
        g.verify(x, parts)
    g(x, parts)
    before = x.copy()
    assert g.verify(x, parts).agrees and np.array_equal(x, before)
    report = str(g.explain())
    assert "args[0]: f64[3,4]" in report and "args[1]['b']: f64[3,4]" in report


class State(NamedTuple):
    position: np.ndarray
    velocity: np.ndarray


def test_named_tuples_of_arrays() -> None:
    def step(state: State, dt: float) -> State:
        velocity = state.velocity - dt * state.position
        return State(state.position + dt * velocity, velocity)

    f = tg.trace(step)
    mine = theirs = State(X.copy(), np.zeros_like(X))
    for _ in range(4):
        mine, theirs = f(mine, 0.1), step(theirs, 0.1)
        assert type(mine) is State
        check_equal(mine, theirs)
    assert f.stats.replays == 3         # type: ignore[attr-defined]


def test_an_argument_that_is_the_memory_of_a_captured_array() -> None:
    table = np.arange(6.0)

    def f(x: np.ndarray) -> np.ndarray:
        x += 1
        found = table * 2               # after the write
        x -= 1
        return found

    g = tg.trace(f)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for view in (False, False, True, False, True, True):
            x = table[1:4] if view else np.zeros(3)
            found = g(x)
            assert found.tolist() == [0, *([4, 6, 8] if view else [2, 4, 6]), 8, 10]
    assert g.stats.replays >= 2         # type: ignore[attr-defined]


@pytest.mark.filterwarnings("ignore::tracegrad.NotReplayed")
def test_code_that_asks_for_types_finds_arrays() -> None:
    def summed(y: np.ndarray) -> Any:
        return y.sum()

    def asking(y: np.ndarray) -> Any:
        return y.sum() if type(y) is np.ndarray else y.sum() * 100

    def helped(x: np.ndarray, helper: Callable) -> Any:
        return helper(x * 2)

    def told(x: np.ndarray, kind: Any) -> Any:
        seen.append(kind)
        x += 1
        return x * 3 if kind(x * 2) is np.ndarray else x

    seen: list[Any] = []
    helps, tells, x = tg.trace(helped), tg.trace(told), np.ones(3)
    for helper in (summed, asking, summed):
        for _ in range(4):
            assert helps(x, helper) == 6
            assert tells(np.ones(3), type).tolist() == [6, 6, 6]
    assert helps.stats.replays >= 6 and seen == [type] * 12


@pytest.mark.filterwarnings("ignore::tracegrad.NotReplayed")
@pytest.mark.parametrize("operation", [operator.add, operator.sub, operator.mul, operator.truediv, operator.pow])
def test_a_complex_number_takes_a_float64_as_a_float(operation: Callable) -> None:
    for f in (lambda x: operation(x.sum(), 2j), lambda x: operation(2j, x.sum())):
        traced = tg.trace(f)
        for x in (X, X + 1, X.astype(np.float32)):
            found, expected = traced(x), f(x)
            assert type(found) is type(expected) and abs(found - expected) < 1e-4 * abs(expected)
