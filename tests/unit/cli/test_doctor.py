"""`lockstep doctor` finds what is wrong, says what mends it, and mends an index itself."""

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, update

from lockstep.bootstrap import Workspace, open_workspace
from lockstep.claimed_folder import claimed_folder
from lockstep.corpus.schema import index_versions, leases, replicas
from lockstep.index.leases import Holder, this_process
from lockstep.index.trials import Exposure
from lockstep.index.versions import State
from lockstep.settings import Settings, load_settings
from lockstep_indexer.cli.checks import Check, catalog, machine, processes, storage

from .conftest import Cli

ELSEWHERE = Holder("another-machine", 4711, 1.0)


@pytest.fixture
def workspace(root: Path) -> Iterator[Workspace]:
    with open_workspace(root) as workspace:
        yield workspace


def only(checks: Iterator[Check], level: str) -> Check:
    (check,) = [check for check in checks if check.level == level]
    return check


def catalog_checks(workspace: Workspace) -> Iterator[Check]:
    store = workspace.store
    return catalog.catalog(workspace, store.collections(), store.aliases())


def test_it_is_content_and_then_is_not(cli: Cli, root: Path) -> None:
    fine = cli("doctor", "--json")
    assert (fine.code, fine.json["ok"]) == (0, True), fine.out
    names = [check["name"] for check in fine.json["checks"]]
    assert {"database", "catalog", "leases", "model tiny@1", "index docs--v0001"} <= set(names)
    (weights, *_) = sorted((root / ".lockstep" / "models").glob("*/files/model.safetensors"))
    weights.write_bytes(weights.read_bytes()[:-1] + b"!")
    broken = cli("doctor")
    assert broken.code == 1
    assert "✗" in broken.out
    assert "lockstep model add" in broken.out


def test_what_killed_evaluations_left_is_told_and_removed(cli: Cli, root: Path) -> None:
    settings = load_settings(root)
    assert list(machine.evaluations(settings)) == []
    evaluations = settings.data / "evaluation"
    with claimed_folder(evaluations) as in_use:
        for folder in (evaluations / "killed", in_use):
            folder.mkdir(exist_ok=True)
            (folder / "points").write_bytes(b"x" * 100_000)
        check = only(machine.evaluations(settings), "warn")
        assert check.mend == "lockstep gc CORPUS"
        assert cli("gc", "docs", "--dry-run", "--json").json["evaluations"]["freed_bytes"] > 90_000
        assert "Removed what killed evaluations left" in cli("gc", "docs").out
        assert [*evaluations.iterdir()] == [in_use]
        assert (in_use / "points").exists()


def test_the_command_that_it_names_mends_the_index(cli: Cli, root: Path) -> None:
    with open_workspace(root) as workspace:
        gone = {"key": "document_id", "match": {"any": ["d3", "d4"]}}
        workspace.store.delete("docs--v0001", {"must": [gone]})
    report = cli("doctor", "docs", "--json")
    assert report.code == 1
    (wrong,) = [check for check in report.json["checks"] if check["level"] == "bad"]
    assert "2 of 40 documents are missing" in wrong["message"]
    program, *arguments = wrong["mend"].split()
    assert program == "lockstep"
    mended = cli(*arguments, "--json")
    assert mended.code == 0, mended.out
    assert (mended.json["missing"], mended.json["passages"]) == (2, 2)
    assert mended.json["index_version"]["state"] == "live"
    assert cli("doctor", "docs").code == 0
    (ended, began, *_) = cli("rollouts", "docs", "--json").json["steps"]
    assert (ended["step"], ended["outcome"], began["outcome"]) == ("repair", "done", "started")
    assert ended["detail"] == "documents mended: 2 missing; 2 passages encoded and written"


def test_what_a_repair_costs_is_said_before_it_starts(cli: Cli) -> None:
    result = cli("doctor", "docs", "--repair", "v2", "--deep")
    assert result.code == 0, result.err
    assert "Every passage is encoded again to compare it: 40" in result.err
    assert "docs--v0002: nothing was wrong" in result.out
    assert "lockstep promote docs 2" in result.out


@pytest.mark.parametrize(
    "line",
    [
        "doctor --repair v1",
        "doctor bare --repair docs--v0001",
        "doctor docs --repair newest",
        "doctor --deep",
    ],
)
def test_a_version_that_is_not_named_in_full(reading: Cli, line: str) -> None:
    assert reading(*line.split()).code == 2


def test_a_version_that_is_not_there(reading: Cli) -> None:
    error = reading("doctor", "--repair", "docs--v0009", "--json").json["error"]
    assert error["type"] == "IndexVersionNotFound"


def test_an_alias_and_the_catalog_disagree(cli: Cli, root: Path) -> None:
    with open_workspace(root) as workspace:
        workspace.store.set_alias("docs", "docs--v0002")
    checks = cli("doctor", "bare", "--json").json["checks"]
    (check,) = [check for check in checks if check["name"] == "catalog"]
    assert check["level"] == "bad"
    assert "docs--v0002" in check["message"]


def test_a_broken_database_hides_nothing_else(cli: Cli, root: Path) -> None:
    (root / ".lockstep" / "lockstep.db").write_bytes(b"this is no database" * 500)
    for leftover in (root / ".lockstep").glob("lockstep.db-*"):
        leftover.unlink()
    checks = {check["name"]: check for check in cli("doctor", "--json").json["checks"]}
    assert checks["database"]["level"] == "bad"
    assert checks["vector store"]["level"] == "good"
    assert checks["packages"]["level"] == "good"


def test_leases_of_the_dead_and_of_the_frozen(workspace: Workspace) -> None:
    assert [check.message for check in processes.leases(workspace)] == ["none held"]
    me = this_process()
    dead = Holder(me.host, me.pid, me.started - 1000)  # an earlier process of this number
    now = time.time()
    rows = [
        {"resource": "docs--v0001", "holder": dead.to_text(), "token": 9, "expires_at": now + 60},
        {"resource": "docs--v0002", "holder": me.to_text(), "token": 9, "expires_at": now - 60},
        {"resource": "other", "holder": ELSEWHERE.to_text(), "token": 1, "expires_at": now + 60},
    ]
    with workspace.database.writing() as connection:
        connection.execute(leases.delete())
        connection.execute(insert(leases), rows)
    left, frozen = processes.leases(workspace)
    assert "which is gone" in left.message
    assert "lockstep status docs" in left.mend
    assert f"unrenewed by process {me.pid}" in frozen.message
    assert frozen.mend.endswith(f"kill {me.pid}")


def test_a_dead_builder_can_be_gone_on_from(workspace: Workspace) -> None:
    me = this_process()
    dead = Holder(me.host, me.pid, me.started - 1000)
    row = {"resource": "docs--v0002", "holder": dead.to_text(), "token": 9, "expires_at": 0.0}
    with workspace.database.writing() as connection:
        connection.execute(leases.delete())
        connection.execute(insert(leases), [row])
    workspace.catalog.set_state(workspace.catalog.get("docs", 2), State.BUILDING)
    (check,) = processes.leases(workspace)
    command = "lockstep reindex docs --model other@1 --window-tokens 64 --prefilter-dim 16"
    assert check.mend == f"Go on: {command}"


def test_servers_that_answer_from_something_else_or_not_at_all(workspace: Workspace) -> None:
    aliases = workspace.store.aliases()
    workspace.replicas.beat({"docs": "docs--v0001"}, "http://here:7333")
    assert only(processes.replicas(workspace, aliases), "good").message.startswith("1 server")
    workspace.replicas.beat({"docs": "docs--v0002"}, "http://here:7333")
    stray = only(processes.replicas(workspace, aliases), "warn")
    assert "http://here:7333" in stray.message
    assert "answers from docs--v0002; docs--v0001 is live" in stray.message
    assert stray.mend == "See why: curl http://here:7333/readyz"
    with workspace.database.writing() as connection:
        silent = {"id": ELSEWHERE.to_text(), "seen_at": time.time() - 60}
        connection.execute(update(replicas).values(silent))
    assert "not been heard of" in only(processes.replicas(workspace, aliases), "warn").message
    workspace.replicas.leave()


def test_a_version_that_has_soaked_long_enough(workspace: Workspace) -> None:
    workspace.store.set_alias("docs", "docs--v0002")
    workspace.rollouts.reconcile("docs")
    assert only(catalog_checks(workspace), "good")  # it soaks on
    with workspace.database.writing() as connection:
        connection.execute(
            update(index_versions)
            .where(index_versions.c.state == "retired")
            .values(retired_at=time.time() - 30 * 86_400)
        )
    check = only(catalog_checks(workspace), "warn")
    assert (check.name, check.mend) == ("soak docs--v0001", "lockstep gc docs")


def test_a_trial_of_a_version_that_is_gone(workspace: Workspace) -> None:
    live = workspace.rollouts.live("docs")
    workspace.trials.start(live, 2, Exposure(shadow=0.1))
    assert "v2 meets live traffic" in [*catalog_checks(workspace)][-1].message
    workspace.catalog.set_state(workspace.catalog.get("docs", 2), State.FAILED, reason="broken")
    failure, trial = (check for check in catalog_checks(workspace) if check.level == "warn")
    assert failure.mend.startswith("lockstep doctor --repair docs--v0002")
    assert trial.message == "A trial of v2 is running, which is failed."
    assert trial.mend == "lockstep trial stop docs"


def test_points_that_a_crash_left_of_a_dropped_version(workspace: Workspace) -> None:
    workspace.catalog.set_state(workspace.catalog.get("docs", 2), State.DROPPED)
    check = only(catalog_checks(workspace), "warn")
    assert "docs--v0002 was dropped, but its points are still there" in check.message
    assert check.mend == "lockstep gc docs"


def test_a_package_that_is_not_the_pinned_one(monkeypatch: pytest.MonkeyPatch) -> None:
    real = metadata.version
    monkeypatch.setattr(
        metadata, "version", lambda name: "0.8.1" if name == "qdrant-edge-py" else real(name)
    )
    (check,) = machine.packages()
    assert (check.level, check.message) == (
        "bad",
        "qdrant-edge-py is 0.8.1; expected qdrant-edge-py==0.9.0.",
    )
    assert check.mend == "pip install 'qdrant-edge-py==0.9.0'"


@pytest.mark.parametrize(("version", "level"), [("1.19.3", "good"), ("1.12.0", "warn")])
def test_the_server_and_the_client_should_be_of_one_age(
    tmp_path: Path, version: str, level: str
) -> None:
    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps({"title": "qdrant", "version": version}).encode())

        def log_message(self, *_: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Answers) as server:
        threading.Thread(target=server.handle_request).start()
        settings = Settings(root=tmp_path, store_url=f"http://127.0.0.1:{server.server_port}")
        (check,) = storage.server_version(settings)
    assert check.level == level
    assert f"server {version}, client 1." in check.message
