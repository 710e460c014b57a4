"""What commands share: their common options, and how a command is registered."""

import inspect
import re
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import typer

from lockstep_indexer.cli.session import open_session

SETTING_UP = "Start"
FILLING = "Documents and models"
TRAINING = "Train and measure"
ROLLING_OUT = "Index versions"
SEARCHING = "Search"
CARING = "Look after it"

_EVERY_COMMAND = "Every command"

WorkspaceOption = Annotated[
    Path | None,
    typer.Option(
        "--workspace",
        "-w",
        metavar="DIR",
        help="The workspace. By default the nearest folder upward that has a lockstep.toml.",
        rich_help_panel=_EVERY_COMMAND,
    ),
]
JsonOption = Annotated[
    bool,
    typer.Option(
        "--json",
        help="Print one JSON document on stdout and nothing else there; a failure too.",
        rich_help_panel=_EVERY_COMMAND,
    ),
]
VerboseOption = Annotated[
    bool,
    typer.Option(
        "--verbose",
        "-v",
        help="Show logs on stderr, and where an error comes from.",
        rich_help_panel=_EVERY_COMMAND,
    ),
]

CorpusArgument = Annotated[
    str, typer.Argument(metavar="CORPUS", help="The name of a corpus.", show_default=False)
]


def index_version(text: str) -> int:
    """The number of an index version as people write it: 3, v3, or docs--v0003."""
    found = re.fullmatch(r"(?:.*--)?v?0*([1-9][0-9]{0,8})", text.strip())
    if found is None:
        raise typer.BadParameter(f"'{text}' is no index version; expected a number, 3 or v3.")
    return int(found[1])


VersionArgument = Annotated[
    int | None,
    typer.Argument(
        metavar="VERSION",
        parser=index_version,
        help="3 or v3. Without it: the newest candidate.",
        show_default=False,
    ),
]
ReasonOption = Annotated[
    str, typer.Option("--reason", metavar="TEXT", help="Why; kept in the history.")
]


_COMMON = {"workspace": WorkspaceOption, "json": JsonOption, "verbose": VerboseOption}
_DEFAULTS: dict[str, Any] = {"workspace": None, "json": False, "verbose": False}


def command(
    app: typer.Typer, name: str, *, example: str, panel: str | None = None
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Register a function as a command: it gets a Session, then its own parameters.

    The common options are added to the command's own, so that they may stand on either side of
    the command's name.
    """

    def register(function: Callable[..., None]) -> Callable[..., None]:
        @wraps(function)
        def run(context: typer.Context, **arguments: Any) -> None:
            common = {key: arguments.pop(key) or (context.obj or {}).get(key) for key in _COMMON}
            session = open_session(
                context.command_path,
                folder=common["workspace"],
                json=bool(common["json"]),
                verbose=bool(common["verbose"]),
            )
            function(session, **arguments)

        run.__dict__["__signature__"] = _signature(function)
        app.command(
            name,
            help=_unwrapped(inspect.getdoc(function) or ""),
            epilog=f"Example: [cyan]{example}[/]",
            rich_help_panel=panel,
        )(run)
        return function

    return register


def _unwrapped(docstring: str) -> str:
    """Each paragraph on one line: the terminal wraps it to its own width."""
    return "\n\n".join(" ".join(part.split()) for part in docstring.split("\n\n"))


def _signature(function: Callable[..., None]) -> inspect.Signature:
    """The context and the function's own parameters, without the session, then the common ones."""
    keyword = inspect.Parameter.KEYWORD_ONLY
    own = list(inspect.signature(function).parameters.values())[1:]
    return inspect.Signature(
        [
            inspect.Parameter("context", keyword, annotation=typer.Context),
            *(parameter.replace(kind=keyword) for parameter in own),
            *(
                inspect.Parameter(key, keyword, annotation=kind, default=_DEFAULTS[key])
                for key, kind in _COMMON.items()
            ),
        ]
    )
