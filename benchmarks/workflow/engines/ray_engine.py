"""The Ray engine: each task is a remote task of a Ray cluster.

Ray decides where a task runs, by processors, GPUs and memory; what runs when is the schedule's decision, and so is
what happens after a loss: Ray itself repeats nothing.
"""

from __future__ import annotations

import os
import shutil
import time
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from itertools import count
from types import TracebackType
from typing import Any, Self

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from benchmarks.workflow.engines.base import Engine, EngineOptions, Task, Tell
from benchmarks.workflow.engines.listener import Listener
from benchmarks.workflow.engines.ray_cluster import RayCluster
from benchmarks.workflow.engines.remote_worker import Answer, work
from benchmarks.workflow.engines.site import Site, opened, pickled
from benchmarks.workflow.engines.travel import MB, pack, size_of
from benchmarks.workflow.stage import Context
from benchmarks.workflow.store import Store
from forge.core.compute import cores
from forge.core.errors import InputError, quoted

GRACE_SECONDS = 6.0  # in which stages under way save a checkpoint at the end
PROBE_SECONDS = 60.0  # in which every node answers whether it can work
NODES_SECONDS = 5.0  # between two looks at the size of the cluster
KEPT_PACKAGES = 64  # inputs that wait in Ray's object store for nodes that do not see the store

_LOST = (  # the worker or its node died; anything else is an error of ours
    ray.exceptions.WorkerCrashedError,
    ray.exceptions.NodeDiedError,
    ray.exceptions.OutOfMemoryError,
    ray.exceptions.ObjectLostError,
    ray.exceptions.LocalRayletDiedError,
    ray.exceptions.TaskCancelledError,
)


@ray.remote(max_retries=0)
def _work(number: str, task: Task, site: Site, context: bytes, packages: dict[str, list[Any]]) -> Answer:
    return work(number, task, site, context, {key: partial(_fetched, refs) for key, refs in packages.items()})


def _fetched(refs: list[Any]) -> bytes:
    package: bytes = ray.get(refs[0])  # a reference in a list is not fetched before it is asked for
    return package


@ray.remote(max_retries=0, num_cpus=0)
def _probe(site: Site) -> tuple[str | None, bool]:
    return site.unfit(), site.seen


@ray.remote(max_retries=0, num_cpus=0)
def _clear(site: Site) -> None:
    for folder in site.elsewhere.parent.glob(f"{site.elsewhere.name}*"):  # its store, and copies of plug-ins
        shutil.rmtree(folder, ignore_errors=True)


class RayEngine(Engine):
    """Runs tasks on a Ray cluster: a given one, else one on this machine that ends with the run."""

    name = "ray"

    def __init__(self, store: Store, context: Context, options: EngineOptions) -> None:
        super().__init__(store, context, options)
        self._undo = ExitStack()
        self._numbers = count()
        self._under_way: dict[Any, str] = {}  # reference of an answer -> number of its task
        self._packages: dict[str, Any] = {}  # key of an input -> reference of its package
        self._blind: set[str] = set()  # nodes that do not see the store
        self._seeing: list[str] = []  # nodes that do, and have processors
        self._nodes: list[dict[str, Any]] = []
        self._context: Any = None  # reference of the pickled context, once the cluster is joined
        self._sent_site: Any = None  # reference of the site, with the code of plug-ins in it
        self._looked = 0.0

    def __enter__(self) -> Self:
        """Return itself; the cluster is joined when the first task comes: a run without any needs none."""
        self._site = self._undo.enter_context(
            opened(self.store, self.name, ship_bytes=round(self.options.ship_below_mb * MB))
        )
        self._listener = Listener(self.store, self._site)
        return self

    def connect(self) -> None:
        """Join or start the cluster, and ask its nodes whether they can work.

        Raises:
            InputError: there is no cluster, or its nodes cannot work for this run; says why.
        """
        options = self.options
        address = options.address or os.environ.get("RAY_ADDRESS", "")  # as Ray itself does
        processors = max(cores(), options.jobs * options.threads)
        cluster = self._undo.enter_context(RayCluster(address, processors=processors, threads=options.threads))
        self._look()
        self._refuse_infeasible()
        self._sent_site = ray.put(self._site)
        if not cluster.started:
            self._ask_nodes()
        self._context = ray.put(pickled(self.context))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Interrupt what is under way, wait until it has saved, and leave or end the cluster."""
        with self._undo:
            refs = list(self._under_way)
            for ref in refs:
                ray.cancel(ref, force=False, recursive=False)  # as Ctrl-C in the worker
            if refs:
                _, refs = ray.wait(refs, num_returns=len(refs), timeout=GRACE_SECONDS)
            for ref in refs:  # not those that ended this moment: Ray would abort this process (ray#54846)
                ray.cancel(ref, force=True, recursive=False)
            if refs:
                ray.wait(refs, num_returns=len(refs), timeout=GRACE_SECONDS / 2)
            cleared = [_clear.options(**_on(node)).remote(self._sent_site) for node in self._blind]
            if cleared:
                ray.wait(cleared, num_returns=len(cleared), timeout=GRACE_SECONDS / 2)

    @property
    def slots(self) -> int:
        """Return how many tasks may be under way: what was asked for, else what the processors of all nodes hold."""
        if self.options.jobs or self._context is None:
            return self.options.jobs or 1
        if time.monotonic() - self._looked > NODES_SECONDS:
            self._look()
        return max(1, sum(int(_amount(node, "CPU")) // self.options.threads for node in self._nodes))

    def submit(self, task: Task) -> None:
        """Give a task to Ray.

        Raises:
            InputError: as `connect`, of the first task; or no node can take it.
        """
        if self._context is None:
            self.connect()
        number = f"{next(self._numbers):06}"
        on_gpu = task.device.startswith("cuda") and any(stage.computes for stage in task.stages)
        sent = replace(
            task,
            folders={key: folder.resolve() for key, folder in task.folders.items()},
            device="cuda" if on_gpu else task.device,  # Ray shows a worker its own GPU alone
        )
        options: dict[str, Any] = {"num_cpus": task.threads, "num_gpus": int(on_gpu), "scheduling_strategy": "SPREAD"}
        if task.memory_mb:
            largest = max(_amount(node, "memory") for node in self._nodes)
            options["memory"] = int(min(task.memory_mb * 2**20, largest))
        packages: dict[str, list[Any]] = {}
        if self._blind:
            if self._may_travel(task):
                packages = {key: [self._package(key, task)] for key in task.folders}
            else:
                options |= _on(self._seeing_node())
        ref = _work.options(**options).remote(number, sent, self._sent_site, self._context, packages)
        self._listener.expect(number, task)
        self._under_way[ref] = number

    def wait(self, seconds: float, tell: Tell) -> None:
        """Tell what happened."""
        refs = list(self._under_way)
        ended: list[Any] = []
        if refs and ray.wait(refs, num_returns=1, timeout=seconds)[0]:
            ended, _ = ray.wait(refs, num_returns=len(refs), timeout=0)
        self._listener.follow(tell)
        for ref in ended:
            number = self._under_way.pop(ref)
            try:
                answer: Answer = ray.get(ref)
            except _LOST as error:
                self._listener.lost(number, _reason(error), tell)
            except ray.exceptions.RayError as error:  # e.g. its environment could not be made
                cause = getattr(error, "cause", None) or error
                text = quoted(" ".join(str(cause).split()))
                self._listener.failed(number, InputError(f"a worker of Ray could not run its task: {text}"), tell)
            else:
                self._listener.answered(number, answer, tell)

    def _look(self) -> None:
        """Look which nodes the cluster has now."""
        self._nodes = [node for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]
        self._looked = time.monotonic()

    def _refuse_infeasible(self) -> None:
        """Refuse what no node could ever run: Ray would wait for ever.

        Raises:
            InputError: no node has so many processors, or a GPU.
        """
        processors = int(max((_amount(node, "CPU") for node in self._nodes), default=0))
        if processors < self.options.threads:
            raise InputError(
                f"a task takes {self.options.threads} threads, and no node of the cluster has more than {processors} "
                f"processors; give --threads {max(1, processors)} or less"
            )
        if self.context.compute.device.startswith("cuda") and not any(_amount(node, "GPU") for node in self._nodes):
            raise InputError("no node of the cluster has a GPU that Ray knows of; give --device cpu")

    def _ask_nodes(self) -> None:
        """Ask every node whether it can work, and note those that do not see the store.

        Raises:
            InputError: a node cannot, or does not answer.
        """
        able = [node for node in self._nodes if _amount(node, "CPU") >= self.options.threads]
        asked = {_probe.options(**_on(node["NodeID"])).remote(self._sent_site): node for node in able}
        answered, silent_ones = ray.wait(list(asked), num_returns=len(asked), timeout=PROBE_SECONDS)
        for ref in [*answered, *silent_ones]:
            node = asked[ref]
            name = node["NodeManagerHostname"]
            if ref in silent_ones:
                raise InputError(
                    f"node {name} of the cluster did not answer in {PROBE_SECONDS:g} s; `ray status` shows it"
                )
            try:
                unfit, seen = ray.get(ref)
            except ray.exceptions.RayError as error:
                text = quoted(str(error).strip().splitlines()[-1])
                raise InputError(
                    f"node {name} of the cluster cannot run this program: {text}; install it there, in the same version"
                ) from error
            if unfit is not None:
                raise InputError(f"a worker {unfit}")
            if not seen:
                self._blind.add(node["NodeID"])
        self._seeing = [node["NodeID"] for node in able if node["NodeID"] not in self._blind]

    def _may_travel(self, task: Task) -> bool:
        """Whether a task may run on a node that does not see the store."""
        # what has no inputs reads photos
        return all(stage.inputs for stage in task.stages) and all(
            size_of(folder) <= self._site.ship_bytes for folder in task.folders.values()
        )

    def _package(self, key: str, task: Task) -> Any:  # noqa: ANN401 - Ray's reference
        """Return the reference of a packed input."""
        if key not in self._packages:
            while len(self._packages) >= KEPT_PACKAGES:
                del self._packages[next(iter(self._packages))]  # tasks under way hold their own references
            self._packages[key] = ray.put(pack(task.folders[key]))
        return self._packages[key]

    def _seeing_node(self) -> str:
        """Return the node that sees the store and is used in turn.

        Raises:
            InputError: there is none with processors.
        """
        if not self._seeing:
            raise InputError(
                "no node of the cluster that has processors sees the store, and what reads photos or large results "
                f"needs one; mount {self._site.store} on one of them"
            )
        self._seeing.append(self._seeing.pop(0))
        return self._seeing[-1]


def _on(node: str) -> dict[str, Any]:
    """Return the options that keep a task on one node."""
    return {"scheduling_strategy": NodeAffinitySchedulingStrategy(node, soft=False)}


def _amount(node: dict[str, Any], resource: str) -> float:
    return float(node["Resources"].get(resource, 0))


def _reason(error: Exception) -> str:
    """Return how a worker was lost, as the end of "the worker …"."""
    match error:
        case ray.exceptions.OutOfMemoryError():
            return "was ended because the memory of its machine ran out"
        case ray.exceptions.NodeDiedError() | ray.exceptions.LocalRayletDiedError():
            return "is gone with its machine"
        case ray.exceptions.TaskCancelledError():
            return "was stopped"
        case ray.exceptions.ObjectLostError():
            return "answered, and its machine was gone before the answer arrived"
    return "died"
