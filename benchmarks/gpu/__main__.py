"""python -m benchmarks.gpu [PART ...] [--sweep] [--out FOLDER]: correctness and speed on this machine's GPU.

All of it takes under 8 minutes. Parts run in the order of what they tell; each is a process of its own, which may use
the time that those before it left. Rows are written as JSON while they are found, with the traceback of what failed.
"""
from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from benchmarks import report
from benchmarks.frame import Benchmark
from benchmarks.gpu import attention, bandwidth, correctness, first, latency, steps, sweep
from benchmarks.gpu.processes import GRACE, run_part, say
from benchmarks.rounds import ROOT, Row

RESULTS = ROOT / "benchmarks" / "results"

WRITTEN_EVERY = 1.0
"""Seconds after which what was found is written again, of a part that is not over."""


@dataclass(frozen=True)
class Part:
    """One question; `seconds`: how long it may take; `rows`: what it finds, in about as many as it is given."""

    question: str
    seconds: float
    rows: Callable[[float], Iterator[Row]]


PARTS: dict[str, Part] = {
    "first": Part("does each thing work at all?", 30, lambda seconds: first.measure()),
    "bandwidth": Part("how near do kernels that move memory come to a copy?", 45, lambda seconds: bandwidth.measure()),
    "mlp": Part("an MLP's training step beside torch.compile", 55, lambda seconds: _both("MLP")),
    "overhead": Part("what does it cost to start a step?", 20, lambda seconds: steps.overhead()),
    "transformer": Part("a transformer's training step beside torch.compile", 65, lambda seconds: _both("transformer")),
    "gpt2": Part("a training step of GPT-2 small beside torch.compile", 85,
                 lambda seconds: steps.measure("GPT-2 small", True)),
    "attention": Part("what does attention take beside PyTorch's?", 20, lambda seconds: attention.measure()),
    "products": Part("are matrix products what float64 says?", 15, lambda seconds: correctness.products()),
    "kernels": Part("are kernels what the kernel interpreter says?", 40, correctness.kernels),
    "ops": Part("is each op what float64 says?", 40, correctness.ops),
    "latency": Part("how long until a step is compiled?", 35, lambda seconds: latency.measure(_contenders(), seconds)),
}
"""By name, in the order in which they run; together under 8 minutes."""

SWEEP: dict[str, Part] = {
    "tilings": Part("which tilings of kernels that move memory are the fastest?", 200, sweep.tilings),
    "tiles": Part("which tiles of products are the fastest?", 220, sweep.tiles),
    "attentions": Part("which tiles of attention are the fastest?", 60, sweep.attentions),
}
"""What the tables of tilings are made from: these are run only where they are asked for."""

KNOWN = {**PARTS, **SWEEP}


def _contenders() -> tuple[str, ...]:
    return ("tracegrad", "torch.compile") if steps.has_torch() else ("tracegrad",)


def _both(model: str) -> Iterator[Row]:
    for half in (False, True):
        yield from steps.measure(model, half)


def describe() -> dict[str, str]:
    """The machine, its GPU, and the versions that numbers depend on; tracegrad's NoGPU where there is no GPU."""
    import tracegrad as tg
    from tracegrad.devices import cupy
    machine = report.describe_machine(0)
    del machine["threads"]
    runtime = cupy().cuda.runtime
    major, minor = tg.cuda.get_device_capability()
    properties = runtime.getDeviceProperties(tg.cuda.current_device())
    machine |= {"gpu": tg.cuda.get_device_name(), "gpu memory": f"{properties['totalGlobalMem'] / 2**30:.0f} GiB",
                "compute capability": f"{major}.{minor}", "cuda driver": str(runtime.driverGetVersion()),
                "cuda runtime": str(runtime.runtimeGetVersion()), "tracegrad": tg.__version__}
    for package in ("triton", "cupy-cuda12x", "cupy-cuda13x", "nvidia-cublas", "hypothesis", "pytest"):
        try:
            machine[package] = version(package)
        except PackageNotFoundError:
            continue
    return machine | _clocks()


def _clocks() -> dict[str, str]:
    """What the card says of its clocks, if it is asked."""
    fields = "clocks.sm,clocks.mem,clocks.max.sm,clocks.max.mem,power.limit,temperature.gpu"
    try:
        done = subprocess.run(["nvidia-smi", f"--query-gpu={fields}", "--format=csv,noheader"], capture_output=True,
                              text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return {}
    return {fields: done.stdout.strip().splitlines()[0]} if done.stdout.strip() else {}


def as_benchmark(part: Part, rows: list[Row]) -> Benchmark:
    """What the report takes: the question and the cases."""
    return Benchmark(part.question, tuple(dict.fromkeys(row.case for row in rows)), {})


def main(arguments: list[str] | None = None, run: Callable[[str, float], Iterator[Row]] = run_part) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description="Check and measure the GPU target.")
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"which: {', '.join(PARTS)}; all by default")
    parser.add_argument("--sweep", action="store_true", help=f"times what tilings there are: {', '.join(SWEEP)}")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder for the JSON")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--seconds", type=float, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.child:
        return child(options.child, options.seconds)
    if unknown := [name for name in options.parts if name not in KNOWN]:
        parser.error(f"there is no part {', '.join(unknown)}; there are {', '.join(KNOWN)}")
    names = options.parts or list(SWEEP if options.sweep else PARTS)
    machine = described()
    print(", ".join(f"{key} {value}" for key, value in machine.items()), flush=True)
    words = "-".join(machine.get("gpu", "unknown").lower().split())
    options.out.mkdir(parents=True, exist_ok=True)
    file = options.out / f"gpu-{words}-{datetime.now():%Y-%m-%d-%H%M%S}.json"
    before = signal.signal(signal.SIGTERM, lambda *given: sys.exit("stopped"))      # so that what runs ends, too
    try:
        rows_of = measured(names, run, partial(report.write_json, file, machine))
    finally:
        signal.signal(signal.SIGTERM, before)
    print(f"\nwritten to {file}")
    bad = [row for rows in rows_of.values() for row in rows if row.error or not row.agrees]
    if bad or not all(rows_of.values()):
        for row in bad:
            print(f"\n{row.case}, {row.contender}: {row.error or 'differs'}\n{row.traceback}", file=sys.stderr)
        sys.exit("some results differ or failed: see above")


def measured(names: list[str], run: Callable[[str, float], Iterator[Row]], write: Callable[[report.Results], None]
             ) -> dict[str, list[Row]]:
    """The rows of each part, which are written while they are found, however that ends."""
    results: report.Results = {}
    rows_of: dict[str, list[Row]] = {name: [] for name in names}
    deadline = written = time.monotonic()
    try:
        for name, rows in rows_of.items():
            deadline += KNOWN[name].seconds
            print(f"\n{name}: {KNOWN[name].question}", flush=True)
            for row in run(name, deadline - time.monotonic()):
                rows.append(row)
                results[name] = as_benchmark(KNOWN[name], rows), rows
                if time.monotonic() - written > WRITTEN_EVERY:
                    write(results)
                    written = time.monotonic()
            if rows:
                print(report.as_table(*results[name]), flush=True)
                write(results)
    finally:
        write(results)
    return rows_of


def described() -> dict[str, str]:
    """The machine; the program ends where there is no GPU. What else goes wrong is said, and what works is measured."""
    from tracegrad.devices import NoGPU
    try:
        return describe()
    except NoGPU as reason:
        sys.exit(f"{reason}\nThis benchmark is for a machine with a GPU; python -m benchmarks measures the processor.")
    except Exception:  # noqa: BLE001 - the parts may tell more
        return {"cpu": report.processor(), "not described": traceback.format_exc()}


def child(name: str, seconds: float | None) -> None:
    """In a process of its own: a row as one line of JSON each."""
    part = KNOWN[name]
    for row in part.rows(max((part.seconds if seconds is None else seconds) - GRACE, 1.0)):
        say(row)


if __name__ == "__main__":
    main()
