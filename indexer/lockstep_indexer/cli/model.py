"""`lockstep model`: add, list and show model versions."""

from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import RenderableType
from rich.text import Text

from lockstep_indexer.cli.options import FILLING, command
from lockstep_indexer.cli.render import (
    age,
    done,
    facts,
    heading,
    megabytes,
    moment,
    next_step,
    note,
    table,
)
from lockstep_indexer.cli.session import Json, Session

if TYPE_CHECKING:
    from lockstep.models.registry import ModelVersion


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
        facts(_summary(version)),
        next_step(f"lockstep reindex CORPUS --model {version.ref}", "Build an index with it"),
    )


def list_models(session: Session) -> None:
    """List the model versions of this workspace."""
    with session.workspace() as workspace:
        versions = workspace.models.list()
    session.show({"models": [version_json(version) for version in versions]}, _table(versions))


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
    session.show({**version_json(version), "manifest": manifest}, *_manifest(version))


def version_json(version: "ModelVersion") -> Json:
    """A model version as every command's --json shows it."""
    manifest = version.manifest
    return {
        "ref": version.ref,
        "kind": version.kind,
        "name": version.name,
        "version": version.version,
        "digest": version.digest,
        "dim": manifest.dim,
        "max_tokens": manifest.max_tokens,
        "matryoshka_dims": list(manifest.matryoshka_dims),
        "created_at": version.created_at,
        "query_encoder": manifest.query_encoder,
    }


def _table(versions: list["ModelVersion"]) -> RenderableType:
    if not versions:
        return next_step("lockstep model add NAME PATH", "No model yet; add one")
    made = table(
        "model", "dim", "tokens", "Matryoshka", "size", "digest", "added",
        right=["dim", "tokens", "size"],
    )  # fmt: skip
    for version in versions:
        manifest = version.manifest
        made.add_row(
            Text(version.ref, "name"),
            f"{manifest.dim:,}",
            f"{manifest.max_tokens:,}",
            ", ".join(map(str, manifest.matryoshka_dims)) or "–",
            megabytes(manifest.size),
            Text(version.digest[:12], "faint"),
            age(version.created_at),
        )
    return made


def _summary(version: "ModelVersion") -> list[tuple[str, object]]:
    manifest = version.manifest
    return [
        ("digest", version.digest),
        ("vectors", f"{manifest.dim} dimensions, {manifest.similarity} similarity"),
        ("sees", f"{manifest.max_tokens:,} tokens"),
        ("Matryoshka", ", ".join(map(str, manifest.matryoshka_dims)) or "no: no prefilter"),
        ("query prompt", repr(manifest.query_prompt) if manifest.query_prompt else ""),
        ("document prompt", repr(manifest.document_prompt) if manifest.document_prompt else ""),
        *_queries(manifest.query_encoder),
    ]


def _queries(fields: Json) -> list[tuple[str, object]]:
    """What was compiled for queries when the model was added, and what that is worth."""
    from lockstep.models.compilation_report import CompilationReport

    if not fields:
        return [("queries", "encoded by torch; nothing was compiled when it was added")]
    report = CompilationReport.from_json(fields)
    if report.agreement is None:
        return [("queries", f"encoded by torch: {report.reason}")]
    saved = f"{report.query_ms:.1f} ms a query, torch {report.torch_ms:.1f} ms"
    return [
        ("queries", f"compiled by {report.engine} in {report.precision}: {saved}"),
        (
            "agreement",
            f"cosine {report.agreement.cosine:.5f} or more with torch, {report.texts} texts",
        ),
        ("compiled on", report.processor),
    ]


def _manifest(version: "ModelVersion") -> list[RenderableType]:
    manifest = version.manifest
    files = table("file", "size", "SHA-256", right=["size"])
    for path, entry in manifest.files.items():
        files.add_row(path, megabytes(entry.size), Text(entry.sha256[:12], "faint"))
    lineage = [(str(key), value) for key, value in manifest.lineage.items()]
    packages = ", ".join(f"{name} {number}" for name, number in manifest.packages.items())
    return [
        heading(version.ref, f"added {moment(version.created_at)}"),
        facts(
            [
                *_summary(version),
                ("pooling", manifest.pooling),
                ("normalised", "by the model itself" if manifest.normalised else "by Lockstep"),
                ("tokenizer", manifest.tokenizer_digest[:12]),
                ("size", megabytes(manifest.size)),
                ("measured with", packages),
                *((f"lineage: {key}", value) for key, value in lineage),
            ]
        ),
        Text(""),
        files,
    ]


def add_to(app: typer.Typer) -> None:
    models = typer.Typer(
        help="Add, list and show model versions.",
        epilog="Example: [cyan]lockstep model add minilm ./all-MiniLM-L6-v2[/]",
        no_args_is_help=True,
    )
    command(models, "add", example="lockstep model add minilm ./all-MiniLM-L6-v2")(add)
    command(models, "list", example="lockstep model list")(list_models)
    command(models, "show", example="lockstep model show minilm@1")(show)
    app.add_typer(models, name="model", rich_help_panel=FILLING)
