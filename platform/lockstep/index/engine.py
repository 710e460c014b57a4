"""The port of an engine: from batches of changes to their points, in the order of the log."""

from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from lockstep.corpus.documents import Change, Document
from lockstep.index.generation import Generation
from lockstep.index.passages import Passage
from lockstep.index.stages import ENCODE, READ, SPLIT, Timings
from lockstep.store.port import Points


@dataclass(frozen=True)
class Built:
    """A batch that is ready to be written, but for what `points` encodes as it is drawn from."""

    changes: Sequence[Change]
    passages: Sequence[Passage]
    points: Iterable[Points]  # of all passages, in portions; to be gone through once
    timings: Timings  # complete once `points` is exhausted
    tokens: int = 0  # that the model read; 0 where nobody counted
    known: int | None = None  # documents whose tokens were known from before; None: nobody asked
    least_s: float = 0.0  # what encoding takes on this card at its ceiling; 0 where that is unknown


class Engine(Protocol):
    """What makes points of changes."""

    def build(
        self, generation: Generation, batches: Iterator[Sequence[Change]]
    ) -> Generator[Built, None, None]:
        """The batches as they came, in their order; each is encoded by itself, so that a build that
        goes on after a crash gives the same vectors.

        May work ahead, and may draw from `batches` in another thread. Closing the generator ends
        that. What fails is raised at its place, after all batches before it.
        """


@dataclass(frozen=True)
class OneByOne:
    """An engine that makes a batch when it is asked for, in the calling thread."""

    encode_batch: int  # passages that a model sees at once

    def build(
        self, generation: Generation, batches: Iterator[Sequence[Change]]
    ) -> Generator[Built, None, None]:
        for changes, timings in read(batches):
            with timings.of(SPLIT):
                passages = generation.passages(documents_of(changes))
            points = self._points(generation, passages, timings)
            yield Built(changes, passages, points, timings)

    def _points(
        self, generation: Generation, passages: Sequence[Passage], timings: Timings
    ) -> Iterator[Points]:
        for some in generation.portions(passages):
            with timings.of(ENCODE):
                points = generation.points(some, batch_size=self.encode_batch)
            yield points


def read(batches: Iterator[Sequence[Change]]) -> Iterator[tuple[Sequence[Change], Timings]]:
    """The batches, each with how long it took to read."""
    while True:
        timings = Timings()
        with timings.of(READ):
            changes = next(batches, None)
        if changes is None:
            return
        yield changes, timings


def documents_of(changes: Sequence[Change]) -> list[Document]:
    """The documents of changes that are no deletions."""
    return [change.document for change in changes if change.document is not None]
