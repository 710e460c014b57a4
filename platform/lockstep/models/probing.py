"""What every model is tried with when it is added, whatever its kind."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from lockstep.errors import ModelRejected
from lockstep.models.vectors import Scores, Vector

if TYPE_CHECKING:
    from lockstep.models.loading import AnyModel

PROBES = ("A short sentence to test the model with.", "7 × 8 = 56; ¿qué? 世界", "a")
_MAX_PROBED_TOKENS = 1024  # a longer text takes minutes on a CPU


def longest_probe(max_tokens: int) -> str:
    """A text that fills the model, as far as that can be waited for."""
    return " ".join(["word"] * min(max_tokens, _MAX_PROBED_TOKENS))


def require_padding_token(model: "AnyModel") -> None:
    """Refuse a model whose tokenizer has none: ModelRejected. The library pads every batch."""
    tokenizer = getattr(model, "tokenizer", None)
    if getattr(tokenizer, "pad_token", "") is None:
        raise ModelRejected(
            "The model's tokenizer has no padding token, without which texts of different lengths "
            "make no batch.",
            next_step='Name a token of its vocabulary in tokenizer_config.json, such as "pad_token"'
            ': "[PAD]", or the token that ends its texts, and add the model again.',
        )


@contextmanager
def trying(what: str) -> Iterator[None]:
    """Refuse a model that fails on a test sentence, or a test pair: ModelRejected."""
    try:
        yield
    except Exception as error:  # whatever the model's modules raise
        raise ModelRejected(
            f"The model fails on a test {what}: {type(error).__name__}: {error}",
            next_step="If the text is too long for it, lower max_tokens.",
        ) from error


def require_complete(
    again: Vector | Scores, expected: Vector | Scores, *, kind: str, saved_by: str
) -> None:
    """Raise ModelRejected where a second load, by another seed, gives something else.

    Weights that the files lack are drawn at random.
    """
    same = again.shape == expected.shape and np.allclose(again, expected, rtol=1e-3, atol=1e-5)
    if not same:
        raise ModelRejected(
            f"Loading the model twice gives two different {kind}: its files lack some weights, as "
            "a rule those of its last layer, which are then drawn at random.",
            next_step=f"Save the whole model by `{saved_by}.save_pretrained`.",
        )
