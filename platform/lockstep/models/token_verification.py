"""What a model that gives a vector for each token does when it is run: its manifest."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lockstep.errors import InvalidSetting, ModelRejected
from lockstep.models.loading import load_token_model, seeded
from lockstep.models.manifest import FileEntry, ModelKind, ModelManifest
from lockstep.models.probing import (
    PROBES,
    longest_probe,
    require_complete,
    require_padding_token,
    trying,
)
from lockstep.models.vectors import Vector
from lockstep.models.verification import (
    Choices,
    installed_packages,
    max_tokens_of,
    prompts_of,
    tokenizer_digest,
)

if TYPE_CHECKING:
    from sentence_transformers import MultiVectorEncoder

# A Qdrant server takes no more of one point: 8,192 tokens of 128 dimensions.
_MAX_NUMBERS = 1 << 20


def measure_token_encoder(
    folder: Path, files: Mapping[str, FileEntry], choices: Choices
) -> ModelManifest:
    """Load an inspected late interaction model, run it, and describe it.

    Raises ModelRejected for a model that does not work, InvalidSetting for a choice that it
    cannot follow.
    """
    if choices.matryoshka_dims is not None:
        raise InvalidSetting(
            "matryoshka_dims are given, but the model gives vectors of tokens, which are not cut.",
            next_step="Leave them out.",
        )
    with seeded(1):
        model = load_token_model(folder, device="cpu")
    max_tokens = _max_tokens(model, choices.max_tokens)
    model.max_seq_length = max_tokens
    vectors = _probe(model, max_tokens)
    with seeded(2):
        again = load_token_model(folder, device="cpu")
    again.max_seq_length = max_tokens
    require_complete(
        _probe(again, max_tokens), vectors, kind="encoders", saved_by="MultiVectorEncoder"
    )
    query_prompt, document_prompt = prompts_of(folder, choices)
    return ModelManifest(
        files=files,
        kind=ModelKind.LATE_INTERACTION,
        dim=vectors.shape[1],
        max_tokens=min(max_tokens, _MAX_NUMBERS // vectors.shape[1]),
        pooling="none",
        normalised=bool(np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-3)),
        similarity=str(model.similarity_fn_name),
        query_prompt=query_prompt,
        document_prompt=document_prompt,
        tokenizer_digest=tokenizer_digest(model),
        lineage=choices.lineage or {},
        packages=installed_packages(),
    )


def _max_tokens(model: "MultiVectorEncoder", chosen: int | None) -> int:
    """Of a passage: these models have a limit of their own for passages and one for queries."""
    most = max_tokens_of(model, chosen)
    own = getattr(model[0], "document_length", None)
    return min(most, int(own)) if own else most


def _probe(model: "MultiVectorEncoder", max_tokens: int) -> Vector:
    """The vectors of all tokens of a few passages and queries, one after the other."""
    texts = [*PROBES, longest_probe(max_tokens)]
    require_padding_token(model)
    with trying("sentence"):
        passages = model.encode_document(
            texts, prompt="", convert_to_numpy=True, show_progress_bar=False
        )
        queries = model.encode_query(
            texts, prompt="", convert_to_numpy=True, show_progress_bar=False
        )
        vectors = np.concatenate([*passages, *queries], dtype=np.float32)
    if vectors.ndim != 2 or not vectors.size:
        raise ModelRejected(
            f"The model gives arrays that make one of shape {vectors.shape}; expected a vector for "
            "each token."
        )
    if not np.isfinite(vectors).all():
        raise ModelRejected(
            "The model gives NaN or infinity for a token of the test sentences.",
            next_step="Its training may have diverged; choose an earlier checkpoint.",
        )
    return vectors
