"""`lockstep init`: make a workspace."""

from pathlib import Path
from typing import Annotated

import typer

from lockstep_indexer.cli.options import SETTING_UP, command
from lockstep_indexer.cli.render import done, next_step, note
from lockstep_indexer.cli.session import Session


def init(
    session: Session,
    folder: Annotated[
        Path | None,
        typer.Argument(metavar="DIR", help="The folder; it is created where there is none."),
    ] = None,
) -> None:
    """Make a folder a workspace.

    Writes a commented lockstep.toml, and .lockstep/ for the data. What is there already stays as it
    is.
    """
    from lockstep.settings import CONFIG_NAME, init_workspace

    root = (folder or session.folder or Path.cwd()).absolute()
    created = init_workspace(root)
    session.show(
        {"workspace": str(root), "created": created},
        done(f"'{root}' is a workspace now. Its settings: {CONFIG_NAME}")
        if created
        else note(f"'{root}' was a workspace already; nothing has changed."),
        next_step("lockstep ingest CORPUS FILE...", "Add documents"),
        next_step("lockstep model add NAME PATH", "Add a model"),
    )


def add_to(app: typer.Typer) -> None:
    command(app, "init", panel=SETTING_UP, example="lockstep init search && cd search")(init)
