"""Citations as BibTeX: works are read from the citation texts of generators, detectors, attacks and sets."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

_YEAR = re.compile(r"\b((?:19|20)\d\d)\b(?!\.\d)")  # no arXiv number
_ARXIV = re.compile(r"arXiv[: ](\d\d)(\d\d\.\d{4,5})")
_NAME = r"(?:[a-z]+ )*[A-Z][\w'-]+"
_INITIALS = r"(?:, (?:[A-Z]\. ?)+)?"
# how authors stand before a title: "A et al., ", "A and B, " or "A, B and C, ", "A, B: " or "A, K. and B, J.: ", "A, "
_AUTHORS = (
    re.compile(rf"({_NAME} et al\.)[,:] "),
    re.compile(rf"({_NAME}(?:, {_NAME})* and {_NAME}), "),
    re.compile(rf"({_NAME}{_INITIALS}(?:(?:,| and|, and) {_NAME}{_INITIALS})*): "),
    re.compile(rf"({_NAME}), "),
)
# where a title ends: before the venue with its year, or before an arXiv number
_VENUE = re.compile(
    r"(?P<title>.+?)[,.] (?P<venue>[^,.]*?\b(?:19|20)\d\d\b.*|arXiv.*|[^,]*Journal.*|[^,]+ \d+, \d{4}|[^,]+, \d{4})"
)
_REMARK = re.compile(r" \([^()]*\)$|, algorithm \d+$")  # behind a venue


@dataclass(frozen=True)
class Work:
    """A publication.

    Attributes:
        text: the citation as it was written.
        authors: as BibTeX wants them, joined by " and "; empty where the text names none.
        title: empty where the text has no title of its own.
        venue: the rest: conference or journal, and what else stands behind the title.
        year: four digits; empty where the text has none.
        arxiv: number; empty where there is none.
    """

    text: str
    authors: str = ""
    title: str = ""
    venue: str = ""
    year: str = ""
    arxiv: str = ""

    @property
    def key(self) -> str:
        """Return the BibTeX key: first author, year, first word of the title."""
        author = self.authors.split(" and ")[0].partition(",")[0].split(" ")[-1] or "anonymous"
        word = next((word for word in re.findall(r"[\w-]+", self.title) if len(word) > 3), "")
        plain = unicodedata.normalize("NFKD", f"{author}{self.year}{word}".lower())  # "ö" is "o" and two dots
        return re.sub(r"[^a-z0-9-]", "", plain)


def works_of(citation: str) -> list[Work]:
    """Read the publications of a citation, which are separated by semicolons.

    >>> [work] = works_of("Ho, Jain, Abbeel: Denoising Diffusion Models, NeurIPS 2020, arXiv 2006.11239")
    >>> work.authors, work.title, work.year, work.arxiv
    ('Ho and Jain and Abbeel', 'Denoising Diffusion Models', '2020', '2006.11239')
    >>> works_of("Tan et al., Rethinking Up-Sampling, CVPR 2024")[0].key
    'tan2024rethinking'
    """
    parts = re.split(r";(?![^(]*\))", citation)  # a remark in brackets may hold one
    return [_work(part.strip()) for part in parts if part.strip()]


def _work(text: str) -> Work:
    year, arxiv = _YEAR.search(text), _ARXIV.search(text)
    # the first two digits of an arXiv number are those of its year
    of_year = year[1] if year else f"20{arxiv[1]}" if arxiv else ""
    work = Work(text, year=of_year, arxiv="".join(arxiv.groups()) if arxiv else "")
    authors = next(filter(None, (form.match(text) for form in _AUTHORS)), None)
    ended = _VENUE.fullmatch(_REMARK.sub("", text[authors.end() :])) if authors else None
    if authors is None or ended is None:
        return work
    return replace(work, authors=_joined(authors[1]), title=ended["title"], venue=ended["venue"])


def _joined(authors: str) -> str:
    """Join names as BibTeX does; initials stay with their name."""
    names = re.split(r",? and |, (?![A-Z]\.)", authors.replace(" et al.", " and others"))
    return " and ".join(name.strip() for name in names)


def bibtex(works: Iterable[tuple[Work, str]]) -> str:
    """Format works as BibTeX entries, each once.

    Args:
        works: each with what it is cited for, e.g. "detector npr".
    """
    cited: dict[tuple[str, str], tuple[Work, list[str]]] = {}
    for work, purpose in works:
        # remarks behind the venue may differ
        of = cited.setdefault((work.authors, work.title or work.text), (work, []))[1]
        if purpose not in of:
            of.append(purpose)
    entries, keys = [], set()
    for work, purposes in cited.values():
        key, number = work.key, 2
        while key in keys:
            key, number = f"{work.key}-{number}", number + 1
        keys.add(key)
        entries.append(entry("misc", key, _fields(work), f"cited for {', '.join(purposes)}"))
    return "\n".join(entries)


def _fields(work: Work) -> dict[str, str]:
    """Return the fields of an entry; what could not be read is the note, as it was written."""
    number = {"eprint": work.arxiv, "archiveprefix": "arXiv"} if work.arxiv else {}
    if not work.title:
        return {"title": work.text, "year": work.year, **number}
    return {
        "author": work.authors,
        "title": work.title,
        "howpublished": work.venue,
        "year": work.year,
        **number,
    }


def entry(form: str, key: str, fields: Mapping[str, str], comment: str = "") -> str:
    """Format a BibTeX entry; fields that are empty are left out.

    Args:
        form: e.g. "software".
        key: to cite it by.
        fields: name -> value; capitals of a title are kept.
        comment: a line above it.
    """
    lines = [f"% {comment}"] if comment else []
    lines.append(f"@{form}{{{key},")
    for name, value in fields.items():
        shown = "".join(f"\\{character}" if character in "&%$#_" else character for character in value)
        if value:
            lines.append(f"  {name} = {{{{{shown}}}}}," if name == "title" else f"  {name} = {{{shown}}},")
    return "\n".join([*lines, "}", ""])
