"""Judged queries: reading them, keeping them, making them from clicks."""

import gzip
from pathlib import Path

import pytest

from lockstep.corpus.change_log import Corpora
from lockstep.corpus.clicked_queries import clicked_queries
from lockstep.corpus.database import Database
from lockstep.corpus.documents import Document
from lockstep.corpus.qrels import read_query_set
from lockstep.corpus.query_log import LoggedSearch, QueryLog
from lockstep.corpus.query_sets import QuerySet, QuerySets
from lockstep.errors import CorpusNotFound, InvalidInput, QuerySetNotFound
from lockstep.settings import QueryLogSettings

HEAD = "query-id\tcorpus-id\tscore\n"


@pytest.fixture
def beir(tmp_path: Path) -> Path:
    """Three queries, two of which the split 'test' judges."""
    folder = tmp_path / "My Set"
    (folder / "qrels").mkdir(parents=True)
    lines = [f'{{"_id": "q{n}", "text": "query {n}"}}\n' for n in (1, 2, 3)]
    (folder / "queries.jsonl").write_text("".join(lines))
    (folder / "qrels" / "test.tsv").write_text(HEAD + "q1\td 1\t2\nq1\td2\t0\nq2\tgone\t1\n")
    (folder / "qrels" / "dev.tsv").write_text(HEAD + "q3\td1\t1\n")
    return folder


@pytest.fixture
def sets(database: Database, corpora: Corpora) -> QuerySets:
    corpora.create("docs")
    corpora.write("docs", [Document("d 1", "text"), Document("d2", "text")])
    return QuerySets(database)


def test_a_beir_folder(beir: Path) -> None:
    read = read_query_set(beir)

    assert read.name == "my-set"
    assert read.queries == {"q1": "query 1", "q2": "query 2"}
    assert read.judgments == {"q1": {"d 1": 2, "d2": 0}, "q2": {"gone": 1}}
    assert set(read_query_set(beir, split="dev").queries) == {"q3"}


def test_trec_qrels_with_queries_by_tab(tmp_path: Path) -> None:
    (tmp_path / "qrels.txt").write_text("1 0 a 2\n1 0 b -2\n\n2 0 a 1\n")
    with gzip.open(tmp_path / "topics.tsv.gz", "wt") as file:
        file.write("1\tfirst one\n2\tsecond one\n3\tnot judged\n")

    read = read_query_set(tmp_path / "qrels.txt", queries=tmp_path / "topics.tsv.gz", name="robust")

    assert read == QuerySet(
        "robust", {"1": "first one", "2": "second one"}, {"1": {"a": 2, "b": 0}, "2": {"a": 1}}
    )


WRONG_QRELS = {
    "columns": ("q1\td1\n", "line 1: it has 2 columns; expected 3"),
    "grade": (HEAD + "q1\td1\t1\nq1\td2\tgood\n", "line 3: the relevance is 'good'"),
    "large": ("q1 0 d1 1001\n", "line 1: the relevance is '1001'"),
    "twice": ("q1 0 d1 1\nq1 0 d1 2\n", "line 2: document 'd1' is judged 2 for query 'q1', and 1"),
    "query": ("q9 0 d1 1\n", r"judges query 'q9', which .*queries.jsonl' lacks"),
    "id": (f"q1 0 {'x' * 600} 1\n", "line 1: Document id 'x+…' has 600 bytes"),
    "empty": (HEAD, "has no judgments"),
    "not UTF-8": (b"q1 0 \xff 1\n", "line 1: it is not UTF-8"),
}


@pytest.mark.parametrize(("content", "says"), WRONG_QRELS.values(), ids=WRONG_QRELS)
def test_wrong_judgments_are_named_by_line(beir: Path, content: str | bytes, says: str) -> None:
    file = beir / "qrels" / "test.tsv"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())

    with pytest.raises(InvalidInput, match=says):
        read_query_set(beir)


WRONG_QUERIES = {
    "json": ('{"_id": "q1", "text": "a"}\n{"_id"\n', "line 2: It is not JSON"),
    "array": ('["q1"]\n', "line 1: it has no '_id'"),
    "no text": ('{"_id": "q1"}\n', "line 1: query 'q1' has no 'text'"),
    "blank": ('{"_id": "q1", "text": " "}\n', "line 1: query 'q1' has no text"),
    "twice": ('{"_id": 1, "text": "a"}\n{"_id": "1", "text": "b"}\n', "line 2: query '1' has ano"),
}


@pytest.mark.parametrize(("content", "says"), WRONG_QUERIES.values(), ids=WRONG_QUERIES)
def test_wrong_queries_are_named_by_line(beir: Path, content: str, says: str) -> None:
    (beir / "queries.jsonl").write_text(content)

    with pytest.raises(InvalidInput, match=says):
        read_query_set(beir)


def test_what_is_missing_is_said(beir: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="no split 'train'; it has dev, test"):
        read_query_set(beir, split="train")
    with pytest.raises(InvalidInput, match="--queries FILE"):
        read_query_set(beir / "qrels" / "test.tsv")
    with pytest.raises(InvalidInput, match="cannot be read"):
        read_query_set(tmp_path / "nope.txt", queries=beir / "queries.jsonl")
    with pytest.raises(InvalidInput, match="'No!' cannot name a query set"):
        read_query_set(beir, name="No!")


def test_a_set_is_kept_with_judgments_of_documents_that_are_not_there(
    sets: QuerySets, beir: Path, corpora: Corpora
) -> None:
    corpora.write("docs", deletes=["d2"])

    imported = sets.replace("docs", read_query_set(beir))

    assert (imported.info.queries, imported.info.judgments, imported.replaced) == (2, 3, False)
    assert (imported.unknown, imported.unknown_ids) == (2, ["d2", "gone"])
    assert sets.get("docs", "my-set") == read_query_set(beir)
    assert sets.names("docs") == ["my-set"]


def test_a_set_of_the_same_name_gives_way_and_the_newest_is_the_default(
    sets: QuerySets, beir: Path
) -> None:
    sets.replace("docs", read_query_set(beir))
    sets.replace("docs", QuerySet("other", {"q": "text"}, {"q": {"d2": 1}}))

    again = sets.replace("docs", read_query_set(beir, split="dev", name="my-set"))

    assert again.replaced
    assert set(sets.get("docs", "my-set").queries) == {"q3"}
    assert sets.get("docs").name == "my-set"
    sets.drop("docs", "my-set")
    assert sets.get("docs").name == "other"
    with pytest.raises(QuerySetNotFound, match="no query set 'my-set'; it has other"):
        sets.drop("docs", "my-set")
    with pytest.raises(CorpusNotFound):
        sets.names("nope")


def test_a_set_that_fails_to_be_written_leaves_the_old_one(sets: QuerySets, beir: Path) -> None:
    sets.replace("docs", read_query_set(beir))
    broken = QuerySet("my-set", {"q": "text"}, {"q": {"d2": 1}})
    object.__setattr__(broken, "judgments", {"q": {"d2": object()}})  # no database can hold it

    with pytest.raises(Exception, match="type 'object' is not supported"):
        sets.replace("docs", broken)

    assert sets.get("docs", "my-set") == read_query_set(beir)


def test_queries_from_clicks(sets: QuerySets, database: Database, tmp_path: Path) -> None:
    log = QueryLog(database, QueryLogSettings(), tmp_path / "key")
    for number, (query, clicked) in enumerate(
        [("Red  river", "d2"), ("red river", "d2"), ("red river", "d 1"), ("blue", "d2")]
    ):
        search_id = f"{number:032d}"
        log.write([LoggedSearch(search_id, "docs", query, "hybrid", 1, "live", ["d 1", "d2"], 1.0)])
        log.click("docs", search_id, clicked)

    made = clicked_queries(database, "docs", min_clicks=2)

    assert [text.casefold().split() for text in made.queries.values()] == [["red", "river"]]
    assert list(made.judgments.values()) == [{"d2": 1}]
    with pytest.raises(InvalidInput, match="chosen 3 times"):
        clicked_queries(database, "docs", min_clicks=3)
