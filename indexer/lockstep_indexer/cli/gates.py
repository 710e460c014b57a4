"""The gates' report as a table."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from lockstep_indexer.cli.render import table
from lockstep_indexer.cli.session import Session

if TYPE_CHECKING:
    from lockstep.index.gate_report import GateReport, GateResult

_MARKS = {
    "passed": ("✓ passed", "good"),
    "flagged": ("! flagged", "warn"),
    "failed": ("✗ failed", "bold bad"),
    "skipped": ("– skipped", "faint"),
}


def gate_table(report: "GateReport") -> Table:
    """The report as a table."""
    return results_table(report.results)


def results_table(results: Sequence["GateResult"]) -> Table:
    """A line for each gate: what was measured, what was asked for, the verdict."""
    made = table("gate", "measured", "asked for", "verdict")
    for result in results:
        figure = Text(result.figure)
        if result.detail:
            figure.append(f"\n{result.detail}", "faint")
        made.add_row(
            Text(result.gate, "name"),
            figure,
            Text(result.threshold, "faint"),
            Text(*_MARKS[result.verdict.value]),
        )
    return made


@contextmanager
def showing_gates(session: Session) -> Iterator[None]:
    """Print the table of the gates that stop a promotion, before the error that says so."""
    from lockstep.errors import GateFailed
    from lockstep.index.gate_report import GateReport

    try:
        yield
    except GateFailed as error:
        if error.report is not None and not session.json:
            session.err.print(gate_table(GateReport.from_json(error.report)))
        raise


def report_rendered(report: "GateReport") -> list[RenderableType]:
    against = f" against {report.live}" if report.live else ""
    head = Text.assemble((report.candidate, "name"), (against, "faint"))
    return [head, gate_table(report)]
