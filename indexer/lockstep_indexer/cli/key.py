"""`lockstep key`: who may ask the server for what."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import RenderableType
from rich.text import Text

from lockstep_indexer.cli.options import SEARCHING, command
from lockstep_indexer.cli.render import done, facts, moment, next_step, note, table
from lockstep_indexer.cli.search_options import filter_json
from lockstep_indexer.cli.session import Json, Session

if TYPE_CHECKING:
    from lockstep.corpus.api_key import ApiKey, Scope

NameArgument = Annotated[
    str, typer.Argument(metavar="NAME", help="The name of a key.", show_default=False)
]


def create(
    session: Session,
    name: NameArgument,
    scopes: Annotated[
        list[str],
        typer.Option(
            "--scope",
            metavar="SCOPE",
            help="search, write, metrics, or admin, which is all of them; may be repeated.",
            show_default=False,
        ),
    ],
    corpora: Annotated[
        list[str] | None,
        typer.Option(
            "--corpus",
            metavar="CORPUS",
            help="Confine it to this corpus; may be repeated. By default it reaches all.",
            show_default=False,
        ),
    ] = None,
    condition: Annotated[
        dict | None,  # type: ignore[type-arg]  # Typer wants a plain class beside a parser
        typer.Option(
            "--filter",
            parser=filter_json,
            metavar="JSON",
            help="Confine it to the documents that match: Qdrant's filter JSON over metadata.",
            show_default=False,
        ),
    ] = None,
    rate: Annotated[
        float | None,
        typer.Option(
            min=0,
            metavar="N",
            help="Requests a second, of each server; 0 is no limit. By default as in "
            "lockstep.toml.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Make an API key, and show it this once.

    Only a hash of it is kept. Servers know it within two seconds. A key with a filter can search
    and read documents, and nothing else.
    """
    chosen = [_scope(text) for text in scopes]
    with session.workspace() as workspace:
        key, presented = workspace.keys.create(
            name, chosen, corpora=corpora or None, filter=condition, rate_per_s=rate
        )
        unknown = [corpus for corpus in corpora or () if not workspace.corpora.exists(corpus)]
    session.show(
        {**key_json(key), "key": presented},
        done(f"Key '{name}' is made. It is shown this once; keep it where secrets are kept:"),
        Text(f"\n  {presented}\n", "name"),
        facts(_reach(key)),
        *(note(f"There is no corpus '{corpus}' yet.") for corpus in unknown),
        next_step("Authorization: Bearer lsk_...", "Send it with every request"),
    )


def list_keys(
    session: Session,
    all_: Annotated[bool, typer.Option("--all", help="Show revoked keys as well.")] = False,
) -> None:
    """List the API keys in use."""
    with session.workspace() as workspace:
        keys = [key for key in workspace.keys.list() if all_ or key.revoked_at is None]
    session.show({"keys": [key_json(key) for key in keys]}, *_rendered(keys))


def revoke(session: Session, name: NameArgument) -> None:
    """End an API key.

    Servers refuse it within two seconds. The name is free again; what the key did keeps it.
    """
    with session.workspace() as workspace:
        key = workspace.keys.revoke(name)
    session.show(
        {"id": key.id, "name": key.name, "revoked": True},
        done(f"Key '{name}' is revoked; servers refuse it within two seconds"),
    )


def key_json(key: "ApiKey") -> Json:
    """A key as --json shows it: no hash, and nothing to guess it from."""
    return {
        "id": key.id,
        "name": key.name,
        "scopes": sorted(key.scopes),
        "corpora": None if key.corpora is None else sorted(key.corpora),
        "filter": key.filter,
        "rate_per_s": key.rate_per_s,
        "created_at": key.created_at,
        "created_by": key.created_by,
        "revoked_at": key.revoked_at,
    }


def _scope(text: str) -> "Scope":
    from lockstep.corpus.api_key import Scope

    try:
        return Scope(text)
    except ValueError as error:
        raise typer.BadParameter(
            f"'{text}' is no scope; expected one of {', '.join(Scope)}."
        ) from error


def _reach(key: "ApiKey") -> list[tuple[str, object]]:
    from lockstep.corpus.api_key import listed

    return [
        ("scopes", listed(key.scopes)),
        ("corpora", "all" if key.corpora is None else ", ".join(sorted(key.corpora))),
        ("filter", key.filter and str(key.filter)),
        ("rate", None if key.rate_per_s is None else _rate(key.rate_per_s)),
    ]


def _rate(per_s: float) -> str:
    return f"{per_s:g} requests/s" if per_s else "no limit"


def _rendered(keys: Sequence["ApiKey"]) -> list[RenderableType]:
    if not keys:
        return [
            note("No key is in use."),
            next_step("lockstep key create NAME --scope search", "Make one"),
        ]
    made = table("name", "id", "reaches", "made", "by", "revoked")
    for key in keys:
        reach = "; ".join(f"{name} {value}" for name, value in _reach(key) if value)
        made.add_row(
            Text(key.name, "name"),
            Text(key.id, "faint"),
            reach,
            moment(key.created_at),
            Text(key.created_by, "faint"),
            moment(key.revoked_at) if key.revoked_at else Text("–", "faint"),
        )
    return [made]


def add_to(app: typer.Typer) -> None:
    keys = typer.Typer(
        help="Make, list and revoke API keys.",
        epilog="Example: [cyan]lockstep key create shop --scope search --corpus docs[/]",
        no_args_is_help=True,
    )
    example = "lockstep key create shop --scope search --corpus docs"
    command(keys, "create", example=example)(create)
    command(keys, "list", example="lockstep key list")(list_keys)
    command(keys, "revoke", example="lockstep key revoke shop")(revoke)
    app.add_typer(keys, name="key", rich_help_panel=SEARCHING)
