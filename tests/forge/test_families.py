"""Families: what every generator declares, what a plug-in gets that declares none, and the card."""

from __future__ import annotations

import json

import pytest
import torch

from forge.core.errors import CorruptError, InputError
from forge.core.files import read_signed_json, write_signed_json
from forge.core.registry import allow_files
from forge.generators import GENERATORS
from forge.generators.artifact import TrainedGenerator, write_generator
from forge.generators.base import Architecture
from forge.generators.dcgan import DCGAN

PLUGIN = """
from forge.generators.gan import GAN
from forge.generators.base import Architecture, NetworkSettings

class Tiny_GAN(Architecture):
    citation, resolutions, Settings = "-", (16,), NetworkSettings
    generator = discriminator = latents = lambda self, *more: None

class Named(Tiny_GAN):
    family = "translation"

class Under(Named):
    pass

class Dense(GAN):
    pass
"""


def test_every_generator_declares_the_family_that_the_protocol_gives_it():
    families = {name: GENERATORS.load(name).family for name in GENERATORS.names()}
    assert families == {
        "cgan": "conv-gan",
        "copy-move": "tampering",
        "cyclegan": "translation",
        "dcgan": "conv-gan",
        "ddpm": "diffusion",
        "edit:dcgan": "tampering",
        "edit:stylegan-lite": "tampering",
        "fastcut": "translation",
        "flow": "diffusion",
        "vae": "autoencoder",
        "gan": "dense-gan",
        "inpaint": "tampering",
        "inversion:dcgan": "tampering",
        "inversion:stylegan-lite": "tampering",
        "pix2pix:colour": "translation",
        "pix2pix:edges": "translation",
        "pix2pix:inpainting": "translation",
        "pix2pix:super-resolution": "translation",
        "retouch": "tampering",
        "self-blended": "blending",
        "splice": "tampering",
        "stylegan-lite": "style-gan",
    }


def test_a_plugin_that_declares_none_has_its_name_or_that_of_what_it_extends(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(PLUGIN)
    allow_files([f"{file}:Named"])
    families = {name: GENERATORS.load(f"{file}:{name}").family for name in ("Tiny_GAN", "Named", "Under", "Dense")}
    assert families == {"Tiny_GAN": "tiny-gan", "Named": "translation", "Under": "translation", "Dense": "dense-gan"}


@pytest.mark.parametrize("family", ["", "Style", "style_gan", "-gan", "gan-", "style gan", "gan\n", 3, None])
def test_a_family_that_is_not_well_formed_is_refused_when_the_file_is_read(tmp_path, family):
    file = tmp_path / "mine.py"
    file.write_text(PLUGIN.replace('"translation"', repr(family)))
    allow_files([f"{file}:Named"])
    with pytest.raises(InputError, match="must be lower-case letters, digits and hyphens"):
        GENERATORS.load(f"{file}:Named")


def written(folder, **more):
    architecture = DCGAN(DCGAN.Settings(latent=4, generator_width=4, discriminator_width=4), 16)
    torch.manual_seed(0)
    networks = [architecture.generator(), architecture.generator(), architecture.discriminator()]
    card = {
        "name": "tiny", "architecture": "dcgan", "settings": architecture.settings.model_dump(), "resolution": 16,
        "seed": 0, "kimg": 1, "training": {}, "data": {}, "precision": "fp32", "parameters": {},
    }  # fmt: skip
    folder.mkdir()
    write_generator(folder, raw=networks[0], averaged=networks[1], discriminator=networks[2], card=card | more)
    return folder


def test_the_card_names_the_family_and_one_of_before_is_readable(tmp_path):
    assert TrainedGenerator.open(written(tmp_path / "new", family="translation")).family == "translation"
    old = written(tmp_path / "old")
    file = old / "generator.json"
    raw = read_signed_json(file)
    del raw["family"]
    write_signed_json(file, raw)
    assert "family" not in json.loads(file.read_text())
    opened = TrainedGenerator.open(old)
    assert opened.card.family is None and opened.family == "conv-gan"


def test_a_card_with_a_malformed_family_is_damaged(tmp_path):
    folder = written(tmp_path / "new", family="conv-gan")
    raw = read_signed_json(folder / "generator.json")
    write_signed_json(folder / "generator.json", raw | {"family": "../x"})
    with pytest.raises(CorruptError, match="is damaged"):
        TrainedGenerator.open(folder)


def test_the_base_class_declares_no_family():
    assert not hasattr(Architecture, "family")
