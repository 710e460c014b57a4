"""The queries that versions are compared by: judged ones, logged ones, and made-up ones."""

import random
import re
from collections.abc import Mapping
from dataclasses import dataclass

from lockstep.corpus.change_log import Corpora
from lockstep.corpus.documents import Document
from lockstep.corpus.query_log import QueryLog
from lockstep.corpus.query_sets import QuerySets
from lockstep.search.request import MAX_QUERY_BYTES

# Fewer queries than this tell nothing, whatever they say; more than that take long.
MIN_QUERIES, MAX_JUDGED = 20, 2_000
_SEED = 20090719
_FIRST_SENTENCE = re.compile(r"\s*(.{10,400}?[.!?。！？\n])", re.DOTALL)
_LONGEST = 300  # characters


@dataclass(frozen=True)
class Judged:
    """Queries with the documents that are known to answer them."""

    name: str
    queries: Mapping[str, str]  # id -> text
    judgments: Mapping[str, Mapping[str, int]]  # query id -> document id -> relevance
    made_up: bool = False  # from the documents themselves: known items
    left_out: int = 0  # queries that nothing in the corpus answers, or that are too many


@dataclass(frozen=True)
class Queries:
    """Where the queries of a corpus come from."""

    corpora: Corpora
    sets: QuerySets
    log: QueryLog

    def judged(self, corpus: str) -> list[Judged]:
        """The imported query sets: of each what can be answered, at most MAX_JUDGED queries.

        A query without a relevant document in the corpus tells nothing: both versions fail it.
        """
        found = []
        for name in self.sets.names(corpus):
            one = self.sets.get(corpus, name)
            relevant = {key: _relevant(grades) for key, grades in one.judgments.items()}
            there = self.corpora.present(corpus, sorted(set().union(*relevant.values())))
            answerable = sorted(
                key
                for key, ids in relevant.items()
                if ids & there and is_query(one.queries.get(key, ""))
            )
            chosen = _some(answerable, MAX_JUDGED)
            if chosen:
                queries = {key: one.queries[key] for key in chosen}
                found.append(
                    Judged(name, queries, one.judgments, left_out=len(relevant) - len(chosen))
                )
        return found

    def sampled(self, corpus: str, count: int) -> list[str]:
        """`count` queries without judgments: logged ones first, then judged, then made up."""
        found = dict.fromkeys(self.log.sample(corpus, count))
        for judged in self.judged(corpus):
            found |= dict.fromkeys(judged.queries.values())
        if len(found) < count:
            found |= dict.fromkeys(self.known_items(corpus, count).queries.values())
        return _some([text for text in found if is_query(text)], count)

    def known_items(self, corpus: str, count: int) -> Judged:
        """A title or first sentence as the query, its own document as the answer."""
        documents = self.corpora.sample(corpus, count, _SEED)
        queries = {document.id: known_item(document) for document in documents}
        return Judged(
            "known items",
            {key: text for key, text in queries.items() if is_query(text)},
            {document.id: {document.id: 1} for document in documents},
            made_up=True,
        )


def is_query(text: str) -> bool:
    """Whether a search would take it."""
    return bool(text.strip()) and len(text.encode(errors="replace")) <= MAX_QUERY_BYTES


def _relevant(grades: Mapping[str, int]) -> set[str]:
    return {document_id for document_id, relevance in grades.items() if relevance > 0}


def _some(names: list[str], count: int) -> list[str]:
    """`count` of them, always the same ones."""
    return names if len(names) <= count else random.Random(_SEED).sample(names, count)


def known_item(document: Document) -> str:
    """What somebody who has seen the document might look for it by."""
    if len(document.title.split()) > 1:
        return document.title[:_LONGEST].strip()
    sentence = _FIRST_SENTENCE.match(document.text)
    return (sentence[1] if sentence else document.text)[:_LONGEST].strip()
