"""Writing, deleting and reading documents."""

import time
from typing import Annotated, Literal

from anyio.to_thread import run_sync
from fastapi import APIRouter, Depends, Query
from starlette.convertors import Convertor, register_url_convertor

from lockstep.api.caller import SearchCaller, WriteCaller
from lockstep.api.problems import documented
from lockstep.api.running import Running, RunningDep
from lockstep.api.schemas.documents import DeleteBody, DocumentView, Indexed, UpsertBody, WriteView
from lockstep.corpus.batches import WriteResult
from lockstep.corpus.documents import Document, shown
from lockstep.errors import InvalidDocument, NoLiveIndex

# A thread that waits looks up this often, so that a server that stops is not held up.
_WAIT_SLICE_S = 1.0


class AnyText(Convertor[str]):
    """The rest of a path, whatever it holds: slashes and line breaks too."""

    regex = "(?s:.+)"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


register_url_convertor("any", AnyText())
router = APIRouter(prefix="/v1/corpora/{corpus}/documents", tags=["documents"])


class Waiting:
    """Whether a write returns once it is durable, or once it can be found too."""

    def __init__(
        self,
        wait: Annotated[
            Literal["indexed"] | None,
            Query(description="Return once the live index version holds the write."),
        ] = None,
        timeout_s: Annotated[
            float, Query(gt=0, le=60, description="How long to wait for that.")
        ] = 10.0,
    ) -> None:
        self.deadline = None if wait is None else time.monotonic() + timeout_s


@router.post("", responses=documented(413, 415, 422, 500, 503, 507))
async def upsert(
    corpus: str,
    body: UpsertBody,
    running: RunningDep,
    _: WriteCaller,
    waiting: Annotated[Waiting, Depends()],
) -> WriteView:
    """Add documents, or replace those of the same id; durable when this returns.

    The first documents create the corpus. Of an id that comes twice, the last one counts.
    """
    result = await run_sync(_write, running, corpus, body)
    return WriteView.of(result, await _indexed(running, corpus, result.head_seq, waiting))


@router.delete("", responses=documented(404, 413, 415, 422, 500, 503, 507))
async def delete(
    corpus: str,
    body: DeleteBody,
    running: RunningDep,
    _: WriteCaller,
    waiting: Annotated[Waiting, Depends()],
) -> WriteView:
    """Delete documents by id; ids that are not there are counted as missing."""
    result = await run_sync(_delete, running, corpus, body)
    return WriteView.of(result, await _indexed(running, corpus, result.head_seq, waiting))


@router.get("/{document_id:any}", responses=documented(404, 422, 503))
def get(corpus: str, document_id: str, running: RunningDep, caller: SearchCaller) -> DocumentView:
    """One document. Its id may hold slashes; percent-encode what a URL cannot hold.

    A key with a filter gets what a search would find: 404 for what is not indexed yet, or hidden.
    """
    serving, store = running.workspace.serving, running.workspace.store
    caller.require_document(serving, store, corpus, document_id)
    document = running.workspace.corpora.get(corpus, document_id)
    caller.require_content(serving, store, corpus, document)
    return DocumentView.of(document)


def _write(running: Running, corpus: str, body: UpsertBody) -> WriteResult:
    limit = running.workspace.settings.max_document_bytes
    documents = [_checked(item.document(), limit) for item in body.documents]
    running.workspace.corpora.create(corpus)
    result = running.workspace.corpora.write(corpus, documents)
    running.follower.wake()
    return result


def _checked(document: Document, max_bytes: int) -> Document:
    size = len(document.canonical_json.encode())
    if size > max_bytes:
        raise InvalidDocument(
            f"Document '{shown(document.id)}' has {size:,} bytes; at most {max_bytes:,} are "
            "allowed.",
            next_step="Split it, or raise max_document_bytes in lockstep.toml.",
        )
    return document


def _delete(running: Running, corpus: str, body: DeleteBody) -> WriteResult:
    result = running.workspace.corpora.write(corpus, deletes=body.ids)
    running.follower.wake()
    return result


async def _indexed(running: Running, corpus: str, seq: int, waiting: Waiting) -> Indexed:
    if waiting.deadline is None:
        return Indexed.NOT_AWAITED
    try:
        while (left := waiting.deadline - time.monotonic()) > 0:
            slice_s = min(left, _WAIT_SLICE_S)
            look = running.follower.wait_applied
            if await run_sync(look, corpus, seq, slice_s, limiter=running.waiters):
                return Indexed.YES
    except NoLiveIndex:
        return Indexed.NO_LIVE_INDEX
    return Indexed.NOT_YET
