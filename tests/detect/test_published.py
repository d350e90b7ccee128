"""Published weights, on files written here in the layouts of the published ones."""

from __future__ import annotations

import hashlib
import pickle
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from torch.nn.functional import batch_norm, conv2d, conv_transpose2d

from detect import pickles
from detect.artifact import load_trained
from detect.detectors.classnseg import ClassNSegNetwork
from detect.detectors.ferretnet import FerretNetwork
from detect.detectors.npr import NprNetwork
from detect.published import import_published
from forge.core.compute import Compute
from forge.core.errors import CorruptError, InputError, UnknownNameError

pytestmark = pytest.mark.e2e

Weights = dict[str, np.ndarray]


# MesoNet in numpy, channels last as in Keras


def convolve(x: np.ndarray, weights: Weights, layer: str, dilation: int = 1) -> np.ndarray:
    kernel = weights[f"{layer}/kernel"]
    size = kernel.shape[0]
    margin = dilation * (size // 2)
    framed = np.pad(x, ((margin, margin), (margin, margin), (0, 0)))
    height, width = x.shape[:2]
    total = np.zeros((height, width, kernel.shape[3]))
    for i, j in np.ndindex(size, size):
        shifted = framed[i * dilation : i * dilation + height, j * dilation : j * dilation + width]
        total += shifted @ kernel[i, j]
    return np.maximum(total + weights[f"{layer}/bias"], 0)


def stage(x: np.ndarray, weights: Weights, norm: str, pool: int) -> np.ndarray:
    gamma, beta, mean, variance = (
        weights[f"{norm}/{role}"] for role in ("gamma", "beta", "moving_mean", "moving_variance")
    )
    x = (x - mean) / np.sqrt(variance + 1e-3) * gamma + beta
    height, width, channels = x.shape
    return x.reshape(height // pool, pool, width // pool, pool, channels).max(axis=(1, 3))


def probability_of_real(image: np.ndarray, weights: Weights, first: int, branches: bool) -> float:
    """The whole network on one image, uint8 [256, 256, 3]; layers are numbered from `first`."""
    numbers = iter(range(first, 99))
    conv = lambda x, dilation=1: convolve(x, weights, f"conv2d_{next(numbers)}", dilation)  # noqa: E731
    x = image / 255.0
    for number, pool in enumerate((2, 2, 2, 4), start=first):
        if branches and number < first + 2:
            first_branch = conv(x)  # the layers' numbers follow this order
            x = np.concatenate([first_branch, *(conv(conv(x), dilation) for dilation in (1, 2, 3))], axis=2)
        else:
            x = conv(x)
        x = stage(x, weights, f"batch_normalization_{number}", pool)
    hidden = x.reshape(-1) @ weights["dense_3/kernel"] + weights["dense_3/bias"]
    hidden = np.where(hidden > 0, hidden, 0.1 * hidden)
    logit = hidden @ weights["dense_4/kernel"] + weights["dense_4/bias"]
    return float(1 / (1 + np.exp(-logit[0])))


def random_weights(first: int, branches: bool) -> Weights:
    rng = np.random.default_rng(first)
    plain = [(3, 3, 8), (5, 8, 8), (5, 8, 16), (5, 16, 16)]
    incepted = [(1, 3, 1)]
    for size, width in ((1, 4), (1, 4), (1, 2)):
        incepted += [(size, 3, width), (3, width, width)]
    incepted.append((1, 11, 2))
    for size, width in ((1, 4), (1, 4), (1, 2)):
        incepted += [(size, 11, width), (3, width, width)]
    incepted += [(5, 12, 16), (5, 16, 16)]
    weights: Weights = {}
    for number, (size, before, after) in enumerate(incepted if branches else plain, start=first):
        weights[f"conv2d_{number}/kernel"] = rng.normal(
            0, (2 / (size * size * before)) ** 0.5, (size, size, before, after)
        )
        weights[f"conv2d_{number}/bias"] = rng.normal(0, 0.1, after)
    for number, channels in enumerate((11, 12, 16, 16) if branches else (8, 8, 16, 16), start=first):
        for role, low, high in (
            ("gamma", 0.5, 1.5),
            ("beta", -0.2, 0.2),
            ("moving_mean", 0, 0.3),
            ("moving_variance", 0.1, 0.5),
        ):
            weights[f"batch_normalization_{number}/{role}"] = rng.uniform(low, high, channels)
    for name, before, after in (("dense_3", 1024, 16), ("dense_4", 16, 1)):
        weights[f"{name}/kernel"] = rng.normal(0, before**-0.5, (before, after))
        weights[f"{name}/bias"] = rng.normal(0, 0.1, after)
    return {name: values.astype(np.float32) for name, values in weights.items()}


def write_keras(path: Path, weights: Weights, *, under: str = "") -> Path:
    """The layout of Keras 2: a group a layer, in it a group of the same name, in it the arrays."""
    with h5py.File(path, "w") as file:
        root = file.create_group(under) if under else file
        layers = sorted({name.partition("/")[0] for name in weights})
        root.attrs["layer_names"] = [b"input_2", *(layer.encode() for layer in layers)]
        root.create_group("input_2").attrs["weight_names"] = []
        for name, values in weights.items():
            layer, _, role = name.partition("/")
            root.create_dataset(f"{layer}/{layer}/{role}:0", data=values)
        if under:
            file.create_dataset("optimizer_weights/Adam/conv2d_99/kernel_m:0", data=np.zeros(3))
    return path


# published files count from 5 (Meso4) and from 1 (MesoInception); ten layers and more must not be sorted as texts
@pytest.mark.parametrize(("name", "first", "under"), [("meso4", 5, ""), ("mesoinception4", 1, "model_weights")])
def test_mesonet_gives_the_logits_of_keras(name, first, under, tmp_path):
    weights = random_weights(first, name == "mesoinception4")
    # the authors publish MesoInception_F2F without a suffix
    file = write_keras(tmp_path / ("MesoInception_F2F" if under else "published.h5"), weights, under=under)
    trained = import_published(name, file, tmp_path / "detector")
    images = np.random.default_rng(0).integers(0, 256, (2, 256, 256, 3), dtype=np.uint8)
    real = np.array([probability_of_real(image, weights, first, name == "mesoinception4") for image in images])
    scores = trained.detector.score(images, Compute())
    np.testing.assert_allclose(scores, np.log((1 - real) / real), atol=2e-4)
    np.testing.assert_allclose(trained.calibration.probability(scores), 1 - real, atol=1e-4)
    assert np.ptp(scores) > 1e-3  # the images are told apart at all


def test_the_card_says_where_it_comes_from(tmp_path):
    file = write_keras(tmp_path / "Meso4_DF.h5", random_weights(5, False))
    import_published("meso4", file, tmp_path / "detector", resolution=64)
    card = load_trained(tmp_path / "detector").card
    assert (card.trained_on, card.resolution, card.settings["input_size"]) == ("published", 64, 256)
    assert card.calibration == {"a": 1, "b": 0} and card.parameters == 27_977
    assert card.facts["file_sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    images = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    assert load_trained(tmp_path / "detector").detector.score(images, Compute()).shape == (2,)


WRAPPINGS: dict[str, Callable[[dict], object]] = {
    "plain": lambda state: state,
    "parallel": lambda state: {f"module.{name}": value for name, value in state.items()},
    "nested": lambda state: {"model": state, "epoch": 3, "optimizer": {"lr": 1e-4}},
    "both": lambda state: {"state_dict": {f"module.{name}": value for name, value in state.items()}},
}


@pytest.mark.parametrize("wrapping", WRAPPINGS)
def test_npr_is_read_from_whatever_wraps_it(wrapping, tmp_path):
    network = NprNetwork().eval()
    unused = {"fc.weight": torch.zeros(1, 2048), "fc.bias": torch.zeros(1)}  # the authors' training leaves it
    torch.save(WRAPPINGS[wrapping](network.state_dict() | unused), tmp_path / "NPR.pth")
    trained = import_published("npr", tmp_path / "NPR.pth", tmp_path / "detector", resolution=32)
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    with torch.no_grad():
        expected = network(trained.detector.prepare(torch.from_numpy(images))).flatten().double().numpy()
    np.testing.assert_allclose(trained.detector.score(images, Compute()), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("width", [32, 48])
def test_ferretnet_of_either_width(width, tmp_path):
    network = FerretNetwork(width).eval()
    torch.save({"model": network.state_dict(), "iter": 1}, tmp_path / "ferretnet.pth")
    trained = import_published("ferretnet", tmp_path / "ferretnet.pth", tmp_path / "detector")
    assert trained.card.settings["width"] == width
    assert torch.equal(trained.detector.network.cbr1[0].weight, network.cbr1[0].weight)


# ClassNSeg: strides of the published layers, three modules each (convolution, batch norm, ReLU)
CLASSNSEG = {"encoder": (1, 2) * 4 + (1,), "shared": (1, 2) * 2, "segmenter": (1, 2) * 2, "decoder": (1, 2) * 2}


def write_classnseg(folder: Path, **changed: torch.Tensor) -> tuple[Path, dict[str, torch.Tensor]]:
    """Two state_dicts as the authors wrote them; returns the encoder's file and all tensors."""
    torch.manual_seed(0)
    network = ClassNSegNetwork()
    for name, values in network.state_dict().items():
        if values.ndim == 4:
            torch.nn.init.kaiming_normal_(values, nonlinearity="relu")
        elif name.endswith("running_var"):
            values.uniform_(0.5, 1.5)
    state = network.state_dict() | changed
    for role in ("encoder", "decoder"):
        of_encoder = {name: value for name, value in state.items() if name.startswith("encoder.")}
        part = of_encoder if role == "encoder" else {name: state[name] for name in state if name not in of_encoder}
        torch.save(part, folder / f"{role}_46.pt", _use_new_zipfile_serialization=False)  # PyTorch 1.0
    return folder / "encoder_46.pt", state


def layers_of(x: torch.Tensor, state: dict[str, torch.Tensor], part: str) -> torch.Tensor:
    for number, stride in enumerate(CLASSNSEG[part]):
        names = [f"{part}.{3 * number + offset}" for offset in (0, 1)]
        weight, bias = state[f"{names[0]}.weight"], state[f"{names[0]}.bias"]
        if part == "encoder":
            x = conv2d(x, weight, bias, stride, padding=1)
        else:
            x = conv_transpose2d(x, weight, bias, stride, padding=1, output_padding=stride - 1)
        norm = [state[f"{names[1]}.{role}"] for role in ("running_mean", "running_var", "weight", "bias")]
        x = batch_norm(x, *norm).relu()
    return x


def test_classnseg_decodes_the_half_of_the_code_that_is_more_active(tmp_path):
    file, state = write_classnseg(tmp_path)
    trained = import_published("classnseg", file, tmp_path / "detector")
    assert trained.card.parameters == 304_949
    assert set(trained.card.facts["beside"]) == {"decoder_46.pt"}
    images = np.random.default_rng(0).integers(0, 256, (3, 256, 256, 3), dtype=np.uint8)
    images[1] //= 4
    mean, std = (torch.tensor(values)[:, None, None] for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    inputs = (torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255 - mean) / std
    code = layers_of(inputs, state, "encoder")
    # the first half is of the folder "altered", the second of "original"
    expected = code[:, :64].mean((1, 2, 3)) - code[:, 64:].mean((1, 2, 3))
    np.testing.assert_allclose(trained.detector.score(images, Compute()), expected.numpy(), atol=1e-4)
    for number, score in enumerate(expected):
        code[number, 64 if score > 0 else 0 :][:64] = 0
    both = layers_of(layers_of(code, state, "shared"), state, "segmenter")
    both = conv_transpose2d(both, state["segmenter.12.weight"], state["segmenter.12.bias"], padding=1)
    maps = trained.detector.maps(images, Compute())
    np.testing.assert_allclose(maps, (both[:, 1] - both[:, 0]).numpy(), rtol=1e-3, atol=1e-3)
    # images of another size are resized, and their maps are of that size again
    small = import_published("classnseg", file, tmp_path / "small", resolution=32).detector
    assert small.maps(images[:, ::8, ::8], Compute()).shape == (3, 32, 32)


def test_classnseg_needs_both_files(tmp_path):
    file, _ = write_classnseg(tmp_path)
    with pytest.raises(InputError, match=r"is not named as an encoder.*name the first"):
        import_published("classnseg", tmp_path / "decoder_46.pt", tmp_path / "x")
    (tmp_path / "decoder_46.pt").unlink()
    with pytest.raises(InputError, match=r"decoder_46\.pt does not exist; put the decoder of encoder_46\.pt beside it"):
        import_published("classnseg", file, tmp_path / "x")
    torch.save({"shared.0.weight": torch.zeros(1)}, tmp_path / "decoder_46.pt")
    with pytest.raises(InputError, match=r"decoder_46\.pt does not fit ClassNSegNetwork: shared\.0\.bias is missing"):
        import_published("classnseg", file, tmp_path / "x")
    write_classnseg(tmp_path, **{"shared.0.bias": torch.zeros(5)})
    with pytest.raises(InputError, match=r"shared\.0\.bias is \[5\], the network has \[64\]"):
        import_published("classnseg", file, tmp_path / "x")
    torch.save({"model": Bomb(tmp_path / "it ran")}, tmp_path / "decoder_46.pt")
    with pytest.raises(InputError, match="refused: it asks for more than tensors"):
        import_published("classnseg", file, tmp_path / "x")
    assert not (tmp_path / "it ran").exists() and not (tmp_path / "x").exists()


class Bomb:
    """A pickle that would write a file when it is opened."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("how", ["torch", "pickle"])
def test_a_hostile_pickle_is_refused_and_nothing_runs(how, tmp_path):
    file, proof = tmp_path / "NPR.pth", tmp_path / "it ran"
    if how == "torch":
        torch.save({"model": Bomb(proof)}, file)
    else:
        file.write_bytes(pickle.dumps(Bomb(proof)))
    with pytest.raises(InputError, match="refused: it asks for more than tensors"):
        import_published("npr", file, tmp_path / "detector")
    assert not proof.exists() and not (tmp_path / "detector").exists()


def test_files_that_are_something_else_are_named(tmp_path):
    text = tmp_path / "notes.h5"
    text.write_text("hello")
    with pytest.raises(InputError, match=r"notes\.h5 is not HDF5"):
        import_published("meso4", text, tmp_path / "x")
    cut = write_keras(tmp_path / "cut.h5", random_weights(5, False))
    cut.write_bytes(cut.read_bytes()[:3000])
    with pytest.raises(CorruptError, match=r"cut\.h5 cannot be read"):
        import_published("meso4", cut, tmp_path / "x")
    state = tmp_path / "cut.pth"
    torch.save(NprNetwork().state_dict(), state)
    state.write_bytes(state.read_bytes()[:5000])
    with pytest.raises(CorruptError, match=r"cut\.pth cannot be read"):
        import_published("npr", state, tmp_path / "x")
    torch.save([1, 2], state)
    with pytest.raises(InputError, match="holds no tensors by name"):
        import_published("npr", state, tmp_path / "x")
    with pytest.raises(InputError, match="does not exist"):
        import_published("npr", tmp_path / "nowhere.pth", tmp_path / "x")


def test_weights_of_another_network_are_named(tmp_path):
    file = write_keras(tmp_path / "meso4.h5", random_weights(5, False))
    with pytest.raises(InputError, match="has 4 layers conv2d and should have 16"):
        import_published("mesoinception4", file, tmp_path / "x")
    torch.save(FerretNetwork().state_dict(), tmp_path / "ferret.pth")
    with pytest.raises(InputError, match=r"does not fit NprNetwork: conv1\.weight is missing"):
        import_published("npr", tmp_path / "ferret.pth", tmp_path / "x")
    with pytest.raises(UnknownNameError, match="did you mean 'meso4'"):
        import_published("meso", file, tmp_path / "x")


def test_arrays_in_other_files_are_not_read(tmp_path):
    (tmp_path / "secret").write_bytes(bytes(400))
    file = write_keras(tmp_path / "meso4.h5", random_weights(5, False))
    with h5py.File(file, "a") as stored:
        del stored["conv2d_5/conv2d_5/bias:0"]
        stored.create_dataset("conv2d_5/conv2d_5/bias:0", (8,), "f4", external=[(str(tmp_path / "secret"), 0, 32)])
    with pytest.raises(InputError, match="is a piece of another file"):
        import_published("meso4", file, tmp_path / "x")


def test_without_h5py_the_extra_is_named(tmp_path, monkeypatch):
    file = write_keras(tmp_path / "meso4.h5", random_weights(5, False))
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(InputError, match=r"pip install -e '.\[import\]'"):
        import_published("meso4", file, tmp_path / "x")


def itself() -> dict[str, object]:
    wrapped: dict[str, object] = {}
    wrapped["model"] = wrapped
    return wrapped


def entangled() -> dict[object, object]:
    """Two to the power of 60 members to hash, in a kilobyte."""
    pair: tuple[object, ...] = (1, 2)
    for _ in range(60):
        pair = (pair, pair)
    return {"model": [pair, pair]}


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (itself, "holds no tensors by name"),
        (entangled, "tuples within tuples"),
        (lambda: {"model": [1.5] * 30_000}, "more than 20,000 values"),
    ],
)
def test_a_checkpoint_that_never_ends_is_refused(content, sentence, zipped, tmp_path, monkeypatch):
    monkeypatch.setattr(pickles, "MAX_STEPS", 20_000)
    torch.save(content(), tmp_path / "hostile.pth", _use_new_zipfile_serialization=zipped)
    with pytest.raises(InputError, match=sentence):
        import_published("npr", tmp_path / "hostile.pth", tmp_path / "out")


def test_a_checkpoint_that_unpacks_to_more_than_memory_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(pickles, "MAX_BYTES", 1_000_000)
    with zipfile.ZipFile(tmp_path / "bomb.pth", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(2_000_000))
    with pytest.raises(InputError, match="unpacks to 2,000,000 bytes; at most 1,000,000"):
        import_published("npr", tmp_path / "bomb.pth", tmp_path / "out")
    (tmp_path / "large.pth").write_bytes(bytes(1_000_001))
    with pytest.raises(InputError, match="has 1,000,001 bytes"):
        import_published("npr", tmp_path / "large.pth", tmp_path / "out")


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (
            lambda file: [file.create_dataset(f"c{i}/k", (1 << 22,), "f4", chunks=(1 << 16,)) for i in range(5)],
            "larger",
        ),
        (lambda file: file.create_dataset("c/k", (4,), "S1000000000", chunks=(1,)), "not numbers"),
        (lambda file: [file.create_group(f"g{i}") for i in range(10_001)], "more than 10,000 objects"),
    ],
)
def test_a_small_keras_file_cannot_fill_memory(make, sentence, tmp_path):
    with h5py.File(tmp_path / "bomb.h5", "w") as file:
        make(file)
    assert (tmp_path / "bomb.h5").stat().st_size < 16_000_000
    with pytest.raises(InputError, match=sentence):
        import_published("meso4", tmp_path / "bomb.h5", tmp_path / "out")
