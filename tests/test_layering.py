"""Imports point down only. Every import statement of both packages is parsed, those inside functions included.

    tracegrad  ->  the names codegen exports, and codegen.ir
    codegen.compiler, targets, executable, cache  ->  codegen.llvm_cpu  ->  codegen.schedule  ->  codegen.ir
                                                                            codegen.optimize  ->  codegen.ir
"""
from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from sys import stdlib_module_names

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("codegen", "tracegrad")
MOST_LINES = 450

BACKEND_MAY_IMPORT = ("codegen.ir", "codegen.schedule", "codegen.cache", "codegen.executable", "codegen.source",
                      "codegen.planning")
MAY_IMPORT = {
    "codegen.ir": (),
    "codegen.optimize": ("codegen.ir",),
    "codegen.schedule": ("codegen.ir",),
    "codegen.llvm_cpu": BACKEND_MAY_IMPORT,
    "codegen.triton_gpu": BACKEND_MAY_IMPORT,
    "codegen": ("codegen",),
    "tracegrad": ("codegen.ir", "tracegrad"),
}
"""What the modules of a layer may import beside their own layer; the longest name that fits a module is its layer."""

OUTSIDE = {
    "numpy": PACKAGES,
    "scipy": PACKAGES,
    "ml_dtypes": PACKAGES,
    "llvmlite": ("codegen.llvm_cpu",),
    "triton": ("codegen.triton_gpu",),
    "cupy": ("codegen.triton_gpu", "tracegrad.devices"),
    "cuda": ("codegen.triton_gpu",),                    # cuda-pathfinder, which CuPy finds CUDA's libraries with
    "pytest": ("tracegrad.pytest_plugin",),
}
"""Every module from elsewhere that the packages may import, and where."""

PUBLIC_INNER_PACKAGES = ("tracegrad.nn", "tracegrad.optim")
"""Their __init__ gathers the names that users write (`tg.nn.Linear`) from the modules inside."""

VAGUE_NAMES = {"utils", "util", "helpers", "common", "misc"}


def module_name(file: Path) -> str:
    return ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


@cache
def files() -> dict[str, Path]:
    return {module_name(file): file for package in PACKAGES for file in sorted((ROOT / package).rglob("*.py"))}


@cache
def tree(module: str) -> ast.Module:
    return ast.parse(files()[module].read_text(encoding="utf-8"))


def imports(module: str, tree: ast.AST) -> Iterator[tuple[int, str, str | None]]:
    """(line, module, name or None) of every import; `from a import b` of a submodule b is an import of a.b."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name, None) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}:{node.lineno}: a relative import"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield (node.lineno, inner, None) if inner in files() else (node.lineno, str(node.module), alias.name)


def fits(module: str, layer: str) -> bool:
    return module == layer or module.startswith(layer + ".")


def layer_of(module: str) -> str:
    return max((layer for layer in MAY_IMPORT if fits(module, layer)), key=len)


def edge_is_allowed(module: str, target: str, name: str | None) -> bool:
    top = target.split(".")[0]
    if top not in PACKAGES:
        return top in stdlib_module_names or any(fits(module, place) for place in OUTSIDE.get(top, ()))
    if module.startswith("tracegrad") and target == "codegen":
        return name is not None and name in exported_names("codegen")
    layer = layer_of(module)
    return fits(target, layer) or any(fits(target, allowed) for allowed in MAY_IMPORT[layer])


def exported_names(package: str) -> set[str]:
    """What a package's __init__ binds by importing it."""
    return {
        alias.asname or alias.name
        for node in tree(package).body if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


def assigns_all(node: ast.AST) -> bool:
    return isinstance(node, ast.Assign) and [t.id for t in node.targets if isinstance(t, ast.Name)] == ["__all__"]


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


class WithoutTypeCheckingBlocks(ast.NodeTransformer):
    """Drops `if TYPE_CHECKING:`, whose imports never run."""

    def visit_If(self, node: ast.If) -> ast.AST | list[ast.stmt]:
        return node.orelse if is_type_checking(node) else self.generic_visit(node)


@pytest.mark.parametrize("module", files())
def test_imports_point_down(module):
    bad = [
        f"{files()[module].relative_to(ROOT)}:{line}: {module} must not import {target}{f'.{name}' if name else ''}"
        for line, target, name in imports(module, tree(module))
        if not edge_is_allowed(module, target, name)
    ]
    assert not bad, "\n".join(bad)


def test_no_import_is_part_of_a_cycle():
    edges = {}
    for module, file in files().items():
        executed = WithoutTypeCheckingBlocks().visit(ast.parse(file.read_text(encoding="utf-8")))
        edges[module] = {target for _, target, _ in imports(module, executed) if target in files() and target != module}
    try:
        tuple(TopologicalSorter(edges).static_order())
    except CycleError as error:
        pytest.fail(" -> ".join(reversed(error.args[1])))


@pytest.mark.parametrize("module", [m for m, f in files().items() if f.name == "__init__.py" and m not in PACKAGES])
def test_inner_packages_hold_a_docstring_and_public_ones_their_names(module):
    assert ast.get_docstring(tree(module))
    for statement in tree(module).body[1:]:
        assert module in PUBLIC_INNER_PACKAGES and (isinstance(statement, ast.ImportFrom) or assigns_all(statement)), (
            f"{files()[module]}:{statement.lineno}: an inner __init__ holds a docstring and nothing else")


@pytest.mark.parametrize("module", files())
def test_files_have_a_name_a_docstring_and_a_size_that_one_can_read(module):
    file = files()[module]
    assert file.stem not in VAGUE_NAMES, f"{file.name} does not say what is in it"
    assert ast.get_docstring(tree(module)), f"{file} has no module docstring"
    assert (lines := len(file.read_text().splitlines())) <= MOST_LINES, f"{file} has {lines} lines: split it"


def test_tests_are_not_packages():
    """A tests/codegen/__init__.py would make pytest import the tests as `codegen`."""
    assert not list((ROOT / "tests").rglob("__init__.py"))


def test_the_rules_refuse_what_they_should():
    assert not edge_is_allowed("codegen.ir.ops", "codegen.schedule.plan", None)
    assert not edge_is_allowed("codegen.schedule.loops", "codegen.llvm_cpu.emit", None)
    assert not edge_is_allowed("codegen.optimize.fold", "codegen.schedule.plan", None)
    assert not edge_is_allowed("codegen.llvm_cpu.emit", "codegen.optimize.fold", None)
    assert not edge_is_allowed("codegen.llvm_cpu.emit", "codegen.compiler", None)
    assert not edge_is_allowed("codegen.compiler", "tracegrad.tensors", None)
    assert not edge_is_allowed("tracegrad.pipeline", "codegen.schedule.plan", None)
    assert not edge_is_allowed("tracegrad.pipeline", "codegen", None)
    assert not edge_is_allowed("tracegrad.tensors", "torch", None)
    assert not edge_is_allowed("codegen.schedule.loops", "llvmlite.binding", None)
    assert edge_is_allowed("codegen.schedule.loops", "codegen.ir.graph", None)
    assert edge_is_allowed("tracegrad.autodiff", "codegen.ir.graph", None)
