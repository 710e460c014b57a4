"""Vectors of passages and queries by the model that is to be trained."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lockstep.models.encoder import Encoder
from lockstep.models.vectors import Vector

Scores = NDArray[np.float32]
Report = Callable[[int, int], None]  # texts done, texts in all

_AT_ONCE = 512


@dataclass(frozen=True)
class TextEncoder:
    """A model with the size of its batches, and whom to tell how far it has come."""

    encoder: Encoder
    batch: int = 32
    report: Report = lambda done, total: None

    def passages(self, texts: Sequence[str]) -> Vector:
        """(texts, dim), L2-normalised."""
        return self._encoded(self.encoder.encode_passages, texts)

    def queries(self, texts: Sequence[str]) -> Vector:
        """(texts, dim), L2-normalised."""
        return self._encoded(self.encoder.encode_queries, texts)

    def _encoded(self, encode: Callable[..., Vector], texts: Sequence[str]) -> Vector:
        """Texts of like length go together, so that little is padded."""
        order = sorted(range(len(texts)), key=lambda place: len(texts[place]))
        vectors = np.zeros((len(texts), self.encoder.dim), dtype=np.float32)
        for start in range(0, len(order), _AT_ONCE):
            places = order[start : start + _AT_ONCE]
            vectors[places] = encode([texts[place] for place in places], batch_size=self.batch)
            self.report(start + len(places), len(texts))
        return vectors
