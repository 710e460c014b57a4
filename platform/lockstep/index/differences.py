"""Which documents of an index version are not as its corpus has them: by id, hash and passage."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from lockstep.corpus.change_log import Corpora
from lockstep.index.tally import Tally, bucket
from lockstep.store.port import DOCUMENT_ID, Record, VectorStore

_FIELDS = (DOCUMENT_ID, "content_hash", "passage", "passages")


@dataclass(frozen=True)
class Differences:
    """What was counted, and the ids of the documents that are wrong; none means sound."""

    expected: int  # documents of the corpus
    documents: int  # whose first passage is stored
    announced: int  # passages that the stored first ones say there are
    points: int
    changed: frozenset[str]  # later than the moment that is compared: they were left out
    missing: frozenset[str] = frozenset()
    left_over: frozenset[str] = frozenset()
    out_of_date: frozenset[str] = frozenset()
    incomplete: frozenset[str] = frozenset()  # passages are missing or left over

    @property
    def document_ids(self) -> frozenset[str]:
        """Every document of which a point is missing, left over or out of date."""
        return self.missing | self.left_over | self.out_of_date | self.incomplete

    @property
    def problems(self) -> tuple[str, ...]:
        named = (
            ("missing", self.missing),
            ("left over", self.left_over),
            ("out of date", self.out_of_date),
        )
        found = [
            f"{len(ids)} of {self.expected} documents are {word} in the index ({some(ids)})."
            for word, ids in named
            if ids
        ]
        if self.incomplete:
            found.append(
                f"Passages are missing or left over ({some(self.incomplete)}): {self.points} "
                f"points are stored, {self.announced} expected."
            )
        return tuple(found)


def compare(corpora: Corpora, store: VectorStore, collection: str, *, of: "AsOf") -> Differences:
    """Compare every id, hash and passage of a collection with its corpus as of a change.

    Fixed memory, but for what differs: sums first, then a second look that names documents.
    Documents that changed later are left out. Nobody may apply changes to the version meanwhile.
    """
    expected, changed = _corpus_tally(corpora, of)
    found = _index_tally(store, collection, changed)
    counted = Differences(
        expected=expected.count,
        documents=found.documents.count,
        announced=found.announced.count,
        points=found.points.count,
        changed=changed,
    )
    buckets = expected.differing(found.documents) | found.announced.differing(found.points)
    if not buckets:
        return counted
    corpus, changed_by_now = _corpus_hashes(corpora, of, buckets)
    index = _index_entries(store, collection, buckets, leave_out=changed | changed_by_now)
    first = {key: entry.hash for key, entry in index.items() if entry.hash is not None}
    return replace(
        counted,
        changed=changed | changed_by_now,
        missing=frozenset(corpus.keys() - first.keys() - changed_by_now),
        left_over=frozenset(index.keys() - corpus.keys()),
        out_of_date=frozenset(
            key for key in corpus.keys() & first.keys() if corpus[key] != first[key]
        ),
        incomplete=frozenset(key for key, entry in index.items() if not entry.is_complete),
    )


@dataclass(frozen=True)
class AsOf:
    """A corpus as it was once a change was made."""

    corpus: str
    seq: int


def some(ids: Iterable[str]) -> str:
    """The first few of many ids."""
    names = sorted(ids)
    return ", ".join(names[:3]) + (", …" if len(names) > 3 else "")


@dataclass(frozen=True)
class _IndexTally:
    documents: Tally  # as the first passages tell
    announced: Tally  # every passage that a first passage says there is
    points: Tally  # every passage there is


@dataclass
class _Entry:
    """What the index holds of one document."""

    hash: str | None = None  # of its first passage
    announced: int = 0
    passages: set[tuple[str, int]] = field(default_factory=set)  # (hash, number)

    @property
    def is_complete(self) -> bool:
        return self.passages == {(self.hash, number) for number in range(self.announced)}


def _corpus_tally(corpora: Corpora, of: AsOf) -> tuple[Tally, frozenset[str]]:
    """The documents as of a change, and the ids of those that changed later."""
    tally, changed = Tally(), set()
    for document_id, content_hash, seq in corpora.fingerprints(of.corpus):
        if seq > of.seq:
            changed.add(document_id)
        elif content_hash is not None:
            tally.add(document_id, content_hash)
    return tally, frozenset(changed)


def _index_tally(store: VectorStore, collection: str, changed: frozenset[str]) -> _IndexTally:
    tally = _IndexTally(Tally(), Tally(), Tally())
    for record in _records(store, collection):
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


def _corpus_hashes(
    corpora: Corpora, of: AsOf, buckets: frozenset[int]
) -> tuple[dict[str, str], frozenset[str]]:
    """The documents in some buckets by id, and the ids of those that changed by now."""
    hashes, changed = {}, set()
    for document_id, content_hash, seq in corpora.fingerprints(of.corpus):
        if bucket(document_id) not in buckets:
            continue
        if seq > of.seq:
            changed.add(document_id)
        elif content_hash is not None:
            hashes[document_id] = content_hash
    return hashes, frozenset(changed)


def _index_entries(
    store: VectorStore, collection: str, buckets: frozenset[int], *, leave_out: frozenset[str]
) -> dict[str, _Entry]:
    entries: dict[str, _Entry] = {}
    for record in _records(store, collection):
        payload = record.payload
        document_id = payload[DOCUMENT_ID]
        if bucket(document_id) not in buckets or document_id in leave_out:
            continue
        entry = entries.setdefault(document_id, _Entry())
        entry.passages.add((payload["content_hash"], payload["passage"]))
        if payload["passage"] == 0:
            entry.hash, entry.announced = payload["content_hash"], payload["passages"]
    return entries


def _records(store: VectorStore, collection: str) -> Iterator[Record]:
    start: str | None = None
    while True:
        page = store.scroll(collection, start_id=start, limit=2000, fields=_FIELDS)
        yield from page.records
        if page.next_id is None:
            return
        start = page.next_id
