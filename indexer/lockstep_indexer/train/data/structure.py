"""Pairs mined from how documents are built: a heading asks, what stands under it answers.

The inverse cloze task (Lee et al., ACL 2019) with the author's own headings in place of sentences
drawn by chance. What asks is taken out of what answers, or a model would learn to look for the same
words. The name of a subject stays where the text goes on to speak of it.
"""

import random
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from lockstep.corpus.documents import Document
from lockstep.index.passages import encoded_text
from lockstep.index.sentences import SENTENCE_END
from lockstep_indexer.train.data.examples import Example, Kind, TrainingData

MIN_ANSWER_CHARS = 60
MAX_QUERY_CHARS = 300
MIN_SUMMARY_WORDS = 3

# Markdown's two kinds of headings: "## Usage", and "Usage" underlined.
_HEADING = re.compile(
    r"^ {0,3}#{1,6}[ \t]+(?P<marked>\S.*?)[ \t]*#*[ \t]*$"
    r"|^ {0,3}(?P<underlined>\S.*?)[ \t]*\n {0,3}(?:=+|-{2,})[ \t]*$",
    re.MULTILINE,
)


class Way(StrEnum):
    """What of a document asks."""

    HEADING = "heading"  # of a section, with the document's title: the section answers
    TITLE = "title"  # where no other document has the same: the text answers
    SUMMARY = "summary"  # its first paragraph or sentence: the rest answers


@dataclass(frozen=True)
class _Mined:
    way: Way
    example: Example


def mined_from_structure(
    documents: Iterable[Document],
    *,
    ways: Sequence[Way] = tuple(Way),
    limit: int | None = None,
    seed: int = 7,
) -> TrainingData:
    """Pairs of all documents, or `limit` of them drawn at random; the same for the same seed."""
    mined: list[_Mined] = []
    titles: Counter[str] = Counter()
    for document in documents:
        titles[_key(document.title)] += 1
        mined.extend(_mine(document, ways))
    pairs = [
        one for one in mined if one.way is not Way.TITLE or titles[_key(one.example.query)] == 1
    ]
    if limit is not None:
        pairs = random.Random(seed).sample(pairs, min(limit, len(pairs)))
    found = Counter(one.way.value for one in pairs)
    lineage = {
        "source": "structure",
        "ways": {way.value: found[way.value] for way in ways},
        "documents": titles.total(),
        "limit": limit,
        "seed": seed,
        "notes": [],
    }
    return TrainingData(Kind.PAIRS, [one.example for one in pairs], lineage)


def _mine(document: Document, ways: Sequence[Way]) -> Iterator[_Mined]:
    sections = list(_sections(document.text))
    if Way.HEADING in ways:
        for heading, text in sections[1:]:
            query = heading
            if document.title and _key(document.title) not in _key(heading):
                query = f"{document.title}: {heading}"
            yield from _pair(Way.HEADING, document, query, _without_start(text, heading))
    if Way.TITLE in ways:
        text = _without_start(document.text, document.title)
        yield from _pair(Way.TITLE, document, document.title, text)
    if Way.SUMMARY in ways:
        summary, rest = _summary(sections[0][1])
        rest = _without(rest, summary)
        if len(summary.split()) >= MIN_SUMMARY_WORDS and len(rest) >= MIN_ANSWER_CHARS:
            yield from _pair(Way.SUMMARY, document, summary, encoded_text(document.title, rest))


def _pair(way: Way, document: Document, query: str, passage: str) -> Iterator[_Mined]:
    """One pair, where there is something to ask and enough to answer."""
    query = " ".join(query.split())
    if 0 < len(query) <= MAX_QUERY_CHARS and len(passage) >= MIN_ANSWER_CHARS:
        yield _Mined(way, Example((query, passage), group=document.id))


def _without(text: str, asked: str) -> str:
    """The text without the very words that ask, wherever they stand in it."""
    return _trimmed(re.sub(rf"(?<!\w){_pattern(asked)}(?!\w)[ \t]*", "", text, flags=re.IGNORECASE))


def _without_start(text: str, asked: str) -> str:
    """The text without the very words that ask, where it begins with them."""
    return _trimmed(re.sub(rf"^\s*{_pattern(asked)}(?!\w)", "", text, flags=re.IGNORECASE))


def _pattern(asked: str) -> str:
    return r"\s+".join(map(re.escape, asked.split())) or r"(?!)"


def _trimmed(text: str) -> str:
    return text.lstrip(" \t\r\n:;,.!?–—-").rstrip()


def _sections(text: str) -> Iterator[tuple[str, str]]:
    """Headings, and what follows each; the first has no heading."""
    heading, start = "", 0
    for found in _HEADING.finditer(text):
        yield heading, text[start : found.start()].strip()
        heading, start = found["marked"] or found["underlined"], found.end()
    yield heading, text[start:].strip()


def _summary(text: str) -> tuple[str, str]:
    """The first paragraph and the rest; the first sentence where that is all, or long."""
    first, _, rest = text.partition("\n\n")
    if len(first) <= MAX_QUERY_CHARS and rest.strip():
        return first.strip(), rest.strip()
    end = SENTENCE_END.search(text)
    return (text[: end.end()].strip(), text[end.end() :].strip()) if end else (text, "")


def _key(text: str) -> str:
    return " ".join(text.casefold().split())
