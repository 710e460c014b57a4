"""One operation, done in this process as a command would do it."""

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from actions import document

from crash.oracle import INGEST_BATCH
from crash.plan import Kind, Operation
from lockstep.bootstrap import Workspace
from lockstep.corpus.ingest import ingest
from lockstep.index.rollouts import Swap
from lockstep.index.spec import SpecOptions
from lockstep.index.versions import IndexVersion, State
from lockstep_indexer.build.follow import bring_up_to_date
from lockstep_indexer.build.reindex import reindex

Facts = dict[str, Any]


def intent(workspace: Workspace, corpus: str, operation: Operation) -> Facts:
    """What a swap is about to make live; to be told before it begins."""
    if operation.kind is Kind.PROMOTE:
        target = promotable(workspace.catalog.versions(corpus))
        return {"target": target.number if target else None}
    if operation.kind is Kind.ROLLBACK:
        return {"target": workspace.rollouts.live(corpus).predecessor}
    return {}


def promotable(versions: Sequence[IndexVersion]) -> IndexVersion | None:
    """The newest candidate, or else the newest retired version."""
    for state in (State.CANDIDATE, State.RETIRED):
        found = [version for version in versions if version.state is state]
        if found:
            return found[-1]
    return None


def perform(workspace: Workspace, corpus: str, operation: Operation, begun: Facts) -> Facts:
    """Do it; returns what is acknowledged. Raises LockstepError."""
    match operation.kind:
        case Kind.WRITE:
            written = [document(number, operation.revision) for number in operation.numbers]
            workspace.corpora.write(corpus, written)
        case Kind.DELETE:
            workspace.corpora.write(corpus, deletes=[f"doc-{n}" for n in operation.numbers])
        case Kind.INGEST:
            _ingest(workspace, corpus, operation)
        case Kind.BUILD:
            model = workspace.models.resolve(f"tiny@{1 + operation.model}")
            return {"version": reindex(workspace, corpus, model, SpecOptions()).version.number}
        case Kind.PROMOTE:
            return swapped(workspace.rollouts.promote(corpus, begun["target"]))
        case Kind.ROLLBACK:
            return swapped(workspace.rollouts.rollback(corpus))
        case Kind.GC:
            workspace.retirement.drop(corpus)
        case Kind.FOLLOW:
            bring_up_to_date(workspace, corpus)
        case Kind.SEARCH:
            return _search(workspace, corpus, operation)
    return {}


def swapped(swap: Swap) -> Facts:
    return {
        "changed": swap.changed,
        "live": swap.live.number,
        "previous": swap.previous.number if swap.previous else None,
    }


def _ingest(workspace: Workspace, corpus: str, operation: Operation) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "documents.jsonl"
        written = [document(number, operation.revision) for number in operation.numbers]
        lines = [
            {"id": each.id, "title": each.title, "text": each.text, "metadata": each.metadata}
            for each in written
        ]
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
        ingest(workspace.corpora, corpus, [path], batch_documents=INGEST_BATCH)


def _search(workspace: Workspace, corpus: str, operation: Operation) -> Facts:
    answer = workspace.search(corpus, document(operation.numbers[0], operation.revision).text)
    return {
        "pairs": [(answer.index_version, answer.model_version)],
        "documents": [hit.document_id for hit in answer.hits],
    }
