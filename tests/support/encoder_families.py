"""Tiny encoders with random weights, of the families that models for retrieval belong to."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lockstep.models.loading import seeded
from lockstep.models.manifest import ModelManifest
from lockstep.testing import tiny_model

_DIM = 32
_TOKENS = 64
_POSITIONS = _TOKENS + 2  # RoBERTa's begin after the padding token's id


def family_model(
    folder: Path, family: str, *, pooling: str | Sequence[str] = "mean", include_prompt: bool = True
) -> Path:
    """Write a sentence-transformers folder of this `model_type` with the tiny model's tokenizer."""
    from transformers import AutoConfig, AutoModel

    tiny_model(folder, dim=_DIM, max_tokens=_TOKENS)
    vocabulary = json.loads((folder / "config.json").read_text())["vocab_size"]
    (folder / "model.safetensors").unlink()
    with seeded(1):
        config = AutoConfig.for_model(family, **_config(family), vocab_size=vocabulary)
        # transformers has no types for it.
        model: Any = AutoModel.from_config(config)  # type: ignore[no-untyped-call]
        model.save_pretrained(folder)
    _change(
        folder / "1_Pooling" / "config.json", pooling_mode=pooling, include_prompt=include_prompt
    )
    if family != "bert":
        _change(folder / "tokenizer_config.json", model_input_names=["input_ids", "attention_mask"])
    return folder


def manifest_of(*, max_tokens: int = 64, prompt: str = "") -> ModelManifest:
    """Of a tiny model."""
    return ModelManifest(
        files={},
        dim=_DIM,
        max_tokens=max_tokens,
        pooling="mean",
        normalised=True,
        similarity="cosine",
        document_prompt=prompt,
    )


def _config(family: str) -> dict[str, Any]:
    shape = {
        "hidden_size": _DIM,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "intermediate_size": 2 * _DIM,
        "max_position_embeddings": _POSITIONS,
        "initializer_range": 0.3,  # so that what each layer does shows in the vectors
        "pad_token_id": 0,
    }
    special = {"bos_token_id": 2, "eos_token_id": 3}
    if family == "modernbert":
        windows = {"local_attention": 8, "global_attn_every_n_layers": 3}
        return shape | special | windows | {"cls_token_id": 2, "sep_token_id": 3}
    if family in ("qwen2", "qwen3"):
        return shape | special | {"num_key_value_heads": 2, "head_dim": 8}
    return shape


def _change(path: Path, **fields: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | fields), encoding="utf-8")
