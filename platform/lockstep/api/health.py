"""Whether the server is up, and whether it can answer searches."""

from fastapi import APIRouter, Request
from fastapi.responses import Response

from lockstep import __version__
from lockstep.api.caller import Caller
from lockstep.api.problems import documented, plain_problem, respond
from lockstep.api.running import Running, RunningDep
from lockstep.api.schemas.health import HealthView, ReadinessView, ReadyView
from lockstep.corpus.api_key import Scope

router = APIRouter(tags=["health"])

_KEPT_BACK = "A live corpus has nothing here to be answered from."


@router.get("/healthz")
async def healthz() -> HealthView:
    """The process is up and answers."""
    return HealthView(version=__version__)


@router.get("/readyz", response_model=ReadyView, responses=documented(503))
def readyz(request: Request, running: RunningDep) -> ReadyView | Response:
    """Every corpus that is live can be searched here; `reason` says where it is not the live one.

    An older version that goes on answering is reason to look, not to take this server out of
    service: its answers are whole. So is a database that does not answer: searches need none.
    Where keys are asked for, it names the corpora to those alone that have the scope metrics.
    """
    live = _live_collections(running)
    corpora = [_readiness(running, corpus, live[corpus]) for corpus in sorted(live)]
    unserved = [one for one in corpora if one.serving is None]
    if not _may_see_details(request):
        return ReadyView(corpora=[]) if not unserved else respond(plain_problem(503, _KEPT_BACK))
    if not unserved:
        return ReadyView(corpora=corpora)
    detail = " ".join(
        f"'{one.corpus}' should be answered from {one.live}, and is from nothing: {one.reason}"
        for one in unserved
    )
    return respond(plain_problem(503, detail, corpora=[one.model_dump() for one in corpora]))


def _may_see_details(request: Request) -> bool:
    caller: Caller = request.state.caller
    return caller.may(Scope.METRICS) and caller.sees_everything


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
