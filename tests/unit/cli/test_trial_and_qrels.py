"""`lockstep trial` and `lockstep qrels`: what they print, and what they refuse."""

from pathlib import Path

import pytest

from .conftest import Cli


@pytest.fixture
def beir(tmp_path: Path) -> Path:
    folder = tmp_path / "set"
    (folder / "qrels").mkdir(parents=True)
    (folder / "queries.jsonl").write_text('{"_id": "q1", "text": "python file"}\n')
    lines = "query-id\tcorpus-id\tscore\nq1\td1\t1\nq1\tnowhere\t1\n"
    (folder / "qrels" / "test.tsv").write_text(lines)
    return folder


def test_judged_queries_are_imported_listed_and_dropped(cli: Cli, beir: Path) -> None:
    imported = cli("qrels", "import", "docs", beir)
    assert imported.code == 0, imported.err
    assert "'set' imported, 1 judged query, 2 judgments" in imported.out
    assert "1 judgment of documents that 'docs' lacks (nowhere" in imported.out.replace("\n", " ")

    again = cli("qrels", "import", "docs", beir, "--json").json
    assert (again["replaced"], again["unknown_documents"]) == (True, 1)
    assert [one["name"] for one in cli("qrels", "list", "docs", "--json").json["sets"]] == ["set"]
    assert cli("qrels", "drop", "docs", "set").code == 0
    assert "has no judged queries" in cli("qrels", "list", "docs").out
    gone = cli("qrels", "drop", "docs", "set")
    assert gone.code == 1
    assert "no query set 'set'" in gone.err


def test_qrels_needs_a_path_or_clicks(cli: Cli) -> None:
    assert cli("qrels", "import", "docs").code == 2
    clicks = cli("qrels", "import", "docs", "--from-clicks", "--min-clicks", "1")
    assert clicks.code == 1
    assert "chosen 1 times or more" in clicks.err.replace("\n", " ")


def test_a_trial_is_started_shown_and_stopped(cli: Cli) -> None:
    started = cli("trial", "start", "docs", "--shadow", "0.1", "--canary", "0.05")
    assert started.code == 0, started.err
    assert "v2 of 'docs' meets live traffic: shadow 0.1, canary 0.05" in started.out

    shown = cli("trial", "show", "docs")
    assert "docs v2 against v1" in shown.out
    assert "No server has counted a search yet" in shown.out
    document = cli("trial", "show", "docs", "--json").json
    assert (document["state"], document["exposure"]["canary"]) == ("running", 0.05)

    assert cli("trial", "start", "docs", "--shadow", "0.1").code == 1
    stopped = cli("trial", "stop", "docs", "--reason", "enough", "--json").json
    assert (stopped["state"], stopped["reason"]) == ("stopped", "enough")
    assert cli("trial", "stop", "docs").code == 1


def test_a_trial_that_cannot_be_meant_is_refused(cli: Cli) -> None:
    without = cli("trial", "start", "docs")
    assert without.code == 1
    assert "without any share" in without.err
    assert cli("trial", "start", "docs", "--canary", "1.5").code == 2
    live = cli("trial", "start", "docs", "v1", "--shadow", "0.1")
    assert "v1 of 'docs' is live" in live.err
    assert "No version of 'docs' has been on trial yet" in cli("trial", "show", "docs").err


def test_promoting_ends_the_trial(cli: Cli) -> None:
    cli("trial", "start", "docs", "--shadow", "0.1")

    assert cli("promote", "docs", "--force", "--reason", "as agreed").code == 0

    document = cli("trial", "show", "docs", "--json").json
    assert (document["state"], document["reason"]) == ("ended", "v2 is judged for promotion.")


def test_a_table_of_figures(cli: Cli, root: Path) -> None:
    """What a server would have counted."""
    from lockstep.bootstrap import open_workspace
    from lockstep.index.trial_counts import Counts

    cli("trial", "start", "docs", "--shadow", "0.1", "--canary", "0.1", "--interleave", "0.1")
    counts = Counts()
    for number in range(100):
        counts.live.answer(10 + number / 10)
        counts.candidate.answer(12 + number / 10)
        counts.shadow.answer(12.0)
        counts.jaccard.add(0.5 + number / 1000)
        counts.rbo.add(0.6 + number / 1000)
    counts.candidate.failed = 3
    with open_workspace(root) as workspace:
        workspace.trials.publish(workspace.trials.latest("docs"), counts)

    shown = cli("trial", "show", "docs").out

    for line in ("live", "candidate", "copies (shadow)", "0.549 (0.544 to 0.555)", "0.649"):
        assert line in shown
    assert "too few clicks to tell: 0 so far, 783 more needed" in shown
