"""`lockstep qrels`: queries with judgments, by which index versions are measured."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import RenderableType

from lockstep_indexer.cli.options import FILLING, CorpusArgument, command
from lockstep_indexer.cli.render import done, moment, next_step, note, plural, table
from lockstep_indexer.cli.session import Json, Session

if TYPE_CHECKING:
    from lockstep.bootstrap import Workspace
    from lockstep.corpus.query_sets import Imported, QuerySet, QuerySetInfo


def import_(
    session: Session,
    corpus: CorpusArgument,
    path: Annotated[
        Path | None,
        typer.Argument(
            metavar="[PATH]",
            help="A BEIR folder, or a qrels file of BEIR or TREC with --queries.",
            show_default=False,
        ),
    ] = None,
    queries: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The queries of a qrels file: .jsonl, or id tab text."),
    ] = None,
    split: Annotated[str, typer.Option(help="Which judgments of a BEIR folder.")] = "test",
    name: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Of the set; by default that of the path."),
    ] = None,
    from_clicks: Annotated[
        bool, typer.Option("--from-clicks", help="Make a set of what was clicked instead.")
    ] = False,
    min_clicks: Annotated[
        int, typer.Option(min=1, metavar="N", help="How often a document must have been clicked.")
    ] = 2,
) -> None:
    """Keep judged queries, for gates and comparisons.

    A set of the same name is replaced in one step. Judgments of documents that the corpus lacks are
    kept and counted.
    """
    if (path is None) is not from_clicks:
        raise typer.BadParameter("Give either a PATH or --from-clicks.")
    with session.workspace() as workspace:
        read = _read(workspace, corpus, path, queries, split, name, min_clicks)
        imported = workspace.query_sets.replace(corpus, read)
    document = {
        "corpus": corpus,
        **_json(imported.info),
        "replaced": imported.replaced,
        "unknown_documents": imported.unknown,
        "unknown_ids": list(imported.unknown_ids),
    }
    session.show(document, *_rendered(corpus, imported, from_clicks=from_clicks))


def list_(session: Session, corpus: CorpusArgument) -> None:
    """List the judged queries of a corpus."""
    with session.workspace() as workspace:
        infos = workspace.query_sets.list(corpus)
    made = table("name", "queries", "judgments", "imported", right=("queries", "judgments"))
    for info in infos:
        made.add_row(info.name, f"{info.queries:,}", f"{info.judgments:,}", moment(info.created_at))
    parts: list[RenderableType] = (
        [made]
        if infos
        else [
            note(f"'{corpus}' has no judged queries."),
            next_step(f"lockstep qrels import {corpus} PATH", "Import some"),
        ]
    )
    session.show({"corpus": corpus, "sets": [_json(info) for info in infos]}, *parts)


def drop(
    session: Session,
    corpus: CorpusArgument,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Of the set.", show_default=False)],
) -> None:
    """Forget judged queries."""
    with session.workspace() as workspace:
        workspace.query_sets.drop(corpus, name)
    session.show({"corpus": corpus, "dropped": name}, done(f"Query set '{name}' is gone"))


def _read(
    workspace: "Workspace",
    corpus: str,
    path: Path | None,
    queries: Path | None,
    split: str,
    name: str | None,
    min_clicks: int,
) -> "QuerySet":
    if path is None:
        from lockstep.corpus.clicked_queries import clicked_queries

        workspace.corpora.info(corpus)  # raises CorpusNotFound
        return clicked_queries(
            workspace.database, corpus, min_clicks=min_clicks, name=name or "clicks"
        )
    from lockstep.corpus.qrels import read_query_set

    return read_query_set(path, queries=queries, split=split, name=name)


def _json(info: "QuerySetInfo") -> Json:
    return {
        "name": info.name,
        "queries": info.queries,
        "judgments": info.judgments,
        "created_at": info.created_at,
    }


def _rendered(corpus: str, imported: "Imported", *, from_clicks: bool) -> list[RenderableType]:
    info = imported.info
    verb = "replaced" if imported.replaced else "imported"
    parts: list[RenderableType] = [
        done(
            f"{corpus}: '{info.name}' {verb}, {info.queries:,} judged "
            f"{'query' if info.queries == 1 else 'queries'}, {plural(info.judgments, 'judgment')}"
        )
    ]
    if imported.unknown:
        examples = ", ".join(imported.unknown_ids[:3])
        parts.append(
            note(
                f"{plural(imported.unknown, 'judgment')} of documents that '{corpus}' lacks "
                f"({examples} …); they count against every version alike."
            )
        )
    if from_clicks:
        from lockstep.corpus.clicked_queries import POSITION_BIAS

        parts.append(note(POSITION_BIAS))
    return parts


def add_to(app: typer.Typer) -> None:
    qrels = typer.Typer(
        help="Import, list and drop judged queries.",
        epilog="Example: [cyan]lockstep qrels import docs cranfield/[/]",
        no_args_is_help=True,
    )
    example = "lockstep qrels import docs cranfield/ --split test"
    command(qrels, "import", example=example)(import_)
    command(qrels, "list", example="lockstep qrels list docs")(list_)
    command(qrels, "drop", example="lockstep qrels drop docs clicks")(drop)
    app.add_typer(qrels, name="qrels", rich_help_panel=FILLING)
