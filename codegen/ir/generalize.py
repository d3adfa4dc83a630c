"""generalize: trees that are alike but for their sizes -> one tree with symbols for what differs, and the way back.

    %0: f32[8,64]                               %0: f32[16,64]                              %0: f32[b,64], %1: f32[]
    %1 = constant value=0.125                   %1 = constant value=0.0625
    %2 = sum %0 axis=[0] : f32[64]              %2 = sum %0 axis=[0] : f32[64]       ->     %2 = sum %0 axis=[0]
    %3 = mul %2, %1 : f32[64]                   %3 = mul %2, %1 : f32[64]                   %3 = mul %2, %1

1. Sizes of inputs that differ are symbols; those that are equal in every witness are one symbol.
2. A size in an attr that differs is a size of the operands, a product of these, or such a size and a number, or else a
   multiple of a symbol and a number: one that comes to what it is in every witness. Type rules then give the types.
3. A constant that differs becomes an input, after the others; a binding says what it is.
4. Nothing is taken on trust: a tree is an instance only if it is, node for node, what the symbols make of the generic
   one. So what was guessed from a few witnesses is right wherever it is used.
"""
from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice, product
from math import prod

from codegen.ir.dims import Dim, Size, Undecided, ceil_div, evaluate, symbol
from codegen.ir.graph import Attr, Node, attrs_of
from codegen.ir.ops import OPS
from codegen.ir.tree import Tree, TreeBlock, with_values
from codegen.ir.type_rules import TypeRuleError
from codegen.ir.types import TensorType

SIZED = frozenset({"shape", "start", "stop", "low", "high", "size"})
"""Attrs whose numbers are sizes."""

PARTS_TRIED = (1, 2, 4, 8, 3)
"""A symbol may be a half of a size, say, where what is computed splits the size in two."""

MOST_TRIED = 64
"""So many ways to say what an attr is, where several sizes come to the same numbers."""

Row = tuple[int, ...]
"""What a size is in each witness."""


@dataclass(frozen=True, slots=True)
class Binding:
    """The numbers that symbols stand for, and the constants that are the last inputs: (text, dtype) of each."""

    numbers: Mapping[str, int]
    constants: tuple[tuple[str, str], ...]


def likeness(tree: Tree) -> Hashable:
    """What trees have in common that differ in sizes and numbers only."""
    def node_key(node: Node) -> Hashable:
        if node.op == "constant":
            return node.op, node.type.dtype
        attrs = tuple((name, len(value) if name in SIZED and isinstance(value, tuple) else value)
                      for name, value in node.attrs)
        return node.op, node.args, attrs, node.type.dtype, node.type.ndim

    inputs = tuple((type.dtype, type.ndim) for type in tree.inputs)
    return inputs, tuple((tuple(map(node_key, block.nodes)), block.terminator) for block in tree.blocks)


@dataclass(frozen=True, slots=True)
class Generic:
    """A tree with symbols, `lifted` constants as its last inputs, and, block by block, which nodes these were."""

    tree: Tree
    lifted: int
    constants: tuple[frozenset[int], ...]

    def binding_of(self, tree: Tree) -> Binding | None:
        """What makes the generic tree this one, which is like it; None if nothing does."""
        inputs = self.tree.inputs[:len(self.tree.inputs) - self.lifted]
        numbers: dict[str, int] = {}
        for symbolic, known in zip(inputs, tree.inputs, strict=True):
            for size, number in zip(symbolic.shape, known.shape, strict=True):
                if isinstance(size, Dim) and isinstance(number, int) and not size.constant:
                    (name, times), = size.terms         # as _Generalizer makes sizes of inputs
                    assert isinstance(name, str)
                    numbers.setdefault(name, number // times)
        if any(number < 2 for number in numbers.values()):
            return None

        def is_at(general: TensorType, own: TensorType) -> bool:
            return all(size == number if isinstance(size, int) else _number(size, numbers) == number != 0
                       for size, number in zip(general.shape, own.shape, strict=True))

        def attr_is_at(general: Attr, own: Attr) -> bool:
            if not isinstance(general, tuple) or not isinstance(own, tuple):
                return general == own
            return len(general) == len(own) and all(_number(g, numbers) == o for g, o in zip(general, own))

        if not all(map(is_at, inputs, tree.inputs)):
            return None
        constants: list[tuple[str, str]] = []
        for block, lifted, given in zip(self.tree.blocks, self.constants, tree.blocks, strict=True):
            rest = iter(block.nodes)
            for k, own in enumerate(given.nodes):
                if k in lifted:
                    constants.append((attrs_of(own)["value"], own.type.dtype))
                    continue
                general = next(rest)
                if not is_at(general.type, own.type) or not all(
                        attr_is_at(a, b) for (_, a), (_, b) in zip(general.attrs, own.attrs, strict=True)):
                    return None
        return Binding(numbers, tuple(constants))


def _number(size: Size, numbers: Mapping[str, int]) -> int:
    return size if isinstance(size, int) else evaluate(size, numbers)


def generalized(witnesses: Sequence[Tree]) -> Generic | None:
    """The generic tree of which these are instances, all of them alike and without symbols; None if none is found.

    Sizes of inputs are tried as symbols of their own first, then as far as possible as those of others and a number; a
    symbol is all of a size first, then some part of it.
    """
    for related in (False, True):
        for part in PARTS_TRIED:
            try:
                found = _Generalizer(witnesses, related, part).run()
            except (TypeRuleError, Undecided, ZeroDivisionError):
                continue
            if found is not None and all(found.binding_of(tree) is not None for tree in witnesses):
                return found
    return None


class _Generalizer:
    """`sizes`: what is known so far, by row. `new`: the values of the generic tree, by those of the first witness.

    `related`: may the size of an input be that of another and a number? `part`: of which part of a size is a symbol.
    """

    def __init__(self, witnesses: Sequence[Tree], related: bool, part: int):
        self.witnesses, self.related, self.part = witnesses, related, part
        self.symbols: dict[Row, Size] = {}
        self.sizes: dict[Row, dict[Size, None]] = {}
        self.numbers: list[dict[str, int]] = [{} for _ in witnesses]
        self.new: dict[int, int] = {}
        self.types: list[TensorType] = []

    def run(self) -> Generic | None:
        first = self.witnesses[0]
        for types in zip(*(tree.inputs for tree in self.witnesses), strict=True):
            shape = tuple(map(self._size_of_input, zip(*(type.shape for type in types), strict=True)))
            self.types.append(TensorType(types[0].dtype, shape))
        columns = [list(zip(*(tree.blocks[k].nodes for tree in self.witnesses), strict=True))
                   for k in range(len(first.blocks))]
        constants = tuple(frozenset(k for k, row in enumerate(rows) if row[0].op == "constant"
                                    and len({node.attrs for node in row}) > 1) for rows in columns)
        self.new = {v: v for v in range(len(first.inputs))}
        for block, rows, lifted in zip(first.blocks, columns, constants):
            for k in sorted(lifted):
                self.new[block.first + k] = len(self.types)
                self.types.append(rows[k][0].type)
        inputs = tuple(self.types)
        blocks: dict[int, TreeBlock] = {}
        for number in first.preorder():
            block, start, nodes = first.blocks[number], len(self.types), []
            for k, row in enumerate(columns[number]):
                if k not in constants[number]:
                    node = self._node(row)
                    if node is None:
                        return None
                    self.new[block.first + k] = len(self.types)
                    self.types.append(node.type)
                    nodes.append(node)
            blocks[number] = TreeBlock(start, tuple(nodes), with_values(block.terminator, self.new))
        tree = Tree(first.name, inputs, tuple(blocks[k] for k in range(len(blocks))))
        return Generic(tree, len(inputs) - len(first.inputs), constants)

    def _node(self, row: Sequence[Node]) -> Node | None:
        """The node that is these in the witnesses."""
        node = row[0]
        args = tuple(self.new[v] for v in node.args)
        operands = [self.types[v] for v in args]
        if node.op == "slice":
            self._look_at_steps(row, operands[0])
        for attrs in islice(product(*self._attrs(row, operands)), MOST_TRIED):
            try:
                type = OPS[node.op].type_rule(*operands, **dict(attrs))
            except TypeRuleError:
                continue
            if all(tuple(_number(size, numbers) for size in type.shape) == one.type.shape
                   for one, numbers in zip(row, self.numbers)):
                return replace(node, args=args, attrs=attrs, type=type)
        return None

    def _attrs(self, row: Sequence[Node], operands: Sequence[TensorType]) -> Iterator[list[tuple[str, Attr]]]:
        """For each attr what it may be."""
        for k, (name, value) in enumerate(row[0].attrs):
            if isinstance(value, tuple):
                sizes = [self._sizes(part, operands) for part in zip(*(n.attrs[k][1] for n in row), strict=True)]
                yield [(name, choice) for choice in islice(product(*sizes), MOST_TRIED)]
            else:
                yield [(name, value)]

    def _size_of_input(self, row: Row) -> Size:
        if len(set(row)) == 1:
            return row[0]
        if row not in self.sizes:
            fit = self._fit(row) if self.related else None
            if fit is None:
                times = self.part if all(number % self.part == 0 for number in row) else 1
                name, part = f"b{len(self.symbols)}", tuple(number // times for number in row)
                self.symbols[part] = symbol(name)
                for numbers, number in zip(self.numbers, part):
                    numbers[name] = number
                self._know(symbol(name))
                fit = symbol(name) * times
            self._know(fit)
        return next(iter(self.sizes[row]))

    def _row(self, size: Size) -> Row:
        return tuple(_number(size, numbers) for numbers in self.numbers)

    def _know(self, size: Size) -> None:
        self.sizes.setdefault(self._row(size), {})[size] = None

    def _sizes(self, row: Row, operands: Sequence[TensorType]) -> list[Size]:
        """Sizes that come to these numbers, those of the operands first."""
        if len(set(row)) == 1:
            return [row[0]]
        near = list(_sizes_of(operands))
        for size in near:
            self._know(size)
        if row not in self.sizes and (fit := self._fit(row)) is not None:
            self._know(fit)
        return list(dict.fromkeys((*(size for size in near if self._row(size) == row), *self.sizes.get(row, ()))))

    def _look_at_steps(self, row: Sequence[Node], operand: TensorType) -> None:
        """Where a slice ends that takes one element in so many, to the end of an axis."""
        starts = {attrs_of(node)["start"] for node in row}
        if len(starts) == 1:
            for size, start, step in zip(operand.shape, *starts, attrs_of(row[0])["step"]):
                if step > 1 and isinstance(size, Dim):
                    stop = start + (ceil_div(size - start, step) - 1) * step + 1
                    self._know(stop)

    def _fit(self, row: Row) -> Size | None:
        """A known size and a number, as small as there is one; else a multiple of a symbol and a number."""
        apart = [(row[0] - known[0], size) for known, sizes in self.sizes.items() for size in sizes
                 if len({n - m for n, m in zip(row, known)}) == 1]
        if apart:
            distance, size = min(apart, key=lambda found: abs(found[0]))
            return size + distance
        fits = (fit for known, size in self.symbols.items() if (fit := _multiple(row, known, size)) is not None)
        return next(fits, None)


def _sizes_of(operands: Sequence[TensorType]) -> Iterator[Size]:
    """The sizes of operands, and the products of neighbors."""
    for type in operands:
        yield from type.shape
    for type in operands:
        for k in range(type.ndim):
            for end in range(k + 2, type.ndim + 1):
                yield prod(type.shape[k:end])


def _multiple(row: Row, known: Row, size: Size) -> Size | None:
    """c * size + d where that comes to the numbers of `row`, for whole c and d."""
    a, b = next((a, b) for a in range(len(known)) for b in range(a) if known[a] != known[b])
    c, rest = divmod(row[a] - row[b], known[a] - known[b])
    d = row[a] - c * known[a]
    fits = not rest and all(n == c * m + d for n, m in zip(row, known))
    return c * size + d if fits else None
