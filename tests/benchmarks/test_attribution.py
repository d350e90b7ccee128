"""Attribution: its measures against independent ones, its plan, its section, its table."""

import csv
import io
import math

import numpy as np
import pandas as pd
import pytest
from requested import compose
from sklearn.metrics import confusion_matrix, f1_score, roc_auc_score
from synthetic import NO_PICTURES, ONE, Page, make_results, make_scores

from benchmarks.evaluation.attribution import (
    closed_set,
    confusion,
    few_shot,
    macro_f1,
    over_draws,
    resampled,
    unknown_generator,
)
from benchmarks.evaluation.attribution_facts import Attribution, FewShot, Unknown, to_csv
from benchmarks.evaluation.attribution_rows import CLOSED, FEW, FILE, OPEN, recomputed, write_attributions
from benchmarks.evaluation.interval import wilson
from benchmarks.evaluation.reproduce import expected_of, reproduce
from benchmarks.experiment.configs import parse_assignments
from benchmarks.report.inputs import ReportInputs
from benchmarks.report.page import build
from benchmarks.report.render import html, text
from benchmarks.workflow import attribution
from benchmarks.workflow.runner import prepare_run
from forge.core.errors import CorruptError, InputError

NAMES = ["real", "dcgan", "gan"]


def told(count=60, classes=3, wrong=0.3, seed=0):
    rng = np.random.default_rng(seed)
    truth = np.repeat(np.arange(classes), count)
    return truth, np.where(rng.random(truth.size) < wrong, rng.integers(0, classes, truth.size), truth)


def nobody(count):
    return np.full(count, None, dtype=object)


def test_confusion_and_macro_f1_against_scikit_learn():
    for seed, wrong in enumerate((0.0, 0.3, 1.0)):
        truth, guess = told(wrong=wrong, seed=seed)
        counts = confusion(truth, guess, 3)
        np.testing.assert_array_equal(counts, confusion_matrix(truth, guess))
        assert math.isclose(macro_f1(counts), f1_score(truth, guess, average="macro"))
    # a class that nobody names: F1 0
    assert math.isclose(macro_f1(np.array([[4, 0], [4, 0]])), (2 / 3 + 0) / 2)


def test_resamples_of_images_vary_as_recalls_of_so_many_images_do():
    truth, guess = told(count=300)
    recalls, f1s = resampled(truth, guess, 3, nobody(truth.size))
    shares = [float((guess[truth == each] == each).mean()) for each in range(3)]
    expected = math.sqrt(sum(p * (1 - p) / 300 for p in shares)) / 3  # of the mean of three independent shares
    assert abs(recalls.std() / expected - 1) < 0.1 and abs(recalls.mean() - np.mean(shares)) < expected / 5
    assert abs(f1s.mean() - f1_score(truth, guess, average="macro")) < expected / 5


def test_copies_of_people_narrow_no_interval():
    truth, guess = told(count=40)
    people = np.array([f"p{i}" for i in range(truth.size)], dtype=object)
    once, alone_f1 = closed_set(truth, guess, NAMES, people)[1:]
    four = [np.repeat(values, 4) for values in (truth, guess, people)]
    repeated, repeated_f1 = closed_set(four[0], four[1], NAMES, four[2])[1:]
    assert abs((repeated.high - repeated.low) / (once.high - once.low) - 1) < 0.15
    assert abs((repeated_f1.high - repeated_f1.low) / (alone_f1.high - alone_f1.low) - 1) < 0.15


def test_without_an_error_the_interval_is_wilsons_and_not_empty():
    truth, _ = told(count=20)
    counts, accuracy, f1 = closed_set(truth, truth, NAMES, nobody(truth.size))
    assert counts == [[20, 0, 0], [0, 20, 0], [0, 0, 20]]
    assert accuracy == f1 and (f1.value, f1.high) == (1.0, 1.0)
    assert math.isclose(f1.low, wilson(60, 60).low)


def test_an_unknown_generator_is_measured_at_the_threshold_of_val():
    rng = np.random.default_rng(0)
    val, known, unknown = rng.normal(0, 1, 200), rng.normal(0, 1, 100), rng.normal(1, 1, 50)
    row = unknown_generator("gan", val, known, unknown, nobody(150), kept=0.95, unseen=True)
    threshold = np.sort(val)[math.ceil(0.95 * 199)]
    assert (val <= threshold).mean() >= 0.95
    assert math.isclose(row.rejected.value, (unknown > threshold).mean())
    assert math.isclose(row.kept.value, (known <= threshold).mean())
    label = np.repeat([0, 1], [100, 50])
    assert math.isclose(row.auc.value, roc_auc_score(label, np.concatenate([known, unknown])))
    for number in (row.auc, row.rejected, row.kept):
        assert number.low < number.value < number.high


def test_draws_have_a_t_interval():
    made = over_draws([0.5, 0.6, 0.7])
    # t of 2 degrees of freedom at 97.5 %: 4.303; standard error 0.1 / sqrt(3)
    assert math.isclose(made.value, 0.6) and math.isclose(
        made.high - made.value, 4.30265 * 0.1 / math.sqrt(3), rel_tol=1e-5
    )
    assert over_draws([0.0, 1.0]).high == 1.0
    truth, guess = told()
    row = few_shot(truth, [guess, truth], 3, images=5, learner="prototypes")
    assert math.isclose(row.accuracy.value, (1 + (guess == truth).mean()) / 2) and row.draws == 2


def checked(*assignments, generators=("dcgan", "gan"), detectors=("dct", "random", "metadata")):
    overrides = parse_assignments(["conditions.attribute=true", *assignments])
    return prepare_run(compose(generators=generators, detectors=detectors, preset="smoke", overrides=overrides)).stages


def test_each_fitted_detector_is_asked_with_the_fits_that_left_a_family_out():
    stages = {stage.name: stage for stage in checked()}
    attributed = stages["attribute dct@dcgan+gan"]
    assert attributed.detector is stages["fit dct@dcgan+gan"]
    assert {name: fit.label for name, fit in attributed.without.items()} == {"dcgan": "dct@gan", "gan": "dct@dcgan"}
    assert attributed in stages["report"].attributions
    without_unseen = {stage.name: stage for stage in checked("conditions={unseen: false, matrix: false, seen: false}")}
    assert "attribute dct@dcgan+gan" in without_unseen and not without_unseen["attribute dct@dcgan+gan"].without


def test_one_generator_cannot_be_told_from_others():
    with pytest.raises(InputError, match="this run has one, gan; add another --generator or --forged"):
        checked(generators=("gan",))


def test_a_run_that_does_not_ask_keeps_its_settings():
    settings = compose(generators=["gan"], detectors=["dct"], preset="smoke")
    assert "attribute" not in settings.conditions.model_dump()


@pytest.fixture(scope="module")
def rows():
    truth, guess = told()
    counts, accuracy, f1 = closed_set(truth, guess, NAMES, nobody(truth.size))
    rng = np.random.default_rng(0)
    unknown = [
        unknown_generator(
            name, rng.random(40), rng.random(40), rng.random(40), nobody(80), kept=0.95, unseen=name == "gan"
        )
        for name in NAMES[1:]
    ]
    few = [few_shot(truth, [guess, truth], 3, images=n, learner="prototypes") for n in (5, 10)]
    whole = Attribution(
        detector="dct", trained_on="dcgan+gan", seed=0, classes=NAMES, confusion=counts, accuracy=accuracy,
        macro_f1=f1, unknown=unknown, few=few,
    )  # fmt: skip
    return [whole, Attribution(detector="other", trained_on="dcgan+gan", seed=0, missing="it has no features")]


def test_the_section_shows_the_matrix_unknown_generators_and_few_images(rows):
    scores = make_scores(ONE, n=20)
    results = make_results(scores).model_copy(update={"attribution": rows})
    page = build(ReportInputs(results, scores, NO_PICTURES))
    words = " ".join("".join(Page(html(page)).text).split())
    right = round(100 * rows[0].confusion[1][1] / 60)
    assert "tells real, dcgan, gan apart: 60 test images of each" in words and str(right) in words
    assert "Marked *" in words and "mean over 2 draws" in words
    assert "other was not measured: it has no features" in words
    assert "## Which generator made an image" in text(page)
    plain = build(ReportInputs(make_results(scores), scores, NO_PICTURES))
    assert "Which generator made an image" not in html(plain)


def test_the_table_has_every_number(rows):
    lines = list(csv.DictReader(io.StringIO(to_csv(rows))))
    # 2 of the closed set, 3 of each unknown generator, 2 of each few-shot row, 9 counts
    assert len(lines) == 2 + 3 * 2 + 2 * 2 + 9
    first = lines[0]
    assert (first["question"], first["measure"]) == ("closed set", "accuracy")
    assert math.isclose(float(first["value"]), rows[0].accuracy.value, abs_tol=1e-6)
    counts = [int(line["value"]) for line in lines if line["question"] == "confusion"]
    assert counts == [count for row in rows[0].confusion for count in row]


def answers():
    """Rows of two detectors, of which one person has several images; and the facts of the first one."""
    truth, guess = told()
    rng = np.random.default_rng(3)
    names = np.array(NAMES, dtype=object)
    people = np.array([f"p{number // 2}" for number in range(truth.size)], dtype=object)
    people[::7] = None
    frames = [
        attribution._rows({"question": CLOSED, "split": "test", "class": names[truth], "answer": names[guess]},
                          identity=people)
    ]  # fmt: skip
    for name in NAMES[1:]:
        for split in ("val", "test"):
            classes = names[truth] if split == "test" else names[truth][names[truth] != name]
            score = rng.random(classes.size).astype(np.float32).astype(np.float64)
            columns = {"question": OPEN, "of": name, "split": split, "class": classes, "score": score}
            frames.append(attribution._rows(columns, identity=people[: classes.size]))
    for draw, each in enumerate((guess, truth)):
        counts = confusion(truth, each, 3)
        at = np.nonzero(counts)
        columns = {"question": FEW, "of": "prototypes", "split": "test", "class": names[at[0]], "answer": names[at[1]]}
        columns |= {"images": 5, "draw": draw, "count": counts[at]}
        frames.append(attribution._rows(columns, identity=None))
    table = pd.concat(frames, ignore_index=True).assign(trained_on="dcgan+gan", seed=0)
    later = attribution._LATER
    facts = Attribution(
        detector="dct", trained_on="dcgan+gan", seed=0, classes=NAMES,
        unknown=[Unknown(generator=n, auc=later, rejected=later, kept=later, unseen=n == "gan") for n in NAMES[1:]],
        few=[FewShot(images=5, learner="prototypes", draws=2, accuracy=later, macro_f1=later)],
    )  # fmt: skip
    return pd.concat([table.assign(detector="other", answer="real"), table.assign(detector="dct")]), facts, people


def test_all_numbers_follow_from_the_stored_answers(tmp_path):
    table, facts, people = answers()
    write_attributions(table, tmp_path / FILE)
    (row,) = recomputed([facts], tmp_path / FILE)
    truth, guess = told()
    counts, accuracy, f1 = closed_set(truth, guess, NAMES, people)
    assert (row.confusion, row.accuracy, row.macro_f1) == (counts, accuracy, f1)
    mine = table[(table["detector"] == "dct") & (table["of"] == "gan")]
    val, test = (mine[mine["split"] == split] for split in ("val", "test"))
    known = (test["class"] != "gan").to_numpy()
    score = test["score"].to_numpy()
    groups = np.concatenate([people[known], people[~known]])
    expected = unknown_generator("gan", val["score"], score[known], score[~known], groups, kept=0.95, unseen=True)
    assert row.unknown[1] == expected and not row.unknown[0].unseen
    assert row.few == [few_shot(truth, [guess, truth], 3, images=5, learner="prototypes")]
    assert recomputed([row], tmp_path / FILE) == [row]  # published numbers are replaced by equal ones
    missing = Attribution(detector="x", trained_on="y", seed=0, missing="no features")
    assert recomputed([missing], tmp_path / FILE) == [missing] and recomputed([facts], tmp_path / "none") is None
    with pytest.raises(CorruptError, match="rows of dct@gan lack or name other classes"):
        recomputed([facts.model_copy(update={"trained_on": "gan"})], tmp_path / FILE)
    (tmp_path / FILE).write_bytes(b"PAR1")
    with pytest.raises(CorruptError, match="is damaged"):
        recomputed([facts], tmp_path / FILE)


def test_what_is_published_of_attributions_is_compared(rows):
    results = make_results(make_scores(ONE, n=20)).model_copy(update={"attribution": rows})
    expected = expected_of(results, {}, None)
    names = [value.what for value in expected.values]
    assert "dct@dcgan+gan, seed 0, closed set, all classes, accuracy" in names
    assert "dct@dcgan+gan, seed 0, open set, gan, rejected" in names
    assert "dct@dcgan+gan, seed 0, dcgan images that are called gan" in names
    assert len(names) == len(set(names)) and {each.status for each in reproduce(expected, expected)} == {"IDENTICAL"}
    without = expected_of(results.model_copy(update={"attribution": []}), {}, None)
    assert {each.status for each in reproduce(expected, without)} == {"MISSING"}
