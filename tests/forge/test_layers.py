"""Imports inside forge: no circles, and none from a lower layer to a higher one; local imports count too."""

from __future__ import annotations

import ast
from pathlib import Path

import forge

ROOT = Path(forge.__file__).parent
LAYERS = (  # a module belongs to the longest name that it begins with
    {"forge.core"},
    {"forge.rendering"},
    {"forge.faces"},
    {"forge.generators"},
    {"forge.training", "forge.blending", "forge.quality"},
)


def modules() -> dict[str, Path]:
    files = {}
    for file in sorted(ROOT.rglob("*.py")):
        parts = (ROOT.name, *file.relative_to(ROOT).with_suffix("").parts)
        files[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return files


def imports() -> dict[str, set[str]]:
    """Module -> modules of forge that any line of it imports."""
    known, graph = modules(), {}
    for name, file in known.items():
        targets = set()
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                targets |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                whole = {f"{node.module}.{alias.name}" for alias in node.names}
                targets |= {target if target in known else node.module for target in whole}
        graph[name] = {target for target in targets if target in known} - {name, "forge"}
    return graph


def layer_of(module: str) -> tuple[int, str]:
    matches = [
        (len(name), level, name)
        for level, names in enumerate(LAYERS)
        for name in names
        if module == name or module.startswith(f"{name}.")
    ]
    assert matches, f"{module} belongs to no layer; add it"
    _, level, name = max(matches)
    return level, name


def test_no_module_imports_itself_through_others():
    graph, done = imports(), set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " -> ".join((*path[path.index(module) :], module))
        if module not in done:
            for target in sorted(graph[module]):
                visit(target, (*path, module))
            done.add(module)

    for module in graph:
        visit(module, ())


def test_no_layer_imports_a_higher_one():
    upward = [
        f"{module} imports {target}"
        for module, targets in imports().items()
        for target in sorted(targets)
        if module != "forge" and layer_of(module)[0] < layer_of(target)[0]
    ]
    assert not upward


def test_training_and_quality_do_not_know_each_other():
    rooms = {"forge.training", "forge.quality"}
    sideways = [
        f"{module} imports {target}"
        for module, targets in imports().items()
        for target in sorted(targets)
        if module != "forge" and {layer_of(module)[1], layer_of(target)[1]} == rooms
    ]
    assert not sideways
