"""`lockstep gc`: drops what a corpus no longer needs."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import RenderableType

from lockstep_indexer.cli.options import ROLLING_OUT, CorpusArgument, command
from lockstep_indexer.cli.render import done, duration, megabytes, next_step, note, plural
from lockstep_indexer.cli.session import Session
from lockstep_indexer.cli.status import version_json

if TYPE_CHECKING:
    from lockstep.index.retirement import Collected
    from lockstep_indexer.encode.token_upkeep import Forgotten
    from lockstep_indexer.train.runs import Interrupted


def gc(
    session: Session,
    corpus: CorpusArgument,
    now: Annotated[
        bool,
        typer.Option("--now", help="Drop retired versions that still soak, too."),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be dropped.")
    ] = False,
) -> None:
    """Drop index versions that are no longer needed.

    Failed and abandoned ones go, and retired ones that have soaked (soak_hours in lockstep.toml);
    the live one and candidates stay. So do the cached tokens of documents that are still in some
    corpus, in the form that some model version reads. What killed evaluations left goes too, and
    trainings for the corpus that were interrupted and left for two weeks. Asks nothing.
    """
    from lockstep.index.retirement import Collected
    from lockstep_indexer.build.reclaim import used_bytes
    from lockstep_indexer.build.token_reclaim import forget_tokens
    from lockstep_indexer.evaluate.scratch import clear
    from lockstep_indexer.train.runs import drop_interrupted

    with session.workspace() as workspace:
        retirement, settings = workspace.retirement, workspace.settings
        found = retirement.droppable(corpus, soaked=not now)
        sizes = [used_bytes(settings, version.collection) or 0 for version in found]
        before = used_bytes(settings) or 0
        if dry_run:
            versions = workspace.catalog.versions(corpus)
            kept = [v for v in versions if retirement.is_soaking(v) and v not in found]
            collected = Collected(found, kept)
        else:
            collected = retirement.drop(corpus, soaked=not now)
            workspace.query_log.forget_old()
        after = used_bytes(settings)
        forgotten = forget_tokens(workspace, dry_run=dry_run)
        trainings = drop_interrupted(settings.data, corpus, dry_run=dry_run)
        evaluations = clear(settings, dry_run=dry_run)
        left = [duration(retirement.soaks_for(version)) for version in collected.soaking]
    freed = None if after is None else sum(sizes) if dry_run else max(0, before - after)
    document = {
        "corpus": corpus,
        "dry_run": dry_run,
        "dropped": [version_json(version) for version in collected.dropped],
        "soaking": [version_json(version) for version in collected.soaking],
        "freed_bytes": freed,
        "token_cache": asdict(forgotten),
        "trainings": [training.to_json() for training in trainings],
        "evaluations": {"freed_bytes": evaluations},
    }
    rendered = _collected(collected, left, freed, dry_run=dry_run)
    rendered += _forgotten(forgotten, dry_run=dry_run)
    rendered += _trainings(trainings, dry_run=dry_run)
    session.show(document, *rendered, *_cleared(evaluations, dry_run=dry_run))


def _collected(
    collected: "Collected", left: Sequence[str], freed: int | None, *, dry_run: bool
) -> list[RenderableType]:
    dropped = collected.dropped
    names = ", ".join(f"{version.label} ({version.model_ref})" for version in dropped)
    what = f"{plural(len(dropped), 'index version')}: {names}" if dropped else "nothing"
    if dry_run:
        space = f" and free {megabytes(freed)}" if freed else ""
        parts: list[RenderableType] = [note(f"Would drop {what}{space}. Nothing has changed.")]
    else:
        space = f"; {megabytes(freed)} freed" if freed else ""
        parts = [done(f"Dropped {what}{space}")]
    for version, more in zip(collected.soaking, left, strict=True):
        text = f"{version.label} ({version.model_ref}) stays ready for a rollback, for {more} more"
        parts.append(next_step(f"lockstep gc {version.corpus} --now", f"{text}; to drop it anyway"))
    return parts


def _forgotten(forgotten: "Forgotten", *, dry_run: bool) -> list[RenderableType]:
    if forgotten == type(forgotten)():
        return []
    what = (
        f"{plural(forgotten.documents, 'document')} and {plural(forgotten.families, 'tokenizer')}"
    )
    space = megabytes(forgotten.freed_bytes)
    if dry_run:
        return [note(f"Would drop the cached tokens of {what} and free {space}.")]
    return [done(f"Dropped the cached tokens of {what}; {space} freed")]


def _trainings(dropped: "Sequence[Interrupted]", *, dry_run: bool) -> list[RenderableType]:
    if not dropped:
        return []
    names = ", ".join(training.name for training in dropped)
    what = f"{plural(len(dropped), 'interrupted training')} ({names})"
    space = megabytes(sum(training.size for training in dropped))
    if dry_run:
        return [note(f"Would drop {what} and free {space}.")]
    return [done(f"Dropped {what}; {space} freed")]


def _cleared(size: int, *, dry_run: bool) -> list[RenderableType]:
    if not size:
        return []
    if dry_run:
        return [note(f"Would remove what killed evaluations left: {megabytes(size)}.")]
    return [done(f"Removed what killed evaluations left; {megabytes(size)} freed")]


def add_to(app: typer.Typer) -> None:
    command(app, "gc", panel=ROLLING_OUT, example="lockstep gc docs --dry-run")(gc)
