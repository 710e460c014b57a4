"""Who asks, and whether they may: the scopes, corpora and filter of an API key.

`needs` stands at each route and says what a key must be good for. A key with a filter passes only
where the route says that it honours the filter.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Annotated

from anyio import from_thread
from fastapi import Depends, Request

from lockstep.audit import audit
from lockstep.corpus.api_key import ApiKey, Scope
from lockstep.corpus.documents import Document, check_id, shown
from lockstep.errors import AccessDenied, DocumentNotFound
from lockstep.index.serving import Serving
from lockstep.search.request import SearchRequest
from lockstep.store.filters import prefixed
from lockstep.store.port import DOCUMENT_ID, Json, VectorStore


@dataclass(frozen=True)
class Caller:
    """Who sends a request: a key, or somebody who needs none.

    Without a key a caller is `trusted` where keys are not asked for, and else may use what is open
    to all.
    """

    key: ApiKey | None
    trusted: bool = False

    def may(self, scope: Scope) -> bool:
        return self.trusted if self.key is None else self.key.may(scope)

    def reaches(self, corpus: str) -> bool:
        return self.trusted if self.key is None else self.key.reaches(corpus)

    @property
    def filter(self) -> Json | None:
        """What every document that the caller gets to see matches."""
        return None if self.key is None else self.key.filter

    @property
    def sees_everything(self) -> bool:
        """Whether no corpus and no document is kept from the caller."""
        if self.key is None:
            return self.trusted
        return self.key.corpora is None and self.key.filter is None

    def confined(self, request: SearchRequest) -> SearchRequest:
        """The request, of which only hits remain that match the caller's filter too."""
        return request if self.filter is None else replace(request, scope=self.filter)

    def require_document(
        self, serving: Serving, store: VectorStore, corpus: str, document_id: str
    ) -> None:
        """Raise DocumentNotFound for a document that the caller's filter hides, or that is not."""
        check_id(document_id)
        if self.filter is not None and not self._finds(
            serving, store, corpus, _match(DOCUMENT_ID, document_id)
        ):
            raise _hidden(corpus, document_id)

    def require_content(
        self, serving: Serving, store: VectorStore, corpus: str, document: Document
    ) -> None:
        """Raise DocumentNotFound where it is not this very content that the filter lets through.

        The engine judges, so that a document is seen where a search would find it; but it may not
        hold yet what was written a moment ago.
        """
        same = _match("content_hash", document.content_hash)
        if self.filter is not None and not self._finds(
            serving, store, corpus, _match(DOCUMENT_ID, document.id), same
        ):
            raise _hidden(corpus, document.id)

    def _finds(self, serving: Serving, store: VectorStore, corpus: str, *conditions: Json) -> bool:
        mine = prefixed(self.filter or {}, "metadata.")
        collection = serving.current(corpus).collection
        return store.count(collection, {"must": [mine, *conditions]}) > 0


def needs(scope: Scope, *, honours_filter: bool = False) -> Callable[[Request], Awaitable[Caller]]:
    """A dependency: the caller, who may do this to the corpus of the path. Raises AccessDenied.

    With `honours_filter` the route itself keeps from a caller what their filter hides.
    """

    async def caller_of(request: Request) -> Caller:
        caller: Caller = request.state.caller
        corpus = request.path_params.get("corpus")
        try:
            _check(caller, scope, corpus, honours_filter=honours_filter)
        except AccessDenied:
            if scope in (Scope.WRITE, Scope.ADMIN):
                audit(f"use of {scope}", "denied", corpus=shown(corpus) if corpus else None)
            raise
        return caller

    return caller_of


def _check(caller: Caller, scope: Scope, corpus: str | None, *, honours_filter: bool) -> None:
    if not caller.may(scope):
        raise AccessDenied(
            f"This needs the scope {scope}, which the key lacks.",
            next_step=f"Use a key that has it: lockstep key create NAME --scope {scope}",
        )
    if scope is Scope.METRICS and not caller.sees_everything:
        raise AccessDenied("The metrics name every corpus, and the key does not reach them all.")
    if corpus is not None and not caller.reaches(corpus):
        raise AccessDenied(
            f"The key does not reach corpus '{shown(corpus)}'.",
            next_step=f"Use a key that does: lockstep key create NAME --corpus {shown(corpus)}",
        )
    if caller.filter is not None and not honours_filter:
        raise AccessDenied(
            "The key is confined to some documents; it can search them, alone or in batches, read "
            "them one by one, embed texts, and give feedback on its searches.",
            next_step="Use a key without a filter.",
        )


async def _charge(request: Request) -> Callable[[int], None]:
    key, limits = request.state.caller.key, request.app.state.rate_limits

    def charge(count: int) -> None:
        if key is not None:
            from_thread.run_sync(limits.charge, key, count)

    return charge


# Called in a route that is no coroutine: what the request costs of the key's rate besides 1.
Charge = Annotated[Callable[[int], None], Depends(_charge)]

SearchCaller = Annotated[Caller, Depends(needs(Scope.SEARCH, honours_filter=True))]
ReadCaller = Annotated[Caller, Depends(needs(Scope.SEARCH))]
WriteCaller = Annotated[Caller, Depends(needs(Scope.WRITE))]
AdminCaller = Annotated[Caller, Depends(needs(Scope.ADMIN))]


def _match(key: str, value: str) -> Json:
    return {"key": key, "match": {"value": value}}


def _hidden(corpus: str, document_id: str) -> DocumentNotFound:
    return DocumentNotFound(f"Corpus '{corpus}' has no document '{shown(document_id)}'.")
