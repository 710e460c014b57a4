"""What a reranker does when it is run: its manifest."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lockstep.errors import InvalidSetting, ModelRejected
from lockstep.models.loading import load_cross_encoder, seeded
from lockstep.models.manifest import FileEntry, ModelKind, ModelManifest
from lockstep.models.probing import (
    PROBES,
    longest_probe,
    require_complete,
    require_padding_token,
    trying,
)
from lockstep.models.vectors import Scores
from lockstep.models.verification import (
    Choices,
    installed_packages,
    max_tokens_of,
    tokenizer_digest,
)

if TYPE_CHECKING:
    from sentence_transformers import CrossEncoder

_QUERY = "what is a model tested with?"


def measure_reranker(
    folder: Path, files: Mapping[str, FileEntry], choices: Choices
) -> ModelManifest:
    """Load an inspected cross-encoder, run it, and describe it.

    Raises ModelRejected for a model that does not work or gives more than one score, InvalidSetting
    for a choice that it cannot follow.
    """
    _check_choices(choices)
    with seeded(1):
        model = load_cross_encoder(folder, device="cpu")
    _check_labels(model)
    max_tokens = max_tokens_of(model, choices.max_tokens)
    model.max_seq_length = max_tokens
    scores = _probe(model, max_tokens)
    with seeded(2):
        again = load_cross_encoder(folder, device="cpu")
    again.max_seq_length = max_tokens
    require_complete(_probe(again, max_tokens), scores, kind="rerankers", saved_by="CrossEncoder")
    return ModelManifest(
        files=files,
        kind=ModelKind.RERANKER,
        dim=1,
        max_tokens=max_tokens,
        pooling="none",
        normalised=False,
        similarity=type(model.activation_fn).__name__.lower(),
        tokenizer_digest=tokenizer_digest(model),
        lineage=choices.lineage or {},
        packages=installed_packages(),
    )


def _check_choices(choices: Choices) -> None:
    given = [
        name
        for name in ("matryoshka_dims", "query_prompt", "document_prompt")
        if getattr(choices, name) is not None
    ]
    if given:
        raise InvalidSetting(
            f"{given[0]} is given, but the model is a reranker, which gives no vectors.",
            next_step="Leave it out; of the choices only max_tokens is one for a reranker.",
        )


def _check_labels(model: "CrossEncoder") -> None:
    if (count := model.num_labels) == 1:
        return
    labels = getattr(getattr(model[0], "config", None), "id2label", None) or {}
    named = f" ({', '.join(map(str, labels.values()))})" if len(labels) == count else ""
    raise ModelRejected(
        f"The model gives {count} scores for a pair of texts{named}; expected one: how well a "
        "passage answers a query.",
        next_step="Train or choose a cross-encoder with num_labels=1.",
    )


def _probe(model: "CrossEncoder", max_tokens: int) -> Scores:
    """The scores of a few passages, and of one that fills the model."""
    pairs = [(_QUERY, text) for text in (*PROBES, longest_probe(max_tokens))]
    require_padding_token(model)
    with trying("pair"):
        scores = np.asarray(model.predict(pairs, show_progress_bar=False))
        again = np.asarray(model.predict(pairs, show_progress_bar=False))
    if scores.shape != (len(pairs),):
        raise ModelRejected(
            f"The model gives an array of shape {scores.shape} for {len(pairs)} pairs; expected "
            "one score each."
        )
    if not np.isfinite(scores).all():
        raise ModelRejected(
            "The model gives NaN or infinity for a test pair.",
            next_step="Its training may have diverged; choose an earlier checkpoint.",
        )
    if scores.tobytes() != again.tobytes():
        raise ModelRejected("The model gives the same pairs other scores the second time.")
    return scores.astype(np.float32)
