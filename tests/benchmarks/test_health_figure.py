"""The health strip: every state is said in words, and what is drawn is what was read."""

import xml.etree.ElementTree as ElementTree

import pytest

from benchmarks.report.health import health_figures
from benchmarks.report.plot.figure import FileNames


def tick(kimg: float, state: str, **readings: float) -> dict[str, object]:
    return {"kimg": kimg, "state": state, "reason": f"<because> of {state}", "readings": readings}


TICKS = [
    tick(6.0, "warming", d_sign_train=0.5, d_sign_held_out=0.4, diversity=0.5, coverage=0.1),
    tick(12.0, "healthy", d_sign_train=0.6, d_sign_held_out=0.5, diversity=0.9, coverage=0.6),
    tick(18.0, "healthy", d_sign_train=0.7, d_sign_held_out=0.5, diversity=1.2, coverage=0.7),
    tick(48.0, "d_at_chance", d_sign_train=0.9, d_sign_held_out=0.1, diversity=0.25, coverage=0.05),
]


def drawn(ticks):
    (figure,) = health_figures("dcgan", ticks, FileNames())
    return figure, ElementTree.fromstring(figure.svg)


def words(svg) -> list[str]:
    return ["".join(text.itertext()) for text in svg.iter("text")]


def test_states_are_said_in_words_for_people_and_screen_readers():
    figure, svg = drawn(TICKS)
    title = "discriminator at chance"
    assert {"warming: 0 to 6", "healthy: 6 to 18", f"{title}: 18 to 48", title} <= set(words(svg))
    assert svg.get("aria-label") == figure.alt and f"{title} 18 to 48" in figure.alt
    assert figure.name == "health-dcgan"
    titles = [title.text for title in svg.iter("title")]
    assert titles[-1] == "discriminator at chance 18 to 48: <because> of d_at_chance" and len(titles) == 3


def test_states_of_earlier_versions_have_the_present_titles():
    earlier = [tick | {"state": "coin toss"} if tick["state"] == "d_at_chance" else tick for tick in TICKS]
    assert drawn(earlier)[0].svg == drawn(TICKS)[0].svg


def test_a_stretch_is_as_long_as_it_lasted_and_a_failure_mode_the_tallest():
    _, svg = drawn(TICKS)
    warming, healthy, failure = [rect for rect in svg.iter("rect") if rect.find("title") is not None]
    wide = [float(rect.get("width")) + 1 for rect in (warming, healthy, failure)]
    assert wide[1] / wide[0] == pytest.approx(2, rel=0.01) and wide[2] / wide[0] == pytest.approx(5, rel=0.01)
    assert float(failure.get("height")) > float(healthy.get("height")) > float(warming.get("height"))


def test_curves_end_at_the_last_reading_in_proportion():
    _, svg = drawn(TICKS)
    assert {"training images 90 %", "held-out 10 %", "25 %", "5 %"} <= set(words(svg))
    ends = [float(dot.get("cy")) for dot in svg.iter("circle")]
    bases = [
        float(path.get("d").split()[1].partition("H")[0]) for path in svg.iter("path") if path.get("class") == "base"
    ]
    heights = [base - end for base, end in zip([bases[0], *bases], ends, strict=True)]
    assert heights[0] / heights[1] == pytest.approx(9, rel=0.05)
    assert heights[2] / heights[3] == pytest.approx(0.25 / 1.2 / 0.05, rel=0.1)  # each row has a scale of its own


def test_rows_without_readings_are_left_out():
    _, svg = drawn([tick(1.0, "warming", diversity=0.5), tick(2.0, "diverged")])
    assert len(list(svg.iter("circle"))) == 1
    _, without = drawn([{**t, "readings": {"d_sign_train": 0.5}} for t in TICKS])
    assert "training images 50 %" in words(without) and not any("held-out" in word for word in words(without))


def test_one_tick_is_no_history():
    assert health_figures("dcgan", TICKS[:1], FileNames()) == []


def test_everything_stays_inside_the_figure():
    _, svg = drawn(TICKS)
    width, height = map(float, svg.get("viewBox").split()[2:])
    for text in svg.iter("text"):
        assert 0 <= float(text.get("x")) <= width and 0 < float(text.get("y")) < height
