"""Sources of real faces by name, path or both."""

from __future__ import annotations

import inspect
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forge.core.errors import InputError, UnknownNameError, quoted
from forge.core.files import digest_file
from forge.core.registry import Registry, code_files, load_from_file
from forge.faces.sources.base import Item, Source, printable

if TYPE_CHECKING:
    from forge.faces.faceset import FaceSet  # brings pyarrow, which a list of sources need not wait for

__all__ = ["SOURCES", "Item", "Source", "resolve"]

SOURCES = Registry(
    "source",
    "forge.sources",
    {
        "rendered": "forge.faces.sources.rendered:RenderedSource",
        "folder": "forge.faces.sources.folder:FolderSource",
        "fairface": "forge.faces.sources.fairface:FairFaceSource",
        "lfw": "forge.faces.sources.lfw:LFWSource",
        "celeba": "forge.faces.sources.celeba:CelebASource",
        "digits": "forge.faces.sources.digits:DigitsSource",
        "huggingface": "forge.faces.sources.hugging_face:HuggingFaceSource",
        "webdataset": "forge.faces.sources.webdataset:WebDatasetSource",
    },
)
LAYOUTS = (
    "fairface",
    "celeba",
    "lfw",
    "huggingface",
    "webdataset",
)  # recognised in this order; any other folder is a folder of images

_FILE_REFERENCE = re.compile(r"(.+\.py:\w+)(?::(.+))?")
_NAME = re.compile(r"[A-Za-z][\w-]+")  # one letter before a colon is a Windows drive


def resolve(text: str, **options: Any) -> Source | FaceSet:  # noqa: ANN401 - of the source
    """Find the source that `--data` means.

    Args:
        text: a name of `SOURCES`; the path of a FaceSet, of a known layout or of a folder of images; or NAME:PATH. A
            folder that has the name of a source is reached as ./NAME. "path/to/file.py:Class" and
            "path/to/file.py:Class:PATH" run the file, if this command named it (`forge.core.registry.allow_files`).
        **options: for the source, e.g. seed for "rendered" or identities for "folder".

    Returns:
        The source, or the FaceSet when the path is one: that is used as it is.

    Raises:
        UnknownNameError: no source has this name.
        InputError: there is no such path, the source does not take these options, or a file defines no source.
    """
    if reference := _FILE_REFERENCE.fullmatch(text):
        return _from_file(reference[1], reference[2], options)
    # names before paths: a folder that has the name of a source is given as ./NAME
    if text in SOURCES.names():
        return _make(text, None, options)
    name, colon, path = text.partition(":")
    if colon and name in SOURCES.names():
        if not path:
            raise InputError(f"data {quoted(text)} names no path; give {name}:PATH")
        return _make(name, path, options)
    given = Path(text).expanduser()
    if text and given.is_dir():
        if (given / "card.json").is_file():  # a FaceSet is known by its card
            return _open(given, options)
        return _make(_layout(given), text, options)
    if text and given.exists():
        raise InputError(f"data {quoted(printable(text))} is a file; give the folder that holds the images")
    if _NAME.fullmatch(name):
        raise UnknownNameError("source or folder", name, SOURCES.names(), see="bench list sources")
    known = ", ".join(SOURCES.names())
    raise InputError(f"data {quoted(printable(text))} is neither a known source nor an existing path; known: {known}")


def _layout(folder: Path) -> str:
    # the fallback last: every layout is a folder of images, too
    return next((name for name in LAYOUTS if SOURCES.load(name).recognises(folder)), "folder")


def _open(path: Path, options: dict[str, Any]) -> FaceSet:
    from forge.faces.faceset import FaceSet  # imports pyarrow and pandas

    if options:
        raise InputError(
            f"data {quoted(printable(str(path)))} is a FaceSet and takes no option {quoted(next(iter(options)))}"
        )
    return FaceSet.open(path)


def _from_file(reference: str, path: str | None, options: dict[str, Any]) -> Source:
    """Make the source of a plug-in; its code is part of its identity."""
    source_class = load_from_file("data", reference)
    if not (isinstance(source_class, type) and issubclass(source_class, Source)):
        raise InputError(
            f"data {quoted(reference)} is no source: it must be a subclass of forge.faces.sources.base.Source"
        )
    _refuse_lacking(reference, sorted(getattr(source_class, "__abstractmethods__", ())))
    source = _made(source_class, reference, path, options)
    # some say these of the instance, e.g. a licence that depends on the folder
    fields = ("name", "licence", "citation", "attributes")
    _refuse_lacking(reference, [name for name in fields if not hasattr(source, name)])
    source.code = {name: digest_file(file) for name, file in code_files(reference).items()}
    return source


def _refuse_lacking(reference: str, names: Sequence[str]) -> None:
    if names:
        raise InputError(f"data {quoted(reference)} does not define {', '.join(names)}, which every source has")


def _make(name: str, path: str | None, options: dict[str, Any]) -> Source:
    return _made(SOURCES.load(name), name, path, options)


def _made(source_class: type[Source], name: str, path: str | None, options: dict[str, Any]) -> Source:
    takes = inspect.signature(source_class).parameters  # options are those of the class's own constructor
    if path is not None:
        if "root" not in takes:
            raise InputError(f"source {quoted(name)} takes no path; use --data {name}")
        options = {"root": path, **options}
    for option in options:
        if option not in takes:
            known = ", ".join(parameter for parameter in takes if parameter != "root") or "none"
            raise InputError(f"source {quoted(name)} has no option {quoted(option)}; it takes: {known}")
    return source_class(**options)
