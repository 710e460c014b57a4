"""What encodes the passages of a build: the fastest route from token ids, or the library."""

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from lockstep.errors import EncodingFailed
from lockstep.index.passages import Passage
from lockstep.models.encoder import Encoder
from lockstep.models.vectors import Vector
from lockstep_indexer.encode.passage_encoder import PassageEncoder
from lockstep_indexer.encode.routes import Check
from lockstep_indexer.encode.tokenizing import PassageTokenizer
from lockstep_indexer.encode.tokens import Tokens


class Encoding(Protocol):
    """Two steps, each for one thread at a time, which may be two threads."""

    @property
    def told(self) -> str:
        """For people: what encodes, how near it is to the library, and why nothing else does."""

    @property
    def in_fp8(self) -> bool:
        """Whether it encodes in eight bits: its vectors may be further off than half precision."""

    def tokens(self, passages: Sequence[Passage]) -> Tokens | None:
        """None where `vectors` reads the texts themselves."""

    def vectors(self, passages: Sequence[Passage], tokens: Tokens | None, check: Check) -> Vector:
        """(n, dim), L2-normalised; what `check` raises ends it. Raises EncodingFailed, InvalidInput
        or DeviceMemoryFull.
        """

    def least_s(self, tokens: Tokens | None) -> float:
        """What the card would take at its ceiling; 0 where that is unknown."""


class ByTokens:
    """By a route that is chosen for the model and this machine."""

    def __init__(
        self,
        encoder: PassageEncoder,
        *,
        least_s: Callable[[Tokens], float] = lambda _: 0.0,
    ) -> None:
        self._encoder = encoder
        self._least_s = least_s

    @property
    def told(self) -> str:
        return str(self._encoder.report)

    @property
    def tokenizer(self) -> PassageTokenizer:
        return self._encoder.tokenizer

    @property
    def route(self) -> str:
        return self._encoder.name

    @property
    def on_card(self) -> bool:
        return self._encoder.on_card

    @property
    def in_fp8(self) -> bool:
        return self._encoder.in_fp8

    def tokens(self, passages: Sequence[Passage]) -> Tokens | None:
        return self._encoder.tokenizer.tokens([passage.encoded_text for passage in passages])

    def vectors(self, passages: Sequence[Passage], tokens: Tokens | None, check: Check) -> Vector:
        if tokens is None or len(tokens) != len(passages):
            raise ValueError(f"tokens of {tokens and len(tokens)} passages; {len(passages)} given")
        try:
            return self._encoder.encode(tokens, check=check)
        except EncodingFailed as error:
            raise _placed(error, passages) from error

    def least_s(self, tokens: Tokens | None) -> float:
        return 0.0 if tokens is None else self._least_s(tokens)


class ByLibrary:
    """By sentence-transformers, as live writes are."""

    in_fp8 = False

    def __init__(
        self, encoder: Encoder, *, batch_size: int, why: str, fp8_asked: bool = False
    ) -> None:
        """`why` no faster way is taken; `fp8_asked`: whether to tell that eight bits are not."""
        self._encoder = encoder
        self._batch_size = batch_size
        not_used = "; --fp8 is not used" if fp8_asked else ""
        self.told = f"sentence-transformers, on {encoder.device}: {why}{not_used}"

    def tokens(self, passages: Sequence[Passage]) -> Tokens | None:
        return None

    def vectors(self, passages: Sequence[Passage], tokens: Tokens | None, check: Check) -> Vector:
        """In batches of like lengths, as the library makes them of all; it cannot be ended."""
        texts = [passage.encoded_text for passage in passages]
        order = np.argsort([-len(text) for text in texts], kind="stable")
        vectors = np.empty((len(texts), self._encoder.dim), np.float32)
        for start in range(0, len(texts), self._batch_size):
            check()
            rows = order[start : start + self._batch_size]
            some = [texts[row] for row in rows]
            vectors[rows] = self._encoder.encode_passages(some, batch_size=self._batch_size)
        return vectors

    def least_s(self, tokens: Tokens | None) -> float:
        return 0.0


def _placed(error: EncodingFailed, passages: Sequence[Passage]) -> EncodingFailed:
    """With where in the corpus it was: passages are counted from the first document named."""
    first, last = passages[0].document.id, passages[-1].document.id
    return EncodingFailed(
        f"{error.message} They are those of documents '{first}' to '{last}'.",
        next_step=error.next_step,
    )
