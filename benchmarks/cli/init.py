"""`bench init`: a commented starter suite."""

from __future__ import annotations

import shlex
from pathlib import Path
from string import Template

import yaml

from benchmarks.cli.commands.init import DETECTORS, GENERATORS
from benchmarks.experiment.configs import configs_root, suites
from benchmarks.experiment.names import base_name, safe_name
from benchmarks.experiment.request import read_request
from benchmarks.experiment.resolve import resolve
from benchmarks.workflow.runner import prepare_run
from forge.core.errors import InputError, quoted
from forge.core.files import replacing
from forge.core.registry import is_file_reference
from forge.generators import GENERATORS as ARCHITECTURES


def init(name: str, data: str | None, generator: str | None, detector: str | None) -> None:
    """Write a commented starter suite that `bench run NAME.yaml` accepts."""
    file = Path(name if name.endswith((".yaml", ".yml")) else f"{name}.yaml")  # either ending is kept
    _check_name(file)
    if file.exists() or file.is_symlink():  # a dangling link does not exist, and would be written through
        raise InputError(f"{file} exists already; choose another name: bench init NAME")
    if not file.parent.is_dir():
        raise InputError(f"there is no folder {file.parent}; make it first, or leave it out of the name")
    generators, detectors = _names(generator or GENERATORS, "generator"), _names(detector or DETECTORS, "detector")
    # A template, not a dump of settings: its comments are what a new user reads.
    text = Template((configs_root() / "templates" / "suite.yaml").read_text(encoding="utf-8")).substitute(
        name=file.stem,
        file=file,
        title=_yaml(f"{', '.join(detectors[:3])}{' and others' if len(detectors) > 3 else ''} on my faces"),
        data=_yaml(data or "rendered").ljust(24),  # comments stand behind the value, in one column
        generator=_yaml(generators),
        detector=_yaml(detectors),
        # One family leaves nothing to train on when it is left out; the defaults have two.
        unseen=("true" if generator is None or _families(generators) > 1 else "false").ljust(20),
    )
    # The file appears only when its run can be planned: a refused suite leaves nothing behind.
    with replacing(file) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")
        # Given names are checked by what `bench run` does, so that its first call does not fail.
        if data or generator or detector:  # the defaults are known to be good, and checking imports torch
            _check_run(temporary, file.stem)
    print(f"{file}: {', '.join(generators)} against {', '.join(detectors)}")
    print(f"next: bench run {shlex.quote(str(file))} --preset smoke")


def _check_name(file: Path) -> None:
    if safe_name(file.stem) != file.stem:
        raise InputError(
            f"name {quoted(file.stem)} cannot name a suite everywhere; try bench init {safe_name(file.stem)}"
        )
    if file.stem in suites():
        # `bench run NAME` would mean the shipped one
        raise InputError(f"name {quoted(file.stem)} is that of a shipped suite (`bench list suites`); choose another")


def _names(text: str, option: str) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        # Suites are passed around; one that imported code would run it on every machine where the suite is opened.
        if is_file_reference(name):
            raise InputError(
                f"--{option} {quoted(name)} is code, which a suite never imports; leave it out here and add it "
                f"to the run: "
                f"bench run FILE --{option} {name}"
            )
    return names


def _yaml(value: str | list[str]) -> str:
    """A value as YAML of one line."""
    text: str = yaml.safe_dump(value, default_flow_style=True, width=1 << 20, allow_unicode=True)
    return text.removesuffix("...\n").strip()  # PyYAML ends a plain scalar with the mark of a document's end


def _families(generators: list[str]) -> int:
    """Count families of generators; a snapshot belongs to that of its training."""
    return len({ARCHITECTURES.load(base_name(name)).family for name in generators})


def _check_run(file: Path, name: str) -> None:
    """Refuse what `bench run` would refuse, in its words."""
    # Under the name of the final file: the temporary one has a random name, which would enter the plan.
    prepare_run(resolve(read_request(file).model_copy(update={"name": name})))
