"""Stages of milliseconds, in a module that worker processes import: texts instead of faces, and what goes wrong."""

import errno
import os
import signal
import sys
import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field

from benchmarks.terminal import Silent
from benchmarks.workflow import drive
from benchmarks.workflow.engines import ENGINES
from benchmarks.workflow.engines.base import EngineOptions
from benchmarks.workflow.stage import Collecting, Context, Stage
from benchmarks.workflow.store import Store
from forge.core.compute import Compute
from forge.core.errors import BenchWarning, InputError
from forge.core.files import digest_file
from forge.core.interrupt import deferred_interrupt
from forge.core.progress import ProgressEvent, silent
from forge.core.registry import code_files, load_from_file
from forge.faces.parallel import ordered

STEPS = 40  # of a counting stage


class NoDevice(Compute):
    """A device that torch is not imported for."""

    def __post_init__(self):
        pass

    def describe(self):
        return "none"

    def has_bf16(self):
        return False


@dataclass(frozen=True, eq=False, kw_only=True)
class Step(Stage):
    """Joins the texts of its inputs to its own.

    Attributes:
        title: its text.
        before: its inputs.
        act: what else it does, a function below.
    """

    title: str
    before: Mapping[str, Stage] = field(default_factory=dict)
    act: str = ""

    optional = True
    label = property(lambda self: self.title)
    settings = property(lambda self: {"title": self.title, "act": self.act})

    def run(self, job):
        facts = (ACTS[self.act](self, job) or {}) if self.act else {}
        texts = [(job.path(stage) / "text").read_text() for stage in self.inputs.values()]
        (job.out / "text").write_text(f"{self.title}({','.join(texts)})")
        here = {"pid": os.getpid(), "device": job.context.compute.device, "threads": os.environ["OMP_NUM_THREADS"]}
        return here | {"visible": os.environ.get("CUDA_VISIBLE_DEVICES", "")} | facts


class Training(Step):
    action, VERSION = "fake-train", 1


class Scoring(Step):
    action, VERSION, computes = "fake-score", 1, False


class Sum(Step, Collecting):
    """Keeps the inputs that are there."""

    action, VERSION, optional = "fake-sum", 1, False

    def without_failed(self, there, failures, replaced):
        before = {name: replaced.get(stage.key, stage) for name, stage in self.before.items()}
        kept = {name: stage for name, stage in before.items() if stage.key in there}
        return Sum(title=" ".join([self.title, *sorted(failures)]), before=kept)


def inputs(*stages):
    return {str(number): stage for number, stage in enumerate(stages)}


def grid(acts=("", ""), scores=3):
    """Return two trainings, some scores of each, their sum."""
    trainings = [Training(title=name, act=act) for name, act in zip("ab", acts, strict=True)]
    scored = [Scoring(title=f"{each.title}{n}", before=inputs(each)) for each in trainings for n in range(scores)]
    return [*trainings, *scored, Sum(title="sum", before=inputs(*trainings, *scored))]


def _killed_once(stage, job):
    marker = job.work / "begun"
    if not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return {"resumed": True}


def _slow(stage, job):
    """Take long enough to meet others; says from when to when."""
    begin = time.monotonic()  # of the whole machine
    time.sleep(0.15)
    return {"span": [begin, time.monotonic()]}


def _source(stage, job):
    return {"source": job.context.source.words}


def _parallel(stage, job):
    """Read photos in processes of the worker."""
    return {"read": list(ordered(abs, [-1, -2, -3], workers=2))}


def _killed(stage, job):
    os.kill(os.getpid(), signal.SIGKILL)


def _full(stage, job):
    raise OSError(errno.ENOSPC, "No space left on device", str(job.out))


def _refused(stage, job):
    raise InputError("too few images")


def _counted(stage, job):
    """Count to STEPS as a training does: from the checkpoint, saved at Ctrl-C and at every fifth step."""
    file = job.work / "count"
    begin = count = int(file.read_text()) if file.is_file() else 0
    (job.work / "begun").touch()
    with deferred_interrupt() as interrupted:
        while count < STEPS:
            time.sleep(0.05)
            count += 1
            job.context.on_progress(ProgressEvent(count, STEPS, "steps", {"loss": 1 / count}))
            if interrupted() or count % 5 == 0:
                partial = file.with_suffix(".partial")
                partial.write_text(str(count))
                partial.replace(file)
            if interrupted():
                raise KeyboardInterrupt
    return {"begin": begin}


def _stuck(stage, job):
    """Take the first Ctrl-C and do nothing about it."""
    with deferred_interrupt():
        (job.work / "begun").touch()
        time.sleep(60)


def _warns(stage, job):
    warnings.warn("few faces", BenchWarning, stacklevel=2)


def _met(stage, job):
    """Wait for another stage of this kind, which must run at the same time."""
    (job.work / "here").touch()
    deadline = time.monotonic() + 120
    while len([*job.work.parent.glob("*/here")]) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    time.sleep(0.5)  # the other looks before this one is published, and its folder gone


def _plugin(stage, job):
    """Load the plug-in that the source is of, by its reference."""
    source = job.context.source
    loaded = load_from_file("source", source.reference)
    assert isinstance(source, loaded)
    code = {name: digest_file(file) for name, file in code_files(source.reference).items()}
    return {"words": loaded.words, "code": code}


def _assigned(stage, job):
    """Say which resources Ray has set aside for this task."""
    return {"assigned": dict(sys.modules["ray"].get_runtime_context().get_assigned_resources())}


ACTS = {"killed once": _killed_once, "killed": _killed, "full": _full, "refused": _refused}
ACTS |= {"counted": _counted, "stuck": _stuck, "slow": _slow, "source": _source, "parallel": _parallel}
ACTS |= {"met": _met, "warns": _warns, "plugin": _plugin, "assigned": _assigned}

CONTEXT = Context(None, NoDevice("cpu", threads=1), 1, silent)


def run(stages, folder, *, context=CONTEXT, observer=None, estimates=None, **options):
    store = Store(folder)
    engine = ENGINES.load("local")(store, context, EngineOptions(**{"jobs": 2, "threads": 1} | options))
    return drive.execute(stages, store, context, observer or Silent(), engine, estimates=estimates)
