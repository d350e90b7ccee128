"""The plan of runs whose detectors read more than images: discriminators, members, fitted detectors."""

from __future__ import annotations

import pytest
from requested import compose

from benchmarks.experiment.configs import parse_assignments
from benchmarks.workflow.planner import plan
from benchmarks.workflow.runner import prepare_run
from benchmarks.workflow.stages.score import Score
from detect.artifact import DetectorCard, TrainedDetector
from detect.detectors.noise_map import NoiseMap
from forge.core import compute
from forge.core.compute import Compute
from forge.core.errors import InputError


def checked(detectors, *assignments, generators=("dcgan", "gan")):
    made = compose(generators=generators, detectors=detectors, preset="smoke", overrides=parse_assignments(assignments))
    return prepare_run(made)


def stage(planned, name):
    return next(stage for stage in planned.stages if stage.name == name)


def test_a_discriminator_is_that_of_the_training_forgeries():
    planned = checked(["disc-raw"])
    for name in ("dcgan", "gan"):
        fit = stage(planned, f"fit disc-raw@{name}")
        assert fit.inputs["adversary"] is stage(planned, f"synthesize {name}").inputs["generator"]


def test_a_named_discriminator_is_used_for_every_training_set():
    planned = checked(["disc-probe@gan", "disc-probe"])
    gan = stage(planned, "train gan")
    assert stage(planned, "fit disc-probe@gan@dcgan").inputs["adversary"].key == gan.key
    assert stage(planned, "fit disc-probe@dcgan").inputs["adversary"].key != gan.key


def test_a_named_moment_is_kept_by_the_training():
    planned = checked(["disc-raw@dcgan@2k"], generators=("dcgan", "dcgan@2k"))
    fit = stage(planned, "fit disc-raw@dcgan@2k@dcgan")
    assert fit.settings["snapshot"] == 2.0
    assert stage(planned, "train dcgan").settings["training"]["snapshots_kimg"] == [2.0]


def test_the_ensemble_makes_its_training_keep_snapshots_at_the_quarters():
    planned = checked(["disc-ensemble"], generators=("dcgan",))
    assert stage(planned, "train dcgan").settings["training"]["snapshots_kimg"] == [1.0, 2.0, 3.0]
    own = checked(["disc-ensemble"], "generator.training.snapshots_kimg=[1.5]", generators=("dcgan",))
    assert stage(own, "train dcgan").settings["training"]["snapshots_kimg"] == [1.5]


def test_blends_are_judged_by_discriminators_and_train_none():
    planned = checked(
        ["disc-raw", "disc-ensemble", "disc-raw@gan", "mean:dct+disc-raw"],
        "conditions.seen=false",
        generators=("gan", "self-blended"),
    )
    fits = {stage.name for stage in planned.stages if stage.action == "fit"}
    assert fits == {
        "fit disc-raw@gan", "fit disc-ensemble@gan", "fit disc-raw@gan@gan", "fit disc-raw@gan@self-blended",
        "fit dct@gan", "fit dct@self-blended", "fit mean:dct+disc-raw@gan",
    }  # fmt: skip
    assert "score disc-raw@gan on self-blended" in {stage.name for stage in planned.stages}


def test_a_detector_stands_twice_in_a_run_under_two_names():
    planned = checked(["npr", "hardened=npr", "mean:npr+hardened"], "detectors.hardened.max_images=64")
    fits = {stage.label: stage for stage in planned.stages if stage.action == "fit"}
    assert {"npr@gan", "hardened@gan", "mean:npr+hardened@gan"} <= set(fits)
    hardened = fits["hardened@gan"].settings
    assert (hardened["detector"], hardened["name"], hardened["settings"]["max_images"]) == ("npr", "hardened", 64)
    assert "name" not in fits["npr@gan"].settings and fits["npr@gan"].settings["settings"]["max_images"] != 64
    assert set(fits["mean:npr+hardened@gan"].members) == {"npr", "hardened"}
    ensemble = checked(["both=mean:npr+dct"])
    assert {"npr@gan", "dct@gan", "both@gan"} <= {stage.label for stage in ensemble.stages if stage.action == "fit"}
    other = checked(["again=npr"], "detectors.again.max_images=64")
    assert stage(other, "fit again@gan").key != fits["hardened@gan"].key  # its card has its name


@pytest.mark.parametrize(
    ("detectors", "message"),
    [
        (["dct=npr"], "'dct' is another detector; choose another name"),
        (["luck=random"], "a control keeps its name"),
        (["one=npr", "one=meso4"], r"two detectors of the run are called 'one' \(npr and meso4\)"),
        (["one=nprr"], "detector 'nprr' is not known; did you mean 'npr'"),
        (["=npr"], "detector '=npr' is not known"),
        (["a b=npr"], "detector 'a b=npr' is not known"),
    ],
)
def test_names_that_a_detector_cannot_have_are_refused(detectors, message):
    with pytest.raises(InputError, match=message):
        checked(detectors)


def test_a_detector_is_explained_on_the_forgeries_it_was_trained_on():
    planned = checked(["dct"])
    assert set(stage(planned, "explain dct@gan").inputs) == {"detector", "forged gan"}


def test_a_file_that_a_setting_of_a_setting_names_is_part_of_the_key(tmp_path):
    weights, keys = tmp_path / "weights.safetensors", []
    for content in (b"one", b"two", b"two"):
        weights.write_bytes(content)
        planned = checked(["self-blended"], f"detector.options.weights={weights}", generators=("gan",))
        keys.append(stage(planned, "fit self-blended@gan").key)
    assert keys[0] != keys[1] == keys[2]


@pytest.mark.parametrize(
    ("detector", "sentence"),
    [
        ("dct@dcgan", r"dct uses no discriminator; leave @dcgan out"),
        ("disc-raw@cgan", r"discriminator of 'cgan', which is not part of the run; name it with --generator too"),
        ("mean:dct", r"must join two or more different detectors"),
        ("mean:dct+dct", r"must join two or more different detectors"),
        ("mean:dct+xcepton", r"detector 'xcepton' is not known; did you mean 'xception'"),
        ("timm:resnet1", r"did you mean '.*resnet1"),
        ("probe:resnet1", r"did you mean '.*resnet1"),
    ],
)
def test_what_cannot_be_planned_is_said_before_work_starts(detector, sentence):
    with pytest.raises(InputError, match=sentence):
        checked([detector])


def test_an_ensemble_brings_its_members_and_waits_for_them():
    planned = checked(["mean:dct+disc-raw@gan"], generators=("dcgan", "gan"))
    names = [item.name for item in planned.stages]
    fit = stage(planned, "fit mean:dct+disc-raw@gan@dcgan")
    assert set(fit.inputs) == {"real", "forged dcgan", "member dct", "member disc-raw@gan"}
    assert names.index("fit dct@dcgan") < names.index("fit disc-raw@gan@dcgan") < names.index(fit.name)
    assert list(planned.settings.detectors) == ["dct", "disc-raw@gan", "mean:dct+disc-raw@gan"]


def test_what_is_set_for_all_detectors_reaches_members_and_not_the_ensemble():
    made = checked(["mean:dct+logistic"], "detector.l2=0.5").settings
    assert made.detectors["dct"].settings["l2"] == made.detectors["logistic"].settings["l2"] == 0.5
    assert "l2" not in made.detectors["mean:dct+logistic"].settings


def test_keys_of_trainings_know_precision_and_threads_and_others_do_not(monkeypatch):
    monkeypatch.setattr(compute, "cpu_has_bf16", lambda: True)
    settings = compose(generators=["dcgan"], detectors=["meso4", "xception"], preset="smoke")
    default, same, threads, precise = (
        prepare_run(settings, compute=Compute("cpu", precision, number))
        for precision, number in (("auto", 2), ("auto", 2), ("auto", 1), ("fp32", 2))
    )
    assert stage(default, "train dcgan").settings["numerics"] == {"precision": "bf16", "threads": 2}
    assert stage(default, "fit meso4@dcgan").settings["numerics"]["precision"] == "fp32"  # not in the table
    assert stage(default, "fit xception@dcgan").settings["numerics"]["precision"] == "bf16"
    keys = [
        {item.name: item.key for item in planned.stages if item.action != "report"}
        for planned in (default, same, threads, precise)
    ]
    assert keys[0] == keys[1]
    trained = {"train dcgan", "fit meso4@dcgan", "fit xception@dcgan"}
    assert all(keys[0][name] != keys[2][name] for name in trained)
    assert keys[0]["prepare rendered"] == keys[2]["prepare rendered"] == keys[3]["prepare rendered"]
    assert keys[0]["train dcgan"] != keys[3]["train dcgan"]


def test_saliency_is_measured_where_it_is_asked_for_and_there_are_no_maps():
    def sources(*assignments):
        planned = checked(["unet", "npr", "dct"], "conditions.matrix=false", *assignments, generators=("splice",))
        return {stage.about: (stage.source, stage.key) for stage in planned.stages if stage.action == "localise"}

    plain, more = sources(), sources("conditions.masks_saliency=true")
    assert set(plain) == {"unet"} and {name: source for name, (source, _) in more.items()} == {
        "unet": "map", "npr": "saliency"
    }  # fmt: skip
    assert plain["unet"] == more["unet"]
    assert not sources("conditions.masks_saliency=true", "conditions.masks=false")


def test_maps_of_a_detector_that_was_fitted_elsewhere_are_measured(tmp_path):
    detector = NoiseMap(NoiseMap.Settings(), 32)
    card = DetectorCard(
        name="noise-map", family="noise-map", citation="-", variant="-", settings=detector.settings.model_dump(),
        resolution=32, seed=0, trained_on="splice", data=[], calibration={"a": 1.0, "b": 0.0}, parameters=0,
        facts={}, history=[],
    )  # fmt: skip
    TrainedDetector(detector, card).save(tmp_path / "there")
    planned = checked([str(tmp_path / "there"), "unet"], generators=("splice",))
    stages = {stage.about: stage for stage in planned.stages if stage.action == "localise"}
    assert stages["there"].source == "map" and stages["there"].tested == ("splice",)
    # the mean of the training masks is that of this run's training, not of the other one on "splice"
    assert (stages["there"].control, stages["unet"].control) == (False, True)


def test_stages_have_names_of_their_own():
    planned = checked(["dct", "disc-raw", "disc-raw@dcgan", "mean:dct+disc-raw"])
    names = [stage.name for stage in planned.stages]
    assert len(names) == len(set(names))
    assert len(plan(planned.settings, source_fingerprint="f")) == len(names)


def test_forgeries_from_real_faces_take_another_half_than_detectors():
    planned = checked(["dct", "disc-raw"], generators=("dcgan", "pix2pix:colour", "self-blended", "pix2pix:colour@2k"))
    prepared, halved = (next(s for s in planned.stages if s.action == action) for action in ("prepare", "halve"))
    for name in ("train dcgan", "train pix2pix:colour"):
        assert stage(planned, name).inputs["data"] == prepared  # split forge is whole for generators
    for name in ("translate pix2pix:colour", "translate pix2pix:colour@2k", "tamper self-blended"):
        assert stage(planned, name).inputs["data"] == halved
    reals = [s.inputs["faces"] for s in planned.stages if s.action == "score" and s.real]
    reals += [s.inputs["real"] for s in planned.stages if s.action == "fit"]
    reals += [s.inputs["data"] for s in planned.stages if s.action in ("quality", "floor", "audit")]
    assert len(reals) > 8 and set(reals) == {halved}
    assert stage(planned, "translate pix2pix:colour@2k").settings["snapshot"] == 2.0
    assert stage(planned, "train pix2pix:colour").settings["training"]["snapshots_kimg"] == [2.0]
    # a translator's discriminator sees the condition too, and judges no image alone
    assert stage(planned, "fit disc-raw@dcgan").inputs["adversary"] == stage(planned, "train dcgan")
    assert not [s for s in planned.stages if s.name == "fit disc-raw@pix2pix:colour"]


def test_methods_share_one_search_for_landmarks():
    names = ("splice", "inpaint", "retouch", "copy-move")
    planned = checked(["dct"], *(f"generators.{name}.network.landmarks=mtcnn" for name in names), generators=names)
    every, taken = stage(planned, "landmarks rendered (all)"), stage(planned, "landmarks rendered (taken)")
    assert [s for s in planned.stages if s.action == "landmarks"] == [every, taken]
    assert stage(planned, "tamper splice").inputs["landmarks"] == every  # any face may be a donor
    for name in ("inpaint", "retouch", "copy-move"):
        assert stage(planned, f"tamper {name}").inputs["landmarks"] == taken
    without = checked(["dct"], generators=names)  # preset smoke takes the average face
    assert "landmarks" not in {s.action for s in without.stages}


def test_without_forgeries_from_real_faces_nothing_is_halved():
    assert "halve" not in {s.action for s in checked(["dct"]).stages}


@pytest.mark.parametrize(
    ("generators", "detectors", "assignments", "sentence"),
    [
        (("pix2pix:edge",), ["dct"], (), "did you mean 'pix2pix:edges'"),
        (("pix2pix:colour",), ["dct"], ("generator.truncation=0.5",), "cannot be truncated"),
        (("pix2pix:colour",), ["dct"], ("generator.mix=uniform",), "takes no labels"),
        (("pix2pix:colour",), ["disc-raw"], (), "starts from a discriminator of images, and pix2pix:colour has none"),
        (("pix2pix:super-resolution",), ["dct"], ("generator.network.factor=3",), "network.factor"),
        (("pix2pix:colour",), ["dct"], ("generator.training.objective=wasserstein",), "training.objective"),
    ],
)
def test_wrong_requests_of_translators_are_refused(generators, detectors, assignments, sentence):
    with pytest.raises(InputError, match=sentence):
        checked(detectors, *assignments, generators=generators)


def test_domains_are_part_of_the_training_and_the_direction_is_not():
    def keys(*assignments):
        planned = checked(["dct"], *assignments, generators=("cyclegan",))
        return {action: stage(planned, f"{action} cyclegan").key for action in ("train", "translate")}

    plain, named = keys(), keys("generator.domains={gender: [Female, Male]}")
    swapped = keys("generator.domains={gender: [Male, Female]}")
    assert len({plain["train"], named["train"], swapped["train"]}) == 3
    backward = keys("generator.domains={gender: [Female, Male]}", "generator.direction=backward")
    assert backward["train"] == named["train"] and backward["translate"] != named["translate"]
    # YAML reads bare words as truth values and numbers
    assert keys("generator.domains={smile: [yes, no]}") == keys('generator.domains={smile: ["yes", "no"]}')
    assert keys("generator.domains={age: [1, 2]}") == keys('generator.domains={age: ["1", "2"]}')
    others = checked(["dct"], generators=("dcgan", "pix2pix:colour"))
    assert all("domains" not in stage(others, f"train {name}").settings for name in ("dcgan", "pix2pix:colour"))
    assert "direction" not in stage(others, "translate pix2pix:colour").settings


@pytest.mark.parametrize(
    ("generators", "assignments", "sentence"),
    [
        (("fastcut",), ("generator.domains={gender: [Female]}",), "name one label column and two of its values"),
        (("fastcut",), ("generator.domains={gender: Female}",), "name one label column and two of its values"),
        (("fastcut",), ("generator.domains={a: [b, c], d: [e, f]}",), "name one label column and two of its values"),
        (("fastcut",), ("generator.domains=gender",), "name one label column and two of its values"),
        (("dcgan", "fastcut"), ("generator.domains={a: [b, c]}",), "'dcgan' does not translate between domains"),
        (("pix2pix:colour",), ("generator.domains={a: [b, c]}",), "set generators.NAME.domains for one that does"),
        (("fastcut",), ("generator.direction=backward",), "exchange the values of its domains, or use cyclegan"),
        (("dcgan",), ("generator.direction=backward",), "'dcgan' has no backward direction; use cyclegan"),
        (("cyclegan",), ("generator.direction=sideways",), "generators.cyclegan.direction"),
        (("fastcut",), ("generator.network.blocks=0",), "network.blocks"),
        (("cyclegan",), ("generator.training.pool=-1",), "training.pool"),
        (("fastcat",), (), "did you mean 'fastcut'"),
    ],
)
def test_wrong_requests_of_translators_between_domains_are_refused(generators, assignments, sentence):
    with pytest.raises(InputError, match=sentence):
        checked(["dct"], *assignments, generators=generators)


def test_domains_of_one_generator_beside_others():
    planned = checked(["dct"], "generators.fastcut.domains={a: [b, c]}", generators=("dcgan", "fastcut"))
    assert stage(planned, "train fastcut").settings["domains"] == {"a": ["b", "c"]}


def test_only_forgeries_with_labels_of_their_own_train_classifiers():
    asked = parse_assignments(["quality.usefulness=true", "conditions.snapshots={cgan: [2]}"])
    made = compose(
        generators=("dcgan", "cgan", "self-blended"), detectors=["dct"], preset="smoke", condition=("hair_colour",),
        overrides=asked,
    )  # fmt: skip
    measured = {stage.label: stage.measured_by for stage in prepare_run(made).stages if stage.action == "quality"}
    assert [label for label, settings in measured.items() if settings.get("usefulness")] == ["cgan"]
    # where nobody asks, or there are no labels, the key says nothing of it
    assert "usefulness" not in measured["dcgan"] and "usefulness" not in measured["cgan@2k"]
    assert all("usefulness" not in stage.settings for stage in checked(["dct"], generators=("cgan",)).stages)


def test_fewer_forgeries_than_real_images_are_scored_where_that_is_asked_for():
    def scored(*assignments):
        planned = checked(["dct"], "images.val=60", "images.test=80", *assignments)
        stages = {stage.name: stage for stage in planned.stages if isinstance(stage, Score)}
        return {name: {part.split: part.count for part in stage.parts} for name, stage in stages.items()}, stages

    counts, plain = scored()
    assert counts["score dct@dcgan on dcgan"] == counts["score dct@dcgan on real"] == {"val": 60, "test": 80}
    counts, fewer = scored("conditions.scored_forgeries={val: 9, test: 40}")
    assert counts["score dct@dcgan on real"] == {"val": 60, "test": 80}
    assert counts["score dct@dcgan on dcgan"] == {"val": 9, "test": 40} and counts["score dct@dcgan on gan"] == {
        "test": 40
    }
    # what is fitted does not change, nor what is scored of real images
    for name in ("score dct@dcgan on real", "score dct@gan on real"):
        assert plain[name].key == fewer[name].key and plain[name].detector.key == fewer[name].detector.key
    more, _ = scored("conditions.scored_forgeries={test: 1000}")
    assert more["score dct@dcgan on gan"] == {"test": 80}  # never more than images.test


def test_a_generator_is_trained_once_for_all_seeds_where_that_is_asked_for():
    def planned(*assignments):
        made = compose(
            generators=("dcgan", "gan", "splice"), detectors=["disc-probe"], preset="smoke", seeds=[5, 6],
            overrides=parse_assignments(assignments),
        )  # fmt: skip
        return {stage.name: stage for stage in prepare_run(made).stages}

    each, once = planned(), planned("generators.dcgan.repeated=false")
    names = {f"{action} {generator} #{seed}" for action in ("train", "synthesize") for generator in ("dcgan", "gan")
             for seed in (5, 6)}  # fmt: skip
    assert names <= set(each) and names - set(once) == {"train dcgan #6"}
    # its forgeries are drawn anew, and its training is the one of the first seed, whatever the other seeds are
    assert once["train dcgan #5"].key == each["train dcgan #5"].key
    assert once["synthesize dcgan #5"].key == each["synthesize dcgan #5"].key
    assert len({once[f"synthesize dcgan #{seed}"].key for seed in (5, 6)}) == 2
    # so are detectors that begin from its discriminator
    for seed in (5, 6):
        fit = once[f"fit disc-probe@dcgan #{seed}"]
        assert fit.seed == seed and fit.adversary.key == once["train dcgan #5"].key
    # of edits, which are not trained, and of one seed alone it says nothing
    assert planned("generator.repeated=false").keys() == {*each} - {"train dcgan #6", "train gan #6"}
    alone = [checked(["dct"], *more) for more in ((), ("generator.repeated=false",))]
    assert [stage.key for stage in alone[0].stages[:-1]] == [stage.key for stage in alone[1].stages[:-1]]


def test_rounded_scores_have_keys_of_their_own_and_their_fits_have_not():
    name = "score dct@dcgan on gan"
    plain, rounded = stage(checked(["dct"]), name), stage(checked(["dct"], "conditions.score_step=0.004"), name)
    assert "step" not in plain.settings and rounded.settings["step"] == 0.004
    assert plain.key != rounded.key and plain.detector.key == rounded.detector.key


@pytest.mark.parametrize(
    "assignment",
    ["conditions.score_step=0", "conditions.score_step=1", "conditions.scored_forgeries={train: 9}",
     "conditions.scored_forgeries={val: 1}"],
)  # fmt: skip
def test_impossible_numbers_of_scores_are_refused(assignment):
    with pytest.raises(InputError, match=assignment.split("=")[0].removeprefix("conditions.")):
        checked(["dct"], assignment)
