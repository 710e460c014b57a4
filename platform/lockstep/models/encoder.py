"""Encoders: model versions in memory, verified, that turn texts into vectors."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from tokenizers import Tokenizer

from lockstep.errors import DimensionMismatch, EncodingFailed, InvalidInput, ModelRejected
from lockstep.models.artefacts import ArtefactStore
from lockstep.models.loading import fast_tokenizer, load_model, plain_copy
from lockstep.models.registry import ModelVersion
from lockstep.models.single_text import single_text
from lockstep.models.vectors import Vector, normalised, truncated, unusable_rows

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

DEFAULT_BATCH = 32


class Encoder:
    """Turns queries and passages into vectors of length 1. Safe to use from several threads.

    A text encoded alone gives the same bits each time; in a batch with others, the last bits of a
    vector depend on how much padding the text gets.
    """

    def __init__(self, version: ModelVersion, model: "SentenceTransformer") -> None:
        tokenizer = fast_tokenizer(model)
        if tokenizer is None:
            raise ModelRejected(f"{version.ref} has no fast tokenizer.")
        model.max_seq_length = version.manifest.max_tokens
        self.version = version
        self._model = model
        self._tokenizer = plain_copy(tokenizer)
        self._single = single_text(model, version.manifest.query_prompt)
        # The library gives its tokenizer its settings at the first text, which no two threads may
        # do at once; later texts find them as they should be.
        for encode in (model.encode_query, model.encode_document):
            encode(["first text"], prompt="", show_progress_bar=False)

    @classmethod
    def load(
        cls, version: ModelVersion, artefacts: ArtefactStore, *, device: str | None = None
    ) -> "Encoder":
        """Verify a model version's files and load them; on the best device if none is named.

        Raises ArtefactDamaged, ModelNotFound, ModelRejected or InvalidSetting.
        """
        return cls(version, load_model(artefacts.fetch(version.digest), device=device))

    @property
    def dim(self) -> int:
        return self.version.manifest.dim

    @property
    def max_tokens(self) -> int:
        """What is left of a text after truncation, with its prompt and special tokens."""
        return self.version.manifest.max_tokens

    @property
    def tokenizer(self) -> Tokenizer:
        """The model's tokenizer without truncation and padding; not the one that encoding uses."""
        return self._tokenizer

    @property
    def device(self) -> str:
        return str(self._model.device)

    def encode_queries(self, texts: Sequence[str], *, batch_size: int = DEFAULT_BATCH) -> Vector:
        """(n, dim), L2-normalised. Raises EncodingFailed, DimensionMismatch or InvalidInput."""
        _check_unicode(texts, quote=False)
        if len(texts) == 1 and self._single is not None:
            return self._checked(texts, self._single.encode(texts[0])[None], quote=False)
        prompt = self.version.manifest.query_prompt
        vectors = self._model.encode_query(
            list(texts), prompt=prompt, batch_size=batch_size, show_progress_bar=False
        )
        return self._checked(texts, vectors, quote=False)

    def encode_passages(self, texts: Sequence[str], *, batch_size: int = DEFAULT_BATCH) -> Vector:
        """(n, dim), L2-normalised. Raises EncodingFailed, DimensionMismatch or InvalidInput."""
        _check_unicode(texts, quote=True)
        prompt = self.version.manifest.document_prompt
        vectors = self._model.encode_document(
            list(texts), prompt=prompt, batch_size=batch_size, show_progress_bar=False
        )
        return self._checked(texts, vectors, quote=True)

    @staticmethod
    def truncate(vectors: Vector, dims: int) -> Vector:
        """The first `dims` numbers of each vector, normalised again: (n, dims)."""
        return truncated(vectors, dims)

    def _checked(self, texts: Sequence[str], vectors: Vector, *, quote: bool) -> Vector:
        if not len(texts):
            return np.zeros((0, self.dim), dtype=np.float32)
        if vectors.shape[1] != self.dim:
            raise DimensionMismatch(
                f"{self.version.ref} gave {vectors.shape[1]} dimensions; "
                f"its manifest says {self.dim}.",
                next_step="Add the model again as a new version.",
            )
        vectors = np.asarray(vectors, dtype=np.float32)
        if len(failed := unusable_rows(vectors)):
            raise EncodingFailed(
                f"{self.version.ref} gave NaN, infinity or only zeros for {len(failed)} of "
                f"{len(texts)} texts; the first is {_named(texts, failed[0], quote=quote)}.",
                next_step="Where it runs on a GPU, try device cpu: half precision may overflow.",
            )
        return normalised(vectors)


def _check_unicode(texts: Sequence[str], *, quote: bool) -> None:
    for position, text in enumerate(texts):
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise InvalidInput(
                f"There is a lone surrogate in {_named(texts, position, quote=quote)}; "
                "expected Unicode text."
            ) from error


def _named(texts: Sequence[str], position: int, *, quote: bool) -> str:
    """A text as messages name it; queries by position only: their words must not reach a log."""
    name = f"text {position + 1} of {len(texts)}"
    return f"{name}, which begins {texts[position][:80]!r}" if quote else name
