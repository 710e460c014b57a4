"""`lockstep pairs`: what it makes, shows and refuses."""

import json
from pathlib import Path

import pytest

from lockstep.bootstrap import open_workspace
from lockstep.corpus.query_log import LoggedSearch

from .conftest import Cli, run


def pairs_file(path: Path, count: int, start: int = 0) -> Path:
    numbers = range(start, start + count)
    rows = ({"query": f"question {n} of {n * 7}?", "positive": f"answer {n}"} for n in numbers)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def logged_clicks(root: Path) -> None:
    with open_workspace(root, command="test") as workspace:
        for number, query in enumerate(("Read a file", "read  a file", "wait", "wait")):
            search = LoggedSearch(
                f"s{number}", "docs", query, "hybrid", 1, "live", ["d1", "d2"], 1.0
            )
            workspace.query_log.write([search])
            workspace.query_log.click("docs", search.id, "d1" if number < 3 else "d2")


def test_clicked_documents_become_pairs_with_a_warning(
    cli: Cli, root: Path, tmp_path: Path
) -> None:
    logged_clicks(root)
    output = tmp_path / "pairs.jsonl"
    made = cli("pairs", "clicks", "docs", "--output", output)
    assert made.code == 0, made.err
    assert "Clicks favour what stood high" in made.out
    [row] = [json.loads(line) for line in output.read_text().splitlines()]
    assert (row["query"], row["document_id"], row["grade"]) == ("Read a file", "d1", 1)
    assert row["passage"].startswith("Title 1\n")
    lineage = json.loads((tmp_path / "pairs.jsonl.lineage.json").read_text())
    assert (lineage["source"], lineage["min_clicks"]) == ("clicks", 2)
    once = cli("pairs", "clicks", "docs", "--output", output, "--min-clicks", "1", "--json").json
    assert (once["pairs"], once["lineage"]["min_clicks"]) == (3, 1)


def test_click_files_are_counted_up(reading: Cli, tmp_path: Path) -> None:
    log = tmp_path / "log.csv"
    log.write_text("query,document_id,clicks\nA b,d1,1\na  B,d1,1\nc,d2,1\nd,gone,5\n")
    output = tmp_path / "pairs.jsonl"
    made = reading("pairs", "clicks", "docs", "--from", log, "--output", output, "--json").json
    assert made["pairs"] == 1
    assert any("gone" in text for text in made["lineage"]["notes"])
    log.write_text("query,document_id,clicks\nA b,d1,many\n")
    refused = reading("pairs", "clicks", "docs", "--from", log, "--output", output)
    assert refused.code == 1
    assert "line 2: 'clicks' is 'many'" in refused.err.replace("\n", " ")
    assert len(output.read_text().splitlines()) == 1


def test_structure_is_mined_and_read_back(reading: Cli, tmp_path: Path) -> None:
    output = tmp_path / "pairs.jsonl"
    made = reading("pairs", "structure", "docs", "--output", output)
    assert made.code == 0, made.err
    assert "20 pairs from the structure of 'docs' (20 by title)" in made.out.replace("\n", " ")
    refused = run("pairs", "check", output)
    assert refused.code == 1
    assert "There are 20 different examples; expected 32" in refused.err.replace("\n", " ")
    report = run("pairs", "check", pairs_file(tmp_path / "more.jsonl", 40), "--json").json
    assert (report["kind"], report["examples"], report["duplicates"]) == ("pairs", 40, 0)
    assert "40 different examples are few" in report["warnings"][0]
    assert reading("pairs", "structure", "docs", "--output", tmp_path / "pairs.csv").code == 1


def test_a_leak_is_shown_and_fails(tmp_path: Path) -> None:
    train, test = pairs_file(tmp_path / "a.jsonl", 60), pairs_file(tmp_path / "b.jsonl", 40, 90)
    clean = run("pairs", "check", train, "--against", test)
    assert clean.code == 0, clean.err
    with train.open("a") as file:
        file.write(
            test.read_text().upper().replace("QUERY", "query").replace("POSITIVE", "positive")
        )
    leaking = run("pairs", "check", train, "--against", test)
    assert leaking.code == 1
    assert "repeats 40 of 40 queries and 40 of 40 relevant passages" in leaking.out.replace(
        "\n", " "
    )
    document = run("pairs", "check", train, "--against", test, "--json").json
    assert (document["contamination"]["clean"], document["contamination"]["share"]) == (False, 1.0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(("--kind", "nli"), "nli was asked for"), ((), "expected 32 at least")],
)
def test_what_cannot_be_trained_on_is_refused(
    tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    refused = run("pairs", "check", pairs_file(tmp_path / "a.jsonl", 12), *arguments)
    assert refused.code == 1
    assert message in refused.err.replace("\n", " ")
    assert "Traceback" not in refused.err
