"""Rollouts: promote a candidate, roll back.

The alias is the commit point. Everything before its one write can be repeated; everything after it
is bookkeeping that `reconcile` derives from the alias again, should a crash come between.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial

from lockstep.corpus.change_log import Corpora
from lockstep.errors import (
    CollectionInUse,
    GateFailed,
    IntegrityError,
    InvalidInput,
    LeaseHeld,
    LockstepError,
    ModelNotFound,
    NoLiveIndex,
    NothingToRollBack,
    PromotionRefused,
)
from lockstep.failpoints import reached
from lockstep.index.applier import Applier, Report
from lockstep.index.catalog import IndexCatalog
from lockstep.index.gate_report import GateReport, GateResult, Gates, Verdict
from lockstep.index.generation import Generation
from lockstep.index.leases import Lease, Leases
from lockstep.index.rebuilding import reindex_command
from lockstep.index.trials import Trials
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
class Consent:
    """What an operator says about a promotion: why, and whether the gates may be overridden."""

    reason: str = ""
    force: bool = False
    require_better: bool = False  # judged quality must rise, not only hold

    def __post_init__(self) -> None:
        if self.force and not self.reason.strip():
            raise InvalidInput(
                "A promotion against the gates needs a reason, which is recorded.",
                next_step="Give a reason: why it may go live all the same.",
            )


@dataclass(frozen=True)
class Swap:
    """What a promotion or a rollback did."""

    corpus: str
    live: IndexVersion
    previous: IndexVersion | None
    gates: GateReport | None  # None: it was proven before, or was live already
    changed: bool  # False: it was live already


@dataclass(frozen=True)
class Rollouts:
    """Moves aliases, and keeps the catalog in agreement with them."""

    corpora: Corpora
    catalog: IndexCatalog
    store: VectorStore
    encoders: Encoders
    applier: Applier
    leases: Leases
    trials: Trials
    gates: Gates
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
        self,
        corpus: str,
        number: int | None = None,
        *,
        consent: Consent | None = None,
        report: Report | None = None,
    ) -> Swap:
        """Make a version live: bring it up to date, judge it by its gates, write the alias.

        Takes the newest candidate unless `number` says otherwise; a retired version may be
        promoted again. Raises PromotionRefused, GateFailed or LeaseHeld; then nothing has changed.
        """
        consent = consent or Consent()
        # Judging takes long, and somebody may have to roll back meanwhile: a lease of its own.
        with self.leases.hold(f"judging of {corpus}"):
            live = self.reconcile(corpus)
            version = self._promotable(corpus, number)
            if live is not None and version.number == live.number:
                return Swap(corpus, live, None, None, changed=False)
            why = f"{version.label} is judged for promotion."
            if (ended := self.trials.end(corpus, why)) is not None:
                self._await_release(self.catalog.get(corpus, ended.number))
            with self._recorded(corpus, "promote", live, version, consent.reason) as record:
                record.report = self._judge(version, live, consent, report)
                _refuse_unless_passed(record.report, consent, version)
                self._bring_to_head(version, report)  # what was written while it was judged
                with self.leases.hold(f"rollout of {corpus}") as lease:
                    self._require_unchanged(version, live)
                    self.catalog.set_predecessor(version, live.number if live else None)
                    return self._swap(version, live, record.report, lease)

    def _require_unchanged(self, version: IndexVersion, live: IndexVersion | None) -> None:
        """What was judged is what is swapped: this version, beside that live one."""
        now = self.reconcile(version.corpus)
        if (now and now.number) != (live and live.number):
            raise PromotionRefused(
                f"While {version.label} was judged against {live.label if live else 'nothing'}, "
                f"{now.label if now else 'nothing'} went live.",
                next_step=f"Promote it again: lockstep promote {version.corpus} {version.number}",
            )
        self._promotable(version.corpus, version.number)  # it may have been dropped

    def rollback(self, corpus: str, *, reason: str = "", report: Report | None = None) -> Swap:
        """Make the live version's predecessor live again, up to date with every write since.

        Raises NothingToRollBack.
        """
        with self.leases.hold(f"rollout of {corpus}") as lease:
            live = self.live(corpus)
            version = self._predecessor(live)
            with self._recorded(corpus, "rollback", live, version, reason):
                self._require_usable(version)
                self._bring_to_head(version, report)
                return self._swap(version, live, None, lease)

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
                next_step=f"Build it: {reindex_command(version)}",
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
                next_step=f"Build it anew: {reindex_command(version)}",
            )
        return version

    def _judge(
        self,
        version: IndexVersion,
        live: IndexVersion | None,
        consent: Consent,
        report: Report | None,
    ) -> GateReport | None:
        """Bring the version to the head of the log and measure it; None where it is in use."""
        self._bring_to_head(version, report)
        deadline = time.monotonic() + self.wait_s
        while True:
            try:
                with self.leases.hold(version.collection):
                    applied_seq = self.catalog.get(version.corpus, version.number).applied_seq
                    beside, unusable = self._loaded(live)
                    return self.gates.judge(
                        Generation.load(version, self.encoders),
                        beside,
                        applied_seq=applied_seq,
                        require_better=consent.require_better,
                        unusable=unusable,
                    )
            except (CollectionInUse, LeaseHeld) as error:
                retired, in_use = version.state is State.RETIRED, isinstance(error, CollectionInUse)
                if retired and in_use and not consent.require_better:
                    return _not_judged(version, live, error)
                # A server applies to a retired version now and then, and lets go of a candidate
                # soon after the last search that pinned it.
                if not (retired or in_use) or time.monotonic() > deadline:
                    raise
            time.sleep(0.2)

    def _await_release(self, version: IndexVersion) -> None:
        """Wait until the servers have let go of a version that was on trial."""
        deadline = time.monotonic() + self.wait_s
        while version.state is State.CANDIDATE:  # a retired one stays with the server
            try:
                self.store.count(version.collection)
                with self.leases.hold(version.collection):
                    return
            except (CollectionInUse, LeaseHeld):
                if time.monotonic() > deadline:
                    raise
            time.sleep(0.1)

    def _loaded(self, live: IndexVersion | None) -> tuple[Generation | None, str]:
        """What the candidate is compared with; or why there is nothing, where something is live."""
        if live is None:
            return None, ""
        try:
            return Generation.load(live, self.encoders), ""
        except (IntegrityError, ModelNotFound) as error:
            return None, f"{live.collection} cannot be compared with: {error.message}"

    def _require_usable(self, version: IndexVersion) -> None:
        """A rollback to what nobody could serve would be an outage at the next restart."""
        for ref in version.model_refs:
            self.encoders.verify(ref)
        with suppress(CollectionInUse):  # a server follows it: it is open there, and sound
            self.store.count(version.collection)

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
        self,
        version: IndexVersion,
        live: IndexVersion | None,
        gates: GateReport | None,
        lease: Lease,
    ) -> Swap:
        self.catalog.require(lease)  # judging takes long: do not undo a successor's swap
        reached("before the alias")
        self.store.set_alias(version.corpus, version.collection)
        reached("after the alias")
        self.catalog.set_live(version.corpus, version.number)
        return Swap(
            corpus=version.corpus,
            live=self.catalog.get(version.corpus, version.number),
            previous=live and self.catalog.get(version.corpus, live.number),
            gates=gates,
            changed=True,
        )

    @contextmanager
    def _recorded(
        self,
        corpus: str,
        step: str,
        live: IndexVersion | None,
        version: IndexVersion,
        reason: str,
    ) -> Iterator["_Record"]:
        """Write to the corpus's history that a step began, and how it ended."""
        write = partial(
            self.catalog.record,
            corpus,
            step,
            from_version=live.number if live else None,
            to_version=version.number,
            reason=reason,
        )
        record = _Record()
        write("started")
        try:
            yield record
        except Exception as error:  # whatever ended the step is its history; raised again below
            outcome, detail = "failed", str(error)
            if isinstance(error, LockstepError) and self._is_live(version):
                # The alias is the commit point, whatever went wrong after it.
                outcome, detail = "done", f"it is live; after that: {error}"
            write(outcome, detail=detail, report=record.report)
            raise
        write("done", report=record.report)

    def _is_live(self, version: IndexVersion) -> bool:
        try:
            return self.store.aliases().get(version.corpus) == version.collection
        except LockstepError:
            return False


@dataclass
class _Record:
    """What a step adds to its line in the history."""

    report: GateReport | None = None


def _not_judged(
    version: IndexVersion, live: IndexVersion | None, error: LockstepError
) -> GateReport:
    """A server that has a retired version open keeps it fresh; its points were judged before."""
    result = GateResult("comparison", Verdict.FLAGGED, "not judged again", detail=error.message)
    return GateReport(version.collection, live.collection if live else None, [result], 0.0)


def _refuse_unless_passed(
    report: GateReport | None, consent: Consent, version: IndexVersion
) -> None:
    if report is None or report.passed or consent.force:
        return
    why = " ".join(
        f"{result.gate}: {result.figure}"
        + (f", {result.threshold} asked for" if result.threshold else "")
        + "."
        for result in report.failed
    )
    command = f"lockstep promote {version.corpus} {version.number}"
    error = GateFailed(
        f"{version.collection} did not pass {_gates(len(report.failed))}. {why}",
        next_step=f'Mend that, or override it: {command} --force --reason "..."',
    )
    error.report = report.to_json()
    raise error


def _gates(count: int) -> str:
    return "a gate" if count == 1 else f"{count} gates"
