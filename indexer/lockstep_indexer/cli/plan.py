"""`lockstep plan`: what a reindex would take, before anything is paid for."""

from dataclasses import replace
from typing import TYPE_CHECKING

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
from lockstep_indexer.cli.errors import FAILED
from lockstep_indexer.cli.options import ROLLING_OUT, CorpusArgument, command
from lockstep_indexer.cli.render import (
    done,
    duration,
    facts,
    heading,
    megabytes,
    next_step,
    note,
    plural,
    table,
)
from lockstep_indexer.cli.session import Json, Session

if TYPE_CHECKING:
    from lockstep_indexer.build.measuring import Seconds
    from lockstep_indexer.build.plan import Obstacle, Plan, Work


def plan(
    session: Session,
    corpus: CorpusArgument,
    model: ModelOption,
    prefilter_dim: PrefilterOption = None,
    window_tokens: WindowOption = None,
    language: LanguageOption = "english",
    dtype: DatatypeOption = "float32",
    quantization: QuantizationOption = "int8",
    index: IndexOption = None,
    late_interaction: LateInteractionOption = None,
    fp8: Fp8Option = False,
) -> None:
    """Say what a reindex would take, and change nothing.

    Counts passages and tokens, encodes a sample on this machine for a few seconds, and reckons
    time, disk and memory. A model given as a folder is verified, not registered; a late interaction
    model must be registered. Exit code 1 when the reindex would be refused.
    """
    from lockstep.index.late_interaction import LateInteraction
    from lockstep.index.spec import SpecOptions
    from lockstep_indexer.build.plan import plan as make_plan

    options = SpecOptions(
        window_tokens=window_tokens,
        prefilter_dim=prefilter_dim,
        language=language,
        datatype=dtype,
        quantization=quantization,
        payload_indexes=payload_indexes(index),
        fp8=fp8,
    )
    with session.workspace() as workspace, session.bars() as bars:
        if late_interaction is not None:
            late = LateInteraction.of(workspace.models.resolve(late_interaction))
            options = replace(options, late_interaction=late)
        made = make_plan(workspace, corpus, model, options, stage=bars.stage)
    session.show(_json(made), *_rendered(made))
    if made.refusals:
        raise typer.Exit(FAILED)


def _json(made: "Plan") -> Json:
    space, index = made.space, made.space.index
    return {
        "corpus": made.corpus,
        "model": made.model,
        "model_digest": made.model_digest,
        "registered": made.registered,
        "engine": made.engine,
        "spec": {k: v for k, v in made.spec.to_json().items() if k != "bm25"}
        | {"language": made.spec.bm25.language},
        "whole": vars(made.whole),
        "left": vars(made.left),
        "speed": vars(made.speed),
        "seconds": {
            "encoding": made.encoding.to_json(),
            "late_encoding": made.late_encoding.to_json(),
            "indexing": made.indexing and made.indexing.to_json(),
        },
        "bytes": index.to_json(),
        "disk": {"used": space.disk_used, "needed": space.disk_needed, "free": space.disk_free},
        "memory": {"needed": space.memory_needed, "available": space.memory_available},
        "reused": {
            "unfinished": made.resumes and made.resumes.collection,
            "built": made.built and made.built.collection,
            "token_cache": made.known,
        },
        "changed": {key: list(pair) for key, pair in made.changed.items()},
        "refused": [vars(obstacle) for obstacle in made.refusals],
        "warnings": [vars(obstacle) for obstacle in made.warnings],
    }


def _rendered(made: "Plan") -> list[RenderableType]:
    model = made.model + ("" if made.registered else ", not registered yet")
    parts: list[RenderableType] = [
        heading(f"Plan for {made.corpus}", f"with {model}"),
        facts([*_work(made), *_reuse(made)]),
        Text(""),
        _sizes(made),
        Text(""),
        facts(_space(made)),
    ]
    for obstacle in made.warnings:
        parts += [note(obstacle.what), _advice(obstacle)]
    for obstacle in made.refusals:
        parts += [Text.assemble(("✗ ", "bold bad"), obstacle.what), _advice(obstacle)]
    if not made.refusals:
        run = f"lockstep reindex {made.corpus} --model {made.model}"
        named = run if made.registered else f"lockstep reindex {made.corpus} --model PATH"
        parts += [done("Nothing stands in its way."), next_step(named, "Build it")]
    return parts


def _work(made: "Plan") -> list[tuple[str, object]]:
    speed, late = made.speed, made.late_encoding
    rate = f"{speed.mean:,.0f} tokens/s on {speed.device}"
    return [
        ("to encode", _counts(made.left)),
        ("passages", f"of at most {made.spec.window_tokens} tokens"),
        (
            "encoding",
            f"{_time(made.encoding)} at {rate}, as measured on {plural(speed.passages, 'passage')}",
        ),
        ("encoded by", speed.encoded_by),
        (
            "of that tokens",
            f"{_time(late)} for late interaction" if late.likely else "",
        ),
        (
            "search index",
            f"{_time(made.indexing)}, by rule of thumb"
            if made.indexing
            else "built by the Qdrant server, in its own time",
        ),
    ]


def _counts(work: "Work") -> str:
    about = "" if work.exact else "about "
    return (
        f"{plural(work.documents, 'document')}, {about}{plural(work.passages, 'passage')}, "
        f"{about}{plural(work.tokens, 'token')}"
    )


def _time(seconds: "Seconds") -> str:
    return f"{duration(seconds.likely)} ({duration(seconds.least)} to {duration(seconds.most)})"


def _reuse(made: "Plan") -> list[tuple[str, object]]:
    unfinished = None
    if made.resumes is not None:
        share = 1 - made.left.tokens / max(1, made.whole.tokens)
        unfinished = f"{made.resumes.collection} goes on where it stopped, {share:.0%} is encoded"
    changed = ", ".join(
        f"{key} {_shown(there)} → {_shown(here)}" for key, (there, here) in made.changed.items()
    )
    against = f"against {made.live.label}: {changed or 'unchanged'}" if made.live else "the first"
    return [
        ("spec", against),
        ("unfinished build", unfinished or "none to resume"),
        ("token cache", _known(made.known)),
    ]


def _known(share: float | None) -> str:
    if share is None:
        return "not used"
    return f"holds the tokens of {share:.0%} of the documents" if share else "holds none of them"


def _shown(value: object) -> object:
    return indexed_fields(value) or "none" if isinstance(value, dict) else value


def _sizes(made: "Plan") -> RenderableType:
    index = made.space.index
    prefilter, late = made.spec.prefilter_dim, made.spec.late_interaction
    rows = [
        (
            "vectors",
            index.vectors,
            f"{made.spec.datatype}"
            + (f", prefilter of {prefilter}" if prefilter else "")
            + (", int8 copy" if made.spec.quantization == "int8" else ""),
        ),
        ("graph", index.graph, f"HNSW, m {made.spec.hnsw_m}"),
        ("sparse", index.sparse, f"BM25, {made.spec.bm25.language}"),
        ("payload", index.payload, "titles, texts, metadata, ids"),
        ("log", index.log, "of the last writes"),
    ]
    if late is not None:
        rows.insert(1, ("tokens", index.late, f"late interaction, {late.model}, {late.dim} each"))
    drawn = table("new index", "bytes", "what", right=["bytes"])
    for name, size, what in rows:
        drawn.add_row(Text(name, "name"), megabytes(size), Text(what, "faint"))
    drawn.add_row(Text("all", "name"), megabytes(index.total), "")
    return drawn


def _space(made: "Plan") -> list[tuple[str, object]]:
    space = made.space
    if space.disk_used is None:
        disk = f"{megabytes(space.index.peak)} at the peak, on the Qdrant server"
    else:
        disk = f"{megabytes(space.disk_needed)} more at the peak, beside {_used(space.disk_used)}"
    return [
        ("disk", disk),
        ("disk free", megabytes(space.disk_free) if space.disk_free is not None else ""),
        (
            "memory",
            f"{megabytes(space.memory_needed)} here with two versions side by side; "
            f"{megabytes(space.memory_available)} available",
        ),
        (
            "server's memory",
            megabytes(space.index.memory) + " more" if made.engine != "embedded" else "",
        ),
    ]


def _used(count: int) -> str:
    return f"{megabytes(count)} of indexes there are"


def _advice(obstacle: "Obstacle") -> Text:
    return Text.assemble(("→ ", "faint"), (obstacle.next_step, "command"))


def add_to(app: typer.Typer) -> None:
    command(app, "plan", panel=ROLLING_OUT, example="lockstep plan docs --model minilm@2")(plan)
