"""What a key with a filter gets from index versions other than the live one."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from httpx2 import Response
from workspaces import Templates

from lockstep.api.app import create_app
from lockstep.corpus.api_key import Scope
from lockstep.index import serving
from lockstep.index.follower import Follower
from lockstep.index.versions import IndexVersion
from lockstep.search.cursor import Cursor
from lockstep.settings import load_settings

SEARCH = "/v1/corpora/docs/search"
DOCUMENTS = "/v1/corpora/docs/documents"
MINE = {"must": [{"key": "parity", "match": {"value": 0}}]}
QUERY: dict[str, Any] = {"query": "red river stone", "mode": "dense", "limit": 100}
PAGE = {**QUERY, "limit": 5}


@dataclass
class Server:
    """v1 is live, v2 a candidate."""

    http: TestClient
    tenant: str
    admin: str

    def ask(self, key: str, url: str = SEARCH, /, **body: Any) -> Response:
        return self.http.post(url, json=body, headers={"X-Api-Key": key})

    def found(self, key: str, **body: Any) -> set[str]:
        answer = self.ask(key, **{**QUERY, **body})
        assert answer.status_code == 200, answer.text
        return {hit["document_id"] for hit in answer.json()["hits"]}

    def take_away(self) -> None:
        """Delete doc-4, and give doc-2 to the other tenant."""
        moved = {"id": "doc-2", "text": "red river", "metadata": {"parity": 1}}
        writes: list[tuple[str, Any]] = [
            ("POST", {"documents": [moved]}),
            ("DELETE", {"ids": ["doc-4"]}),
        ]
        for method, body in writes:
            answer = self.http.request(
                method,
                DOCUMENTS,
                json=body,
                params={"wait": "indexed"},
                headers={"X-Api-Key": self.admin},
            )
            assert answer.json()["indexed"] == "yes"

    def promote(self) -> None:
        consent = {"version": 2, "force": True, "reason": "a test"}
        answer = self.ask(self.admin, "/v1/corpora/docs/promote", **consent)
        assert answer.status_code == 200, answer.text


@pytest.fixture
def server(templates: Templates, tmp_path: Path) -> Iterator[Server]:
    root = templates.live(tmp_path / "workspace", candidate=True)
    app = create_app(load_settings(root))
    with TestClient(app, raise_server_exceptions=False) as http:
        running = app.state.running
        keys = running.workspace.keys
        tenant = keys.create("tenant", [Scope.SEARCH], filter=MINE)[1]
        admin = keys.create("admin", [Scope.ADMIN])[1]
        running.keys.refresh()
        yield Server(http, tenant, admin)


def test_a_candidate_that_lags_answers_no_key_with_a_filter(server: Server) -> None:
    assert {"doc-2", "doc-4"} <= server.found(server.tenant, index_version=2)
    server.take_away()

    refused = server.ask(server.tenant, **QUERY, index_version=2)
    batch = server.ask(server.tenant, f"{SEARCH}/batch", searches=[QUERY], index_version=2)
    like = server.ask(server.tenant, like="doc-2", index_version=2)

    assert [answer.status_code for answer in (refused, batch, like)] == [403] * 3
    assert "v2" in refused.json()["detail"]
    assert "2 changes" in refused.json()["detail"]
    assert "Leave out index_version" in refused.json()["next_step"]
    assert server.found(server.tenant).isdisjoint({"doc-2", "doc-4"})
    assert server.found(server.tenant, index_version=1).isdisjoint({"doc-2", "doc-4"})
    assert {"doc-2", "doc-4"} <= server.found(server.admin, index_version=2)


def test_a_forged_cursor_leads_to_no_candidate_that_lags(server: Server) -> None:
    first = server.ask(server.tenant, **PAGE).json()
    forged = replace(Cursor.from_text(first["next_cursor"]), number=2, offset=1).to_text()
    server.take_away()

    assert server.ask(server.tenant, **PAGE, cursor=forged).status_code == 403


def test_a_list_goes_on_after_a_promotion_without_what_was_taken_away(server: Server) -> None:
    pages = [server.ask(server.tenant, **PAGE).json()]
    server.promote()
    server.take_away()

    while (cursor := pages[-1]["next_cursor"]) is not None:
        answer = server.ask(server.tenant, **PAGE, cursor=cursor)
        assert answer.status_code == 200, answer.text
        pages.append(answer.json())

    assert {page["index_version"] for page in pages} == {"docs--v0001"}
    later = {hit["document_id"] for page in pages[1:] for hit in page["hits"]}
    assert len(later) > 10
    assert later.isdisjoint({"doc-2", "doc-4"})


def test_a_retired_version_that_falls_behind_is_to_be_asked_again_later(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    cursor = server.ask(server.tenant, **PAGE).json()["next_cursor"]
    server.promote()
    apply = Follower.apply

    def only_live(self: Follower, version: IndexVersion, *, one_batch: bool = False) -> None:
        if version.number == 2:
            apply(self, version, one_batch=one_batch)

    monkeypatch.setattr(Follower, "apply", only_live)
    monkeypatch.setattr(serving, "CATCH_UP_S", 0.05)
    server.take_away()

    for body in ({**PAGE, "cursor": cursor}, {**QUERY, "index_version": 1}):
        refused = server.ask(server.tenant, **body)
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
        assert "v1" in refused.json()["detail"]
    assert {"doc-4"} <= server.found(server.admin, index_version=1)
