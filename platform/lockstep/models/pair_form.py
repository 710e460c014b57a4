"""Pairs of texts through a cross-encoder's own torch modules: tokens in, raw scores out."""

from typing import TYPE_CHECKING

import numpy as np

from lockstep.models.pair_tokens import PairTokens
from lockstep.models.query_tokens import reads_plain_text
from lockstep.models.torch_form import TorchForm

if TYPE_CHECKING:
    from sentence_transformers import CrossEncoder

_PROBE = ("how is lift related to speed", "The lift of a wing grows with the square of the speed.")
_TOLERANCE = 1e-2  # half precision, padded in another way


def pair_form(model: "CrossEncoder") -> TorchForm | None:
    """The short way for this model, (n, 1); None where it would not give the same scores."""
    if not reads_plain_text(model) or model.default_prompt_name is not None:
        return None
    tokens = PairTokens(model)
    form = TorchForm(model, tokens, output="scores", batches=True)
    [pair] = tokens.pairs(_PROBE[0], [_PROBE[1]])
    if model.preprocess([_PROBE])["input_ids"].tolist() != [pair.ids]:
        return None
    actual = form.encode([pair])
    expected = model.predict(
        [_PROBE], activation_fn=_unchanged, show_progress_bar=False
    )  # before the activation
    same = actual.shape == (1, 1) and np.allclose(actual[0], expected, atol=_TOLERANCE)
    return form if same else None


def _unchanged(scores: object) -> object:
    return scores
