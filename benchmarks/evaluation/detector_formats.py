"""One detector on each generator, as text: a table of generators by conditions; CSV and JSON of all detectors."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmarks.evaluation.formats import standing
from benchmarks.evaluation.leaderboard import Standing
from forge.core.files import csv_cell

_FIELDS = ("value", "low", "high", "sd", "cells", "missing")


@dataclass(frozen=True)
class DetectorSheet:
    """Standings of one detector, ready to print.

    Attributes:
        title: of the run and the detector.
        detector: its name.
        families: generator -> family, where it is known.
        standings: generator -> column -> standing, in the order of the rows.
        columns: in their order.
        seeds: of the run.
        protocol: version of the measuring protocol.
        verdicts: sentences of failed audits, shown above the table.
    """

    title: str
    detector: str
    families: Mapping[str, str]
    standings: Mapping[str, Mapping[str, Standing]]
    columns: Sequence[str]
    seeds: Sequence[int]
    protocol: int
    verdicts: tuple[str, ...] = ()

    @property
    def headings(self) -> list[str]:
        """Headings of the columns of `rows`."""
        return ["family", "generator", *self.columns]

    @property
    def rows(self) -> list[list[str]]:
        """The table as text, a row for each tested generator."""
        return [
            [
                self.families.get(generator) or "–",
                generator,
                *(standing(of[name]) if name in of else "–" for name in self.columns),
            ]
            for generator, of in self.standings.items()
        ]

    @property
    def notes(self) -> list[str]:
        """Notes below the table."""
        many = len(self.seeds) > 1
        seeds = f"{len(self.seeds)} seeds" if many else "one seed"
        return [
            f"AUC on each generator: the mean over the tests of a column with it, {seeds}, with its "
            f"95 % interval over {'images and seeds' if many else 'images'}. Protocol {self.protocol}."
        ]


def to_csv(sheets: Sequence[DetectorSheet]) -> str:
    """Format all standings as CSV, a row for each detector, generator and column; six decimals."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["detector", "generator", "family", "column", *_FIELDS])
    for sheet in sheets:
        for generator, of in sheet.standings.items():
            names = (sheet.detector, generator, sheet.families.get(generator, ""))
            for column, mean in of.items():
                numbers = [
                    "" if value is None else f"{value:.6f}" for value in (mean.value, mean.low, mean.high, mean.sd)
                ]
                writer.writerow([*map(csv_cell, names), csv_cell(column), *numbers, mean.cells, mean.missing])
    return text.getvalue()


def to_json(sheets: Sequence[DetectorSheet]) -> str:
    """Format all standings as JSON: detector -> generator -> family, and column -> standing; with failed audits."""
    detectors = {
        sheet.detector: {
            generator: {
                "family": sheet.families.get(generator) or None,
                "columns": {name: mean.model_dump(mode="json", include=set(_FIELDS)) for name, mean in of.items()},
            }
            for generator, of in sheet.standings.items()
        }
        for sheet in sheets
    }
    first = sheets[0]
    head = {"protocol": first.protocol, "seeds": list(first.seeds), "verdicts": list(first.verdicts)}
    return json.dumps(head | {"detectors": detectors}, indent=1) + "\n"
