"""A real server process, spoken to over loopback, while other processes promote and kill."""

import re
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from typing import Any

import httpx2
import pytest
from actions import fork_server, run_promote, run_rollback
from server_process import ServerProcess, until
from workspaces import CORPUS, Templates

from lockstep.bootstrap import open_workspace


@pytest.fixture
def server(root: Path, tmp_path: Path) -> Iterator[ServerProcess]:
    with ServerProcess(root, tmp_path / "server.log") as server:
        yield server


@pytest.fixture(scope="module")
def shared(
    templates: Templates, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServerProcess]:
    """A server for tests that leave the live version alone."""
    folder = tmp_path_factory.mktemp("shared")
    root = templates.live(folder / "workspace", candidate=True)
    with ServerProcess(root, folder / "server.log") as server:
        yield server


def _elsewhere(action: Any, *arguments: Any) -> None:
    """Do something in another process, as a command would."""
    process = fork_server().Process(target=action, args=arguments)
    process.start()
    process.join(120)
    assert process.exitcode == 0


def _zebra(server: ServerProcess) -> list[str]:
    answer = server.search("zebra", mode="lexical")
    return [hit["document_id"] for hit in answer["hits"]]


def test_a_write_that_waited_is_found_and_a_delete_that_waited_is_gone(
    shared: ServerProcess,
) -> None:
    written = shared.write({"id": "z/1 ü", "text": "a zebra", "title": "Zebra"}, wait=True)
    assert written["indexed"] == "yes"
    assert _zebra(shared) == ["z/1 ü"]
    assert shared.http.get("/v1/corpora/docs/documents/z/1%20%C3%BC").json()["title"] == "Zebra"

    deleted = shared.http.request(
        "DELETE", "/v1/corpora/docs/documents?wait=indexed", json={"ids": ["z/1 ü"]}
    )
    assert deleted.json()["indexed"] == "yes"
    assert _zebra(shared) == []


def test_a_write_that_did_not_wait_is_found_moments_later(shared: ServerProcess) -> None:
    shared.write({"id": "z", "text": "a zebra"})

    until(lambda: _zebra(shared) == ["z"])


def test_promotions_by_another_process_are_followed_and_no_answer_is_mixed(
    root: Path, server: ServerProcess
) -> None:
    expected = {
        pin["index_version"]: (pin["model_version"], _scores(pin))
        for pin in (server.search(mode="dense", index_version=number) for number in (1, 2))
    }
    assert expected["docs--v0001"][1] != expected["docs--v0002"][1]
    answers: list[dict[str, Any]] = []
    done = threading.Event()

    def keep_searching() -> None:
        while not done.is_set():
            answers.append(server.search(mode="dense"))
            time.sleep(0.01)  # leaves a core to whoever promotes

    with ThreadPoolExecutor(3) as pool:
        searchers = [pool.submit(keep_searching) for _ in range(3)]
        try:
            _elsewhere(run_promote, root, CORPUS)
            until(lambda: server.search()["index_version"] == "docs--v0002")
            _elsewhere(run_rollback, root, CORPUS)
            until(lambda: server.search()["index_version"] == "docs--v0001")
        finally:
            done.set()
        for searcher in searchers:
            searcher.result()

    assert {answer["index_version"] for answer in answers} == set(expected)
    for answer in answers:
        model, scores = expected[answer["index_version"]]
        assert (answer["model_version"], _scores(answer)) == (model, scores)


def _scores(answer: dict[str, Any]) -> dict[str, float]:
    return {hit["id"]: round(hit["score"], 5) for hit in answer["hits"]}


def test_promote_and_rollback_over_http_answer_from_the_new_version_at_once(
    server: ServerProcess,
) -> None:
    for verb, live in [("promote", 2), ("rollback", 1)]:
        response = server.http.post(f"/v1/corpora/docs/{verb}")
        assert response.status_code == 200, response.text
        assert response.json()["live"]["number"] == live
        assert server.search()["index_version"] == f"docs--v000{live}"
        assert server.http.get("/readyz").status_code == 200


def test_writes_during_the_life_of_another_version_survive_the_rollback(
    server: ServerProcess,
) -> None:
    server.http.post("/v1/corpora/docs/promote")
    server.write({"id": "z", "text": "a zebra"}, wait=True)
    server.http.request("DELETE", "/v1/corpora/docs/documents", json={"ids": ["doc-1"]})

    server.http.post("/v1/corpora/docs/rollback")

    assert _zebra(server) == ["z"]
    found = server.search("number 1", limit=1000)["hits"]
    assert "doc-1" not in {hit["document_id"] for hit in found}


@pytest.mark.slow
def test_a_killed_server_loses_no_acknowledged_write(root: Path, tmp_path: Path) -> None:
    acknowledged: list[str] = []
    for life in range(3):
        with ServerProcess(root, tmp_path / f"server{life}.log") as server:
            acknowledged += _write_until_killed(server, life)

    with ServerProcess(root, tmp_path / "last.log") as server:
        for document_id in acknowledged:
            assert server.http.get(f"/v1/corpora/docs/documents/{document_id}").status_code == 200
        server.write({"id": "last", "text": "done"}, wait=True)
        found = server.search("zebra", mode="lexical", limit=1000)["hits"]
        assert set(acknowledged[:1000]) - {hit["document_id"] for hit in found} == set()


def _write_until_killed(server: ServerProcess, life: int) -> list[str]:
    """The ids of the writes that the server acknowledged before it was killed between two bytes."""
    acknowledged: list[str] = []
    for number in count():
        if number == 40 + life:
            threading.Timer(0.003 * life, server.kill).start()
        document = {"id": f"z{life}-{number}", "text": f"a zebra {life} {number}"}
        try:
            server.write(document, wait=number % 7 == 0)
        except httpx2.TransportError:
            return acknowledged
        acknowledged.append(document["id"])
    raise AssertionError("it was not killed")


def test_a_candidate_that_was_previewed_can_be_promoted_by_a_command(
    root: Path, server: ServerProcess
) -> None:
    """The preview has the embedded collection open; the server lets go of it by itself."""
    assert server.search(index_version="docs--v0002")["model_version"] == "tiny@2"

    _elsewhere(run_promote, root, CORPUS)

    until(lambda: server.search()["index_version"] == "docs--v0002")


def test_a_damaged_model_keeps_the_old_version_answering_and_readyz_tells(
    root: Path, server: ServerProcess
) -> None:
    _elsewhere(_promote_then_damage, root)

    def readiness() -> dict[str, Any]:
        response = server.http.get("/readyz")
        assert response.status_code == 200  # searches are answered, by the version before
        corpora: list[dict[str, Any]] = response.json()["corpora"]
        return corpora[0]

    until(lambda: "model.safetensors" in (readiness()["reason"] or ""))
    assert readiness()["serving"] == "docs--v0001"
    assert readiness()["live"] == "docs--v0002"
    assert server.search()["index_version"] == "docs--v0001"
    assert server.write({"id": "z", "text": "a zebra"}, wait=True)["indexed"] == "yes"

    again = server.http.post("/v1/corpora/docs/promote", json={"version": 2})
    assert again.status_code == 503
    assert "goes on answering from docs--v0001" in again.json()["detail"]

    assert server.http.post("/v1/corpora/docs/rollback").status_code == 200
    assert readiness()["reason"] is None
    assert _zebra(server) == ["z"]


def _promote_then_damage(root: Path) -> None:
    """A file of the new model changes after it was loaded for the proof, before the alias moves."""
    with open_workspace(root) as workspace:
        version = workspace.catalog.get(CORPUS, 2)
        workspace.encoders.get(version.model_ref)
        weights = [
            path
            for path in (root / ".lockstep" / "models").rglob("model.safetensors")
            if version.model_digest in str(path)
        ]
        assert len(weights) == 1
        content = bytearray(weights[0].read_bytes())
        content[-1] ^= 1
        weights[0].chmod(0o644)
        weights[0].write_bytes(content)
        workspace.rollouts.promote(CORPUS)


def test_sigterm_finishes_the_requests_at_hand_and_ends_with_code_0(
    root: Path, server: ServerProcess
) -> None:
    with ThreadPoolExecutor(1) as pool, open_workspace(root) as workspace:
        promotion = pool.submit(server.http.post, "/v1/corpora/docs/promote")
        until(lambda: workspace.catalog.history(CORPUS)[0].step == "promote")
        assert server.stop() == 0
        assert promotion.result().status_code == 200

    lines = server.log().splitlines()
    assert all(re.match(r"\d{4}-\d\d-\d\dT[\d:.]+Z [A-Z]+ [\w.]+: ", line) for line in lines)
    assert sum("ready at http" in line for line in lines) == 1
    with open_workspace(root) as workspace:  # it let go of the index
        assert workspace.search(CORPUS, "red").index_version == "docs--v0002"


def test_a_second_server_on_the_same_index_is_refused_by_name(
    shared: ServerProcess, tmp_path: Path
) -> None:
    second = ServerProcess(shared.root, tmp_path / "second.log")

    with pytest.raises(AssertionError, match=r"CollectionInUse") as refused, second:
        pass

    assert f"process {shared.process.pid} (lockstep serve" in str(refused.value)
    assert second.process.exitcode == 1
    assert shared.search()["hits"]


def test_a_port_that_is_taken_is_refused_before_anything_is_opened(
    shared: ServerProcess, tmp_path: Path
) -> None:
    port = str(shared.http.base_url.port)

    with (
        pytest.raises(AssertionError, match=f"cannot listen on host '127.0.0.1', port {port}"),
        ServerProcess(shared.root, tmp_path / "second.log", LOCKSTEP_PORT=port),
    ):
        pass


def test_a_body_that_is_too_large_is_refused_while_it_is_sent(shared: ServerProcess) -> None:
    def chunks() -> Iterator[bytes]:
        for _ in range(40):
            yield b" " * (1 << 20)

    try:
        response = shared.http.post(
            "/v1/corpora/docs/documents",
            content=chunks(),
            headers={"content-type": "application/json"},
        )
    except httpx2.WriteError:  # the server closed the connection before the client had read why
        pass
    else:
        assert response.status_code == 413
        assert "16,777,216 bytes" in response.json()["detail"]
    assert shared.http.get("/healthz").status_code == 200
