"""A generation that no model has to be loaded for."""

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, cast

from lockstep.index.generation import Generation
from lockstep.index.spec import IndexSpec, SpecOptions, resolve
from lockstep.index.versions import IndexVersion, State
from lockstep.models.manifest import ModelManifest

MODEL = ModelManifest(
    files={}, dim=48, max_tokens=64, pooling="mean", normalised=True, similarity="cosine"
)


def version_of(spec: IndexSpec) -> IndexVersion:
    """docs--v0001, built by tiny@1."""
    return IndexVersion(
        corpus="docs",
        number=1,
        collection="docs--v0001",
        model_name="tiny",
        model_version=1,
        model_digest="d" * 64,
        spec=spec,
        state=State.LIVE,
        applied_seq=0,
        predecessor=None,
        reason=None,
        prefilter_candidates=None,
        retired_at=None,
        created_at=0.0,
    )


def generation(payload_indexes: Mapping[str, Any]) -> Generation:
    """One with these payload indexes, of a model that only has a manifest."""
    spec = resolve(SpecOptions(payload_indexes=payload_indexes), MODEL, 10.0)
    version = version_of(spec)
    encoder = SimpleNamespace(version=SimpleNamespace(manifest=MODEL), dim=MODEL.dim)
    made = SimpleNamespace(
        version=version, collection=version.collection, encoder=encoder, tokens=None
    )
    return cast(Generation, made)
