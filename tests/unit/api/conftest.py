"""A real workspace behind the app, in this process."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from httpx2 import Response
from workspaces import Templates, build_next

from lockstep.api.app import create_app
from lockstep.api.key_ring import KeyRing
from lockstep.api.running import Running
from lockstep.bootstrap import open_workspace
from lockstep.corpus.api_key import Scope
from lockstep.corpus.api_keys import ApiKeys
from lockstep.corpus.database import Database
from lockstep.index.spec import SpecOptions
from lockstep.settings import SecuritySettings, load_settings
from lockstep.store.filters import prefixed

MAX_DOCUMENT_BYTES = 4096
# A server without keys answers to no other name.
BASE_URL = "http://localhost"


@pytest.fixture(scope="package")
def client(templates: Templates, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """Corpus 'docs': v1 was dropped, v2 is live, v3 a candidate with another model.

    Only v3 indexes a field, `parity`.
    """
    folder = tmp_path_factory.mktemp("api")
    root = templates.live(folder / "workspace", max_document_bytes=MAX_DOCUMENT_BYTES)
    with open_workspace(root) as workspace:
        build_next(workspace, folder, seed=2)
        workspace.retirement.drop("docs", soaked=False)
        counting = SpecOptions(payload_indexes={"parity": "integer"})
        build_next(workspace, folder, seed=3, promote=False, options=counting)
    app = create_app(load_settings(Path(root)))
    with TestClient(app, BASE_URL, raise_server_exceptions=False) as client:
        yield client


@dataclass
class Keyed:
    """The same workspace behind an app that asks for keys, which lie in a database of their own."""

    app: FastAPI
    http: TestClient
    keys: ApiKeys
    ring: KeyRing

    def key(self, name: str, *scopes: Scope, **reach: Any) -> str:
        """Make a key that counts at once; returns what to send."""
        presented = self.keys.create(name, scopes or [Scope.SEARCH], **reach)[1]
        self.ring.refresh()
        return presented

    def revoke(self, name: str) -> None:
        self.keys.revoke(name)
        self.ring.refresh()

    def ask(self, key: str | None, method: str, url: str, **sent: Any) -> Response:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        return self.http.request(
            method, url, headers={**headers, **sent.pop("headers", {})}, **sent
        )


KeyedApp = Callable[..., Keyed]


@pytest.fixture
def keyed_app(client: TestClient, tmp_path: Path) -> Iterator[KeyedApp]:
    """Makes apps that ask for keys; the arguments are more settings of [security]."""
    database = Database(f"sqlite:///{tmp_path / 'keys.db'}")
    database.migrate()
    keys = ApiKeys(database, partial(prefixed, prefix="metadata."))

    def make(**security: Any) -> Keyed:
        running: Running = client.app.state.running  # type: ignore[attr-defined]
        settings = running.workspace.settings.model_copy(
            update={"security": SecuritySettings(**{"require_key": True, **security})}
        )
        ring = KeyRing(keys.in_use)
        ring.refresh()
        app = create_app(settings)
        app.state.running = replace(running, keys=ring)
        return Keyed(app, TestClient(app, BASE_URL, raise_server_exceptions=False), keys, ring)

    yield make
    database.close()


@pytest.fixture
def keyed(keyed_app: KeyedApp) -> Keyed:
    return keyed_app()
