"""What people chose of the answers they got."""

from fastapi import APIRouter

from lockstep.api.caller import SearchCaller
from lockstep.api.problems import documented
from lockstep.api.running import RunningDep
from lockstep.api.schemas.search import FeedbackBody
from lockstep.errors import SearchNotFound

router = APIRouter(prefix="/v1/corpora/{corpus}", tags=["feedback"])


@router.post("/feedback", status_code=204, responses=documented(404, 413, 415, 422, 500, 503, 507))
def feedback(corpus: str, body: FeedbackBody, running: RunningDep, caller: SearchCaller) -> None:
    """Keep that a document of an answer was chosen; the same again changes nothing.

    `search_id` comes with the answer where the search was logged. Judged queries are made of this
    (`lockstep qrels import --from-clicks`), and interleaved answers are credited by it. To a key
    with a filter, documents that it hides are not there.
    """
    workspace = running.workspace
    caller.require_document(workspace.serving, workspace.store, corpus, body.document_id)
    log = running.traffic.log
    if log.is_waiting(body.search_id):
        log.flush()
    try:
        log.log.click(corpus, body.search_id, body.document_id)
    except SearchNotFound:
        workspace.corpora.info(corpus)  # raises CorpusNotFound
        raise
