"""The training loop: losses against their formulas, exact resume, refusals."""

import itertools
import math
from pathlib import Path

import pytest
import torch
from stopping import Stopped, stop_after

from forge.core.compute import Compute
from forge.core.errors import BenchError, BenchWarning, CorruptError, InputError
from forge.core.progress import ProgressEvent, silent
from forge.core.registry import allow_files
from forge.faces.tensors import flipped, to_float, to_uint8
from forge.generators import GENERATORS
from forge.generators.artifact import TrainedGenerator, export_averaged
from forge.generators.dcgan import DCGAN, DCGANSettings
from forge.generators.sample import regenerate, synthesize
from forge.training import batches, task
from forge.training.augment import AUGMENTATIONS, adapted, augment
from forge.training.callbacks import checkpoint
from forge.training.losses import OBJECTIVES, gradient_penalty, zero_centred_penalty
from forge.training.settings import TrainingSettings
from forge.training.train import train
from forge.training.trainer import Trainer

pytestmark = pytest.mark.e2e

REAL, FORGED = torch.tensor([0.3, -1.2, 2.0]), torch.tensor([-0.7, 0.4, 1.5])


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


FORMULAS = {
    "minimax": (
        lambda r, f: -math.log(sigmoid(r)) - math.log(1 - sigmoid(f)),
        lambda r, f: math.log(1 - sigmoid(f)),
    ),
    "non-saturating": (
        lambda r, f: -math.log(sigmoid(r)) - math.log(1 - sigmoid(f)),
        lambda r, f: -math.log(sigmoid(f)),
    ),
    "least-squares": (lambda r, f: ((r - 1) ** 2 + f**2) / 2, lambda r, f: (f - 1) ** 2 / 2),
    "hinge": (lambda r, f: max(0, 1 - r) + max(0, 1 + f), lambda r, f: -f),
    "wasserstein": (lambda r, f: f - r, lambda r, f: -f),
    "relativistic": (lambda r, f: -math.log(sigmoid(r - f)), lambda r, f: -math.log(sigmoid(f - r))),
}


@pytest.mark.parametrize("name", sorted(OBJECTIVES))
def test_objective_is_the_mean_of_its_formula(name):
    discriminator, generator = FORMULAS[name]
    pairs = list(zip(REAL.tolist(), FORGED.tolist(), strict=True))
    objective = OBJECTIVES[name]
    assert objective.discriminator(REAL, FORGED).item() == pytest.approx(sum(discriminator(*p) for p in pairs) / 3)
    assert objective.generator(REAL, FORGED).item() == pytest.approx(sum(generator(*p) for p in pairs) / 3)


def test_cross_entropy_stays_finite_for_extreme_logits():
    loss = OBJECTIVES["non-saturating"].discriminator(torch.tensor([-500.0]), torch.tensor([500.0]))
    assert loss.item() == pytest.approx(1000)


def test_r1_of_a_quadratic_is_its_closed_form():
    """D(x) = sum(a x^2) has gradient 2 a x, so R1 = mean over images of half the sum of (2 a x)^2."""

    class Quadratic(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.a = torch.nn.Parameter(torch.tensor(0.7))

        def forward(self, x):
            return (self.a * x**2).sum(dim=(1, 2, 3))

    network, x = Quadratic(), torch.randn(5, 3, 4, 4)
    penalty = zero_centred_penalty(network, x)
    expected = (2 * 0.7 * x).square().sum(dim=(1, 2, 3)).mean() / 2
    assert penalty.item() == pytest.approx(expected.item(), rel=1e-5)
    penalty.backward()
    assert network.a.grad.item() == pytest.approx(2 * expected.item() / 0.7, rel=1e-5)


def test_pixels_survive_the_way_to_float_and_back():
    images = torch.arange(256, dtype=torch.uint8).repeat(3).reshape(1, 16, 16, 3)
    assert torch.equal(to_uint8(to_float(images)), images)
    assert to_float(images).min() == -1 and to_float(images).max() == 1


def test_flip_mirrors_whole_images_only():
    images = torch.rand(3, 3, 8, 8)
    first, second, third = flipped(images, torch.tensor([True, False, True]))
    assert torch.equal(first, images[0].flip(2)) and torch.equal(third, images[2].flip(2))
    assert torch.equal(second, images[1])


def test_translation_moves_by_at_most_an_eighth_and_fills_with_grey():
    images = torch.arange(1.0, 17.0).expand(400, 3, 16, 16)
    moved = AUGMENTATIONS["translation"](images)
    middle = moved[:, 0, 8, 8] - 9
    assert set(middle.tolist()) == {-2, -1, 0, 1, 2}
    right = moved[middle == -2]  # what was to the left came in: two columns of grey at the edge
    assert (right[:, :, :, :2] == 0).all() and (right[:, 0, 8, 2:] > 0).all()


def test_cutout_greys_a_square_of_half_the_size():
    holes = (AUGMENTATIONS["cutout"](torch.ones(300, 3, 16, 16)) == 0).all(1)
    assert holes.any(2).sum(1).max() == 8 and holes.any(1).sum(1).max() == 8
    assert (holes.flatten(1).sum(1) == holes.any(2).sum(1) * holes.any(1).sum(1)).all()  # a full rectangle


def test_colour_jitter_keeps_a_grey_image_flat():
    changed = AUGMENTATIONS["colour"](torch.full((200, 3, 8, 8), 0.25))
    assert changed.flatten(1).std(1).max() < 1e-6
    levels = changed.flatten(1).mean(1)
    assert -0.25 <= levels.min() < -0.15 and 0.65 < levels.max() <= 0.75


def test_augmentation_is_differentiable_and_respects_its_probability():
    images = torch.rand(400, 3, 16, 16, requires_grad=True)
    changed = augment(images, ("colour", "translation", "cutout"), 1.0)
    changed.sum().backward()
    assert images.grad is not None and images.grad.abs().sum() > 0
    torch.manual_seed(0)
    untouched = (augment(images, ("colour",), 0.25) == images).flatten(1).all(1).float().mean()
    assert 0.68 < untouched < 0.82
    assert torch.equal(augment(images, ("colour", "cutout"), 0.0), images)


def test_adaptive_augmentation_follows_the_sign_within_its_bounds():
    def after(probability: float, sign: float) -> float:
        images = torch.tensor(256.0)
        return float(
            adapted(torch.tensor(probability), torch.tensor(sign), target=0.6, images=images, kimg=100.0, upper=0.8)
        )

    assert after(0.1, 0.9) == pytest.approx(0.1 + 256 / 100_000)
    assert after(0.1, 0.3) == pytest.approx(0.1 - 256 / 100_000)
    assert after(0.8, 1.0) == pytest.approx(0.8) and after(0.0, -1.0) == 0.0


def test_gradient_penalty_of_a_linear_critic_is_its_closed_form():
    """D(x) = <w, x> has the gradient w everywhere, so the penalty is (|w| - 1)^2."""
    weight = torch.randn(3, 4, 4)
    penalty = gradient_penalty(
        lambda x: (x * weight).sum(dim=(1, 2, 3)), torch.randn(5, 3, 4, 4), torch.randn(5, 3, 4, 4)
    )
    assert penalty.item() == pytest.approx((weight.norm().item() - 1) ** 2, rel=1e-4)


def make_training(view, work: Path, **changes) -> task.Training:
    settings = {
        "kimg": 0.64, "batch": 16, "r1_gamma": 0.1, "penalty_every": 4, "log_every": 5, "sample_every_kimg": 0.2,
        "ema_kimg": 0.1, "augment": ("translation",), "health_every_kimg": 0.08,
    } | changes.pop("settings", {})  # fmt: skip
    network = {"latent": 8, "generator_width": 4, "discriminator_width": 4, "discriminator_norm": "none"}
    network |= changes.pop("network", {})
    return task.Training(
        name="dcgan",
        reference="dcgan",
        architecture=DCGAN(DCGANSettings(**network), 16),
        settings=TrainingSettings(**settings),
        view=view,
        seed=changes.pop("seed", 1),
        compute=Compute("cpu", changes.pop("precision", "bf16")),
        work=work,
    )


@pytest.mark.parametrize(
    "norm", [*(pytest.param(name, marks=pytest.mark.slow) for name in ("none", "batch")), "spectral"]
)
def test_a_killed_training_continues_to_the_same_bytes(make_set, tmp_path, monkeypatch, norm):
    view = make_set("faces", {"forge": 100}).view("forge")
    network = {"discriminator_norm": norm}
    straight, resumed = tmp_path / "straight", tmp_path / "resumed"
    for out in (straight, resumed):
        out.mkdir()
    train(make_training(view, tmp_path / "a", network=network), straight, silent)
    monkeypatch.setattr(checkpoint, "CHECKPOINT_SECONDS", 0.0)
    with pytest.raises(Stopped):
        train(make_training(view, tmp_path / "b", network=network), resumed, stop_after(240))
    half_line = '{"step": 15, "kimg": 0.2400'
    with (tmp_path / "b" / "log.jsonl").open("a") as log:
        log.write(half_line)
    train(make_training(view, tmp_path / "b", network=network), resumed, silent)
    for name in ("weights.safetensors", "generator.json", "samples/newest.png"):
        assert (straight / name).read_bytes() == (resumed / name).read_bytes(), name
    assert half_line not in (resumed / "log.jsonl").read_text()
    assert (straight / "log.jsonl").read_text().count("\n") == (resumed / "log.jsonl").read_text().count("\n")


def test_another_seed_gives_other_weights(make_set, tmp_path):
    view = make_set("faces", {"forge": 100}).view("forge")
    cards = []
    for seed in (1, 2):
        out = tmp_path / f"out{seed}"
        out.mkdir()
        train(make_training(view, tmp_path / f"work{seed}", seed=seed, settings={"kimg": 0.05}), out, silent)
        cards.append(TrainedGenerator.open(out).card)
    assert cards[0].weights_sha256 != cards[1].weights_sha256


def test_resume_with_other_settings_is_refused_naming_them(make_set, tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "CHECKPOINT_SECONDS", 0.0)
    view = make_set("faces", {"forge": 100}).view("forge")
    with pytest.raises(Stopped):
        train(make_training(view, tmp_path / "work"), tmp_path, stop_after(160))
    with pytest.raises(InputError, match=r"training.batch was 16, is 8.*training.generator_lr was 0.0002, is 0.1"):
        train(make_training(view, tmp_path / "work", settings={"batch": 8, "generator_lr": 0.1}), tmp_path, silent)
    with pytest.raises(InputError, match="precision was 'bf16', is 'fp32'"):
        train(make_training(view, tmp_path / "work", precision="fp32"), tmp_path, silent)


def test_a_truncated_checkpoint_is_named(make_set, tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "CHECKPOINT_SECONDS", 0.0)
    view = make_set("faces", {"forge": 100}).view("forge")
    with pytest.raises(Stopped):
        train(make_training(view, tmp_path / "work"), tmp_path, stop_after(160))
    file = tmp_path / "work" / "checkpoint.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(CorruptError, match=r"checkpoint .* cannot be read .* delete it to start over"):
        train(make_training(view, tmp_path / "work"), tmp_path, silent)


def test_ctrl_c_saves_first(make_set, tmp_path):
    import os
    import signal

    view = make_set("faces", {"forge": 100}).view("forge")

    def interrupt(event: ProgressEvent) -> None:
        if event.done == 160:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        train(make_training(view, tmp_path / "work"), tmp_path, interrupt)
    seen = []
    out = tmp_path / "out"
    out.mkdir()
    train(make_training(view, tmp_path / "work"), out, lambda event: seen.append(event.done))
    assert seen[0] == 240  # continues after step 10, where the signal came


def test_a_small_set_gets_a_batch_that_fits_and_a_tiny_one_is_refused(make_set, tmp_path):
    view = make_set("faces", {"forge": 18}).view("forge")
    (tmp_path / "out").mkdir()
    with pytest.warns(BenchWarning, match="batch 32 is lowered to 18"):
        train(make_training(view, tmp_path / "work", settings={"batch": 32}), tmp_path / "out", silent)
    assert TrainedGenerator.open(tmp_path / "out").card.training["batch"] == 18
    tiny = make_set("tiny", {"forge": 15}).view("forge")
    with pytest.raises(InputError, match="15 training images are too few; prepare more, at least 16 are needed"):
        train(make_training(tiny, tmp_path / "none"), tmp_path, silent)


def test_another_resolution_is_refused(make_set, tmp_path):
    view = make_set("faces", {"forge": 100}, resolution=32).view("forge")
    with pytest.raises(InputError, match="has 32 px, the generator wants 16"):
        train(make_training(view, tmp_path / "work"), tmp_path, silent)
    with pytest.raises(InputError, match="resolution 48 is not possible with DCGAN; it makes 16, 32, 64, 128, 256 px"):
        DCGAN(DCGANSettings(), 48)


def test_divergence_is_named(make_set, tmp_path):
    view = make_set("faces", {"forge": 100}).view("forge")
    wild = {"discriminator_lr": 1e30, "generator_lr": 1e30, "objective": "hinge"}
    with pytest.raises(
        BenchError, match=r"the training of dcgan was stopped: diverged at 0.\d thousand images: .* lower"
    ):
        train(make_training(view, tmp_path / "work", settings=wild), tmp_path, silent)


def test_a_set_too_large_for_the_device_streams_to_the_same_result(make_set, tmp_path, monkeypatch):
    view = make_set("faces", {"forge": 100}).view("forge")
    digests = []
    for name, resident in (("resident", True), ("streamed", False)):
        monkeypatch.setattr(batches, "_fits", lambda view, device, resident=resident: resident)
        out = tmp_path / name
        out.mkdir()
        train(make_training(view, tmp_path / f"work-{name}", settings={"kimg": 0.1}), out, silent)
        digests.append(TrainedGenerator.open(out).card.weights_sha256)
    assert digests[0] == digests[1]


def test_every_epoch_shows_every_image_once(make_set, tmp_path):
    view = make_set("faces", {"forge": 96}).view("forge")
    playing = Trainer(make_training(view, tmp_path / "work", settings={"flip": False}), "fp32")
    shown = [playing.batches.take(number).pixels.numpy().reshape(16, -1) for number in range(12)]
    first = {row.tobytes() for batch in shown[:6] for row in batch}
    second = [row.tobytes() for batch in shown[6:] for row in batch]
    assert first == set(second) == {row.tobytes() for row in view.read().reshape(96, -1)}


@pytest.fixture
def trained(make_set, tmp_path):
    view = make_set("faces", {"forge": 100}).view("forge")
    out = tmp_path / "generator"
    out.mkdir()
    train(make_training(view, tmp_path / "work", settings={"kimg": 0.1}), out, silent)
    return TrainedGenerator.open(out)


def test_exported_weights_are_small_and_make_the_same_faces(trained, tmp_path):
    (tmp_path / "half").mkdir()
    card = export_averaged(trained, tmp_path / "half")
    half = TrainedGenerator.open(tmp_path / "half")
    assert half.card == card and card.weights_sha256 != trained.card.weights_sha256
    sizes = [(made.path / "weights.safetensors").stat().st_size for made in (half, trained)]
    assert sizes[0] < sizes[1] / 3
    first, second = (
        synthesize(made, tmp_path / f"set{number}", counts={"test": 64}, seed=0, on_progress=silent)
        .view()
        .read()
        .astype(int)
        for number, made in enumerate((trained, half))
    )
    assert abs(first - second).max() <= 1 and first.std() > 1
    with pytest.raises(InputError, match="has no raw weights"):
        half.generator(averaged=False)


def test_a_forged_set_is_regenerated_from_its_card(trained, tmp_path):
    faces = synthesize(trained, tmp_path / "forged", counts={"train": 70, "test": 10}, seed=5, on_progress=silent)
    assert faces.verify() == [] and faces.card.splits == {"test": 10, "train": 70}
    for position in (0, 69, 75):
        assert (regenerate(trained, faces, position) == faces.read([position])[0]).all()
    again = synthesize(trained, tmp_path / "again", counts={"train": 70, "test": 10}, seed=5, on_progress=silent)
    assert again.card.digest == faces.card.digest


def test_splits_never_share_latents(trained, tmp_path):
    faces = synthesize(trained, tmp_path / "forged", counts={"train": 64, "val": 64}, seed=5, on_progress=silent)
    train = {image.tobytes() for image in faces.view("train").read()}
    assert not train & {image.tobytes() for image in faces.view("val").read()}


def test_raw_and_averaged_weights_differ_and_are_recorded(trained, tmp_path):
    sets = {
        averaged: synthesize(
            trained, tmp_path / str(averaged), counts={"test": 8}, seed=0, on_progress=silent, averaged=averaged
        )
        for averaged in (True, False)
    }
    assert sets[True].card.provenance["weights"] == "averaged" and sets[False].card.provenance["weights"] == "raw"
    assert (sets[True].read(range(8)) != sets[False].read(range(8))).any()


def test_tampered_weights_are_refused(trained):
    weights = trained.path / "weights.safetensors"
    changed = bytearray(weights.read_bytes())
    changed[-1] ^= 1
    weights.write_bytes(changed)
    with pytest.raises(CorruptError, match=r"weights.safetensors was changed since the training"):
        TrainedGenerator.open(trained.path)


def test_weights_of_another_width_are_refused(trained):
    other = DCGAN(DCGANSettings(latent=8, generator_width=6, discriminator_width=4, discriminator_norm="none"), 16)
    wrong = TrainedGenerator(trained.path, trained.card, other)
    with pytest.raises(InputError, match=r"weights are of another network: averaged.entry.weight has shape"):
        wrong.generator()


def test_the_discriminator_is_kept(trained):
    logits = trained.discriminator()(torch.randn(4, 3, 16, 16))
    assert logits.shape == (4,) and torch.isfinite(logits).all()


def test_dcgan_has_the_size_of_the_paper_s_network():
    """ngf = ndf = 64, nz = 100 at 64 px: 4x4 kernels between the channel counts of the paper's figure 1."""
    channels = [100, 512, 256, 128, 64, 3]
    expected = sum(16 * a * b for a, b in itertools.pairwise(channels))
    made = DCGAN(DCGANSettings(), 64)

    def kernels(network):
        return sum(p.numel() for p in network.parameters() if p.dim() == 4)

    assert kernels(made.generator()) == expected
    assert kernels(made.discriminator()) == expected - 16 * 100 * 512 + 16 * 512  # its head has one logit


def test_the_guide_s_own_generator_works_as_written(make_set, tmp_path):
    guide = (Path(__file__).parents[2] / "docs" / "manual" / "forge.md").read_text()
    blocks = [block.split("```")[0] for block in guide.split("```python\n")[1:]]
    code = next(block for block in blocks if "class Tiny" in block)
    (tmp_path / "tiny.py").write_text(code)
    reference = f"{tmp_path / 'tiny.py'}:Tiny"
    allow_files([reference])
    generator_class = GENERATORS.load(reference)
    assert GENERATORS.load(reference) is generator_class  # one class, however often it is asked for
    view = make_set("faces", {"forge": 40}).view("forge")
    settings = TrainingSettings(kimg=0.05, batch=8, log_every=1)
    architecture = generator_class(generator_class.Settings(), 16)
    out = tmp_path / "out"
    out.mkdir()
    training = task.Training("tiny", reference, architecture, settings, view, 0, Compute(), tmp_path / "work")
    train(training, out, silent)
    with pytest.raises(InputError, match=r"was trained with an architecture from a file; name it: .*tiny.py:Tiny"):
        TrainedGenerator.open(out)  # what is stored never runs code
    opened = TrainedGenerator.open(out, implementation=generator_class)
    faces = synthesize(opened, tmp_path / "forged", counts={"test": 5}, seed=0, on_progress=silent)
    assert len(faces) == 5
