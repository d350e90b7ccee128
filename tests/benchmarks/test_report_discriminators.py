"""What the report says of a discriminator: who is compared with which control, and in which words."""

import pytest
from synthetic import NO_PICTURES, Page, cell, compared, html_of, make_results, make_scores, run

from benchmarks.report.inputs import ReportInputs
from benchmarks.report.plot.figure import FileNames
from benchmarks.report.sections.discriminators import discriminator_content
from benchmarks.report.write import write_report


def cells(*rows, trained_on="dcgan", tested_on="dcgan"):
    return [
        cell(auc, auc - 0.02, min(1, auc + 0.02), detector=name, trained_on=trained_on, tested_on=tested_on)
        for name, auc in rows
    ]


def found(some, tests):
    return discriminator_content(run(some, tests), FileNames())


def test_a_run_without_discriminators_says_nothing():
    assert found(cells(("dct", 0.9), ("disc-scratch", 0.8)), []) is None


def test_sentences_say_how_much_and_on_which_generator():
    some = cells(("disc-finetune", 0.97), ("disc-scratch", 0.958))
    some += cells(("disc-finetune", 0.6), ("disc-scratch", 0.61), tested_on="stylegan-lite")
    tests = [
        compared("disc-finetune", "disc-scratch", 0.012, 0.001),
        compared("disc-finetune", "disc-scratch", -0.01, 0.4, tested_on="stylegan-lite"),
    ]
    known = found(some, tests)
    ((title, sentences),) = known.sentences
    assert title == "Trained on dcgan forgeries"
    assert sentences == [
        "disc-finetune, the discriminator trained further, beats the same network from random weights on dcgan, its "
        "own generator, by 0.012 [0.002, 0.022]; on stylegan-lite there is no significant difference "
        "(−0.01 [−0.02, 0.00])."
    ]
    assert known.answer == [
        "disc-finetune, the discriminator trained further: on the discriminator’s own generator better than the "
        "control; on other generators no significant difference."
    ]
    assert [figure.name for figure in known.figures] == ["scratch-dcgan-dcgan", "scratch-dcgan-stylegan-lite"]
    assert "disc-finetune +0.012 [+0.002, +0.022]" in known.figures[0].alt


def test_a_control_that_wins_is_said_to_win_whichever_name_was_stored_first():
    some = cells(("disc-raw", 0.7), ("disc-scratch", 0.9))
    known = found(some, [compared("disc-scratch", "disc-raw", 0.2, 0.0001)])
    assert known.sentences[0][1] == [
        "disc-raw, the output of the discriminator, falls behind the same network from random weights on dcgan, its "
        "own generator, by 0.20 [0.19, 0.21]."
    ]
    assert known.lines[0].difference.value == "−0.20" and known.lines[0].p == "p < 0.001"


def test_a_probe_is_compared_with_the_same_probe_on_random_weights_too():
    some = cells(("disc-probe", 0.97), ("disc-scratch", 0.99), ("disc-probe-scratch", 0.9))
    known = found(
        some,
        [
            compared("disc-probe", "disc-scratch", -0.02, 0.001),
            compared("disc-probe", "disc-probe-scratch", 0.07, 0.001),
        ],
    )
    assert [(line.cell.detector, line.against, line.difference.value) for line in known.lines] == [
        ("disc-probe", "disc-scratch", "−0.02"),
        ("disc-probe", "disc-probe-scratch", "+0.07"),
    ]
    assert not known.missing  # the control is no detector that asks for a control itself
    assert known.answer[1] == (
        "disc-probe against the same probe on random weights: on the discriminator’s own generator better than the "
        "control."
    )
    first, second = known.sentences[0][1]
    assert "falls behind the same network from random weights on dcgan" in first
    assert "beats the same probe on random weights on dcgan" in second
    assert "disc-probe (to disc-probe-scratch)" in known.figures[0].alt


def test_a_difference_that_other_tests_make_insignificant_is_explained():
    known = found(
        cells(("disc-finetune", 0.9), ("disc-scratch", 0.87)), [compared("disc-finetune", "disc-scratch", 0.03, 0.06)]
    )
    assert known.sentences[0][1][0].endswith("(+0.03 [+0.02, +0.04]; significant alone, not among so many tests).")


def test_two_perfect_detectors_leave_nothing_to_tell_apart():
    some = cells(("disc-finetune", 1.0), ("disc-scratch", 0.9995))
    known = found(some, [compared("disc-finetune", "disc-scratch", 0.0005, 1.0)])
    assert "both are nearly perfect there, which leaves nothing to tell apart" in known.sentences[0][1][0]


@pytest.mark.parametrize(
    ("detector", "trained_on", "controls", "chosen"),
    [
        ("disc-probe", "dcgan", ["disc-scratch"], "disc-scratch"),
        ("disc-probe", "dcgan", ["disc-scratch@dcgan"], "disc-scratch@dcgan"),
        ("disc-probe", "dcgan", ["disc-scratch@stylegan-lite"], None),
        ("disc-probe@stylegan-lite", "dcgan", ["disc-scratch"], None),  # that one has dcgan's network
        ("disc-probe@stylegan-lite", "dcgan", ["disc-scratch", "disc-scratch@stylegan-lite"],
         "disc-scratch@stylegan-lite"),
        ("disc-probe@stylegan-lite", "stylegan-lite", ["disc-scratch"], "disc-scratch"),
        ("disc-probe@dcgan@24k", "dcgan", ["disc-scratch"], "disc-scratch"),  # a snapshot has the same network
    ],
)  # fmt: skip
def test_the_control_has_the_same_network(detector, trained_on, controls, chosen):
    some = cells((detector, 0.9), *((name, 0.8) for name in controls), trained_on=trained_on, tested_on=trained_on)
    tests = [
        compared(detector, name, 0.1, 0.001, trained_on=trained_on, tested_on=trained_on) for name in controls
    ]  # fmt: skip
    known = found(some, tests)
    if chosen is None:
        named = detector.partition("@")[2]
        option = f"disc-scratch@{named}" if named else "disc-scratch"
        assert known.missing == {option: [f"{detector}, trained on {trained_on}"]}
        assert not known.lines and not known.answer and not known.figures
    else:
        assert not known.missing and len(known.lines) == 1
        own = (detector.partition("@")[2] or trained_on) == trained_on
        assert ("its own generator" in known.sentences[0][1][0]) == own


def test_a_page_answers_the_question_or_says_how_to(tmp_path):
    skill = {
        (name, trained): {"dcgan": 2.0 + i, "other": 0.5}
        for trained in ("dcgan", "other")
        for i, name in enumerate(["disc-scratch", "disc-finetune", "disc-raw@dcgan"])
    }
    scores = make_scores(skill, n=100)
    write_report(tmp_path, ReportInputs(make_results(scores), scores, NO_PICTURES))
    text = html_of(tmp_path)
    Page(text)
    assert "Detectors based on discriminators" in text and "beats the same network from random weights" in text
    assert "add <code>--detector disc-scratch@dcgan</code>" in text  # for disc-raw@dcgan trained on the other
    markdown = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "## Detectors based on discriminators" in markdown and "figures/scratch-dcgan-other.svg" in markdown
