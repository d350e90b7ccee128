"""Running suites, from the records that their drivers write into the store: states, progress, sample grids."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.evaluation.numbers import amount, duration
from benchmarks.workflow.run_record import ActionCount, RunningStage, RunRecord, read_records
from forge.core.errors import UnknownNameError

SHOWN_SECONDS = 24 * 3600.0  # how long a run that did not finish is shown after its last heartbeat
_STATES = {"running": "running", "stopped": "stopped by Ctrl-C", "failed": "failed", "killed": "killed"}
_SAMPLES = re.compile(r"[;,]? *samples: \S*$")  # of the note of a training
_READINGS = 4  # of a stage that are shown


@dataclass(frozen=True)
class Step:
    """A stage under way.

    Attributes:
        name: e.g. "train dcgan".
        key: of the stage.
        worker: where it runs; "": in the driver's process.
        share: what is done of it, 0 to 1; None: nothing was reported yet.
        progress: the same in words.
        readings: e.g. ("d_loss", "0.42").
        note: a few words.
        picture: whether its newest sample grid is there.
    """

    name: str
    key: str
    worker: str
    share: float | None
    progress: str
    readings: Sequence[tuple[str, str]]
    note: str
    picture: bool


@dataclass(frozen=True)
class Suite:
    """A run under way, or one that ended without its report.

    Attributes:
        id: tells it from others of its name.
        name: of the run.
        state: running, stopped, failed or killed.
        state_text: the same for people.
        error: the sentence of a failure.
        command: that asks for it again and continues it.
        where: host, process, engine, jobs and device.
        done: stages whose result is there.
        total: stages in all.
        elapsed: time from its beginning to its last heartbeat, by the driver's clock.
        left: time left, as far as stages of each action were timed; "": no stage was.
        actions: counts per action, in the order of the plan, with the time they took.
        steps: stages under way.
        log: last lines.
    """

    id: str
    name: str
    state: str
    state_text: str
    error: str
    command: str
    where: str
    done: int
    total: int
    elapsed: str
    left: str
    actions: Sequence[tuple[str, ActionCount, str]]
    steps: Sequence[Step]
    log: Sequence[str]

    def as_json(self) -> dict[str, Any]:
        """Return it for scripts, without log and command, which may hold paths of this machine."""
        facts = asdict(self) | {"actions": {name: count.model_dump() for name, count, _ in self.actions}}
        return {name: value for name, value in facts.items() if name not in ("log", "command", "error", "state_text")}


def suites(store: Path) -> list[Suite]:
    """Return the runs of a store that are under way or ended in the last day without a report: running ones first."""
    records = [(record, _state(record)) for record in read_records(store)]
    earliest = time.time() - SHOWN_SECONDS
    shown = [
        _suite(record, state, store)
        for record, state in records
        if state == "running" or (state != "finished" and record.updated > earliest)
    ]
    return sorted(shown, key=lambda each: each.state != "running")


def suite(store: Path, name: str) -> Suite:
    """Return the run of an id.

    Raises:
        UnknownNameError: there is none, or it is over.
    """
    known = {each.id: each for each in suites(store)}
    if name not in known:
        raise UnknownNameError("running suite", name, known)
    return known[name]


def picture(store: Path, name: str, key: str) -> Path | None:
    """Return the newest sample grid of a stage under way; None where there is none.

    Raises:
        UnknownNameError: there is no such run.
    """
    # a key of the record, not of the address, makes the path
    keys = [step.key for step in suite(store, name).steps if step.key == key]
    return next((file for each in keys if (file := _newest(store, each)).is_file()), None)


def _newest(store: Path, key: str) -> Path:
    # as WriteSamples in forge/training/callbacks/samples.py names it
    return store / "work" / Path(key[:16]).name / "samples" / "newest.png"


def _state(record: RunRecord) -> str:
    return "killed" if record.state == "running" and not record.is_alive() else record.state


def _suite(record: RunRecord, state: str, store: Path) -> Suite:
    counts = record.actions.values()
    jobs = f"{record.jobs} at a time, " if record.jobs > 1 else ""
    live = state == "running"
    return Suite(
        id=f"{record.name}.{record.host}.{record.pid}",
        name=record.name,
        state=state,
        state_text=_STATES[state],
        error=record.error,
        command=record.command,
        where=f"{record.host}, process {record.pid}; engine {record.engine}, {jobs}{record.device}",
        done=sum(count.done for count in counts),
        total=sum(count.total for count in counts),
        elapsed=duration(max(0.0, record.updated - record.begun)),
        left=_left(record) if live else "",
        actions=[(name, count, duration(count.seconds) if count.ran else "") for name, count in record.actions.items()],
        steps=[_step(stage, store) for stage in record.running] if live else [],
        log=record.log,
    )


def _left(record: RunRecord) -> str:
    """Return the time left, from the mean of each action so far; "at least" while one still to run has no time."""
    missing = {name: count.todo - count.ran for name, count in record.actions.items()}
    timed = [(missing[name], count) for name, count in record.actions.items() if count.ran and missing[name] > 0]
    if not timed:
        return ""
    total = sum(number * count.seconds / count.ran for number, count in timed)
    untimed = any(missing[name] > 0 and not count.ran for name, count in record.actions.items())
    return f"{'at least' if untimed else 'about'} {duration(total / max(1, record.jobs))}"


def _step(stage: RunningStage, store: Path) -> Step:
    share = min(1.0, stage.done / stage.total) if stage.total > 0 else None
    progress = f"{stage.done:,} of {stage.total:,} {stage.unit}".strip() if share is not None else "begun"
    readings = [(name, _reading(value)) for name, value in list(stage.values.items())[:_READINGS]]
    there = _newest(store, stage.key).is_file()
    note = _SAMPLES.sub("", stage.note) if there else stage.note  # the grid itself says more than its path
    return Step(stage.name, stage.key, stage.worker, share, progress, readings, note, there)


def _reading(value: float) -> str:
    return amount(value) if abs(value) >= 10_000 else f"{value:.3g}"
