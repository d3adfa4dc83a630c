"""python -m benchmarks [NAME ...] [--case TEXT] [--rounds N] [--budget SECONDS] [--threads N] [--out FOLDER]"""
from __future__ import annotations

import argparse
import importlib
import importlib.util
import sys
from dataclasses import replace
from pathlib import Path

from benchmarks import elsewhere, report, rounds
from benchmarks.frame import Benchmark, FreshBenchmark
from codegen import machine_ceilings

NAMES = ("kernels", "elementwise", "matmul", "halves", "softmax_rows", "layer_norm", "heat", "optimizer",
         "mlp_step", "cnn_step", "transformer_block", "rnn", "hvp", "checkpoint", "rosenbrock", "fixed_point",
         "control_flow", "branches", "follow", "sizes", "new_sizes", "numpy_programs", "call_overhead",
         "eager_overhead", "compile_latency", "import_time", "memory", "threads")


def progress(text: str) -> None:
    """One line that is overwritten, where someone is watching."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure tracegrad and its peers.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which: {', '.join(NAMES)}; all by default")
    parser.add_argument("--case", default="", metavar="TEXT", help="only the cases whose name has this in it")
    parser.add_argument("--rounds", type=int, default=7, help="how often each contender has its turn")
    parser.add_argument("--budget", type=float, default=0.3, help="seconds of each turn")
    parser.add_argument("--threads", type=int, default=rounds.THREADS, help="threads of each contender")
    parser.add_argument("--out", type=Path, default=Path("out/benchmarks"), help="folder for what is written")
    options = parser.parse_args()
    if unknown := [name for name in options.names if name not in NAMES]:
        parser.error(f"there is no benchmark {', '.join(unknown)}; there are {', '.join(NAMES)}")

    machine = report.describe_machine(options.threads)
    print(", ".join(f"{key} {value}" for key, value in machine.items()))
    results = {}
    for name in options.names or NAMES:
        benchmark = importlib.import_module(f"benchmarks.{name}").BENCHMARK
        benchmark = replace(benchmark, cases=tuple(case for case in benchmark.cases if options.case in case))
        if not benchmark.cases:
            continue
        with elsewhere.watched() as share:
            if isinstance(benchmark, FreshBenchmark):
                rows = rounds.run_fresh(name, benchmark, options.rounds, progress, options.threads)
            else:
                rows = rounds.run(name, benchmark, options.rounds, options.budget, progress, options.threads)
            if isinstance(benchmark, Benchmark) and benchmark.dtypes:
                ceilings = machine_ceilings(options.threads, again=True)
                report.add_shares(benchmark, rows, ceilings)
                machine["ceilings"] = str(ceilings)
        progress("")
        print(f"\n{name}: {benchmark.question}\n{report.as_table(benchmark, rows)}")
        if warning := elsewhere.warning(share):
            print(warning)
            machine[f"busy elsewhere during {name}"] = f"{share[0]:.0%}"
        sys.stdout.flush()
        results[name] = benchmark, rows
    if not results:
        parser.error(f"no case of these has {options.case!r} in its name")
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "results.md").write_text(report.as_markdown(machine, results))
    report.write_json(options.out / "results.json", machine, results)
    written = "results.json, results.md"
    if importlib.util.find_spec("matplotlib"):
        report.draw(options.out / "chart.png", machine, results)
        written += ", chart.png"
    else:
        print("\nno chart: matplotlib is not installed (pip install 'tracegrad[bench]')")
    print(f"\nwritten to {options.out}: {written}")
    if any(not row.agrees or row.error for _, rows in results.values() for row in rows):
        sys.exit("some results differ or failed: see above")


if __name__ == "__main__":
    main()
