"""Random programs of NumPy code, as text: views, writes in place, masks, promotion, creation, calls of helpers.

Each statement is tried on arrays while the program is drawn, so that drawn programs run.
"""
from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st

NUMBERS = ("2", "-1", "0.5", "3.0", "np.float32(1.5)", "np.int8(3)", "True")
BINARY = ("+", "-", "*", "/", "//", "%", "<", ">=", "==", "&", "|")
UPDATES = ("+=", "-=", "*=", "/=", "//=")
UNARY = ("np.sqrt(np.abs({0}))", "np.tanh({0})", "np.exp(-np.abs({0}))", "-{0}", "abs({0})", "np.floor({0})",
         "np.sign({0})", "np.isnan({0})", "~({0} > 0)", "{0}.astype(np.float32)", "{0}.astype(np.int32)",
         "{0}.copy()", "np.square({0})", "helper({0})", "np.zeros_like({0})", "np.array({0})", "np.asarray({0})",
         "({0} > 0).astype(int)")
SHAPED = ("{0}.sum(axis=0)", "{0}.mean()", "{0}.max(axis=-1)", "{0}.T", "{0}.reshape(-1)", "{0}.ravel()", "{0}[0]",
          "{0}[1:]", "{0}[..., 0]", "{0}[::-1]", "{0}[:, None]", "{0}[..., ::2]", "np.sort({0}, axis=0)",
          "np.cumsum({0}, axis=0)", "np.roll({0}, 1)", "np.concatenate([{0}, {0}])", "np.stack([{0}, {1}])",
          "np.diff({0}, axis=0)", "{0}.any()", "{0} @ {1}", "np.outer({0}, {1})", "{0}.argmax(axis=0)",
          "{0}[[1, 0]]", "np.pad({0}, 1)", "{0}.flatten()", "np.broadcast_to({0}, {1}.shape)", "{0}.std(axis=0)",
          "np.median({0}, axis=0)", "np.tril({0})", "{0}.min(initial=0)", "{0}[{1} > 0].sum()",
          "np.where({0} > 0, {0}, {1})", "np.maximum({0}, {1})", "np.minimum({0}, 1)", "{0}.clip(-1, 1)",
          "np.add.outer({0}, {1})", "np.einsum('...i,...i->...', {0}, {1})", "[{0}, {1}][0]", "np.round({0}, 1)")
WRITES = ("{0}[0] = {1}", "{0}[1:] = {2}", "{0}[...] = {1}", "{0}[..., 0] = {2}", "{0}[{0} > 0] = {2}",
          "{0}[{1} > 0] *= {2}", "{0}[{1} > 0] = {1}[{1} > 0]", "{0}[[0, 1]] += {2}", "{0}.fill({2})",
          "{0}.sort(axis=0)", "{0}[::-1] = {1}", "np.add({0}, {1}, out={0})", "np.copyto({0}, {1})",
          "np.multiply({0}, {2}, out={0}, where={0} > 0)", "{0}.T[0] -= {2}", "{0}.flat[0] = {2}",
          "{0}[0], {0}[1] = {1}[1], {1}[0]", "np.add.at({0}, [0, 0, 1], {2})")


@dataclass(frozen=True, slots=True)
class Program:
    """`text` defines `program(x, y, v)`; `namespace` holds what it reads beside."""

    text: str

    def function(self, namespace: dict[str, Any]) -> Any:
        """The function, over a namespace of its own."""
        exec(compile(self.text, "<drawn program>", "exec"), namespace)
        return namespace["program"]


def namespace(scale: float = 1.0) -> dict[str, Any]:
    """The globals of a program: an array, a number and a function."""
    names: dict[str, Any] = {"np": np, "weight": np.array([1.0, -2.0, 0.5]) * scale, "scale": scale}
    exec(compile("def helper(a):\n    return a * scale + 1\n", "<helper>", "exec"), names)
    return names


def arguments(seed: int, n: int = 4) -> dict[str, np.ndarray]:
    """Arrays for one call, of n rows."""
    r = np.random.default_rng(seed)
    return {"x": r.normal(size=(n, 3)), "y": r.integers(-3, 4, (n, 3)), "v": r.normal(size=3).astype(np.float32)}


@st.composite
def programs(draw: st.DrawFn) -> Program:
    """A program of a few statements."""
    names = {**namespace(), **arguments(0)}
    variables, lines = ["x", "y", "v", "weight"], []
    for k in range(draw(st.integers(2, 7))):
        kind = draw(st.sampled_from(("binary", "number", "unary", "shaped", "write", "update")))
        a, b, c = (draw(st.sampled_from(variables)) for _ in range(3))
        number = draw(st.sampled_from(NUMBERS))
        made = f"t{k}"
        writable = a if a != "weight" else "x"
        match kind:
            case "binary":
                line = f"{made} = {a} {draw(st.sampled_from(BINARY))} {b}"
            case "number":
                line = f"{made} = {a} {draw(st.sampled_from(BINARY[:8]))} {number}"
            case "unary":
                line = f"{made} = {draw(st.sampled_from(UNARY)).format(a)}"
            case "shaped":
                line = f"{made} = {draw(st.sampled_from(SHAPED)).format(a, b)}"
            case "write":
                line = draw(st.sampled_from(WRITES)).format(writable, b, draw(st.sampled_from((number, c))))
            case _:
                line = f"{writable} {draw(st.sampled_from(UPDATES))} {draw(st.sampled_from((number, b)))}"
        tried = {name: value.copy() if isinstance(value, np.ndarray) else value for name, value in names.items()}
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            try:
                exec(line, tried)
                exec(line, names)
            except Exception:  # noqa: BLE001 - NumPy refuses it: another is drawn
                continue
        lines.append(line)
        if made in names:
            variables.append(made)
    returned = ", ".join(name for name in variables if name != "weight")
    return Program("def program(x, y, v):\n" + "".join(f"    {line}\n" for line in lines) + f"    return {returned},\n")
