"""Queries through a model's own torch modules, without the library's sorting and collecting."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from tokenizers import Encoding

from lockstep.models.query_tokens import QueryTokens, reads_plain_text
from lockstep.models.vectors import Vector, cosines

if TYPE_CHECKING:
    from sentence_transformers import CrossEncoder, SentenceTransformer

_PROBE = "how many documents does a query have to be compared with?"
_SAME = 0.99999  # cosine


class TorchForm:
    """Runs the model's modules on tokenized queries. Safe in several threads."""

    def __init__(
        self,
        model: "SentenceTransformer | CrossEncoder",
        tokens: QueryTokens,
        *,
        output: str = "sentence_embedding",
        batches: bool | None = None,
    ) -> None:
        self.tokens = tokens
        self.model = model
        self.output = output
        # On a CPU a batch costs as much as its queries one after the other, and its last bits
        # depend on how it was padded.
        self.batches = model.device.type != "cpu" if batches is None else batches

    def encode(self, queries: Sequence[Encoding]) -> Vector:
        """(n, dim), not normalised."""
        if self.batches:
            return self._together(queries)
        return np.concatenate([self._together([query]) for query in queries])

    def _together(self, queries: Sequence[Encoding]) -> Vector:
        import torch

        length = max(len(query.ids) for query in queries)
        with torch.inference_mode():
            features: dict[str, Any] = {
                name: torch.from_numpy(column).to(self.model.device)  # (n, tokens)
                for name, column in self.tokens.columns(queries, length).items()
            }
            features["modality"] = "text"
            vectors = self.model(features)[self.output]  # (n, dim)
            result: Vector = vectors.float().cpu().numpy()
        return result


def torch_form(model: "SentenceTransformer", prompt: str) -> TorchForm | None:
    """The short way for this model and prompt; None where it would not give the same vectors."""
    if not reads_plain_text(model):
        return None
    form = TorchForm(model, QueryTokens(model, prompt))
    expected = np.asarray(model.encode_query([_PROBE], prompt=prompt, show_progress_bar=False))
    actual = form.encode([form.tokens.encode(_PROBE)])
    if actual.shape != expected.shape:
        return None
    return form if cosines(expected, actual).item() >= _SAME else None
