"""A map of patches that occur twice in an image, moved by what their neighbours were moved by; nothing is learned."""

from __future__ import annotations

from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy.fft import dctn
from scipy.ndimage import map_coordinates

from detect.detectors.base import DetectorSettings, FitContext, FitData, FitSummary
from detect.detectors.localiser import Localiser, Maps
from forge.core.compute import Compute
from forge.faces.faceset import Images

_LUMA = np.array([0.299, 0.587, 0.114])
_KEPT = 6  # rows and columns of low frequencies of a block's DCT that describe it
_MOST = 64  # blocks along a side, at most; larger images are looked at in larger steps
_FLAT = 1.0  # standard deviation of a block in grey levels below which it matches everything
_SLACK = 1.0  # steps by which moves of neighbours may differ, and what more for each step between them
_TURN = 0.5


class CopyMoveSettings(DetectorSettings):
    """Settings of the search."""

    block: float = Field(
        0.0625, gt=0, le=0.25, description="side of the blocks that are compared, share of the image's"
    )
    apart: float = Field(0.12, gt=0, lt=1, description="shortest move that counts, share of the image's side")
    window: int = Field(7, ge=3, description="side of the windows in which moves should agree, blocks")


class CopyMoveMatch(Localiser[CopyMoveSettings]):
    """For each block the most similar one elsewhere; where neighbours point the same way, something was copied.

    The map is the share of a block's neighbours whose nearest block lies where this one's does, times how much nearer
    that block is than blocks usually are. It cannot tell the copy from what was copied.
    """

    family = "copy-move-match"
    citation = "Fridrich et al., Detection of Copy-Move Forgery in Digital Images, DFRWS 2003"
    variant = "nearest blocks by DCT coefficients, and agreement of moves in windows, not sorted blocks and votes"
    needs = "nothing"
    middle = 0.5

    def fit(self, data: FitData, context: FitContext) -> FitSummary:
        """Learn nothing."""
        return FitSummary()

    def maps(self, images: Images, compute: Compute) -> Maps:
        """Return the agreement, float32 [n, H, W] in 0..1."""
        made = [self._map(image) for image in images]
        return np.stack(made) if made else np.empty(images.shape[:3], np.float32)

    def _map(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        side = len(image)
        block = max(4, round(self.settings.block * side))
        # blocks at every place, or in steps where there are too many; a quarter of them or fewer looks for its like
        step = -(-(side - block + 1) // _MOST)
        windows = np.lib.stride_tricks.sliding_window_view(image @ _LUMA, (block, block))[::step, ::step]
        coefficients = dctn(windows, axes=(2, 3), norm="ortho")[:, :, :_KEPT, :_KEPT]
        # without the mean: a copy may be brighter
        described = coefficients.reshape(*windows.shape[:2], -1)[..., 1:].astype(np.float32)
        moves, distance = self._moves(described, self.settings.apart * side / step)
        agreement = _agreement(moves, self.settings.window // 2)
        usual = max(float(np.median(distance)), 1e-3)
        textured = np.linalg.norm(described[::2, ::2], axis=2) > _FLAT * block
        values = agreement * (1 - np.minimum(distance / usual, 1)) * textured
        # a block's value belongs to its middle; map_coordinates reads between them, and beyond them the outermost
        places = (np.arange(side) - (block - 1) / 2) / (2 * step)
        grid = np.meshgrid(places, places, indexing="ij")
        return np.asarray(map_coordinates(values, grid, order=1, mode="nearest"), np.float32)

    def _moves(self, described: NDArray[np.float32], apart: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the moves from every second block to the most similar one that is far enough, and its distance.

        Args:
            described: [n, n, F], the blocks.
            apart: shortest move, steps.

        Returns:
            [2, m, m] in steps, and [m, m], m = ceil(n / 2).
        """
        count, features = len(described), described.shape[2]
        all_of, asking = described.reshape(-1, features), described[::2, ::2].reshape(-1, features)
        squares = (all_of**2).sum(1)
        ticks = np.arange(count)
        row, column = (grid.ravel() for grid in np.meshgrid(ticks, ticks, indexing="ij"))
        ask_row, ask_column = (grid.ravel() for grid in np.meshgrid(ticks[::2], ticks[::2], indexing="ij"))
        # squared distances less the asking block's own square, which all of its candidates share
        costs = squares - 2 * asking @ all_of.T
        costs[(ask_row[:, None] - row) ** 2 + (ask_column[:, None] - column) ** 2 < apart**2] = np.inf
        nearest = costs.argmin(1)
        distance = np.sqrt(np.maximum(costs[np.arange(len(asking)), nearest] + (asking**2).sum(1), 0))
        side = -(-count // 2)
        moves = np.stack([row[nearest] - ask_row, column[nearest] - ask_column]).astype(np.float64)
        return moves.reshape(2, side, side), distance.reshape(side, side).astype(np.float64)

    def save(self, directory: Path) -> None:
        """Write nothing: settings say all."""

    @classmethod
    def load(cls, directory: Path, settings: CopyMoveSettings, resolution: int) -> Self:
        """Make it from its settings."""
        return cls(settings, resolution)


def _agreement(moves: NDArray[np.float64], half: int) -> NDArray[np.float64]:
    """Return the share of each block's neighbours that move as it does, [m, m].

    Args:
        moves: [2, m, m] in steps.
        half: of the window, blocks.
    """
    side = moves.shape[1]
    framed = np.pad(moves, ((0, 0), (half, half), (half, half)), constant_values=np.inf)
    agree = np.zeros((side, side))
    for down in range(2 * half + 1):
        for right in range(2 * half + 1):
            other = framed[:, down : down + side, right : right + side]
            # a turned or scaled copy moves its far parts a little more
            allowed = _SLACK + _TURN * 2 * max(abs(down - half), abs(right - half))
            agree += (abs(other - moves) <= allowed).all(0)
    return (agree - 1) / ((2 * half + 1) ** 2 - 1)
