"""What the tests of `bench` share: tiny runs, made-up scores and results, faces, and a reader of pages."""

import sys
from dataclasses import replace
from functools import cache, partial
from html.parser import HTMLParser
from unittest.mock import patch

import numpy as np
import pandas as pd

from benchmarks.evaluation.evaluate import compare, evaluate
from benchmarks.evaluation.results import PairedTest, Results, TestResult
from benchmarks.evaluation.run_facts import DataFacts, DetectorFacts, GeneratorFacts, StageFacts
from benchmarks.protocol import PROTOCOL_VERSION, TestGrid, TrainSet, condition_of
from benchmarks.report.inputs import Pictures

# the quality of forgeries from few of them, hardly a face looked for, and the health of short trainings at their end
SPARING = (
    "--set", "quality={n: 16, face_n: 1, usefulness: false}", "--set", "generator.training.health_every_kimg=1",
)  # fmt: skip
TINY = (
    "--preset", "smoke", "--set", "data.count=160", "--set", "data.resolution=16",
    "--set", "generator.training.kimg=1", "--set", "images={train: 32, val: 16, test: 24}",
    *SPARING,
)  # fmt: skip


def call_bench(tmp_path, monkeypatch, capsys=None):
    """A function that calls `bench …` in this process, in an empty folder; it returns (exit code, stdout, stderr).

    Without capsys both texts are empty.
    """
    from benchmarks.cli import main

    measure_hastily(monkeypatch)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BENCH_HOME", raising=False)
    monkeypatch.setenv("BENCH_REPORTS", "reports")  # by default they go to runs/reports

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["bench", *arguments])
        code = 0
        try:
            main.main()
        except SystemExit as stop:
            code = int(stop.code or 0)
        return code, *(capsys.readouterr() if capsys else ("", ""))

    return call


@cache
def _hasty_metrics():
    """Names of functions and numbers of the quality metrics, and what stands in their place."""
    from forge.core.progress import silent
    from forge.quality.ms_ssim import diversity
    from forge.quality.sets import measure_floor
    from forge.quality.sliced_wasserstein import sliced_wasserstein

    known = {}

    def floor_once(real, ask):
        key = real.card.digest, replace(ask, on_progress=silent)
        if key not in known:
            known[key] = measure_floor(real, ask)
        return known[key]

    return {
        "sets.measure_floor": floor_once,
        "identity.FITTED": 32,
        "sliced_wasserstein.sliced_wasserstein": partial(sliced_wasserstein, patches=16, directions=32),
        "ms_ssim.diversity": partial(diversity, pairs=50),
        "obedience.EPOCHS": 2,
        "usefulness._steps": lambda images: 2,
    }


def measure_hastily(monkeypatch):
    """Measure quality with few patches, pairs and steps, real sets once; tests/forge tries the real numbers."""
    for name, hasty in _hasty_metrics().items():
        monkeypatch.setattr(f"forge.quality.{name}", hasty)


def make_scores(skill, *, n=300, seed=0):
    """Rows of detectors whose classes lie `skill[(detector, trained_on)][generator]` standard deviations apart."""
    parts = []
    for i, ((detector, trained_on), apart) in enumerate(skill.items()):
        for split in ("val", "test"):
            for j, (generator, distance) in enumerate([("", 0.0), *apart.items()]):
                # the images' own difficulty is shared by all detectors, as on real images
                shared = np.random.default_rng([seed, split == "val", j]).normal(size=n)
                own = np.random.default_rng([seed, 9, i, split == "val", j]).normal(size=n)
                score = 0.8 * shared + 0.6 * own + distance
                parts.append(
                    pd.DataFrame(
                        {
                            "detector": detector, "trained_on": trained_on, "seed": 0,
                            "sample_id": [f"{generator or 'real'}-{split}-{k:05d}" for k in range(n)], "identity": "",
                            "source": generator or "rendered", "generator": generator, "split": split,
                            "perturbation": "none", "label": int(bool(generator)), "score": score,
                            "probability": 1 / (1 + np.exp(-3 * (score - max(apart.values()) / 2))),
                        }
                    )
                )  # fmt: skip
    return pd.concat(parts, ignore_index=True).astype({"seed": "int64", "label": "int8"})


def evaluated(scores):
    with patch("benchmarks.evaluation.evaluate.RESAMPLES", 30):  # intervals of the EER need not be good here
        return evaluate(scores)


def make_results(scores, *, name="dcgan-on-rendered", face="rendered", shown=True):
    fits = list(dict.fromkeys(zip(scores["detector"], scores["trained_on"], strict=True)))
    rng = np.random.default_rng(5)
    kimg = np.linspace(0.5, 60, 300)
    log = [
        {"step": float(i), "kimg": float(k), "seconds": float(3 * k), "d_loss": float(1.1 + rng.normal() * 0.15),
         "g_loss": float(1 + k / 60 + rng.normal() * 0.3), "r1": 0.01,
         "d_accuracy": float(np.clip(0.75 + rng.normal() * 0.07, 0, 1))}
        for i, k in enumerate(kimg)
    ]  # fmt: skip
    history = [
        {"images": 400.0 * i, "train_loss": 0.7 / i, "val_loss": 0.72 / i + 0.02, "val_auc": 1 - 0.3 / i**2}
        for i in range(1, 11)
    ]
    generators = sorted({g for g in scores["generator"] if g})
    return Results(
        protocol_version=PROTOCOL_VERSION,
        name=name,
        preset="quick",
        seed=0,
        command=f"bench run --generator {' '.join(generators)} --detector xception dct --seed 0",
        data=DataFacts(
            name=face, digest="ab" * 32, licence="CC0-1.0", citation="Drawn by this project", resolution=64,
            splits={"forge": 3000, "train": 2000, "val": 300, "test": 300},
            rejected={"near duplicate": 12, "no face": 3},
            provenance={"source": "rendered", "seed": 0, "size": 64}, shown=shown,
        ),
        generators=[
            GeneratorFacts(
                name=g, kimg=60.0, parameters={"generator": 3_574_017, "discriminator": 2_765_568}, precision="fp32",
                seconds=180.4, log=log, weights_sha256="cd" * 32, face_rate=0.83,
            )
            for g in generators
        ],
        detectors=[
            DetectorFacts(
                name=d, trained_on=t, family="cnn" if d != "dct" else "frequency",
                citation="Rössler et al. 2019, FaceForensics++, https://arxiv.org/abs/1901.08971",
                variant="64 px input, trained from scratch", parameters=20_811_050, calibration={"a": 2.9, "b": -4.1},
                images_per_second=212.0, peak_memory_mb=1310.0, seconds=116.0,
                facts={"precision": "fp32", "images_seen": 4000, "early": True},
                history=history if d != "dct" else [{"iterations": 41.0, "train_loss": 0.01, "val_auc": 0.99}],
            )
            for d, t in fits
        ],
        cells=evaluated(scores),
        comparisons=compare(scores),
        stages=[
            StageFacts(name=s, key=f"{i}f" * 32, seconds=12.5 * (i + 1), peak_memory_mb=800.0 + i)
            for i, s in enumerate(["faces", "train", "synthesize", "fit", "score", "evaluate"])
        ],
        environment={"python": "3.11.9", "torch": "2.10.0", "device": "CPU, 2 cores", "commit": "0123abc"},
    )  # fmt: skip


def faces(n, seed=0, side=64):
    smooth = np.random.default_rng(seed).integers(0, 256, (n, 8, 8, 3), dtype=np.uint8)
    return smooth.repeat(side // 8, axis=1).repeat(side // 8, axis=2)


NO_PICTURES = Pictures(forged={}, filmstrip={}, by_id=lambda source, sample: None)
ONE = {("xception", "dcgan"): {"dcgan": 2.0}}
MANY = {
    ("xception", "dcgan"): {"dcgan": 9.0, "stylegan-lite": 0.0},
    ("xception", "stylegan-lite"): {"dcgan": 1.0, "stylegan-lite": 4.0},
    ("dct", "dcgan"): {"dcgan": 9.0, "stylegan-lite": -1.0},
    ("dct", "stylegan-lite"): {"dcgan": 1.1, "stylegan-lite": 2.0},
}


class Page(HTMLParser):
    """Checks that tags close in order, and remembers what a test asks for."""

    VOID = ("meta", "img", "br", "link", "input", "hr")

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.open, self.seen, self.text, self.style, self.scripts = [], [], [], "", []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)
        if tag == "script":
            self.scripts.append("")

    def handle_startendtag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] == "style":
            self.style += data
        elif self.open and self.open[-1] == "script":
            self.scripts[-1] += data
        else:
            self.text.append(data)

    def all(self, tag):
        return [attrs for name, attrs in self.seen if name == tag]


def html_of(folder):
    return (folder / "index.html").read_text(encoding="utf-8")


def cell(auc, low, high, *, detector="xception", trained_on="dcgan", tested_on="dcgan", n=1000, balanced=0.9):
    return TestResult(
        detector=detector, trained_on=trained_on, tested_on=tested_on,
        condition=_condition(trained_on, tested_on), seed=0, n_real=n, n_forged=n, auc=auc,
        auc_low=low, auc_high=high, auc_method="DeLong", ap=auc, ap_balanced=auc, eer=0.1, eer_low=None, eer_high=None,
        tpr_at_fpr_1pct=None, tpr_at_fpr_01pct=None, pauc=auc, accuracy=0.9, accuracy_low=0.88, accuracy_high=0.92,
        threshold=0.5, balanced_accuracy=balanced, brier=0.1, ece=0.05, log_loss=0.3,
    )  # fmt: skip


def _condition(trained_on, tested_on):
    """Of a run with a third generator, so that training on one is not leaving one out."""
    train_set = TrainSet.parse(trained_on)
    grid = TestGrid.of([tested_on, "third"], [train_set, TrainSet.of(tested_on), TrainSet.of("third")])
    return condition_of(train_set, tested_on, "none", grid)


def compared(a, b, difference, p, *, tested_on="dcgan", trained_on="dcgan"):
    return PairedTest(
        trained_on=trained_on, tested_on=tested_on, seed=0, a=a, b=b, difference=difference, low=difference - 0.01,
        high=difference + 0.01, p_holm=p,
    )  # fmt: skip


def run(cells, comparisons=(), face="rendered"):
    return Results(
        name="run", preset="quick", seed=0, command="bench run",
        data=DataFacts(
            name=face, digest="0", licence="CC0", citation="", resolution=64, splits={}, rejected={}, provenance={},
            shown=True,
        ),
        generators=[], detectors=[], cells=cells, comparisons=list(comparisons), stages=[], environment={},
    )  # fmt: skip
