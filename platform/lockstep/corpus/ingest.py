"""Files into a corpus, batch by batch."""

import logging
import shlex
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Literal, NamedTuple, TypeVar

from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception_type,
    stop_after_delay,
    wait_random_exponential,
)

from lockstep.corpus.batches import WriteResult
from lockstep.corpus.change_log import Corpora, check_name
from lockstep.corpus.documents import Document
from lockstep.corpus.readers import document_file, read_documents
from lockstep.corpus.rows import DEFAULT_MAX_DOCUMENT_BYTES, Row
from lockstep.errors import DatabaseUnavailable, InvalidDocument, InvalidInput

logger = logging.getLogger(__name__)

BATCH_DOCUMENTS = 1000
MAX_REJECTIONS_LISTED = 1000
_BATCH_CHARACTERS = 16 << 20
_IDS_REMEMBERED = 500_000  # about 40 MB

# How long a batch waits for a database that does not answer: a restart, a failover.
PATIENCE_S = 60.0
_LONGEST_WAIT_S = 5.0

Answer = TypeVar("Answer")


class Rejection(NamedTuple):
    """A row that was left out."""

    file: str
    line: int
    reason: str


@dataclass(frozen=True)
class IngestProgress:
    """How far an ingest has come; given after every batch."""

    file: str
    documents: int  # written so far
    rejected: int
    bytes_read: int  # of all files, as they are stored
    bytes_total: int


@dataclass(frozen=True)
class IngestReport:
    """What an ingest did."""

    added: int
    changed: int
    unchanged: int
    deleted: int
    missing: int  # ids to delete that were not there
    rejected: list[Rejection]  # the first of them
    rejected_count: int
    duplicates: int  # documents whose id came before in the input; the last one counts
    seconds: float


def ingest(
    corpora: Corpora,
    name: str,
    paths: Sequence[Path],
    *,
    delete_ids: Iterable[str] = (),
    on_error: Literal["stop", "skip"] = "stop",
    batch_documents: int = BATCH_DOCUMENTS,
    start_line: int = 1,
    max_document_bytes: int = DEFAULT_MAX_DOCUMENT_BYTES,
    progress: Callable[[IngestProgress], None] | None = None,
) -> IngestReport:
    """Upsert the documents of files, then delete ids; creates the corpus if there is none.

    Every batch is durable once it is written. A database that is restarted meanwhile is waited for,
    a minute at most; a batch that it had kept and not acknowledged then counts as unchanged.
    `start_line` is that of the first file. A row that is no document stops the ingest after the
    rows before it are written (InvalidInput says where, and how to go on), or is left out and
    listed. Duplicate ids are counted over the first 500,000.
    """
    check_name(name)
    files = [document_file(path) for path in paths]
    run = _Run(
        corpora,
        name,
        files,
        skip_errors=on_error == "skip",
        batch_documents=batch_documents,
        progress=progress,
    )
    started = time.monotonic()
    for position in range(len(files)):
        first = start_line if position == 0 else 1
        run.read(position, start_line=first, max_document_bytes=max_document_bytes)
    run.delete(delete_ids)
    return run.report(time.monotonic() - started)


@dataclass
class _Tally:
    added: int = 0
    changed: int = 0
    unchanged: int = 0
    deleted: int = 0
    missing: int = 0
    duplicates: int = 0
    rejected_count: int = 0
    rejected: list[Rejection] = field(default_factory=list)

    @property
    def written(self) -> int:
        return self.added + self.changed + self.unchanged

    def count(self, result: WriteResult) -> None:
        self.added += result.added
        self.changed += result.changed
        self.unchanged += result.unchanged
        self.deleted += result.deleted
        self.missing += result.missing


class _Run:
    """One ingest while it runs."""

    def __init__(
        self,
        corpora: Corpora,
        name: str,
        files: Sequence[Path],
        *,
        skip_errors: bool,
        batch_documents: int,
        progress: Callable[[IngestProgress], None] | None,
    ) -> None:
        self._corpora = corpora
        self._name = name
        self._files = files
        self._sizes = [file.stat().st_size for file in files]
        self._skip_errors = skip_errors
        self._batch_documents = batch_documents
        self._progress = progress
        self._batch: dict[str, Document] = {}
        self._batch_characters = 0
        self._seen: set[int] = set()
        self._tally = _Tally()
        self._position = 0  # of the file being read
        self._last: Row | None = None  # the row taken last from it

    def read(self, position: int, *, start_line: int, max_document_bytes: int) -> None:
        self._position, self._last = position, None
        rows = read_documents(
            self._files[position], start_line=start_line, max_document_bytes=max_document_bytes
        )
        while (row := self._next(rows)) is not None:
            if isinstance(row.outcome, Document):
                self._add(row.outcome)
            elif self._skip_errors:
                self._reject(row, row.outcome)
            else:
                self._flush()
                raise self._stopped_at(row, row.outcome) from row.outcome
            self._last = row
        self._flush()

    def delete(self, ids: Iterable[str]) -> None:
        remaining = iter(ids)
        while chunk := list(islice(remaining, self._batch_documents)):
            self._tally.count(_patiently(partial(self._corpora.write, self._name, (), chunk)))

    def report(self, seconds: float) -> IngestReport:
        return IngestReport(**vars(self._tally), seconds=seconds)

    def _next(self, rows: Iterator[Row]) -> Row | None:
        try:
            return next(rows, None)
        except InvalidInput as error:
            self._flush()
            if not self._tally.written:
                raise
            raise self._cut_off(error, self._last.line + 1 if self._last else 1) from error

    def _add(self, document: Document) -> None:
        self._note_duplicate(document.id)
        self._batch[document.id] = document
        self._batch_characters += len(document.text)
        full = len(self._batch) >= self._batch_documents
        if full or self._batch_characters >= _BATCH_CHARACTERS:
            self._flush()

    def _note_duplicate(self, document_id: str) -> None:
        fingerprint = hash(document_id)
        if fingerprint in self._seen:
            self._tally.duplicates += 1
        elif len(self._seen) < _IDS_REMEMBERED:
            self._seen.add(fingerprint)

    def _reject(self, row: Row, reason: InvalidDocument) -> None:
        self._tally.rejected_count += 1
        if len(self._tally.rejected) < MAX_REJECTIONS_LISTED:
            rejection = Rejection(str(self._file), row.line, reason.message)
            self._tally.rejected.append(rejection)

    def _flush(self) -> None:
        if self._batch:
            if not self._tally.written:
                _patiently(partial(self._corpora.create, self._name))
            batch = list(self._batch.values())
            self._tally.count(_patiently(partial(self._corpora.write, self._name, batch)))
            self._batch, self._batch_characters = {}, 0
        if self._progress is not None:
            self._progress(self._state())

    def _state(self) -> IngestProgress:
        before = sum(self._sizes[: self._position])
        return IngestProgress(
            file=str(self._file),
            documents=self._tally.written,
            rejected=self._tally.rejected_count,
            bytes_read=before + (self._last.offset if self._last else 0),
            bytes_total=sum(self._sizes),
        )

    @property
    def _file(self) -> Path:
        return self._files[self._position]

    def _stopped_at(self, row: Row, reason: InvalidDocument) -> InvalidInput:
        return InvalidInput(
            f"'{self._file}', line {row.line}: {reason.message} {self._kept()}",
            next_step=f"Fix it and go on with `{self._resumption(row.line)}`; "
            "`--on-error skip` leaves such rows out.",
        )

    def _cut_off(self, error: InvalidInput, line: int) -> InvalidInput:
        resumption = f"Then go on with `{self._resumption(line)}`."
        return InvalidInput(
            f"{error.message} {self._kept()}", next_step=f"{error.next_step} {resumption}".strip()
        )

    def _kept(self) -> str:
        return f"Documents before it that are kept: {self._tally.written:,}."

    def _resumption(self, line: int) -> str:
        files = [str(file) for file in self._files[self._position :]]
        return shlex.join(["lockstep", "ingest", self._name, *files, "--start-line", str(line)])


def _patiently(call: Callable[[], Answer]) -> Answer:
    """Make an idempotent call; again, after random waits, while the database does not answer."""
    attempts = Retrying(
        retry=retry_if_exception_type(DatabaseUnavailable),
        stop=stop_after_delay(PATIENCE_S),
        wait=wait_random_exponential(multiplier=0.2, max=_LONGEST_WAIT_S),
        before_sleep=_note,
        reraise=True,
    )
    return attempts(call)


def _note(state: RetryCallState) -> None:
    """Of the error only: what was to be written is nobody's who reads the log."""
    error = state.outcome.exception() if state.outcome else None
    logger.warning("writing again in %.1f s: %s", state.upcoming_sleep, error)
