"""SAN's last layer: both gradients against the formulas of Takida et al., written out by hand."""

import pytest
import torch
from torch import nn
from torch.nn.functional import softplus

from forge.core.compute import Compute
from forge.core.distributed import ProcessGroup
from forge.generators import GENERATORS
from forge.generators.blocks.san import DirectionHead, logits_along_directions
from forge.training.readings import Readings
from forge.training.settings import TrainingSettings
from forge.training.steps.adversarial import Adversarial
from forge.training.steps.adversarial_plan import DiscriminatorStep
from forge.training.steps.base import StepContext, StepRandom
from forge.training.task import Training

PLAIN = DiscriminatorStep(penalise=False, adapt=False, measure=False)


def head_of(features: int = 6) -> DirectionHead:
    torch.manual_seed(0)
    head = DirectionHead(features, scale=1.5)
    nn.init.normal_(head.bias)
    return head


def test_both_outputs_are_the_scaled_projection_on_a_direction_of_length_1():
    head, features = head_of(), torch.randn(4, 6)
    direction = head.weight / head.weight.norm()
    expected = 1.5 * ((features + head.bias) @ direction)
    assert torch.allclose(head(features), expected, atol=1e-6)
    assert torch.allclose(head.along(features), expected, atol=1e-6)
    head.weight.data *= 7  # the length of the stored weights means nothing
    assert torch.allclose(head(features), expected, atol=1e-6)


def test_each_output_s_gradient_reaches_what_it_trains_and_nothing_else():
    head, features = head_of(), torch.randn(4, 6, requires_grad=True)
    head(features).sum().backward()
    direction = (head.weight / head.weight.norm()).detach()
    assert head.weight.grad is None
    assert torch.allclose(features.grad, 1.5 * direction.expand(4, 6))  # d logit / d h = s w
    assert torch.allclose(head.bias.grad, 4 * 1.5 * direction)
    assert torch.allclose(head.scale.grad, ((features + head.bias) @ direction).sum())
    features.grad = head.bias.grad = head.scale.grad = None
    head.along(features).sum().backward()
    assert features.grad is None and head.bias.grad is None and head.scale.grad is None
    # d (s <w/|w|, u>) / dw = s (u - <u, w/|w|> w/|w|) / |w|
    total = 1.5 * (features + head.bias).sum(0).detach()
    expected = (total - (total @ direction) * direction) / head.weight.norm()
    assert torch.allclose(head.weight.grad, expected, atol=1e-5)


def test_logits_are_collected_inside_the_block_alone_and_in_order():
    head = head_of()
    network, first, second = nn.Sequential(nn.Identity(), head), torch.randn(2, 6), torch.randn(3, 6)
    with logits_along_directions(network) as logits:
        network(first)
        network(second)
    network(first)
    assert [len(some) for some in logits] == [2, 3]
    assert torch.allclose(logits[1], head(second))
    with logits_along_directions(nn.Linear(2, 2)) as none:
        pass
    assert none == []


def adversarial(name: str, view, tmp_path, **network) -> Adversarial:
    architecture = GENERATORS.load(name)
    training = Training(
        name=name,
        reference=name,
        architecture=architecture(architecture.Settings(head="san", **network), 16),
        settings=TrainingSettings(batch=4),
        view=view,
        seed=0,
        compute=Compute("cpu", "fp32"),
        work=tmp_path,
    )
    context = StepContext(training, "fp32", ProcessGroup(), StepRandom(0), Readings(torch.device("cpu")))
    return Adversarial(context)


SMALL = {
    "dcgan": {"latent": 8, "generator_width": 4, "discriminator_width": 4},
    "stylegan-lite": {"latent": 8, "style": 8, "channels_base": 64, "channels_min": 4, "channels_max": 8},
}


@pytest.mark.parametrize("joint", [True, False])
@pytest.mark.parametrize("name", sorted(SMALL))
def test_a_discriminator_step_has_the_gradients_of_san_s_two_losses(make_set, tmp_path, name, joint):
    norm = {"discriminator_norm": "none"} if name == "dcgan" else {"minibatch_group": 1}
    method = adversarial(name, make_set("faces", {"forge": 16}).view("forge"), tmp_path, **SMALL[name], **norm)
    assert method.joint
    method.joint = joint
    network = method.discriminator
    head = next(module for module in network.modules() if isinstance(module, DirectionHead))
    seen: list[torch.Tensor] = []
    handle = head.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0]))
    torch.manual_seed(1)
    real, forged = torch.rand(4, 3, 16, 16) * 2 - 1, torch.rand(4, 3, 16, 16) * 2 - 1
    method.discriminator_optimizer.step = lambda: None  # the gradients are looked at, not used
    method.d_step(real, forged, None, PLAIN)
    handle.remove()
    got = {key: parameter.grad.clone() for key, parameter in network.named_parameters()}
    network.zero_grad()
    real_h, forged_h = torch.cat(seen).chunk(2)
    weight, bias, scale = head.weight, head.bias, head.scale
    fixed = (weight / weight.norm()).detach()
    logits = [scale * ((features + bias) @ fixed) for features in (real_h, forged_h)]
    game = softplus(-logits[0]).mean() + softplus(logits[1]).mean()
    # the direction: the mean feature of reals less that of forgeries, projected on it, is to be large
    apart = (forged_h.mean(0) - real_h.mean(0)).detach() @ (weight / weight.norm()) * scale.detach()
    images = torch.cat([real, forged])
    logits = network(images).chunk(2)
    assert torch.allclose(softplus(-logits[0]).mean() + softplus(logits[1]).mean(), game, atol=1e-5)
    (softplus(-logits[0]).mean() + softplus(logits[1]).mean() + apart).backward()
    for key, parameter in network.named_parameters():
        assert torch.allclose(got[key], parameter.grad, atol=1e-5, rtol=1e-4), key


def test_the_generator_s_gradient_is_that_of_the_whole_logit(make_set, tmp_path):
    view = make_set("faces", {"forge": 16}).view("forge")
    method = adversarial("dcgan", view, tmp_path, **SMALL["dcgan"], discriminator_norm="none")
    images = torch.randn(2, 3, 16, 16, requires_grad=True)
    method.discriminator(images).sum().backward()
    features = method.discriminator.features(images)[-1].flatten(1)
    head = method.discriminator.head[1]
    (expected,) = torch.autograd.grad((head.scale * (features @ (head.weight / head.weight.norm()))).sum(), images)
    assert torch.allclose(images.grad, expected, atol=1e-6)
