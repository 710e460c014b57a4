"""Reading documents from files: every format, and everything that can be wrong with one."""

import contextlib
import csv
import datetime
import gzip
import io
import json
import tracemalloc
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lockstep.corpus.documents import Document
from lockstep.corpus.readers import read_documents, read_ids
from lockstep.errors import InvalidDocument, InvalidInput

RECORDS: list[dict[str, Any]] = [
    {"id": "a", "title": "One", "text": 'first, "quoted"\nand on', "metadata": {"k": [1]}},
    {"id": "b", "title": "", "text": "zweiter ß 😀", "metadata": {}},
]
EXPECTED = [Document(**record) for record in RECORDS]


def as_jsonl(records: Iterable[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(record) + "\n" for record in records).encode()


def as_csv(records: Iterable[dict[str, Any]]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, ["id", "title", "text", "metadata"])
    writer.writeheader()
    for record in records:
        writer.writerow(record | {"metadata": json.dumps(record["metadata"])})
    return text.getvalue().encode()


def as_parquet(records: Iterable[dict[str, Any]]) -> bytes:
    rows = [record | {"metadata": json.dumps(record["metadata"])} for record in records]
    return table_bytes(pa.Table.from_pylist(rows))


def table_bytes(table: Any) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    return buffer.getvalue()


def written(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(gzip.compress(content) if name.lower().endswith(".gz") else content)
    return path


def documents(path: Path, **options: int) -> list[Document | InvalidDocument]:
    return [row.outcome for row in read_documents(path, **options)]


def reasons(path: Path, **options: int) -> dict[int, str]:
    """Why rows were refused, by line."""
    return {
        row.line: row.outcome.message
        for row in read_documents(path, **options)
        if isinstance(row.outcome, InvalidDocument)
    }


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jsonl", as_jsonl),
        ("A.JSONL", as_jsonl),
        ("a.jsonl.gz", as_jsonl),
        ("A.JSONL.GZ", as_jsonl),
        ("a.csv", as_csv),
        ("a.csv.gz", as_csv),
        ("a.parquet", as_parquet),
        ("beir/corpus.jsonl", as_jsonl),
        ("beir/corpus.jsonl.gz", as_jsonl),
    ],
)
def test_every_format_gives_the_same_documents(
    tmp_path: Path, name: str, content: Callable[..., bytes]
) -> None:
    path = written(tmp_path, name, content(RECORDS))
    assert documents(path.parent if name.startswith("beir") else path) == EXPECTED


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv"])
def test_a_byte_order_mark_is_no_content(tmp_path: Path, name: str) -> None:
    content = as_jsonl(RECORDS) if name == "a.jsonl" else as_csv(RECORDS)
    assert documents(written(tmp_path, name, b"\xef\xbb\xbf" + content)) == EXPECTED


def test_other_fields_join_the_metadata(tmp_path: Path) -> None:
    record = {"_id": 7, "text": "t", "title": None, "url": "x", "metadata": {"k": 1}, "n": None}
    [document] = documents(written(tmp_path, "a.jsonl", as_jsonl([record])))
    assert document == Document("7", "t", "", {"k": 1, "url": "x", "n": None})


def test_empty_cells_of_csv_and_nulls_of_parquet_are_no_values(tmp_path: Path) -> None:
    table = pa.table({"id": [1, 2], "text": ["a", "b"], "tag": ["x", None]})
    expected = [Document("1", "a", metadata={"tag": "x"}), Document("2", "b")]
    assert documents(written(tmp_path, "a.csv", b"id,text,tag\n1,a,x\n2,b,\n")) == expected
    assert documents(written(tmp_path, "a.parquet", table_bytes(table))) == expected


def test_parquet_metadata_may_be_a_struct_or_a_map_and_hold_dates(tmp_path: Path) -> None:
    day = datetime.date(2026, 1, 2)
    struct = pa.table({"id": ["a"], "text": ["t"], "metadata": [{"day": day, "tags": ["x"]}]})
    assert documents(written(tmp_path, "s.parquet", table_bytes(struct))) == [
        Document("a", "t", metadata={"day": "2026-01-02", "tags": ["x"]})
    ]
    kind = pa.map_(pa.string(), pa.string())
    column = pa.array([[("k", "v")]], kind)
    mapped = pa.table({"id": ["a"], "text": ["t"], "metadata": column})
    assert documents(written(tmp_path, "m.parquet", table_bytes(mapped))) == [
        Document("a", "t", metadata={"k": "v"})
    ]


GOOD = '{"id": "good", "text": "t"}'
BAD_LINES = [
    ('{"id": "a", "text": "t"', "not JSON"),
    ("plain words", "not JSON"),
    ("[1, 2]", "JSON array; expected an object"),
    ("null", "JSON null; expected an object"),
    ('{"text": "t"}', "no 'id'"),
    ('{"id": null, "text": "t"}', "no 'id'"),
    ('{"id": true, "text": "t"}', "id is True"),
    ('{"id": 1.5, "text": "t"}', "id is 1.5"),
    ('{"id": ["a"], "text": "t"}', "expected text or an integer"),
    ('{"id": "", "text": "t"}', "empty id"),
    ('{"id": "a"}', "no 'text'"),
    ('{"id": "a", "text": null}', "no 'text'"),
    ('{"id": "a", "text": ""}', "empty text"),
    ('{"id": "a", "text": 5}', "text of type int"),
    ('{"id": "a", "text": "\\ud800"}', "lone surrogate"),
    ('{"id": "a", "text": "t", "metadata": [1]}', "metadata of type list"),
    ('{"id": "a", "text": "t", "metadata": "{}"}', "metadata of type str"),
    ('{"id": "a", "text": "t", "metadata": {"x": NaN}}', "NaN is not a JSON value"),
    ('{"id": "a", "text": "t", "x": -Infinity}', "-Infinity is not a JSON value"),
    ('{"id": "a", "text": "t", "x": 1e999}', "metadata that is not JSON"),
    ('{"id": "a", "text": "t", "x": %s}' % ("9" * 5000), "not JSON"),
    ('{"id": "a", "text": "t", "x": %s}' % ("9" * 20), "64 bits"),
    ('{"id": "a", "text": "t", "x": 1, "metadata": {"x": 2}}', "'x' both as a field and in"),
    ('{"id": "a", "text": "t", "x": %s}' % ("[" * 33 + "]" * 33), "deeper than 32"),
    ('{"id": "a", "text": "t", "x": %s}' % ("[" * 90000 + "]" * 90000), "nested too deeply"),
    ('{"id": "a", "text": "%s"}' % ("x" * 2_000_000), "more than 1,048,576 bytes"),
]


@pytest.mark.parametrize(("bad", "reason"), BAD_LINES, ids=[reason for _, reason in BAD_LINES])
def test_a_bad_line_is_refused_with_its_reason_and_number(
    tmp_path: Path, bad: str, reason: str
) -> None:
    path = written(tmp_path, "a.jsonl", f"{GOOD}\n\n{bad}\n{GOOD}\n".encode())
    rows = list(read_documents(path))
    assert [row.line for row in rows] == [1, 3, 4]
    assert rows[0].outcome == rows[2].outcome == Document("good", "t")
    assert reason in reasons(path)[3]


def test_bytes_that_are_not_utf_8_are_refused(tmp_path: Path) -> None:
    path = written(tmp_path, "a.jsonl", b'{"id": "a", "text": "\xff"}\n')
    assert "not UTF-8" in reasons(path)[1]
    assert "not UTF-8" in reasons(written(tmp_path, "b.jsonl", GOOD.encode("utf-16")))[1]
    path = written(tmp_path, "a.csv", b'id,text\na,"\xff\n"\nb,good\n')
    assert "not UTF-8" in reasons(path)[2]
    assert documents(path)[1:] == [Document("b", "good")]


def test_strings_of_parquet_that_are_not_utf_8_are_refused(tmp_path: Path) -> None:
    text = pa.array([b"\xff", b"good"], pa.binary()).view(pa.string())
    path = written(tmp_path, "a.parquet", table_bytes(pa.table({"id": ["a", "b"], "text": text})))
    assert "not UTF-8" in reasons(path)[1]
    assert documents(path)[1:] == [Document("b", "good")]


@pytest.mark.parametrize("ending", ["", "\n", "\r\n"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_the_limit_of_a_line_is_exact(tmp_path: Path, ending: str, mark: bytes) -> None:
    path = written(tmp_path, "a.jsonl", mark + (GOOD + ending).encode())
    size = len(mark) + len(GOOD)
    assert documents(path, max_document_bytes=size) == [Document("good", "t")]
    assert "more than" in reasons(path, max_document_bytes=size - 1)[1]


def test_bad_records_of_csv(tmp_path: Path) -> None:
    lines = [
        "id,text,metadata",  # 1
        'a,"spans\ntwo lines",',
        "b,t,{}",  # 4
        "c,t",
        "d,t,[1]",
        "e,t,{",
        'f,"a"b,',
        "",
        "g,nul\0byte,",
        f"h,{'x' * 5000},",
        ",t,",
        'i,t,"{""x"": NaN}"',
        "j,t,{}",
        'k,"never closed',
    ]
    path = written(tmp_path, "a.csv", "\n".join(lines).encode())
    found = reasons(path, max_document_bytes=4000)
    expected = {
        5: "2 cells; the header has 3",
        6: "metadata of type list",
        7: "not JSON",
        8: "not CSV",
        10: "NUL",
        11: "more than 4,000 bytes",
        12: "no 'id'",
        13: "NaN",
        15: "not CSV: unexpected end of data",
    }
    assert found.keys() == expected.keys()
    assert all(reason in found[line] for line, reason in expected.items())
    kept = [row.line for row in read_documents(path) if isinstance(row.outcome, Document)]
    assert kept == [2, 4, 11, 14]


def test_a_quote_that_swallows_the_file_ends_the_reading(tmp_path: Path) -> None:
    content = 'id,text\na,t\nb,"never closed\n' + "c,t\n" * 10_000
    path = written(tmp_path, "a.csv", content.encode())
    rows = read_documents(path, max_document_bytes=1000)
    assert next(rows).outcome == Document("a", "t")
    with pytest.raises(InvalidInput, match=r"line 3: .* more than 16,000 bytes") as caught:
        next(rows)
    assert "quote" in caught.value.next_step


def test_a_field_beyond_the_standard_limit_of_csv_is_read(tmp_path: Path) -> None:
    path = written(tmp_path, "a.csv", f"id,text\na,{'x' * 500_000}\n".encode())
    assert documents(path) == [Document("a", "x" * 500_000)]


def test_bad_rows_of_parquet(tmp_path: Path) -> None:
    table = pa.table(
        {
            "id": ["a", None, "c", "d", "e"],
            "text": ["t", "t", None, "x" * 3000, "t"],
            "score": [0.5, 0.5, 0.5, 0.5, float("nan")],
        }
    )
    path = written(tmp_path, "a.parquet", table_bytes(table))
    found = reasons(path, max_document_bytes=2000)
    expected = {2: "no 'id'", 3: "no 'text'", 4: "more than 2,000 bytes", 5: "not JSON"}
    assert found.keys() == expected.keys()
    assert all(reason in found[line] for line, reason in expected.items())


def test_a_missing_file_names_the_formats(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"There is no file .*\.jsonl\.gz.*BEIR"):
        documents(tmp_path / "a.jsonl")


UNUSABLE = [
    ("a.jsonl", b"", "no documents"),
    ("a.jsonl", b"\n \n", "no documents"),
    ("a.jsonl.gz", b"", "no documents"),
    ("a.csv", b"", "is empty"),
    ("a.csv", b"id,text\n", "no documents"),
    ("a.csv", b"id,body\n1,x\n", "columns id, body; expected 'id'"),
    ("a.csv", b"text\nx\n", "expected 'id' (or '_id') and 'text'"),
    ("a.csv", b"id,text,text\n1,x,y\n", "two columns of one name"),
    ("a.csv", b'"id,text\n1,x\n', "header"),
    ("a.parquet", b"", "cannot be read as Parquet"),
    ("a.parquet", b"not parquet at all", "cannot be read as Parquet"),
    ("a.parquet", table_bytes(pa.table({"id": ["a"]})), "columns id; expected"),
    ("a.parquet", table_bytes(pa.table({"id": ["a"], "text": ["t"]}))[:-9], "as Parquet"),
    ("a.parquet", table_bytes(pa.table({"id": ["a"], "text": ["t"]})[:0]), "no documents"),
    ("a.txt", b"words", "unknown format"),
    ("a.json", b"{}", "unknown format"),
    ("jsonl", b"{}", "unknown format"),
    ("folder/other.txt", b"", "no BEIR folder"),
]


@pytest.mark.parametrize(("name", "content", "reason"), UNUSABLE)
def test_a_file_that_cannot_be_used_says_why(
    tmp_path: Path, name: str, content: bytes, reason: str
) -> None:
    path = written(tmp_path, name, content)
    with pytest.raises(InvalidInput) as caught:
        documents(path.parent if name.startswith("folder") else path)
    assert reason in caught.value.message


def test_a_truncated_gzip_file_gives_what_came_before(tmp_path: Path) -> None:
    whole = gzip.compress(as_jsonl({"id": n, "text": f"text {n * 7919}"} for n in range(50_000)))
    (tmp_path / "a.jsonl.gz").write_bytes(whole[: len(whole) // 2])
    rows = read_documents(tmp_path / "a.jsonl.gz")
    first = next(rows)
    with pytest.raises(InvalidInput, match="truncated: it ends after line") as caught:
        list(rows)
    assert first.outcome == Document("0", "text 0")
    assert "Copy the file again" in caught.value.next_step


def test_what_is_no_gzip_says_so(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl.gz").write_bytes(as_jsonl(RECORDS))
    with pytest.raises(InvalidInput, match="expected gzip data"):
        documents(tmp_path / "a.jsonl.gz")


@pytest.mark.parametrize(
    ("name", "content"), [("a.jsonl", as_jsonl), ("a.csv", as_csv), ("a.parquet", as_parquet)]
)
def test_rows_before_the_start_line_are_passed_over(
    tmp_path: Path, name: str, content: Callable[..., bytes]
) -> None:
    records = [{"id": str(n), "title": "", "text": "t", "metadata": {}} for n in range(600)]
    path = written(tmp_path, name, content(records))
    rows = list(read_documents(path))
    assert list(read_documents(path, start_line=400)) == [row for row in rows if row.line >= 400]
    with pytest.raises(InvalidInput, match="no documents at or after line 1000"):
        documents(path, start_line=1000)


def test_offsets_grow_to_the_size_of_the_file(tmp_path: Path) -> None:
    content = as_jsonl({"id": n, "text": f"text {n * 7919}"} for n in range(100_000))
    for name in ("a.jsonl", "a.jsonl.gz"):
        path = written(tmp_path, name, content)
        offsets = [row.offset for row in read_documents(path)]
        assert offsets == sorted(offsets)
        assert 0 < offsets[0] < path.stat().st_size == offsets[-1]


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    path = tmp_path / "big.jsonl.gz"
    line = json.dumps({"id": "a", "text": "x" * 10_000}).encode() + b"\n"
    with gzip.open(path, "wb", compresslevel=1) as file:
        for _ in range(50):
            file.write(line * 100)  # 50 MB in lines of 10 kB
        for _ in range(50):
            file.write(b"x" * 1_000_000)  # 50 MB in one line
    tracemalloc.start()
    rows = sum(1 for _ in read_documents(path))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert rows == 5001
    assert peak < 8 << 20


def test_ids_come_one_per_line(tmp_path: Path) -> None:
    path = written(tmp_path, "ids.txt", "\ufeffa\n\n  b c \r\né".encode())
    assert list(read_ids(path)) == ["a", "b c", "é"]
    path.write_bytes(b"a\n\xff\n")
    with pytest.raises(InvalidInput, match="line 2: it is not UTF-8"):
        list(read_ids(path))
    path.write_bytes(b"x" * 10_000)
    with pytest.raises(InvalidInput, match="line 1: it is too long"):
        list(read_ids(path))
    with pytest.raises(InvalidInput, match="cannot be read: No such file"):
        list(read_ids(tmp_path / "none.txt"))


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=300), name=st.sampled_from(["a.jsonl", "a.csv", "a.jsonl.gz"]))
def test_no_bytes_end_in_another_error(tmp_path: Path, content: bytes, name: str) -> None:
    header = b"id,text\n" if name == "a.csv" else b""
    (tmp_path / name).write_bytes(header + content)
    with contextlib.suppress(InvalidInput):
        documents(tmp_path / name)
