"""Progress on stderr: bars in a terminal, a line now and then elsewhere."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn
from rich.text import Text

from lockstep_indexer.cli.pace import per_second, rates, short_rates
from lockstep_indexer.cli.render import duration, megabytes

if TYPE_CHECKING:
    from lockstep.corpus.ingest import IngestProgress
    from lockstep.index.applier import Progress as ApplierProgress
    from lockstep_indexer.train.progress import Progress as TrainingProgress

PLAIN_EVERY_S = 10.0
BAR_WIDTH = 24
NARROW_BAR_WIDTH = 10
NARROW = 110  # columns below which figures need the room of a long bar and of aligned stages
_STAGE_WIDTH = 18
_SPACES = 4  # the spinner, and one between each of the columns


@dataclass
class Meter:
    """How fast a figure grows, from its first reading on."""

    clock: Callable[[], float] = time.monotonic
    _first: tuple[float, float] | None = None
    _last: tuple[float, float] = (0.0, 0.0)

    def read(self, value: float) -> None:
        self._last = (self.clock(), value)
        self._first = self._first or self._last

    def rate(self) -> float | None:
        """Per second; None before there is anything to go by."""
        if self._first is None:
            return None
        seconds, grown = (b - a for a, b in zip(self._first, self._last, strict=True))
        return grown / seconds if seconds > 0 and grown > 0 else None

    def eta_s(self, total: float) -> float | None:
        """Seconds until the figure reaches `total`, at this rate."""
        rate = self.rate()
        return None if rate is None else max(0.0, total - self._last[1]) / rate


@dataclass
class Bars:
    """A bar for the stage that runs now; finished stages leave a line each."""

    console: Console
    _progress: Progress | None = None
    _task: TaskID | None = None
    _stage: str = ""
    _meters: dict[str, Meter] = field(default_factory=dict)
    _details: list[str] = field(default_factory=list)
    _started: float = 0.0
    _printed_at: float = 0.0

    def __enter__(self) -> Self:
        if self.console.is_terminal:
            self._progress = Progress(
                SpinnerColumn("dots"),
                TextColumn(f"{{task.description:<{self._stage_width}}}", markup=False),
                BarColumn(bar_width=self._bar_width),
                TextColumn("{task.fields[detail]}", style="faint"),
                console=self.console,
                transient=True,
            )
            self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._progress is not None:
            if error is None:
                self._finish_stage()
            self._progress.stop()

    def stage(self, name: str) -> None:
        """Begin a stage whose length is not known; the one before it is done."""
        self._finish_stage()
        self._stage, self._meters, self._details = name, {}, []
        self._started = self._printed_at = time.monotonic()
        if self._progress is not None:
            self._task = self._progress.add_task(name, total=None, detail="")
        else:
            self._line(name)

    def ingest(self, progress: "IngestProgress") -> None:
        """Show how far an ingest has come, by bytes."""
        read = self._meter("bytes", progress.bytes_read)
        written = self._meter("documents", progress.documents)
        self._advance(
            progress.bytes_read,
            progress.bytes_total,
            [
                f"{progress.documents:,} documents",
                per_second(written.rate()),
                f"{megabytes(progress.bytes_read)} of {megabytes(progress.bytes_total)}",
                f"{progress.rejected:,} rejected" if progress.rejected else "",
            ],
            read.eta_s(progress.bytes_total),
        )

    def applied(self, progress: "ApplierProgress") -> None:
        """Show how far the fold of a change log has come."""
        changes = self._meter("changes", progress.applied_seq)
        self._advance(
            progress.applied_seq,
            progress.head_seq,
            rates(progress),
            changes.eta_s(progress.head_seq),
            short=short_rates(progress),
        )

    def trained(self, progress: "TrainingProgress") -> None:
        """Show how far a training has come, by steps."""
        steps = self._meter("steps", progress.step)
        rate, loss, quality = progress.rate, progress.loss, progress.quality
        self._advance(
            progress.step,
            progress.steps,
            [
                f"step {progress.step:,} of {progress.steps:,}",
                f"loss {loss:.3f}" if loss is not None else "",
                f"nDCG@10 {quality:.3f}" if quality is not None else "",
                f"rate {rate:.1e}" if rate else "",
                per_second(steps.rate()),
            ],
            steps.eta_s(progress.steps),
        )

    def note(self, text: str) -> None:
        """Say something above the bar that is to stay."""
        self.console.print(Text.assemble(("! ", "warn"), text), soft_wrap=True)

    def counted(self, done: int, total: int) -> None:
        """Show how far a stage has come of which the length is known."""
        meter = self._meter("done", done)
        details = [f"{done:,} of {total:,}", per_second(meter.rate())]
        self._advance(done, total, details, meter.eta_s(total))

    def _meter(self, name: str, value: float) -> Meter:
        meter = self._meters.setdefault(name, Meter())
        meter.read(value)
        return meter

    @property
    def _narrow(self) -> bool:
        return self.console.width < NARROW

    @property
    def _bar_width(self) -> int:
        return NARROW_BAR_WIDTH if self._narrow else BAR_WIDTH

    @property
    def _stage_width(self) -> int:
        return 0 if self._narrow else _STAGE_WIDTH

    def _room(self) -> int:
        """Columns that are left beside the bar."""
        stage = max(len(self._stage), self._stage_width)
        return self.console.width - stage - self._bar_width - _SPACES

    def _advance(
        self,
        done: float,
        total: float,
        details: list[str],
        eta_s: float | None,
        *,
        short: list[str] | None = None,
    ) -> None:
        """`short` stands beside a bar in place of the details, which tell of the whole stage."""
        self._details = [detail for detail in details if detail]
        left = [f"{duration(eta_s)} left"] if eta_s else []
        if self._progress is not None and self._task is not None:
            beside = self._details if short is None else [each for each in short if each]
            detail = fitted([*left, *beside], self._room())
            self._progress.update(self._task, completed=done, total=total, detail=detail)
        elif time.monotonic() - self._printed_at >= PLAIN_EVERY_S:
            self._printed_at = time.monotonic()
            share = done / total if total else 1.0
            self._line(" · ".join([f"{self._stage}: {share:.0%}", *self._details, *left]))

    def _finish_stage(self) -> None:
        if self._progress is None or self._task is None:
            return
        self._progress.remove_task(self._task)
        self._task = None
        told = " · ".join([duration(time.monotonic() - self._started), *self._details])
        mark = Text.assemble(("✓ ", "good"), f"{self._stage:<{_STAGE_WIDTH}} ", (told, "faint"))
        self.console.print(mark)

    def _line(self, text: str) -> None:
        self.console.print(text, markup=False, soft_wrap=True)


def fitted(details: list[str], width: int) -> str:
    """As many of the details, first ones first, as fit on the line."""
    line = ""
    for detail in details:
        longer = f"{line} · {detail}" if line else detail
        if len(longer) > width:
            break
        line = longer
    return line
