"""Files into a corpus: what is kept, what is refused, and how to go on."""

import gzip
import json
import tracemalloc
from functools import partial
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lockstep.corpus import ingest as ingest_module
from lockstep.corpus.change_log import Corpora
from lockstep.corpus.documents import Document
from lockstep.corpus.ingest import MAX_REJECTIONS_LISTED, IngestProgress, Rejection, ingest
from lockstep.errors import CorpusNotFound, DatabaseUnavailable, InvalidInput

BAD = "not a document"


def line(document_id: object, text: str = "text") -> str:
    return json.dumps({"id": document_id, "text": text})


def lines(path: Path, *content: str) -> Path:
    path.write_text("".join(f"{each}\n" for each in content))
    return path


def ids(corpora: Corpora, name: str = "docs") -> list[str]:
    return [document_id for document_id, hashed, _ in corpora.fingerprints(name) if hashed]


def test_an_ingest_creates_the_corpus_and_reports(tmp_path: Path, corpora: Corpora) -> None:
    one = lines(tmp_path / "1.jsonl", line("a"), line("b"), line("a", "later"))
    two = lines(tmp_path / "2.jsonl", line("c"), line("b", "other"))
    report = ingest(corpora, "docs", [one, two])
    assert (report.added, report.changed, report.unchanged) == (3, 1, 0)
    assert (report.duplicates, report.rejected_count) == (2, 0)
    assert corpora.get("docs", "a").text == "later"
    again = ingest(corpora, "docs", [two], delete_ids=["a", "none"])
    assert (again.unchanged, again.deleted, again.missing) == (2, 1, 1)
    assert ids(corpora) == ["b", "c"]


def test_deletes_come_after_the_files(tmp_path: Path, corpora: Corpora) -> None:
    path = lines(tmp_path / "a.jsonl", line("a"), line("b"))
    report = ingest(corpora, "docs", [path], delete_ids=iter(["a"]))
    assert (report.added, report.deleted) == (2, 1)
    assert ids(corpora) == ["b"]


def test_a_bad_row_stops_and_keeps_what_came_before(tmp_path: Path, corpora: Corpora) -> None:
    content = [line(f"{n:02}") for n in range(25)]
    content[13] = BAD
    path = lines(tmp_path / "a b.jsonl", *content)
    with pytest.raises(InvalidInput) as caught:
        ingest(corpora, "docs", [path], batch_documents=10, delete_ids=["00"])
    assert f"'{path}', line 14: It is not JSON" in caught.value.message
    assert "that are kept: 13." in caught.value.message
    assert f"`lockstep ingest docs '{path}' --start-line 14`" in caught.value.next_step
    assert "--on-error skip" in caught.value.next_step
    assert ids(corpora) == [f"{n:02}" for n in range(13)]

    content[13] = line("13")
    report = ingest(corpora, "docs", [lines(path, *content)], start_line=14)
    assert report.added == 12
    assert len(ids(corpora)) == 25


def test_bad_rows_can_be_skipped(tmp_path: Path, corpora: Corpora) -> None:
    one = lines(tmp_path / "1.jsonl", BAD, line("a"), line(""))
    two = lines(tmp_path / "2.jsonl", line("b"), BAD)
    report = ingest(corpora, "docs", [one, two], on_error="skip")
    assert report.added == 2
    assert report.rejected_count == 3
    assert report.rejected[1] == Rejection(str(one), 3, "A document has an empty id.")
    assert [(each.file, each.line) for each in report.rejected] == [
        (str(one), 1),
        (str(one), 3),
        (str(two), 2),
    ]


def test_the_list_of_rejections_is_bounded(tmp_path: Path, corpora: Corpora) -> None:
    path = lines(tmp_path / "a.jsonl", *[BAD] * (MAX_REJECTIONS_LISTED + 5))
    report = ingest(corpora, "docs", [path], on_error="skip")
    assert report.rejected_count == MAX_REJECTIONS_LISTED + 5
    assert len(report.rejected) == MAX_REJECTIONS_LISTED
    assert not corpora.exists("docs")


@pytest.mark.parametrize("content", [[], [BAD, line("a")]])
def test_nothing_is_created_where_the_first_input_is_unusable(
    tmp_path: Path, corpora: Corpora, content: list[str]
) -> None:
    with pytest.raises(InvalidInput):
        ingest(corpora, "docs", [lines(tmp_path / "a.jsonl", *content)])
    assert corpora.names() == []


def test_every_file_is_looked_at_before_the_first_is_read(tmp_path: Path, corpora: Corpora) -> None:
    good = lines(tmp_path / "a.jsonl", line("a"))
    with pytest.raises(InvalidInput, match="There is no file"):
        ingest(corpora, "docs", [good, tmp_path / "none.jsonl"])
    with pytest.raises(InvalidInput, match="cannot name a corpus"):
        ingest(corpora, "DOCS", [good])
    assert corpora.names() == []


def test_deleting_from_no_corpus_says_so(corpora: Corpora) -> None:
    with pytest.raises(CorpusNotFound):
        ingest(corpora, "docs", [], delete_ids=["a"])


def test_a_truncated_file_keeps_what_came_before(tmp_path: Path, corpora: Corpora) -> None:
    content = "".join(line(n, f"text {n * 7919}") + "\n" for n in range(50_000)).encode()
    whole, path = gzip.compress(content), tmp_path / "a.jsonl.gz"
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InvalidInput, match="truncated") as caught:
        ingest(corpora, "docs", [path])
    kept = corpora.count("docs")
    assert kept > 1000
    assert f"kept: {kept:,}." in caught.value.message
    assert caught.value.next_step.endswith(f"--start-line {kept + 1}`.")

    path.write_bytes(whole)
    assert ingest(corpora, "docs", [path], start_line=kept + 1).added == 50_000 - kept


def test_a_second_file_that_fails_says_where_to_go_on(tmp_path: Path, corpora: Corpora) -> None:
    paths = [lines(tmp_path / f"{n}.jsonl", line(n)) for n in range(4)]
    lines(paths[1], BAD)
    lines(paths[2], "")
    for culprit in (1, 2):
        with pytest.raises(InvalidInput) as caught:
            ingest(corpora, "docs", paths)
        rest = " ".join(str(path) for path in paths[culprit:])
        assert f"`lockstep ingest docs {rest} --start-line 1`" in caught.value.next_step
        lines(paths[1], line(1))


def test_progress_ends_at_the_whole_input(tmp_path: Path, corpora: Corpora) -> None:
    paths = [
        lines(tmp_path / f"{name}.jsonl", *(line(f"{name}{n}") for n in range(25)), BAD)
        for name in "ab"
    ]
    seen: list[IngestProgress] = []
    ingest(corpora, "docs", paths, on_error="skip", batch_documents=10, progress=seen.append)
    assert [each.documents for each in seen] == [10, 20, 25, 35, 45, 50]
    size = sum(path.stat().st_size for path in paths)
    assert {each.bytes_total for each in seen} == {size}
    assert (seen[-1].bytes_read, seen[-1].rejected, seen[-1].file) == (size, 2, str(paths[1]))
    assert [each.bytes_read for each in seen] == sorted(each.bytes_read for each in seen)


def test_memory_does_not_grow_with_the_input(tmp_path: Path, corpora: Corpora) -> None:
    path = tmp_path / "big.jsonl.gz"
    text = "x" * 500_000
    with gzip.open(path, "wb", compresslevel=1) as file:
        for n in range(200):
            file.write(line(n, text).encode() + b"\n")  # 100 MB
    tracemalloc.start()
    report = ingest(corpora, "docs", [path])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert report.added == 200
    assert peak < 60 << 20


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(st.tuples(st.sampled_from("abcdef"), st.sampled_from("xyz")), min_size=1),
    batch_documents=st.integers(1, 5),
)
def test_an_ingest_equals_a_dictionary(
    tmp_path: Path, corpora: Corpora, rows: list[tuple[str, str]], batch_documents: int
) -> None:
    if corpora.exists("docs"):
        corpora.write("docs", deletes=ids(corpora))
    path = lines(tmp_path / "a.jsonl", *(line(*row) for row in rows))
    report = ingest(corpora, "docs", [path], batch_documents=batch_documents)
    assert {each: corpora.get("docs", each) for each in ids(corpora)} == {
        each: Document(each, text) for each, text in rows
    }
    assert report.duplicates == len(rows) - len(dict(rows))


def test_a_write_that_is_repeated_leaves_no_words_in_the_log(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ingest_module, "_LONGEST_WAIT_S", 0.01)
    failures = iter([DatabaseUnavailable("The database does not answer.")])

    def write(documents: list[Document]) -> int:
        for failure in failures:
            raise failure
        return len(documents)

    secret = partial(write, [Document("a", "nobody else's words")])
    assert ingest_module._patiently(secret) == 1
    assert "The database does not answer." in caplog.text
    assert "words" not in caplog.text
