"""Imports of a plug-in's Python file: the files beside it, and packages that are not installed."""

from __future__ import annotations

import ast
import importlib.util
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

from forge.core.errors import InputError, quoted

OURS = frozenset({"forge", "detect", "benchmarks"})  # whatever lies beside a plug-in, these are the bench's own


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
    files = {file for _, of in _modules_beside(path).items() for file in of}
    return {file.relative_to(path.parent).as_posix(): file for file in sorted(files - {path})}


def _modules_beside(path: Path) -> dict[str, list[Path]]:
    """Return top-level names that a plug-in or its helpers import from beside it -> their files."""
    files_by_name: dict[str, list[Path]] = {}
    waiting, read = [path], {path}
    while waiting:
        # names already followed are left out, so that files which import each other end the search
        for name in sorted(_imported(ast.parse(waiting.pop().read_bytes())) - files_by_name.keys() - OURS):
            files = _files_of(name, path.parent)
            if files:
                files_by_name[name] = files
            waiting += [file for file in files if file not in read]
            read.update(files)
    return files_by_name


def _imported(tree: ast.AST) -> set[str]:
    """Return top-level packages that any line of a file imports."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        # relative imports: a plug-in's file is in no package, so Python refuses them by itself
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            names.add(node.module)
    return {name.partition(".")[0] for name in names}


def _files_of(name: str, folder: Path) -> list[Path]:
    """Return the files beside a plug-in that importing a name may run, in Python's own order of precedence."""
    package, module = folder / name, folder / f"{name}.py"
    if (package / "__init__.py").is_file():
        return sorted(package.rglob("*.py"))  # any of them may be imported by the package
    if module.is_file():
        return [module]
    if package.is_dir() and not _is_installed(name, folder):  # a namespace, which anything installed hides
        return sorted(package.rglob("*.py"))
    return []


def _is_installed(name: str, folder: Path) -> bool:
    """Return whether a name can be imported from elsewhere than a folder."""
    if name in sys.stdlib_module_names:
        return True
    known = sys.modules.get(name)
    try:
        spec = importlib.util.find_spec(name) if known is None else getattr(known, "__spec__", None)
    except (ImportError, ValueError):
        return False  # find_spec fails on a name whose module has no usable spec
    if spec is None:
        return known is not None  # in memory without a spec, as __main__: taken
    locations = [spec.origin, *(spec.submodule_search_locations or ())]
    # a module that lies in the plug-in's folder was found there, e.g. by an earlier command of this process
    return not any(location and folder in Path(location).resolve().parents for location in locations)


class _Beside(MetaPathFinder):
    """Finds the files beside the plug-ins of this process, by the names that these import; nothing else there."""

    def __init__(self) -> None:
        self.locations: dict[str, Path] = {}  # name -> folder of the plug-in

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Find a top-level module; what lies inside a package Python finds by itself."""
        folder = self.locations.get(fullname)
        # path is given for submodules only
        if folder is None or path is not None:
            return None
        package, module = folder / fullname, folder / f"{fullname}.py"
        if (package / "__init__.py").is_file():
            return importlib.util.spec_from_file_location(
                fullname, package / "__init__.py", submodule_search_locations=[str(package)]
            )
        if module.is_file():
            return importlib.util.spec_from_file_location(fullname, module)
        # a folder without __init__.py: no code of its own, only a place to search
        namespace = ModuleSpec(fullname, None, is_package=True)
        namespace.submodule_search_locations = [str(package)]
        return namespace


_finder = _Beside()


def serve_beside(path: Path) -> None:
    """Let a plug-in import the files beside it, while its file runs and later, in its functions.

    Only names that the plug-in or its helpers import are served, so that nothing else in the folder is ever run.

    Raises:
        InputError: a file beside it has the name of an installed module, or of a file beside another plug-in.
    """
    folder = path.parent
    for name in _modules_beside(path):
        # the finder comes last, so the installed module would be imported in place of the file
        if _is_installed(name, folder) and _finder.locations.get(name) is None:
            raise InputError(f"{quoted(str(folder / name))} has the name of an installed module; rename it")
        other = _finder.locations.setdefault(name, folder)
        if other != folder:
            raise InputError(
                f"two plug-ins have a file {quoted(name)} beside them, in {other} and in {folder}; rename one"
            )
    if _finder not in sys.meta_path:
        # appended, not put first: no file beside a plug-in can replace a module that is installed
        sys.meta_path.append(_finder)


def forget_beside(folder: Path | None = None) -> None:
    """Forget the files beside plug-ins of earlier commands of this process: of a folder, or all."""
    for name in [name for name, location in _finder.locations.items() if folder in (None, location)]:
        # submodules too, or the next command would see a mix of old and new files
        for module in [module for module in sys.modules if module == name or module.startswith(f"{name}.")]:
            del sys.modules[module]
        del _finder.locations[name]


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
        # an import inside `try` is one that the author expects to fail
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
    """Return names of the public classes of a Python file, which is read and not run.

    Raises:
        SyntaxError, ValueError: it is not Python.
        OSError: it cannot be read.
    """
    nodes = ast.parse(path.read_bytes()).body
    return [node.name for node in nodes if isinstance(node, ast.ClassDef) and not node.name.startswith("_")]
