"""`lockstep reindex`: build an index version with a model version."""

from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import RenderableType
from rich.text import Text

from lockstep_indexer.cli.gates import showing_gates
from lockstep_indexer.cli.options import ROLLING_OUT, CorpusArgument, command
from lockstep_indexer.cli.render import duration, facts, next_step
from lockstep_indexer.cli.rollout import probe_facts, swap_json, swap_rendered
from lockstep_indexer.cli.session import Json, Session
from lockstep_indexer.cli.status import version_json

if TYPE_CHECKING:
    from lockstep.index.applier import Progress
    from lockstep_indexer.build.reindex import Reindexed

_PANEL = "How it is built"


def reindex(
    session: Session,
    corpus: CorpusArgument,
    model: Annotated[
        str,
        typer.Option(
            metavar="REF",
            help="name@version, name (the newest), or a folder, which is added first.",
            show_default=False,
        ),
    ],
    promote: Annotated[
        bool, typer.Option("--promote", help="Make it live once it is proven.")
    ] = False,
    prefilter_dim: Annotated[
        int | None,
        typer.Option(
            min=0,
            metavar="N",
            help="Dimensions of the prefilter; 0 for none. "
            "By default 64 where the model was trained with Matryoshka.",
            rich_help_panel=_PANEL,
        ),
    ] = None,
    window_tokens: Annotated[
        int | None,
        typer.Option(
            min=8,
            metavar="N",
            help="Tokens per passage, at most. By default all that the model can see.",
            rich_help_panel=_PANEL,
        ),
    ] = None,
    language: Annotated[
        str, typer.Option(help="Language of the BM25 stemmer.", rich_help_panel=_PANEL)
    ] = "english",
    dtype: Annotated[
        Literal["float32", "float16"],
        typer.Option(help="How vectors are stored: 4 or 2 bytes.", rich_help_panel=_PANEL),
    ] = "float32",
    quantization: Annotated[
        Literal["none", "int8"],
        typer.Option(help="A smaller copy in memory, rescored in full.", rich_help_panel=_PANEL),
    ] = "none",
) -> None:
    """Build a new index version beside the live one.

    Encodes every document with the model, and proves the result. Searches go on the whole time. An
    interrupted build goes on where it stopped when the same command runs again.
    """
    from lockstep.index.spec import SpecOptions
    from lockstep_indexer.build.model_refs import resolve_or_add
    from lockstep_indexer.build.reindex import Listener
    from lockstep_indexer.build.reindex import reindex as build

    options = SpecOptions(
        window_tokens=window_tokens,
        prefilter_dim=prefilter_dim,
        language=language,
        datatype=dtype,
        quantization=quantization,
    )
    with session.workspace() as workspace, session.bars() as bars, showing_gates(session):
        workspace.corpora.info(corpus)  # a wrong name is said before a model is loaded
        bars.stage("loading the model")
        version = resolve_or_add(workspace, model)
        workspace.encoders.get(version.ref)
        listener = Listener(stage=bars.stage, progress=bars.applied)
        result = build(workspace, corpus, version, options, promote=promote, listener=listener)
    session.show(_json(result), *_rendered(result))


def _json(result: "Reindexed") -> Json:
    progress = result.progress
    return {
        "corpus": result.version.corpus,
        "index_version": version_json(result.version),
        "resumed": result.resumed,
        "documents": progress.documents,
        "passages": progress.passages,
        "seconds": round(progress.total_s, 3),
        "encode_seconds": round(progress.encode_s, 3),
        "probe": result.probe.to_json(),
        "promoted": swap_json(result.swap) if result.swap else None,
    }


def _rendered(result: "Reindexed") -> list[RenderableType]:
    version, progress = result.version, result.progress
    prefilter = version.spec.prefilter_dim
    parts: list[RenderableType] = [
        Text.assemble(
            ("✓ ", "good"),
            (version.collection, "name"),
            f" built by {version.model_ref}",
            (" (resumed)" if result.resumed else "", "faint"),
        ),
        facts(
            [
                ("documents", f"{result.probe.documents:,}"),
                (
                    "passages",
                    f"{result.probe.points:,} of at most {version.spec.window_tokens} tokens",
                ),
                ("time", _time(progress)),
                ("prefilter", f"{prefilter} dimensions" if prefilter else "none"),
                *probe_facts(result.probe),
            ]
        ),
    ]
    if result.swap is not None:
        return [*parts, *swap_rendered(result.swap)]
    return [
        *parts,
        next_step(f"lockstep promote {version.corpus} {version.number}", "Make it live"),
    ]


def _time(progress: "Progress") -> str:
    if not progress.documents:
        return "nothing was left to encode"
    return (
        f"{duration(progress.total_s)}, {progress.encode_s / progress.total_s:.0%} of it encoding "
        f"({progress.documents / progress.total_s:,.0f} documents/s)"
    )


def add_to(app: typer.Typer) -> None:
    example = "lockstep reindex docs --model minilm@2 --promote"
    command(app, "reindex", panel=ROLLING_OUT, example=example)(reindex)
