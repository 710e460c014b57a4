"""How a model version looks: in lists, by itself, and as JSON."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from rich.console import RenderableType
from rich.text import Text

from lockstep.models.manifest import ModelKind
from lockstep_indexer.cli.model_lineage import lineage_facts
from lockstep_indexer.cli.render import age, facts, heading, megabytes, moment, next_step, table
from lockstep_indexer.cli.session import Json

if TYPE_CHECKING:
    from lockstep.models.agreement import Agreement
    from lockstep.models.registry import ModelVersion


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


def models_table(versions: list["ModelVersion"]) -> RenderableType:
    if not versions:
        return next_step("lockstep model add NAME PATH", "No model yet; add one")
    made = table(
        "model", "kind", "dim", "tokens", "Matryoshka", "size", "digest", "added",
        right=["dim", "tokens", "size"],
    )  # fmt: skip
    for version in versions:
        manifest = version.manifest
        made.add_row(
            Text(version.ref, "name"),
            version.kind.value,
            "–" if version.kind is ModelKind.RERANKER else f"{manifest.dim:,}",
            f"{manifest.max_tokens:,}",
            ", ".join(map(str, manifest.matryoshka_dims)) or "–",
            megabytes(manifest.size),
            Text(version.digest[:12], "faint"),
            age(version.created_at),
        )
    return made


def use_of(version: "ModelVersion") -> Text:
    if version.kind is ModelKind.RERANKER:
        command = f"lockstep search CORPUS QUERY --rerank {version.ref}"
        return next_step(command, "Rerank with it")
    if version.kind is ModelKind.LATE_INTERACTION:
        command = f"lockstep reindex CORPUS --model REF --late-interaction {version.ref}"
        return next_step(command, "Build an index that holds its vectors")
    return next_step(f"lockstep reindex CORPUS --model {version.ref}", "Build an index with it")


def summary(version: "ModelVersion") -> list[tuple[str, object]]:
    if version.kind is ModelKind.RERANKER:
        return _reranker_summary(version)
    manifest = version.manifest
    late = version.kind is ModelKind.LATE_INTERACTION
    each, none = ("of each token, ", "") if late else ("", "no: no prefilter")
    return [
        ("digest", version.digest),
        ("kind", version.kind.value),
        ("vectors", f"{each}{manifest.dim} dimensions, {manifest.similarity} similarity"),
        ("sees", f"{manifest.max_tokens:,} tokens"),
        ("Matryoshka", ", ".join(map(str, manifest.matryoshka_dims)) or none),
        ("query prompt", repr(manifest.query_prompt) if manifest.query_prompt else ""),
        ("document prompt", repr(manifest.document_prompt) if manifest.document_prompt else ""),
        *([] if late else _queries(manifest.query_encoder)),
    ]


def _reranker_summary(version: "ModelVersion") -> list[tuple[str, object]]:
    manifest = version.manifest
    return [
        ("digest", version.digest),
        ("kind", version.kind.value),
        ("scores", f"one of a query and a passage, through {manifest.similarity}"),
        ("sees", f"{manifest.max_tokens:,} tokens of both"),
        *_pairs(manifest.query_encoder),
    ]


def _compiled(
    fields: Json, *, name: str, each: str, by_torch: str, agreement: Callable[["Agreement"], str]
) -> list[tuple[str, object]]:
    """What was compiled when the model was added, and what that is worth."""
    from lockstep.models.compilation_report import CompilationReport

    if not fields:
        return [(name, f"{by_torch}; nothing was compiled when it was added")]
    report = CompilationReport.from_json(fields)
    if report.agreement is None:
        return [(name, f"{by_torch}: {report.reason}")]
    saved = f"{report.query_ms:.1f} ms {each}, torch {report.torch_ms:.1f} ms"
    return [
        (name, f"compiled by {report.engine} in {report.precision}: {saved}"),
        ("agreement", f"{agreement(report.agreement)} torch, {report.texts} texts"),
        ("compiled on", report.processor),
    ]


def _pairs(fields: Json) -> list[tuple[str, object]]:
    return _compiled(
        fields,
        name="pairs",
        each="a short pair",
        by_torch="scored by torch",
        agreement=lambda found: f"{found.largest_difference:.2%} of their range or less from",
    )


def _queries(fields: Json) -> list[tuple[str, object]]:
    from lockstep.models.vectors import lower_bound

    return _compiled(
        fields,
        name="queries",
        each="a query",
        by_torch="encoded by torch",
        agreement=lambda found: f"cosine {lower_bound(found.cosine, digits=5)} or more with",
    )


def manifest_rendered(version: "ModelVersion") -> list[RenderableType]:
    manifest = version.manifest
    files = table("file", "size", "SHA-256", right=["size"])
    for path, entry in manifest.files.items():
        files.add_row(path, megabytes(entry.size), Text(entry.sha256[:12], "faint"))
    packages = ", ".join(f"{name} {number}" for name, number in manifest.packages.items())
    return [
        heading(version.ref, f"added {moment(version.created_at)}"),
        facts(
            [
                *summary(version),
                *_vectors(version),
                ("tokenizer", manifest.tokenizer_digest[:12]),
                ("size", megabytes(manifest.size)),
                ("measured with", packages),
                *lineage_facts(manifest.lineage),
            ]
        ),
        Text(""),
        files,
    ]


def _vectors(version: "ModelVersion") -> list[tuple[str, object]]:
    if version.kind is ModelKind.RERANKER:
        return []
    other = "not at all" if version.kind is ModelKind.LATE_INTERACTION else "by Lockstep"
    normalised = "by the model itself" if version.manifest.normalised else other
    return [("pooling", version.manifest.pooling), ("normalised", normalised)]
