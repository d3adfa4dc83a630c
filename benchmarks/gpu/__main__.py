"""python -m benchmarks.gpu [PART ...] [--out FOLDER]: correctness and speed on this machine's GPU, in under 8 minutes.

Each part is a process of its own, since an error on a GPU is the end of a process, and is stopped when its time is
over; what it has found until then counts. Prints a table and writes it as JSON.
"""
from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from benchmarks import report
from benchmarks.frame import Benchmark, FreshBenchmark
from benchmarks.gpu import bandwidth, correctness, latency, steps
from benchmarks.rounds import ROOT, Row

RESULTS = ROOT / "benchmarks" / "results"


@dataclass(frozen=True)
class Part:
    """One question; `seconds`: how long it may take."""

    question: str
    seconds: float
    rows: Callable[[], Iterator[Row]]


def _contenders() -> tuple[str, ...]:
    return ("torch.compile", "tracegrad") if steps.has_torch() else ("tracegrad",)


PARTS: dict[str, Part] = {
    "ops": Part("is each op what float64 says?", 70, correctness.ops),
    "products": Part("are matrix products what float64 says?", 20, correctness.products),
    "kernels": Part("are kernels what the kernel interpreter says?", 70, correctness.kernels),
    "bandwidth": Part("how near do kernels that move memory come to a copy?", 40, bandwidth.measure),
    "mlp": Part("an MLP's training step beside torch.compile", 40, lambda: _both("MLP")),
    "transformer": Part("a transformer's training step beside torch.compile", 55, lambda: _both("transformer")),
    "gpt2": Part("a training step of GPT-2 small beside torch.compile", 80, lambda: steps.measure("GPT-2 small", True)),
    "overhead": Part("what does it cost to start a step?", 20, steps.overhead),
    "latency": Part("how long until a step is compiled?", 55, lambda: latency.measure(_contenders(), timeout=25.0)),
}
"""By name, in the order in which they run; together under 8 minutes."""


def _both(model: str) -> Iterator[Row]:
    for half in (False, True):
        yield from steps.measure(model, half)


def describe() -> dict[str, str]:
    """The machine, its GPU, and the versions that numbers depend on; tracegrad's NoGPU where there is no GPU."""
    import tracegrad as tg
    from tracegrad.devices import cupy
    runtime = cupy().cuda.runtime
    machine = report.describe_machine(0)
    del machine["threads"]
    major, minor = tg.cuda.get_device_capability()
    properties = runtime.getDeviceProperties(tg.cuda.current_device())
    machine |= {"gpu": tg.cuda.get_device_name(), "gpu memory": f"{properties['totalGlobalMem'] / 2**30:.0f} GiB",
                "compute capability": f"{major}.{minor}", "cuda driver": str(runtime.driverGetVersion()),
                "cuda runtime": str(runtime.runtimeGetVersion()), "tracegrad": tg.__version__}
    for package in ("triton", "cupy-cuda12x", "cupy-cuda13x", "nvidia-cublas"):
        try:
            machine[package] = version(package)
        except PackageNotFoundError:
            continue
    return machine


def run_part(name: str) -> tuple[list[Row], str | None]:
    """The rows of a part that a process of its own found in its time, and what went wrong with it."""
    rows: list[Row] = []
    command = [sys.executable, "-m", "benchmarks.gpu", "--child", name]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT,
                               start_new_session=True)
    late = threading.Timer(PARTS[name].seconds, lambda: os.killpg(process.pid, signal.SIGKILL))     # with its own
    complaints: list[str] = []
    assert process.stdout is not None and process.stderr is not None
    reader = threading.Thread(target=lambda: complaints.extend(process.stderr or ()))
    late.start()
    reader.start()
    for line in process.stdout:
        if line.startswith("{"):
            rows.append(Row(**json.loads(line)))
    process.wait()
    stopped = not late.is_alive()
    late.cancel()
    reader.join()
    if stopped:
        return rows, f"stopped after {PARTS[name].seconds:.0f} s"
    last = complaints[-1].strip() if complaints else "it died"
    return rows, None if process.returncode == 0 else last[:300]


def child(name: str) -> None:
    """In a process of its own: a row as one line of JSON each."""
    for row in PARTS[name].rows():
        print(json.dumps(asdict(row)), flush=True)


def as_benchmark(part: Part, rows: list[Row]) -> Benchmark:
    """What the report takes: the question and the cases."""
    return Benchmark(part.question, tuple(dict.fromkeys(row.case for row in rows)), {})


def main(arguments: list[str] | None = None, run: Callable[[str], tuple[list[Row], str | None]] = run_part) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description="Check and measure the GPU target.")
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"which: {', '.join(PARTS)}; all by default")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder for the JSON")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.child:
        return child(options.child)
    if unknown := [name for name in options.parts if name not in PARTS]:
        parser.error(f"there is no part {', '.join(unknown)}; there are {', '.join(PARTS)}")
    from tracegrad.devices import NoGPU
    try:
        machine = describe()
    except NoGPU as reason:
        sys.exit(f"{reason}\nThis benchmark is for a machine with a GPU; python -m benchmarks measures the processor.")
    print(", ".join(f"{key} {value}" for key, value in machine.items()))
    results: dict[str, tuple[Benchmark | FreshBenchmark, list[Row]]] = {}
    for name in options.parts or PARTS:
        rows, failure = run(name)
        if failure is not None:
            rows.append(Row(f"{name}: the whole part", "tracegrad", error=failure))
        results[name] = as_benchmark(PARTS[name], rows), rows
        print(f"\n{name}: {PARTS[name].question}\n{report.as_table(*results[name])}", flush=True)
    options.out.mkdir(parents=True, exist_ok=True)
    words: Any = "-".join(machine["gpu"].lower().split())
    file = options.out / f"gpu-{words}-{date.today()}.json"
    report.write_json(file, machine, results)
    print(f"\nwritten to {file}")
    if any(row.error or not row.agrees for _, rows in results.values() for row in rows):
        sys.exit("some results differ or failed: see above")


if __name__ == "__main__":
    main()
