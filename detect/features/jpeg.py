"""Which JPEG quality an image was saved with, if its pixels still show it; a pure function of image batches."""

from __future__ import annotations

import functools
import math

import torch
from torch import Tensor

from detect.features.dct import cosine_basis

LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, as JPEG defines Y
QUALITIES = range(30, 99)  # below is never used, above most of the table is 1
TEETH = 0.9  # distance from a multiple that rounding of Y, R, G and B to integers explains; its deviation is 0.35
HIT = 0.9  # probability of it, with room for other decoders
SURE = 20.0  # nats: chance shows one of the 69 qualities in one of 10 million images
IMAGES_AT_ONCE = 64  # so that the coefficients stay in the processor's cache


def visible_quality(images: Tensor) -> Tensor:
    """The quality of the Independent JPEG Group's tables whose comb the luminance shows on the aligned 8 x 8 grid.

    JPEG leaves in each 8 x 8 block only multiples of the table's 64 entries. For each quality 30..98 this adds up the
    log likelihood ratio of "multiples of that table" and "anywhere between" over the coefficients that are no multiple
    of zero: in a comb a share of 0.9 lies within 0.9 of a multiple (0.25 times the entry for entries under 3.6), else a
    share of 1.8 / entry would. Entries of 1 say nothing, nor do blocks with a pixel at 0 or 255. Coefficients of one
    frequency that are the same in several blocks count once, and the strongest frequency does not count at all, so
    that a repeated pattern, a checkerboard or large pixels are no comb. What was scaled, shifted, blurred or made by a
    network shows none.

    Args:
        images: uint8 [N, H, W, 3]; a last row or column of incomplete blocks is ignored.

    Returns:
        int64 [N]: the quality with the largest ratio where that exceeds 20 nats, else 0.
    """
    if not len(images) or min(images.shape[1:3]) < 8:
        return torch.zeros(len(images), dtype=torch.int64, device=images.device)
    return torch.cat([_visible(images[at : at + IMAGES_AT_ONCE]) for at in range(0, len(images), IMAGES_AT_ONCE)])


def _visible(images: Tensor) -> Tensor:
    magnitude = _distinct(_block_dct(images)).abs_()
    evidence = torch.stack([_evidence(magnitude, table) for table in _tables().to(images.device)])
    ratio, which = evidence.max(0)
    return torch.where(ratio > SURE, which + QUALITIES.start, 0)


def _block_dct(images: Tensor) -> Tensor:
    """Coefficients of Y - 128 in every whole 8 x 8 block without clipped pixels, others 0; float32 [N, 64, blocks]."""
    luma = (images.float() * images.new_tensor(LUMA, dtype=torch.float32)).sum(-1) - 128
    clipped = ((images == 0) | (images == 255)).any(-1)
    basis = cosine_basis(8, device=images.device)
    coefficients = (basis @ _blocks(luma) @ basis.T).flatten(2)
    coefficients[_blocks(clipped).flatten(2).any(-1)] = 0
    return coefficients.transpose(1, 2).contiguous()


def _blocks(values: Tensor) -> Tensor:
    """[N, H, W] to [N, blocks, 8, 8]."""
    return values.unfold(1, 8, 8).unfold(2, 8, 8).flatten(1, 2)


def _distinct(coefficients: Tensor) -> Tensor:
    """Coefficients of each frequency in rising order; 0 where one is the same as the one before when rounded."""
    ordered = coefficients.sort(-1).values
    whole = ordered.round()
    ordered[..., 1:][whole[..., 1:] == whole[..., :-1]] = 0
    return ordered


def _evidence(magnitude: Tensor, table: Tensor) -> Tensor:
    """Log likelihood ratio of one table, [N], without the frequency that speaks most for it."""
    entry = table.to(magnitude)
    reach = 0.25 * entry.clamp_max(4 * TEETH)
    by_chance = 2 * reach / entry
    steps = magnitude / entry[:, None]
    used = (steps > 0.5) & (entry > 1)[:, None]  # not a multiple of zero
    near = steps.sub_(steps.round()).abs_() < (reach / entry)[:, None]
    hits, tries = (near & used).sum(-1), used.sum(-1)
    each = hits * (HIT / by_chance).log() + (tries - hits) * (math.log(1 - HIT) - (1 - by_chance).log())
    return each.sum(1) - each.amax(1).clamp_min(0)


@functools.cache
def _tables() -> Tensor:
    """Luminance tables of QUALITIES, int64 [69, 64], row by row."""
    from forge.faces.imaging import ijg_tables

    luminance, _ = ijg_tables()
    return torch.from_numpy(luminance[QUALITIES.start - 1 : QUALITIES.stop - 1].copy())
