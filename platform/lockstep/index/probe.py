"""The probe: proves that an index version holds its corpus, as its own model encodes it."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from lockstep.corpus.change_log import Corpora
from lockstep.errors import ProbeFailed
from lockstep.index.generation import Generation
from lockstep.index.passages import Passage
from lockstep.index.samples import SampleReport, check_samples
from lockstep.index.tally import Tally, bucket
from lockstep.store.port import DOCUMENT_ID, Json, Record, VectorStore

SAMPLES = 64
QUICK_SAMPLES = 8
_SEED = 20090719
_FIELDS = (DOCUMENT_ID, "content_hash", "passage", "passages")


@dataclass(frozen=True)
class ProbeReport:
    """What the probe measured, and what it found wrong; no problems means sound."""

    documents: int
    points: int
    samples: SampleReport
    content_problems: tuple[str, ...]  # what is missing, left over or out of date

    @property
    def problems(self) -> tuple[str, ...]:
        return (*self.content_problems, *self.samples.problems)

    def to_json(self) -> Json:
        return {
            "documents": self.documents,
            "points": self.points,
            **self.samples.to_json(),
            "problems": list(self.problems),
        }


@dataclass(frozen=True)
class Prober:
    """Checks index versions against their corpus and their model."""

    corpora: Corpora
    store: VectorStore
    encode_batch: int = 32

    def prove(self, generation: Generation, applied_seq: int) -> ProbeReport:
        """The report of `check`; raises ProbeFailed where it lists a problem."""
        report = self.check(generation, applied_seq)
        _raise_for(generation, report.problems)
        return report

    def glance(self, generation: Generation, lag: int) -> SampleReport:
        """Check a few samples only, in milliseconds; raises ProbeFailed.

        A server does this before it answers from a generation that was proven when it was promoted.
        `lag` is how many changes it has not applied: what changed since is not held against it.
        """
        passages = self._sample(generation, QUICK_SAMPLES, frozenset())
        report = check_samples(generation, self.store, passages, batch_size=self.encode_batch)
        _raise_for(generation, report.problems)
        if passages and not report.samples and not lag:
            _raise_for(generation, [f"None of {len(passages)} sampled passages is in it."])
        return report

    def check(
        self,
        generation: Generation,
        applied_seq: int,
        *,
        samples: int = SAMPLES,
        seed: int = _SEED,
    ) -> ProbeReport:
        """Compare every id and hash, then re-encode and search for a sample.

        Documents that changed after `applied_seq` are left out. Nobody may apply changes to the
        version meanwhile.
        """
        expected, changed = self._corpus_tally(generation.version.corpus, applied_seq)
        found = self._index_tally(generation, changed)
        sampled = check_samples(
            generation,
            self.store,
            self._sample(generation, samples, changed, seed),
            batch_size=self.encode_batch,
        )
        return ProbeReport(
            documents=found.documents.count,
            points=found.points.count,
            samples=sampled,
            content_problems=(
                *self._content_problems(generation, applied_seq, changed, expected, found),
                *_passage_problems(found),
            ),
        )

    def _corpus_tally(self, corpus: str, applied_seq: int) -> tuple[Tally, frozenset[str]]:
        """The documents as of `applied_seq`, and the ids of those that changed later."""
        tally, changed = Tally(), set()
        for document_id, content_hash, seq in self.corpora.fingerprints(corpus):
            if seq > applied_seq:
                changed.add(document_id)
            elif content_hash is not None:
                tally.add(document_id, content_hash)
        return tally, frozenset(changed)

    def _index_tally(self, generation: Generation, changed: frozenset[str]) -> "_IndexTally":
        tally = _IndexTally(Tally(), Tally(), Tally())
        for record in self._records(generation.collection):
            payload = record.payload
            document_id, content_hash = payload[DOCUMENT_ID], payload["content_hash"]
            if document_id in changed:
                continue
            tally.points.add(document_id, content_hash, payload["passage"])
            if payload["passage"] == 0:
                tally.documents.add(document_id, content_hash)
                for number in range(payload["passages"]):
                    tally.announced.add(document_id, content_hash, number)
        return tally

    def _records(self, collection: str) -> Iterator[Record]:
        start: str | None = None
        while True:
            page = self.store.scroll(collection, start_id=start, limit=2000, fields=_FIELDS)
            yield from page.records
            if page.next_id is None:
                return
            start = page.next_id

    def _content_problems(
        self,
        generation: Generation,
        applied_seq: int,
        changed: frozenset[str],
        expected: Tally,
        found: "_IndexTally",
    ) -> list[str]:
        """Name the documents in those buckets whose sums differ: a second look at a few."""
        buckets = expected.differing(found.documents)
        if not buckets:
            return []
        corpus = {
            document_id: content_hash
            for document_id, content_hash, seq in self.corpora.fingerprints(
                generation.version.corpus
            )
            if seq <= applied_seq and content_hash is not None and bucket(document_id) in buckets
        }
        index = {
            record.payload[DOCUMENT_ID]: record.payload["content_hash"]
            for record in self._records(generation.collection)
            if bucket(record.payload[DOCUMENT_ID]) in buckets
            and record.payload[DOCUMENT_ID] not in changed
            and record.payload["passage"] == 0
        }
        stale = {key for key in corpus.keys() & index.keys() if corpus[key] != index[key]}
        return [
            f"{len(ids)} of {expected.count} documents are {word} in the index ({some(ids)})."
            for word, ids in (
                ("missing", corpus.keys() - index.keys()),
                ("left over", index.keys() - corpus.keys()),
                ("out of date", stale),
            )
            if ids
        ]

    def _sample(
        self, generation: Generation, count: int, changed: frozenset[str], seed: int = _SEED
    ) -> list[Passage]:
        """One passage of each sampled document."""
        documents = [
            document
            for document in self.corpora.sample(generation.version.corpus, count, seed)
            if document.id not in changed
        ]
        split = generation.splitter.split(documents)
        return [passages[bucket(passages[0].point_id) % len(passages)] for passages in split]


@dataclass(frozen=True)
class _IndexTally:
    documents: Tally  # as the first passages tell
    announced: Tally  # every passage that a first passage says there is
    points: Tally  # every passage there is


def some(ids: Iterable[str]) -> str:
    """The first few of many ids."""
    names = sorted(ids)
    return ", ".join(names[:3]) + (", …" if len(names) > 3 else "")


def _passage_problems(found: _IndexTally) -> list[str]:
    if not found.announced.differing(found.points):
        return []
    return [
        f"Passages are missing or left over: {found.points.count} points are stored, "
        f"{found.announced.count} expected."
    ]


def _raise_for(generation: Generation, problems: Sequence[str]) -> None:
    if problems:
        raise ProbeFailed(
            f"Index {generation.collection} is not sound. {' '.join(problems)}",
            next_step=f"Build it anew: lockstep reindex {generation.version.corpus} "
            f"--model {generation.version.model_ref}",
        )
