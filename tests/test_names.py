"""Names say what a thing contains, docstrings what a module holds.

`python tests/test_names.py [PATH ...]` lists the files with the most filler names and the docstrings to rewrite.
"""

import ast
import re
import sys
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("forge", "detect", "benchmarks")

# names that say how a value was obtained, or nothing at all, instead of what it is
FILLERS = {
    *("found", "one", "ones", "own", "told", "tell", "said", "says", "saying", "asked", "asks", "place", "places"),
    *("kind", "kinds", "most", "least", "few", "sickness", "sicknesses", "stroll", "strolls", "suspects", "yardstick"),
    *("duel", "duels", "likeness"),
}
MAX_FILLER_SHARE = 0.005  # of all bindings
MAX_FILLER_SHARE_OF_TESTS = 0.01

QUESTION_WORDS = {"who", "whom", "whose", "what", "which", "where", "how", "whether", "when", "why"}
MAX_QUESTIONS = 0  # module docstrings that are an indirect question ("Who may ask the server")


def sources(paths: list[Path]) -> list[Path]:
    """List the Python files of some folders and files."""
    return sorted(file for path in paths for file in (path.rglob("*.py") if path.is_dir() else [path]))


@cache
def parsed(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


_NAMED = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.ExceptHandler, ast.MatchAs, ast.MatchStar)


def bindings(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Yield each name that a module binds, with its line: variables, arguments, attributes, functions, classes."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id, node.lineno
        elif isinstance(node, ast.arg):
            yield node.arg, node.lineno
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr, node.lineno
        elif isinstance(node, _NAMED) and node.name:
            yield node.name, node.lineno


def is_filler(name: str) -> bool:
    """Return whether every word of a name is a filler: `found`, `_LEAST`, `own_kind`; not `kind_of_noise`."""
    words = [word for word in re.split(r"[_\d]+", name.lower()) if word]
    return bool(words) and all(word in FILLERS for word in words)


def is_question(docstring: str) -> bool:
    """Return whether a docstring begins as an indirect question does: "Where results lie"."""
    words = re.findall(r"[a-z]+", docstring.lower())
    return bool(words) and words[0] in QUESTION_WORDS


def count(files: list[Path]) -> tuple[int, dict[Path, list[tuple[str, int]]]]:
    """Return the number of bindings in some files, and per file those with a filler name."""
    total, fillers = 0, {}
    for file in files:
        bound = list(bindings(parsed(file)))
        total += len(bound)
        fillers[file] = [(name, line) for name, line in bound if is_filler(name)]
    return total, fillers


def questions(files: list[Path]) -> list[Path]:
    """List the files whose module docstring is an indirect question."""
    return [file for file in files if is_question(ast.get_docstring(parsed(file)) or "")]


def shipped() -> list[Path]:
    return sources([ROOT / package for package in PACKAGES])


def filler_share(files: list[Path]) -> float:
    """Return the share of bindings with a filler name."""
    total, fillers = count(files)
    return sum(map(len, fillers.values())) / total


def test_few_bindings_have_a_filler_name():
    assert filler_share(shipped()) <= MAX_FILLER_SHARE, "python tests/test_names.py lists them"
    share = filler_share(sources([ROOT / "tests"]))
    assert share <= MAX_FILLER_SHARE_OF_TESTS, "python tests/test_names.py tests lists them"


def test_module_docstrings_are_not_indirect_questions():
    files = [str(file.relative_to(ROOT)) for file in questions(shipped())]
    assert len(files) <= MAX_QUESTIONS, f"begin with what the module contains: {files}"


def test_fillers_are_recognised():
    assert all(map(is_filler, ("found", "_LEAST", "own_kind", "kinds", "one2")))
    assert not any(map(is_filler, ("kind_of_noise", "auc", "_", "__init__", "foundation")))
    code = "def f(found, *, one=1):\n    with g() as told: self.own = [kind for kind in x]\n    return (said := 2)"
    assert {name for name, _ in bindings(ast.parse(code)) if is_filler(name)} == {
        *("found", "one", "told", "own", "kind", "said")
    }


def main(arguments: list[str]) -> None:
    """Print the filler names of some paths (all packages by default), most first, and docstrings that are questions."""
    files = sources([Path(argument) for argument in arguments]) if arguments else shipped()
    total, fillers = count(files)
    n_fillers = sum(map(len, fillers.values()))
    for file, names in sorted(fillers.items(), key=lambda item: len(item[1])):
        if names:
            print(f"{len(names):4d} {file}: " + " ".join(f"{name}:{line}" for name, line in names))
    for file in files:
        for node in ast.walk(parsed(file)):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                docstring = ast.get_docstring(node) or ""
                if is_question(docstring):
                    print(f"  question {file}:{getattr(node, 'lineno', 1)}: {docstring.splitlines()[0]}")
    by_name = Counter(name for names in fillers.values() for name, _ in names)
    print("by name: " + ", ".join(f"{name} {number}" for name, number in by_name.most_common(15)))
    print(
        f"{n_fillers} of {total} bindings are fillers: {n_fillers / max(1, total):.2%} (limit {MAX_FILLER_SHARE:.2%})"
    )


if __name__ == "__main__":
    main(sys.argv[1:])
