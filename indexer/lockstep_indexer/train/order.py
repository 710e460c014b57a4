"""What is to be trained, and what came of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lockstep.models.manifest import Json
from lockstep.models.registry import ModelVersion
from lockstep_indexer.train.comparison import Comparison
from lockstep_indexer.train.data.examples import TrainingData
from lockstep_indexer.train.progress import Course
from lockstep_indexer.train.settings import TrainingSettings

if TYPE_CHECKING:
    from lockstep_indexer.train.data.contamination import HeldOut


@dataclass(frozen=True)
class Order:
    """A training as it is asked for."""

    corpus: str
    name: str  # of the model that is registered
    data: TrainingData
    base: ModelVersion
    settings: TrainingSettings
    dev: TrainingData | None = None  # held out; None: a share of the data is
    dev_share: float = 0.1
    general: TrainingData | None = None  # against forgetting
    teacher: ModelVersion | None = None
    guide: ModelVersion | None = None
    against: "Mapping[str, HeldOut]" = field(default_factory=dict)  # what must not be trained on
    allow_contamination: bool = False
    require_better: bool = False
    passages: int = 1000  # that held-out queries are searched in
    report_to: tuple[str, ...] = ()
    sweep: int = 0  # settings to try out first


@dataclass(frozen=True)
class Trained:
    """What a training left behind: a registered version, and how good it is."""

    version: ModelVersion
    base: ModelVersion
    examples: int  # trained on
    held_out: int
    settings: TrainingSettings
    course: Course
    comparison: Comparison
    contamination: Mapping[str, Json]
    warnings: Sequence[str]
    seconds: float
