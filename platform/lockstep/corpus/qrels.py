"""Reading judgments from files: a BEIR folder, or qrels as TREC or BEIR write them with queries."""

import re
from collections.abc import Iterator
from pathlib import Path

from lockstep.corpus.documents import check_id, shown
from lockstep.corpus.line_stream import LineStream
from lockstep.corpus.query_sets import QuerySet
from lockstep.corpus.rows import parse_json
from lockstep.errors import InvalidDocument, InvalidInput

MAX_RELEVANCE = 1000
_MAX_LINE_BYTES = 1 << 20
_HEADS = ("query-id", "query_id", "qid")  # what the first column of a head line says
_QUERY_NAMES = ("queries.jsonl", "queries.jsonl.gz")

Judged = dict[str, dict[str, int]]


def read_query_set(
    path: Path, *, queries: Path | None = None, split: str = "test", name: str | None = None
) -> QuerySet:
    """The judged queries of a BEIR folder's split, or of a qrels file and a file of queries.

    Qrels have three columns (query, document, relevance; a head line is passed over) or TREC's
    four; a relevance below zero counts as zero. Queries are JSON Lines with `_id` or `id` and
    `text`, or lines of id, tab, text. Raises InvalidInput naming file and line.
    """
    qrels_file, queries_file = _files(path, queries, split)
    judged = _read_qrels(qrels_file)
    texts = _read_queries(queries_file)
    lacking = sorted(query_id for query_id in judged if query_id not in texts)
    if lacking:
        raise InvalidInput(
            f"'{qrels_file}' judges query '{shown(lacking[0])}', which '{queries_file}' lacks"
            + (f" ({len(lacking):,} such queries)." if len(lacking) > 1 else "."),
        )
    wanted = {query_id: texts[query_id] for query_id in judged}
    return QuerySet(name or _name_for(path), wanted, judged)


def _files(path: Path, queries: Path | None, split: str) -> tuple[Path, Path]:
    if not path.is_dir():
        if queries is None:
            raise InvalidInput(
                f"'{path}' is no BEIR folder; a qrels file needs its queries beside it.",
                next_step=f"Name them: {path} --queries FILE",
            )
        return path, queries
    found = [path / name for name in _QUERY_NAMES if (path / name).is_file()]
    qrels_file = path / "qrels" / f"{split}.tsv"
    if not found and queries is None:
        raise InvalidInput(f"The folder '{path}' has no {_QUERY_NAMES[0]}; expected a BEIR folder.")
    if not qrels_file.is_file():
        splits = ", ".join(sorted(file.stem for file in path.glob("qrels/*.tsv"))) or "none"
        raise InvalidInput(f"The folder '{path}' has no split '{split}'; it has {splits}.")
    return qrels_file, queries or found[0]


def _read_qrels(path: Path) -> Judged:
    judged: Judged = {}
    for number, line in _lines(path):
        fields = line.split("\t") if "\t" in line else line.split()
        if number == 1 and fields[0].strip().lower() in _HEADS:
            continue
        query_id, document_id, relevance = _judgment(path, number, fields)
        known = judged.setdefault(query_id, {}).setdefault(document_id, relevance)
        if known != relevance:
            raise _wrong(
                path,
                number,
                f"document '{shown(document_id)}' is judged {relevance} for query "
                f"'{shown(query_id)}', and {known} further up",
            )
    if not judged:
        raise InvalidInput(f"'{path}' has no judgments; expected at least one.")
    return judged


def _judgment(path: Path, number: int, fields: list[str]) -> tuple[str, str, int]:
    if len(fields) not in (3, 4):
        raise _wrong(
            path,
            number,
            f"it has {len(fields)} columns; expected 3 (query, document, relevance) or TREC's 4",
        )
    query_id, document_id, relevance = fields[0].strip(), fields[-2].strip(), fields[-1].strip()
    if not _is_number(relevance) or int(relevance) > MAX_RELEVANCE:
        raise _wrong(
            path,
            number,
            f"the relevance is '{shown(relevance)}'; expected a whole number up to {MAX_RELEVANCE}",
        )
    for one in (query_id, document_id):
        _check_id(path, number, one)
    return query_id, document_id, max(0, int(relevance))


def _read_queries(path: Path) -> dict[str, str]:
    as_json = ".jsonl" in path.suffixes or ".json" in path.suffixes
    texts: dict[str, str] = {}
    for number, line in _lines(path):
        query_id, text = _json_query(path, number, line) if as_json else _query(path, number, line)
        _check_id(path, number, query_id)
        if not text.strip() or "\x00" in text:
            raise _wrong(path, number, f"query '{shown(query_id)}' has no text")
        if texts.setdefault(query_id, text) != text:
            raise _wrong(path, number, f"query '{shown(query_id)}' has another text further up")
    return texts


def _query(path: Path, number: int, line: str) -> tuple[str, str]:
    query_id, tab, text = line.partition("\t")
    if not tab:
        raise _wrong(path, number, "it has no tab; expected a query's id, a tab and its text")
    return query_id.strip(), text.strip()


def _json_query(path: Path, number: int, line: str) -> tuple[str, str]:
    try:
        value = parse_json(line)
    except InvalidDocument as error:
        raise _wrong(path, number, str(error).rstrip(".")) from error
    fields = value if isinstance(value, dict) else {}
    query_id = fields.get("_id", fields.get("id"))
    text = fields.get("text")
    if isinstance(query_id, bool) or not isinstance(query_id, (str, int)):
        raise _wrong(path, number, "it has no '_id' (or 'id') of a query")
    if not isinstance(text, str):
        raise _wrong(path, number, f"query '{shown(str(query_id))}' has no 'text'")
    return str(query_id), text


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """The lines that are not blank, with their numbers from 1."""
    stream = LineStream(path, limit=_MAX_LINE_BYTES)
    for line in stream:
        if line is None:
            raise _wrong(path, stream.line, f"it has more than {_MAX_LINE_BYTES:,} bytes")
        try:
            text = line.decode()
        except UnicodeDecodeError as error:
            raise _wrong(path, stream.line, "it is not UTF-8") from error
        if text.strip():
            yield stream.line, text.rstrip("\r\n")


def _check_id(path: Path, number: int, value: str) -> None:
    try:
        check_id(value)
    except InvalidDocument as error:
        raise _wrong(path, number, str(error).rstrip(".")) from error


def _is_number(text: str) -> bool:
    return re.fullmatch(r"[+-]?[0-9]{1,9}", text.strip()) is not None


def _name_for(path: Path) -> str:
    stem = path.absolute().name.split(".")[0].lower()
    return re.sub(r"[^a-z0-9_-]+", "-", stem).strip("-_")[:63] or "judged"


def _wrong(path: Path, line: int, what: str) -> InvalidInput:
    return InvalidInput(f"'{path}', line {line}: {what}.")
