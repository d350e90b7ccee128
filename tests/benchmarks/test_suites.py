"""Suites end to end: seeds, conditions, the leaderboard from stored scores, and what fails by itself."""

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from synthetic import TINY, Page, html_of

from benchmarks.evaluation.submission import suite_images
from benchmarks.experiment.configs import read_yaml, suites, validated
from benchmarks.experiment.request_fields import RunRequest
from benchmarks.protocol import PROTOCOL_VERSION, TrainSet

pytestmark = pytest.mark.e2e

SUITE = """
title: a test
protocol: 2
seeds: [3, 4]
generator: [gan, self-blended]
detector: [dct, disc-raw, random]
conditions:
  unseen: true
  robust: [jpeg75]
  equalised: true
  budget: [8]
  shuffled: [dct]
  only: {budget: [dct]}
"""

BROKEN = '''
from detect.detectors.dct import LogDct


class Broken(LogDct):
    """A dct that fails at the end of its fit."""

    family = "broken"

    def fit(self, data, context):
        raise RuntimeError("on purpose")
'''


POOR = '''
from forge.generators.gan import GAN


class Poor(GAN):
    """A generator that cannot be built."""

    def generator(self):
        raise RuntimeError("no luck")
'''


# val is halved by identity: of 160 faces one real person would be left in it, and random labels of one class
HALVED = (*TINY, "--set", "data.count=320")


@pytest.mark.xdist_group("suites")
def test_a_suite_runs_every_condition_and_its_leaderboard_is_made_of_scores(bench, tmp_path):
    (tmp_path / "mine.yaml").write_text(SUITE)
    code, out, err = bench("run", "mine.yaml", *HALVED, "--quiet")
    assert (code, err) == (0, "")
    folder = tmp_path / "reports" / "mine"
    results = json.loads((folder / "results.json").read_text())
    assert results["seeds"] == [3, 4]
    # the command needs no file: one of a user may not exist elsewhere
    command = "bench run --generator gan,self-blended --detector dct,disc-raw,random --preset smoke --seeds 3,4"
    assert results["command"].startswith(command)
    cells = pd.DataFrame(results["cells"])
    assert set(cells["seed"]) == {3, 4}
    assert results["families"] == {"gan": "dense-gan", "self-blended": "blending"}
    means = {(mean["detector"], mean["column"]): mean for mean in results["means"]}
    unseen = means["dct", "unseen"]
    assert unseen["family_low"] <= unseen["low"] <= unseen["auc"] <= unseen["high"] <= unseen["family_high"]
    assert unseen["balanced_accuracy"] is not None and means["dct", "seen"]["balanced_accuracy"] is None
    assert set(cells["condition"]) == {
        "seen", "unseen", "robust", "equalised", "budget", "shuffled", "paired",
    }  # fmt: skip
    assert {(entry["name"], entry["seed"]) for entry in results["generators"]} == {
        (name, seed) for name in ("gan", "self-blended") for seed in (3, 4)
    }
    # a discriminator exists for one generator alone; budgets were limited to dct
    trained = {name: set(of["trained_on"]) for name, of in cells.groupby("detector")}
    assert trained["dct"] - trained["random"] == {"gan+self-blended:8", "gan+self-blended:shuffled"}
    assert trained["disc-raw"] == {"gan", "gan+self-blended", "gan+self-blended:equalised"}
    scores = pd.read_parquet(folder / "scores.parquet")
    assert all(TrainSet.parse(text) for text in scores["trained_on"].unique())
    text = html_of(folder)
    Page(text)
    assert 'id="leaderboard"' in text and "2 of 4 missing" in text and 'id="audits"' in text
    assert "random cannot tell" in text and "for random on" not in text  # what is to find nothing is no news
    assert "## Leaderboard" in (folder / "report.md").read_text(encoding="utf-8")
    audits = {entry["audit"]: entry["passed"] for entry in results["audits"]}
    assert audits["shuffled labels"] is not None and audits["copies in two splits of the real images"] is True

    board = json.loads(bench("leaderboard", "mine", "--format", "json")[1])
    assert board["primary"] == "unseen" and board["seeds"] == [3, 4]
    assert set(board["columns"]) >= {"unseen", "seen", "robust", "equalised", "budget 8"}
    ranked = {line["detector"]: line for line in board["lines"]}
    assert ranked["disc-raw"]["rank"] is None and ranked["disc-raw"]["columns"]["unseen"]["missing"] == 2
    for name, start in (("md", "| rank"), ("html", "<table>"), ("csv", "rank,"), ("table", "")):
        code, text, _ = bench("leaderboard", "mine", "--format", name)
        assert code == 0 and "disc-raw" in text and text.lstrip().startswith(start)
    assert "2 of 4 missing" in bench("leaderboard", "mine", "--format", "md")[1]
    assert bench("leaderboard", "mine", "--format", "pdf")[0] == 2
    assert "no column 'external'" in bench("leaderboard", "mine", "--by", "external")[2]

    code, out, err = bench("export", "images", "mine", "--out", "given")
    assert (code, err) == (0, "")
    given = {file.stem for file in (tmp_path / "given").glob("*.png")}
    table = pd.read_csv(tmp_path / "given" / "scores.csv")
    assert set(table["image"]) == given and len(given) == len(list((tmp_path / "given").glob("*.png")))
    test = suite_images(scores).drop_duplicates("image").set_index("image")
    assert given == set(test.index)  # rendered faces may be shown
    picture = Image.open(tmp_path / "given" / f"{table['image'][0]}.png")
    assert picture.size == (16, 16) and not picture.text
    table["score"] = [
        float(np.asarray(Image.open(tmp_path / "given" / f"{name}.png")).mean()) for name in table["image"]
    ]
    table.to_csv(tmp_path / "bright.csv", index=False)
    code, out, err = bench("submit", "bright.csv", "--suite", "mine", "--name", "bright")
    assert (code, err) == (0, "") and "bright" in out
    board = json.loads(bench("leaderboard", "mine", "--format", "json")[1])
    assert next(line for line in board["lines"] if line["detector"] == "bright")["rank"] is not None
    table.assign(score=1.0 - test.loc[table["image"], "label"].to_numpy()).to_csv(tmp_path / "turned.csv", index=False)
    assert "higher must mean forged" in bench("submit", "turned.csv", "--suite", "mine", "--name", "turned")[1]
    assert "already" in bench("submit", "turned.csv", "--suite", "mine", "--name", "dct")[2]
    assert "cannot name a file" in bench("submit", "turned.csv", "--suite", "mine", "--name", "a/b")[2]
    assert "exists already" in bench("export", "images", "mine", "--out", "given")[2]

    code, out, _ = bench("run", "mine.yaml", *HALVED, "--dry-run", "--json")
    assert {row["state"] for row in json.loads(out)} == {"cached"}


@pytest.mark.usefixtures("trained_gan")
@pytest.mark.xdist_group("suites")
def test_a_detector_that_fails_leaves_the_others_their_report(bench, tmp_path, monkeypatch):
    (tmp_path / "broken.py").write_text(BROKEN)
    arguments = ("run", "-g", "gan", "-d", "dct,broken.py:Broken", "--name", "both", *TINY, "--quiet")
    code, _, err = bench(*arguments)
    assert code == 1 and "fit broken@gan failed: RuntimeError: on purpose" in err and "tries again" in err
    results = json.loads((tmp_path / "reports/both/results.json").read_text())
    assert {cell["detector"] for cell in results["cells"]} == {"dct"}
    assert list(results["missing"]) == ["fit broken@gan"] and "on purpose" in results["missing"]["fit broken@gan"]
    text = html_of(tmp_path / "reports/both")
    assert "broken" in text and "on purpose" in text

    (tmp_path / "broken.py").write_text(
        BROKEN.replace('raise RuntimeError("on purpose")', "return super().fit(data, context)")
    )
    for name in [name for name in sys.modules if name.startswith("bench_plugin_broken")]:
        monkeypatch.delitem(sys.modules, name)  # as in a process of its own
    code, _, err = bench(*arguments)
    assert (code, err) == (0, "")
    results = json.loads((tmp_path / "reports/both/results.json").read_text())
    assert {cell["detector"] for cell in results["cells"]} == {"dct", "broken"} and results["missing"] == {}


@pytest.mark.usefixtures("trained_gan")
def test_a_generator_that_fails_leaves_the_others_theirs(bench, tmp_path):
    """A detector that should have been tested on its forgeries is tested on those there are."""
    (tmp_path / "poor.py").write_text(POOR)
    command = ("run", "-g", "gan,poor.py:Poor,self-blended", "-d", "dct", "--name", "most", *TINY, "--quiet")
    code, _, err = bench(*command)
    assert code == 1 and "train poor failed: RuntimeError: no luck" in err and "the report is there without" in err
    results = json.loads((tmp_path / "reports/most/results.json").read_text())
    # the fit on all generators went with one of them, and with it the test beside sources
    assert {cell["tested_on"] for cell in results["cells"]} == {"gan", "self-blended"}
    assert [entry["name"] for entry in results["generators"]] == ["gan", "self-blended"]
    assert list(results["missing"]) == ["train poor"]


@pytest.mark.usefixtures("trained_gan")
def test_the_generator_that_tests_share_is_the_one_of_their_runs(bench):
    code, out, _ = bench("run", "-g", "gan", "-d", "dct", *TINY, "--dry-run", "--json")
    cached = {row["stage"] for row in json.loads(out) if row["state"] == "cached"}
    assert code == 0 and cached == {"prepare rendered", "train gan", "synthesize gan", "floor rendered", "quality gan"}


def test_what_was_asked_wrongly_ends_the_run_at_once(bench, tmp_path):
    code, _, err = bench(
        "run", "-g", "gan,cgan", "--condition", "hair", "-d", "dct", "--name", "typo", *TINY, "--quiet"
    )
    assert code == 2 and "did you mean 'hair_colour'" in err and not (tmp_path / "reports/typo").exists()


@pytest.mark.usefixtures("trained_gan")
def test_a_run_of_which_nothing_is_left_fails_as_its_first_stage_did(bench, tmp_path):
    (tmp_path / "broken.py").write_text(BROKEN)
    code, _, err = bench("run", "-g", "gan", "-d", "broken.py:Broken", "--name", "none", *TINY, "--quiet")
    assert code == 1 and "on purpose" in err and not (tmp_path / "reports/none").exists()


@pytest.mark.parametrize("name", sorted(suites()))
def test_shipped_suites_are_valid_and_listed(name, bench):
    suite = validated(RunRequest, read_yaml(suites()[name]), where=name)
    assert suite.title and suite.protocol == PROTOCOL_VERSION and suite.seeds
    assert name in bench("list", "suites")[1]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("protocol: 1\nseeds: [0]", "written for protocol 1; this version measures by protocol 2"),
        ("seeds: [0, 0]\ngenerator: gan\ndetector: dct", "names the seed 0 twice"),
        ("seeds: [-1]\ngenerator: gan\ndetector: dct", "greater than or equal to 0"),
        ("generator: gan\ndetector: dct\nconditions: {robus: [jpeg75]}", "did you mean 'robust'"),
        ("generator: gann\ndetector: dct", "did you mean 'gan'"),
    ],
)
def test_a_suite_that_asks_for_what_is_not_there_is_refused(bench, tmp_path, text, sentence):
    (tmp_path / "bad.yaml").write_text(text)
    code, _, err = bench("run", "bad.yaml", *TINY)
    assert code == 2 and sentence in err


def test_an_unknown_suite_is_named_with_the_nearest(bench):
    code, _, err = bench("run", "smok")
    assert code == 2 and "did you mean 'smoke'" in err


@pytest.mark.xdist_group("suites")
def test_a_suite_of_two_sources_is_two_reports_and_one_table(bench, tmp_path):
    text = "sources: [rendered, digits]\nseeds: [0]\ngenerator: gan\ndetector: [dct, random]\n"
    (tmp_path / "two.yaml").write_text(text)
    code, out, err = bench("run", "two.yaml", *TINY, "--json")
    assert (code, err) == (0, "")
    assert [Path(entry["report"]).name for entry in json.loads(out)] == ["two-rendered", "two-digits"]
    for name in ("rendered", "digits"):
        results = json.loads((tmp_path / "reports" / f"two-{name}" / "results.json").read_text())
        assert results["data"]["name"] == name
        assert f"--data {name}" in results["command"] and f"--name two-{name}" in results["command"]
    code, out, err = bench("run", "two.yaml", *TINY)
    assert code == 0 and "two-digits, 2 of 2 sources" in out and "two-rendered and two-digits" in out
    code, out, _ = bench("leaderboard", "two-rendered", "two-digits", "--format", "json")
    board = json.loads(out)
    assert code == 0 and board["lines"][0]["detector"] == "dct" and board["lines"][0]["columns"]["seen"]["cells"] == 2
    code, out, _ = bench("run", "two.yaml", *TINY, "--data", "digits", "--dry-run")
    assert code == 0 and "prepare digits" in out and "prepare rendered" not in out
    code, out, _ = bench("run", "two.yaml", *TINY, "--dry-run", "--json")
    assert code == 0 and [rows[0]["stage"] for rows in json.loads(out)] == ["prepare rendered", "prepare digits"]
    for more, sentence in (
        ("sources: [a/people, b/people]", "two of its sources are called 'people'"),
        ("sources: [rendered, digits]\ndata: rendered", "names both data and sources"),
    ):
        (tmp_path / "bad.yaml").write_text(f"generator: gan\ndetector: dct\n{more}\n")
        code, _, err = bench("run", "bad.yaml")
        assert code == 2 and sentence in err
    code, _, err = bench("leaderboard", "two-digits", "two-digits")
    assert code == 2 and "stands twice" in err
