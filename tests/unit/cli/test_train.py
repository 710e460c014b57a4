"""`lockstep train` and `lockstep model push`, by the command line."""

import json
import os
import time
from contextlib import suppress
from pathlib import Path

import pytest
from training import pairs, write_pairs

from lockstep_indexer.train.runs import KEPT_S, interrupted, open_run

from .conftest import Cli

_TINY = ("--batch-size", "16", "--learning-rate", "5e-3", "--matryoshka-dims", "16")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write_pairs(tmp_path / "pairs.jsonl", pairs(200))


def test_from_pairs_to_a_version_with_its_lineage(cli: Cli, file: Path, tmp_path: Path) -> None:
    result = cli("train", "docs", "--pairs", file, "--name", "ours", *_TINY, "--json")

    assert result.code == 0, result.err
    found = result.json
    assert (found["model"]["ref"], found["base"]) == ("ours@1", "tiny@1")
    assert found["model"]["matryoshka_dims"] == [16, 32]
    assert found["next"] == "lockstep reindex docs --model ours@1"
    assert found["examples"] + found["held_out_queries"] == 200
    assert any("below 500" in warning for warning in found["warnings"])

    shown = cli("model", "show", "ours", "--json").json["manifest"]["lineage"]
    base = cli("model", "show", "tiny@1", "--json").json
    assert shown["parent"] == {"ref": "tiny@1", "digest": base["digest"]}
    assert shown["data"]["files"][0]["path"].endswith("pairs.jsonl")
    assert shown["measures"]["lengths"][0]["queries"] == found["measures"]["queries"]
    assert shown["settings"]["batch_size"] == 16
    said = cli("model", "show", "ours").out
    assert "trained from" in said
    assert "tiny@1, digest" in said

    target = tmp_path / "pushed"
    assert cli("model", "push", "ours", target, "--json").json["changed"] is True
    assert cli("model", "push", "ours", target, "--json").json["changed"] is False
    assert cli("model", "add", "back", target, "--json").json["digest"] == found["model"]["digest"]
    (target / "notes.txt").write_text("mine")
    assert "holds something else" in cli("model", "push", "ours", target).err


def test_evaluation_data_among_the_pairs_stops_it(cli: Cli, file: Path, tmp_path: Path) -> None:
    leak = write_pairs(tmp_path / "test.jsonl", pairs(20))
    arguments = ("train", "docs", "--pairs", file, "--name", "ours", "--against", leak)
    result = cli(*arguments)
    assert result.code == 1
    assert "--allow-contamination" in result.err
    assert cli("model", "list", "--json").out.count("ours") == 0

    trained = cli(*arguments, "--allow-contamination", *_TINY, "--json").json
    assert "do not trust figures measured there" in trained["warnings"][-1]
    said = " ".join(cli("model", "show", "ours").out.split())
    assert "% of it is trained on)" in said
    cli("model", "push", "ours", tmp_path / "pushed")
    assert "say nothing: it was trained on" in (tmp_path / "pushed" / "README.md").read_text()


def test_a_mix_in_that_holds_what_is_held_out_stops_it(cli: Cli, file: Path) -> None:
    result = cli("train", "docs", "--pairs", file, "--name", "ours", "--mix-in", file)
    assert result.code == 1
    assert "What 'the held-out share' evaluates by" in result.err
    assert "ours" not in cli("model", "list", "--json").out


def test_judgments_of_the_corpus_itself_are_checked_against(
    cli: Cli, file: Path, tmp_path: Path
) -> None:
    judged = tmp_path / "judged"
    (judged / "qrels").mkdir(parents=True)
    (judged / "queries.jsonl").write_text(json.dumps({"_id": "q1", "text": "which number"}))
    (judged / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq1\td1\t1\n")
    row = {"query": "which number", "passage": "a passage of its own"}
    with file.open("a") as pairs_file:
        pairs_file.write(json.dumps(row) + "\n")
    result = cli("train", "docs", "--pairs", file, "--name", "ours", "--against", judged)
    assert "repeats 1 of 1 queries" in result.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--name", "no name", "--pairs", "absent.jsonl"), "'no name' is no model name"),
        (("--base", "absent"), "No model version is 'absent'"),
        (("--matryoshka-dims", "64"), "64 is no Matryoshka dimension of this model"),
        (("--loss", "triplet"), "needs negatives"),
        (("--loss", "distill"), "needs a teacher"),
        (("--loss", "cosent"), "does not learn from pairs data"),
        (("--mix-in-share", ".2"), "needs general examples"),
        (("--report-to", "mlfow"), "cannot be reported to; expected one of"),
        (("--require-better", "--learning-rate", "1e-9"), "nothing was registered"),
    ],
)
def test_what_cannot_work_is_said_and_leaves_nothing(
    cli: Cli, file: Path, root: Path, arguments: tuple[str, ...], said: str
) -> None:
    result = cli("train", "docs", "--pairs", file, "--name", "ours", *arguments)
    assert result.code == 1
    assert said in result.err
    assert "Traceback" not in result.err
    assert "ours" not in cli("model", "list", "--json").out


def test_a_reranker_is_no_base(cli: Cli, file: Path, tmp_path: Path) -> None:
    from lockstep.testing import tiny_reranker

    cli("model", "add", "judge", tiny_reranker(tmp_path / "judge"))
    result = cli("train", "docs", "--pairs", file, "--name", "ours", "--base", "judge")
    assert result.code == 1
    assert "judge@1 is a reranker" in result.err


def test_twelve_pairs_are_too_few(cli: Cli, tmp_path: Path) -> None:
    few = write_pairs(tmp_path / "few.jsonl", pairs(12))
    result = cli("train", "docs", "--pairs", few, "--name", "ours", "--json")
    assert result.code == 1
    assert "12 different examples" in json.loads(result.out)["error"]["message"]


def test_interrupted_trainings_are_seen_and_dropped_when_they_are_old(cli: Cli, root: Path) -> None:
    data = root / ".lockstep"
    for name in ("fresh", "old", "running"):
        with suppress(KeyboardInterrupt), open_run(data, {"corpus": "docs", "name": name}) as run:
            run.remember("base", name)
            raise KeyboardInterrupt
    folders = {one.name: one.folder for one in interrupted(data)}
    for name in ("old", "running"):
        for path in folders[name].iterdir():
            os.utime(path, (0, time.time() - KEPT_S - 60))
    said = " ".join(cli("doctor").out.split())
    assert "'fresh' for 'docs' was interrupted" in said
    assert "lockstep gc docs" in said

    with open_run(data, {"corpus": "docs", "name": "running"}):
        assert "Would drop 1 interrupted training (old)" in cli("gc", "docs", "--dry-run").out
        cli("gc", "other")
        assert folders["old"].is_dir()
        dropped = cli("gc", "docs", "--json").json["trainings"]

    assert [one["name"] for one in dropped] == ["old"]
    assert [one.name for one in interrupted(data)] == ["fresh"]
