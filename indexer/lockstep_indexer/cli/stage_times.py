"""How long each stage of a command took, the time before the first one left out."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from lockstep_indexer.cli.render import duration


@dataclass
class StageTimes:
    """Stages follow one another without a gap, so that their sum is the whole."""

    clock: Callable[[], float] = time.monotonic
    _begun: list[tuple[str, float]] = field(default_factory=list)

    def begin(self, stage: str) -> None:
        """The stage before this one is done."""
        self._begun.append((stage, self.clock()))

    def seconds(self) -> dict[str, float]:
        """Of each stage so far, the one that runs included."""
        ends = [at for _, at in self._begun[1:]] + [self.clock()] * bool(self._begun)
        spent: dict[str, float] = {}
        for (stage, at), end in zip(self._begun, ends, strict=True):
            spent[stage] = spent.get(stage, 0.0) + end - at
        return spent


def told(seconds: dict[str, float]) -> str:
    """The whole, and what it was made of."""
    parts = ", ".join(f"{stage} {duration(each)}" for stage, each in seconds.items())
    return f"{duration(sum(seconds.values()))}: {parts}"
