"""schedule: Graph -> Plan: fusion groups, kernels, the order of steps and the place of every buffer.

    graph step(%0: f32[64,32], %1: f32[32], ...)         plan: launch, matmul, launch, check, copy ...

The result is a function of the graph, the aliases and the machine. CannotLower, with a sentence, if there is no plan.
"""
from __future__ import annotations

from codegen.ir.dims import Undecided
from codegen.ir.graph import Graph
from codegen.schedule.alignment import aligned
from codegen.schedule.attention import attended
from codegen.schedule.calls import HostCall, Product, constants_of, host_calls_of, products_of
from codegen.schedule.expressions import Misplaced, Storage
from codegen.schedule.forms import Form, StaticGraph, static_graph
from codegen.schedule.half_products import HALVES, half_products
from codegen.schedule.joining import Joined, joined
from codegen.schedule.likeness import AlikeGroups
from codegen.schedule.loops import lower_group
from codegen.schedule.machine import Machine, never
from codegen.schedule.narrow_products import narrow_products
from codegen.schedule.operand_casts import with_casts_in_place
from codegen.schedule.partition import Partition, partition
from codegen.schedule.passes import Lowered
from codegen.schedule.placement import placed
from codegen.schedule.plan import CannotLower, Constant, Decision, Plan
from codegen.schedule.scanning import lower_scan
from codegen.schedule.scattering import lower_scatter
from codegen.schedule.spliced import spliced
from codegen.schedule.tasks import JOIN, Piece, Place, Task, copy, launch
from codegen.schedule.turned import turned
from codegen.schedule.whole_lines import with_whole_lines
from codegen.schedule.wide_sums import with_wide_sums


def schedule(graph: Graph, aliases: tuple[tuple[int, int], ...] = (), machine: Machine | None = None) -> Plan:
    """The plan of a graph whose ops are core ops.

    `aliases`: (output, input) pairs: the output is written into the input's storage, which has its type.
    Where sizes have symbols the plan has, too, and serves every size from 2 on; CannotLower where no plan does.
    What kernels cannot be made of runs on the host.
    """
    _require_aliases(graph, aliases)
    try:
        return _schedule(graph, aliases, machine or Machine())
    except Undecided as undecided:
        raise CannotLower(f"{graph.name}: {undecided}") from undecided


def _schedule(graph: Graph, aliases: tuple[tuple[int, int], ...], machine: Machine) -> Plan:
    halves = HALVES & machine.products
    graph = with_wide_sums(graph) if machine.at_once else graph
    graph = half_products(graph, halves) if halves else graph
    graph = with_whole_lines(with_casts_in_place(graph)) if machine.at_once else graph
    known = static_graph(graph, machine)
    works: dict[int, Product | HostCall] = {**products_of(known), **host_calls_of(known)}
    calls = {v: work.reads for v, work in works.items()}
    calls |= {v: tuple(map(known.same_storage, node.args)) for v, node in known.nodes()
              if known.forms[v] is Form.CONCAT}
    calls |= {v: (known.same_storage(node.args[0]),) for v, node in known.nodes() if known.forms[v] is Form.SCATTER}
    calls |= {v: () for v, _ in known.nodes() if known.forms[v] is Form.SCAN}
    outputs = tuple(map(known.same_storage, graph.outputs))
    required = frozenset(v for v in outputs if known.forms[v] not in (Form.INPUT, Form.EMPTY))
    found, lowered = _lowered(known, calls, required, machine)
    concats = joined(known, lambda v: v in found.home and v not in required)
    parts = {*required, *concats.inside, *(known.same_storage(node.args[0]) for v, node in known.nodes()
                                           if known.forms[v] is Form.SCATTER)}
    held: dict[Place, Constant] = {v: Constant(data) for v, data in constants_of(works).items() if v not in parts}
    tasks = [task for task in _tasks(known, found, lowered, works, calls, required, concats)
             if held.keys().isdisjoint(task.writes)]
    attentions: list[Decision] = []
    if machine.splices is not never:
        dtypes = [type.dtype for type in (*known.graph.inputs, *(node.type for _, node in known.nodes()))]
        read = {*required, *parts}
        tasks, attentions = attended(spliced(tasks, machine, dtypes, read), machine, dtypes, read)
        tasks = narrow_products(tasks, dtypes)
    tasks, decisions = (tasks, attentions) if machine.at_once else aligned(known, tasks)
    return placed(known, aliases, outputs, tasks, concats.inside, held, (*found.decisions, *decisions),
                  machine.arena_bytes, machine.at_once)


def _require_aliases(graph: Graph, aliases: tuple[tuple[int, int], ...]) -> None:
    for output, input in aliases:
        own, shared = graph.type_of(graph.outputs[output]), graph.inputs[input]
        if own != shared:
            raise CannotLower(f"output {output} is {own} and cannot share the storage of input {input}, {shared}")


def _lowered(graph: StaticGraph, calls: dict[int, tuple[int, ...]], required: frozenset[int],
             machine: Machine) -> tuple[Partition, list[list[Lowered]]]:
    """The partition, and the kernels of each group.

    A value that turns out to be needed at points at which its group cannot compute it is cut off: others read it. So is
    what reductions would read in two orders, from the start.
    """
    cut = turned(graph)
    alike = AlikeGroups(graph)
    while True:
        found = partition(graph, calls, required, cut, machine)
        try:
            return found, [_kernels(graph, found, number, machine, alike) for number in range(len(found.groups))]
        except Misplaced as misplaced:
            if misplaced.value in cut:
                raise AssertionError(f"%{misplaced.value} is stored, yet read where it is computed") from misplaced
            cut |= {misplaced.value}


def _kernels(graph: StaticGraph, found: Partition, number: int, machine: Machine, alike: AlikeGroups) -> list[Lowered]:
    group = found.groups[number]

    def loaded(v: int) -> bool:
        return v < graph.first or found.home.get(v, number) != number

    if group.runs is not None:
        return alike.kernels(group, loaded, lambda: lower_group(graph, group, loaded, machine))
    (value,) = group.members
    match graph.forms[value]:
        case Form.SCATTER:
            return lower_scatter(graph, value, loaded, machine)
        case Form.SCAN:
            return lower_scan(graph, value, loaded, machine)
    return []


def _tasks(graph: StaticGraph, found: Partition, lowered: list[list[Lowered]], works: dict[int, Product | HostCall],
           calls: dict[int, tuple[int, ...]], required: frozenset[int], concats: Joined) -> list[Task]:
    """One right order of launches, products, calls of the host, copies and joins."""
    scattered = {v: whole[0] for v, whole in calls.items() if graph.forms[v] is Form.SCATTER}
    read: list[Storage] = [s for kernels in lowered for one in kernels for p, s in zip(one.kernel.params, one.storages)
                         if p.access == "in"]
    read += [v for whole in calls.values() for v in whole]
    # what nothing but a scatter reads becomes its result: it is computed in the storage that is written to
    becomes: dict[Storage, Storage] = {operand: v for v, operand in scattered.items()
                                   if operand in found.home and operand not in required and read.count(operand) == 1}

    def kept_in(storage: Storage) -> Storage:
        while storage in becomes:
            storage = becomes[storage]
        return storage

    tasks: list[Task] = []
    for group, kernels in zip(found.groups, lowered):
        value = group.members[0]
        if group.runs is None and value in works:
            tasks.append(Task(works[value], frozenset(calls[value]), frozenset({kept_in(value)})))
        elif value in concats.pieces:
            pieces = concats.pieces[value]
            tasks += [copy(piece.value, piece) for piece in pieces if isinstance(piece, Piece)]
            tasks.append(Task(JOIN, frozenset(pieces), frozenset({value})))
        elif value in scattered and scattered[value] not in becomes:
            tasks.append(copy(scattered[value], kept_in(value)))
        tasks += [launch(Lowered(one.kernel, tuple(map(kept_in, one.storages)), group.members)) for one in kernels]
    return tasks
