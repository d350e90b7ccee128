"""Measures of the source code, for docs/results/code.md: `python tests/code_measures.py [CHECKOUT ...]`.

Every measure counts the Python files of the three packages, without tests. The name of a public function or class has
no leading underscore, nor have those of the classes around it; functions inside functions are not public.
"""

import ast
import io
import re
import sys
import tokenize
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from test_names import PACKAGES, bindings, is_filler, is_question

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
BROAD = {"Exception", "BaseException"}
# what typed stages and ids replace: the text of a stage's name compared with how it begins, and a name split in two
STAGE_TEXT = re.compile(
    r"""\.startswith\(f?"(?:train|forged|faces|fit|scores?|perturb|prepare|quality|blend|explain) """
)
SPLIT_NAME = re.compile(r"""\.r?partition\(["'](?:@| #| on )["']\)""")


def public(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Yield the public functions and classes of a module or class, those of its public classes included."""
    for node in body:
        if isinstance(node, (*FUNCTIONS, ast.ClassDef)) and not node.name.startswith("_"):
            yield node
            if isinstance(node, ast.ClassDef):
                yield from public(node.body)


def comments(text: str) -> int:
    """Count the lines that hold a comment, a directive for a tool (noqa, type: ignore) left out."""
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    directive = re.compile(r"#\s*(noqa|type:|pragma)")
    return sum(token.type == tokenize.COMMENT and not directive.match(token.string) for token in tokens)


def is_broad(handler: ast.ExceptHandler) -> bool:
    """Return whether a handler catches every exception and does not raise it again."""
    types = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    every = any(caught is None or (isinstance(caught, ast.Name) and caught.id in BROAD) for caught in types)
    return every and not any(isinstance(node, ast.Raise) for node in ast.walk(handler))


def any_dicts(tree: ast.Module) -> int:
    """Count the places that write the type dict[str, Any]."""
    return sum(isinstance(node, ast.Subscript) and ast.unparse(node) == "dict[str, Any]" for node in ast.walk(tree))


def local_imports(tree: ast.Module) -> int:
    """Count the import statements inside functions."""
    functions = [node for node in ast.walk(tree) if isinstance(node, FUNCTIONS)]
    inside = {id(node) for function in functions for node in ast.walk(function)}
    return sum(id(node) in inside for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom))


def repeated(names: list[str]) -> str:
    """Count the names that occur twice or more."""
    return str(sum(number > 1 for number in Counter(names).values()))


def percent(part: int, whole: int) -> str:
    """Write a share with one decimal place."""
    return f"{100 * part / whole:.1f} %"


def measures(checkout: Path) -> dict[str, str]:
    """Measure the packages of a checkout.

    Args:
        checkout: its root.

    Returns:
        Name of a measure -> value, as the table shows it.
    """
    files = sorted(file for package in PACKAGES for file in (checkout / package).rglob("*.py"))
    texts = [file.read_text(encoding="utf-8") for file in files]
    trees = [ast.parse(text) for text in texts]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    offered = [node for tree in trees for node in public(tree.body)]
    functions = [node for node in nodes if isinstance(node, FUNCTIONS)]
    lengths = [(node.end_lineno or node.lineno) - node.lineno + 1 for node in functions]
    returns = [node.returns for node in offered if isinstance(node, FUNCTIONS)]
    bound = [name for tree in trees for name, _ in bindings(tree)]
    lines = sum(len(text.splitlines()) for text in texts)
    longest = max(zip(texts, files, strict=True), key=lambda pair: len(pair[0].splitlines()))
    broad = [node for node in nodes if isinstance(node, ast.ExceptHandler) and is_broad(node)]
    return {
        "lines of Python": f"{lines:,}",
        "files": str(len(files)),
        "public functions and classes with a docstring": percent(sum(map(bool, map(doc, offered))), len(offered)),
        "public functions with a typed return": percent(sum(map(bool, returns)), len(returns)),
        "median length of a function, lines": f"{median(lengths):g}",
        "longest file, lines": f"{len(longest[0].splitlines())} (`{longest[1].relative_to(checkout).as_posix()}`)",
        "handlers of every exception that do not raise again": str(len(broad)),
        "filler names among bound names": percent(sum(map(is_filler, bound)), len(bound)),
        "module docstrings that are indirect questions": str(sum(is_question(doc(tree)) for tree in trees)),
        "file names that occur twice or more": repeated([file.name for file in files if file.stem != "__init__"]),
        "class names that occur twice or more": repeated(
            [node.name for tree in trees for node in tree.body if isinstance(node, ast.ClassDef)]
        ),
        "imports inside functions": str(sum(map(local_imports, trees))),
        "comment lines per 100 lines": f"{100 * sum(map(comments, texts)) / lines:.1f}",
        "`dict[str, Any]`": str(sum(map(any_dicts, trees))),
        "comparisons of how a stage's name begins": str(sum(len(STAGE_TEXT.findall(text)) for text in texts)),
        "names split at @, # or on": str(sum(len(SPLIT_NAME.findall(text)) for text in texts)),
    }


def doc(node: ast.AST) -> str:
    """Return the docstring of a module, class or function; "" where it has none."""
    return ast.get_docstring(node) or ""  # type: ignore[arg-type]


def main(checkouts: list[str]) -> None:
    """Print a Markdown table with a column per checkout."""
    columns = [measures(Path(checkout)) for checkout in checkouts or ["."]]
    print("| measure |" + " |".join(f" {checkout}" for checkout in checkouts or ["."]) + " |")
    print("|---|" + "---:|" * len(columns))
    for name in columns[0]:
        print(f"| {name} | " + " | ".join(column[name] for column in columns) + " |")


if __name__ == "__main__":
    main(sys.argv[1:])
