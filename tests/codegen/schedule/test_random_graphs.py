"""Random graphs: every plan does what the graph says, on machines that cut work small and kernels short."""
from __future__ import annotations

from graph_strategies import arrays_for, graphs
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from plan_oracle import AT_ONCE, NARROW, SPLICING, TINY, agree

from codegen.ir.graph import Graph, attrs_of
from codegen.optimize.expand import CORE
from codegen.optimize.pipeline import optimize
from codegen.schedule.machine import Machine

MACHINES = st.sampled_from([Machine(), TINY, NARROW, AT_ONCE, SPLICING])
SEEDS = st.integers(0, 2**32 - 1)


@st.composite
def aliases_of(draw: st.DrawFn, graph: Graph) -> tuple[tuple[int, int], ...]:
    """Pairs of an output and an input of its type, each at most once."""
    fitting = [(o, i) for o, v in enumerate(graph.outputs) for i, t in enumerate(graph.inputs) if graph.type_of(v) == t]
    chosen: list[tuple[int, int]] = []
    for o, i in draw(st.lists(st.sampled_from(fitting), max_size=3)) if fitting else []:
        if all(o != other and i != shared for other, shared in chosen):
            chosen.append((o, i))
    return tuple(chosen)


def adds_nothing_up(graph: Graph) -> bool:
    """Is there a sum over axes of size 1? To the scheduler it is a movement, which leaves -0.0 as it is: what comes to
    it has been optimized."""
    return any(node.op == "sum" and all(graph.type_of(node.args[0]).shape[k] == 1 for k in attrs_of(node)["axis"])
               for node in graph.nodes)


@settings(deadline=None, max_examples=300)
@given(graphs(ops=sorted(CORE)), SEEDS, MACHINES, st.booleans(), st.data())
def test_plan_agrees(graph: Graph, seed: int, machine: Machine, optimized: bool, data: st.DataObject) -> None:
    inputs = arrays_for(graph, seed)
    graph = optimize(graph) if optimized else graph
    assume(optimized or not adds_nothing_up(graph))
    agree(graph, inputs, data.draw(aliases_of(graph)), machine)


ROWS = ("add", "sub", "mul", "maximum", "exp", "tanh", "sum", "max", "min", "broadcast", "reshape", "transpose",
        "gather")


@settings(deadline=None, max_examples=200)
@given(graphs(ops=ROWS, dtypes=("f64",), max_nodes=16, sizes=(1, 2, 3, 4)), SEEDS, MACHINES, st.data())
def test_reductions_agree(graph: Graph, seed: int, machine: Machine, data: st.DataObject) -> None:
    agree(graph, arrays_for(graph, seed), data.draw(aliases_of(graph)), machine)
