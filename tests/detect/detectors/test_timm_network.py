from __future__ import annotations

import pytest
import timm
import torch
from pydantic import ValidationError
from safetensors.torch import save_file

from detect.detectors.registry import DETECTORS
from detect.detectors.timm_network import TimmSettings, head_of, timm_named
from detect.training.settings import with_defaults
from forge.core.errors import InputError, UnknownNameError

# timm's own networks for tests, one of each kind: statistics over the batch, transformer with learned positions,
# layer normalisation, no normalisation layers at all, several poolings
TINY = ("test_resnet", "test_vit", "test_convnext", "test_nfnet", "test_byobnet")


def made(name: str, side: int = 32, **settings):
    implementation = timm_named(name)
    return implementation(implementation.Settings(**settings), side)


def test_any_network_of_timm_has_a_name():
    implementation = DETECTORS.load("timm:test_resnet")
    assert implementation is timm_named("test_resnet") and implementation.family == "timm:test_resnet"
    assert "test_resnet" in implementation.citation and implementation.variant and implementation.__doc__
    configuration = timm.get_pretrained_cfg("test_resnet")
    assert (implementation.mean, implementation.std) == (configuration.mean, configuration.std)


def test_published_weights_are_named_by_their_tag():
    assert timm_named("test_resnet.r160_in1k").family == "timm:test_resnet.r160_in1k"
    with pytest.raises(UnknownNameError, match=r"test_resnet\.r160_in1k"):
        timm_named("test_resnet.r160_in1")


def test_an_unknown_network_fails_when_it_is_named():
    with pytest.raises(UnknownNameError, match=r"timm network 'resnet5O' is not known; did you mean 'resnet50'"):
        DETECTORS.load("timm:resnet5O")


@pytest.mark.parametrize("name", TINY)
def test_networks_of_all_kinds_train_at_32_px(name):
    detector = made(name)
    network = detector.build()
    inputs = detector.prepare(torch.randint(0, 256, (4, 32, 32, 3), dtype=torch.uint8))
    for precision in (torch.float32, torch.bfloat16):
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == torch.bfloat16):
            logits = detector.logits(network.train(), inputs)
            loss = detector.loss(network, inputs, torch.tensor([0.0, 0, 1, 1]))
        assert logits.shape == (4,) and logits.dtype == torch.float32
        loss.backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


@pytest.mark.parametrize("name", TINY)
def test_weights_of_a_file_are_the_start_and_its_other_head_is_replaced(name, tmp_path):
    size = {"img_size": 32} if name == "test_vit" else {}
    source = timm.create_model(name, num_classes=7, **size)
    save_file(source.state_dict(), tmp_path / "start.safetensors")
    network = made(name, weights=str(tmp_path / "start.safetensors")).build()
    head = set(head_of(network))
    for key, value in network.state_dict().items():
        if key in head:
            assert value.shape[0] == 1
        else:
            assert torch.equal(value, source.state_dict()[key]), key


@pytest.mark.parametrize("name", ["resnet50", "efficientnet-b0", "convnext-tiny", "mobilenetv3", "xception"])
def test_thehead_of_each_preset_is_found(name):
    with torch.device("meta"):
        network = timm.create_model(DETECTORS.load(name).timm_name, num_classes=1)
    shapes = {key: tuple(network.state_dict()[key].shape) for key in head_of(network)}
    assert sorted(shape[0] for shape in shapes.values()) == [1, 1] and len(shapes) == 2


def test_a_network_for_larger_images_says_so_before_the_work():
    with pytest.raises(
        InputError, match=r"timm network inception_v3 cannot take 32 px images: .*; set input_size .*299"
    ):
        made("inception_v3").build()


def test_positions_of_another_size_are_named(tmp_path):
    save_file(timm.create_model("test_vit", num_classes=1).state_dict(), tmp_path / "large.safetensors")
    with pytest.raises(InputError, match=r"pos_embed is \[1, \d+, \d+\], the network has"):
        made("test_vit", weights=str(tmp_path / "large.safetensors")).build()


def test_defaults_keep_ranges_and_descriptions():
    settings_class = with_defaults(TimmSettings, learning_rate=0.5, batch=64)
    assert (settings_class().learning_rate, settings_class().batch, settings_class.__name__) == (
        0.5,
        64,
        "TimmSettings",
    )
    before, after = (settings.model_fields["learning_rate"] for settings in (TimmSettings, settings_class))
    assert after.description == before.description
    with pytest.raises(ValidationError, match="less than or equal to 1"):
        settings_class(learning_rate=2)
    with pytest.raises(ValidationError, match="learning_rat"):
        with_defaults(TimmSettings, learning_rat=0.5)
    with pytest.raises(ValidationError, match="multiple of 2"):
        with_defaults(TimmSettings, batch=3)
