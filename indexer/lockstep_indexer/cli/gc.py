"""`lockstep gc`: drops what a corpus no longer needs."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
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
    reports = [
        *_versions(collected, freed),
        *_forgotten(forgotten),
        *_trainings(trainings),
        *_cleared(evaluations),
    ]
    rendered = _would(reports) if dry_run else _did(reports)
    session.show(document, *rendered, *_soaking(collected, left))


@dataclass(frozen=True)
class _Report:
    """One thing that is dropped, or would be."""

    what: str
    freed: int = 0
    verb: str = "drop"
    past: str = "Dropped"


def _would(reports: Sequence[_Report]) -> list[RenderableType]:
    if not reports:
        return [note("Would drop nothing.")]
    told = [
        note(f"Would {each.verb} {each.what}{_space(' and free {}', each)}.") for each in reports
    ]
    return [*told, note("Nothing has changed.")]


def _did(reports: Sequence[_Report]) -> list[RenderableType]:
    if not reports:
        return [done("Dropped nothing")]
    return [done(f"{each.past} {each.what}{_space('; {} freed', each)}") for each in reports]


def _space(text: str, report: _Report) -> str:
    return text.format(megabytes(report.freed)) if report.freed else ""


def _versions(collected: "Collected", freed: int | None) -> list[_Report]:
    dropped = collected.dropped
    if not dropped:
        return []
    names = ", ".join(f"{version.label} ({version.model_ref})" for version in dropped)
    return [_Report(f"{plural(len(dropped), 'index version')}: {names}", freed or 0)]


def _soaking(collected: "Collected", left: Sequence[str]) -> list[RenderableType]:
    parts: list[RenderableType] = []
    for version, more in zip(collected.soaking, left, strict=True):
        text = f"{version.label} ({version.model_ref}) stays ready for a rollback, for {more} more"
        parts.append(next_step(f"lockstep gc {version.corpus} --now", f"{text}; to drop it anyway"))
    return parts


def _forgotten(forgotten: "Forgotten") -> list[_Report]:
    reports: list[_Report] = []
    if forgotten.damaged:
        what = "the damaged token cache by an empty one"
        reports.append(_Report(what, verb="replace", past="Replaced"))
    counts = ((forgotten.documents, "document"), (forgotten.families, "tokenizer"))
    if told := " and ".join(plural(count, noun) for count, noun in counts if count):
        reports.append(_Report(f"the cached tokens of {told}", forgotten.freed_bytes))
    elif forgotten.freed_bytes:
        reports.append(_Report("unused space of the token cache", forgotten.freed_bytes))
    return reports


def _trainings(dropped: "Sequence[Interrupted]") -> list[_Report]:
    if not dropped:
        return []
    names = ", ".join(training.name for training in dropped)
    what = f"{plural(len(dropped), 'interrupted training')} ({names})"
    return [_Report(what, sum(training.size for training in dropped))]


def _cleared(size: int) -> list[_Report]:
    if not size:
        return []
    return [_Report("what killed evaluations left", size, verb="remove", past="Removed")]


def add_to(app: typer.Typer) -> None:
    command(app, "gc", panel=ROLLING_OUT, example="lockstep gc docs --dry-run")(gc)
