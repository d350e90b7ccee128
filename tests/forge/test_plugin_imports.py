"""Files beside a plug-in: which it imports, that they can be imported, and that two plug-ins do not share them."""

import sys

import pytest

from forge.errors import InputError
from forge.plugin_imports import imported_beside
from forge.registry import Registry, allow_files, code_files

REGISTRY = Registry("detector", "no.such.group")


@pytest.fixture(autouse=True)
def _own_paths(monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))


def plugin(folder, value):
    folder.mkdir()
    (folder / "mine.py").write_text(
        "import json, helper\nfrom pack.inner import NUMBER\n\n\nclass Mine:\n"
        "    value = helper.VALUE\n    number = NUMBER\n\n    def late(self):\n        import later\n\n"
        "        return later.VALUE\n"
    )
    (folder / "helper.py").write_text(f"import deeper\n\nVALUE = {value} + deeper.ONE\n")
    (folder / "deeper.py").write_text("ONE = 1\n")
    (folder / "later.py").write_text(f"VALUE = {value}\n")
    (folder / "pack").mkdir()
    (folder / "pack/__init__.py").write_text("")
    (folder / "pack/inner.py").write_text(f"NUMBER = {value}\n")
    (folder / "unused.py").write_text("raise RuntimeError\n")
    return folder / "mine.py"


def test_what_a_plugin_imports_from_beside_it_is_found_without_running_it(tmp_path):
    file = plugin(tmp_path / "a", 1)
    names = ["deeper.py", "helper.py", "later.py", "pack/__init__.py", "pack/inner.py"]
    assert list(imported_beside(file)) == names
    assert list(code_files(f"{file}:Mine")) == ["code", *(f"code {name}" for name in names)]
    (tmp_path / "a/deeper.py").write_text("import helper, mine\n")  # a circle ends
    assert list(imported_beside(file)) == names
    (tmp_path / "a/deeper.py").write_text("def (\n")
    with pytest.raises(InputError, match="cannot be read"):
        code_files(f"{file}:Mine")


def test_two_plugins_have_helpers_of_one_name(tmp_path):
    references = [f"{plugin(tmp_path / name, value)}:Mine" for name, value in (("one", 1), ("two", 20))]
    allow_files(references)
    first, second = (REGISTRY.load(reference) for reference in references)
    assert (first.value, first.number, second.value, second.number) == (2, 1, 21, 20)
    assert first().late() == 1


def test_a_file_beside_it_hides_nothing_that_is_installed_once_the_plugin_was_imported(tmp_path):
    file = plugin(tmp_path / "a", 1)
    allow_files([f"{file}:Mine"])
    REGISTRY.load(f"{file}:Mine")
    assert sys.path[-1] == str(tmp_path / "a") and sys.path[0] != str(tmp_path / "a")
