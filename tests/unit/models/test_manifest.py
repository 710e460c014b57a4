"""Manifests: what the digest covers, and the round trip through JSON."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockstep.models.manifest import FileEntry, ModelManifest, canonical_json

_ENTRY = FileEntry("a" * 64, 3)
_MANIFEST = ModelManifest(
    files={"config.json": _ENTRY, "1_Pooling/config.json": FileEntry("b" * 64, 0)},
    dim=64,
    max_tokens=128,
    pooling="mean",
    normalised=True,
    similarity="cosine",
    query_prompt="query: ",
    matryoshka_dims=(16, 64),
    lineage={"parent": "base@1", "metrics": {"ndcg": 0.5}},
    packages={"torch": "2.9"},
)


@pytest.mark.parametrize(
    "changed",
    [
        {"files": {"config.json": _ENTRY}},
        {"files": {**_MANIFEST.files, "config.json": FileEntry("c" * 64, 3)}},
        {"dim": 65},
        {"max_tokens": 127},
        {"query_prompt": ""},
        {"document_prompt": "passage: "},
        {"matryoshka_dims": (16,)},
    ],
)
def test_whatever_changes_vectors_changes_the_digest(changed: dict[str, Any]) -> None:
    assert replace(_MANIFEST, **changed).digest != _MANIFEST.digest


def test_lineage_and_packages_leave_the_digest_alone() -> None:
    other = replace(_MANIFEST, lineage={"parent": "other"}, packages={})
    assert other.digest == _MANIFEST.digest


def test_the_digest_is_pinned() -> None:
    """Stored digests must be found again by later releases."""
    assert _MANIFEST.digest.startswith("f58fdee50bcfbf06")


@given(
    prompt=st.text(st.characters(codec="utf-8")),
    dims=st.sets(st.integers(1, 64)),
    size=st.integers(0, 2**50),
)
def test_json_round_trip(prompt: str, dims: set[int], size: int) -> None:
    manifest = replace(
        _MANIFEST,
        document_prompt=prompt,
        matryoshka_dims=tuple(sorted(dims)),
        files={"model.safetensors": FileEntry("d" * 64, size)},
    )
    again = ModelManifest.from_json(json.loads(canonical_json(manifest.to_json())))
    assert again == manifest
    assert again.digest == manifest.digest


@pytest.mark.parametrize("path", ["../x", "/etc/passwd", "a/../b", "a//b", "", "a\\b", "./a"])
def test_a_path_outside_the_artefact_is_no_file_of_it(path: str) -> None:
    with pytest.raises(ValueError, match="not a path inside an artefact"):
        replace(_MANIFEST, files={path: _ENTRY})


@pytest.mark.parametrize("dims", [(64, 16), (16, 16), (0,), (65,)])
def test_matryoshka_dims_are_ascending_and_within_the_vector(dims: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="matryoshka_dims"):
        replace(_MANIFEST, matryoshka_dims=dims)
