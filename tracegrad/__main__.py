"""python -m tracegrad info | explain module:function | cache [clear]"""
from __future__ import annotations

import argparse
import importlib
import os
import sys
from typing import Any


def main(arguments: list[str] | None = None) -> int:
    """Run one command; the exit status is 0, or 2 when it was asked for something that does not exist."""
    parser = argparse.ArgumentParser(
        prog="python -m tracegrad", description="What tracegrad sees of this machine, its cache and a traced function.")
    commands = parser.add_subparsers(dest="command", required=True)
    told = commands.add_parser("info", help="versions, processor, BLAS, threads, fast paths, bandwidth and peak")
    told.add_argument("--measure", action="store_true", help="measure bandwidth and peak again, and who multiplies")
    explain = commands.add_parser("explain", help="import a module and print the explain() of a traced function in it")
    explain.add_argument("function", metavar="module:function")
    explain.add_argument("--verbose", action="store_true", help="every guard, operation and kernel")
    explain.add_argument("--html", metavar="FILE", help="write the report as a page")
    cache = commands.add_parser("cache", help="where compiled objects are kept, and how many bytes they take")
    cache.add_argument("action", nargs="?", choices=["clear"])
    options = parser.parse_args(arguments)
    match options.command:
        case "info":
            return info(options.measure)
        case "explain":
            return explain_function(options.function, options.verbose, options.html)
        case _:
            return show_cache(options.action == "clear")


def info(measure: bool = False) -> int:
    """Print what the compiler found, and the ceilings, which are measured if they are not known, or again."""
    import numpy

    import tracegrad
    from codegen import calibrate_products, describe_gpu, describe_host, get_num_threads, machine_ceilings

    print(f"tracegrad {tracegrad.__version__}, Python {sys.version.split()[0]}, NumPy {numpy.__version__}")
    for name, value in (describe_host() | describe_gpu()).items():
        print(f"{name:<12} {value}")
    for threads in sorted({1, get_num_threads()}):
        name = "one thread" if threads == 1 else f"{threads} threads"
        print(f"{name:<12} {machine_ceilings(threads, measure)}")
    if measure:
        for (dtype, form), ratios in calibrate_products().items():
            print(f"{f'{dtype} {form}':<12} BLAS takes {', '.join(f'{ratio:.2f}' for ratio in ratios)} of the time")
    return 0


def explain_function(name: str, verbose: bool = False, html: str | None = None) -> int:
    """Print the report of `module:function` after importing the module (which has to call it), or write its page."""
    from tracegrad.tracing import Traced

    module, _, attribute = name.partition(":")
    sys.path.insert(0, "")
    try:
        found: Any = importlib.import_module(module)
        for part in attribute.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        print(f"cannot explain {name}: {error}", file=sys.stderr)
        return 2
    if not isinstance(found, Traced):
        print(f"cannot explain {name}: it is not a traced function (decorate it with @tracegrad.trace)",
              file=sys.stderr)
        return 2
    explanation = found.explain(verbose)
    if html is None:
        print(explanation)
    else:
        explanation.to_html(html)
    return 0


def show_cache(clear: bool) -> int:
    """Print where the cache is and what it takes, or empty it."""
    from codegen import default_cache

    cache = default_cache()
    if clear:
        cache.clear()
    print(cache.describe())
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BrokenPipeError:                     # of `... | head`: who reads has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
