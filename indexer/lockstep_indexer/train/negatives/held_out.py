"""What training must not touch: the documents that an evaluation asks for."""

from collections.abc import Sequence
from pathlib import Path

from lockstep.bootstrap import Workspace
from lockstep.corpus.qrels import read_query_set
from lockstep.corpus.query_sets import QuerySet


def judged_documents(
    workspace: Workspace, corpus: str, judged: Sequence[str], split: str
) -> frozenset[str]:
    """The documents that judged queries call relevant: of BEIR folders, or of imported sets.

    Raises CorpusNotFound, QuerySetNotFound, or InvalidInput for a folder that is none of BEIR's.
    """
    return frozenset(
        document_id
        for one in judged
        for grades in judged_queries(workspace, corpus, one, split).judgments.values()
        for document_id, grade in grades.items()
        if grade > 0
    )


def judged_queries(workspace: Workspace, corpus: str, named: str, split: str) -> QuerySet:
    """The imported set of this name, else the split of the BEIR folder that it is."""
    imported = named in workspace.query_sets.names(corpus)
    if not imported and Path(named).exists():
        return read_query_set(Path(named), split=split)
    return workspace.query_sets.get(corpus, named)
