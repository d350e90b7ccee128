"""timm's Xception with another input and a shorter middle, as the frequency detectors use it."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor, nn

from detect.weights import load_weights, read_tensors, timm_pretrained

NAME = "legacy_xception"
MIDDLE = 8  # blocks 4 to 11; F3-Net mixes its streams after block 7


def xception(channels: int, *, middle: int = MIDDLE, weights: str = "scratch") -> nn.Module:
    """Make `legacy_xception` with one logit; blocks that are left out become identities.

    Args:
        channels: of the input.
        middle: how many of blocks 4 to 11 are kept, shared out between 4 to 7 and 8 to 11, the first of each.
        weights: scratch, imagenet, or a .safetensors file with timm's names. The first layer's kernels for red, green
            and blue are repeated over the channels and scaled by 3 / channels, which keeps the size of its output.

    Returns:
        The network, with timm's names.

    Raises:
        InputError: the weights cannot be had or do not fit.
    """
    import timm  # takes seconds to import, which listing detectors does not need

    network: nn.Module = timm.create_model(NAME, pretrained=False, in_chans=channels, num_classes=1)
    # halves of the middle, so that F3-Net's mixing after block 7 divides what is left as it divides the whole
    kept = {*range(4, 4 + (middle + 1) // 2), *range(8, 8 + middle // 2)}
    left_out = [f"block{number}" for number in range(4, 4 + MIDDLE) if number not in kept]
    for block in left_out:
        # blocks 4 to 11 map 728 channels to 728 at one size: an identity fits in their place
        setattr(network, block, nn.Identity())
    if weights == "scratch":
        return network
    if weights == "imagenet":
        tensors, source = timm_pretrained(NAME).state_dict(), f"the ImageNet weights of {NAME}"
    else:
        path = Path(weights).expanduser()
        tensors, source = read_tensors(path), f"weights file {path}"
    # weights of blocks that are left out have no place in the network
    tensors = {name: value for name, value in tensors.items() if name.partition(".")[0] not in left_out}
    if "conv1.weight" in tensors:
        tensors["conv1.weight"] = _spread(tensors["conv1.weight"], channels)
    load_weights(network, tensors, source=source, head=["fc.weight", "fc.bias"])
    return network


def _spread(kernels: Tensor, channels: int) -> Tensor:
    inputs = kernels.shape[1]
    if inputs == channels:
        return kernels
    # a sum over more channels is larger in proportion: the factor keeps the scale that later layers expect
    return kernels.repeat(1, -(-channels // inputs), 1, 1)[:, :channels] * (inputs / channels)
