"""`lockstep doctor`: is everything as it should be?"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

import typer
from rich.table import Table
from rich.text import Text

from lockstep_indexer.cli.errors import FAILED
from lockstep_indexer.cli.options import CARING, command
from lockstep_indexer.cli.render import plural
from lockstep_indexer.cli.session import Session

if TYPE_CHECKING:
    from lockstep_indexer.cli.checks import Check

_MARKS = {"good": ("✓", "good"), "warn": ("!", "warn"), "bad": ("✗", "bold bad")}


def doctor(session: Session) -> None:
    """Check everything, and say how to mend it.

    Settings, database, models, indexes and disk. Reads every model file and every index, so it
    takes a while on a large workspace. Exit code 1 when something is wrong.
    """
    settings = session.settings()
    from lockstep_indexer.cli.checks import check_all

    with session.waiting("looking at everything"):
        checks = list(check_all(settings, session.command))
    wrong = [check for check in checks if check.level == "bad"]
    session.show(
        {"ok": not wrong, "checks": [vars(check) for check in checks]},
        _checklist(checks),
        _verdict(checks),
    )
    if wrong:
        raise typer.Exit(FAILED)


def _checklist(checks: Iterable["Check"]) -> Table:
    made = Table.grid(padding=(0, 2))
    made.add_column(no_wrap=True)
    made.add_column(no_wrap=True)
    made.add_column(overflow="fold")
    for check in checks:
        said = Text(check.message)
        if check.mend and check.level != "good":
            said.append_text(Text.assemble(("\n→ ", "faint"), (check.mend, "command")))
        made.add_row(Text(*_MARKS[check.level]), Text(check.name, "name"), said)
    return made


def _verdict(checks: list["Check"]) -> Text:
    wrong = sum(check.level == "bad" for check in checks)
    warned = sum(check.level == "warn" for check in checks)
    if wrong:
        return Text(f"\n{plural(wrong, 'thing')} wrong.", "bold bad")
    noted = f"; {plural(warned, 'thing')} to know" if warned else ""
    return Text(f"\nAll well{noted}.", "good")


def add_to(app: typer.Typer) -> None:
    command(app, "doctor", panel=CARING, example="lockstep doctor --json")(doctor)
