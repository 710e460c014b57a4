"""Reading training data: every kind from every format, and everything that can be wrong with it."""

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lockstep.errors import InvalidInput
from lockstep_indexer.train.data.documents import FileDocuments
from lockstep_indexer.train.data.examples import Entailment, Kind
from lockstep_indexer.train.data.reading import read_training_data

Row = dict[str, Any]


def jsonl(path: Path, *rows: Row) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def beir(folder: Path) -> Path:
    (folder / "qrels").mkdir(parents=True)
    jsonl(
        folder / "corpus.jsonl",
        {"_id": "d1", "title": "Cats", "text": "They purr."},
        {"_id": "d2", "title": "", "text": "Dogs bark."},
        {"_id": "d3", "text": "what barks"},
    )
    jsonl(
        folder / "queries.jsonl",
        {"_id": "q1", "text": "what purrs"},
        {"_id": "q2", "text": "what barks"},
    )
    (folder / "qrels" / "train.tsv").write_text(
        "query-id\tcorpus-id\tscore\nq1\td1\t2\nq1\td2\t0\nq2\td2\t1\nq2\td9\t1\nq2\td3\t1\n"
    )
    return folder


@pytest.mark.parametrize(
    ("row", "kind"),
    [
        ({"query": "a", "positive": "b"}, Kind.PAIRS),
        ({"anchor": "a", "positive": "b"}, Kind.PAIRS),
        ({"question": "a", "answer": "b"}, Kind.PAIRS),
        ({"s1": "a", "s2": "b"}, Kind.PAIRS),
        ({"Anchor": "a", "Positive": "b", "Negative": "c"}, Kind.TUPLES),
        (
            {"query": "a", "positive": "b", "negative_1": "c", "negative_2": "d"},
            Kind.HARD_NEGATIVES,
        ),
        ({"query": "a", "pos": ["b"], "neg": ["c", "d"]}, Kind.HARD_NEGATIVES),
        ({"sentence1": "a", "sentence2": "b", "score": 0.5}, Kind.SCORED),
        ({"sentence_A": "a", "sentence_B": "b", "relatedness_score": 0.5}, Kind.SCORED),
        ({"premise": "a", "hypothesis": "b", "label": 1}, Kind.NLI),
        ({"sentence1": "a", "sentence2": "b", "gold_label": "neutral"}, Kind.NLI),
    ],
)
def test_columns_tell_the_kind(tmp_path: Path, row: Row, kind: Kind) -> None:
    data = read_training_data([jsonl(tmp_path / "x.jsonl", row)])
    assert data.kind is kind
    [example] = data.examples
    assert example.texts[:2] == ("a", "b")
    assert example.negatives == ("c", "d")[: len(example.negatives)]
    assert (example.label is Entailment.NEUTRAL) is (kind is Kind.NLI)
    assert example.score == (0.5 if kind is Kind.SCORED else None)


@pytest.mark.parametrize("name", ["x.jsonl", "x.jsonl.gz", "x.csv", "x.parquet"])
def test_every_format_gives_the_same(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    rows = [{"query": "what, is", "passage": 'so "it"\nis', "document_id": "d1"}]
    if name.endswith(".parquet"):
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif name.endswith(".csv"):
        path.write_text('query,passage,document_id\n"what, is","so ""it""\nis",d1\n')
    else:
        content = (json.dumps(rows[0]) + "\n").encode()
        path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    data = read_training_data([path])
    [example] = data.examples
    assert (example.query, example.passage, example.group) == ("what, is", 'so "it"\nis', "d1")
    assert data.lineage["files"][0]["path"] == str(path)
    assert len(data.lineage["files"][0]["sha256"]) == 64


def test_several_positives_give_an_example_each(tmp_path: Path) -> None:
    rows: list[Row] = [
        {"query": "a", "pos": ["b", "c"], "neg": ["x", "y", "z"]},
        {"query": "d", "pos": ["e"], "neg": ["x"]},
    ]
    data = read_training_data([jsonl(tmp_path / "x.jsonl", *rows)])
    assert [one.texts for one in data.examples] == [
        ("a", "b", "x"),
        ("a", "c", "x"),
        ("d", "e", "x"),
    ]
    assert "1 to 3 negatives" in data.lineage["notes"][0]


def test_any_record_may_name_its_document_and_grade(tmp_path: Path) -> None:
    path = jsonl(
        tmp_path / "pairs.jsonl",
        {"query": "one", "passage": "first"},
        {"query": "two", "passage": "second", "document_id": "d2", "grade": 0},
    )
    first, second = read_training_data([path]).examples
    assert (second.group, second.score) == ("d2", 0.0)
    assert first.group not in ("", "d2")


def test_sts_scores_are_scaled_and_said(tmp_path: Path) -> None:
    rows: list[Row] = [{"s1": "a", "s2": "b", "score": 5}, {"s1": "c", "s2": "c", "score": "2.5"}]
    data = read_training_data([jsonl(tmp_path / "x.jsonl", *rows)])
    assert [one.score for one in data.examples] == [1.0, 0.5]
    assert "0 to 5" in data.lineage["notes"][0]


def test_examples_without_an_agreed_label_are_left_out_and_said(tmp_path: Path) -> None:
    labels: tuple[object, ...] = ("-", 2, 0.0)
    rows: list[Row] = [{"premise": "a", "hypothesis": "b", "label": label} for label in labels]
    data = read_training_data([jsonl(tmp_path / "x.jsonl", *rows)])
    assert [one.label for one in data.examples] == [Entailment.CONTRADICTION, Entailment.ENTAILMENT]
    assert "1 example" in data.lineage["notes"][0]


def test_judgments_give_the_relevant_passages(tmp_path: Path) -> None:
    folder = beir(tmp_path / "beir")
    data = read_training_data([folder])
    assert data.kind is Kind.QRELS
    assert [(one.texts, one.group, one.score) for one in data.examples] == [
        (("what purrs", "Cats\nThey purr."), "d1", 2.0),
        (("what barks", "Dogs bark."), "d2", 1.0),
    ]
    assert data.lineage["notes"] == [
        "Left out: 1 judgments of documents that are gone.",
        "Left out: 1 documents that say nothing but the query.",
    ]
    assert read_training_data([folder / "qrels" / "train.tsv"]).examples == data.examples


def test_a_qrels_file_elsewhere_takes_its_texts_from_the_corpus(tmp_path: Path) -> None:
    folder = beir(tmp_path / "beir")
    file, queries = tmp_path / "judged.trec", folder / "queries.jsonl"
    file.write_text("q1 0 d1 1\n")
    with pytest.raises(InvalidInput, match="nothing says where their texts are"):
        read_training_data([file], queries=queries)
    documents = FileDocuments(folder)
    [example] = read_training_data([file], queries=queries, documents=documents).examples
    assert example.texts == ("what purrs", "Cats\nThey purr.")


WRONG: list[tuple[list[Row], Kind | None, str]] = [
    ([{"query": "a", "positive": 7}], None, r"line 1: 'positive' is 7, int; expected text"),
    ([{"query": "a", "positive": "b"}, {"query": "c"}], None, r"line 2: it has no 'positive'"),
    ([{"query": "a", "positive": " "}], None, r"line 1: 'positive' is empty"),
    ([{"query": "a", "positive": "a "}], None, r"line 1: 'query' and 'positive' are the same"),
    ([{"query": "a", "positive": "b", "negative": "b"}], None, r"'positive' and 'negative' are"),
    ([{"query": "a", "pos": ["b"], "neg": []}], None, r"line 1: 'neg' is an empty list"),
    ([{"text": "a", "title": "b"}], None, r"line 1: it has the columns text, title; expected"),
    ([{"query": "a", "positive": "b"}], Kind.NLI, r"line 1: it holds pairs .* nli was asked for"),
    ([{"s1": "a", "s2": "b", "score": 5.5}], None, r"line 1: 'score' is 5.5; expected 0 to 1"),
    ([{"s1": "a", "s2": "b", "score": -0.1}], None, r"line 1: 'score' is -0.1"),
    ([{"s1": "a", "s2": "b", "score": "nan"}], None, r"line 1: 'score' is nan"),
    ([{"s1": "a", "s2": "b", "score": "high"}], None, r"'score' is 'high'; expected a number"),
    ([{"premise": "a", "hypothesis": "b", "label": 3}], None, r"line 1: 'label' is '3'; exp"),
    ([{"sentence1": "a", "sentence2": "b", "label": 1}], None, r"a label of NLI or a score"),
    (
        [{"query": "a", "positive": "b"}, {"premise": "a", "hypothesis": "b", "label": 1}],
        None,
        r"line 2: it holds nli .* the lines before it pairs",
    ),
    (
        [{"query": "a", "positive": "b"}, {"query": "a", "positive": "b", "negative": "c"}],
        None,
        r"line 2: it holds tuples .* the lines before it pairs",
    ),
    ([{"query": "a", "positive": "\ud800"}], None, r"'positive' has a NUL or a lone surrogate"),
]  # fmt: skip


@pytest.mark.parametrize(("rows", "kind", "message"), WRONG)
def test_what_is_wrong_is_said_with_its_line(
    tmp_path: Path, rows: list[Row], kind: Kind | None, message: str
) -> None:
    with pytest.raises(InvalidInput, match=message) as caught:
        read_training_data([jsonl(tmp_path / "x.jsonl", *rows)], kind=kind)
    assert "x.jsonl" in str(caught.value)


def test_files_of_two_kinds_are_refused(tmp_path: Path) -> None:
    pairs = jsonl(tmp_path / "a.jsonl", {"query": "a", "positive": "b"})
    scored = jsonl(tmp_path / "b.jsonl", {"s1": "a", "s2": "b", "score": 1})
    with pytest.raises(InvalidInput, match=r"a\.jsonl' holds pairs, .*b\.jsonl' holds scored"):
        read_training_data([pairs, scored])
    assert len(read_training_data([pairs, scored], kind=Kind.PAIRS)) == 2


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.jsonl", "[1]\n", r"line 1: it is a JSON array"),
        ("x.jsonl", '{"query": \n', r"line 1: it is not JSON"),
        ("x.csv", "query,positive\na\n", r"line 2: it has 1 cells; the header has 2"),
        ("x.csv", "query,positive\n", "is empty"),
        ("x.parquet", "no", "cannot be read as Parquet"),
    ],
)
def test_a_file_that_is_not_what_its_name_says(
    tmp_path: Path, name: str, content: str, message: str
) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(InvalidInput, match=message):
        read_training_data([tmp_path / name])
