"""Whether a route gives the vectors of the library's `encode` in single precision."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from lockstep.errors import EncodingFailed
from lockstep.models.agreement import MAX_MEASURED_TOKENS, all_lengths
from lockstep.models.query_tokens import QueryTokens
from lockstep.models.torch_form import TorchForm
from lockstep.models.vectors import Vector, cosines
from lockstep_indexer.encode.routes import Route
from lockstep_indexer.encode.tokenizing import PassageTokenizer
from lockstep_indexer.encode.tokens import Tokens

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

_ODD = ("🙂🙃🚀", "\x00\x07\x1b[0m\u200b\ufeff", "a\n\n\tb", "wing " * 300)
_MOST_SPECIAL = 16  # some tokenizers have hundreds that are reserved and not used


@dataclass(frozen=True)
class Sample:
    """Passages of all lengths that are measured, and the library's vectors of them."""

    tokens: Tokens
    expected: Vector  # (n, dim)

    @classmethod
    def of(
        cls, model: "SentenceTransformer", tokenizer: PassageTokenizer, *, longest: int
    ) -> "Sample":
        """By a model in single precision. Each text alone, so that nothing is padded.

        Raises EncodingFailed where it has no vector for any of them.
        """
        lengths = all_lengths(min(longest, tokenizer.max_tokens))
        texts = [*lengths, *_ODD, *_with_special_tokens(model)]
        if min(longest, tokenizer.max_tokens) > MAX_MEASURED_TOKENS:
            texts.append("wing of an aircraft " * longest)
        tokens = tokenizer.tokens(texts)
        rows = np.flatnonzero(tokens.lengths)  # no model has a vector for no tokens
        expected = _encoded(model, tokenizer.prompt, [texts[row] for row in rows])
        usable = np.isfinite(expected).all(axis=1) & expected.any(axis=1)
        if not usable.any():
            raise EncodingFailed(
                f"The model gives NaN, infinity or only zeros for all of {len(rows)} sample texts.",
                next_step="Check its weights, and add it again as a new version.",
            )
        return cls(tokens.take(rows[usable]), expected[usable])

    def lowest_cosine(self, route: Route) -> float:
        """-1 where it gives no vector at all for a passage."""
        found = route.encode(self.tokens)
        if found.shape != self.expected.shape:
            return -1.0
        return float(np.nan_to_num(cosines(found, self.expected), nan=-1.0).min())


def _with_special_tokens(model: "SentenceTransformer") -> list[str]:
    """Texts that hold the tokenizer's own: padding in the middle of a text, and nothing else."""
    tokenizer: Any = model.tokenizer
    special = tokenizer.all_special_tokens[:_MOST_SPECIAL]
    padding = [tokenizer.pad_token] if tokenizer.pad_token else []
    return [" ".join(f"the {token} token" for token in [*padding, *special]), *padding]


def _encoded(model: "SentenceTransformer", prompt: str, texts: Sequence[str]) -> Vector:
    tokenizer: Any = model.tokenizer
    if tokenizer.pad_token is None:  # without one the library encodes nothing
        form = TorchForm(model, QueryTokens(model, prompt))
        return form.encode([form.tokens.encode(text) for text in texts])
    vectors: Vector = model.encode_document(
        list(texts), prompt=prompt, batch_size=1, show_progress_bar=False
    )
    return np.asarray(vectors, dtype=np.float32)
