"""Importers of published networks: the logits of independent forward passes, and sentences on wrong files."""

from __future__ import annotations

import argparse
import itertools

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file
from torch.nn.functional import batch_norm, conv2d, interpolate, pad, silu

from detect.detectors.capsule import CapsuleNetwork, vgg_features
from detect.detectors.clip_heads import Rine, Univfd
from detect.detectors.deepfakebench import BenchEfficientNetB4
from detect.detectors.ferretnet import FerretNetwork
from detect.detectors.safe import SafeNetwork
from detect.detectors.tiny_ladeda import TinyLadedaNetwork
from detect.features.residuals import diagonal_details
from detect.importers import IMPORTERS
from detect.importers.cnndetection import CNNDETECTION
from detect.importers.deepfakebench import EFFICIENTNET_B4, XCEPTION
from detect.layers.crops import centre, framed
from detect.published import import_published, network_in
from detect.training.settings import with_defaults
from forge.core.compute import Compute
from forge.core.errors import InputError

IMAGENET = (torch.tensor((0.485, 0.456, 0.406)), torch.tensor((0.229, 0.224, 0.225)))
CLIP = (
    torch.tensor((0.48145466, 0.4578275, 0.40821073)),
    torch.tensor((0.26862954, 0.26130258, 0.27577711)),
)
SMALL_CLIP = "vit_xsmall_patch16_clip_224"


def images_of(side: int, count: int = 2, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, side, side, 3), dtype=np.uint8)


def inputs_of(images: np.ndarray, normalisation=IMAGENET) -> torch.Tensor:
    mean, std = (values[:, None, None] for values in normalisation)
    return (torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255 - mean) / std


def settled(network: torch.nn.Module, seed: int = 0) -> dict[str, torch.Tensor]:
    """Random statistics for every batch norm, as a trained network has them; returns the state."""
    generator = torch.Generator().manual_seed(seed)
    for name, values in network.state_dict().items():
        if name.endswith("running_var"):
            values.copy_(0.5 + torch.rand(values.shape, generator=generator))
        elif name.endswith("running_mean"):
            values.copy_(0.1 * torch.randn(values.shape, generator=generator))
    return network.state_dict()


def normed(x: torch.Tensor, state: dict[str, torch.Tensor], name: str, eps: float = 1e-5) -> torch.Tensor:
    roles = [state[f"{name}.{role}"] for role in ("running_mean", "running_var", "weight", "bias")]
    return batch_norm(x, *roles, eps=eps)


# SAFE


@pytest.mark.parametrize(("height", "width"), [(8, 8), (9, 12), (7, 5)])
def test_diagonal_details_are_those_of_the_six_taps_of_bior1_3(height, width):
    """The filter bank as PyWavelets lists it, applied to a mirrored image with steps of two."""
    high = np.array([0, 0, -(0.5**0.5), 0.5**0.5, 0, 0])[::-1]  # correlation with the mirrored filter
    image = np.random.default_rng(0).random((height, width))
    for axis in (0, 1):
        size = image.shape[axis]
        margin = 2 * ((size + 5) // 2 - 1) - size + 6
        widths = [(0, 0), (0, 0)]
        widths[axis] = (margin // 2, (margin + 1) // 2)
        padded = np.moveaxis(np.pad(image, widths, mode="symmetric"), axis, 0)
        image = np.stack([np.tensordot(high, padded[at : at + 6], 1) for at in range(0, len(padded) - 5, 2)])
        image = np.moveaxis(image, 0, axis)
    ours = diagonal_details(torch.from_numpy(np.random.default_rng(0).random((height, width)))[None, None])[0, 0]
    assert ours.shape == ((height + 5) // 2, (width + 5) // 2)
    np.testing.assert_allclose(ours.numpy(), image, atol=1e-12)


def test_safe_reads_the_middle_and_two_classes_become_one_logit(tmp_path):
    torch.manual_seed(0)
    network = SafeNetwork().eval()
    state = settled(network)
    two = {"fc1.weight": torch.randn(2, 512), "fc1.bias": torch.randn(2)}
    options = argparse.Namespace(lr=1e-2, model="SAFE", output_dir="results")
    torch.save({"model": state | two, "epoch": 19, "args": options}, tmp_path / "checkpoint-best.pth")
    trained = import_published("safe", tmp_path / "checkpoint-best.pth", tmp_path / "safe", resolution=300)
    assert trained.card.seen == ["progan", "lsun"]
    images = images_of(300, 1)
    x = torch.from_numpy(images[:, 22:278, 22:278]).permute(0, 3, 1, 2).float() / 255
    x = interpolate(diagonal_details(x), size=(256, 256), mode="bilinear")
    with torch.no_grad():
        x = network.maxpool(network.bn1(network.conv1(x)).relu())
        features = network.layer2(network.layer1(x)).mean((2, 3))
        classes = features @ two["fc1.weight"].T + two["fc1.bias"]
    np.testing.assert_allclose(trained.detector.score(images, Compute()), classes[:, 1] - classes[:, 0], rtol=1e-4)


def test_centres_are_torchvisions():
    from torchvision.transforms.functional import center_crop

    for side, window in itertools.product((9, 12, 13), (5, 8)):
        image = torch.arange(side * side).reshape(1, side, side, 1)
        assert torch.equal(centre(image, window)[..., 0], center_crop(image[..., 0], [window, window]))
    assert centre(torch.zeros(2, 4, 9, 3), 6).shape == (2, 4, 6, 3)


@pytest.mark.parametrize("side", [5, 8, 13])
def test_windows_have_the_frame_of_torchvisions_crop(side):
    from torchvision.transforms.functional import center_crop

    images = torch.from_numpy(images_of(8, 1))
    expected = center_crop(images.permute(0, 3, 1, 2), [side, side]).permute(0, 2, 3, 1)
    assert torch.equal(framed(images, side), expected)
    assert framed(images, None) is images


# FerretNet


@pytest.mark.parametrize("side", [300, 200])
def test_ferretnet_reads_the_middle_as_its_authors_test_it(side, tmp_path):
    torch.manual_seed(0)
    network = FerretNetwork(8).eval()
    torch.save({"model": settled(network)}, tmp_path / "ferretnet.pth")
    trained = import_published("ferretnet", tmp_path / "ferretnet.pth", tmp_path / "out", resolution=side)
    assert (trained.card.settings["window"], trained.card.settings["input_size"]) == (256, None)
    images = images_of(side, 1)
    with torch.no_grad():
        expected = network(inputs_of(framed(torch.from_numpy(images), 256).numpy(), CLIP))[:, 0]
    np.testing.assert_allclose(trained.detector.score(images, Compute()), expected, rtol=1e-4)


# Tiny-LaDeDa


def test_tiny_ladeda_is_four_convolutions_on_a_gradient(tmp_path):
    torch.manual_seed(0)
    network = TinyLadedaNetwork().eval()
    state = settled(network)
    assert sum(parameter.numel() for parameter in network.parameters()) == 1_297
    assert all("gradient" not in name for name in state)
    torch.save(state, tmp_path / "WildRF_Tiny_LaDeDa.pth")
    trained = import_published("tiny-ladeda", tmp_path / "WildRF_Tiny_LaDeDa.pth", tmp_path / "out")
    assert trained.card.seen == ["wildrf", "reddit"] and trained.card.resolution == 256
    images = images_of(256)
    x = pad(inputs_of(images), (1, 1, 1, 1))
    kernel = torch.tensor([[-2.0, -1, 0], [-1, 0, 1], [0, 1, 2]])
    x = torch.cat([conv2d(x[:, c : c + 1], kernel[None, None]) for c in range(3)], dim=1)
    x = normed(conv2d(conv2d(x, state["conv1.weight"]), state["conv2.weight"]), state, "bn1").relu()
    x = normed(conv2d(x, state["layer1.0.conv1.weight"]), state, "layer1.0.bn1").relu()
    x = normed(conv2d(x, state["layer1.0.conv2.weight"], stride=2), state, "layer1.0.bn2").relu()
    patches = torch.einsum("nchw,c->nhw", x, state["fc.weight"][0]) + state["fc.bias"]
    scores = trained.detector.score(images, Compute())
    np.testing.assert_allclose(scores, patches.mean((1, 2)), rtol=1e-3, atol=1e-5)
    assert trained.detector.maps(images, Compute()).shape == (2, 256, 256)


# Capsule-Forensics


def route(capsules: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """The authors' routing in loops, for one image: capsules [8, 3] to classes [2, 4]."""
    squash = lambda v: (v @ v) / (1 + v @ v) * v / (v @ v).sqrt()  # noqa: E731
    capsules = torch.stack([squash(values) for values in capsules])
    votes = torch.stack([torch.stack([weights[k, c] @ capsules[:, c] for c in range(3)]) for k in range(2)])
    agreement = torch.zeros(2, 3, 4)
    for _ in range(2):
        share = agreement.softmax(1)
        outputs = torch.stack([squash((share[k] * votes[k]).sum(0)) for k in range(2)])
        agreement = agreement + votes * outputs[:, None]
    return outputs


def test_capsule_routes_as_its_authors_do_and_needs_vgg(tmp_path):
    torch.manual_seed(0)
    network = CapsuleNetwork(vgg_features())
    state = settled(network.eval())
    published = {name: value for name, value in state.items() if not name.startswith("backbone.")}
    # PyTorch 0.3 counted no batches
    published = {name: value for name, value in published.items() if not name.endswith("num_batches_tracked")}
    folder = tmp_path / "checkpoints" / "deepfakes"
    folder.mkdir(parents=True)
    file, vgg = folder / "capsule_95.pt", tmp_path / "vgg19.safetensors"
    torch.save(published, file, _use_new_zipfile_serialization=False)
    names = {f"features.{name}": value.clone() for name, value in network.backbone.state_dict().items()}
    save_file(names | {"features.19.weight": torch.zeros(3), "head.fc.bias": torch.zeros(5)}, vgg)
    with pytest.raises(InputError, match=r"capsule is published without the network.*VGG-19.*--backbone FILE"):
        import_published("capsule", file, tmp_path / "out")
    trained = import_published("capsule", file, tmp_path / "out", resolution=64, backbone=vgg)
    assert trained.card.seen[0] == "deepfakes" and trained.card.settings["input_size"] == 128
    assert trained.card.settings["weights"] == "vgg19.safetensors"  # no folder of this machine
    images = images_of(64, 1)
    x = interpolate(torch.from_numpy(images).permute(0, 3, 1, 2).float(), size=128, mode="bilinear", antialias=True)
    mean, std = (values[:, None, None] for values in IMAGENET)
    with torch.no_grad():
        features = network.backbone((x / 255 - mean) / std)
        assert features.shape == (1, 256, 16, 16)
        capsules = torch.stack([extract(features)[0, 0] for extract in network.fea_ext.values()], dim=1)
        classes = route(capsules, state["routing_stats.route_weights"])
    forged, real = classes.softmax(0).mean(1)
    assert trained.detector.score(images, Compute())[0] == pytest.approx(float(torch.log(forged / real)), abs=1e-4)


# heads on CLIP


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """A small CLIP with random weights as open_clip names them, and its network."""
    torch.manual_seed(0)
    network = timm.create_model(SMALL_CLIP, pretrained=False, num_classes=512).eval()
    for layer in (network.head,):
        torch.nn.init.normal_(layer.weight, std=0.05)
    file = tmp_path_factory.mktemp("clip") / "clip.safetensors"
    save_file(network.state_dict(), file)
    return network, file


@pytest.fixture
def small(monkeypatch):
    for detector in (Univfd, Rine):
        monkeypatch.setattr(detector, "Settings", with_defaults(detector.Settings, network=SMALL_CLIP))


def test_univfd_is_a_linear_layer_on_the_embedding_as_it_is(clip, small, tmp_path):
    network, file = clip
    head = {"weight": torch.randn(1, 512), "bias": torch.randn(1)}
    torch.save(head, tmp_path / "fc_weights.pth")
    trained = import_published("univfd", tmp_path / "fc_weights.pth", tmp_path / "out", 230, backbone=file)
    images = images_of(230, 1)
    with torch.no_grad():
        embedding = network(inputs_of(images[:, 3:227, 3:227], CLIP))
    expected = (embedding @ head["weight"].T + head["bias"])[:, 0]
    np.testing.assert_allclose(trained.detector.score(images, Compute()), expected, rtol=1e-3, atol=1e-4)


def test_rine_reads_what_the_second_normalisation_of_each_block_gives(clip, small, tmp_path):
    network, file = clip
    blocks, tokens, width = len(network.blocks), network.embed_dim, 12
    sizes = {f"proj1.{at}": (width, tokens if at == 1 else width) for at in (1, 4)}
    sizes |= {f"proj2.{at}": (width, width) for at in (1, 4)}
    sizes |= {"head.0": (width, width), "head.3": (width, width), "head.6": (1, width)}
    state = {f"{name}.weight": torch.randn(shape) / shape[1] ** 0.5 for name, shape in sizes.items()}
    state |= {f"{name}.bias": torch.randn(shape[0]) for name, shape in sizes.items()}
    state["alpha"] = torch.randn(1, blocks, width)
    torch.save(state, tmp_path / "model_ldm_trainable.pth")
    trained = import_published("rine", tmp_path / "model_ldm_trainable.pth", tmp_path / "out", backbone=file)
    assert (trained.card.settings["width"], trained.card.settings["layers"]) == (width, 2)
    assert trained.card.seen[0] == "ldm"
    images, outputs = images_of(224, 1), []
    hooks = [block.norm2.register_forward_hook(lambda *all_: outputs.append(all_[2][:, 0])) for block in network.blocks]
    with torch.no_grad():
        network(inputs_of(images, CLIP))
    for hook in hooks:
        hook.remove()
    apply = lambda x, name: x @ state[f"{name}.weight"].T + state[f"{name}.bias"]  # noqa: E731
    x = apply(apply(torch.stack(outputs, dim=1), "proj1.1").relu(), "proj1.4").relu()
    x = (state["alpha"].softmax(1) * x).sum(1)
    x = apply(apply(x, "proj2.1").relu(), "proj2.4").relu()
    expected = apply(apply(apply(x, "head.0").relu(), "head.3").relu(), "head.6")[:, 0]
    np.testing.assert_allclose(trained.detector.score(images, Compute()), expected, rtol=1e-3, atol=1e-3)


# DeepfakeBench and CNNDetection: large networks, whose files here repeat a single number


def repeated(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The same names and shapes in a file of a few kilobytes: every tensor is a view of a single number."""
    return {name: torch.full((), 0.01).expand(value.shape) for name, value in tensors.items()}


def test_xception_of_deepfakebench_has_the_names_of_timms(tmp_path):
    with torch.device("meta"):
        network = timm.create_model("legacy_xception", num_classes=1)
    state = {name.replace("fc.", "last_linear."): value for name, value in network.state_dict().items()}
    state["last_linear.weight"], state["last_linear.bias"] = torch.randn(2, 2048), torch.randn(2)
    unused = {"adjust_channel.0.weight": torch.zeros(512, 2048, 1, 1)}
    torch.save({f"module.backbone.{n}": v for n, v in (repeated(state) | repeated(unused)).items()}, tmp_path / "x.pth")
    assert network_in(tmp_path / "x.pth") == "deepfakebench-xception"
    read = XCEPTION.read(tmp_path / "x.pth")
    assert {name: value.shape for name, value in read.items()} == {n: v.shape for n, v in network.state_dict().items()}
    assert not read["fc.weight"].any()  # rows are equal, so that both classes are


BLOCKS_B4 = [  # repeats, kernel, stride, widening
    *((2, 3, 1, 1), (4, 3, 2, 6), (4, 5, 2, 6), (6, 3, 2, 6), (6, 5, 1, 6), (8, 5, 2, 6), (2, 3, 1, 6)),
]


def efficientnet_b4(x: torch.Tensor, state: dict[str, torch.Tensor]) -> torch.Tensor:
    """The logits of both classes by efficientnet_pytorch's names, with its margins for 380 px."""
    norm = lambda x, name: normed(x, state, name, eps=1e-3)  # noqa: E731
    x = silu(norm(conv2d(x, state["efficientnet._conv_stem.weight"], stride=2), "efficientnet._bn0"))
    number, size = 0, 190
    for repeats, kernel, first_stride, widening in BLOCKS_B4:
        for repeat in range(repeats):
            stride, name = first_stride if repeat == 0 else 1, f"efficientnet._blocks.{number}"
            before, number = x, number + 1
            if widening > 1:
                x = silu(norm(conv2d(x, state[f"{name}._expand_conv.weight"]), f"{name}._bn0"))
            margin = max((-(-size // stride) - 1) * stride + kernel - size, 0)
            x = pad(x, (margin // 2, margin - margin // 2) * 2)
            x = conv2d(x, state[f"{name}._depthwise_conv.weight"], stride=stride, groups=x.shape[1])
            x = silu(norm(x, f"{name}._bn1"))
            size = -(-size // stride)
            gate = x.mean((2, 3), keepdim=True)
            gate = silu(conv2d(gate, state[f"{name}._se_reduce.weight"], state[f"{name}._se_reduce.bias"]))
            x = x * conv2d(gate, state[f"{name}._se_expand.weight"], state[f"{name}._se_expand.bias"]).sigmoid()
            x = norm(conv2d(x, state[f"{name}._project_conv.weight"]), f"{name}._bn2")
            x = x + before if stride == 1 and x.shape == before.shape else x
    x = silu(norm(conv2d(x, state["efficientnet._conv_head.weight"]), "efficientnet._bn1"))
    return x.mean((2, 3)) @ state["last_layer.weight"].T + state["last_layer.bias"]


def test_efficientnet_b4_of_deepfakebench_has_its_margins(monkeypatch):
    torch.manual_seed(0)
    detector = BenchEfficientNetB4(BenchEfficientNetB4.Settings(input_size=70), 70)
    detector.network = detector.build().eval()
    state = settled(detector.network)
    theirs = {}
    numbers = itertools.count()
    for stage, (repeats, _, _, widening) in enumerate(BLOCKS_B4):
        layers = "_depthwise_conv:conv_dw _bn1:bn1 _se_reduce:se.conv_reduce _se_expand:se.conv_expand "
        layers += "_project_conv:conv_pw _bn2:bn2"
        if widening > 1:
            layers = layers.replace("conv_pw", "conv_pwl").replace("bn2:bn2", "bn2:bn3").replace("bn1:bn1", "bn1:bn2")
            layers += " _expand_conv:conv_pw _bn0:bn1"
        for repeat in range(repeats):
            name = f"efficientnet._blocks.{next(numbers)}"
            for pair in layers.split():
                layer, ours = pair.split(":")
                prefix = f"blocks.{stage}.{repeat}.{ours}."
                theirs |= {
                    f"{name}.{layer}.{key.removeprefix(prefix)}": state[key] for key in state if key.startswith(prefix)
                }
    for layer, ours in (("_conv_stem", "conv_stem"), ("_bn0", "bn1"), ("_conv_head", "conv_head"), ("_bn1", "bn2")):
        theirs |= {f"efficientnet.{layer}.{k.partition('.')[2]}": state[k] for k in state if k.startswith(f"{ours}.")}
    theirs |= {"last_layer.weight": torch.randn(2, 1792), "last_layer.bias": torch.randn(2)}
    monkeypatch.setattr(
        "detect.importers.deepfakebench.read_checkpoint", lambda path: {f"backbone.{n}": v for n, v in theirs.items()}
    )
    detector.network.load_state_dict(EFFICIENTNET_B4.read(None))
    images = images_of(70)
    with torch.no_grad():
        classes = efficientnet_b4(torch.from_numpy(images).permute(0, 3, 1, 2) / 127.5 - 1, theirs)
    scores = detector.score(images, Compute())
    np.testing.assert_allclose(scores, classes[:, 1] - classes[:, 0], rtol=1e-3, atol=1e-3)


def test_cnndetection_has_the_names_of_timms_resnet50(tmp_path):
    with torch.device("meta"):
        state = timm.create_model("resnet50", num_classes=1).state_dict()
    torch.save({"model": repeated(state), "optimizer": {"lr": 1e-4}, "total_steps": 3}, tmp_path / "blur.pth")
    assert network_in(tmp_path / "blur.pth") == "cnndetection" and CNNDETECTION.detector == "resnet50"
    read = CNNDETECTION.read(tmp_path / "blur.pth")
    assert {name: value.shape for name, value in read.items()} == {name: v.shape for name, v in state.items()}
    assert CNNDETECTION.settings(read) == {} and CNNDETECTION.input_size is None


# what a file is


def test_weights_of_another_network_are_recognised(tmp_path):
    torch.save(TinyLadedaNetwork().state_dict(), tmp_path / "tiny.pth")
    with pytest.raises(
        InputError, match=r"does not fit SafeNetwork.*; it looks like the weights of tiny-ladeda: bench"
    ):
        import_published("safe", tmp_path / "tiny.pth", tmp_path / "x")
    with pytest.raises(InputError, match=r"is not HDF5.*it looks like the weights of tiny-ladeda"):
        import_published("meso4", tmp_path / "tiny.pth", tmp_path / "x")
    torch.save({"weight": torch.zeros(3, 3)}, tmp_path / "other.pth")
    with pytest.raises(InputError, match=r"does not fit SafeNetwork: conv1\.weight is missing(?!.*looks like)"):
        import_published("safe", tmp_path / "other.pth", tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_safe_and_npr_are_told_apart_by_their_last_layer(tmp_path):
    state = repeated(SafeNetwork().state_dict())
    torch.save(state, tmp_path / "npr.pth")
    two = {"fc1.weight": torch.zeros(2, 512), "fc1.bias": torch.zeros(2)}
    torch.save(state | two, tmp_path / "safe.pth")
    assert (network_in(tmp_path / "npr.pth"), network_in(tmp_path / "safe.pth")) == ("npr", "safe")


def test_a_backbone_is_refused_where_nothing_needs_it(tmp_path):
    torch.save(TinyLadedaNetwork().state_dict(), tmp_path / "tiny.pth")
    with pytest.raises(InputError, match="tiny-ladeda has no backbone of its own; leave out --backbone"):
        import_published("tiny-ladeda", tmp_path / "tiny.pth", tmp_path / "x", backbone=tmp_path / "tiny.pth")
    torch.save({"weight": torch.zeros(1, 768), "bias": torch.zeros(1)}, tmp_path / "fc.pth")
    with pytest.raises(InputError, match=r"nowhere\.safetensors does not exist"):
        import_published("univfd", tmp_path / "fc.pth", tmp_path / "x", backbone=tmp_path / "nowhere.safetensors")
    with pytest.raises(InputError, match=r"tiny\.pth: must be a \.safetensors file; convert it once"):
        import_published("univfd", tmp_path / "fc.pth", tmp_path / "x", backbone=tmp_path / "tiny.pth")


@pytest.mark.parametrize("name", sorted(IMPORTERS.entries))
def test_every_importer_says_where_its_weights_are_and_what_they_saw(name, tmp_path):
    importer = IMPORTERS.load(name)
    assert importer.weights and importer.repository.count("/") == 1 and importer.preprocessing
    named = tmp_path / "checkpoints" / "face2face" / "published"
    assert importer.seen(named)
    assert all(0 < figure.value <= 1 and figure.source and figure.test_set for figure in importer.reported)
