"""Tensors on a GPU, on a stand-in of CuPy (see stub_cupy) that refuses what would take values to the CPU unseen."""
from __future__ import annotations

import copy
import os
import pickle
import re
import subprocess
import sys
import weakref
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import stub_cupy
from call_cases import Case
from device_values import close, leaves, on
from gpu_extra import needs_cupy
from layer_cases import ACTIVATIONS, CONVOLUTIONS, LAYERS, LOSSES
from layer_cases import Case as Layer
from numpy_cases import NUMPY_CASES
from op_cases import cases
from torch_cases import TORCH_CASES

import tracegrad as tg
from codegen import TARGETS, CannotLower
from codegen.ir.edges import EDGES
from codegen.ir.gpu_references import ON_CPU
from codegen.ir.ops import OPS, Op
from codegen.ir.types import DTYPES
from tracegrad import devices, nn
from tracegrad.devices import NoGPU
from tracegrad.dispatch import dispatch
from tracegrad.nn.clipping import clip_grad_norm_

NAMES = {**vars(tg), "F": tg.nn.functional}
CALLS = [case for case in (*NUMPY_CASES, *TORCH_CASES) if case.operands]


@pytest.fixture(autouse=True)
def gpu() -> Iterator[Any]:
    with stub_cupy.installed() as cupy:
        stub_cupy.SYNCHRONIZATIONS.clear()
        yield cupy


# ---- every public function, every op, every layer -----------------------------------------------------------------


def called(case: Case, device: str) -> list[np.ndarray]:
    """Values and gradients of a call on a device."""
    operands = {name: tg.tensor(a, device=device, requires_grad=bool(case.orders) and a.dtype.kind in "fc")
                for name, a in case.arrays().items()}
    result = eval(case.ours, {**NAMES, **operands})
    if case.orders:
        sum((part.abs() ** 2).sum() if part.dtype.kind == "c" else (part * part.cos()).sum()
            for part in leaves(result) if isinstance(part, tg.Tensor) and part.requires_grad).backward()
    return on(device, [result, [x.grad for x in operands.values() if x.grad is not None]])


@pytest.mark.parametrize("case", CALLS, ids=str)
def test_a_call_gives_there_what_it_gives_on_the_cpu(case: Case) -> None:
    close(called(case, "cuda"), called(case, "cpu"))


ROUNDING = {np.dtype(np.float16): 1e-2, DTYPES["bf16"]: 2e-2}
ON_GPU = [op for op in OPS.values() if op.arity]


@pytest.mark.parametrize("op", ON_GPU, ids=lambda op: op.name)
def test_an_op_gives_there_what_its_reference_gives(op: Op) -> None:
    for operands, attrs in list(cases(op))[::2]:
        with np.errstate(all="ignore"):
            expected = np.asarray(op.reference(*operands, **attrs))
        there = [tg.tensor(x, device="cuda") for x in operands]
        close(on("cuda", dispatch(op.name, *there, **attrs)), [expected], ROUNDING.get(expected.dtype, 1e-5))


def test_linear_algebra_says_there_what_it_says_on_the_cpu() -> None:
    with pytest.raises(np.linalg.LinAlgError, match="not positive definite"):
        tg.linalg.cholesky(-tg.eye(3, device="cuda"))


EDGES_THERE = [edge for edge in EDGES if OPS[edge.op].arity]


@pytest.mark.parametrize("op", sorted({edge.op for edge in EDGES_THERE}))
def test_edge_semantics_hold_there(op: str) -> None:
    for edge in (edge for edge in EDGES_THERE if edge.op == op):
        operands = [tg.tensor(x, device="cuda") for x in edge.inputs()]
        if edge.exits:
            with pytest.raises(IndexError):
                dispatch(op, *operands, **dict(edge.attrs))
        else:
            assert edge.holds(on("cuda", dispatch(op, *operands, **dict(edge.attrs)))), str(edge)


def layer_on(case: Layer, device: str) -> list[np.ndarray]:
    """Results, gradients and buffers of a training step of a layer that was moved to a device."""
    tg.manual_seed(0)
    layer = case.make(nn).to(tg.float64).train(case.training).to(device)
    inputs = [tg.tensor(a, device=device, requires_grad=d) for a, d in zip(case.arrays(), case.differentiable())]
    options = {k: tg.tensor(v, device=device) if isinstance(v, np.ndarray) else v for k, v in case.options}
    results = [r for r in leaves(layer(*inputs, **options)) if r is not None]
    if any(r.requires_grad for r in results):
        sum((r * r.cos()).sum() for r in results).backward()
    optimizer = tg.optim.Adam(params) if (params := list(layer.parameters())) else None
    if optimizer is not None:
        optimizer.step()
    grads = [x.grad for x in (*inputs, *layer.parameters()) if x.grad is not None]
    return on(device, [results, grads, list(layer.state_dict().values())])


@pytest.mark.parametrize("case", (*ACTIVATIONS, *CONVOLUTIONS, *LAYERS, *LOSSES), ids=str)
def test_a_layer_does_there_what_it_does_on_the_cpu(case: Layer) -> None:
    close(layer_on(case, "cuda"), layer_on(case, "cpu"), 1e-9)


# ---- what is on which device --------------------------------------------------------------------------------------


def test_tensors_are_made_moved_and_shown() -> None:
    x = tg.tensor([1.0, 2.0], device="cuda", requires_grad=True)
    assert str(x) == "tensor([1., 2.], device='cuda:0', requires_grad=True)"
    assert x.device == tg.Device("cuda", 0) == x.cuda().device and x.is_cuda and not x.cpu().is_cuda
    assert str(x.device) == "cuda:0" and x.device.type == "cuda" and repr(x.device) == "device('cuda:0')"
    assert x.to("cuda") is x and x.cuda(0) is x and x.cpu().cpu().to(x).device == x.device
    assert x.to("cpu", tg.float64).dtype == tg.float64 and x.to(tg.ones(1)).device == tg.Device("cpu")
    assert x.detach().cpu().numpy().tolist() == [1.0, 2.0] == x.tolist() and x.sum().item() == 3.0
    for made in (tg.zeros(2, device="cuda"), tg.ones((2, 3), device="cuda:0"), tg.full((2,), 7, device="cuda"),
                 tg.arange(3, device="cuda"), tg.linspace(0, 1, 3, device="cuda"), tg.eye(2, device="cuda"),
                 tg.rand(3, device="cuda"), tg.randint(5, size=(3,), device="cuda"), tg.empty(2, device=x.device),
                 tg.zeros_like(x), tg.randn_like(x), tg.asarray([1, 2], device="cuda"), tg.tensor(x), x.clone(),
                 tg.fft.fftfreq(4, device="cuda"), tg.randperm(4, device="cuda"), copy.deepcopy(x), copy.copy(x)):
        assert made.is_cuda
    assert not tg.zeros_like(x, device="cpu").is_cuda and tg.tensor(x, device="cpu").device == tg.Device("cpu")
    assert tg.as_tensor(tg.ones(2), device="cuda").is_cuda and tg.ones(2).to_device("cuda").is_cuda


def test_draws_are_those_of_the_cpu() -> None:
    for draw in (tg.rand, tg.randn, lambda *size, **place: tg.randint(100, size=size, **place)):
        tg.manual_seed(3)
        expected = draw(5, 3)
        tg.manual_seed(3)
        close(on("cuda", draw(5, 3, device="cuda")), [expected.numpy()], 1e-7)
    x = tg.zeros(1000, device="cuda")
    assert on("cuda", x.normal_())[0].std() > 0.9


@pytest.mark.parametrize(("what", "message"), [
    (lambda x, y: x + y,
     r"add: operands on different devices: f32\[2\] on cuda:0 and f32\[2\] on cpu; .*x.to\('cuda:0'\)"),
    (lambda x, y: y @ x, "matmul: operands on different devices"),
    (lambda x, y: tg.stack([x, y]), "concat: operands on different devices"),
    (lambda x, y: tg.where(x > 0, x, y), "where: operands on different devices"),
])
def test_operands_on_different_devices_are_refused(what: Any, message: str) -> None:
    with pytest.raises(RuntimeError, match=r"test_cuda.py:\d+: " + message):
        what(tg.ones(2, device="cuda"), tg.ones(2))


@pytest.mark.parametrize("what", [lambda x: x.numpy(), np.asarray, lambda x: np.array(x, dtype=float)])
def test_numpy_takes_no_tensor_of_a_gpu_unasked(what: Any) -> None:
    with pytest.raises(TypeError, match=r"test_cuda.py:\d+: numpy: the tensor is on cuda:0, .* use x.cpu\(\)"):
        what(tg.ones(2, device="cuda"))


def test_a_number_on_the_cpu_goes_where_it_is_needed_and_its_gradient_comes_back() -> None:
    x, w = tg.ones(3, device="cuda", requires_grad=True), tg.tensor(2.0, requires_grad=True)
    line = tg.tensor([1.0, 3.0], requires_grad=True)
    (x * w * line.sum()).sum().backward()
    assert on("cuda", x.grad)[0].tolist() == [8.0] * 3
    assert on("cpu", w.grad)[0] == 12.0 and on("cpu", line.grad)[0].tolist() == [6.0, 6.0]


def test_a_transfer_is_differentiated_to_any_order() -> None:
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    y = x.to("cuda") ** 3
    (g,) = tg.autograd.grad(y.sum(), x, create_graph=True)
    assert on("cpu", g)[0].tolist() == [3.0, 12.0] and repr(x.cuda().grad_fn) == "<to backward>"
    g.sum().backward()
    assert on("cpu", x.grad)[0].tolist() == [6.0, 12.0]


def test_writes_and_views() -> None:
    x = tg.arange(6.0, device="cuda").reshape(2, 3)
    row, turned = x[1], x.T
    row *= 2
    x[0, 1:] = 7.0
    x[:, 0] = tg.tensor([5.0, 6.0])                     # as PyTorch: the values go there
    turned.add_(1)
    assert on("cuda", x)[0].tolist() == [[6.0, 8.0, 8.0], [7.0, 9.0, 11.0]]
    x.copy_(tg.zeros(3))
    assert on("cuda", row)[0].tolist() == [0.0] * 3 and on("cuda", turned)[0].shape == (3, 2)
    with pytest.raises(ValueError, match="in place: .* is a broadcast"):
        tg.ones(1, device="cuda").broadcast_to(3).add_(1)
    y = tg.ones(3, device="cuda", requires_grad=True)
    z = y * 1
    squares = z * z
    z[tg.tensor([0], device="cuda")] = 4.0              # what backward needs of z was saved before
    squares.sum().backward()
    assert on("cuda", y.grad)[0].tolist() == [2.0] * 3
    with pytest.raises(IndexError, match="index 5 is out of bounds"):
        x[0][tg.tensor([5], device="cuda")]


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_what_is_assigned_may_be_a_part_of_the_same_memory_or_elsewhere(device: str) -> None:
    tg.ones(1, device="cuda")
    x = tg.arange(6.0, device=device)
    x[1:] = x[:-1]                                      # CUDA copies in no order
    assert x.tolist() == [0.0, 0.0, 1.0, 2.0, 3.0, 4.0]
    x[:] = tg.arange(6.0, device=device)
    x[2:4] += 10
    x[:2] = x[4:]
    x[:3].copy_(x[1:4])
    assert x.tolist() == [5.0, 12.0, 13.0, 13.0, 4.0, 5.0]
    mask = x > 12
    x[mask] = tg.tensor([1.0, 2.0])                     # as x[:2] = takes values of the CPU
    x[[4, 5]] = tg.tensor([3.0, 4.0])
    np.add.at(x, [0, 0], tg.tensor([1.0, 1.0]))
    assert x.tolist() == [7.0, 12.0, 1.0, 2.0, 3.0, 4.0]


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_windows_are_views_where_a_gpu_is_in_use(device: str) -> None:
    tg.ones(1, device="cuda")
    x = tg.ones(8, device=device, requires_grad=True)
    y = x * 1.0
    squares = y.unfold(0, 3, 1) ** 2
    y[0] = 100.0                                # what is saved of the windows stays what it was
    squares.sum().backward()
    assert x.grad is not None and x.grad.cpu().numpy().tolist() == [2.0, 4.0, 6.0, 6.0, 6.0, 6.0, 4.0, 2.0]


def test_the_first_nan_is_found() -> None:
    x = tg.tensor([[1.0, np.nan, np.nan], [3.0, 1.0, 2.0]], device="cuda")
    assert x.argmax(1).tolist() == [1, 0] and x.argmin(1, keepdims=True).tolist() == [[1], [1]]
    assert x.to(tg.bfloat16).argmax(1).tolist() == [1, 0] and x.argmax().item() == 1


def test_a_mask_or_a_list_selects_there() -> None:
    x = tg.arange(4.0, device="cuda")
    assert on("cuda", x[x > 1])[0].tolist() == [2.0, 3.0] == on("cuda", x[[2, 3]])[0].tolist()
    assert on("cuda", x[np.array([0, -1])])[0].tolist() == [0.0, 3.0]
    assert all(part.size == 3 for part in on("cuda", tg.nonzero(x)))


# ---- modules, files, other libraries ------------------------------------------------------------------------------


def test_a_module_moves_and_learns_there(tmp_path: Any) -> None:
    tg.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))
    twin = copy.deepcopy(model).cuda()
    assert all(t.is_cuda for t in (*twin.parameters(), *twin.buffers()))
    assert twin[1].num_batches_tracked.dtype == tg.int64
    x = tg.randn(8, 3)
    losses = []
    for net, inputs in ((model, x), (twin, x.cuda())):
        optimizer = tg.optim.AdamW(net.parameters(), lr=0.1)
        for _ in range(3):
            optimizer.zero_grad()
            loss = (net(inputs) ** 2).mean()
            loss.backward()
            clip_grad_norm_(net.parameters(), 1.0)
            optimizer.step()
        losses.append(loss.item())
        tg.save(tmp_path / "state.npz", {"model": net.state_dict(), "optimizer": optimizer.state_dict()})
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    state = tg.load(tmp_path / "state.npz")
    assert all(t.device == tg.Device("cpu") for t in state["model"].values())
    assert all(t.is_cuda for t in tg.load(tmp_path / "state.npz", device="cuda")["model"].values())
    twin.load_state_dict(state["model"])
    assert twin[0].weight.is_cuda and twin.cpu()[0].weight.device == tg.Device("cpu")


def test_pickles_go_back_to_their_device() -> None:
    x = pickle.loads(pickle.dumps(tg.ones(2, device="cuda")))
    assert on("cuda", x)[0].tolist() == [1.0, 1.0]


def test_dlpack_shares_memory_both_ways(gpu: Any) -> None:
    theirs = gpu.arange(3)
    x = tg.from_dlpack(theirs)
    x[0] = 7
    assert theirs.tolist() == [7, 1, 2] and tg.asarray(theirs).is_cuda and x.__dlpack_device__() == (2, 0)
    kind, memory, stream = x.__dlpack__(stream=1)
    assert np.shares_memory(memory._a, theirs._a) and stream == 1
    assert on("cpu", tg.from_dlpack(theirs, device="cpu"))[0].tolist() == [7, 1, 2]
    copied = tg.tensor(theirs)
    copied += 1
    assert theirs.tolist() == [7, 1, 2] and copied.is_cuda and tg.from_dlpack(np.ones(2), device="cuda").is_cuda
    with pytest.raises(ValueError, match="a copy is needed"):
        tg.from_dlpack(np.ones(2), device="cuda", copy=False)


def test_handed_out_memory_is_copied_when_it_is_saved() -> None:
    x = tg.ones(2, device="cuda", requires_grad=True)
    y = x * 3
    shared = y.detach().__dlpack__()[1]
    z = y * y
    shared[:] = 100.0
    z.sum().backward()
    assert on("cuda", x.grad)[0].tolist() == [18.0, 18.0]


def test_two_gpus() -> None:
    with stub_cupy.installed(gpus=2) as cupy:
        devices.several_gpus.cache_clear()
        x, y = tg.arange(6.0, device="cuda:1").reshape(2, 3), tg.ones(3, device="cuda")
        assert str(x.device) == "cuda:1" and y.device.index == 0 == tg.cuda.current_device()
        x[0] = 7
        x[1:] += x[:1]
        x[:, 1].mul_(2)
        x[0, :2] = x[0, 1:]                             # a part of the same memory
        assert x.tolist() == [[14.0, 7.0, 7.0], [10.0, 22.0, 12.0]]
        assert on("cuda", x.to("cuda:0") + y)[0].tolist() == [[15.0, 8.0, 8.0], [11.0, 23.0, 13.0]]
        assert x.T.to("cpu", non_blocking=True).is_pinned() and x[x > 12].sum().item() == 36.0
        assert str(x.T.contiguous()) and bool((x == x).all()) and tg.cuda.current_device() == 0
        with pytest.raises(RuntimeError, match=r"f32\[2,3\] on cuda:1 and f32\[3\] on cuda:0; move"):
            x + y
        w = tg.randn(3, 2, device="cuda:1", requires_grad=True)
        (x @ w).tanh().sum().backward()
        assert w.grad is not None and w.grad.device == w.device
        optimizer = tg.optim.Adam([w])
        optimizer.step()
        assert cupy.cuda.runtime.getDevice() == 0
    devices.several_gpus.cache_clear()


def test_memory_that_another_library_pinned_is_read_before_a_transfer_returns(monkeypatch: pytest.MonkeyPatch) -> None:
    x = tg.ones(4)
    monkeypatch.setattr(sys.modules["cupy"].cuda.pinned_memory, "is_memory_pinned", lambda address: True)
    assert x.to("cuda").tolist() == [1.0] * 4 and stub_cupy.SYNCHRONIZATIONS == ["stream", "get"]


def test_memory_that_another_stream_uses_waits_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stub_cupy.Event, "done", False)
    stream = tg.cuda.Stream()
    x = tg.ones(4, device="cuda")
    part = x[1:]
    x.record_stream(stream)
    memory = weakref.ref(x.memory.data.mem)
    del x
    tg.ones(1, device="cuda")
    assert devices._USED[0].event is None, "a part of it is still used"
    del part
    for _ in range(3):
        tg.ones(1, device="cuda")
        assert memory() is not None and devices._USED[0].event.stream is stream.cupy_stream
    monkeypatch.setattr(stub_cupy.Event, "done", True)
    tg.ones(1, device="cuda")
    assert memory() is None and not devices._USED
    with pytest.raises(RuntimeError, match=r"test_cuda.py:\d+: record_stream: the tensor is on the CPU"):
        tg.ones(1).record_stream(stream)


def test_pinned_memory_and_streams() -> None:
    x = tg.ones(4).pin_memory()
    assert x.is_pinned() and x[1:].is_pinned() and x.pin_memory() is x and not tg.ones(4).is_pinned()
    stub_cupy.SYNCHRONIZATIONS.clear()
    stream = tg.cuda.Stream()
    with stream as current:
        y = x.to("cuda", non_blocking=True) * 2
        assert tg.cuda.current_stream() == current == stream != tg.cuda.Stream()
    back = y.to("cpu", non_blocking=True)
    assert not stub_cupy.SYNCHRONIZATIONS and back.is_pinned()
    tg.cuda.current_stream().wait_stream(stream)
    tg.cuda.synchronize()
    assert back.tolist() == [2.0] * 4 and stream.query()
    x.to("cuda")
    assert stub_cupy.SYNCHRONIZATIONS == ["device", "stream"]
    with pytest.raises(RuntimeError, match="pin_memory: only tensors on the CPU"):
        y.pin_memory()
    batches = list(tg.data.DataLoader((np.zeros((4, 2)), np.arange(4)), batch_size=2, pin_memory=True))
    assert all(t.is_pinned() for batch in batches for t in batch)
    there = tg.data.TensorDataset(tg.zeros(4, 2, device="cuda"), tg.arange(4, device="cuda"))
    assert all(t.is_cuda for batch in tg.data.DataLoader(there, batch_size=2, shuffle=True) for t in batch)


def test_the_namespace() -> None:
    assert tg.cuda.is_available() and tg.cuda.device_count() == 1 and tg.cuda.current_device() == 0
    assert tg.cuda.get_device_name() == "a GPU of tests" and tg.cuda.get_device_capability() == (9, 0)
    assert tg.cuda.memory_allocated() == 0
    start, end = tg.cuda.Event(enable_timing=True), tg.cuda.Event(enable_timing=True)
    start.record()
    end.record()
    end.synchronize()
    assert start.elapsed_time(end) == 1.0


def test_nothing_waits_for_the_gpu_unless_a_value_is_read() -> None:
    model = nn.Sequential(nn.Linear(3, 8), nn.LayerNorm(8), nn.GELU(), nn.Linear(8, 2)).cuda()
    optimizer, x, y = tg.optim.AdamW(model.parameters()), tg.randn(5, 3, device="cuda"), tg.randn(5, 2, device="cuda")
    stub_cupy.SYNCHRONIZATIONS.clear()
    loss = nn.functional.mse_loss(model(x), y)
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    assert not stub_cupy.SYNCHRONIZATIONS
    loss.item()
    assert stub_cupy.SYNCHRONIZATIONS == ["get"]


# ---- where there is none ------------------------------------------------------------------------------------------


def test_a_missing_gpu_says_what_to_do(gpu: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    none = r"test_cuda.py:\d+: device \"cuda\": this machine has no GPU"
    with stub_cupy.installed(gpus=0), pytest.raises(NoGPU, match=none):
        tg.ones(3, device="cuda")
    with pytest.raises(NoGPU, match=r"device 'cuda:1': this machine has 1 GPU\(s\)"):
        tg.ones(3).to("cuda:1")
    with pytest.raises(ValueError, match="tracegrad has no device 'mps'; the devices are 'cpu' and 'cuda'"):
        tg.ones(3, device="mps")
    with stub_cupy.installed(gpus=0):
        assert not tg.cuda.is_available() and tg.cuda.device_count() == 0
    with stub_cupy.installed():
        monkeypatch.setitem(sys.modules, "cupy", None)
        missing = r"test_cuda.py:\d+: .*CuPy cannot be imported .*: pip install 'tracegrad\[gpu\]'"
        with pytest.raises(NoGPU, match=missing):
            tg.ones(3).cuda()
        assert not tg.cuda.is_available()


def test_a_program_on_the_cpu_imports_no_cupy() -> None:
    program = """
import sys, tracegrad as tg
model = tg.nn.Linear(2, 2).to("cpu")
step = tg.trace(lambda x: model(x).sum())
for _ in range(3):
    step(tg.ones(3, 2, device="cpu")).backward()
tg.asarray([1.0]).cpu().to(tg.Device("cpu")).numpy()
assert not {"cupy", "cupy_backends", "cupyx", "triton"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", program], check=True)


@needs_cupy
def test_the_stand_in_has_the_names_of_cupy() -> None:
    program = """
import inspect, cupy, cupyx.scipy.special, stub_cupy
for name, parameters in stub_cupy.FUNCTIONS.items():
    found = inspect.signature(getattr(cupy, name)).parameters.values()
    assert [("*" if p.kind is p.KEYWORD_ONLY else "") + p.name for p in found] == list(parameters), name
assert all(isinstance(getattr(cupy, name), cupy.ufunc) for name in stub_cupy.UFUNCS)
assert all(hasattr(cupyx.scipy.special, name) for name in stub_cupy.SPECIAL)

def check(ours, theirs, where):
    for name, value in vars(ours).items():
        if not name.startswith("_") and name != "current" or name in ("__enter__", "__exit__", "__dlpack__"):
            assert hasattr(theirs, name), where + name
            found = getattr(theirs, name)
            if type(value).__name__ == "SimpleNamespace" or isinstance(value, type) and isinstance(found, type):
                check(value, found, where + name + ".")

check(stub_cupy.module(), cupy, "")
check(stub_cupy.MemoryPointer, cupy.cuda.MemoryPointer, "MemoryPointer.")
check(stub_cupy.Graph, cupy.cuda.Graph, "Graph.")
check(stub_cupy._Pool, cupy.cuda.MemoryPool, "MemoryPool.")
for theirs, names in (
        (cupy.cuda.MemoryPointer, "mem ptr"), (cupy.cuda.memory.BaseMemory, "ptr size"), (cupy.cuda.Stream, "done"),
        (cupy.cuda.Event, "done"), (cupy.cuda.PinnedMemoryPool, "free_all_blocks"), (cupy.cuda.Device, "id")):
    for name in names.split():
        assert hasattr(theirs, name), name
"""
    folders = os.pathsep.join(sys.path)
    subprocess.run([sys.executable, "-c", program], check=True, env={**os.environ, "PYTHONPATH": folders})


# ---- traced ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Programs for the GPU are compiled for the CPU, and run on the arrays that stand for CuPy's."""
    monkeypatch.setitem(TARGETS, "triton_gpu", stub_cupy.on_numpy(TARGETS["llvm_cpu"]))


def test_a_path_is_of_the_devices_that_its_tensors_were_on(compiled: None) -> None:
    @tg.trace
    def f(x: tg.Tensor) -> tg.Tensor:
        return (x * 2).sum() + tg.ones(3, device=x.device).sum()

    for _ in range(6):
        assert on("cuda", f(tg.ones(3, device="cuda")))[0] == 9.0
        assert on("cpu", f(tg.ones(3)))[0] == 9.0
    assert f.stats.recordings == 2 and f.stats.replays == 10 and not f.stats.aborts
    assert "recorded again because the arguments held tensors on other devices" in str(f.explain())


def training_step(model: nn.Module, make: Any) -> Any:
    optimizer = make(model.parameters())

    def step(x: tg.Tensor, y: tg.Tensor) -> tg.Tensor:
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(x), y)
        loss.backward()
        optimizer.step()
        return loss
    return step


@pytest.mark.parametrize("make", [lambda p: tg.optim.SGD(p, 0.1, momentum=0.9), tg.optim.AdamW], ids=["SGD", "AdamW"])
def test_a_traced_training_step_replays_there(compiled: None, make: Any) -> None:
    tg.manual_seed(1)
    model = nn.Sequential(nn.Linear(3, 8), nn.LayerNorm(8), nn.Dropout(0.1), nn.Linear(8, 1)).cuda()
    twin = copy.deepcopy(model)
    x, y = tg.randn(16, 3, device="cuda"), tg.randn(16, 1, device="cuda")
    losses = []
    for net, wrap in ((model, tg.trace), (twin, lambda f: f)):
        tg.manual_seed(2)
        step = wrap(training_step(net, make))
        losses.append([on("cuda", step(x, y))[0] for _ in range(5)])
        if wrap is tg.trace:
            assert step.stats.replays == 4 and not step.stats.aborts
    np.testing.assert_allclose(*losses, rtol=1e-5)
    close(on("cuda", list(model.parameters())), on("cuda", list(twin.parameters())), 1e-5)


def test_backward_outside_of_a_traced_forward(compiled: None) -> None:
    f = tg.trace(lambda x: tg.tanh(x).sum())
    x = tg.tensor([0.5, 1.0], device="cuda", requires_grad=True)
    for _ in range(3):
        x.grad = None
        f(x).backward()
        close(on("cuda", x.grad), [1 - np.tanh(np.array([0.5, 1.0], np.float32)) ** 2])
    assert f.stats.replays == 2


def test_branches_views_and_what_comes_from_the_cpu(compiled: None) -> None:
    @tg.trace
    def f(x: tg.Tensor, scale: tg.Tensor) -> tuple[tg.Tensor, tg.Tensor]:
        moved = x.to("cuda") * scale
        return (moved.T, moved[0]) if moved.sum() > 0 else (-moved, moved[1])

    tg.cuda.synchronize()                               # CuPy's import is nothing that a replay does again
    for sign in (1.0, -1.0, 1.0, -1.0, 1.0):
        x = tg.arange(6.0).reshape(2, 3) * sign
        found = on("cuda", f(x, tg.tensor(2.0)))
        close(found, on("cpu", (x.T * 2, x[0] * 2) if sign > 0 else (-x * 2, x[1] * 2)))
    assert f.stats.replays == 3 and not f.stats.aborts


@pytest.mark.filterwarnings("ignore::tracegrad.NotReplayed")
def test_without_a_target_a_traced_function_runs_eagerly_there_and_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*options: Any) -> Any:
        raise CannotLower("there is nothing to compile with")

    monkeypatch.setitem(TARGETS, "triton_gpu", replace(TARGETS["triton_gpu"], compile=refuse))
    f = tg.trace(lambda x: (x * 2).sum())
    assert on("cuda", f(tg.ones(3, device="cuda")))[0] == 6.0
    assert "there is nothing to compile with (Abort.NOT_LOWERED)" in str(f.explain())


def test_the_page_lists_what_runs_on_the_cpu() -> None:
    page = (Path(__file__).parents[2] / "docs" / "gpu.md").read_text()
    (listed,) = re.findall(r"What runs on the CPU(.*?)\n\n", page, re.DOTALL)
    assert {name for name in re.findall(r"`(\w+)`", listed) if name in OPS} == ON_CPU


def test_other_sizes_compile_nothing(compiled: None) -> None:
    f = tg.trace(lambda x: (x * 2).sum(0))
    for n in (4, 5, 6, 7, 8):
        assert on("cuda", f(tg.ones(n, 3, device="cuda")))[0].tolist() == [2.0 * n] * 3
    assert f.stats.recordings == 2 and f.stats.replays == 3
