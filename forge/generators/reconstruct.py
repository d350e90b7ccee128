"""Images through a trained autoencoder: to codes, to the latents that its generator is called with, and back.

The encoder of `vae` is made for this: reconstructions are images that a generator made of real ones (laundering), and
the latents of an image are where a search for it in latent space begins (inversion).

    network = autoencoder_of(TrainedGenerator.open(path))
    codes = encode(network, images)              # of an image always the same
    latents = network.latents(codes)             # network(latents) is decode(network, codes) in -1..1
    copies = reconstruct(network, images)        # uint8, as the images
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from forge.core.errors import InputError
from forge.faces.faceset import Images
from forge.faces.tensors import to_float, to_uint8
from forge.generators.artifact import TrainedGenerator
from forge.generators.autoencoder import Autoencoder

BLOCK = 64  # images that pass the network at once; the last bits of a network's result depend on it


def autoencoder_of(trained: TrainedGenerator, *, averaged: bool = True, device: str = "cpu") -> Autoencoder:
    """Return the network of a trained autoencoder, in evaluation mode.

    Args:
        trained: the generator.
        averaged: use the averaged weights (else the raw ones).
        device: where to compute.

    Raises:
        InputError: the generator is no autoencoder.
    """
    network = trained.generator(averaged=averaged, device=device)
    if not isinstance(network, Autoencoder):
        raise InputError(f"{trained.card.name} has no encoder; name an autoencoder such as vae")
    return network


@torch.no_grad()
def encode(network: Autoencoder, images: Images) -> Tensor:
    """Encode images.

    Args:
        network: of `autoencoder_of`.
        images: uint8 [N, H, W, 3] of the network's resolution.

    Returns:
        Codes on the CPU: float32 [N, L] of a VAE, int64 [N, T] of a VQ-VAE.

    Raises:
        InputError: no images, or images of another size.
    """
    device = next(network.parameters()).device
    size = network.resolution
    if images.ndim != 4 or images.shape[1:] != (size, size, 3) or not len(images):
        raise InputError(
            f"images of shape {list(images.shape)} cannot be encoded; the network was trained at {size} px and takes "
            f"[N, {size}, {size}, 3]"
        )
    parts = [to_float(torch.from_numpy(images[i : i + BLOCK])) for i in range(0, len(images), BLOCK)]
    return torch.cat([network.encode(part.to(device)).cpu() for part in parts])


@torch.no_grad()
def decode(network: Autoencoder, codes: Tensor) -> Images:
    """Return the images, uint8 [N, H, W, 3], of codes."""
    device = next(network.parameters()).device
    parts = [codes[i : i + BLOCK].to(device) for i in range(0, len(codes), BLOCK)]
    decoded = [to_uint8(network.decode(part).clamp(-1, 1)).cpu().numpy() for part in parts]
    return np.concatenate(decoded)


def reconstruct(network: Autoencoder, images: Images) -> Images:
    """Encode images uint8 [N, H, W, 3] and decode them again; see `encode`."""
    return decode(network, encode(network, images))
