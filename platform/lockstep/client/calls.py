"""The calls of the API: what is sent, how the answer is read, and whether it may be repeated."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, cast
from urllib.parse import quote

from lockstep.client import answers
from lockstep.client.answers import SearchResponse
from lockstep.client.bodies import NewDocument, Search, SearchOptions
from lockstep.errors import InvalidInput

T = TypeVar("T")
Json = dict[str, Any]

# The gates of a promotion may take minutes.
SWAP_S = 600.0


@dataclass(frozen=True)
class Call(Generic[T]):
    """One request. `read` raises pydantic's ValidationError where the answer is another."""

    method: str
    path: str
    read: Callable[[bytes], T]
    body: Json | None = None
    params: Mapping[str, str | float] | None = None
    idempotent: bool = True  # the same call twice leaves what one leaves
    more_s: float = 0.0  # that the server is asked to take, beyond the client's timeout


def search(corpus: str, query: str | None, options: SearchOptions) -> Call[SearchResponse]:
    body = _given({"query": query, **options})
    read = SearchResponse.model_validate_json
    return Call("POST", _path("corpora", corpus, "search"), read, body)


def following(options: SearchOptions, answer: SearchResponse) -> SearchOptions | None:
    """The options of the page after an answer; None where it was the last one."""
    if not answer.hits or answer.next_cursor is None:
        return None
    asked = {key: value for key, value in options.items() if key != "offset"}
    return cast(SearchOptions, {**asked, "cursor": answer.next_cursor})


def search_batch(
    corpus: str, searches: Sequence[Search], index_version: int | str | None
) -> Call[list[SearchResponse]]:
    given = _all_given("searches", searches, {"query": "river"})
    body = _given({"searches": given, "index_version": index_version})

    def read(answer: bytes) -> list[SearchResponse]:
        return answers.SearchBatch.model_validate_json(answer).answers

    return Call("POST", _path("corpora", corpus, "search", "batch"), read, body)


def upsert(
    corpus: str, documents: Iterable[NewDocument], wait_s: float | None
) -> Call[answers.WriteResult]:
    given = _all_given("documents", documents, {"id": "a", "text": "A river."})
    return _write("POST", corpus, {"documents": given}, wait_s)


def delete(corpus: str, ids: Iterable[str], wait_s: float | None) -> Call[answers.WriteResult]:
    return _write("DELETE", corpus, {"ids": list(ids)}, wait_s)


def get(corpus: str, document_id: str) -> Call[answers.Document]:
    path = _path("corpora", corpus, "documents", document_id)
    return Call("GET", path, answers.Document.model_validate_json)


def corpora() -> Call[list[answers.Corpus]]:
    def read(answer: bytes) -> list[answers.Corpus]:
        return answers.Corpora.model_validate_json(answer).corpora

    return Call("GET", _path("corpora"), read)


def corpus(name: str) -> Call[answers.CorpusDetail]:
    return Call("GET", _path("corpora", name), answers.CorpusDetail.model_validate_json)


def versions(corpus: str) -> Call[list[answers.IndexVersion]]:
    def read(answer: bytes) -> list[answers.IndexVersion]:
        return answers.Versions.model_validate_json(answer).versions

    return Call("GET", _path("corpora", corpus, "versions"), read)


def feedback(corpus: str, search_id: str, document_id: str) -> Call[None]:
    body = {"search_id": search_id, "document_id": document_id}
    return Call("POST", _path("corpora", corpus, "feedback"), lambda _: None, body)


def embeddings(texts: str | Sequence[str], model: str) -> Call[answers.Embeddings]:
    body = {"input": texts if isinstance(texts, str) else list(texts), "model": model}
    return Call("POST", _path("embeddings"), answers.Embeddings.model_validate_json, body)


def promote(
    corpus: str,
    version: int | None,
    *,
    reason: str,
    force: bool,
    require_better: bool,
    wait_s: float,
) -> Call[answers.Swap]:
    asked = {"version": version, "reason": reason, "force": force, "require_better": require_better}
    return _swap(corpus, "promote", _given(asked), wait_s)


def rollback(corpus: str, *, reason: str, wait_s: float) -> Call[answers.Swap]:
    return _swap(corpus, "rollback", {"reason": reason}, wait_s)


def _write(method: str, corpus: str, body: Json, wait_s: float | None) -> Call[answers.WriteResult]:
    path = _path("corpora", corpus, "documents")
    read = answers.WriteResult.model_validate_json
    if wait_s is None:
        return Call(method, path, read, body)
    waiting: Json = {"wait": "indexed", "timeout_s": wait_s}
    return Call(method, path, read, body, waiting, more_s=wait_s)


def _swap(corpus: str, what: str, body: Json, wait_s: float) -> Call[answers.Swap]:
    path, read = _path("corpora", corpus, what), answers.Swap.model_validate_json
    return Call("POST", path, read, body, idempotent=False, more_s=wait_s)


def _path(*parts: str) -> str:
    # A part of dots alone would be taken for a way up.
    return "/v1/" + "/".join(quote(part, safe="").replace(".", "%2E") for part in parts)


def _all_given(name: str, items: Iterable[Mapping[str, Any]], example: Json) -> list[Json]:
    """Raises InvalidInput, naming the item, where one is no mapping."""
    listed: list[Any] = list(items)
    for number, item in enumerate(listed):
        if not isinstance(item, Mapping):
            raise InvalidInput(
                f"{name}[{number}] is {repr(item)[:80]}; expected a dict like {example}."
            )
    return [_given(item) for item in listed]


def _given(fields: Mapping[str, Any]) -> Json:
    """A server that does not know a field yet is not told of it in vain."""
    return {key: value for key, value in fields.items() if value is not None}
