"""What is known before anybody trains: how good search is, what there is to train with."""

from dataclasses import asdict, dataclass

from lockstep.models.manifest import Json


@dataclass(frozen=True)
class Baseline:
    """Mean nDCG@10 of judged queries, by the way that is searched."""

    judged: str  # the set's name
    queries: int
    dense: float
    hybrid: float
    bm25: float
    uncertain: float  # half the width of the 95 % interval of the dense figure

    @property
    def best(self) -> float:
        return max(self.dense, self.hybrid, self.bm25)


@dataclass(frozen=True)
class Pairs:
    """What there is to train with."""

    distinct: int
    leaked: int | None = None  # judged queries that are among the pairs; None: not looked for
    leaks_are_many: bool = False  # more than a training would leave out by itself


@dataclass(frozen=True)
class Reindex:
    """What the index of a trained version would take, as `lockstep plan` reckons."""

    seconds: float
    disk_bytes: int
    documents: int
    passages: int
    window_tokens: int
    refused: str = ""

    @property
    def passages_per_document(self) -> float:
        return self.passages / max(1, self.documents)


@dataclass(frozen=True)
class Situation:
    """None stands for what is not known."""

    corpus: str
    documents: int
    model: str | None = None  # the ref that was measured; None: nothing is live, none was named
    target: float | None = None  # of nDCG@10
    baseline: Baseline | None = None
    pairs: Pairs | None = None
    pair_files: tuple[str, ...] = ()
    reindex: Reindex | None = None

    @property
    def gap(self) -> float | None:
        """From the best there is to the target."""
        if self.target is None or self.baseline is None:
            return None
        return self.target - self.baseline.best

    def to_json(self) -> Json:
        return {**asdict(self), "gap": self.gap}
