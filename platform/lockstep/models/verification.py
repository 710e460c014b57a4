"""What a model does when it is run: the part of its manifest that no file states reliably."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version as package_version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tokenizers import Tokenizer

from lockstep.errors import InvalidSetting, ModelRejected
from lockstep.models.loading import fast_tokenizer, load_model, seeded
from lockstep.models.manifest import FileEntry, Json, ModelManifest, canonical_json
from lockstep.models.matryoshka import checked_dims, matryoshka_dims
from lockstep.models.module_list import read_json
from lockstep.models.probing import (
    PROBES,
    longest_probe,
    require_complete,
    require_padding_token,
    trying,
)
from lockstep.models.vectors import Vector, unusable_rows

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

    from lockstep.models.loading import AnyModel

_QUERY_NAMES = ("query",)
_DOCUMENT_NAMES = ("document", "passage", "corpus")
_PACKAGES = ("sentence-transformers", "transformers", "tokenizers", "torch")
_MIN_TOKENS = 8
_DEFAULT_TOKENS = 512


@dataclass(frozen=True)
class Choices:
    """What the user says about a model; None leaves it to the model's files."""

    matryoshka_dims: Sequence[int] | None = None
    query_prompt: str | None = None
    document_prompt: str | None = None
    max_tokens: int | None = None
    lineage: Json | None = None


def measure(folder: Path, files: Mapping[str, FileEntry], choices: Choices) -> ModelManifest:
    """Load an inspected model, run it, and describe it.

    Raises ModelRejected for a model that does not work, InvalidSetting for a choice that it
    cannot follow.
    """
    with seeded(1):
        model = load_model(folder, device="cpu")
    max_tokens = max_tokens_of(model, choices.max_tokens)
    model.max_seq_length = max_tokens
    vectors = _probe(model, max_tokens)
    with seeded(2):
        again = load_model(folder, device="cpu")
    again.max_seq_length = max_tokens
    require_complete(
        _probe(again, max_tokens), vectors, kind="encoders", saved_by="SentenceTransformer"
    )
    dim = vectors.shape[1]
    query_prompt, document_prompt = prompts_of(folder, choices)
    chosen = choices.matryoshka_dims
    return ModelManifest(
        files=files,
        dim=dim,
        max_tokens=max_tokens,
        pooling=_pooling(model),
        normalised=type(model[-1]).__name__ == "Normalize",
        similarity=str(model.similarity_fn_name),
        query_prompt=query_prompt,
        document_prompt=document_prompt,
        matryoshka_dims=matryoshka_dims(folder, dim)
        if chosen is None
        else checked_dims(chosen, dim),
        tokenizer_digest=tokenizer_digest(model),
        lineage=choices.lineage or {},
        packages=installed_packages(),
    )


def installed_packages() -> dict[str, str]:
    return {name: package_version(name) for name in _PACKAGES}


def _probe(model: "SentenceTransformer", max_tokens: int) -> Vector:
    """The vectors of a few sentences, and of one that fills the model."""
    texts = [*PROBES, longest_probe(max_tokens)]
    require_padding_token(model)
    with trying("sentence"):
        vectors = np.asarray(model.encode(texts, prompt="", show_progress_bar=False))
    if vectors.ndim != 2 or vectors.shape[1] == 0:
        raise ModelRejected(
            f"The model gives an array of shape {vectors.shape} for {len(texts)} sentences; "
            "expected one vector each."
        )
    if len(failed := unusable_rows(vectors)):
        raise ModelRejected(
            f"The model gives NaN, infinity or only zeros for {len(failed)} of {len(texts)} test "
            f"sentences, such as {texts[failed[0]][:40]!r}.",
            next_step="Its training may have diverged; choose an earlier checkpoint.",
        )
    return vectors


def max_tokens_of(model: "AnyModel", chosen: int | None) -> int:
    """The caller's limit, or the model's own; never more than it has positions for."""
    own = model.max_seq_length
    positions = getattr(getattr(model[0], "config", None), "max_position_embeddings", None)
    if chosen is None:
        known = own if own is not None and own < 1 << 20 else None  # some say infinity
        return int(known or positions or _DEFAULT_TOKENS)
    if chosen < _MIN_TOKENS or (positions is not None and chosen > positions):
        raise InvalidSetting(
            f"max_tokens is {chosen}; expected {_MIN_TOKENS} or more"
            + (f", and at most the model's {positions} positions." if positions else ".")
        )
    return chosen


def prompts_of(folder: Path, choices: Choices) -> tuple[str, str]:
    """For queries and for documents."""
    prompts = _prompts(folder)
    return (
        _first(choices.query_prompt, prompts, _QUERY_NAMES),
        _first(choices.document_prompt, prompts, _DOCUMENT_NAMES),
    )


def _prompts(folder: Path) -> dict[str, str]:
    path = folder / "config_sentence_transformers.json"
    settings = read_json(path) if path.is_file() else {}
    prompts = settings.get("prompts") if isinstance(settings, dict) else None
    if not isinstance(prompts, dict):
        return {}
    return {name: text for name, text in prompts.items() if isinstance(text, str)}


def _first(chosen: str | None, prompts: Mapping[str, str], names: Sequence[str]) -> str:
    """The caller's prompt, or the first of these names that says something.

    The library writes an empty "document" beside a model's own "passage".
    """
    if chosen is not None:
        return chosen
    return next((prompts[name] for name in names if prompts.get(name)), "")


def _pooling(model: "SentenceTransformer") -> str:
    """How token vectors become one, such as "mean" or "cls+max"; "none" without such a module."""
    modes: list[str] = []
    for module in model:
        mode: Any = getattr(module, "pooling_mode", None)
        modes += [mode] if isinstance(mode, str) else list(mode or ())
    return "+".join(modes) or "none"


def tokenizer_digest(model: "AnyModel") -> str:
    tokenizer = fast_tokenizer(model)
    if not isinstance(tokenizer, Tokenizer):
        raise ModelRejected(
            "The model's tokenizer has no fast form, which passages are counted and cut by.",
            next_step="Save the model with a tokenizer.json.",
        )
    # Truncation and padding are settings of the moment; the token ids do not depend on them.
    fields = json.loads(tokenizer.to_str()) | {"truncation": None, "padding": None}
    return hashlib.sha256(canonical_json(fields).encode()).hexdigest()
