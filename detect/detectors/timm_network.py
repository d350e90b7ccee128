"""Image classification networks of timm with one logit; a further network is a class of a few lines."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any, ClassVar, TypeVar, cast

import torch
from pydantic import Field, field_validator
from torch import Tensor, nn
from torch.nn.init import normal_

from detect.detectors.base import FitContext, FitData, FitSummary
from detect.detectors.network import NetworkDetector
from detect.training.settings import NetworkSettings
from detect.weights import load_weights, read_tensors, timm_pretrained
from forge.core.errors import InputError, UnknownNameError
from forge.core.files import digest_file

Triple = tuple[float, float, float]

IMAGENET_MEAN = (0.485, 0.456, 0.406)  # of the channels of ImageNet in 0..1, which most published weights expect
IMAGENET_STD = (0.229, 0.224, 0.225)


class TimmSettings(NetworkSettings):
    """Settings of a timm network."""

    weights: str = Field(
        "scratch",
        description="start from: scratch (random, downloads nothing), imagenet (timm's, cached or downloaded), "
        "or a .safetensors file with the network's timm names; a head of another size is replaced by a random one",
    )

    @field_validator("weights")
    @classmethod
    def _known(cls, value: str) -> str:
        if value not in ("scratch", "imagenet") and not value.endswith(".safetensors"):
            raise ValueError(
                "must be scratch, imagenet, or a path that ends in .safetensors (pickles are never opened)"
            )
        return value


T = TypeVar("T", bound=TimmSettings)


class TimmDetector(NetworkDetector[T]):
    """A timm network; a subclass names it."""

    fuses_batch_norms = True
    timm_name: ClassVar[str]

    def build(self, *, blank: bool = False) -> nn.Module:
        """Make the network and give it the weights that `weights` asks for.

        Raises:
            InputError: the weights cannot be had or do not fit, or the network takes no images of this size.
        """
        import timm  # takes seconds to import

        weights = "scratch" if blank else self.settings.weights
        configuration = timm.get_pretrained_cfg(self.timm_name)
        # networks with learned positions are made for one size, all others take any
        size: dict[str, Any] = (
            {"img_size": self.side} if configuration is not None and configuration.fixed_input_size else {}
        )
        network: nn.Module
        try:
            if weights == "imagenet":
                network = timm_pretrained(self.timm_name, **size)
            else:
                network = timm.create_model(self.timm_name, pretrained=False, num_classes=1, **size)
        except (AssertionError, ValueError, TypeError, RuntimeError, ZeroDivisionError) as error:
            raise self._unsuitable(error) from error
        # before a file's weights, which may bring a head of their own; timm's are loaded by then, with a new head
        self.adapt(network)
        if weights not in ("scratch", "imagenet"):
            path = Path(weights).expanduser()
            load_weights(
                network,
                self.renamed(network, read_tensors(path)),
                source=f"weights file {path}",
                head=head_of(network),
            )
        # not of a blank network: the size was tried in the fit
        if not blank:
            self._try(network)
        return network

    def renamed(self, network: nn.Module, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the tensors of a weights file with the names of the network."""
        return tensors

    def adapt(self, network: nn.Module) -> None:
        """Change the new network in place; a file's weights are read afterwards, timm's before.

        Draws the head's weights from N(0, .02), as Wang et al. 2020 do: some of timm's networks scale them by the
        number of outputs, which with one output gives logits in the tens.
        """
        parameters_by_name = dict(network.named_parameters())
        for name in head_of(network):
            # biases keep what timm gave them
            if name.endswith("weight"):
                normal_(parameters_by_name[name], std=0.02)

    def logits(self, network: nn.Module, inputs: Tensor) -> Tensor:
        """Logits, float32 [N]; the head is computed in fp32, since a logit of 8 bits ties where nothing is equal."""
        # features in the network's precision, the head in fp32
        features = network.forward_features(inputs)  # type: ignore[operator]
        with torch.autocast(inputs.device.type, enabled=False):
            outputs: Tensor = network.forward_head(_in_fp32(features))  # type: ignore[operator]
        return outputs.flatten()

    def fit(self, data: FitData, context: FitContext) -> FitSummary:
        """Train the network; records what it started from."""
        summary = super().fit(data, context)
        start: dict[str, Any] = {"start": self.settings.weights}
        if self.settings.weights not in ("scratch", "imagenet"):
            start["start_sha256"] = digest_file(Path(self.settings.weights).expanduser())
        return FitSummary(summary.history, start | summary.facts)

    def _try(self, network: nn.Module) -> None:
        """Run one black image, so that a network for larger images fails before the work and in a sentence."""
        try:
            # in evaluation mode: statistics of batch norms must not take in a black image
            with torch.no_grad():
                self.logits(network.eval(), torch.zeros(1, 3, self.side, self.side))
        except (AssertionError, ValueError, RuntimeError, IndexError, ZeroDivisionError) as error:
            raise self._unsuitable(error) from error
        network.train()

    def _unsuitable(self, error: Exception) -> InputError:
        import timm  # takes seconds to import

        configuration = timm.get_pretrained_cfg(self.timm_name)
        example = f", e.g. its own {configuration.input_size[-1]}" if configuration is not None else ""
        reason = " ".join(str(error).split())[:160] or type(error).__name__
        return InputError(
            f"timm network {self.timm_name} cannot take {self.side} px images: {reason}; set input_size to one that "
            f"it can{example}"
        )


@functools.cache
def timm_named(name: str) -> type[TimmDetector[TimmSettings]]:
    """The detector `timm:NAME`: any image network of timm, with timm's normalisation.

    Args:
        name: as in `timm.list_models()`, e.g. "resnet18", or with the tag of published weights "resnet18.a1_in1k".

    Raises:
        UnknownNameError: timm has no such network; carries the nearest names.
    """
    import timm  # takes seconds to import

    known = timm.list_models(pretrained="." in name)
    if name not in known:
        raise UnknownNameError("timm network", name, known, see='python -c "import timm; print(*timm.list_models())"')
    configuration = timm.get_pretrained_cfg(name)
    normalisation = (TimmDetector.mean, TimmDetector.std)
    if configuration is not None:
        normalisation = cast("tuple[Triple, Triple]", (configuration.mean, configuration.std))

    class Named(TimmDetector[TimmSettings]):
        family = f"timm:{name}"
        citation = f"{name} of PyTorch Image Models (Wightman 2019, github.com/huggingface/pytorch-image-models)"
        variant = "a network for ImageNet with one logit, by default from random weights at the set's own resolution"
        timm_name = name
        any_size = configuration is None or not configuration.fixed_input_size
        mean, std = normalisation

    Named.__name__ = Named.__qualname__ = f"timm_named({name!r})"
    Named.__doc__ = f"The network {name} of timm with one logit."
    return Named


def head_of(network: nn.Module) -> list[str]:
    """Return names of the weights that make logits of features; networks with two heads have two of each."""
    heads = network.pretrained_cfg["classifier"]  # type: ignore[index]
    prefixes = [heads] if isinstance(heads, str) else heads or []
    state = network.state_dict()
    return [
        name for prefix in prefixes for parameter in ("weight", "bias") if (name := f"{prefix}.{parameter}") in state
    ]


def _in_fp32(features: Any) -> Any:  # noqa: ANN401 - a tensor, or for a few networks several
    if isinstance(features, list | tuple):
        # several outputs, e.g. those of a distilled network with two heads
        return type(features)(_in_fp32(part) for part in features)
    return features.float()
