"""`lockstep pairs`: where training pairs come from."""

import typer

from lockstep_indexer.cli.options import FILLING
from lockstep_indexer.cli.pairs import questions


def add_to(app: typer.Typer) -> None:
    pairs = typer.Typer(
        help="Make pairs to train with.",
        epilog="Example: [cyan]lockstep pairs questions docs --output questions.jsonl[/]",
        no_args_is_help=True,
    )
    questions.add_to(pairs)
    app.add_typer(pairs, name="pairs", rich_help_panel=FILLING)
