"""All results that are computed from the score rows of a run."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import BaseModel

from benchmarks.evaluation.attack_facts import AttackFacts
from benchmarks.evaluation.audits.score_rows import controls, directions
from benchmarks.evaluation.evaluate import compare, evaluate, grid
from benchmarks.evaluation.groups import groups
from benchmarks.evaluation.localisation import localised, read_rows, write_rows
from benchmarks.evaluation.metrics import facts_of, load_metrics
from benchmarks.evaluation.security import is_attack, security_points, with_unchanged
from benchmarks.protocol import PAIRED_PREFIX, Protocol
from detect.score_rows import compact, read_compact
from detect.scoring import rounded, write_scores
from forge.core.errors import BenchWarning


def joined(files: Sequence[Path], out: Path) -> pd.DataFrame:
    """Join score rows of every detector on every set in scores.parquet of a folder, and return them.

    Args:
        files: of each detector and set.
        out: the folder.
    """
    # rounded before they are measured: the published rows give the published numbers exactly
    rows = rounded(read_compact(files))
    write_scores(rows, out / "scores.parquet")
    return rows


def evaluated(rows: pd.DataFrame, more: Sequence[str] = (), protocol: Protocol | None = None) -> dict[str, Any]:
    """Compute metrics, cells, comparisons, groups, gaps and audits as plain data: fields of `results.Results`.

    Args:
        rows: of scores.parquet, val and test.
        more: metrics beside those of the protocol: names from installed packages, or path/to/file.py:Class.
        protocol: version and families; by default this version's.
    """
    rows = compact(rows)
    whole, attacked = with_unchanged(rows, protocol), is_attack(rows)
    if attacked.any():  # audits and groups are of honest images
        rows = rows[~attacked]
    main, paired = grid(rows), rows[rows["source"].str.startswith(PAIRED_PREFIX)]
    failed: dict[str, str] = {}
    cells = evaluate(whole, load_metrics(more), failed=failed, protocol=protocol)
    for name, why in failed.items():
        warnings.warn(f"metric {name} failed and has no value: {why}", BenchWarning, stacklevel=2)
    described = [
        record.model_copy(update={"missing": "failed"}) if record.id in failed else record for record in facts_of(more)
    ]
    facts, gaps = groups(main, cells)
    audits = controls(main, protocol, paired if len(paired) else None)
    fields: dict[str, Sequence[BaseModel]] = {"metrics": described, "cells": cells, "comparisons": compare(main)}
    fields |= {"groups": facts, "gaps": gaps, "audits": [*audits, *directions(rows)]}
    return {name: [record.model_dump(mode="json") for record in records] for name, records in fields.items()}


def attacked(
    rows: pd.DataFrame, facts: Sequence[AttackFacts], protocol: Protocol | None = None
) -> dict[str, list[dict[str, Any]]]:
    """Compute the security curves: fields of `results.Results`.

    Args:
        rows: of scores.parquet.
        facts: what each attack cost.
        protocol: version and families; by default this version's.
    """
    points = security_points(rows, facts, protocol)
    return {
        "attacks": [fact.model_dump(mode="json") for fact in facts],
        "security": [point.model_dump(mode="json") for point in points],
    }


def located(files: Sequence[Path], out: Path) -> list[dict[str, Any]]:
    """Join rows of masks.parquet in one file, and measure where images were altered: a field of `results.Results`.

    Args:
        files: of each detector.
        out: the joined file.
    """
    rows = pd.concat([read_rows(file) for file in files], ignore_index=True)
    write_rows(rows, out)
    return [record.model_dump(mode="json") for record in localised(rows)]
