"""Runs the public test suite of the Array API standard and compares with what NumPy passes of it.

    python tests/array_api_conformance.py path/to/array-api-tests [--examples 50] [--only eager] [pytest's arguments]

The suite (github.com/data-apis/array-api-tests with its submodule and requirements) has to be there already: nothing is
fetched. It is run on NumPy, which is the yardstick, on tracegrad, and on tracegrad with every function traced
(`traced_namespace`), in this process's interpreter. Printed are, for both, the share of NumPy's passed tests that pass
too, and the tests that do not; each has to have its reason in array_api_failures.txt, else the exit status is 1.
"""
from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from xml.etree import ElementTree

HERE = Path(__file__).resolve().parent
VERSION = "2024.12"
MODULES = {"numpy": "numpy", "eager": "tracegrad", "traced": "traced_namespace"}


def run(suite: Path, module: str, examples: int, arguments: list[str], counts: Path) -> dict[str, str]:
    """What became of each test: "passed", "failed" or "skipped"."""
    paths = (str(HERE.parent), str(HERE), os.environ.get("PYTHONPATH", ""))
    environment = os.environ | {
        "ARRAY_API_TESTS_MODULE": module, "ARRAY_API_TESTS_VERSION": VERSION, "TRACED_NAMESPACE_COUNTS": str(counts),
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
    }
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        subprocess.run([
            sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--disable-deadline", "--derandomize",
            "--max-examples", str(examples), f"--junitxml={report}", *(arguments or ["array_api_tests"]),
        ], cwd=suite, env=environment, check=False)
        return dict(outcome(case) for case in ElementTree.parse(report).iter("testcase"))


def outcome(case: ElementTree.Element) -> tuple[str, str]:
    """The name of a test, as in test_linalg.py::test_qr[..], and what became of it."""
    file = (case.get("classname") or "").removeprefix("array_api_tests.").split(".")
    name = f"{file[0]}.py::{'::'.join((*file[1:], case.get('name') or ''))}"
    kinds = {child.tag for child in case}
    return name, "skipped" if "skipped" in kinds else "failed" if kinds & {"failure", "error"} else "passed"


def aligned(found: dict[str, str], yardstick: dict[str, str]) -> dict[str, str]:
    """`found` by the yardstick's names: some tests are named after the objects that a module's dtypes are."""
    def by_function(names: dict[str, str]) -> dict[str, list[str]]:
        groups: dict[str, list[str]] = {}
        for name in names:
            groups.setdefault(name.partition("[")[0], []).append(name)
        return groups

    ours, theirs, result = by_function(found), by_function(yardstick), dict(found)
    for function, names in theirs.items():
        own = ours.get(function, [])
        if len(own) == len(names) and set(own) != set(names):
            result |= {name: found[other] for name, other in zip(names, own)}
    return result


def reasons() -> dict[str, str]:
    """The reason why a test may fail, by name; a name may be a beginning."""
    lines = [line for line in (HERE / "array_api_failures.txt").read_text().splitlines() if line and line[0] != "#"]
    return {name.strip(): reason.strip() for name, _, reason in (line.partition("  ") for line in lines)}


def compare(mode: str, found: dict[str, str], yardstick: dict[str, str]) -> bool:
    """Print how `found` stands beside NumPy's outcomes; has every test that fails its reason?"""
    found = aligned(found, yardstick)
    passed = {name for name, result in yardstick.items() if result == "passed"}
    missing = sorted(name for name in passed if found.get(name) != "passed")
    more = sum(found.get(name) == "passed" for name in yardstick if name not in passed)
    print(f"{mode}: {len(passed) - len(missing)} of the {len(passed)} tests that NumPy passes "
          f"({100 * (1 - len(missing) / max(len(passed), 1)):.2f} %), and {more} that it does not")
    known, complete = reasons(), True
    for name in missing:
        reason = next((why for prefix, why in known.items() if name.startswith(prefix)), None)
        complete = complete and reason is not None
        print(f"    {name}: {found.get(name, 'not run')}: {reason or 'NO REASON KNOWN'}")
    return complete


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("suite", type=Path)
    parser.add_argument("--examples", type=int, default=50)
    parser.add_argument("--only", choices=("eager", "traced"))
    chosen, arguments = parser.parse_known_args()
    modes = [mode for mode in MODULES if mode in ("numpy", chosen.only or mode)]
    complete = True
    with tempfile.TemporaryDirectory() as folder:
        counts = Path(folder) / "counts.json"
        found = {mode: run(chosen.suite, MODULES[mode], chosen.examples, arguments, counts) for mode in modes}
        for mode in modes[1:]:
            complete = compare(mode, found[mode], found["numpy"]) and complete
        if "traced" in modes:
            print_counts(json.loads(counts.read_text()))
    return 0 if complete else 1


def print_counts(counts: dict[str, dict[str, int]]) -> None:
    """How many calls of traced functions were replayed, and of which functions some never were."""
    replayed, eager = (sum(c.get(kind, 0) for c in counts.values()) for kind in ("replayed", "eager"))
    print(f"{replayed + eager} calls of traced functions: {replayed} replayed, {eager} eager:")
    for name, count in sorted(counts.items(), key=lambda item: -item[1].get("eager", 0)):
        if count.get("eager"):
            why = ", ".join(f"{key} {n}" for key, n in count.items() if key not in ("eager", "replayed"))
            print(f"    {name}: {count['eager']} of {count['eager'] + count.get('replayed', 0)} ({why})")


if __name__ == "__main__":
    sys.exit(main())
