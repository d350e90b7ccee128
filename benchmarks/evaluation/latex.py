r"""A leaderboard as a LaTeX table: booktabs rules, intervals in small type, the best values bold.

A document needs ``\usepackage{booktabs}``; its notes become the caption.
"""

from __future__ import annotations

import re
import textwrap

from benchmarks.evaluation.column import CONTROLS
from benchmarks.evaluation.formats import TextTable

_ESCAPES = {
    **{character: f"\\{character}" for character in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "–": "--",
    "†": r"\textdagger{}",
    "×": r"$\times$",
    "→": r"$\to$",
    "≥": r"$\ge$",
    "≤": r"$\le$",
    "…": r"\ldots{}",
    "“": "``",
    "”": "''",
}
_PLAIN = {"rank", "detector", "images/s", "parameters"}  # no value of these is better than another
_LOWER = {"false-alarm area"}
_VALUE = re.compile(r"-?\d+(\.\d+)?")


def escaped(text: str) -> str:
    r"""Return text that LaTeX prints as it is.

    >>> escaped("disc_probe & 5 %")
    'disc\\_probe \\& 5 \\%'
    """
    return "".join(_ESCAPES.get(character, character) for character in text)


def latex(sheet: TextTable) -> str:
    r"""Format a leaderboard as a LaTeX ``table*``.

    Bold are the detectors that share the first rank, in the column that ranks, and in every other column of values the
    best one as it is printed, with all that are equal to it. Controls are never bold. Without ranks nothing is.

    Args:
        sheet: the table; where it has ranks, its third column is the one that ranks.
    """
    ranks = sheet.headings[0] == "rank"
    bold = [_bold(sheet, column) if ranks else set() for column in range(len(sheet.headings))]
    lines = [
        " & ".join(
            rf"\textbf{{{value}}}{rest}" if row in bold[column] else value + rest
            for column, (value, rest) in enumerate(map(_parts, cells))
        )
        for row, cells in enumerate(sheet.rows)
    ]
    # values before an interval stand below each other, others end at the same place
    numbers = [[cells[column] for cells in sheet.rows] for column in range(2, len(sheet.headings))]
    alignment = "".join("l" if any(" [" in value for value in column) else "r" for column in numbers)
    head = " & ".join(map(_heading, sheet.headings, f"ll{alignment}"))
    best = []
    if ranks:
        rest = "and the best value of each other column, for which there is no test."
        best = [f"Bold: rank 1 in {sheet.headings[2]}, {rest}"]
    caption = " ".join((f"{sheet.title}.", *sheet.verdicts, *sheet.notes, *best))
    label = re.sub(r"[^A-Za-z0-9-]+", "-", sheet.title).strip("-")
    return "\n".join(
        [
            r"% needs \usepackage{booktabs}",
            r"\begin{table*}[t]",
            r"\centering\footnotesize\setlength{\tabcolsep}{3pt}",
            rf"\caption{{{escaped(caption)}}}",
            rf"\label{{tab:{label}}}",
            rf"\begin{{tabular}}{{@{{}}ll{alignment}@{{}}}}",
            r"\toprule",
            rf"{head} \\",
            r"\midrule",
            *(rf"{line} \\" for line in lines),
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table*}",
            "",
        ]
    )


def _heading(name: str, side: str) -> str:
    """Return a heading, its words below each other where they are long."""
    lines = textwrap.wrap(name, 9, break_long_words=False, break_on_hyphens=False)
    stacked = r" \\ ".join(map(escaped, lines))
    return escaped(name) if len(lines) == 1 else rf"\shortstack[{side}]{{{stacked}}}"


def _parts(cell: str) -> tuple[str, str]:
    """Split a cell into its value and the rest, an interval or a range of ranks, which is set in small type."""
    matched = re.fullmatch(r"(\S+) ([\[(].*)", cell)
    if matched is None:
        return escaped(cell), ""
    return escaped(matched[1]), rf" {{\scriptsize {escaped(matched[2])}}}"


def _bold(sheet: TextTable, column: int) -> set[int]:
    """Return the rows whose value of a column is bold."""
    heading = sheet.headings[column]
    if column == 2:
        return {row for row, cells in enumerate(sheet.rows) if cells[0].partition(" ")[0] == "1"}
    values = {
        row: float(shown[0])
        for row, cells in enumerate(sheet.rows)
        if cells[1] not in CONTROLS and (shown := _VALUE.match(cells[column]))
    }
    if heading in _PLAIN or not values:
        return set()
    best = (min if heading in _LOWER else max)(values.values())
    return {row for row, value in values.items() if value == best}
