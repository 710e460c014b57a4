"""Token encoders: model versions in memory, verified, that give a vector for each token."""

import threading
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from lockstep.errors import DimensionMismatch, EncodingFailed
from lockstep.models.artefacts import ArtefactStore
from lockstep.models.encoder import DEFAULT_BATCH
from lockstep.models.loading import load_token_model
from lockstep.models.registry import ModelVersion
from lockstep.models.texts import check_unicode
from lockstep.models.vectors import Vector

if TYPE_CHECKING:
    from sentence_transformers import MultiVectorEncoder


class TokenEncoder:
    """Turns queries and passages into a vector for each token. Safe to use from several threads.

    A query gives the same bits each time on one machine. The last bits of a passage's depend on the
    batch that it is encoded in.
    """

    def __init__(self, version: ModelVersion, model: "MultiVectorEncoder") -> None:
        model.max_seq_length = version.manifest.max_tokens
        tokenize_in_turns(model)
        self.version = version
        self._model = model

    @classmethod
    def load(
        cls, version: ModelVersion, artefacts: ArtefactStore, *, device: str | None = None
    ) -> "TokenEncoder":
        """Verify a model version's files and load them; on the best device if none is named.

        Raises ArtefactDamaged, ModelNotFound, ModelRejected or InvalidSetting.
        """
        return cls(version, load_token_model(artefacts.fetch(version.digest), device=device))

    @property
    def dim(self) -> int:
        """Of each token's vector."""
        return self.version.manifest.dim

    def encode_query(self, text: str) -> Vector:
        """(tokens, dim). Raises EncodingFailed, DimensionMismatch or InvalidInput."""
        check_unicode([text], quote=False)
        prompt = self.version.manifest.query_prompt
        vectors = self._model.encode_query(
            [text], prompt=prompt, convert_to_numpy=True, show_progress_bar=False
        )
        return self._checked(vectors)[0]

    def encode_passages(
        self, texts: Sequence[str], *, batch_size: int = DEFAULT_BATCH
    ) -> list[Vector]:
        """One (tokens, dim) for each. Raises as `encode_query` does."""
        check_unicode(texts, quote=True)
        if not texts:
            return []
        prompt = self.version.manifest.document_prompt
        vectors = self._model.encode_document(
            list(texts),
            prompt=prompt,
            batch_size=batch_size,
            convert_to_numpy=True,
            show_progress_bar=False,
        )
        return self._checked(vectors)

    def _checked(self, found: Iterable[Any]) -> list[Vector]:
        matrices = [np.asarray(each, dtype=np.float32) for each in found]
        for place, matrix in enumerate(matrices):
            if matrix.shape[1] != self.dim:
                raise DimensionMismatch(
                    f"{self.version.ref} gave {matrix.shape[1]} dimensions for a token; "
                    f"its manifest says {self.dim}.",
                    next_step="Add the model again as a new version.",
                )
            if not np.isfinite(matrix).all():
                raise EncodingFailed(
                    f"{self.version.ref} gave NaN or infinity for text {place + 1} of "
                    f"{len(matrices)}.",
                    next_step="On a GPU, try device cpu: half precision may overflow.",
                )
        # A model may leave out every token of a text, such as punctuation; no engine stores none.
        return [each if len(each) else np.zeros((1, self.dim), np.float32) for each in matrices]


def tokenize_in_turns(model: "MultiVectorEncoder") -> None:
    """Queries and passages are cut at different lengths, a setting of the one tokenizer: two
    threads that tokenize at once would change it under each other.
    """
    lock, preprocess = threading.Lock(), model.preprocess

    def in_turn(*arguments: Any, **options: Any) -> Any:
        with lock:
            return preprocess(*arguments, **options)

    setattr(model, "preprocess", in_turn)  # noqa: B010  # to mypy a method is for ever
