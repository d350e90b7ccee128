"""Sections of a report by name, one file each with its templates beside it."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, TemplateSyntaxError

from benchmarks.report.sections.base import Section
from forge.core.errors import BenchWarning, InputError, UnknownNameError, quoted
from forge.core.files import digest_file, digest_json
from forge.core.registry import Registry, code_files, is_file_reference, named_file

_HERE = "benchmarks.report.sections"
SECTIONS = Registry(
    "section",
    "benchmarks.sections",
    {
        "summary": f"{_HERE}.summary:SummarySection",
        "leaderboard": f"{_HERE}.leaderboard:LeaderboardSection",
        "external": f"{_HERE}.external:ExternalSection",
        "clips": f"{_HERE}.clips:ClipsSection",
        "results": f"{_HERE}.results:ResultsSection",
        "race": f"{_HERE}.race:RaceSection",
        "paired": f"{_HERE}.paired:PairedSection",
        "attribution": f"{_HERE}.attribution:AttributionSection",
        "localisation": f"{_HERE}.localisation:LocalisationSection",
        "threshold": f"{_HERE}.threshold_slider:ThresholdSection",
        "robustness": f"{_HERE}.robustness:RobustnessSection",
        "attacks": f"{_HERE}.attacks:AttacksSection",
        "training-progress": f"{_HERE}.training_progress:TrainingProgressSection",
        "variants": f"{_HERE}.variants:VariantsSection",
        "discriminators": f"{_HERE}.discriminators:DiscriminatorSection",
        "forgeries": f"{_HERE}.forgeries:ForgeriesSection",
        "usefulness": f"{_HERE}.usefulness:UsefulnessSection",
        "saliency": f"{_HERE}.saliency:SaliencySection",
        "curves": f"{_HERE}.curves:CurvesSection",
        "training": f"{_HERE}.training:TrainingSection",
        "misclassified": f"{_HERE}.misclassified:MisclassifiedSection",
        "groups": f"{_HERE}.groups:GroupsSection",
        "audits": f"{_HERE}.audits:AuditsSection",
        "reading": f"{_HERE}.reading:ReadingSection",
        "provenance": f"{_HERE}.provenance:ProvenanceSection",
    },
)
_FIELDS = ("id", "title", "position", "template", "text_template")
# a section of such an id would be found by the page's script, or by its links, in place of the element
_RESERVED = {"filter", "filtered", "dials"}  # ids of elements on the page


def load_sections(more: Sequence[str] = ()) -> list[Section]:
    """Return the shipped sections and others, in the order of the page.

    Args:
        more: names from installed packages, or path/to/file.py:Class.

    Raises:
        UnknownNameError: no section has this name.
        InputError: it is no section, lacks a field or has a wrong one, or its id is taken.
    """
    sections = [SECTIONS.load(name)() for name in SECTIONS.entries]
    taken = {section.id for section in sections} | _RESERVED
    for name in more:
        section = _loaded(name)
        if section.id in taken:
            raise InputError(f"section {quoted(name)}: its id {quoted(section.id)} is taken; choose another")
        taken.add(section.id)
        sections.append(section)
    # equal positions keep the order: shipped ones first, then as they were named
    return sorted(sections, key=lambda section: section.position)  # a stable sort


def loadable(names: Sequence[str]) -> list[str]:
    """Return the sections of a stored run that can be loaded here, and warn of the others.

    A section from a file can be loaded if this command names the file, one of a package if the package is installed.
    """
    known = []
    for name in names:
        here = named_file(name) if is_file_reference(name) else name
        if here is not None and (is_file_reference(here) or here in SECTIONS.names()):
            known.append(here)
        else:
            how = f"name its file with --plugin {name}" if is_file_reference(name) else f"install {name}"
            warnings.warn(f"section {quoted(name)} is left out; to show it {how}", BenchWarning, stacklevel=3)
    return known


def section_digests(more: Sequence[str]) -> dict[str, str]:
    """Return the digests of the code and the templates of sections from files.

    Args:
        more: names, or path/to/file.py:Class.
    """
    digests = {}
    for name in filter(is_file_reference, more):
        section = SECTIONS.load(name)
        for key, file in code_files(name).items():
            digests[f"{name} {key}"] = digest_file(file)
        for template in (section.template, section.text_template):
            if template.endswith(".j2"):
                # a template in a file is part of the section's code
                digests[f"{name} {template}"] = digest_json(section.source(template))
    return digests


def _loaded(name: str) -> Section:
    if name in SECTIONS.entries:
        raise InputError(f"section {quoted(name)} is part of every report; leave it out")
    # A path without a class is left to the registry, whose message names the classes of the file.
    if not is_file_reference(name) and name not in SECTIONS.names() and not name.endswith(".py"):
        raise UnknownNameError("section", name, [n for n in SECTIONS.names() if n not in SECTIONS.entries])
    section = SECTIONS.load(name)
    if not (isinstance(section, type) and issubclass(section, Section)):
        raise InputError(
            f"section {quoted(name)} is no section: it must be a subclass of benchmarks.report.sections.base.Section"
        )
    if problem := _problem(section):
        raise InputError(f"section {quoted(name)} {problem}")
    try:  # no arguments: a section reads everything from the run
        return section()
    except Exception as error:  # code of others may raise anything; it is named and re-raised
        raise InputError(f"section {quoted(name)} cannot be made: {quoted(str(error))}") from error


def _problem(section: type[Section]) -> str:
    """Return what is wrong with a section, as the end of a sentence; empty: nothing."""
    lacking = [field for field in _FIELDS if not hasattr(section, field)]
    lacking += sorted(getattr(section, "__abstractmethods__", ()))
    if lacking:
        return f"does not define {', '.join(lacking)}, which every section has"
    if not all(isinstance(getattr(section, field), str) for field in _FIELDS if field != "position"):
        return "must have strings as id, title, template and text_template"
    if not re.fullmatch(r"[a-z][a-z0-9-]{0,39}", section.id):  # becomes an id on the page and an anchor in links
        return f"has the id {quoted(section.id)}; an id is lower-case letters, digits and -, beginning with a letter"
    if not isinstance(section.position, int | float):
        return f"has the position {quoted(str(section.position))}, which is no number"
    for template in (section.template, section.text_template):
        try:
            # parsed alone: undefined variables show when it is rendered
            Environment(autoescape=True).parse(section.source(template))
        except OSError:
            return f"names the template {quoted(Path(template).name)}, which is not beside its file"
        except TemplateSyntaxError as error:
            return f"has a template that Jinja2 does not understand, line {error.lineno}: {quoted(str(error))}"
    return ""
