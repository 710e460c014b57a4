"""Whether the server is up, and whether it serves what it should."""

from fastapi import APIRouter
from fastapi.responses import Response

from lockstep import __version__
from lockstep.api.problems import documented, plain_problem, respond
from lockstep.api.running import Running, RunningDep, served_corpora
from lockstep.api.schemas import HealthView, ReadinessView, ReadyView

router = APIRouter(tags=["health"])


@router.get("/healthz")
async def healthz() -> HealthView:
    """The process is up and answers."""
    return HealthView(version=__version__)


@router.get("/readyz", response_model=ReadyView, responses=documented(503))
def readyz(running: RunningDep) -> ReadyView | Response:
    """Every corpus that has a live index version is answered from exactly that one."""
    live = served_corpora(running.workspace)
    corpora = [_readiness(running, corpus, live[corpus]) for corpus in sorted(live)]
    lacking = [one for one in corpora if one.serving != one.live]
    if not lacking:
        return ReadyView(corpora=corpora)
    detail = " ".join(
        f"'{one.corpus}' should be answered from {one.live}, and is from "
        f"{one.serving or 'nothing'}: {one.reason}"
        for one in lacking
    )
    return respond(plain_problem(503, detail, corpora=[one.model_dump() for one in corpora]))


def _readiness(running: Running, corpus: str, live: str) -> ReadinessView:
    generation = running.generation(corpus)
    serving = generation.collection if generation else None
    return ReadinessView(
        corpus=corpus,
        live=live,
        serving=serving,
        model_version=generation.version.model_ref if generation else None,
        reason=None if serving == live else _reason(running, corpus, live),
    )


def _reason(running: Running, corpus: str, live: str) -> str:
    failure = running.workspace.serving.failure(corpus)
    if failure is not None and failure.collection == live:
        return failure.message
    return "It is being loaded."
