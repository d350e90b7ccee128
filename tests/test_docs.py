"""Links of all Markdown files, and the pages of the site."""

import importlib
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
GENERATED = {"docs/reference/index.md"}  # by docs/hooks.py
LINK = re.compile(r"\]\(([^)\s]+)\)")


def markdown() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "*.md"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in listed.stdout.splitlines() if (ROOT / name).is_file()]


def prose(text: str) -> str:
    """A text without its blocks of code."""
    return re.sub(r"^```.*?^```|^    .*?$", "", text, flags=re.MULTILINE | re.DOTALL)


def test_relative_links_lead_somewhere():
    broken = [
        f"{file.relative_to(ROOT)}: {link}"
        for file in markdown()
        for link in LINK.findall(prose(file.read_text(encoding="utf-8")))
        if not re.match(r"[a-z]+:|#", link)
        and not (file.parent / link.partition("#")[0]).exists()
        and str((file.parent / link).resolve().relative_to(ROOT)) not in GENERATED
    ]
    assert broken == []


def guidance() -> list[Path]:
    """The pages that describe the present tree; the changelog and results are of their time."""
    return [file for file in markdown() if "results" not in file.parts and file.name != "CHANGELOG.md"]


def test_paths_that_pages_name_exist():
    named = re.compile(r"`((?:forge|detect|benchmarks|tests|configs|docs)/[\w./-]*\w/?)`")
    missing = [
        f"{file.relative_to(ROOT)}: {path}"
        for file in guidance()
        for path in named.findall(file.read_text(encoding="utf-8"))
        if "NAME" not in path and not (ROOT / path).exists()
    ]
    assert missing == []


def test_modules_that_examples_import_exist_and_have_what_is_imported():
    imported = re.compile(r"^ *from ((?:forge|detect|benchmarks)[\w.]*) import ([\w, ]+)$", re.MULTILINE)
    missing = [
        f"{file.relative_to(ROOT)}: {module}.{name.strip()}"
        for file in guidance()
        for module, names in imported.findall(file.read_text(encoding="utf-8"))
        for name in names.split(",")
        if not hasattr(importlib.import_module(module), name.strip())
    ]
    assert missing == []


def pages(entries: list) -> list[str]:
    """The files of a navigation, however deep."""
    return [
        page
        for entry in entries
        for value in (entry.values() if isinstance(entry, dict) else [entry])
        for page in (pages(value) if isinstance(value, list) else [value])
    ]


def test_every_page_stands_in_the_navigation():
    settings = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    written = {str(file.relative_to(ROOT)) for file in (ROOT / "docs").rglob("*.md")}
    assert {f"docs/{page}" for page in pages(settings["nav"])} == written | GENERATED


def test_the_site_is_built_with_what_the_extra_names():
    extra = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    lines = (ROOT / "docs/requirements.in").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if not line.startswith("#")] == extra["docs"]
    lock = (ROOT / "docs/requirements.lock").read_text(encoding="utf-8")
    assert "https://" not in lock and "--index-url" not in lock and "--hash=sha256:" in lock


@pytest.mark.parametrize("package", ["forge", "detect", "benchmarks"])
def test_the_readme_of_a_package_is_a_map_of_what_is_there(package):
    text = (ROOT / package / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) < 40
    named = [name for row in re.findall(r"^\| (`.*?) \|", text, re.MULTILINE) for name in re.findall(r"`([^`]+)`", row)]
    assert named and [name for name in named if not (ROOT / package / name).exists()] == []
