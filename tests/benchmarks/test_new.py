"""`bench init` and `bench new`: what they write, every name that they refuse; test_guides.py runs what they write."""

import ast

import pytest
from requested import gather

from benchmarks.cli.new import class_name, renamed
from benchmarks.experiment.conditions import Conditions
from benchmarks.experiment.configs import configs_root, read_yaml, validated
from benchmarks.experiment.request_fields import RunRequest
from benchmarks.workflow.runner import prepare_run


def suite_in(file):
    suite = validated(RunRequest, read_yaml(file), where=str(file))
    validated(Conditions, suite.conditions, where="conditions")
    return suite


def test_a_starter_suite_is_one_that_a_run_accepts(bench, tmp_path):
    code, out, err = bench("init")
    assert (code, err) == (0, "") and "next: bench run suite.yaml --preset smoke" in out
    suite = suite_in(tmp_path / "suite.yaml")
    assert suite.generator == ("gan", "dcgan") and suite.conditions["unseen"] is True

    gathered = gather(tmp_path / "suite.yaml", {}, [], "cpu")
    assert gathered.name == "suite" and len(prepare_run(gathered).stages) > 20
    before = (tmp_path / "suite.yaml").read_bytes()
    code, _, err = bench("init")
    assert code == 2 and "suite.yaml exists already" in err and (tmp_path / "suite.yaml").read_bytes() == before


def test_every_line_of_the_starter_suite_that_is_commented_out_is_right_too():
    text = (configs_root() / "templates" / "suite.yaml").read_text()
    start = text.index("title:")
    lines = [
        line.replace("# ", "", 1) if line.lstrip().startswith("# ") else line for line in text[start:].splitlines()
    ]
    whole = "\n".join(lines).replace("$title", "t").replace("$data", "rendered").replace("$unseen", "true")
    from benchmarks.experiment.configs import parse_yaml

    value = parse_yaml(whole.replace("$generator", "[gan, dcgan]").replace("$detector", "[dct]"), where="suite")
    suite = validated(RunRequest, value, where="suite")
    assert suite.external["theirs"] == ("path/to/real", "path/to/forged") and suite.set["images"] == {"train": 500}
    conditions = validated(Conditions, suite.conditions, where="conditions")
    assert conditions.equalised and conditions.budget == (50, 200) and conditions.only == {"budget": ("dct",)}


def test_flags_fill_the_suite_in_whatever_they_contain(bench, tmp_path):
    odd = tmp_path / "my photos: 'all' #1"
    odd.mkdir()
    (odd / "1.png").write_bytes(b"")
    code, _, err = bench("init", "mine.yml", "--data", str(odd), "-g", "dcgan", "-d", "dct, disc-probe@dcgan")
    assert (code, err) == (0, "")
    suite = suite_in(tmp_path / "mine.yml")
    assert (suite.generator, suite.detector) == (("dcgan",), ("dct", "disc-probe@dcgan")) and suite.data == str(odd)
    assert suite.conditions["unseen"] is False  # there is nothing to leave


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("x y",), "name 'x y' cannot name a suite everywhere; try bench init x-y"),
        (("<b>",), "cannot name a suite everywhere; try bench init b"),
        (("🙂",), "cannot name a suite everywhere"),
        (("smoke",), "is that of a shipped suite"),
        (("nowhere/mine",), "there is no folder nowhere"),
        (("mine", "-g", "dcgna"), "generator 'dcgna' is not known; did you mean 'dcgan'"),
        (("mine", "-d", "xcepton"), "detector 'xcepton' is not known"),
        (("mine", "-g", "dcgan,dcgan"), "--generator names 'dcgan' twice"),
        (("mine", "-g", ","), "no generator was named"),
        (("mine", "--data", "nowhere/at/all"), "nowhere/at/all"),
        (("mine", "-d", "my.py:Mine"), "is code, which a suite never imports"),
    ],
)
def test_a_suite_that_no_run_would_accept_is_not_written(bench, tmp_path, arguments, sentence):
    code, out, err = bench("init", *arguments)
    assert (code, out) == (2, "") and sentence in err and err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_new_files_say_how_they_are_run_and_are_never_replaced(bench, tmp_path):
    code, out, err = bench("new", "generator", "my_gan", "--out", "my plugins")
    assert (code, err) == (0, "") and "pytest 'my plugins/test_my_gan.py'" in out
    assert "bench run -g 'my plugins/my_gan.py:MyGan' -d dct --preset smoke --set generator.training.kimg=2" in out
    made = {file.name: file.read_text() for file in (tmp_path / "my plugins").iterdir()}
    assert set(made) == {"my_gan.py", "test_my_gan.py"} and not any("plugin" in text.lower() for text in made.values())
    code, out, _ = bench("new", "detector", "Grain2")
    assert code == 0 and "bench run -g dcgan -d Grain2.py:Grain2 --preset smoke" in out
    (tmp_path / "test_other.py").write_text("mine")
    for name, there in (("Grain2", "Grain2.py"), ("other", "test_other.py")):
        code, _, err = bench("new", "detector", name)
        assert code == 2 and f"{there} exists already; choose another name" in err
    assert (tmp_path / "test_other.py").read_text() == "mine" and not (tmp_path / "other.py").exists()


@pytest.mark.parametrize(
    ("kind", "name", "sentence"),
    [
        ("model", "x", "template 'model' is not known"),
        ("generator", "", "is no Python name"),
        ("generator", "1st", "is no Python name"),
        ("generator", "a-b", "is no Python name"),
        ("generator", "a/b", "is no Python name"),
        ("generator", "..", "is no Python name"),
        ("generator", "<b>x</b>", "is no Python name"),
        ("generator", "gän", "is no Python name"),
        ("generator", "🙂", "is no Python name"),
        ("generator", "_", "is no Python name"),
        ("generator", "x" * 61, "is no Python name"),
        ("detector", "class", "is a word of Python itself"),
        ("detector", "none", "is a word of Python itself"),
        ("generator", "dcgan", "would stand as 'dcgan' in tables"),
        ("generator", "DC_gan", "would stand as 'dcgan' in tables"),
        ("detector", "xception", "would stand as 'xception' in tables"),
        ("detector", "mean", "would stand as 'mean' in tables"),
        ("attack", "pgd", "would stand as 'pgd' in tables"),
        ("generator", "real", "would stand as 'real' in tables"),
        ("generator", "tensor", "would hide Tensor, which the file itself uses"),
        ("detector", "network", "would hide NetworkSettings, which the file itself uses"),
        ("detector", "torch", "is that of an installed module"),
        ("detector", "json", "is that of an installed module"),
    ],
)
def test_a_name_that_would_not_work_is_refused_in_a_sentence(bench, tmp_path, kind, name, sentence):
    code, out, err = bench("new", kind, name)
    assert (code, out) == (2, "") and sentence in err and err.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", ["generator", "detector", "attack"])
@pytest.mark.parametrize("name", ["my_gan", "generator", "detector", "a", "X9_y", "myplugin", "my_plugin_myplugin"])
def test_a_template_under_any_name_defines_its_class_once(kind, name):
    for template in (f"{kind}.py", f"test_{kind}.py"):
        text = renamed((configs_root() / "templates" / template).read_text(), name)
        classes = [node.name for node in ast.walk(ast.parse(text)) if isinstance(node, ast.ClassDef)]
        expected = 0 if template.startswith("test") else 1
        assert classes.count(class_name(name)) == classes.count(f"{class_name(name)}Settings") == expected
        assert f"{name}.py" in text and f":{class_name(name)}" in text
