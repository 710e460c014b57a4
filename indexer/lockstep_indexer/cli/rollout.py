"""`lockstep promote` and `rollback`: which index version is live."""

from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import RenderableType
from rich.text import Text

from lockstep_indexer.cli.gates import gate_table, showing_gates
from lockstep_indexer.cli.options import (
    ROLLING_OUT,
    CorpusArgument,
    ReasonOption,
    VersionArgument,
    command,
)
from lockstep_indexer.cli.render import next_step, note, plural
from lockstep_indexer.cli.session import Json, Session
from lockstep_indexer.cli.status import version_json

if TYPE_CHECKING:
    from lockstep.index.probe import ProbeReport
    from lockstep.index.rollouts import Swap


def promote(
    session: Session,
    corpus: CorpusArgument,
    version: VersionArgument = None,
    reason: ReasonOption = "",
    force: Annotated[
        bool,
        typer.Option("--force", help="Promote it against the gates; needs --reason."),
    ] = False,
    require_better: Annotated[
        bool,
        typer.Option("--require-better", help="Judged quality must rise, not only hold."),
    ] = False,
) -> None:
    """Judge an index version by its gates and make it live.

    It is brought up to date, measured against the live version, and named by the alias in one
    write. Searches go on the whole time; servers follow within a second. Nothing has changed where
    it fails. The gates' report is kept: lockstep rollouts CORPUS.
    """
    from lockstep.index.rollouts import Consent

    consent = Consent(reason, force=force, require_better=require_better)
    with session.workspace() as workspace, session.bars() as bars, showing_gates(session):
        bars.stage("promoting")
        swap = workspace.rollouts.promote(corpus, version, consent=consent, report=bars.applied)
    session.show(swap_json(swap), *swap_rendered(swap))


def rollback(session: Session, corpus: CorpusArgument, reason: ReasonOption = "") -> None:
    """Make the version before live again.

    It has every write since. Nothing is encoded again, unless it has missed writes.
    """
    with session.workspace() as workspace, session.bars() as bars:
        bars.stage("rolling back")
        swap = workspace.rollouts.rollback(corpus, reason=reason, report=bars.applied)
    session.show(swap_json(swap), *swap_rendered(swap))


def swap_json(swap: "Swap") -> Json:
    return {
        "corpus": swap.corpus,
        "changed": swap.changed,
        "live": version_json(swap.live),
        "previous": version_json(swap.previous) if swap.previous else None,
        "gates": swap.gates.to_json() if swap.gates else None,
    }


def swap_rendered(swap: "Swap") -> list[RenderableType]:
    live = swap.live
    if not swap.changed:
        return [note(f"{live.label} of '{swap.corpus}' was live already; nothing has changed.")]
    parts: list[RenderableType] = [] if swap.gates is None else [gate_table(swap.gates), Text("")]
    parts.append(
        Text.assemble(
            ("✓ ", "good"),
            f"{swap.corpus} → ",
            (live.collection, "name"),
            f" ({live.model_ref}) is live",
        )
    )
    if swap.previous is not None:
        before = f"{swap.previous.label} ({swap.previous.model_ref}) stays ready; to go back"
        command_line = (
            f"lockstep promote {swap.corpus} {swap.previous.number}"
            if live.predecessor != swap.previous.number
            else f"lockstep rollback {swap.corpus}"
        )
        parts.append(next_step(command_line, before))
    return parts


def probe_facts(probe: "ProbeReport") -> list[tuple[str, object]]:
    found = ", ".join(f"{name} {share:.0%}" for name, share in probe.samples.self_found.items())
    return [
        (
            "probe",
            f"{probe.documents:,} documents and {probe.points:,} passages agree by id and hash",
        ),
        (
            "encoded again",
            f"{plural(probe.samples.samples, 'passage')}, cosine ≥ {probe.samples.told_cosine}",
        ),
        ("find themselves", found),
    ]


def add_to(app: typer.Typer) -> None:
    command(app, "promote", panel=ROLLING_OUT, example="lockstep promote docs v3")(promote)
    command(app, "rollback", panel=ROLLING_OUT, example="lockstep rollback docs")(rollback)
