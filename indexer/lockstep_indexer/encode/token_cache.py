"""The token cache: what was tokenized once, for every later model version of that tokenizer.

A family is what one tokenizer, prompt and window length make of documents. Nothing depends on the
cache: what it lacks, or has lost, is tokenized again.
"""

import logging
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from contextlib import suppress
from pathlib import Path
from typing import Self, TypeVar

from lockstep.settings import Settings
from lockstep_indexer.encode import token_upkeep
from lockstep_indexer.encode.token_families import Family, drop_oldest, enter, read, store
from lockstep_indexer.encode.token_file import (
    TokenFile,
    delete,
    following_path,
    is_damaged,
    is_full,
    newest_path,
)
from lockstep_indexer.encode.token_upkeep import Forgotten

logger = logging.getLogger(__name__)

# Other things need the disk more: the embedded engine does not outlive a full one.
SPARE_BYTES = 1_000_000_000

Result = TypeVar("Result")


class TokenCache:
    """Records by family and content hash, in a folder of several processes. For one thread.

    It grows up to `max_bytes`: the families that were not used for the longest time make room, and
    none that was used since this cache was opened. Nothing is raised: what fails is told once in
    the log, and the cache does without. 0 bytes keep nothing.
    """

    def __init__(
        self,
        folder: Path,
        max_bytes: int,
        *,
        spare_bytes: int = SPARE_BYTES,
        read_only: bool = False,
    ) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._spare_bytes = spare_bytes
        self._opened_at = time.time()
        self._path: Path | None = None
        self._file: TokenFile | None = None
        self._read_only = read_only
        self._writes = not read_only
        self.damaged = False  # whether a file has been found to be
        if max_bytes > 0:
            self._open()

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """A workspace's."""
        return cls(folder_of(settings), int(settings.token_cache_gb * 1e9))

    @classmethod
    def to_read(cls, folder: Path) -> Self:
        """What is there, whatever its size: nothing is made, replaced or dropped."""
        return cls(folder, 1 << 62, read_only=True)

    @property
    def is_on(self) -> bool:
        return self._max_bytes > 0

    def start(self, family: Family) -> None:
        """Say that a model version uses this family from now on."""
        self._write(lambda file: enter(file, family))

    def get(self, family: Family, hashes: Sequence[str]) -> dict[str, object]:
        """What is stored for those of these hashes that are known; not yet checked."""
        by_key = {key_of(content_hash): content_hash for content_hash in hashes}
        nothing: dict[int, object] = {}
        found = self._try(lambda file: read(file, family, list(by_key)), nothing)
        return {by_key[key]: record for key, record in found.items() if key in by_key}

    def put(self, family: Family, records: Mapping[str, bytes]) -> None:
        """Store records by content hash: all of them or none."""
        rows = [(key_of(content_hash), record) for content_hash, record in records.items()]
        if rows and self._has_room():
            self._write(lambda file: store(file, family, rows))

    def forget(
        self, models: Set[str], hashes: Iterable[str], *, dry_run: bool = False
    ) -> Forgotten:
        """Drop the families of no such model version, and the records of no such document."""
        keys = map(key_of, hashes)
        return self._try(
            lambda file: token_upkeep.forget(file, models, keys, dry_run=dry_run), Forgotten()
        )

    def close(self) -> None:
        if self._file is not None:
            self._file.connection.close()
            self._file = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _open(self) -> None:
        if self._read_only:
            self._open_to_read()
            return
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._path = newest_path(self._folder) or following_path(self._folder, None)
            self._file = TokenFile(self._path, self._max_bytes)
        except (sqlite3.Error, OSError) as error:
            self._failed(error)
        self._try(self._fit, None)

    def _open_to_read(self) -> None:
        self._path = newest_path(self._folder)
        if self._path is None:
            return
        try:
            self._file = TokenFile(self._path, None)
        except sqlite3.Error as error:
            self._failed(error)

    def _fit(self, file: TokenFile) -> None:
        """Down to a limit that has been lowered."""
        if file.used_bytes() <= self._max_bytes:
            return
        while file.used_bytes() > self._max_bytes and self._make_room(file):
            pass
        file.shrink()
        file.limit(self._max_bytes)

    def _has_room(self) -> bool:
        if not self._writes or self._file is None:
            return False
        try:
            free = shutil.disk_usage(self._folder).free
        except OSError as error:
            self._stop_writing(f"{self._folder}: {error.strerror}")
            return False
        if free >= self._spare_bytes:
            return True
        self._stop_writing(
            f"the disk has {free // 1_000_000:,} MB left, and it leaves at least "
            f"{self._spare_bytes // 1_000_000:,} MB"
        )
        return False

    def _write(self, work: Callable[[TokenFile], None]) -> None:
        while self._writes and self._file is not None:
            try:
                work(self._file)
                return
            except sqlite3.Error as error:
                if is_damaged(error):
                    self._failed(error)
                elif not is_full(error):
                    self._stop_writing(f"{self._path}: {error}")
                elif not self._try(self._make_room, False):
                    self._stop_writing(
                        f"the {self._max_bytes // 1_000_000:,} MB that it may take (token_cache_gb "
                        "in lockstep.toml) are full of what is in use"
                    )

    def _try(self, work: Callable[[TokenFile], Result], otherwise: Result) -> Result:
        if self._file is not None:
            try:
                return work(self._file)
            except sqlite3.Error as error:
                self._failed(error)
        return otherwise

    def _make_room(self, file: TokenFile) -> bool:
        return drop_oldest(file, before=self._opened_at)

    def _failed(self, error: Exception) -> None:
        """Begin a new file in place of a damaged one; else do without from now on."""
        self.close()
        again = self.damaged
        self.damaged |= is_damaged(error)
        if not is_damaged(error) or self._path is None or again or self._read_only:
            logger.warning(
                "The token cache in %s cannot be used (%s); everything is tokenized.",
                self._folder,
                error,
            )
            return
        logger.warning(
            "The token cache %s is damaged (%s); a new one takes its place.", self._path, error
        )
        damaged, self._path = self._path, following_path(self._folder, self._path)
        try:
            self._file = TokenFile(self._path, self._max_bytes)
        except (sqlite3.Error, OSError) as failure:
            self._failed(failure)
        with suppress(OSError):
            delete(damaged)

    def _stop_writing(self, reason: str) -> None:
        self._writes = False
        logger.warning("The token cache stops growing: %s. It is still read.", reason)


def folder_of(settings: Settings) -> Path:
    return settings.data / "tokens"


def key_of(content_hash: str) -> int:
    """64 bits of the hash; the checksum of a record covers all of it."""
    return int(content_hash[:16], 16) - (1 << 63)
