"""Batch norms folded into the convolutions before them: the same function with fewer passes over memory."""

from __future__ import annotations

import copy

from torch import fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval


def fuse_batch_norms(network: nn.Module) -> nn.Module:
    """Return a copy of a network whose batch norms are part of the convolutions before them.

    In evaluation a batch norm is a fixed scale and shift a channel, which the convolution's weights can take over: the
    same but for rounding. Only plain modules are folded, and only where nothing else reads the convolution's output.

    Args:
        network: in evaluation mode.

    Returns:
        The copy, the same for the same weights; unchanged where the network's code cannot be traced.
    """
    copied = copy.deepcopy(network)
    for first, second in _pairs(copied):
        convolution, norm = copied.get_submodule(first), copied.get_submodule(second)
        # exact types: a subclass may do more in `forward` than the two folded layers
        if type(convolution) is nn.Conv2d and type(norm) is nn.BatchNorm2d and norm.running_mean is not None:
            # w' = w gamma / sqrt(var + eps), b' = beta + (b - mean) gamma / sqrt(var + eps)
            copied.set_submodule(first, fuse_conv_bn_eval(convolution, norm))
            copied.set_submodule(second, nn.Identity())
    return copied


def _pairs(network: nn.Module) -> list[tuple[str, str]]:
    """Return names of modules of which the second alone reads what the first gives, each called once."""
    try:
        graph = fx.Tracer().trace(network)
    except Exception:  # noqa: BLE001 - tracing runs any network's code on stand-ins for tensors: it may raise anything
        return []
    calls = [node for node in graph.nodes if node.op == "call_module"]
    targets = [str(node.target) for node in calls]
    pairs = []
    for node in calls:
        before = node.args[0] if node.args else None
        # one user: folding changes the convolution's output, which another reader would notice
        if isinstance(before, fx.Node) and before.op == "call_module" and len(before.users) == 1:
            names = str(before.target), str(node.target)
            # a module that is called twice has another input the second time
            if all(targets.count(name) == 1 for name in names):
                pairs.append(names)
    return pairs
