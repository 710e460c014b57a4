"""A server's life from outside: operations by HTTP, searches beside them, until it dies."""

import threading
from collections.abc import Callable, Sequence
from typing import Any

import httpx2
from actions import document

from crash.events import Event, Outcome
from crash.plan import Kind, Operation

Json = dict[str, Any]
Begun = Callable[[], None]
_REFUSED = (404, 409)


class Client:
    """Does the operations of a life; each answer becomes an event."""

    def __init__(self, url: str, corpus: str, *, parts_may_fail: bool, begun: Begun) -> None:
        self._http = httpx2.Client(base_url=f"{url}/v1/corpora/{corpus}", timeout=90)
        self._parts_may_fail = parts_may_fail
        self._begun = begun
        self.events: list[Event] = []
        self.answers: set[tuple[str, str]] = set()  # that the searches beside the operations named
        self._done = threading.Event()

    def run(self, operations: Sequence[Operation]) -> bool:
        """Do them all, or as many as the server lives for; whether it outlived them."""
        searcher = threading.Thread(target=self._keep_searching)
        searcher.start()
        try:
            for number, operation in enumerate(operations):
                self._do(number, operation)
        except httpx2.TransportError:
            return False  # it was killed: the operation has begun and not ended
        finally:
            self._done.set()
            searcher.join()
            self._http.close()
        return True

    def _do(self, number: int, operation: Operation) -> None:
        facts: Json = {}
        if operation.kind in (Kind.PROMOTE, Kind.ROLLBACK):
            facts = {"target": self._target(operation.kind)}
        self.events.append(Event(number, Outcome.BEGUN, facts))
        self._begun()
        response = self._ask(operation, facts)
        self.events.append(self._event(number, operation, response))

    def _ask(self, operation: Operation, facts: Json) -> httpx2.Response:
        match operation.kind:
            case Kind.WRITE:
                return self._http.post(
                    "/documents",
                    json={"documents": [_body(n, operation.revision) for n in operation.numbers]},
                    params=_waiting(operation),
                )
            case Kind.DELETE:
                ids = [f"doc-{number}" for number in operation.numbers]
                return self._http.request(
                    "DELETE", "/documents", json={"ids": ids}, params=_waiting(operation)
                )
            case Kind.PROMOTE:
                return self._http.post("/promote", json={"version": facts["target"]})
            case Kind.ROLLBACK:
                return self._http.post("/rollback")
            case _:
                text = document(operation.numbers[0], operation.revision).text
                return self._http.post("/search", json={"query": text})

    def _event(self, number: int, operation: Operation, response: httpx2.Response) -> Event:
        if response.status_code in _REFUSED:
            return Event(number, Outcome.REFUSED, {"error": response.text})
        if response.status_code == 503 and self._parts_may_fail:
            return Event(number, Outcome.UNKNOWN, {"error": response.text})
        if response.status_code != 200:
            return Event(number, Outcome.BROKEN, {"error": response.text})
        return Event(number, Outcome.DONE, self._facts(operation, response.json()))

    def _facts(self, operation: Operation, answer: Json) -> Json:
        if operation.kind in (Kind.PROMOTE, Kind.ROLLBACK):
            previous = answer["previous"]
            return {
                "changed": answer["changed"],
                "live": answer["live"]["number"],
                "previous": previous["number"] if previous else None,
            }
        if operation.kind is Kind.SEARCH:
            return _answer(answer)
        if answer["indexed"] == "yes":
            return {"problems": self._not_found(operation)}
        return {}

    def _not_found(self, operation: Operation) -> list[str]:
        """A write that waited is found at once, and a delete that waited is gone."""
        asked = document(operation.numbers[0], operation.revision)
        found = self._find(asked.id, asked.text)
        mark = f"number {operation.numbers[0]} revision {operation.revision}."
        if operation.kind is Kind.WRITE and not any(mark in text for text in found):
            return [f"{asked.id} was acknowledged as indexed and is not found: {found}"]
        if operation.kind is Kind.DELETE and found:
            return [f"{asked.id} was acknowledged as gone and is found: {found}"]
        return []

    def _find(self, document_id: str, query: str) -> list[str]:
        """The texts of a document's passages that are found."""
        body = {"query": query, "mode": "lexical", "limit": 1000, "group_by_document": False}
        response = self._http.post("/search", json=body)
        if response.status_code != 200:
            return [response.text]
        hits = response.json()["hits"]
        return [hit["text"] for hit in hits if hit["document_id"] == document_id]

    def _target(self, kind: Kind) -> int | None:
        answer = self._http.get("/versions")
        versions = answer.json()["versions"] if answer.status_code == 200 else []
        if kind is Kind.ROLLBACK:
            live = [each for each in versions if each["state"] == "live"]
            return live[0]["predecessor"] if live else None
        for state in ("candidate", "retired"):
            found: list[int] = [each["number"] for each in versions if each["state"] == state]
            if found:
                return found[-1]
        return None

    def _keep_searching(self) -> None:
        try:
            while not self._done.wait(0.01):
                response = self._http.post("/search", json={"query": "red river stone"})
                if response.status_code == 200:
                    self.answers.update(_answer(response.json())["pairs"])
                elif not self._parts_may_fail:
                    error = {"error": f"a search failed: {response.text}"}
                    self.events.append(Event(-1, Outcome.BROKEN, error))
                    return
        except httpx2.TransportError:
            return


def _answer(answer: Json) -> Json:
    return {
        "pairs": [(answer["index_version"], answer["model_version"])],
        "documents": [hit["document_id"] for hit in answer["hits"]],
    }


def _body(number: int, revision: int) -> Json:
    written = document(number, revision)
    return {
        "id": written.id,
        "title": written.title,
        "text": written.text,
        "metadata": written.metadata,
    }


def _waiting(operation: Operation) -> Json:
    return {"wait": "indexed", "timeout_s": 30} if operation.wait else {}
