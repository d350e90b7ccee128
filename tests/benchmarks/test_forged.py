"""Runs with forgeries that are files: how they are asked for, and what is planned."""

import shutil

import numpy as np
import pytest
from PIL import Image
from requested import compose

from benchmarks.experiment.forged import parse_forged
from benchmarks.experiment.request import changed, command_of
from benchmarks.experiment.request_fields import RunRequest
from benchmarks.experiment.resolve import resolve
from benchmarks.workflow.runner import prepare_run
from forge.core.errors import BenchError, InputError


@pytest.fixture
def theirs(tmp_path):
    folder = tmp_path / "theirs"
    folder.mkdir()
    for number in range(60):
        Image.fromarray(np.random.default_rng(number).integers(0, 256, (8, 8, 3), np.uint8)).save(
            folder / f"{number}.png"
        )
    return folder


def asked(forged, generators=("gan",), **more):
    values = {"generator": list(generators), "detector": ["dct"], "preset": "smoke", "forged": forged, **more}
    request, _ = changed(RunRequest(), values)
    return resolve(request)


def planned(*arguments, **more):
    return prepare_run(asked(*arguments, **more)).stages


def test_files_stand_in_every_training_and_test_as_a_generator(theirs):
    stages = planned({"theirs": str(theirs)})
    names = [stage.name for stage in stages]
    assert "gather theirs" in names and "quality theirs" in names
    assert {"fit dct@gan", "fit dct@theirs", "fit dct@gan+theirs", "score dct@gan on theirs"} <= set(names)
    assert not any(name.startswith(("train theirs", "halve")) for name in names)


def test_the_key_follows_the_contents_and_the_name_and_not_the_path(theirs, tmp_path):
    def key(**forged):
        stages = planned({name: str(path) for name, path in forged.items()})
        return next(stage.key for stage in stages if stage.action == "gather")

    first = key(theirs=theirs)
    moved = tmp_path / "elsewhere" / theirs.name
    moved.parent.mkdir()
    shutil.copytree(theirs, moved)
    assert key(theirs=moved) == first and key(others=theirs) != first
    (theirs / "0.png").unlink()
    assert key(theirs=theirs) != first


def test_real_faces_are_read_first_where_files_name_people(theirs):
    of = {stage.action: stage for stage in planned({"theirs": str(theirs)})}
    assert "data" not in of["gather"].inputs
    (theirs / "labels.csv").write_text("file,identity\n0.png,p0\n1.png,p0\n")
    of = {stage.action: stage for stage in planned({"theirs": str(theirs)})}
    assert of["gather"].inputs["data"] is of["prepare"]


def test_a_run_of_files_alone_needs_no_generator(theirs):
    actions = {stage.action for stage in planned({"theirs": str(theirs)}, generators=())}
    assert "gather" in actions and "train" not in actions


def test_families_are_named_or_their_own(theirs):
    settings = asked({"a": str(theirs), "b": {"path": str(theirs), "family": "conv-gan"}})
    assert {name: each.family for name, each in settings.generators.items() if each.path} == {
        "a": "a",
        "b": "conv-gan",
    }


def test_the_command_asks_for_the_same_files_again(theirs):
    forged = parse_forged([f"a={theirs}", f"b:conv-gan={theirs}"])
    settings = asked(forged)
    assert f"--forged a={theirs}" in settings.command and f"--forged b:conv-gan={theirs}" in settings.command
    assert command_of(settings.request) == settings.command


def test_a_run_without_files_is_stored_as_before_there_were_any():
    settings = compose(generators=["gan"], detectors=["dct"], preset="smoke")
    assert "forged" not in settings.request.model_dump() and "path" not in settings.generators["gan"].model_dump()


@pytest.mark.parametrize(
    ("forged", "words"),
    [
        ({"dcgan": "x"}, "there is a generator of this name; choose another, e.g. dcgan-files"),
        ({"a+b": "x"}, "'a\\+b' cannot be the name of a generator"),
        ({"theirs": "nowhere"}, "nowhere does not exist"),
        ({"theirs": {"path": "x", "famly": "y"}}, "theirs has a path and perhaps a family, not 'famly'"),
        ({"theirs": ""}, "forged.theirs.path"),
    ],
)
def test_wrong_forgeries_are_refused(forged, words):
    with pytest.raises(BenchError, match=words):
        planned(forged)


@pytest.mark.parametrize("text", ["theirs", "=path", "a:=path", "a="])
def test_a_text_that_names_no_set_is_refused(text):
    with pytest.raises(InputError, match="NAME=ROOT"):
        parse_forged([text])
    with pytest.raises(InputError, match="twice"):
        parse_forged(["a=x", "a=y"])


def test_files_do_not_race_and_have_no_snapshots(theirs):
    with pytest.raises(InputError, match="theirs is files"):
        asked({"theirs": str(theirs)}, rounds=1)
    with pytest.raises(InputError, match="'theirs' has no snapshots"):
        planned({"theirs": str(theirs)}, conditions={"snapshots": {"theirs": [1]}})


@pytest.fixture
def masked(theirs):
    rows = ["path,label,mask"]
    for number, file in enumerate(sorted(theirs.glob("*.png"))):
        (theirs / "masks").mkdir(exist_ok=True)
        mask = np.zeros((8, 8), np.uint8)
        mask[: number % 7 + 1] = 255
        Image.fromarray(mask).save(theirs / "masks" / file.name)
        rows.append(f"{file.name},fake,masks/{file.name}")
    (theirs / "manifest.csv").write_text("\n".join(rows))
    return theirs


def test_localisers_learn_from_masks_of_files_and_are_measured_against_them(masked):
    stages = {stage.name: stage for stage in planned({"theirs": str(masked)}, detector=["unet"])}
    gathered = stages["gather theirs"]
    assert gathered.masked and gathered.settings["masked"] is True
    measured = stages["localise unet@theirs"]
    assert (measured.tested, measured.learned, measured.control) == (("theirs",), ("theirs",), True)
    assert measured.forged == {"theirs": gathered}
    # without a detector that has maps, the key is that of the images alone
    plain = next(stage for stage in planned({"theirs": str(masked)}) if stage.action == "gather")
    assert not plain.masked and "masked" not in plain.settings and plain.key != gathered.key
