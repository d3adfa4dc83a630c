"""Every layer and loss: values, gradients and buffers are PyTorch's, and a traced training step replays."""
from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from layer_cases import ACTIVATIONS, CONVOLUTIONS, LAYERS, LOSSES, Case

import tracegrad as tg
from tracegrad import nn

CASES = (*ACTIVATIONS, *CONVOLUTIONS, *LAYERS, *LOSSES)


def leaves(result: Any) -> list[Any]:
    """The tensors of a result, in order."""
    if isinstance(result, tuple | list):
        return [leaf for part in result for leaf in leaves(part)]
    return [] if result is None else [result]


def weighted(results: list[Any], asarray: Any) -> Any:
    """A number that depends on every element of every result, each in its own way."""
    rng = np.random.default_rng(7)
    return sum((r * asarray(rng.standard_normal(tuple(r.shape)))).sum() for r in results)


def ours(case: Case, state: dict[str, np.ndarray] | None = None) -> tuple[nn.Module, list[tg.Tensor], dict[str, Any]]:
    """The layer in float64, its inputs, and its other arguments."""
    tg.manual_seed(0)
    layer = case.make(nn).to(tg.float64).train(case.training)
    if state is not None:
        layer.load_state_dict(state)
    inputs = [tg.tensor(a, requires_grad=d) for a, d in zip(case.arrays(), case.differentiable())]
    return layer, inputs, {k: tg.tensor(v) if isinstance(v, np.ndarray) else v for k, v in case.options}


@pytest.mark.peers
@pytest.mark.parametrize("case", CASES, ids=str)
def test_values_gradients_and_buffers_are_those_of_pytorch(case: Case) -> None:
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    theirs = case.make(torch.nn).to(torch.float64).train(case.training)
    state = {name: value.detach().numpy().copy() for name, value in theirs.state_dict().items()}
    layer, inputs, options = ours(case, state)
    their_inputs = [torch.tensor(a, requires_grad=d) for a, d in zip(case.arrays(), case.differentiable())]
    their_options = {k: torch.tensor(v) if isinstance(v, np.ndarray) else v for k, v in case.options}

    results, expected = leaves(layer(*inputs, **options)), leaves(theirs(*their_inputs, **their_options))
    assert len(results) == len(expected)
    for a, b in zip(results, expected):
        np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=1e-11, atol=1e-12)
    if not any(r.requires_grad for r in results):
        return
    weighted(results, tg.tensor).backward()
    weighted(expected, torch.tensor).backward()
    named = {name: p.grad for name, p in theirs.named_parameters()}
    assert [name for name, _ in layer.named_parameters()] == list(named)
    for name, p in layer.named_parameters():
        np.testing.assert_allclose(p.grad.numpy(), named[name].numpy(), rtol=1e-9, atol=1e-11, err_msg=name)
    for a, b in zip(inputs, their_inputs):
        if a.requires_grad and b.grad is not None:
            rtol = 1e-7 if case.name == "Hardsigmoid" else 1e-9         # theirs has a sixth in float32
            np.testing.assert_allclose(a.grad.numpy(), b.grad.numpy(), rtol=rtol, atol=1e-11)
    assert list(layer.state_dict()) == list(state)
    after = theirs.state_dict()
    for name, value in layer.state_dict().items():
        np.testing.assert_allclose(value.numpy(), after[name].numpy(), rtol=1e-11, atol=1e-12, err_msg=name)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_traced_training_step_replays_and_gives_what_an_eager_one_does(case: Case) -> None:
    paths, states = [], []
    for traced in (True, False):
        layer, inputs, options = ours(case)
        parameters = [*layer.parameters()]
        if parameters:
            inputs = [x.detach() for x in inputs]
        parameters = parameters or [x for x in inputs if x.requires_grad]
        optimizer = tg.optim.SGD(parameters, lr=0.01, momentum=0.9)

        def step(*inputs: Any, layer=layer, optimizer=optimizer, options=options) -> tg.Tensor:
            optimizer.zero_grad()
            loss = sum((r * r).sum() for r in leaves(layer(*inputs, **options)))
            loss.backward()
            optimizer.step()
            return loss.detach()

        run = tg.trace(step, strict=True) if traced else step
        paths.append([run(*inputs).item() for _ in range(4)])
        states.append([v.numpy() for v in layer.state_dict().values()] + [x.detach().numpy() for x in inputs])
        if traced:
            assert (run.stats.recordings, run.stats.replays) == (1, 3), run.explain()
    np.testing.assert_allclose(*paths, rtol=1e-9)
    for a, b in zip(*states):
        np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-11)


@pytest.mark.peers
@pytest.mark.parametrize("case", CASES, ids=str)
def test_second_derivatives_are_those_of_pytorch(case: Case) -> None:
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    theirs = case.make(torch.nn).to(torch.float64).train(case.training)
    layer, inputs, options = ours(case, {name: v.detach().numpy().copy() for name, v in theirs.state_dict().items()})
    their_inputs = [torch.tensor(a, requires_grad=d) for a, d in zip(case.arrays(), case.differentiable())]
    their_options = {k: torch.tensor(v) if isinstance(v, np.ndarray) else v for k, v in case.options}

    def second(library: Any, module: Any, inputs: list[Any], options: dict[str, Any]) -> list[np.ndarray]:
        sources = [x for x in (*module.parameters(), *inputs) if x.requires_grad]
        loss = weighted(leaves(module(*inputs, **options)), library.tensor)
        first = library.autograd.grad(loss, sources, create_graph=True, allow_unused=True)
        total = weighted([g * g for g in first if g is not None], library.tensor)
        if not total.requires_grad:
            return [np.zeros(())] * len(sources)
        found = library.autograd.grad(total, sources, allow_unused=True)
        return [np.zeros(()) if g is None else np.array((g.detach() * 1 + 0.0).tolist()) for g in found]

    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):    # the others have no second derivative
        try:
            expected = second(torch, theirs, their_inputs, their_options)
        except RuntimeError as error:
            if "is not implemented" not in str(error):
                raise
            pytest.skip(str(error))
    rtol = 1e-5 if case.name == "Hardsigmoid" else 1e-7                         # theirs has a sixth in float32
    for a, b in zip(second(tg, layer, inputs, options), expected, strict=True):
        np.testing.assert_allclose(*np.broadcast_arrays(a, b), rtol=rtol, atol=1e-9)
