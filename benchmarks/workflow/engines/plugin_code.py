"""The code of plug-ins, which travels with the tasks to machines that do not have its files.

Ray's `py_modules` does the same for packages, but takes folders of this machine for whole jobs alone (a script that has
called `ray.init` has begun its job) and puts them before everything installed, so that a file beside a plug-in could
hide a package (`ray/_private/runtime_env/validation.py` and `working_dir.py`, Ray 2.60). Here a plug-in keeps its name,
its digest and the rules of `forge.core.plugin_imports`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from forge.core.registry import allow_elsewhere, allowed_paths, code_files, load_modules, loaded_paths, spelled_paths


@dataclass(frozen=True)
class PluginCode:
    """Plug-ins of a run; picklable.

    Attributes:
        files: path on the driver -> path relative to its folder -> content, of the file and of those beside it that it
            imports.
        spellings: path as the command wrote it -> path on the driver.
        loaded: those that the driver has imported, in this order.
    """

    files: Mapping[Path, Mapping[str, bytes]]
    spellings: Mapping[str, Path]
    loaded: tuple[Path, ...]


_imported_for: list[Path] = []  # the run whose plug-ins this process has; at most one


def plugin_code() -> PluginCode:
    """Read the plug-ins that this process may import.

    Raises:
        InputError: a file is not Python.
        OSError: a file cannot be read.
    """
    files = {
        path: {file.relative_to(path.parent).as_posix(): file.read_bytes() for file in code_files(f"{path}:").values()}
        for path in allowed_paths()
        if path.is_file()
    }
    spellings = {text: path for text, path in spelled_paths().items() if path in files}
    return PluginCode(files, spellings, tuple(loaded_paths()))


def import_plugins(code: PluginCode, run: Path, folder: Path) -> None:
    """Import the plug-ins of a run in this process, once; their classes may be in what the driver pickled.

    A file that lies here as on the driver is used where it is, any other one as a copy.

    Args:
        code: from `plugin_code`.
        run: of the plug-ins, a path that no other run has; a process may serve several runs.
        folder: in which a folder for copies is made, if any are needed.

    Raises:
        InputError: a plug-in cannot be imported here, e.g. because a package that it needs is not installed.
        OSError: copies cannot be written.
    """
    if _imported_for == [run]:
        return
    missing = [path for path, files in code.files.items() if not _lie_in(path.parent, files)]
    copies = Path(tempfile.mkdtemp(prefix=f"bench-{run.name}-", dir=folder)) if missing else folder
    locations = {path: path for path in code.files}
    for number, path in enumerate(missing):
        locations[path] = copies / str(number) / path.name
        for name, content in code.files[path].items():
            copy = copies / str(number) / name
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(content)
    allow_elsewhere(locations, code.spellings)
    load_modules(code.loaded)
    _imported_for[:] = [run]


def _lie_in(folder: Path, files: Mapping[str, bytes]) -> bool:
    return all((folder / name).is_file() and (folder / name).read_bytes() == content for name, content in files.items())
