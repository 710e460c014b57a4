"""Corpora, versions, promote and rollback; health; and what OpenAPI says of it all."""

import json
import threading
from typing import Any

from fastapi.testclient import TestClient

from lockstep import __version__
from lockstep.api.latest import Latest
from lockstep.api.problems import MEDIA_TYPE

URL = "/v1/corpora/docs"


def _serving(client: TestClient) -> str:
    answer = client.post(f"{URL}/search", json={"query": "red"}).json()
    return f"{answer['index_version']} {answer['model_version']}"


def test_a_corpus_tells_its_figures_and_versions(client: TestClient) -> None:
    corpus = client.get(URL).json()

    assert (corpus["name"], corpus["live"], corpus["serving"]) == (
        "docs",
        "docs--v0002",
        "docs--v0002",
    )
    assert corpus["documents"] >= 60
    assert [(one["number"], one["state"]) for one in corpus["versions"]] == [
        (1, "dropped"),
        (2, "live"),
        (3, "candidate"),
    ]
    assert corpus["versions"][0]["lag"] is None
    assert client.get(f"{URL}/versions").json()["versions"] == corpus["versions"]


def test_promote_and_rollback_answer_once_the_server_does(client: TestClient) -> None:
    assert _serving(client) == "docs--v0002 tiny@2"

    promoted = client.post(f"{URL}/promote").json()
    assert _serving(client) == "docs--v0003 tiny@3"
    assert (promoted["live"]["number"], promoted["previous"]["number"]) == (3, 2)
    assert promoted["live"]["predecessor"] == 2
    assert promoted["changed"]

    again = client.post(f"{URL}/promote", json={"version": 3}).json()
    assert not again["changed"]

    assert client.post(f"{URL}/rollback").json()["live"]["number"] == 2
    assert _serving(client) == "docs--v0002 tiny@2"

    client.post(f"{URL}/promote", json={"version": 3})
    assert _serving(client) == "docs--v0003 tiny@3"
    client.post(f"{URL}/rollback")


def test_what_cannot_be_promoted_or_rolled_back_says_why(client: TestClient) -> None:
    dropped = client.post(f"{URL}/promote", json={"version": 1})
    assert (dropped.status_code, dropped.json()["title"]) == (409, "Promotion refused")
    assert "was dropped" in dropped.json()["detail"]

    assert client.post(f"{URL}/promote", json={"version": 9}).status_code == 404
    assert client.post(f"{URL}/promote", json={"number": 3}).status_code == 422
    for verb in ("promote", "rollback"):
        assert client.post(f"/v1/corpora/nope/{verb}").status_code == 404
    assert client.get("/v1/corpora/nope/versions").status_code == 404


def test_a_corpus_without_an_index_says_how_to_build_one(client: TestClient) -> None:
    body = {"documents": [{"id": "a", "text": "b"}]}
    client.post("/v1/corpora/bare/documents", json=body)

    for verb, sent in (("search", {"query": "a"}), ("rollback", None)):
        response = client.post(f"/v1/corpora/bare/{verb}", json=sent)
        assert (response.status_code, response.json()["title"]) == (409, "No live index")
        assert "lockstep reindex bare" in response.json()["next_step"]
    assert client.get("/v1/corpora/bare").json()["live"] is None


def test_health_and_readiness(client: TestClient) -> None:
    assert client.get("/healthz").json() == {"version": __version__}

    ready = client.get("/readyz")
    assert ready.status_code == 200
    assert [one["corpus"] for one in ready.json()["corpora"]] == ["docs"]


def test_unknown_paths_and_methods_are_problems_too(client: TestClient) -> None:
    missing, wrong = client.get("/v2"), client.put("/healthz")

    assert (missing.status_code, wrong.status_code) == (404, 405)
    assert missing.headers["content-type"] == wrong.headers["content-type"] == MEDIA_TYPE
    assert wrong.headers["allow"] == "GET"


def test_openapi_declares_every_error_as_a_problem(client: TestClient) -> None:
    schema = client.get("/openapi.json").json()

    operations: list[Any] = [one for path in schema["paths"].values() for one in path.values()]
    assert len(operations) == 18
    for operation in operations:
        for status, response in operation["responses"].items():
            if status == "204":
                assert "content" not in response
                continue
            expected = "application/json" if status < "300" else MEDIA_TYPE
            assert list(response["content"]) == [expected]
        assert "default" in operation["responses"]
    assert "HTTPValidationError" not in json.dumps(schema)


def test_readiness_does_not_wait_for_a_silent_database(client: TestClient) -> None:
    running = client.app.state.running  # type: ignore[attr-defined]
    silence = threading.Event()

    def names() -> list[str]:
        silence.wait(30)
        return []

    object.__setattr__(running, "names", Latest(names))
    try:
        ready = client.get("/readyz")
        assert ready.status_code == 200
        assert "docs" in [one["corpus"] for one in ready.json()["corpora"]]
    finally:
        silence.set()
        object.__setattr__(running, "names", Latest(running.workspace.corpora.names))
