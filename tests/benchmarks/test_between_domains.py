"""A run with translators between domains from one end to the other: report, groups, pictures, own photos."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image
from synthetic import SPARING

from forge.faces.faceset import FaceSet

pytestmark = pytest.mark.e2e

RUN = (
    "run",
    "-g",
    "cyclegan",
    "-d",
    "random",
    "--preset",
    "smoke",
    "--name",
    "moved",
    "--store",
    "s",
    "--reports",
    "r",
)
WHERE = ("--store", "s", "--reports", "r")


def test_a_run_between_domains_is_reported_shown_and_used_on_own_photos(bench, tmp_path):
    domains = "generator.domains={gender: [female, male]}"
    # one photo a person, so that both genders are in the few photos of each half
    short = (
        "data.options={images_per_person: 1, size: 64}", "data.resolution=16", "generator.training.kimg=0.5",
        "images={train: 32, val: 16, test: 24}",
    )  # fmt: skip
    options = [*SPARING, *(part for setting in (domains, *short) for part in ("--set", setting))]
    code, _, err = bench(*RUN, *options)
    assert code == 0, err
    results = json.loads((tmp_path / "r/moved/results.json").read_text())
    (generator,) = results["generators"]
    assert generator["domains"] == {"gender": ["female", "male"]}
    assert 'cyclegan translates faces with gender "female" to "male"' in (tmp_path / "r/moved/report.md").read_text()
    audits = {audit["audit"]: audit for audit in results["audits"]}
    # all forgeries are men, half of the real faces: the gender alone has an AUC of 3/4; of 23 photos that may be chance
    assert audits["labels, cyclegan"]["numbers"]["gender"] > 0.6
    forged = FaceSet.open(next((tmp_path / "s").glob("results/translate-*/faces")))
    real = FaceSet.open(next((tmp_path / "s").glob("results/halve-*/faces")))
    labels = real.table.set_index("id")["gender"]
    assert set(forged.table["gender"]) == {"male"} and set(labels[forged.table["made_from"]]) == {"female"}

    # the other direction of the same training: nothing is trained again
    code, out, err = bench(*RUN, *options, "--set", "generator.direction=backward", "--name", "back")
    assert code == 0, err
    assert len(list((tmp_path / "s").glob("results/train-*"))) == 1
    back = [FaceSet.open(path) for path in (tmp_path / "s").glob("results/translate-*/faces")]
    assert sorted(set(faces.table["gender"]).pop() for faces in back) == ["female", "male"]

    code, out, err = bench("show", "moved", "-g", "cyclegan", *WHERE, "--out", "shown")
    assert code == 0 and "female to male" in out and Image.open(tmp_path / "shown/translations.png").width > 8 * 16, err
    photo = real.read([0])[0].repeat(2, 0).repeat(2, 1)
    Image.fromarray(photo).save(tmp_path / "me.png")
    for flags, folder in (((), "one"), (("--backward",), "two")):
        code, _, err = bench("translate", "moved", "me.png", *WHERE, "--out", folder, *flags)
        assert code == 0, err
    one, two = (np.asarray(Image.open(tmp_path / folder / "me.png")) for folder in ("one", "two"))
    assert one.shape == (16, 16, 3) and (one != two).any()


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ("generator.domains={glases: [none, sun]}", "label column 'glases' is not known; did you mean 'glasses'?"),
        ("generator.domains={glasses: [none, suns]}", "value of glasses 'suns' is not known; did you mean 'sun'?"),
        # before the training: among the few test faces of preset smoke nobody wears them
        ("generator.domains={glasses: [sun, none]}", "has no face with glasses 'sun' to translate"),
    ],
)
@pytest.mark.xdist_group("domains")  # one process, which draws their faces once
def test_domains_that_the_set_does_not_have_end_the_run_with_the_nearest_names(bench, setting, sentence):
    code, out, err = bench(*RUN, "-g", "fastcut", "--set", setting)
    assert code and sentence in " ".join((out + err).split())
