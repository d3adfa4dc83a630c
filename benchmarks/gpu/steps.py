"""steps: whole training steps (forward, backward, AdamW) beside torch.compile's, and what a small one costs the CPU.

PyTorch's is what its users write: the model and its loss compiled with default options, its own optimizer behind it.
"""
from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from importlib.util import find_spec

from benchmarks.gpu.models import MLP, MODELS, Model, Step, torch_step, tracegrad_step
from benchmarks.gpu.timing import FLUSHED_BYTES, EventClock, host_seconds, interleaved, ratio
from benchmarks.rounds import Row

COMPARED_STEPS = 3
TOLERANCE = {False: 1e-4, True: 3e-2}


def has_torch() -> bool:
    """Is PyTorch here, and does it find a GPU?"""
    if find_spec("torch") is None:
        return False
    import torch
    return torch.cuda.is_available()


def finish_tracegrad() -> None:
    import tracegrad as tg
    tg.cuda.synchronize()


def finish_torch() -> None:
    import torch
    torch.cuda.synchronize()


def measure(name: str, half: bool, model: Model | None = None, rounds: int = 7) -> Iterator[Row]:
    """The steps of a model, interleaved; torch.compile's first, since it is the measure."""
    model = MODELS[name] if model is None else model
    case = f"{name}, {'bfloat16 autocast' if half else 'float32'}"
    makers: dict[str, tuple[Callable[[], Step], Callable[[], None]]] = {}
    if has_torch():
        makers["torch.compile"] = lambda: torch_step(model, half), finish_torch
    makers["tracegrad"] = lambda: tracegrad_step(model, half), finish_tracegrad
    steps: dict[str, Step] = {}
    losses: dict[str, list[float]] = {}
    for contender, (make, _) in makers.items():
        try:
            step = make()
            losses[contender] = [float(step()) for _ in range(COMPARED_STEPS)]
            steps[contender] = step
        except Exception as error:  # noqa: BLE001 - a contender that fails is a row that says so
            yield Row(case, contender, error=f"{type(error).__name__}: {error}"[:300])
    finish = {contender: done for contender, (_, done) in makers.items()}
    measured = interleaved(steps, finish, rounds)
    first = next(iter(steps), None)
    for contender, seconds in measured.items():
        assert first is not None
        error = max(abs(a - b) / abs(b) for a, b in zip(losses[contender], losses[first]))
        yield Row(case, contender, seconds, None if contender == first else ratio(seconds, measured[first]),
                  error, error <= TOLERANCE[half])


SMALL = MLP((32, 32, 32, 10), 8)
MOST_SECONDS = 20e-6


def overhead(model: Model = SMALL, rounds: int = 15, calls: int = 50, flushed: int = FLUSHED_BYTES) -> Iterator[Row]:
    """A step so small that it takes what it takes to start it: each of many calls, and what the GPU does of it."""
    step = tracegrad_step(model, False)
    for _ in range(10):
        step()
    on_gpu = EventClock(flushed).seconds(step, 0.5)
    yield Row("small MLP, its work on the GPU", "tracegrad", on_gpu)
    whole = [host_seconds(step, finish_tracegrad, calls) for _ in range(rounds)]
    more = max(statistics.median(whole) - statistics.median(on_gpu), 0.0)
    yield Row("small MLP, each call", "tracegrad", whole,
              share=f"{more * 1e6:.1f} us beside the GPU's work, {'within' if more <= MOST_SECONDS else 'above'} "
                    f"{MOST_SECONDS * 1e6:.0f} us")
