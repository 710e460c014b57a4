"""`lockstep rollouts`, `status` and `plan`: what was done, what is, and what would be."""

from pathlib import Path

from lockstep.bootstrap import open_workspace
from lockstep.index.catalog import RolloutStep
from lockstep.index.gate_report import GateReport, GateResult, Verdict
from lockstep.index.trials import Exposure
from lockstep_indexer.cli.rollouts import ended, verdict

from .conftest import Cli


def step(number: int, outcome: str, *, actor: str = "a", name: str = "promote") -> RolloutStep:
    return RolloutStep(number, 0.0, name, 1, 2, actor, outcome, None, None, None)


def test_the_history_says_who_what_why_and_how_it_ended(cli: Cli) -> None:
    cli("promote", "docs", "--force", "--reason", "asked for by the search team")
    (ended_step, began, *_) = cli("rollouts", "docs", "--json").json["steps"]
    assert (ended_step["step"], ended_step["from_version"], ended_step["to_version"]) == (
        "promote",
        1,
        2,
    )
    assert (began["outcome"], ended_step["outcome"]) == ("started", "done")
    assert ended_step["reason"] == "asked for by the search team"
    assert ended_step["gates"] is not None
    assert "process" in ended_step["actor"]
    shown = cli("rollouts", "docs").out
    assert "“asked for by the search team”" in shown
    assert "started" not in shown
    full = cli("rollouts", "docs", str(ended_step["id"]))
    assert "completeness" in full.out
    assert "every id and content hash" in full.out
    document = cli("rollouts", "docs", str(ended_step["id"]), "--json").json["step"]
    assert document["report"]["candidate"] == "docs--v0002"


def test_the_history_can_be_cut(reading: Cli) -> None:
    assert len(reading("rollouts", "docs", "--limit", "1", "--json").json["steps"]) == 1
    assert "Nothing was done" in reading("rollouts", "bare").out


def test_a_step_that_has_not_ended_is_shown() -> None:
    steps = [
        step(6, "started", actor="b"),
        step(5, "done"),
        step(4, "started"),
        step(3, "started"),  # killed: the end above belongs to the one before
        step(2, "done", name="build"),
    ]
    assert [each.id for each in ended(steps)] == [6, 5, 3, 2]


def test_the_verdict_in_a_word() -> None:
    def report(*verdicts: Verdict) -> GateReport:
        results = [GateResult(f"gate {n}", each, "") for n, each in enumerate(verdicts)]
        return GateReport("docs--v0002", None, results, 0.0)

    assert verdict(None) is None
    assert verdict(report(Verdict.PASSED, Verdict.SKIPPED)) == "passed"
    assert verdict(report(Verdict.PASSED, Verdict.FLAGGED)) == "passed, 1 flagged"
    assert verdict(report(Verdict.FAILED, Verdict.FLAGGED, Verdict.FAILED)) == "2 failed"


def test_status_says_what_soaks_who_answers_and_what_is_tried(cli: Cli, root: Path) -> None:
    with open_workspace(root) as workspace:
        workspace.store.set_alias("docs", "docs--v0002")
        live = workspace.rollouts.live("docs")
        workspace.replicas.beat({"docs": "docs--v0002"}, "http://here:7333")
        workspace.trials.start(live, 1, Exposure(shadow=0.25))
        for _ in range(9):
            workspace.catalog.record("docs", "repair", "done", to_version=1)
    document = cli("status", "docs", "--json").json
    (soaking,) = document["soaking"]
    assert soaking["number"] == 1
    assert 23 * 3600 < soaking["seconds_left"] <= 24 * 3600
    assert [server["url"] for server in document["servers"]] == ["http://here:7333"]
    assert document["trial"] == 1
    assert len(document["steps"]) == 5
    shown = cli("status", "docs").out
    assert "v1 (tiny@1) ready for a rollback, for 2" in shown
    assert "http://here:7333 answers from docs--v0002" in shown
    assert "v1 beside v2: shadow 25%" in shown


def test_a_plan_is_a_table_or_one_document(reading: Cli) -> None:
    options = ("--model", "other", "--prefilter-dim", "16", "--dtype", "float16")
    document = reading("plan", "docs", *options, "--json").json
    assert document["whole"] == {
        "documents": 40,
        "passages": 40,
        "tokens": document["whole"]["tokens"],
        "exact": True,
    }
    int8 = 48 + 4  # a byte a number, and what it is scaled back by
    assert document["bytes"]["vectors"] == 40 * ((48 + 16) * 2 + int8)
    assert document["changed"]["datatype"] == ["float32", "float16"]
    assert document["refused"] == []
    shown = reading("plan", "docs", *options).out
    assert "40 documents, 40 passages" in shown
    assert "lockstep reindex docs --model other@1" in shown


def test_a_plan_that_would_be_refused_exits_with_1(cli: Cli, root: Path) -> None:
    with open_workspace(root) as workspace:
        workspace.store.drop("docs--v0003")
        schema = workspace.catalog.get("docs", 1).spec.schema(4)
        workspace.store.create("docs--v0003", schema, {"corpus": "another"})
    result = cli("plan", "docs", "--model", "tiny", "--json")
    assert result.code == 1
    assert "another workspace" in result.json["refused"][0]["what"]
