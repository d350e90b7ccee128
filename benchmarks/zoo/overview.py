"""One picture of the generators of a zoo: a row of faces each, the same latents for all that draw from them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.zoo.members import Member
from benchmarks.zoo.publish import drawn
from forge.core import provenance
from forge.faces.faceset import Images
from forge.faces.imaging.grids import sheet, write_picture
from forge.generators.artifact import TrainedGenerator
from forge.generators.translate import translate, translator_of

FILE = "faces.png"
COLUMNS = 10  # faces of a row


def write_overview(members: Sequence[Member], file: Path, device: str = "cpu") -> list[str]:
    """Draw faces of generators; translators translate those of the first one that draws from latents.

    Args:
        members: of the zoo; detectors are passed over, and generators of other sizes than the first.
        file: the picture.
        device: where faces are made.

    Returns:
        Names of the generators shown, one a row; none: no picture is written.
    """
    opened = {
        member.card.name: TrainedGenerator.open(member.check().folder)
        for member in members
        if member.card.role == "generator"
    }
    size = next((trained.card.resolution for trained in opened.values()), 0)
    rows: dict[str, Images] = {}
    for name, trained in opened.items():
        if trained.card.resolution == size and not trained.architecture.takes_faces:
            rows[name] = drawn(trained, COLUMNS, device)
    faces = next(iter(rows.values()), None)
    for name, trained in opened.items():
        if trained.card.resolution == size and trained.architecture.takes_faces and faces is not None:
            rows[name] = translate(trained.generator(device=device), translator_of(trained), faces, range(COLUMNS))[0]
    if rows:
        picture = sheet(np.concatenate(list(rows.values())), columns=COLUMNS, labels=list(rows))
        write_picture(file, picture, source=provenance.SYNTHETIC)
    return list(rows)
