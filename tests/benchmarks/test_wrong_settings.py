"""Settings that cannot be: one sentence that names the field, the value and the fix, within seconds."""

import os
import signal
import subprocess
import sys
import threading

import pytest
from forked import start_bench
from requested import compose
from synthetic import TINY

from benchmarks.cli.streams import LastingStream
from benchmarks.experiment.configs import MOST_NODES, parse_yaml
from benchmarks.experiment.request import changed, read_request
from benchmarks.experiment.resolve import resolve
from forge.core.errors import InputError
from forge.core.registry import allow_files

pytestmark = pytest.mark.e2e

BENCH = (sys.executable, "-m", "benchmarks.cli.main")
RUN = ("run", "-g", "dcgan", "-d", "dct", "--preset", "smoke", "--dry-run")


@pytest.mark.parametrize(
    ("assignment", "sentence"),
    [
        ("data=photos", "setting 'data' cannot be 'photos': it holds settings; use --data PATH"),
        ("images=500", "setting 'images' cannot be 500: it holds settings; use --set images.SETTING=VALUE"),
        ("generator=dcgan", "use --generator NAME"),
        ("quality=~", "setting 'quality' cannot be None"),
        ("generators=x", "setting 'generators' cannot be 'x'"),
        ("detectors.dct=3", "setting 'detectors.dct' cannot be 3"),
        ("conditions=[1]", r"setting 'conditions' cannot be \[1\]"),
        ("generator.training.kimg=.inf", "kimg' cannot be inf: input should be a finite number"),
        ("images.train=.nan", "images.train' cannot be nan"),
        ("conditions.unseen=true", "unseen needs generators of two families or more"),
    ],
)
def test_a_setting_that_cannot_be_is_named(bench, assignment, sentence):
    code, _, err = bench(*RUN, "--set", assignment)
    assert code == 2
    with pytest.raises(InputError, match=sentence):
        raise InputError(err)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("generator: dcgan\ndetector: dct\nset: {quality: ~, images: .inf}\n", "setting 'quality' cannot be None"),
        ("generator: dcgan\ndetector: dct\nseeds: []\n", "names no seed"),
        (
            f"generator: dcgan\ndetector: dct\nseeds: {list(range(5000))}\n",
            "5,000 seeds are named; a run has at most 100",
        ),
        (f"generator: {[f'dcgan@{i}k' for i in range(1, 3000)]}\ndetector: dct\n", "2,999 generators are named"),
        (f"set: {'{a: ' * 3000}1{'}' * 3000}\n", "nested too deep"),
        (f"set: {'{a: ' * 60}1{'}' * 60}\n", "nested more than 50 deep"),
        (f"title: {'x' * (2 << 20)}\n", "settings have at most"),
    ],
    ids=["null section", "no seed", "seeds", "generators", "very deep", "deep", "long"],
)
def test_a_file_that_cannot_be_is_refused_before_it_is_planned(bench, tmp_path, text, sentence):
    (tmp_path / "bad.yaml").write_text(text)
    code, _, err = bench("run", "bad.yaml", "--dry-run")
    assert code == 2 and sentence in err and "Traceback" not in err and len(err) < 500


@pytest.mark.parametrize("key", ["set", "conditions", "generator", "title"])
def test_aliases_that_multiply_are_counted_before_they_are_made(key):
    lines = ["a: &a [x, x, x, x, x, x, x, x, x, x]"]
    lines += [
        f"{name}: &{name} [{', '.join(['*' + before] * 10)}]" for before, name in zip("abcdefg", "bcdefgh", strict=True)
    ]
    with pytest.raises(InputError, match=f"more than {MOST_NODES:,} values, aliases counted"):
        parse_yaml("\n".join([*lines, f"{key}: [*h, *h]"]), where="bomb")
    with pytest.raises(InputError, match="more than"):
        parse_yaml(f"{key}: &loop [*loop]", where="loop")
    assert parse_yaml(f"{key}: &two [1, 2]\nagain: *two", where="fine")["again"] == [1, 2]


def test_two_detectors_of_the_same_name_are_refused(tmp_path):
    plugin = tmp_path / "mine.py"
    allow_files([f"{plugin}:DCT"])
    with pytest.raises(InputError, match=r"two detectors of the run are called 'dct' \(dct and .*mine\.py:DCT\)"):
        compose(generators=["dcgan"], detectors=["dct", f"{plugin}:DCT"], preset="smoke")
    both = compose(generators=["dcgan"], detectors=["dct", "mean:dct+svm"], preset="smoke")
    assert list(both.detectors) == ["dct", "svm", "mean:dct+svm"]


@pytest.mark.parametrize(("preset", "kimg"), [("smoke", 4), ("quick", 48)])
def test_presets_give_a_generator_from_a_file_a_length(preset, kimg):
    made = compose(generators=["my.py:Mine"], detectors=["dct"], preset=preset).generators["mine"]
    assert made.training["kimg"] == kimg
    longer = compose(
        generators=["my.py:Mine"], detectors=["dct"], preset=preset,
        overrides={"generators": {"mine": {"training": {"kimg": 7}}}},
    )  # fmt: skip
    assert longer.generators["mine"].training["kimg"] == 7


def test_too_little_room_and_places_that_cannot_be_written_are_found_before_any_work(bench, tmp_path, monkeypatch):
    code, _, err = bench(*RUN, "--set", "images.train=1000000000")
    assert code == 2 and "the forged images need" in err and "--set images.train=N" in err
    (tmp_path / "file").write_text("")
    for flag in ("--store", "--reports"):
        code, _, err = bench(*RUN, flag, "file")
        assert code == 2 and f"{flag} file is not a folder" in err
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write everywhere
    code, _, err = bench(*RUN, "--reports", "new/reports")
    assert code == 2 and "cannot be written to; choose another place" in err
    assert not (tmp_path / "runs").exists()


# a suite with more or fewer detectors than it names

SUITE = """
generator: [gan, dcgan]
detector: [dct, svm]
preset: smoke
seeds: [0, 1]
conditions: {unseen: true, shuffled: [dct, svm], only: {matrix: [svm], budget: [dct]}}
"""


def asked(tmp_path, **flags):
    (tmp_path / "suite.yaml").write_text(SUITE)
    request, notes = changed(read_request(tmp_path / "suite.yaml"), flags)
    return resolve(request), notes


def test_detectors_and_generators_are_added_to_a_suite(tmp_path):
    settings, notes = asked(tmp_path, add_detector="spectrum,my.py:Mine", add_generator="cgan")
    assert list(settings.detectors) == ["dct", "svm", "spectrum", "mine"] and notes == []
    assert list(settings.generators) == ["gan", "dcgan", "cgan"]
    assert settings.conditions.only == {"matrix": ("svm",), "budget": ("dct",)}
    assert "--generator gan,dcgan,cgan --detector dct,svm,spectrum,my.py:Mine" in settings.command
    assert resolve(settings.request) == settings


def test_conditions_that_name_absent_detectors_are_narrowed_and_said(tmp_path):
    settings, notes = asked(tmp_path, detector="svm,my.py:Mine")
    assert settings.conditions.shuffled == ("svm",)
    assert settings.conditions.only == {"matrix": ("svm",), "budget": ()}
    assert len(notes) == 1 and "name dct, which this run does not have" in notes[0]


# streams


def test_a_closed_output_stops_no_work(tmp_path):
    command = " ".join((*BENCH, *RUN))
    closed = subprocess.run(f"{command} >&-", shell=True, cwd=tmp_path, capture_output=True, text=True)
    assert (closed.returncode, closed.stderr) == (0, "")
    reader, writer = os.pipe()
    headed = start_bench(tmp_path, *RUN, reader=reader, out=writer)
    os.close(writer)
    with os.fdopen(reader) as pipe:  # as `| head -1` does
        assert pipe.readline().startswith("prepare rendered")
    headed.join()
    assert (headed.exitcode, (tmp_path / "err").read_text()) == (0, "")


def test_what_is_written_after_the_reader_left_is_lost(tmp_path):
    read, write = os.pipe()
    stream = LastingStream(os.fdopen(write, "w"))
    os.close(read)
    assert stream.write("x" * 100_000) == 100_000 or stream.flush() is None
    stream.flush()
    assert stream.write("more") == 4 and not stream.isatty()


def test_ctrl_c_says_how_to_go_on(tmp_path, trained_gan):  # whose prepared faces it shares
    process = start_bench(tmp_path, "run", "-g", "gan", "-d", "dct", *TINY, "--set", "generator.training.kimg=500")
    while not list(tmp_path.glob("runs/work/*/log.jsonl")) and process.is_alive():
        threading.Event().wait(0.02)  # until the training plays
    os.kill(process.pid, signal.SIGINT)
    process.join(60)
    assert process.exitcode == 130
    assert "stopped; the same command continues where it was" in (tmp_path / "err").read_text()
