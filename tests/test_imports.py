"""Imports: layers, circles, declared dependencies, and the number of imports inside functions.

An import counts wherever it stands: at the top, in a function, below TYPE_CHECKING.
"""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

pytestmark = pytest.mark.xdist_group("sources")  # one process reads them

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("forge", "detect", "benchmarks")

# a module imports from its own layer and those before it; names of one line are one layer
LAYERS = (
    {"forge.core"},
    {"forge.rendering"},
    {"forge.faces"},
    {"forge.generators"},
    {"forge.training", "forge.tampering", "forge.quality"},
    {"forge"},
    {"detect"},
    {
        *("benchmarks.protocol", "benchmarks.places", "benchmarks.experiment"),
        *("benchmarks.experiment.settings", "benchmarks.experiment.names", "benchmarks.experiment.configs"),
        *("benchmarks.experiment.zoo", "benchmarks.zoo.members"),
    },
    {"benchmarks.evaluation"},
    {"benchmarks.report"},
    {"benchmarks.experiment.matrix", "benchmarks.experiment.request", "benchmarks.experiment.resolve"},
    {"benchmarks.experiment.attacks", "benchmarks.experiment.views"},
    {"benchmarks.experiment.validate", "benchmarks.experiment.validate_conditions"},
    {"benchmarks.workflow"},
    {"benchmarks.inference", "benchmarks.terminal", "benchmarks.zoo"},
    {"benchmarks.finished", "benchmarks.speed", "benchmarks.serve"},
    {"benchmarks.api", "benchmarks.cli", "benchmarks"},
)
# neither of a pair imports the other
APART = (
    ("benchmarks.api", "benchmarks.cli"),
    ("benchmarks.serve", "benchmarks.speed"),
    ("forge.training", "forge.quality"),
)
# modules below that import nothing else of forge
ALONE = ("forge.rendering",)

MAX_LOCAL_IMPORTS = 119  # imports inside functions: torch, pandas and scikit-learn where few calls need them

# found by find_spec, or by a library: never imported by name
NOT_IMPORTED = {"mkdocs-material", "mkdocstrings", "python-multipart", "tensorboard", "torchvision"}
NOT_IMPORTED |= {"flask", "flask-cors", "moto", "s3fs"}


@cache
def modules() -> dict[str, ast.Module]:
    files = sorted(file for package in PACKAGES for file in (ROOT / package).rglob("*.py"))
    names = [".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for file in files]
    return {name: ast.parse(file.read_text(encoding="utf-8")) for name, file in zip(names, files, strict=True)}


def imported(tree: ast.AST) -> Iterator[str]:
    """Yield every dotted name that a module imports: `from a.b import c` is a.b.c."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@cache
def graph() -> dict[str, set[str]]:
    """Return for each module those of this repository that it imports."""
    edges: dict[str, set[str]] = {}
    for name, tree in modules().items():
        edges[name] = set()
        for target in imported(tree):
            while target and target not in modules():
                target = target.rpartition(".")[0]
            edges[name] |= {target} - {"", name}
    return edges


def within(name: str, room: str) -> bool:
    return name == room or name.startswith(f"{room}.")


def layer(name: str) -> int:
    """Return the layer of the longest room that a module lies in."""
    rooms = [(len(room), i) for i, rooms in enumerate(LAYERS) for room in rooms if within(name, room)]
    return max(rooms)[1]


def reachable(edges: dict[str, set[str]], start: str) -> set[str]:
    """Return the modules that a module imports, directly or not."""
    seen, todo = set[str](), list(edges[start])
    while todo:
        name = todo.pop()
        if name not in seen:
            seen.add(name)
            todo.extend(edges[name])
    return seen


def circles(edges: dict[str, set[str]]) -> list[set[str]]:
    """Return the sets of modules of which each imports, directly or not, every other."""
    reached = {start: reachable(edges, start) for start in edges}
    groups: list[set[str]] = []
    for name in edges:
        group = {other for other in reached[name] if name in reached[other]}
        if group and group not in groups:
            groups.append(group)
    return groups


def test_imports_go_down_the_layers():
    upward = {(name, target) for name, targets in graph().items() for target in targets if layer(target) > layer(name)}
    assert not upward


def test_every_folder_of_benchmarks_and_forge_has_a_layer_of_its_own():
    rooms = {".".join(name.split(".")[:2]) for name in modules() if name.startswith(("benchmarks.", "forge."))}
    assert rooms <= set[str]().union(*LAYERS), "add the new room to LAYERS"


@pytest.mark.parametrize("pair", APART)
def test_rooms_beside_each_other_do_not_import_each_other(pair):
    edges = {(name, target) for name, targets in graph().items() for target in targets}
    both = {
        (name, target) for name, target in edges for a, b in (pair, pair[::-1]) if within(name, a) and within(target, b)
    }
    assert not both


def test_the_renderer_needs_nothing_else_of_forge():
    for name, targets in graph().items():
        for room in ALONE:
            if within(name, room):
                assert all(within(target, room) for target in targets), name


def test_no_modules_import_each_other_in_a_circle():
    assert len(graph()) > 300 and sum(map(len, graph().values())) > 1000  # the reader of imports reads them
    assert not circles(graph())


def test_a_report_that_is_written_again_knows_every_stage():
    stages = {name for name in modules() if name.startswith("benchmarks.workflow.stages.")}
    assert stages <= reachable(graph(), "benchmarks.workflow.rerender")


def test_circles_are_recognised():
    edges = {"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"d", "a"}, "e": {"f"}, "f": {"a", "e"}}
    assert circles(edges) == [{"b", "c"}, {"d"}, {"e", "f"}]


def test_imports_inside_functions_do_not_become_more():
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    count = sum(
        len({id(node) for function in ast.walk(tree) if isinstance(function, functions)
             for node in ast.walk(function) if isinstance(node, ast.Import | ast.ImportFrom)})
        for tree in modules().values()
    )  # fmt: skip
    assert count <= MAX_LOCAL_IMPORTS, "import at the top of the file; bench imports commands one by one"


def declared(*groups: str) -> set[str]:
    """Return the distributions that pyproject.toml names, those of the given dependency groups with them."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    lines = [*project["project"]["dependencies"]]
    lines += [line for extra in project["project"]["optional-dependencies"].values() for line in extra]
    lines += [line for group in groups for line in project["dependency-groups"][group]]
    return {normal(re.match(r"[\w.-]+", line)[0]) for line in lines}


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def distributions(trees: list[ast.Module]) -> set[str]:
    """Return the distributions whose modules are imported."""
    names = {name.partition(".")[0] for tree in trees for name in imported(tree)}
    foreign = names - set(sys.stdlib_module_names) - {*PACKAGES, "__future__"}
    known = packages_distributions()
    return {normal(known.get(name, [name])[0]) for name in foreign}


def test_every_imported_distribution_is_declared_and_every_declared_one_imported():
    used = distributions(list(modules().values()))
    assert used <= declared(), "add it to pyproject.toml and requirements.lock"
    assert declared() - used <= NOT_IMPORTED, "remove it from pyproject.toml and requirements.lock"


def test_every_distribution_that_tests_import_is_declared():
    files = list((ROOT / "tests").rglob("*.py"))
    helpers = {normal(file.stem) for file in files}
    used = distributions([ast.parse(file.read_text(encoding="utf-8")) for file in files])
    made_up = {"helper-of-mine", "not-installed-anywhere"}  # tests of what a plug-in imports
    assert used - helpers - made_up <= declared("dev")


def test_json_files_have_one_reader():
    allowed = {"forge.core.files", "benchmarks.speed.serving"}  # the second reads answers of a server
    calls = {
        name
        for name, tree in modules().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("json.load", "json.loads")
    }
    assert calls <= allowed, "use forge.core.files.read_json, which bounds size, depth and digits"
