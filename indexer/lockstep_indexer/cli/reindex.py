"""`lockstep reindex`: build an index version with a model version."""

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import RenderableType
from rich.text import Text

from lockstep_indexer.cli.build_options import (
    DatatypeOption,
    Fp8Option,
    IndexOption,
    LanguageOption,
    LateInteractionOption,
    ModelOption,
    PrefilterOption,
    QuantizationOption,
    WindowOption,
    indexed_fields,
    payload_indexes,
)
from lockstep_indexer.cli.engine_options import (
    EngineOption,
    RayAddressOption,
    WorkersOption,
    chosen_engine,
)
from lockstep_indexer.cli.gates import showing_gates
from lockstep_indexer.cli.options import ROLLING_OUT, CorpusArgument, command
from lockstep_indexer.cli.pace import pace_json, rates, spent
from lockstep_indexer.cli.render import facts, next_step, note
from lockstep_indexer.cli.rollout import probe_facts, swap_json, swap_rendered
from lockstep_indexer.cli.session import Json, Session
from lockstep_indexer.cli.stage_times import StageTimes, told
from lockstep_indexer.cli.status import version_json

if TYPE_CHECKING:
    from lockstep.index.applier import Progress
    from lockstep.index.versions import IndexVersion
    from lockstep_indexer.build.reindex import Reindexed

_LOADING = "loading the model"


def reindex(
    session: Session,
    corpus: CorpusArgument,
    model: ModelOption,
    promote: Annotated[
        bool, typer.Option("--promote", help="Make it live once it is proven.")
    ] = False,
    prefilter_dim: PrefilterOption = None,
    window_tokens: WindowOption = None,
    language: LanguageOption = "english",
    dtype: DatatypeOption = "float32",
    quantization: QuantizationOption = "int8",
    index: IndexOption = None,
    late_interaction: LateInteractionOption = None,
    fp8: Fp8Option = False,
    engine: EngineOption = "local",
    ray_address: RayAddressOption = "local",
    workers: WorkersOption = None,
) -> None:
    """Build a new index version beside the live one.

    Encodes every document with the model, and proves the result. Searches go on the whole time. An
    interrupted build goes on where it stopped when the same command runs again.
    """
    from lockstep.index.spec import SpecOptions
    from lockstep.index.versions import State
    from lockstep_indexer.build.model_refs import late_interaction_of, resolve_or_add
    from lockstep_indexer.build.reindex import Listener
    from lockstep_indexer.build.reindex import reindex as build

    options = SpecOptions(
        window_tokens=window_tokens,
        prefilter_dim=prefilter_dim,
        language=language,
        datatype=dtype,
        quantization=quantization,
        payload_indexes=payload_indexes(index),
        fp8=fp8,
    )
    chosen = chosen_engine(engine, ray_address, workers)
    times = StageTimes()
    times.begin(_LOADING)
    with session.workspace() as workspace, session.bars() as bars, showing_gates(session):
        workspace.corpora.info(corpus)  # a wrong name is said before a model is loaded
        bars.stage(_LOADING)
        version = resolve_or_add(workspace, model)
        late = late_interaction_of(workspace, late_interaction)
        options = replace(options, late_interaction=late)
        workspace.encoders.get(version.ref)

        def begin(stage: str) -> None:
            times.begin(stage)
            bars.stage(stage)

        listener = Listener(stage=begin, progress=bars.applied)
        live = next(iter(workspace.catalog.in_state(corpus, State.LIVE)), None)
        with chosen.reached(workspace.settings):
            result = build(
                workspace,
                corpus,
                version,
                options,
                promote=promote,
                listener=listener,
                make_engine=chosen.make,
            )
    parts = times.seconds()
    session.show(_json(result, parts), *_rendered(result, parts), *_without(live, result.version))


def _json(result: "Reindexed", parts: dict[str, float]) -> Json:
    progress = result.progress
    return {
        "corpus": result.version.corpus,
        "index_version": version_json(result.version),
        "resumed": result.resumed,
        "documents": progress.documents,
        "passages": progress.passages,
        "total_seconds": round(sum(parts.values()), 3),
        "parts": {stage: round(seconds, 3) for stage, seconds in parts.items()},
        "seconds": round(progress.total_s, 3),
        "encode_seconds": round(progress.encode_s, 3),
        "encoded_by": result.encoded_by,
        **pace_json(progress),
        "probe": result.probe.to_json(),
        "promoted": swap_json(result.swap) if result.swap else None,
    }


def _rendered(result: "Reindexed", parts: dict[str, float]) -> list[RenderableType]:
    version, progress = result.version, result.progress
    prefilter, late = version.spec.prefilter_dim, version.spec.late_interaction
    shown: list[RenderableType] = [
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
                ("time", told(parts)),
                ("encoding", _encoding(progress)),
                ("stages", spent(progress)),
                ("encoded by", result.encoded_by),
                ("prefilter", f"{prefilter} dimensions" if prefilter else "none"),
                ("late interaction", late.model if late else ""),
                ("indexed fields", indexed_fields(version.spec.payload_indexes)),
                *probe_facts(result.probe),
            ]
        ),
    ]
    if result.swap is not None:
        return [*shown, *swap_rendered(result.swap)]
    return [
        *shown,
        next_step(f"lockstep promote {version.corpus} {version.number}", "Make it live"),
    ]


def _without(before: "IndexVersion | None", version: "IndexVersion") -> list[RenderableType]:
    """What the live version can do and the new one cannot: such searches will be refused."""
    if before is None:
        return []
    old, new = before.spec, version.spec
    lost = {
        key: kind for key, kind in old.payload_indexes.items() if key not in new.payload_indexes
    }
    said = [f"indexes {indexed_fields(lost)}"] if lost else []
    if old.late_interaction and not new.late_interaction:
        said.append(f"has token vectors of {old.late_interaction.model} to rerank by")
    return [note(f"{before.label} {what}; {version.label} does not.") for what in said]


def _encoding(progress: "Progress") -> str:
    if not progress.documents:
        return "nothing was left to encode"
    return ", ".join(rates(progress))


def add_to(app: typer.Typer) -> None:
    example = "lockstep reindex docs --model minilm@2 --promote"
    command(app, "reindex", panel=ROLLING_OUT, example=example)(reindex)
