"""Settings of runs for tests, from requests as a person would make them."""

from pathlib import Path
from typing import Any

from benchmarks.experiment.configs import parse_assignments
from benchmarks.experiment.request import changed, parse_pairs, read_request
from benchmarks.experiment.request_fields import RunRequest
from benchmarks.experiment.resolve import resolve
from benchmarks.experiment.settings import RunSettings

_FIELDS = {
    "generators": "generator",
    "detectors": "detector",
    "metrics": "metric",
    "source": "data",
    "overrides": "set",
}


def compose(**asked: Any) -> RunSettings:
    """Settings of a run whose request has these fields; also generators, detectors, metrics, source, overrides."""
    return resolve(RunRequest(**{_FIELDS.get(name, name): value for name, value in asked.items() if value is not None}))


def gather(
    file: Path | None, flags: dict[str, Any], assignments: Any = (), device: str = "cpu", pairs: Any = ()
) -> RunSettings:
    """Settings of a run as `bench run` makes them."""
    values = {"set": parse_assignments(assignments), "external": parse_pairs(pairs)} | flags
    request, _ = changed(read_request(file) if file else RunRequest(), values)
    return resolve(request, device=device, file=file)
