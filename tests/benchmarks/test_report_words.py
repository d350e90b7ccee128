"""The sentences, ranks and digits of a report: what is claimed, and what is not."""

import doctest
import importlib
import itertools
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic import cell, compared, run

from benchmarks.evaluation import numbers
from benchmarks.evaluation.run_facts import DetectorFacts, GeneratorFacts, QualityRow
from benchmarks.report import ranking
from benchmarks.report.plot import curves
from benchmarks.report.plot.plot import nice_axis
from benchmarks.report.text import summary
from benchmarks.report.text.run_warnings import warnings


def say(cells, comparisons=(), errors=None, **options):
    counts = errors or {ranking.key(c): summary.Errors(12, c.n_real, 1, c.n_forged) for c in cells}
    said = summary.summarize(run(cells, comparisons, **options), counts)
    return summary.Summary(
        *(tuple(text.replace("\u00a0", " ") for text in part) for part in (said.sentences, said.notes, said.warnings))
    )


@pytest.mark.parametrize(
    ("auc", "low", "high", "expected"),
    [
        (0.998, 0.995, 0.999, "xception separates dcgan forgeries from rendered faces: AUC 0.998 (95 % interval "
         "0.995 to 0.999)."),
        (1.0, 0.9963, 1.0, "xception ranks every one of 1,000 dcgan forgeries above every real face (rendered faces): "
         "AUC 1 (95 % interval 0.996 to 1)."),
        (0.85, 0.83, 0.87, "xception often separates dcgan forgeries from rendered faces, but not reliably: AUC 0.85 "
         "(95 % interval 0.83 to 0.87)."),
        (0.62, 0.59, 0.65, "xception separates dcgan forgeries from rendered faces only weakly: AUC 0.62 "
         "(95 % interval 0.59 to 0.65)."),
        (0.51, 0.48, 0.54, "xception does not exceed chance significantly on dcgan forgeries: AUC 0.51 "
         "(95 % interval 0.48 to 0.54), which covers 0.5."),
        (0.95, 0.45, 0.99, "xception does not exceed chance significantly on dcgan forgeries: AUC 0.95 "
         "(95 % interval 0.45 to 0.99), which covers 0.5."),
        (0.47, 0.43, 0.51, "xception does not exceed chance significantly on dcgan forgeries: AUC 0.47 "
         "(95 % interval 0.43 to 0.51), which covers 0.5."),
        (0.305, 0.28, 0.33, "xception scores dcgan forgeries lower than rendered faces: AUC 0.30 "
         "(95 % interval 0.28 to 0.33), below chance (0.5)."),
        (0.0, 0.0, 0.004, "xception scores dcgan forgeries lower than rendered faces: AUC 0 "
         "(95 % interval 0 to 0.004), below chance (0.5)."),
    ],
)  # fmt: skip
def test_one_cell_in_words(auc, low, high, expected):
    sentence = say([cell(auc, low, high)]).sentences[0]
    assert sentence == expected


@pytest.mark.parametrize(
    ("errors", "expected"),
    [
        (summary.Errors(1, 100, 0, 100), "1 of 100 real faces is called forged and none of 100 dcgan forgeries is "
         "taken for real."),
        (summary.Errors(0, 1000, 250, 1000), "none of 1,000 real faces is called forged and 250 of 1,000 dcgan "
         "forgeries are taken for real."),
        (summary.Errors(1, 1, 0, 1), "the one real face is called forged and the one dcgan forgery is not taken for "
         "real."),
    ],
)  # fmt: skip
def test_mistakes_are_counted_in_images(errors, expected):
    single = cell(0.99, 0.98, 0.995)
    second = say([single], errors={ranking.key(single): errors}).sentences[1]
    assert second == f"At the threshold fixed on validation data, {expected}"


def test_a_name_that_says_faces_is_not_doubled():
    assert "from LFW faces:" in say([cell(0.99, 0.98, 0.995)], face="LFW faces").sentences[0]
    assert "from fairface faces:" in say([cell(0.99, 0.98, 0.995)], face="fairface").sentences[0]


def test_detectors_that_cannot_be_told_apart_are_not_ranked():
    cells = [cell(0.97, 0.96, 0.98), cell(0.969, 0.959, 0.979, detector="dct")]
    notes = " ".join(say(cells, [compared("dct", "xception", -0.001, 0.8)]).notes)
    assert "xception and dct are not separated (difference of AUC 0.00, −0.01 to +0.01; p = 0.80)" in notes
    notes = " ".join(say(cells, [compared("dct", "xception", -0.03, 0.0001)]).notes)
    assert "xception ranks above dct (difference of AUC +0.03, +0.02 to +0.04; p < 0.001)" in notes
    assert "are not separated (no paired test)" in " ".join(say(cells).notes)


def test_reversed_cues_are_named_and_not_flipped():
    cells = [cell(0.99, 0.98, 0.995), cell(0.3, 0.27, 0.33, tested_on="stylegan")]
    sentences = say(cells)
    assert "AUC 0.30 (95 % interval 0.27 to 0.33), below chance" in sentences.sentences[1]
    assert "xception, trained on dcgan only, scores stylegan forgeries" in sentences.sentences[1]
    assert any(
        note.startswith("Below chance: xception trained on dcgan and tested on stylegan.") for note in sentences.notes
    )
    assert "0.70" not in " ".join([*sentences.sentences, *sentences.notes])


def test_saturation_is_said_only_where_it_is_so():
    assert any("add a second generator" in note for note in say([cell(0.995, 0.99, 0.998)]).notes)
    crossed = [cell(0.995, 0.99, 0.998), cell(0.7, 0.67, 0.73, tested_on="other")]
    assert any("unseen generators do" in note for note in say(crossed).notes)
    notes = say([cell(0.9, 0.88, 0.92)]).notes
    assert not any("reaches an AUC of 0.99" in note for note in notes)
    both = [cell(0.995, 0.99, 0.998), cell(0.999, 0.99, 1.0, detector="dct")]
    assert any(note.startswith("Every detector reaches an AUC of 0.99") for note in say(both).notes)
    (alone,) = [note for note in say(both[:1]).notes if "reaches" in note]
    assert alone.startswith("xception reaches an AUC of 0.99") and "which detector is better" not in alone
    assert any(note.startswith("Below the AUC of 0.99 expected") for note in notes)


def test_many_cells_are_summed_up_by_their_extremes():
    names = ["a", "b", "c"]
    cells = [
        cell(0.99 if t == g else 0.6 + 0.1 * i, 0.58, 0.995, trained_on=t, tested_on=g)
        for i, t in enumerate(names)
        for g in names
    ]
    same, cross = say(cells).sentences
    assert same.startswith("On fresh forgeries of a generator seen in training, all 3 measurements agree: AUC 0.9")
    assert "range from AUC 0.6" in cross and "to AUC 0.8" in cross
    assert "trained on a and tested on b" in cross and "trained on c and tested on a" in cross


def test_nothing_measured_is_said():
    assert "has no results" in say([]).sentences[0]


def test_ranks_are_shared_with_the_leader_and_skip_those_before():
    group = [cell(0.9 - i / 100, 0.8, 0.95, detector=name) for i, name in enumerate("abcd")]
    tests = [
        compared("a", "b", 0.01, 0.5), compared("a", "c", 0.02, 0.01), compared("a", "d", 0.03, 0.01),
        compared("c", "d", 0.01, 0.7), compared("b", "c", 0.01, 0.01),
    ]  # fmt: skip
    ranks = ranking.ranks_of(group, tests)
    assert [str(ranks[ranking.key(c)]) for c in group] == ["1=", "1=", "3=", "3="]
    assert str(ranking.ranks_of(group[:1], [])[ranking.key(group[0])]) == "–"


def test_a_comparison_turns_round():
    a, b = cell(0.9, 0.8, 0.95, detector="z"), cell(0.8, 0.7, 0.9, detector="a")
    test = ranking.paired_test(a, b, [compared("a", "z", -0.1, 0.01)])
    assert test is not None
    assert (test.difference, round(test.low, 6), round(test.high, 6)) == (0.1, 0.09, 0.11)
    assert ranking.paired_test(a, b, [compared("a", "z", -0.1, 0.01, tested_on="other")]) is None


def test_detectable_difference_is_that_of_a_two_sided_test_at_80_percent_power():
    se = 0.01 / 1.959964
    assert ranking.detectable([compared("a", "b", 0.0, 1.0)]) == pytest.approx(se * (1.959964 + 0.841621), rel=1e-5)
    assert ranking.detectable([]) is None


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1))
def test_rounding_never_claims_more_than_the_data(a, b, c):
    low, value, high = sorted((a, b, c))
    shown = numbers.estimate(value, low, high)
    assert float(shown.low) <= low + 1e-9 and float(shown.high) >= high - 1e-9
    assert float(shown.low) <= float(shown.value) <= float(shown.high)
    if 1e-6 < value < 1 - 1e-6:
        assert float(shown.value) not in (0.0, 1.0)
    if high < 0.5 - 1e-6:
        assert float(shown.high) < 0.5
    if low > 0.5 + 1e-6:
        assert float(shown.low) > 0.5


def test_an_interval_beside_one_half_does_not_seem_to_reach_it():
    assert str(numbers.estimate(0.46, 0.41, 0.4996)) == "0.4600 [0.4100, 0.4996]"
    assert str(numbers.estimate(0.54, 0.5002, 0.58)) == "0.5400 [0.5002, 0.5800]"


@given(st.integers(1, 5000), st.data())
def test_per_cent_is_100_only_where_every_image_is_right(n, data):
    hits = data.draw(st.integers(0, n))
    shown = float(numbers.percent(hits / n, n).removesuffix(" %"))
    assert (shown == 100) == (hits == n) and (shown == 0) == (hits == 0)
    assert shown == pytest.approx(100 * hits / n, abs=0.51)


@pytest.mark.parametrize("name", ["benchmarks.evaluation.numbers", "benchmarks.report.text.markdown"])
def test_examples_in_docstrings(name):
    outcome = doctest.testmod(importlib.import_module(name))
    assert outcome.attempted and not outcome.failed


def test_the_roc_band_holds_the_curve_and_is_wider_for_few_people():
    rng = np.random.default_rng(3)
    label = np.repeat([0, 1], 300)
    score = rng.normal(size=600) + label
    people = [f"p{i // 30}" for i in range(600)]
    shift = np.repeat(rng.normal(size=20), 30)
    narrow = curves.roc_band(label, score + shift)
    wide = curves.roc_band(label, score + shift, people)
    assert np.all(narrow.low <= narrow.high) and narrow.high[-1] == 1
    moved = score + shift
    inside = np.mean(moved[label == 1] >= np.quantile(moved[label == 0], 0.8))
    k = int(np.argmin(abs(narrow.x - 0.2)))
    assert narrow.low[k] <= inside <= narrow.high[k]
    assert np.mean(wide.high - wide.low) > 1.5 * np.mean(narrow.high - narrow.low)


def test_a_perfect_curve_has_no_det_points_and_a_tied_one_few():
    assert curves.det_points([0, 0, 1, 1], [0.0, 1.0, 2.0, 3.0])[0].size == 0
    fpr, miss = curves.det_points([0, 0, 1, 1], [0.0, 2.0, 1.0, 3.0])
    assert fpr.tolist() == [0.5] and miss.tolist() == [0.5]


def test_histogram_counts_every_image_of_a_class_once():
    rng = np.random.default_rng(0)
    label = rng.integers(0, 2, 500)
    bins = curves.histogram(label, rng.standard_cauchy(500))  # far outliers go to the outermost bins
    assert bins.real.sum() == pytest.approx(1) and bins.forged.sum() == pytest.approx(1)
    assert curves.histogram([0, 1], [3.0, 3.0]).real.sum() == 1


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 300), st.floats(0, 300)), min_size=1, max_size=12))
def test_simplified_lines_keep_their_ends_and_stay_close(points):
    line = np.array(sorted(points))
    thin = curves.simplify(line, tolerance=0.25)
    assert (thin[0] == line[0]).all() and (thin[-1] == line[-1]).all()
    for x, y in line:
        near = []
        for (x0, y0), (x1, y1) in itertools.pairwise(thin):
            along = np.array([x1 - x0, y1 - y0])
            size = along @ along
            t = np.clip(((x - x0) * along[0] + (y - y0) * along[1]) / size, 0, 1) if size > 0 else 0.0
            near.append(np.hypot(x - x0 - t * along[0], y - y0 - t * along[1]))
        assert not near or min(near) <= 0.26


def test_thinning_keeps_the_range_and_drops_what_is_no_number():
    points = curves.thin(np.arange(1000.0), np.where(np.arange(1000) == 500, np.nan, np.arange(1000.0)), points=50)
    assert points.thinned and len(points.x) == 50
    assert points.low[0] == 0 and points.high[-1] == 999
    assert np.isfinite(points.mean).all()


def test_ticks_are_round_and_inside():
    for low, high in [(0, 1), (-3.2, 7.9), (0, 0.031), (5, 5), (0, 12345)]:
        axis = nice_axis(low, high, "")
        assert 2 <= len(axis.ticks) <= 7
        assert all(axis.low - 1e-9 <= value <= axis.high + 1e-9 for value, _ in axis.ticks)
        assert len({text for _, text in axis.ticks}) == len(axis.ticks)
        for value, text in axis.ticks:
            assert float(re.sub(",", "", text).replace("−", "-")) == pytest.approx(value)


def test_a_training_that_failed_is_said_before_everything_else():
    def said(*states: str):
        looks = [{"kimg": 1.0, "state": state, "reason": "one face"} for state in states]
        generator = GeneratorFacts.model_construct(name="dcgan", seed=0, health=looks, quality=[])
        results = run([cell(0.9, 0.88, 0.92)]).model_copy(update={"generators": [generator]})
        return summary.summarize(results, {ranking.key(c): summary.Errors(1, 9, 1, 9) for c in results.cells}).warnings

    ended = "The training of dcgan ended in the state 'collapsed': one face; results on its images mean little."
    assert said("healthy", "collapsed") == (ended,)
    assert said("collapsed", "healthy") == () == said()
    for state in ("d_at_chance", "coin toss"):  # the second: of an earlier version
        assert said(state)[0].startswith("The training of dcgan ended in the state 'discriminator at chance': one face")


def test_results_with_states_of_earlier_versions_are_read():
    looks = [{"kimg": 1.0, "state": state, "reason": "poor"} for state in ("warming", "won", "coin toss")]
    facts = GeneratorFacts(
        name="dcgan", kimg=1.0, parameters={}, precision="fp32", seconds=1.0, log=[], health=looks, weights_sha256=""
    )
    assert [look["state"] for look in facts.health] == ["warming", "d_dominates", "d_at_chance"]


@pytest.mark.parametrize(
    ("family", "facts", "warned"),
    [
        ("clip-probe", {"backbone": "", "start": "random"}, True),
        ("clip-probe", {"backbone": "", "start": "hub"}, False),
        ("cnn", {"start": "random"}, False),  # a network that its paper, too, trains from random weights
    ],
)
def test_a_probe_of_random_weights_is_said_first(family, facts, warned):
    fitted = [
        DetectorFacts(
            name="mine", trained_on=on, family=family, citation="Ojha 2023", variant="", parameters=1, calibration={},
            images_per_second=None, peak_memory_mb=None, seconds=1.0, facts=facts, history=[],
        )
        for on in ("dcgan", "cgan")
    ]  # fmt: skip
    texts = warnings(run([cell(0.9, 0.8, 0.95)]).model_copy(update={"detectors": fitted}))
    assert [text.startswith("mine probes a network with random weights") for text in texts] == [True] * warned


def test_a_repeated_run_shows_a_warning_of_several_seeds_once():
    look = {"kimg": 4.0, "state": "diverged", "reason": "the losses are not finite"}
    face = QualityRow.model_construct(metric="face found, p >= .90", value=0.1, floor=0.9)
    trained = [
        GeneratorFacts.model_construct(name="dcgan", seed=seed, health=[look] if seed != 1 else [], quality=quality)
        for seed, quality in ((0, [face]), (1, [face]), (2, []))
    ]
    results = run([cell(0.9, 0.8, 0.95)]).model_copy(update={"generators": trained, "seeds": [0, 1, 2]})
    failure, faceless = warnings(results)
    assert failure.startswith(
        "The training of dcgan (seeds 0, 2) ended in the state 'diverged': the losses are not finite"
    )
    assert "of the forgeries of dcgan (seeds 0, 1) and in" in faceless
    (alone, _) = warnings(results.model_copy(update={"generators": trained[:1], "seeds": []}))
    assert alone.startswith("The training of dcgan ended in the state 'diverged'")
    several = [trained[1].model_copy(update={"name": name, "seed": 0}) for name in ("dcgan", "flow", "vae")]
    (joined,) = warnings(results.model_copy(update={"generators": several, "seeds": []}))
    assert joined == (
        "A face is found in 10 % of the forgeries of dcgan, flow and vae and in 90 % of the real images: these "
        "generators have learned little, and results on their images mean little."
    )
