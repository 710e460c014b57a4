"""The query log: what it keeps of a search, what it does not, and for how long."""

import queue
import sqlite3
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from sqlalchemy import select

from lockstep.corpus.change_log import Corpora
from lockstep.corpus.database import Database
from lockstep.corpus.log_writer import CAPACITY, LogWriter
from lockstep.corpus.query_log import LoggedSearch, QueryLog, new_search_id
from lockstep.corpus.schema import searches
from lockstep.errors import InvalidInput, InvalidSetting, SearchNotFound
from lockstep.settings import QueryLogSettings

DAY_S = 86_400.0


@pytest.fixture(autouse=True)
def corpus(corpora: Corpora) -> None:
    corpora.create("docs")


@pytest.fixture
def log(database: Database, tmp_path: Path) -> QueryLog:
    return QueryLog(database, QueryLogSettings(share=1.0, days=2), tmp_path / "query_log.key")


def logged(query: str | None, *, at: float | None = None) -> LoggedSearch:
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
        return QueryLog(database, QueryLogSettings(redact=True), tmp_path / name)

    assert log("one").digest("red") == log("one").digest("red")
    assert log("one").digest("red") != log("two").digest("red")
    assert (tmp_path / "one").stat().st_mode & 0o777 == 0o600
    assert len((tmp_path / "one").read_bytes()) == 32
    assert len(list(tmp_path.glob("one*"))) == 1


def test_plain_searches_need_no_key_and_servers_agree_on_their_digests(
    database: Database, tmp_path: Path
) -> None:
    """As in a container whose workspace folder can only be read."""
    unwritable = tmp_path / "a file"
    unwritable.write_bytes(b"")
    one, other = (
        QueryLog(database, QueryLogSettings(share=1.0), folder / "key")
        for folder in (unwritable, tmp_path)
    )
    LogWriter(one).log.write([logged("red")])

    assert one.sample("docs", 9) == ["red"]
    assert one.digest("Red  river") == other.digest("red river") != one.digest("blue")
    assert not (tmp_path / "key").exists()


@pytest.mark.parametrize("content", [None, b"", b"short", b"x" * 65])
def test_nothing_is_redacted_without_a_good_key(
    database: Database, tmp_path: Path, content: bytes | None
) -> None:
    file = tmp_path / "file"
    file.write_bytes(content or b"")
    key_file = file / "key" if content is None else file
    writer = LogWriter(QueryLog(database, QueryLogSettings(redact=True), key_file))

    with pytest.raises(InvalidSetting, match=r"redact needs a key|expected 32 to 64"):
        writer.start()


def test_a_search_kept_for_its_clicks_alone_has_neither_words_nor_digest(
    log: QueryLog, database: Database
) -> None:
    entry = logged(None)
    log.write([entry])
    log.click("docs", entry.id, "a")

    assert log.get("docs", entry.id) == entry
    assert log.sample("docs", 9) == []
    with database.reading() as connection:
        assert connection.scalars(select(searches.c.query_digest)).all() == [""]


def test_a_clock_that_jumps_ahead_makes_nothing_old(
    log: QueryLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    log.write([logged("red")])
    a_year_on = time.time() + 365 * DAY_S
    monkeypatch.setattr("lockstep.corpus.query_log.time.time", lambda: a_year_on)

    assert log.forget_old() == 0


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


class Gate(QueryLog):
    """A database that takes a batch each time it is let."""

    def __init__(self) -> None:
        self.settings = QueryLogSettings()
        self.asked: queue.Queue[list[str]] = queue.Queue()
        self.let = threading.Semaphore(0)

    def write(self, entries: Sequence[LoggedSearch]) -> None:
        self.asked.put([entry.id for entry in entries])
        self.let.acquire()

    def forget_old(self) -> int:
        return 0


def test_a_flush_waits_for_what_came_before_it_and_not_for_more() -> None:
    gate = Gate()
    writer = LogWriter(gate)
    writer.start()
    first, second = logged("first"), logged("second")
    writer.offer(first)
    assert gate.asked.get(timeout=30) == [first.id]
    flushed = threading.Thread(target=writer.flush, args=(30.0,))
    flushed.start()
    writer.offer(second)
    assert writer.is_waiting(first.id)
    assert not writer.is_waiting("unknown")

    gate.let.release()
    assert gate.asked.get(timeout=30) == [second.id]  # it is being written, and is not awaited
    flushed.join(10)

    assert not flushed.is_alive()
    assert not writer.is_waiting(first.id)
    assert writer.is_waiting(second.id)
    gate.let.release()
    writer.stop()


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
