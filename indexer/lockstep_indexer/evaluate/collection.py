"""What is searched, and what is asked of it: documents, and the judged queries they can answer."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from lockstep.bootstrap import Workspace
from lockstep.corpus.change_log import Corpora
from lockstep.corpus.database import Database
from lockstep.corpus.documents import Change, Document
from lockstep.corpus.ingest import ingest
from lockstep.corpus.query_sets import QuerySet
from lockstep.errors import InvalidInput
from lockstep.gates.queries import is_query
from lockstep_indexer.build.reindex import require_documents
from lockstep_indexer.evaluate.scratch import Scratch

_FOLDER_NAME = "collection"  # of a corpus that is made of a BEIR folder
_SHOWN = 3


@dataclass(frozen=True)
class Collection:
    """A corpus of the workspace, or one that is read from a folder and thrown away after."""

    name: str  # as people know it
    corpora: Corpora
    corpus: str
    stored: bool  # in the workspace, so that it may have index versions

    @property
    def head(self) -> int:
        """The seq of the last change there is now."""
        return self.corpora.head_seq(self.corpus)

    def batches(self, size: int) -> Iterator[Sequence[Change]]:
        """The log up to its head of now."""
        after, head = 0, self.head
        while after < head:
            changes = self.corpora.changes(self.corpus, after, limit=size)
            after = changes[-1].seq
            yield changes

    def documents(self, ids: Sequence[str]) -> dict[str, Document]:
        """Those that are there, by id."""
        changes = self.corpora.changes_of(self.corpus, ids)
        return {each.document_id: each.document for each in changes if each.document is not None}


@contextmanager
def opened(workspace: Workspace, corpus: str | Path, scratch: Scratch) -> Iterator[Collection]:
    """The corpus of that name, or of the documents of a BEIR folder.

    Raises CorpusNotFound, or InvalidInput where there are no documents or one cannot be stored.
    """
    if isinstance(corpus, str):
        require_documents(workspace, corpus)
        yield Collection(corpus, workspace.corpora, corpus, stored=True)
        return
    with closing(Database(f"sqlite:///{scratch.folder / 'documents.db'}")) as database:
        database.migrate()
        corpora = Corpora(database)
        name = corpus.absolute().name
        held = f"{_FOLDER_NAME}{len(corpora.names())}"
        corpora.create(held)
        ingest(corpora, held, [corpus])
        yield Collection(name, corpora, held, stored=False)


@dataclass(frozen=True)
class Asked:
    """The judged queries that the collection can answer, and what was left out of them."""

    set_name: str
    queries: Mapping[str, str]  # id -> text, in the order of ids
    judgments: Mapping[str, Mapping[str, int]]  # of these queries; grades from 0
    unknown: int  # judgments of documents that the collection lacks; they stay, and count as missed
    unknown_ids: Sequence[str]  # some of those documents
    unanswerable: int  # queries left out: no document that is relevant to them is there
    unasked: int  # queries left out: empty, or longer than a search takes

    @property
    def ids(self) -> list[str]:
        return list(self.queries)

    @cached_property
    def relevant(self) -> dict[str, list[str]]:
        """The relevant documents of each query, the best grade first."""
        return {
            query: sorted((d for d, g in judged.items() if g > 0), key=lambda d: (-judged[d], d))
            for query, judged in self.judgments.items()
        }


def askable(collection: Collection, judged: QuerySet) -> Asked:
    """Raises InvalidInput where no query is left."""
    ids = sorted({d for grades in judged.judgments.values() for d in grades})
    there = collection.corpora.present(collection.corpus, ids)
    lacking = [one for one in ids if one not in there]
    unknown = sum(d not in there for grades in judged.judgments.values() for d in grades)
    asked = sorted(query for query, text in judged.queries.items() if is_query(text))
    kept = [
        query
        for query in asked
        if any(g > 0 and d in there for d, g in judged.judgments.get(query, {}).items())
    ]
    if not kept:
        raise _nothing_left(collection, judged, lacking, len(ids), asked)
    return Asked(
        judged.name,
        {query: judged.queries[query] for query in kept},
        {query: judged.judgments[query] for query in kept},
        unknown,
        lacking[:_SHOWN],
        unanswerable=len(asked) - len(kept),
        unasked=len(judged.queries) - len(asked),
    )


def _nothing_left(
    collection: Collection,
    judged: QuerySet,
    lacking: Sequence[str],
    count: int,
    asked: Sequence[str],
) -> InvalidInput:
    if lacking and len(lacking) == count:
        return InvalidInput(
            f"'{collection.name}' has none of the {count:,} documents that '{judged.name}' judges "
            f"({', '.join(lacking[:_SHOWN])} …).",
            next_step="Check that judgments and documents are of the same collection.",
        )
    why = (
        f"none of the documents that are relevant to them is in '{collection.name}'"
        if asked
        else "all of them are empty or too long"
    )
    return InvalidInput(
        f"Of the {len(judged.queries):,} queries of '{judged.name}' none can be asked: {why}.",
        next_step="Give judgments of grade 1 or more.",
    )
