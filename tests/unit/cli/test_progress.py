"""Progress: rates and times left, in a terminal and elsewhere."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from lockstep.index.applier import Progress
from lockstep_indexer.cli.progress import Bars, Meter, fitted
from lockstep_indexer.cli.streams import THEME


def test_a_meter_measures_from_its_first_reading() -> None:
    moments = iter([10.0, 12.0, 14.0])
    meter = Meter(clock=lambda: next(moments))
    meter.read(1000)  # a resumed build begins here; that was no work of this run
    assert meter.rate() is None
    meter.read(1100)
    assert meter.rate() == 50
    meter.read(1200)
    assert meter.eta_s(1400) == 4


def test_a_meter_that_stands_still_promises_nothing() -> None:
    meter = Meter(clock=lambda: 5.0)
    meter.read(1)
    meter.read(1)
    assert meter.eta_s(10) is None


@given(st.lists(st.text(min_size=1, max_size=20), max_size=6), st.integers(0, 60))
def test_details_fit_and_the_first_ones_stay(details: list[str], width: int) -> None:
    line = fitted(details, width)
    assert len(line) <= width
    assert " · ".join(details).startswith(line)


def report_progress(console: Console) -> None:
    with Bars(console) as bars:
        bars.stage("encoding")
        for seq in (50, 100):
            bars.applied(Progress(seq, 100, documents=seq, passages=2 * seq, total_s=seq / 10))
        bars.stage("probing")


def test_stages_in_a_terminal_leave_a_line_each() -> None:
    file = io.StringIO()
    report_progress(Console(file=file, force_terminal=True, width=100, theme=THEME, no_color=True))
    assert "encoding" in file.getvalue()
    assert "100 documents · 10/s · 200 passages" in file.getvalue()


def test_elsewhere_there_are_plain_lines_only() -> None:
    file = io.StringIO()
    report_progress(Console(file=file, force_terminal=False, width=100, theme=THEME))
    assert file.getvalue() == "encoding\nprobing\n"


def live_line(monkeypatch: pytest.MonkeyPatch, *, width: int) -> str:
    """What stands beside the bar of a build on a card that takes most of an hour more."""
    monkeypatch.setattr(Meter, "eta_s", lambda *_: 3560.0)
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, width=width, theme=THEME, no_color=True)
    reading = Progress(
        4_000, 9_000_000, documents=4000, passages=7000, tokens=3_000_000, total_s=4.0, least_s=1.8
    )
    with Bars(console) as bars:
        bars.stage("encoding")
        bars.applied(reading)
        assert bars._progress is not None
        bars._progress.refresh()
        return file.getvalue()


@pytest.mark.parametrize("width", [80, 160])
def test_time_left_and_rates_fit_beside_the_bar(
    monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    shown = live_line(monkeypatch, width=width)
    assert "59 min 20 s left · 1,000 docs/s · 750k tok/s" in shown
    assert "…" not in shown


def test_a_wide_terminal_has_room_for_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = live_line(monkeypatch, width=160)
    assert "750k tok/s · 45% of ceiling · 4,000 documents · 7,000 passages" in shown
