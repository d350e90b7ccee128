"""Quality metrics of plug-ins: one file, in the result, in its lines, and refused where they are no metric."""

import pytest
from test_quality_measure import pictures, quick

from forge.core.errors import BenchWarning, InputError
from forge.core.registry import allow_files
from forge.quality import QUALITY, built_in, load_more
from forge.quality.measure import Comparison, Quality, compare
from forge.quality.metric import Row, ScalarMetric

assert quick  # the fixture that leaves the face detector out

BRIGHTNESS = """
from forge.quality.metric import QualityMetric, ScalarMetric


class Brightness(ScalarMetric):
    \"\"\"Difference of the mean grey levels.\"\"\"

    id = "brightness"
    title = "brightness difference"

    def compute(self, sides):
        return abs(float(sides.candidate.mean()) - float(sides.reference.mean()))


class Taken(Brightness):
    id = "spectrum"


class Infinite(Brightness):
    def compute(self, sides):
        return float("inf")


class Sideways(Brightness):
    better = "up"


class Unmakeable(Brightness):
    def __init__(self):
        raise RuntimeError("no")


class Nameless(ScalarMetric):
    def compute(self, sides):
        return 1.0


class NotOneNumber(QualityMetric):
    id = title = "x"

    def measure(self, sides):
        return 1
"""


@pytest.fixture
def plugin(tmp_path):
    file = tmp_path / "brightness.py"
    file.write_text(BRIGHTNESS)
    allow_files([f"{file}:Brightness"])
    return file


def test_a_metric_from_a_file_has_a_value_a_floor_and_a_line(plugin):
    reference, held_out = pictures(40, seed=1), pictures(40, seed=2)
    forged = reference // 2
    comparison = compare(forged, reference, held_out, n=40, more=[f"{plugin}:Brightness"])
    row = comparison.rows()[-1]
    assert row == Row("brightness difference", row.value, row.floor, "lower", 40)
    assert row.value == pytest.approx(abs(forged.mean() - reference.mean()))
    assert row.floor == pytest.approx(abs(held_out.mean() - reference.mean()))
    stored = Quality.model_validate_json(comparison.forged.model_dump_json())
    assert stored == comparison.forged  # its code is not needed to read it
    with pytest.warns(BenchWarning, match="quality metric brightness failed and has no value: its value is inf"):
        failed = compare(forged, reference, held_out, n=40, more=[f"{plugin}:Infinite"])
    assert failed.rows()[-1].value is None and failed.rows()[:-1] == comparison.rows()[:-1]


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        (["Taken"], "its id 'spectrum' is taken"),
        (["Brightness", "Infinite"], "its id 'brightness' is taken"),
        (["Nameless"], "does not define id, title"),
        (["Sideways"], "better is one of lower, higher"),
        (["Unmakeable"], "cannot be made: 'no'"),
        (["NotOneNumber"], "must be a subclass of forge.quality.metric.ScalarMetric"),
    ],
)
def test_what_is_no_metric_of_one_number_is_named(plugin, names, sentence):
    with pytest.raises(InputError, match=sentence):
        load_more([f"{plugin}:{name}" for name in names])
    with pytest.raises(InputError, match="is measured in every run"):
        load_more(["face_rate"])


def test_every_metric_of_our_own_is_one_number_or_a_field_of_the_result():
    metrics = built_in()
    assert [metric.id for metric in metrics] == list(QUALITY.entries) and all(metric.title for metric in metrics)
    for metric in metrics:
        assert isinstance(metric, ScalarMetric) != (metric.id in Quality.model_fields), metric.id


class Built(ScalarMetric):
    """A built-in metric of one number: one file and its line in the registry."""

    id, title = "built", "built in"

    def compute(self, sides):
        return float(len(sides.candidate))


def test_a_built_in_metric_of_one_number_needs_no_field(monkeypatch):
    monkeypatch.setitem(QUALITY.entries, "built", f"{__name__}:Built")
    comparison = compare(pictures(20), pictures(20, seed=1), pictures(20, seed=2), n=16)
    assert comparison.forged.more["built"].value == 16
    assert Quality.model_validate_json(comparison.forged.model_dump_json()) == comparison.forged
    assert Row("built in", 16.0, 16.0, "lower", 16) in comparison.rows()
    earlier = comparison.forged.model_copy(update={"more": {}})  # stored before the metric was there
    assert Comparison(forged=earlier, floor=earlier).rows()
