"""save and load: states come back, files of other programs are read, damaged and foreign files are refused."""
from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tracegrad as tg
from tracegrad.io import SAFETENSORS
from tracegrad.tensors import Tensor

SUFFIXES = ("npz", "safetensors")
FORMATS = pytest.mark.parametrize("suffix", SUFFIXES)


def same(a: Any, b: Any) -> bool:
    if isinstance(a, Tensor | np.ndarray):
        return type(a) is type(b) and a.dtype == b.dtype and np.array_equal(np.asarray(a), np.asarray(b))
    if isinstance(a, list | tuple):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    return type(a) is type(b) and (a == b or a != a and b != b)


@FORMATS
def test_states_come_back(tmp_path: Path, suffix: str) -> None:
    state = {
        "model": {"hidden.weight": tg.arange(6).reshape(2, 3), "empty": tg.zeros(0, 3), "scalar": tg.tensor(2.5)},
        "model.hidden": {"weight": tg.ones(1)},                  # the same path as model's "hidden.weight"
        "steps": 3, "lr": 0.1, "nan": float("nan"), "on": True, "name": "run ü", "none": None,
        "history": [1.5, (tg.tensor([True]), [])], "array": np.arange(3, dtype=np.int16), "__metadata__": tg.zeros(1),
        "dtypes": {name: tg.ones(2, dtype=name)
                   for name in ("float16", "bfloat16", "float64", "int8", "uint64", "complex64")},
    }
    tg.save(tmp_path / f"state.{suffix}", state)
    assert same(tg.load(tmp_path / f"state.{suffix}"), state)
    assert [p.name for p in tmp_path.iterdir()] == [f"state.{suffix}"]


@FORMATS
@pytest.mark.parametrize("state", [tg.ones(2), [], {}, 3, None, {"a": tg.zeros(2, 3)[:, ::2].T}], ids=range(6))
def test_small_states(tmp_path: Path, suffix: str, state: Any) -> None:
    tg.save(tmp_path / f"state.{suffix}", state)
    assert same(tg.load(tmp_path / f"state.{suffix}"), state)


@FORMATS
def test_what_is_loaded_is_its_own_and_can_be_written(tmp_path: Path, suffix: str) -> None:
    tg.save(tmp_path / f"state.{suffix}", {"a": tg.ones(2), "b": tg.ones(2)})
    loaded = tg.load(tmp_path / f"state.{suffix}")
    loaded["a"] += 1.0
    assert loaded["a"].tolist() == [2, 2] and loaded["b"].tolist() == [1, 1]
    assert loaded["a"].storage is None and loaded["a"].dtype is tg.float32


def test_modules_and_optimizers(tmp_path: Path) -> None:
    model = tg.nn.Linear(3, 2)
    path = tmp_path / "model.npz"
    tg.save(path, model.state_dict())
    other = tg.nn.Linear(3, 2)
    other.load_state_dict(tg.load(path))
    np.testing.assert_array_equal(other.weight.array, model.weight.array)


def test_npz_is_numpys(tmp_path: Path) -> None:
    tg.save(tmp_path / "a.npz", {"layer": {"w": tg.arange(3)}})
    with np.load(tmp_path / "a.npz") as archive:
        np.testing.assert_array_equal(archive["layer.w"], [0, 1, 2])
    np.savez(tmp_path / "b.npz", x=np.ones(2), y=np.array(3))
    loaded = tg.load(tmp_path / "b.npz")
    assert loaded["x"].tolist() == [1, 1] and loaded["y"].item() == 3


def test_safetensors_is_as_its_format_says(tmp_path: Path) -> None:
    tg.save(tmp_path / "a.safetensors", {"w": tg.tensor([1.0, 2.0])})
    data = (tmp_path / "a.safetensors").read_bytes()
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8:8 + size])
    assert header["w"] == {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]} and size % 8 == 0
    assert all(isinstance(v, str) for v in header["__metadata__"].values())
    np.testing.assert_array_equal(np.frombuffer(data[8 + size:], np.float32), [1, 2])
    header = json.dumps({"x": {"dtype": "BF16", "shape": [1], "data_offsets": [0, 2]}}).encode()
    (tmp_path / "b.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + b"\x80\x3f")
    assert tg.load(tmp_path / "b.safetensors")["x"].tolist() == [1.0]
    assert len(set(SAFETENSORS.values())) == len(SAFETENSORS)


@pytest.mark.parametrize("state,message", [
    ({"a": [object()]}, r"save: a\.0 is a object, not a tensor"), (lambda: 0, "save: the state is a function"),
    ({"x": {1: 2}}, "save: x is a dict"), ({"z": np.array(["text"])}, "save: z has dtype <U4, which cannot be saved"),
    ({"s": {1, 2}}, "save: s is a set"), (np.float32(1), "save: the state is a float32"),
], ids=range(6))
@FORMATS
def test_what_is_no_state(tmp_path: Path, suffix: str, state: Any, message: str) -> None:
    path = tmp_path / f"state.{suffix}"
    tg.save(path, {"before": 1})
    with pytest.raises(TypeError, match=message):
        tg.save(path, state)
    assert tg.load(path) == {"before": 1}


@pytest.mark.parametrize("content", [
    b"", b"text", b"PK\x03\x04garbage", (100).to_bytes(8, "little") + b"{}", (2).to_bytes(8, "little") + b"[]",
    (2**40).to_bytes(8, "little"), b"\x80\x04\x95pickle..",
], ids=range(7))
def test_damaged_files(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(ValueError, match="load: "):
        tg.load(tmp_path / "x")


@FORMATS
def test_truncated_files(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"x.{suffix}"
    tg.save(path, {"a": tg.ones(100)})
    data = path.read_bytes()
    for size in (8, 20, len(data) // 2, len(data) - 1):
        path.write_bytes(data[:size])
        with pytest.raises(ValueError, match="load: "):
            tg.load(path)


def test_objects_in_npz_are_not_unpickled(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", x=np.array([object()], dtype=object))
    with pytest.raises(ValueError, match="allow_pickle"):
        tg.load(tmp_path / "x.npz")


@FORMATS
def test_a_file_has_the_permissions_that_files_get(tmp_path: Path, suffix: str) -> None:
    (tmp_path / "plain").write_text("")
    tg.save(tmp_path / f"state.{suffix}", [tg.ones(1)])
    assert (tmp_path / f"state.{suffix}").stat().st_mode == (tmp_path / "plain").stat().st_mode


@FORMATS
def test_a_link_is_followed(tmp_path: Path, suffix: str) -> None:
    (tmp_path / "elsewhere").mkdir()
    link, real = tmp_path / f"state.{suffix}", tmp_path / "elsewhere" / "real"
    link.symlink_to(real)
    tg.save(link, [tg.ones(1)])
    assert link.is_symlink() and same(tg.load(real), [tg.ones(1)])


def test_a_structure_that_names_what_is_not_there(tmp_path: Path) -> None:
    tg.save(tmp_path / "state.npz", {"a": tg.ones(1)})
    with np.load(tmp_path / "state.npz") as archive:
        structure = archive["__tracegrad__"]
    np.savez(tmp_path / "state.npz", __tracegrad__=structure)
    with pytest.raises(ValueError, match="a structure that tracegrad did not write"):
        tg.load(tmp_path / "state.npz")


def test_complex128_goes_into_npz_alone(tmp_path: Path) -> None:
    state = {"z": tg.tensor([1 + 2j], dtype=tg.complex128)}
    tg.save(tmp_path / "a.npz", state)
    assert same(tg.load(tmp_path / "a.npz"), state)
    with pytest.raises(TypeError, match="z has dtype complex128, which safetensors does not have; use npz"):
        tg.save(tmp_path / "a.safetensors", state)
    assert [p.name for p in tmp_path.iterdir()] == ["a.npz"]


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=rf"^test_io\.py:\d+: save: there is no folder '{tmp_path}/no'$"):
        tg.save(tmp_path / "no" / "state.npz", tg.ones(2))
