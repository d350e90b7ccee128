"""`bench review`: what the table of a finished run can carry, as answers to the questions of a reviewer."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from benchmarks.cli.streams import console as open_console
from benchmarks.report.run_report import RunReport
from benchmarks.report.text.review import Answer
from benchmarks.report.text.review import review as answers_of
from forge.core.errors import UnknownNameError

FORMATS = ("table", "md", "json")


def review(run: str, form: str, reports: Path) -> None:
    """Answer what a reviewer asks of a table: chance, parts of the uncertainty, ranks elsewhere, audits, limits."""
    if form not in FORMATS:
        raise UnknownNameError("format", form, FORMATS)
    answers = answers_of(RunReport.open(run, reports))
    if form == "json":
        print(json.dumps([asdict(answer) for answer in answers], indent=1, ensure_ascii=False))
    elif form == "md":
        print("\n\n".join(map(_markdown, answers)))
    else:
        console = open_console()
        for answer in answers:
            console.print(f"[bold]{escape(answer.question)}[/]")
            for sentence in answer.sentences:
                console.print(escape(sentence), highlight=False)
            if answer.rows:
                table = Table(*answer.headings, box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
                for row in answer.rows:
                    table.add_row(*map(escape, row))
                console.print(table)
            else:
                console.print()


def _markdown(answer: Answer) -> str:
    parts = [f"## {answer.question}", *answer.sentences]
    if answer.rows:
        lines = [answer.headings, ("---",) * len(answer.headings), *answer.rows]
        parts.append("\n".join(f"| {' | '.join(line)} |" for line in lines))
    return "\n\n".join(parts)
