"""Whatever a user types, a failure is one clear line and a next step, never a traceback."""

import json
import re
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lockstep_indexer.cli import errors

from .conftest import Cli, Result, run

UNKNOWN = [
    ("search nowhere flu", "CorpusNotFound"),
    ("status nowhere", "CorpusNotFound"),
    ("reindex nowhere --model tiny", "CorpusNotFound"),
    ("promote nowhere", "CorpusNotFound"),
    ("plan nowhere --model tiny", "CorpusNotFound"),
    ("plan docs --model absent", "ModelNotFound"),
    ("plan docs --model ./absent", "ModelRejected"),
    ("plan docs --model tiny --prefilter-dim 99", "SearchUnsupported"),
    ("rollouts nowhere", "CorpusNotFound"),
    ("rollouts docs 999", "InvalidInput"),
    ("doctor --repair nowhere--v0001", "CorpusNotFound"),
    ("rollback nowhere", "CorpusNotFound"),
    ("gc nowhere", "CorpusNotFound"),
    ("reindex docs --model absent", "ModelNotFound"),
    ("reindex docs --model tiny@9", "ModelNotFound"),
    ("reindex docs --model ./absent", "ModelRejected"),
    ("reindex docs --model tiny --language klingon", "InvalidSetting"),
    ("reindex docs --model tiny --prefilter-dim 99", "SearchUnsupported"),
    ("model show absent", "ModelNotFound"),
    ("model add Bad!Name ./absent", "InvalidSetting"),
    ("model add ok ./absent", "ModelRejected"),
    ("promote docs 7", "IndexVersionNotFound"),
    ("promote bare", "PromotionRefused"),
    ("rollback docs", "NothingToRollBack"),
    ("rollback bare", "NoLiveIndex"),
    ("search bare flu", "NoLiveIndex"),
    ("search docs flu --index-version 7", "IndexVersionNotFound"),
    ("search docs flu --prefilter", "SearchUnsupported"),
    ("search docs flu --offset 999 --limit 999", "InvalidInput"),
    ('search docs flu --filter {"no":1}', "InvalidFilter"),
    ("ingest docs absent.jsonl", "InvalidInput"),
    ("ingest Bad!Name absent.jsonl", "InvalidInput"),
    ("ingest docs --delete absent.txt", "InvalidInput"),
]
MISUSED = [
    "frobnicate",
    "--no-such-option",
    "search",
    "search docs",
    "search docs flu --mode sideways",
    "search docs flu --limit 0",
    "search docs flu --limit many",
    "search docs flu --filter {bad",
    "search docs flu --filter []",
    "search docs flu --candidates 9 --no-prefilter",
    "search docs flu --index-version latest",
    "promote docs latest",
    "promote docs 0",
    "reindex docs",
    "reindex docs --model tiny --dtype float8",
    "plan docs",
    "rollouts docs 0",
    "rollouts docs --limit 0",
    "ingest docs",
    "ingest docs f.jsonl --start-line 0",
    "ingest docs f.jsonl --on-error maybe",
    "model add tiny",
    "model add tiny p --matryoshka-dims a,b",
    "serve --port 99999",
]


def assert_clear(result: Result) -> None:
    """One line that says what failed, then the next step; no traceback, nothing on stdout."""
    said, next_step = result.err.splitlines()[-2:]
    assert re.match(r"error: \S", said), result.err
    assert re.match(r"→ \S", next_step), result.err
    assert "Traceback" not in result.err
    assert result.out == ""


@pytest.mark.parametrize(("line", "kind"), UNKNOWN)
def test_what_cannot_be_done_exits_with_1(reading: Cli, line: str, kind: str) -> None:
    result = reading(*line.split())
    assert result.code == 1
    assert_clear(result)
    document = reading("--json", *line.split())
    assert document.code == 1
    assert document.json["error"]["type"] == kind, document.out
    assert "unexpected" not in document.json["error"]["message"]


@pytest.mark.parametrize("line", MISUSED)
def test_what_is_not_understood_exits_with_2(reading: Cli, line: str) -> None:
    result = reading(*line.split())
    assert result.code == 2
    assert_clear(result)
    assert "--help" in result.err
    assert "Value error" not in result.err
    document = reading(*line.split(), "--json")
    assert document.json["error"] == document.json["error"] | {"type": "UsageError", "exit_code": 2}


def test_an_empty_query_is_refused(reading: Cli) -> None:
    assert_clear(reading("search", "docs", " "))


@pytest.mark.parametrize("command", ["status", "doctor", "model list", "search docs flu"])
def test_without_a_workspace(tmp_path: Path, command: str) -> None:
    result = run("-w", tmp_path, *command.split())
    assert result.code == 1
    assert_clear(result)
    assert "lockstep init" in result.err


@pytest.mark.parametrize(
    "line", ['port = "many"', "no_such_key = 1", "not toml", 'database_url = "mysql://x"']
)
def test_settings_that_cannot_work(tmp_path: Path, line: str) -> None:
    (tmp_path / "lockstep.toml").write_text(line + "\n")
    result = run("-w", tmp_path, "status")
    assert result.code == 1
    assert_clear(result)


def test_a_damaged_model_is_refused(cli: Cli, root: Path) -> None:
    for weights in (root / ".lockstep" / "models").glob("*/files/model.safetensors"):
        weights.write_bytes(weights.read_bytes()[:-1] + b"!")
    result = cli("search", "docs", "flu")
    assert result.code == 1
    assert_clear(result)
    assert "model add" in result.err


def test_a_lost_model_is_refused(cli: Cli, root: Path) -> None:
    shutil.rmtree(root / ".lockstep" / "models")
    assert_clear(cli("promote", "docs"))


def test_a_damaged_database_is_said(cli: Cli, root: Path) -> None:
    (root / ".lockstep" / "lockstep.db").write_bytes(b"this is no database" * 500)
    for leftover in (root / ".lockstep").glob("lockstep.db-*"):
        leftover.unlink()
    result = cli("status")
    assert result.code == 1
    assert_clear(result)


def test_a_place_where_nothing_can_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    result = run("init", tmp_path / "file" / "below")
    assert result.code == 1
    assert_clear(result)


def test_a_bug_is_reported_as_one(monkeypatch: pytest.MonkeyPatch, reading: Cli) -> None:
    def broken(*_: object) -> None:
        raise KeyError("surprise")

    monkeypatch.setattr("lockstep_indexer.cli.status._overview", broken)
    result = reading("status")
    assert result.code == 1
    assert_clear(result)
    assert "unexpected KeyError" in result.err
    assert "-v" in result.err
    assert "Traceback" in reading("status", "-v").err


def test_an_interruption_says_that_it_is_safe_to_go_on(
    monkeypatch: pytest.MonkeyPatch, reading: Cli
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("lockstep_indexer.cli.status._overview", interrupted)
    result = reading("status")
    assert result.code == errors.INTERRUPTED
    assert "safe to run the same command again" in result.err
    assert reading("status", "--json").json["error"]["exit_code"] == errors.INTERRUPTED


@pytest.mark.parametrize("command", ["search", "status", "ingest"])
def test_an_argument_that_is_no_text_is_refused(reading: Cli, command: str) -> None:
    result = reading(command, "docs\udcff", "red")
    assert result.code == errors.USAGE
    assert_clear(result)
    assert r"'docs\udcff' is not UTF-8" in result.err


TOKENS = [
    "status", "search", "model", "show", "list", "promote", "rollback", "ingest", "doctor",
    "docs", "bare", "nowhere", "tiny", "tiny@1", "v9", "-1", "", "--", "--limit", "--filter", "{}",
    "[]", "--mode", "lexical", "\x00", "é\ud800", "--explain", "-n", "3", "absent.jsonl", "[red]",
]  # fmt: skip


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tokens=st.lists(st.sampled_from(TOKENS), min_size=1, max_size=6))
def test_no_command_line_ends_in_a_traceback(template: Path, tokens: list[str]) -> None:
    if ("promote" in tokens[:1] and "docs" in tokens) or "doctor" in tokens[:1]:
        return  # these would do real work on the shared workspace, or take long
    result = run("--json", "-w", template, *tokens)
    assert "Traceback" not in result.err
    assert "report it with that output" not in result.out + result.err
    if "Usage: lockstep" not in result.out:
        document = json.loads(result.out)
        assert (result.code != 0) == ("error" in document)
