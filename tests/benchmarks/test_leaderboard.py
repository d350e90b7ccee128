"""The leaderboard from score rows: columns, means, ranks, what is missing, seeds."""

import itertools
import math
from statistics import NormalDist

import numpy as np
import pandas as pd
import pytest

from benchmarks.evaluation import delong, roc
from benchmarks.evaluation.cells import cells_of, joined
from benchmarks.evaluation.leaderboard import leaderboard, ranked
from benchmarks.protocol import Protocol, TrainSet
from forge.core.errors import InputError

GENERATORS = ("dcgan", "gan", "style")


def rows_of(detector, trained_on, auc, *, seed=0, n=200, tested=GENERATORS, perturbation="none", rng=None, people=None):
    """Score rows of one fit: reals are the same images everywhere, forgeries those of their generator and seed."""
    rng = rng or np.random.default_rng([seed, len(detector), len(trained_on), len(perturbation)])
    common = np.random.default_rng(99).normal(size=n)  # what makes a real image hard, for every detector
    parts = []
    for generator in ("", *tested):
        wanted = auc.get(generator, 0.5) if isinstance(auc, dict) else auc
        shift = NormalDist().inv_cdf(wanted) * math.sqrt(2) if generator else 0.0
        base = common if not generator else np.random.default_rng([seed, *map(ord, generator)]).normal(size=n)
        score = math.sqrt(0.5) * base + math.sqrt(0.5) * rng.normal(size=n) + shift
        parts.append(
            pd.DataFrame(
                {
                    "detector": detector, "trained_on": trained_on, "seed": seed,
                    "sample_id": [f"{generator}{i}" for i in range(n)],
                    "identity": [f"p{i // 4}" for i in range(n)] if people and not generator else None,
                    "source": generator or "faces", "generator": generator, "split": "test",
                    "perturbation": perturbation, "label": int(bool(generator)), "score": score,
                    "probability": 1 / (1 + np.exp(-score)),
                }
            )
        )  # fmt: skip
    return pd.concat(parts, ignore_index=True)


def union(*names):
    return str(TrainSet.of(*names))


def suite(skill, seeds=(0,), **options):
    """Leave-one-out rows of detectors with a true AUC each."""
    made = []
    for (detector, auc), seed, left in itertools.product(skill.items(), seeds, GENERATORS):
        others = union(*(name for name in GENERATORS if name != left))
        rng = np.random.default_rng([seed, *map(ord, detector + left)])
        made.append(rows_of(detector, others, auc, seed=seed, tested=(left,), rng=rng, **options))
    return pd.concat(made, ignore_index=True)


def test_the_primary_value_is_the_mean_over_what_was_left_out():
    scores = suite({"good": 0.9, "bad": 0.6})
    board = leaderboard(scores)
    assert board.primary == "unseen" and [line.detector for line in board.lines] == ["good", "bad"]
    own = scores[scores["detector"] == "good"]
    direct = []
    for left in GENERATORS:
        fit = own[own["trained_on"] == union(*(name for name in GENERATORS if name != left))]
        direct.append(roc.auc(fit["label"], fit["score"]))
    best = board.lines[0].columns["unseen"]
    assert best.value == pytest.approx(np.mean(direct)) and best.low < best.value < best.high
    assert (best.cells, best.missing, best.sd) == (3, 0, None)
    assert [(line.rank, line.rank_low, line.rank_high) for line in board.lines] == [(1, 1, 1), (2, 2, 2)]
    (pair,) = board.differences
    assert (pair.a, pair.b) == ("bad", "good") and pair.difference < 0 and pair.high < 0 and pair.p_holm < 1e-6


def test_reals_that_are_shared_widen_the_mean():
    """Three generators against the same reals: the interval is wider than of three independent AUCs."""
    scores = suite({"one": 0.8}, n=400)
    best = leaderboard(scores).lines[0].columns["unseen"]
    variances = []
    for _, fit in scores.groupby("trained_on"):
        variances.append(delong.delong_variance(fit["label"], fit["score"]))
    independent = 2 * 1.96 * math.sqrt(sum(variances)) / 3
    assert independent * 1.1 < best.high - best.low < independent * math.sqrt(3)


def test_equal_detectors_share_a_rank_and_friedman_agrees():
    board = leaderboard(suite(dict.fromkeys("abcd", 0.8) | {"far": 0.6}))
    assert [line.rank for line in board.lines] == [1, 1, 1, 1, 5]
    assert all(line.rank_low == 1 and line.rank_high == 4 for line in board.lines[:4])
    assert board.many is not None and board.many.sets == 3 and board.many.mean_ranks["far"] == 5
    assert 0.005 < board.detectable < 0.1


def test_a_detector_that_lacks_a_cell_is_not_averaged():
    scores = suite({"whole": 0.7, "part": 0.9})
    lacking = scores[~((scores["detector"] == "part") & (scores["trained_on"] == "dcgan+gan"))]
    board = leaderboard(lacking)
    assert [(line.detector, line.rank) for line in board.lines] == [("whole", 1), ("part", None)]
    part = board.lines[1].columns["unseen"]
    assert (part.value, part.cells, part.missing) == (None, 2, 1) and board.differences == []


def test_seeds_widen_the_interval_by_what_they_differ():
    close = leaderboard(suite({"a": 0.8}, seeds=(0, 1, 2))).lines[0].columns["unseen"]
    apart = pd.concat([suite({"a": auc}, seeds=(seed,)) for seed, auc in enumerate((0.7, 0.8, 0.9))])
    wide = leaderboard(apart).lines[0].columns["unseen"]
    assert wide.sd > 0.05 > close.sd and wide.cells == 9
    assert wide.high - wide.low > 3 * (close.high - close.low)


def test_people_who_repeat_count_once():
    alone = leaderboard(suite({"a": 0.8}, n=400)).lines[0].columns["unseen"]
    scores = suite({"a": 0.8}, n=400, people=True)
    # the four photos of a person are scored alike
    real = scores["generator"] == ""
    person = scores[real].groupby(["trained_on", "identity"])["score"].transform("first")
    scores.loc[real, "score"] = person
    grouped = leaderboard(scores).lines[0].columns["unseen"]
    assert grouped.high - grouped.low > 1.3 * (alone.high - alone.low)


def test_other_columns_stand_beside_the_primary():
    skill = {"a": 0.8, "b": 0.7}
    more = [suite(skill)]
    for name, auc in skill.items():
        whole = union(*GENERATORS)
        more += [
            rows_of(name, whole, 0.99), rows_of(name, whole, auc - 0.1, perturbation="jpeg30"),
            rows_of(name, f"{whole}:equalised", 0.95, perturbation="equalised"), rows_of(name, f"{whole}:50", 0.75),
            rows_of(name, f"{whole}:1000", 0.9),
        ]  # fmt: skip
        more += [rows_of(name, trained, {trained: 0.99}) for trained in GENERATORS]
    board = leaderboard(pd.concat(more))
    assert list(board.columns) == [
        "unseen", "matrix", "seen", "robust", "equalised", "budget 50", "budget 1000",
    ]  # fmt: skip
    a = board.lines[0].columns
    assert a["robust"].value < a["seen"].value and a["budget 50"].value < a["budget 1000"].value
    assert a["seen"].cells == 3 and a["matrix"].cells == 6  # of the matrix without its diagonal
    assert list(leaderboard(pd.concat(more), protocol=Protocol(1)).columns)[:4] == [
        "leave-one-out", "cross", "same", "union",
    ]  # fmt: skip
    assert leaderboard(pd.concat(more), primary="robust").primary == "robust"
    with pytest.raises(InputError, match="no column 'external'"):
        leaderboard(pd.concat(more), primary="external")


def test_no_test_rows_are_no_table():
    scores = suite({"a": 0.8})
    with pytest.raises(InputError, match="nothing can be ranked"):
        leaderboard(scores[scores["generator"] == ""])


def test_a_detector_that_was_trained_elsewhere_is_ranked_with_the_others():
    elsewhere = rows_of("stranger", "elsewhere", 0.75)
    board = leaderboard(pd.concat([suite({"good": 0.9, "bad": 0.6}), elsewhere]))
    assert board.primary == "unseen"
    assert [(line.detector, line.rank) for line in board.lines] == [("good", 1), ("stranger", 2), ("bad", 3)]


def test_the_primary_column_is_one_that_most_detectors_have():
    own = [rows_of(name, trained, 0.8) for name in ("a", "b", "c") for trained in GENERATORS]
    board = leaderboard(pd.concat([*own, rows_of("stranger", "elsewhere", 0.75)]))
    assert board.primary == "matrix" and board.lines[-1].detector == "stranger"


@pytest.mark.parametrize(("n", "people"), [(250, None), (50, None), (250, True)])
def test_cells_are_what_the_statistics_say(n, people):
    """The fast path against the plain functions, ties included."""
    skill = {"gan": 0.9, "dcgan": 0.7, "style": 0.999999}
    scores = pd.concat([rows_of("a", name, skill, n=n, people=people) for name in ("gan", "dcgan")])
    scores["score"] = scores["score"].round(1)
    columns = cells_of(scores, Protocol(1))["a"]  # whose columns hold every test, those of a matrix's diagonal too
    pairs = {(cell.trained_on, cell.where.tested_on): cell for of in columns.values() for cell in of}
    assert len(pairs) == 6
    for (trained_on, tested_on), cell in pairs.items():
        fit = scores[scores["trained_on"].eq(trained_on) & scores["generator"].isin(["", tested_on])]
        label, score = fit["label"].to_numpy(), fit["score"].to_numpy()
        groups = [None if pd.isna(name) else name for name in fit["identity"]] if people else None
        expected = delong.auc_interval(label, score, groups=groups)
        assert cell.auc == pytest.approx(roc.auc(label, score), abs=1e-12)
        assert (cell.interval.low, cell.interval.high) == pytest.approx((expected.low, expected.high), abs=1e-12)
        assert cell.interval.method == expected.method
        assert (cell.influence**2).sum() == pytest.approx(delong.delong_variance(label, score))


def test_scores_that_are_no_numbers_are_refused():
    scores = suite({"a": 0.8})
    scores.loc[scores.index[3], "score"] = math.nan
    with pytest.raises(InputError, match="1 scores are NaN or infinite"):
        leaderboard(scores)


def test_several_suites_are_ranked_as_one():
    here, there = (cells_of(suite({"dct": a, "npr": b}, seeds=(0, 1))) for a, b in ((0.9, 0.7), (0.7, 0.8)))
    alone = [ranked(cells) for cells in (here, there)]
    both = ranked(joined({"here": here, "there": there}))
    of = [{line.detector: line.columns["unseen"] for line in board.lines} for board in (*alone, both)]
    for name in ("dct", "npr"):
        assert of[2][name].value == pytest.approx((of[0][name].value + of[1][name].value) / 2)
        assert of[2][name].cells == 12 and of[2][name].missing == 0
    wider = of[0]["dct"].high - of[0]["dct"].low
    assert of[2]["dct"].high - of[2]["dct"].low < wider  # no image is taken for one of the other suite
    del there["npr"]
    partly = {line.detector: line for line in ranked(joined({"here": here, "there": there})).lines}
    assert partly["npr"].rank is None and partly["npr"].columns["unseen"].missing == 6


def test_suites_of_other_seeds_are_not_ranked_together():
    parts = {name: cells_of(suite({"dct": 0.9}, seeds=seeds)) for name, seeds in (("a", (0, 1)), ("b", (0,)))}
    with pytest.raises(InputError, match="a has the seeds 0, 1 and b has the seeds 0; only suites of the same"):
        joined(parts)
