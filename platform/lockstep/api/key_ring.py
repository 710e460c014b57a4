"""The API keys as a server holds them: in memory, read again every second."""

import logging
import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from lockstep.corpus.api_key import LOCAL, ApiKey, Scope, id_in, new_key
from lockstep.corpus.api_keys import KeysInUse
from lockstep.errors import DatabaseUnavailable, InvalidSetting, LockstepError

logger = logging.getLogger(__name__)

# With the time that the database takes, a key counts, or counts no more, within two seconds.
REFRESH_S = 1.0
# How long keys stay good while the database does not answer. One that is revoked meanwhile opens
# for that much longer; to refuse all at once would make an outage of the database one of search.
STALE_S = 300.0


class KeyRing:
    """The keys in use. No request waits for the database.

    `read` gets what it returned last, and returns it again where nothing has changed.
    """

    def __init__(
        self,
        read: Callable[[KeysInUse | None], KeysInUse],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._read = read
        self._clock = clock
        self._by_id: dict[str, ApiKey] = {}
        self._local: ApiKey | None = None
        self._in_use: KeysInUse | None = None
        self._read_at = -STALE_S
        self._silent = False
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def find(self, presented: str) -> ApiKey | None:
        """The key that somebody presents; None for whatever is no key in use.

        Raises DatabaseUnavailable where the keys are too old to trust.
        """
        key_id = id_in(presented)
        if key_id is None:
            return None
        if self._local is not None and key_id == self._local.id:
            return self._local if self._local.is_opened_by(presented) else None
        if self._clock() - self._read_at > STALE_S:
            raise DatabaseUnavailable(
                f"The database has not answered for {STALE_S:.0f} s, so no API key can be checked.",
                next_step="Try again once it does.",
            )
        key = self._by_id.get(key_id)
        return key if key is not None and key.is_opened_by(presented) else None

    @property
    def any_ever(self) -> bool:
        """Whether there is a key, or ever was: revoking the last one opens nothing."""
        return self._in_use is not None and self._in_use.any_ever

    @property
    def any_in_use(self) -> bool:
        return bool(self._by_id)

    def refresh(self) -> None:
        """Read the keys now. Raises DatabaseUnavailable."""
        read = self._read(self._in_use)
        if read is not self._in_use:
            self._by_id = {key.id: key for key in read.keys}
            self._in_use = read
        self._read_at = self._clock()

    def start(self) -> None:
        """Read the keys, and go on doing so in a thread."""
        self.refresh()
        self._thread = threading.Thread(target=self._run, name="key-ring", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        if self._thread is not None:
            self._thread.join()

    def admit_commands(self, path: Path) -> None:
        """Lay a key for commands on this machine into a file that only this user can read.

        A command that judges an index asks the server that has it open; it may only search.
        """
        key, presented = new_key(LOCAL, [Scope.SEARCH])
        fresh = path.with_name(f"{path.name}.{os.getpid()}")
        try:
            with suppress(FileNotFoundError):
                fresh.unlink()
            descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w") as file:
                file.write(presented + "\n")
            fresh.replace(path)
        except OSError as error:
            raise InvalidSetting(
                f"{path} cannot be written: {error.strerror}.",
                next_step="Let the server's user write to that folder.",
            ) from error
        self._local = key

    def _run(self) -> None:
        while not self._stopped.wait(REFRESH_S):
            try:
                self.refresh()
            except LockstepError as error:
                self._note_silence(error)
            except Exception:  # the thread must outlive it, or no revocation would count
                logger.exception("reading the API keys")
            else:
                self._silent = False

    def _note_silence(self, error: LockstepError) -> None:
        """Once for each outage."""
        if not self._silent:
            self._silent = True
            logger.error("the API keys cannot be read, the known ones stay good: %s", error)
