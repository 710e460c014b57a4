"""A corpus used by several processes at once, some of which are killed."""

import json
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import chain, islice
from pathlib import Path

import pytest
from actions import fork_server
from corpus_behaviour import fold, follow
from corpus_processes import (
    Acknowledged,
    ingest_file,
    meet_at,
    migrate_together,
    write_batches,
)
from postgresql_server import fresh_database

from lockstep.corpus.change_log import Corpora
from lockstep.corpus.database import Database
from lockstep.corpus.documents import Document

WRITERS = 4
ROUNDS = 40
DOCUMENTS = 12_000
BATCH = 100


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    if request.param == "sqlite":
        yield from migrated(f"sqlite:///{tmp_path / 'lockstep.db'}")
    else:
        server = request.getfixturevalue("postgresql")
        with fresh_database(server, "lockstep-processes") as url:
            yield from migrated(url)


@pytest.fixture
def sqlite(tmp_path: Path) -> Iterator[Database]:
    yield from migrated(f"sqlite:///{tmp_path / 'lockstep.db'}")


def migrated(url: str) -> Iterator[Database]:
    database = Database(url)
    database.migrate()
    yield database
    database.close()


def writing_processes() -> ProcessPoolExecutor:
    barrier = fork_server().Barrier(WRITERS, timeout=60)
    return ProcessPoolExecutor(WRITERS, fork_server(), initializer=meet_at, initargs=(barrier,))


def test_writers_lose_nothing_and_a_follower_misses_nothing(database: Database) -> None:
    corpora = Corpora(database)
    corpora.create("docs")
    with writing_processes() as pool:
        writers = [
            pool.submit(write_batches, database.name, "docs", writer, ROUNDS)
            for writer in range(WRITERS)
        ]
        state: dict[str, Document] = {}
        after = pages = 0
        while not all(writer.done() for writer in writers):
            page = corpora.changes("docs", after, limit=7)
            seqs = [change.seq for change in page]
            assert seqs == sorted(set(seqs))
            assert not page or seqs[0] > after
            state, after, pages = fold(page, state), seqs[-1] if page else after, pages + bool(page)
        acknowledged = [writer.result() for writer in writers]
    assert pages > 10  # it did read while they wrote

    state = fold(list(follow(corpora, "docs", after, limit=100)), state)
    expected = {
        document_id: text
        for writes in acknowledged
        for document_id, text in last_texts(writes).items()
        if text is not None
    }
    assert {each.id: each.text for each in state.values()} == expected
    hashes = {each: hashed for each, hashed, _ in corpora.fingerprints("docs") if hashed}
    assert hashes == {each.id: each.content_hash for each in state.values()}
    assert corpora.count("docs") == len(expected)
    taken = [range(first, last + 1) for writes in acknowledged for first, last, _ in writes]
    assert sorted(chain(*taken)) == list(range(1, corpora.head_seq("docs") + 1))


def last_texts(writes: list[Acknowledged]) -> dict[str, str | None]:
    texts: dict[str, str | None] = {}
    for _, _, batch in writes:
        texts |= batch
    return texts


def test_processes_that_start_at_once_migrate_once(tmp_path: Path) -> None:
    urls = [f"sqlite:///{tmp_path / f'{n}.db'}" for n in range(10)]
    with writing_processes() as pool:
        for process in [pool.submit(migrate_together, urls) for _ in range(WRITERS)]:
            process.result()
    for url in urls:
        database = Database(url)
        assert Corpora(database).names() == ["docs"]
        database.close()


def write_input(path: Path) -> dict[str, str]:
    texts = {f"{n * 7919 % 100_003:06}": f"text {n} " * 20 for n in range(DOCUMENTS)}
    with path.open("w") as file:
        file.writelines(
            json.dumps({"id": each, "text": text}) + "\n" for each, text in texts.items()
        )
    return texts


@pytest.mark.slow
def test_an_ingest_that_was_killed_and_run_again_equals_an_undisturbed_one(
    sqlite: Database, tmp_path: Path
) -> None:
    corpora = Corpora(sqlite)
    corpora.create("docs")
    path = tmp_path / "input.jsonl"
    texts = write_input(path)
    kept = 0
    for kill_at in (1, DOCUMENTS // 3, DOCUMENTS // 2):
        process = fork_server().Process(target=ingest_file, args=(sqlite.name, "docs", path, BATCH))
        process.start()
        while corpora.count("docs") < kill_at and process.is_alive():
            time.sleep(0.002)
        process.kill()
        process.join()
        assert process.exitcode == -9, "it was done before it could be killed"
        kept = corpora.count("docs")
        seqs = [change.seq for change in follow(corpora, "docs", limit=512)]
        assert seqs == list(range(1, kept + 1))  # whole batches, in the order of the file
        assert kept % BATCH == 0
        found = {each.id: each.text for each in corpora.spread("docs", kept)}
        assert found == dict(islice(texts.items(), kept))
    assert 0 < kept < DOCUMENTS

    process = fork_server().Process(target=ingest_file, args=(sqlite.name, "docs", path, BATCH))
    process.start()
    process.join(120)
    assert process.exitcode == 0
    undisturbed = {each: Document(each, text).content_hash for each, text in texts.items()}
    assert {each: hashed for each, hashed, _ in corpora.fingerprints("docs")} == undisturbed
    assert corpora.head_seq("docs") == DOCUMENTS  # what was there already took no number
