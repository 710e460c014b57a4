"""The fold: brings an index version from the last change it has applied to the head of the log.

Building, resuming after a crash, catching up before a promotion, live writes and keeping a retired
version fresh are this one loop with different starting points.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from lockstep.corpus.change_log import Corpora
from lockstep.corpus.documents import Change
from lockstep.index.catalog import IndexCatalog
from lockstep.index.generation import Generation
from lockstep.index.leases import Lease
from lockstep.index.passages import Passage
from lockstep.store.port import DOCUMENT_ID, Json, VectorStore


@dataclass(frozen=True)
class Progress:
    """How far the fold has come in this run."""

    applied_seq: int
    head_seq: int
    documents: int = 0
    deleted: int = 0
    passages: int = 0
    encode_s: float = 0.0
    total_s: float = 0.0


Report = Callable[[Progress], None]


@dataclass(frozen=True)
class Applier:
    """Applies the change log of a corpus to its index versions."""

    corpora: Corpora
    catalog: IndexCatalog
    store: VectorStore
    batch_documents: int = 256
    encode_batch: int = 32

    def apply(
        self,
        generation: Generation,
        lease: Lease,
        *,
        report: Report | None = None,
        keep_going: Callable[[], bool] = lambda: True,
    ) -> Progress:
        """Apply every change up to the head of the log as it is now.

        The points of a batch are durable before its checkpoint is, and points are idempotent: a
        process killed anywhere repeats at most its last batch. Ends early, after a batch, where
        `keep_going` says so. Raises LeaseLost.
        """
        version = self.catalog.get(generation.version.corpus, generation.version.number)
        started = time.monotonic()
        progress = Progress(version.applied_seq, self.corpora.head_seq(version.corpus))
        while progress.applied_seq < progress.head_seq:
            changes = self.corpora.changes(
                version.corpus, progress.applied_seq, limit=self.batch_documents
            )
            applied, encode_s = self._apply_batch(generation, changes, lease)
            self.store.flush(version.collection)
            self.catalog.checkpoint(version, changes[-1].seq, lease)
            progress = replace(
                progress,
                applied_seq=changes[-1].seq,
                documents=progress.documents + sum(c.document is not None for c in changes),
                deleted=progress.deleted + sum(c.document is None for c in changes),
                passages=progress.passages + applied,
                encode_s=progress.encode_s + encode_s,
                total_s=time.monotonic() - started,
            )
            if report is not None:
                report(progress)
            if not keep_going():
                break
        return progress

    def lag(self, corpus: str, number: int) -> int:
        """How far an index version is behind its corpus, in changes; 0 means up to date."""
        return self.corpora.head_seq(corpus) - self.catalog.get(corpus, number).applied_seq

    def _apply_batch(
        self, generation: Generation, changes: list[Change], lease: Lease
    ) -> tuple[int, float]:
        documents = [change.document for change in changes if change.document is not None]
        passages = generation.passages(documents)
        encode_s = 0.0
        if passages:
            started = time.monotonic()
            points = generation.points(passages, batch_size=self.encode_batch)
            encode_s = time.monotonic() - started
            self.catalog.require(lease)  # encoding takes long: do not write over a successor's work
            self.store.upsert(generation.collection, points)
        # After the new points, so that a changed document is never absent; before the checkpoint,
        # so that a crash between the two repeats it.
        self.store.delete(generation.collection, _stale(changes, passages))
        return len(passages), encode_s


def _stale(changes: list[Change], passages: list[Passage]) -> Json:
    """Matches the points of the changed documents that are not among their new passages."""
    documents = {"key": DOCUMENT_ID, "match": {"any": [c.document_id for c in changes]}}
    current = [{"has_id": [passage.point_id for passage in passages]}] if passages else []
    return {"must": [documents], "must_not": current}
