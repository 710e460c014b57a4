"""Artefacts are whole or not there, and what is fetched is what was added."""

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import fsspec
import pytest
from adding_processes import DELAYS_S, PROCESSES, killed, said_by, together

from lockstep.errors import ArtefactDamaged, ArtefactsUnavailable, InvalidSetting, ModelNotFound
from lockstep.models.artefacts import ArtefactStore
from lockstep.models.registry import ModelRegistry, ModelVersion
from lockstep.testing import tiny_model

_FILES = [
    "1_Pooling/config.json",
    "README.md",
    "config.json",
    "model.safetensors",
    "modules.json",
    "tokenizer.json",
    "vocab.txt",
]


@pytest.fixture
def version(registry: ModelRegistry, model: Path) -> ModelVersion:
    (model / "README.md").write_text("# A tiny model\n")
    (model / "vocab.txt").write_text("a\nb\n")
    return registry.add("tiny", model)


@pytest.fixture
def stored(tmp_path: Path, version: ModelVersion) -> Path:
    return tmp_path / "artefacts" / version.digest


def test_fetched_is_what_was_added(
    artefacts: ArtefactStore, version: ModelVersion, model: Path
) -> None:
    folder = artefacts.fetch(version.digest)
    assert set(_FILES) <= set(version.manifest.files)
    for name in version.manifest.files:
        assert (folder / name).read_bytes() == (model / name).read_bytes()


@pytest.mark.parametrize("name", _FILES)
@pytest.mark.parametrize("position", [0, -1])
def test_one_flipped_bit(
    artefacts: ArtefactStore, version: ModelVersion, stored: Path, name: str, position: int
) -> None:
    path = stored / "files" / name
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)
    with pytest.raises(ArtefactDamaged) as error:
        artefacts.fetch(version.digest)
    expected = version.manifest.files[name].sha256[:12]
    assert f"{name} has SHA-256" in error.value.message
    assert f"expected {expected}" in error.value.message
    assert "lockstep model add" in error.value.next_step


@pytest.mark.parametrize("name", _FILES)
def test_a_missing_file(
    artefacts: ArtefactStore, version: ModelVersion, stored: Path, name: str
) -> None:
    (stored / "files" / name).unlink()
    with pytest.raises(ArtefactDamaged, match=f"{name} is missing"):
        artefacts.fetch(version.digest)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "2_Normalize/x.py", "link.json"])
def test_a_file_too_many(
    artefacts: ArtefactStore, version: ModelVersion, stored: Path, name: str
) -> None:
    path = stored / "files" / name
    path.parent.mkdir(exist_ok=True)
    if name == "link.json":
        path.symlink_to(stored)
    else:
        path.write_bytes(b"")
    with pytest.raises(ArtefactDamaged, match=f"{name} does not belong to it"):
        artefacts.fetch(version.digest)


@pytest.mark.parametrize("change", [b"", b"{}", b"[]", b"\xff", None])
def test_a_damaged_manifest(
    artefacts: ArtefactStore, version: ModelVersion, stored: Path, change: bytes | None
) -> None:
    manifest = stored / "manifest.json"
    if change is None:
        manifest.unlink()
    else:
        manifest.write_bytes(change)
    with pytest.raises(ArtefactDamaged, match=r"manifest\.json cannot be read"):
        artefacts.fetch(version.digest)


def test_a_manifest_that_was_made_to_fit(
    artefacts: ArtefactStore, version: ModelVersion, stored: Path
) -> None:
    """Changing a file and its entry alike gives another digest."""
    manifest = stored / "manifest.json"
    old = version.manifest.files["vocab.txt"].sha256
    manifest.write_text(manifest.read_text().replace(old, "0" * 64))
    with pytest.raises(ArtefactDamaged, match=f"expected {version.digest[:12]}"):
        artefacts.fetch(version.digest)


def test_adding_again_repairs(
    registry: ModelRegistry,
    artefacts: ArtefactStore,
    version: ModelVersion,
    stored: Path,
    model: Path,
) -> None:
    (stored / "files" / "model.safetensors").write_bytes(b"damaged")
    again = registry.add("tiny", model)
    assert (again.ref, again.created) == (version.ref, False)
    assert artefacts.fetch(version.digest).is_dir()
    assert list((stored.parent / ".incoming").iterdir()) == []


def test_an_unknown_digest(artefacts: ArtefactStore, version: ModelVersion) -> None:
    with pytest.raises(ModelNotFound, match="no model of digest 000000000000"):
        artefacts.fetch("0" * 64)


def test_a_killed_copy_is_swept_by_the_next(tmp_path: Path, artefacts: ArtefactStore) -> None:
    code = (
        "import sys, time; from pathlib import Path; "
        "from lockstep.models.artefacts import ArtefactStore\n"
        "with ArtefactStore(sys.argv[1]).staging() as folder:\n"
        "    (folder / 'model.safetensors').write_bytes(b'x' * 100_000)\n"
        "    print(folder, flush=True); time.sleep(600)"
    )
    with _running([sys.executable, "-c", code, artefacts.url]) as copying:
        assert copying.stdout is not None
        left = Path(copying.stdout.readline().strip())
        with artefacts.staging():
            assert left.is_dir(), "a copy that is still going on was removed"
    assert left.is_dir()
    with artefacts.staging() as mine:
        assert list(left.parent.iterdir()) == [mine]


@pytest.mark.slow
def test_an_artefact_is_whole_from_the_moment_it_is_there(
    tmp_path: Path, artefacts: ArtefactStore
) -> None:
    """Watched while a process publishes, and again after that process was killed."""
    script = Path(__file__).with_name("publishing_process.py")
    seen: set[str] = set()
    for enough in (40, 80, 120):
        with _running([sys.executable, script, artefacts.url]):
            while len(seen) < enough:
                new = {path.name for path in (tmp_path / "artefacts").glob("[0-9a-f]*")} - seen
                for digest in new:
                    artefacts.fetch(digest)
                seen |= new
    for path in (tmp_path / "artefacts").glob("[0-9a-f]*"):
        artefacts.fetch(path.name)
    with artefacts.staging() as mine:
        assert list(mine.parent.iterdir()) == [mine]


@contextmanager
def _running(command: Sequence[str | Path]) -> Iterator[subprocess.Popen[str]]:
    """A process that is killed at the end of the block, as by `kill -9`."""
    path = os.pathsep.join(sys.path)
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": path}
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.slow
def test_killed_at_any_time_nothing_half_is_visible(
    registry: ModelRegistry, artefacts: ArtefactStore, model: Path, tmp_path: Path
) -> None:
    said = said_by(killed, tmp_path, model)
    assert len(said) < len(DELAYS_S), "every process was done before it was killed"
    assert set(said) <= {"tiny@1"}, "the libraries are not quiet"
    for folder in (tmp_path / "artefacts").glob("[0-9a-f]*"):
        artefacts.fetch(folder.name)
    for version in registry.list():
        artefacts.fetch(version.digest)
    assert registry.add("tiny", model).ref == "tiny@1"
    assert list((tmp_path / "artefacts" / ".incoming").iterdir()) == []


@pytest.mark.slow
def test_processes_that_add_the_same_model_agree(
    registry: ModelRegistry, artefacts: ArtefactStore, model: Path, tmp_path: Path
) -> None:
    assert said_by(together, tmp_path, model) == ["tiny@1"] * PROCESSES
    (version,) = registry.list()
    assert artefacts.fetch(version.digest).is_dir()
    assert len(list((tmp_path / "artefacts").glob("[0-9a-f]*"))) == 1


def test_object_storage_is_downloaded_once_and_verified(
    registry: ModelRegistry, tmp_path: Path, model: Path
) -> None:
    url = f"memory://{tmp_path.name}/models"
    database = registry._database
    writer = ArtefactStore(url, cache=tmp_path / "writer")
    version = ModelRegistry(database, writer).add("remote", model)

    reader = ArtefactStore(url, cache=tmp_path / "reader")
    folder = reader.fetch(version.digest)
    assert folder.is_relative_to(tmp_path / "reader")
    assert (folder / "config.json").read_bytes() == (model / "config.json").read_bytes()

    memory = fsspec.filesystem("memory")
    remote = f"/{tmp_path.name}/models/{version.digest}/files/config.json"
    memory.pipe_file(remote, b"{}")
    assert reader.fetch(version.digest) == folder
    (folder / "config.json").write_text("damaged in the cache")
    with pytest.raises(ArtefactDamaged, match=r"config\.json has SHA-256"):
        reader.fetch(version.digest)
    memory.rm_file(remote)
    with pytest.raises(ArtefactDamaged, match=r"config\.json is missing"):
        reader.fetch(version.digest)
    ModelRegistry(database, writer).add("remote", model)
    assert reader.fetch(version.digest) == folder


def test_an_upload_without_its_manifest_is_not_there(tmp_path: Path) -> None:
    """A killed upload has not written the manifest, which comes last."""
    store = ArtefactStore(f"memory://{tmp_path.name}/half", cache=tmp_path / "cache")
    fsspec.filesystem("memory").pipe_file(
        f"/{tmp_path.name}/half/{'0' * 64}/files/config.json", b"{}"
    )
    with pytest.raises(ModelNotFound):
        store.fetch("0" * 64)


def test_a_url_that_no_storage_has() -> None:
    with pytest.raises(InvalidSetting, match="'nothing://x' is no place for artefacts"):
        ArtefactStore("nothing://x")


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(ArtefactsUnavailable, match="cannot be read or written"),
        ArtefactStore(str(tmp_path / "file" / "artefacts")).staging(),
    ):
        pytest.fail("a folder below a file")


def test_one_artefact_for_two_names(registry: ModelRegistry, tmp_path: Path) -> None:
    model = tiny_model(tmp_path / "model")
    assert registry.add("one", model).digest == registry.add("two", model).digest
    assert len(list((tmp_path / "artefacts").glob("[0-9a-f]*"))) == 1
