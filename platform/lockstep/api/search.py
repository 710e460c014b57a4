"""Searching a corpus."""

from typing import Annotated

from fastapi import APIRouter, BackgroundTasks, Header
from fastapi.responses import Response

from lockstep.api.answers import all_told, told
from lockstep.api.caller import Charge, SearchCaller
from lockstep.api.metrics import MetricsDep
from lockstep.api.problems import documented
from lockstep.api.running import Running, RunningDep
from lockstep.api.schemas.search import BatchBody, BatchView, SearchBody, SearchView
from lockstep.errors import IndexVersionNotFound
from lockstep.search.traffic import Answer
from lockstep.store.deadline import within

router = APIRouter(prefix="/v1/corpora/{corpus}", tags=["search"])

TrafficKey = Annotated[
    str | None,
    Header(max_length=512, description="Whose search it is, where the body has no traffic_key."),
]


@router.post(
    "/search",
    response_model=SearchView,
    responses=documented(404, 409, 410, 413, 415, 422, 500, 503),
)
def search(
    corpus: str,
    body: SearchBody,
    running: RunningDep,
    metrics: MetricsDep,
    after: BackgroundTasks,
    caller: SearchCaller,
    x_traffic_key: TrafficKey = None,
) -> Response:
    """Search the live index version of a corpus, or the one that `index_version` pins.

    While a version is on trial (`lockstep trial`), it may answer a share of the searches; `arm`
    tells. A search that is pinned, by `index_version` or by a cursor, never meets a trial: the list
    of an interleaved answer goes on with both versions, and counts in no trial. Nor does a search
    of a key with a filter, which is answered by no version that lags behind the live one.
    """
    request = caller.confined(body.request())
    if body.index_version is not None or body.cursor is not None:
        number = _pinned_number(running, corpus, body.index_version)
        response = running.workspace.search(corpus, request, index_version=number)
        metrics.observe_search(corpus, body.mode, response)
        return told(response)
    key = body.traffic_key if body.traffic_key is not None else x_traffic_key
    with within(running.workspace.settings.search_timeout_s):
        answer = running.traffic.answer(corpus, request, key)
    metrics.observe_search(corpus, body.mode, answer.response)
    if answer.copy is not None:
        after.add_task(_copy, running, answer)
    return told(answer.response, arm=answer.arm, search_id=answer.search_id)


@router.post(
    "/search/batch",
    response_model=BatchView,
    responses=documented(404, 409, 413, 415, 422, 500, 503),
)
def search_batch(
    corpus: str,
    body: BatchBody,
    running: RunningDep,
    metrics: MetricsDep,
    caller: SearchCaller,
    charge: Charge,
) -> Response:
    """Several searches at once, answered by one version; their queries are encoded together.

    They meet no trial, and are not kept in the query log. Each counts in the rate of the key.
    """
    charge(len(body.searches) - 1)
    requests = [caller.confined(request) for request in body.requests()]
    number = _pinned_number(running, corpus, body.index_version)
    responses = running.workspace.search_batch(corpus, requests, index_version=number)
    for request, response in zip(requests, responses, strict=True):
        metrics.observe_search(corpus, request.mode, response)
    return all_told(responses)


async def _copy(running: Running, answer: Answer) -> None:
    """Runs in the event loop once the answer is sent: it only puts the copy into a queue."""
    running.traffic.after(answer)


def _pinned_number(running: Running, corpus: str, pin: int | str | None) -> int | None:
    """The number of a version that is pinned by number or collection name, if one is."""
    if not isinstance(pin, str):
        return pin
    running.workspace.corpora.info(corpus)  # raises CorpusNotFound
    versions = running.workspace.catalog.versions(corpus)
    for version in versions:
        if version.collection == pin:
            return version.number
    known = ", ".join(version.collection for version in versions) or "none"
    raise IndexVersionNotFound(f"Corpus '{corpus}' has no index version '{pin}'; it has {known}.")
