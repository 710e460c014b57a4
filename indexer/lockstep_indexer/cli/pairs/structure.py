"""`lockstep pairs structure`: pairs mined from how a corpus's documents are built."""

from typing import Annotated

import typer

from lockstep_indexer.cli.options import CorpusArgument, command
from lockstep_indexer.cli.pairs.written import OutputOption, write
from lockstep_indexer.cli.session import Session

_ALL = 1 << 62


def structure(
    session: Session,
    corpus: CorpusArgument,
    output: OutputOption,
    limit: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="N", help="Draw at most so many at random.", show_default="all"
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the draw.")] = 7,
) -> None:
    """Make pairs of headings and what stands under them.

    A heading, a title that no other document has, or the summary that a text begins with asks; what
    follows it answers, without the words that ask. Needs neither searches nor judgments.
    """
    from lockstep.errors import InvalidInput
    from lockstep_indexer.train.data.row_files import require_writable
    from lockstep_indexer.train.data.structure import mined_from_structure

    require_writable(output)
    with session.workspace() as workspace, session.waiting("reading the documents"):
        documents = workspace.corpora.spread(corpus, _ALL)
        data = mined_from_structure(documents, limit=limit, seed=seed)
    if not len(data):
        raise InvalidInput(
            f"No pair can be mined from the {data.lineage['documents']:,} documents of '{corpus}': "
            "none has a heading, a title of its own or a summary with enough text after it.",
            next_step=f"Use what people click: lockstep pairs clicks {corpus} --output FILE",
        )
    ways = ", ".join(f"{found:,} by {way}" for way, found in data.lineage["ways"].items() if found)
    write(session, output, data, source=f"the structure of '{corpus}' ({ways})")


def add_to(pairs: typer.Typer) -> None:
    example = "lockstep pairs structure docs --output pairs.jsonl"
    command(pairs, "structure", example=example)(structure)
