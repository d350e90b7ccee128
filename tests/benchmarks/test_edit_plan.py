"""Plans of runs with edits: which training is inverted, what is shared, what is refused; the two stages themselves."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from requested import compose

from benchmarks.cli import tamper as cli
from benchmarks.experiment.configs import parse_assignments
from benchmarks.workflow.runner import prepare_run
from benchmarks.workflow.stage import FACES, Context, Job
from forge.core.compute import Compute
from forge.core.errors import InputError, UnknownNameError
from forge.core.progress import silent
from forge.faces.faceset import FaceSet
from forge.generators import GENERATORS
from forge.generators.artifact import write_generator
from forge.tampering import edit, inversion


def planned(*generators, settings=(), condition=()):
    overrides = parse_assignments(settings)
    made = compose(generators=generators, detectors=["random"], preset="smoke", overrides=overrides,
                   condition=condition)  # fmt: skip
    return {stage.name: stage for stage in prepare_run(made).stages}


def test_an_edit_inverts_the_training_of_the_run_and_shares_its_encoder_with_the_control():
    stages = planned("dcgan", "edit:dcgan", "inversion:dcgan")
    edits, control = stages["tamper edit:dcgan"], stages["tamper inversion:dcgan"]
    assert edits.encoder.key == control.encoder.key == stages["encode dcgan"].key
    assert edits.encoder.generator.key == stages["train dcgan"].key == stages["synthesize dcgan"].generator.key
    assert edits.edits == control.edits and edits.key != control.key
    names = list(stages)
    assert names.index("train dcgan") < names.index("encode dcgan") < names.index("tamper edit:dcgan")
    alone = planned("edit:dcgan")
    assert alone["train dcgan"].key == stages["train dcgan"].key and "synthesize dcgan" not in alone
    assert {"prepare rendered", "halve rendered"} <= set(alone)


def test_edit_alone_inverts_stylegan_lite():
    stages = planned("edit", "inversion")
    assert {"tamper edit:stylegan-lite", "tamper inversion:stylegan-lite", "train stylegan-lite"} <= set(stages)


def test_settings_reach_the_training_the_encoder_and_the_edit():
    longer = ("generators.dcgan.training.kimg=5", "generator.training.batch=16")
    ours = ("generators.edit:dcgan.network.encoder.kimg=1", "generators.edit:dcgan.network.strength=[1, 2]")
    stages = planned("dcgan", "edit:dcgan", settings=(*longer, *ours))
    training = stages["encode dcgan"].generator
    assert training.key == stages["train dcgan"].key and training.training["kimg"] == 5
    assert training.training["batch"] == 16 and stages["encode dcgan"].encoder["kimg"] == 1
    assert stages["tamper edit:dcgan"].edits["strength"] == [1, 2]
    assert planned("edit:dcgan", settings=longer)["train dcgan"].key == training.key
    stronger = planned("dcgan", "edit:dcgan", settings=(*longer, ours[0]))
    assert stronger["encode dcgan"].key == stages["encode dcgan"].key


def test_snapshots_of_the_run_do_not_train_it_twice():
    stages = planned("dcgan", "dcgan@2k", "edit:dcgan")
    assert stages["encode dcgan"].generator.key == stages["synthesize dcgan@2k"].generator.key


@pytest.mark.parametrize(
    ("generators", "settings", "condition", "sentence"),
    [
        (["edit:cgan"], (), (), r"cgan cannot be inverted; name dcgan or stylegan-lite"),
        (["edit:pix2pix:edges"], (), (), r"pix2pix:edges cannot be inverted"),
        (["inversion:splice"], (), (), r"splice cannot be inverted"),
        (["edit:nothing"], (), (), r"nothing cannot be inverted"),
        (["edit:dcgan@24k"], (), (), r"is not trained and has no snapshots"),
        (["dcgan"], ("generators.dcgan.inverts={}",), (), r"'generators.dcgan.inverts' cannot be set; use --generator"),
        (["edit:dcgan"], ("generators.edit:dcgan.network.direction=pca",), (), r"did you mean 'directions'"),
        (["edit:dcgan"], ("generators.dcgan.network.widht=1",), (), r"generators.dcgan.network.widht' is not known"),
        (["stylegan-lite", "edit"], (), ["gender"], r"inverts stylegan-lite, which is told gender here"),
    ],
)
def test_what_cannot_be_inverted_is_refused_before_any_work(generators, settings, condition, sentence):
    with pytest.raises(InputError, match=sentence):
        planned(*generators, settings=settings, condition=condition)


def test_settings_of_a_generator_that_nothing_inverts_are_refused():
    with pytest.raises(UnknownNameError, match="generators"):
        planned("edit:dcgan", settings=("generators.stylegan-lite.training.kimg=5",))


def test_the_stages_write_an_encoder_and_edited_faces_and_own_photos_are_edited_by_them(
    bench, make_set, tmp_path, monkeypatch
):
    for module in (inversion, edit):
        monkeypatch.setattr(module, "BLOCK", 4)
    ours = "generators.edit:dcgan.network"
    few = (f"{ours}.inversion.steps=1", f"{ours}.directions=[closed-form]", f"{ours}.encoder.kimg=0.02",
           f"{ours}.encoder.batch=4", "images={train: 4, val: 2, test: 2}")  # fmt: skip
    tamper = planned("edit:dcgan", settings=few)["tamper edit:dcgan"]
    encode, folders = tamper.encoder, {}
    for stage in (tamper.data, encode.data, encode.generator, encode, tamper):
        folders[stage.key] = tmp_path / stage.action
    for stage in (tamper.data, encode.data):
        faces = make_set(stage.action, {"forge": 8, "train": 6, "val": 4, "test": 4}, resolution=32)
        folders[stage.key].mkdir()
        (folders[stage.key] / FACES).symlink_to(faces.path)
    architecture = encode.generator.untrained(32)
    folders[encode.generator.key].mkdir()
    write_generator(
        folders[encode.generator.key], raw=architecture.generator(), averaged=architecture.generator(),
        card={"name": "dcgan", "architecture": "dcgan", "settings": encode.generator.network, "resolution": 32,
              "seed": 0, "kimg": 1, "training": {}, "data": {}, "precision": "fp32", "parameters": {}},
    )  # fmt: skip
    context = Context(SimpleNamespace(), Compute(device="cpu"), 0, silent)
    for stage in (encode, tamper):
        folders[stage.key].mkdir()
        given = {each.key: folders[each.key] for each in stage.inputs.values()}  # as the engine does
        facts = stage.run(Job(given, folders[stage.key], tmp_path, context))
    assert facts == {"images": 8}
    made = FaceSet.open(folders[tamper.key] / FACES)
    assert made.verify() == [] and made.card.name == "edit:dcgan" and made.card.splits["train"] == 4
    assert (np.asarray(made.read_masks(range(8))) > 0).any()
    restored = type(tamper).restored(
        tamper.described(), {stage.key: stage for stage in (tamper.data, encode, encode.generator)}, key=tamper.key
    )
    assert restored.encoder is encode and restored.inverted is encode.generator
    # a finished run whose store has these folders
    stages = [SimpleNamespace(action="tamper", label="edit:dcgan")]
    report = SimpleNamespace(results=SimpleNamespace(name="r", stages=stages))
    manifests = {folders[each.key]: SimpleNamespace(inputs={name: stage.key for name, stage in each.inputs.items()})
                 for each in (tamper, encode)}  # fmt: skip
    monkeypatch.setattr(cli, "RunReport", SimpleNamespace(open=lambda name, reports: report))
    monkeypatch.setattr(cli, "stage_of", lambda results, label, action: tamper)
    monkeypatch.setattr(cli, "stored_result", lambda results, stage, store: folders[stage.key])
    monkeypatch.setattr(cli, "read_manifest", lambda folder: manifests[folder])
    monkeypatch.setattr(cli.Store, "find", lambda store, action, key: folders.get(key))
    Image.fromarray(make_set("photo", {"test": 1}, resolution=32).read([0])[0]).save(tmp_path / "me.png")
    flags = ("tamper", "edit:dcgan", str(tmp_path / "me.png"), "--run", "r", "--set", "inversion={steps: 1}", "--set",
             "landmarks=average")  # fmt: skip
    code, out, err = bench(*flags)
    assert code == 0, err
    folder = tmp_path / "pictures" / "edit-dcgan"
    files = (tmp_path / "me.png", folder / "me.png", folder / "me-mask.png")
    before, after, mask = (np.asarray(Image.open(file)) for file in files)
    assert "face, " in out and (after != before).any() and np.array_equal(after[mask == 0], before[mask == 0])
    assert "makes: 32; leave it out" in bench(*flags, "--resolution", "64")[2]
    folders.pop(encode.key)
    assert "encoder of tamper is not in runs/ any more" in bench(*flags)[2]
    assert (
        "run r has no 'inversion:dcgan', its edits are edit:dcgan" in bench(flags[0], "inversion:dcgan", *flags[2:])[2]
    )


def test_an_edit_from_a_file_must_say_what_it_inverts(tmp_path, monkeypatch):
    entries = GENERATORS.entries | {"mine": "forge.tampering.edit:LatentEdit"}
    monkeypatch.setattr(GENERATORS, "entries", entries)
    with pytest.raises(InputError, match="'mine' inverts a generator that its name does not say"):
        planned("mine")
