"""A report is replaced whole or not at all, whenever it is interrupted, and files of people stay."""

import fcntl
import json
import multiprocessing
import os
import shutil
from pathlib import Path

import pytest
from published_suite import publish_suite
from synthetic import call_bench

from benchmarks.experiment.request_fields import RunRequest
from benchmarks.report.digests import DATA_FILES, SUMS, check_files, write_sums
from benchmarks.report.publish import publish_report, refuse_foreign, refuse_other_request, tidy_reports
from forge.core.errors import BenchWarning, InputError
from forge.core.files import write_json


def report(folder, text):
    """A folder with the files of a report, all with the same text."""
    for name in ("results.json", "results.csv", "index.html", "samples-dcgan.png", "figures/roc.svg"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"{text} {name}")
    write_sums(folder)
    return folder


@pytest.fixture
def old(tmp_path):
    """A published report with files of a person in it."""
    folder = report(tmp_path / "reports" / "mine", "old")
    (folder / "notes" / "empty").mkdir(parents=True)
    (folder / "notes" / "thoughts.txt").write_text("years of work")
    (folder / "figures" / "mine.svg").write_text("a drawing")
    (folder / "latest").symlink_to("notes/thoughts.txt")
    return folder


@pytest.fixture
def new(tmp_path):
    return report(tmp_path / "store" / "report", "new")


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()}


MINE = {"notes/thoughts.txt": "years of work", "figures/mine.svg": "a drawing", "latest": "years of work"}


def test_a_report_is_replaced_and_files_of_people_stay(old, new):
    (new / "figures" / "more.svg").write_text("more")
    (old / "report.pdf").write_text("printed from the old page")
    (old / ".index.html.0123abcd.partial").write_text("half")
    write_sums(new)
    for _ in range(2):  # the second time it is the same
        publish_report(new, old)
        assert contents(old) == contents(new) | MINE
        assert (old / "notes" / "empty").is_dir() and (old / "latest").is_symlink()
    assert [path.name for path in old.parent.iterdir()] == ["mine"]


def test_an_unchanged_report_is_not_touched(old, new):
    publish_report(new, old)
    before = {path: path.stat().st_ino for path in old.rglob("*")}
    (old / "more.txt").write_text("mine too")
    publish_report(new, old)
    assert {path: path.stat().st_ino for path in before} == before and (old / "more.txt").is_file()


def test_a_file_of_a_person_that_the_new_report_would_replace_is_named(old, new):
    before = contents(old)
    (new / "latest").write_text("a file of the new report")
    with pytest.raises(InputError, match=r"mine holds files of yours .* move 'latest'"):
        publish_report(new, old)
    (new / "latest").unlink()
    (new / "notes").write_text("a file where the old one has a folder")
    with pytest.raises(InputError, match=r"move 'notes/empty', 'notes/thoughts\.txt'"):
        publish_report(new, old)
    assert contents(old) == before and [path.name for path in old.parent.iterdir()] == ["mine"]


def test_a_report_without_digests_is_replaced_by_the_names_of_its_files(old, new):
    (old / SUMS).unlink()  # written by an earlier version
    (old / "figures" / "mine.svg").unlink()
    publish_report(new, old)
    assert contents(old) == contents(new) | {name: text for name, text in MINE.items() if "svg" not in name}


def test_a_linked_folder_is_replaced_where_it_lies(old, new, tmp_path):
    old.rename(tmp_path / "elsewhere")
    old.symlink_to(tmp_path / "elsewhere")
    publish_report(new, old)
    assert old.is_symlink() and contents(tmp_path / "elsewhere") == contents(new) | MINE


def die_at(step, source, target):
    """Publish, and die before the `step`-th change of the file system, as after kill -9."""
    left = [step]

    def dying(real):
        def call(*arguments, **options):
            left[0] -= 1
            if left[0] == 0:
                os._exit(9)
            return real(*arguments, **options)

        return call

    for owner, name in ((os, "link"), (os, "unlink"), (os, "rmdir"), (os, "mkdir"), (shutil, "copy2")):
        setattr(owner, name, dying(getattr(owner, name)))
    Path.rename = dying(Path.rename)
    shutil.copytree.__defaults__ = (False, None, shutil.copy2, False, False)
    publish_report(source, target)


def test_a_kill_at_any_step_leaves_a_whole_report_and_blocks_nothing(old, new, tmp_path):
    shutil.copytree(old, tmp_path / "kept", symlinks=True)
    before, after = contents(old), contents(new) | MINE
    died = 0
    for step in range(1, 200):
        shutil.rmtree(old)
        shutil.copytree(tmp_path / "kept", old, symlinks=True)
        child = multiprocessing.get_context("fork").Process(target=die_at, args=(step, new, old))
        child.start()
        child.join(60)
        if child.exitcode == 0:
            break
        died += 1
        assert child.exitcode == 9
        assert not old.exists() or contents(old) in (before, after), step
        refuse_foreign(old)
        tidy_reports(old.parent)
        assert contents(old) in (before, after) and [path.name for path in old.parent.iterdir()] == ["mine"], step
        publish_report(new, old)
        assert contents(old) == after
    assert died > 20 and contents(old) == after


def test_what_a_killed_removal_of_an_earlier_version_left_can_be_replaced(old, new):
    shutil.rmtree(old / "notes")
    for name in ("results.json", "latest", "figures/mine.svg", "index.html"):
        (old / name).unlink()
    for left in (old.with_name(".mine.new"), old.with_name("..mine.new.0123abcd.partial")):
        report(left, "half").joinpath("results.json").unlink()
    rest = contents(old)
    refuse_foreign(old)
    with pytest.warns(BenchWarning, match=r"mine had no results\.json; .* kept as mine\.damaged-1"):
        publish_report(new, old)
    assert contents(old) == contents(new) and contents(old.with_name("mine.damaged-1")) == rest
    assert sorted(path.name for path in old.parent.iterdir()) == ["mine", "mine.damaged-1"]


def test_what_is_no_report_is_named_and_left_alone(tmp_path, new):
    folder = tmp_path / "reports" / "mine"
    folder.mkdir(parents=True)
    for i in range(5):
        (folder / f"chapter-{i}.txt").write_text("years of work")
    sentence = r"not a report; choose another --name or --reports, or move 'chapter-0.txt', .* and 2 more"
    for call in (lambda: refuse_foreign(folder), lambda: publish_report(new, folder)):
        with pytest.raises(InputError, match=sentence):
            call()
    assert len(list(folder.iterdir())) == 5
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="file holds something that is not a report"):
        publish_report(new, tmp_path / "file")


def test_nothing_is_tidied_while_another_process_publishes(old):
    fresh = report(old.with_name(".mine.0123abcd.new"), "half")
    someone = old.with_name(".cache.new")  # nothing of the bench
    someone.mkdir()
    (someone / "data.bin").write_text("x")
    descriptor = os.open(old.parent, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    tidy_reports(old.parent)
    assert fresh.is_dir()
    os.close(descriptor)
    tidy_reports(old.parent)
    assert not fresh.exists() and (someone / "data.bin").is_file()


def test_reports_under_way_are_not_listed(tmp_path, monkeypatch, capsys):
    bench = call_bench(tmp_path, monkeypatch, capsys)
    publish_suite(tmp_path / "reports" / "mine")
    shutil.copytree(tmp_path / "reports" / "mine", tmp_path / "reports" / ".mine.0123abcd.new")
    assert ".mine" not in bench("list", "runs")[1] and ".mine" not in bench("leaderboard", "other")[2]


def test_numbers_written_again_keep_files_of_people(tmp_path, monkeypatch, capsys):
    bench = call_bench(tmp_path, monkeypatch, capsys)
    folder = publish_suite(tmp_path / "reports" / "mine")
    (folder / "notes.txt").write_text("mine")
    (folder / "report.md").write_text("changed")
    assert bench("report", "mine", "--from-scores")[0] == 0
    assert (folder / "notes.txt").read_text() == "mine" and check_files(folder, DATA_FILES)


def test_a_report_of_other_words_or_of_other_photos_is_not_replaced(tmp_path):
    target, x, y = tmp_path / "mine", RunRequest(name="x"), RunRequest(name="y")
    stages = [{"name": "prepare photos", "key": "a"}, {"name": "train gan", "key": "t"}]
    refuse_other_request(target, x, {"prepare photos": "a"})  # there is none
    stored = {"command": "bench run x", "request": x.model_dump(mode="json"), "stages": stages}
    write_json(target / "results.json", stored)
    refuse_other_request(target, x, {"prepare photos": "a", "external y real": "new"})
    with pytest.raises(InputError, match="of another run, 'bench run x'; keep both with --name mine-"):
        refuse_other_request(target, y, {"prepare photos": "a"})
    with pytest.raises(InputError, match=r"the same request with other photos .*--overwrite"):
        refuse_other_request(target, x, {"prepare photos": "b"})
    for damaged in ("[", json.dumps(stored | {"stages": [3]})):
        (target / "results.json").write_text(damaged)
        refuse_other_request(target, x, {"prepare photos": "b"})
