"""Facts of detectors for lists, read from their source: importing a network would import torch, which takes seconds.

The code is read, not run. An attribute is known if it is a string, or is built of strings, names and class attributes
with + and f-strings, as those of all shipped detectors are; the tests compare both ways.
"""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

from detect.detectors.registry import DETECTORS
from forge.core.errors import InputError

_DETECT = "detect"  # besides a plug-in's own package the only one whose files are read


@dataclass(frozen=True)
class MethodFacts:
    """Facts of a registered detector.

    Attributes:
        family: method, e.g. "xception"; "" for a family of names such as "timm:".
        summary: first line of the docstring.
        citation: where the method comes from.
        variant: where it departs from the paper.
        needs: what a fit reads beside images.
        network: whether it is a network whose parameters can be counted before a fit.
    """

    family: str
    summary: str
    citation: str
    variant: str
    needs: str
    network: bool


class _UnreadableError(Exception):
    """An expression whose value the source alone does not give."""


def facts_of(name: str) -> MethodFacts:
    """Read the facts of a registered detector, or of a family such as "timm:", without importing it.

    Raises:
        UnknownNameError: nothing has this name.
        InputError: its source cannot be read this way; import its class instead.
    """
    module, _, attribute = DETECTORS.target(name).partition(":")
    try:
        home, node = _defined(module, attribute)
        summary = (ast.get_docstring(node) or "").split("\n")[0] if isinstance(node, _DOCUMENTED) else ""
        if isinstance(node, ast.FunctionDef):  # of a family: returns a type[BaseClass[Settings]]
            home, node = _defined(home, _base_name(_argument(node.returns)))
        lineage = list(_lineage(home, node))
        texts = {field: _attribute(lineage, field) for field in _FIELDS}
    except (_UnreadableError, OSError, SyntaxError, ValueError, ImportError) as error:
        raise InputError(f"the source of detector {name} cannot be read without running it: {error}") from error
    # a network is known by a base class: its parameters can be counted without a fit
    network = any(cls.name == _NETWORK for _, cls in lineage)
    return MethodFacts(summary=summary, network=network, **texts)


def facts_of_class(implementation: Any) -> MethodFacts:  # noqa: ANN401 - a detector class, or a function that makes one
    """Read the facts of an imported detector class, or of the function behind a family of names."""
    made = implementation
    if not isinstance(made, type):
        with suppress(NameError, TypeError):  # annotations that cannot be evaluated
            made = next(iter(get_args(get_type_hints(made).get("return"))), made)
            made = get_origin(made) or made
    lineage = made.__mro__ if isinstance(made, type) else ()
    return MethodFacts(
        summary=(implementation.__doc__ or "").strip().split("\n")[0],
        network=any(cls.__name__ == _NETWORK for cls in lineage),
        **{field: getattr(made, field, "") for field in _FIELDS},
    )


_NETWORK = "NetworkDetector"  # by name: importing it would import torch
_FIELDS = ("family", "citation", "variant", "needs")
_DOCUMENTED = (ast.ClassDef, ast.FunctionDef)


@cache
def _tree(module: str) -> ast.Module:
    spec = importlib.util.find_spec(module)  # imports the packages above it, not the module
    if spec is None or spec.origin is None:
        raise _UnreadableError(f"there is no module {module}")
    return ast.parse(Path(spec.origin).read_bytes())


def _defined(module: str, name: str) -> tuple[str, ast.AST]:
    """Return the module that defines a name, and its class, function or assigned expression; follows imports."""
    for node in _tree(module).body:
        match node:
            case ast.ClassDef() | ast.FunctionDef() if node.name == name:
                return module, node
            case ast.Assign(targets=[ast.Name(id=target)], value=value) if target == name:
                return module, value
            case ast.ImportFrom(module=str(source), names=aliases, level=0):
                for alias in aliases:
                    if (alias.asname or alias.name) == name:
                        # files of other packages are not read: their attributes are unknown, not empty
                        if source.partition(".")[0] not in (_DETECT, module.partition(".")[0]):
                            raise _UnreadableError(f"{name} is defined in {source}")
                        return _defined(source, alias.name)
    raise _UnreadableError(f"{module} does not define {name}")


def _lineage(module: str, node: ast.AST) -> Iterator[tuple[str, ast.ClassDef]]:
    """Yield a class and its bases, depth first, each with its module; bases of other packages are left out."""
    if not isinstance(node, ast.ClassDef):
        raise _UnreadableError(f"{ast.unparse(node)[:40]} is no class")
    yield module, node
    # depth first, not the C3 order of Python: equal to it as long as no class inherits along two paths
    for base in node.bases:
        try:
            home = _defined(module, _base_name(base))
        except _UnreadableError:  # ABC, Generic, Protocol, nn.Module
            continue
        yield from _lineage(*home)


def _attribute(lineage: list[tuple[str, ast.ClassDef]], field: str) -> str:
    """Return the text that the first class of a lineage gives an attribute; "" where none does."""
    for module, cls in lineage:
        for node in reversed(cls.body):  # the last assignment holds
            match node:
                case (
                    ast.Assign(targets=[ast.Name(id=target)], value=value)
                    | ast.AnnAssign(target=ast.Name(id=target), value=ast.expr() as value)
                ) if target == field:
                    return _text(module, value)
                case ast.AugAssign(target=ast.Name(id=target)) if target == field:
                    raise _UnreadableError(f"{field} of {cls.name} is changed after it was set")
    return ""


def _text(module: str, node: ast.AST) -> str:
    """Evaluate an expression of strings."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.Name(id=name):
            return _text(*_defined(module, name))
        case ast.Attribute(value=ast.Name(id=name), attr=field):
            return _attribute(list(_lineage(*_defined(module, name))), field)
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return _text(module, left) + _text(module, right)
        case ast.JoinedStr(values=values):
            return "".join(_text(module, value) for value in values)
        case ast.FormattedValue(value=value, conversion=-1, format_spec=None):
            return _text(module, value)
    raise _UnreadableError(f"{ast.unparse(node)[:40]} is not a text")


def _base_name(node: ast.AST | None) -> str:
    """Return the name of a base class, with or without a type argument: `NetworkDetector[Settings]`."""
    match node:
        case ast.Name(id=name) | ast.Subscript(value=ast.Name(id=name)):
            return name
    raise _UnreadableError("a base class has no plain name")


def _argument(node: ast.AST | None) -> ast.AST | None:
    """Return the argument of `type[...]`."""
    return node.slice if isinstance(node, ast.Subscript) else None
