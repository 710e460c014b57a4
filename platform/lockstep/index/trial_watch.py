"""The watch: a server's thread that follows trials, and holds the versions that are on trial."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from lockstep.errors import CollectionInUse, LeaseHeld, LockstepError
from lockstep.index.generation import Generation
from lockstep.index.serving import RETRY_S, Serving
from lockstep.index.trial_counts import Counts
from lockstep.index.trial_limits import reason_to_stop
from lockstep.index.trials import TRIABLE, Trial, Trials
from lockstep.index.versions import IndexVersion, State

logger = logging.getLogger(__name__)

POLL_S = 0.25
# Figures are shared this often: a limit that is passed ends a trial within about a second.
PUBLISH_S = 0.5
# How long the last searches on a version may take before it is let go of all the same.
GRACE_S = 6.0
# After an error the table of trials is read again this much later.
ERROR_WAIT_S = 1.0

Apply = Callable[[IndexVersion], None]


class OnTrial:
    """A version on trial in this process: its generation once it is loaded, and what it counts."""

    def __init__(self, trial: Trial) -> None:
        self.trial = trial
        self.error: str | None = None  # why it cannot answer
        self.retry_at = 0.0  # monotonic seconds
        self._generation: Generation | None = None
        self._counts = Counts()
        self._users = 0
        self._changed = threading.Condition()

    @contextmanager
    def using(self) -> Iterator[Generation | None]:
        """The generation for one search, which stays open that long; None: not there to be used."""
        with self._changed:
            generation = self._generation
            self._users += generation is not None
        try:
            yield generation
        finally:
            if generation is not None:
                with self._changed:
                    self._users -= 1
                    self._changed.notify_all()

    @contextmanager
    def counting(self) -> Iterator[Counts]:
        """The counts, for this thread alone."""
        with self._changed:
            yield self._counts

    def counted(self) -> Counts:
        """A copy of the counts."""
        with self._changed:
            return Counts.from_json(self._counts.to_json())

    @property
    def is_loaded(self) -> bool:
        return self._generation is not None

    def open(self, generation: Generation) -> None:
        with self._changed:
            self._generation, self.error = generation, None

    def close(self) -> None:
        """Let no further search begin, and wait for those at work."""
        with self._changed:
            self._generation = None
            self._changed.wait_for(lambda: not self._users, timeout=GRACE_S)


@dataclass(frozen=True)
class _Published:
    counts: Counts
    at: float  # monotonic seconds


class TrialWatch:
    """Follows the table of trials for as long as a server runs.

    It loads a version that goes on trial, keeps it in step with the change log, shares what was
    counted, stops the trial where a limit is passed, and lets go of the version when it is over. A
    database that is down leaves everything as it was last seen.
    """

    def __init__(self, trials: Trials, serving: Serving, apply: Apply) -> None:
        self._trials = trials
        self._serving = serving
        self._apply = apply
        self._on_trial: dict[str, OnTrial] = {}
        self._published: dict[int, _Published] = {}
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="trials", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._wake.set()
        self._thread.join()
        for on_trial in list(self._on_trial.values()):
            self._guarded(self._withdraw, on_trial)

    def wake(self) -> None:
        """Look now: a trial was started or stopped."""
        self._wake.set()

    def on_trial(self, corpus: str) -> OnTrial | None:
        """The version of a corpus that is on trial here, loaded or not."""
        return self._on_trial.get(corpus)

    def _run(self) -> None:
        while not self._stop.is_set():
            self._wake.wait(POLL_S)
            self._wake.clear()
            try:
                running = self._trials.running()
            except LockstepError as error:
                logger.warning("trials stay as they are: %s", error)
                self._stop.wait(ERROR_WAIT_S)
                continue
            except Exception:  # the thread must outlive it, or no limit would stop a trial
                logger.exception("trials stay as they are")
                self._stop.wait(ERROR_WAIT_S)
                continue
            for on_trial in list(self._on_trial.values()):
                now = running.get(on_trial.trial.corpus)
                if now is None or now.id != on_trial.trial.id:
                    self._guarded(self._withdraw, on_trial)
            for trial in running.values():
                on_trial = self._on_trial.get(trial.corpus) or OnTrial(trial)
                self._on_trial[trial.corpus] = on_trial
                self._guarded(self._follow, on_trial)

    def _guarded(self, step: Callable[[OnTrial], None], on_trial: OnTrial) -> None:
        """One trial in trouble must not end the watch over the others."""
        try:
            step(on_trial)
        except LockstepError as error:
            logger.warning("the trial of '%s': %s", on_trial.trial.corpus, error)
        except Exception:
            logger.exception("the trial of '%s'", on_trial.trial.corpus)

    def _follow(self, on_trial: OnTrial) -> None:
        trial = on_trial.trial
        version = self._serving.rollouts.catalog.get(trial.corpus, trial.number)
        if (why := self._over(trial, version)) is not None:
            self._trials.end(trial.corpus, why, number=trial.number)
            self._withdraw(on_trial)
            return
        if not on_trial.is_loaded:
            self._load(on_trial, version)
        elif version.state is State.CANDIDATE:  # the follower does so for retired ones
            self._apply(version)
        self._share(on_trial)

    def _over(self, trial: Trial, version: IndexVersion) -> str | None:
        """Why there is nothing left to compare."""
        if version.state not in TRIABLE:
            return f"{version.label} is {version.state.value}."
        live = self._serving.rollouts.catalog.in_state(trial.corpus, State.LIVE)
        if live and live[0].number != trial.live:
            return f"{live[0].label} went live."
        return None

    def _load(self, on_trial: OnTrial, version: IndexVersion) -> None:
        if time.monotonic() < on_trial.retry_at:
            return
        try:
            on_trial.open(self._serving.expose(version, self._apply))
        except (CollectionInUse, LeaseHeld) as error:
            logger.debug("not on trial yet: %s", error)  # for a moment, as a rule
        except LockstepError as error:
            on_trial.error = str(error)
            on_trial.retry_at = time.monotonic() + RETRY_S
            logger.error("%s cannot be tried: %s", version.collection, error)

    def _share(self, on_trial: OnTrial) -> None:
        """Publish what changed, and stop the trial where the sum passes a limit."""
        trial, counts, now = on_trial.trial, on_trial.counted(), time.monotonic()
        last = self._published.get(trial.id)
        if last is not None and (counts == last.counts or now - last.at < PUBLISH_S):
            return
        self._trials.publish(trial, counts)
        self._published[trial.id] = _Published(counts, now)
        why = reason_to_stop(self._trials.counts(trial), trial.exposure)
        if why is not None and self._trials.stop_failed(trial, why):
            logger.error("the trial of %s is stopped: %s", trial.corpus, why)
            self._withdraw(on_trial)

    def _withdraw(self, on_trial: OnTrial) -> None:
        trial = on_trial.trial
        self._on_trial.pop(trial.corpus, None)
        on_trial.close()
        self._serving.withdraw(trial.corpus)
        self._published.pop(trial.id, None)
        self._trials.publish(trial, on_trial.counted())
        logger.info("no longer on trial: v%d of '%s'", trial.number, trial.corpus)
