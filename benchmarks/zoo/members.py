"""Members of the zoo: folders with weights and a card, where they lie, and how a name is looked up.

zoo.json             what it is, where it comes from, SHA-256 of all other files; with generator.json and README.md
                     alone it is the card of a member whose weights lie elsewhere, with which runs are planned
generator.json       of a generator: card and weights.safetensors, in half precision
detector.json        of a detector: card, its own files, validation.json with the scores that its verdicts rest on
README.md            the same for people, with the command that makes it again
"""

from __future__ import annotations

import functools
import re
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from benchmarks.experiment.settings_base import Settings
from benchmarks.places import zoo_folders
from forge.core.errors import BenchError, BenchWarning, CorruptError, InputError, UnknownNameError, quoted, short
from forge.core.files import digest_file, read_signed_json

PREFIX = "zoo:"
CARD = "zoo.json"
SCHEMA_VERSION = 1
WEIGHTS = "weights.safetensors"
GENERATOR = "generator.json"
# a hyphen in each name: "zoo:200" or "zoo:next" would be read as a variant of a train set
_NAME = re.compile(r"[a-z][a-z0-9_.]*(-[a-z0-9_.]+)+")

EMPTY = "bench zoo add FILE unpacks an archive, bench zoo publish RUN NAME makes a member of a finished run"

Role = Literal["generator", "detector"]


class DetectorUse(Settings):
    """How a detector is used, as its run fixed it."""

    threshold: float | None = Field(description="a photo is called forged from this score on; null: even odds")
    rule: str = Field(description="how the threshold was chosen")
    rates: tuple[tuple[str, int, int], ...] = Field(
        description="test images of the run: class or generator, images called forged, images"
    )
    crop: Literal["none", "face", "ff++"] = Field(description="of the faces")
    unseen: tuple[str, ...] = Field((), description="generators of the run that it was not trained on")


class ZooCard(Settings):
    """What a member is, in numbers; stored as zoo.json."""

    schema_version: int = SCHEMA_VERSION
    name: str = Field(description="without zoo:, e.g. stylegan-lite-64")
    role: Role
    architecture: str = Field(description="registered name of the architecture or detector")
    family: str = Field("", description="of generators: left out of a training together")
    resolution: int = Field(description="height and width of the images in pixels")
    trained_on: str = Field(description="real set of a generator; generators of a detector's forgeries")
    kimg: float | None = Field(None, description="of a generator: thousands of images shown in its training")
    sliced_wasserstein: tuple[float, float] | None = Field(
        None, description="x 1000: of the forgeries of the published weights, and of held-out real faces"
    )
    auc: dict[str, float] = Field({}, description="of a detector: column of the tests -> mean AUC")
    precision: Literal["fp16", "fp32"] = Field(description="of the stored weights")
    rounding: float = Field(
        description="largest change by half precision: grey levels of 255 of a generator, probability of a detector"
    )
    use: DetectorUse | None = Field(None, description="of a detector")
    command: str = Field(description="that trains it again")
    licence: str = Field(description="of the photos that it was trained on")
    citation: str = Field("", description="of these photos")
    files: dict[str, str] = Field(description="SHA-256 of each other file of the folder")


@dataclass(frozen=True)
class Member:
    """A generator or detector of the zoo.

    Attributes:
        folder: where its files lie.
        card: what it is.
    """

    folder: Path
    card: ZooCard

    @classmethod
    def at(cls, folder: Path) -> Member:
        """Open the folder of a member; its weights are not read.

        Raises:
            InputError: no member, damaged, or of a newer version.
        """
        file = folder / CARD
        if not file.is_file():
            raise InputError(f"{folder} is no member of the zoo: it has no {CARD}")
        try:
            raw = read_signed_json(file)
            version = raw.get("schema_version")
            if isinstance(version, int) and version > SCHEMA_VERSION:
                raise InputError(f"{file} has schema {version}, this version reads up to {SCHEMA_VERSION}; upgrade")
            card = ZooCard.model_validate(raw)
        except (CorruptError, ValidationError) as error:
            reason = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
            raise InputError(f"{file} is damaged ({short(reason)}); add the member again") from error
        check_name(card.name)
        return cls(folder, card)

    @property
    def name(self) -> str:
        """Its name where generators or detectors are named."""
        return f"{PREFIX}{self.card.name}"

    @property
    def bytes(self) -> int:
        """Size of all its files."""
        return sum(file.stat().st_size for file in self.folder.rglob("*") if file.is_file())

    @property
    def has_weights(self) -> bool:
        """Whether more than its card is here."""
        return (self.folder / (WEIGHTS if self.card.role == "generator" else "detector.json")).is_file()

    def check(self, *names: str) -> Member:
        """Compare files with the digests in the card, and return the member.

        Args:
            names: of the files; none: all of them.

        Raises:
            InputError: a file is missing or was changed, or the card alone is here.
        """
        if not self.has_weights and names != (GENERATOR,):
            raise InputError(
                f"{self.name}: {self.folder} has its card, but not its weights; add an archive that has them (bench "
                f"zoo add FILE), or make it again: {self.card.command}"
            )
        for name in names or self.card.files:
            file = self.folder / name
            # a card from elsewhere must not make a file outside of the folder be read
            inside = file.resolve().is_relative_to(self.folder.resolve()) and file.is_file()
            if not inside or digest_file(file) != self.card.files.get(name):
                state = "was changed since it was published" if inside else "is missing"
                raise InputError(
                    f"{self.name} is damaged: {short(name)} {state}; add it again (bench zoo add FILE), or remove "
                    f"{self.folder}"
                )
        return self

    @functools.cached_property
    def generator(self) -> dict[str, Any]:
        """The card of its generator, generator.json, whose digest and that of weights that are here are compared first.

        Raises:
            InputError: a file is missing or was changed.
        """
        self.check(GENERATOR, *([WEIGHTS] if self.has_weights else []))
        return read_signed_json(self.folder / GENERATOR)

    @property
    def weights_sha256(self) -> str:
        """Digest of a generator's weights.

        Raises:
            InputError: the card does not have it.
        """
        if WEIGHTS not in self.card.files:
            raise InputError(f"{self.name} is damaged: {self.folder / CARD} does not name {WEIGHTS}; add it again")
        return self.card.files[WEIGHTS]


def check_name(name: str) -> str:
    """Return the name of a member if it is well formed.

    Raises:
        InputError: it is not.
    """
    if not _NAME.fullmatch(name):
        raise InputError(
            f"{quoted(name)} cannot name a member of the zoo; use lower-case words, digits and hyphens between them, "
            "with the resolution last, e.g. stylegan-lite-64"
        )
    return name


def is_zoo(reference: str) -> bool:
    """Return whether a generator or detector is named by a member of the zoo, as zoo:stylegan-lite-64."""
    return reference.startswith(PREFIX)


def members(role: Role | None = None) -> dict[str, Member]:
    """Return all members by name, without zoo:.

    A member of the user's folder goes before a shipped one of its name, which a warning says where they differ. What
    cannot be read is left out with a warning: it must not hide the others.

    Args:
        role: generators or detectors alone.
    """
    known: dict[str, Member] = {}
    for root in zoo_folders():
        for file in sorted(root.glob(f"*/{CARD}")):
            if file.parent.name.startswith("."):  # being unpacked
                continue
            try:
                member = Member.at(file.parent)
            except BenchError as error:
                warnings.warn(f"left out of the zoo: {error}", BenchWarning, stacklevel=2)
                continue
            before = known.get(member.card.name)
            if before and before.card.files == member.card.files and not member.has_weights:
                continue  # a card of the same member, perhaps alone
            if before and before.card.files != member.card.files:
                warnings.warn(
                    f"{member.name} is that of {member.folder}, and not the other one in {before.folder}",
                    BenchWarning,
                    stacklevel=2,
                )
            known[member.card.name] = member
    return dict(sorted((name, each) for name, each in known.items() if role in (None, each.card.role)))


def member_of(reference: str, role: Role) -> Member:
    """Return the member that a name stands for.

    Args:
        reference: e.g. "zoo:stylegan-lite-64".
        role: what it must be.

    Raises:
        UnknownNameError: there is none of this name; carries the nearest.
        InputError: it is of the other role, or damaged.
    """
    name = reference.removeprefix(PREFIX)
    known = members()
    if name not in known:
        names = [each.name for each in known.values() if each.card.role == role]
        if not names:
            raise InputError(f"{role} {quoted(reference)}: the zoo has no {role}s yet; {EMPTY}")
        raise UnknownNameError(f"{role} of the zoo", reference, names, see="bench list zoo")
    if known[name].card.role != role:
        option = known[name].card.role
        raise InputError(f"{reference} is a {option}, and here a {role} is named; name it with --{option}")
    return known[name]


def refuse_other_resolution(member: Member, resolution: int) -> None:
    """Refuse a generator of another resolution than the run's.

    Raises:
        InputError: names both, and the members that would do.
    """
    if member.card.resolution == resolution:
        return
    fitting = [each.name for each in members("generator").values() if each.card.resolution == resolution]
    there = (
        f"of {resolution} px the zoo has {', '.join(fitting)}" if fitting else f"the zoo has none of {resolution} px"
    )
    raise InputError(
        f"{member.name} makes images of {member.card.resolution} px and this run has {resolution} px; use "
        f"--resolution {member.card.resolution}, or another generator: {there}"
    )
