"""The zoo: generators and detectors as small folders that a name stands for, in runs, archives and on photos."""

import json
import shutil
import tarfile
import zipfile
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from finished import finished_run
from PIL import Image
from requested import compose
from synthetic import ONE, make_results, make_scores

from benchmarks.cli import completion
from benchmarks.cli.zoo import _Publisher, rebuilding
from benchmarks.evaluation.run_facts import ZooFacts
from benchmarks.experiment.settings import GeneratorSettings
from benchmarks.experiment.zoo import generator_of_zoo, seen_in_training
from benchmarks.inference.check_faces import CheckFaces
from benchmarks.report.text.generator_notes import generator_notes
from benchmarks.speed.gpu.zoo import keep
from benchmarks.workflow.generator_records import Computation, GeneratorRecords
from benchmarks.workflow.runner import prepare_run
from benchmarks.workflow.stage import Context, Job
from benchmarks.workflow.stages.load import Load
from benchmarks.zoo.archive import add, pack
from benchmarks.zoo.members import Member, member_of, members
from benchmarks.zoo.overview import COLUMNS, write_overview
from benchmarks.zoo.publish import TRANSLATED, Measured, Origin, Rounding, default_name, publish_generator, write_card
from forge.core.compute import Compute
from forge.core.errors import BenchError, BenchWarning, InputError
from forge.core.files import read_json, write_json
from forge.core.progress import silent
from forge.generators.artifact import TrainedGenerator, write_generator
from forge.generators.gan import GAN
from forge.generators.translation.edges import Edges
from forge.quality.metric import Row
from forge.quality.sets import Ask

COMMAND = "bench run --generator gan --detector random && bench zoo publish run gan"


def untrained(folder, architecture, name, **card):
    """Write a generator with random weights, as a training would."""
    folder.mkdir()
    values = {
        "name": name, "architecture": name, "settings": architecture.settings.model_dump(mode="json"),
        "family": architecture.family, "resolution": 16, "seed": 0, "kimg": 1.0, "training": {}, "precision": "fp32",
        "data": {"name": "photos", "digest": "ab" * 32, "licence": "CC0", "images": 24}, "parameters": {},
    }  # fmt: skip
    networks = {"raw": architecture.generator(), "averaged": architecture.generator()}
    write_generator(folder, **networks, card=values | card, discriminator=architecture.discriminator())
    return TrainedGenerator.open(folder)


@pytest.fixture(scope="module")
def training(tmp_path_factory) -> TrainedGenerator:
    """A generator `gan` of 16 px with log and health."""
    settings = GAN.Settings(grey=False, generator_widths=(256,), discriminator_widths=(256,))
    trained = untrained(tmp_path_factory.mktemp("training") / "gan", GAN(settings, 16), "gan")
    (trained.path / "log.jsonl").write_text('{"kimg": 1.0, "seconds": 2.0}\n')
    write_json(trained.path / "health.json", [{"kimg": 1.0, "state": "healthy", "reason": "near", "readings": {}}])
    return trained


@pytest.fixture(scope="module")
def published(training, tmp_path_factory) -> Member:
    out = tmp_path_factory.mktemp("zoo") / "gan-16"
    return publish_generator(training, out, name="gan-16", origin=Origin(COMMAND, "Somebody 2020", "fp32, 1 threads"))


@pytest.fixture
def zoo(published, tmp_path, monkeypatch) -> Path:
    """A folder of the user's members, which holds gan-16."""
    folder = tmp_path / "zoo"
    shutil.copytree(published.folder, folder / "gan-16")
    monkeypatch.setenv("BENCH_ZOO", str(folder))
    return folder


def planned(*generators, detectors=("dct",), **more):
    asked = {"generators": list(generators), "detectors": list(detectors), "preset": "smoke", "resolution": 16} | more
    return prepare_run(compose(**asked)).stages


def test_a_member_is_halved_weights_with_what_describes_them(training, published):
    names = {"weights.safetensors", "generator.json", "samples.png", "health.json", "log.jsonl", "README.md"}
    assert set(published.card.files) == names and published.check() is published
    assert published.card.family == "dense-gan" and published.card.resolution == 16 and published.card.rounding <= 2
    weights = [(folder / "weights.safetensors").stat().st_size for folder in (published.folder, training.path)]
    assert weights[0] < weights[1] / 3
    assert TrainedGenerator.open(published.folder).card.name == "zoo:gan-16"
    text = (published.folder / "README.md").read_text(encoding="utf-8")
    assert (
        "Somebody 2020" in text
        and "    bench zoo publish run gan\n" in text
        and "largest difference of a value" in text
    )


def test_its_quality_is_measured_on_the_halved_weights_beside_the_reference(training, make_set, tmp_path, monkeypatch):
    real, seen = make_set("photos", {"forge": 4}), []

    def measured_set(forged, *arguments, **more):
        seen.append((forged.card.provenance["weights_sha256"], len(forged), *arguments))
        rows = [
            Row("sliced Wasserstein x 1000", 17.04951, 9.2, "lower", 16),
            Row("truth", float("nan"), None, "lower", 16),
        ]
        return SimpleNamespace(rows=lambda: rows)

    monkeypatch.setattr("benchmarks.zoo.publish.measure_set", measured_set)
    ask = Ask(n=16)
    member = publish_generator(
        training, tmp_path / "x-16", name="x-16", origin=Origin(COMMAND), measured=Measured(real, ask)
    )
    assert seen == [(member.weights_sha256, 16, real, ask)]
    assert [row["value"] for row in read_json(member.folder / "quality.json")] == [17.04951, None]
    assert member.card.sliced_wasserstein == (17.04951, 9.2)
    assert "| sliced Wasserstein x 1000 | 17.05 | 9.2 | lower | 16 |" in (member.folder / "README.md").read_text()


@pytest.mark.parametrize(
    ("name", "largest", "sentence"),
    [("gan-16", 0.05, "at most 0.05 MB; train a narrower network"), ("200", 8, "cannot name a member of the zoo")],
)
def test_a_member_that_is_too_large_or_wrongly_named_is_refused(training, tmp_path, name, largest, sentence):
    with pytest.raises(InputError, match=sentence):
        publish_generator(training, tmp_path / "m", name=name, origin=Origin(COMMAND), largest_mb=largest)
    assert not (tmp_path / "m").exists()


def test_names_of_members_follow_generator_and_resolution():
    assert default_name("pix2pix:edges", 64) == "pix2pix-edges-64"
    assert default_name("dcgan@24k", 32) == "dcgan-32" and default_name("zoo:dcgan-64", 64) == "dcgan-64"


def test_samples_of_a_translator_show_photos_only_where_they_may_be_shown(training, make_set, tmp_path):
    real = make_set("photos", {"forge": 24, "test": 20})
    edges = Edges(Edges.Settings(generator_width=4, discriminator_width=4), 16)
    trained = untrained(tmp_path / "trained", edges, "pix2pix:edges")
    measured = Measured(real, Ask(n=16))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("benchmarks.zoo.publish._quality_rows", lambda *_: [])
        hidden, shown, generated = (
            publish_generator(
                trained, tmp_path / f"e{number}-16", name=f"e{number}-16", measured=measured,
                origin=Origin(COMMAND, shown=number == 1), other=training if number == 2 else None,
            )
            for number in range(3)
        )  # fmt: skip
    assert "samples.png" not in hidden.card.files and "samples.png" in shown.card.files
    assert "made of real faces" in (shown.folder / "README.md").read_text(encoding="utf-8")
    assert "![Faces of another generator, " in (generated.folder / "README.md").read_text(encoding="utf-8")
    with Image.open(generated.folder / "samples.png") as picture:  # face, condition and forgery of twelve, enlarged
        assert picture.width > TRANSLATED * 64 and 3 * 64 <= picture.height < 4 * 64


def test_a_picture_of_the_zoo_has_a_row_for_each_generator_of_one_size(published, training, tmp_path):
    edges = Edges(Edges.Settings(generator_width=4, discriminator_width=4), 16)
    trained = untrained(tmp_path / "trained", edges, "pix2pix:edges")
    origin = Origin(COMMAND)
    translator = publish_generator(trained, tmp_path / "edges-16", name="edges-16", origin=origin, other=training)
    assert write_overview([translator, published], tmp_path / "faces.png") == ["gan-16", "edges-16"]
    with Image.open(tmp_path / "faces.png") as picture:
        assert picture.height < 3 * 64 and picture.width > COLUMNS * 64
    # alone a translator has no faces that may be shown
    assert write_overview([translator], tmp_path / "none.png") == [] and not (tmp_path / "none.png").exists()


def test_rounding_counts_changed_values():
    whole = np.zeros((1, 2, 2, 3), np.uint8)
    halved = whole.copy()
    halved[0, 0, 0] = (2, 1, 0)
    assert Rounding.of(whole, halved) == Rounding(2, 0.25, 2 / 12, 1)


def test_a_run_takes_weights_in_place_of_a_training_and_shares_them_over_seeds(zoo):
    stages = planned("zoo:gan-16", "dcgan", seeds=(0, 1))
    names = [stage.name for stage in stages]
    assert names.count("load zoo:gan-16") == 1 and not any(name.startswith("train zoo") for name in names)
    assert {"synthesize zoo:gan-16 #0", "synthesize zoo:gan-16 #1", "fit dct@dcgan+zoo:gan-16 #1"} <= set(names)
    settings = compose(generators=["zoo:gan-16"], detectors=["dct"], preset="smoke", resolution=16)
    assert settings.generators["zoo:gan-16"].family == "dense-gan" and "--generator zoo:gan-16" in settings.command


def test_members_are_completed(zoo):
    assert "dcgan,zoo:gan-16" in completion.generators("dcgan,zoo:")
    assert "zoo:gan-16" not in completion.detectors("zoo:")


def test_the_key_follows_the_weights_alone(zoo, training, monkeypatch, tmp_path):
    def key(name):
        return next(stage.key for stage in planned(name) if isinstance(stage, Load))

    first = key("zoo:gan-16")
    other = publish_generator(training, tmp_path / "other" / "other-16", name="other-16", origin=Origin("another"))
    shutil.copytree(other.folder, zoo / "other-16")
    assert key("zoo:other-16") == first and key("zoo:gan-16") == first
    with pytest.raises(InputError, match="are the same weights; name one of them"):
        planned("zoo:gan-16", "zoo:other-16")


@pytest.mark.parametrize(
    ("generators", "more", "sentence"),
    [
        (["zoo:gna-16"], {}, "did you mean 'zoo:gan-16'"),
        (["zoo:gan-16"], {"resolution": 32}, "16 px and this run has 32 px; use --resolution 16"),
        (["zoo:gan-16@1k"], {}, "has no snapshots; use zoo:gan-16"),
        (["zoo:gan-16"], {"rounds": 1}, "zoo:gan-16 is published weights"),
        (["zoo:gan-16"], {"conditions": {"snapshots": {"zoo:gan-16": [1]}}}, "has no snapshots"),
        (["zoo:gan-16"], {"detectors": ["disc-probe"]}, "starts from a discriminator"),
        (["zoo:gan-16"], {"detectors": ["zoo:gan-16"]}, "name it with --generator"),
        (["zoo:gan-16"], {"condition": ["gender"]}, "takes labels from --condition"),
        (["zoo:gan-16"], {"overrides": {"variants": {"zoo:gan-16": {"seed": [0, 1]}}}}, "has no variants"),
        (["zoo:gan-16"], {"overrides": {"generators": {"zoo:gan-16": {"training": {}}}}}, "is not trained here"),
        (["zoo:gan-16"], {"overrides": {"generators": {"zoo:gan-16": {"truncation": 0.5}}}}, "cannot be truncated"),
        (["zoo:gan-16"], {"overrides": {"generators": {"zoo:gan-16": {"mix": "uniform"}}}}, "takes no labels"),
        (["zoo:gan-16"], {"overrides": {"generators": {"zoo:gan-16": {"direction": "backward"}}}}, "no backward"),
    ],
)
def test_what_published_weights_cannot_do_is_refused(zoo, generators, more, sentence):
    with pytest.raises(InputError, match=sentence):
        planned(*generators, **more)


def test_settings_of_all_trainings_do_not_reach_published_weights(zoo):
    def load(**more):
        stages = planned("zoo:gan-16", **more)
        return [stage.key for stage in stages if stage.action in ("load", "synthesize")]

    assert load() == load(overrides={"generator": {"training": {"kimg": 3}, "seed": 7}})


def test_a_changed_or_missing_file_is_refused(zoo):
    file = zoo / "gan-16" / "weights.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    with pytest.raises(InputError, match=r"zoo:gan-16 is damaged: weights\.safetensors was changed"):
        planned("zoo:gan-16")
    (zoo / "gan-16" / "health.json").unlink()
    with pytest.raises(InputError, match=r"health\.json is missing"):
        member_of("zoo:gan-16", "generator").check("health.json")
    card = zoo / "gan-16" / "zoo.json"
    card.write_text(card.read_text().replace("dense-gan", "conv-gan"))
    with pytest.warns(BenchWarning, match="left out of the zoo"):
        assert "gan-16" not in members()


def test_the_users_member_goes_before_a_shipped_one_and_says_so(zoo, published, monkeypatch, tmp_path, training):
    shutil.copytree(published.folder, tmp_path / "shipped" / "gan-16")
    monkeypatch.setattr("benchmarks.zoo.members.zoo_folders", lambda: [tmp_path / "shipped", zoo])
    assert members()["gan-16"].folder == zoo / "gan-16"  # the same: nothing to say
    shutil.rmtree(zoo / "gan-16")
    publish_generator(training, zoo / "gan-16", name="gan-16", origin=Origin("another command"))
    with pytest.warns(BenchWarning, match="not the other one in"):
        assert member_of("zoo:gan-16", "generator").card.command == "another command"


def test_a_card_alone_plans_runs_and_says_how_to_get_the_weights(zoo, bench, monkeypatch, tmp_path):
    keys = [stage.key for stage in planned("zoo:gan-16")]
    member = members()["gan-16"]
    card = write_card(member, tmp_path / "cards")
    assert {file.name for file in card.iterdir()} == {"zoo.json", "generator.json", "README.md"}
    assert (
        "samples.png" in (member.folder / "README.md").read_text()
        and "samples.png" not in (card / "README.md").read_text()
    )
    with pytest.raises(InputError, match="exists already"):
        write_card(member, tmp_path / "cards")
    monkeypatch.setenv("BENCH_ZOO", str(tmp_path / "cards"))
    assert [stage.key for stage in planned("zoo:gan-16")] == keys and not members()["gan-16"].has_weights
    run = ("run", "-g", "zoo:gan-16", "-d", "random", "--preset", "smoke", "--resolution", "16")
    assert bench(*run, "--dry-run")[0] == 0
    code, _, err = bench(*run, "--quiet")
    assert (
        code == 2
        and "has its card, but not its weights" in err
        and COMMAND in err
        and not (tmp_path / "reports").exists()
    )
    assert "card alone" in bench("list", "zoo")[1] and bench("show", "zoo:gan-16")[1].startswith("# zoo:gan-16")
    assert "not its weights" in bench("quality", "zoo:gan-16")[2]
    # beside the card the member of an archive is the same one, whichever folder goes before
    for folders in ([tmp_path / "cards", zoo], [zoo, tmp_path / "cards"]):
        monkeypatch.setattr("benchmarks.zoo.members.zoo_folders", lambda folders=folders: folders)
        assert members()["gan-16"].folder == zoo / "gan-16"


def test_an_archive_takes_the_place_of_a_card_alone(zoo, tmp_path):
    pack([members()["gan-16"]], tmp_path / "zoo.zip")
    write_card(members()["gan-16"], tmp_path / "mine")
    new, there = add(tmp_path / "zoo.zip", tmp_path / "mine")
    assert [member.has_weights for member in new] == [True] and not there
    assert add(tmp_path / "zoo.zip", tmp_path / "mine")[1]  # once


def test_a_card_that_names_no_weights_is_damaged(zoo, tmp_path, monkeypatch):
    folder = write_card(members()["gan-16"], tmp_path / "cards")
    values = read_json(folder / "zoo.json")
    del values["files"]["weights.safetensors"], values["sha256"]
    write_json(folder / "zoo.json", values)
    monkeypatch.setenv("BENCH_ZOO", str(tmp_path / "cards"))
    with pytest.raises(InputError, match="does not name weights"):
        planned("zoo:gan-16")


def test_what_is_there_is_refused_before_anything_is_measured(tmp_path):
    publisher = _Publisher("mine", make_results(make_scores(ONE)), tmp_path / "zoo", None, 8, tmp_path, tmp_path)
    resolution = publisher.results.data.resolution
    publisher.refuse_present(["gan", "dct"], tmp_path / "cards")
    (tmp_path / "cards" / f"dct-{resolution}").mkdir(parents=True)
    with pytest.raises(InputError, match=f"dct-{resolution} exists already"):
        publisher.refuse_present(["gan", "dct"], tmp_path / "cards")
    publisher.refuse_present(["gan", "dct"], None)


def loaded(zoo, tmp_path, digest, **manifests):
    stage = next(stage for stage in planned("zoo:gan-16") if stage.action == "synthesize")
    out = tmp_path / "loaded"
    out.mkdir()
    context = Context(source=None, compute=Compute(), workers=1, on_progress=silent)
    job = Job({stage.generator.key: out}, out, tmp_path / "work", context)
    return stage, job, stage.generator.run(job)


def test_the_stage_gives_a_generator_and_its_history(zoo, tmp_path, training):
    stage, job, facts = loaded(zoo, tmp_path, "")
    trained = stage.generator.trained(job, None)
    assert trained.card.weights_sha256 == stage.generator.weights_sha256 and facts["command"] == COMMAND
    manifests = {stage.generator.key: Computation(1.0, None, facts)}
    digest = training.card.data["digest"]
    card = read_json(job.out / "generator.json")
    for digests, same in (((digest,), True), (("halved", digest), True), (("other",), False), (("other", None), None)):
        records = GeneratorRecords(job, manifests, digests)
        assert records._zoo_facts(stage.generator, card).same_faces is same
    wrong = replace(stage.generator, weights_sha256="0" * 64)
    with pytest.raises(InputError, match="other weights than the run was planned with"):
        wrong.run(job)


def test_a_report_says_what_seeds_mean_and_which_photos_were_seen():
    results = make_results(make_scores(ONE, n=20))
    assert generator_notes(results) == []
    facts = ZooFacts(architecture="dcgan", data="fairface", digest="ab" * 32, same_faces=False, command="bench run")
    member = results.generators[0].model_copy(update={"zoo": facts})
    for seeds, count in (([], 1), ([0, 1, 2], 2)):
        notes = generator_notes(results.model_copy(update={"generators": [member], "seeds": seeds}))
        assert len(notes) == count and "fairface (digest abababababab), another set than" in notes[-1]
    assert "the 3 seeds draw other latents" in notes[0]
    # the same weights under several seeds: one training, whose repetition no interval covers
    trained = results.generators[0]
    again = [trained.model_copy(update={"seed": seed}) for seed in range(3)]
    other = [each.model_copy(update={"name": "vae", "weights_sha256": f"{each.seed:064}"}) for each in again]
    notes = generator_notes(results.model_copy(update={"generators": again + other, "seeds": [0, 1, 2]}))
    assert notes == [
        f"{trained.name} was trained once: the 3 seeds fit detectors anew on forgeries of the same weights, and "
        "intervals over seeds do not cover another training of it."
    ]
    assert "zoo" not in results.generators[0].model_dump() and member.model_dump()["zoo"]["data"] == "fairface"


def test_the_command_of_a_member_names_no_folder_of_the_machine():
    settings = compose(generators=["gan"], detectors=["dct"], preset="smoke", source="fairface:/home/me/photos")
    results = make_results(make_scores(ONE, n=20)).model_copy(update={"request": settings.request})
    assert "--data fairface:DIR" in rebuilding(results) and "/home" not in rebuilding(results)


def test_a_training_on_a_gpu_is_kept_as_a_member(training, tmp_path):
    archive = keep(training.path, tmp_path / "work", tmp_path, command=COMMAND, citation="Somebody 2020")
    new, _ = add(archive, tmp_path / "mine")
    assert archive.name == "gan-16.tar" and new[0].card.command == COMMAND and new[0].card.citation == "Somebody 2020"


@pytest.mark.parametrize("ending", ["zip", "tar"])
def test_an_archive_brings_members_elsewhere(published, tmp_path, ending):
    file = tmp_path / f"zoo.{ending}"
    pack([published], file)
    again = tmp_path / f"again.{ending}"
    pack([published], again)
    assert file.read_bytes() == again.read_bytes()
    new, there = add(file, tmp_path / "mine")
    assert [member.name for member in new] == ["zoo:gan-16"] and not there and new[0].card == published.card
    assert add(file, tmp_path / "mine")[1] == new and sorted(path.name for path in (tmp_path / "mine").iterdir()) == [
        "gan-16"
    ]


def test_an_archive_replaces_another_member_only_when_told(published, training, tmp_path):
    other = publish_generator(training, tmp_path / "other" / "gan-16", name="gan-16", origin=Origin("another"))
    pack([published], tmp_path / "a.zip")
    pack([other], tmp_path / "b.zip")
    add(tmp_path / "a.zip", tmp_path / "mine")
    with pytest.raises(InputError, match="--replace puts this one in its place"):
        add(tmp_path / "b.zip", tmp_path / "mine")
    assert add(tmp_path / "b.zip", tmp_path / "mine", replace=True)[0][0].card.command == "another"


def damaged_zip(published, **changes):
    content = BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for file in published.folder.iterdir():
            archive.writestr(f"gan-16/{file.name}", changes.pop(file.name, None) or file.read_bytes())
        for name, data in changes.items():
            archive.writestr(name, data)
    return content.getvalue()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"../evil": b"x"}, "an entry that no member has, ../evil"),
        ({"/etc/evil": b"x"}, "an entry that no member has"),
        ({"gan-16/more.py": b"x"}, "a file that its card does not name, more.py"),
        ({"README.md": b"other"}, "README.md was changed"),
        ({"loose": b"x"}, "loose lies beside its folders"),
        ({"else/x": b"x"}, "else is no member of the zoo"),
    ],
)
def test_a_dangerous_or_damaged_archive_is_refused_whole(published, tmp_path, changes, sentence):
    (tmp_path / "zoo.zip").write_bytes(damaged_zip(published, **changes))
    with pytest.raises(BenchError, match=sentence) as caught:
        add(tmp_path / "zoo.zip", tmp_path / "mine")
    assert caught.value.exit_code == 2
    assert not list((tmp_path / "mine").iterdir()) and not (tmp_path / "evil").exists()


def test_a_link_in_a_tar_and_what_is_no_archive_are_refused(tmp_path):
    with tarfile.open(tmp_path / "zoo.tar", "w") as archive:
        entry = tarfile.TarInfo("gan-16/zoo.json")
        entry.type, entry.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(entry)
    (tmp_path / "text.zip").write_text("text")
    for name in ("zoo.tar", "text.zip"):
        with pytest.raises(InputError, match="is no archive of the zoo, or damaged"):
            add(tmp_path / name, tmp_path / "mine")
    with pytest.raises(InputError, match=r"must end in \.zip or \.tar"):
        add(tmp_path / "zoo.rar", tmp_path / "mine")


@pytest.fixture
def detectors(bench, tmp_path, monkeypatch):
    """A finished run with two detectors, in the folder where `bench` is called."""
    finished_run(tmp_path)
    noise = np.random.default_rng(0).integers(0, 256, (32, 16, 16, 3), dtype=np.uint8)
    faces = CheckFaces(noise, np.zeros(len(noise), np.int8))
    monkeypatch.setattr("benchmarks.cli.zoo.faces_for", lambda *_: faces)
    return bench


def test_a_published_detector_judges_photos_as_its_run_does(detectors, tmp_path):
    code, out, err = detectors("zoo", "publish", "mine", "dct", "disc-scratch", "--archive", "zoo.zip")
    assert code == 0, err
    names = [line.split(": ")[1].split(",")[0] for line in out.splitlines() if line.startswith("runs/zoo")]
    assert names == ["zoo:dct-16", "zoo:disc-scratch-16"]
    cards = {name: Member.at(Path("runs/zoo") / name.removeprefix("zoo:")).check().card for name in names}
    assert [card.precision for card in cards.values()] == ["fp32", "fp16"]
    assert cards["zoo:disc-scratch-16"].rounding < 0.01 and cards["zoo:dct-16"].trained_on == "dcgan"
    for name in ("dct", "disc-scratch"):
        answers = []
        for source in (("mine", "-d", name), (f"zoo:{name}-16",)):
            code, out, err = detectors("detect", source[0], "me.png", *source[1:], "--format", "json", "--no-reencode")
            assert code == 0, err
            answers.append(json.loads(out))
        first, second = (answer["images"][0] for answer in answers)
        assert first["verdict"] == second["verdict"]
        assert first["probability"] == pytest.approx(second["probability"], abs=0.01)
    bounded = []
    for source in (("mine", "-d", "dct"), ("zoo:dct-16",)):
        rate = ("--max-fpr", "0.1", "--format", "json", "--no-reencode")
        code, out, err = detectors("detect", source[0], "me.png", *source[1:], *rate)
        assert code == 0, err
        bounded.append(json.loads(out)["threshold"])
    assert bounded[0] == bounded[1] and "at most 10 % of the" in bounded[0]["rule"]


def test_a_detector_has_seen_members_of_the_architectures_that_it_was_trained_on(zoo):
    run = {"zoo:gan-16": generator_of_zoo("zoo:gan-16", {}), "dcgan": GeneratorSettings(architecture="dcgan")}
    assert seen_in_training("gan+flow", run) == "flow+gan+zoo:gan-16"
    assert seen_in_training("dcgan", run) == "dcgan"
    assert seen_in_training("flow:shuffled", run) == "flow:shuffled"
    assert seen_in_training("zoo:gan-16", run) == "zoo:gan-16"
    assert seen_in_training("zoo:gan-16", {"gan": GeneratorSettings(architecture="gan")}) == "gan+zoo:gan-16"
    assert seen_in_training("zoo:gone-16", run) == "zoo:gone-16"


def test_lists_and_cards_show_members(detectors, zoo):
    detectors("zoo", "publish", "mine", "dct")
    code, out, _ = detectors("list", "zoo", "--json")
    rows = {row["name"]: row for row in json.loads(out)}
    assert code == 0 and rows["zoo:gan-16"]["family"] == "dense-gan" and rows["zoo:dct-16"]["resolution"] == 16
    code, out, _ = detectors("list", "zoo")
    assert code == 0 and "zoo:gan-16" in out and "1 thousand images" in out and "bench show zoo:NAME" in out
    code, out, _ = detectors("show", "zoo:dct-16")
    assert code == 0 and "bench detect zoo:dct-16 PHOTO" in out
    assert detectors("show", "zoo:gan-16")[0] == 0 and Path("pictures/zoo-gan-16/samples.png").is_file()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("zoo", "publish", "mine", "dctt"), "did you mean 'dct'"),
        (("zoo", "publish", "mine", "dct", "--archive", "zoo.rar"), "must end in .zip or .tar"),
        (("zoo", "publish", "mine", "dct", "disc-scratch", "--name", "x-16"), "--name names one member"),
        (("zoo", "add", "nowhere.zip"), "there is no file nowhere.zip"),
        (("detect", "zoo:dct-16", "me.png"), "bench zoo add FILE"),
        (("show", "zoo:gan-16"), "bench zoo add FILE"),
        (("translate", "zoo:gan-16", "me.png"), "bench zoo add FILE"),
        (("quality", "zoo:gan-16"), "bench zoo add FILE"),
    ],
)
def test_wrong_words_end_with_a_sentence(detectors, words, sentence):
    code, _, err = detectors(*words)
    assert code == 2 and sentence in err
