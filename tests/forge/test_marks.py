"""The mark of forged pictures: in every format, in every place that writes them, the same bytes each time."""

import io

import numpy as np
import pytest
from PIL import Image

from forge.core.compute import Compute
from forge.core.progress import silent
from forge.core.provenance import SOFTWARE, options, origin
from forge.faces.export import export
from forge.faces.imaging.grids import write_animation, write_grid
from forge.generators.artifact import TrainedGenerator
from forge.generators.dcgan import DCGAN, DCGANSettings
from forge.generators.sample import synthesize
from forge.training.settings import TrainingSettings
from forge.training.task import Training
from forge.training.train import train

FACES = np.random.default_rng(0).integers(0, 256, (4, 16, 16, 3), dtype=np.uint8)


def mark_of(file):
    """What any program finds in a file: (software, source)."""
    with Image.open(file) as picture:
        if picture.format == "PNG":
            return picture.text["Software"], picture.text["Source"]
        if picture.format == "GIF":
            software, _, source = picture.info["comment"].decode().partition(": ")
            return software, source
        exif = picture.getexif()
        return exif[0x0131], exif[0x010E]


@pytest.mark.parametrize("kind", ["PNG", "GIF", "JPEG", "WEBP"])
def test_a_mark_can_be_read_again_and_its_bytes_repeat(kind):
    def written():
        file = io.BytesIO()
        Image.fromarray(FACES[0]).save(file, kind, **options(kind, origin("dcgan", "ab" * 32)))
        return file

    software, source = mark_of(written())
    assert software == SOFTWARE
    assert source == f"Synthetic images, not photographs of people. From dcgan, weights {'ab' * 32}."
    assert written().getvalue() == written().getvalue()


def test_a_grid_is_marked_even_where_nobody_says_by_whom(tmp_path):
    write_grid(tmp_path / "grid.png", FACES)
    assert mark_of(tmp_path / "grid.png") == (SOFTWARE, "Synthetic images, not photographs of people.")


@pytest.mark.parametrize("animation", ["gif", "apng"])
def test_a_marked_animation_keeps_its_frames(tmp_path, animation):
    write_animation(tmp_path / "walk", FACES, milliseconds=50, source="a walk", animation=animation)
    assert mark_of(tmp_path / "walk") == (SOFTWARE, "a walk")
    with Image.open(tmp_path / "walk") as picture:
        assert (picture.n_frames, picture.info["loop"]) == (4, 0)


def test_what_a_training_and_an_export_write_is_marked(make_set, tmp_path):
    networks = DCGAN(DCGANSettings(latent=8, generator_width=4, discriminator_width=4), 16)
    view = make_set("photos", {"forge": 64}).view("forge")
    settings = TrainingSettings(kimg=0.128, batch=32, sample_every_kimg=0.064)
    out = tmp_path / "trained"
    out.mkdir()
    compute = Compute("cpu", "fp32")
    train(Training("mine", "dcgan", networks, settings, view, 3, compute, tmp_path / "work"), out, silent)
    trained = TrainedGenerator.open(out)

    grids = sorted((out / "samples").glob("*.png"))
    assert len(grids) >= 2
    for file in grids:
        software, source = mark_of(file)
        assert software == SOFTWARE and "From mine after 0." in source and source.endswith("thousand images, seed 3.")
    weights = trained.card.weights_sha256
    export(synthesize(trained, tmp_path / "set", counts={"test": 3}, seed=0, on_progress=silent), tmp_path / "out")
    files = list((tmp_path / "out").rglob("*.png"))
    assert len(files) == 3
    for file in files:
        software, source = mark_of(file)
        assert software == SOFTWARE and "Synthetic image, not a photograph" in source and f"weights {weights}" in source
