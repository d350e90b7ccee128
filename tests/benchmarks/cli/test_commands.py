"""Commands are imported one by one, and each declaration has an implementation with the same arguments."""

import inspect
import os
import subprocess
import sys
import typing
from importlib import import_module

import pytest
import typer

from benchmarks.cli.groups import LazyCommand
from benchmarks.cli.main import COMMANDS

HEAVY = {"torch", "numpy", "pandas", "scipy", "sklearn", "timm", "rich"}
DECLARED = [name for name, (target, _) in COMMANDS.items() if ".commands." in target]


def modules_after(*arguments, **environment):
    """Standard output of `bench` in a process of its own, and the heavy modules that it imported."""
    code = (
        "import atexit, sys\n"
        f"atexit.register(lambda: print(*sorted({HEAVY!r} & set(sys.modules)), file=sys.stderr))\n"
        f"sys.argv = ['bench', *{arguments!r}]\n"
        "from benchmarks.cli.main import main\n"
        "main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env=os.environ | environment
    )
    return done.stdout, done.stderr.split()


def declarations(name):
    """The functions behind a command: one, or those of a group."""
    module, _, attribute = COMMANDS[name][0].partition(":")
    target = getattr(import_module(module), attribute)
    return [info.callback for info in target.registered_commands] if isinstance(target, typer.Typer) else [target]


def test_help_and_version_import_nothing_heavy():
    for arguments in (["--help"], ["--version"], ["detect", "--help"], ["run", "--help"], ["leaderboard", "-h"]):
        out, heavy = modules_after(*arguments)
        assert out and heavy == [], arguments


def test_completion_imports_nothing_heavy():
    completed = {"bench le": "leaderboard", "bench run -g dc": "dcgan", "bench detect --max": "--max-fpr"}
    for words, expected in completed.items():
        count = str(len(words.split()) - 1)
        out, heavy = modules_after(_BENCH_COMPLETE="complete_bash", COMP_WORDS=words, COMP_CWORD=count)
        assert (out.split(), heavy) == ([expected], [])


@pytest.mark.parametrize("name", COMMANDS)
def test_summaries_fit_a_line_and_commands_can_be_imported(name):
    command = LazyCommand(name, *COMMANDS[name])
    assert len(command.get_short_help_str()) < 60 and command.get_short_help_str()[-1] in ".…"
    loaded = command.load()
    assert loaded.name == name or name in ("data", "detect", "export", "store", "zoo")
    assert loaded.help or name in ("detect", "store")  # which print the help of the command without a name


@pytest.mark.parametrize("name", DECLARED)
def test_declared_arguments_are_those_of_the_implementation(name):
    for declaration in declarations(name):
        declared = inspect.signature(declaration, eval_str=True)
        implemented = inspect.signature(
            getattr(import_module(declaration.implementation), declaration.__name__), eval_str=True
        )
        assert list(declared.parameters) == list(implemented.parameters)
        for key, parameter in declared.parameters.items():
            annotation = parameter.annotation
            plain = typing.get_args(annotation)[0] if hasattr(annotation, "__metadata__") else annotation
            assert plain == implemented.parameters[key].annotation, f"{name}: {key}"


@pytest.mark.parametrize("name", DECLARED)
def test_help_texts_begin_with_a_noun_or_a_verb(name):
    for declaration in declarations(name):
        for key, parameter in inspect.signature(declaration, eval_str=True).parameters.items():
            help_text = parameter.annotation.__metadata__[0].help
            first = help_text.split()[0].strip(",:.")
            assert first not in {"Of", "Where", "Only", "Also", "Not", "The", "A", "An"}, f"{name} {key}"
            assert help_text[0].isupper() or help_text[:2] == "0 ", f"{name} {key}: {help_text}"
