"""interpret: run a Graph or Program on NumPy arrays through the references of its ops. The oracle for every backend.

1. Symbols are bound by the shapes of the inputs; derived sizes are computed from them.
2. Every result is checked to have the dtype and shape that its type says.
3. Nothing is shared: outputs are arrays of their own.
"""
from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from codegen.ir.dims import Size, evaluate, symbol_name
from codegen.ir.graph import Attr, Graph, Node
from codegen.ir.ops import CHECKED, OPS
from codegen.ir.program import (
    CHECK_FAILED,
    Branch,
    Exit,
    Goto,
    Jump,
    Program,
    Return,
    Switch,
    Target,
    case_number,
    program_of,
)
from codegen.ir.text import node_text
from codegen.ir.types import TensorType, type_of


def interpret(program: Graph | Program, inputs: Sequence[np.ndarray]) -> list[np.ndarray] | Exit:
    """The outputs of a run on `inputs`, or the exit it took: CHECK_FAILED where an index is out of bounds.

    TypeError if an input is not of its type, or a reference gives a result that is not of its node's.
    Warnings about floating-point exceptions are off; the values are IEEE 754's.
    """
    return walk(program_of(program) if isinstance(program, Graph) else program, inputs)[1]


def walk(program: Program, inputs: Sequence[np.ndarray]) -> tuple[int, list[np.ndarray] | Exit]:
    """The block in which a run on `inputs` is over, and what interpret gives."""
    binding = bind(program.inputs, [np.shape(x) for x in inputs])
    values = [np.asarray(x) for x in inputs]
    for k, (value, type) in enumerate(zip(values, program.inputs)):
        _require_type(f"input %{k}", value, type, binding)
    number, block = 0, program.blocks[0]
    with np.errstate(all="ignore"):
        while True:
            for node in block.nodes:
                try:
                    values.append(_result(node, values, binding))
                except (IndexError, np.linalg.LinAlgError):
                    if CHECKED in OPS[node.op].traits:
                        return number, CHECK_FAILED
                    raise
            target: Target
            match block.terminator:
                case Return(outputs):
                    return number, [np.array(values[v], order="C") for v in outputs]
                case Branch(predicate, then, else_):
                    target = then if values[predicate] else else_
                case Switch(value_, cases, default):
                    target = dict(cases).get(case_number(values[value_]), default)
                case Jump(only):
                    target = only
            match target:
                case Exit():
                    return number, target
                case Goto(number, args):
                    block, values = program.blocks[number], [values[v] for v in args]


def bind(types: Sequence[TensorType], shapes: Sequence[tuple[int, ...]]) -> dict[str, int]:
    """The value of each symbol that is by itself the size of an axis, from shapes that belong to types.

    TypeError if there are not as many, if ranks differ, if a symbol has two values, or one below 2.
    """
    if len(types) != len(shapes):
        raise TypeError(f"{len(shapes)} inputs for {len(types)}")
    binding: dict[str, int] = {}
    for number, (type, shape) in enumerate(zip(types, shapes)):
        if type.ndim != len(shape):
            raise TypeError(f"input %{number} has shape {list(shape)}, not that of {type}")
        for size, actual in zip(type.shape, shape):
            name = symbol_name(size)
            if name is not None:
                if actual < 2 or binding.setdefault(name, actual) != actual:
                    raise TypeError(f"input %{number}: {name} is {actual}, which is "
                                    + ("below 2" if actual < 2 else f"also {binding[name]}"))
    return binding


def _result(node: Node, values: list[np.ndarray], binding: Mapping[str, int]) -> np.ndarray:
    attrs = {name: _numbers(attr, binding) for name, attr in node.attrs}
    result = np.asarray(OPS[node.op].reference(*(values[v] for v in node.args), **attrs))
    _require_type(node_text(len(values), node), result, node.type, binding)
    return result


def _numbers(attr: Attr, binding: Mapping[str, int]) -> Attr:
    """The attr with numbers for its sizes."""
    return tuple(evaluate(size, binding) for size in attr) if isinstance(attr, tuple) else attr


def _require_type(what: str, array: np.ndarray, type: TensorType, binding: Mapping[str, int]) -> None:
    sizes: tuple[Size, ...] = tuple(evaluate(size, binding) for size in type.shape)
    if type_of(array) != TensorType(type.dtype, sizes):
        raise TypeError(f"{what} is {type_of(array)}")
