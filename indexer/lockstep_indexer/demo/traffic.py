"""Searches that never stop, to show that a swap neither fails nor mixes anything."""

import itertools
import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from lockstep.bootstrap import Workspace
from lockstep.errors import LockstepError


@dataclass
class Tally:
    """What the searches met."""

    answered: Counter[tuple[str, str]] = field(default_factory=Counter)  # (index, model)
    failed: Counter[str] = field(default_factory=Counter)

    @property
    def total(self) -> int:
        return self.answered.total()


class Traffic:
    """A thread that searches a corpus for as long as the block lasts."""

    def __init__(self, workspace: Workspace, corpus: str, queries: Sequence[str]) -> None:
        self._workspace = workspace
        self._corpus = corpus
        self._queries = itertools.cycle(queries)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="traffic", daemon=True)
        self.tally = Tally()

    def _run(self) -> None:
        while not self._stop.wait(0.02):  # leave the cores to the work being shown
            try:
                answer = self._workspace.search(self._corpus, next(self._queries))
            except LockstepError as error:
                self.tally.failed[str(error)] += 1
            else:
                self.tally.answered[answer.index_version, answer.model_version] += 1

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join()
