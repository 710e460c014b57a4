"""Searching a corpus."""

from dataclasses import asdict

from fastapi import APIRouter

from lockstep.api.metrics import MetricsDep
from lockstep.api.problems import documented
from lockstep.api.running import Running, RunningDep
from lockstep.api.schemas import SearchBody, SearchView
from lockstep.errors import IndexVersionNotFound

router = APIRouter(prefix="/v1/corpora/{corpus}", tags=["search"])


@router.post("/search", responses=documented(404, 409, 413, 415, 422, 500, 503))
def search(corpus: str, body: SearchBody, running: RunningDep, metrics: MetricsDep) -> SearchView:
    """Search the live index version of a corpus, or the one that `index_version` pins."""
    number = _pinned_number(running, corpus, body.index_version)
    response = running.workspace.search(corpus, body.request(), index_version=number)
    metrics.observe_search(corpus, body.mode, response)
    return SearchView.model_validate(asdict(response))


def _pinned_number(running: Running, corpus: str, pin: int | str | None) -> int | None:
    """The number of a version that is pinned by number or collection name."""
    if pin is None or isinstance(pin, int):
        return pin
    running.workspace.corpora.info(corpus)  # raises CorpusNotFound
    versions = running.workspace.catalog.versions(corpus)
    for version in versions:
        if version.collection == pin:
            return version.number
    known = ", ".join(version.collection for version in versions) or "none"
    raise IndexVersionNotFound(f"Corpus '{corpus}' has no index version '{pin}'; it has {known}.")
