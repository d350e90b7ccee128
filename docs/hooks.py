"""Hook of MkDocs: a page of reference per module or folder of a package, from docstrings; the published reports."""

from __future__ import annotations

import ast
import shutil
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("forge", "detect", "benchmarks")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages of the reference, and their index."""
    lines = ["# Reference", ""]
    for package in PACKAGES:
        lines += [f"## {package}", "", "| module | contents |", "|---|---|"]
        for room, modules in rooms(package).items():
            page = f"reference/{room}.md"
            summary = docstring(modules[0]).partition("\n")[0].replace("|", "\\|")
            lines.append(f"| [{room}]({room}.md) | {summary} |")
            content = f"# {room}\n\n" + "".join(f"::: {dotted(file)}\n\n" for file in modules if docstring(file))
            files.append(File.generated(config, page, content=content))
        lines.append("")
    files.append(File.generated(config, "reference/index.md", content="\n".join(lines)))
    return files


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Lead links out of `docs` to `reports` to their copy in the site."""
    return html.replace("../reports/", "reports/")


def on_post_build(config: MkDocsConfig) -> None:
    """Copy the published reports into the site, as they are."""
    shutil.copytree(ROOT / "reports", Path(config.site_dir) / "reports", dirs_exist_ok=True)


def rooms(package: str) -> dict[str, list[Path]]:
    """Map "package.name" to its files, where the name is that of a folder or module directly in the package."""
    by_room: dict[str, list[Path]] = {}
    for file in sorted((ROOT / package).rglob("*.py")):
        by_room.setdefault(".".join(dotted(file).split(".")[:2]), []).append(file)
    return by_room


def dotted(file: Path) -> str:
    """Return the dotted name of a module's file."""
    return ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def docstring(file: Path) -> str:
    """Return the docstring of a module, empty where it has none."""
    return ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
