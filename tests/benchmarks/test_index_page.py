"""The index page of a folder of reports."""

import re
import shutil
from pathlib import Path

import pytest

from benchmarks.report.index_page import index_page, write_index
from forge.core.errors import InputError

REPORTS = Path(__file__).resolve().parents[2] / "reports"


def test_the_published_index_is_that_of_the_published_reports():
    assert (REPORTS / "index.html").read_text(encoding="utf-8") == index_page(REPORTS), (
        "write it again: bench report --index --reports reports"
    )


def test_every_link_of_the_published_index_leads_somewhere():
    page = (REPORTS / "index.html").read_text(encoding="utf-8")
    links = re.findall(r'(?:href|src)="([^"#]+)"', page)
    assert len(links) > 10
    assert [link for link in links if not (REPORTS / link).exists()] == []
    assert "http" not in page  # it opens offline


def test_a_report_is_named_escaped_and_shows_its_best_result(tmp_path):
    shutil.copytree(REPORTS / "dcgan-xception-rendered-quick", tmp_path / "a & <b>")
    page = write_index(tmp_path).read_text(encoding="utf-8")
    assert "<h1>1 report</h1>" in page
    assert "a &amp; &lt;b&gt;" in page and "<b>" not in page.replace("<b>SHORTCUT", "")
    assert 'href="a%20%26%20%3Cb%3E/index.html"' in page
    assert "xception: AUC 0.9997" in page


def test_a_folder_without_reports_is_refused(tmp_path):
    with pytest.raises(InputError, match="holds no report"):
        write_index(tmp_path)
