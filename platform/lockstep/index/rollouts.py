"""Rollouts: promote a candidate, roll back, drop what is no longer needed.

The alias is the commit point. Everything before its one write can be repeated; everything after it
is bookkeeping that `reconcile` derives from the alias again, should a crash come between.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

from lockstep.corpus.change_log import Corpora
from lockstep.errors import (
    CollectionInUse,
    LeaseHeld,
    LockstepError,
    NoLiveIndex,
    NothingToRollBack,
    PromotionRefused,
)
from lockstep.index.applier import Applier, Report
from lockstep.index.catalog import IndexCatalog
from lockstep.index.generation import Generation
from lockstep.index.leases import Leases
from lockstep.index.probe import Prober, ProbeReport
from lockstep.index.versions import IndexVersion, State
from lockstep.models.encoders import Encoders
from lockstep.store.port import VectorStore

# Writes may go on while a version catches up, so there is always something left. It is close enough
# once a pass leaves this few changes behind: a server applies them before it answers from the
# version. If passes never get there, writes come in faster than this machine encodes.
CLOSE_ENOUGH = 1000
MAX_PASSES = 8
# After this many changes the search indexes are brought up to date too, before the alias moves.
OPTIMIZE_AFTER = 1000


@dataclass(frozen=True)
class Swap:
    """What a promotion or a rollback did."""

    corpus: str
    live: IndexVersion
    previous: IndexVersion | None
    probe: ProbeReport | None
    changed: bool  # False: it was live already


@dataclass(frozen=True)
class Rollouts:
    """Moves aliases, and keeps the catalog in agreement with them."""

    corpora: Corpora
    catalog: IndexCatalog
    store: VectorStore
    encoders: Encoders
    applier: Applier
    prober: Prober
    leases: Leases
    wait_s: float = 30.0  # for another process to bring a version up to date, or to let go of it

    def reconcile(self, corpus: str) -> IndexVersion | None:
        """Make the catalog agree with the alias; the live version, if there is one."""
        self.corpora.info(corpus)  # raises CorpusNotFound
        while (collection := self.store.aliases().get(corpus)) is not None:
            version = self._named(corpus, collection)
            self.catalog.set_live(corpus, version.number)
            # A swap between the look at the alias and the write must not be undone in the catalog.
            if self.store.aliases().get(corpus) == collection:
                return self.catalog.get(corpus, version.number)
        return None

    def _named(self, corpus: str, collection: str) -> IndexVersion:
        for version in self.catalog.versions(corpus):
            if version.collection == collection:
                return version
        raise NoLiveIndex(
            f"The alias '{corpus}' names collection '{collection}', which the catalog of this "
            "workspace does not know.",
            next_step="Check that database and vector store belong together (lockstep doctor).",
        )

    def live(self, corpus: str) -> IndexVersion:
        """The live version; raises NoLiveIndex or CorpusNotFound."""
        version = self.reconcile(corpus)
        if version is None:
            raise NoLiveIndex(
                f"Corpus '{corpus}' has no live index version.",
                next_step=f"Build one: lockstep reindex {corpus} --model REF --promote",
            )
        return version

    def promote(
        self, corpus: str, number: int | None = None, *, report: Report | None = None
    ) -> Swap:
        """Make a version live: bring it up to date, prove it, then write the alias.

        Takes the newest candidate unless `number` says otherwise; a retired version may be
        promoted again. Raises PromotionRefused, ProbeFailed or LeaseHeld; then nothing has changed.
        """
        with self.leases.hold(f"rollout of {corpus}"):
            live = self.reconcile(corpus)
            version = self._promotable(corpus, number)
            if live is not None and version.number == live.number:
                return Swap(corpus, live, None, None, changed=False)
            with self._recorded(corpus, "promote", live, version):
                probe = self._prove(version, report)
                self.catalog.set_predecessor(version, live.number if live else None)
                return self._swap(version, live, probe)

    def rollback(self, corpus: str, *, report: Report | None = None) -> Swap:
        """Make the live version's predecessor live again, up to date with every write since.

        Raises NothingToRollBack.
        """
        with self.leases.hold(f"rollout of {corpus}"):
            live = self.live(corpus)
            version = self._predecessor(live)
            with self._recorded(corpus, "rollback", live, version):
                self._bring_to_head(version, report)
                return self._swap(version, live, None)

    def drop(self, corpus: str) -> list[IndexVersion]:
        """Drop retired, failed and abandoned versions; the live one and candidates stay.

        After this there is nothing to roll back to.
        """
        with self.leases.hold(f"rollout of {corpus}"):
            self.reconcile(corpus)
            dropped = []
            for version in self.catalog.versions(corpus):
                if version.state in (State.LIVE, State.CANDIDATE):
                    continue
                if version.state is not State.DROPPED:
                    if not self._drop(version):
                        continue
                    dropped.append(version)
                # Also ends what a crash between catalog and store left of an earlier drop.
                self._drop_collection(version)
            return dropped

    def _promotable(self, corpus: str, number: int | None) -> IndexVersion:
        if number is None:
            candidates = self.catalog.in_state(corpus, State.CANDIDATE)
            if not candidates:
                raise PromotionRefused(
                    f"Corpus '{corpus}' has no candidate to promote.",
                    next_step=f"Build one: lockstep reindex {corpus} --model REF",
                )
            return candidates[-1]
        version = self.catalog.get(corpus, number)
        lag = self.applier.lag(corpus, number)
        reasons = {
            State.BUILDING: f"is unfinished: {lag} changes are not applied yet.",
            State.FAILED: f"failed: {version.reason}",
            State.DROPPED: "was dropped.",
        }
        if version.state in reasons:
            raise PromotionRefused(
                f"Index version {version.label} of '{corpus}' {reasons[version.state]}",
                next_step=f"Build it: lockstep reindex {corpus} --model {version.model_ref}",
            )
        return version

    def _predecessor(self, live: IndexVersion) -> IndexVersion:
        if live.predecessor is None:
            raise NothingToRollBack(
                f"{live.label} is the first live index version of '{live.corpus}'; "
                "there is none before it.",
                next_step=f"See what there is: lockstep status {live.corpus}",
            )
        version = self.catalog.get(live.corpus, live.predecessor)
        if version.state is not State.RETIRED:
            raise NothingToRollBack(
                f"The version before {live.label} of '{live.corpus}' was {version.label}, which is "
                f"{version.state.value}.",
                next_step=f"Build it anew: lockstep reindex {live.corpus} "
                f"--model {version.model_ref}",
            )
        return version

    def _prove(self, version: IndexVersion, report: Report | None) -> ProbeReport | None:
        """Bring the version to the head of the log and check all of it."""
        self._bring_to_head(version, report)
        deadline = time.monotonic() + self.wait_s
        while True:
            try:
                with self.leases.hold(version.collection):
                    applied_seq = self.catalog.get(version.corpus, version.number).applied_seq
                    generation = Generation.load(version, self.encoders)
                    probe = self.prober.prove(generation, applied_seq)
                    break
            except (CollectionInUse, LeaseHeld) as error:
                if version.state is State.RETIRED:
                    return None  # a server keeps it fresh; it was proven when it went live
                # A server lets go of a candidate soon after the last search that pinned it.
                if isinstance(error, LeaseHeld) or time.monotonic() > deadline:
                    raise
            time.sleep(0.2)
        self._bring_to_head(version, report)  # what was written during the probe
        return probe

    def _bring_to_head(self, version: IndexVersion, report: Report | None) -> None:
        """Apply what the version lacks, or wait for the process that does so already."""
        deadline = time.monotonic() + self.wait_s
        for _ in range(MAX_PASSES):
            target = self.corpora.head_seq(version.corpus)
            while self.catalog.get(version.corpus, version.number).applied_seq < target:
                try:
                    # Everything that may fail or take long comes before the lease: meanwhile the
                    # process that has the collection open may apply what is missing.
                    generation = Generation.load(version, self.encoders)
                    self.store.count(version.collection)
                    with self.leases.hold(version.collection) as lease:
                        progress = self.applier.apply(generation, lease, report=report)
                        if progress.documents + progress.deleted >= OPTIMIZE_AFTER:
                            self.store.optimize(version.collection)
                except (CollectionInUse, LeaseHeld) as error:
                    if time.monotonic() > deadline:
                        raise self._lagging(version) from error
                    time.sleep(0.1)
            if self.applier.lag(version.corpus, version.number) <= CLOSE_ENOUGH:
                return
        raise self._lagging(version)

    def _lagging(self, version: IndexVersion) -> PromotionRefused:
        lag = self.applier.lag(version.corpus, version.number)
        return PromotionRefused(
            f"Index version {version.label} of '{version.corpus}' lags behind: {lag} changes are "
            f"not applied, at most {CLOSE_ENOUGH} may be left.",
            next_step="Wait until fewer writes come in, or until the process that applies them "
            f"has caught up (lockstep status {version.corpus}).",
        )

    def _swap(
        self, version: IndexVersion, live: IndexVersion | None, probe: ProbeReport | None
    ) -> Swap:
        self.store.set_alias(version.corpus, version.collection)
        self.catalog.set_live(version.corpus, version.number)
        return Swap(
            corpus=version.corpus,
            live=self.catalog.get(version.corpus, version.number),
            previous=live and self.catalog.get(version.corpus, live.number),
            probe=probe,
            changed=True,
        )

    @contextmanager
    def _recorded(
        self, corpus: str, step: str, live: IndexVersion | None, version: IndexVersion
    ) -> Iterator[None]:
        """Write to the corpus's history that a step began, and how it ended."""
        record = partial(
            self.catalog.record,
            corpus,
            step,
            from_version=live.number if live else None,
            to_version=version.number,
        )
        record("started")
        try:
            yield
        except LockstepError as error:
            record("failed", detail=str(error))
            raise
        record("done")

    def _drop(self, version: IndexVersion) -> bool:
        """Mark a version as dropped, unless a process is still building it."""
        deadline = time.monotonic() + self.wait_s
        while True:
            try:
                with self.leases.hold(version.collection):
                    # A build may have ended since the version was read.
                    state = self.catalog.get(version.corpus, version.number).state
                    if state in (State.LIVE, State.CANDIDATE):
                        return False
                    self.catalog.set_state(version, State.DROPPED, reason=version.reason)
                break
            except LeaseHeld:
                if version.state is State.BUILDING:
                    return False
                if time.monotonic() > deadline:  # a server applies to a retired one now and then
                    raise
            time.sleep(0.1)
        self.catalog.record(version.corpus, "drop", "done", from_version=version.number)
        return True

    def _drop_collection(self, version: IndexVersion) -> None:
        """Delete the points; a server that has them open lets go once it sees the state."""
        deadline = time.monotonic() + self.wait_s
        while version.collection in self.store.collections():
            try:
                self.store.drop(version.collection)
            except CollectionInUse:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)
        self.leases.forget(version.collection)
