"""Where `lockstep mcp` finds its server; tests/e2e/clients speaks to it."""

import sys
from pathlib import Path
from typing import Any

import pytest

from .conftest import run

pytest.importorskip("mcp")


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What the command was about to serve."""
    calls: list[tuple[Any, ...]] = []

    def serve(url: str, api_key: str | None, *, timeout_s: float) -> None:
        calls.append((url, api_key, timeout_s))

    monkeypatch.setattr("lockstep.integrations.mcp.serve", serve)
    return calls


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:7444"),
        ("0.0.0.0", "http://127.0.0.1:7444"),
        ("::", "http://[::1]:7444"),
        ("search.example", "http://search.example:7444"),
    ],
)
def test_by_default_it_asks_the_server_of_the_workspace(
    served: list[tuple[Any, ...]], tmp_path: Path, host: str, url: str
) -> None:
    (tmp_path / "lockstep.toml").write_text(f'host = "{host}"\nport = 7444\n')
    result = run("mcp", "-w", tmp_path)
    assert (result.code, result.out) == (0, "")
    assert served == [(url, None, 10.0)]


def test_a_host_sets_it_up_by_the_environment(
    served: list[tuple[Any, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCKSTEP_URL", "https://search.example")
    monkeypatch.setenv("LOCKSTEP_API_KEY", "lsk_secret")
    assert run("mcp", "--timeout-s", "3").code == 0
    assert served == [("https://search.example", "lsk_secret", 3.0)]
    assert "secret" not in run("mcp", "--help").out


def test_what_cannot_work_is_said_at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    result = run("mcp", "--url", "localhost:7333")
    assert (result.code, result.out) == (1, "")
    assert "URL 'localhost:7333' is no address" in result.err

    monkeypatch.chdir(tmp_path)
    result = run("mcp")
    assert result.code == 1
    assert "No Lockstep workspace here" in result.err

    monkeypatch.delitem(sys.modules, "lockstep.integrations.mcp", raising=False)
    monkeypatch.setitem(sys.modules, "mcp.server.mcpserver", None)
    result = run("mcp", "--url", "http://127.0.0.1:7333")
    assert result.code == 1
    assert "pip install 'lockstep[mcp]'" in result.err
