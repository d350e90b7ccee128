"""Low-rank adapters of attention layers (LoRA: Hu et al., ICLR 2022), by the library peft."""

from __future__ import annotations

from torch import nn

from detect.tuning.base import Tuning, replace_module
from forge.core.errors import InputError

try:
    from peft import LoraConfig, inject_adapter_in_model
    from peft.tuners.lora import LoraLayer
except ImportError as error:
    raise InputError(
        "method lora needs peft, which is not installed; pip install 'deepfake-bench[tune]', or use method: svd"
    ) from error


class LoRA(Tuning):
    """W + scale / rank B A, where A is random and B is 0 at the start, so that nothing changes at first."""

    def adapt(self, network: nn.Module, names: list[str]) -> None:
        """Add an adapter to each layer.

        Raises:
            InputError: the network reads the weights of a layer past the layer, where an adapter has no effect.
        """
        for name in names:
            parent = network.get_submodule(name.rpartition(".")[0])
            # timm's networks with biases of queries and values of their own multiply with `qkv.weight` directly
            if name.endswith(".qkv") and getattr(parent, "q_bias", None) is not None:
                raise InputError(
                    f"lora cannot reach {name} of this network, which is not called as a layer; use method: svd"
                )
        inject_adapter_in_model(LoraConfig(r=self.rank, lora_alpha=round(self.scale), target_modules=names), network)

    def merge(self, network: nn.Module) -> None:
        """Add each product to its weight and take the adapters out."""
        adapted = [(name, module) for name, module in network.named_modules() if isinstance(module, LoraLayer)]
        for name, module in adapted:
            module.merge()
            replace_module(network, name, module.get_base_layer())
        # what peft notes on a network with adapters
        if hasattr(network, "peft_config"):
            del network.peft_config
