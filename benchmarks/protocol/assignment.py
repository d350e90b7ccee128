"""Assignment of each test to a condition and to a column of the leaderboard, by the rules of protocol 1 and 2."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from benchmarks.protocol.conditions import CLEAN, EQUALISED, NEXT, SHUFFLED, VIEW_PREFIX, WILD, Condition
from benchmarks.protocol.grid import TestGrid
from benchmarks.protocol.identifiers import AttackId, TrainSet


def condition_of(train_set: TrainSet, tested_on: str, perturbation: str, grid: TestGrid) -> Condition:
    """Return the condition of a test.

    With two families, training on one of them leaves the other out: that test is `unseen`, not `matrix`. A detector
    that was trained elsewhere counts as trained on none of the generators.

    Args:
        train_set: what the detector was trained on.
        tested_on: generator, snapshot or external pair of the test forgeries.
        perturbation: of the test images.
        grid: the tests of the run.
    """
    # the first case that holds decides, so that every test has exactly one condition and enters one mean at most
    if perturbation.startswith(VIEW_PREFIX):
        return Condition.VIEWS
    if tested_on in grid.external:
        return Condition.EXTERNAL
    # whatever the training: these tests have real images of their own, and are reported apart
    if tested_on in grid.paired:
        return Condition.PAIRED
    # before the variants: a snapshot is a point of a training curve, whatever the detector was trained on
    if tested_on in grid.snapshots:
        return Condition.SNAPSHOTS
    if train_set.variant == SHUFFLED:
        return Condition.SHUFFLED
    # likewise: `matrix` and `unseen` are over other trainings than those of an order in time
    if train_set.variant == NEXT:
        return Condition.NEXT
    # the same training without a choice would be of `matrix` or `seen`: these means are over other trainings
    if train_set.choice is not None:
        return Condition.VARIANTS
    # before `robust`: what is changed against a detector is in no mean with what changes by chance
    if AttackId.parse(perturbation) is not None:
        return Condition.ATTACKED
    # robust, budget and equalised tests have generators that were seen in training: the relation of training and
    # generator would put them into `seen` and mix their AUCs with those of plain tests
    # an equalised training tested on clean images is changed too: its own perturbation is "equalised", not "none"
    if perturbation != train_set.perturbation:
        return Condition.WILD if perturbation == WILD else Condition.ROBUST
    # after the perturbation: a mean over clean tests of a budget must not contain perturbed ones
    if train_set.images is not None:
        return Condition.BUDGET
    if train_set.variant == EQUALISED:
        return Condition.EQUALISED
    # plain trainings and unchanged images are left: only these differ between the versions of the protocol
    return Condition(_RULES[grid.protocol.version].relation(train_set, tested_on, grid))


def column_of(train_set: TrainSet, tested_on: str, perturbation: str, grid: TestGrid) -> str:
    """Return the leaderboard's column of a test: its condition, and of budgets the number of images.

    Empty for tests in no column: controls, snapshots, trainings that no condition includes.
    """
    condition = condition_of(train_set, tested_on, perturbation, grid)
    trained = set(train_set.generators)
    # one column per number of images; `Condition.BUDGET` itself has no text of a column and would be left out below
    if condition is Condition.BUDGET:
        return f"{condition} {train_set.images}"
    # one column per view, of the trainings of `external`
    if condition is Condition.VIEWS:
        whole = column_of(train_set, tested_on, CLEAN, grid)
        return f"{condition} {perturbation.removeprefix(VIEW_PREFIX)}" if whole == Condition.EXTERNAL else ""
    # controls and snapshots: in no mean by which detectors are ranked
    if not condition.column:
        return ""
    if condition in (Condition.EXTERNAL, Condition.PAIRED):
        # all generators of the run, or none of them (elsewhere): a detector that was trained on a part of them would be
        # compared on the same photos with detectors that were trained on more
        usual = not train_set.variant and perturbation == CLEAN
        return condition if usual and trained & grid.generators in (grid.generators, set()) else ""
    # severity curves are of plain trainings: a budget or equalised one would change two things at once
    if condition in (Condition.ROBUST, Condition.WILD) and train_set.variant:
        return ""
    # the trainings of the column `unseen`, whose gap to it is what such changes cost
    if condition is Condition.WILD:
        unseen = _RULES[grid.protocol.version].column(train_set, tested_on, grid) == Condition.UNSEEN
        return condition if unseen else ""
    if condition in (Condition.UNSEEN, Condition.MATRIX, Condition.SEEN):
        return _RULES[grid.protocol.version].column(train_set, tested_on, grid)
    return condition


def _relation_2(train_set: TrainSet, tested_on: str, grid: TestGrid) -> str:
    """Return how a plain training relates to a tested generator by protocol 2."""
    trained = set(train_set.generators)
    if tested_on in trained:
        return Condition.SEEN
    # family by family and not name by name: with dcgan in the training its twin cgan is not an unseen mechanism
    if grid.protocol.family(tested_on) in map(grid.protocol.family, trained):
        return Condition.MATRIX  # a twin of the tested generator was in the training
    # exactly all other families, or nothing of this run: detectors of the column `unseen` have had training sets of one
    # composition, and a training on a part of the other families is not among them
    return Condition.UNSEEN if trained == grid.others(tested_on) or not trained & grid.generators else Condition.MATRIX


def _column_2(train_set: TrainSet, tested_on: str, grid: TestGrid) -> str:
    """Return the column of a plain training and test by protocol 2.

    With one family there is no `unseen` column. A detector trained elsewhere is then in `seen`, beside those trained on
    all generators, so that both are ranked.
    """
    relation = _relation_2(train_set, tested_on, grid)
    if relation == Condition.SEEN:
        # trained on it and on some others, but not on all: no column
        return relation if set(train_set.generators) == grid.generators else ""
    if relation == Condition.MATRIX:
        # the train x test matrix is of single generators; other trainings that saw a twin are in no column
        return relation if len(train_set.generators) == 1 else ""
    return Condition.SEEN if len(grid.families) == 1 and tested_on in grid.generators else relation


def _relation_1(train_set: TrainSet, tested_on: str, grid: TestGrid) -> str:
    """Return how a plain training relates to a tested generator by protocol 1, which knew no families."""
    trained = set(train_set.generators)
    if tested_on in trained:
        return "union" if len(trained) > 1 and trained == grid.generators else "same"
    if trained == grid.generators - {tested_on} or not trained & grid.generators:
        return "leave-one-out"
    return "cross"


def _column_1(train_set: TrainSet, tested_on: str, grid: TestGrid) -> str:
    """Return the column of a plain training and test by protocol 1."""
    relation = _relation_1(train_set, tested_on, grid)
    if relation in ("same", "cross"):
        # the matrix of protocol 1 is of single generators too; a training on a few of them is in no column
        return relation if len(train_set.generators) == 1 else ""
    # with one generator nothing can be left out: only a detector from elsewhere gets here, and is ranked in `same`
    return "same" if relation == "leave-one-out" and grid.generators == {tested_on} else relation


class _Rules(NamedTuple):
    """The rules of one version of the protocol.

    Attributes:
        relation: condition, or column of protocol 1, of a plain training and a clean test.
        column: its column in the leaderboard, "" where it has none.
    """

    relation: Callable[[TrainSet, str, TestGrid], str]
    column: Callable[[TrainSet, str, TestGrid], str]


_RULES = {1: _Rules(_relation_1, _column_1), 2: _Rules(_relation_2, _column_2)}
