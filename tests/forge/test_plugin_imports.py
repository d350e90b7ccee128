"""Files beside a plug-in: which it imports, that they can be imported, and what is refused."""

import sys

import pytest

from forge.core.errors import InputError
from forge.core.plugin_imports import forget_beside, imported_beside
from forge.core.registry import Registry, allow_files, code_files

REGISTRY = Registry("detector", "no.such.group")


@pytest.fixture(autouse=True)
def _own_state():
    path = list(sys.path)
    forget_beside()
    yield
    forget_beside()
    assert sys.path == path


def plugin(folder, value, *, helper="helper"):
    folder.mkdir()
    (folder / "mine.py").write_text(
        f"import json, {helper}\nfrom pack_{helper}.inner import NUMBER\n\n\nclass Mine:\n"
        f"    value = {helper}.VALUE\n    number = NUMBER\n\n    def late(self):\n        import later_{helper}\n\n"
        f"        return later_{helper}.VALUE\n"
    )
    (folder / f"{helper}.py").write_text(f"import deeper_{helper}\n\nVALUE = deeper_{helper}.VALUE\n")
    (folder / f"deeper_{helper}.py").write_text(f"VALUE = {value}\n")
    (folder / f"later_{helper}.py").write_text(f"VALUE = {value}\n")
    (folder / f"pack_{helper}").mkdir()
    (folder / f"pack_{helper}/__init__.py").write_text("")
    (folder / f"pack_{helper}/inner.py").write_text(f"NUMBER = {value}\n")
    (folder / "unused.py").write_text("raise RuntimeError\n")
    return folder / "mine.py"


def test_what_a_plugin_imports_from_beside_it_is_found_without_running_it(tmp_path):
    file = plugin(tmp_path / "a", 1)
    names = ["deeper_helper.py", "helper.py", "later_helper.py", "pack_helper/__init__.py", "pack_helper/inner.py"]
    assert list(imported_beside(file)) == names
    assert list(code_files(f"{file}:Mine")) == ["code", *(f"code {name}" for name in names)]
    (tmp_path / "a/deeper_helper.py").write_text("import helper, mine\n")  # a circle ends
    assert list(imported_beside(file)) == names
    (tmp_path / "a/deeper_helper.py").write_text("def (\n")
    with pytest.raises(InputError, match="cannot be read"):
        code_files(f"{file}:Mine")


def test_a_plugin_imports_its_helpers_at_once_and_later(tmp_path):
    references = [f"{plugin(tmp_path / name, value, helper=name)}:Mine" for name, value in (("one", 1), ("two", 20))]
    allow_files(references)
    first, second = (REGISTRY.load(reference) for reference in references)
    assert (first.value, first.number, second.value, second.number) == (1, 1, 20, 20)
    assert (first().late(), second().late()) == (1, 20)


def test_two_plugins_with_helpers_of_one_name_are_refused(tmp_path):
    references = [f"{plugin(tmp_path / name, value)}:Mine" for name, value in (("one", 1), ("two", 20))]
    allow_files(references)
    assert REGISTRY.load(references[0]).value == 1
    with pytest.raises(InputError, match="two plug-ins have a file 'helper' beside them"):
        REGISTRY.load(references[1])
    allow_files(references, anew=True)  # as the next command does
    assert REGISTRY.load(references[1]).value == 20


def test_a_file_that_was_edited_between_two_calls_runs_again(tmp_path):
    reference = f"{plugin(tmp_path / 'mine', 1)}:Mine"
    allow_files([reference])
    before = REGISTRY.load(reference)
    (tmp_path / "mine/deeper_helper.py").write_text("VALUE = 1 + 1\n")
    assert REGISTRY.load(reference) is before  # within one call, what was planned is what runs
    allow_files([reference])
    after = REGISTRY.load(reference)
    assert (before.value, after.value) == (1, 2)
    allow_files([reference])
    assert REGISTRY.load(reference) is after
    (tmp_path / "mine/mine.py").write_text("class Mine:\n    value = 3\n")
    allow_files([reference])
    assert REGISTRY.load(reference).value == 3
    (tmp_path / "mine/mine.py").write_text("class Mine(\n")
    allow_files([reference])
    with pytest.raises(InputError, match=r"running mine\.py failed"):
        REGISTRY.load(reference)


def test_nothing_beside_a_plugin_runs_or_hides_anything_unless_it_is_imported(tmp_path):
    (tmp_path / "mine.py").write_text("import helper_of_mine\n\n\nclass Mine:\n    pass\n")
    (tmp_path / "helper_of_mine.py").write_text("")
    (tmp_path / "not_installed_anywhere.py").write_text("raise RuntimeError\n")
    allow_files([f"{tmp_path}/mine.py:Mine"])
    REGISTRY.load(f"{tmp_path}/mine.py:Mine")
    with pytest.raises(ModuleNotFoundError):
        import not_installed_anywhere  # noqa: F401
    import helper_of_mine

    assert helper_of_mine.__file__ == str(tmp_path / "helper_of_mine.py")


def test_a_helper_with_the_name_of_an_installed_module_is_refused_and_the_bench_is_the_bench(tmp_path):
    (tmp_path / "mine.py").write_text("import statistics\n\n\nclass Mine:\n    pass\n")
    (tmp_path / "statistics.py").write_text("raise RuntimeError\n")
    allow_files([f"{tmp_path}/mine.py:Mine"])
    with pytest.raises(InputError, match="has the name of an installed module; rename it"):
        REGISTRY.load(f"{tmp_path}/mine.py:Mine")
    (tmp_path / "mine.py").write_text(
        "import forge.core.errors\n\n\nclass Mine:\n    error = forge.core.errors.InputError\n"
    )
    (tmp_path / "forge").mkdir()
    (tmp_path / "forge/__init__.py").write_text("raise RuntimeError\n")
    assert imported_beside(tmp_path / "mine.py") == {}
    assert REGISTRY.load(f"{tmp_path}/mine.py:Mine").error is InputError


def test_a_module_is_found_before_a_folder_without_code(tmp_path):
    (tmp_path / "mine.py").write_text("import helper_or_data\n")
    (tmp_path / "helper_or_data.py").write_text("")
    (tmp_path / "helper_or_data").mkdir()
    assert list(imported_beside(tmp_path / "mine.py")) == ["helper_or_data.py"]
