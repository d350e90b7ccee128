"""Variants of a generator, and detectors trained on one to many models of a family."""

import pytest
from requested import compose
from synthetic import SPARING, Page, html_of, make_results, make_scores

from benchmarks.experiment.configs import parse_assignments, read_yaml, suites
from benchmarks.experiment.matrix import families_with_more, planned_fits
from benchmarks.experiment.request import command_of
from benchmarks.experiment.variants import variants_of
from benchmarks.protocol import Condition, Protocol, TestGrid, TrainSet, column_of, condition_of
from benchmarks.report.plot.figure import FileNames
from benchmarks.report.sections.variants import variants_content
from benchmarks.workflow.runner import prepare_run
from forge.core.errors import InputError, UnknownNameError
from forge.core.files import read_json

GRID = "variants.dcgan={network: {upsample: [transposed, nearest]}, seed: [0, 1]}"
MODELS = ("dcgan-transposed-seed0", "dcgan-transposed-seed1", "dcgan-nearest-seed0", "dcgan-nearest-seed1")


def made(*assignments, generators=("dcgan", "gan"), detectors=("dct",), **more):
    overrides = parse_assignments(assignments)
    return compose(generators=generators, detectors=detectors, preset="smoke", overrides=overrides, **more)


# --- the models ------------------------------------------------------------------------------------------------------


def test_lists_of_values_make_a_model_for_each_combination():
    settings = made(GRID, "generators.dcgan.training.kimg=2", f"generators.{MODELS[3]}.training.kimg=1")
    assert tuple(settings.generators) == (*MODELS, "gan")
    chosen = {
        name: (g.network["upsample"], g.seed, g.training["kimg"]) for name, g in list(settings.generators.items())[:4]
    }
    assert chosen == {
        MODELS[0]: ("transposed", 0, 2), MODELS[1]: ("transposed", 1, 2), MODELS[2]: ("nearest", 0, 2),
        MODELS[3]: ("nearest", 1, 1),
    }  # fmt: skip
    assert all(settings.generators[name].architecture == "dcgan" for name in MODELS)
    # the command asks for the same again
    assert "variants.dcgan.network.upsample=[transposed, nearest]" in command_of(settings.request)


def test_names_say_what_differs():
    def names(**grid):
        return [variant.name for variant in variants_of("dcgan", grid, limit=100)]

    assert names(network={"generator_width": [24, 32]}, seed=[5]) == ["dcgan-width24", "dcgan-width32"]
    assert names(network={"generator_width": [8, 9], "discriminator_width": [8]}) == [
        "dcgan-generator_width8", "dcgan-generator_width9",
    ]  # fmt: skip
    assert names(training={"beta1": [0.5, 0]}) == ["dcgan-beta10.5", "dcgan-beta10"]
    assert names(network={"widths": [[8, 16], [8]]}) == ["dcgan-widths8-16", "dcgan-widths8"]
    assert names(seed=[3]) == ["dcgan"]


@pytest.mark.parametrize(
    ("assignment", "sentence"),
    [
        ("variants.dcgan.seed=1", "lists the values"),
        ("variants.dcgan.seed=[]", "lists the values"),
        ("variants.dcgan.seed=[1, 1]", "lists the values"),
        ("variants.dcgan={}", "names no values"),
        ("variants.dcgan=3", "it holds settings"),
        ("variants.dcgan.network.upsample=[nearest, Nearest]", "two of them are called 'dcgan-nearest'"),
        ("variants.dcgan={seed: [0, 1, 2, 3], network: {latent: [1, 2, 3, 4, 5, 6], generator_width: [4, 5, 6, 7, 8]}}",
         "more than 100 models"),
        ("variants.dcgan.network.upsampel=[nearest, bilinear]", "did you mean 'upsample'"),
        ("variants.dcgan.network.upsample=[nearest, cubic]", "upsample"),
        ("variants.dcgan.architecture=[gan, dcgan]", "cannot be set"),
        ("variants.gan.seed=[0, 1.5]", "seed"),
        ("conditions.variants=[1]", "largest family here, conv-gan, has 1"),
        ("conditions.variants=[0]", "greater than 0"),
    ],
)  # fmt: skip
def test_what_cannot_be_varied_is_said(assignment, sentence):
    with pytest.raises(InputError, match=sentence):
        prepare_run(made(assignment))


def test_variants_of_what_is_not_in_the_run_or_not_trained_are_refused():
    with pytest.raises(UnknownNameError, match="did you mean 'dcgan'"):
        made("variants.dcgn.seed=[0, 1]")
    with pytest.raises(InputError, match="is not trained; leave its seed out"):
        prepare_run(made("variants.self-blended.seed=[0, 1]", generators=("self-blended", "gan")))


def test_a_model_with_the_shipped_settings_is_the_generator_itself():
    def trainings(settings):
        return {stage.label: stage for stage in prepare_run(settings).stages if stage.action == "train"}

    plain, varied = trainings(made()), trainings(made(GRID))
    assert varied[MODELS[0]].key == plain["dcgan"].key and varied["gan"].key == plain["gan"].key
    assert len({stage.key for stage in varied.values()}) == 5
    assert {stage.about for stage in varied.values()} == {"dcgan", "gan"}


# --- the trainings ---------------------------------------------------------------------------------------------------


def test_choices_take_other_models_and_leave_the_same_ones_out_for_every_number():
    settings = made(GRID, "conditions={matrix: false, seen: false, variants: [2, 1], choices: 2}")
    settings = prepare_run(settings).settings
    fits = {str(fit.train_set): fit.tests for fit in planned_fits(settings, "dct")}
    by_choice = {
        number: [(text, tests) for text, tests in fits.items() if text.endswith(f":choice{number}")]
        for number in (1, 2)
    }
    for (one, tests), (two, same) in by_choice.values():
        fewer, more = (set(TrainSet.parse(text).generators) for text in (one, two))
        assert len(fewer) == 1 and fewer < more and len(more) == 2
        assert tests == same and tests[-1] == "gan" and set(tests[:-1]) == set(MODELS) - more
    # two rotations of four models share none
    assert not set(TrainSet.parse(by_choice[1][1][0]).generators) & set(TrainSet.parse(by_choice[2][1][0]).generators)
    other = settings.model_copy(update={"seed": 1})
    assert [str(fit.train_set) for fit in planned_fits(other, "dct")] != list(fits)


def test_every_family_that_is_large_enough_takes_part():
    settings = made(GRID, "variants.gan.seed=[0, 1, 2]")
    generators = prepare_run(settings).settings.generators
    assert families_with_more(generators, 2) == ["conv-gan", "dense-gan"]
    assert families_with_more(generators, 3) == ["conv-gan"] and not families_with_more(generators, 4)


def test_tests_of_choices_have_a_condition_of_their_own_and_no_column():
    families = dict.fromkeys(MODELS, "conv-gan") | {"gan": "dense-gan"}
    grid = TestGrid(frozenset(families), protocol=Protocol(families=families))
    train_set = TrainSet.of_choice(2, MODELS[:2])
    assert TrainSet.parse(str(train_set)) == train_set and train_set.choice == 2 and train_set.images is None
    for tested in (MODELS[2], "gan"):
        assert condition_of(train_set, tested, "none", grid) is Condition.VARIANTS
        assert column_of(train_set, tested, "none", grid) == ""
    assert TrainSet.of("gan").choice is None and TrainSet.parse("a:choice0").choice is None


# --- the page --------------------------------------------------------------------------------------------------------


def scored():
    """Scores of a detector that knows more of its family's other model, and nothing of gan, with more models."""
    skill = {}
    for number, (first, second, left_out) in enumerate([(0, 1, 2), (1, 2, 0), (2, 0, 1)], 1):
        names = [f"dcgan-{word}" for word in ("a", "b", "c")]
        tested = names[left_out]
        skill["dct", f"{names[first]}:choice{number}"] = {names[first]: 4.0, tested: 0.5 + 0.1 * number, "gan": 0.0}
        both = "+".join(sorted([names[first], names[second]]))
        skill["dct", f"{both}:choice{number}"] = {names[first]: 4.0, names[second]: 4.0, tested: 2.0, "gan": 0.0}
    scores = make_scores(skill, n=200)
    families = {"dcgan-a": "conv-gan", "dcgan-b": "conv-gan", "dcgan-c": "conv-gan", "gan": "dense-gan"}
    return make_results(scores).model_copy(update={"families": families})


def test_the_section_draws_the_auc_against_the_number_of_models():
    results = scored()
    # of the trained models only val is scored in a run
    cells = [cell for cell in results.cells if cell.tested_on not in TrainSet.parse(cell.trained_on).generators]
    content = variants_content(results.model_copy(update={"cells": cells}), FileNames())
    assert [table.title for table in content.tables] == ["Other models of conv-gan", "Families other than conv-gan"]
    assert (content.choices, content.seeds, content.models) == (3, 1, {"conv-gan": ["dcgan-a", "dcgan-b", "dcgan-c"]})
    own, others = content.tables
    assert own.numbers == ["1 model", "2 models"] and "rises for 1 and falls for 0 of 1" in own.sentence
    assert "rises for 0 and falls for 0 of 1" in others.sentence
    assert [figure.name for figure in content.curves] == ["variants-conv-gan-own", "variants-conv-gan-others"]
    low, high = (float(mean.split()[0]) for mean in own.rows[0].means)
    expected = [
        sum(
            cell.auc
            for cell in cells
            if cell.tested_on != "gan" and len(TrainSet.parse(cell.trained_on).generators) == n
        )
        / 3
        for n in (1, 2)
    ]
    assert [low, high] == pytest.approx(expected, abs=0.01)
    assert own.rows[0].change.startswith("+")


def test_without_such_tests_there_is_no_section():
    assert variants_content(make_results(make_scores({("dct", "dcgan"): {"dcgan": 2.0}}, n=40)), FileNames()) is None


@pytest.mark.e2e
@pytest.mark.xdist_group("suites")
def test_a_run_of_variants_ends_with_the_curve(bench, tmp_path):
    code, _, err = bench(
        "run", "-g", "dcgan,gan", "-d", "dct,random", "--preset", "smoke", "--name", "models", "--quiet",
        "--set", "data.count=160", "--set", "data.resolution=16", "--set", "generator.training.kimg=0.5",
        "--set", "images={train: 32, val: 16, test: 24}", "--set", GRID, *SPARING,
        "--set", "conditions={matrix: false, variants: [1, 2], choices: 2, only: {seen: [dct]}}",
    )  # fmt: skip
    assert (code, err) == (0, "")
    results = read_json(tmp_path / "reports" / "models" / "results.json")
    tests = [cell for cell in results["cells"] if cell["condition"] == "variants"]
    # two choices of one and of two models; each tested on two other models and on gan, by two detectors
    assert len([cell for cell in tests if cell["detector"] == "dct"]) == 2 * 2 * 3
    assert {cell["tested_on"] for cell in tests} <= {*MODELS, "gan"}
    # a training on two models sees as many forgeries as one on one
    assert not [test for test in results["comparisons"] if ":choice" in test["trained_on"]]
    page = html_of(tmp_path / "reports" / "models")
    Page(page)
    assert 'id="variants"' in page and "Other models of conv-gan" in page and "dcgan-nearest-seed1" in page


def test_the_shipped_suite_asks_for_more_models_than_it_trains_on():
    suite = read_yaml(suites()["variants"])
    grid = suite["set"]["variants"]["dcgan"]
    assert len(variants_of("dcgan", grid, limit=100)) > max(suite["conditions"]["variants"])
