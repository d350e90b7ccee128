"""Weights in and out of networks: safetensors only, so that nothing that is loaded can run code."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import getproxies

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from forge.core.errors import CorruptError, InputError, short

CONNECT_SECONDS = 5


def write_tensors(path: Path, tensors: dict[str, Tensor]) -> None:
    """Write tensors as one safetensors file, on the CPU and contiguous; the same values give the same bytes."""
    save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, path)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read a safetensors file onto the CPU.

    Raises:
        InputError: no such file, or another format; a pickle is refused by its name and first bytes, never opened.
        CorruptError: a safetensors file that is cut short or damaged.
    """
    if not path.is_file():
        raise InputError(f"weights file {path} does not exist")
    with path.open("rb") as file:
        start = file.read(9)
    # a zip (.pth of today), pickles of protocols 2 and 4, or no JSON header after the 8 bytes of its length
    if path.suffix != ".safetensors" or start[:2] in (b"PK", b"\x80\x02", b"\x80\x04") or start[8:9] != b"{":
        raise InputError(
            f"weights file {path} is not safetensors; pickles (.pth, .pt, .bin) can run code and are never opened: "
            "convert it once where you trust it, "
            'safetensors.torch.save_file(torch.load(FILE, weights_only=True), "weights.safetensors")'
        )
    try:
        return load_file(path)
    except SafetensorError as error:
        raise CorruptError(f"weights file {path} is damaged: {error}; copy or make it again") from error


def load_weights(network: nn.Module, tensors: dict[str, Tensor], *, source: str, head: Iterable[str] = ()) -> list[str]:
    """Copy tensors into a network; every name and shape must be right.

    Args:
        network: what is filled.
        tensors: name -> values, as in its `state_dict()`.
        source: where they come from, for messages.
        head: names that may be absent or of another shape; they then keep the values they have.

    Returns:
        The names of `head` that kept their values.

    Raises:
        InputError: names missing or unknown, or a shape that differs; the first few are named.
    """
    state = network.state_dict()
    # a head for another number of classes stays random; every other tensor must fit
    kept = [name for name in head if name not in tensors or tensors[name].shape != state[name].shape]
    # an old PyTorch did not store this counter, and nothing in evaluation reads it
    counters = {name for name in state if name.endswith("num_batches_tracked")} - set(tensors)
    wrong = [f"{short(name)} is missing" for name in state if name not in tensors and name not in {*kept, *counters}]
    wrong += [f"{short(name)} is not part of the network" for name in tensors if name not in state]
    wrong += [
        f"{name} is {list(tensors[name].shape)}, the network has {list(state[name].shape)}"
        for name in state
        if name in tensors and name not in kept and tensors[name].shape != state[name].shape
    ]
    if wrong:
        more = f"; and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        raise InputError(f"{source} does not fit {type(network).__name__}: {'; '.join(wrong[:3])}{more}")
    # load_state_dict copies in place, so each parameter keeps its memory format
    # names of `state` that are neither given nor kept are the counters above
    network.load_state_dict({**state, **{name: value for name, value in tensors.items() if name not in kept}})
    return kept


def timm_pretrained(name: str, *, outputs: int = 1, **options: Any) -> nn.Module:  # noqa: ANN401 - timm's own
    """Make a timm network with its published weights, from timm's cache or the network.

    Args:
        name: the network's timm name.
        outputs: size of its new, random head.
        options: further arguments of the network.

    Raises:
        InputError: the weights are neither cached nor reachable.
    """
    import timm  # takes seconds to import

    if not timm.is_model_pretrained(name):
        raise InputError(
            f"timm has no published weights for {name}; use weights: scratch, or weights: FILE.safetensors"
        )
    configuration = timm.get_pretrained_cfg(name)
    where = "its weights"
    if configuration is not None:
        where = str(configuration.url) if configuration.url else f"https://huggingface.co/{configuration.hf_hub_id}"
    try:
        with _short_of_patience():
            network: nn.Module = timm.create_model(name, pretrained=True, num_classes=outputs, **options)
    except (OSError, RuntimeError) as error:  # no route, refused, not cached while offline, or an incomplete download
        raise InputError(
            f"the ImageNet weights of {name} cannot be had: {_brief(error)}; download {where} where there is a "
            "network, store it as safetensors and give it as weights: FILE.safetensors, or use weights: scratch"
        ) from error
    return network


def _brief(error: BaseException) -> str:
    return " ".join(str(error).split())[:160] or type(error).__name__


@contextmanager
def _short_of_patience() -> Iterator[None]:
    """Give up on a network that is not there in seconds; the Hub's client alone would retry for most of a minute."""
    from huggingface_hub import constants  # takes a second to import

    before = socket.getdefaulttimeout(), constants.HF_HUB_OFFLINE
    # for sockets that are opened without a timeout of their own
    socket.setdefaulttimeout(CONNECT_SECONDS)
    try:
        # behind a proxy a direct connection proves nothing, so the Hub's client is then left to find out
        if not getproxies() and "HF_ENDPOINT" not in os.environ:
            # a setting of the user to be offline stays as it is
            constants.HF_HUB_OFFLINE = before[1] or not _reachable("huggingface.co")
        yield
    finally:
        socket.setdefaulttimeout(before[0])
        constants.HF_HUB_OFFLINE = before[1]


def _reachable(host: str) -> bool:
    try:
        socket.create_connection((host, 443), timeout=CONNECT_SECONDS).close()
    except OSError:
        return False
    return True
