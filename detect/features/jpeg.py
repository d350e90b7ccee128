"""Detection of the JPEG quality that an image was compressed with, from its pixels."""

from __future__ import annotations

import functools
import math

import torch
from torch import Tensor

from detect.features.dct import cosine_basis
from forge.faces.imaging.jpeg import ijg_tables
from forge.faces.imaging.luma import LUMA

QUALITIES = range(30, 99)  # below is never used, above most of the table is 1
TEETH = 0.9  # distance from a multiple that rounding of Y, R, G and B to integers explains; its deviation is 0.35
HIT = 0.9  # probability of it, with room for other decoders
SURE = 20.0  # nats: chance shows one of the 69 qualities in one of 10 million images
QUIET = 0.75  # what rounding of R, G and B to integers leaves of a coefficient that was zero
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


def visible_grid(images: Tensor) -> Tensor:
    """The quality of `visible_quality` on the 8 x 8 grid that shows it, which cropping or padding may have shifted.

    Of the 64 offsets two are tried: that at which most DCT coefficients round to zero (JPEG leaves zeros on its grid
    alone), and the aligned one; the one with more evidence counts.

    Args:
        images: uint8 [N, H, W, 3], H and W at least 16.

    Returns:
        int64 [N, 3]: quality, rows and columns that the grid is shifted by, 0..7; all 0 where none is visible.
    """
    if not len(images):
        return torch.zeros(0, 3, dtype=torch.int64)
    rows, columns = ((side - 7) // 8 * 8 for side in images.shape[1:3])
    shifts = [(down, across) for down in range(8) for across in range(8)]
    luma, clipped = _luma(images), _clipped(images)
    counts = []
    for down, across in shifts:
        at = (slice(None), slice(down, down + rows), slice(across, across + columns))
        counts.append((_dct(luma[at], clipped[at]).abs_() < QUIET).sum((1, 2)))
    best = torch.stack(counts).argmax(0)
    parts = [(images[i], *shifts[int(which)]) for i, which in enumerate(best)]
    shifted = torch.stack([image[down : down + rows, across : across + columns] for image, down, across in parts])
    (aligned, of_aligned), (other, of_other) = _ratios(images), _ratios(shifted)
    moved = other > aligned
    ratio, which = torch.where(moved, other, aligned), torch.where(moved, of_other, of_aligned)
    where = torch.tensor(shifts)[best] * moved[:, None]
    grids = torch.cat([(which + QUALITIES.start)[:, None], where], dim=1)
    return torch.where((ratio > SURE)[:, None], grids, 0)


def _visible(images: Tensor) -> Tensor:
    ratio, which = _ratios(images)
    return torch.where(ratio > SURE, which + QUALITIES.start, 0)


def _ratios(images: Tensor) -> tuple[Tensor, Tensor]:
    """The largest log likelihood ratio of any quality, [N], and the number of that quality in `QUALITIES`, [N]."""
    magnitude = _distinct(_block_dct(images)).abs_()
    evidence = torch.stack([_evidence(magnitude, table) for table in _tables().to(images.device)])
    ratio, which = evidence.max(0)
    return ratio, which


def _block_dct(images: Tensor) -> Tensor:
    """Coefficients of Y - 128 in every whole 8 x 8 block without clipped pixels, others 0; float32 [N, 64, blocks]."""
    return _dct(_luma(images), _clipped(images)).transpose(1, 2).contiguous()


def _luma(images: Tensor) -> Tensor:
    """Y - 128 of uint8 [N, H, W, 3], float32 [N, H, W]."""
    return (images.float() * images.new_tensor(LUMA, dtype=torch.float32)).sum(-1) - 128


def _clipped(images: Tensor) -> Tensor:
    """Whether a channel of a pixel is 0 or 255, bool [N, H, W]."""
    return ((images == 0) | (images == 255)).any(-1)


def _dct(luma: Tensor, clipped: Tensor) -> Tensor:
    """Coefficients of every whole 8 x 8 block of [N, H, W], 0 in those with clipped pixels; [N, blocks, 64]."""
    basis = cosine_basis(8, device=luma.device)  # JPEG's own scale: its DCT is orthonormal too
    coefficients = (basis @ _blocks(luma) @ basis.T).flatten(2)
    # clipping to 0..255 moves all coefficients of a block away from their multiples
    coefficients[_blocks(clipped).flatten(2).any(-1)] = 0
    return coefficients


def _blocks(values: Tensor) -> Tensor:
    """[N, H, W] to [N, blocks, 8, 8]."""
    return values.unfold(1, 8, 8).unfold(2, 8, 8).flatten(1, 2)


def _distinct(coefficients: Tensor) -> Tensor:
    """Sort the coefficients of each frequency; 0 where one rounds to the same as the one before."""
    ordered = coefficients.sort(-1).values
    whole = ordered.round()
    ordered[..., 1:][whole[..., 1:] == whole[..., :-1]] = 0
    return ordered


def _evidence(magnitude: Tensor, table: Tensor) -> Tensor:
    """Return the log likelihood ratio of one table, [N], without the frequency that speaks most for it."""
    entry = table.to(magnitude)
    # tolerance around a multiple: rounding of the pixels (TEETH), at most a quarter of the distance between multiples
    reach = 0.25 * entry.clamp_max(4 * TEETH)
    by_chance = 2 * reach / entry  # probability of a hit for a coefficient that is spread evenly between multiples
    steps = magnitude / entry[:, None]
    used = (steps > 0.5) & (entry > 1)[:, None]  # not a multiple of zero
    near = steps.sub_(steps.round()).abs_() < (reach / entry)[:, None]
    hits, tries = (near & used).sum(-1), used.sum(-1)
    # binomial log likelihood ratio of each frequency: hit rate HIT under this table, by_chance without it
    each = hits * (HIT / by_chance).log() + (tries - hits) * (math.log(1 - HIT) - (1 - by_chance).log())
    # without the strongest frequency: a periodic texture has one strong frequency, a JPEG many
    return each.sum(1) - each.amax(1).clamp_min(0)


@functools.cache
def _tables() -> Tensor:
    """Return the luminance tables of QUALITIES, int64 [69, 64], row by row."""
    luminance, _ = ijg_tables()
    return torch.from_numpy(luminance[QUALITIES.start - 1 : QUALITIES.stop - 1].copy())
