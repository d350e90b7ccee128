"""Modules of detect import each other without circles: imports in functions and for type checkers count too."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import detect

ROOT = Path(detect.__file__).parent


def module_of(file):
    parts = file.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def test_no_module_imports_itself_through_others():
    modules = {module_of(file): file for file in ROOT.rglob("*.py")}
    imports = {name: set() for name in modules}
    for name, file in modules.items():
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module in modules:
                parts = {f"{node.module}.{alias.name}" for alias in node.names}
                imports[name] |= (parts & modules.keys()) or {node.module}
            elif isinstance(node, ast.Import):
                imports[name] |= {alias.name for alias in node.names} & modules.keys()
    assert len(modules) > 30 and sum(map(len, imports.values())) > 100
    list(TopologicalSorter(imports).static_order())  # raises CycleError, which names the circle
