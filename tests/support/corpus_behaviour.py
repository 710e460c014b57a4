"""What a corpus does on every database: one suite, run once on SQLite and once on PostgreSQL."""

import threading
from collections.abc import Iterator, Sequence
from itertools import count, pairwise

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select
from sqlalchemy.exc import DBAPIError

from lockstep.corpus.change_log import Corpora
from lockstep.corpus.database import Database
from lockstep.corpus.documents import Change, Document
from lockstep.corpus.schema import corpora as tables
from lockstep.corpus.schema import documents, metadata
from lockstep.errors import (
    CorpusNotFound,
    DocumentNotFound,
    InvalidDocument,
    InvalidInput,
    LockstepError,
)

NAMES = count()
# Orders that differ: by byte, by UTF-16 unit, by the rules of a language.
AWKWARD_IDS = ["a", "B", "b", "A", "Z", "aa", "a-b", "ab", "é", "z", "ﬀ", "😀", "_", "10", "9", " "]

Batch = tuple[list[Document], list[str]]


def document(document_id: str, text: str = "text") -> Document:
    return Document(document_id, text)


def follow(corpora: Corpora, name: str, after: int = 0, limit: int = 3) -> Iterator[Change]:
    """Every change after a seq, page by page."""
    while page := corpora.changes(name, after, limit=limit):
        yield from page
        after = page[-1].seq


def fold(changes: Sequence[Change], state: dict[str, Document]) -> dict[str, Document]:
    """The documents that are there after the changes."""
    state = dict(state)
    for change in changes:
        if change.document is None:
            state.pop(change.document_id, None)
        else:
            state[change.document_id] = change.document
    return state


ids = st.sampled_from(["a", "b", "c", "d", "é"])
texts = st.sampled_from(["one", "two", "three"])
upserts = st.lists(st.builds(Document, id=ids, text=texts), max_size=4)
deletes = st.lists(ids, max_size=3)
batches = st.lists(st.tuples(upserts, deletes).map(lambda pair: disjoint(*pair)), max_size=8)


def disjoint(upserts: list[Document], deletes: list[str]) -> Batch:
    wanted = {each.id for each in upserts}
    return upserts, [each for each in deletes if each not in wanted]


class CorpusBehaviour:
    """Needs the fixtures `database` and `corpora`."""

    @pytest.fixture
    def name(self, corpora: Corpora) -> str:
        name = f"corpus-{next(NAMES)}"
        corpora.create(name)
        return name

    def test_the_migrations_make_the_tables_of_the_schema(self, database: Database) -> None:
        with database.reading() as connection:
            context = MigrationContext.configure(connection, opts={"compare_type": True})
            assert compare_metadata(context, metadata) == []

    def test_migrating_again_changes_nothing(self, database: Database, corpora: Corpora) -> None:
        corpora.create("kept")
        database.migrate()
        assert corpora.exists("kept")

    def test_a_write_counts_what_it_did(self, corpora: Corpora, name: str) -> None:
        corpora.write(name, [document("a"), document("b"), document("c")])
        result = corpora.write(
            name, [document("a"), document("b", "new"), document("d")], ["c", "none"]
        )
        counts = (result.added, result.changed, result.unchanged, result.deleted, result.missing)
        assert counts == (1, 1, 1, 1, 1)
        assert result.head_seq == 6 == corpora.head_seq(name)
        assert corpora.count(name) == 3

    def test_the_same_batch_again_writes_nothing(self, corpora: Corpora, name: str) -> None:
        batch = [document("a"), document("b")]
        corpora.write(name, batch)
        corpora.write(name, deletes=["b"])
        again = corpora.write(name, [document("a")], ["b", "b"])
        assert (again.unchanged, again.missing, again.head_seq) == (1, 1, 3)

    def test_a_deleted_document_leaves_a_tombstone_without_content(
        self, corpora: Corpora, database: Database, name: str
    ) -> None:
        corpora.write(name, [Document("a", "secret", "title", {"k": "v"})])
        corpora.write(name, deletes=["a"])
        assert corpora.changes(name, 0) == [Change(2, "a", None)]
        assert list(corpora.fingerprints(name)) == [("a", None, 2)]
        with pytest.raises(DocumentNotFound, match="no document 'a'"):
            corpora.get(name, "a")
        with database.reading() as connection:
            row = connection.execute(select(documents).where(documents.c.seq == 2)).one()
            assert (row.content_hash, row.title, row.text, row.metadata) == (None,) * 4

    def test_a_document_can_come_back(self, corpora: Corpora, name: str) -> None:
        corpora.write(name, [document("a")])
        corpora.write(name, deletes=["a"])
        assert corpora.write(name, [document("a")]).added == 1
        assert corpora.changes(name, 0) == [Change(3, "a", document("a"))]

    def test_of_an_id_that_comes_twice_the_last_one_counts(
        self, corpora: Corpora, name: str
    ) -> None:
        result = corpora.write(name, [document("a", "first"), document("a", "last")])
        assert (result.added, result.head_seq) == (1, 1)
        assert corpora.get(name, "a").text == "last"

    def test_an_id_to_upsert_and_delete_is_refused_and_nothing_written(
        self, corpora: Corpora, name: str
    ) -> None:
        with pytest.raises(InvalidInput, match="both upserted and deleted"):
            corpora.write(name, [document("a"), document("b")], ["a"])
        assert corpora.head_seq(name) == 0

    def test_documents_come_back_as_they_were_written(self, corpora: Corpora, name: str) -> None:
        text = "  Ünï \n\t 'quoted' \"twice\" %s %(x)s :y ? \\ 😀  "
        data = {"z": [1, 2.5, None, True, {"deep": "\x00"}], "a": {"é": -(2**63)}}
        written = Document("id with spaces/%s", text, " title ", data)
        corpora.write(name, [written])
        assert corpora.get(name, written.id) == written
        assert list(corpora.get(name, written.id).metadata) == ["z", "a"]

    @pytest.mark.parametrize("bad", ["", "a\x00b", "\ud800", "x" * 600])
    def test_an_id_that_cannot_be_is_refused(self, corpora: Corpora, name: str, bad: str) -> None:
        with pytest.raises(InvalidDocument):
            corpora.get(name, bad)
        with pytest.raises(InvalidDocument):
            corpora.write(name, deletes=[bad])

    def test_an_unknown_corpus_names_the_known_ones(self, corpora: Corpora, name: str) -> None:
        with pytest.raises(CorpusNotFound, match=f"'{name}'") as caught:
            corpora.write("nobody", [document("a")])
        assert caught.value.next_step == "Create it with `lockstep ingest nobody FILE`."
        assert not corpora.exists("nobody")

    def test_corpora_do_not_see_each_other(self, corpora: Corpora, name: str) -> None:
        corpora.create("other")
        corpora.write("other", [document("a", "theirs"), document("b")])
        corpora.write(name, [document("a", "ours")])
        assert corpora.info(name).documents == corpora.head_seq(name) == 1
        assert corpora.get(name, "a").text == "ours"
        assert [change.seq for change in corpora.changes(name, 0)] == [1]
        assert len(corpora.sample(name, 9, 0)) == len(list(corpora.spread(name, 9))) == 1

    def test_creating_a_corpus_again_keeps_it(self, corpora: Corpora, name: str) -> None:
        corpora.write(name, [document("a")])
        before = corpora.info(name)
        corpora.create(name)
        assert corpora.info(name) == before
        assert name in corpora.names()

    def test_a_page_of_changes_ends_at_its_limit(self, corpora: Corpora, name: str) -> None:
        corpora.write(name, [document(str(n)) for n in range(7)])
        pages = [corpora.changes(name, after, limit=3) for after in (0, 3, 6, 7)]
        assert [[change.seq for change in page] for page in pages] == [
            [1, 2, 3],
            [4, 5, 6],
            [7],
            [],
        ]

    def test_a_page_of_changes_ends_at_its_bytes(self, corpora: Corpora, name: str) -> None:
        texts = ["é" * 300, "x" * 500, "x" * 2000, "x", "x"]  # 600 bytes, 500, 2000, ...
        corpora.write(name, [document(str(n), text) for n, text in enumerate(texts)])

        def seqs(after: int) -> list[int]:
            return [change.seq for change in corpora.changes(name, after, max_bytes=1010)]

        assert [seqs(after) for after in (0, 1, 2, 3)] == [[1], [2], [3], [4, 5]]

    def test_fingerprints_come_in_the_order_of_code_points(
        self, corpora: Corpora, name: str
    ) -> None:
        corpora.write(name, [document(each) for each in AWKWARD_IDS])
        corpora.write(name, deletes=["b"])
        found = list(corpora.fingerprints(name))
        assert [each for each, _, _ in found] == sorted(AWKWARD_IDS)
        hashes = {each: content_hash for each, content_hash, _ in found}
        assert hashes.pop("b") is None
        assert set(hashes.values()) == {document("a").content_hash}

    def test_fingerprints_are_of_one_moment(self, corpora: Corpora, name: str) -> None:
        corpora.write(name, [document(f"{n:04}") for n in range(2500)])
        found = corpora.fingerprints(name)
        first = next(found)
        corpora.write(name, [document(f"{n:04}", "changed") for n in range(2500)])
        assert [seq for _, _, seq in [first, *found]] == list(range(1, 2501))

    def test_a_sample_is_the_same_for_the_same_seed(self, corpora: Corpora, name: str) -> None:
        corpora.write(name, [document(f"{n:03}") for n in range(300)])
        corpora.write(name, deletes=[f"{n:03}" for n in range(0, 300, 2)])
        sample = corpora.sample(name, 50, seed=4)
        assert sample == corpora.sample(name, 50, seed=4) != corpora.sample(name, 50, seed=5)
        assert len({each.id for each in sample}) == 50
        assert all(int(each.id) % 2 for each in sample)
        everything = corpora.sample(name, 1000, seed=4)
        assert len({each.id for each in everything}) == len(everything) == 150

    def test_a_spread_covers_the_log_evenly(self, corpora: Corpora, name: str) -> None:
        corpora.write(name, [document(f"{n:04}") for n in range(1000)])
        numbers = [int(each.id) for each in corpora.spread(name, 20)]
        gaps = [after - before for before, after in pairwise(numbers)]
        assert len(numbers) == 20
        assert set(gaps) <= {46, 47, 48, 49, 50}
        assert len(list(corpora.spread(name, 1000))) == 1000

    def test_a_spread_finds_the_documents_behind_a_gap(self, corpora: Corpora, name: str) -> None:
        for round_number in range(10):  # nine tenths of the log are gaps now
            corpora.write(name, [document(str(n), f"{round_number}") for n in range(100)])
        assert len(list(corpora.spread(name, 50))) == 50
        assert len(corpora.sample(name, 50, seed=1)) == 50

    def test_a_reader_sees_one_state_while_others_write(
        self, corpora: Corpora, database: Database, name: str
    ) -> None:
        head = select(tables.c.head_seq).where(tables.c.name == name)
        with database.reading() as connection:
            before = connection.scalar(head)
            corpora.write(name, [document("a")])
            assert connection.scalar(head) == before == 0
        assert corpora.head_seq(name) == 1

    def test_a_reading_transaction_cannot_write(
        self, corpora: Corpora, database: Database, name: str
    ) -> None:
        with pytest.raises((LockstepError, DBAPIError)), database.reading() as connection:
            connection.execute(tables.update().values(head_seq=9))
        assert corpora.head_seq(name) == 0

    def test_an_error_in_the_block_undoes_the_transaction(
        self, corpora: Corpora, database: Database, name: str
    ) -> None:
        row = {"corpus_id": 1, "id": "a", "seq": 77}
        with pytest.raises(ZeroDivisionError), database.writing() as connection:
            _ = connection.execute(documents.insert().values(**row)).rowcount / 0
        with database.reading() as connection:
            assert connection.scalar(select(documents.c.id).where(documents.c.seq == 77)) is None

    def test_threads_that_write_at_once_lose_nothing(self, corpora: Corpora, name: str) -> None:
        def write(writer: int) -> None:
            for n in range(20):
                corpora.write(name, [document(f"{writer}-{n}"), document("shared", f"{writer}{n}")])

        threads = [threading.Thread(target=write, args=(writer,)) for writer in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert corpora.head_seq(name) == 160
        assert corpora.count(name) == 81
        assert len(list(follow(corpora, name, limit=50))) == 81

    @settings(
        max_examples=40,
        suppress_health_check=[
            HealthCheck.function_scoped_fixture,
            HealthCheck.differing_executors,
        ],
    )
    @given(batches=batches, offset=st.integers(0, 8))
    def test_the_log_from_any_offset_on_folds_to_the_corpus(
        self, corpora: Corpora, database: Database, batches: list[Batch], offset: int
    ) -> None:
        name = f"model-{next(NAMES)}"
        corpora.create(name)
        oracle: dict[str, Document] = {}
        states = [(0, oracle)]
        for upserts, deletes in batches:
            before = corpora.head_seq(name)
            result = corpora.write(name, upserts, deletes)
            expected = {each.id: each for each in upserts}
            kept = {key: each for key, each in oracle.items() if key not in deletes}
            changed = sum(oracle.get(key) != each for key, each in expected.items())
            assert result.deleted == len(oracle) - len(kept)
            assert result.added + result.changed == changed
            assert result.head_seq == before + changed + result.deleted
            oracle = kept | expected
            states.append((result.head_seq, oracle))

        seen, state = states[min(offset, len(states) - 1)]
        changes = list(follow(corpora, name, seen))
        assert fold(changes, state) == fold(list(follow(corpora, name)), {}) == oracle
        seqs = [change.seq for change in changes]
        assert seqs == sorted(set(seqs))
        live = {each: hashed for each, hashed, _ in corpora.fingerprints(name) if hashed}
        assert live == {each.id: each.content_hash for each in oracle.values()}
        assert corpora.count(name) == len(oracle)
