"""Tuned transformers: what learns, what a merge keeps, and the split of Effort against its formulas."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn

from detect.detectors.registry import DETECTORS
from detect.layers.backbones import SHORT_NAMES, make_backbone
from detect.tuning import METHODS
from detect.tuning.base import attention_layers
from detect.tuning.svd import SplitLinear
from forge.core.errors import InputError

NAME = "tune:test_vit"
pytestmark = pytest.mark.xdist_group(NAME)  # with its case in test_families.py: one process imports peft


def tuned(**settings):
    method = DETECTORS.load(NAME)
    torch.manual_seed(0)
    detector = method(method.Settings(**{"weights": "scratch", "method": "svd", **settings}), 32)
    detector.network = detector.build()
    return detector


def perturb(network: nn.Module) -> None:
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.requires_grad:
                parameter.add_(0.05 * torch.randn_like(parameter))


@pytest.mark.parametrize("method", ["svd", "lora"])
def test_little_learns_and_the_merged_network_is_an_ordinary_one(method):
    detector = tuned(method=method, rank=2, scale=4)
    network = detector.network.eval()
    # before the first step the network is that of timm, and only parts of attention and the head learn
    torch.manual_seed(0)
    plain_class = DETECTORS.load("timm:test_vit")
    plain = plain_class(plain_class.Settings(weights="scratch"), 32).build().eval()
    images = torch.rand(3, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(detector.logits(network, images), detector.logits(plain, images), atol=1e-5, rtol=0)
    learning = {name for name, parameter in network.named_parameters() if parameter.requires_grad}
    assert {"head.weight", "head.bias"} < learning
    assert all(".attn." in name for name in learning - {"head.weight", "head.bias"})
    perturb(network)
    with torch.no_grad():
        before = detector.logits(network, images)
        detector._method().merge(network)
        after = detector.logits(network, images)
    torch.testing.assert_close(after, before, atol=1e-5, rtol=0)
    assert before.std() > 0
    assert set(network.state_dict()) == set(plain.state_dict())
    assert type(network.blocks[0].attn.qkv) is nn.Linear


def test_the_split_is_that_of_the_paper():
    """Against whole matrices: Q Q^T - I of all singular vectors, the change of the squared norm."""
    torch.manual_seed(0)
    layer, rank, size = nn.Linear(12, 12), 3, 12
    split = SplitLinear(layer, rank)
    u, s, v = torch.linalg.svd(layer.weight.detach())
    torch.testing.assert_close(split.main[0], u[:, :-rank] @ torch.diag(s[:-rank]) @ v[:-rank], atol=1e-5, rtol=0)
    torch.testing.assert_close(split.weight, layer.weight, atol=1e-6, rtol=0)
    assert split.penalty().item() < 1e-4
    split.penalty().backward()
    assert all(torch.isfinite(part.grad).all() for part in (split.u, split.s, split.v))
    perturb(split)
    left = torch.cat([u[:, :-rank], split.u[0].detach()], dim=1)
    right = torch.cat([v[:-rank], split.v[0].detach()])
    # the residual's signs may be others than those of this decomposition; a sign changes no product
    expected = [torch.linalg.matrix_norm(q @ q.T - torch.eye(size)) for q in (left, right.T)]
    change = (split.weight.square().sum() - layer.weight.square().sum()).abs()
    torch.testing.assert_close(split.penalty(), (sum(expected) / 2 + change).detach(), atol=1e-4, rtol=1e-4)


def test_queries_keys_and_values_are_split_each_by_itself():
    torch.manual_seed(0)
    layer = nn.Linear(8, 24)
    split = SplitLinear(layer, 1)
    keys = layer.weight.detach()[8:16]
    u, s, v = torch.linalg.svd(keys)
    torch.testing.assert_close(split.main[1], keys - s[-1] * torch.outer(u[:, -1], v[-1]), atol=1e-5, rtol=0)
    images = torch.rand(2, 5, 8)
    torch.testing.assert_close(split(images), layer(images), atol=1e-5, rtol=0)


def test_the_penalty_is_part_of_the_loss():
    detector = tuned(scale=2.0)
    inputs, labels = torch.rand(4, 3, 32, 32), torch.tensor([0.0, 1, 0, 1])
    detector.network.eval()
    perturb(detector.network)
    plain = super(type(detector).__mro__[1], detector).loss(detector.network, inputs, labels)
    penalties = [module.penalty() for module in detector.network.modules() if isinstance(module, SplitLinear)]
    assert len(penalties) == len(attention_layers(timm.create_model("test_vit"), "x"))
    loss = detector.loss(detector.network, inputs, labels)
    torch.testing.assert_close(loss - plain, 2.0 * torch.stack(penalties).mean(), atol=1e-4, rtol=1e-4)


def test_a_file_of_another_publisher_is_renamed_and_resized(tmp_path):
    """DINO's file: timm's names with a mask token, positions for 160 px images, no head."""
    torch.manual_seed(1)
    state = timm.create_model("test_vit", num_classes=0).state_dict()
    save_file(state, tmp_path / "dino.safetensors")
    detector = tuned(weights=str(tmp_path / "dino.safetensors"))
    kept = detector.network.state_dict()
    assert torch.equal(kept["blocks.0.mlp.fc1.weight"], state["blocks.0.mlp.fc1.weight"])
    assert kept["pos_embed"].shape[1] < state["pos_embed"].shape[1]


def test_a_network_without_attention_is_refused():
    method = DETECTORS.load("tune:test_resnet")
    with pytest.raises(InputError, match=r"tune:test_resnet has no attention layers.*timm:NAME"):
        method(method.Settings(weights="scratch"), 32).build()


def test_fused_biases_are_refused_by_lora_and_work_with_the_split():
    method = DETECTORS.load("tune:vit_tiny_patch16_dinov3_qkvb")
    with pytest.raises(InputError, match=r"lora cannot reach blocks\.0\.attn\.qkv.*use method: svd"):
        method(method.Settings(weights="scratch"), 32).build()


def test_without_peft_the_extra_is_named_and_the_split_still_works(monkeypatch):
    monkeypatch.setitem(sys.modules, "peft", None)
    monkeypatch.delitem(sys.modules, "detect.tuning.lora", raising=False)
    with pytest.raises(InputError, match=r"pip install 'deepfake-bench\[tune\]', or use method: svd"):
        METHODS.load("lora")
    assert tuned().network is not None


@pytest.mark.parametrize(("short", "name"), SHORT_NAMES.items())
def test_short_names_are_those_of_timm(short, name):
    assert DETECTORS.load(f"tune:{short}").timm_name == name == DETECTORS.load(f"probe:{short}").backbone_name


def test_a_probe_pools_by_attention_from_a_file_as_siglip_does(tmp_path):
    network = timm.create_model("test_vit3", num_classes=0).eval()
    assert network.attn_pool is not None
    save_file(network.state_dict(), tmp_path / "siglip.safetensors")
    backbone = make_backbone("test_vit3", str(tmp_path / "siglip.safetensors"), input_size=None, seed=0)
    images = torch.randint(0, 256, (2, 160, 160, 3), dtype=torch.uint8)
    mean, std = (torch.tensor(values)[:, None, None] for values in (backbone.mean, backbone.std))
    with torch.no_grad():
        expected = network((images.permute(0, 3, 1, 2) / 255 - mean) / std)
        torch.testing.assert_close(backbone.embed(images), expected, atol=1e-5, rtol=1e-4)


def test_settings_name_the_methods():
    field = DETECTORS.load(NAME).Settings.model_fields["method"]
    assert set(METHODS.entries) == set(field.annotation.__args__)
    assert np.isfinite(DETECTORS.load(NAME).Settings().scale)
