"""Rerankers: model versions in memory, verified, that score a query and a passage together."""

import logging
import math
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from lockstep.errors import EncodingFailed, Unavailable
from lockstep.models.artefacts import ArtefactStore
from lockstep.models.compilation_report import CompilationReport
from lockstep.models.loading import load_cross_encoder
from lockstep.models.pair_form import pair_form
from lockstep.models.pair_tokens import PairTokens
from lockstep.models.query_compiler import QueryCompiler, QueryForm
from lockstep.models.query_encoder import QueryEncoder
from lockstep.models.registry import ModelVersion
from lockstep.models.texts import check_unicode
from lockstep.models.vectors import Scores
from lockstep.store.deadline import left_s

if TYPE_CHECKING:
    from sentence_transformers import CrossEncoder

logger = logging.getLogger(__name__)

# Pairs at once. A compiled model is no faster with more; torch on a busy processor is.
COMPILED_BATCH = 8
BATCH = 32


class Reranker:
    """Scores passages for a query, as the model's own `predict` does. Safe in several threads.

    The same query and passages give the same scores to the last bit on one machine: what is padded
    and batched together is of one request. Requests take turns, as many at once as there are lanes.
    """

    def __init__(
        self, version: ModelVersion, model: "CrossEncoder", *, compiler: QueryCompiler | None = None
    ) -> None:
        model.max_seq_length = version.manifest.max_tokens
        self.version = version
        self._model = model
        self._scorer, self._tokens = self._choose(compiler)
        self._turns = threading.Semaphore(self._scorer.lanes if self._scorer else 1)

    @classmethod
    def load(
        cls,
        version: ModelVersion,
        artefacts: ArtefactStore,
        *,
        device: str | None = None,
        compiler: QueryCompiler | None = None,
    ) -> "Reranker":
        """Verify a model version's files and load them; on the best device if none is named.

        Raises ArtefactDamaged, ModelNotFound, ModelRejected or InvalidSetting.
        """
        model = load_cross_encoder(artefacts.fetch(version.digest), device=device)
        return cls(version, model, compiler=compiler)

    @property
    def report(self) -> CompilationReport:
        """What scores pairs here, and if not what was compiled, why not."""
        scorer = self._scorer
        return scorer.report if scorer else CompilationReport(reason="the library scores them")

    def score(self, query: str, texts: Sequence[str]) -> Scores:
        """(n,), higher is better. Raises EncodingFailed, InvalidInput, or Unavailable where the
        deadline passes before all are scored.
        """
        check_unicode([query], quote=False)
        if not texts:
            return np.zeros(0, dtype=np.float32)
        with self._turn():
            scores = self._scores(query, texts)
        if failed := np.flatnonzero(~np.isfinite(scores)).tolist():
            raise EncodingFailed(
                f"{self.version.ref} gave NaN or infinity for {len(failed)} of {len(texts)} "
                "passages.",
                next_step="Where it runs on a GPU, try device cpu: half precision may overflow.",
            )
        return scores

    def _scores(self, query: str, texts: Sequence[str]) -> Scores:
        if self._scorer is None or self._tokens is None:
            pairs = [(query, text) for text in texts]
            predicted = self._model.predict(pairs, batch_size=BATCH, show_progress_bar=False)
            return np.asarray(predicted, dtype=np.float32)
        tokenized = self._tokens.pairs(query, texts)
        size = COMPILED_BATCH if self._scorer.is_compiled else BATCH
        raw = self._scorer.together(tokenized, batch_size=size, before_each=self._require_time)
        return self._activated(raw[:, 0])

    def _activated(self, raw: Scores) -> Scores:
        """Raw scores as the model shows them."""
        import torch

        with torch.inference_mode():
            activation: Any = self._model.activation_fn
            scores: Scores = activation(torch.from_numpy(raw)).numpy()
        return scores

    def _choose(
        self, compiler: QueryCompiler | None
    ) -> tuple[QueryEncoder | None, PairTokens | None]:
        """None where the library itself has to score."""
        form = pair_form(self._model)
        if form is None or not isinstance(form.tokens, PairTokens):
            return None, None
        if compiler is None or self._model.device.type != "cpu":
            why = "no compiled form is asked for" if compiler is None else "it is on a GPU"
            chosen = QueryForm(form, CompilationReport(reason=why))
        else:
            chosen = compiler.load(self.version.digest, form)
        logger.info("%s scores passages with %s", self.version.ref, chosen.name)
        return QueryEncoder(chosen, form, batch=1), form.tokens

    @contextmanager
    def _turn(self) -> Iterator[None]:
        seconds = left_s()
        if not self._turns.acquire(timeout=None if math.isinf(seconds) else seconds):
            raise self._too_late()
        try:
            self._require_time()
            yield
        finally:
            self._turns.release()

    def _require_time(self) -> None:
        if not left_s():
            raise self._too_late()

    def _too_late(self) -> Unavailable:
        return Unavailable(
            f"The hits could not all be reranked by {self.version.ref} before the deadline.",
            next_step="Ask for fewer rerank.candidates, or try again in a moment.",
        )
