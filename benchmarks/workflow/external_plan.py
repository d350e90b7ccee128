"""Stages that prepare photos from elsewhere, on which a run tests its detectors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from benchmarks.experiment.settings import RunSettings
from benchmarks.protocol import EXTERNAL_PREFIX
from benchmarks.workflow.stages.external import External

FEWEST_IMAGES = 20  # images of a FaceSet, at least


def external_stages(
    settings: RunSettings, fingerprints: Mapping[str, tuple[str | None, str | None]]
) -> dict[str, tuple[External, ...]]:
    """Return the stages that prepare the real and the forged photos of each external test, those that there are.

    Args:
        settings: of the run.
        fingerprints: of the real and the forged photos of each test; None: it has none of a class.
    """

    def side(pair: str, name: Literal["real", "forged"], fingerprint: str) -> External:
        return External(
            pair=pair,
            side=name,
            resolution=settings.data.resolution,
            crop=settings.data.crop,
            count=most_photos(settings),
            fingerprint=fingerprint,
            masked=name == "forged" and _has_masks(settings, pair),
        )

    sides: tuple[Literal["real", "forged"], ...] = ("real", "forged")
    return {
        f"{EXTERNAL_PREFIX}{pair}": tuple(side(pair, name, of) for name, of in zip(sides, prints, strict=True) if of)
        for pair, prints in fingerprints.items()
    }


def _has_masks(settings: RunSettings, pair: str) -> bool:
    test = settings.external[pair]
    return bool(test.masks) or (test.listed_masks and masks_are_measured(settings))


def masks_are_measured(settings: RunSettings) -> bool:
    """Return whether a run measures where images were altered: a detector has maps and a generator has masks."""
    localising = any(request.localises for request in settings.detectors.values())
    return settings.conditions.masks and localising and any(each.masks for each in settings.generators.values())


def masks_are_wanted(settings: RunSettings) -> bool:
    """Return whether masks of forgeries that are files are of use: a detector learns or says where a face is altered.

    Args:
        settings: of the run.
    """
    return settings.conditions.masks_saliency or any(request.localises for request in settings.detectors.values())


def most_photos(settings: RunSettings) -> int:
    """Return how many photos of each side of an external pair are taken at most."""
    return max(settings.images.test, FEWEST_IMAGES)  # fewer cannot be a FaceSet, whatever the preset asks for
