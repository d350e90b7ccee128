"""What the Python file of a plug-in imports: the files beside it, and packages that are not installed."""

from __future__ import annotations

import ast
import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def imported_beside(path: Path) -> dict[str, Path]:
    """List the files beside a Python file that it imports, and those that these import.

    The code is read, not run. A package beside it counts with all its Python files, also those below.

    Args:
        path: the file of the plug-in.

    Returns:
        Path relative to the plug-in's folder -> file, sorted; the plug-in itself is left out.

    Raises:
        SyntaxError, ValueError: a file is not Python.
        OSError: a file cannot be read.
    """
    folder = path.parent
    waiting, found = [path], {path}
    while waiting:
        for package in _imported(ast.parse(waiting.pop().read_bytes())):
            for file in _files_of(package, folder):
                if file not in found:
                    found.add(file)
                    waiting.append(file)
    return {file.relative_to(folder).as_posix(): file for file in sorted(found - {path})}


def _imported(tree: ast.AST) -> set[str]:
    """Top-level packages that any line of a file imports."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            names.add(node.module)
    return {name.partition(".")[0] for name in names}


def _files_of(package: str, folder: Path) -> list[Path]:
    """The files beside a plug-in that importing a package may run."""
    if (folder / package).is_dir():
        return sorted((folder / package).rglob("*.py"))
    module = folder / f"{package}.py"
    return [module] if module.is_file() else []


@contextmanager
def importable_beside(path: Path) -> Iterator[None]:
    """Let a plug-in import the files beside it, while its file runs and later, in its functions.

    A module of the same name that came from beside another plug-in is imported anew. While the file runs its folder
    comes first, as it does for `python file.py`; later it comes last, where it hides nothing that is installed.
    """
    folder = str(path.parent)
    for name in _imported(ast.parse(path.read_bytes())):
        if _files_of(name, path.parent):
            _forget_others(name, path.parent)
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        sys.path.remove(folder)
        if folder not in sys.path:
            sys.path.append(folder)


def _forget_others(package: str, folder: Path) -> None:
    """Remove a package from the imported modules, if it was not imported from a folder."""
    module = sys.modules.get(package)
    origin = getattr(module, "__file__", None)
    if origin is not None and folder not in Path(origin).resolve().parents:
        for name in [name for name in sys.modules if name == package or name.startswith(f"{package}.")]:
            del sys.modules[name]


def unmet_imports(path: Path, attribute: str) -> list[tuple[str, int, str]]:
    """List imports in functions of a file, and in one of its classes, that cannot be met.

    Those inside `try`, and of files beside this one, are left out.

    Args:
        path: the file.
        attribute: name of the class.

    Returns:
        Name of the function or class, line, and package of each.
    """
    unmet = []
    for outer in ast.parse(path.read_bytes()).body:
        if not isinstance(outer, ast.ClassDef | ast.FunctionDef):
            continue  # what stands outside functions was imported already
        if isinstance(outer, ast.ClassDef) and outer.name != attribute:
            continue
        guarded = {inner for node in ast.walk(outer) if isinstance(node, ast.Try) for inner in ast.walk(node)}
        for node in ast.walk(outer):
            if node in guarded or not isinstance(node, ast.Import | ast.ImportFrom):
                continue
            missing = sorted(name for name in _imported(node) if not _is_importable(name, path.parent))
            unmet += [(outer.name, node.lineno, package) for package in missing]
    return unmet


def _is_importable(package: str, folder: Path) -> bool:
    return bool(_files_of(package, folder)) or package in sys.modules or importlib.util.find_spec(package) is not None


def classes_in(path: Path) -> list[str]:
    """Names of the public classes of a Python file, which is read and not run.

    Raises:
        SyntaxError, ValueError: it is not Python.
        OSError: it cannot be read.
    """
    nodes = ast.parse(path.read_bytes()).body
    return [node.name for node in nodes if isinstance(node, ast.ClassDef) and not node.name.startswith("_")]
