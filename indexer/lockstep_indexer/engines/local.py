"""The engine of one machine: reading, splitting, tokenizing, encoding and writing at once."""

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, closing
from dataclasses import dataclass

from lockstep.corpus.documents import Change
from lockstep.index.engine import Built, OneByOne, documents_of, read
from lockstep.index.generation import Generation
from lockstep.index.passages import Passage
from lockstep.index.stages import ENCODE, POINTS, SPLIT, TOKENS, Timings
from lockstep.models.vectors import Vector
from lockstep_indexer.encode.cached_tokenizer import CachedTokenizer
from lockstep_indexer.encode.routes import Check
from lockstep_indexer.encode.tokens import Tokens
from lockstep_indexer.engines.ahead import Ahead
from lockstep_indexer.engines.encoding import Encoding

# Batches that wait behind each stage. A stage that is slow now and then needs no more.
WAITING = 1
_THREADS = 4


@dataclass(frozen=True)
class _Split:
    changes: Sequence[Change]
    passages: Sequence[Passage]
    timings: Timings


@dataclass(frozen=True)
class _Tokenized:
    split: _Split
    tokens: Tokens | None
    known: int | None = None


@dataclass(frozen=True)
class _Encoded:
    tokenized: _Tokenized
    vectors: Vector


@dataclass(frozen=True)
class LocalEngine:
    """Each stage works in a thread of its own, on one batch after the other.

    An index with vectors of tokens is built one by one: a batch of those would take gigabytes.
    """

    encoding: Encoding
    encode_batch: int
    batch_documents: int  # that the log should be read by
    waiting: int = WAITING
    # Splits and tokenizes in one; None: the encoding's own tokenizer, or none.
    tokenizer: Callable[[Generation], AbstractContextManager[CachedTokenizer]] | None = None

    @property
    def told(self) -> str:
        return self.encoding.told

    @property
    def in_fp8(self) -> bool:
        return self.encoding.in_fp8

    @property
    def most_ahead(self) -> int:
        """The batches that may be read and not yet written, the one that is being written too."""
        return _THREADS * (self.waiting + 1) + 1

    def build(
        self, generation: Generation, batches: Iterator[Sequence[Change]]
    ) -> Generator[Built, None, None]:
        if generation.tokens is not None:
            yield from OneByOne(self.encode_batch).build(generation, batches)
            return
        with ExitStack() as stack:
            # First, so that it is closed after the threads have ended.
            cached = stack.enter_context(self.tokenizer(generation)) if self.tokenizer else None
            ahead = stack.enter_context(closing(Ahead(self.waiting)))
            if cached is not None:
                source = _remembered(cached, batches)
            else:
                source = self._tokenized(ahead.run("reader", _split(generation, batches)))
            tokenized = ahead.run("tokenizer", source)
            encoded = ahead.run("encoder", self._encoded(tokenized, ahead.check))
            yield from ahead.run("points", self._built(generation, encoded))

    def close(self) -> None:
        """Nothing is held that does not go with it."""

    def _tokenized(self, batches: Iterator[_Split]) -> Iterator[_Tokenized]:
        for batch in batches:
            with batch.timings.of(TOKENS):
                tokens = self.encoding.tokens(batch.passages)
            yield _Tokenized(batch, tokens)

    def _encoded(self, batches: Iterator[_Tokenized], check: Check) -> Iterator[_Encoded]:
        for batch in batches:
            with batch.split.timings.of(ENCODE):
                vectors = self.encoding.vectors(batch.split.passages, batch.tokens, check)
            yield _Encoded(batch, vectors)

    def _built(self, generation: Generation, batches: Iterator[_Encoded]) -> Iterator[Built]:
        for batch in batches:
            split, tokens = batch.tokenized.split, batch.tokenized.tokens
            with split.timings.of(POINTS):
                points = generation.points_of(split.passages, batch.vectors)
            yield Built(
                split.changes,
                split.passages,
                (points,) if split.passages else (),
                split.timings,
                tokens=0 if tokens is None else len(tokens.ids),
                known=batch.tokenized.known,
                least_s=self.encoding.least_s(tokens),
            )


def _split(generation: Generation, batches: Iterator[Sequence[Change]]) -> Iterator[_Split]:
    for changes, timings in read(batches):
        with timings.of(SPLIT):
            passages = generation.passages(documents_of(changes))
        yield _Split(changes, passages, timings)


def _remembered(
    tokenizer: CachedTokenizer, batches: Iterator[Sequence[Change]]
) -> Iterator[_Tokenized]:
    for changes, timings in read(batches):
        before = tokenizer.hits
        with timings.of(TOKENS):
            passages, tokens = tokenizer.passages_and_tokens(documents_of(changes))
        split = _Split(changes, [passage for each in passages for passage in each], timings)
        known = tokenizer.hits - before if tokenizer.asks_cache else None
        yield _Tokenized(split, tokens, known=known)
