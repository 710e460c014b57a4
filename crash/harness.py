"""The harness: live, kill, restart, check; again and again."""

import json
import random
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

from crash.checks import check
from crash.events import Event
from crash.lives import live
from crash.oracle import Oracle
from crash.plan import EPISODE, Cycle
from crash.stage import Setup, Stage, Theatre
from lockstep.bootstrap import open_workspace


@dataclass(frozen=True)
class Result:
    """What one cycle showed."""

    cycle: Cycle
    killed: int  # lives that were ended, or that had a part killed under them
    acknowledged: int
    problems: list[str]
    seconds: float


@dataclass
class Summary:
    cycles: int = 0
    kills: Counter[str] = field(default_factory=Counter)  # by point
    acknowledged: int = 0
    violations: int = 0
    failures: list[Path] = field(default_factory=list)


@dataclass(frozen=True)
class Run:
    """A run of cycles on one setup."""

    seed: int
    setup: Setup
    folder: Path  # for workspaces, and for the files of failures
    broken: str | None = None  # a way in which the killed process is broken on purpose

    def all(self, cycles: Iterable[Cycle], tell: Callable[[Result], None]) -> Summary:
        """Run the cycles, in episodes on a fresh workspace; ends an episode at a violation."""
        summary = Summary()
        theatre = Theatre(self.setup, self.folder)
        try:
            for number, episode in groupby(cycles, key=lambda cycle: (cycle.number - 1) // EPISODE):
                self._episode(theatre, f"s{self.seed}e{number}", list(episode), summary, tell)
        finally:
            theatre.close()
        return summary

    def _episode(
        self,
        theatre: Theatre,
        name: str,
        cycles: Sequence[Cycle],
        summary: Summary,
        tell: Callable[[Result], None],
    ) -> None:
        with theatre.stage(name) as stage:
            oracle = stage.first_state()
            for position, cycle in enumerate(cycles):
                result, events = self._cycle(stage, cycle, oracle, summary.kills)
                summary.cycles += 1
                summary.acknowledged += result.acknowledged
                summary.violations += len(result.problems)
                if result.problems:
                    path = self._keep(stage, cycles[: position + 1], result, events)
                    summary.failures.append(path)
                tell(result)
                if result.problems:
                    return
        theatre.discard(stage)

    def _cycle(
        self, stage: Stage, cycle: Cycle, oracle: Oracle, kills: Counter[str]
    ) -> tuple[Result, list[list[Event]]]:
        started, before, killed = time.monotonic(), oracle.acknowledged, 0
        told: list[list[Event]] = []
        for number, life in enumerate(cycle.lives):
            chance = random.Random(f"{cycle.number} {number}")
            lived = live(stage, life, chance, broken=self.broken)
            oracle.take(life.operations, lived.events)
            oracle.answers |= lived.answers
            told.append(lived.events)
            if lived.killed:
                killed += 1
                kills[f"{life.victim}: {life.kill.point}"] += 1
        with open_workspace(stage.root) as workspace:
            problems = check(workspace, stage.corpus, oracle)
        took = time.monotonic() - started
        acknowledged = oracle.acknowledged - before
        return Result(cycle, killed, acknowledged, problems, took), told

    def _keep(
        self,
        stage: Stage,
        cycles: Sequence[Cycle],
        result: Result,
        events: Sequence[Sequence[Event]],
    ) -> Path:
        """Write all that it takes to run the episode again, and what was found."""
        path = self.folder / f"crash-seed{self.seed}-cycle{result.cycle.number}.json"
        failure = {
            "seed": self.seed,
            "cycle": result.cycle.number,
            "setup": asdict(self.setup),
            "broken": self.broken,
            "found": result.problems,
            "workspace": str(stage.root),
            "said": [[asdict(event) for event in life] for life in events],
            "cycles": [cycle.to_json() for cycle in cycles],
        }
        path.write_text(json.dumps(failure, indent=1, default=list) + "\n")
        return path


def load_failure(path: Path, folder: Path) -> tuple[Run, list[Cycle]]:
    """The run that a failure file tells, and its cycles."""
    fields: dict[str, Any] = json.loads(path.read_text())
    run = Run(fields["seed"], Setup(**fields["setup"]), folder, fields["broken"])
    return run, [Cycle.from_json(cycle) for cycle in fields["cycles"]]
