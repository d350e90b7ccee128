"""A small network that tells the labels of images, shared by the metrics that train one.

Strided convolutions with batch norm, always in fp32. On a CPU equal seeds and threads give equal weights.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from forge.core.errors import InputError, quoted
from forge.faces.faceset import Images
from forge.faces.tensors import to_float, translate

SIDE = 64  # larger images are averaged down to this
WIDTHS = (16, 32, 64, 128)
RATE = 3e-3

LabelColumn = NDArray[Any]  # [n], classes as strings or numbers


def codes(name: str, labels: LabelColumn, count: int, classes: NDArray[np.str_]) -> NDArray[np.int64]:
    """Return the place of each label among the classes, int64 [n].

    Args:
        name: of the set, for errors.
        labels: [n].
        count: images of the set.
        classes: sorted, each once.

    Raises:
        InputError: not one label an image, or a label that is no class.
    """
    texts = np.asarray(labels).astype(str)
    if texts.shape != (count,):
        raise InputError(f"there are {count} {name} images and labels of shape {texts.shape}; give one label an image")
    if unknown := sorted(set(texts) - set(classes)):
        raise InputError(
            f"{name} label {quoted(str(unknown[0]))} has no training images; the classes are {', '.join(classes)}"
        )
    return np.searchsorted(classes, texts).astype(np.int64)  # classes are sorted, as np.unique returns them


def labelled(images: Images, labels: NDArray[np.str_], wanted: set[str]) -> tuple[Images, NDArray[np.str_]]:
    """Return the images that have one of the wanted labels, and these labels.

    Raises:
        InputError: not one label an image.
    """
    if len(images) != len(labels):
        raise InputError(f"there are {len(images)} images and {len(labels)} labels; give one label an image")
    known = np.isin(labels, sorted(wanted))  # labels that the reference lacks cannot be learnt
    return images[known], labels[known]


def network_of(classes: int, device: str) -> nn.Module:
    """Return a fresh network, images [N, 3, H, H] in -1..1 to logits [N, classes]."""
    layers: list[nn.Module] = []
    for narrow, wide in zip((3, *WIDTHS), WIDTHS, strict=False):  # 3 to 16, 16 to 32, ..., each halves the side
        layers += [nn.Conv2d(narrow, wide, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(wide), nn.ReLU()]
    network = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(WIDTHS[-1], classes))
    return network.to(memory_format=torch.channels_last).to(device)


def as_batch(images: Images, device: str, side: int = SIDE) -> Tensor:
    """Return uint8 images [N, H, H, 3] as floats [N, 3, side, side] in -1..1; smaller ones keep their size."""
    batch = to_float(torch.from_numpy(np.array(images)).to(device))
    # area means, so that large images do not alias
    return F.adaptive_avg_pool2d(batch, side) if batch.shape[-1] > side else batch


def fit(network: nn.Module, batches: Iterable[tuple[Tensor, Tensor]], steps: int) -> None:
    """Train a network, which is then in evaluation mode.

    Args:
        network: see `network_of`.
        batches: images [N, 3, H, H] and classes int64 [N] of each step.
        steps: how many batches there are, which the schedule of the learning rate needs.
    """
    optimizer = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=0.01)
    # one cycle: up from 1/25 of the rate to the rate and down to nearly 0 (Smith and Topin 2019)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps)
    network.train()
    for images, targets in batches:
        logits = network(translate(images, 1 / 16))  # by up to 1/16 of the side
        loss = F.cross_entropy(logits, targets)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
    network.eval()


@torch.no_grad()
def predict(network: nn.Module, batches: Iterable[Tensor]) -> NDArray[np.int64]:
    """Return the class of the largest logit of each image, int64 [n]."""
    return np.asarray(torch.cat([network(batch).argmax(1).cpu() for batch in batches]).numpy(), np.int64)
