"""Names, families of names, and files."""

from __future__ import annotations

import pytest

from forge.errors import InputError, UnknownNameError
from forge.registry import Registry, allow_files, was_loaded

KINDS = Registry("thing", "nobody.things", {"plain": "collections:Counter", "path:": "pathlib:PurePosixPath"})


def test_a_family_is_called_with_what_follows_the_colon():
    assert str(KINDS.load("path:a/b:c")) == "a/b:c"
    assert KINDS.load("plain").__name__ == "Counter"


def test_a_family_alone_is_a_name_but_has_no_member():
    assert KINDS.names() == ["path:", "plain"]
    with pytest.raises(UnknownNameError, match="thing 'pth:x' is not known; did you mean 'path:'"):
        KINDS.load("pth:x")


def test_a_file_counts_as_loaded_once_somebody_named_it(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text("Own = int\n")
    reference = f"{file}:Own"
    allow_files([reference])
    assert not was_loaded(reference)
    assert KINDS.load(reference) is int and was_loaded(reference)
    with pytest.raises(InputError, match="the file defines no 'Other'"):
        KINDS.load(f"{file}:Other")
