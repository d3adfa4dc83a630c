"""Pictures: everything in reach of a program, as text and numbers by route, so that two runs of it can be compared.

    w = tg.ones(2); d = {"a": [w]}     w: object 0: Tensor float32(2,)    d['a'][0]: object 0    numbers w: [1, 1]
"""
from __future__ import annotations

import collections
import decimal
import functools
import os
import random
import sys
import types
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import tracegrad as tg
from tracegrad.tensors import Tensor
from tracegrad.tracing import Traced


@dataclass
class Seen:
    """What one call came to: its outcome and everything in reach after it, as text and numbers by route."""

    outcome: str
    way: str
    things: dict[str, str] = field(default_factory=dict)
    numbers: dict[str, np.ndarray] = field(default_factory=dict)


LRU = functools._lru_cache_wrapper
PLAIN = (str, bytes, int, float, complex, type(None), type(Ellipsis), range, decimal.Decimal)


class Picture:
    """Everything in reach, drawn into a Seen: one text per route; objects are numbered as they are met."""

    def __init__(self, seen: Seen):
        self.seen = seen
        self._met: dict[int, int] = {}
        self._kept: list[Any] = []
        self._arrays: list[tuple[str, np.ndarray]] = []

    def draw(self, route: str, value: Any) -> None:
        """One object and all below it."""
        things, kind = self.seen.things, type(value)
        if isinstance(value, PLAIN) and kind in PLAIN:
            things[route] = f"{kind.__name__} {value!r}"
            return
        if isinstance(value, np.generic):
            things[route] = f"{kind.__name__} {value!r}"
            return
        if isinstance(value, types.ModuleType):
            things[route] = f"module {value.__name__}"
            return
        if kind is tuple:           # whether two equal tuples are one is nobody's concern
            things[route] = "tuple"
        elif id(value) in self._met:
            things[route] = f"object {self._met[id(value)]}"
            return
        else:
            things[route] = f"object {len(self._met)}: {kind.__name__}"
            self._met[id(value)] = len(self._met)
            self._kept.append(value)
        for step, part in self._parts(route, value):
            self.draw(route + step, part)

    def _parts(self, route: str, value: Any) -> Iterator[tuple[str, Any]]:
        things = self.seen.things
        if isinstance(value, Tensor):
            array = value.array
            things[route] += (f" {array.dtype}{array.shape} strides {array.strides} "
                              f"requires_grad {value.requires_grad}, leaf {value.is_leaf}, hooks {bool(value.hooks)}")
            self._draw_array(route, array)
            yield ".grad", value._grad
        elif isinstance(value, np.ndarray):
            things[route] += f" {value.dtype}{value.shape}"
            if value.dtype.hasobject:
                yield "[...]", value.tolist()
            else:
                self._draw_array(route, value)
        elif isinstance(value, dict):
            for k, key in enumerate(dict.keys(value)):
                yield f"<key {k}>", key
                yield f"[{key!r}]" if isinstance(key, PLAIN) else f"[<key {k}>]", dict.__getitem__(value, key)
        elif isinstance(value, list | tuple | collections.deque):
            for k, part in enumerate(value):
                yield f"[{k}]", part
        elif isinstance(value, set | frozenset):
            is_plain = all(isinstance(v, PLAIN) for v in value)
            things[route] += f" {sorted(map(repr, value)) if is_plain else len(value)}"
        elif isinstance(value, Traced):
            yield ".eager", value.eager
            return
        elif isinstance(value, types.FunctionType) and value.__code__.co_filename in ("program.py", "change.py"):
            yield ".__defaults__", value.__defaults__
            yield ".__kwdefaults__", value.__kwdefaults__
            for name, cell in zip(value.__code__.co_freevars, value.__closure__ or ()):
                yield f".{name}", self._cell(cell)
        elif isinstance(value, types.MethodType):
            yield ".__self__", value.__self__
        elif isinstance(value, functools.partial):
            yield from ((".func", value.func), (".args", value.args), (".keywords", value.keywords))
        elif type(value) is LRU:
            things[route] += f" {value.cache_info()}"
        elif isinstance(value, random.Random):
            things[route] += f" {hash(value.getstate())}"
        elif isinstance(value, np.random.Generator):
            things[route] += f" {value.bit_generator.state}"
        elif isinstance(value, types.CellType):
            yield ".contents", self._cell(value)
        if getattr(type(value), "__module__", None) == "program" or isinstance(
                value, types.FunctionType | types.SimpleNamespace | Tensor | BaseException):
            yield from self._attributes(value)
        elif isinstance(value, type) and value.__module__ == "program":
            yield from ((f".{name}", part) for name, part in sorted(vars(value).items())
                        if name[:2] != "__" and name != "_abc_impl")

    @staticmethod
    def _cell(cell: Any) -> Any:
        try:
            return cell.cell_contents
        except ValueError:
            return "<empty>"

    @staticmethod
    def _attributes(value: Any) -> Iterator[tuple[str, Any]]:
        try:
            names = object.__getattribute__(value, "__dict__")
        except AttributeError:
            names = {}
        yield from ((f".{name}", part) for name, part in sorted(names.items()) if name != "__wrapped__")
        if isinstance(value, Tensor | types.FunctionType | BaseException):
            return
        for cls in type(value).__mro__:
            for name, member in sorted(vars(cls).items()):
                if isinstance(member, types.MemberDescriptorType):
                    try:
                        yield f".{name}", member.__get__(value)
                    except AttributeError:
                        pass

    def _draw_array(self, route: str, array: np.ndarray) -> None:
        self.seen.numbers[route] = array.copy()
        for other, theirs in self._arrays:
            if np.may_share_memory(array, theirs):
                self.seen.things[f"{route} & {other}"] = "share memory"
        self._arrays.append((route, array))

    def draw_world(self) -> None:
        """What is not in reach of the program, and may change with it."""
        things = self.seen.things
        for file in sorted(Path.cwd().iterdir()):
            things[f"file {file.name}"] = str(file.read_bytes())
        things["random"] = str(hash(random.getstate()))
        things["np.random"] = str(hash(np.random.get_state()[1].tobytes())) + str(np.random.get_state()[2])
        things["tg.random"] = str(tg.random.default_generator.counter.array)
        things["stdin"] = str(sys.stdin.tell())
        things["environment"] = str({k: v for k, v in os.environ.items() if k.startswith("HAZARD")})
        things["settings"] = f"{np.geterr()} {decimal.getcontext()} {tg.is_grad_enabled()} {tg.get_default_dtype()} " \
            f"{tg.is_autocast_enabled()}"
