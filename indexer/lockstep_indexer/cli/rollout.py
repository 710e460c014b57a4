"""`lockstep promote`, `rollback` and `gc`: which index version is live, and which ones stay."""

from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import RenderableType
from rich.text import Text

from lockstep_indexer.cli.options import ROLLING_OUT, CorpusArgument, command, index_version
from lockstep_indexer.cli.render import done, facts, megabytes, next_step, note, plural
from lockstep_indexer.cli.session import Json, Session
from lockstep_indexer.cli.status import version_json

if TYPE_CHECKING:
    from lockstep.index.probe import ProbeReport
    from lockstep.index.rollouts import Swap

VersionArgument = Annotated[
    int | None,
    typer.Argument(
        metavar="VERSION",
        parser=index_version,
        help="3 or v3. Without it: the newest candidate.",
        show_default=False,
    ),
]


def promote(session: Session, corpus: CorpusArgument, version: VersionArgument = None) -> None:
    """Prove an index version and make it live.

    It is brought up to date, proven, and named by the alias in one write. Searches go on the whole
    time; servers follow within a second. Nothing has changed where it fails.
    """
    with session.workspace() as workspace, session.bars() as bars:
        bars.stage("promoting")
        swap = workspace.rollouts.promote(corpus, version, report=bars.applied)
    session.show(swap_json(swap), *swap_rendered(swap))


def rollback(session: Session, corpus: CorpusArgument) -> None:
    """Make the version before live again.

    It has every write since. Nothing is encoded again, unless it has missed writes.
    """
    with session.workspace() as workspace, session.bars() as bars:
        bars.stage("rolling back")
        swap = workspace.rollouts.rollback(corpus, report=bars.applied)
    session.show(swap_json(swap), *swap_rendered(swap))


def gc(
    session: Session,
    corpus: CorpusArgument,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be dropped.")
    ] = False,
) -> None:
    """Drop index versions that are no longer needed.

    Retired, failed and abandoned ones go; the live one and candidates stay. Asks nothing. After it
    there is nothing to roll back to.
    """
    from lockstep_indexer.build.reclaim import droppable, used_bytes

    with session.workspace() as workspace:
        sizes = [
            used_bytes(workspace.settings, version.collection) or 0
            for version in droppable(workspace, corpus)
        ]
        before = used_bytes(workspace.settings) or 0
        dropped = droppable(workspace, corpus) if dry_run else workspace.rollouts.drop(corpus)
        after = used_bytes(workspace.settings)
    freed = None if after is None else sum(sizes) if dry_run else max(0, before - after)
    document = {
        "corpus": corpus,
        "dry_run": dry_run,
        "dropped": [version_json(version) for version in dropped],
        "freed_bytes": freed,
    }
    names = ", ".join(f"{version.label} ({version.model_ref})" for version in dropped)
    what = f"{plural(len(dropped), 'index version')}: {names}" if dropped else "nothing"
    if dry_run:
        space = f" and free {megabytes(freed)}" if freed else ""
        session.show(document, note(f"Would drop {what}{space}. Nothing has changed."))
    else:
        space = f"; {megabytes(freed)} freed" if freed else ""
        session.show(document, done(f"Dropped {what}{space}"))


def swap_json(swap: "Swap") -> Json:
    return {
        "corpus": swap.corpus,
        "changed": swap.changed,
        "live": version_json(swap.live),
        "previous": version_json(swap.previous) if swap.previous else None,
        "probe": swap.probe.to_json() if swap.probe else None,
    }


def swap_rendered(swap: "Swap", *, with_probe: bool = True) -> list[RenderableType]:
    live = swap.live
    if not swap.changed:
        return [note(f"{live.label} of '{swap.corpus}' was live already; nothing has changed.")]
    parts: list[RenderableType] = [
        Text.assemble(
            ("✓ ", "good"),
            f"{swap.corpus} → ",
            (live.collection, "name"),
            f" ({live.model_ref}) is live",
        )
    ]
    if with_probe and swap.probe is not None:
        parts.append(facts(probe_facts(swap.probe)))
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
            f"{plural(probe.samples.samples, 'passage')}, cosine ≥ {probe.samples.min_cosine:.4f}",
        ),
        ("find themselves", found),
    ]


def add_to(app: typer.Typer) -> None:
    command(app, "promote", panel=ROLLING_OUT, example="lockstep promote docs v3")(promote)
    command(app, "rollback", panel=ROLLING_OUT, example="lockstep rollback docs")(rollback)
    command(app, "gc", panel=ROLLING_OUT, example="lockstep gc docs --dry-run")(gc)
