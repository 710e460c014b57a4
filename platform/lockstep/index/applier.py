"""The fold: brings an index version from the last change it has applied to the head of the log.

Building, resuming after a crash, catching up before a promotion, live writes and keeping a retired
version fresh are this one loop with different starting points.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace

from lockstep.corpus.change_log import Corpora
from lockstep.corpus.documents import Change
from lockstep.errors import LeaseLost
from lockstep.failpoints import reached
from lockstep.index.catalog import IndexCatalog
from lockstep.index.engine import Built, Engine, OneByOne
from lockstep.index.generation import Generation
from lockstep.index.leases import Lease
from lockstep.index.passages import Passage
from lockstep.index.stages import ENCODE, WRITE, Timings
from lockstep.index.versions import IndexVersion
from lockstep.store.port import DOCUMENT_ID, SEQ, Json, Points, VectorStore, not_newer_than


@dataclass(frozen=True)
class Progress:
    """How far the fold has come in this run."""

    applied_seq: int
    head_seq: int
    documents: int = 0
    deleted: int = 0
    passages: int = 0
    tokens: int = 0  # 0 where nobody counts them
    known: int | None = None  # documents whose tokens were known from before; None: nobody asked
    total_s: float = 0.0
    stage_s: Mapping[str, float] = field(default_factory=dict)  # of work in each stage
    least_s: float = 0.0  # of encoding at the card's ceiling; 0 where that is unknown

    @property
    def encode_s(self) -> float:
        return self.stage_s.get(ENCODE, 0.0)

    def after(self, built: Built, total_s: float) -> "Progress":
        """With one more batch."""
        timings = Timings(dict(self.stage_s))
        timings.add(built.timings.seconds)
        deleted = sum(change.document is None for change in built.changes)
        return replace(
            self,
            applied_seq=built.changes[-1].seq,
            documents=self.documents + len(built.changes) - deleted,
            deleted=self.deleted + deleted,
            passages=self.passages + len(built.passages),
            tokens=self.tokens + built.tokens,
            known=_sum(self.known, built.known),
            total_s=total_s,
            stage_s=timings.seconds,
            least_s=self.least_s + built.least_s,
        )

    def then(self, later: "Progress") -> "Progress":
        """With what a run did that went on from here."""
        timings = Timings(dict(self.stage_s))
        timings.add(later.stage_s)
        return Progress(
            later.applied_seq,
            later.head_seq,
            documents=self.documents + later.documents,
            deleted=self.deleted + later.deleted,
            passages=self.passages + later.passages,
            tokens=self.tokens + later.tokens,
            known=_sum(self.known, later.known),
            total_s=self.total_s + later.total_s,
            stage_s=timings.seconds,
            least_s=self.least_s + later.least_s,
        )


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
        engine: Engine | None = None,
    ) -> Progress:
        """Apply every change up to the head of the log as it is now.

        The points of a batch are durable before its checkpoint is, and points are idempotent: a
        process killed anywhere repeats at most its last batch, and what its engine had made ahead.
        Without an engine each batch is made after the one before it is written. Ends early, after a
        batch, where `keep_going` says so. Raises LeaseLost.
        """
        version = self.catalog.get(generation.version.corpus, generation.version.number)
        started = time.monotonic()
        progress = Progress(version.applied_seq, self.corpora.head_seq(version.corpus))
        batches = self._batches(version.corpus, progress.applied_seq, progress.head_seq)
        with closing((engine or self._one_by_one).build(generation, batches)) as ready:
            for built in ready:
                self._write(generation, built, lease)
                with built.timings.of(WRITE):
                    self._commit(version, built.changes, lease)
                progress = progress.after(built, time.monotonic() - started)
                if report is not None:
                    report(progress)
                if not keep_going():
                    break
        return progress

    @property
    def _one_by_one(self) -> OneByOne:
        return OneByOne(self.encode_batch)

    def _batches(self, corpus: str, after: int, head: int) -> Iterator[Sequence[Change]]:
        """The log from a change to the head; where a batch ends depends on the log alone."""
        while after < head:
            changes = self.corpora.changes(corpus, after, limit=self.batch_documents)
            after = changes[-1].seq
            yield changes

    def reapply(self, generation: Generation, changes: list[Change], lease: Lease) -> int:
        """Apply changes once more that the version has passed already; the passages encoded.

        `changes` ascend by seq, and none is beyond the version's `applied_seq`, which stays as it
        is. The points are durable when this returns. Raises LeaseLost.
        """
        if not changes:
            return 0
        with closing(self._one_by_one.build(generation, iter([changes]))) as ready:
            built = next(ready)
            self._write(generation, built, lease)
        self.store.flush(generation.collection)
        try:
            self.catalog.require(lease)
        except LeaseLost:
            self._withdraw(generation.version, changes)
            raise
        return len(built.passages)

    def lag(self, corpus: str, number: int) -> int:
        """How far an index version is behind its corpus, in changes; 0 means up to date."""
        return self.corpora.head_seq(corpus) - self.catalog.get(corpus, number).applied_seq

    def _write(self, generation: Generation, built: Built, lease: Lease) -> None:
        """The batch's points, and away with those that its documents have no more."""
        changes, timings = built.changes, built.timings
        for points in built.points:
            with timings.of(WRITE):
                _number(points, changes)
                self.catalog.require(lease)  # encoding takes long: spare a successor's work
                reached("before the points")
                # A process frozen here past its lease must not replace what its successor wrote.
                self.store.upsert(generation.collection, points, keep_newer_than=changes[-1].seq)
        # After the new points, so that a changed document is never absent; before the checkpoint,
        # so that a crash between the two repeats it.
        with timings.of(WRITE):
            self.store.delete(generation.collection, _stale(changes, built.passages))
        reached("after the points")

    def _commit(self, version: IndexVersion, changes: Sequence[Change], lease: Lease) -> None:
        """Make a batch count. Where another process has the lease by now, undo what it undid."""
        self.store.flush(version.collection)
        reached("after the flush")
        try:
            self.catalog.checkpoint(version, changes[-1].seq, lease)
        except LeaseLost:
            self._withdraw(version, changes)
            raise
        reached("after the checkpoint")

    def _withdraw(self, version: IndexVersion, changes: Sequence[Change]) -> None:
        """Delete the batch's points of documents that have changed since it was read.

        Its successor may have applied those changes before this process, frozen for a while, wrote
        the older state: that state would stay for ever. Newer points are not touched.
        """
        last = changes[-1].seq
        seqs = self.corpora.seqs(version.corpus, [change.document_id for change in changes])
        changed = [document_id for document_id, seq in seqs.items() if seq > last]
        if changed:
            self.store.delete(version.collection, _of_documents(changed, up_to=last))


def _sum(one: int | None, other: int | None) -> int | None:
    """None where neither was counted."""
    return one if other is None else other + (one or 0)


def _number(points: Points, changes: Sequence[Change]) -> None:
    """Note in each point the change it was made from."""
    seqs = {change.document_id: change.seq for change in changes}
    for payload in points.payloads:
        payload[SEQ] = seqs[payload[DOCUMENT_ID]]


def _stale(changes: Sequence[Change], passages: Sequence[Passage]) -> Json:
    """Matches the points of the changed documents that are not among their new passages."""
    matching = _of_documents([change.document_id for change in changes], up_to=changes[-1].seq)
    if passages:
        matching["must_not"] = [{"has_id": [passage.point_id for passage in passages]}]
    return matching


def _of_documents(document_ids: Sequence[str], *, up_to: int) -> Json:
    """Matches the points of documents, those excepted that were made from a later change."""
    documents = {"key": DOCUMENT_ID, "match": {"any": list(document_ids)}}
    return {"must": [documents, not_newer_than(up_to)]}
