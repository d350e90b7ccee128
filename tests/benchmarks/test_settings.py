"""Settings: composed in the right order, every mistake named with field, value and fix."""

import itertools
import re
import shlex

import pytest
from requested import compose, gather

from benchmarks.experiment.configs import as_assignments, parse_assignments, parse_yaml, read_yaml, suites
from benchmarks.experiment.names import safe_name
from benchmarks.experiment.request_fields import RunRequest
from benchmarks.experiment.resolve import default_name
from benchmarks.experiment.settings import DataSettings
from benchmarks.workflow.planner import plan
from benchmarks.workflow.runner import prepare_run
from forge.core.errors import InputError
from forge.core.registry import allow_files

FLAGS = {"generator": "dcgan", "detector": "dct"}


def settings(*assignments, **changes):
    values = {"generators": ["dcgan"], "detectors": ["dct"], "preset": "smoke"} | changes
    return compose(overrides=parse_assignments(assignments), **values)


def test_set_wins_over_the_preset_and_the_preset_over_the_defaults():
    assert settings().generators["dcgan"].training["kimg"] == 4  # the preset's
    assert settings(preset="full").generators["dcgan"].training["kimg"] == 10000
    changed = settings("generator.training.kimg=7", "data.count=50", "images.test=9")
    assert changed.generators["dcgan"].training["kimg"] == 7
    assert changed.data.count == 50 and changed.images.test == 9
    assert changed.generators["dcgan"].training["batch"] == 32  # its neighbours stay


def test_trainings_on_digits_mirror_none_unless_they_are_told_to():
    assert "flip" not in settings().generators["dcgan"].training or settings().generators["dcgan"].training["flip"]
    assert settings(source="digits").generators["dcgan"].training["flip"] is False
    told = settings("generator.training.flip=true", source="digits")
    assert told.generators["dcgan"].training["flip"] is True
    inverted = settings(source="digits", generators=["inversion:dcgan"]).generators["inversion:dcgan"]
    assert inverted.inverts.training["flip"] is False


def test_one_generator_of_several_can_be_set():
    made = settings("generators.dcgan.training.kimg=9", "generator.training.kimg=8")
    assert made.generators["dcgan"].training["kimg"] == 9


WRONG = [
    (["data.resolutoin=32"], r"'data\.resolutoin' is not known; did you mean 'resolution'\?"),
    (["data.resolution=tall"], r"setting 'data\.resolution' cannot be 'tall'"),
    (["data.resolution=4"], r"setting 'data\.resolution' cannot be 4: input should be greater than or equal to 8"),
    (["generator.training.kimg=-1"], r"'generators\.dcgan\.training\.kimg' cannot be -1.*greater than 0"),
    (["generator.training.kmig=1"], r"'generators\.dcgan\.training\.kmig' is not known; did you mean 'kimg'\?"),
    (["generator.network.latent=many"], r"'generators\.dcgan\.network\.latent' cannot be 'many'"),
    (["detector.l3=1"], r"'detectors\.dct\.l3' is not known; did you mean 'l2'\?"),
    (["detectors.dtc.l2=1"], r"--set detectors name 'dtc' is not known; did you mean 'dct'\?"),
    (["dat.count=1"], r"section of --set 'dat' is not known; did you mean 'data'\?"),
    (["data"], r"--set 'data' must look like section.name=value"),
    (["data.count=[1"], r"--set data.count is not YAML"),
    (["data.crop=round"], r"'data\.crop' cannot be 'round': input should be 'none', 'face' or 'ff\+\+'"),
    (["data.resolution=48"], r"resolution 48 is not possible with DCGAN; it makes 16, 32, 64, 128, 256 px"),
]


@pytest.mark.parametrize(("assignments", "message"), WRONG, ids=[w[0][0] for w in WRONG])
def test_a_wrong_setting_is_named(assignments, message):
    with pytest.raises(InputError, match=message):
        prepare_run(settings(*assignments))


UNKNOWN = [
    ({"preset": "quik"}, r"preset 'quik' is not known; did you mean 'quick'\?"),
    ({"generators": ["dcgna"]}, r"generator 'dcgna' is not known; did you mean 'dcgan'"),
    ({"detectors": ["xcepton"]}, r"detector 'xcepton' is not known; did you mean 'xception'\?"),
    ({"source": "renderd"}, r"source or folder 'renderd' is not known; did you mean 'rendered'\?"),
]


@pytest.mark.parametrize(("changes", "message"), UNKNOWN, ids=[next(iter(u[0])) for u in UNKNOWN])
def test_an_unknown_name_gets_the_nearest_ones(changes, message):
    with pytest.raises(InputError, match=message):
        prepare_run(settings(**changes))


def test_a_duplicate_key_is_refused_with_its_line():
    with pytest.raises(InputError, match=r"x: the key 'a' stands twice \(line 3\); keep one"):
        parse_yaml("a: 1\nb: 2\na: 3\n", where="x")


def test_yaml_never_runs_code(tmp_path):
    with pytest.raises(InputError, match="is not YAML"):
        parse_yaml("!!python/object/apply:os.system ['true']", where="x")
    file = tmp_path / "run.yaml"
    file.write_text("generator: plugin.py:Thing\n")
    with pytest.raises(InputError, match="a YAML never imports code: give it as a flag"):
        gather(file, {}, [], "cpu")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- 1\n", "must hold settings as `name: value` lines, not list"),
        ("a: [", "is not YAML"),
        ("genrator: dcgan\n", r"genrator' is not known; did you mean 'generator'\?"),
        ("seed: -1\n", "seed' cannot be -1"),
    ],
)
def test_a_wrong_file_is_named(tmp_path, text, message):
    file = tmp_path / "run.yaml"
    file.write_text(text)
    with pytest.raises(InputError, match=message):
        gather(file, FLAGS, [], "cpu")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"none\.yaml cannot be read: No such file"):
        read_yaml(tmp_path / "none.yaml")


def test_flags_win_over_the_file(tmp_path):
    file = tmp_path / "run.yaml"
    file.write_text("generator: dcgan\ndetector: [xception, dct]\npreset: smoke\nseed: 3\nset: {data: {count: 40}}\n")
    made = gather(file, {"seed": 5, "detector": "dct"}, ["data.count=41"], "cpu")
    assert made.seed == 5 and list(made.detectors) == ["dct"] and made.data.count == 41
    made = gather(file, {}, [], "cpu")
    assert made.seed == 3 and list(made.detectors) == ["xception", "dct"] and made.data.count == 40


def test_the_recorded_command_makes_the_same_run(tmp_path):
    file = tmp_path / "run.yaml"
    file.write_text("generator: dcgan\ndetector: dct\npreset: smoke\nset: {data: {count: 40}, images: {test: 30}}\n")
    made = gather(file, {"seed": 2}, ["generator.training.kimg=1.5"], "cpu")
    words = shlex.split(made.command)
    flags = {w[2:]: v for w, v in itertools.pairwise(words) if w.startswith("--") and w != "--set"}
    sets = [v for w, v in itertools.pairwise(words) if w == "--set"]
    assert gather(None, flags, sets) == made


def test_a_request_survives_its_json(tmp_path):
    file = tmp_path / "run.yaml"
    file.write_text(
        "generator: [dcgan, gan]\ndetector: dct\nseeds: [0, 3]\n"
        "conditions: {robust: [jpeg75]}\nset: {images: {test: 30}}\n"
    )
    made = gather(file, {"metric": "mcc"})
    assert RunRequest.model_validate_json(made.request.model_dump_json()) == made.request and made.name == "run"
    assert made.command == (
        "bench run --generator dcgan,gan --detector dct --metric mcc --preset quick --seeds 0,3 --name run "
        "--set 'conditions.robust=[jpeg75]' --set images.test=30"
    )


def test_the_command_of_a_suite_says_its_name_and_what_differs():
    suite = suites()["smoke"]
    assert gather(suite, {}).command == "bench run smoke"
    assert (
        gather(suite, {"data": "digits"}, ["images.test=30"]).command
        == "bench run smoke --data digits --set images.test=30"
    )


def test_presets_default_by_device():
    assert gather(None, FLAGS, [], "cpu").preset == "quick"
    assert gather(None, FLAGS, [], "cuda").preset == "standard"


def test_no_or_repeated_names_are_refused():
    with pytest.raises(InputError, match="no detector was named; give --detector NAME"):
        gather(None, {"generator": "dcgan"}, [], "cpu")
    with pytest.raises(InputError, match="--detector names 'dct' twice; once is enough"):
        gather(None, {"generator": "dcgan", "detector": "dct,dct"}, [], "cpu")


def test_assignments_go_there_and_back():
    texts = ["a.b=1", "a.c=x", "d=[1, 2]", "e=null", "f='1'"]
    nested = parse_assignments(texts)
    assert parse_assignments(as_assignments(nested)) == nested


def test_names_suit_every_file_system():
    assert safe_name("a/b:c<é>..") == "a-b-c-é"
    assert safe_name("///") == "run"
    for letter in "aé人𠀀":  # letters of 1 to 4 bytes; file systems count bytes
        name = safe_name("x" + letter * 200)
        assert 97 <= len(name.encode()) <= 100 and safe_name(name) == name
    assert safe_name("a" * 99 + "-b") == "a" * 99  # nothing is bared by the cut that would be stripped next time
    made = settings(source="folder:/some/where/My Photos")
    assert default_name(made.generators, made.detectors, made.data, "smoke") == "dcgan-dct-folder-smoke"


def test_the_name_of_a_run_with_many_detectors_counts_them():
    zoo = ["xception", "resnet50", "meso4", "npr", "dct", "spectrum", "hmm"]
    first, second = (
        default_name({"dcgan": 1}, dict.fromkeys(names), DataSettings(), "quick") for names in (zoo, [*zoo[:-1], "svm"])
    )
    assert re.fullmatch(r"dcgan-7-detectors-[0-9a-f]{4}-rendered-quick", first) and first != second


def keys(**changes):
    made = prepare_run(settings(*changes.pop("assignments", ()), **changes)).settings
    return {stage.name: stage.key for stage in plan(made, source_fingerprint="f")}


def test_a_key_depends_on_what_its_stage_reads_and_on_nothing_else():
    base = keys()
    trained_longer = keys(assignments=["generator.training.kimg=5"])
    assert trained_longer["prepare rendered"] == base["prepare rendered"]
    assert trained_longer["train dcgan"] != base["train dcgan"]
    assert trained_longer["fit dct@dcgan"] != base["fit dct@dcgan"]  # through its inputs
    other_detector = keys(assignments=["detector.l2=0.1"])
    assert other_detector["synthesize dcgan"] == base["synthesize dcgan"]
    assert other_detector["fit dct@dcgan"] != base["fit dct@dcgan"]
    renamed = keys(name="other")
    assert {name for name in base if renamed[name] != base[name]} == {"report"}
    spelled_out = keys(assignments=["generator.training.flip=true"])  # the default, written out
    assert {name for name in base if spelled_out[name] != base[name]} == {"report"}  # which says what was asked for
    other_seed = keys(seed=1)
    assert other_seed["prepare rendered"] == base["prepare rendered"]
    assert other_seed["train dcgan"] != base["train dcgan"]


def test_several_generators_give_the_whole_matrix():
    made = prepare_run(settings(detectors=["dct", "xception"])).settings
    two = made.model_copy(update={"generators": {"a": made.generators["dcgan"], "b": made.generators["dcgan"]}})
    names = [stage.name for stage in plan(two, source_fingerprint="f")]
    assert [n for n in names if n.startswith("score dct")] == [
        "score dct@a on real", "score dct@a on a", "score dct@a on b",
        "score dct@b on real", "score dct@b on a", "score dct@b on b",
        "score dct@a+b on real", "score dct@a+b on b",  # a and b are one and the same here, with one result
    ]  # fmt: skip
    assert len(names) == len(set(names))


def test_a_changed_plugin_file_is_noticed_even_under_a_shipped_label(tmp_path):
    plugin = tmp_path / "mine.py"
    allow_files([f"{plugin}:Dct"])
    messages = []
    for body in ("pass", "variant = 'changed'"):
        plugin.write_text(f"from detect.detectors.dct import LogDct\n\n\nclass Dct(LogDct):\n    {body}\n")
        planned = prepare_run(settings(detectors=[f"{plugin}:Dct"]), memory=tmp_path / "plans")
        messages.append({stage.name: stage.key for stage in planned.stages})
    assert messages[0]["train dcgan"] == messages[1]["train dcgan"]
    assert messages[0]["fit dct@dcgan"] != messages[1]["fit dct@dcgan"]


def test_remembered_settings_are_those_that_were_checked_and_damage_is_mended(tmp_path):
    plain = prepare_run(settings())
    for _ in range(2):
        assert prepare_run(settings(), memory=tmp_path).settings == plain.settings
        (memory,) = tmp_path.glob("*.json")
        memory.write_text("{")
    for _ in range(2):  # written, then read
        assert prepare_run(settings(), memory=tmp_path).settings == plain.settings
    with pytest.raises(InputError, match=r"training\.bach' is not known; did you mean 'batch'"):
        prepare_run(settings("generator.training.bach=1"), memory=tmp_path)


def test_snapshots_of_one_training_ask_for_one_training():
    made = settings(generators=["dcgan", "dcgan@2k", "dcgan@1.5k"])
    assert list(made.generators) == ["dcgan", "dcgan@2k", "dcgan@1.5k"]
    assert {tuple(generator.training["snapshots_kimg"]) for generator in made.generators.values()} == {(1.5, 2.0)}
    stages = prepare_run(made).stages
    assert [stage.name for stage in stages if stage.action == "train"] == ["train dcgan"]
    assert sum(stage.action == "synthesize" for stage in stages) == 3


@pytest.mark.parametrize(
    ("generators", "assignments", "message"),
    [
        (["dcgan@9k"], (), "the training shows 4 thousand images; ask for an earlier snapshot"),
        (["dcgan@soon"], (), "a snapshot is named by thousands of images, e.g. dcgan@24k"),
        (["dcgan"], ("generator.snapshot=2",), "cannot be set; use --generator dcgan@24k"),
        (["dcgan"], ("generator.training.snapshots_kimg=24k",), "it is a list of thousands of images"),
        (["dcgan"], ("generator.truncation=0.5",), "'dcgan' cannot be truncated"),
        (["dcgan"], ("generator.mix=uniform",), "'dcgan' takes no labels"),
        (["gan"], ("generator.condition=[glasses]",), "GAN takes no labels"),
    ],
)
def test_generators_that_cannot_be_are_refused_before_work_starts(generators, assignments, message):
    with pytest.raises(InputError, match=message):
        prepare_run(settings(*assignments, generators=generators))


def test_a_condition_goes_to_generators_that_take_labels():
    made = settings(generators=["dcgan", "cgan", "stylegan-lite"], condition=["smile"])
    assert [generator.condition for generator in made.generators.values()] == [(), ("smile",), ("smile",)]
    with pytest.raises(InputError, match="none of the generators dcgan takes labels"):
        settings(generators=["dcgan"], condition=["smile"])
