"""Corpora, their index versions, and which one is live."""

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Query

from lockstep.api.caller import AdminCaller, ReadCaller
from lockstep.api.problems import documented
from lockstep.api.running import Running, RunningDep
from lockstep.api.schemas.versions import (
    CorporaView,
    CorpusDetailView,
    CorpusView,
    GatesView,
    PromoteBody,
    RollbackBody,
    StepsView,
    StepView,
    SwapView,
    VersionsView,
    VersionView,
)
from lockstep.corpus.change_log import CorpusInfo
from lockstep.index.rollouts import Swap

router = APIRouter(prefix="/v1/corpora", tags=["versions"])


@router.get("", responses=documented(503))
def list_corpora(running: RunningDep, caller: ReadCaller) -> CorporaView:
    """Every corpus that the key reaches, and the index version that each one's alias names."""
    aliases = running.workspace.store.aliases()
    corpora = running.workspace.corpora
    infos = [corpora.info(name) for name in corpora.names() if caller.reaches(name)]
    return CorporaView(corpora=[_corpus_view(info, aliases.get(info.name)) for info in infos])


@router.get("/{corpus}", responses=documented(404, 503))
def show_corpus(corpus: str, running: RunningDep, _: ReadCaller) -> CorpusDetailView:
    """A corpus in figures, and how far behind it each index version is."""
    versions = _versions(running, corpus)
    info = running.workspace.corpora.info(corpus)
    live = running.workspace.store.aliases().get(corpus)
    generation = running.generation(corpus)
    return CorpusDetailView(
        **dict(_corpus_view(info, live)),
        serving=generation.collection if generation else None,
        versions=versions,
    )


@router.get("/{corpus}/versions", responses=documented(404, 503))
def list_versions(corpus: str, running: RunningDep, _: ReadCaller) -> VersionsView:
    """Every index version of a corpus, dropped and failed ones included."""
    return VersionsView(versions=_versions(running, corpus))


@router.post("/{corpus}/promote", responses=documented(404, 409, 415, 422, 500, 503, 507))
def promote(
    corpus: str, running: RunningDep, _: AdminCaller, body: PromoteBody | None = None
) -> SwapView:
    """Make a candidate live, or a retired version again; returns once this server answers from it.

    It is brought up to date and judged by its gates before, which may take minutes. A 409 of type
    gate-failed carries their report.
    """
    body = body or PromoteBody()
    rollouts = running.workspace.rollouts
    return _swap_view(running, rollouts.promote(corpus, body.version, consent=body.consent()))


@router.post("/{corpus}/rollback", responses=documented(404, 409, 500, 503, 507))
def rollback(
    corpus: str, running: RunningDep, _: AdminCaller, body: RollbackBody | None = None
) -> SwapView:
    """Make the version before the live one live again; returns once this server answers from it."""
    reason = body.reason if body else ""
    return _swap_view(running, running.workspace.rollouts.rollback(corpus, reason=reason))


@router.get("/{corpus}/rollouts", responses=documented(404, 503))
def list_rollouts(
    corpus: str,
    running: RunningDep,
    _: AdminCaller,
    limit: Annotated[int, Query(ge=1, le=1000)] = 50,
) -> StepsView:
    """What was done to a corpus's index versions: who, when, why, and what the gates measured."""
    running.workspace.corpora.info(corpus)  # raises CorpusNotFound
    steps = running.workspace.catalog.history(corpus, limit=limit)
    return StepsView(steps=[StepView.of(step) for step in steps])


def _corpus_view(info: CorpusInfo, live: str | None) -> CorpusView:
    return CorpusView(
        name=info.name,
        documents=info.documents,
        head_seq=info.head_seq,
        live=live,
        created_at=datetime.fromtimestamp(info.created_at, UTC),
    )


def _versions(running: Running, corpus: str) -> list[VersionView]:
    running.workspace.rollouts.reconcile(corpus)  # so that states agree with the alias
    # In this order, so that no version seems to be ahead of its corpus.
    versions = running.workspace.catalog.versions(corpus)
    head_seq = running.workspace.corpora.head_seq(corpus)
    return [VersionView.of(version, head_seq) for version in versions]


def _swap_view(running: Running, swap: Swap) -> SwapView:
    running.take_over(swap)
    head_seq = running.workspace.corpora.head_seq(swap.corpus)
    return SwapView(
        corpus=swap.corpus,
        live=VersionView.of(swap.live, head_seq),
        previous=VersionView.of(swap.previous, head_seq) if swap.previous else None,
        changed=swap.changed,
        gates=GatesView.model_validate(swap.gates.to_json()) if swap.gates else None,
    )
