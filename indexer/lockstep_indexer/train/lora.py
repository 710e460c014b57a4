"""Low-rank adapters: a few trained numbers beside weights that stay as they are.

Source: Hu et al., LoRA, ICLR 2022. What is registered is a plain model: adapters are merged.
"""

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from lockstep.errors import InvalidSetting

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


def add_adapters(model: "SentenceTransformer", rank: int) -> None:
    """Put adapters beside all linear layers of the transformer; nothing else is trained then.

    Raises InvalidSetting where `peft` is not installed, or the model cannot have adapters.
    """
    if find_spec("peft") is None:
        raise InvalidSetting(
            "LoRA needs the package peft, which is not installed.",
            next_step="Install it: pip install peft; or train all weights: --lora 0",
        )
    from peft import LoraConfig, inject_adapter_in_model

    config = LoraConfig(
        r=rank,
        lora_alpha=2 * rank,
        lora_dropout=0.05,
        target_modules="all-linear",
    )
    try:
        inject_adapter_in_model(config, _transformer(model))
    except (AttributeError, ValueError) as error:
        raise InvalidSetting(
            f"The base model cannot have LoRA adapters: {error}",
            next_step="Train all of its weights: --lora 0",
        ) from error


def _transformer(model: "SentenceTransformer") -> Any:
    return model.transformers_model


def merge_adapters(model: "SentenceTransformer") -> None:
    """Add what the adapters learned to the weights, and take the adapters away."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    transformer = _transformer(model)
    for name, layer in list(transformer.named_modules()):
        if isinstance(layer, BaseTunerLayer):
            layer.merge(safe_merge=True)
            transformer.set_submodule(name, layer.get_base_layer())
    for leftover in ("peft_config", "_hf_peft_config_loaded"):
        transformer.__dict__.pop(leftover, None)
    for parameter in transformer.parameters():
        parameter.requires_grad_(True)
