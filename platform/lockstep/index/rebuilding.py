"""The command that builds an index version once more, as messages give it."""

import shlex
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

# The engine's worker imports searches, and these would bring what is heavy with them.
if TYPE_CHECKING:
    from lockstep.index.spec import IndexSpec
    from lockstep.index.versions import IndexVersion
    from lockstep.models.manifest import ModelManifest


def reindex_command(
    version: "IndexVersion",
    manifest: "ModelManifest | None" = None,
    *,
    indexes: Mapping[str, str] | None = None,
    prefilter_dim: int | None = None,
    late_interaction: str | None = None,
) -> str:
    """`lockstep reindex` with all that the version's spec holds, and what is to change.

    A reindex keeps nothing by itself: what its command does not say is as by default. With the
    manifest of the version's model, what the model decides is left out.
    """
    spec = version.spec
    late = late_interaction or (spec.late_interaction and spec.late_interaction.model)
    options = [
        *_model_options(spec, manifest, prefilter_dim),
        *_storage_options(spec),
        *(["--late-interaction", late] if late else []),
    ]
    declared = sorted({**spec.payload_indexes, **(indexes or {})}.items())
    named = [word for field, kind in declared for word in ("--index", f"{field}:{kind}")]
    words = ["lockstep", "reindex", version.corpus, "--model", version.model_ref]
    return shlex.join([*words, *options, *named])


def another_type(
    version: "IndexVersion", manifest: "ModelManifest | None", field: str, kind: str, use: str
) -> str:
    """The next step where a field is indexed, but not by the type that a search needs."""
    return (
        f"A field has one type: {use} another field, or give '{field}' the type {kind}, after "
        f"which nothing can use it as {version.spec.payload_indexes[field]} any more: "
        f"{reindex_command(version, manifest, indexes={field: kind})}"
    )


def _model_options(
    spec: "IndexSpec", manifest: "ModelManifest | None", prefilter_dim: int | None
) -> Iterator[str]:
    from lockstep.index.spec import SpecOptions, resolve

    usual = None
    if manifest is not None:
        usual = resolve(SpecOptions(late_interaction=spec.late_interaction), manifest, 1.0)
    if usual is None or spec.window_tokens != usual.window_tokens:
        yield from ("--window-tokens", str(spec.window_tokens))
    dim = spec.prefilter_dim if prefilter_dim is None else prefilter_dim
    if usual is None or dim != usual.prefilter_dim:
        yield from ("--prefilter-dim", str(dim or 0))


def _storage_options(spec: "IndexSpec") -> Iterator[str]:
    from lockstep.index.spec import SpecOptions

    usual = SpecOptions()
    if spec.bm25.language != usual.language:
        yield from ("--language", spec.bm25.language)
    if spec.datatype != usual.datatype:
        yield from ("--dtype", spec.datatype)
    if spec.quantization != usual.quantization:
        yield from ("--quantization", spec.quantization)
    if spec.fp8:
        yield "--fp8"
