"""The table of trials: who starts and ends them, and where callers stand."""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import select, update

from lockstep.corpus.change_log import Corpora
from lockstep.corpus.database import Database
from lockstep.corpus.schema import trials as table
from lockstep.errors import TrialNotFound, TrialRefused
from lockstep.index.catalog import IndexCatalog
from lockstep.index.spec import IndexSpec
from lockstep.index.trial_counts import Counts
from lockstep.index.trials import Arm, Exposure, Trials, TrialState
from lockstep.index.versions import IndexVersion, State
from lockstep.lexical.bm25 import Bm25Settings

EXPOSURE = Exposure(shadow=0.1, canary=0.2, interleave=0.1)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(f"sqlite:///{tmp_path / 'lockstep.db'}")
    database.migrate()
    Corpora(database).create("docs")
    yield database
    database.close()


@pytest.fixture
def catalog(database: Database) -> IndexCatalog:
    return IndexCatalog(database)


@pytest.fixture
def trials(database: Database, catalog: IndexCatalog) -> Trials:
    return Trials(database, catalog)


def add(catalog: IndexCatalog, state: State) -> IndexVersion:
    model: Any = SimpleNamespace(name="tiny", version=1, digest="0" * 64)
    spec = IndexSpec(window_tokens=64, prefilter_dim=None, bm25=Bm25Settings(avg_length=10.0))
    version = catalog.add("docs", model, spec)
    catalog.set_state(version, state)
    return catalog.get("docs", version.number)


@pytest.fixture
def live(catalog: IndexCatalog) -> IndexVersion:
    return add(catalog, State.LIVE)


def test_the_newest_candidate_is_tried_and_the_history_says_by_whom_and_why(
    trials: Trials, catalog: IndexCatalog, live: IndexVersion
) -> None:
    add(catalog, State.CANDIDATE)
    add(catalog, State.CANDIDATE)

    trial = trials.start(live, None, EXPOSURE, reason="Friday")
    trials.stop("docs", reason="slow day")

    assert (trial.number, trial.live, trial.exposure) == (3, 1, EXPOSURE)
    assert trials.running() == {}
    newest, first = catalog.history("docs")
    assert (newest.outcome, newest.reason, newest.actor) == ("done", "slow day", trial.actor)
    assert (first.step, first.outcome, first.reason) == ("trial", "started", "Friday")
    assert (first.from_version, first.to_version) == (1, 3)


@pytest.mark.parametrize("state", [State.LIVE, State.BUILDING, State.FAILED, State.DROPPED])
def test_only_what_is_complete_and_not_live_is_tried(
    trials: Trials, catalog: IndexCatalog, live: IndexVersion, state: State
) -> None:
    version = add(catalog, state)
    with pytest.raises(TrialRefused, match=f"v{version.number} of 'docs' is {state.value}"):
        trials.start(live, version.number, EXPOSURE)


def test_a_corpus_has_one_trial_at_a_time(
    trials: Trials, catalog: IndexCatalog, live: IndexVersion
) -> None:
    with pytest.raises(TrialRefused, match="no candidate"):
        trials.start(live, None, EXPOSURE)
    add(catalog, State.CANDIDATE)
    retired = add(catalog, State.RETIRED)
    trials.start(live, None, EXPOSURE)

    with pytest.raises(TrialRefused, match="v2 of 'docs' is on trial already"):
        trials.start(live, retired.number, EXPOSURE)


def test_of_two_that_end_a_trial_one_is_recorded(
    trials: Trials, catalog: IndexCatalog, live: IndexVersion
) -> None:
    add(catalog, State.CANDIDATE)
    trial = trials.start(live, None, EXPOSURE)

    assert trials.end("docs", "v9 is dropped.", number=9) is None
    assert trials.stop_failed(trial, "too slow")
    assert not trials.stop_failed(trial, "too slow")
    assert trials.end("docs", "v2 is promoted.") is None

    assert [step.outcome for step in catalog.history("docs")] == ["failed", "started"]
    ended = trials.latest("docs")
    assert (ended.state, ended.reason) == (TrialState.STOPPED, "too slow")
    with pytest.raises(TrialNotFound, match="No version of 'docs' is on trial"):
        trials.stop("docs")


def test_a_caller_keeps_its_place_in_a_trial_and_gets_another_in_the_next(
    trials: Trials, catalog: IndexCatalog, live: IndexVersion
) -> None:
    add(catalog, State.CANDIDATE)
    first = trials.start(live, None, EXPOSURE)
    trials.stop("docs")
    second = trials.start(live, None, EXPOSURE)
    keys = [f"user-{n}" for n in range(2000)]

    arms = Counter(first.arm(first.place(key)) for key in keys)

    assert [first.place(key) for key in keys] == [first.place(key) for key in keys]
    assert arms[Arm.CANDIDATE] / 2000 == pytest.approx(0.2, abs=0.03)
    assert arms[Arm.INTERLEAVED] / 2000 == pytest.approx(0.1, abs=0.03)
    both = sum(one.arm(one.place(key)) is Arm.CANDIDATE for key in keys for one in (first, second))
    again = sum(
        first.arm(first.place(key)) is second.arm(second.place(key)) is Arm.CANDIDATE
        for key in keys
    )
    assert again / (both / 2) == pytest.approx(0.2, abs=0.08)  # as likely as for anybody


def test_a_setting_of_a_newer_release_is_passed_over(
    trials: Trials, catalog: IndexCatalog, live: IndexVersion, database: Database
) -> None:
    add(catalog, State.CANDIDATE)
    trials.start(live, None, EXPOSURE)
    with database.writing() as connection:
        known = connection.execute(select(table.c.settings)).scalar_one()
        newer = json.dumps({**json.loads(known), "max_memory": 3})
        connection.execute(update(table).values(settings=newer))

    assert trials.running()["docs"].exposure == EXPOSURE


def test_counts_are_the_sum_over_servers(
    trials: Trials, catalog: IndexCatalog, live: IndexVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(catalog, State.CANDIDATE)
    trial = trials.start(live, None, EXPOSURE)
    counts = Counts()
    counts.live.answer(10.0)
    trials.publish(trial, counts)
    counts.live.answer(10.0)
    trials.publish(trial, counts)  # again: it replaces what this server said before
    another = SimpleNamespace(to_text=lambda: "another server")
    monkeypatch.setattr("lockstep.index.trials.this_process", lambda: another)
    trials.publish(trial, counts)

    assert trials.counts(trial).live.answered == 4
