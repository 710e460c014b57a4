"""The passages of a corpus that may become negatives, and what is known of each."""

import hashlib
from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Sequence, Set
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

from lockstep.bootstrap import Workspace
from lockstep.corpus.documents import Document
from lockstep.index.generation import splitter_for
from lockstep.index.passages import encoded_text, point_id
from lockstep.models.encoder import Encoder
from lockstep_indexer.build.reindex import require_documents

_CHANGES_AT_ONCE = 512

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


def text_key(text: str) -> bytes:
    """Equal for texts that differ in case and spacing alone."""
    return hashlib.blake2b(" ".join(text.casefold().split()).encode(), digest_size=16).digest()


@dataclass(frozen=True)
class CorpusPassage:
    """A passage as an index of the model would hold it."""

    document_id: str
    text: str  # without the title
    encoded_text: str  # what the model sees of it
    number: int  # in its document, from 0
    content_hash: str  # of its document

    @property
    def point_id(self) -> str:
        return point_id(self.document_id, self.number)


@dataclass(frozen=True)
class Passages:
    """The passages of a corpus, in the order of its change log."""

    all: Sequence[CorpusPassage]
    whole: Sequence[Document]  # documents of several passages

    @cached_property
    def by_document(self) -> dict[str, list[int]]:
        """The places of each document's passages."""
        return _grouped((one.document_id, place) for place, one in enumerate(self.all))

    @cached_property
    def by_text(self) -> dict[bytes, list[int]]:
        """The places of passages with this text, with or without their title."""
        return _grouped(
            (key, place)
            for place, one in enumerate(self.all)
            for key in {text_key(one.text), text_key(one.encoded_text)}
        )

    @cached_property
    def documents_by_text(self) -> dict[bytes, list[str]]:
        """The documents that a text is the whole of, where that is more than a passage."""
        return _grouped(
            (text_key(text), one.id)
            for one in self.whole
            for text in {one.text, encoded_text(one.title, one.text)}
        )

    def repeating(self, place: int) -> list[int]:
        """The places of the same text, titles apart: this one among them."""
        return self.by_text[text_key(self.all[place].text)]

    @cached_property
    def repeated(self) -> set[int]:
        """The places of texts that stand at an earlier place too."""
        places = {text_key(one.text): place for place, one in reversed([*enumerate(self.all)])}
        return set(range(len(self.all))) - set(places.values())

    def of_documents(self, ids: Set[str]) -> set[int]:
        return {place for one in ids for place in self.by_document.get(one, ())}

    def held_out(self, ids: Set[str]) -> set[int]:
        """The places of these documents' passages, and of what repeats one in another document."""
        return {same for place in self.of_documents(ids) for same in self.repeating(place)}

    def __len__(self) -> int:
        return len(self.all)


def _grouped(pairs: Iterable[tuple[Key, Value]]) -> dict[Key, list[Value]]:
    found: dict[Key, list[Value]] = defaultdict(list)
    for key, value in pairs:
        found[key].append(value)
    return dict(found)


def corpus_passages(workspace: Workspace, corpus: str, encoder: Encoder) -> Passages:
    """Every passage of the corpus, in windows as long as the model reads.

    Raises CorpusNotFound, or InvalidInput for an empty corpus.
    """
    require_documents(workspace, corpus)
    splitter = splitter_for(encoder, encoder.max_tokens)
    found: list[CorpusPassage] = []
    whole: list[Document] = []
    for documents in corpus_documents(workspace, corpus):
        for passages in splitter.split(documents):
            for one in passages:
                found.append(
                    CorpusPassage(
                        document_id=one.document.id,
                        text=one.text,
                        encoded_text=one.encoded_text,
                        number=one.number,
                        content_hash=one.document.content_hash,
                    )
                )
            if len(passages) > 1:
                whole.append(passages[0].document)
    return Passages(found, whole)


def corpus_documents(workspace: Workspace, corpus: str) -> Iterator[list[Document]]:
    """The live documents, some at a time, in the order of the change log."""
    seq = 0
    while changes := workspace.corpora.changes(corpus, seq, limit=_CHANGES_AT_ONCE):
        seq = changes[-1].seq
        yield [change.document for change in changes if change.document is not None]
