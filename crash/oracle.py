"""The oracle: what must be true after everything that was acknowledged, and what may be."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from actions import document

from crash.events import Event, Outcome
from crash.plan import Kind, Operation

INGEST_BATCH = 8

Documents = dict[str, str]  # id -> content hash
Batch = dict[str, str | None]  # id -> content hash; None: deleted

_SWAPS = (Kind.PROMOTE, Kind.ROLLBACK)


@dataclass
class Oracle:
    """The states that the corpus may be in: one, and more for each operation of unknown outcome."""

    documents: list[Documents]
    live: set[int]  # the last one that is known, and what swaps of unknown outcome aimed at
    last_live: int = 1  # the last one that is known
    known_ids: set[str] = field(default_factory=set)
    built: set[int] = field(default_factory=set)
    swaps: list[tuple[str, int, int]] = field(default_factory=list)  # acknowledged: step, from, to
    open_steps: int = 0  # history lines that may lack their end
    open_swaps: int = 0  # of unknown outcome, since the last one that is known
    answers: set[tuple[str, str]] = field(default_factory=set)
    acknowledged: int = 0
    problems: list[str] = field(default_factory=list)

    def take(self, operations: Sequence[Operation], events: Sequence[Event]) -> None:
        """Learn what a life did, from what it said until it ended."""
        begun: dict[int, Event] = {}
        for event in events:
            if event.operation < 0:
                self.problems.append(f"The process broke: {event.facts['error']}")
            elif event.outcome is Outcome.BEGUN:
                begun[event.operation] = event
            else:
                self._end(operations[event.operation], begun.pop(event.operation), event)
        for number, start in begun.items():
            self._end(operations[number], start, Event(number, Outcome.UNKNOWN))

    def know_live(self, number: int) -> None:
        """Which version is live is certain again."""
        self.live, self.last_live, self.open_swaps = {number}, number, 0

    def _end(self, operation: Operation, begun: Event, end: Event) -> None:
        batches = effect(operation)
        self.known_ids.update(*batches)
        if end.outcome is Outcome.DONE:
            self.acknowledged += 1
            self._acknowledge(operation, batches, begun, end)
        elif end.outcome is Outcome.UNKNOWN:
            self._leave_open(operation, batches, begun)
        elif end.outcome is Outcome.BROKEN:
            self.problems.append(f"{operation.kind} failed: {end.facts['error']}")
            self._leave_open(operation, batches, begun)

    def _acknowledge(
        self, operation: Operation, batches: list[Batch], begun: Event, end: Event
    ) -> None:
        self.documents = _distinct(_after(state, batches) for state in self.documents)
        self.problems.extend(end.facts.get("problems", []))
        if operation.kind in _SWAPS and end.facts["changed"]:
            self.know_live(end.facts["live"])
            self.swaps.append((str(operation.kind), end.facts["previous"], end.facts["live"]))
        elif operation.kind is Kind.BUILD:
            self.built.add(end.facts["version"])
        elif operation.kind is Kind.SEARCH:
            self.answers.update(tuple(pair) for pair in end.facts["pairs"])
            strange = set(end.facts["documents"]) - self.known_ids
            if strange:
                self.problems.append(f"A search found what was never written: {strange}")

    def _leave_open(self, operation: Operation, batches: list[Batch], begun: Event) -> None:
        """It happened or not; of several batches, the first ones did."""
        prefixes = [batches[:count] for count in range(len(batches) + 1)]
        self.documents = _distinct(
            _after(state, prefix) for state in self.documents for prefix in prefixes
        )
        if operation.kind in _SWAPS:
            self.open_steps += 1
            self.open_swaps += 1
            if (target := begun.facts.get("target")) is not None:
                self.live.add(target)


def effect(operation: Operation) -> list[Batch]:
    """What an operation does to the documents, transaction by transaction."""
    if operation.kind is Kind.DELETE:
        return [dict.fromkeys(f"doc-{number}" for number in operation.numbers)]
    if operation.kind not in (Kind.WRITE, Kind.INGEST):
        return []
    written = [document(number, operation.revision) for number in operation.numbers]
    size = INGEST_BATCH if operation.kind is Kind.INGEST else len(written)
    return [
        {each.id: each.content_hash for each in written[start : start + size]}
        for start in range(0, len(written), size)
    ]


def _after(state: Documents, batches: Sequence[Batch]) -> Documents:
    merged: Batch = dict(state)
    for batch in batches:
        merged |= batch
    return {key: value for key, value in merged.items() if value is not None}


def _distinct(states: Iterable[Documents]) -> list[Documents]:
    found: list[Documents] = []
    for state in states:
        if state not in found:
            found.append(state)
    return found
