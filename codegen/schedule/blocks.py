"""blocks: Tree -> ProgramPlan: every block planned by itself, and what later blocks read placed in one arena.

    block0: %1 = exp %0                 input 0 --plan A--> arena at 0            plan A: launch exp
            jump -> block1       ->     arena at 0 --plan A--> arena at 64
    block1: %2 = exp %1                 arena at 64 --plan A--> slot 0
            return exp %2

1. Blocks that do the same share a Plan, which is made once.
2. A value keeps its place from the block that makes it to the last ones that read it; whatever a block writes is beside
   all that it or a later block reads. Values on ways that part may share a place.
3. What every end behind the block that makes it returns in one slot is made in that slot.
4. Only a block that returns writes inputs that outputs share, and it does after its own Check.
"""
from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from math import prod
from typing import Any

import numpy as np

from codegen.ir.dims import Size, evaluate, symbols
from codegen.ir.generalize import Binding
from codegen.ir.graph import Graph
from codegen.ir.program import Branch, Return, Switch, Terminator, values_read
from codegen.ir.references import literal
from codegen.ir.tree import Tree, foreign, graph_of, with_args
from codegen.ir.types import DTYPES, TensorType, is_static
from codegen.schedule.binding import plan_at
from codegen.schedule.machine import Machine
from codegen.schedule.memory import aligned, first_fit
from codegen.schedule.pipeline import schedule
from codegen.schedule.plan import (
    Arena,
    CannotLower,
    Constant,
    Input,
    Output,
    Place,
    Plan,
    PlannedBlock,
    ProgramPlan,
)

Aliases = tuple[tuple[int, int], ...]


class BoundTree:
    """A tree and what its symbols stand for. `types`: those of its values with numbers for their sizes.

    The last inputs of the tree are the constants of the binding: only `known_inputs` are inputs of a run.
    """

    def __init__(self, tree: Tree, binding: Binding):
        self.tree, self.binding = tree, binding
        self.known_inputs = len(tree.inputs) - len(binding.constants)
        self.types = {v: self._bound(type) for v, type in tree.types().items()}
        self.constants = tuple(Constant(np.asarray(literal(text), DTYPES[dtype]).tobytes())
                               for text, dtype in binding.constants)

    def outputs(self) -> list[tuple[TensorType, ...]]:
        """The types of the outputs of each end."""
        return [tuple(self.types[v] for v in values) for values in self.tree.ends().values()]

    def _bound(self, type: TensorType) -> TensorType:
        return type if is_static(type) else TensorType(type.dtype, tuple(self._number(size) for size in type.shape))

    def _number(self, size: Size) -> int:
        if symbols(size) - self.binding.numbers.keys():
            raise CannotLower(f"the size {size} has to be bound to a number first")
        return evaluate(size, self.binding.numbers)


def schedule_tree(bound: BoundTree, slots: tuple[TensorType, ...], ends: tuple[tuple[int, ...], ...], machine: Machine
                  ) -> ProgramPlan:
    """The plan of a tree of core ops. `slots`, `ends`: see ProgramPlan. CannotLower for what has no plan.

    In the machine's `arena_bytes`, or in as few as was found.
    """
    unbounded = _InNumbers(bound, slots, ends, replace(machine, arena_bytes=None)).run()
    if machine.arena_bytes is None or unbounded.arena_bytes <= machine.arena_bytes:
        return unbounded
    found = min(_InNumbers(bound, slots, ends, machine).run(), unbounded, key=lambda program: program.arena_bytes)
    return replace(found, unbounded_bytes=unbounded.arena_bytes)


class Linker(ABC):
    """Plans blocks and says where in the program's storage each value is.

    `places`: where that is; `needed`: what blocks and those after them read but do not make, by block. What is `taken`
    of the arena, and how it is reserved, is for those to say who know its sizes.
    """

    def __init__(self, tree: Tree, types: Mapping[int, TensorType], constants: Sequence[Constant],
                 slots: tuple[TensorType, ...], ends: tuple[tuple[int, ...], ...], machine: Machine):
        self.tree, self.types = tree, types
        self.slots, self.ends, self.machine = slots, ends, machine
        self.symbolic = self.tree.types()
        self.order = tuple(self.tree.preorder())
        self.end_of_block = dict(zip(self.tree.ends(), ends))
        self.first = len(tree.inputs) - len(constants)      # position of the first slot
        self.places: dict[int, Place] = {k: Input(k) for k in range(self.first)}
        self.places.update(enumerate(constants, self.first))
        self.needed: dict[int, list[int]] = {}
        self.returned: dict[int, dict[int, Place]] = {}     # by block, what all ends behind it return, and where
        self.arena_bytes = 0

    @abstractmethod
    def _plan(self, graph: Graph, aliases: Aliases, taken: Any) -> Plan:
        """The plan of what a block computes, beside what is taken."""

    @abstractmethod
    def _taken(self, number: int) -> Any:
        """The parts of the arena that hold what a block and those after it read."""

    @abstractmethod
    def _reserve(self, taken: Any, type: TensorType) -> Place:
        """Where a value of this type is put, beside what is taken: that is, too, from now on."""

    @abstractmethod
    def _room(self, taken: Any, plan: Plan) -> int | tuple[int, ...]:
        """Where a plan works, beside what is taken."""

    def run(self) -> ProgramPlan:
        for number in reversed(self.order):
            block = self.tree.blocks[number]
            self.needed[number] = foreign(block, (*values_read(block.terminator), *self._later(number)))
            self.returned[number] = self._returned(number)
        blocks = {number: self._end(number) if number in self.end_of_block else self._middle(number)
                  for number in self.order}
        inputs = tuple(self.types[v] for v in range(self.first))
        return ProgramPlan(inputs, self.slots, self.ends, tuple(blocks[k] for k in range(len(blocks))),
                           self.arena_bytes)

    def _later(self, number: int) -> list[int]:
        """What the blocks after one read, and did not make themselves."""
        return [v for k in self.tree.blocks[number].successors for v in self.needed[k]]

    def _returned(self, number: int) -> dict[int, Place]:
        """The values that every end behind a block, or it, returns in the same slot."""
        block = self.tree.blocks[number]
        if isinstance(block.terminator, Return):
            outputs = reversed([*zip(block.terminator.values, self.end_of_block[number])])
            return {v: Output(k - self.first) for v, k in outputs if k >= self.first}
        after = [self.returned[k] for k in block.successors]
        common = after[0].items() if after else ()
        return {v: place for v, place in common if all(other.get(v) == place for other in after)}

    def _middle(self, number: int) -> PlannedBlock:
        """A block that goes on: what it makes and others read, or its terminator, is put into the arena."""
        block = self.tree.blocks[number]
        made = range(block.first, block.first + len(block.nodes))
        outputs = sorted({v for v in (*values_read(block.terminator), *self._later(number)) if v in made})
        graph, inputs = graph_of(self.tree, self.symbolic, number, outputs)
        taken = self._taken(number)
        for v in outputs:
            self.places[v] = self.returned[number].get(v) or self._reserve(taken, self.types[v])
        plan = self._plan(graph, (), taken)
        return PlannedBlock(plan, self._places(inputs), self._places(outputs), self._room(taken, plan),
                            block.terminator, self._decider(block.terminator))

    def _end(self, number: int) -> PlannedBlock:
        """A block that returns: its outputs are in slots, or over inputs, if they are not there already."""
        block = self.tree.blocks[number]
        places = [Input(k) if k < self.first else Output(k - self.first) for k in self.end_of_block[number]]
        missing = [(v, place) for v, place in zip(values_read(block.terminator), places)
                   if isinstance(place, Input) or self.places.get(v) != place]
        graph, inputs = graph_of(self.tree, self.symbolic, number, [v for v, _ in missing])
        owners = {k: place.index for k, (_, place) in enumerate(missing) if isinstance(place, Input)}
        unread = [v for v in owners.values() if v not in inputs]
        if unread:
            graph, inputs = _with_inputs(graph, [self.symbolic[v] for v in unread]), (*inputs, *unread)
        taken = self._taken(number)
        plan = self._plan(graph, tuple((k, inputs.index(v)) for k, v in owners.items()), taken)
        return PlannedBlock(plan, self._places(inputs), tuple(place for _, place in missing), self._room(taken, plan),
                            block.terminator)

    def _places(self, values: Sequence[int]) -> tuple[Place, ...]:
        return tuple(self.places[v] for v in values)

    def _decider(self, terminator: Terminator) -> tuple[Place, str] | None:
        match terminator:
            case Branch(value) | Switch(value):
                return self.places[value], self.types[value].dtype
        return None


class _InNumbers(Linker):
    """All sizes are known: the arena is one stretch of bytes, and its parts are (start, end)."""

    def __init__(self, bound: BoundTree, slots: tuple[TensorType, ...], ends: tuple[tuple[int, ...], ...],
                 machine: Machine):
        super().__init__(bound.tree, bound.types, bound.constants, slots, ends, machine)
        self.numbers = bound.binding.numbers
        self.bound: dict[int, tuple[Plan, Plan]] = {}       # by its id, a plan with symbols, and with numbers for them

    def _plan(self, graph: Graph, aliases: Aliases, taken: list[tuple[int, int]]) -> Plan:
        machine = self.machine
        if machine.arena_bytes is not None:
            left = machine.arena_bytes - sum(end - start for start, end in taken)
            machine = replace(machine, arena_bytes=max(left, 0))
        plan = planned(graph, aliases, machine)
        if not self.numbers:
            return plan
        if id(plan) not in self.bound:
            self.bound[id(plan)] = plan, plan_at(plan, self.numbers)
        return self.bound[id(plan)][1]

    def _taken(self, number: int) -> list[tuple[int, int]]:
        found = []
        for v in self.needed[number]:
            place = self.places[v]
            if isinstance(place, Arena):
                found.append((place.offset, place.offset + aligned(bytes_of(self.types[v]))))
        return found

    def _reserve(self, taken: list[tuple[int, int]], type: TensorType) -> Arena:
        return Arena(self._offset(taken, bytes_of(type)))

    def _room(self, taken: list[tuple[int, int]], plan: Plan) -> int:
        return self._offset(taken, plan.arena_bytes)

    def _offset(self, taken: list[tuple[int, int]], bytes: int) -> int:
        offset = first_fit(taken, bytes)
        taken.append((offset, offset + aligned(bytes)))
        self.arena_bytes = max(self.arena_bytes, taken[-1][1])
        return offset


def program_of_plan(plan: Plan) -> ProgramPlan:
    """The program whose one block runs `plan`."""
    owner = dict(plan.aliases)
    fresh = [k for k in range(len(plan.outputs)) if k not in owner]
    places = tuple(Input(owner[k]) if k in owner else Output(fresh.index(k)) for k in range(len(plan.outputs)))
    ends = tuple(p.index + len(plan.inputs) * isinstance(p, Output) for p in places)
    block = PlannedBlock(plan, tuple(map(Input, range(len(plan.inputs)))), places, 0, Return(()))
    return ProgramPlan(plan.inputs, tuple(plan.outputs[k] for k in fresh), (ends,), (block,), plan.arena_bytes)


def bytes_of(type: TensorType) -> int:
    """The size of an array of a type without symbols."""
    return prod(map(int, type.shape)) * DTYPES[type.dtype].itemsize         # type: ignore[arg-type]


def _with_inputs(graph: Graph, types: Sequence[TensorType]) -> Graph:
    """The graph with more inputs, after its own, that nothing reads."""
    first, more = len(graph.inputs), len(types)

    def moved(v: int) -> int:
        return v if v < first else v + more

    nodes = tuple(with_args(node, [moved(v) for v in node.args]) for node in graph.nodes)
    return Graph(graph.name, (*graph.inputs, *types), nodes, tuple(map(moved, graph.outputs)))


def planned(graph: Graph, aliases: Aliases, machine: Machine) -> Plan:
    """The plan of a graph, made once."""
    return _planned(graph, tuple([node.line for node in graph.nodes]), aliases, machine)


@lru_cache(maxsize=512)
def _planned(graph: Graph, lines: tuple[str | None, ...], aliases: Aliases, machine: Machine) -> Plan:
    """The plan of a graph, which graphs that do the same at the same lines share."""
    return schedule(graph, aliases, machine)
