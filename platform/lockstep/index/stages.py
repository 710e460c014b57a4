"""The stages that a batch of changes goes through, and how long each has worked."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

READ = "read"
SPLIT = "split"
TOKENS = "tokens"
ENCODE = "encode"
POINTS = "points"
WRITE = "write"
# In their order. An engine that takes several at once tells of one.
STAGES = (READ, SPLIT, TOKENS, ENCODE, POINTS, WRITE)


@dataclass
class Timings:
    """Seconds of work in each stage."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def of(self, stage: str) -> Iterator[None]:
        started = time.monotonic()
        try:
            yield
        finally:
            self.add({stage: time.monotonic() - started})

    def add(self, seconds: Mapping[str, float]) -> None:
        for stage, more in seconds.items():
            self.seconds[stage] = self.seconds.get(stage, 0.0) + more
