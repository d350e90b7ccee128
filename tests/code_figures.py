"""Figures of the source code, for docs/results/code.md: `python tests/code_figures.py [ROOT [PACKAGE ...]]`.

ROOT is a checkout, ours by default or of another project; each PACKAGE is a folder in it.
"""

import ast
import io
import statistics
import sys
import tokenize
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from test_names import bindings, is_filler, is_question

PACKAGES = ("forge", "detect", "benchmarks")
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def is_public(name: str) -> bool:
    return not name.startswith("_")


def public_definitions(tree: ast.Module) -> list[ast.AST]:
    """List the public functions and classes of a module, and the public methods of its public classes."""
    definitions: list[ast.AST] = []
    for node in tree.body:
        if isinstance(node, (*FUNCTIONS, ast.ClassDef)) and is_public(node.name):
            definitions.append(node)
            if isinstance(node, ast.ClassDef):
                definitions += [part for part in node.body if isinstance(part, FUNCTIONS) and is_public(part.name)]
    return definitions


def comments(text: str) -> int:
    return sum(token.type == tokenize.COMMENT for token in tokenize.generate_tokens(io.StringIO(text).readline))


def repeated(names: list[str]) -> int:
    return sum(count > 1 for count in Counter(names).values())


def percent(part: int, whole: int) -> str:
    return f"{100 * part / max(1, whole):.1f} %"


def parsed(files: list[Path]) -> dict[Path, tuple[str, ast.Module]]:
    """Return text and syntax tree of each file that this Python can parse."""
    modules = {}
    for file in files:
        try:
            with tokenize.open(file) as stream:
                text = stream.read()
            modules[file] = text, ast.parse(text)
        except (SyntaxError, ValueError) as error:  # ValueError: wrong encoding, null bytes
            print(f"left out: {file}: {error}", file=sys.stderr)
    return modules


def figures(root: Path, packages: Sequence[str] = PACKAGES) -> dict[str, str]:
    """Return the rows of the table for some packages of a checkout."""
    paths = [file for package in packages for file in sorted((root / package).rglob("*.py"))]
    modules = parsed(paths)
    files = list(modules)
    texts = [text for text, _ in modules.values()]
    trees = [tree for _, tree in modules.values()]
    left_out = {"files left out, not parsed": f"{len(paths) - len(files)}"} if len(files) < len(paths) else {}
    nodes = [node for tree in trees for node in ast.walk(tree)]
    functions = [node for node in nodes if isinstance(node, FUNCTIONS)]
    public = [node for tree in trees for node in public_definitions(tree)]
    broad = [
        node for node in nodes if isinstance(node, ast.ExceptHandler)
        and (node.type is None or ast.unparse(node.type) in ("Exception", "BaseException"))
    ]  # fmt: skip
    local = {
        id(node) for function in functions for node in ast.walk(function)
        if isinstance(node, ast.Import | ast.ImportFrom)
    }  # fmt: skip
    names = [name for tree in trees for name, _ in bindings(tree)]
    docstrings = [ast.get_docstring(tree) or "" for tree in trees]
    lines = sum(len(text.splitlines()) for text in texts)
    loose = [node for node in nodes if isinstance(node, ast.Subscript) and ast.unparse(node) == "dict[str, Any]"]
    return {
        "files": f"{len(files)}",
        **left_out,
        "lines": f"{lines:,}",
        "public functions and classes with a docstring": percent(
            sum(bool(ast.get_docstring(x)) for x in public), len(public)
        ),
        "functions with a return type": percent(sum(x.returns is not None for x in functions), len(functions)),
        "median length of a function, lines": f"{statistics.median(x.end_lineno - x.lineno + 1 for x in functions):g}",
        "longest file, lines": f"{max(len(text.splitlines()) for text in texts)}",
        "handlers of `Exception`, `BaseException` or everything": f"{len(broad)}",
        "bindings with a filler name": percent(sum(map(is_filler, names)), len(names)),
        "module docstrings that are an indirect question": f"{sum(map(is_question, docstrings))}",
        "file names that occur twice or more": f"{repeated([f.name for f in files if f.name != '__init__.py'])}",
        "class names that occur twice or more": f"{repeated([x.name for x in nodes if isinstance(x, ast.ClassDef)])}",
        "imports inside functions": f"{len(local)}",
        "comments per 100 lines": f"{100 * sum(map(comments, texts)) / lines:.1f}",
        "`dict[str, Any]`": f"{len(loose)}",
    }


def main(arguments: list[str]) -> None:
    """Print the rows for ROOT, and for its folders PACKAGE in place of ours."""
    root = Path(arguments[0]) if arguments else Path(__file__).resolve().parents[1]
    packages = arguments[1:] or PACKAGES
    missing = [package for package in packages if not (root / package).is_dir()]
    if missing:
        sys.exit(f"no such folder in {root}: {', '.join(missing)}")
    for row, value in figures(root, packages).items():
        print(f"| {row} | {value} |")


if __name__ == "__main__":
    main(sys.argv[1:])
