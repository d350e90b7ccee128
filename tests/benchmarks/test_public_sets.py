"""Public test sets in a run: columns from a folder, their means, rates of one class, and `bench data sets`."""

import json

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image
from requested import compose, gather

from benchmarks.cli.sets import sets_below
from benchmarks.evaluation.cells import Scored, Where
from benchmarks.evaluation.external import one_class_rates, set_means
from benchmarks.evaluation.interval import Interval
from benchmarks.evaluation.proportions import proportion_interval
from benchmarks.evaluation.results import ColumnMean, Results
from benchmarks.evaluation.run_facts import ExternalFacts
from benchmarks.experiment.external import notes_of
from benchmarks.experiment.matrix import planned_fits
from benchmarks.report.sections.external import external_content
from benchmarks.report.text.run_warnings import warnings
from benchmarks.workflow.external_sources import external_sources
from benchmarks.workflow.runner import prepare_run
from forge.core.errors import InputError

FLAGS = {"generator": ["gan"], "detector": ["dct"], "preset": "smoke"}


def images(root, folder, count=20, start=0):
    (root / folder).mkdir(parents=True)
    for number in range(count):
        Image.fromarray(np.full((4, 4, 3), start + number, np.uint8)).save(root / folder / f"{number:03d}.png")


@pytest.fixture(scope="module")
def genimage(tmp_path_factory):
    """Two generators; one more of which there are too few forgeries, and photos that are not read."""
    root = tmp_path_factory.mktemp("sets") / "GenImage"
    for name, forged in (("biggan", 20), ("adm", 20), ("glide", 3)):
        images(root, f"imagenet_ai_0419_{name}/val/ai", forged)
        images(root, f"imagenet_ai_0419_{name}/val/nature", start=100)
    (root / "imagenet_ai_0419_biggan/val/ai/x.HEIC").touch()
    return root


def test_a_set_has_a_test_a_subset_and_says_what_was_recognised(genimage):
    settings = compose(**FLAGS, external={"gi": str(genimage)})
    assert {name: test.sides for name, test in settings.external.items()} == {
        "gi/adm": ("real", "forged"), "gi/biggan": ("real", "forged"), "gi/glide": ("real",),
    }  # fmt: skip
    first, second = notes_of(settings)
    assert first.startswith("external gi: GenImage: 3 subsets, 60 real and 43 forged, split val; 1 files are not read")
    assert "x.HEIC': a HEIC photo" in first and "left out, fewer than 20 images of a class: glide: 3 forged" in second
    assert not any("notes" in test for test in settings.model_dump()["external"].values())
    fits = planned_fits(settings, "dct")
    assert any({"external:gi/adm", "external:gi/biggan"} <= set(fit.tests) for fit in fits)
    names = {stage.name for stage in prepare_run(settings).stages}
    assert {"external gi/adm real", "external gi/adm forged", "score dct@gan on external:gi/glide real"} <= names
    assert "external gi/glide forged" not in names  # its forgeries are too few
    real, forged = external_sources(settings)["gi/biggan"]
    assert [item.file for item in forged.chunk([0, 1])] == [
        f"imagenet_ai_0419_biggan/val/ai/{number:03d}.png" for number in range(2)
    ]
    assert real.chunk([0])[0].identity == "image imagenet_ai_0419_biggan/val/nature/000.png"


def test_flags_yaml_and_python_name_a_set_alike(genimage, tmp_path):
    python = gather(None, FLAGS | {"external": {"gi": str(genimage)}})
    assert gather(None, FLAGS, pairs=[f"gi={genimage}"]).external == python.external
    (tmp_path / "r.yaml").write_text(yaml.safe_dump({**FLAGS, "sets": {"gi": str(genimage)}}))
    suite = gather(tmp_path / "r.yaml", {})
    assert suite.external == python.external and suite.request.external == {"gi": str(genimage)}
    assert f"--external gi={genimage}" in python.command
    (tmp_path / "r.yaml").write_text(yaml.safe_dump({**FLAGS, "sets": {"a": "x"}, "external": {"a": "y"}}))
    with pytest.raises(InputError, match="sets and external both name 'a'"):
        gather(tmp_path / "r.yaml", {})
    with pytest.raises(InputError, match="--external names 'a' twice"):
        gather(None, FLAGS, pairs=["a=x", "a=y"])
    with pytest.raises(InputError, match="there is no folder nowhere"):
        gather(None, FLAGS, pairs=["a=nowhere"])


def test_a_folder_with_a_comma_is_a_set_unless_it_can_be_a_pair(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    images(tmp_path, "a,b/0_real")
    assert gather(None, FLAGS, pairs=["x=a,b"]).external["x"].root == "a,b"
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    with pytest.raises(InputError, match="can be read in 2 ways"):
        gather(None, FLAGS, pairs=["x=a,b"])


def test_videos_alone_and_too_few_images_are_refused_with_the_reason(tmp_path, monkeypatch):
    for side in ("0_real", "1_fake"):
        (tmp_path / "clips" / side).mkdir(parents=True)
        (tmp_path / "clips" / side / "a.mp4").touch()
    with pytest.raises(InputError, match=r"no column has 20 images of a class \(x: 16 real; x: 16 forged\)"):
        compose(**FLAGS, external={"x": str(tmp_path / "clips")})
    monkeypatch.setattr("benchmarks.experiment.external.can_read_videos", lambda: False)
    with pytest.raises(InputError, match=r"holds 2 videos and no images; pip install 'deepfake-bench\[video\]'"):
        compose(**FLAGS, external={"x": str(tmp_path / "clips")})
    images(tmp_path, "few/0_real", 3)
    with pytest.raises(InputError, match=r"no column has 20 images of a class \(x: 3 real\)"):
        compose(**FLAGS, external={"x": str(tmp_path / "few")})


def test_masks_of_a_set_are_used_where_a_run_measures_them(tmp_path):
    images(tmp_path, "real")
    images(tmp_path, "fake")
    images(tmp_path, "masks")
    rows = ["path,label,mask", *(f"real/{n:03d}.png,real," for n in range(20))]
    rows += [f"fake/{n:03d}.png,fake,masks/{n:03d}.png" for n in range(20)]
    (tmp_path / "manifest.csv").write_text("\n".join(rows))
    for generator, detector, masked in (("gan", "dct", False), ("splice", "noise-map", True)):
        settings = compose(**FLAGS | {"generator": [generator], "detector": [detector]}, external={"m": str(tmp_path)})
        planned = prepare_run(settings)
        assert planned.external["m"][1].masked is masked
        assert [stage.masked for stage in planned.stages if stage.action == "external"] == [False, masked]


# --- What is measured -------------------------------------------------------------------------------------------------


def scored(column, units, seed=0):
    influence = np.full(len(units), 0.1 / np.sqrt(len(units)))
    interval = Interval(0.6, 0.9, "DeLong", 0.95)
    return Scored(Where("", column, "none", seed), "gan", 0.8, interval, influence, np.array(units))


def test_the_mean_of_a_set_knows_of_images_that_columns_share():
    def width(second):
        cells = {"dct": {"external": [scored("external:s/a", range(8)), scored("external:s/b", second)]}}
        means = {mean.column: mean for mean in set_means(cells)}
        assert set(means) == {"external:s", "external:s/a", "external:s/b"} and means["external:s"].auc == 0.8
        return means["external:s"].high - means["external:s"].low

    # two columns of the same images say no more than one of them; of other images the variance halves
    assert width(range(8, 16)) == pytest.approx(width(range(8)) / np.sqrt(2), rel=0.01)


def test_a_detector_without_a_column_has_no_mean_over_the_set():
    cells = {
        "dct": {"external": [scored("external:s/a", range(4)), scored("external:s/b", range(4))]},
        "npr": {"external": [scored("external:s/a", range(4))]},
    }
    assert {(mean.detector, mean.column) for mean in set_means(cells)} == {
        ("dct", "external:s"), ("dct", "external:s/a"), ("dct", "external:s/b"), ("npr", "external:s/a"),
    }  # fmt: skip
    assert set_means({"dct": {"external": [scored("external:pair", range(4))]}}) == []  # the leaderboard's column


def rows(split, source, generator, scores, identity=""):
    label = int(bool(generator))
    return pd.DataFrame(
        {
            "sample_id": [f"{source}{generator}{n}" for n in range(len(scores))], "split": split, "source": source,
            "generator": generator, "label": label, "score": scores, "probability": 0.5, "identity": identity,
            "perturbation": "none", "detector": "dct", "trained_on": "gan", "seed": 0,
        }
    )  # fmt: skip


def test_one_class_gives_a_rate_at_the_threshold_of_val():
    val = [
        rows("val", "faces", "", [0.0, 1.0]),
        rows("val", "gan", "gan", [2.0, 3.0]),
    ]
    alone = rows("test", "external:r", "", [1.0, 2.0, 3.0, 0.5])
    both = [rows("test", "external:b", "", [0.0]), rows("test", "external:b", "external:b", [5.0])]
    clips = rows("test", "external:f", "external:f", [5.0] * 6 + [0.0] * 2, ["a"] * 4 + ["b"] * 4)
    real, forged = sorted(one_class_rates(pd.concat([*val, alone, *both, clips])), key=lambda rate: rate.kind)[::-1]
    assert (real.tested_on, real.kind, real.n, real.rate) == ("external:r", "real", 4, 0.5)
    interval = proportion_interval([False, True, True, False])
    assert (real.low, real.high) == (interval.low, interval.high)
    assert (forged.kind, forged.n, forged.rate) == ("forged", 8, 0.75)
    assert forged.method == "Wilson over identities"  # two clips, not eight images
    assert one_class_rates(pd.concat([*val, *both])) == []


def results(**fields):
    empty = {name: [] for name in ("audits", "detectors", "generators", "seeds", "means", "rates", "external")}
    return Results.model_construct(**empty | {"missing": {}} | fields)


def facts(name, kind, count, groups=None):
    return ExternalFacts(name=name, kind=kind, images=count, groups=groups, rejected={}, digest="")


def test_the_section_shows_columns_their_mean_and_other_tests():
    means = [
        ColumnMean(detector=detector, column=column, auc=auc, low=auc - 0.1, high=auc + 0.1)
        for detector, auc in (("dct", 0.6), ("npr", 0.7))
        for column in ("external:s", "external:s/a", "external:s/b", "external:pair")
        if (detector, column) != ("dct", "external:pair")
    ]
    counts = [facts("external:s/a", "real", 40, groups=8), facts("external:s/a", "forged", 50)]
    content = external_content(results(means=means, external=counts))
    of_set, others = content.sets
    assert of_set.columns == [("mean", "2 columns"), ("a", "40 real in 8 groups, 50 forged"), ("b", "")]
    assert [detector for detector, _ in of_set.lines] == ["npr", "dct"] and of_set.lines[0][1][0].value == "0.70"
    assert others.columns == [("pair", "")] and [detector for detector, _ in others.lines] == ["npr"]


def test_unequal_classes_are_said():
    counts = [facts("external:x", "real", 20), facts("external:x", "forged", 5000)]
    (sentence,) = warnings(results(external=counts))
    assert sentence.startswith("external:x has 20 real and 5,000 forged images") and "20 real ones" in sentence
    assert warnings(results(external=[facts("external:x", "real", 20), facts("external:x", "forged", 90)])) == []
    clips = [facts("external:x", "real", 200, groups=10), facts("external:x", "forged", 200)]
    assert "external:x has 10 real and 200 forged images" in warnings(results(external=clips))[0]


def test_photos_that_were_left_out_are_said():
    some = facts("external:x", "forged", 30).model_copy(
        update={"rejected": {"too small": 1200, "no face": 2}, "left_out": ["a.png", "b/c.png"]}
    )
    (sentence,) = warnings(results(external=[facts("external:x", "real", 30), some]))
    assert sentence == (
        "external:x: its numbers are without 1,202 of 1,232 forged images (2 no face, 1,200 too small; e.g. a.png, "
        "b/c.png), which could not be used."
    )
    (both,) = warnings(results(external=[some.model_copy(update={"kind": "real"}), some]))
    assert "1,232 real images (" in both and ") and 1,202 of 1,232 forged images (" in both
    assert "left_out" not in facts("external:x", "real", 30).model_dump(mode="json")
    (earlier,) = warnings(results(external=[some.model_copy(update={"left_out": []})]))
    assert "1,200 too small), which" in earlier


# --- bench data sets --------------------------------------------------------------------------------------------------


def test_data_sets_lists_what_is_recognised(bench, genimage, tmp_path):
    code, out, err = bench("data", "sets", str(genimage))
    assert (code, err) == (0, "")
    assert "GenImage: 3 subsets, 60 real and 43 forged, split val" in out and "not read: 1" in out
    code, out, _ = bench("data", "sets", str(genimage), "--json")
    (facts_of_set,) = json.loads(out)
    assert facts_of_set["subsets"]["glide"] == {"real": 20, "forged": 3} and facts_of_set["layout"] == "genimage"
    assert facts_of_set["splits"] == {"val": {"forged": 43, "real": 60}}
    code, _, err = bench("data", "sets", "nowhere")
    assert code == 2 and "does not exist" in err


def test_layouts_are_listed_with_their_trees(bench):
    code, out, err = bench("list", "layouts")
    assert (code, err) == (0, "") and "SET[/CLASS]/" in out and "FaceForensics++" in out


def test_a_folder_of_several_layouts_is_listed_set_by_set(genimage, tmp_path):
    images(tmp_path, "many/Chameleon/test/0_real", 1)
    (tmp_path / "many/GenImage").symlink_to(genimage)
    (tmp_path / "many/notes").mkdir()
    assert [test_set.layout for test_set in sets_below(tmp_path / "many")] == ["class-folders", "genimage"]
