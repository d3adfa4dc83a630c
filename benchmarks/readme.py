"""python -m benchmarks.readme FOLDER ...: what runs wrote to these folders, as README's table and docs/speed.png.

    python -m benchmarks heat --out out/heat
    python -m benchmarks rnn --case "batch 16" --out out/rnn
    python -m benchmarks.readme out/heat out/rnn

Of README's rows those are renewed that are in one of the runs; a row that is to be new is written there by hand first,
with its name and no more. Where a contender has two ways to do the same, the faster one counts.
"""
from __future__ import annotations

import json
import sys
from pathlib import Path

from benchmarks.report import cell
from benchmarks.rounds import Row

ROOT = Path(__file__).parents[1]
README, CHART = ROOT / "README.md", ROOT / "docs" / "speed.png"
BEGIN, END = "<!-- measured: python -m benchmarks -->\n", "<!-- end -->"
CONTENDERS = ("tracegrad", "tracegrad eager", "torch", "torch.compile", "jax", "numpy", "drjit")
OTHER_WAYS = {"jax unrolled": "jax"}
NOT_THERE = "NotImplementedError"
"""What a contender fails with that has no such thing: its cell is empty."""

Measured = dict[str, dict[str, tuple[Row, str]]]
"""By the name of a row, by contender, what came out, and its unit."""


def measured_in(folders: list[Path]) -> Measured:
    """What runs came to."""
    found: Measured = {}
    for folder in folders:
        for benchmark in json.loads((folder / "results.json").read_text())["benchmarks"]:
            for row in (Row(**written) for written in benchmark["rows"]):
                if row.error and row.error.startswith(NOT_THERE):
                    continue
                of_case = found.setdefault(f"{benchmark['name']}, {row.case}", {})
                contender = OTHER_WAYS.get(row.contender, row.contender)
                before = of_case[contender][0] if contender in of_case else None
                if before is None or before.error or row.ratio and before.ratio and row.ratio < before.ratio:
                    of_case[contender] = row, benchmark["unit"]
    return found


def renewed(table: str, measured: Measured) -> str:
    """README's table with these rows."""
    lines = []
    for line in table.splitlines():
        name = line.strip("| ").partition(" |")[0]
        if name in measured:
            found = measured[name]
            line = f"| {name} | " + " | ".join(cell(*found[c]) if c in found else "" for c in CONTENDERS) + " |"
        lines.append(line)
    return "\n".join(lines) + "\n"


def draw(names: list[str], measured: Measured) -> None:
    """How many times as long each contender takes, row by row; left of the line it is faster."""
    import matplotlib
    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axis = plt.subplots(figsize=(9, 0.23 * len(names) + 1.2), layout="constrained")
    marks = dict(zip(CONTENDERS[2:], "osD^v"))
    for contender, mark in marks.items():
        points = [(row.ratio, k) for k, name in enumerate(names) if contender in measured[name]
                  for row, _ in (measured[name][contender],) if row.ratio and not row.error]
        axis.plot(*zip(*points), mark, label=contender, markersize=4.5, alpha=0.85)
    axis.axvline(1.0, color="black", lw=1)
    axis.set(xscale="log", xlabel="time, as a multiple of tracegrad's (compiled)")
    axis.set_yticks(range(len(names)), names, fontsize="x-small")
    axis.set_ylim(len(names) - 0.5, -0.5)
    axis.grid(axis="x", which="both", lw=0.3)
    axis.legend(fontsize="small", ncols=len(marks), loc="lower center", bbox_to_anchor=(0.4, 1.0))
    figure.savefig(CHART, dpi=110)
    plt.close(figure)


def main() -> None:
    measured = measured_in([*map(Path, sys.argv[1:])])
    before, _, rest = README.read_text().partition(BEGIN)
    table, _, after = rest.partition(END)
    README.write_text(before + BEGIN + renewed(table, measured) + END + after)
    names = [name for line in table.splitlines() if (name := line.strip("| ").partition(" |")[0]) in measured]
    draw(names, measured)
    print(f"{len(names)} rows of {README.name}, {CHART.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
