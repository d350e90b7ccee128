"""Edits of attributes: a face is inverted by a trained generator, moved along a direction, and laid into its photo.

The control, `inversion`, does all of that but the move: what it leaves is what inversion alone leaves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, field_validator

from forge.core.errors import InputError
from forge.faces.tensors import to_uint8
from forge.generators.artifact import TrainedGenerator
from forge.tampering.base import (
    TRIES,
    Edited,
    EditSettings,
    Photo,
    Range,
    TamperBatch,
    Tampered,
    Tampering,
    chosen,
    finished,
    laid_over,
    mixed,
)
from forge.tampering.directions import DIRECTIONS, Direction, DirectionName, Known
from forge.tampering.encoder import TrainedEncoder, write_encoder
from forge.tampering.inversion import BLOCK, EncoderSettings, InversionSettings, Inverted, invert
from forge.tampering.landmarks import fit_template
from forge.tampering.poisson import poisson_blend
from forge.tampering.regions import Region, draw_region

_SMALLER = 0.95  # of a region that covers all of the image, until it does not


class LatentEditSettings(EditSettings):
    """Settings of edits in latent space, and of the inversion before them."""

    directions: tuple[DirectionName, ...] = Field(
        ("labels", "pca", "closed-form"),
        min_length=1,
        description="where directions come from, drawn equally often; labels is left out where there are none, unless "
        "it stands alone",
    )
    labels: dict[str, tuple[str, str]] = Field(
        {},
        description="label column -> two of its values, between which faces are moved; empty: the two most frequent "
        "values of the first column with few",
    )
    components: int = Field(6, ge=1, description="pca, closed-form: directions to draw from, from the strongest on")
    strength: Range = Field((1.2, 2.2), description="length of the move, deviations of the latents")
    blending: tuple[Literal["alpha", "poisson"], ...] = Field(
        ("alpha", "poisson"), min_length=1, description="how the face is joined to the photo, equally often"
    )
    detail: float = Field(
        0.8, ge=0, lt=1, description="share of what the inversion missed of the photo that is added to the new face"
    )
    feather: Range = Field((0.015, 0.04), description="softness of an alpha rim, shares of the side")
    inversion: InversionSettings = InversionSettings()
    encoder: EncoderSettings = EncoderSettings()

    @field_validator("labels")
    @classmethod
    def _pair(cls, value: dict[str, tuple[str, str]]) -> dict[str, tuple[str, str]]:
        if len(value) > 1 or any(before == after for before, after in value.values()):
            raise ValueError("name one label column and two of its values, e.g. {gender: [Female, Male]}")
        return value


@dataclass(frozen=True)
class _Draw:
    """What is drawn for a photo.

    Attributes:
        photo: the face.
        blending: how the new face is joined to it.
        direction: of the move.
        strength: its length.
        sign: which way, where labels do not say.
        region: that is replaced.
        alpha: its weights, [side, side].
        source: of what else is drawn.
    """

    photo: Photo
    blending: str
    direction: Direction
    strength: float
    sign: float
    region: Region
    alpha: NDArray[np.float64]
    source: np.random.Generator


def _drawn(photo: Photo, seed: int, settings: LatentEditSettings, known: Sequence[Sequence[Direction]]) -> _Draw:
    """Draw all that an edit needs, in one order for the edit and its control."""
    source = np.random.default_rng(seed)
    blending = chosen(settings.blending, source)
    feather = source.uniform(*settings.feather) * photo.side
    direction = chosen(chosen(known, source), source)
    strength, sign = float(source.uniform(*settings.strength)), float(source.choice((-1, 1)))
    region = draw_region("face", photo.face, photo.side, (0, 0), source)
    middle = np.full(2, photo.side / 2)
    for _ in range(TRIES):
        alpha = region.mask(photo.side, feather)
        if (alpha < 0.5).any():
            break
        # a face that fills the frame: its rim moves into the image
        region = Region(region.name, tuple(middle + _SMALLER * (outline - middle) for outline in region.outlines))
    return _Draw(photo, blending, direction, strength, sign, region, alpha, source)


class LatentEdit(Tampering[LatentEditSettings]):
    """Move the inverted face along a direction from labels, PCA or closed form, and lay it into the photo."""

    citation = (
        "Shen and Zhou, Closed-Form Factorization of Latent Semantics in GANs, CVPR 2021; Härkönen et al., GANSpace: "
        "Discovering Interpretable GAN Controls, NeurIPS 2020; Zhu et al., In-Domain GAN Inversion for Real Image "
        "Editing, ECCV 2020"
    )
    inverts = True
    Settings = LatentEditSettings
    moves: ClassVar[bool] = True
    encode = staticmethod(write_encoder)
    encoder: TrainedEncoder | None = None
    known: Sequence[Sequence[Direction]] = ()

    def __init__(self, settings: LatentEditSettings) -> None:
        super().__init__(settings)
        self._psnr: list[float] = []

    def fitted(self, folder: Path, trained: TrainedGenerator, *, device: str = "cpu") -> Self:
        """Take the generator that is inverted, and its encoder.

        Args:
            folder: of the encoder.
            trained: the generator.
            device: where to compute.

        Raises:
            InputError: the encoder is of another generator, or there is no direction of a kind that is asked for.
            UnknownNameError: a label column or value that the photos do not have.
        """
        settings = self.settings
        self.encoder = encoder = TrainedEncoder.open(folder, trained, device=device)
        known = Known(encoder.space, encoder.codes, encoder.labels, settings.labels, settings.components)
        self.known = [directions for name in settings.directions if (directions := DIRECTIONS[name](known))]
        if not self.known:
            raise InputError(
                "the photos have no label column with 2 to 10 frequent values, and directions names labels alone; "
                "name a column with labels={COLUMN: [FROM, TO]}, or take directions=[pca,closed-form]"
            )
        return self

    def tamper(self, batch: TamperBatch) -> Tampered:
        """Invert, move and lay in each face.

        Raises:
            InputError: there is no generator (see `fitted`), or it makes images of another size.
        """
        encoder = self.encoder
        if encoder is None:
            raise InputError(
                f"{type(self).__name__} needs a trained generator and its encoder; `bench run -g edit` trains both"
            )
        side = batch.images.shape[1]
        if side != encoder.resolution:
            raise InputError(f"faces of {side} px; {encoder.generator} makes {encoder.resolution} px: use that size")
        faces = fit_template(batch.landmarks, side)
        draws = [
            _drawn(Photo(image, faces[number]), seed, self.settings, self.known)
            for number, (image, seed) in enumerate(zip(batch.images, batch.seeds, strict=True))
        ]
        weights = np.stack([draw.alpha for draw in draws])
        inverted = invert(
            encoder.space, encoder.network, batch.images, weights, self.settings.inversion, device=encoder.device
        )
        labels = batch.labels or [{}] * len(draws)
        moves = [self._move(draw, each) for draw, each in zip(draws, labels, strict=True)]
        before = _decoded(encoder, inverted)
        after = before
        if self.moves:
            steps = np.stack([move * draw.direction.vector for move, draw in zip(moves, draws, strict=True)])
            codes = inverted.codes + torch.from_numpy(steps).float().to(encoder.device)
            after = _decoded(encoder, Inverted(codes, inverted.offsets))
        made = [self._laid(*each) for each in zip(draws, moves, before, after, strict=True)]
        images, masks, rows = zip(*made, strict=True)
        return Tampered(np.stack(images), np.stack(masks), list(rows))

    def _move(self, draw: _Draw, labels: Mapping[str, Any]) -> float:
        """Return the signed length of a move: with labels away from the value that the photo has."""
        value = labels.get(draw.direction.column)
        signs = {draw.direction.values[0]: 1.0, draw.direction.values[1]: -1.0} if draw.direction.column else {}
        return draw.strength * signs.get(_text(value), draw.sign)

    def _laid(
        self, draw: _Draw, move: float, before: NDArray[np.uint8], after: NDArray[np.uint8]
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8], dict[str, Any]]:
        photo, inside = draw.photo, draw.alpha >= 0.5
        error = np.square(before[inside].astype(np.float64) - photo.image[inside]).mean()
        psnr = float(10 * np.log10(255**2 / max(error, 1 / 12)))  # rounding alone has an error of 1/12
        self._psnr.append(psnr)
        direction = draw.direction
        ends = direction.values if move > 0 else direction.values[::-1]
        parameters = {
            **direction.facts,
            **({"from": ends[0], "to": ends[1]} if direction.column else {}),
            "strength": round(move, 4) if self.moves else 0.0,
            "blending": draw.blending,
            "psnr_of_inversion": round(psnr, 2),
        }
        missed = photo.image - before.astype(np.float64)
        new = np.clip(after + self.settings.detail * missed, 0, 255)
        edited = Edited(*_joined(photo, new, draw.alpha, draw.blending), draw.region.name, parameters)
        laid = laid_over(photo.image, edited)
        if laid is None:
            raise InputError("the face covers no pixel of the photo; leave the photo out")
        return finished(self.settings, photo, edited, *laid, draw.source)

    def facts(self) -> dict[str, Any]:
        """Return the generator, the directions and how near inversions come to photos, for the card."""
        if self.encoder is None:
            return {}
        labelled = [each for group in self.known for each in group if each.column]
        return {
            "inverted": {"generator": self.encoder.generator, "weights_sha256": self.encoder.weights_sha256},
            "directions": {
                **{str(group[0].facts["direction"]): len(group) for group in self.known},
                **{f"auc of {each.column} {each.values[0]} to {each.values[1]}": each.auc for each in labelled},
            },
            "psnr_of_inversions": float(np.mean(self._psnr)) if self._psnr else None,
        }


class Inversion(LatentEdit):
    """Lay the inverted face into the photo, unedited: the control of `edit`, with the same photos, seeds and masks."""

    moves = False


def _text(value: object) -> str:
    return f"{value:.15g}" if isinstance(value, float) else str(value)


def _decoded(encoder: TrainedEncoder, inverted: Inverted) -> NDArray[np.uint8]:
    """Return images uint8 [n, H, W, 3], made in full blocks as they were found."""
    count = len(inverted.codes)
    whole = torch.arange(-(-count // BLOCK) * BLOCK, device=inverted.codes.device) % count
    with torch.no_grad():
        parts = [
            to_uint8(encoder.space.decode(inverted.codes[part], inverted.offsets[part])).cpu().numpy()
            for part in torch.chunk(whole, len(whole) // BLOCK)
        ]
    return np.concatenate(parts)[:count]


def _joined(
    photo: Photo, made: NDArray[np.float64], alpha: NDArray[np.float64], blending: str
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return pixels and weights of a face that is laid into its photo without a seam of colours."""
    inside = alpha >= 0.5
    if blending == "poisson":
        return poisson_blend(photo.image, made, inside), inside.astype(np.float64)
    rim = alpha * (1 - alpha)
    # the mean difference of colours along the rim, where both meet
    offset = (rim[..., None] * (photo.image - made)).sum((0, 1)) / max(float(rim.sum()), 1e-9)
    return mixed(made + offset, photo.image, alpha), alpha
