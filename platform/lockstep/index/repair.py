"""Repair: makes an index version once more what its change log and its model say.

Only what differs is encoded and written, under the version's lease, and what is there in the end
is proven as after a build. The alias and every other version stay as they are. Killed anywhere, it
can run again: it finds what is left to mend.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace

from lockstep.corpus.change_log import Corpora
from lockstep.corpus.documents import Change
from lockstep.errors import (
    CollectionDamaged,
    CollectionInUse,
    CollectionNotFound,
    LeaseHeld,
    LockstepError,
    ProbeFailed,
    RepairRefused,
)
from lockstep.index.applier import Applier, Progress
from lockstep.index.catalog import IndexCatalog
from lockstep.index.differences import Differences
from lockstep.index.generation import Generation
from lockstep.index.leases import Lease, Leases
from lockstep.index.probe import Prober, ProbeReport
from lockstep.index.rebuilding import reindex_command
from lockstep.index.stored_vectors import disagreeing_documents
from lockstep.index.versions import IndexVersion, State
from lockstep.models.encoders import Encoders
from lockstep.store.port import Json, VectorStore

# One stale vector in a hundred escapes this many samples 4 times in 100,000.
SAMPLES = 1000
# Documents that are mended at once; the log is followed in between.
_AT_ONCE = 64


@dataclass(frozen=True)
class Outlook:
    """What encoding every passage again will cost, said before it begins."""

    passages: int
    seconds: float  # from the rate at which the sample was encoded


@dataclass(frozen=True)
class RepairListener:
    """Whom to tell how a repair gets on."""

    stage: Callable[[str], None] = lambda _: None
    progress: Callable[[Progress], None] = lambda _: None
    outlook: Callable[[Outlook], None] = lambda _: None


@dataclass(frozen=True)
class Repaired:
    """What was wrong, what was done about it, and the proof that it is right now."""

    version: IndexVersion
    found: Differences
    disagreeing: int  # documents of which a stored vector was not what the model gives
    deep: bool  # every passage was encoded again, to compare it
    applied: int  # changes of the log that the version had not applied
    passages: int  # encoded and written to mend it
    took_s: float
    probe: ProbeReport

    @property
    def documents(self) -> int:
        """How many documents were mended."""
        return len(self.found.document_ids) + self.disagreeing

    @property
    def summary(self) -> str:
        """In one line, as the history keeps it."""
        counts = (
            (len(self.found.missing), "missing"),
            (len(self.found.left_over), "left over"),
            (len(self.found.out_of_date), "out of date"),
            (len(self.found.incomplete), "incomplete"),
            (self.disagreeing, "with wrong vectors"),
        )
        what = ", ".join(f"{count:,} {word}" for count, word in counts if count)
        mended = f"documents mended: {what}" if what else "nothing was wrong"
        return f"{mended}; {self.passages:,} passages encoded and written"

    def to_json(self) -> Json:
        return {
            "missing": len(self.found.missing),
            "left_over": len(self.found.left_over),
            "out_of_date": len(self.found.out_of_date),
            "incomplete": len(self.found.incomplete),
            "disagreeing": self.disagreeing,
            "deep": self.deep,
            "applied": self.applied,
            "passages": self.passages,
            "seconds": round(self.took_s, 3),
            "probe": self.probe.to_json(),
        }


@dataclass(frozen=True)
class Repairer:
    """Mends index versions."""

    corpora: Corpora
    catalog: IndexCatalog
    store: VectorStore
    encoders: Encoders
    leases: Leases
    applier: Applier
    prober: Prober
    wait_s: float = 10.0  # for another process to let go of the version's lease

    def repair(
        self,
        corpus: str,
        number: int,
        *,
        deep: bool = False,
        samples: int = SAMPLES,
        listener: RepairListener | None = None,
    ) -> Repaired:
        """Find what differs from the corpus and the model, apply exactly that again, and prove it.

        Every passage is encoded again to compare it where `deep` asks for that, or where a sampled
        one disagrees with what is stored. A failed version that is proven becomes a candidate.
        Raises RepairRefused, LeaseHeld, CollectionInUse, CollectionDamaged or ProbeFailed.
        """
        version = self._repairable(corpus, number)
        with _opening(version), self._recorded(version) as done:
            self.store.count(version.collection)  # refused where a server has it open
            generation = Generation.load(version, self.encoders)
            with self._lease(version) as lease:
                version = self._repairable(corpus, number)  # its holder before may have dropped it
                work = _Repair(self, generation, lease, listener or RepairListener(), samples)
                repaired = work.run(deep=deep)
                if version.state is State.FAILED:
                    self.catalog.set_state(version, State.CANDIDATE)
            done.append(repaired.summary)
        return replace(repaired, version=self.catalog.get(corpus, number))

    def _repairable(self, corpus: str, number: int) -> IndexVersion:
        version = self.catalog.get(corpus, number)
        refused = {
            State.BUILDING: ("is still being built", "Finish it"),
            State.DROPPED: ("was dropped", "Build it anew"),
        }
        if version.state not in refused:
            return version
        why, what = refused[version.state]
        raise RepairRefused(
            f"Index version {version.label} of '{corpus}' {why}; there is nothing to repair.",
            next_step=f"{what}: {reindex_command(version)}",
        )

    @contextmanager
    def _lease(self, version: IndexVersion) -> Iterator[Lease]:
        """The version's lease; a server that applies changes has it for a moment now and then."""
        deadline = time.monotonic() + self.wait_s
        with ExitStack() as stack:
            while True:
                try:
                    lease = stack.enter_context(self.leases.hold(version.collection))
                    break
                except LeaseHeld:
                    if time.monotonic() > deadline:
                        raise
                time.sleep(0.1)
            yield lease

    @contextmanager
    def _recorded(self, version: IndexVersion) -> Iterator[list[str]]:
        """Write to the corpus's history that a repair began, and how it ended."""

        def write(outcome: str, detail: str | None = None) -> None:
            self.catalog.record(
                version.corpus, "repair", outcome, to_version=version.number, detail=detail
            )

        done: list[str] = []
        write("started")
        try:
            yield done
        except LockstepError as error:
            write("failed", str(error))
            raise
        write("done", "; ".join(done))


@dataclass
class _Repair:
    """One repair, while the lease is held."""

    parts: Repairer
    generation: Generation
    lease: Lease
    listener: RepairListener
    samples: int
    applied: int = 0
    passages: int = 0
    checks: int = 0
    started: float = field(default_factory=time.monotonic)

    def run(self, *, deep: bool) -> Repaired:
        self.listener.stage("applying changes")
        self._follow()
        self.listener.stage("comparing")
        report, sample_s = self._check()
        self.listener.stage("mending")
        self._mend(sorted(report.differences.document_ids))
        deep = deep or report.samples.disagreeing > 0
        disagreeing = self._mend_vectors(report, sample_s) if deep else []
        proven = not (report.problems or disagreeing or deep)
        if not proven:
            self.listener.stage("optimising")
            self.parts.store.optimize(self.generation.collection)
            self.parts.store.flush(self.generation.collection)
            self.listener.stage("probing")
            self._follow()
        probe = report if proven else self._proven()
        return Repaired(
            version=self.generation.version,
            found=report.differences,
            disagreeing=len(disagreeing),
            deep=deep,
            applied=self.applied,
            passages=self.passages,
            took_s=time.monotonic() - self.started,
            probe=probe,
        )

    @property
    def applied_seq(self) -> int:
        version = self.generation.version
        return self.parts.catalog.get(version.corpus, version.number).applied_seq

    def _follow(self) -> None:
        """Apply new changes of the log: while this holds the lease, nobody else does."""
        progress = self.parts.applier.apply(
            self.generation, self.lease, report=self.listener.progress
        )
        self.applied += progress.documents + progress.deleted

    def _check(self) -> tuple[ProbeReport, float]:
        """What differs, and the seconds that it took to find out: a bound for the encoding."""
        started = time.monotonic()
        seq, self.checks = self.applied_seq, self.checks + 1
        # Another sample each time: what one of them misses the next may see.
        report = self.parts.prober.check(
            self.generation, seq, samples=self.samples, seed=seq * 1000 + self.checks
        )
        return report, time.monotonic() - started

    def _proven(self) -> ProbeReport:
        report, _ = self._check()
        if report.problems:
            raise beyond_repair(self.generation.version, " ".join(report.problems))
        return report

    def _mend(self, document_ids: Sequence[str]) -> None:
        """Apply the last change of these documents again; unknown ones are deleted."""
        for start in range(0, len(document_ids), _AT_ONCE):
            seq, ids = self.applied_seq, document_ids[start : start + _AT_ONCE]
            known = self.parts.corpora.changes_of(self.generation.version.corpus, ids)
            unknown = set(ids) - {change.document_id for change in known}
            # What has changed since is applied with the log, under its own number.
            changes = [change for change in known if change.seq <= seq]
            changes += [Change(seq, document_id, None) for document_id in sorted(unknown)]
            self.passages += self.parts.applier.reapply(self.generation, changes, self.lease)
            self._follow()

    def _mend_vectors(self, report: ProbeReport, sample_s: float) -> list[str]:
        """Encode every passage again; the ids of the documents that had to be written anew."""
        share = report.points / max(1, report.samples.samples)
        self.listener.outlook(Outlook(report.points, sample_s * share))
        self.listener.stage("encoding all again")
        mended: list[str] = []
        after, last = 0, self.applied_seq
        corpus = self.generation.version.corpus
        while changes := self.parts.corpora.changes(corpus, after, limit=_AT_ONCE):
            after = changes[-1].seq
            wrong = disagreeing_documents(
                self.generation,
                self.parts.store,
                [c.document for c in changes if c.document is not None and c.seq <= last],
                batch_size=self.parts.applier.encode_batch,
            )
            self._mend(wrong)
            mended += wrong
            self.listener.progress(Progress(min(after, last), last))
            if after >= last:
                break
        return mended


def beyond_repair(version: IndexVersion, why: str) -> ProbeFailed:
    return ProbeFailed(
        f"Index {version.collection} is not sound after the repair. {why}",
        next_step=f"Build it anew: {reindex_command(version)}",
    )


@contextmanager
def _opening(version: IndexVersion) -> Iterator[None]:
    """Say what to do where the collection cannot be opened."""
    rebuild = reindex_command(version)
    try:
        yield
    except (CollectionDamaged, CollectionNotFound) as error:
        raise CollectionDamaged(
            f"{error.message} What is left of {version.collection} cannot be repaired.",
            next_step=f"Build it anew: {rebuild}",
        ) from error
    except CollectionInUse as error:
        raise CollectionInUse(
            error.message,
            next_step=f"Stop that process and repair it then, or build anew beside it: {rebuild}",
        ) from error
