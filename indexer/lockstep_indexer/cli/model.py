"""`lockstep model`: add, list, show and push model versions."""

from typing import Annotated

import typer

from lockstep_indexer.cli.model_facts import (
    manifest_rendered,
    models_table,
    summary,
    use_of,
    version_json,
)
from lockstep_indexer.cli.options import FILLING, command
from lockstep_indexer.cli.render import done, facts, megabytes, note
from lockstep_indexer.cli.session import Session


def dims(text: str) -> list[int]:
    """Dimensions as people list them: 64,128,256."""
    try:
        return sorted({int(part) for part in text.replace(",", " ").split()})
    except ValueError as error:
        raise typer.BadParameter(f"'{text}' is no list of numbers like 64,128,256.") from error


def add(
    session: Session,
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="What to call the model.", show_default=False)
    ],
    source: Annotated[
        str,
        typer.Argument(
            metavar="PATH|HUB_ID",
            help="A folder that sentence-transformers saved, or ORGANISATION/MODEL[@REVISION].",
            show_default=False,
        ),
    ],
    matryoshka_dims: Annotated[
        list | None,  # type: ignore[type-arg]  # Typer wants a plain class beside a parser
        typer.Option(
            parser=dims,
            metavar="N,N",
            help="Lengths at which a vector's beginning stands alone. By default as its files say.",
            show_default=False,
        ),
    ] = None,
    query_prompt: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help="Put before every query.", show_default=False),
    ] = None,
    document_prompt: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help="Put before every passage.", show_default=False),
    ] = None,
    max_tokens: Annotated[
        int | None,
        typer.Option(min=8, metavar="N", help="Tokens that the model sees, at most."),
    ] = None,
) -> None:
    """Check a model and register it as the name's next version.

    Only safetensors, and no code of the model's own. The files are copied: the source may go.
    """
    with session.workspace() as workspace, session.bars() as bars:
        bars.stage("checking the model")
        version = workspace.models.add(
            name,
            source,
            matryoshka_dims=matryoshka_dims,
            query_prompt=query_prompt,
            document_prompt=document_prompt,
            max_tokens=max_tokens,
        )
    said = (
        done(f"{version.ref} added")
        if version.created
        else note(f"This is {version.ref} already; nothing has changed.")
    )
    session.show(
        {**version_json(version), "created": version.created},
        said,
        facts(summary(version)),
        use_of(version),
    )


def list_models(session: Session) -> None:
    """List the model versions of this workspace."""
    with session.workspace() as workspace:
        versions = workspace.models.list()
    session.show(
        {"models": [version_json(version) for version in versions]}, models_table(versions)
    )


def show(
    session: Session,
    ref: Annotated[
        str,
        typer.Argument(
            metavar="REF", help="name@version, or name (the newest).", show_default=False
        ),
    ],
) -> None:
    """Show all that is known about a model version: its manifest."""
    with session.workspace() as workspace:
        version = workspace.models.resolve(ref)
    manifest = version.manifest.to_json()
    session.show({**version_json(version), "manifest": manifest}, *manifest_rendered(version))


def push(
    session: Session,
    ref: Annotated[
        str,
        typer.Argument(
            metavar="REF", help="name@version, or name (the newest).", show_default=False
        ),
    ],
    target: Annotated[
        str,
        typer.Argument(
            metavar="TARGET",
            help="ORGANISATION/MODEL on the hub, ./FOLDER, or a URL such as s3://bucket/model.",
            show_default=False,
        ),
    ],
    public: Annotated[
        bool, typer.Option("--public", help="Of a new hub repository; else it is private.")
    ] = False,
) -> None:
    """Copy a model version to a hub or another storage.

    Whole or not at all: a push that was cut short leaves nothing that can be loaded.
    """
    from lockstep_indexer.train.pushing import push as copy

    with session.workspace() as workspace, session.bars() as bars:
        version = workspace.models.resolve(ref)
        bars.stage("pushing")
        pushed = copy(workspace, version, target, public=public)
    said = (
        done(f"{version.ref} is at {pushed.target}: {pushed.files} files, {megabytes(pushed.size)}")
        if pushed.changed
        else note(f"{version.ref} is at {pushed.target} already; nothing has changed.")
    )
    session.show({**version_json(version), **vars(pushed)}, said)


def add_to(app: typer.Typer) -> None:
    models = typer.Typer(
        help="Add, list, show and push model versions.",
        epilog="Example: [cyan]lockstep model add minilm ./all-MiniLM-L6-v2[/]",
        no_args_is_help=True,
    )
    command(models, "add", example="lockstep model add minilm ./all-MiniLM-L6-v2")(add)
    command(models, "list", example="lockstep model list")(list_models)
    command(models, "show", example="lockstep model show minilm@1")(show)
    command(models, "push", example="lockstep model push ours@2 s3://models/ours-2")(push)
    app.add_typer(models, name="model", rich_help_panel=FILLING)
