"""Learning from another model: its scores, or its vectors."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import datasets
import numpy as np

from lockstep.errors import InvalidSetting
from lockstep.models.device_memory import in_halves
from lockstep.models.loading import load_cross_encoder
from lockstep.models.manifest import ModelKind
from lockstep.models.registry import ModelVersion
from lockstep.models.vectors import Vector
from lockstep_indexer.train.columns import ANCHOR, LABEL, text_columns
from lockstep_indexer.train.loading import dimension, load_trainable
from lockstep_indexer.train.settings import Loss

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

_BATCH = 32

Tables = dict[str, datasets.Dataset]


@dataclass(frozen=True)
class Teacher:
    """A registered model to learn from: an encoder, or a reranker for its scores."""

    version: ModelVersion
    folder: Path
    device: str | None = None

    def scores(self, queries: Sequence[str], passages: Sequence[str]) -> Vector:
        """(n,): cosines, or a reranker's chances, which have the same size."""
        if self.version.kind is ModelKind.RERANKER:
            pairs = list(zip(queries, passages, strict=True))
            scores = self._reranker.predict(pairs, batch_size=_BATCH, show_progress_bar=False)
            return np.asarray(scores, dtype=np.float32)
        vectors = [self.vectors(queries, query=True), self.vectors(passages, query=False)]
        return np.asarray((vectors[0] * vectors[1]).sum(axis=1))

    def vectors(self, texts: Sequence[str], *, query: bool) -> Vector:
        """(n, the teacher's dim), L2-normalised."""
        self.version.require(ModelKind.ENCODER)
        manifest = self.version.manifest
        prompt = manifest.query_prompt if query else manifest.document_prompt
        return encoded(self._encoder, texts, prompt)

    @cached_property
    def _encoder(self) -> "SentenceTransformer":
        model = load_trainable(self.folder, device=self.device)
        model.max_seq_length = self.version.manifest.max_tokens
        return model.eval()

    @cached_property
    def _reranker(self) -> Any:
        return load_cross_encoder(self.folder, device=self.device)


def encoded(model: "SentenceTransformer", texts: Sequence[str], prompt: str) -> Vector:
    """(n, dim), L2-normalised; in smaller batches where memory is short.

    Raises DeviceMemoryFull.
    """

    def some(size: int) -> Any:
        return model.encode(
            list(texts),
            prompt=prompt,  # none is "": for None the library may take one of the model's own
            batch_size=size,
            normalize_embeddings=True,
            show_progress_bar=False,
        )

    return np.asarray(in_halves(some, _BATCH, str(model.device)), dtype=np.float32)


def labelled(
    tables: Tables, loss: Loss, teacher: Teacher | None, student: "SentenceTransformer"
) -> Tables:
    """The tables with a column of what the teacher says, where the loss learns that."""
    if teacher is None or not loss.needs_teacher:
        return tables
    if loss is Loss.MARGIN_MSE:
        return {name: _with_margins(table, teacher) for name, table in tables.items()}
    return _with_vectors(tables, teacher, dimension(student))


def _with_margins(table: datasets.Dataset, teacher: Teacher) -> datasets.Dataset:
    query, positive, negative = (list(table[name]) for name in text_columns(table))
    margins = teacher.scores(query, positive) - teacher.scores(query, negative)
    return table.add_column(LABEL, margins.tolist())


def _with_vectors(tables: Tables, teacher: Teacher, dim: int) -> Tables:
    columns = {
        name: [
            teacher.vectors(table[column], query=column == ANCHOR) for column in text_columns(table)
        ]
        for name, table in tables.items()
    }
    project = _projection([v for vectors in columns.values() for v in vectors], teacher, dim)
    return {
        name: datasets.Dataset.from_dict(
            {
                **{column: list(table[column]) for column in text_columns(table)},
                LABEL: np.stack([project(v) for v in columns[name]], axis=1),
            }
        )
        for name, table in tables.items()
    }


def _projection(vectors: Sequence[Vector], teacher: Teacher, dim: int) -> Any:
    """What brings the teacher's vectors to the student's length.

    A Matryoshka teacher's beginnings stand alone. Of others, the directions in which these texts
    differ most keep most of their inner products (Eckart and Young, 1936); the first ones matter
    most, which suits a Matryoshka student.
    """
    theirs = vectors[0].shape[1]
    if theirs < dim:
        raise InvalidSetting(
            f"The teacher {teacher.version.ref} has {theirs} dimensions, the base {dim}; "
            "expected a teacher of at least as many.",
            next_step="Choose another teacher, or another base.",
        )
    if theirs == dim:
        return lambda found: found
    if dim in teacher.version.manifest.matryoshka_dims:
        return lambda found: found[:, :dim]
    everything = np.concatenate(vectors)
    _, _, directions = np.linalg.svd(everything.T @ everything / len(everything), hermitian=True)
    return lambda found: found @ directions[:dim].T
