"""Validation and test scores of a detector: what lets it abstain. Of a run from its report, of a folder from a file.

validation.json beside detector.json: scores of both classes, ranges of the training photos, and where they are from.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.inference.conformal import Conformal, Floats
from benchmarks.inference.familiarity import Familiarity
from benchmarks.protocol import CLEAN, OWN_REALS, TrainSet
from benchmarks.workflow.runner import stage_of, stored_result
from benchmarks.workflow.stage import FACES
from forge.core.errors import CorruptError, InputError
from forge.core.files import read_signed_json, write_signed_json
from forge.faces.faceset import FaceSet

if TYPE_CHECKING:
    import pandas as pd

    from benchmarks.evaluation.results import Results
    from benchmarks.workflow.store import Store

FILE = "validation.json"
_SCHEMA = 1


@dataclass(frozen=True)
class ClipScores:
    """Mean scores of validation clips.

    Attributes:
        real: of real clips, float64 [n], n >= 1; higher for forged.
        forged: of forged clips, float64 [m], m >= 1.
        frames: median number of frames of a clip.
        test: name of a class on the run's test clips ("real", or a generator) -> their means.
    """

    real: Floats
    forged: Floats
    frames: float
    test: Mapping[str, Floats] = field(default_factory=dict)

    @classmethod
    def of_rows(cls, val: pd.DataFrame, test: pd.DataFrame) -> ClipScores | None:
        """Return the means of the clips that rows of scores.parquet name; None where a class has none in `val`."""
        if "clip" not in val:
            return None
        by_clip = _of_clips(val).groupby(["label", "clip"])["score"].agg(["mean", "size"])
        means = {label: by_clip.loc[by_clip.index.get_level_values(0) == label, "mean"] for label in (0, 1)}
        if means[0].empty or means[1].empty:
            return None
        of_test = _of_clips(test).groupby(["generator", "clip"])["score"].mean()
        return cls(
            means[0].to_numpy(np.float64),
            means[1].to_numpy(np.float64),
            float(by_clip["size"].median()),
            _by_name((name, part.to_numpy(np.float64)) for name, part in of_test.groupby(level=0)),
        )

    def as_json(self) -> dict[str, object]:
        """Return JSON values, sorted."""
        return {
            "real": np.sort(self.real).tolist(),
            "forged": np.sort(self.forged).tolist(),
            "frames": self.frames,
            "test": {name: np.sort(scores).tolist() for name, scores in self.test.items()},
        }

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> ClipScores:
        """Return what `as_json` returned."""
        test = {str(name): np.array(part, dtype=np.float64) for name, part in values["test"].items()}
        return cls(_scores(values["real"]), _scores(values["forged"]), float(values["frames"]), test)


@dataclass(frozen=True)
class Validation:
    """Scores and ranges that a verdict rests on.

    Attributes:
        conformal: validation scores of both classes.
        familiarity: ranges of the training photos; None: not known.
        test: name of a class on the run's test images ("real", or a generator) -> its scores.
        clips: the same of clips; None where the images are not frames of clips.
    """

    conformal: Conformal
    familiarity: Familiarity | None = None
    test: Mapping[str, Floats] = field(default_factory=dict)
    clips: ClipScores | None = None

    @classmethod
    def of_rows(cls, rows: pd.DataFrame, familiarity: Familiarity | None = None) -> Validation | None:
        """Return the scores of one fit; None where a class has no validation image.

        Args:
            rows: of scores.parquet, of one detector, training and seed, of images as it was trained on them.
            familiarity: ranges of its training photos.
        """
        usual = rows[~rows["source"].str.startswith(OWN_REALS) & ~rows["generator"].str.startswith(OWN_REALS)]
        val, test = (usual[usual["split"] == split] for split in ("val", "test"))
        real, forged = (val.loc[val["label"] == label, "score"].to_numpy(np.float64) for label in (0, 1))
        if not len(real) or not len(forged):  # fitted elsewhere: a run has no forgeries of its training
            return None
        by_name = _by_name((name, part["score"].to_numpy(np.float64)) for name, part in test.groupby("generator"))
        return cls(Conformal(real, forged), familiarity, by_name, ClipScores.of_rows(val, test))

    def save(self, folder: Path) -> None:
        """Write validation.json into the folder of a detector."""
        content = {
            "schema_version": _SCHEMA,
            "real": np.sort(self.conformal.real).tolist(),
            "forged": np.sort(self.conformal.forged).tolist(),
            "test": {name: np.sort(scores).tolist() for name, scores in self.test.items()},
            "familiarity": self.familiarity.as_json() if self.familiarity else None,
        }
        content |= {"clips": self.clips.as_json()} if self.clips else {}
        write_signed_json(folder / FILE, content)

    @classmethod
    def at(cls, folder: Path) -> Validation | None:
        """Read validation.json beside a detector; None where there is none.

        Raises:
            CorruptError: it was changed, or is no such file.
            InputError: a newer version wrote it.
        """
        file = folder / FILE
        if not file.is_file():
            return None
        content = read_signed_json(file)
        version = content.get("schema_version")
        if isinstance(version, int) and version > _SCHEMA:
            raise InputError(f"{file} has schema {version}, this version reads up to {_SCHEMA}; upgrade")
        try:
            real, forged = (_scores(content[name]) for name in ("real", "forged"))
            ranges = content.get("familiarity")
            test = {str(name): np.array(part, dtype=np.float64) for name, part in content.get("test", {}).items()}
            known = Familiarity.from_json(ranges) if ranges else None
            clips = ClipScores.from_json(content["clips"]) if content.get("clips") else None
            return cls(Conformal(real, forged), known, test, clips)
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
            raise CorruptError(f"{file} is damaged: {error}") from error


def _of_clips(rows: pd.DataFrame) -> pd.DataFrame:
    return rows[rows["clip"].notna() & (rows["clip"] != "")]


def _by_name(scores: Iterable[tuple[Hashable, Floats]]) -> dict[str, Floats]:
    """Return name of a class -> its scores: the real class first, generators in the order of their names."""
    named = {str(name) or "real": part for name, part in scores}
    return dict(sorted(named.items(), key=lambda entry: (entry[0] != "real", entry[0])))


def _scores(values: object) -> Floats:
    scores = np.array(values, dtype=np.float64)
    if scores.ndim != 1 or not scores.size:
        raise ValueError("scores must be lists of numbers")
    return scores


def familiarity_of(results: Results, trained_on: str, seed: int, store: Store) -> Familiarity | None:
    """Measure the training photos of a fit; None where the store no longer holds them, or they came from elsewhere.

    Args:
        results: of the run.
        trained_on: training of the detector.
        seed: of the fit.
        store: where results lie.
    """
    training = TrainSet.parse(trained_on)
    if training.perturbation != CLEAN:  # it saw changed images, of which the sets say nothing
        return None
    prepared = next((stage for stage in results.stages if stage.action in ("halve", "prepare")), None)
    if prepared is None:
        return None
    try:
        real = FaceSet.open(stored_result(results, prepared, store) / FACES)
        forged = [
            stored_result(results, stage_of(results, name, "synthesize", "translate", "tamper", seed=seed), store)
            for name in training.generators
        ]
        return Familiarity.of_sets(real, [FaceSet.open(folder / FACES) for folder in forged])
    except InputError:  # say, a store that was cleaned: the verdict is there all the same
        return None
