"""schedule: Graph -> Plan: fusion groups, kernels, the order of steps and the place of every buffer.

    graph step(%0: f32[64,32], %1: f32[32], ...)         plan: launch, matmul, launch, check, copy ...

The result is a function of the graph, the aliases and the machine. CannotLower, with a sentence, if there is no plan.
"""
from __future__ import annotations

from codegen.ir.graph import Graph
from codegen.schedule.calls import Product, products_of
from codegen.schedule.expressions import Misplaced
from codegen.schedule.forms import Form, forms_of, same_storage
from codegen.schedule.loops import lower_group, lower_scatter
from codegen.schedule.machine import Machine
from codegen.schedule.nest import Lowered
from codegen.schedule.partition import Partition, partition
from codegen.schedule.placement import placed
from codegen.schedule.plan import CannotLower, Plan
from codegen.schedule.tasks import Task, copy, launch


def schedule(graph: Graph, aliases: tuple[tuple[int, int], ...] = (), machine: Machine | None = None) -> Plan:
    """The plan of a graph whose ops are core ops.

    `aliases`: (output, input) pairs: the output is written into the input's storage, which has its type.
    CannotLower for symbolic sizes, and for types and ops that kernels cannot be made of.
    """
    machine = machine or Machine()
    _require_aliases(graph, aliases)
    forms = forms_of(graph)
    first = len(graph.inputs)
    products = products_of(graph, forms)
    calls = {v: (product.a, product.b) for v, product in products.items()}
    calls |= {v: (same_storage(graph, forms, node.args[0]),)
              for v, node in enumerate(graph.nodes, first) if forms[v] is Form.SCATTER}
    outputs = tuple(same_storage(graph, forms, v) for v in graph.outputs)
    required = frozenset(v for v in outputs if v >= first and forms[v] is not Form.EMPTY)
    found, lowered = _lowered(graph, forms, calls, required, machine)
    tasks = _tasks(graph, forms, found, lowered, products, calls, required)
    return placed(graph, aliases, outputs, tasks, found.decisions)


def _require_aliases(graph: Graph, aliases: tuple[tuple[int, int], ...]) -> None:
    for output, input in aliases:
        if graph.type_of(graph.outputs[output]) != graph.inputs[input]:
            raise CannotLower(f"output {output} is {graph.type_of(graph.outputs[output])} and cannot share the storage of "
                              f"input {input}, {graph.inputs[input]}")


def _lowered(graph: Graph, forms: tuple[Form, ...], calls: dict[int, tuple[int, ...]], required: frozenset[int],
             machine: Machine) -> tuple[Partition, list[list[Lowered]]]:
    """The partition, and the kernels of each group. A value found to be needed at points that its group cannot compute is cut off."""
    cut: frozenset[int] = frozenset()
    while True:
        found = partition(graph, forms, calls, required, cut, machine)
        try:
            return found, [_kernels(graph, forms, found, number, machine) for number in range(len(found.groups))]
        except Misplaced as misplaced:
            if misplaced.value in cut:
                raise AssertionError(f"%{misplaced.value} is stored and still needed where it is computed") from misplaced
            cut |= {misplaced.value}


def _kernels(graph: Graph, forms: tuple[Form, ...], found: Partition, number: int, machine: Machine) -> list[Lowered]:
    group = found.groups[number]
    loaded = {*range(len(graph.inputs)), *(v for v, home in found.home.items() if home != number)}
    if group.runs is not None:
        return lower_group(graph, forms, group, loaded, machine)
    (value,) = group.members
    return [lower_scatter(graph, forms, value, loaded, machine)] if forms[value] is Form.SCATTER else []


def _tasks(graph: Graph, forms: tuple[Form, ...], found: Partition, lowered: list[list[Lowered]],
           products: dict[int, Product], calls: dict[int, tuple[int, ...]], required: frozenset[int]) -> list[Task]:
    """One right order of launches, products and copies."""
    read = [s for kernels in lowered for one in kernels for p, s in zip(one.kernel.params, one.storages) if p.access == "in"]
    read += [v for product in products.values() for v in (product.a, product.b)]
    read += [v for value, (v,) in ((value, whole) for value, whole in calls.items() if forms[value] is Form.SCATTER)]
    tasks: list[Task] = []
    becomes: dict[object, int] = {}             # a value that nothing but a scatter_add reads, to its result
    for value, whole in calls.items():
        if forms[value] is Form.SCATTER and whole[0] in found.home and whole[0] not in required and read.count(whole[0]) == 1:
            becomes[whole[0]] = value
    for group, kernels in zip(found.groups, lowered):
        value = group.members[0]
        if value in products:
            product = products[value]
            tasks.append(Task(product, frozenset({product.a, product.b}), frozenset({value})))
        elif group.runs is None and calls[value][0] not in becomes:
            tasks.append(copy(calls[value][0], value))
        for one in kernels:
            tasks.append(launch(Lowered(one.kernel, tuple(becomes.get(s, s) for s in one.storages))))
    return tasks
