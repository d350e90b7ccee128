"""The page of a report in a real browser: what its script does, and that it needs nothing else.

Debian's Chromium is used, nothing is downloaded. In CI a missing browser is a failure, elsewhere a reason to skip.
"""

import json
import os
import shutil

import pytest
from synthetic import NO_PICTURES, make_results, make_scores

from benchmarks.evaluation.leaderboard import leaderboard
from benchmarks.protocol import Condition
from benchmarks.report.inputs import ReportInputs
from benchmarks.report.write import write_report

pytestmark = [pytest.mark.xdist_group("browser"), pytest.mark.e2e]
OTHER_SCREENS = [(375, "dark"), (1280, "light")]
STRANGE = '<b>"dct" & co</b>/😀'


@pytest.fixture(scope="module")
def browser():
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if browser is None:
        assert not os.environ.get("CI"), "CI has to have Chromium"
        pytest.skip("no Chromium here: apt install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox", "--disable-gpu"])
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The page of a small suite: three generators, three detectors, one of them with a name that wants to be markup."""
    skill = {}
    for detector, level in ((STRANGE, 1.5), ("npr", 0.8), ("disc-raw", 0.2)):
        for left in ("dcgan", "gan", "cgan"):
            others = "+".join(sorted({"dcgan", "gan", "cgan"} - {left}))
            skill[detector, others] = {left: level, **dict.fromkeys(others.split("+"), 3.0)}
    scores = make_scores(skill, n=80)
    folder = tmp_path_factory.mktemp("page") / "report"
    results = make_results(scores, name="a <suite>")
    robust = [cell.model_copy(update={"perturbation": p, "condition": Condition.ROBUST, "auc": cell.auc - 0.1})
              for cell in results.cells for p in ("jpeg75", "jpeg30")]  # fmt: skip
    results = results.model_copy(update={"cells": [*results.cells, *robust]})
    write_report(folder, ReportInputs(results, scores, NO_PICTURES, board=leaderboard(scores)))
    return folder


class Visit:
    """One open page, and what went wrong on it."""

    def __init__(self, browser, folder, **options):
        self.context = browser.new_context(**options)
        self.page = self.context.new_page()
        self.errors, self.requests = [], []
        self.page.on("console", lambda message: self.errors.append(message.text))
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto((folder / "index.html").as_uri())

    def __enter__(self):
        return self.page

    def __exit__(self, *failure):
        self.context.close()
        if failure[0] is None:
            assert self.errors == []
            assert len(self.requests) == 1, "the page fetched something"


def names(page, table="#leaderboard table.heat"):
    return [head.inner_text() for head in page.locator(f"{table} tbody tr:visible th").all()]


def test_headings_sort_and_the_third_time_undo_it(browser, folder):
    with Visit(browser, folder) as page:
        best_first = names(page)
        assert best_first == [STRANGE, "npr", "disc-raw"]
        head = page.locator("#leaderboard table.heat thead th", has_text="unseen")
        head.locator("button").click()
        assert head.get_attribute("aria-sort") == "descending" and names(page) == best_first
        head.locator("button").click()
        assert head.get_attribute("aria-sort") == "ascending" and names(page) == best_first[::-1]
        head.locator("button").click()
        assert head.get_attribute("aria-sort") is None and names(page) == best_first
        page.locator("#leaderboard table.heat thead th", has_text="Detector").locator("button").press("Enter")
        assert names(page) == sorted(best_first, key=str.lower)


def test_the_filter_leaves_what_was_asked_for_in_every_table(browser, folder):
    with Visit(browser, folder) as page:
        page.get_by_label("Filter detectors by name").fill("disc, NPR")
        assert set(names(page)) == {"npr", "disc-raw"} == set(names(page, "#robustness table.heat"))
        assert page.locator("#filtered").inner_text() == "2 of 3 detectors"
        page.get_by_label("Filter detectors by name").fill("")
        assert len(names(page)) == 3


def test_the_threshold_moves_every_number_as_the_scores_say(browser, folder):
    import pandas as pd

    results = json.loads((folder / "results.json").read_text())
    scores = pd.read_parquet(folder / "scores.parquet")
    with Visit(browser, folder) as page:
        page.get_by_label("Detector", exact=True).select_option("npr")
        page.get_by_label("Test", exact=True).select_option("gan, trained on all but gan")
        cell = next(c for c in results["cells"]
                    if (c["detector"], c["tested_on"], c["condition"]) == ("npr", "gan", "unseen"))  # fmt: skip
        fit = scores[(scores["detector"] == "npr") & (scores["trained_on"] == cell["trained_on"])]
        fit = fit[fit["split"] == "test"]
        groups = {"real": fit[fit["label"] == 0], "forged": fit[fit["generator"] == "gan"]}

        def shown(name):
            return page.locator(f"#dial-{name}-value").inner_text()

        def check(threshold):
            called = {name: int((rows["score"] >= threshold).sum()) for name, rows in groups.items()}
            assert (int(shown("tp")), int(shown("fp"))) == (called["forged"], called["real"])
            assert (int(shown("fn")), int(shown("tn"))) == (80 - called["forged"], 80 - called["real"])
            tpr, fpr = called["forged"] / 80, called["real"] / 80
            assert abs(float(shown("balanced").removesuffix(" %")) - 50 * (tpr + 1 - fpr)) < 0.06
            rare = float(page.get_by_label("Prevalence of forged images").input_value()) / 100
            if called["forged"] + called["real"]:
                precision = tpr * rare / (tpr * rare + fpr * (1 - rare))
                assert abs(float(shown("precision").removesuffix(" %")) - 100 * precision) < 0.06

        assert "fixed on validation data" in shown("threshold")
        check(cell["threshold"])
        page.get_by_label("Prevalence of forged images").fill("20")
        check(cell["threshold"])
        slider = page.get_by_role("slider")
        dials = json.loads(page.locator("#dials").inner_text() or page.locator("#dials").text_content())
        dial = next(d for d in dials if (d["detector"], d["test"]) == ("npr", "gan, trained on all but gan"))
        before = int(shown("tp"))
        for _ in range(9):
            slider.press("ArrowLeft")  # by keyboard
        assert int(shown("tp")) >= before and int(slider.input_value()) == dial["start"] - 9
        assert (int(shown("tp")), int(shown("fp"))) == (dial["tp"][dial["start"] - 9], dial["fp"][dial["start"] - 9])
        slider.press("End")
        assert (shown("tp"), shown("fp"), shown("precision")) == ("0", "0", "–")
        page.get_by_role("button", name="Reset to the threshold").click()
        check(cell["threshold"])


def test_without_script_everything_is_said_and_nothing_dead_is_shown(browser, folder):
    with Visit(browser, folder, java_script_enabled=False) as page:
        assert not page.locator("#threshold").is_visible() and not page.locator("#filter").is_visible()
        assert names(page) == [STRANGE, "npr", "disc-raw"] and page.locator("#leaderboard button").count() == 0


def test_the_long_name_of_a_training_is_broken_into_lines_on_a_phone(browser, tmp_path):
    trained = "dcgan+fastcut+pix2pix:colour+pix2pix:edges+pix2pix:super-resolution+vae"
    scores = make_scores({("npr", trained): {"flow": 9.0, "dcgan": 9.0}}, n=80)  # no mistakes, which are listed
    write_report(tmp_path / "report", ReportInputs(make_results(scores), scores, NO_PICTURES))
    with Visit(browser, tmp_path / "report", viewport={"width": 375, "height": 800}) as page:
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


# each width and each scheme once: colours do not depend on the width
@pytest.mark.parametrize(
    ("width", "scheme"),
    [(375, "light"), (1280, "dark"), *(pytest.param(*case, marks=pytest.mark.slow) for case in OTHER_SCREENS)],
)
def test_everybody_can_read_it(browser, folder, width, scheme):
    from axe_playwright_python.sync_playwright import Axe

    options = {"color_scheme": scheme, "viewport": {"width": width, "height": 800}, "bypass_csp": True}
    with Visit(browser, folder, **options) as page:
        page.evaluate("document.querySelectorAll('details').forEach(details => { details.open = true })")
        violations = Axe().run(page, options={"runOnly": ["wcag2a", "wcag2aa", "wcag21aa"]}).response["violations"]
        assert [(entry["id"], entry["nodes"][0]["html"][:200]) for entry in violations] == []
        # nothing but tables in frames of their own is wider than the screen
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (dark == "rgb(20, 23, 27)") == (scheme == "dark")


def test_a_page_is_printed_whole(browser, folder):
    with Visit(browser, folder) as page:
        page.emulate_media(media="print")
        assert not page.locator("nav").is_visible() and not page.locator("#threshold").is_visible()
        assert page.locator("#leaderboard table.heat").is_visible()


def test_the_policy_allows_our_own_script_alone(browser, folder, tmp_path):
    text = (folder / "index.html").read_text(encoding="utf-8")
    (tmp_path / "index.html").write_text(text.replace("</body>", "<script>document.title='changed'</script></body>"))
    with_foreign = Visit(browser, tmp_path)
    assert with_foreign.page.title() != "changed" and any("Content Security Policy" in e for e in with_foreign.errors)
    with_foreign.context.close()
