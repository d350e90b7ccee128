"""Facts of detectors read from their source equal those of the imported classes, and import no torch."""

import subprocess
import sys

import pytest

from detect.detectors import facts
from detect.detectors.registry import DETECTORS
from forge.core.errors import InputError

PLUGIN = '''
from abc import ABC
from typing import ClassVar

from detect.detectors.npr import Npr

PAPER = "Doe, 2026"


class Mine(ABC, Npr):
    """One line.

    More lines.
    """

    family = "mine"
    citation: ClassVar[str] = f"{PAPER}; " + "after " + Npr.citation


class Computed(Mine):
    """Another."""

    citation = PAPER.upper()


class Grown(Mine):
    """A third."""

    variant = "a"
    variant += "b"


not_a_class = 3
'''


@pytest.mark.parametrize("name", sorted(DETECTORS.entries))
def test_the_source_says_what_the_class_says(name):
    assert facts.facts_of(name) == facts.facts_of_class(DETECTORS.load(name))


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """A module with detectors of a plug-in, registered by names of their own."""
    (tmp_path / "plugin_of_a_test.py").write_text(PLUGIN)
    monkeypatch.syspath_prepend(tmp_path)
    names = {"mine": "Mine", "computed": "Computed", "grown": "Grown", "wrong": "not_a_class", "absent": "Absent"}
    for name, attribute in names.items():
        monkeypatch.setitem(DETECTORS.entries, name, f"plugin_of_a_test:{attribute}")
    yield
    facts._tree.cache_clear()
    sys.modules.pop("plugin_of_a_test", None)


def test_attributes_are_built_and_inherited_across_files(installed):
    mine, npr = facts.facts_of("mine"), facts.facts_of("npr")
    assert (mine.family, mine.summary, mine.variant) == ("mine", "One line.", npr.variant)
    assert mine.citation == f"Doe, 2026; after {npr.citation}" and mine.network
    assert "plugin_of_a_test" not in sys.modules


@pytest.mark.parametrize("name", ["computed", "grown", "wrong", "absent"])
def test_a_source_that_does_not_say_it_is_refused(installed, name):
    with pytest.raises(InputError, match=f"source of detector {name}"):
        facts.facts_of(name)


def test_a_list_of_detectors_imports_no_torch(tmp_path):
    code = (
        "import sys\nfrom pathlib import Path\nfrom benchmarks.cli.listing import list_names\n"
        f"list_names('detectors', False, True, Path({str(tmp_path)!r}), Path({str(tmp_path)!r}))\n"
        "print({'torch', 'timm', 'sklearn', 'pandas', 'scipy'} & sys.modules.keys(), file=sys.stderr)\n"
    )
    listed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert listed.stderr.strip() == "set()" and '"citation"' in listed.stdout
