"""Live traffic meets a candidate: a real server, spoken to over loopback."""

import re
import shutil
import sqlite3
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from actions import fork_server, run_promote
from server_process import ServerProcess, until
from workspaces import CORPUS, Templates

from lockstep.bootstrap import open_workspace
from lockstep.client import Client

LIVE, CANDIDATE = "docs--v0001", "docs--v0002"
TRIAL = "/v1/corpora/docs/trial"
LOG_ALL = {"LOCKSTEP_QUERY_LOG__SHARE": "1"}


@pytest.fixture
def server(root: Path, tmp_path: Path) -> Iterator[ServerProcess]:
    with ServerProcess(root, tmp_path / "server.log", **LOG_ALL) as server:
        yield server


@pytest.fixture(scope="module")
def shared_server(
    templates: Templates, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("shared")
    root = templates.live(folder / "workspace", candidate=True)
    with ServerProcess(root, folder / "server.log", **LOG_ALL) as server:
        yield server


@pytest.fixture
def shared(shared_server: ServerProcess) -> Iterator[ServerProcess]:
    """A server for tests that leave both versions as they are; their trials end with them."""
    yield shared_server
    shared_server.http.request("DELETE", TRIAL)
    until(lambda: arm_of(shared_server) == "live")


def start(server: ServerProcess, **body: Any) -> dict[str, Any]:
    """Start a trial, and wait until the candidate is there to answer or has failed to."""
    told = len(server.log())
    response = server.http.post(TRIAL, json=body)
    assert response.status_code == 201, response.text
    until(lambda: re.search(r"on trial: docs v2|cannot be tried", server.log()[told:]))
    trial: dict[str, Any] = response.json()
    return trial


def arm_of(server: ServerProcess) -> str:
    arm: str = server.search()["arm"]
    return arm


def show(server: ServerProcess) -> dict[str, Any]:
    response = server.http.get(TRIAL)
    assert response.status_code == 200, response.text
    trial: dict[str, Any] = response.json()
    return trial


def click(server: ServerProcess, search_id: str | None, document_id: str) -> int:
    body = {"search_id": search_id, "document_id": document_id}
    return server.http.post("/v1/corpora/docs/feedback", json=body).status_code


def test_a_canary_is_sticky_and_names_its_version(shared: ServerProcess) -> None:
    trial = start(shared, canary=0.5, reason="first look")
    assert (trial["version"], trial["live"], trial["state"]) == (2, 1, "running")

    placed = {f"user-{n}": shared.search(traffic_key=f"user-{n}") for n in range(40)}

    arms = Counter(answer["arm"] for answer in placed.values())
    assert min(arms["live"], arms["candidate"]) > 5
    for key, answer in placed.items():
        expected = CANDIDATE if answer["arm"] == "candidate" else LIVE
        model = "tiny@2" if expected == CANDIDATE else "tiny@1"
        assert (answer["index_version"], answer["model_version"]) == (expected, model)
        assert shared.search("another", traffic_key=key)["arm"] == answer["arm"]
    by_header = shared.http.post(
        "/v1/corpora/docs/search", json={"query": "red"}, headers={"X-Traffic-Key": "user-1"}
    )
    assert by_header.json()["arm"] == placed["user-1"]["arm"]


def test_another_trial_places_callers_anew_and_a_pin_meets_none(shared: ServerProcess) -> None:
    def arms() -> list[str]:
        return [shared.search(traffic_key=f"user-{n}")["arm"] for n in range(30)]

    start(shared, canary=0.5)
    assert shared.http.post(TRIAL, json={"canary": 0.5}).status_code == 409
    first = arms()
    for pin, model in ((1, "tiny@1"), (CANDIDATE, "tiny@2")):
        answer = shared.search(index_version=pin, traffic_key="user-1")
        assert (answer["model_version"], answer["arm"], answer["search_id"]) == (model, None, None)

    stopped = shared.http.request("DELETE", TRIAL, json={"reason": "seen enough"})
    assert (stopped.json()["state"], stopped.json()["reason"]) == ("stopped", "seen enough")
    until(lambda: set(arms()) == {"live"})
    start(shared, canary=0.5)
    until(lambda: "candidate" in arms())

    assert arms() != first
    steps = shared.http.get("/v1/corpora/docs/rollouts").json()["steps"]
    trials = [(one["outcome"], one["reason"]) for one in steps if one["step"] == "trial"]
    assert trials[:3] == [("started", None), ("done", "seen enough"), ("started", None)]


def test_a_canary_sees_writes_and_deletes(shared: ServerProcess) -> None:
    start(shared, canary=0.95)
    callers = (f"user-{n}" for n in range(100))
    mine = next(key for key in callers if shared.search(traffic_key=key)["arm"] == "candidate")

    def found() -> list[str]:
        answer = shared.search("zebra", mode="lexical", traffic_key=mine)
        assert answer["arm"] == "candidate"
        return [hit["document_id"] for hit in answer["hits"]]

    shared.write({"id": "z", "text": "a zebra"})
    until(lambda: found() == ["z"])
    shared.http.request("DELETE", "/v1/corpora/docs/documents", json={"ids": ["z"]})
    until(lambda: found() == [])


def test_copies_are_counted_and_change_no_answer(shared: ServerProcess) -> None:
    before = shared.search("red river")["hits"]
    start(shared, shadow=1.0)

    for _ in range(5):
        answer = shared.search("red river")
        assert (answer["arm"], answer["index_version"]) == ("live", LIVE)
        assert answer["hits"] == before

    until(lambda: show(shared)["shadow"]["answered"] == 5)
    shadow = show(shared)["shadow"]
    assert 0 < shadow["rbo"]["mean"] < 1
    assert 0 < shadow["jaccard"]["mean"] <= 1
    assert show(shared)["answers"]["live"]["answered"] == 5


def test_a_broken_candidate_fails_no_search_and_is_stopped(
    root: Path, server: ServerProcess
) -> None:
    """Its collection is damaged under the running server, its worker process gone."""
    start(server, canary=0.8, shadow=1.0)
    folder = root / ".lockstep" / "index" / "collections" / CANDIDATE
    _kill_whoever_has_open(folder, server)
    shutil.rmtree(folder)

    arms = Counter(server.search(traffic_key=f"user-{n}")["arm"] for n in range(90))

    assert set(arms) == {"live"}
    until(lambda: show(server)["state"] == "stopped")
    trial = show(server)
    assert "searches failed on the candidate" in trial["reason"]
    assert trial["answers"]["candidate"]["failed"] >= 5
    steps = server.http.get("/v1/corpora/docs/rollouts").json()["steps"]
    assert (steps[0]["step"], steps[0]["outcome"]) == ("trial", "failed")
    assert "searches failed on the candidate" in steps[0]["detail"]


def test_a_candidate_whose_model_is_damaged_fails_no_search(
    root: Path, server: ServerProcess
) -> None:
    with open_workspace(root) as workspace:
        digest = workspace.catalog.get(CORPUS, 2).model_digest
    weights = next(
        path
        for path in (root / ".lockstep" / "models").rglob("model.safetensors")
        if digest in str(path)
    )
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.chmod(0o644)
    weights.write_bytes(content)
    start(server, canary=0.95)
    assert "cannot be tried" in server.log()

    assert {server.search()["arm"] for _ in range(60)} == {"live"}

    until(lambda: show(server)["state"] == "stopped")


def test_interleaved_answers_name_each_hits_version_and_clicks_decide(
    shared: ServerProcess,
) -> None:
    start(shared, interleave=1.0)
    teams: Counter[str] = Counter()
    for n in range(12):
        answer = shared.search("red river", traffic_key=f"user-{n}", limit=10)
        assert (answer["arm"], answer["index_version"]) == ("interleaved", LIVE)
        ids = [hit["document_id"] for hit in answer["hits"]]
        assert len(ids) == len(set(ids)) == 10
        teams.update(hit["index_version"] for hit in answer["hits"])
        mine = next(h for h in answer["hits"] if h["index_version"] == CANDIDATE)
        assert click(shared, answer["search_id"], mine["document_id"]) == 204

    assert set(teams) == {LIVE, CANDIDATE}
    preference = show(shared)["preference"]
    assert (preference["wins"], preference["losses"], preference["ties"]) == (12, 0, 0)
    assert "12 of 12 for the candidate" in preference["verdict"]


def test_pages_of_an_interleaved_list_join_for_one_caller(shared: ServerProcess) -> None:
    start(shared, interleave=1.0)

    def page(limit: int, offset: int = 0) -> list[str]:
        answer = shared.search("red river", traffic_key="me", limit=limit, offset=offset)
        return [hit["document_id"] for hit in answer["hits"]]

    assert page(5) + page(5, 5) == page(10)


def test_an_interleaved_list_goes_on_by_its_cursor(shared: ServerProcess) -> None:
    start(shared, interleave=1.0)
    whole = shared.search("red river", traffic_key="me", limit=30)
    with Client(str(shared.http.base_url)) as client:
        pages = client.pages("docs", "red river", limit=7, traffic_key="me")
        first, second = next(pages), next(pages)
        assert (first.arm, second.arm, second.search_id) == ("interleaved", None, None)
        shared.http.request("DELETE", TRIAL)
        until(lambda: arm_of(shared) == "live")
        others = [next(pages), next(pages), next(pages)]
    walked = [hit for page in (first, second, *others) for hit in page.hits]
    ids = [hit.document_id for hit in walked]
    assert len(ids) == len(set(ids)) == 35
    assert ids[:30] == [hit["document_id"] for hit in whole["hits"]]
    assert {hit.index_version for hit in walked} == {LIVE, CANDIDATE}


def test_a_caller_without_a_key_has_pages_that_join_too(shared: ServerProcess) -> None:
    start(shared, interleave=1.0)
    with Client(str(shared.http.base_url)) as client:
        pages = list(client.pages("docs", "red river", limit=9))
    ids = [hit.document_id for page in pages for hit in page.hits]
    assert len(ids) == len(set(ids)) > 35
    cursor = pages[0].next_cursor
    body = {"query": "red river", "limit": 9, "cursor": cursor, "index_version": 1}
    refused = shared.http.post("/v1/corpora/docs/search", json=body)
    assert refused.status_code == 422
    assert "goes on with versions 1 and 2, interleaved" in refused.json()["detail"]


def test_feedback_is_kept_once_and_refuses_what_was_not_shown(shared: ServerProcess) -> None:
    answer = shared.search("a question of its own: red river", limit=3)
    best = answer["hits"][0]["document_id"]

    assert click(shared, answer["search_id"], best) == 204
    assert click(shared, answer["search_id"], best) == 204
    assert click(shared, answer["search_id"], "doc-none") == 422
    assert click(shared, "0" * 32, best) == 404
    with open_workspace(shared.root) as workspace:
        assert "a question of its own: red river" in workspace.query_log.sample(CORPUS, 1000)
        assert workspace.query_log.get(CORPUS, answer["search_id"]).arm == "live"


def test_a_trial_ends_when_another_process_promotes_its_version(
    root: Path, server: ServerProcess
) -> None:
    """The server has the embedded candidate open, and lets go of it in time."""
    start(server, shadow=1.0, canary=0.2)
    for n in range(10):
        server.search(traffic_key=f"user-{n}")

    process = fork_server().Process(target=run_promote, args=(root, CORPUS))
    process.start()
    process.join(120)

    assert process.exitcode == 0
    until(lambda: server.search()["index_version"] == CANDIDATE)
    trial = show(server)
    assert (trial["state"], trial["reason"]) == ("ended", "v2 is judged for promotion.")
    assert {server.search()["arm"] for _ in range(5)} == {"live"}


def test_promoting_over_http_ends_the_trial_too(server: ServerProcess) -> None:
    start(server, canary=0.5)

    response = server.http.post("/v1/corpora/docs/promote")

    assert response.status_code == 200, response.text
    assert show(server)["state"] == "ended"
    answer = server.search()
    assert (answer["index_version"], answer["arm"]) == (CANDIDATE, "live")


def test_a_locked_database_slows_no_search(shared: ServerProcess) -> None:
    """The query log and the trial's counts wait for the database; answers do not."""
    start(shared, canary=0.5)
    database = shared.root / ".lockstep" / "lockstep.db"
    with sqlite3.connect(database, isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        answers = [shared.search(f"red {n}") for n in range(20)]
        other.execute("ROLLBACK")
    other.close()

    assert all(answer["search_id"] for answer in answers)
    with open_workspace(shared.root) as workspace:
        log = workspace.query_log
        until(lambda: {f"red {n}" for n in range(20)} <= set(log.sample(CORPUS, 1000)))


def _kill_whoever_has_open(folder: Path, server: ServerProcess) -> None:
    """End the worker process of an embedded collection, as the kernel might."""
    workers = [
        child
        for child in psutil.Process(server.process.pid).children(recursive=True)
        if any(str(folder) in file.path for file in child.open_files())
    ]
    assert len(workers) == 1
    workers[0].kill()
