"""Where the texts of judged or clicked documents are looked up."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from lockstep.corpus.change_log import Corpora
from lockstep.corpus.documents import Document
from lockstep.corpus.readers import document_file, read_documents
from lockstep.errors import InvalidDocument
from lockstep.models.manifest import Json
from lockstep_indexer.train.data.records import identity, wrong


class Documents(Protocol):
    """Some store of documents."""

    @property
    def lineage(self) -> Json:
        """What it is."""

    def __call__(self, ids: Sequence[str]) -> Mapping[str, Document]:
        """Those of the documents that are there."""


@dataclass(frozen=True)
class CorpusDocuments:
    """The documents of a workspace's corpus, as they are now."""

    corpora: Corpora
    name: str

    @property
    def lineage(self) -> Json:
        return {"corpus": self.name, "seq": self.corpora.head_seq(self.name)}

    def __call__(self, ids: Sequence[str]) -> Mapping[str, Document]:
        found = self.corpora.changes_of(self.name, ids)
        return {one.document_id: one.document for one in found if one.document is not None}


@dataclass(frozen=True)
class FileDocuments:
    """The documents of a BEIR folder, or of any file that a corpus could be filled from."""

    path: Path

    @property
    def lineage(self) -> Json:
        return identity(document_file(self.path))

    def __call__(self, ids: Sequence[str]) -> Mapping[str, Document]:
        wanted, found = set(ids), {}
        for row in read_documents(self.path):
            if isinstance(row.outcome, InvalidDocument):
                raise wrong(document_file(self.path), row.line, str(row.outcome))
            if row.outcome.id in wanted:
                found[row.outcome.id] = row.outcome
        return found


def corpus_documents(corpora: Corpora, name: str) -> CorpusDocuments:
    """The documents of a workspace's corpus; raises CorpusNotFound."""
    corpora.info(name)
    return CorpusDocuments(corpora, name)
