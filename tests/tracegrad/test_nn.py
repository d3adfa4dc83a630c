"""nn: the tree of modules, state, losses against formulas in NumPy, and against PyTorch where it is installed."""
from __future__ import annotations

import copy
import math
import pickle
from collections import OrderedDict

import numpy as np
import pytest
from scipy import stats

import tracegrad as tg
from tracegrad import nn
from tracegrad.nn import functional as F

LABELS = np.array([2, 0, 4, 2])


def logits(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape or (4, 5))


def log_softmax(x: np.ndarray) -> np.ndarray:
    away = x - x.max(axis=1, keepdims=True)
    return away - np.log(np.exp(away).sum(axis=1, keepdims=True))


class Net(nn.Module):
    """Parameters of its own, children, a shared child, and attributes that are neither."""

    def __init__(self):
        self.scale = nn.Parameter(tg.ones(3))
        self.first = nn.Linear(3, 4)
        self.blocks = nn.ModuleList([nn.Linear(4, 4), nn.Linear(4, 4)])
        self.tied = self.first
        self.not_a_parameter = tg.ones(2)
        self.name = "net"

    def forward(self, x):
        x = self.first(x * self.scale)
        for block in self.blocks:
            x = F.relu(block(x))
        return x


# ---- the tree -----------------------------------------------------------------------------------------------------


def test_parameters_are_the_attributes_that_hold_one_parents_first_shared_ones_once():
    net = Net()
    assert [name for name, _ in net.named_parameters()] == [
        "scale", "first.weight", "first.bias",
        "blocks.0.weight", "blocks.0.bias", "blocks.1.weight", "blocks.1.bias",
    ]
    assert [name for name, _ in net.named_modules()] == ["", "first", "blocks", "blocks.0", "blocks.1"]
    assert [name for name, _ in net.named_children()] == ["first", "blocks", "tied"]
    assert len(list(net.parameters())) == 7


def test_a_replaced_layer_is_the_one_that_counts():
    net = Net()
    net.first = nn.Linear(3, 4, bias=False)
    assert "first.bias" not in dict(net.named_parameters())
    net.blocks[1] = nn.Identity()
    assert "blocks.1.weight" not in dict(net.named_parameters())
    del net.tied, net.first
    assert [name for name, _ in net.named_children()] == ["blocks"]


def test_train_and_eval_reach_every_module():
    net = Net()
    assert all(m.training for m in net.modules())
    assert net.eval() is net
    assert not any(m.training for m in net.modules())
    assert all(m.training for m in net.train().modules())


def test_apply_goes_from_the_leaves_to_the_root():
    seen = []
    nn.Sequential(nn.Linear(2, 2), nn.ReLU()).apply(lambda m: seen.append(type(m).__name__))
    assert seen == ["Linear", "ReLU", "Sequential"]


def test_zero_grad():
    layer = nn.Linear(2, 2)
    layer(tg.ones(1, 2)).sum().backward()
    grad = layer.weight.grad
    layer.zero_grad(set_to_none=False)
    assert layer.weight.grad is grad and grad.tolist() == [[0, 0], [0, 0]]
    layer.zero_grad()
    assert layer.weight.grad is None and layer.bias.grad is None


def test_requires_grad_of_all():
    layer = nn.Linear(2, 2).requires_grad_(False)
    assert not layer(tg.ones(1, 2)).requires_grad
    assert layer.requires_grad_().weight.requires_grad


def test_to_converts_parameters_and_grads_and_keeps_the_objects():
    layer = nn.Linear(2, 3)
    weight, before = layer.weight, layer.weight.detach().numpy().copy()
    layer(tg.ones(1, 2)).sum().backward()
    assert layer.to(tg.float64) is layer
    assert layer.weight is weight and weight.dtype == np.float64 and weight.grad.dtype == np.float64
    assert np.array_equal(weight.detach().numpy(), before.astype(np.float64))
    layer(tg.ones(1, 2, dtype=tg.float64)).sum().backward()
    assert weight.grad.tolist() == [[2, 2]] * 3


def test_backward_after_to_uses_the_values_of_before():
    layer = nn.Linear(2, 1, bias=False)
    x = tg.ones(1, 2, requires_grad=True)
    y = layer(x).sum()
    before = layer.weight.detach().numpy().copy()
    layer.to(tg.float64)
    assert np.array_equal(tg.autograd.grad(y, x)[0].numpy(), before)


def test_repr_shows_the_tree():
    model = nn.Sequential(nn.Linear(2, 3, bias=False), nn.Sequential(nn.Softmax(axis=1), nn.Dropout(0.1)))
    assert repr(model) == """\
Sequential(
  (0): Linear(in_features=2, out_features=3, bias=False)
  (1): Sequential(
    (0): Softmax(axis=1)
    (1): Dropout(p=0.1)
  )
)"""


def test_lists_of_modules():
    model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 4))
    assert len(model) == 3 and isinstance(model[1], nn.ReLU) and [type(m) for m in model[:2]] == [nn.Linear, nn.ReLU]
    assert isinstance(model[:2], nn.Sequential)
    assert model[:2](tg.ones(5, 2)).shape == (5, 3)
    with pytest.raises(TypeError, match="holds Modules, not function"):
        nn.ModuleList([lambda x: x])
    with pytest.raises(TypeError, match="holds Modules, not int"):
        model[0] = 3


def test_a_module_without_forward_says_so():
    with pytest.raises(NotImplementedError, match="ModuleList does not define forward"):
        nn.ModuleList()(1)


def test_a_parameter_is_a_leaf_with_a_copy():
    data = tg.ones(2)
    p = nn.Parameter(data)
    with tg.no_grad():
        p += 1
    assert isinstance(p, tg.Tensor) and p.is_leaf and p.requires_grad
    assert data.tolist() == [1, 1] and p.tolist() == [2, 2]
    assert not nn.Parameter(data, requires_grad=False).requires_grad
    (nn.Parameter(data * tg.ones(2, requires_grad=True)) * 2).sum().backward()


# ---- state --------------------------------------------------------------------------------------------------------


def test_state_goes_round():
    source, target = Net(), Net()
    state = source.state_dict()
    assert list(state)[:3] == ["scale", "first.weight", "first.bias"] and "tied.weight" in state
    assert target.load_state_dict(state) == ([], [])
    for name, value in target.state_dict().items():
        assert np.array_equal(value.numpy(), state[name].numpy()), name
    assert not any(value.requires_grad for value in state.values())


def test_state_shares_storage_with_the_module():
    layer = nn.Linear(2, 2)
    state = layer.state_dict()
    with tg.no_grad():
        layer.bias.fill_(7.0)
    assert state["bias"].tolist() == [7, 7]


def test_loading_writes_into_the_parameters_that_are_there_and_takes_arrays():
    layer = nn.Linear(2, 1)
    weight = layer.weight
    layer.load_state_dict({"weight": np.array([[1.0, 2.0]]), "bias": np.array([3.0])})
    assert layer.weight is weight and weight.tolist() == [[1, 2]] and weight.dtype == np.float32


def test_loading_names_every_key_at_fault_and_writes_nothing():
    layer = nn.Linear(2, 1)
    before = layer.weight.tolist()
    with pytest.raises(ValueError, match=r"does not fit Linear: missing: bias; unexpected: extra"):
        layer.load_state_dict({"weight": np.zeros((1, 2)), "extra": np.zeros(1)})
    with pytest.raises(ValueError, match=r"bias has shape \(4,\), not \(1,\)"):
        layer.load_state_dict({"weight": np.zeros((1, 2)), "bias": np.zeros(4)}, strict=False)
    assert layer.weight.tolist() == before
    result = layer.load_state_dict({"weight": np.zeros((1, 2)), "extra": np.zeros(1)}, strict=False)
    assert result.missing_keys == ["bias"] and result.unexpected_keys == ["extra"]
    assert layer.weight.tolist() == [[0, 0]]


# ---- layers and initial values --------------------------------------------------------------------------------------


def test_linear():
    layer = nn.Linear(3, 2)
    x = np.random.default_rng(0).standard_normal((4, 5, 3)).astype(np.float32)
    w, b = layer.weight.detach().numpy(), layer.bias.detach().numpy()
    assert np.allclose(layer(tg.asarray(x)).detach().numpy(), x @ w.T + b, atol=1e-6)
    assert layer.weight.shape == (2, 3) and layer.bias.shape == (2,) and nn.Linear(3, 2, bias=False).bias is None
    assert nn.Linear(3, 2, dtype=tg.float64).weight.dtype == np.float64
    assert nn.Linear(0, 2)(tg.ones(1, 0)).tolist() == [[0, 0]]


def test_linear_starts_uniform_between_the_bounds():
    tg.manual_seed(0)
    layer = nn.Linear(100, 400)
    for values in (layer.weight.detach().numpy(), layer.bias.detach().numpy()):
        assert abs(values).max() <= 0.1
        assert values.std() == pytest.approx(0.1 / math.sqrt(3), rel=0.1)


def test_the_same_seed_gives_the_same_module():
    tg.manual_seed(3)
    first = nn.Linear(4, 4).state_dict()
    tg.manual_seed(3)
    assert all(np.array_equal(v.numpy(), first[k].numpy()) for k, v in nn.Linear(4, 4).state_dict().items())


@pytest.mark.parametrize(("fill", "low", "high", "std"), [
    (lambda t: nn.init.uniform_(t, -1, 3), -1, 3, 4 / math.sqrt(12)),
    (lambda t: nn.init.normal_(t, 0, 2), -12, 12, 2),
    (nn.init.zeros_, 0, 0, 0),
    (nn.init.ones_, 1, 1, 0),
    (nn.init.xavier_uniform_, -math.sqrt(6 / 500), math.sqrt(6 / 500), math.sqrt(2 / 500)),
    (nn.init.xavier_normal_, -1, 1, math.sqrt(2 / 500)),
    (nn.init.kaiming_uniform_, -math.sqrt(6 / 200), math.sqrt(6 / 200), math.sqrt(2 / 200)),
    (lambda t: nn.init.kaiming_normal_(t, mode="fan_out", nonlinearity="relu"), -1, 1, math.sqrt(2 / 300)),
])
def test_initial_values_fill_in_place(fill, low, high, std):
    tg.manual_seed(0)
    parameter = nn.Parameter(tg.empty((300, 200)))
    assert fill(parameter) is parameter and parameter.requires_grad and parameter.is_leaf
    values = parameter.detach().numpy()
    assert values.min() >= low and values.max() <= high
    assert values.std() == pytest.approx(std, rel=0.02, abs=1e-9)


def test_truncated_normals_stay_inside():
    tg.manual_seed(0)
    x = nn.init.trunc_normal_(tg.empty((400, 200)), 1.0, 2.0, -1.0, 4.0).numpy()
    expected = stats.truncnorm((-1 - 1) / 2, (4 - 1) / 2, 1, 2)
    assert x.min() >= -1 and x.max() <= 4 and stats.kstest(x.ravel().astype(float), expected.cdf).pvalue > 0.01


@pytest.mark.parametrize("shape", [(4, 4), (3, 7), (7, 3), (4, 3, 2, 2)], ids=str)
def test_orthogonal_rows_or_columns(shape):
    tg.manual_seed(0)
    x = nn.init.orthogonal_(tg.empty(shape, dtype=tg.float64), gain=2.0).numpy().reshape(shape[0], -1)
    product = x @ x.T if x.shape[0] <= x.shape[1] else x.T @ x
    assert np.allclose(product, 4 * np.eye(len(product)))


def test_initial_values_of_few_ones():
    assert nn.init.eye_(tg.empty((2, 3))).tolist() == [[1, 0, 0], [0, 1, 0]]
    x = tg.randn(1, 4, 9)
    filters = nn.init.dirac_(tg.empty((4, 2, 3)), groups=2)
    assert F.conv1d(x, filters, padding=1, groups=2).tolist() == x.tolist()
    tg.manual_seed(0)
    sparse = nn.init.sparse_(tg.empty((50, 20)), 0.3).numpy()
    assert ((sparse == 0).sum(axis=0) == 15).all() and sparse.std() < 0.02
    for fill in (nn.init.eye_, nn.init.dirac_, nn.init.orthogonal_, lambda t: nn.init.sparse_(t, 0.5)):
        with pytest.raises(ValueError):
            fill(tg.ones(3))


def test_gains_and_fans_are_checked():
    assert nn.init.calculate_gain("relu") == math.sqrt(2) and nn.init.calculate_gain("tanh") == 5 / 3
    with pytest.raises(ValueError, match="no gain is known for 'sine'"):
        nn.init.calculate_gain("sine")
    with pytest.raises(ValueError, match="no fan_in"):
        nn.init.xavier_normal_(tg.ones(3))
    with pytest.raises(ValueError, match="'fan'"):
        nn.init.kaiming_uniform_(tg.ones(3, 3), mode="fan")


@pytest.mark.parametrize(("layer", "formula"), [
    (nn.ReLU(), lambda x: np.maximum(x, 0)),
    (nn.Tanh(), np.tanh),
    (nn.Sigmoid(), lambda x: 1 / (1 + np.exp(-x))),
    (nn.SiLU(), lambda x: x / (1 + np.exp(-x))),
    (nn.Softmax(), lambda x: np.exp(log_softmax(x))),
    (nn.LogSoftmax(axis=1), log_softmax),
    (nn.Softmax(axis=0), lambda x: np.exp(log_softmax(x.T)).T),
    (nn.Identity(), lambda x: x),
    (nn.Flatten(0), np.ravel),
], ids=lambda v: repr(v) if isinstance(v, nn.Module) else "")
def test_layers_without_parameters(layer, formula):
    x = logits()
    assert np.allclose(layer(tg.asarray(x)).numpy(), formula(x), rtol=1e-12, atol=1e-14)


def test_flatten():
    x = tg.ones(2, 3, 4, 5)
    assert nn.Flatten()(x).shape == (2, 60)
    assert nn.Flatten(1, 2)(x).shape == (2, 12, 5)
    assert nn.Flatten()(tg.ones(0, 3, 4)).shape == (0, 12)


def test_dropout():
    tg.manual_seed(0)
    x = tg.ones(10000, requires_grad=True)
    layer = nn.Dropout(0.25)
    y = layer(x)
    values = y.detach().numpy()
    assert set(np.unique(values)) == {np.float32(0), np.float32(1 / 0.75)}
    assert (values == 0).mean() == pytest.approx(0.25, abs=0.02)
    y.sum().backward()
    assert np.array_equal(x.grad.numpy(), values)
    assert layer.eval()(x) is x
    assert nn.Dropout(1.0)(x).sum().item() == 0
    with pytest.raises(ValueError, match="not a probability"):
        nn.Dropout(1.5)


# ---- losses ---------------------------------------------------------------------------------------------------------


def test_mse_loss():
    a, b = logits(), logits()[::-1].copy()
    for reduction, expected in (("mean", ((a - b) ** 2).mean()), ("sum", ((a - b) ** 2).sum()), ("none", (a - b) ** 2)):
        assert np.allclose(nn.MSELoss(reduction)(tg.asarray(a), tg.asarray(b)).numpy(), expected, rtol=1e-12)
    with pytest.raises(TypeError, match=r"mse_loss: shapes of f32\[2,1\] and f32\[2\] differ"):
        nn.MSELoss()(tg.ones(2, 1), tg.ones(2))
    with pytest.raises(ValueError, match="'average'"):
        nn.MSELoss("average")(tg.ones(2), tg.ones(2))


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_cross_entropy_of_labels(reduction):
    x = logits()
    each = -log_softmax(x)[np.arange(4), LABELS]
    expected = {"mean": each.mean(), "sum": each.sum(), "none": each}[reduction]
    assert np.allclose(nn.CrossEntropyLoss(reduction=reduction)(tg.asarray(x), tg.asarray(LABELS)).numpy(), expected)
    log_p = tg.asarray(log_softmax(x))
    assert np.allclose(nn.NLLLoss(reduction=reduction)(log_p, tg.asarray(LABELS)).numpy(), expected)


def test_the_gradient_of_cross_entropy_is_softmax_minus_one_hot():
    x = tg.tensor(logits(), requires_grad=True)
    nn.CrossEntropyLoss()(x, tg.asarray(LABELS)).backward()
    expected = (np.exp(log_softmax(logits())) - np.eye(5)[LABELS]) / 4
    assert np.allclose(x.grad.numpy(), expected, atol=1e-15)


def test_ignored_labels_count_for_nothing():
    x = logits()
    labels = np.array([2, -100, 4, -100])
    loss = nn.CrossEntropyLoss()(tg.asarray(x), tg.asarray(labels))
    assert loss.item() == pytest.approx(-log_softmax(x)[[0, 2], [2, 4]].mean())
    nothing = nn.CrossEntropyLoss()(tg.asarray(x), tg.asarray(np.full(4, -100)))
    assert math.isnan(nothing.item())
    assert nn.CrossEntropyLoss(ignore_index=2)(tg.asarray(x), tg.asarray(LABELS)).item() == pytest.approx(
        -log_softmax(x)[[1, 2], [0, 4]].mean())


@pytest.mark.parametrize("label", [-1, 5, 100])
def test_labels_out_of_range_are_refused(label):
    with pytest.raises(IndexError):
        nn.CrossEntropyLoss()(tg.asarray(logits()), tg.asarray(np.array([0, label, 1, 2])))


def test_shapes_of_labels_are_checked():
    with pytest.raises(TypeError, match=r"labels i64\[4,1\] are not one class for each row of f64\[4,5\]"):
        nn.CrossEntropyLoss()(tg.asarray(logits()), tg.asarray(LABELS[:, None]))
    with pytest.raises(TypeError, match=r"shapes of f64\[4,5\] and f64\[4\] differ"):
        nn.CrossEntropyLoss()(tg.asarray(logits()), tg.ones(4))


OPTIONS = [
    {}, {"weight": True}, {"label_smoothing": 0.1}, {"weight": True, "label_smoothing": 0.2}, {"ignore_index": 2},
    {"ignore_index": 2, "weight": True, "label_smoothing": 0.2},
]


@pytest.mark.peers
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("shape", [(4, 5), (5,), (2, 5, 3)], ids=str)
@pytest.mark.parametrize("kind", ["labels", "probabilities"])
def test_cross_entropy_is_that_of_pytorch(kind, shape, options, reduction):
    torch = pytest.importorskip("torch")
    axis = 1 if len(shape) > 1 else 0
    rng = np.random.default_rng(1)
    x = rng.standard_normal(shape)
    rest = shape[:axis] + shape[axis + 1:]
    target = np.asarray(rng.integers(0, 5, rest)) if kind == "labels" else rng.random(shape)
    weight = rng.random(5)
    options = {**options, "reduction": reduction}
    if kind == "probabilities":
        options.pop("ignore_index", None)

    def run(library, asarray):
        leaf = asarray(x).requires_grad_()
        chosen = {**options, **({"weight": asarray(weight)} if "weight" in options else {})}
        loss = library.nn.CrossEntropyLoss(**chosen)(leaf, asarray(target))
        loss.sum().backward()
        return loss.detach().numpy(), leaf.grad.numpy()

    for ours, theirs in zip(run(tg, tg.tensor), run(torch, torch.tensor)):
        assert np.allclose(ours, theirs, rtol=1e-12, atol=1e-14, equal_nan=True)


# ---- buffers, hooks, containers -----------------------------------------------------------------------------------


class Counting(nn.Module):
    """A module with buffers that are part of the state and one that is not."""

    def __init__(self):
        self.weight = nn.Parameter(tg.ones(2))
        self.register_buffer("seen", tg.zeros(2))
        self.register_buffer("count", tg.tensor(0))
        self.register_buffer("scratch", tg.zeros(1), persistent=False)
        self.register_buffer("absent", None)

    def forward(self, x):
        self.seen += x
        self.count += 1
        return x * self.weight


def test_buffers_are_state_and_follow_the_module():
    module = nn.Sequential(Counting())
    assert [name for name, _ in module.named_buffers()] == ["0.seen", "0.count", "0.scratch"]
    assert list(module.state_dict()) == ["0.weight", "0.seen", "0.count"]
    module(tg.ones(2))
    twin = nn.Sequential(Counting())
    twin.load_state_dict({name: value.numpy() for name, value in module.state_dict().items()})
    assert twin[0].seen.tolist() == [1, 1] and twin[0].count.item() == 1
    module.to(tg.float64)
    assert module[0].seen.dtype == np.float64 and module[0].count.dtype == np.int64
    module[0].seen = tg.zeros(2)                    # another Tensor in its place is the buffer now
    assert module.state_dict()["0.seen"].tolist() == [0, 0]
    with pytest.raises(KeyError, match="cannot be the name"):
        module.register_buffer("a.b", tg.ones(1))


def test_buffers_are_written_by_replays():
    module = Counting()
    traced = tg.trace(module, strict=True)
    for _ in range(4):
        traced(tg.ones(2))
    assert module.seen.tolist() == [4, 4] and module.count.item() == 4 and traced.stats.replays == 3


def test_hooks_see_and_change_what_goes_in_and_comes_out():
    layer, seen = nn.Linear(2, 2), []
    before = layer.register_forward_pre_hook(lambda module, args: (args[0] * 2,))
    after = layer.register_forward_hook(lambda module, args, result: seen.append((module, args[0].tolist())))
    plain = layer.forward(tg.full((1, 2), 2.0))
    assert layer(tg.ones(1, 2)).tolist() == plain.tolist() and seen == [(layer, [[2, 2]])]
    after.remove()
    changed = layer.register_forward_hook(lambda module, args, result: result + 1)
    assert layer(tg.ones(1, 2)).tolist() == (plain + 1).tolist() and len(seen) == 1
    before.remove()
    changed.remove()
    assert layer(tg.full((1, 2), 2.0)).tolist() == plain.tolist()


def test_a_hook_that_computes_is_part_of_a_trace():
    layer = nn.Linear(2, 2)
    layer.register_forward_hook(lambda module, args, result: result * 2)
    traced = tg.trace(layer, strict=True)
    for _ in range(3):
        assert np.allclose(traced(tg.ones(1, 2)).tolist(), (layer.forward(tg.ones(1, 2)) * 2).tolist())
    assert traced.stats.replays == 2


def test_dicts_and_lists_of_modules_and_parameters():
    class Net(nn.Module):
        def __init__(self):
            self.parts = nn.ModuleDict({"a": nn.Linear(2, 2), "b": nn.ReLU()})
            self.scales = nn.ParameterList([tg.ones(2), tg.zeros(2)])
            self.shifts = nn.ParameterDict({"c": tg.ones(1)})

        def forward(self, x):
            for part in self.parts.values():
                x = part(x)
            return x * self.scales[0] + self.scales[1] + self.shifts["c"]

    net = Net()
    assert [name for name, _ in net.named_parameters()] == [
        "parts.a.weight", "parts.a.bias", "scales.0", "scales.1", "shifts.c"]
    assert list(net.parts) == ["a", "b"] and "a" in net.parts and len(net.scales) == 2 and list(net.shifts) == ["c"]
    traced = tg.trace(net, strict=True)
    for _ in range(3):
        traced(tg.ones(1, 2))
    assert traced.stats.replays == 2
    assert net.get_submodule("parts.a") is net.parts["a"]
    with pytest.raises(AttributeError, match="has no module 'z'"):
        net.get_submodule("parts.z")
    with pytest.raises(TypeError, match="ModuleDict holds Modules, not int"):
        net.parts["c"] = 3
    net.parts["a"] = nn.Identity()
    assert net.parts.pop("b") is not None and len(net.parts) == 1
    del net.parts["a"]
    assert list(net.parameters()) == [net.scales[0], net.scales[1], net.shifts["c"]]


def test_copies_and_pickles_keep_what_is_shared():
    model = Net()
    optimizer = tg.optim.Adam(model.parameters(), lr=0.1)
    for twin, steps in (copy.deepcopy((model, optimizer)), pickle.loads(pickle.dumps((model, optimizer)))):
        assert twin.tied is twin.first and twin is not model
        assert all(a is b for a, b in zip(steps.params, twin.parameters(), strict=True))
        before = model.first.weight.tolist()
        twin(tg.ones(1, 3)).sum().backward()
        steps.step()
        assert model.first.weight.tolist() == before != twin.first.weight.tolist()


def test_dtypes_of_a_whole_module():
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    for method, dtype in ((model.double, tg.float64), (model.half, tg.float16), (model.bfloat16, tg.bfloat16),
                          (model.float, tg.float32)):
        assert method() is model and model[0].weight.dtype == model[1].running_mean.dtype == dtype
    assert model.to("cpu") is model.cpu() and model[0].weight.dtype == tg.float32
    assert model.to(device="cpu", dtype=tg.float64)[1].running_var.dtype == tg.float64


def test_what_a_module_holds_itself():
    net = Net()
    assert [name for name, _ in net.named_parameters(recurse=False)] == ["scale"]
    assert list(net.parameters(recurse=False)) == [net.scale]
    norm = nn.Sequential(nn.BatchNorm1d(2))
    assert list(norm.buffers(recurse=False)) == [] and len(list(norm.buffers())) == 3


def test_batch_norm_counts_batches_and_uses_what_it_learned():
    tg.manual_seed(0)
    layer = nn.BatchNorm1d(3)
    x = tg.randn(50, 3) * 2 + 5
    for _ in range(200):
        layer(x)
    assert layer.num_batches_tracked.item() == 200
    assert np.allclose(layer.running_mean.numpy(), x.numpy().mean(0), rtol=1e-4)
    assert np.allclose(layer.running_var.numpy(), x.numpy().var(0, ddof=1), rtol=1e-4)
    layer.eval()
    assert np.allclose(layer(x).detach().numpy().mean(0), 0, atol=1e-4)
    with pytest.raises(ValueError, match="does not have 2 or 3 axes"):
        layer(tg.ones(3))
    with pytest.raises(ValueError, match="one value for each channel"):
        layer.train()(tg.ones(1, 3))
    layer.reset_running_stats()
    assert layer.num_batches_tracked.item() == 0 and layer.running_var.tolist() == [1, 1, 1]


def test_norms_of_half_precision_are_computed_in_single():
    x = (tg.arange(64).reshape(4, 16) * 100).to(tg.float16)
    y = nn.LayerNorm(16)(x)
    assert y.dtype == tg.float16
    assert np.allclose(y.detach().numpy(), nn.LayerNorm(16)(x.float()).detach().numpy(), atol=2e-3)


def test_padding_of_an_embedding_gets_no_gradient():
    layer = nn.Embedding(4, 2, padding_idx=-1)
    assert layer.padding_idx == 3 and layer.weight[3].tolist() == [0, 0]
    layer(tg.tensor([0, 3, 3])).sum().backward()
    assert layer.weight.grad.tolist() == [[1, 1], [0, 0], [0, 0], [0, 0]]
    for index in (4, -1):
        with pytest.raises(IndexError, match="embedding: an index is none of the 4 rows"):
            layer(tg.tensor([index]))
    frozen = nn.Embedding.from_pretrained(tg.ones(3, 2))
    assert not frozen.weight.requires_grad and frozen(tg.tensor([2])).tolist() == [[1, 1]]


def test_attention_that_sees_nothing_gives_nothing():
    q = tg.randn(1, 2, 3, 4)
    mask = tg.tensor([[True, False, False], [False, False, False], [True, True, True]])
    y = F.scaled_dot_product_attention(q, q, q, attn_mask=mask)
    assert y[0, 0, 1].tolist() == [0] * 4 and np.allclose(y[0, 0, 0].tolist(), q[0, 0, 0].tolist())
    few = tg.randn(1, 1, 3, 4)
    grouped = F.scaled_dot_product_attention(q, few, few, enable_gqa=True)
    assert np.allclose(grouped.numpy(), F.scaled_dot_product_attention(q, few.expand(1, 2, 3, 4),
                                                                       few.expand(1, 2, 3, 4)).numpy())
    with pytest.raises(ValueError, match="a mask or is_causal"):
        F.scaled_dot_product_attention(q, q, q, attn_mask=mask, is_causal=True)


def test_gumbel_softmax_draws_by_the_logits():
    tg.manual_seed(0)
    logits = tg.tensor([[0.0, math.log(3.0)]] * 4000, requires_grad=True)
    drawn = F.gumbel_softmax(logits, hard=True)
    values = drawn.detach().numpy()
    assert np.allclose(values.sum(1), 1) and np.allclose(np.unique(values.round(5)), [0, 1])
    assert values[:, 1].mean() == pytest.approx(0.75, abs=0.03)
    (drawn * tg.tensor([1.0, 0.0])).sum().backward()
    assert logits.grad.abs().sum().item() > 0
    soft = F.gumbel_softmax(logits, tau=5.0).detach().numpy()
    assert soft.max() < 1 and np.allclose(soft.sum(1), 1)


def test_names_of_functional_are_those_it_lists():
    assert all(callable(getattr(F, name)) for name in F.__all__)
    assert all(hasattr(nn, name) for name in nn.__all__)


def test_sequences_of_named_modules():
    model = nn.Sequential(OrderedDict(hidden=nn.Linear(2, 3), act=nn.Tanh(), out=nn.Linear(3, 1)))
    assert list(model.state_dict()) == ["hidden.weight", "hidden.bias", "out.weight", "out.bias"]
    assert model.out is model[2] and "(hidden): Linear" in repr(model)
    traced = tg.trace(lambda x: model(x) * model.out.bias, strict=True)
    for _ in range(3):
        traced(tg.ones(1, 2))
    assert traced.stats.replays == 2
    model[0] = nn.Linear(2, 3, bias=False)
    assert model.hidden is model[0] and traced(tg.ones(1, 2)).tolist() == (
        model(tg.ones(1, 2)) * model.out.bias).tolist()
    model.append(nn.Identity())
    assert [name for name, _ in model.named_children()] == ["hidden", "act", "out", "3"]
    del model[1]
    assert [name for name, _ in model.named_children()] == ["hidden", "out", "3"]
    with pytest.raises(AttributeError, match="Sequential has no attribute 'act'"):
        model.act
    twin = copy.deepcopy(model)
    assert twin.out is twin[1] is not model.out and list(twin.state_dict()) == list(model.state_dict())


def test_lists_of_modules_are_edited_as_lists_are():
    blocks = nn.ModuleList([nn.Linear(1, 1), nn.ReLU()])
    blocks.insert(1, nn.Tanh())
    blocks += [nn.Identity()]
    assert [type(m).__name__ for m in blocks] == ["Linear", "Tanh", "ReLU", "Identity"]
    assert isinstance(blocks.pop(), nn.Identity) and isinstance(blocks.pop(0), nn.Linear) and len(blocks) == 2
    del blocks[0]
    assert [name for name, _ in blocks.named_children()] == ["0"]


CTC = [
    ("mean", [[1, 2, 2], [3, 1, 0]], [6, 5], [3, 2]), ("none", [[1, 2, 2], [3, 1, 0]], [6, 5], [3, 2]),
    ("sum", [1, 2, 2, 3, 1], [6, 5], [3, 2]), ("none", [[1, 1, 1], [2, 0, 0]], [5, 1], [3, 1]),
    ("none", [[1, 1, 1], [2, 0, 0]], [4, 6], [3, 0]),
]


@pytest.mark.peers
@pytest.mark.parametrize(("reduction", "targets", "inputs", "lengths"), CTC, ids=range(len(CTC)))
def test_ctc_loss_is_that_of_pytorch(reduction, targets, inputs, lengths):
    torch = pytest.importorskip("torch")
    x = np.random.default_rng(0).standard_normal((6, 2, 4))
    options = {"reduction": reduction, "zero_infinity": True}

    ours = tg.tensor(x, requires_grad=True)
    loss = nn.CTCLoss(**options)(F.log_softmax(ours, 2), tg.tensor(targets), inputs, lengths)
    loss.sum().backward()
    theirs = torch.tensor(x, requires_grad=True)
    expected = torch.nn.CTCLoss(**options)(theirs.log_softmax(2), torch.tensor(targets), inputs, lengths)
    expected.sum().backward()
    assert np.allclose(loss.detach().numpy(), expected.detach().numpy(), rtol=1e-10)
    assert np.allclose(ours.grad.numpy(), theirs.grad.numpy(), rtol=1e-8, atol=1e-12)


def test_ctc_loss_replays_and_says_what_cannot_be_read():
    loss = nn.CTCLoss(reduction="none")
    traced = tg.trace(lambda x, y: loss(F.log_softmax(x, 2), y, [4, 2], [2, 2]), strict=True)
    for k in range(3):
        x, y = tg.randn(4, 2, 3, generator=tg.Generator(k)), tg.tensor([[1, 2], [1, 1]])
        found = traced(x, y)
        assert np.allclose(found.tolist(), loss(F.log_softmax(x, 2), y, [4, 2], [2, 2]).tolist(), rtol=1e-5)
        assert found[1].item() == math.inf          # a blank must come between two that are alike
    assert traced.stats.replays == 2
