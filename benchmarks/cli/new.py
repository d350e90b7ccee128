"""`bench new`: a working generator, detector or attack of one file, with its tests, to start from."""

from __future__ import annotations

import ast
import keyword
import re
import shlex
from importlib.util import find_spec
from pathlib import Path

from benchmarks.experiment.configs import configs_root
from detect.attacks.registry import ATTACKS
from detect.detectors.registry import DETECTORS
from forge.core.errors import InputError, UnknownNameError, quoted
from forge.core.files import write_text
from forge.generators import GENERATORS

TEMPLATES = ("generator", "detector", "attack")
_FILE, _CLASS = "my_plugin", "MyPlugin"  # what the templates are called in themselves
_LONGEST = 60
_TAKEN = ("real", "forged", "elsewhere", "external")  # words with a meaning of their own in tables of results
_ATTACKED = ("-g", "dcgan", "-d", "dct", "--preset", "smoke")
_SHORT = ("--set", "generator.training.kimg=2")  # a file has no presets: without it, a training shows a million images


def new(template: str, name: str, out: Path) -> None:
    """Write NAME.py, a small working generator, detector or attack, and test_NAME.py, which says what it must keep."""
    if template not in TEMPLATES:
        raise UnknownNameError("template", template, TEMPLATES)
    templates = configs_root() / "templates"
    # Both texts are made before anything is written: a missing template leaves no half a plug-in.
    texts = {
        out / f"{name}.py": (templates / f"{template}.py").read_text(encoding="utf-8"),
        out / f"test_{name}.py": (templates / f"test_{template}.py").read_text(encoding="utf-8"),
    }
    check_name(template, name, next(iter(texts.values())))
    for file in texts:
        if file.exists() or file.is_symlink():  # a dangling link too
            raise InputError(f"{file} exists already; choose another name, or another folder with --out")
    for file, text in texts.items():
        write_text(file, renamed(text, name))
    # Commands to copy: the test first, then a run short enough to see that it works.
    code, test = texts
    reference = f"{code}:{class_name(name)}"
    arguments = {
        "generator": ["-g", reference, "-d", "dct", "--preset", "smoke", *_SHORT],
        "detector": ["-g", "dcgan", "-d", reference, "--preset", "smoke"],
        "attack": [*_ATTACKED, "--set", f"conditions.attacked={{{reference}: [2, 4]}}"],
    }[template]
    print(f"{code} and {test}; next:")
    print(f"  pytest {shlex.quote(str(test))}")
    print(f"  bench run {shlex.join(arguments)}")


def renamed(template: str, name: str) -> str:
    """A template with its file, class and name in tables called after `name`."""
    made = class_name(name)
    # One pass with all three names: a replacement must not be replaced again.
    instead = {_FILE: name, _CLASS: made, _CLASS.lower(): made.lower()}  # `bench detect` asks for the last one
    return re.sub("|".join(instead), lambda match: instead[match[0]], template)


def class_name(name: str) -> str:
    """The class in a file: my_gan has MyGan."""
    return "".join(part[:1].upper() + part[1:] for part in name.split("_"))


def check_name(template: str, name: str, text: str) -> None:
    """Refuse a name that cannot be a file's and a class's, or that means something else already.

    Args:
        template: generator, detector or attack.
        name: as a person gave it.
        text: of the file that is to be made.

    Raises:
        InputError: says what the name is and what to do.
    """
    # ASCII: the name becomes a file, a module, a class and a column of tables.
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name) or len(name) > _LONGEST:
        raise InputError(
            f"name {quoted(name)} is no Python name: use up to {_LONGEST} letters a to z, digits and _, a "
            f"letter first, "
            f"e.g. my_{template}"
        )
    made = class_name(name)
    if keyword.iskeyword(name) or keyword.iskeyword(made):
        raise InputError(f"name {quoted(name)} is a word of Python itself; choose another, e.g. my_{name.lower()}")
    # Tables name a class in lower case; two of one name could not be told apart.
    if made.lower() in _known(template) or made.lower() in _TAKEN:
        raise InputError(
            f"name {quoted(name)} would stand as {quoted(made.lower())} in tables, which means something else "
            f"there already "
            f"(`bench list {template}s`); choose another, e.g. my_{name.lower()}"
        )
    used = _names_in(text)
    if hidden := sorted({made, f"{made}Settings"} & used):
        raise InputError(f"name {quoted(name)} would hide {hidden[0]}, which the file itself uses; choose another")
    # "torch.py" in the working directory would be imported instead of the library
    if find_spec(name) is not None and not Path(f"{name}.py").exists():
        raise InputError(
            f"name {quoted(name)} is that of an installed module, which the file would hide; choose another"
        )


def _known(template: str) -> set[str]:
    if template == "generator":
        return set(GENERATORS.names())
    if template == "attack":
        return set(ATTACKS.names())
    # "timm:" stands for a family; its bare name means the same there
    return {name.removesuffix(":") for name in DETECTORS.names()}


def _names_in(template: str) -> set[str]:
    """Every name that a file imports, defines or reads, but those that are replaced."""
    names = set()
    for node in ast.walk(ast.parse(template)):
        if isinstance(node, ast.Name):
            names.add(node.id)
        elif isinstance(node, ast.alias):
            names.add(node.asname or node.name)
        elif isinstance(node, ast.ClassDef | ast.FunctionDef):
            names.add(node.name)
    # `MyPlugin` and `MyPluginSettings` become the new names
    return {name for name in names if not name.startswith(_CLASS)}
