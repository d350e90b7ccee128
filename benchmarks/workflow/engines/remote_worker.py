"""A worker on another machine, or started by another program: runs one task and answers with what became of it."""

from __future__ import annotations

import os
import pickle
import socket
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace

from benchmarks.workflow.engines.base import Event, Failed, Finished, Lost, Noted, Progressed, Started, Task
from benchmarks.workflow.engines.event_log import SUFFIX, EventWriter
from benchmarks.workflow.engines.plugin_code import import_plugins
from benchmarks.workflow.engines.site import Site
from benchmarks.workflow.engines.travel import MB, pack, size_of, unpack
from benchmarks.workflow.engines.worker import noting
from benchmarks.workflow.execution import run_task
from benchmarks.workflow.stage import Context, Stage
from benchmarks.workflow.store import Store
from forge.core.compute import set_threads, tune_allocator
from forge.core.errors import BenchError, InputError

Packages = Mapping[str, Callable[[], bytes]]  # key of an input -> fetches its package


@dataclass(frozen=True)
class Answer:
    """What became of a task; picklable.

    Attributes:
        ends: of all stages.
        notes: that were made meanwhile, also where the log could not be written.
        packages: key -> packed result, from a machine that does not see the store.
    """

    ends: tuple[Event, ...]
    notes: tuple[Noted, ...] = ()
    packages: Mapping[str, bytes] = field(default_factory=dict)


def work(number: str, task: Task, site: Site, context: bytes, packages: Packages) -> Answer:
    """Run the stages of a task in this process.

    Args:
        number: of the task, names the file of its events.
        task: the stages.
        site: of the run.
        context: of the run, pickled.
        packages: of inputs, for a machine that does not see the store.
    """
    keys = tuple(stage.key for stage in task.stages)
    unfit = site.unfit()
    if unfit is not None:
        return Answer((Lost(keys, unfit),))
    tune_allocator()
    set_threads(task.threads)
    with suppress(OSError):  # no such folder here: whoever needs it says so
        os.chdir(site.directory)
    log = EventWriter(site.folder / f"{number}{SUFFIX}") if site.seen else None
    ends: list[Event] = []
    notes: list[Noted] = []

    def tell(event: Event) -> None:
        if log is not None:
            log(event)
        if isinstance(event, Noted):
            notes.append(event)
        elif not isinstance(event, Started | Progressed):
            ends.append(event)

    import_plugins(site.plugins, site.folder, site.folder if site.seen else site.elsewhere.parent)
    given: Context = pickle.loads(context)
    # processes that read photos are counted with the task's processors
    given = replace(given, workers=max(1, min(given.workers, task.threads)))
    with warnings.catch_warnings():  # undone at the end: this process may run other tasks
        warnings.showwarning = noting(tell)
        if log is not None:
            run_task(task, Store(site.store), given, tell, worker=socket.gethostname())
            return Answer(tuple(ends), tuple(notes))
        store = Store(site.elsewhere)
        try:
            run_task(_brought(task, store, packages), store, given, tell, worker=socket.gethostname())
        except BenchError as error:  # of an input
            ends += [Failed(key, error, system=isinstance(error.__cause__, OSError)) for key in keys]
    return _packed(task, ends, tuple(notes), site)


def _brought(task: Task, store: Store, packages: Packages) -> Task:
    """Return the task with its inputs in the store of this machine."""
    inputs = {before.key: before for stage in task.stages for before in stage.inputs.values()}
    folders = {
        key: store.find(inputs[key].action, key) or unpack(packages[key](), inputs[key], store) for key in task.folders
    }
    return replace(task, folders=folders)


def _packed(task: Task, ends: list[Event], notes: tuple[Noted, ...], site: Site) -> Answer:
    """Return the answer with the results that the driver's store lacks."""
    stages: dict[str, Stage] = {stage.key: stage for stage in task.stages}
    answered: list[Event] = []
    packages: dict[str, bytes] = {}
    for event in ends:
        if isinstance(event, Finished):
            size = size_of(event.folder)
            if size > site.ship_bytes:
                answered.append(Failed(event.key, _too_large(stages[event.key], size, site)))
                continue
            packages[event.key] = pack(event.folder)
        answered.append(event)
    return Answer(tuple(answered), notes, packages)


def _too_large(stage: Stage, size: int, site: Site) -> InputError:
    return InputError(
        f"the result of {stage.name} has {size / MB:.2g} MB and may not travel from {socket.gethostname()}, which does "
        f"not see the store: --ship-below is {site.ship_bytes / MB:g}; raise it, or mount {site.store} there"
    )
