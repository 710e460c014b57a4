"""`lockstep ingest`: documents into a corpus, and into what is live."""

from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Group, RenderableType
from rich.text import Text

from lockstep.errors import InvalidInput
from lockstep_indexer.cli.options import FILLING, CorpusArgument, command
from lockstep_indexer.cli.render import done, duration, next_step, note, plural, printable, table
from lockstep_indexer.cli.session import Json, Session

if TYPE_CHECKING:
    from lockstep.corpus.ingest import IngestReport
    from lockstep_indexer.build.follow import Followed

SHOWN_REJECTIONS = 10


class OnError(StrEnum):
    """What to do with a row that is no document."""

    STOP = "stop"
    SKIP = "skip"


def ingest(
    session: Session,
    corpus: CorpusArgument,
    files: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="FILE...",
            help=".jsonl, .jsonl.gz, .csv, .csv.gz, .parquet, or a BEIR folder.",
            show_default=False,
        ),
    ] = None,
    delete: Annotated[
        Path | None,
        typer.Option(metavar="IDS.TXT", help="Delete the ids in this file, one per line."),
    ] = None,
    on_error: Annotated[
        OnError, typer.Option(help="What to do with a row that is no document.")
    ] = OnError.STOP,
    start_line: Annotated[
        int, typer.Option(min=1, metavar="N", help="Begin the first file at this line, from 1.")
    ] = 1,
    index: Annotated[
        bool, typer.Option("--index/--no-index", help="Bring the live index up to date as well.")
    ] = True,
) -> None:
    """Add, replace or delete documents, by id.

    What is live searches them at once. A corpus comes into being with its first document. Documents
    are durable once they are counted.
    """
    if not files and delete is None:
        raise typer.BadParameter("Nothing to do: give a FILE, or --delete IDS.TXT.")
    from lockstep.corpus.ingest import ingest as ingest_files
    from lockstep.corpus.readers import read_ids
    from lockstep_indexer.build.follow import bring_up_to_date
    from lockstep_indexer.build.reindex import Listener

    with session.workspace() as workspace, session.bars() as bars:
        bars.stage("reading documents")
        mode: Literal["stop", "skip"] = "skip" if on_error is OnError.SKIP else "stop"
        listener = Listener(stage=bars.stage, progress=bars.applied)
        try:
            report = ingest_files(
                workspace.corpora,
                corpus,
                files or [],
                delete_ids=read_ids(delete) if delete else (),
                on_error=mode,
                start_line=start_line,
                max_document_bytes=workspace.settings.max_document_bytes,
                progress=bars.ingest,
            )
        except InvalidInput as error:
            if index and workspace.corpora.exists(corpus):  # what was kept can be found at once too
                bring_up_to_date(workspace, corpus, listener=listener)
            raise _with_deletes_to_come(error, delete) from error
        followed = bring_up_to_date(workspace, corpus, listener=listener) if index else []
        total = workspace.corpora.count(corpus)
    session.show(
        {"corpus": corpus, "documents": total, **_json(report), "indexes": _indexes(followed)},
        *_rendered(corpus, total, report),
        *map(_followed, followed),
        *([] if followed or not index else [next_step(_build(corpus), "Build an index")]),
    )


def _with_deletes_to_come(error: InvalidInput, delete: Path | None) -> InvalidInput:
    if delete is None:
        return error
    hint = f"Give `--delete {delete}` again: nothing was deleted yet."
    return type(error)(error.message, next_step=f"{error.next_step} {hint}".strip())


def _json(report: "IngestReport") -> Json:
    rejected = [rejection._asdict() for rejection in report.rejected]
    return {**asdict(report), "rejected": rejected, "seconds": round(report.seconds, 3)}


def _indexes(followed: list["Followed"]) -> list[Json]:
    return [
        {
            "version": each.version.number,
            "state": each.version.state.value,
            "applied": each.progress.documents + each.progress.deleted if each.progress else 0,
            "lag": each.lag,
            "left_to": each.left_to or None,
        }
        for each in followed
    ]


def _rendered(corpus: str, total: int, report: "IngestReport") -> list[RenderableType]:
    counts = ("added", "changed", "unchanged", "deleted", "rejected")
    made = table(*counts, right=counts)
    figures = (report.added, report.changed, report.unchanged, report.deleted)
    style = "bad" if report.rejected_count else ""
    made.add_row(
        *(f"{figure:,}" for figure in figures), Text(f"{report.rejected_count:,}", style=style)
    )
    parts: list[RenderableType] = [
        done(f"{corpus}: {plural(total, 'document')}, read in {duration(report.seconds)}"),
        made,
    ]
    if report.rejected_count:
        parts.append(_rejections(report))
    if report.missing:
        parts.append(note(f"{plural(report.missing, 'id')} to delete were not in the corpus."))
    if report.duplicates:
        parts.append(
            note(f"{plural(report.duplicates, 'id')} came more than once; the last one counts.")
        )
    return parts


def _rejections(report: "IngestReport") -> Group:
    lines = [
        Text.assemble((f"  {each.file}:{each.line}: ", "faint"), printable(each.reason))
        for each in report.rejected[:SHOWN_REJECTIONS]
    ]
    if (more := report.rejected_count - len(lines)) > 0:
        lines.append(Text(f"  … and {more:,} more (--json lists the first 1,000)", style="faint"))
    return Group(note(f"{plural(report.rejected_count, 'row')} left out:"), *lines)


def _followed(each: "Followed") -> Text:
    name = f"index {each.version.label} ({each.version.state.value})"
    if each.left_to and not each.lag:
        return done(f"{name} is up to date. {each.left_to} It applied the changes itself.")
    if each.left_to:
        return note(f"{name}: {each.left_to} It applies the {plural(each.lag, 'change')} itself.")
    if each.progress is None:
        return done(f"{name} is up to date")
    changes = each.progress.documents + each.progress.deleted
    return done(
        f"{name}: {plural(changes, 'change')} applied, {plural(each.progress.passages, 'passage')} "
        f"encoded, {duration(each.progress.total_s)}"
    )


def _build(corpus: str) -> str:
    return f"lockstep reindex {corpus} --model REF --promote"


def add_to(app: typer.Typer) -> None:
    example = "lockstep ingest docs docs.jsonl.gz --on-error skip"
    command(app, "ingest", panel=FILLING, example=example)(ingest)
