"""Figures as SVG: rows of estimates on a shared axis."""

import re
from xml.etree import ElementTree

from benchmarks.report.plot.elements import WIDTH, standalone
from benchmarks.report.plot.figure import MAX_CURVES, FileNames, spread_sample
from benchmarks.report.plot.plot import Axis
from benchmarks.report.plot.row_plot import Mark, RowPlot

AXIS = Axis(0.0, 1.0, [(0.0, "0"), (0.5, "0.5"), (1.0, "1")], "AUC")


def drawn(plot):
    return ElementTree.fromstring(
        plot.svg('a "plot" & more').replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ')
    )


def elements(plot, tag):
    return drawn(plot).findall(f".//{{http://www.w3.org/2000/svg}}{tag}")


def test_a_mark_lies_where_the_axis_puts_its_value():
    plot = RowPlot(AXIS)
    plot.row("a", "0.25", [Mark(0.25, "s4", (0.0, 1.0), caps=True)])
    (circle,) = elements(plot, "circle")
    low, high = 8.0, WIDTH - 8
    assert float(circle.get("cx")) == low + 0.25 * (high - low)
    line = next(path for path in elements(plot, "path") if path.get("class") == "line s4")
    assert re.fullmatch(rf"M{low:.0f} [\d.]+H{high:.0f}", line.get("d"))
    assert sum(path.get("class") == "cap s4" for path in elements(plot, "path")) == 1


def test_only_the_reference_is_dotted_and_named():
    plot = RowPlot(AXIS, reference=0.5, reference_label="chance")
    plot.row("a", "", [Mark(0.7, "s0")])
    assert [path.get("class") for path in elements(plot, "path")] == ["grid", "chance", "grid"]
    assert "chance" in [text.text for text in elements(plot, "text")]
    outside = RowPlot(AXIS, reference=2.0)
    outside.row("a", "", [Mark(0.7, "s0")])
    assert "chance" not in [text.text for text in elements(outside, "text")]


def test_names_and_tooltips_are_escaped_and_long_names_shortened():
    plot = RowPlot(AXIS, legend=[("<b>", "s4", "ring")])
    plot.row("<script>" + "x" * 99, "1", [Mark(1.0, "s0", title="<i>&")])
    texts = [text.text for text in elements(plot, "text")]
    assert "<b>" in texts and any(text.startswith("<script>") and "…" in text for text in texts)
    assert [title.text for title in elements(plot, "title")] == ["<i>&"]
    ElementTree.fromstring(standalone(plot.svg("x"), "a <title>", ""))


def test_rows_follow_each_other_and_the_same_plot_has_the_same_bytes():
    def plot():
        made = RowPlot(AXIS)
        for i in range(3):
            made.row(f"row {i}", "", [Mark(0.5, "s0")])
        return made

    heights = [float(circle.get("cy")) for circle in elements(plot(), "circle")]
    assert heights[1] - heights[0] == heights[2] - heights[1] > 0
    assert plot().svg("x") == plot().svg("x")


def test_a_spread_sample_has_both_ends():
    ranked = list(range(50))
    chosen = spread_sample(ranked)
    assert len(chosen) == MAX_CURVES and chosen[0] == 0 and chosen[-1] == 49 and chosen == sorted(chosen)
    assert spread_sample(ranked[:3]) == [0, 1, 2] and spread_sample([]) == []


def test_file_names_are_safe_and_unique():
    names = FileNames()
    assert [names("roc", "A b/ü"), names("roc", "a-b"), names("roc", "…")] == ["roc-a-b", "roc-a-b-2", "roc-x"]
