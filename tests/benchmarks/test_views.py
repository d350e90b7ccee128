"""The axis `views`: its column, its stages, what it refuses, and photos scored by crops."""

from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from requested import compose

from benchmarks.experiment.configs import parse_assignments
from benchmarks.experiment.validate import typed
from benchmarks.inference.conformal import Conformal
from benchmarks.inference.familiarity import Familiarity
from benchmarks.inference.photo_scores import score_photos
from benchmarks.inference.photos import list_photos
from benchmarks.inference.predictor import Predictor
from benchmarks.inference.threshold import Threshold
from benchmarks.inference.validation import Validation
from benchmarks.inference.verdict import Judge
from benchmarks.protocol import CLEAN, Condition, Protocol, TestGrid, TrainSet, column_of, condition_of
from benchmarks.protocol.conditions import meaning_of_column
from benchmarks.workflow.planner import plan
from benchmarks.workflow.stages.external import External
from benchmarks.workflow.stages.score import Score
from detect.training.calibration import Calibration
from forge.core.compute import Compute
from forge.core.errors import InputError, UnknownNameError
from forge.faces.crop import Face, FaceCrop


def made(tmp_path, *assignments, detectors=("npr", "random"), external=True):
    pairs = {"mine": (str(tmp_path / "real"), str(tmp_path / "fake"))} if external else {}
    overrides = parse_assignments(assignments)
    asked = {"generators": ("gan",), "detectors": detectors, "external": pairs, "overrides": overrides}
    return typed(compose(preset="smoke", **asked))


def test_each_view_has_a_column_beside_external():
    every, grid = TrainSet.of("gan"), TestGrid.of(["gan", "external:mine"], [TrainSet.of("gan")], Protocol())
    assert condition_of(every, "external:mine", "view:tiles", grid) is Condition.VIEWS
    assert column_of(every, "external:mine", "view:tiles", grid) == "views tiles"
    assert column_of(every, "external:mine", CLEAN, grid) == "external"
    assert column_of(TrainSet.of("gan", variant="200"), "external:mine", "view:tiles", grid) == ""
    assert "centred; mean of the scores" in meaning_of_column("views tiles")


def test_photos_are_prepared_in_their_own_pixels_for_detectors_that_take_crops(tmp_path):
    settings = made(tmp_path, "conditions.views=[tiles, five-crops]")
    stages = plan(settings, source_fingerprint="0", external_fingerprints={"mine": ("1", "2")})
    sides = [stage for stage in stages if isinstance(stage, External)]
    # 32 px in preset smoke, twice as much for views
    assert [(side.label, side.resolution) for side in sides if side.cut] == [
        ("mine real 64 px", 64),
        ("mine forged 64 px", 64),
    ]
    scores = [stage for stage in stages if isinstance(stage, Score) and stage.faces in sides]
    viewed = [stage for stage in scores if stage.faces.cut]
    assert {stage.detector.detector for stage in viewed} == {"npr"}  # no control
    assert [part.perturbation for part in viewed[0].parts] == ["view:tiles", "view:five-crops"]
    assert len({stage.name for stage in stages}) == len(stages)
    # what there was before keeps its keys
    without = plan(made(tmp_path), source_fingerprint="0", external_fingerprints={"mine": ("1", "2")})
    kept = {stage.key for stage in without if not stage.name.startswith(("evaluate", "report"))}
    assert kept <= {stage.key for stage in stages}
    assert "views" not in made(tmp_path).conditions.model_dump()


def test_what_cannot_be_viewed_is_refused(tmp_path):
    views = "conditions.views=tiles"
    with pytest.raises(UnknownNameError, match="view 'tile' is not known; did you mean 'tiles'"):
        made(tmp_path, "conditions.views=tile")
    with pytest.raises(InputError, match="'resize' is how every test is made"):
        made(tmp_path, "conditions.views=resize")
    with pytest.raises(InputError, match=r"this run has none: .*; add --external"):
        made(tmp_path, views, external=False)
    with pytest.raises(InputError, match=r"view_resolution is 32, no larger than .* \(32 px\)"):
        made(tmp_path, views, "conditions.view_resolution=32")
    with pytest.raises(InputError, match=r"detector svm has no view tiles: .*conditions.only.views=\[npr\]"):
        made(tmp_path, views, detectors=("npr", "svm"))
    assert made(tmp_path, views, "conditions.only.views=[npr]", detectors=("npr", "svm")).conditions.views == ("tiles",)


class MeanValue:
    """A detector whose score is the mean value of an image of 8 px."""

    takes_crops = True

    def score(self, images, compute):
        assert images.shape[1:] == (8, 8, 3)
        return images.mean(axis=(1, 2, 3)).astype(np.float64)


@pytest.fixture
def judge():
    trained = SimpleNamespace(
        detector=MeanValue(), calibration=Calibration(1.0, 0.0), card=SimpleNamespace(resolution=8)
    )
    fixed = Threshold(100.0, 0.5, "a rule")
    # -49.5 to 149.5 of real faces, 50.5 to 249.5 of forgeries: usual for both from about 61 to 139
    validation = Validation(Conformal(np.arange(200.0) - 49.5, np.arange(200.0) + 50.5), Familiarity((500.0, 600.0)))
    return Judge.of(Predictor(trained, "mean", "gan", fixed, "none", "run", validation=validation))


def test_photos_are_scored_by_crops_in_their_own_pixels(judge, tmp_path, monkeypatch):
    monkeypatch.setattr("benchmarks.inference.photo_scores.COUNTED", 0)  # no search for faces
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    Image.fromarray(pixels[:7]).save(tmp_path / "b.png")
    large = np.random.default_rng(1).integers(0, 256, (100, 90, 3), np.uint8)
    Image.fromarray(large).save(tmp_path / "c.png")
    photos = list_photos([tmp_path])
    # the middle square of 20 px, and in it four tiles
    square = pixels[:, 5:25].astype(float)
    tiles = [square[y : y + 8, x : x + 8].mean() for y in (2, 10) for x in (2, 10)]
    # of a larger photo the middle 8 x 8 tiles
    middle = large[18:82, 13:77].reshape(8, 8, 8, 8, 3).mean(axis=(1, 3, 4))
    for view, expected in [
        ("tiles", (np.mean(tiles), middle.mean())),
        ("tiles-max", (np.max(tiles), middle.max())),
        ("centre-crop", (square[6:14, 6:14].mean(), large[46:54, 41:49].mean())),
    ]:
        scored = score_photos(judge, photos, Compute(), view=view)
        assert [row.get("score") for row in scored.rows] == [
            pytest.approx(expected[0]),
            None,
            pytest.approx(expected[1]),
        ]
        # smaller than a crop: said, not enlarged
        assert scored.rows[1]["problem"] == f"too small: 30 x 7 pixels, one crop of the view {view} has 8 x 8"
        # the verdict is that of the crops' score; what is known of whole images alone is left out, which is said
        assert scored.rows[0]["verdict"] == judge.answer(scored.rows[0]["score"], {}).verdict == "cannot say"
        assert not {"reencoded", "unlike"} & (set(scored.rows[0]) | set(scored.rows[2]))
        assert scored.of_view.startswith(f"View {view}: ") and "those of whole images" in scored.of_view
        assert scored.sentences[-1] == scored.of_view and "Re-encodings and the comparison" in scored.of_view
    whole = score_photos(judge, photos, Compute())
    assert whole.rows[1]["note"] == "enlarged 1.14 times" and whole.of_view == ""
    assert len(whole.rows[0]["reencoded"]) == 6 and "training: reduced" in whole.rows[0]["unlike"]


@pytest.mark.parametrize("crop", ["face", "ff++"])
def test_every_face_of_a_photo_is_judged_by_its_crops(judge, crop, tmp_path, monkeypatch):
    pixels = np.full((120, 240, 3), 30, np.uint8)
    pixels[:, 120:] = 220
    pixels[:60] -= 20  # the upper half of each face is darker
    Image.fromarray(pixels).save(tmp_path / "a.png")

    def face(left, side):
        box, shape = (left, 40, left + side, 40 + side), FaceCrop().template
        return Face(box, shape * side + [left, 40], np.array(box, np.float64))

    faces = [face(30, 40), face(170, 40), face(200, 4)]
    finder = SimpleNamespace(find_all=lambda images: [faces] * len(images))
    monkeypatch.setattr("forge.faces.ingest.finder_for", lambda settings: finder)
    whole = score_photos(judge, list_photos([tmp_path]), Compute(), crop=crop)
    by_crops = score_photos(judge, list_photos([tmp_path]), Compute(), crop=crop, view="five-crops")
    for scored in (whole, by_crops):
        assert [row["face"] for row in scored.rows] == ["1 of 3", "2 of 3", "3 of 3"]
        assert [row["box"] for row in scored.rows] == [each.box for each in faces]
        assert [row.get("score") for row in scored.rows] == [pytest.approx(20, abs=3), pytest.approx(210, abs=3), None]
        assert [row.get("verdict") for row in scored.rows] == ["real", "forged", None]
        assert scored.rows[2]["problem"].startswith("too small: the face's square is ")
    # the same square in all re-encodings
    assert all(abs(value - 20) < 4 for value in whole.rows[0]["reencoded"].values())
    assert "reencoded" not in by_crops.rows[0]


def test_whole_images_alone_are_re_encoded_and_some_detectors_score_no_crops(judge, tmp_path):
    Image.new("RGB", (16, 16)).save(tmp_path / "a.png")
    photos = list_photos([tmp_path])
    with pytest.raises(InputError, match="--reencode judges whole images and not crops of the view tiles"):
        score_photos(judge, photos, Compute(), view="tiles", reencode=True)
    judge.predictor.trained.detector.takes_crops = False
    with pytest.raises(InputError, match="detector mean has no view tiles"):
        score_photos(judge, photos, Compute(), view="tiles")
    with pytest.raises(UnknownNameError, match="view 'tilse' is not known; did you mean 'tiles'"):
        score_photos(judge, photos, Compute(), view="tilse")


def test_rendered_faces_are_large_enough_for_the_resolution():
    def options(*assignments, **asked):
        return compose(
            generators=("gan",), detectors=("npr",), overrides=parse_assignments(assignments), **asked
        ).data.options

    assert options(resolution=128) == {} == options(resolution=144)
    assert options(resolution=224) == {"size": 252} and options(resolution=256) == {"size": 288}
    assert options("data.options.size=400", resolution=256) == {"size": 400}
    assert options(resolution=256, source="photos") == {}
