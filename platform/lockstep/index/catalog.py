"""The catalog: which index versions exist, their states, and what was done to them when."""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, func, insert, select, update

from lockstep.actor import actor
from lockstep.audit import audit
from lockstep.corpus.database import Database
from lockstep.corpus.schema import corpora, index_versions, rollouts
from lockstep.errors import IndexVersionNotFound
from lockstep.index.gate_report import GateReport
from lockstep.index.leases import Lease, require
from lockstep.index.spec import IndexSpec
from lockstep.index.versions import IndexVersion, State, collection_name
from lockstep.models.registry import ModelVersion


@dataclass(frozen=True)
class RolloutStep:
    """One line of a corpus's history."""

    id: int
    at: float  # seconds since 1970
    step: str  # build, promote, rollback, drop, repair, trial
    from_version: int | None
    to_version: int | None
    actor: str
    outcome: str  # started, done, failed
    detail: str | None  # what went wrong
    reason: str | None  # why somebody did it, in their words
    report: GateReport | None  # what the gates measured


class IndexCatalog:
    """Reads and writes the index versions of every corpus."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, corpus: str, model: ModelVersion, spec: IndexSpec) -> IndexVersion:
        """Record a new version in state `building`, numbered after the newest one."""
        now = time.time()
        with self._database.writing() as connection:
            corpus_id = connection.execute(
                select(corpora.c.id).where(corpora.c.name == corpus).with_for_update()
            ).scalar_one()
            number = (
                1
                + connection.execute(
                    select(func.coalesce(func.max(index_versions.c.number), 0)).where(
                        index_versions.c.corpus_id == corpus_id
                    )
                ).scalar_one()
            )
            connection.execute(
                insert(index_versions).values(
                    corpus_id=corpus_id,
                    number=number,
                    collection=collection_name(corpus, number),
                    model_name=model.name,
                    model_version=model.version,
                    model_digest=model.digest,
                    spec=json.dumps(spec.to_json()),
                    state=State.BUILDING.value,
                    applied_seq=0,
                    created_at=now,
                    updated_at=now,
                )
            )
        return self.get(corpus, number)

    def get(self, corpus: str, number: int) -> IndexVersion:
        for version in self.versions(corpus):
            if version.number == number:
                return version
        known = ", ".join(version.label for version in self.versions(corpus)) or "none"
        raise IndexVersionNotFound(
            f"Corpus '{corpus}' has no index version v{number}; it has {known}.",
            next_step=f"List them: lockstep status {corpus}",
        )

    def versions(self, corpus: str) -> list[IndexVersion]:
        """Every version of a corpus, oldest first, dropped and failed ones included."""
        with self._database.reading() as connection:
            rows = connection.execute(
                _SELECT.where(corpora.c.name == corpus).order_by(index_versions.c.number)
            ).all()
        return [_index_version(row) for row in rows]

    def in_state(self, corpus: str, *states: State) -> list[IndexVersion]:
        return [version for version in self.versions(corpus) if version.state in states]

    def require(self, lease: Lease) -> None:
        """Raises LeaseLost where another process has taken the lease over."""
        with self._database.writing() as connection:
            require(connection, lease)

    def checkpoint(self, version: IndexVersion, seq: int, lease: Lease) -> None:
        """Record that every change up to `seq` is applied. Raises LeaseLost."""
        with self._database.writing() as connection:
            require(connection, lease)
            _set(connection, version, applied_seq=seq)

    def set_encoded_in_fp8(self, version: IndexVersion, lease: Lease) -> None:
        """Record, before the first of them is written, that a build encodes passages in eight bits.

        For good: a build that goes on by another route keeps what was written. Raises LeaseLost.
        """
        with self._database.writing() as connection:
            require(connection, lease)
            _set(connection, version, encoded_in_fp8=True)

    def set_state(self, version: IndexVersion, state: State, *, reason: str | None = None) -> None:
        with self._database.writing() as connection:
            _set(connection, version, state=state.value, reason=reason)

    def set_predecessor(self, version: IndexVersion, predecessor: int | None) -> None:
        with self._database.writing() as connection:
            _set(connection, version, predecessor=predecessor)

    def set_prefilter_candidates(self, version: IndexVersion, candidates: int) -> None:
        with self._database.writing() as connection:
            _set(connection, version, prefilter_candidates=candidates)

    def set_live(self, corpus: str, number: int) -> bool:
        """Agree with the alias: `number` is live, whatever was live before is retired.

        Returns whether anything had to change.
        """
        if [v.number for v in self.in_state(corpus, State.LIVE)] == [number]:
            return False
        with self._database.writing() as connection:
            rows = connection.execute(
                _SELECT.where(corpora.c.name == corpus).with_for_update(of=index_versions)
            ).all()
            changed = False
            for version in map(_index_version, rows):
                if version.number == number and version.state is not State.LIVE:
                    _set(connection, version, state=State.LIVE.value, retired_at=None)
                elif version.number != number and version.state is State.LIVE:
                    retired = {"state": State.RETIRED.value, "retired_at": time.time()}
                    _set(connection, version, **retired)
                else:
                    continue
                changed = True
        return changed

    def record(
        self,
        corpus: str,
        step: str,
        outcome: str,
        *,
        from_version: int | None = None,
        to_version: int | None = None,
        detail: str | None = None,
        reason: str | None = None,
        report: GateReport | None = None,
    ) -> None:
        """Append one line to the corpus's history, in this user's name."""
        with self._database.writing() as connection:
            connection.execute(
                insert(rollouts).values(
                    corpus_id=_corpus_id(corpus),
                    step=step,
                    outcome=outcome,
                    actor=actor(),
                    from_version=from_version,
                    to_version=to_version,
                    detail=detail,
                    reason=reason or None,
                    report=json.dumps(report.to_json()) if report else None,
                    at=time.time(),
                )
            )
        number = from_version if to_version is None else to_version
        audit(step, outcome, corpus=corpus, target=number and f"v{number}")

    def history(self, corpus: str, *, limit: int = 50) -> Sequence[RolloutStep]:
        """The newest steps first."""
        with self._database.reading() as connection:
            rows = connection.execute(
                select(rollouts)
                .where(rollouts.c.corpus_id == _corpus_id(corpus))
                .order_by(rollouts.c.id.desc())
                .limit(limit)
            ).all()
        return [_step(row) for row in rows]

    def step(self, corpus: str, step_id: int) -> RolloutStep | None:
        """One line of the corpus's history, by its id."""
        with self._database.reading() as connection:
            row = connection.execute(
                select(rollouts).where(
                    rollouts.c.corpus_id == _corpus_id(corpus), rollouts.c.id == step_id
                )
            ).one_or_none()
        return None if row is None else _step(row)


_SELECT = select(index_versions, corpora.c.name.label("corpus")).join_from(index_versions, corpora)


def _corpus_id(corpus: str) -> Any:
    return select(corpora.c.id).where(corpora.c.name == corpus).scalar_subquery()


def _set(connection: Connection, version: IndexVersion, **values: object) -> None:
    connection.execute(
        update(index_versions)
        .where(index_versions.c.collection == version.collection)
        .values(updated_at=time.time(), **values)
    )


def _step(row: Row[Any]) -> RolloutStep:
    return RolloutStep(
        id=row.id,
        at=row.at,
        step=row.step,
        from_version=row.from_version,
        to_version=row.to_version,
        actor=row.actor,
        outcome=row.outcome,
        detail=row.detail,
        reason=row.reason,
        report=GateReport.from_json(json.loads(row.report)) if row.report else None,
    )


def _index_version(row: Row[Any]) -> IndexVersion:
    return IndexVersion(
        corpus=row.corpus,
        number=row.number,
        collection=row.collection,
        model_name=row.model_name,
        model_version=row.model_version,
        model_digest=row.model_digest,
        spec=IndexSpec.from_json(json.loads(row.spec)),
        state=State(row.state),
        applied_seq=row.applied_seq,
        predecessor=row.predecessor,
        reason=row.reason,
        prefilter_candidates=row.prefilter_candidates,
        retired_at=row.retired_at,
        created_at=row.created_at,
        encoded_in_fp8=row.encoded_in_fp8,
    )
