"""The axis `views`: its column, its stages, and what it refuses."""

import pytest
from requested import compose

from benchmarks.experiment.configs import parse_assignments
from benchmarks.experiment.validate import typed
from benchmarks.protocol import CLEAN, Condition, Protocol, TestGrid, TrainSet, column_of, condition_of
from benchmarks.protocol.conditions import meaning_of_column
from benchmarks.workflow.planner import plan
from benchmarks.workflow.stages.external import External
from benchmarks.workflow.stages.score import Score
from forge.core.errors import InputError, UnknownNameError


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
