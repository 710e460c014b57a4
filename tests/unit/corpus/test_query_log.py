"""The query log: what it keeps of a search, what it does not, and for how long."""

import sqlite3
import time
from pathlib import Path

import pytest

from lockstep.corpus.change_log import Corpora
from lockstep.corpus.database import Database
from lockstep.corpus.log_writer import CAPACITY, LogWriter
from lockstep.corpus.query_log import LoggedSearch, QueryLog, new_search_id
from lockstep.errors import InvalidInput, SearchNotFound
from lockstep.settings import QueryLogSettings

DAY_S = 86_400.0


@pytest.fixture(autouse=True)
def corpus(corpora: Corpora) -> None:
    corpora.create("docs")


@pytest.fixture
def log(database: Database, tmp_path: Path) -> QueryLog:
    return QueryLog(database, QueryLogSettings(share=1.0, days=2), tmp_path / "query_log.key")


def logged(query: str, *, at: float | None = None) -> LoggedSearch:
    at = time.time() if at is None else at
    return LoggedSearch(new_search_id(), "docs", query, "hybrid", 1, "live", ["a", "b"], 1.5, at=at)


def test_a_search_is_kept_as_it_was(log: QueryLog) -> None:
    entry = logged("red river")
    log.write([entry])

    assert log.get("docs", entry.id) == entry
    with pytest.raises(SearchNotFound, match="of corpus 'other'"):
        log.get("other", entry.id)


def test_a_redacted_search_leaves_no_word_of_it_anywhere(
    database: Database, tmp_path: Path
) -> None:
    settings = QueryLogSettings(share=1.0, redact=True)
    log = QueryLog(database, settings, tmp_path / "query_log.key")
    entries = [logged("zyxwvu secret"), logged(" ZYXWVU  Secret"), logged("other")]
    log.write(entries)
    database.close()

    files = [path.read_bytes().lower() for path in tmp_path.iterdir()]
    assert not any(b"zyxwvu" in content for content in files)
    with sqlite3.connect(tmp_path / "lockstep.db") as connection:
        rows = connection.execute("SELECT query, query_digest FROM searches ORDER BY at").fetchall()
    connection.close()
    assert [query for query, _ in rows] == [None, None, None]
    assert [digest == rows[0][1] for _, digest in rows] == [True, True, False]
    assert log.sample("docs", 10) == []


def test_digests_depend_on_a_key_that_only_its_owner_may_read(
    database: Database, tmp_path: Path
) -> None:
    def log(name: str) -> QueryLog:
        return QueryLog(database, QueryLogSettings(), tmp_path / name)

    assert log("one").digest("red") == log("one").digest("red")
    assert log("one").digest("red") != log("two").digest("red")
    assert (tmp_path / "one").stat().st_mode & 0o777 == 0o600
    assert len((tmp_path / "one").read_bytes()) == 32
    assert len(list(tmp_path.glob("one*"))) == 1


def test_what_is_too_old_is_forgotten_with_its_clicks(log: QueryLog, database: Database) -> None:
    now = time.time()
    old = [logged("old", at=now - 2.1 * DAY_S) for _ in range(501)]
    new = logged("new", at=now - 1.9 * DAY_S)
    log.write([*old, new])
    for entry in (old[0], new):
        log.click("docs", entry.id, "a")

    assert log.forget_old() == 501

    assert log.count("docs") == 1
    assert log.sample("docs", 10) == ["new"]
    assert log.forget_old() == 0


def test_a_click_counts_once_and_only_on_what_was_shown(log: QueryLog) -> None:
    entry = logged("red")
    log.write([entry])
    log.click("docs", entry.id, "b")
    log.click("docs", entry.id, "b")

    with pytest.raises(InvalidInput, match="Document 'c' was not in the answer"):
        log.click("docs", entry.id, "c")
    with pytest.raises(SearchNotFound, match="No search 'no"):
        log.click("docs", "no\x00such", "a")


def test_a_sample_has_each_query_once_and_stays_the_same(log: QueryLog) -> None:
    log.write([logged(f"query {n % 20}") for n in range(100)])

    first = log.sample("docs", 5)

    assert len(first) == len(set(first)) == 5
    assert log.sample("docs", 5) == first
    assert len(log.sample("docs", 100)) == 20
    assert log.sample("other", 5) == []


def test_awkward_queries_are_kept(log: QueryLog) -> None:
    log.write([logged("a\x00b"), logged("lone \ud800 surrogate"), logged("日本語")])
    assert set(log.sample("docs", 9)) == {"a b", "lone ? surrogate", "日本語"}


def test_the_writer_keeps_what_is_offered(log: QueryLog) -> None:
    writer = LogWriter(log)
    writer.start()
    entries = [logged(f"query {n}") for n in range(450)]
    assert all(writer.offer(entry) for entry in entries)

    writer.flush(30)
    assert log.count("docs") == 450
    writer.offer(logged("the last one"))
    writer.stop()

    assert log.count("docs") == 451
    assert writer.dropped == 0


def test_a_full_queue_drops_and_counts(log: QueryLog) -> None:
    writer = LogWriter(log)  # not started: as if the database took for ever
    taken = [writer.offer(logged("red")) for _ in range(CAPACITY + 3)]
    assert taken.count(False) == writer.dropped == 3


def test_searches_of_a_corpus_that_is_gone_do_not_stop_the_others(log: QueryLog) -> None:
    stranger = LoggedSearch(new_search_id(), "gone", "x", "hybrid", 1, "live", [], 1.0)
    log.write([stranger, logged("red")])
    assert log.sample("docs", 9) == ["red"]


@pytest.mark.parametrize(
    ("share", "expected"), [(0.0, (0, 0)), (0.3, (230, 370)), (1.0, (1000, 1000))]
)
def test_a_share_of_the_searches_is_sampled(
    database: Database, tmp_path: Path, share: float, expected: tuple[int, int]
) -> None:
    log = QueryLog(database, QueryLogSettings(share=share), tmp_path / "key")
    sampled = sum(LogWriter(log).is_sampled() for _ in range(1000))
    assert expected[0] <= sampled <= expected[1]
