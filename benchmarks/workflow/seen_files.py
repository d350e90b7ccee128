"""Files that the trainings of a run read, beside those of its external pairs."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import cached_property

from benchmarks.evaluation.contamination import seen_tests
from forge.faces.faceset import FaceSet

TRAINING = ("train", "val")  # splits that detectors learn and are calibrated on


class RunFiles:
    """The SHA-256 of source files, read from the tables of sets when they are first needed.

    Args:
        training: sets of the run, of which detectors read the splits train and val.
        pairs: name of an external pair as in the cells, and one of its sides.
    """

    def __init__(self, training: Sequence[FaceSet], pairs: Sequence[tuple[str, FaceSet]]) -> None:
        self._training, self._pairs = training, pairs

    def seen(self, declared: Collection[str], *, fitted: bool) -> dict[str, str]:
        """Return the external pairs that a detector was trained on -> why they count as such.

        Args:
            declared: names of sets and generators on its card.
            fitted: whether it was fitted on the images of the run.
        """
        if not self._pairs:
            return {}
        return seen_tests(declared, self._training_files if fitted else (), self._pair_files)

    @cached_property
    def _training_files(self) -> set[str]:
        return {digest for faces in self._training for digest in _files_of(faces, TRAINING)}

    @cached_property
    def _pair_files(self) -> dict[str, set[str]]:
        files: dict[str, set[str]] = {}
        for name, faces in self._pairs:
            files.setdefault(name, set()).update(_files_of(faces, ("test",)))
        return files


def _files_of(faces: FaceSet, splits: Sequence[str]) -> set[str]:
    """Return the SHA-256 of the files that the images of some splits were read from; empty: they were not."""
    table = faces.table
    if "source_sha256" not in table:
        return set()
    return set(table.loc[table["split"].isin(splits), "source_sha256"].dropna())
