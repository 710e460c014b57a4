"""Passages: a long document becomes windows that fit the model, cut at sentence ends."""

import hashlib
import json
import re
import unicodedata
import uuid
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

from tokenizers import Encoding, Tokenizer

from lockstep.corpus.documents import Document
from lockstep.errors import InvalidInput
from lockstep.index.sentences import SENTENCE_END
from lockstep.models.loading import tokenizer_digest

# Point ids must be the same for the same passage on every machine and for ever.
_NAMESPACE = uuid.UUID("6c6f636b-7374-6570-8000-70617373616d")

MIN_CAPACITY = 4

_WORD_END = re.compile(r"\s+")

# A title may take this share of a window; what is longer is cut, so that text always fits too.
_TITLE_SHARE = 1 / 3

# To be raised with every change, here or of what ends a sentence, that cuts a document otherwise:
# kept windows are known by it.
_CUTS_VERSION = 1


@dataclass(frozen=True)
class Passage:
    """A window of a document: the unit that is encoded and found."""

    document: Document
    number: int  # from 0
    count: int  # passages of the document
    text: str  # of this window, without the title
    encoded_text: str  # what the encoders see: the title, then the text

    @cached_property
    def point_id(self) -> str:
        return point_id(self.document.id, self.number)


def point_id(document_id: str, number: int) -> str:
    """The id of a passage's point: a UUID made of the document's id and the passage's number."""
    return str(uuid.uuid5(_NAMESPACE, f"{number}:{document_id}"))


def encoded_text(title: str, text: str) -> str:
    """A passage as models read it."""
    return f"{title}\n{text}" if title else text


@dataclass(frozen=True)
class Windows:
    """Where a document is cut, in characters: all that it takes to make its passages again."""

    title: int  # of the title, which each passage begins with
    spans: tuple[tuple[int, int], ...]  # of the text: start and end of each passage

    @classmethod
    def whole(cls, document: Document) -> "Windows":
        return cls(len(document.title), ((0, len(document.text)),))

    def passages(self, document: Document) -> list[Passage]:
        title, texts = document.title[: self.title], [document.text[a:b] for a, b in self.spans]
        return [
            Passage(
                document=document,
                number=number,
                count=len(texts),
                text=text,
                encoded_text=encoded_text(title, text),
            )
            for number, text in enumerate(texts)
        ]


class PassageSplitter:
    """Splits documents into windows of at most `window_tokens`, prompt and title included.

    A window ends at the last sentence end that fits; in a sentence longer than a window, between
    two words; in a word longer than that, between two tokens. Windows do not overlap.
    """

    def __init__(self, tokenizer: Tokenizer, window_tokens: int, *, prompt: str = "") -> None:
        """`tokenizer` must neither truncate nor pad; `prompt` goes before each encoded text."""
        self._tokenizer = tokenizer
        self._settings = [_CUTS_VERSION, unicodedata.unidata_version, window_tokens, prompt]
        # One more for the tokens that may appear where title and text are joined.
        self._capacity = window_tokens - len(tokenizer.encode(prompt).ids) - 1
        if self._capacity < MIN_CAPACITY:
            raise InvalidInput(
                f"Windows of {window_tokens} tokens leave {self._capacity} for the text, beside "
                f"the prompt and the special tokens; at least {MIN_CAPACITY} are needed.",
                next_step="Choose longer windows, or a shorter document prompt.",
            )

    def digest(self) -> str:
        """Of all that decides where documents are cut."""
        described = json.dumps([tokenizer_digest(self._tokenizer), *self._settings])
        return hashlib.sha256(described.encode()).hexdigest()

    def split(self, documents: Sequence[Document]) -> list[list[Passage]]:
        """The passages of each document, in order; every document has at least one."""
        return [
            windows.passages(document)
            for document, windows in zip(documents, self.windows(documents), strict=True)
        ]

    def windows(self, documents: Sequence[Document]) -> list[Windows]:
        """Where each document is cut."""
        long = [document for document in documents if not self._surely_fits(document)]
        texts = [text for document in long for text in (document.title, document.text)]
        encodings = iter(self._tokenizer.encode_batch(texts, add_special_tokens=False))
        cut = {
            document.id: self._windows(document, next(encodings), next(encodings))
            for document in long
        }
        return [cut.get(document.id) or Windows.whole(document) for document in documents]

    def _surely_fits(self, document: Document) -> bool:
        # No tokenizer in use makes more tokens than there are bytes.
        return len(document.title.encode()) + len(document.text.encode()) < self._capacity

    def _windows(self, document: Document, title: Encoding, text: Encoding) -> Windows:
        title_tokens = min(len(title), int(self._capacity * _TITLE_SHARE))
        short_title = document.title
        if title_tokens < len(title):
            short_title = document.title[: title.offsets[title_tokens][0]].rstrip()
        capacity = max(1, self._capacity - title_tokens)
        if len(text) <= capacity:  # as most do; reading the offsets of all tokens takes long
            return Windows(len(short_title), (_stripped(document.text, 0, len(document.text)),))
        starts = [start for start, _ in text.offsets]
        ends = [
            sorted({bisect_left(starts, match.end()) for match in pattern.finditer(document.text)})
            for pattern in (SENTENCE_END, _WORD_END)
        ]
        positions = [0, *(starts[cut] for cut in _cuts(len(starts), ends, capacity))]
        positions.append(len(document.text))
        pieces = (_stripped(document.text, start, end) for start, end in pairwise(positions))
        spans = tuple((start, end) for start, end in pieces if start < end)
        return Windows(len(short_title), spans or ((0, len(document.text)),))


def _stripped(text: str, start: int, end: int) -> tuple[int, int]:
    """The span without the whitespace at its ends."""
    piece = text[start:end]
    start += len(piece) - len(piece.lstrip())
    return start, start + len(piece.strip())


def _cuts(tokens: int, ends: Sequence[Sequence[int]], capacity: int) -> Iterator[int]:
    """Token indices at which a new window begins.

    `ends` lists where a window may end, ascending: the places to prefer first.
    """
    begin = 0
    while tokens - begin > capacity:
        limit = begin + capacity
        for places in ends:
            at = bisect_left(places, limit + 1) - 1
            # An end in the first quarter would leave a scrap of a window behind.
            if at >= 0 and places[at] > begin + capacity // 4:
                limit = places[at]
                break
        begin = limit
        yield begin
