"""`lockstep mcp`: a corpus for agents."""

from typing import Annotated

import typer

from lockstep.errors import LockstepError
from lockstep_indexer.cli.options import SEARCHING, command
from lockstep_indexer.cli.session import Session


def mcp(
    session: Session,
    url: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            envvar="LOCKSTEP_URL",
            help="The running server. By default as in lockstep.toml.",
        ),
    ] = None,
    api_key: Annotated[
        str | None,
        typer.Option(
            metavar="KEY",
            envvar="LOCKSTEP_API_KEY",
            help="An API key with the scope search. Others on the machine see it here: better in "
            "the environment.",
        ),
    ] = None,
    timeout_s: Annotated[
        float, typer.Option(min=0.1, metavar="SECONDS", help="How long one tool call may take.")
    ] = 10.0,
) -> None:
    """Let an agent search: an MCP server on stdin and stdout.

    It asks a running `lockstep serve`. Its tools are search, get_document and list_corpora.
    """
    address = url or _address(session)
    try:
        from lockstep.integrations.mcp import serve
    except ModuleNotFoundError as error:
        raise LockstepError(
            f"The MCP server needs the package mcp, version 2.3 or later: {error}.",
            next_step="Run `pip install 'lockstep[mcp]'`.",
        ) from error
    serve(address, api_key, timeout_s=timeout_s)


def _address(session: Session) -> str:
    """Where the workspace's server listens, as this machine reaches it."""
    settings = session.settings()
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)
    return f"http://[{host}]:{settings.port}" if ":" in host else f"http://{host}:{settings.port}"


def add_to(app: typer.Typer) -> None:
    command(app, "mcp", panel=SEARCHING, example="lockstep mcp --url http://127.0.0.1:7333")(mcp)
