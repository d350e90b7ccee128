"""The measuring protocol as types: train sets, tests, conditions, and the choice of intervals.

Every name of a condition, every rule that assigns a test to one, and every rule that chooses an interval is in this
package. Published tables of protocol 1 stay computable: its differences are `PROTOCOL_1_COLUMNS` in `conditions`, and
`_relation_1` and `_column_1` in `assignment`. A new condition is a member of `Condition`, a case in `condition_of`, and
an entry of the trainings and tests that it needs in `benchmarks/experiment/matrix.py`. The meaning of each number is in
reports/README.md.
"""

from benchmarks.protocol.assignment import column_of, condition_of
from benchmarks.protocol.conditions import (
    CLEAN,
    EQUALISED,
    NEXT,
    PRIMARIES,
    SHUFFLED,
    VIEW_PREFIX,
    WILD,
    Condition,
    condition_of_column,
    meaning_of_column,
    order_of_columns,
    phrase_of_column,
)
from benchmarks.protocol.grid import (
    EXTERNAL_PREFIX,
    OWN_REALS,
    PAIRED_PREFIX,
    PROTOCOL_VERSION,
    Protocol,
    TestGrid,
    protocol_of_scores,
)
from benchmarks.protocol.identifiers import CONTROL_DETECTORS, ELSEWHERE, AttackId, FitId, GeneratorId, TestId, TrainSet
from benchmarks.protocol.intervals import ALPHA, FEW_UNITS, NEW_FAMILY, SMALL_CLASS, IntervalMethod, choose_interval

__all__ = [
    "ALPHA",
    "CLEAN",
    "CONTROL_DETECTORS",
    "ELSEWHERE",
    "EQUALISED",
    "EXTERNAL_PREFIX",
    "FEW_UNITS",
    "NEW_FAMILY",
    "NEXT",
    "OWN_REALS",
    "PAIRED_PREFIX",
    "PRIMARIES",
    "PROTOCOL_VERSION",
    "SHUFFLED",
    "SMALL_CLASS",
    "VIEW_PREFIX",
    "WILD",
    "AttackId",
    "Condition",
    "FitId",
    "GeneratorId",
    "IntervalMethod",
    "Protocol",
    "TestGrid",
    "TestId",
    "TrainSet",
    "choose_interval",
    "column_of",
    "condition_of",
    "condition_of_column",
    "meaning_of_column",
    "order_of_columns",
    "phrase_of_column",
    "protocol_of_scores",
]
