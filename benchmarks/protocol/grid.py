"""The protocol's version and families, and the tests of a run sorted by them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from benchmarks.protocol.identifiers import GeneratorId, TrainSet
from forge.core.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

PROTOCOL_VERSION = 2
VERSIONS = (1, 2)  # whose rules `assignment` has
EXTERNAL_PREFIX = "external:"  # prefix of a pair of folders from outside the project, as source and as generator
PAIRED_PREFIX = "paired:"  # prefix of a test of forgeries beside the photos they were made from, likewise
OWN_REALS = (EXTERNAL_PREFIX, PAIRED_PREFIX)  # of tests whose real images belong to no other test


@dataclass(frozen=True)
class Protocol:
    """The rules that sort tests into columns: a version, and the families of the generators.

    Attributes:
        version: of the measuring protocol; results of two versions are never ranked together.
        families: generator -> family: what shares an architecture or a mechanism. A generator that is not named is a
            family of its own, together with its snapshots.
    """

    version: int = PROTOCOL_VERSION
    families: Mapping[str, str] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        """Refuse a protocol version without rules here.

        Raises:
            InputError: no such version.
        """
        if self.version not in VERSIONS:
            known = " and ".join(map(str, VERSIONS))
            raise InputError(f"protocol {self.version} is not known; this version evaluates by protocol {known}")

    def family(self, generator: str) -> str:
        """Return the family of a generator, or of a snapshot by that of its training."""
        base = GeneratorId.parse(generator).base
        # a snapshot "dcgan@24k" is of the family of dcgan unless it is named itself
        return self.families.get(generator) or self.families.get(base) or base

    def refuse_other(self, other: Protocol, names: tuple[str, str]) -> None:
        """Refuse to rank results of two versions together.

        Args:
            other: protocol of the other results.
            names: of both results, for the message.

        Raises:
            InputError: the versions differ.
        """
        if self.version != other.version:
            raise InputError(
                f"{names[0]} was measured by protocol {self.version} and {names[1]} by protocol {other.version}; "
                "results of different protocols are never ranked together: show each alone, or run the older suite "
                "again"
            )


@dataclass(frozen=True)
class TestGrid:
    """The tests of a run by type: generators, snapshots, external pairs, forgeries beside their sources.

    Attributes:
        generators: test generators that means are over.
        snapshots: snapshots of their trainings that nothing was trained on.
        external: names of external pairs.
        paired: names of tests of forgeries beside their sources, e.g. "paired:pix2pix:edges".
        protocol: version and families.
    """

    __test__: ClassVar = False  # pytest collects classes that are called Test
    generators: frozenset[str]
    snapshots: frozenset[str] = frozenset()
    external: frozenset[str] = frozenset()
    protocol: Protocol = field(default_factory=Protocol)
    paired: frozenset[str] = frozenset()

    @classmethod
    def of(cls, tested: Iterable[str], train_sets: Iterable[TrainSet], protocol: Protocol | None = None) -> TestGrid:
        """Sort tested names into generators, snapshots, external pairs and tests beside sources.

        Args:
            tested: generators of the test forgeries; "" is left out.
            train_sets: train sets of the detectors.
            protocol: version and families; by default this version, each generator a family of its own.
        """
        names = {name for name in tested if name}
        trained = {name for train_set in train_sets for name in train_set.generators}
        external, paired = (
            frozenset(name for name in names if name.startswith(prefix)) for prefix in (EXTERNAL_PREFIX, PAIRED_PREFIX)
        )
        # a snapshot that detectors were trained on is a generator like any other; and a name with "@24k" is a snapshot
        # only beside a training of its base in the run
        snapshots = frozenset(
            name
            for name in names - external - paired - trained
            if (parsed := GeneratorId.parse(name)).kimg is not None and parsed.base in trained
        )
        rest = names - external - paired - snapshots
        # a generator that nothing was trained on is left out of means beside others that were; with detectors from
        # elsewhere alone nothing was trained on any, and all of them count
        return cls(frozenset(rest & trained or rest), snapshots, external, protocol or Protocol(), paired)

    @classmethod
    def of_scores(cls, scores: pd.DataFrame, protocol: Protocol | None = None) -> TestGrid:
        """Sort the test generators of score rows.

        Args:
            scores: score rows; a column `family`, where foreign scores have one, names the families.
            protocol: version and families.
        """
        train_sets = [TrainSet.parse(str(text)) for text in scores["trained_on"].unique()]
        return cls.of(map(str, scores["generator"].unique()), train_sets, protocol or protocol_of_scores(scores))

    @property
    def families(self) -> frozenset[str]:
        """Families of the generators."""
        return frozenset(map(self.protocol.family, self.generators))

    def others(self, generator: str) -> frozenset[str]:
        """Return the generators of all families but that of one generator."""
        family = self.protocol.family(generator)
        return frozenset(name for name in self.generators if self.protocol.family(name) != family)

    @property
    def beside(self) -> frozenset[str]:
        """Tests that means over generators leave out."""
        return self.snapshots | self.external | self.paired


def protocol_of_scores(scores: pd.DataFrame) -> Protocol:
    """Return this version's protocol with the families that a column `family` of score rows names, if there is one."""
    if "family" not in scores:
        return Protocol()
    # real images have an empty generator, which belongs to no family
    pairs = scores[scores["generator"] != ""][["generator", "family"]].drop_duplicates()
    # an empty family is not passed on: that generator is then a family of its own
    return Protocol(families={str(name): str(family) for name, family in pairs.itertuples(index=False) if family})
