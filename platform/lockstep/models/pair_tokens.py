"""A query and passages as the input of a model that reads each passage beside the query."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tokenizers import Encoding

from lockstep.models.loading import fast_tokenizer, plain_copy
from lockstep.models.query_tokens import QueryTokens

if TYPE_CHECKING:
    from sentence_transformers import CrossEncoder

_QUERY_CHARS = 40


class PairTokens(QueryTokens):
    """Tokenizes pairs as the model itself does: the longer text is cut first. Safe in threads."""

    def __init__(self, model: "CrossEncoder") -> None:
        super().__init__(model, prompt="")
        tokenizer = fast_tokenizer(model)
        if tokenizer is None:
            raise ValueError("the model has no fast tokenizer")
        self._parts = plain_copy(tokenizer)

    def pairs(self, query: str, texts: Sequence[str]) -> list[Encoding]:
        """One encoding for each text, the query before it; the query is tokenized once."""
        asked = self._parts.encode(query, add_special_tokens=False)
        read = self._parts.encode_batch(list(texts), add_special_tokens=False)
        return [self._tokenizer.post_process(asked, text) for text in read]

    def encode(self, text: str) -> Encoding:
        """A text beside its own beginning, as models are examined with it."""
        [pair] = self.pairs(text[:_QUERY_CHARS], [text])
        return pair
