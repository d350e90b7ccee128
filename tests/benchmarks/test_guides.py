"""The guides do what they say: every command in them is run, in order, and what they promise is there afterwards."""

import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from synthetic import call_bench

from benchmarks.experiment import configs, resolve
from benchmarks.experiment.configs import configs_root

pytestmark = pytest.mark.e2e

GUIDES = Path(__file__).resolve().parents[2] / "docs" / "guides"
NAMES = sorted(file.stem for file in GUIDES.glob("*.md") if file.stem != "README")
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LEAVES = re.compile(r"^Leaves (.*?)\.(?=\s)", re.MULTILINE | re.DOTALL)
SMALLER = {"data": {"count": 160, "resolution": 16}, "images": {"train": 24, "val": 16, "test": 24}}
SMALLER["quality"] = {"n": 32, "face_n": 1}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with what the guides suppose: photos, a pair from elsewhere, a public set; one store for all."""
    home_folder = tmp_path_factory.mktemp("guides")
    public = {
        f"GenImage/imagenet_ai_0419_{name}/val/{side}": 20 for name in ("biggan", "adm") for side in ("ai", "nature")
    }
    for number, (folder, count) in enumerate({"photos": 112, "theirs/real": 20, "theirs/forged": 20, **public}.items()):
        (home_folder / folder).mkdir(parents=True)
        for i in range(count):
            pixels = np.random.default_rng([number, i]).integers(0, 256, (5, 5, 3), dtype=np.uint8)
            picture = Image.fromarray(pixels).resize((40, 40), Image.Resampling.BICUBIC)
            picture.save(home_folder / folder / f"{i:03d}.png")
    return home_folder


@pytest.fixture(scope="module")
def smaller(tmp_path_factory):
    """The shipped settings, presets smoke and quick smaller still: the words of the guides are not touched."""
    root = tmp_path_factory.mktemp("configs") / "configs"
    shutil.copytree(configs_root(), root)
    presets = yaml.safe_load((root / "presets.yaml").read_text())
    (root / "presets.yaml").write_text(yaml.safe_dump(presets | {"smoke": SMALLER, "quick": SMALLER}))
    narrow = {
        "gan": {"generator_widths": [64], "discriminator_widths": [64]},
        "dcgan": {"generator_width": 8, "discriminator_width": 8},
    }
    for name, network in narrow.items():
        file = root / "generators" / f"{name}.yaml"
        shipped = yaml.safe_load(file.read_text())
        for preset in ("smoke", "quick"):
            little = {"kimg": 0.5, "sample_every_kimg": 0.5, "health_every_kimg": 0.25}
            shipped["presets"][preset]["training"] |= little
            shipped["presets"][preset]["network"] |= network
        file.write_text(yaml.safe_dump(shipped))
    return root


@pytest.fixture
def bench(home, smaller, monkeypatch, capsys):
    for module in (configs, resolve):
        monkeypatch.setattr(module, "configs_root", lambda: smaller)
    call = call_bench(home, monkeypatch, capsys)
    monkeypatch.delenv("BENCH_REPORTS")  # the guides name the default folder, runs/reports
    return call


def run_command(line, bench):
    """One line of a console block."""
    program, *arguments = shlex.split(line, comments=True)
    if program == "bench":
        code, _, err = bench(*arguments)
        assert (code, err) == (0, ""), f"{line}: {err}"
    else:
        assert program == "pytest", f"{line}: no guide says how to get {program}"
        # those of this very test
        without = [f"-pno:{plugin}" for plugin in ("cacheprovider", "xdist", "faulthandler", "unraisableexception")]
        quiet = ["-q", "-o", "addopts=", "--import-mode=importlib", "--rootdir", "."]
        assert pytest.main([*without, *quiet, *arguments]) == 0, line


@pytest.mark.xdist_group("guides")
@pytest.mark.parametrize("name", NAMES)
def test_a_guide_does_what_it_says(name, bench, home):
    text = (GUIDES / f"{name}.md").read_text(encoding="utf-8")
    blocks = BLOCK.findall(text)
    assert blocks and {language for language, _ in blocks} <= {"console", "sh", "python"}
    names: dict[str, object] = {}
    for language, block in blocks:
        if language == "python":
            exec(compile(block, f"{name}.md", "exec"), names)
        else:
            for line in block.strip().splitlines():
                run_command(line, bench)
    promised = [file for part in LEAVES.findall(text) for file in re.findall(r"`([^`\s]+\.\w+)`", part)]
    assert promised and all((home / file).exists() for file in promised), promised


def test_every_guide_is_listed_and_every_link_leads_somewhere():
    listed = set(re.findall(r"\]\(([\w-]+)\.md\)", (GUIDES / "README.md").read_text(encoding="utf-8")))
    assert listed == set(NAMES)
    for file in GUIDES.glob("*.md"):
        for link in re.findall(r"\]\(([^)#]+)\)", file.read_text(encoding="utf-8")):
            assert (GUIDES / link).exists(), f"{file.name}: {link}"
