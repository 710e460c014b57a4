"""What a sentence-transformers model is made of, as far as batches without padding care."""

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from lockstep_indexer.encode import attention

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

# Modules that work on each token, or on each passage's vector, by itself.
_SEPARATE = ("Dense", "Normalize", "LayerNorm", "Dropout")


class NotPackable(Exception):
    """The model cannot read passages without padding; the text says why."""


@dataclass(frozen=True)
class Parts:
    """A model cut at its pooling: tokens go in packed, vectors come out one for each passage."""

    transformer: Any  # sentence-transformers' module around the model of transformers
    middle: tuple[Any, ...]  # what is between it and the pooling
    pooling: Any
    tail: tuple[Any, ...]
    padding_id: int | None  # the token that positions leave out; None where all are counted

    @classmethod
    def of(cls, model: "SentenceTransformer") -> "Parts":
        """Raises NotPackable."""
        from sentence_transformers.base.modules import Transformer
        from sentence_transformers.sentence_transformer.modules import Pooling

        modules: list[Any] = list(model)
        first, *rest = modules
        if type(first) is not Transformer:
            raise NotPackable(f"its first module is a {type(first).__name__}")
        at = [number for number, module in enumerate(rest) if type(module) is Pooling]
        others = [module for module in rest if type(module) is not Pooling]
        unknown = [type(each).__name__ for each in others if type(each).__name__ not in _SEPARATE]
        if len(at) != 1 or unknown:
            raise NotPackable(f"it has {len(at)} pooling modules and {unknown or 'no others'}")
        _check_transformer(first)
        before, after = rest[: at[0]], rest[at[0] + 1 :]
        return cls(first, tuple(before), rest[at[0]], tuple(after), _padding_id(first.model))


def shared_copy(model: "SentenceTransformer") -> "SentenceTransformer":
    """Modules and settings of its own, the weights those of the model."""
    weights = [*model.parameters(), *model.buffers()]
    return copy.deepcopy(model, {id(weight): weight for weight in weights})


def moved_copy(
    model: "SentenceTransformer", device: str, dtype: torch.dtype
) -> "SentenceTransformer":
    """With weights of its own in `dtype`. Buffers stay as precise as they are: frequencies of
    rotary positions would be wrong by whole turns.
    """
    moved = copy.deepcopy(model)
    for weight in moved.parameters():
        if weight.dtype.is_floating_point:
            weight.data = weight.data.to(dtype)
    return moved.to(device)


def _check_transformer(first: Any) -> None:
    inner = first.model
    called = first.modality_config.get("text", {})
    if called.get("method") != "forward" or called.get("method_output_name") not in (
        "last_hidden_state",
        ["last_hidden_state"],
        ("last_hidden_state",),
    ):
        raise NotPackable("it is not called for its last hidden state")
    if inner.config.is_encoder_decoder:
        raise NotPackable("it is an encoder and a decoder")
    if not getattr(inner, "_supports_attention_backend", False):
        raise NotPackable(f"{type(inner).__name__} has an attention of its own")


def _padding_id(inner: torch.nn.Module) -> int | None:
    """RoBERTa and its family count positions by the tokens that are no padding, wherever it stands.

    Source: RobertaEmbeddings.create_position_ids_from_input_ids in transformers.
    """
    for module in inner.modules():
        padding = getattr(module, "padding_idx", None)
        table = getattr(module, "position_embeddings", None)
        if isinstance(padding, int) and isinstance(table, torch.nn.Embedding):
            return padding
    return None


def use_packed_attention(inner: Any) -> None:
    """Raises NotPackable."""
    attention.register()
    inner.set_attn_implementation(attention.NAME)
    if inner.config._attn_implementation != attention.NAME:
        raise NotPackable(f"{type(inner).__name__} does not let its attention be chosen")
    if getattr(inner.config, "use_cache", False):
        inner.config.use_cache = False
