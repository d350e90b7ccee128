"""The condition `paired`: forgeries against the photos they were made from, apart from all other tests."""

from __future__ import annotations

import json
from collections.abc import Mapping

import numpy as np
import pandas as pd
import pytest
from requested import compose
from synthetic import NO_PICTURES, TINY, Page, evaluated, html_of, make_results, make_scores

from benchmarks.evaluation.audits.score_rows import controls
from benchmarks.evaluation.cells import cells_of
from benchmarks.evaluation.cells import tests_of as all_tests
from benchmarks.evaluation.evaluate import compare, grid
from benchmarks.evaluation.leaderboard import leaderboard
from benchmarks.evaluation.results_of import evaluated as everything
from benchmarks.evaluation.roc import auc
from benchmarks.evaluation.submission import suite_images
from benchmarks.experiment.configs import parse_assignments
from benchmarks.experiment.matrix import planned_fits
from benchmarks.inference.threshold import _rates
from benchmarks.report.inputs import ReportInputs
from benchmarks.report.write import write_report
from benchmarks.workflow.recompute import tests as planned_tests
from benchmarks.workflow.runner import prepare_run

BOTH = "dcgan+pix"
SKILL: Mapping[tuple[str, str], Mapping[str, float]] = {
    ("dct", BOTH): {"dcgan": 2.0, "pix": 1.5},
    ("npr", BOTH): {"dcgan": 1.5, "pix": 1.0},
    ("random", BOTH): {"dcgan": 0.0, "pix": 0.0},
}


def with_pairs(scores: pd.DataFrame, *, photos: int = 100, seed: int = 0) -> pd.DataFrame:
    """Add rows of the generator `pix` beside its sources: each photo is the source of several forgeries.

    Half of a score is the photo's own, so that a forgery and its source are alike.
    """
    parts = [scores]
    tested = scores[(scores["split"] == "test") & (scores["generator"] == "pix")]
    for i, (_, forged) in enumerate(tested.groupby("detector", sort=True)):
        rng = np.random.default_rng([seed, i])
        photo = rng.normal(size=photos)
        number = np.arange(len(forged)) % photos
        names = np.array([f"photo {k}" for k in range(photos)])
        apart = 0.0 if forged["detector"].iloc[0] == "random" else 0.5
        forged = forged.assign(
            generator="paired:pix", source="paired:pix", identity=names[number],
            score=photo[number] + 0.5 * rng.normal(size=len(forged)) + apart,
        )  # fmt: skip
        real = forged.iloc[:photos].assign(
            generator="", label=np.int8(0), identity=names, sample_id=names, score=photo + 0.5 * rng.normal(size=photos)
        )
        parts += [real, forged]
    return pd.concat(parts, ignore_index=True).astype({"label": "int8"})


@pytest.fixture(scope="module")
def plain():
    return make_scores(SKILL, n=300)


@pytest.fixture(scope="module")
def paired(plain):
    return with_pairs(plain)


def test_a_paired_test_has_real_images_of_its_own(paired):
    cells = {(cell.detector, cell.tested_on): cell for cell in evaluated(paired)}
    cell = cells["dct", "paired:pix"]
    rows = paired[(paired["detector"] == "dct") & (paired["source"] == "paired:pix")]
    assert (cell.condition, cell.n_real, cell.n_forged) == ("paired", 100, 300)
    assert cell.auc == auc(rows["label"], rows["score"]) and cell.auc_method == "Newcombe over identities"
    assert cells["dct", "pix"].n_real == 300  # the real class of the run, without sources


def test_no_other_number_changes(plain, paired):
    others = [cell for cell in evaluated(paired) if cell.condition != "paired"]
    assert others == evaluated(plain)
    assert compare(grid(paired)) == compare(grid(plain)) and len(grid(paired)) == len(plain)
    before, after = leaderboard(plain), leaderboard(paired)
    assert set(after.columns) - set(before.columns) == {"paired"} and before.primary == after.primary
    assert after.differences == before.differences and after.many == before.many
    for old, new in zip(before.lines, after.lines, strict=True):
        assert {name: new.columns[name] for name in old.columns} == old.columns
    assert list(after.columns)[-1] == "paired"
    pd.testing.assert_frame_equal(suite_images(paired), suite_images(plain))
    of_fit = [rows[rows["detector"] == "dct"] for rows in (plain, paired)]
    assert _rates(of_fit[0], 1.0) == _rates(of_fit[1], 1.0)


def test_controls_are_tested_on_pairs_too_and_shared_photos_are_no_leak(plain, paired):
    audits = {finding["audit"]: finding for finding in everything(paired)["audits"]}
    before = {finding["audit"]: finding for finding in everything(plain)["audits"]}
    assert {name: audits[name] for name in before if name != "random scores"} == {
        name: before[name] for name in before if name != "random scores"
    }
    assert audits["random scores"]["passed"] and "in paired on paired:pix" in audits["random scores"]["sentence"]
    # a control that tells sources from forgeries marks the run
    caught = paired.copy()
    caught.loc[(caught["detector"] == "random") & (caught["generator"] == "paired:pix"), "score"] += 5
    found = controls(grid(caught), None, caught[caught["source"].str.startswith("paired:")])
    assert found[0].audit == "random scores" and found[0].passed is False and "paired:pix" in found[0].sentence


def test_pairs_are_drawn_together():
    """What a photo and its forgeries share cancels, so that the interval is narrower than of independent images."""
    scores = with_pairs(make_scores(SKILL, n=900), photos=300)
    alone = scores.assign(identity=np.where(scores["source"] == "paired:pix", "", scores["identity"]))
    name = f"dct@{BOTH} on paired:pix #0"
    together, apart = (all_tests(rows)[name] for rows in (scores, alone))
    assert together.auc == apart.auc and together.interval.method == "bootstrap over identities"
    assert apart.interval.method == "DeLong"
    width, independent = (each.interval.high - each.interval.low for each in (together, apart))
    assert width < 0.9 * independent
    # against a bootstrap of photos by hand, each with all that was made from it
    rows = scores[(scores["source"] == "paired:pix") & (scores["detector"] == "dct")]
    photos = list(rows.groupby("identity").indices.values())
    labels, values_of = rows["label"].to_numpy(), rows["score"].to_numpy()
    rng, values = np.random.default_rng(0), []
    for _ in range(200):
        drawn = np.concatenate([photos[i] for i in rng.integers(0, len(photos), len(photos))])
        values.append(auc(labels[drawn], values_of[drawn]))
    low, high = np.quantile(values, [0.025, 0.975])
    assert width == pytest.approx(high - low, rel=0.25)
    (cell,) = cells_of(scores)["dct"]["paired"]
    # the influences of a photo and its forgeries are added up before they are squared
    sums = np.zeros(cell.units.max() + 1)
    np.add.at(sums, cell.units, cell.influence)
    assert 2 * 1.96 * np.sqrt((sums**2).sum()) == pytest.approx(high - low, rel=0.25)


def fits(*assignments, generators=("dcgan", "pix2pix:colour", "self-blended")):
    settings = compose(
        generators=generators, detectors=("dct",), preset="smoke", overrides=parse_assignments(assignments)
    )
    # checked: which generators take faces is a fact of their classes
    return {str(fit.train_set): fit.tests for fit in planned_fits(prepare_run(settings).settings, "dct")}


def test_generators_from_faces_are_tested_beside_their_sources_by_the_fit_on_all():
    planned = fits()
    every = "dcgan+pix2pix:colour+self-blended"
    assert planned[every][-2:] == ("paired:pix2pix:colour", "paired:self-blended")
    assert not [name for name, tests in planned.items() if name != every and any("paired" in test for test in tests)]
    for off in ("conditions.paired=false", "conditions.seen=false", "conditions.only={paired: []}"):
        assert not [test for tests in fits(off).values() for test in tests if "paired" in test]
    assert not [test for tests in fits(generators=("dcgan", "gan")).values() for test in tests if "paired" in test]


def test_a_plan_scores_sources_in_stages_of_their_own():
    settings = compose(generators=("dcgan", "pix2pix:colour"), detectors=("dct", "random"), preset="smoke")
    stages = prepare_run(settings).stages
    pairs = [stage for stage in stages if stage.action == "score-pairs"]
    assert [stage.name for stage in pairs] == [
        f"score-pairs {name}@dcgan+pix2pix:colour on paired:pix2pix:colour" for name in ("dct", "random")
    ]
    (halved,) = (stage for stage in stages if stage.action == "halve")
    (forged,) = (stage for stage in stages if stage.action == "translate")
    assert pairs[0].inputs["data"] == halved and pairs[0].inputs["faces"] == forged
    known = planned_tests(stages)
    assert known["dct@dcgan+pix2pix:colour on paired:pix2pix:colour #0"] == [pairs[0]]
    # plain tests share the run's real images, never those of pairs
    real, scored = known["dct@dcgan+pix2pix:colour on pix2pix:colour #0"]
    assert real.real and real.action == scored.action == "score"
    evaluation = next(stage for stage in stages if stage.action == "evaluate")
    assert set(pairs) <= set(evaluation.scores)


def test_the_page_shows_pairs_beside_other_photos(paired, tmp_path):
    results = make_results(paired)
    made = [entry for entry in results.generators if not entry.name.startswith("paired")]
    results = results.model_copy(update={"generators": made})
    write_report(tmp_path, ReportInputs(results, paired, NO_PICTURES))
    text = html_of(tmp_path)
    Page(text)
    assert 'id="paired"' in text and "100 photos, 300 forgeries of them per generator" in text
    cells = {cell.tested_on: cell for cell in results.cells if cell.detector == "dct"}
    section = text[text.index('id="paired"') :].partition("</section>")[0]
    assert f"others {cells['pix'].auc:.2f}" in section and f"<b>{cells['paired:pix'].auc:.2f}</b>" in section
    assert "dcgan" not in section and "paired:pix" not in text.partition('id="paired"')[0]
    assert "## Same photo before and after" in (tmp_path / "report.md").read_text(encoding="utf-8")


@pytest.mark.e2e
def test_a_run_with_a_translator_tests_it_beside_its_sources(bench, tmp_path):
    stepped = ("--set", "conditions.score_step=0.01")
    code, _, err = bench(
        "run", "-g", "pix2pix:colour", "-d", "dct,metadata", "--name", "mine", *TINY, *stepped, "--quiet"
    )
    assert (code, err) == (0, "")
    folder = tmp_path / "reports" / "mine"
    results = json.loads((folder / "results.json").read_text())
    scores = pd.read_parquet(folder / "scores.parquet")
    (cell,) = (cell for cell in results["cells"] if (cell["detector"], cell["condition"]) == ("dct", "paired"))
    rows = scores[(scores["detector"] == "dct") & (scores["source"] == "paired:pix2pix:colour")]
    sources, forged = rows[rows["label"] == 0], rows[rows["label"] == 1]
    assert (cell["n_real"], cell["n_forged"]) == (len(sources), len(forged)) and len(forged) == 24
    assert set(sources["sample_id"]) == set(forged["made_from"])
    # no source is a real image of another test, nor of the threshold
    others = scores[(scores["generator"] == "") & ~scores["source"].str.startswith("paired:")]
    assert not set(others["sample_id"]) & set(sources["sample_id"])
    same = scores[(scores["detector"] == "dct") & (scores["generator"] == "pix2pix:colour")]
    merged = same.merge(forged, on="sample_id")
    assert len(merged) == 24 and np.array_equal(merged["score_x"], merged["score_y"])
    assert not [audit for audit in results["audits"] if audit["passed"] is False]
    (generator,) = results["generators"]
    assert generator["from_faces"] and {row["reference"] for row in generator["quality"]} == {
        "", "grey photo", "two photos", "two photos of one person",
    }  # fmt: skip
    (fit,) = (fit for fit in results["detectors"] if fit["name"] == "dct")
    steps = scores.loc[scores["detector"] == "dct", "score"] / 2.0 ** np.floor(np.log2(0.01 / fit["calibration"]["a"]))
    assert (steps == steps.round()).all()  # paired ones too
    text = html_of(folder)
    for words in ("Same photo before and after", "photo, condition, forgery", "eight fixed conditions", "label kept"):
        assert words in text
    assert bench("reproduce", "mine")[0] == 0
    code, out, _ = bench("reproduce", "mine", "--from", "checkpoints", "--only", "paired")
    assert code == 0 and "2 IDENTICAL" in out
    assert bench("export", "images", "mine", "--out", "images")[0] == 0
    assert len(list((tmp_path / "images").glob("*.png"))) == len(others[others["split"] == "test"]) // 2 + 24
    assert bench("quality", "pix2pix:colour", "-n", "24")[1].count("(grey photo)") == 3
    assert bench("show", "mine", "-g", "pix2pix:colour")[0] == 0
