"""`lockstep demo`: the main job, end to end, on real documents."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from lockstep_indexer.cli.options import SETTING_UP, command
from lockstep_indexer.cli.session import Session


def demo(
    session: Session,
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="DIR", help="Where its workspace goes; an earlier demo's is replaced."
        ),
    ] = Path("lockstep-demo"),
) -> None:
    """Show the main job on real documents, start to end.

    Builds an index, fine-tunes the model, swaps both under running searches, and rolls back.
    Takes a few minutes on a laptop. The workspace stays, for you to play with.
    """
    from lockstep_indexer.demo import run

    console = session.err if session.json else session.out
    outcome = run(folder.absolute(), console)
    session.show(asdict(outcome))


def add_to(app: typer.Typer) -> None:
    command(app, "demo", panel=SETTING_UP, example="lockstep demo")(demo)
