"""save and load: states in files, as npz or safetensors. Nothing in a file is ever executed: there is no pickle.

A state is a Tensor, an array, a number, a string, None, or a list, tuple or dict (with string keys) of states.
Tensors are stored under their path, `model.hidden.weight`, so that other programs can read them; what is around
them is stored as JSON. A file that another program wrote loads as a dict of Tensors by name.
"""
from __future__ import annotations

import json
import math
import os
import secrets
import zipfile
from pathlib import Path
from typing import IO, Any

import numpy as np

from codegen.ir.types import DTYPES, NAMES
from tracegrad.conversions import placed
from tracegrad.devices import Device, device_of
from tracegrad.dtypes import canonical
from tracegrad.host import read_on_cpu
from tracegrad.recorder import ACTIVE
from tracegrad.source_lines import at_user_line
from tracegrad.tensors import Tensor

STRUCTURE = "__tracegrad__"
"""The name under which a file keeps the JSON of what is around its tensors."""

SAFETENSORS = {
    "bool": "BOOL", "i8": "I8", "i16": "I16", "i32": "I32", "i64": "I64", "u8": "U8", "u16": "U16", "u32": "U32",
    "u64": "U64", "f16": "F16", "bf16": "BF16", "f32": "F32", "f64": "F64",
    "c64": "C64",
}
"""What safetensors calls our dtypes; it has no complex128."""

LARGEST_HEADER = 100_000_000        # bytes: the limit that safetensors itself sets


def save(path: str | os.PathLike[str], state: Any) -> None:
    """Write `state` to a file, safetensors if its name ends in .safetensors, else npz; whole or not at all.

    TypeError, naming the place, for anything that is no state.
    """
    arrays: dict[str, np.ndarray] = {}
    structure = taken_apart(state, "", arrays)
    target = Path(os.path.realpath(path))
    write = write_safetensors if Path(path).suffix == ".safetensors" else write_npz
    for name, array in arrays.items():
        if write is write_safetensors and NAMES[array.dtype] not in SAFETENSORS:
            raise TypeError(f"save: {name} has dtype {array.dtype}, which safetensors does not have; use npz")
    if not target.parent.is_dir():
        raise FileNotFoundError(at_user_line(f"save: there is no folder {str(target.parent)!r}"))
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    with open(temporary, "xb") as file:         # with the permissions that files get here
        try:
            write(file, arrays, json.dumps(structure))
            file.close()
            os.replace(temporary, target)
        except BaseException:
            os.unlink(temporary)
            raise


def load(path: str | os.PathLike[str], device: str | Device | None = None) -> Any:
    """The state in a file that `save` or another program wrote, its Tensors on a device. ValueError if it is neither
    npz nor safetensors.
    """
    place = None if device is None else device_of(device)
    with open(path, "rb") as file:
        start = file.read(4)
        file.seek(0)
        arrays, structure = read_npz(file, path) if start[:2] == b"PK" else read_safetensors(file, path)
    if structure is None:
        return {name: made(array, place) for name, array in arrays.items()}
    return put_together(json.loads(structure), arrays, place)


# ---- the structure: JSON in which [kind, ...] stands for a state --------------------------------------------------


def taken_apart(state: Any, path: str, arrays: dict[str, np.ndarray]) -> Any:
    """The JSON of a state; its arrays go into `arrays` by path."""
    inside = f"{path}." if path else ""
    match state:
        case Tensor() | np.ndarray():
            array = read_on_cpu(state, "save") if isinstance(state, Tensor) else state
            if array.dtype not in NAMES:
                raise TypeError(f"save: {path or 'the state'} has dtype {array.dtype}, which cannot be saved")
            name = unused(path or "tensor", arrays)
            arrays[name] = array
            return ["tensor" if isinstance(state, Tensor) else "array", name]
        case None | bool() | int() | float() | str() if type(state) in (type(None), bool, int, float, str):
            return ["value", state]
        case list() | tuple() if type(state) in (list, tuple):
            return [type(state).__name__, [taken_apart(s, f"{inside}{k}", arrays) for k, s in enumerate(state)]]
        case dict() if all(isinstance(key, str) for key in state):
            return ["dict", {key: taken_apart(s, f"{inside}{key}", arrays) for key, s in state.items()}]
    raise TypeError(f"save: {path or 'the state'} is a {type(state).__name__}, not a tensor, a number, a string, None, "
                    "or a list, tuple or dict with string keys of them")


def unused(name: str, arrays: dict[str, np.ndarray]) -> str:
    """`name`, with a number if it is taken."""
    taken = {STRUCTURE, "__metadata__", *arrays}
    return name if name not in taken else next(n for k in range(len(taken) + 1) if (n := f"{name}#{k}") not in taken)


def made(array: np.ndarray, device: Device | None) -> Tensor:
    """A Tensor of an array from a file."""
    tensor = Tensor(canonical(array))
    recorder = ACTIVE.get()
    if recorder is not None:
        recorder.record_creation(tensor, array)
    return placed(tensor, device)


def put_together(structure: Any, arrays: dict[str, np.ndarray], device: Device | None) -> Any:
    """The state that `taken_apart` took apart."""
    match structure:
        case ["tensor", str(name)] if name in arrays:
            return made(arrays[name], device)
        case ["array", str(name)] if name in arrays:
            return arrays[name]
        case ["value", value]:
            return value
        case ["list", list(parts)]:
            return [put_together(part, arrays, device) for part in parts]
        case ["tuple", list(parts)]:
            return tuple(put_together(part, arrays, device) for part in parts)
        case ["dict", dict(parts)]:
            return {key: put_together(part, arrays, device) for key, part in parts.items()}
    raise ValueError(f"load: the file has a structure that tracegrad did not write: {str(structure)[:80]}")


# ---- npz: a zip of .npy files; bfloat16, which .npy does not know, as its bits ------------------------------------


def write_npz(file: IO[bytes], arrays: dict[str, np.ndarray], structure: str) -> None:
    bits = {name: array.view(np.uint16) if NAMES[array.dtype] == "bf16" else array for name, array in arrays.items()}
    halves = [name for name, array in arrays.items() if NAMES[array.dtype] == "bf16"]
    text = json.dumps({"structure": structure, "bfloat16": halves}).encode()
    with zipfile.ZipFile(file, "w") as archive:
        for name, array in {**bits, STRUCTURE: np.frombuffer(text, np.uint8)}.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
                np.lib.format.write_array(entry, np.asarray(array), allow_pickle=False)


def read_npz(file: IO[bytes], path: Any) -> tuple[dict[str, np.ndarray], str | None]:
    try:
        with np.load(file, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except zipfile.BadZipFile as error:
        raise ValueError(f"load: {path} is a damaged npz file: {error}") from None
    written = arrays.pop(STRUCTURE, None)
    if written is None:
        return arrays, None
    notes = json.loads(written.tobytes())
    for name in notes["bfloat16"]:
        arrays[name] = arrays[name].view(DTYPES["bf16"])
    return arrays, notes["structure"]


# ---- safetensors: 8 bytes of length, a JSON header, the data ------------------------------------------------------


def write_safetensors(file: IO[bytes], arrays: dict[str, np.ndarray], structure: str) -> None:
    header: dict[str, Any] = {"__metadata__": {STRUCTURE: structure}}
    offset = 0
    for name, array in arrays.items():
        header[name] = {"dtype": SAFETENSORS[NAMES[array.dtype]], "shape": list(array.shape),
                        "data_offsets": [offset, offset + array.nbytes]}
        offset += array.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    file.write(len(text).to_bytes(8, "little") + text)
    for array in arrays.values():
        file.write(np.ascontiguousarray(array).tobytes())


def read_safetensors(file: IO[bytes], path: Any) -> tuple[dict[str, np.ndarray], str | None]:
    size = int.from_bytes(file.read(8), "little")
    if not 2 <= size <= LARGEST_HEADER:
        raise ValueError(f"load: {path} is neither npz nor safetensors")
    try:
        text = file.read(size)
        if len(text) < size:
            raise ValueError("the header is cut off")
        header = json.loads(text)
        metadata = header.pop("__metadata__", {})
        data = bytearray(file.read())
        dtypes = {theirs: DTYPES[ours] for ours, theirs in SAFETENSORS.items()}
        arrays = {}
        for name, entry in header.items():
            start, stop = entry["data_offsets"]
            dtype, shape = dtypes[entry["dtype"]], tuple(entry["shape"])
            if not 0 <= start <= stop <= len(data) or stop - start != math.prod(shape) * dtype.itemsize:
                raise ValueError(f"{name} lies outside the file")
            arrays[name] = np.frombuffer(bytearray(data[start:stop]), dtype).reshape(shape)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"load: {path} is a damaged safetensors file: {error}") from None
    return arrays, metadata.get(STRUCTURE)
