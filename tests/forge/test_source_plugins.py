"""A source of real faces from one file: run only if the command named it, checked, its code part of its identity."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from forge.core.errors import InputError
from forge.core.registry import allow_files
from forge.faces.prepare import prepare
from forge.faces.sources import resolve

SOURCE = '''
"""Coloured noise."""
import io

import numpy as np
from PIL import Image

from forge.faces.sources.base import Item, Source
from shade import LEVEL


class Noise(Source):
    name, licence, citation, attributes = "noise", "CC0", "", ("parity",)

    def __init__(self, *, count: int = 40):
        self.count = count

    def __len__(self):
        return self.count

    def chunk(self, positions):
        return [self.item(position) for position in positions]

    def item(self, position):
        pixels = np.random.default_rng(position).integers(0, LEVEL, (32, 32, 3), dtype=np.uint8)
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "PNG")
        return Item(f"{position}.png", file.getvalue(), f"p{position}", {"parity": "odd" if position % 2 else "even"})

    def fingerprint(self):
        return "0" * 64

    def settings(self):
        return {"count": self.count}


class Nothing:
    pass


class Unnamed(Noise):
    def __getattribute__(self, name):
        if name == "licence":
            raise AttributeError(name)
        return super().__getattribute__(name)


class Half(Source):
    name = "half"

    def __len__(self):
        return 1
'''


@pytest.fixture
def file(tmp_path):
    (tmp_path / "plug").mkdir()
    (tmp_path / "plug" / "shade.py").write_text("LEVEL = 256\n")
    path = tmp_path / "plug" / "noises.py"
    path.write_text(SOURCE)
    allow_files([f"--data={path}:Noise"], anew=True)
    return path


@pytest.mark.parametrize("workers", [1, 2])
def test_a_source_of_one_file_is_prepared_as_any_other(file, tmp_path, workers):
    source = resolve(f"{file}:Noise", count=48)
    faces = prepare(source, tmp_path / "set", resolution=32, workers=workers)
    assert faces.card.name == "noise" and faces.card.attributes == ["parity"] and len(faces) == 48
    assert faces.card.provenance["source"] == {"name": "noise", "fingerprint": source.identity(), "count": 48}
    row = faces.table.iloc[0]
    item = next(iter(source.chunk([int(row["source_file"].removesuffix(".png"))])))
    assert (faces.read([0])[0] == np.asarray(Image.open(io.BytesIO(item.read())))).all()


def test_other_code_is_another_source(file):
    source = resolve(f"{file}:Noise")
    assert set(source.code) == {"code", "code shade.py"} and source.identity() != source.fingerprint()
    before = source.identity()
    (file.parent / "shade.py").write_text("LEVEL = 255\n")
    assert resolve(f"{file}:Noise").identity() != before
    assert resolve("rendered").identity() == resolve("rendered").fingerprint()


def test_a_file_that_the_command_did_not_name_is_not_run(file):
    allow_files([], anew=True)
    with pytest.raises(InputError, match=r"only this command may name code: give it with --data .*noises.py:Noise"):
        resolve(f"{file}:Noise")


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("Nothing", {}, r"is no source: it must be a subclass of forge.faces.sources.base.Source"),
        ("Half", {}, "does not define chunk, fingerprint, which every source has"),
        ("Unnamed", {}, "does not define licence, which every source has"),
        ("Noise:photos", {}, "takes no path"),
        ("Noise", {"cuont": 3}, "has no option 'cuont'; it takes: count"),
    ],
)
def test_what_is_no_source_is_refused(file, name, options, message):
    with pytest.raises(InputError, match=message):
        resolve(f"{file}:{name}", **options)
