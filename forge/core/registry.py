"""Names to implementations: lazy "module:attribute" entries, extended by entry points and by files.

A file "path/to/file.py:Attribute" is imported only if this process was told to by a person: `allow_files` is given the
command line, or the arguments of a Python call. Whatever is read from a disk may only name what is registered.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import importlib.util
import sys
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

from forge.core.errors import BenchWarning, InputError, UnknownNameError, quoted
from forge.core.files import digest_file, digest_json
from forge.core.plugin_imports import classes_in, forget_beside, imported_beside, serve_beside, unmet_imports

_allowed: set[Path] = set()  # resolved paths, so that two spellings of one file are one
_spellings: dict[str, Path] = {}  # path as the command wrote it -> resolved path
_elsewhere: dict[str, Path] = {}  # the same of the process that sent tasks here, on whose machine alone it holds
_copies: dict[Path, Path] = {}  # path there -> where its code lies here
_run_as: dict[Path, str] = {}  # file that was run -> digest of its code then, helpers included


def allow_files(texts: Iterable[str], *, anew: bool = False) -> None:
    """Allow the import of the Python files that these texts name.

    Args:
        texts: words of a command line or names given in Python, e.g. "dcgan,my.py:MyGAN@24k" or
            "--generator=my.py:MyGAN"; never anything that was read from a file.
        anew: forget what was allowed before.
    """
    if anew:
        for known in (_allowed, _spellings, _elsewhere, _copies):
            known.clear()
        forget_beside()
    # all readings of a word are allowed: each names a file that the person typed in any case
    for piece in (piece for text in texts for piece in text.split(",")):
        name, colon, _ = piece.rpartition(".py:")
        if colon:
            # -g my.py:X, -gmy.py:X, --generator=my.py:X and --set detectors.a.network=my.py:X
            starts = {name, name.rpartition("=")[2], name.partition("=")[2], name[2:] if name.startswith("-") else name}
            starts |= {start.lstrip("[{ '\"") for start in starts}  # --set conditions.robust=[my.py:X]
            spellings = {f"{start}.py": _resolved(f"{start}.py") for start in starts if start}
            _forget_edited(spellings.values())
            _spellings.update(spellings)
            _allowed.update(_spellings.values())


def _forget_edited(paths: Iterable[Path]) -> None:
    """Forget modules of files that were edited since they ran, as between two calls in one notebook."""
    for path in {path for path in paths if path in _run_as and _module_of(path) in sys.modules}:
        if _digest_of(path) != _run_as[path]:
            del sys.modules[_module_of(path)]
            forget_beside(path.parent)


def _digest_of(path: Path) -> str:
    try:
        files = {"code": path} | imported_beside(path)
        return digest_json({name: digest_file(file) for name, file in files.items()})
    except (OSError, SyntaxError, ValueError):
        return ""  # gone or no Python any more: running it says what is wrong


def allowed_paths() -> list[Path]:
    """Return the Python files that may be imported, for worker processes of this command."""
    return sorted(_allowed)


def allow_paths(paths: Iterable[Path]) -> None:
    """Allow the Python files that the process that started this one was allowed."""
    _allowed.update(paths)


def spelled_paths() -> dict[str, Path]:
    """Return the Python files that may be imported by their paths as the command wrote them."""
    return dict(_spellings)


def allow_elsewhere(locations: Mapping[Path, Path], spellings: Mapping[str, Path]) -> None:
    """Allow Python files of another machine; what this process imported from them before is forgotten.

    Args:
        locations: path there -> file here, which has the same content and the same files beside it.
        spellings: path as the command there wrote it -> path there; it may lead elsewhere here, or nowhere.
    """
    forget_beside()
    for path in locations:
        sys.modules.pop(_module_of(path), None)
    _allowed.update(locations)
    _copies.update(locations)
    _elsewhere.update(spellings)


def loaded_paths() -> list[Path]:
    """Return the allowed files that this process has imported, in the order of their imports."""
    names = {_module_of(path): path for path in _allowed}
    return [names[name] for name in sys.modules if name in names]


def load_modules(paths: Iterable[Path]) -> None:
    """Import allowed files, so that objects of their classes can be read from other processes.

    Raises:
        InputError: a file was not allowed, is not there, or running it failed.
    """
    for path in paths:
        _run_file(path, "plug-in", str(path))


def _resolved(path: str) -> Path:
    return _elsewhere.get(path) or Path(path).expanduser().resolve()


@dataclass
class Registry:
    """Implementations of one kind by name; nothing is imported until it is asked for.

    A name that ends with a colon stands for a family: "timm:" makes "timm:resnet18" known, and what is registered
    behind it is called with "resnet18".

    Args:
        noun: what is registered, for messages: "generator", "detector", "source".
        group: entry-point group through which installed packages add names.
        entries: name -> "module:attribute".
        option: name of the option that takes such names, and in the plural of their list; by default the noun.
    """

    noun: str
    group: str
    entries: dict[str, str] = field(default_factory=dict)
    option: str = ""

    def names(self) -> list[str]:
        """Return all names, built-in and installed, sorted."""
        return sorted({*self.entries, *(point.name for point in _installed(self.group))})

    def target(self, name: str) -> str:
        """Return the "module:attribute" behind a name.

        Raises:
            UnknownNameError: nothing has this name; carries the nearest names.
            InputError: it is a Python file without the name of a class.
        """
        if name.endswith(".py"):
            raise InputError(f"{self.noun} {quoted(name)} names no class of the file{_its_classes(Path(name))}")
        # built-in names first: an installed package cannot take one over
        if name in self.entries:
            return self.entries[name]
        for point in _installed(self.group):
            if point.name == name:
                return point.value
        raise UnknownNameError(self.noun, name, self.names(), see=f"bench list {self.option or self.noun}s")

    def load(self, name: str) -> Any:  # noqa: ANN401 - whatever was registered
        """Import and return the implementation of a name, or of "path/to/file.py:Attribute".

        Raises:
            UnknownNameError: nothing has this name.
            InputError: the file or attribute is not there, or importing it failed.
        """
        if is_file_reference(name):
            return load_from_file(self.option or self.noun, name)
        family, colon, member = name.partition(":")
        if colon and member and f"{family}:" in self.names():  # a family, e.g. "timm:" for "timm:resnet18"
            return self._imported(f"{family}:")(member)
        return self._imported(name)

    def _imported(self, name: str) -> Any:  # noqa: ANN401 - whatever was registered
        module, _, attribute = self.target(name).partition(":")
        try:
            return getattr(importlib.import_module(module), attribute)
        except (ImportError, AttributeError, SystemExit) as error:  # modules of others may call sys.exit
            reason = f"it ends the program ({error!r})" if isinstance(error, SystemExit) else str(error)
            raise InputError(
                f"{self.noun} {quoted(name)} cannot be loaded from {module}:{attribute}: {reason}"
            ) from error


def _installed(group: str) -> tuple[EntryPoint, ...]:
    """Return the entry points of a group; packages are searched again only where a folder of them has changed."""
    folders = [Path(path) for path in sys.path]
    return _entry_points(group, tuple((str(path), path.stat().st_mtime_ns) for path in folders if path.is_dir()))


@functools.lru_cache(maxsize=64)
def _entry_points(group: str, folders: tuple[tuple[str, int], ...]) -> tuple[EntryPoint, ...]:
    # `folders` are the key alone: where packages are, and when one was last installed there
    return tuple(entry_points(group=group))


def is_file_reference(name: str) -> bool:
    """Return whether a name is "path/to/file.py:Attribute" rather than a registered name."""
    return ".py:" in name


def load_from_file(noun: str, reference: str) -> Any:  # noqa: ANN401 - whatever the file defines
    """Import "path/to/file.py:Attribute", which runs the file's code.

    Raises:
        InputError: the file was not allowed, is not there, lacks the attribute, or running it failed.
    """
    attribute = reference.rpartition(":")[2]
    path, _ = _file_and_module(reference)
    module = _run_file(path, noun, reference)
    _check_imports(_location(path), attribute, noun, reference)  # the attribute may be another than at the first time
    return _attribute(module, attribute, noun, reference)


def _run_file(path: Path, noun: str, reference: str) -> ModuleType:
    """Import an allowed file, or return its module where it was imported before."""
    # compared by resolved path: a stored relative name cannot reach a file of the same name elsewhere
    if path not in _allowed:
        raise InputError(
            f"{noun} {quoted(reference)} is code that a stored file names, and only this command may name code: give "
            f"it with --{noun} {reference} where the command has that option, else with --plugin {reference}"
        )
    module_name, path = _module_of(path), _location(path)
    if not path.is_file():
        raise InputError(f"{noun} {quoted(reference)}: there is no file {path}")
    if module_name in sys.modules:  # one class however often it is asked for
        return sys.modules[module_name]
    spec = importlib.util.spec_from_file_location(module_name, path)
    if spec is None or spec.loader is None:
        raise InputError(f"{noun} {quoted(reference)}: {path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    # before it runs, as Python itself does: dataclasses and pickle look their own module up there
    sys.modules[module_name] = module
    _run_as[path] = _digest_of(path)
    try:
        serve_beside(path)
        spec.loader.exec_module(module)
    except InputError:
        del sys.modules[module_name]  # half a module must not be taken for a whole one the next time
        raise
    except (Exception, SystemExit) as error:  # a foreign file may raise anything; it is named and re-raised
        del sys.modules[module_name]
        raise InputError(f"{noun} {quoted(reference)}: running {path.name} failed: {quoted(error)}") from error
    return module


def _its_classes(path: Path) -> str:
    """Return the end of a sentence on a file: what to give instead. The file is read, not run."""
    try:
        classes = classes_in(path)
    except OSError:
        return "; there is no such file"
    except (SyntaxError, ValueError) as error:
        return f"; it is not Python: {quoted(str(error))}"
    named = [f"{path}:{name}" for name in classes]
    return f"; give one of: {', '.join(named)}" if named else ", and there is none in it"


def _check_imports(path: Path, attribute: str, noun: str, reference: str) -> None:
    """Refuse a class whose methods import what is not installed: they would fail after hours of training.

    An import in a function outside the class may belong to something that is never called; it is warned of.

    Raises:
        InputError: names the line and the module.
    """
    for scope, line, module in unmet_imports(path, attribute):
        sentence = f"line {line} of {path.name} imports {module!r}, which is not installed here"
        if scope == attribute:
            raise InputError(f"{noun} {reference!r}: {sentence}; install it first")
        warnings.warn(f"{noun} {reference!r}: {sentence}", BenchWarning, stacklevel=3)


def code_files(reference: str) -> dict[str, Path]:
    """Return the Python files behind "path/to/file.py:Attribute": the file itself and those beside it that it imports.

    Returns:
        Name -> file: "code", and "code helper.py" for a file beside it.

    Raises:
        InputError: a file cannot be read, or is not Python.
    """
    path = _location(_file_and_module(reference)[0])
    try:
        beside = imported_beside(path)
    except (OSError, SyntaxError, ValueError) as error:
        raise InputError(f"the code of {quoted(reference)} cannot be read: {quoted(str(error))}") from error
    return {"code": path} | {f"code {name}": file for name, file in beside.items()}


def named_file(reference: str) -> str | None:
    """The reference that this command gave for a stored "path/to/file.py:Attribute": of the same place, else name.

    Returns:
        A reference that may be loaded, or None where the command names no file of this name.
    """
    path, _ = _file_and_module(reference)
    if path in _allowed:
        return reference
    others = sorted(allowed for allowed in _allowed if allowed.name == path.name and _location(allowed).is_file())
    return f"{others[0]}:{reference.rpartition(':')[2]}" if others else None


def was_loaded(reference: str) -> bool:
    """Return whether this process has already run the file of "path/to/file.py:Attribute"."""
    return _file_and_module(reference)[1] in sys.modules


def _file_and_module(reference: str) -> tuple[Path, str]:
    """Return the file of a reference and the module name it gets here."""
    path = _resolved(reference.rpartition(":")[0])
    return path, _module_of(path)


def _location(path: Path) -> Path:
    """Return where the code of a file lies on this machine."""
    return _copies.get(path, path)


def _module_of(path: Path) -> str:
    # the digest of the whole path: plug-ins of one name in two folders are two modules
    return f"bench_plugin_{path.stem}_{hashlib.sha256(bytes(path)).hexdigest()[:8]}"


def _attribute(module: ModuleType, attribute: str, noun: str, reference: str) -> Any:  # noqa: ANN401 - as above
    if not hasattr(module, attribute):
        raise InputError(f"{noun} {quoted(reference)}: the file defines no {quoted(attribute)}")
    return getattr(module, attribute)
