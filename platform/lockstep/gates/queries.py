"""The queries that versions are compared by: judged ones, logged ones, and made-up ones."""

import random
import re
from collections.abc import Mapping
from dataclasses import dataclass

from lockstep.corpus.change_log import Corpora
from lockstep.corpus.documents import Document
from lockstep.corpus.query_log import QueryLog
from lockstep.corpus.query_sets import QuerySets

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


@dataclass(frozen=True)
class Queries:
    """Where the queries of a corpus come from."""

    corpora: Corpora
    sets: QuerySets
    log: QueryLog

    def judged(self, corpus: str) -> list[Judged]:
        """The imported query sets; without any, known items made from the corpus itself."""
        found = []
        for name in self.sets.names(corpus):
            one = self.sets.get(corpus, name)
            queries = {key: one.queries[key] for key in one.judgments if key in one.queries}
            found.append(Judged(name, queries, one.judgments))
        return found

    def sampled(self, corpus: str, count: int) -> list[str]:
        """`count` queries without judgments: logged ones first, then judged, then made up."""
        found = dict.fromkeys(self.log.sample(corpus, count))
        for judged in self.judged(corpus):
            found |= dict.fromkeys(judged.queries.values())
        if len(found) < count:
            found |= dict.fromkeys(self.known_items(corpus, count).queries.values())
        texts = list(found)
        if len(texts) <= count:
            return texts
        return random.Random(_SEED).sample(texts, count)

    def known_items(self, corpus: str, count: int) -> Judged:
        """A title or first sentence as the query, its own document as the answer."""
        documents = self.corpora.sample(corpus, count, _SEED)
        queries = {document.id: known_item(document) for document in documents}
        return Judged(
            "known items",
            {key: text for key, text in queries.items() if text},
            {document.id: {document.id: 1} for document in documents},
            made_up=True,
        )


def known_item(document: Document) -> str:
    """What somebody who has seen the document might look for it by."""
    if len(document.title.split()) > 1:
        return document.title[:_LONGEST].strip()
    sentence = _FIRST_SENTENCE.match(document.text)
    return (sentence[1] if sentence else document.text)[:_LONGEST].strip()
