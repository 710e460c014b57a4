"""Reading documents from files, one at a time, whatever the format."""

from collections.abc import Callable, Iterator
from pathlib import Path

from lockstep.corpus.csv_rows import read_csv
from lockstep.corpus.jsonl import read_jsonl
from lockstep.corpus.line_stream import LineStream
from lockstep.corpus.parquet import read_parquet
from lockstep.corpus.rows import DEFAULT_MAX_DOCUMENT_BYTES, Row
from lockstep.errors import InvalidInput

_READERS: dict[str, Callable[..., Iterator[Row]]] = {
    ".jsonl": read_jsonl,
    ".jsonl.gz": read_jsonl,
    ".csv": read_csv,
    ".csv.gz": read_csv,
    ".parquet": read_parquet,
}
_BEIR_NAMES = ("corpus.jsonl", "corpus.jsonl.gz")
_FORMATS = f"expected {', '.join(_READERS)} or a BEIR folder (with {' or '.join(_BEIR_NAMES)})"
_MAX_ID_LINE_BYTES = 4096


def read_documents(
    path: Path, *, start_line: int = 1, max_document_bytes: int = DEFAULT_MAX_DOCUMENT_BYTES
) -> Iterator[Row]:
    """Each row of a file as a document or as the reason why it is none, in bounded memory.

    Fields are `id` or `_id` (text or an integer), `text`, and optionally `title` and `metadata`
    (an object; JSON text in CSV). All other fields are put into the metadata. Rows before
    `start_line` are passed over. Raises InvalidInput where the file as a whole cannot be used, or
    cannot be read any further.
    """
    file = document_file(path)
    read = _READERS[_format(file)]
    found = False
    for row in read(file, start_line=start_line, max_document_bytes=max_document_bytes):
        found = True
        yield row
    if not found:
        where = f" at or after line {start_line}" if start_line > 1 else ""
        raise InvalidInput(
            f"'{file}' has no documents{where}; expected at least one.",
            next_step="Give a file with documents.",
        )


def document_file(path: Path) -> Path:
    """The file that holds the documents: the path, or the corpus of a BEIR folder.

    Raises InvalidInput where there is none, or none in a format that can be read.
    """
    if path.is_dir():
        inside = [path / name for name in _BEIR_NAMES if (path / name).is_file()]
        if not inside:
            raise InvalidInput(f"The folder '{path}' is no BEIR folder; {_FORMATS}.")
        return inside[0]
    if not path.exists():
        raise InvalidInput(f"There is no file '{path}'; {_FORMATS}.")
    if _format(path) not in _READERS:
        raise InvalidInput(f"'{path}' has an unknown format; {_FORMATS}.")
    return path


def read_ids(path: Path) -> Iterator[str]:
    """The document ids in a text file: one per line, without the space around it.

    Raises InvalidInput where the file cannot be read or a line is no UTF-8 text.
    """
    stream = LineStream(path, limit=_MAX_ID_LINE_BYTES)
    for line in stream:
        try:
            document_id = None if line is None else line.decode().strip()
        except UnicodeDecodeError as error:
            raise InvalidInput(f"'{path}', line {stream.line}: it is not UTF-8.") from error
        if document_id is None:
            raise InvalidInput(f"'{path}', line {stream.line}: it is too long for a document id.")
        if document_id:
            yield document_id


def _format(path: Path) -> str:
    name = path.name.lower()
    return next((suffix for suffix in _READERS if name.endswith(suffix)), "")
