"""What is done and when it is killed: all of it follows from a seed."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from lockstep.failpoints import NAMES

Json = dict[str, Any]

DOCUMENTS = 60
MODELS = 3
# Cycles on one workspace; a replay repeats those of its episode that came before.
EPISODE = 12
RANDOM = "a random moment"
NEVER = "never"


class Kind(StrEnum):
    """What an operation does."""

    WRITE = "write"  # upsert documents in one transaction
    INGEST = "ingest"  # a file of documents, in batches
    DELETE = "delete"
    BUILD = "build"  # reindex, without a promotion
    PROMOTE = "promote"  # the newest candidate, or else the newest retired version
    ROLLBACK = "rollback"
    GC = "gc"
    SEARCH = "search"
    FOLLOW = "follow"  # bring live and retired versions up to date


class Process(StrEnum):
    """Who does the operations of a life."""

    WORKER = "worker"  # a process that opens the workspace, as a command does
    SERVER = "server"  # the API server; the operations come by HTTP


class Target(StrEnum):
    """What is killed."""

    PROCESS = "process"  # the worker or the server
    ENGINE = "engine"  # the process that holds an embedded collection, or the Qdrant server
    DATABASE = "database"  # PostgreSQL with all its processes


@dataclass(frozen=True)
class Operation:
    kind: Kind
    numbers: tuple[int, ...] = ()  # of the documents
    revision: int = 0
    model: int = 0  # index of the model to build with
    wait: bool = False  # by HTTP: return once the write is indexed


@dataclass(frozen=True)
class Kill:
    """One kill -9. At a failpoint it repeats exactly, at a random moment nearly."""

    target: Target
    point: str = RANDOM
    nth: int = 1  # at which passing of the failpoint
    after: int = 0  # a random moment: after so many operations have begun ...
    delay_s: float = 0.0  # ... and so much time has passed


@dataclass(frozen=True)
class Life:
    """A process from its start to its end."""

    process: Process
    operations: tuple[Operation, ...]
    kill: Kill

    @property
    def victim(self) -> str:
        """Who is killed, in one word."""
        return self.process if self.kill.target is Target.PROCESS else self.kill.target


@dataclass(frozen=True)
class Cycle:
    """One life or several; after the last, everything is checked."""

    number: int
    lives: tuple[Life, ...]

    @property
    def name(self) -> str:
        """What is killed in it, and when, in a few words."""
        life = next(life for life in self.lives if life.kill.point != NEVER)
        at = "at " if life.kill.point == RANDOM else ""
        return f"{life.victim} {at}{life.kill.point}"

    def to_json(self) -> Json:
        return asdict(self)

    @classmethod
    def from_json(cls, fields: Json) -> "Cycle":
        return cls(fields["number"], tuple(_life(life) for life in fields["lives"]))


@dataclass(frozen=True)
class Fault:
    """A kind of kill that a run goes through."""

    process: Process
    target: Target
    point: str = RANDOM


def faults(*, embedded: bool, restartable: frozenset[Target]) -> list[Fault]:
    """Every kind of kill there is; `restartable` says which servers the harness may kill."""
    points = [name for name in NAMES if embedded or name != "inside the manifest"]
    kinds = [Fault(Process.WORKER, Target.PROCESS, point) for point in points]
    kinds += [Fault(process, Target.PROCESS) for process in Process for _ in range(2)]
    kinds += [
        Fault(Process.SERVER, Target.PROCESS, point)
        for point in ("before the commit", "after the points", "before the alias")
    ]
    return kinds + [Fault(process, target) for target in sorted(restartable) for process in Process]


def cycles(seed: int, count: int, kinds: Sequence[Fault]) -> Iterator[Cycle]:
    """The cycles of a run: all kinds of faults in random order, then all of them again."""
    order: list[Fault] = []
    for number in range(1, count + 1):
        chance = random.Random(f"{seed} {number}")
        if not order:
            order = random.Random(f"{seed} order {number}").sample(kinds, len(kinds))
        fault = order.pop()
        lives = [_planned(fault, chance, 100 * number)]
        if fault.process is Process.SERVER:  # it has something to promote
            lives.insert(0, Life(Process.WORKER, (_operation(Kind.BUILD, chance, 0),), _NEVER))
        if chance.random() < 0.3:  # killed again before anybody has looked
            again = Fault(Process.WORKER, Target.PROCESS)
            lives.append(_planned(again, chance, 100 * number + 50))
        yield Cycle(number, tuple(lives))


_NEVER = Kill(Target.PROCESS, NEVER)

# What a failpoint is reached by, and how often at most the kill waits for it.
_REACHED_BY: dict[str, tuple[list[Kind], int]] = {
    "before the commit": ([Kind.WRITE, Kind.DELETE, Kind.INGEST], 4),
    "after the commit": ([Kind.WRITE, Kind.DELETE, Kind.INGEST], 4),
    "before the points": ([Kind.WRITE, Kind.BUILD], 4),
    "after the points": ([Kind.WRITE, Kind.BUILD], 4),
    "after the flush": ([Kind.WRITE, Kind.BUILD], 4),
    "after the checkpoint": ([Kind.WRITE, Kind.BUILD], 4),
    "before the alias": ([Kind.BUILD, Kind.PROMOTE, Kind.WRITE, Kind.ROLLBACK], 2),
    "after the alias": ([Kind.BUILD, Kind.PROMOTE, Kind.WRITE, Kind.ROLLBACK], 2),
    "inside the manifest": ([Kind.BUILD, Kind.PROMOTE], 4),
    "before the drop": ([Kind.BUILD, Kind.PROMOTE, Kind.GC], 1),
}
_BY_HTTP = (Kind.WRITE, Kind.WRITE, Kind.DELETE, Kind.SEARCH, Kind.PROMOTE, Kind.ROLLBACK)
_ANY = (
    *(Kind.WRITE, Kind.WRITE, Kind.INGEST, Kind.DELETE, Kind.FOLLOW, Kind.SEARCH),
    *(Kind.BUILD, Kind.BUILD, Kind.PROMOTE, Kind.ROLLBACK, Kind.GC),
)
_PRELUDE = (Kind.WRITE, Kind.DELETE, Kind.SEARCH, Kind.FOLLOW)


def _planned(fault: Fault, chance: random.Random, revision: int) -> Life:
    by_http = fault.process is Process.SERVER
    if fault.point == RANDOM:
        kinds = chance.choices(_BY_HTTP if by_http else _ANY, k=16 if by_http else 8)
    elif by_http:
        kinds = [*chance.choices(_BY_HTTP, k=8), Kind.WRITE, Kind.PROMOTE]
    else:
        prelude = chance.choices(_PRELUDE, k=chance.randrange(3))
        kinds = [*prelude, *_REACHED_BY[fault.point][0]]
    operations = tuple(_operation(kind, chance, revision + n) for n, kind in enumerate(kinds))
    kill = Kill(
        fault.target,
        fault.point,
        nth=1 if by_http else chance.randint(1, _REACHED_BY.get(fault.point, ([], 1))[1]),
        after=chance.randrange(1, len(operations)),
        delay_s=round(chance.uniform(0, 0.3), 4),
    )
    return Life(fault.process, operations, kill)


def _operation(kind: Kind, chance: random.Random, revision: int) -> Operation:
    sizes = {Kind.WRITE: 6, Kind.DELETE: 4, Kind.INGEST: 30, Kind.SEARCH: 1}
    return Operation(
        kind,
        numbers=tuple(chance.sample(range(DOCUMENTS), sizes.get(kind, 0))),
        revision=revision,
        model=chance.randrange(MODELS),
        wait=chance.random() < 0.4,
    )


def _life(fields: Json) -> Life:
    operations = [
        Operation(**{**each, "kind": Kind(each["kind"]), "numbers": tuple(each["numbers"])})
        for each in fields["operations"]
    ]
    kill = Kill(**{**fields["kill"], "target": Target(fields["kill"]["target"])})
    return Life(Process(fields["process"]), tuple(operations), kill)
