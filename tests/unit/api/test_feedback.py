"""Feedback waits for a search that is on its way to the database, and for nothing else."""

from typing import Any

import pytest
from fastapi.testclient import TestClient

from lockstep.corpus.log_writer import LogWriter
from lockstep.corpus.query_log import LoggedSearch, new_search_id


def send(client: TestClient, search_id: str) -> int:
    body = {"search_id": search_id, "document_id": "d"}
    return client.post("/v1/corpora/docs/feedback", json=body).status_code


def test_an_unknown_search_is_not_waited_for(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed: list[Any] = []
    monkeypatch.setattr(LogWriter, "flush", flushed.append)

    assert send(client, "0" * 32) == 404
    assert send(client, "no such id") == 404
    assert flushed == []


def test_a_search_that_is_not_written_yet_is_waited_for(client: TestClient) -> None:
    app: Any = client.app
    log: LogWriter = app.state.running.traffic.log
    for _ in range(5):
        entry = LoggedSearch(new_search_id(), "docs", "red", "hybrid", 2, "live", ["d"], 1.0)
        log.offer(entry)
        assert send(client, entry.id) == 204
