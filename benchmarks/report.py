"""Report: rows as a table, as JSON and as a chart."""
from __future__ import annotations

import json
import os
import platform
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from benchmarks.frame import Benchmark, FreshBenchmark
from benchmarks.rounds import Row
from codegen import Ceilings

Results = dict[str, tuple[Benchmark | FreshBenchmark, list[Row]]]
"""What came out, by the name of the benchmark."""

PACKAGES = ("numpy", "scipy", "llvmlite", "ml_dtypes", "torch", "jax", "drjit")


def describe_machine(threads: int) -> dict[str, str]:
    """What the numbers depend on: processor, cores, threads used, versions."""
    machine = {
        "cpu": processor(),
        "cores": str(os.cpu_count()),
        "threads": str(threads),
        "system": platform.platform(),
        "python": platform.python_version(),
    }
    for package in PACKAGES:
        try:
            machine[package] = version(package)
        except PackageNotFoundError:
            continue
    return machine


def processor() -> str:
    """The processor's name, with the vector extension that counts most."""
    cpuinfo = Path("/proc/cpuinfo")
    if not cpuinfo.exists():
        return platform.processor() or platform.machine()
    fields = dict(line.split(":", 1) for line in cpuinfo.read_text().split("\n\n")[0].splitlines() if ":" in line)
    fields = {key.strip(): value.strip() for key, value in fields.items()}
    flags = fields.get("flags", "").split()
    vectors = next((name for flag, name in (("avx512f", "AVX-512"), ("avx2", "AVX2")) if flag in flags), "")
    family = f"family {fields['cpu family']}" if "cpu family" in fields else ""
    return " ".join(filter(None, (fields.get("model name", platform.machine()), family, vectors)))


def add_shares(benchmark: Benchmark, rows: list[Row], ceilings: Ceilings) -> None:
    """Say of each row how near its work comes to the bandwidth or the peak of this machine."""
    for row in rows:
        dtype = benchmark.dtypes.get(row.case)
        if dtype and row.measured and not row.error:
            moved = int(benchmark.bytes_moved.get(row.case, 0))
            written = 0 if row.case in benchmark.reads_only else moved // 2
            share, of = ceilings.share(moved, written, int(benchmark.flops.get(row.case, 0)), dtype, row.median)
            row.share = f"{share:.0%} {of}"


def as_table(benchmark: Benchmark | FreshBenchmark, rows: list[Row]) -> str:
    """Median, spread (lowest and highest round) and ratio for each contender, by case."""
    lines = [f"{'':26}{'median':>10}  {'lowest .. highest':>21}{'ratio':>9}  {'':10}"]
    for case in benchmark.cases:
        lines.append(case)
        for row in (r for r in rows if r.case == case):
            lines.append(f"  {row.contender:24}" + (f"failed: {row.error}" if row.error else _numbers(benchmark, row)))
    return "\n".join(line.rstrip() for line in lines)


def _numbers(benchmark: Benchmark | FreshBenchmark, row: Row) -> str:
    spread = f"{amount(min(row.measured), benchmark.unit)} .. {amount(max(row.measured), benchmark.unit)}"
    ratio = "" if row.ratio is None else f"{row.ratio:8.2f}x"
    notes = []
    if isinstance(benchmark, Benchmark):
        if row.case in benchmark.bytes_moved:
            notes.append(f"{benchmark.bytes_moved[row.case] / row.median / 1e9:.1f} GB/s")
        if row.case in benchmark.flops:
            notes.append(f"{benchmark.flops[row.case] / row.median / 1e9:.0f} GF/s")
    if row.share:
        notes.append(row.share)
    if not row.agrees:
        notes.append(f"RESULTS DIFFER by {row.difference:.1e}")
    return f"{amount(row.median, benchmark.unit):>10}  {spread:>21}{ratio:>9}  {', '.join(notes)}"


def as_markdown(machine: dict[str, str], results: Results) -> str:
    """A table of medians, with the ratio to the first contender: a row for each case, a column for each contender."""
    contenders = list(dict.fromkeys(row.contender for _, rows in results.values() for row in rows))
    lines = ["| | " + " | ".join(contenders) + " |", "|---|" + "---:|" * len(contenders)]
    for name, (benchmark, rows) in results.items():
        for case in benchmark.cases:
            cells = {row.contender: cell(row, benchmark.unit) for row in rows if row.case == case}
            lines.append(f"| {name}, {case} | " + " | ".join(cells.get(c, "") for c in contenders) + " |")
    versions = ", ".join(f"{package} {machine[package]}" for package in PACKAGES if package in machine)
    lines += ["", f"{machine['cpu']}, {machine['threads']} threads, Python {machine['python']}, {versions}."]
    lines += [f"{key}: {value}." for key, value in machine.items() if key.startswith("busy elsewhere")]
    return "\n".join(lines) + "\n"


def cell(row: Row, unit: str) -> str:
    """What a table says of a contender in a case."""
    if row.error:
        return "failed"
    return amount(row.median, unit) + ("" if row.ratio is None else f" ({row.ratio:.2f}x)")


SCALES = {"s": (("s", 1.0), ("ms", 1e-3), ("us", 1e-6), ("ns", 1e-9)), "B": (("GB", 1e9), ("MB", 1e6), ("KB", 1e3))}
"""What an amount is told in, the largest first."""


def amount(measured: float, unit: str) -> str:
    """Three digits and a unit."""
    name, size = next((scale for scale in SCALES[unit] if measured >= scale[1]), SCALES[unit][-1])
    return f"{measured / size:#.3g}".rstrip(".") + f" {name}"


def write_json(file: Path, machine: dict[str, str], results: Results) -> None:
    """Everything that was measured, every round of it."""
    benchmarks = [
        {"name": name, "question": benchmark.question, "unit": benchmark.unit,
         "rows": [asdict(row) for row in rows]}
        for name, (benchmark, rows) in results.items()
    ]
    file.write_text(json.dumps({"machine": machine, "benchmarks": benchmarks}, indent=1) + "\n")


def draw(file: Path, machine: dict[str, str], results: Results) -> None:
    """One panel for each benchmark: bars of medians with their spread, by case, on a logarithmic axis."""
    import matplotlib
    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    panels = len(results)
    figure, axes = plt.subplots(panels, 1, figsize=(9, 3 * panels), layout="constrained", squeeze=False)
    for axis, (name, (benchmark, rows)) in zip(axes[:, 0], results.items()):
        contenders = list(dict.fromkeys(row.contender for row in rows))
        width = 0.8 / len(contenders)
        for k, contender in enumerate(contenders):
            good = [row for row in rows if row.contender == contender and row.measured and not row.error]
            x = [benchmark.cases.index(row.case) + (k - (len(contenders) - 1) / 2) * width for row in good]
            median = [row.median for row in good]
            below = [row.median - min(row.measured) for row in good]
            above = [max(row.measured) - row.median for row in good]
            axis.bar(x, median, width, yerr=(below, above), label=contender, error_kw={"lw": 0.8})
        of = {"s": "seconds", "B": "bytes"}[benchmark.unit]
        axis.set(yscale="log", ylabel=of, title=f"{name}: {benchmark.question}")
        axis.set_xticks(range(len(benchmark.cases)), benchmark.cases)
        axis.legend(fontsize="small", ncols=3)
    figure.supxlabel(f"{machine['cpu']}, {machine['threads']} threads", fontsize="small")
    figure.savefig(file, dpi=120)
    plt.close(figure)
