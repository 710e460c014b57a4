"""`lockstep pairs`: training pairs, from where they come to whether they are fit to train on."""

import typer

from lockstep_indexer.cli.options import TRAINING
from lockstep_indexer.cli.pairs import check, clicks, questions, structure


def add_to(app: typer.Typer) -> None:
    pairs = typer.Typer(
        help="Make training pairs, and check them.",
        epilog="Example: [cyan]lockstep pairs structure docs --output pairs.jsonl[/]",
        no_args_is_help=True,
    )
    for source in (structure, clicks, questions, check):
        source.add_to(pairs)
    app.add_typer(pairs, name="pairs", rich_help_panel=TRAINING)
