"""How far a training has come, and what happened on the way."""

from collections.abc import Callable
from dataclasses import dataclass, field

from lockstep.models.manifest import Json
from lockstep_indexer.train.settings import Loss


@dataclass(frozen=True)
class Progress:
    """One reading while a model trains."""

    step: int
    steps: int
    loss: float | None = None  # mean since the last reading of it
    rate: float | None = None  # the learning rate
    quality: float | None = None  # nDCG@10 of the last evaluation


@dataclass(frozen=True)
class Listener:
    """Who is told; by default nobody."""

    stage: Callable[[str], object] = lambda _: None
    progress: Callable[[Progress], object] = lambda _: None
    note: Callable[[str], object] = lambda _: None


@dataclass
class Course:
    """The course a training took."""

    precision: str
    steps: int = 0
    best_step: int | None = None
    losses: list[tuple[int, float]] = field(default_factory=list)  # step, mean loss
    quality: list[tuple[int, float]] = field(default_factory=list)  # step, nDCG@10
    events: list[str] = field(default_factory=list)  # what went wrong and what was done about it
    resumed_at: int = 0  # the step at which an interrupted training went on
    trained_by: set[Loss] = field(default_factory=set)

    def note(self, event: str) -> None:
        self.events.append(event)

    def to_json(self) -> Json:
        return {
            "precision": self.precision,
            "steps": self.steps,
            "best_step": self.best_step,
            "losses": [[step, round(loss, 5)] for step, loss in self.losses],
            "quality": [[step, round(value, 5)] for step, value in self.quality],
            "events": self.events,
        }

    @classmethod
    def from_json(cls, fields: Json) -> "Course":
        pairs = {name: [tuple(pair) for pair in fields[name]] for name in ("losses", "quality")}
        return cls(**{**fields, **pairs})
