"""Rerankers: model versions in memory, verified, that score a query and a passage together."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from lockstep.errors import EncodingFailed
from lockstep.models.artefacts import ArtefactStore
from lockstep.models.loading import load_cross_encoder
from lockstep.models.registry import ModelVersion
from lockstep.models.vectors import Scores

if TYPE_CHECKING:
    from sentence_transformers import CrossEncoder


class Reranker:
    """Scores passages for a query, as the model's own `predict` does. Safe in several threads."""

    def __init__(self, version: ModelVersion, model: "CrossEncoder") -> None:
        model.max_seq_length = version.manifest.max_tokens
        self.version = version
        self._model = model

    @classmethod
    def load(
        cls, version: ModelVersion, artefacts: ArtefactStore, *, device: str | None = None
    ) -> "Reranker":
        """Verify a model version's files and load them; on the best device if none is named.

        Raises ArtefactDamaged, ModelNotFound, ModelRejected or InvalidSetting.
        """
        return cls(version, load_cross_encoder(artefacts.fetch(version.digest), device=device))

    def score(self, query: str, texts: Sequence[str]) -> Scores:
        """(n,), higher is better. Raises EncodingFailed."""
        pairs = [(query, text) for text in texts]
        scores = np.asarray(self._model.predict(pairs, show_progress_bar=False), dtype=np.float32)
        if not np.isfinite(scores).all():
            raise EncodingFailed(f"{self.version.ref} gave NaN or infinity for a passage.")
        return scores
