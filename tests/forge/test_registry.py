"""Names, families of names, and files."""

from __future__ import annotations

import pytest

from forge.core.errors import InputError, UnknownNameError
from forge.core.registry import Registry, allow_files, was_loaded

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


@pytest.mark.parametrize(
    ("text", "ending"),
    [
        ("raise SystemExit\nclass A: pass\nclass _B: pass\nclass C: pass\n", "; give one of: {}:A, {}:C"),
        ("x = 1\n", ", and there is none in it"),
        ("def (\n", "; it is not Python: 'invalid syntax (<unknown>, line 1)'"),
        (None, "; there is no such file"),
    ],
)
def test_a_file_without_a_class_says_what_could_be_given(tmp_path, text, ending):
    file = tmp_path / "mine.py"
    if text is not None:
        file.write_text(text)
    with pytest.raises(InputError) as caught:
        Registry("detector", "bench.detectors").load(str(file))
    said = ending.replace("{}", str(file))
    assert str(caught.value).endswith(f"names no class of the file{said}")
