"""Answers on disk: what was paid for once is never asked for again."""

import hashlib
import sqlite3
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from lockstep.errors import StorageFull
from lockstep_indexer.train.questions.endpoint import Answer
from lockstep_indexer.train.questions.prompt import Prompt

CACHE_NAME = "answers.db"

_SCHEMA = """
CREATE TABLE IF NOT EXISTS answers (
    prompt TEXT NOT NULL,
    passage TEXT NOT NULL,
    model TEXT NOT NULL,
    text TEXT NOT NULL,
    prompt_tokens INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL,
    cut_off INTEGER NOT NULL,
    answered_at REAL NOT NULL,
    PRIMARY KEY (prompt, passage, model)
) WITHOUT ROWID
"""


class AnswerCache:
    """Answers by the digests of prompt and passage, and the model's name; good or not.

    Each is there for good once `put` returns: a kill loses what was under way and no more.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._connection = sqlite3.connect(path, timeout=30.0, isolation_level=None)
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = FULL")
        self._connection.execute(_SCHEMA)

    def get(self, prompt: Prompt, passage: str, model: str) -> Answer | None:
        row = self._connection.execute(
            "SELECT text, prompt_tokens, completion_tokens, cut_off FROM answers "
            "WHERE prompt = ? AND passage = ? AND model = ?",
            (prompt.digest, _digest(passage), model),
        ).fetchone()
        return None if row is None else Answer(row[0], row[1], row[2], bool(row[3]))

    def put(self, prompt: Prompt, passage: str, model: str, answer: Answer) -> None:
        """Raises StorageFull."""
        row = (
            *(prompt.digest, _digest(passage), model, answer.text),
            *(answer.prompt_tokens, answer.completion_tokens, answer.cut_off, time.time()),
        )
        try:
            self._connection.execute(
                "INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row
            )
        except sqlite3.OperationalError as error:
            if "full" not in str(error):
                raise
            raise StorageFull("No space is left for the answers of the chat endpoint.") from error

    def close(self) -> None:
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def _digest(passage: str) -> str:
    return hashlib.sha256(passage.encode()).hexdigest()
