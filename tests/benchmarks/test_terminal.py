"""What a person sees while a run goes on."""

import io

import pytest
from rich.console import Console

from benchmarks.terminal import Live, Plain
from benchmarks.workflow.stage import Call
from forge.core.progress import ProgressEvent

STAGES = [Call("train", "gan"), Call("train", "dcgan"), Call("fit", "dct@gan")]


@pytest.fixture
def shown():
    """A tree of three stages, one of which is stored already, and a function that gives its text."""
    console = Console(file=io.StringIO(), width=100, color_system=None)
    live = Live(console)
    live.planned(STAGES, {stage.key for stage in STAGES[1:]})

    def text():
        console.file.seek(0)
        console.file.truncate()
        console.print(live)
        return console.file.getvalue()

    return live, text


def test_a_tree_says_what_is_done_what_is_cached_and_what_goes_on(shown):
    live, text = shown
    live.finished(STAGES[0], cached=True, seconds=0.1)
    live.started(STAGES[1])
    live.progressed(STAGES[1], ProgressEvent(25, 100, values={"d_loss": 1.2345}, note="healthy; samples: newest.png"))
    printed = text()
    assert "… train 1/2 1 cached" in printed and "· fit 0/1" in printed
    assert (
        "train dcgan" in printed
        and "25 %" in printed
        and "d_loss 1.23" in printed
        and "healthy; samples: newest.png" in printed
    )
    assert max(map(len, printed.splitlines())) <= 100


def test_the_time_left_is_told_once_every_kind_was_timed(shown):
    live, text = shown
    live.finished(STAGES[0], cached=True, seconds=0.1)
    live.finished(STAGES[1], cached=False, seconds=125.0)
    assert live.left is None and "left" not in text()  # nobody knows how long a fit takes
    live.counts["fit"].total, live.counts["fit"].todo = 3, 3
    live.finished(STAGES[2], cached=False, seconds=30.0)
    assert live.left == 60.0 and "about 1:00 left" in text() and "✓ train 2/2 1 cached 2:05" in text()


def test_names_are_no_markup(shown):
    live, text = shown
    strange = Call("fit", "[red]x[/]@gan")
    live.started(strange)
    live.progressed(strange, ProgressEvent(1, 2, note="[bold]"))
    assert "[red]x[/]@gan" in text() and "[bold]" in text()


def test_a_log_counts_what_is_there_where_it_is_much(capsys):
    stages = [Call("score", f"dct on {i}") for i in range(30)]
    plain = Plain()
    plain.planned(stages, {stages[-1].key})
    for stage in stages[:-1]:
        plain.finished(stage, cached=True, seconds=0.0)
    plain.started(stages[-1])
    plain.finished(stages[-1], cached=False, seconds=2.0)
    assert capsys.readouterr().out.splitlines() == [
        "29 of 30 stages are in the store, 1 to run", "score dct on 29 …", "score dct on 29: done in 2.0 s",
    ]  # fmt: skip
    few = Plain()
    few.planned(stages[:2], {stages[1].key})
    few.finished(stages[0], cached=True, seconds=0.0)
    assert capsys.readouterr().out == "score dct on 0: cached\n"
    many = Plain()
    many.planned(stages, {stage.key for stage in stages})
    many.started(stages[0])
    assert capsys.readouterr().out == "score dct on 0 … (1 of 30)\n"


def test_a_log_tells_speed_and_time_left_once_they_are_known(capsys, monkeypatch):
    plain, now = Plain(), iter([100.0, 100.0, 100.0, 120.0, 120.0, 120.0])
    plain.printed = 0.0
    monkeypatch.setattr("benchmarks.terminal.time.monotonic", lambda: next(now))
    plain.progressed(Call("train", "gan"), ProgressEvent(1_000, 9_000, "images"))
    plain.progressed(Call("train", "gan"), ProgressEvent(3_000, 9_000, "images"))
    assert capsys.readouterr().out == "  1,000 of 9,000 images  \n  3,000 of 9,000 images, 100/s, 1:00 left  \n"


def test_a_tree_shows_all_workers_and_folds_what_does_not_fit(shown):
    live, text = shown
    live.started(STAGES[1], "worker 1")
    live.progressed(STAGES[1], ProgressEvent(50, 100, "images"))
    live.started(STAGES[2], "worker 2 on cuda:1")
    printed = text()
    assert "2 stages under way" in printed and "50 %" in printed
    assert "worker 1" in printed and "worker 2 on cuda:1" in printed
    live.finished(STAGES[0], cached=False, seconds=30.0)
    live.finished(STAGES[1], cached=False, seconds=30.0)
    live.counts["fit"].ran, live.counts["fit"].seconds, live.counts["fit"].todo = 1, 10.0, 5
    assert live.left == 20.0  # four fits of ten seconds, two at a time
    live.ended(STAGES[2])
    assert "worker 2" not in text()
    for number in range(60):
        live.started(Call("fit", f"dct@gan{number}"))
    printed = text()
    assert "more under way" in printed and len(printed.splitlines()) <= live.console.height


def test_a_log_names_the_stages_whose_progress_it_prints(capsys, monkeypatch):
    monkeypatch.setattr("benchmarks.terminal.PLAIN_SECONDS", 0.0)
    plain = Plain()
    plain.started(STAGES[0])
    plain.progressed(STAGES[0], ProgressEvent(1, 4))
    plain.started(STAGES[1])
    plain.progressed(STAGES[1], ProgressEvent(2, 4))
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].startswith("  1 of 4 images") and lines[3].startswith("  train gan: 1 of 4")
    assert lines[4].startswith("  train dcgan: 2 of 4")
    plain.ended(STAGES[0])
    plain.progressed(STAGES[1], ProgressEvent(3, 4))
    assert len(capsys.readouterr().out.splitlines()) == 1
