"""`lockstep mine`, `lockstep pairs questions` and `lockstep advise`: what they print and refuse."""

import json
from pathlib import Path

import pytest
from scripted_server import Reply, ScriptedServer

from .conftest import WORDS, Cli

# As conftest writes the documents' texts.
TEXTS = {
    n: " ".join(WORDS[(n * k) % len(WORDS)] for k in range(1, 9)) + f" number {n}."
    for n in range(40)
}


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """Forty pairs; the questions are their documents' words turned round."""
    rows = [
        {"query": " ".join(text.split()[::-1]), "positive": f"Title {n}\n{text}"}
        for n, text in TEXTS.items()
    ]
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def beir(tmp_path: Path) -> Path:
    folder = tmp_path / "set"
    (folder / "qrels").mkdir(parents=True)
    queries = [{"_id": f"q{n}", "text": TEXTS[n]} for n in range(0, 40, 2)]
    (folder / "queries.jsonl").write_text("".join(json.dumps(row) + "\n" for row in queries))
    lines = ["query-id\tcorpus-id\tscore", *(f"q{n}\td{n}\t1" for n in range(0, 40, 2))]
    (folder / "qrels" / "test.tsv").write_text("\n".join(lines) + "\n")
    return folder


def test_negatives_are_mined_and_told_of(
    reading: Cli, pairs: Path, beir: Path, tmp_path: Path
) -> None:
    output = tmp_path / "negatives.jsonl"
    options = ("--pairs", pairs, "--output", output, "--negatives", 2, "--fill", "--share")
    found = reading("mine", "docs", *options, "bm25=1", "--held-out", beir)
    assert found.code == 0, found.err
    assert "40 pairs with 2 negatives each" in found.out
    rows = [json.loads(line) for line in output.read_text().splitlines()]
    assert list(rows[0]) == ["query", "positive", "negative_1", "negative_2", "document_id"]
    assert rows[7]["document_id"] == "d7"  # which the pairs do not tell
    taken = {row[f"negative_{n}"].split()[1] for row in rows for n in (1, 2)}
    assert {int(number) % 2 for number in taken} == {1}  # the even ones are held out

    document = reading("mine", "docs", *options, "model=1", "--json").json
    assert document["lineage"]["model"]["ref"] == "tiny@1"  # what is live
    assert document["negatives"]["model"] + document["negatives"]["random"] == 80
    beside = json.loads((tmp_path / "negatives.jsonl.lineage.json").read_text())
    assert beside["mining"] == document["lineage"]["mining"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--share", "model=0.7"], "add up to 0.7; expected 1"),
        (["--share", "words=1"], "'words=1' is no share of a source; known: model, bm25"),
        (["--share", "bm25"], "'bm25' is no share of a source"),
        (["--skip", "100"], "The ranks from 101 to 100 hold 0 candidates"),
        (["--margin", "1.5"], "The margin is 1.5"),
        (["--reranker", "nobody"], "No reranker is 'nobody'"),
        (["--model", "nobody"], "nobody"),
        (["--language", "klingon"], "no language 'klingon'"),
        (["--held-out", "nobody"], "no query set 'nobody'"),
    ],
)
def test_mining_that_cannot_be_meant_is_refused(
    reading: Cli, pairs: Path, tmp_path: Path, options: list[str], said: str
) -> None:
    output = tmp_path / "negatives.jsonl"
    refused = reading("mine", "docs", "--pairs", pairs, "--output", output, *options)
    assert refused.code == 1
    assert said in refused.err.replace("\n", " ")
    assert not output.exists()


def asking(*texts: str, status: int = 200) -> ScriptedServer:
    message = {"role": "assistant", "content": json.dumps(texts)}
    return ScriptedServer(Reply(status, {"choices": [{"message": message}]}))


def test_questions_are_asked_for_kept_and_told_of(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCKSTEP_CHAT_API_KEY", "sk-very-secret")
    output = tmp_path / "questions.jsonl"
    options = ["docs", "--output", output, "--llm", "llm", "--count", "2", "--round-trip", "bm25"]
    with asking(f"is it {TEXTS[4]}", "no such word") as server:
        options += ["--url", f"{server.url}/v1"]
        capped = cli("pairs", "questions", *options, "--max-requests", "30")
        assert capped.code == 0, capped.err
        assert "The spend cap of 30 requests was reached" in capped.out
        document = cli("pairs", "questions", *options, "--json").json
        assert len(server.requests) == 40
        assert server.requests[0].headers["Authorization"] == "Bearer sk-very-secret"
    assert (document["cached"], document["answered"], document["pairs"]) == (30, 40, 1)
    # The other one finds nothing, and the first one only passages that share its words.
    assert document["thrown_away"]["does not find its passage"] >= 40
    [row] = map(json.loads, output.read_text().splitlines())
    assert row["query"] == f"is it {TEXTS[4]}"
    told = output.with_name(f"{output.name}.lineage.json").read_text()
    assert "Write {count} different questions" in told
    assert "sk-very-secret" not in told + capped.out + capped.err


def test_questions_that_cannot_be_asked_are_refused(reading: Cli, tmp_path: Path) -> None:
    output = tmp_path / "questions.jsonl"
    prompt = tmp_path / "prompt.txt"
    prompt.write_text("Ask!")
    start = ("pairs", "questions", "docs", "--output", output, "--llm", "llm")
    with asking("a", "b", status=401) as server, asking("what", "is", "it") as wrong:
        for options, said in (
            ((), "URL is none"),
            (("--url", server.url), "refuses the API key (401)"),
            (("--url", server.url, "--prompt", prompt), "The prompt lacks {count} and {passage}"),
            (("--url", server.url, "--max-tokens", "0"), "max_tokens is 0"),
            (("--url", wrong.url, "--count", "2", "--passages", "3"), "3 wrong count"),
            (("--url", wrong.url, "--max-tokens", "10"), "the spend cap of 10 tokens was reached"),
        ):
            refused = reading(*start, *options)
            assert refused.code == 1
            assert said in refused.err.replace("\n", " ")
            assert not output.exists()


def test_advice_is_given_with_its_figures(reading: Cli, pairs: Path, beir: Path) -> None:
    without = reading("advise", "docs")
    assert without.code == 0, without.err
    assert "Fine-tune for docs? Cannot tell yet." in without.out
    assert "lockstep qrels import docs PATH" in without.out

    options = ("--pairs", pairs, "--qrels", beir, "--target", "1", "--json")
    document = reading("advise", "docs", *options).json
    rules = {one["rule"] for one in document["advice"]}
    assert {"few-pairs", "few-queries", "short-reindex"} <= rules
    assert document["situation"]["pairs"]["distinct"] == 40
    assert document["situation"]["baseline"]["queries"] == 20
    assert document["situation"]["reindex"]["documents"] == 40

    bare = reading("advise", "bare", "--json").json
    assert [one["rule"] for one in bare["advice"]] == ["no-model", "no-pairs"]


def test_a_gain_is_judged_and_pairs_are_shown(reading: Cli, pairs: Path, beir: Path) -> None:
    arguments = ("advise", "docs", "--compare", "tiny", "other", "--qrels", beir)
    document = reading(*arguments, "--pairs", pairs, "--json").json
    assert {one["way"] for one in document["gains"]} == {"dense", "hybrid"}
    flagged = {one["rule"] for gain in document["gains"] for one in gain["advice"]}
    assert flagged
    assert len(document["pairs_to_read"]) == (40 if "too-small" in flagged else 0)
    refused = reading("advise", "docs", "--compare", "tiny", "other")
    assert refused.code == 1
    assert "has no judged queries; a gain is measured by them" in refused.err.replace("\n", " ")
