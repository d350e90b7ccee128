"""The condition `next`: order of generators in time, its trainings, and its column."""

import datetime

import numpy as np
import pandas as pd
import pytest
from requested import compose

from benchmarks.evaluation.cells import cells_of
from benchmarks.experiment.configs import parse_assignments
from benchmarks.experiment.matrix import planned_fits
from benchmarks.experiment.order import check_order, steps_of
from benchmarks.experiment.request import read_request
from benchmarks.experiment.resolve import resolve
from benchmarks.protocol import Condition, TestGrid, TrainSet, column_of, condition_of
from benchmarks.workflow.runner import prepare_run
from forge.core.errors import BenchError, InputError, UnknownNameError

GENERATORS = ("gan", "dcgan", "flow")


def made_with(order):
    overrides = parse_assignments([f"conditions.order={order}"])
    return compose(generators=GENERATORS, detectors=["dct"], preset="smoke", overrides=overrides)


def nexts(order):
    made = made_with(order)
    return {
        str(fit.train_set): fit.tests for fit in planned_fits(made, "dct") if fit.train_set.variant == Condition.NEXT
    }


def test_each_training_is_of_all_up_to_a_step_and_its_test_of_the_next():
    assert nexts("[gan, dcgan, flow]") == {"gan:next": ("dcgan",), "dcgan+gan:next": ("flow",)}
    assert nexts("[flow, gan]") == {"flow:next": ("gan",)}
    assert nexts("[gan, [dcgan, flow]]") == {"gan:next": ("dcgan", "flow")}
    assert nexts("{flow: 2023-05-01, gan: 2014, dcgan: 2015-11}") == nexts("[gan, dcgan, flow]")
    assert nexts("[]") == {}


def test_dates_are_sorted_and_equal_ones_are_one_step():
    day = datetime.date(2019, 6, 1)
    assert steps_of({"a": day, "b": 2018, "c": "2019-06-01", "d": "2019-06"}) == (("b",), ("d",), ("a", "c"))
    with pytest.raises(ValueError, match="'spring' is no date"):
        steps_of({"a": "spring"})


def test_a_suite_names_the_order_beside_its_conditions(tmp_path):
    file = tmp_path / "suite.yaml"
    file.write_text("generator: [gan, dcgan]\ndetector: [dct]\norder: {gan: 2014-06-10, dcgan: 2015}\n")
    settings = resolve(read_request(file))
    assert settings.conditions.order == (("gan",), ("dcgan",))
    file.write_text("generator: [gan]\norder: [gan]\nconditions: {order: [gan]}\n")
    with pytest.raises(InputError, match="it names order twice"):
        read_request(file)


@pytest.mark.parametrize(
    ("order", "words"),
    [
        ((("gan",), ("dcgna",)), "did you mean 'dcgan'"),
        ((("gan",), ("dcgan",), ("gan",)), "order names 'gan' twice"),
        ((("gan", "gan"), ("dcgan",)), "order names 'gan' twice"),
        ((("gan",),), "order has 1 step of time; .* name at least two"),
        ((("gan",), ()), "order has 1 step of time"),
    ],
)
def test_an_order_that_cannot_be_is_refused(order, words):
    with pytest.raises(BenchError, match=words):
        check_order(order, GENERATORS)


def test_an_order_is_checked_before_any_work():
    with pytest.raises(UnknownNameError, match="'nothing'"):
        prepare_run(made_with("[gan, nothing]"))
    with pytest.raises(InputError, match=r"conditions\.order"):
        nexts("gan")


def test_a_run_without_an_order_keeps_its_settings():
    settings = compose(generators=["gan"], detectors=["dct"], preset="smoke")
    assert "order" not in settings.conditions.model_dump()


def test_these_tests_are_in_no_other_mean():
    grid = TestGrid(frozenset(GENERATORS))
    # the same generators make a test of `matrix` and of `unseen`
    for trained_on, tested in (("gan", "dcgan"), ("dcgan+gan", "flow")):
        plain, later = TrainSet.parse(trained_on), TrainSet.parse(f"{trained_on}:next")
        assert str(later) == f"{trained_on}:next" and later.generators == plain.generators
        assert condition_of(later, tested, "none", grid) is Condition.NEXT
        assert column_of(later, tested, "none", grid) == "next" != column_of(plain, tested, "none", grid)


def test_the_column_is_the_mean_over_moments():
    rng = np.random.default_rng(0)
    rows = []
    for trained_on, tested, shift in (("gan:next", "dcgan", 0.0), ("dcgan+gan:next", "flow", 9.0)):
        for generator in ("", tested):
            score = rng.normal(shift if generator else 0.0, 1.0, 40)
            rows += [
                {
                    "detector": "dct", "trained_on": trained_on, "seed": 0, "split": "test", "perturbation": "none",
                    "source": "photos", "generator": generator, "sample_id": f"{generator}{i}", "identity": "",
                    "label": int(bool(generator)), "score": value, "probability": 0.5, "family": "",
                }
                for i, value in enumerate(score)
            ]  # fmt: skip
    cells = cells_of(pd.DataFrame(rows))["dct"]["next"]
    assert [(cell.trained_on, cell.where.tested_on) for cell in cells] == [
        ("dcgan+gan:next", "flow"),
        ("gan:next", "dcgan"),
    ]
    assert cells[0].auc == 1.0 and abs(cells[1].auc - 0.5) < 0.2
