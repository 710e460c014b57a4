"""Trials: which share of a corpus's live traffic meets a version before it is promoted."""

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from functools import reduce
from typing import Any

from sqlalchemy import Row, insert, select, update

from lockstep.actor import actor
from lockstep.corpus.database import Database
from lockstep.corpus.schema import corpora, trial_counts, trials
from lockstep.errors import InvalidInput, TrialNotFound, TrialRefused
from lockstep.index.catalog import IndexCatalog
from lockstep.index.leases import this_process
from lockstep.index.trial_counts import Counts
from lockstep.index.versions import IndexVersion, State

# What may be tried: complete, and not what answers anyway.
TRIABLE = frozenset({State.CANDIDATE, State.RETIRED})
# The rest is answered by the live version, whose times the candidate's are held against.
MAX_CANARY = 0.95
MAX_LATENCY_RATIO = 1000


class TrialState(StrEnum):
    RUNNING = "running"
    STOPPED = "stopped"  # by somebody, or because a limit was passed
    ENDED = "ended"  # by itself: a version went live, or the one on trial was dropped


class Arm(StrEnum):
    """Who answers a search."""

    LIVE = "live"
    CANDIDATE = "candidate"
    INTERLEAVED = "interleaved"


@dataclass(frozen=True)
class Exposure:
    """Which shares of live searches meet the version on trial, and what ends that."""

    shadow: float = 0.0  # copies of what live answers; the copy's answer is thrown away
    canary: float = 0.0  # answered by the version on trial
    interleave: float = 0.0  # answered by both, in teams
    max_error_share: float = 0.02  # of its answers
    max_latency_ratio: float = 2.0  # its p95 over that of live

    def __post_init__(self) -> None:
        shares = {"shadow": self.shadow, "canary": self.canary, "interleave": self.interleave}
        for name, share in shares.items():
            if not 0 <= share <= 1:
                raise InvalidInput(f"The {name} share is {share}; expected 0 to 1.")
        if not any(shares.values()):
            raise InvalidInput(
                "A trial without any share of the traffic shows nothing.",
                next_step="Give one: --shadow 0.1, --canary 0.05 or --interleave 0.1",
            )
        if self.canary + self.interleave > 1:
            raise InvalidInput(
                f"canary {self.canary} and interleave {self.interleave} are more than 1 together."
            )
        if self.canary > MAX_CANARY:
            raise InvalidInput(
                f"The canary share is {self.canary}; at most {MAX_CANARY}, so that the live "
                "version answers enough to compare with.",
                next_step="Give less, or promote the version: lockstep promote",
            )
        if not 0 <= self.max_error_share < 1:
            raise InvalidInput(
                f"max_error_share is {self.max_error_share}; expected at least 0, below 1."
            )
        if not 1 <= self.max_latency_ratio <= MAX_LATENCY_RATIO:
            raise InvalidInput(
                f"max_latency_ratio is {self.max_latency_ratio}; expected 1 to {MAX_LATENCY_RATIO}."
            )


@dataclass(frozen=True)
class Trial:
    """One version's exposure to the live traffic of its corpus."""

    id: int
    corpus: str
    number: int  # of the version on trial
    live: int  # the version that it is held against
    state: TrialState
    exposure: Exposure
    reason: str | None  # why it was started, and why it ended
    actor: str
    started_at: float  # seconds since 1970
    ended_at: float | None

    def place(self, key: str) -> float:
        """Where a caller stands between 0 and 1: the same in this trial, another in the next."""
        digest = hashlib.blake2b(f"{self.id}\x1f{key}".encode(errors="replace"), digest_size=8)
        return int.from_bytes(digest.digest()) / 2**64

    def arm(self, place: float) -> Arm:
        """Who answers a caller at this place."""
        if place < self.exposure.canary:
            return Arm.CANDIDATE
        if place < self.exposure.canary + self.exposure.interleave:
            return Arm.INTERLEAVED
        return Arm.LIVE


class Trials:
    """Starts and stops trials, and adds up what the servers count. One at a time for a corpus."""

    def __init__(self, database: Database, catalog: IndexCatalog) -> None:
        self._database = database
        self._catalog = catalog

    def start(
        self,
        live: IndexVersion,
        number: int | None,
        exposure: Exposure,
        *,
        reason: str = "",
    ) -> Trial:
        """Let live traffic meet a version: `number`, or the newest candidate.

        Servers follow within a second. Raises TrialRefused or IndexVersionNotFound.
        """
        version = self._triable(live, number)
        settings = {**asdict(exposure), "live": live.number}
        with self._database.writing() as connection:
            corpus_id = connection.execute(
                select(corpora.c.id).where(corpora.c.name == live.corpus).with_for_update()
            ).scalar_one()
            running = connection.execute(
                _SELECT.where(corpora.c.id == corpus_id, trials.c.state == TrialState.RUNNING.value)
            ).first()
            if running is not None:
                raise TrialRefused(
                    f"v{running.number} of '{live.corpus}' is on trial already.",
                    next_step=f"Stop that first: lockstep trial stop {live.corpus}",
                )
            connection.execute(
                insert(trials).values(
                    corpus_id=corpus_id,
                    number=version.number,
                    state=TrialState.RUNNING.value,
                    settings=json.dumps(settings),
                    reason=reason or None,
                    actor=actor(),
                    started_at=time.time(),
                )
            )
        self._record(live.corpus, "started", live.number, version.number, None, reason)
        return self.latest(live.corpus)

    def stop(self, corpus: str, *, reason: str = "") -> Trial:
        """End the running trial because somebody says so. Raises TrialNotFound."""
        running = self.running().get(corpus)
        if running is None:
            raise TrialNotFound(
                f"No version of '{corpus}' is on trial.",
                next_step=f"Start one: lockstep trial start {corpus} --shadow 0.1",
            )
        self._finish(running, TrialState.STOPPED, "done", reason=reason)
        return self.latest(corpus)

    def stop_failed(self, trial: Trial, why: str) -> bool:
        """End a trial whose figures passed a limit; False where somebody else was faster."""
        return self._finish(trial, TrialState.STOPPED, "failed", detail=why)

    def end(self, corpus: str, why: str, *, number: int | None = None) -> Trial | None:
        """End the running trial, or that of one version, as there is nothing left to compare."""
        running = self.running().get(corpus)
        if running is None or number not in (None, running.number):
            return None
        return running if self._finish(running, TrialState.ENDED, "done", detail=why) else None

    def running(self) -> dict[str, Trial]:
        """The running trial of each corpus that has one."""
        statement = _SELECT.where(trials.c.state == TrialState.RUNNING.value)
        with self._database.reading() as connection:
            found = [_trial(row) for row in connection.execute(statement)]
        return {trial.corpus: trial for trial in found}

    def latest(self, corpus: str) -> Trial:
        """The running trial of a corpus, or the last one. Raises TrialNotFound."""
        statement = _SELECT.where(corpora.c.name == corpus).order_by(trials.c.id.desc()).limit(1)
        with self._database.reading() as connection:
            row = connection.execute(statement).first()
        if row is None:
            raise TrialNotFound(
                f"No version of '{corpus}' has been on trial yet.",
                next_step=f"Start one: lockstep trial start {corpus} --shadow 0.1",
            )
        return _trial(row)

    def publish(self, trial: Trial, counts: Counts) -> None:
        """Say what this process has counted so far."""
        row = {
            "trial_id": trial.id,
            "replica": this_process().to_text(),
            "counts": json.dumps(counts.to_json()),
            "updated_at": time.time(),
        }
        fresh = {key: row[key] for key in ("counts", "updated_at")}
        keys = [trial_counts.c.trial_id, trial_counts.c.replica]
        statement = self._database.insert(trial_counts).values(row)
        with self._database.writing() as connection:
            connection.execute(statement.on_conflict_do_update(index_elements=keys, set_=fresh))

    def counts(self, trial: Trial) -> Counts:
        """What all servers have counted, added up."""
        statement = select(trial_counts.c.counts).where(trial_counts.c.trial_id == trial.id)
        with self._database.reading() as connection:
            found: Sequence[str] = connection.scalars(statement).all()
        return reduce(Counts.plus, (Counts.from_json(json.loads(text)) for text in found), Counts())

    def _triable(self, live: IndexVersion, number: int | None) -> IndexVersion:
        if number is None:
            candidates = self._catalog.in_state(live.corpus, State.CANDIDATE)
            if not candidates:
                raise TrialRefused(
                    f"Corpus '{live.corpus}' has no candidate to try.",
                    next_step=f"Build one: lockstep reindex {live.corpus} --model REF",
                )
            return candidates[-1]
        version = self._catalog.get(live.corpus, number)
        if version.state not in TRIABLE:
            raise TrialRefused(
                f"Index version {version.label} of '{live.corpus}' is {version.state.value}; only "
                "a candidate or a retired version can be tried against the live one."
            )
        return version

    def _finish(
        self, trial: Trial, state: TrialState, outcome: str, *, reason: str = "", detail: str = ""
    ) -> bool:
        """Write the end once: of several servers that see it, one records it."""
        why = reason or detail or None
        with self._database.writing() as connection:
            done = connection.execute(
                update(trials)
                .where(trials.c.id == trial.id, trials.c.state == TrialState.RUNNING.value)
                .values(
                    state=state.value,
                    reason=trial.reason if why is None else why,
                    ended_at=time.time(),
                )
            )
        if not done.rowcount:
            return False
        self._record(trial.corpus, outcome, trial.live, trial.number, detail or None, reason)
        return True

    def _record(
        self, corpus: str, outcome: str, live: int, number: int, detail: str | None, reason: str
    ) -> None:
        self._catalog.record(
            corpus,
            "trial",
            outcome,
            from_version=live,
            to_version=number,
            detail=detail,
            reason=reason,
        )


_SELECT = select(trials, corpora.c.name.label("corpus")).join_from(trials, corpora)


def _trial(row: Row[Any]) -> Trial:
    settings = json.loads(row.settings)
    # A newer release may have written keys that this one does not know.
    known = {part.name: settings[part.name] for part in fields(Exposure) if part.name in settings}
    return Trial(
        id=row.id,
        corpus=row.corpus,
        number=row.number,
        live=settings["live"],
        state=TrialState(row.state),
        exposure=Exposure(**known),
        reason=row.reason,
        actor=row.actor,
        started_at=row.started_at,
        ended_at=row.ended_at,
    )
