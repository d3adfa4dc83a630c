"""steps: whole training steps (forward, backward, AdamW) beside torch.compile's, and what a small one costs the CPU.

PyTorch's is what its users write: the model and its loss compiled with default options, its own optimizer behind it.
"""
from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from importlib.util import find_spec

from benchmarks.gpu.models import MLP, MODELS, Model, Step, torch_step, tracegrad_step
from benchmarks.gpu.timing import FLUSHED_BYTES, EventClock, failed, host_seconds, interleaved, ratio
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
    """The steps of a model: ours by itself, and then interleaved with torch.compile's, which is the measure, and may
    take long to begin."""
    model = MODELS[name] if model is None else model
    case = f"{name}, {'bfloat16 autocast' if half else 'float32'}"
    makers: dict[str, tuple[Callable[[], Step], Callable[[], None]]] = {
        "tracegrad": (lambda: tracegrad_step(model, half), finish_tracegrad)}
    if has_torch():
        makers["torch.compile"] = lambda: torch_step(model, half), finish_torch
    steps: dict[str, Step] = {}
    losses: dict[str, list[float]] = {}
    for contender, (make, finish) in makers.items():
        try:
            steps[contender] = step = make()
            losses[contender] = [float(step()) for _ in range(COMPARED_STEPS)]
            alone = interleaved({contender: step}, {contender: finish}, rounds)[contender]
            if len(makers) > 1:
                yield Row(f"{case}, by itself", contender, alone)
        except Exception as error:  # noqa: BLE001 - a contender that fails is a row that says so
            steps.pop(contender, None)
            yield failed(case, contender, error)
    if len(steps) > 1:
        measured = interleaved(steps, {contender: finish for contender, (_, finish) in makers.items()}, rounds)
    else:
        measured = dict.fromkeys(steps, alone)
    first = next((contender for contender in ("torch.compile", "tracegrad") if contender in measured), "")
    for contender in sorted(measured, key=lambda contender: contender != first):
        error = max(abs(a - b) / abs(b) for a, b in zip(losses[contender], losses[first]))
        yield Row(case, contender, measured[contender],
                  None if contender == first else ratio(measured[contender], measured[first]),
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
