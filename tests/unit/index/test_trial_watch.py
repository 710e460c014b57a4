"""The watch over trials outlives whatever happens to it."""

import threading
from typing import Any

import pytest

from lockstep.errors import DatabaseUnavailable
from lockstep.index import trial_watch
from lockstep.index.trial_watch import TrialWatch


class Broken:
    """A table of trials that cannot be read the first time."""

    def __init__(self, error: Exception) -> None:
        self._error: Exception | None = error
        self.read_again = threading.Event()

    def running(self) -> dict[str, Any]:
        if self._error is not None:
            error, self._error = self._error, None
            raise error
        self.read_again.set()
        return {}


@pytest.mark.parametrize("error", [DatabaseUnavailable("away"), TypeError("a setting unknown")])
def test_the_watch_goes_on_after_any_error(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial_watch, "ERROR_WAIT_S", 0.01)
    trials: Any = Broken(error)
    nothing: Any = None
    watch = TrialWatch(trials, nothing, nothing)
    watch.start()
    try:
        assert trials.read_again.wait(10)
    finally:
        watch.stop()
