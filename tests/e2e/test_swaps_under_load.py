"""Ten promotions and rollbacks, back and forth, while searches never stop."""

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from engines import Engine, real_engine
from server_process import ServerProcess
from workspaces import CORPUS, build_live, build_next

from lockstep.bootstrap import open_workspace

QUERIES = ("red river", "tall stone cloud", "engine wing heat")
SEARCHERS = 4
MODES = ("dense", "hybrid")
__all__ = ["real_engine"]  # a fixture


@pytest.fixture
def server(real_engine: Engine, tmp_path: Path) -> Any:
    root = real_engine.root(tmp_path / "workspace")
    with open_workspace(root) as workspace:
        build_live(workspace, tmp_path)
        build_next(workspace, tmp_path, seed=2, promote=False)
    with ServerProcess(root, tmp_path / "server.log") as server:
        yield server


def hits(answer: dict[str, Any]) -> list[tuple[str, float]]:
    return [(hit["id"], hit["score"]) for hit in answer["hits"]]


@pytest.mark.slow
def test_no_search_fails_or_is_answered_by_a_mixed_pair(server: ServerProcess) -> None:
    # What each version answers when it is pinned: the two models' spaces have nothing in common.
    expected = {
        (f"docs--v000{number}", query, mode): hits(
            server.search(query, mode=mode, index_version=number)
        )
        for number in (1, 2)
        for query in QUERIES
        for mode in MODES
    }
    for query in QUERIES:
        one, two = (expected[f"docs--v000{number}", query, "dense"] for number in (1, 2))
        assert one != two
    met: Counter[tuple[str, str]] = Counter()
    done = threading.Event()

    def keep_searching(searcher: int) -> None:
        turn = searcher
        while not done.is_set():
            turn += 1
            query, mode = QUERIES[turn % len(QUERIES)], MODES[turn % len(MODES)]
            answer = server.search(query, mode=mode)  # fails the test unless the status is 200
            assert hits(answer) == expected[answer["index_version"], query, mode]
            met[answer["index_version"], answer["model_version"]] += 1

    with ThreadPoolExecutor(SEARCHERS) as pool:
        searchers = [pool.submit(keep_searching, n) for n in range(SEARCHERS)]
        try:
            for swap in range(10):
                _swap(server, "promote" if swap % 2 == 0 else "rollback")
        finally:
            done.set()
        for searcher in searchers:
            searcher.result()

    assert set(met) == {("docs--v0001", "tiny@1"), ("docs--v0002", "tiny@2")}
    assert min(met.values()) > 10


def _swap(server: ServerProcess, action: str) -> None:
    body = {"version": 2} if action == "promote" else {}
    response = server.http.post(f"/v1/corpora/{CORPUS}/{action}", json=body)
    assert response.status_code == 200, response.text
    live = "docs--v0002" if action == "promote" else "docs--v0001"
    # Whoever swapped is answered from the new version at once.
    assert server.search()["index_version"] == live
