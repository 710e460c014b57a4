"""`lockstep doctor`: is everything as it should be? And if an index is not: make it so again."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from lockstep_indexer.cli.errors import FAILED
from lockstep_indexer.cli.options import CARING, command, index_version
from lockstep_indexer.cli.render import done, duration, facts, next_step, note, plural
from lockstep_indexer.cli.rollout import probe_facts
from lockstep_indexer.cli.session import Json, Session
from lockstep_indexer.cli.status import version_json

if TYPE_CHECKING:
    from lockstep.index.repair import Outlook, Repaired
    from lockstep_indexer.cli.checks import Check

_MARKS = {"good": ("✓", "good"), "warn": ("!", "warn"), "bad": ("✗", "bold bad")}


def doctor(
    session: Session,
    corpus: Annotated[
        str | None,
        typer.Argument(
            metavar="CORPUS",
            help="Probe the indexes of this corpus only; with --repair, whose VERSION is meant.",
            show_default=False,
        ),
    ] = None,
    repair: Annotated[
        str | None,
        typer.Option(
            metavar="VERSION",
            help="Mend this index version: docs--v0003, or 3 or v3 of CORPUS.",
            show_default=False,
        ),
    ] = None,
    deep: Annotated[
        bool,
        typer.Option("--deep", help="With --repair: compare every vector, not only a sample."),
    ] = False,
) -> None:
    """Check everything, and say how to mend it.

    Settings, database, models, indexes, processes and disk. Reads every model file and every index,
    so it takes a while on a large workspace. Exit code 1 when something is wrong.

    With --repair: encode and write again what is missing, left over or out of date in an index
    version, and nothing else; then prove it. Where a sampled vector is wrong, all are compared.
    """
    if repair is not None:
        _repair(session, *_named(corpus, repair), deep=deep)
    elif deep:
        raise typer.BadParameter("--deep goes with --repair VERSION.")
    else:
        _check(session, corpus)


def _check(session: Session, corpus: str | None) -> None:
    settings = session.settings()
    from lockstep_indexer.cli.checks import check_all

    with session.waiting("looking at everything"):
        checks = list(check_all(settings, session.command, corpus))
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


def _named(corpus: str | None, version: str) -> tuple[str, int]:
    """The corpus and the number that VERSION, with or without CORPUS, means."""
    of_version, separator, _ = version.rpartition("--")
    if separator and corpus not in (None, of_version):
        raise typer.BadParameter(f"'{version}' is no index version of corpus '{corpus}'.")
    name = of_version if separator else corpus
    if not name:
        raise typer.BadParameter(
            f"Say of which corpus '{version}' is a version: lockstep doctor CORPUS --repair "
            f"{version}"
        )
    return name, index_version(version)


def _repair(session: Session, corpus: str, number: int, *, deep: bool) -> None:
    from lockstep.index.repair import RepairListener

    with session.workspace() as workspace, session.bars() as bars:
        workspace.corpora.info(corpus)  # raises CorpusNotFound
        repaired = workspace.repairer.repair(
            corpus,
            number,
            deep=deep,
            samples=workspace.settings.gates.identity_samples,
            listener=RepairListener(
                stage=bars.stage,
                progress=bars.applied,
                outlook=lambda outlook: _say(session, outlook),
            ),
        )
    session.show(_json(repaired), *_rendered(repaired))


def _say(session: Session, outlook: "Outlook") -> None:
    session.err.print(
        note(
            f"Every passage is encoded again to compare it: {outlook.passages:,}, about "
            f"{duration(outlook.seconds)} at the rate of the sample. Ctrl-C loses nothing."
        )
    )


def _json(repaired: "Repaired") -> Json:
    return {
        "corpus": repaired.version.corpus,
        "index_version": version_json(repaired.version),
        **repaired.to_json(),
    }


def _rendered(repaired: "Repaired") -> list[RenderableType]:
    version = repaired.version
    looked = "every vector" if repaired.deep else f"{repaired.probe.samples.samples:,} vectors"
    parts: list[RenderableType] = [
        done(f"{version.collection}: {repaired.summary}"),
        facts(
            [
                ("state", version.state.value),
                (
                    "changes",
                    f"{repaired.applied:,} applied from the log" if repaired.applied else "",
                ),
                ("compared", f"every id and hash, {looked}"),
                ("time", duration(repaired.took_s)),
                *probe_facts(repaired.probe),
            ]
        ),
    ]
    if version.state.value == "candidate":
        command_line = f"lockstep promote {version.corpus} {version.number}"
        parts.append(next_step(command_line, "Make it live"))
    return parts


def add_to(app: typer.Typer) -> None:
    command(app, "doctor", panel=CARING, example="lockstep doctor --repair docs--v0003")(doctor)
