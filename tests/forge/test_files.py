"""Files are whole or not there; errors of the system become sentences; names resolve."""

import errno
import json
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from forge.core import files
from forge.core.checkpoint import load_checkpoint
from forge.core.compute import (
    Compute,
    asked_threads,
    choose_device,
    cpu_has_bf16,
    default_threads,
    derive_seed,
    set_threads,
)
from forge.core.errors import BenchError, BenchWarning, CorruptError, InputError, UnknownNameError
from forge.core.execution import Execution
from forge.core.registry import Registry, allow_files


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.json"
    files.write_json(path, {"old": 1})
    with pytest.raises(RuntimeError), files.replacing(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert files.read_json(path) == {"old": 1} and [f.name for f in tmp_path.iterdir()] == ["a.json"]


def test_publishing_never_replaces_what_is_there(tmp_path):
    with files.publishing(tmp_path / "set") as directory:
        (directory / "x").write_text("1")
    with pytest.raises(InputError, match="set exists already"), files.publishing(tmp_path / "set"):
        pass
    assert (tmp_path / "set" / "x").read_text() == "1"


def test_json_has_one_digest_however_it_is_written():
    assert files.digest_json({"a": 1, "b": [1.5, None]}) == files.digest_json({"b": [1.5, None], "a": 1})
    assert files.digest_json({"a": 1}) != files.digest_json({"a": 2})
    with pytest.raises(ValueError, match="JSON"):
        files.canonical_json({"a": float("nan")})


@pytest.mark.parametrize("text", ["{", "\xff"])
def test_unreadable_json_is_named(tmp_path, text):
    (tmp_path / "a.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(InputError, match=r"a.json is not readable as JSON"):
        files.read_json(tmp_path / "a.json")


@pytest.mark.parametrize(
    ("number", "message", "code"),
    [
        (errno.ENOSPC, "the disk is full at /x; free some space and run the same command again", 1),
        (errno.EROFS, "no permission to write or read at /x; choose another place with --store or --reports", 2),
        (errno.EACCES, "no permission to write or read at /x", 2),
        (errno.EIO, "the operating system refused at /x: broken", 1),
    ],
)
def test_system_errors_become_sentences(number, message, code):
    error = files.explain_os_error(OSError(number, "broken", "/x"))
    assert str(error).startswith(message) and error.exit_code == code


def test_unknown_names_get_help():
    many = UnknownNameError(
        "detector", "xcepton", [f"d{i}" for i in range(23)] + ["xception"], see="bench list detectors"
    )
    assert str(many) == "detector 'xcepton' is not known; did you mean 'xception'? `bench list detectors` shows all 24"
    few = UnknownNameError("preset", "zzz", ["a", "b"])
    assert str(few) == "preset 'zzz' is not known; known: a, b."


def test_a_registry_loads_lazily_and_names_what_is_broken(tmp_path):
    registry = Registry("thing", "bench.test", {"good": "json:dumps", "gone": "nowhere:x", "odd": "json:nothing"})
    assert registry.names() == ["gone", "good", "odd"]
    assert registry.load("good")(1) == "1"
    for name in ("gone", "odd"):
        with pytest.raises(InputError, match=f"thing '{name}' cannot be loaded from"):
            registry.load(name)
    allow_files(f"{tmp_path}/{name}.py:X" for name in ("no", "bad", "fine"))
    with pytest.raises(InputError, match="there is no file"):
        registry.load(f"{tmp_path}/no.py:X")
    (tmp_path / "bad.py").write_text("1 / 0")
    with pytest.raises(InputError, match=r"running bad.py failed: ZeroDivisionError"):
        registry.load(f"{tmp_path}/bad.py:X")
    (tmp_path / "fine.py").write_text("X = 3")
    assert registry.load(f"{tmp_path}/fine.py:X") == 3
    with pytest.raises(InputError, match="the file defines no 'Y'"):
        registry.load(f"{tmp_path}/fine.py:Y")


LAZY = """
try:
    import not_there_either
except ImportError:
    pass

def helper():
    import missing_helper

class Fine:
    def fit(self):
        import json
        from os import path
        import beside
        try:
            import optional_and_missing.deep
        except ImportError:
            pass

class Broken(Fine):
    def fit(self):
        from missing_package.inner import thing
"""


def test_a_method_that_imports_what_is_not_installed_is_known_at_once(tmp_path):
    (tmp_path / "lazy.py").write_text(LAZY)
    (tmp_path / "beside.py").write_text("")
    registry = Registry("thing", "bench.test", {})
    allow_files([f"{tmp_path}/lazy.py:Fine"])
    for _ in range(2):  # the file is run once, and checked each time
        with pytest.warns(BenchWarning, match=r"line 8 of lazy\.py imports 'missing_helper', which is not installed"):
            registry.load(f"{tmp_path}/lazy.py:Fine")
        with (
            pytest.raises(InputError, match=r"line 22 of lazy\.py imports 'missing_package'.*; install it first"),
            pytest.warns(BenchWarning),
        ):
            registry.load(f"{tmp_path}/lazy.py:Broken")


def test_seeds_of_different_purposes_differ_and_fit_torch():
    seeds = {derive_seed(seed, *labels) for seed in (0, 1) for labels in (("a",), ("b",), ("a", 0), ("a", 1))}
    assert len(seeds) == 8 and all(0 <= seed < 2**63 for seed in seeds)
    assert derive_seed(0, "a") == derive_seed(0, "a")


@pytest.mark.parametrize("name", ["tpu", "CPU", "gpu"])
def test_an_unknown_device_is_named(name):
    with pytest.raises(InputError, match=f"device '{name}' is not known; use auto, cpu, cuda or cuda:N"):
        choose_device(name)


def test_a_device_that_is_not_there_is_named():
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(InputError, match="torch sees no CUDA GPU here; use --device cpu"):
        choose_device("cuda")
    assert choose_device() == "cpu"


FLAGS = {"avx512_bf16": "fpu avx2 avx512_bf16", "amx_bf16": "fpu amx_bf16 amx_tile", "": "fpu avx512f avx512_vnni"}


@pytest.mark.parametrize("flag", FLAGS)
def test_a_cpu_takes_its_precision_from_its_instructions_and_the_table(tmp_path, monkeypatch, flag):
    info = tmp_path / "cpuinfo"
    info.write_text(f"processor\t: 0\nflags\t\t: {FLAGS[flag]}\nbogomips: 1\n")
    read = Path.read_text
    monkeypatch.setattr(Path, "read_text", lambda self, **options: read(info if str(self) == "/proc/cpuinfo" else self))
    cpu_has_bf16.cache_clear()
    table = {"worth it": Execution(cpu="bf16"), "not": Execution(cpu="fp32")}
    decided = [Compute("cpu").decide(entry) for entry in table.values()]
    assert decided == ["bf16" if flag else "fp32", "fp32"]
    assert (
        Compute("cpu", "bf16").decide(table["not"]) == "bf16"
        and Compute("cpu", "fp32").decide(table["worth it"]) == "fp32"
    )
    cpu_has_bf16.cache_clear()


def test_threads_come_from_the_environment_or_the_cores(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert default_threads() == 3 == Compute().threads
    assert Compute(threads=5).numerics(Execution()) == {"precision": "fp32", "threads": 5}
    for odd in ("", "0", "many"):
        monkeypatch.setenv("OMP_NUM_THREADS", odd)
        assert default_threads() == len(os.sched_getaffinity(0))


def test_threads_that_were_set_here_are_not_asked_for(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    for threads in (2, 1):
        set_threads(threads)
        assert (default_threads(), asked_threads()) == (threads, None)
    monkeypatch.setenv("OMP_NUM_THREADS", "3,1")
    assert asked_threads() == 3
    set_threads(2)
    set_threads(1)
    assert (default_threads(), asked_threads()) == (1, 3)


@pytest.mark.parametrize(("capability", "expected"), [((7, 5), "fp32"), ((8, 0), "bf16"), ((9, 0), "bf16")])
def test_a_gpu_takes_its_precision_from_the_table_and_never_times_anything(monkeypatch, capability, expected):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    compute = Compute("cuda")
    assert not torch.backends.cudnn.allow_tf32  # fp32 is fp32

    assert compute.decide(Execution(precision="bf16", cpu="fp32")) == expected
    assert compute.decide(Execution(precision="fp32", cpu="bf16")) == "fp32"
    assert compute.numerics(Execution())["threads"] == 0  # those of the CPU change nothing there
    with compute.tensor_cores("bf16"):
        assert torch.backends.cudnn.allow_tf32 and torch.backends.cuda.matmul.allow_tf32
    with compute.tensor_cores("fp32"):
        assert not torch.backends.cudnn.allow_tf32
    assert not torch.backends.cudnn.allow_tf32 and not torch.backends.cuda.matmul.allow_tf32


def test_errors_know_their_exit_codes():
    assert BenchError("x").exit_code == 1 and InputError("x").exit_code == 2


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"[" * 100_000 + b"]" * 100_000, "nested more than 64 deep"),
        (b"[" * 65 + b"]" * 65, "nested more than 64 deep"),
        (b'{"a":' * 100_000, "nested more than 64 deep"),
        (b'{"seed": ' + b"9" * 5_000 + b"}", "an integer has 5,000 digits"),
        (b'{"auc": NaN}', "the number NaN is not finite"),
        (b'{"auc": -Infinity}', "the number -Infinity is not finite"),
        (b'{"auc": 1e999}', "the number 1e999 is not finite"),
        (b'{"name": "caf\xe9"}', "invalid continuation byte at byte 13"),
        (b'{"name": "\\ud800"}', "a text holds half a character"),
        (b"", "Expecting value"),
    ],
)
def test_hostile_json_is_refused_in_one_sentence_that_names_the_file(tmp_path, text, reason):
    (tmp_path / "a.json").write_bytes(text)
    with pytest.raises(InputError, match=r"a\.json is not readable as JSON") as caught:
        files.read_json(tmp_path / "a.json")
    assert reason in str(caught.value) and "\n" not in str(caught.value) and len(str(caught.value)) < 300


def test_large_and_deep_but_sane_json_is_read(tmp_path):
    value = {"seed": 2**127, "deep": [], "emoji": "\N{GRINNING FACE}", "small": 1e-300}
    for _ in range(60):
        value["deep"] = [value["deep"]]
    (tmp_path / "a.json").write_text(json.dumps(value))  # escapes what is not ASCII
    assert files.read_json(tmp_path / "a.json") == value


def test_a_file_beyond_the_size_limit_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "MAX_JSON_BYTES", 1 << 20)
    (tmp_path / "a.json").write_bytes(b'"' + b"a" * (1 << 20) + b'"')
    with pytest.raises(InputError, match=r"a\.json is not readable as JSON: it has more than 1 MiB"):
        files.read_json(tmp_path / "a.json")


def test_a_directory_and_a_fifo_are_not_read_and_nothing_waits(tmp_path):
    (tmp_path / "folder.json").mkdir()
    os.mkfifo(tmp_path / "fifo.json")
    (tmp_path / "loop.json").symlink_to("loop.json")
    for read in (files.read_json, files.digest_file):
        for name in ("folder.json", "fifo.json"):
            with pytest.raises(InputError, match=f"{name} is not a regular file"):
                read(tmp_path / name)
    with pytest.raises(BenchError, match=r"loop\.json"):
        files.read_json(tmp_path / "loop.json")


@pytest.mark.parametrize("text", ["[]", "3", "null", '"x"'])
def test_json_of_another_type_is_no_object(tmp_path, text):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(InputError, match=r"a\.json is damaged or of another program: it holds no JSON object"):
        files.read_json_object(tmp_path / "a.json")


def test_a_checkpoint_with_a_hostile_header_is_corrupt(tmp_path):
    header = '{"schema_version": 1, "state": ' + "[" * 100_000 + "]" * 100_000 + "}"
    save_file({"a": torch.zeros(1)}, tmp_path / "c", metadata={"checkpoint": header})
    with pytest.raises(CorruptError, match=r"cannot be read .*nested more than 64 deep.*delete it to start over"):
        load_checkpoint(tmp_path / "c")
