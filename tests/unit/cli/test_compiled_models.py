"""`lockstep model` says what encodes queries."""

from pathlib import Path

import pytest

from lockstep.testing import tiny_model

from .conftest import Cli


def test_a_model_is_compiled_when_it_is_added(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCKSTEP_QUERY_ENCODER", "auto")
    model = tiny_model(tmp_path / "model", seed=5)
    added = cli("model", "add", "fast", model, "--json").json
    assert added["query_encoder"]["precision"]
    shown = cli("model", "show", "fast").out
    assert "compiled by OpenVINO" in shown
    assert "ms a query, torch" in shown
    assert "cosine 0.9999" in shown or "cosine 1.0000" in shown
    assert cli("search", "docs", "python", "--json").code == 0


def test_a_model_that_was_not_compiled(reading: Cli) -> None:
    assert "encoded by torch; nothing was compiled" in reading("model", "show", "tiny@1").out
