"""Paper output: LaTeX tables, methods paragraphs, BibTeX."""

import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from benchmarks.cli.figures import figures, for_paper
from benchmarks.evaluation.column import CONTROLS
from benchmarks.evaluation.latex import escaped, latex
from benchmarks.report.run_report import RunReport
from benchmarks.report.text.bibliography import bibtex, works_of
from benchmarks.report.text.methods import methods, works
from detect.attacks.registry import ATTACKS
from detect.detectors.registry import DETECTORS
from forge.core.errors import InputError
from forge.generators import GENERATORS

REPORTS = Path(__file__).resolve().parents[2] / "reports"
# families of detectors whose network the user names
NO_PUBLICATION = {"timm:", "probe:", "tune:", "mean:", *CONTROLS}


@dataclass
class Table:
    title: str
    verdicts: tuple[str, ...]
    headings: list[str]
    rows: list[list[str]]
    notes: list[str]


TABLE = Table(
    "a_run & more",
    (),
    ["rank", "detector", "unseen", "robust", "TPR at 1 % FPR", "images/s"],
    [
        ["1 (1–2)", "npr", "0.95 [0.90, 0.99]", "0.70 [0.67, 0.73]", "0.51", "532"],
        ["1 (1–2)", "dct_2", "0.91 [0.87, 0.95]", "0.84 †", "0.62", "6,538"],
        ["3", "svm", "0.80 [0.77, 0.83]", "–", "0.62", "4,134"],
        ["4", "random", "0.99 [0.98, 1]", "0.99 [0.98, 1]", "1.00", "18,229"],
    ],
    ["5 % of {x}."],
)


def cells(row):
    (line,) = [line for line in latex(TABLE).splitlines() if f" & {row} &" in line]
    return line.removesuffix(r" \\").split(" & ")


def test_a_latex_row_has_a_cell_a_column_and_small_intervals():
    assert cells("npr") == [
        r"1 {\scriptsize (1--2)}",
        "npr",
        r"\textbf{0.95} {\scriptsize [0.90, 0.99]}",
        r"0.70 {\scriptsize [0.67, 0.73]}",
        "0.51",
        "532",
    ]


def test_bold_are_first_ranks_and_the_best_of_other_columns_ties_included_without_controls():
    bold = {row[1]: [i for i, cell in enumerate(cells(escaped(row[1]))) if "textbf" in cell] for row in TABLE.rows}
    assert bold == {"npr": [2], "dct_2": [2, 3, 4], "svm": [4], "random": []}


def test_latex_escapes_what_it_would_read_as_commands():
    text = latex(TABLE)
    assert r"\caption{a\_run \& more. 5 \% of \{x\}." in text
    assert r"\label{tab:a-run-more}" in text
    assert "0.84" in text and r"\textdagger{}" in text
    assert escaped("50 % ~ x^2 \\ #1 $") == r"50 \% \textasciitilde{} x\textasciicircum{}2 \textbackslash{} \#1 \$"
    assert r"\begin{tabular}{@{}llllrr@{}}" in text  # columns with intervals begin at the same place
    assert r"\shortstack[r]{TPR at 1 \\ \% FPR}" in text


@pytest.mark.parametrize(
    ("text", "authors", "title", "year"),
    [
        ("Tan and Le, EfficientNet: Rethinking, ICML 2019", "Tan and Le", "EfficientNet: Rethinking", "2019"),
        ("Liu, Qi and Torr, Global Texture, CVPR 2020", "Liu and Qi and Torr", "Global Texture", "2020"),
        ("Mirza, Osindero: Nets, arXiv 1411.1784", "Mirza and Osindero", "Nets", "2014"),
        ("van den Oord, Vinyals: Codes, NeurIPS 2017", "van den Oord and Vinyals", "Codes", "2017"),
        ("Joo, J. and Lee, K. L.: A, B, and C. WACV 2021, 1-8.", "Joo, J. and Lee, K. L.", "A, B, and C", "2021"),
        ("Cox, Sequences, Journal of X B, 1958", "Cox", "Sequences", "1958"),
        ("Hu et al., Spikes, arXiv:1911.00686, 2019", "Hu and others", "Spikes", "2019"),
        ("my own idea", "", "", ""),
    ],
)
def test_citations_are_read_as_authors_title_and_year(text, authors, title, year):
    [work] = works_of(text)
    assert (work.authors, work.title, work.year) == (authors, title, year)


def test_a_remark_in_brackets_ends_no_work_and_is_no_venue():
    [work] = works_of("Ho, Lee: Attacks, ECCV 2020, arXiv 2004.00622 (there anywhere; here in one square)")
    assert work.venue == "ECCV 2020, arXiv 2004.00622"
    assert work.arxiv == "2004.00622"


@pytest.mark.parametrize("registry", [GENERATORS, DETECTORS, ATTACKS])
def test_every_citation_of_ours_is_read_whole(registry):
    for name in registry.entries:
        if name not in NO_PUBLICATION or name == "disc-scratch":
            for work in works_of(registry.load(name).citation):
                assert work.authors and work.title and re.fullmatch(r"\d{4}", work.year), (name, work)


def test_bibtex_has_an_entry_a_work_and_says_what_it_is_cited_for():
    [work] = works_of("Tan et al., Rethinking 10 % of It, CVPR 2024")
    [other] = works_of("Tan et al., Rethinking Again, CVPR 2024")
    text = bibtex(
        [(work, "detector a"), (work, "detector b"), (other, "detector c"), *((w, "x") for w in works_of("?"))]
    )
    assert re.findall(r"^@misc\{(.*),$", text, re.MULTILINE) == [
        "tan2024rethinking",
        "tan2024rethinking-2",
        "anonymous",
    ]
    assert "% cited for detector a, detector b\n" in text
    assert r"  title = {{Rethinking 10 \% of It}}," in text
    assert text.count("{") == text.count("}")


def test_methods_and_works_of_a_published_run_say_what_it_rests_on():
    results = RunReport(REPORTS / "arms-race").results
    text = " ".join(methods(results, ["matrix"]))
    for part in (
        "7,990 of fairface (CC BY 4.0)",
        "4,794 for training generators",
        "dcgan (trained on 43.5 thousand",
        "npr",
    ):
        assert part in text
    assert f"commit {results.environment['commit'][:12]}" in text
    assert text.endswith(results.command)
    purposes = [purpose for _, purpose in works(results)]
    assert {"the images of fairface", "generator dcgan", "detector npr", "detector dct"} <= set(purposes)
    assert not any("random" in purpose for purpose in purposes)


def test_a_run_without_a_failed_audit_says_so_and_one_with_names_it():
    results = RunReport(REPORTS / "arms-race").results
    assert "0 failed." in " ".join(methods(results, []))
    audits = [finding.model_copy(update={"passed": False}) for finding in results.audits[:1]]
    failed = results.model_copy(update={"audits": audits})
    assert f"1 failed ({audits[0].audit})." in " ".join(methods(failed, []))


def test_a_figure_for_paper_is_light_and_has_the_width_of_a_column():
    svg = (REPORTS / "arms-race" / "figures" / "overview.svg").read_text()
    drawing, height = for_paper(svg, 84)
    sides = [float(side) for side in re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg).groups()]
    assert height == pytest.approx(84 * sides[1] / sides[0])
    assert f'width="84mm" height="{height:.2f}mm"' in drawing
    assert "prefers-color-scheme" in svg and "prefers-color-scheme" not in drawing
    assert "light dark" not in drawing


def test_figures_are_chosen_by_name_and_written_as_svg(tmp_path, capsys):
    figures("arms-race", tmp_path / "out", "overview,health-*", "svg", 174, REPORTS)
    names = sorted(file.name for file in (tmp_path / "out").iterdir())
    assert "overview.svg" in names and all(name.startswith(("overview", "health-")) for name in names)
    assert capsys.readouterr().out.splitlines() == [str(tmp_path / "out" / name) for name in names]


@pytest.mark.parametrize(
    ("names", "form", "width", "reason"),
    [
        ("overviw", "svg", 84, "did you mean 'overview'"),
        ("no-*", "svg", 84, "names no figure"),
        (None, "png", 84, "format 'png' is not known"),
        (None, "svg", 0, "must be 20 to 1000 mm"),
        (None, "svg", float("nan"), "must be 20 to 1000 mm"),
    ],
)
def test_figures_that_cannot_be_written_are_refused(tmp_path, names, form, width, reason):
    with pytest.raises(InputError, match=reason):
        figures("arms-race", tmp_path, names, form, width, REPORTS)
