"""`lockstep pairs clicks`: pairs from what people searched for and chose."""

from pathlib import Path
from typing import Annotated

import typer

from lockstep_indexer.cli.options import CorpusArgument, command
from lockstep_indexer.cli.pairs.written import OutputOption, write
from lockstep_indexer.cli.session import Session


def clicks(
    session: Session,
    corpus: CorpusArgument,
    output: OutputOption,
    min_clicks: Annotated[
        int, typer.Option(min=1, metavar="N", help="How often a document must have been clicked.")
    ] = 2,
    from_: Annotated[
        list[Path] | None,
        typer.Option(
            "--from",
            metavar="FILE",
            help="Click logs of your own (query, document_id, clicks): .jsonl, .csv or .parquet; "
            "may be repeated. By default this workspace's query log.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Make pairs of queries and what was clicked for them.

    Clicks favour what stood high: prove what was trained on them by other judgments.
    """
    from lockstep_indexer.train.data.clicks import pairs_from_click_files, pairs_from_clicks
    from lockstep_indexer.train.data.documents import corpus_documents
    from lockstep_indexer.train.data.row_files import require_writable

    require_writable(output, apart_from=from_ or [])
    with session.workspace() as workspace:
        documents = corpus_documents(workspace.corpora, corpus)
        if from_:
            data = pairs_from_click_files(from_, documents, min_clicks=min_clicks)
        else:
            data = pairs_from_clicks(workspace.database, corpus, documents, min_clicks=min_clicks)
    write(session, output, data, source="clicks")


def add_to(pairs: typer.Typer) -> None:
    example = "lockstep pairs clicks docs --output pairs.jsonl --min-clicks 3"
    command(pairs, "clicks", example=example)(clicks)
