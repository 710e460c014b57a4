"""A plan foretells what a build then takes, and changes nothing."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from actions import add_model, document, fill
from workspaces import CORPUS, build_next, new_root

from lockstep.bootstrap import Workspace, open_workspace
from lockstep.errors import InvalidInput, LeaseHeld, ModelRejected, SearchUnsupported
from lockstep.index.generation import splitter_for
from lockstep.index.spec import SpecOptions
from lockstep.index.versions import IndexVersion, State
from lockstep.store.port import CollectionSchema
from lockstep.testing import tiny_model
from lockstep_indexer.build.plan import Plan, plan
from lockstep_indexer.build.reclaim import used_bytes
from lockstep_indexer.build.reindex import reindex
from lockstep_indexer.build.sizing import Engine, index_size

DOCUMENTS = 300
# Real indexes may be so many times smaller or larger than the formula says.
SIZE_FACTOR = 1.5


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    folder = tmp_path_factory.mktemp("plan")
    with open_workspace(new_root(folder / "workspace")) as workspace:
        fill(workspace, CORPUS, range(DOCUMENTS))
        workspace.corpora.create("empty")
        add_model(workspace, folder / "model", seed=1)
        yield workspace


def planned(workspace: Workspace, ref: str = "tiny@1", **options: Any) -> Plan:
    return plan(workspace, CORPUS, ref, SpecOptions(**options), timed_s=0.05)


def contents(workspace: Workspace) -> dict[Path, bytes]:
    """Every file of the workspace, the database's own log aside."""
    files = (path for path in workspace.settings.data.rglob("*") if path.is_file())
    return {path: path.read_bytes() for path in files if not path.name.endswith(("-wal", "-shm"))}


def test_a_plan_changes_nothing(workspace: Workspace, tmp_path: Path) -> None:
    unknown = tiny_model(tmp_path / "unknown", seed=7)
    before, history = contents(workspace), workspace.catalog.history(CORPUS)
    models, versions = workspace.models.list(), workspace.catalog.versions(CORPUS)
    made = planned(workspace, str(unknown))
    assert (made.model, made.registered) == ("unknown@1", False)
    assert made.space.disk_needed > sum(path.stat().st_size for path in unknown.iterdir())
    assert contents(workspace).keys() == before.keys()
    assert contents(workspace) == before
    assert workspace.models.list() == models
    assert workspace.catalog.versions(CORPUS) == versions
    assert workspace.catalog.history(CORPUS) == history


def test_a_folder_that_is_registered_already_is_known(workspace: Workspace, tmp_path: Path) -> None:
    same = tiny_model(tmp_path / "elsewhere", seed=1)
    made = planned(workspace, str(same))
    assert (made.model, made.registered) == ("tiny@1", True)


@pytest.mark.parametrize(
    "options",
    [{}, {"prefilter_dim": 8}, {"datatype": "float16"}, {"window_tokens": 16}],
    ids=["plain", "prefilter", "float16", "short windows"],
)
def test_what_was_foretold_comes_to_pass(workspace: Workspace, options: dict[str, Any]) -> None:
    made = planned(workspace, **options)
    model = workspace.models.resolve("tiny@1")
    built = reindex(workspace, CORPUS, model, SpecOptions(**options))
    collection = built.version.collection
    assert made.whole.exact
    assert made.whole.documents == built.progress.documents == DOCUMENTS
    assert made.whole.passages == workspace.store.count(collection)
    real = used_bytes(workspace.settings, collection)
    assert real is not None
    assert real / SIZE_FACTOR < made.space.index.total < real * SIZE_FACTOR
    workspace.catalog.set_state(built.version, State.FAILED)


def test_the_tokens_are_those_that_the_model_sees(workspace: Workspace) -> None:
    made = planned(workspace)
    encoder = workspace.encoders.get("tiny@1")
    split = splitter_for(encoder, made.spec.window_tokens).split(
        [document(number) for number in range(DOCUMENTS)]
    )
    texts = [passage.encoded_text for passages in split for passage in passages]
    seen = sum(len(each.ids) for each in encoder.tokenizer.encode_batch(texts))
    assert (made.whole.passages, made.whole.tokens) == (len(texts), seen)


def test_the_time_follows_the_measured_speed(workspace: Workspace) -> None:
    made = planned(workspace)
    assert made.encoding.least < made.encoding.likely < made.encoding.most
    assert made.encoding.likely == pytest.approx(made.left.tokens / made.speed.mean)
    assert 0 < made.speed.passages <= 512


def test_a_build_that_was_begun_is_found(workspace: Workspace) -> None:
    version = _begin(workspace, seq=DOCUMENTS // 3)
    made = planned(workspace)
    assert made.resumes == version
    assert made.left.documents == pytest.approx(DOCUMENTS * 2 / 3, abs=1)
    assert made.left.tokens < made.whole.tokens
    with workspace.leases.hold(version.collection):
        (refusal,) = planned(workspace).refusals
        assert "is being worked on by process" in refusal.what
        with pytest.raises(LeaseHeld):  # and so it is
            reindex(workspace, CORPUS, workspace.models.resolve("tiny@1"), SpecOptions())
    assert planned(workspace).refusals == ()
    workspace.retirement.drop(CORPUS)


def _begin(workspace: Workspace, *, seq: int) -> IndexVersion:
    """A build as a kill leaves it."""
    model = workspace.models.resolve("tiny@1")
    made = planned(workspace)
    version = workspace.catalog.add(CORPUS, model, made.spec)
    dim = model.manifest.dim
    workspace.store.create(version.collection, made.spec.schema(dim), version.manifest())
    with workspace.leases.hold(version.collection) as lease:
        workspace.catalog.checkpoint(version, seq, lease)
    return workspace.catalog.get(CORPUS, version.number)


def test_a_version_that_is_there_already_is_named(workspace: Workspace, tmp_path: Path) -> None:
    built = build_next(workspace, tmp_path, seed=5, promote=True)
    made = planned(workspace, built.version.model_ref)
    assert made.built is not None
    assert made.built.number == built.version.number
    assert any("same model with the same" in warning.what for warning in made.warnings)
    assert made.changed == {}
    other = planned(workspace, built.version.model_ref, prefilter_dim=8, language="german")
    assert other.built is None
    assert other.changed == {"prefilter_dim": (None, 8), "language": ("english", "german")}


def test_a_collection_of_another_workspace_is_refused(workspace: Workspace) -> None:
    numbers = [version.number for version in workspace.catalog.versions(CORPUS)]
    number = 1 + max(numbers, default=0)
    name = f"{CORPUS}--v{number:04d}"
    workspace.store.create(name, CollectionSchema(dense_dim=4), {"corpus": "another"})
    try:
        assert any("another workspace" in each.what for each in planned(workspace).refusals)
    finally:
        workspace.store.drop(name)


def test_a_disk_without_room_is_refused(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = shutil.disk_usage(workspace.settings.data)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: real._replace(free=100_000))
    assert any("GB free" in each.what for each in planned(workspace).refusals)


def test_what_a_reindex_refuses_at_once_a_plan_refuses(
    workspace: Workspace, tmp_path: Path
) -> None:
    with pytest.raises(InvalidInput, match="no documents"):
        plan(workspace, "empty", "tiny@1", SpecOptions())
    with pytest.raises(SearchUnsupported, match="prefilter of 32"):
        planned(workspace, prefilter_dim=32)
    unsafe = tiny_model(tmp_path / "unsafe", seed=1)
    (unsafe / "model.safetensors").rename(unsafe / "pytorch_model.bin")
    with pytest.raises(ModelRejected):
        planned(workspace, str(unsafe))


def test_the_formula_counts_what_it_says_it_counts() -> None:
    schema = CollectionSchema(dense_dim=384)
    size = index_size(schema, Engine(), points=25_000, terms=1_500_000, payload_bytes=11_000_000)
    assert size.vectors == 25_000 * 384 * 4
    half = index_size(
        replace(schema, datatype="float16", quantization="int8"),
        Engine("qdrant", copies=2),
        points=25_000,
        terms=1_500_000,
        payload_bytes=11_000_000,
    )
    assert half.vectors == 2 * 25_000 * (384 * 2 + 384 + 4)
    assert half.payload == 2 * size.payload
    # Measured: 38.4 MB of vectors, 1.42 MB of links, 22.3 MB of sparse index.
    assert size.graph == pytest.approx(1.42e6, rel=0.1)
    assert size.sparse == pytest.approx(22.3e6, rel=0.1)
