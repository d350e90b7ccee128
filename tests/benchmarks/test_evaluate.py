"""From score rows to cells: every number is that of the right rows."""

import csv
import io

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from benchmarks.evaluation.cells import cells_of
from benchmarks.evaluation.column import Column
from benchmarks.evaluation.delong import delong_variance
from benchmarks.evaluation.evaluate import compare, evaluate
from benchmarks.evaluation.metrics import METRICS, facts_of
from benchmarks.evaluation.results import CSV_COLUMNS, to_csv
from forge.core.errors import InputError


def rows(detector="dct", *, shift=1.5, generators=("a", "b"), trained_on="a", identity=None, n=250, seed=0):
    rng = np.random.default_rng(seed)
    parts = []
    for split in ("val", "test"):
        for generator in ("", *generators):
            label = int(bool(generator))
            # generator b is harder: its scores lie half as far from the reals'
            score = rng.normal(label * shift * (0.5 if generator == "b" else 1), 1, n)
            parts.append(
                pd.DataFrame(
                    {
                        "detector": detector, "trained_on": trained_on, "seed": 0,
                        "sample_id": [f"{generator or 'real'}-{split}-{i}" for i in range(n)],
                        "identity": [identity(i) if identity and not label else None for i in range(n)],
                        "source": generator or "faces", "generator": generator, "split": split, "perturbation": "none",
                        "label": label, "score": score, "probability": 1 / (1 + np.exp(-2 * score + 1)),
                    }
                )
            )  # fmt: skip
    return pd.concat(parts, ignore_index=True)


def test_a_cell_holds_the_numbers_of_its_own_rows():
    table = rows()
    cells = {cell.tested_on: cell for cell in evaluate(table)}
    assert cells.keys() == {"a", "b"}
    assert cells["a"].condition == "seen" and cells["b"].condition == "unseen"
    for name, cell in cells.items():
        test = table[(table["split"] == "test") & table["generator"].isin(["", name])]
        assert cell.auc == pytest.approx(roc_auc_score(test["label"], test["score"]))
        assert cell.ap == pytest.approx(average_precision_score(test["label"], test["score"]))
        assert cell.accuracy == pytest.approx(((test["probability"] >= 0.5) == test["label"]).mean())
        assert cell.brier == pytest.approx(((test["probability"] - test["label"]) ** 2).mean())
        assert cell.auc_low < cell.auc < cell.auc_high and (cell.n_real, cell.n_forged) == (250, 250)
        assert cell.auc_method == "DeLong"


def test_the_threshold_never_sees_test_rows_or_unseen_generators():
    table = rows()
    threshold = evaluate(table)[0].threshold
    changed = table.copy()
    unseen = (changed["split"] == "test") | (changed["generator"] == "b")
    changed.loc[unseen, "score"] = np.random.default_rng(1).normal(50, 9, unseen.sum())
    assert {cell.threshold for cell in evaluate(changed)} == {threshold}


def test_repeated_identities_widen_the_interval():
    alone, grouped = rows(), rows(identity=lambda i: f"person-{i // 5}")
    person = grouped["identity"].str.removeprefix("person-").astype(float)
    for table in (alone, grouped):  # photos of one person score alike
        real = table["label"] == 0
        shift = np.random.default_rng(2).normal(0, 2, 50)
        table.loc[real, "score"] += shift[person[real].astype(int)]
    wide, narrow = (evaluate(table)[0] for table in (grouped, alone))
    assert wide.auc == narrow.auc
    assert "identities" in wide.auc_method
    assert wide.auc_high - wide.auc_low > 1.3 * (narrow.auc_high - narrow.auc_low)


def test_the_order_of_rows_does_not_matter():
    table = rows()
    assert to_csv(evaluate(table), facts_of()) == to_csv(evaluate(table.sample(frac=1, random_state=3)), facts_of())


def test_no_val_rows_is_refused():
    table = rows()
    with pytest.raises(InputError, match="dct trained on a has no val scores of both classes"):
        evaluate(table[table["split"] == "test"])


def test_comparisons_pair_the_same_images_and_are_adjusted():
    better = rows("better", shift=2.5)
    worse = better.assign(detector="worse", score=better["score"] + np.random.default_rng(5).normal(0, 3, len(better)))
    twin = worse.assign(detector="twin")
    pairs = compare(pd.concat([better, worse.sample(frac=1, random_state=1), twin]))
    assert len(pairs) == 6
    by_names = {(c.tested_on, c.a, c.b): c for c in pairs}
    gap = by_names["a", "better", "worse"]
    cells = {(c.detector, c.tested_on): c.auc for c in evaluate(pd.concat([better, worse]))}
    assert gap.difference == pytest.approx(cells["better", "a"] - cells["worse", "a"])
    assert gap.low > 0 and gap.p_holm < 0.001
    same = by_names["b", "twin", "worse"]
    assert same.difference == 0 and same.p_holm == 1


def test_one_detector_has_nothing_to_be_compared_with():
    assert compare(rows()) == []


def test_csv_has_the_promised_columns_and_empty_cells_where_n_is_too_small():
    text = to_csv(evaluate(rows(n=60)), facts_of())
    read = list(csv.DictReader(io.StringIO(text)))
    assert tuple(read[0]) == (*CSV_COLUMNS, *METRICS.entries)
    assert read[0]["tpr_at_fpr_1pct"] == ""
    assert text.endswith("\n") and "\r" not in text


def test_the_report_and_the_tables_make_one_and_the_same_test():
    """Also where one of the two separates perfectly, where DeLong's variance would claim too much."""
    perfect = rows("perfect", shift=2.5, generators=("a",))
    perfect["score"] += 20.0 * perfect["label"]
    both = pd.concat([perfect, rows("good", shift=3.5, generators=("a",))])
    (test,) = compare(both)
    cells = {name: of["seen"] for name, of in cells_of(both).items()}
    table = Column(cells).difference("good", "perfect")
    assert (test.difference, test.p_holm) == pytest.approx((table.value, table.p))
    assert (test.low, test.high) == pytest.approx((table.low, min(1.0, table.high)))
    assert test.p_holm > 0.01  # 250 images of each class cannot tell .99 from 1 with certainty


@pytest.mark.parametrize(("n", "method"), [(199, "Newcombe"), (200, "DeLong")])
def test_small_classes_have_the_interval_for_small_classes(n, method):
    """In cells, in paired tests and in tables alike: the difference of two of them is wider than DeLong's."""
    both = pd.concat([rows("good", shift=3.0, n=n, generators=("a",)), rows("bad", n=n, generators=("a",), seed=1)])
    assert {cell.auc_method for cell in evaluate(both)} == {method}
    (test,) = compare(both)
    table = Column({name: of["seen"] for name, of in cells_of(both).items()}).difference("bad", "good")
    assert (test.low, test.high) == pytest.approx((table.low, table.high))
    halves = []
    for name in ("good", "bad"):
        own = both[(both["detector"] == name) & (both["split"] == "test")]
        halves.append(delong_variance(own["label"].to_numpy(), own["score"].to_numpy()))
    independent = 1.959964 * sum(halves) ** 0.5  # the scores of the two are independent here
    assert (test.high - test.low > 2.02 * independent) == (method == "Newcombe")


def test_shuffled_labels_are_compared_with_nothing():
    names = ("good", "bad")
    plain = [rows(name, trained_on="a") for name in names]
    shuffled = [rows(name, trained_on="a:shuffled") for name in names]
    assert {test.trained_on for test in compare(pd.concat([*plain, *shuffled]))} == {"a"}
    assert compare(pd.concat(shuffled)) == []


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("few", [0, 1])
def test_one_image_of_a_class_has_newcombes_interval_and_no_warning(few):
    scores = rows(generators=("a",), n=30)
    test = scores[scores["split"] == "test"]
    kept = pd.concat([test[test["label"] == few].head(1), test[test["label"] != few]])
    (cells,) = cells_of(pd.concat([scores[scores["split"] == "val"], kept]))["dct"].values()
    assert cells[0].interval.method.startswith("Newcombe") and 0 <= cells[0].interval.low < cells[0].interval.high <= 1
