"""`lockstep evaluate`: what it prints and keeps, and what it refuses before any work."""

import errno
import os
from pathlib import Path

import pytest

from .conftest import Cli


@pytest.fixture(scope="module")
def beir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("judged") / "set"
    (folder / "qrels").mkdir(parents=True)
    queries = [f'{{"_id": "q{n}", "text": "python file {n}"}}\n' for n in range(4)]
    (folder / "queries.jsonl").write_text("".join(queries))
    qrels = "".join(f"q{n}\td{n}\t1\n" for n in range(4))
    (folder / "qrels" / "test.tsv").write_text(f"query-id\tcorpus-id\tscore\n{qrels}")
    return folder


def test_models_are_shown_side_by_side_and_all_is_kept_that_was_asked_for(
    reading: Cli, beir: Path, tmp_path: Path
) -> None:
    arguments = ("docs", "--qrels", beir, "--model", "tiny", "--model", "other")
    kept = ("--report", tmp_path / "report.html", "--save-runs", tmp_path / "runs")
    shown = reading("evaluate", *arguments, "--slice", "lang", *kept)
    assert shown.code == 0, shown.err
    for text in (
        "4 queries of 'set'",
        "dense 16",
        "other@1 against tiny@1",
        "By lang",
        "docs--v0001",
    ):
        assert text in shown.out
    assert (tmp_path / "report.html").read_text().startswith("<!doctype html>")
    assert {"BM25.run", "qrels.txt", "tiny@1.hybrid.run", "other@1.dense-16.run"} <= {
        path.name for path in (tmp_path / "runs").iterdir()
    }
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_the_document_holds_every_measure(reading: Cli, beir: Path) -> None:
    arguments = ("docs", "--qrels", beir, "--model", "tiny", "--measure", "MRR@7")
    document = reading("evaluate", *arguments, "--prefilter-dim", "0", "--json").json
    assert (document["headline"], document["queries"]) == ("MRR@7", 4)
    means = document["models"][0]["results"][0]["means"]
    assert {"MRR@7", "nDCG@1", "MAP@100", "F1@5", "Precision@3", "Recall@100"} <= set(means)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--measure", "hits@10"), 1, "'hits@10' is no measure"),
        (("--measure", "nDCG@5000"), 1, "a search gives 1 to 1000"),
        (("--qrels", "nowhere"), 1, "no query set 'nowhere'"),
        (("--report", "/nowhere/report.html"), 1, "'/nowhere/report.html' cannot be written"),
        (("--save-runs", "/dev/null/runs"), 1, "'/dev/null/runs' cannot be written"),
        (("--qrels", "nowhere.txt", "--queries", "q.tsv"), 1, "nowhere.txt"),
        (("--slice", "year"), 1, "metadata field 'year'; they have lang"),
        (("--guard-margin", "2"), 2, "less than or equal to 1"),
        (("--prefilter-candidates", "20000"), 1, "expected 1 to 10000"),
        (("--rerank-candidates", "500", "--rerank", "x"), 1, "expected 1 to 200"),
        (("--guard", "/nowhere", "--model", "other"), 1, "/nowhere"),
    ],
)
def test_what_cannot_be_done_is_said_at_once(
    reading: Cli, beir: Path, arguments: tuple[str, ...], code: int, message: str
) -> None:
    given = ("--qrels", beir, *arguments)
    result = reading("evaluate", "docs", "--model", "tiny", *given)
    assert result.code == code
    assert message in " ".join(result.err.split())
    assert "encoding" not in result.err


def test_queries_without_judgments_are_not_passed_over(reading: Cli) -> None:
    result = reading("evaluate", "docs", "--model", "tiny", "--queries", "queries.tsv")
    assert result.code == 2
    assert "--queries goes with a qrels file" in " ".join(result.err.split())


def test_figures_are_shown_where_the_report_cannot_be_written(
    reading: Cli, beir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(found: object) -> str:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("lockstep_indexer.evaluate.keeping.report", full)
    file = tmp_path / "report.html"
    arguments = ("docs", "--qrels", beir, "--model", "tiny", "--report", file)
    result = reading("evaluate", *arguments, "--json")
    assert result.code == 1
    assert result.json["models"]
    assert result.json["not_written"] == [f"'{file}' cannot be written: No space left on device."]
