"""Sections of a report: one file adds one to the page and report.md; bad ones are refused in one sentence."""

import pytest
from synthetic import NO_PICTURES, ONE, Page, call_bench, html_of, make_results, make_scores

from benchmarks.report.inputs import ReportInputs
from benchmarks.report.page import build
from benchmarks.report.sections import SECTIONS, load_sections, loadable, section_digests
from benchmarks.report.write import write_report
from forge.core.errors import BenchWarning, InputError
from forge.core.registry import allow_files

PLUGIN = """
from benchmarks.report.sections.base import Section


class Slowest(Section):
    id, title, position = "slowest", "Slowest stages", 1550
    template = "slowest.html.j2"
    text_template = "## {{ section.title }}\\n\\n{% for s in data %}\\n- {{ s.name }}\\n{% endfor %}"

    def build(self, run):
        return sorted(run.results.stages, key=lambda stage: -stage.seconds)[:2]


class Words(Section):
    id, title, position = "words", "Words of mine", 50

    def build(self, run):
        from markupsafe import Markup

        return Markup("<b>bold</b> & *stars*")


class Nothing(Words):
    id = "nothing"

    def build(self, run):
        return None


class Number(Words):
    id = "number"

    def build(self, run):
        return 3


class Failing(Words):
    id = "failing"

    def build(self, run):
        raise ValueError("no such column")


class Undefined(Words):
    id = "undefined"
    template = "{{ data.nowhere.at_all }}"


class NoBuild(Section):
    id, title, position = "no-build", "No build", 1


class NoTitle(Section):
    id, position = "no-title", 1

    def build(self, run):
        return None


class Taken(Words):
    id = "results"


class BadId(Words):
    id = "Two words"


class Where(Words):
    id, position = "where", "first"


class Lost(Words):
    id, template = "lost", "lost.html.j2"


class Broken(Words):
    id, template = "broken", "{% for x in %}"


class Other:
    pass
"""
TEMPLATE = (
    "<ul>{% for stage in data %}<li>{{ stage.name }}: {{ numbers.duration(stage.seconds) }}</li>{% endfor %}</ul>"
)


@pytest.fixture
def plugin(tmp_path):
    """A function from the name of a class to the reference of a section in a file."""
    (tmp_path / "mine.py").write_text(PLUGIN)
    (tmp_path / "slowest.html.j2").write_text(TEMPLATE)
    allow_files([f"{tmp_path / 'mine.py'}:Slowest"], anew=True)
    yield lambda name: f"{tmp_path / 'mine.py'}:{name}"
    allow_files([], anew=True)


@pytest.fixture(scope="module")
def finished():
    scores = make_scores(ONE, n=40)
    return make_results(scores), scores


def test_shipped_sections_have_the_names_of_their_ids_and_one_position_each():
    sections = load_sections()
    assert {section.id for section in sections} == set(SECTIONS.entries)
    positions = [section.position for section in sections]
    assert positions == sorted(set(positions))


def test_no_template_is_long():
    sections = load_sections()
    for section in sections:
        for template in (section.template, section.text_template):
            assert len(section.source(template).splitlines()) <= 120


def test_a_file_adds_a_section_to_the_page_and_to_report_md(plugin, finished, tmp_path):
    write_report(tmp_path / "report", ReportInputs(*finished, NO_PICTURES, sections=[plugin("Slowest")]))
    page = Page(html_of(tmp_path / "report"))
    assert any(attrs.get("href") == "#slowest" for attrs in page.all("a"))
    sections = [attrs["id"] for attrs in page.all("section")]
    assert sections.index("reading") + 1 == sections.index("slowest") == sections.index("provenance") - 1
    text = (tmp_path / "report/report.md").read_text()
    assert "## Slowest stages" in text and "- evaluate" in text
    assert text.index("## Slowest stages") < text.index("## Provenance")


def test_text_of_a_section_without_template_is_escaped_even_if_it_calls_itself_markup(plugin, finished, tmp_path):
    write_report(tmp_path / "report", ReportInputs(*finished, NO_PICTURES, sections=[plugin("Words")]))
    page = html_of(tmp_path / "report")
    assert "<p>&lt;b&gt;bold&lt;/b&gt; &amp; *stars*</p>" in page and "<b>bold" not in page
    text = (tmp_path / "report/report.md").read_text()
    assert "## Words of mine" in text and r"\*stars\*" in text and "<b>" not in text


def test_a_shipped_section_may_be_a_sentence_too(plugin, finished, monkeypatch):
    inputs = ReportInputs(*finished, NO_PICTURES, sections=[plugin("Words")])
    (words,) = (section for section in load_sections(inputs.sections) if section.id == "words")
    monkeypatch.setattr("benchmarks.report.page.load_sections", lambda references: [words])
    monkeypatch.setattr(SECTIONS, "entries", {**SECTIONS.entries, "words": "shipped"})
    assert [block.data for block in build(inputs).blocks] == [["<b>bold</b> & *stars*"]]


def test_a_section_with_nothing_to_show_is_left_out(plugin, finished):
    page = build(ReportInputs(*finished, NO_PICTURES, sections=[plugin("Nothing")]))
    assert "nothing" not in {block.section.id for block in page.blocks}


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("NoBuild", "does not define build, which every section has"),
        ("NoTitle", "does not define title, which every section has"),
        ("Taken", "its id 'results' is taken"),
        ("BadId", "has the id 'Two words'"),
        ("Where", "has the position 'first', which is no number"),
        ("Lost", "names the template 'lost.html.j2', which is not beside its file"),
        ("Broken", "has a template that Jinja2 does not understand, line 1"),
        ("Other", "is no section: it must be a subclass of benchmarks.report.sections.base.Section"),
        ("Missing", "the file defines no 'Missing'"),
    ],
)
def test_a_bad_section_is_one_sentence_before_any_work(name, sentence, plugin):
    with pytest.raises(InputError, match="section") as raised:
        load_sections([plugin(name)])
    assert sentence in str(raised.value) and "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("Number", "section 'number' returns int"),
        ("Failing", "section 'failing' failed: ValueError: 'no such column'"),
        ("Undefined", "a template of section 'undefined' fails"),
    ],
)
def test_a_section_that_fails_is_named(name, sentence, plugin, finished, tmp_path):
    with pytest.raises(InputError) as raised:
        write_report(tmp_path / "report", ReportInputs(*finished, NO_PICTURES, sections=[plugin(name)]))
    assert sentence in str(raised.value)


def test_shipped_and_unknown_names_are_refused():
    with pytest.raises(InputError, match="part of every report"):
        load_sections(["results"])
    with pytest.raises(InputError, match="section 'nowhere' is not known"):
        load_sections(["nowhere"])


def test_code_and_templates_of_a_section_are_part_of_what_is_asked_for(plugin, tmp_path):
    before = section_digests([plugin("Slowest")])
    (tmp_path / "slowest.html.j2").write_text(TEMPLATE + "<p>more</p>")
    after = section_digests([plugin("Slowest")])
    assert before.keys() == after.keys() and len(before) == 2
    assert [key.rpartition(" ")[2] for key in before if before[key] != after[key]] == ["slowest.html.j2"]


def test_a_stored_section_whose_file_is_not_named_is_left_out_with_a_note(plugin, tmp_path):
    assert loadable([plugin("Slowest")]) == [plugin("Slowest")]
    allow_files([], anew=True)
    with pytest.warns(BenchWarning, match="left out; to show it name its file with --plugin"):
        assert loadable([plugin("Slowest")]) == []


def test_a_plan_asks_for_another_report_with_another_section(tmp_path, monkeypatch, capsys):
    import json

    bench = call_bench(tmp_path, monkeypatch, capsys)
    (tmp_path / "mine.py").write_text(PLUGIN)
    (tmp_path / "slowest.html.j2").write_text(TEMPLATE)
    command = ["run", "-g", "gan", "-d", "dct", "--preset", "smoke", "--dry-run", "--json"]
    keys = []
    for more in ([], ["--section", "mine.py:Slowest"]):
        code, out, err = bench(*command, *more)
        assert code == 0, err
        keys.append({row["stage"]: row["key"] for row in json.loads(out)})
    assert {stage for stage in keys[0] if keys[0][stage] != keys[1][stage]} == {"report"}
    code, _, err = bench(*command, "--section", "mine.py:NoTitle")
    assert code == 2 and "does not define title" in err and err.count("\n") == 1
