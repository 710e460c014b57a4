"""Encoders: model versions in memory, verified, that turn texts into vectors."""

import logging
import math
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from tokenizers import Tokenizer

from lockstep.errors import DimensionMismatch, EncodingFailed, ModelRejected
from lockstep.models.artefacts import ArtefactStore
from lockstep.models.compilation_report import CompilationReport
from lockstep.models.device_memory import in_halves
from lockstep.models.loading import fast_tokenizer, load_model, plain_copy
from lockstep.models.query_compiler import QueryCompiler, QueryForm
from lockstep.models.query_encoder import QueryEncoder
from lockstep.models.query_vectors import QueryVectors
from lockstep.models.registry import ModelVersion
from lockstep.models.texts import check_unicode, named
from lockstep.models.torch_form import torch_form
from lockstep.models.vectors import Vector, normalised, truncated, unusable_rows
from lockstep.store.deadline import left_s, require_time

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

logger = logging.getLogger(__name__)

DEFAULT_BATCH = 32


@dataclass(frozen=True)
class QueryOptions:
    """How queries are encoded: what compiles for them, and how much is kept and batched."""

    compiler: QueryCompiler | None = None  # None: torch
    cache: int = 0  # vectors of the last queries
    batch: int = 16  # queries of callers at the same time


class Encoder:
    """Turns queries and passages into vectors of length 1. Safe to use from several threads.

    A query gives the same bits each time on one machine, with one exception: on a GPU, the last
    bits depend on which queries of other callers were encoded with it. Passages are encoded by
    torch, and the last bits of theirs depend on the batch.
    """

    def __init__(
        self,
        version: ModelVersion,
        model: "SentenceTransformer",
        *,
        queries: QueryOptions | None = None,
    ) -> None:
        tokenizer = fast_tokenizer(model)
        if tokenizer is None:
            raise ModelRejected(f"{version.ref} has no fast tokenizer.")
        model.max_seq_length = version.manifest.max_tokens
        self.version = version
        self._model = model
        self._tokenizer = plain_copy(tokenizer)
        self._options = queries or QueryOptions()
        self._vectors = QueryVectors(self._options.cache)
        self._queries: QueryEncoder | None = None
        self._chosen = False
        self._choosing = threading.Lock()
        # The library gives its tokenizer its settings at the first text, which no two threads may
        # do at once; later texts find them as they should be.
        for encode in (model.encode_query, model.encode_document):
            self._in_halves(encode, ["first text"], "", 1)

    @classmethod
    def load(
        cls,
        version: ModelVersion,
        artefacts: ArtefactStore,
        *,
        device: str | None = None,
        queries: QueryOptions | None = None,
    ) -> "Encoder":
        """Verify a model version's files and load them; on the best device if none is named.

        Raises ArtefactDamaged, ModelNotFound, ModelRejected or InvalidSetting.
        """
        model = load_model(artefacts.fetch(version.digest), device=device)
        return cls(version, model, queries=queries)

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

    @property
    def query_report(self) -> CompilationReport:
        """What encodes queries here, and if not what was compiled, why not."""
        encoder = self._query_encoder()
        return encoder.report if encoder else CompilationReport(reason="the library encodes them")

    def encode_query(self, text: str) -> Vector:
        """(dim,), L2-normalised, read-only: the vector that `encode_queries` gives for one text.

        Those of the last queries are remembered. Raises as `encode_queries` does.
        """
        return self._vectors.get(text, lambda missing: self.encode_queries([missing])[0])

    def encode_queries(self, texts: Sequence[str], *, batch_size: int = DEFAULT_BATCH) -> Vector:
        """(n, dim), L2-normalised.

        Raises EncodingFailed, DimensionMismatch, InvalidInput, or Unavailable where the deadline
        passes before all are encoded.
        """
        check_unicode(texts, quote=False)
        encoder = self._query_encoder()
        if len(texts) == 1 and encoder is not None:
            return self._checked(texts, encoder.one(texts[0])[None], quote=False)
        if len(texts) and encoder is not None and encoder.is_compiled:
            return self._checked(texts, encoder.many(texts, batch_size=batch_size), quote=False)
        prompt = self.version.manifest.query_prompt
        vectors = self._in_halves(self._model.encode_query, texts, prompt, batch_size)
        return self._checked(texts, vectors, quote=False)

    def encode_passages(self, texts: Sequence[str], *, batch_size: int = DEFAULT_BATCH) -> Vector:
        """(n, dim), L2-normalised. Raises as `encode_queries` does."""
        check_unicode(texts, quote=True)
        prompt = self.version.manifest.document_prompt
        vectors = self._in_halves(self._model.encode_document, texts, prompt, batch_size)
        return self._checked(texts, vectors, quote=True)

    def _in_halves(
        self, encode: Callable[..., Any], texts: Sequence[str], prompt: str, batch_size: int
    ) -> Vector:
        """In smaller batches where the device has no memory for these.

        Raises DeviceMemoryFull, or Unavailable where the deadline passes between two batches.
        """

        def some(size: int) -> Vector:
            at_once = max(1, len(texts)) if math.isinf(left_s()) else size
            parts = []
            for start in range(0, max(1, len(texts)), at_once):
                require_time("encode all texts")
                part = list(texts[start : start + at_once])
                parts.append(encode(part, prompt=prompt, batch_size=size, show_progress_bar=False))
            return parts[0] if len(parts) == 1 else np.concatenate(parts)

        return in_halves(some, batch_size, self.device)

    def _query_encoder(self) -> QueryEncoder | None:
        """Chosen with the first query: whoever only encodes passages need not wait for it."""
        if not self._chosen:
            with self._choosing:
                if not self._chosen:
                    self._queries = self._choose()
                    self._chosen = True
        return self._queries

    def _choose(self) -> QueryEncoder | None:
        """None where the library itself has to encode queries."""
        form = torch_form(self._model, self.version.manifest.query_prompt)
        if form is None:
            return None
        compiler = self._options.compiler
        if compiler is None or self._model.device.type != "cpu":
            why = "no compiled form is asked for" if compiler is None else f"it is on {self.device}"
            chosen = QueryForm(form, CompilationReport(reason=why))
        else:
            chosen = compiler.load(self.version.digest, form)
        logger.info("%s encodes queries with %s", self.version.ref, chosen.name)
        return QueryEncoder(chosen, form, batch=self._options.batch)

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
                f"{len(texts)} texts; the first is {named(texts, failed[0], quote=quote)}.",
                next_step="Where it runs on a GPU, try device cpu: half precision may overflow.",
            )
        return normalised(vectors)
