"""Validation and test scores of a detector: what lets it abstain. Of a run from its report, of a folder from a file.

validation.json beside detector.json: scores of both classes, ranges of the training photos, and where they are from.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

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
class Validation:
    """Scores and ranges that a verdict rests on.

    Attributes:
        conformal: validation scores of both classes.
        familiarity: ranges of the training photos; None: not known.
        test: name of a class on the run's test images ("real", or a generator) -> its scores.
    """

    conformal: Conformal
    familiarity: Familiarity | None = None
    test: Mapping[str, Floats] = field(default_factory=dict)

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
        by_name = {str(name) or "real": part["score"].to_numpy(np.float64) for name, part in test.groupby("generator")}
        # the real class first, generators in the order of their names
        ordered = sorted(by_name.items(), key=lambda entry: (entry[0] != "real", entry[0]))
        return cls(Conformal(real, forged), familiarity, dict(ordered))

    def save(self, folder: Path) -> None:
        """Write validation.json into the folder of a detector."""
        content = {
            "schema_version": _SCHEMA,
            "real": np.sort(self.conformal.real).tolist(),
            "forged": np.sort(self.conformal.forged).tolist(),
            "test": {name: np.sort(scores).tolist() for name, scores in self.test.items()},
            "familiarity": self.familiarity.as_json() if self.familiarity else None,
        }
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
            real, forged = (np.array(content[name], dtype=np.float64) for name in ("real", "forged"))
            if real.ndim != 1 or forged.ndim != 1 or not real.size or not forged.size:
                raise ValueError("scores must be lists of numbers")
            ranges = content.get("familiarity")
            test = {str(name): np.array(part, dtype=np.float64) for name, part in content.get("test", {}).items()}
            return cls(Conformal(real, forged), Familiarity.from_json(ranges) if ranges else None, test)
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
            raise CorruptError(f"{file} is damaged: {error}") from error


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
