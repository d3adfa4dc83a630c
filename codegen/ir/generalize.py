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
from dataclasses import replace
from itertools import islice, product
from math import prod

from codegen.ir.dims import Dim, Size, Undecided, ceil_div, evaluate, symbol
from codegen.ir.graph import Attr, Node, attrs_of
from codegen.ir.ops import OPS
from codegen.ir.program import Goto, Switch, Target, Terminator, targets_of, values_read
from codegen.ir.structs import struct
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


@struct
class Binding:
    """The numbers that symbols stand for, and the constants that are the last inputs: (text, dtype) of each."""

    numbers: Mapping[str, int]
    constants: tuple[tuple[str, str], ...]


Way = tuple[Hashable, ...]
"""How to come to a block: which way to take out of each block before it."""


@struct
class Witness:
    """What a tree is at some sizes: its inputs, and by the way to it each block's likeness and its nodes.

    Blocks are alike that differ in sizes and numbers only, and in which ways out of them are known.
    """

    inputs: tuple[TensorType, ...]
    blocks: Mapping[Way, tuple[Hashable, tuple[Node, ...]]]

    @property
    def structure(self) -> Hashable:
        """What whole trees have in common that are alike."""
        return tuple((way, likeness) for way, (likeness, _) in self.blocks.items())

    def joined(self, other: Witness) -> Witness | None:
        """What both are, if it is at the same sizes and they do the same where both go."""
        alike = all(other.blocks.get(way, block) == block for way, block in self.blocks.items())
        if self.inputs != other.inputs or not alike:
            return None
        return Witness(self.inputs, {**self.blocks, **other.blocks})


def witness_of(tree: Tree, aliases: Sequence[Hashable]) -> Witness:
    """A tree as a witness. `aliases`: of each end; ends with other ones are not alike."""
    ways: dict[int, Way] = {0: ()}
    names: dict[int, Hashable] = {v: v for v in range(len(tree.inputs))}
    blocks: dict[Way, tuple[Hashable, tuple[Node, ...]]] = {}
    of_end = dict(zip(tree.ends(), aliases, strict=True))

    def node_key(node: Node) -> Hashable:
        if node.op == "constant":
            return node.op, node.type.dtype
        attrs = tuple((name, len(value) if name in SIZED and isinstance(value, tuple) else value)
                      for name, value in node.attrs)
        return node.op, tuple(names[v] for v in node.args), attrs, node.type.dtype, node.type.ndim

    for number in tree.preorder():
        block, way = tree.blocks[number], ways[number]
        names.update((block.first + k, (len(way), k)) for k in range(len(block.nodes)))
        read = tuple(names[v] for v in values_read(block.terminator))
        end = type(block.terminator).__name__, read, of_end.get(number)
        blocks[way] = (tuple(map(node_key, block.nodes)), end), block.nodes
        ways.update((t.block, (*way, out)) for out, t in _ways_out(block.terminator) if isinstance(t, Goto))
    return Witness(tree.inputs, {ways[number]: blocks[ways[number]] for number in range(len(tree.blocks))})


def _ways_out(terminator: Terminator) -> list[tuple[Hashable, Target]]:
    if isinstance(terminator, Switch):
        return [*terminator.cases, ("default", terminator.default)]
    return list(enumerate(targets_of(terminator)))


@struct(eq=False)
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


def generalized(tree: Tree, aliases: Sequence[Hashable], others: Sequence[Witness]) -> Generic | None:
    """A generic tree of which `tree` is an instance, and what it is in the other witnesses too; None if none is found.

    Each block is compared with those like it, of whichever witnesses have been there. Sizes of inputs are tried as
    symbols of their own first, then as far as possible as those of others and a number; a symbol is all of a size
    first, then some part of it.
    """
    own = witness_of(tree, aliases)
    for related in (False, True):
        for part in PARTS_TRIED:
            try:
                found = _Generalizer(tree, own, others, related, part).run()
            except (TypeRuleError, Undecided, ZeroDivisionError):
                continue
            if found is not None and found.binding_of(tree) is not None:
                return found
    return None


class _Generalizer:
    """`here`: the witnesses that have been at the block that is being written, the tree itself first.

    `sizes`: what is known so far, by what it is in these. `new`: the values of the generic tree, by those of the tree.
    `related`: may the size of an input be that of another and a number? `part`: of which part of a size is a symbol.
    """

    def __init__(self, tree: Tree, own: Witness, others: Sequence[Witness], related: bool, part: int):
        self.tree, self.own, self.witnesses, self.related, self.part = tree, own, (own, *others), related, part
        self.symbols: list[Size] = []
        self.known: dict[Size, None] = {}
        self.sizes: dict[Row, dict[Size, None]] = {}
        self.numbers: list[dict[str, int]] = [{} for _ in self.witnesses]
        self.here = list(range(len(self.witnesses)))
        self.new: dict[int, int] = {}
        self.types: list[TensorType] = []

    def run(self) -> Generic | None:
        tree = self.tree
        for types in zip(*(witness.inputs for witness in self.witnesses), strict=True):
            shape = tuple(map(self._size_of_input, zip(*(type.shape for type in types), strict=True)))
            self.types.append(TensorType(types[0].dtype, shape))
        ways = list(self.own.blocks)
        alike = [[k for k, w in enumerate(self.witnesses) if w.blocks.get(way, (None,))[0] == self.own.blocks[way][0]]
                 for way in ways]
        columns = [list(zip(*(self.witnesses[k].blocks[way][1] for k in here), strict=True))
                   for way, here in zip(ways, alike)]
        constants = tuple(frozenset(k for k, row in enumerate(rows) if row[0].op == "constant"
                                    and len({node.attrs for node in row}) > 1) for rows in columns)
        self.new = {v: v for v in range(len(tree.inputs))}
        for block, rows, lifted in zip(tree.blocks, columns, constants):
            for k in sorted(lifted):
                self.new[block.first + k] = len(self.types)
                self.types.append(rows[k][0].type)
        inputs = tuple(self.types)
        blocks: dict[int, TreeBlock] = {}
        for number in tree.preorder():
            self._enter(alike[number])
            block, start, nodes = tree.blocks[number], len(self.types), []
            for k, row in enumerate(columns[number]):
                if k not in constants[number]:
                    node = self._node(row)
                    if node is None:
                        return None
                    self.new[block.first + k] = len(self.types)
                    self.types.append(node.type)
                    nodes.append(node)
            blocks[number] = TreeBlock(start, tuple(nodes), with_values(block.terminator, self.new))
        generic = Tree(tree.name, inputs, tuple(blocks[k] for k in range(len(blocks))))
        return Generic(generic, len(inputs) - len(tree.inputs), constants)

    def _enter(self, here: list[int]) -> None:
        """From here on sizes are compared in these witnesses."""
        self.here, self.sizes = here, {}
        for size in self.known:
            self.sizes.setdefault(self._row(size), {})[size] = None

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
            if all(tuple(_number(size, self.numbers[k]) for size in type.shape) == one.type.shape
                   for one, k in zip(row, self.here)):
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
                splits = all(number % self.part == 0 and number >= 2 * self.part for number in row)
                times = self.part if splits else 1
                name = f"b{len(self.symbols)}"
                for numbers, number in zip(self.numbers, row):
                    numbers[name] = number // times
                self.symbols.append(symbol(name))
                self._know(symbol(name))
                fit = symbol(name) * times
            self._know(fit)
        return next(iter(self.sizes[row]))

    def _row(self, size: Size) -> Row:
        return tuple(_number(size, self.numbers[k]) for k in self.here)

    def _know(self, size: Size) -> None:
        self.known[size] = None
        self.sizes.setdefault(self._row(size), {})[size] = None

    def _sizes(self, row: Row, operands: Sequence[TensorType]) -> list[Size]:
        """Sizes that come to these numbers, those of the operands first."""
        if len(set(row)) == 1 < len(row):
            return [row[0]]
        near = list(_sizes_of(operands))
        for size in near:
            self._know(size)
        if row not in self.sizes and (fit := self._fit(row)) is not None:
            self._know(fit)
        found = (*(size for size in near if self._row(size) == row), *self.sizes.get(row, ()))
        return list(dict.fromkeys((*found, *row) if len(row) == 1 else found))

    def _look_at_steps(self, row: Sequence[Node], operand: TensorType) -> None:
        """Where a slice ends that takes one element in so many, to the end of an axis."""
        starts = {attrs_of(node)["start"] for node in row}
        if len(starts) == 1:
            for size, start, step in zip(operand.shape, *starts, attrs_of(row[0])["step"]):
                if step > 1 and isinstance(size, Dim):
                    self._know(start + (ceil_div(size - start, step) - 1) * step + 1)

    def _fit(self, row: Row) -> Size | None:
        """A known size and a number, as small as there is one; else a multiple of a symbol and a number."""
        if len(row) == 1:
            return None                     # anything would do
        apart = [(row[0] - known[0], size) for known, sizes in self.sizes.items() for size in sizes
                 if len({n - m for n, m in zip(row, known)}) == 1]
        if apart:
            distance, size = min(apart, key=lambda found: abs(found[0]))
            return size + distance
        fits = (fit for size in self.symbols if (fit := _multiple(row, self._row(size), size)) is not None)
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
    if len(set(known)) == 1:
        return None
    a, b = next((a, b) for a in range(len(known)) for b in range(a) if known[a] != known[b])
    c, rest = divmod(row[a] - row[b], known[a] - known[b])
    d = row[a] - c * known[a]
    fits = not rest and all(n == c * m + d for n, m in zip(row, known))
    return c * size + d if fits else None
