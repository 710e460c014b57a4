"""The crash harness: a short run that finds nothing, and runs on a broken product that do."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from crash import sabotage
from crash.events import Event, Outcome
from crash.harness import Result, Run, Summary, load_failure
from crash.oracle import Oracle, effect
from crash.plan import (
    NEVER,
    Cycle,
    Fault,
    Kill,
    Kind,
    Life,
    Operation,
    Process,
    Target,
    cycles,
    faults,
)
from crash.stage import Setup

from lockstep.failpoints import NAMES

SEED = 11


def run(folder: Path, planned: list[Cycle], broken: str | None = None) -> Summary:
    told: list[Result] = []
    summary = Run(SEED, Setup(), folder, broken).all(planned, told.append)
    assert len(told) == summary.cycles
    return summary


@pytest.mark.slow
def test_every_failpoint_is_survived(tmp_path: Path) -> None:
    kinds = [Fault(Process.WORKER, Target.PROCESS, name) for name in NAMES]
    kinds += [Fault(Process.SERVER, Target.PROCESS), Fault(Process.WORKER, Target.ENGINE)]
    planned = [killed_once(cycle) for cycle in cycles(SEED, len(kinds), kinds)]
    summary = run(tmp_path, planned)
    assert summary.failures == []
    assert {f"worker: {name}" for name in NAMES} <= set(summary.kills)
    assert summary.cycles == len(kinds)
    assert summary.acknowledged > len(kinds)


def killed_once(cycle: Cycle) -> Cycle:
    """The cycle without the worker that is killed again, to save time."""
    lives = cycle.lives
    first = next(n for n, life in enumerate(lives, start=1) if life.kill.point != NEVER)
    return replace(cycle, lives=lives[:first])


def dying(point: str, *operations: Operation, nth: int = 1) -> list[Cycle]:
    """One cycle in which a worker dies at a failpoint."""
    kill = Kill(Target.PROCESS, point, nth=nth)
    return [Cycle(1, (Life(Process.WORKER, operations, kill),))]


WRITE = Operation(Kind.WRITE, numbers=(0, 1, 2, 3), revision=7)
DELETE = Operation(Kind.DELETE, numbers=(4, 6, 8))
BUILD = Operation(Kind.BUILD, model=1)
PROMOTE, FOLLOW = Operation(Kind.PROMOTE), Operation(Kind.FOLLOW)
SEARCH = Operation(Kind.SEARCH, numbers=(2,))


# A way in which the product is broken; what is done; what the harness must say of it.
BROKEN: dict[str, tuple[list[Cycle], str]] = {
    "checkpoint before the points": (
        dying("before the points", WRITE, FOLLOW),
        "out of date in the index",
    ),
    "deletes skipped": (dying(NEVER, DELETE, FOLLOW), "left over in the index"),
    "alias after the catalog": (dying("before the alias", BUILD, PROMOTE), "ahead of the alias"),
    "write acknowledged before it is kept": (
        dying(NEVER, WRITE, DELETE, replace(WRITE, revision=9)),
        "not what was acknowledged",
    ),
    "history not written": (dying(NEVER, BUILD, PROMOTE), "history lacks"),
    "answers name another model": (dying(NEVER, SEARCH), "which was built by"),
}


def test_every_sabotage_is_tried() -> None:
    assert sabotage.names() == sorted(BROKEN)


@pytest.mark.slow
@pytest.mark.parametrize("broken", sorted(BROKEN))
def test_a_broken_product_is_found_out(tmp_path: Path, broken: str) -> None:
    planned, found = BROKEN[broken]
    summary = run(tmp_path, planned, broken)
    assert summary.violations
    [path] = summary.failures
    failure = json.loads(path.read_text())
    assert found in " ".join(failure["found"])
    assert failure["broken"] == broken

    again, repeated = load_failure(path, tmp_path)
    assert repeated == planned
    assert again == Run(SEED, Setup(), tmp_path, broken)


def test_a_plan_follows_from_its_seed_and_survives_a_file() -> None:
    kinds = faults(embedded=True, restartable=frozenset(Target))
    planned = list(cycles(3, 60, kinds))
    assert planned == list(cycles(3, 60, kinds)) != list(cycles(4, 60, kinds))
    assert [Cycle.from_json(json.loads(json.dumps(each.to_json()))) for each in planned] == planned
    points = {life.kill.point for each in planned for life in each.lives}
    assert set(NAMES) <= points


def test_what_was_in_flight_may_have_happened_and_what_was_acknowledged_has() -> None:
    oracle = Oracle(documents=[{}], live={1})
    ingest = Operation(Kind.INGEST, numbers=tuple(range(20)), revision=1)
    begun = [Event(0, Outcome.BEGUN), Event(0, Outcome.DONE), Event(1, Outcome.BEGUN)]
    oracle.take([WRITE, ingest], begun)
    sizes = sorted(len(state) for state in oracle.documents)
    assert sizes == [4, 8, 16, 20]  # the four that were written are among the first eight
    assert all(effect(WRITE)[0].keys() <= state.keys() for state in oracle.documents)


def test_a_swap_in_flight_leaves_two_versions_that_may_be_live() -> None:
    oracle = Oracle(documents=[{}], live={1})
    oracle.take([PROMOTE], [Event(0, Outcome.BEGUN, {"target": 2})])
    assert oracle.live == {1, 2}
    done = Event(0, Outcome.DONE, {"changed": True, "live": 3, "previous": 2})
    oracle.take([PROMOTE], [Event(0, Outcome.BEGUN, {"target": 3}), done])
    assert oracle.live == {3}
