"""Whether the server is up, and whether it can answer searches."""

from fastapi import APIRouter
from fastapi.responses import Response

from lockstep import __version__
from lockstep.api.problems import documented, plain_problem, respond
from lockstep.api.running import Running, RunningDep
from lockstep.api.schemas import HealthView, ReadinessView, ReadyView

router = APIRouter(tags=["health"])


@router.get("/healthz")
async def healthz() -> HealthView:
    """The process is up and answers."""
    return HealthView(version=__version__)


@router.get("/readyz", response_model=ReadyView, responses=documented(503))
def readyz(running: RunningDep) -> ReadyView | Response:
    """Every corpus that is live can be searched here; `reason` says where it is not the live one.

    An older version that goes on answering is reason to look, not to take this server out of
    service: its answers are whole. So is a database that does not answer: searches need none.
    """
    live = _live_collections(running)
    corpora = [_readiness(running, corpus, live[corpus]) for corpus in sorted(live)]
    unserved = [one for one in corpora if one.serving is None]
    if not unserved:
        return ReadyView(corpora=corpora)
    detail = " ".join(
        f"'{one.corpus}' should be answered from {one.live}, and is from nothing: {one.reason}"
        for one in unserved
    )
    return respond(plain_problem(503, detail, corpora=[one.model_dump() for one in corpora]))


def _live_collections(running: Running) -> dict[str, str]:
    """What each alias names, of every corpus of this workspace; of the loaded ones where the
    database does not say which those are.
    """
    aliases = running.workspace.store.aliases()
    names = running.names.value()
    if names is not None:
        return {corpus: aliases[corpus] for corpus in names if corpus in aliases}
    loaded = {g.version.corpus: g.collection for g in running.workspace.serving.loaded()}
    return {corpus: aliases.get(corpus, collection) for corpus, collection in loaded.items()}


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
