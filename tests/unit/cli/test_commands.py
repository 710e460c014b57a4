"""What each command does, on a real workspace."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from lockstep.testing import tiny_reranker
from lockstep_indexer import demo
from lockstep_indexer.cli import errors

from .conftest import Cli, run, write_documents


def test_init_makes_a_workspace_once(tmp_path: Path) -> None:
    first, second = run("init", tmp_path / "new", "--json"), run("init", tmp_path / "new", "--json")
    assert first.json == {"workspace": str(tmp_path / "new"), "created": True}
    assert second.json["created"] is False
    assert (tmp_path / "new" / "lockstep.toml").is_file()


def test_init_says_what_next(tmp_path: Path) -> None:
    result = run("init", tmp_path)
    assert "lockstep ingest" in result.out
    assert "lockstep model add" in result.out


def test_the_workspace_is_found_upward(
    template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(template / ".lockstep")
    assert run("status", "--json").json["workspace"] == str(template)
    monkeypatch.chdir(tmp_path)
    assert run("status", "--json").json["error"]["type"] == "InvalidSetting"


def test_ingest_counts_and_brings_the_live_index_up_to_date(cli: Cli, tmp_path: Path) -> None:
    rows = [
        {"id": "d0", "text": "changed"},
        {"id": "fresh", "text": "an okapi"},
    ]
    file = tmp_path / "more.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    ids = tmp_path / "ids.txt"
    ids.write_text("d1\nnever-was\n")
    report = cli("ingest", "docs", file, "--delete", ids, "--json").json
    assert (report["added"], report["changed"], report["deleted"], report["missing"]) == (
        1,
        1,
        1,
        1,
    )
    assert report["documents"] == 40
    (index,) = report["indexes"]
    assert (index["version"], index["applied"], index["lag"]) == (1, 3, 0)
    hits = cli("search", "docs", "okapi", "--mode", "lexical", "--json").json["answers"][0]["hits"]
    assert [hit["document_id"] for hit in hits] == ["fresh"]


def test_ingest_can_leave_the_index_alone(cli: Cli, tmp_path: Path) -> None:
    file = write_documents(tmp_path / "more.jsonl", 50)
    assert cli("ingest", "docs", file, "--no-index", "--json").json["indexes"] == []
    assert cli("status", "docs", "--json").json["versions"][0]["lag"] == 10
    answer = cli("search", "docs", "python")
    assert "10 changes of the corpus not applied to this index yet." in answer.out


def test_ingest_lists_what_it_left_out(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "bad.jsonl"
    file.write_text('{"id": "ok", "text": "fine"}\nnot json\n{"id": "x"}\n')
    stopped = cli("ingest", "new", file)
    assert stopped.code == 1
    assert "line 2" in stopped.err
    assert "--start-line 2" in stopped.err
    skipped = cli("ingest", "new", file, "--on-error", "skip")
    assert skipped.code == 0
    assert f"{file}:2:" in skipped.out
    assert f"{file}:3:" in skipped.out
    resumed = cli("ingest", "new", file, "--on-error", "skip", "--start-line", "3", "--json").json
    assert resumed["rejected_count"] == 1


def test_what_a_stopped_ingest_kept_is_found_and_its_deletes_are_still_to_come(
    cli: Cli, tmp_path: Path
) -> None:
    file, ids = tmp_path / "more.jsonl", tmp_path / "ids.txt"
    file.write_text('{"id": "kept", "text": "a platypus"}\nnot json\n')
    ids.write_text("d0\n")
    stopped = cli("ingest", "docs", file, "--delete", ids)
    assert stopped.code == 1
    assert "--delete" in stopped.err
    assert "nothing was deleted yet" in stopped.err
    found = cli("search", "docs", "platypus", "--mode", "lexical", "--json")
    assert "kept" in found.out


def test_the_demo_says_which_packages_it_lacks(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo, "EXTRA", ("json", "no_such_package"))
    lacking = cli("demo", tmp_path / "demo")
    assert lacking.code == 1
    assert "not installed: no_such_package" in lacking.err
    assert not (tmp_path / "demo").exists()


def test_models_are_added_listed_and_shown(cli: Cli, models: Path) -> None:
    again = cli("model", "add", "tiny", models / "tiny", "--json").json
    assert (again["ref"], again["created"]) == ("tiny@1", False)
    options = ("--max-tokens", "32", "--query-prompt", "q: ", "--matryoshka-dims", "16,32")
    added = cli("model", "add", "tiny", models / "tiny", *options, "--json").json
    assert (added["ref"], added["max_tokens"], added["matryoshka_dims"]) == ("tiny@2", 32, [16, 32])
    listed = cli("model", "list", "--json").json["models"]
    assert [model["ref"] for model in listed] == ["other@1", "tiny@1", "tiny@2"]
    shown = cli("model", "show", "tiny", "--json").json
    assert shown["manifest"]["query_prompt"] == "q: "
    assert "model.safetensors" in cli("model", "show", "tiny@1").out


def test_reindex_takes_a_folder_and_names_the_next_command(cli: Cli, models: Path) -> None:
    result = cli("reindex", "bare", "--model", models / "other", "--window-tokens", "16")
    assert result.code == 0, result.err
    assert "lockstep promote bare 1" in result.out
    assert "of at most 16 tokens" in result.out
    built = cli("status", "bare", "--json").json["versions"]
    assert [(version["state"], version["model"]) for version in built] == [("candidate", "other@1")]


def test_a_reindex_that_reaches_no_workers_leaves_nothing_behind(cli: Cli) -> None:
    pytest.importorskip("ray", reason="the extra 'ray' is not installed")
    before = cli("status", "docs", "--json").json
    asked = ("--engine", "ray", "--ray-address", "127.0.0.1:1")
    result = cli("reindex", "docs", "--model", "tiny@1", "--window-tokens", "17", *asked)
    assert result.code == 1
    assert "cannot be joined" in result.err
    assert cli("status", "docs", "--json").json == before


def test_an_index_that_may_be_in_eight_bits_says_so_and_whether_it_is(cli: Cli) -> None:
    result = cli("reindex", "bare", "--model", "tiny", "--fp8", "--json")
    assert result.json["index_version"]["spec"]["fp8"] is True
    assert result.json["index_version"]["encoded_in_fp8"] is False
    assert "too little to encode" in result.json["encoded_by"]
    assert result.json["encoded_by"].endswith("--fp8 is not used")
    planned = cli("plan", "bare", "--model", "tiny", "--json").json
    assert planned["spec"].get("fp8") is None


def test_reindex_promotes_when_asked(cli: Cli) -> None:
    options = ("--promote", "--prefilter-dim", "8", "--dtype", "float16", "--quantization", "int8")
    report = cli("reindex", "docs", "--model", "tiny@1", *options, "--json").json
    assert report["documents"] == report["probe"]["documents"] == 40
    assert report["index_version"]["spec"]["prefilter_dim"] == 8
    assert report["promoted"]["live"]["number"] == 3
    assert report["promoted"]["previous"]["state"] == "retired"


def test_promote_rollback_and_gc(cli: Cli) -> None:
    promoted = cli("promote", "docs", "--json").json
    assert (promoted["live"]["number"], promoted["changed"]) == (2, True)
    assert promoted["gates"]["passed"] is True
    assert cli("promote", "docs", "v2", "--json").json["changed"] is False
    assert cli("rollback", "docs", "--json").json["live"]["number"] == 1
    soaking = cli("gc", "docs", "--json").json
    assert (soaking["dropped"], [each["number"] for each in soaking["soaking"]]) == ([], [2])
    would = cli("gc", "docs", "--now", "--dry-run", "--json").json
    assert [version["number"] for version in would["dropped"]] == [2]
    dropped = cli("gc", "docs", "--now", "--json").json
    assert [version["number"] for version in dropped["dropped"]] == [2]
    assert dropped["freed_bytes"] > 0
    assert abs(dropped["freed_bytes"] - would["freed_bytes"]) < 100_000
    assert "Dropped nothing" in cli("gc", "docs").out
    assert "docs--v0001" in cli("search", "docs", "python").out


def test_status_shows_corpora_versions_and_steps(reading: Cli) -> None:
    everything = reading("status", "--json").json["corpora"]
    assert [(row["name"], row["documents"]) for row in everything] == [("bare", 40), ("docs", 40)]
    one = reading("status", "docs", "--json").json
    assert [version["state"] for version in one["versions"]] == ["live", "candidate"]
    assert {step["step"] for step in one["steps"]} == {"build", "promote"}
    shown = reading("status", "docs").out
    assert "candidate" in shown
    assert "started" not in shown
    assert "lockstep rollouts docs" in shown
    assert "lockstep reindex bare" in reading("status", "bare").out


def test_search_shows_hits_and_where_they_come_from(reading: Cli) -> None:
    result = reading("search", "docs", "csv reader", "waiting threads", "-n", "3", "--explain")
    assert result.code == 0
    assert "waiting threads ─" in result.out
    assert "dense: rank" in result.out
    assert "adds 0.8 × 1.0000 = 0.8000" in result.out  # of the nearest
    assert result.out.count("docs--v0001 · tiny@1 · ") == 2


@pytest.mark.parametrize(
    ("condition", "says"),
    [
        ({"key": "topik", "match": {"value": "x"}}, "matches none of 40 passages: check its keys"),
        ({"key": "lang", "match": {"any": ["de", "en"]}}, "matches all of 40 passages"),
        ({"key": "lang", "match": {"value": "en"}}, "The filter matches 20 of 40 passages."),
    ],
)
def test_explain_says_what_the_filter_leaves(
    reading: Cli, condition: dict[str, Any], says: str
) -> None:
    asked = ("search", "docs", "csv", "--filter", json.dumps({"must": [condition]}))
    assert says in reading(*asked, "--explain").out
    assert "The filter" not in reading(*asked).out


def test_the_stages_of_a_search_add_up(reading: Cli) -> None:
    plain, highlighted = (
        reading("search", "docs", "csv", *options).out for options in ((), ("--highlight", "words"))
    )
    assert ", highlight " not in plain
    assert re.search(r"\(encode [\d.]+, search [\d.]+, highlight [\d.]+\)", highlighted)


def test_search_options_reach_the_search(reading: Cli) -> None:
    only = '{"must": [{"key": "lang", "match": {"value": "en"}}]}'  # only German ones say csv
    report = reading("search", "docs", "csv", "--filter", only, "--limit", "5", "--json").json
    hits = report["answers"][0]["hits"]
    assert len(hits) == 5
    assert {hit["metadata"]["lang"] for hit in hits} == {"en"}
    second = reading(
        "search", "docs", "csv", "--filter", only, "-n", "1", "--offset", "1", "--json"
    )
    assert second.json["answers"][0]["hits"] == hits[1:2]
    pinned = reading(
        "search", "docs", "csv", "--index-version", "v2", "--candidates", "20", "--json"
    )
    assert pinned.json["answers"][0]["index_version"] == "docs--v0002"
    assert reading("search", "docs", "csv", "--no-prefilter", "--mode", "dense").code == 0


def test_search_finds_what_is_like_a_document(reading: Cli) -> None:
    report = reading("search", "docs", "--like", "d3", "-n", "4", "--json").json
    found = [hit["document_id"] for hit in report["answers"][0]["hits"]]
    assert len(found) == 4
    assert "d3" not in found
    for wrong in (["search", "docs"], ["search", "docs", "csv", "--like", "d3"]):
        refused = reading(*wrong)
        assert refused.code == errors.USAGE
        assert "--like" in refused.err


def test_search_groups_cuts_and_diversifies(reading: Cli) -> None:
    options = ["--group-by", "lang", "--group-size", "2", "--diversity", "0.5", "-n", "10"]
    report = reading("search", "docs", "csv reader", *options, "--json").json
    hits = report["answers"][0]["hits"]
    assert sorted(hit["metadata"]["lang"] for hit in hits) == ["de", "de", "en", "en"]
    assert reading("search", "docs", "csv", "--min-score", "99").out.startswith("Nothing found")


@pytest.mark.parametrize("by", ["words", "meaning"])
def test_search_highlights_sentences(reading: Cli, by: str) -> None:
    arguments = ["search", "docs", "csv reader", "-n", "2", "--highlight", by]
    report = reading(*arguments, "--json").json
    for hit in report["answers"][0]["hits"]:
        assert all(sentence["text"] in hit["text"] for sentence in hit["highlights"])
    assert reading(*arguments).code == 0


def test_search_asks_for_as_much_as_a_request_can(reading: Cli) -> None:
    def answer(*options: str) -> Any:
        return reading("search", "docs", "csv reader", *options, "--json").json["answers"][0]

    assert len(answer("-n", "3", "--no-group-by-document")["hits"]) == 3
    one = answer("-n", "2", "--highlight-sentences", "1")["hits"]
    assert all(len(hit["highlights"]) == 1 for hit in one)
    few = reading("search", "docs", "csv", "-n", "9", "--diversity-candidates", "5")
    assert "diversity.candidates is 5; expected at least offset + limit, 9" in few.err
    assert answer("-n", "3", "--diversity-candidates", "5")["hits"]
    other = reading("search", "docs", "csv", "--index-version", "v2", "--prefilter-dims", "7")
    assert "A prefilter of 7 dimensions was asked for; index docs--v0002 has one of" in other.err
    against = reading("search", "docs", "csv", "--no-prefilter", "--prefilter-dims", "7")
    assert against.code == errors.USAGE
    assert "--prefilter-dims and --no-prefilter contradict each other" in against.err


def test_search_goes_on_by_cursor(reading: Cli) -> None:
    first = reading("search", "docs", "csv", "-n", "3", "--json").json["answers"][0]
    cursor = first["next_cursor"]
    second = reading("search", "docs", "csv", "-n", "3", "--cursor", cursor, "--json").json
    both = reading("search", "docs", "csv", "-n", "6", "--json").json["answers"][0]["hits"]
    assert first["hits"] + second["answers"][0]["hits"] == both
    assert reading("search", "docs", "csv", "--cursor", "abc").code == 1


def test_search_takes_each_fusion(reading: Cli) -> None:
    def weights(*options: str) -> list[float]:
        report = reading("search", "docs", "csv", "-n", "1", "--explain", "--json", *options).json
        (hit,) = report["answers"][0]["hits"]
        return [place["weight"] for place in hit["explain"].values()]

    assert weights() == pytest.approx([0.8, 0.2])
    assert weights("--dense-weight", "0.5") == [0.5, 0.5]
    assert weights("--fusion", "dbsf", "--lexical-weight", "3") == [1, 3]
    assert weights("--rrf-k", "10") == [1, 1]
    refused = reading("search", "docs", "csv", "--fusion", "convex", "--rrf-k", "10")
    assert refused.code == 1
    assert "convex, which has no k" in refused.err


def test_search_reranks_by_a_model_that_was_added(cli: Cli, tmp_path: Path) -> None:
    added = cli("model", "add", "ce", tiny_reranker(tmp_path / "ce"))
    assert "--rerank ce@1" in added.out
    assert {m["ref"]: m["kind"] for m in cli("model", "list", "--json").json["models"]} == {
        "ce@1": "reranker", "other@1": "encoder", "tiny@1": "encoder",
    }  # fmt: skip
    assert "one of a query and a passage, through sigmoid" in cli("model", "show", "ce").out
    options = ("-n", "5", "--rerank", "ce", "--rerank-candidates", "20", "--explain")
    shown = cli("search", "docs", "csv reader", *options)
    assert re.search(r"reranked: 0\.\d+, rank \d+, score \d\.\d+ before", shown.out)
    assert "· tiny@1 · ce@1 ·" in shown.out
    [answer] = cli("search", "docs", "csv reader", *options, "--json").json["answers"]
    assert answer["reranker"] == "ce@1"
    assert [hit["score"] for hit in answer["hits"]] == sorted(
        (hit["score"] for hit in answer["hits"]), reverse=True
    )
    alone = cli("search", "docs", "csv", "--rerank-candidates", "20")
    assert (alone.code, "--late-interaction REF" in alone.err) == (1, True)
    missing = cli("search", "docs", "csv", "--rerank", "nope")
    assert (missing.code, "No reranker is 'nope'. Known: ce@1" in missing.err) == (1, True)
    wrong = cli("reindex", "docs", "--model", "ce")
    assert (wrong.code, "ce@1 is a reranker" in wrong.err) == (1, True)
