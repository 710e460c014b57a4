"""`lockstep serve`: the HTTP API."""

from typing import Annotated

import typer
from rich.text import Text

from lockstep_indexer.cli.options import SEARCHING, command
from lockstep_indexer.cli.render import next_step
from lockstep_indexer.cli.session import Session


def serve(
    session: Session,
    host: Annotated[
        str | None,
        typer.Option(metavar="HOST", help="Address to listen on. By default as in lockstep.toml."),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=65_535,
            metavar="PORT",
            help="Port to listen on; 0 takes a free one. By default as in lockstep.toml.",
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=64,
            metavar="N",
            help="Processes that answer; several need a Qdrant server. By default as in "
            "lockstep.toml.",
        ),
    ] = None,
    access_log: Annotated[
        bool, typer.Option("--access-log/--no-access-log", help="Log every request to stderr.")
    ] = True,
) -> None:
    """Serve search over HTTP; keep every index up to date.

    Ctrl-C ends it. Promotions and rollbacks from other terminals take effect within a second.
    """
    settings = session.settings()
    given = {"host": host, "port": port, "workers": workers}
    chosen = {key: value for key, value in given.items() if value is not None}
    from lockstep.api.server import serve as run

    def ready(url: str) -> None:
        session.show(
            {"url": url},
            Text.assemble(
                ("✓ ", "good"), "Serving at ", (url, "name"), ("  Ctrl-C ends it", "faint")
            ),
            next_step(f"{url}/docs", "The API is described at"),
        )

    run(settings.model_copy(update=chosen), access_log=access_log, on_ready=ready)


def add_to(app: typer.Typer) -> None:
    command(app, "serve", panel=SEARCHING, example="lockstep serve --port 8080")(serve)
