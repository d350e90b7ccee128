"""Description of a metric in results.json, from which pages show its values without its code."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from benchmarks.evaluation.record import Record

Unit = Literal["percent", "share", "number"]
Counted = Literal["all", "fewest", "forged"]


class MetricFacts(Record):
    """Definition and display of a metric; stored in results.json, so that a page needs no code of plug-ins."""

    id: str = Field(description="its key in the cells of results.json and its column in results.csv")
    title: str = Field(description="heading of its column on the page")
    meaning: str = Field(description="its definition in a sentence")
    better: Literal["higher", "lower"] = Field(description="which values are better")
    unit: Unit = Field(description="percent: a share of images; share: a mean in [0, 1]; number: anything")
    counted: Counted = Field(
        "all", description="images that determine its number of digits: all, of the smaller class, or forged ones"
    )
    interval: bool = Field(False, description="whether cells carry ID_low and ID_high too")
    shown: bool = Field(False, description="whether the page and report.md have it; results.csv always has it")
    equal_prevalence: str = Field("", description="id of the same metric at prevalence 0.5, which is shown before it")
    missing: str = Field("n too small", description="text of a table field without value")
    name: str = Field(description="that loads it: registered, or path/to/file.py:Class")
