"""Reference loops of detectors over PNG files, as public repositories train and test.

One PNG file an image, decoded by Pillow in two DataLoader workers, ToTensor and Normalize of torchvision, a network of
timm in fp32 and PyTorch's default memory format. It computes the same as ours; only how it is fed and run differs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from forge.faces.faceset import Images

WORKERS = 2


class PngFiles(Dataset[tuple[Tensor, float]]):
    """Images by their files, with labels.

    Args:
        files: PNG, RGB, all of one size.
        labels: one a file, 1 = forged.
        flip: mirror at random, for training.
    """

    def __init__(self, files: Sequence[Path], labels: Sequence[float], *, flip: bool = False) -> None:
        self.files, self.labels = files, labels
        mirrored = [transforms.RandomHorizontalFlip()] if flip else []
        normalised = transforms.Normalize([0.5] * 3, [0.5] * 3)  # mean and standard deviation .5: 0..1 becomes -1..1
        self.transform = transforms.Compose([*mirrored, transforms.ToTensor(), normalised])

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, number: int) -> tuple[Tensor, float]:
        """Return the image float32 [3, H, W] in -1..1, and its label."""
        image = Image.open(self.files[number]).convert("RGB")  # decoded at each access, as public code does
        return self.transform(image), self.labels[number]


def write_pngs(images: Images, folder: Path) -> list[Path]:
    """Write uint8 images [n, H, W, 3] as PNG files into a new folder; returns them in order."""
    folder.mkdir(parents=True)
    files = [folder / f"{number:06}.png" for number in range(len(images))]
    for file, image in zip(files, images, strict=True):
        Image.fromarray(image).save(file)
    return files


def score(network: nn.Module, files: Sequence[Path], *, batch: int = 64) -> NDArray[np.float32]:
    """Run the plain evaluation loop; return the logits of a network with one output, [n]."""
    loader = DataLoader(PngFiles(files, [0.0] * len(files)), batch_size=batch, num_workers=WORKERS)
    network.eval()
    logits = []
    with torch.no_grad():
        for inputs, _ in loader:  # labels are not needed
            logits.append(network(inputs).flatten().numpy())
    return np.concatenate(logits)


def train(
    network: nn.Module, real: Sequence[Path], forged: Sequence[Path], *, batch: int = 32, learning_rate: float = 2e-4
) -> float:
    """Run the plain training loop, one pass over all files; return the last batch's loss."""
    data = PngFiles([*real, *forged], [0.0] * len(real) + [1.0] * len(forged), flip=True)
    # drop_last: a smaller batch at the end would be another shape
    loader = DataLoader(data, batch_size=batch, shuffle=True, num_workers=WORKERS, drop_last=True)
    optimizer = torch.optim.Adam(network.parameters(), learning_rate)
    network.train()
    last = 0.0
    for inputs, labels in loader:
        optimizer.zero_grad()
        loss = binary_cross_entropy_with_logits(network(inputs).flatten(), labels.float())
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        last = loss.item()  # `item` waits for the device at each step, as public loops do
    return last


def training_step(
    network: nn.Module, inputs: Tensor, labels: Tensor, *, learning_rate: float = 2e-4
) -> Callable[[], None]:
    """Return the same loop's step without its files: one batch that lies on the device already.

    Args:
        network: with one output, on the device.
        inputs: float32 [N, 3, H, W] in -1..1.
        labels: float32 [N], 1 = forged.
        learning_rate: of Adam.
    """
    optimizer = torch.optim.Adam(network.parameters(), learning_rate)
    network.train()

    def step() -> None:
        optimizer.zero_grad()
        loss = binary_cross_entropy_with_logits(network(inputs).flatten(), labels)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return step
